-- What does it cost to wait for one message behind many others?
--
-- A client asks one server while its own mailbox holds 10,000 messages that
-- match nothing. selective_ref: the reply carries a reference made for this
-- request; selective_tag: the reply is known by its first element alone;
-- selective_empty: as the latter, with an empty mailbox. op = reply.
local actor = require "luactor"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post

local function server()
  local serve = actor.receiver(
    on({ "request", V.from, V.tag }, function(from, tag) post(from, tag, "ok") end))
  while true do serve() end
end

local function case_of(junk, ops, ask)
  return function(case)
    local pid, me = actor.spawn(server), actor.self()
    for i = 1, junk do post(me, "junk", i) end
    harness.simple(case, ops, function(n)
      for _ = 1, n do ask(pid, me) end
    end)
    harness.check(actor.flush { "junk", V._ } == junk, "lost junk")
    actor.exit(pid, "kill")
  end
end

local function by_ref(pid, me)
  local ref = actor.ref()
  post(pid, "request", me, ref)
  harness.check(actor.receive { ref, V.reply } == "ok", "reply")
end

local take_answer = actor.receiver(
  on({ "answer", V.reply }, function(reply) return reply end))

local function by_tag(pid, me)
  post(pid, "request", me, "answer")
  harness.check(take_answer() == "ok", "reply")
end

harness.main {
  selective_ref = case_of(10000, 100000, by_ref),
  selective_tag = case_of(10000, 1000, by_tag),
  selective_empty = case_of(0, 100000, by_tag),
}
