-- A job queue with a bounded mailbox: producers that are faster than the worker are held
-- back instead of filling the memory.
local actor = require "luactor"
local on, V = actor.on, actor.var

local LIMIT, PRODUCERS, JOBS = 8, 3, 40

local function worker(owner)
  local longest, done = 0, 0
  local serve = actor.receiver(
    on({ "job", V.n "integer" }, function(n)
      local waiting = actor.info(actor.self(), "mailbox_length")
      longest = math.max(longest, waiting)
      actor.yield() -- the work itself
      done = done + n
      return true
    end),
    on("report", function()
      owner:send { "result", done, longest <= LIMIT }
      return false
    end))
  while serve() do end
end

local function producer(queue)
  for n = 1, JOBS do
    queue:send { "job", n } -- waits while the mailbox is full
  end
end

local queue = actor.spawn_opt({
  link = true,
  mailbox = { limit = LIMIT, overflow = "block" },
}, worker, actor.self())

local producers = {}
for i = 1, PRODUCERS do
  local _, ref = actor.spawn_monitor(producer, queue)
  producers[i] = ref
end
for _, ref in ipairs(producers) do
  actor.receive { "DOWN", ref, "process", V._, "normal" }
end

queue:send "report"
local sum, bounded = actor.receive { "result", V.sum, V.bounded }
print(("%d jobs done, sum %d"):format(PRODUCERS * JOBS, sum))
print("never more waiting than the limit: " .. tostring(bounded))
