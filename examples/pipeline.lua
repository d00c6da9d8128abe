-- A job pipeline: three stages, each a pool of workers behind one bounded
-- queue. A stage that is slower than the one before holds it back, so memory stays
-- small however many jobs there are.
local actor = require "luactor"
local pool = require "luactor.pool"
local on, V = actor.on, actor.var

local JOBS <const>, QUEUE <const> = 300, 8

-- A worker takes { "job", value }, works on it and passes it on.
local function worker(work, next_stage)
  local serve = actor.receiver(on({ "job", V.value }, function(value)
    actor.send(next_stage, { "job", work(value) })
  end))
  while true do serve() end
end

local function stage(size, work, next_stage)
  return pool.start_link {
    size = size,
    start = { worker, work, next_stage },
    mailbox = { limit = QUEUE, overflow = "block" },
  }
end

local me = actor.self()
local store = stage(1, function(word) return word end, me)
local shout = stage(3, function(word) actor.yield() return word:upper() end, store)
local parse = stage(2, function(line) return line:match "%a+" end, shout)

actor.spawn_link(function()
  for i = 1, JOBS do actor.send(parse, { "job", ("job%d"):format(i) }) end
end)

local longest, count = 0, 0
for _ = 1, JOBS do
  local word = actor.receive { "job", V.word }
  assert(word == "JOB")
  count = count + 1
  for _, p in ipairs { parse, shout, store } do
    longest = math.max(longest, pool.info(p).queue)
  end
end
print(("%d jobs done"):format(count))
print("no queue was ever longer than its limit: " .. tostring(longest <= QUEUE))
