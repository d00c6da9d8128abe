-- What does the restart of a crashed child cost?
--
-- sup_restart: a gen_server under a one_for_one supervisor is told to stop with the
-- reason "crash", and tells the measuring process when its next life's init runs. A
-- supervisor serves 500 lives, since Erlang's walks over all restarts of a period. Nothing is
-- logged. op = crash and restart.
local actor = require "luactor"
local harness = require "harness"
local log = require "luactor.log"
local supervisor = require "luactor.supervisor"

local V = actor.var
local LIVES <const> = 500

local function lives(n)
  local s = supervisor.start_link{
    intensity = 1000000, period = 1000,
    children = { { id = "crasher", start = { "crasher.begin", actor.self() } } },
  }
  local take = actor.receiver(actor.on({ "up", V.pid }, function(pid) return pid end))
  local pid = take()
  for _ = 1, n do
    actor.send(pid, "crash")
    pid = take()
  end
  actor.exit(s.pid, "shutdown")
  local reason = actor.receive { "EXIT", s.pid, V.reason }
  harness.check(reason == "shutdown", "the supervisor's end")
end

harness.main {
  sup_restart = function(case)
    log.configure{ level = "none" }
    actor.preload "crasher"
    actor.trap_exit(true)
    harness.simple(case, 20000, function(n)
      for _ = 1, n // LIVES do lives(LIVES) end
    end)
  end,
}
