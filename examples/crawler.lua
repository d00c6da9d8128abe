-- A crawler of simulated pages: streams of tasks with bounded concurrency, a
-- rate limiter that all fetches ask first, and pages that fail.
local actor = require "luactor"
local gen_server = require "luactor.gen_server"
local task = require "luactor.task"

local PAGES <const>, AT_ONCE <const>, PER_TURN <const> = 40, 5, 4

---------------------------------------------------------------- the web

-- Page n links to 2n and 2n + 1; every ninth one is broken.
local function fetch(limiter, n)
  limiter:take()
  actor.yield()
  if n % 9 == 0 then error { "http", 500, page = n } end
  local links = {}
  for _, m in ipairs { 2 * n, 2 * n + 1 } do
    if m <= PAGES then links[#links + 1] = m end
  end
  return { page = n, links = links }
end

---------------------------------------------------------------- the limiter

-- A token bucket: `take` returns at once while there are tokens; who comes
-- later is answered when the next turn has brought new ones.
local Limiter = gen_server.define "limiter"

function Limiter:init(per_turn, ms)
  self.tokens, self.per_turn, self.waiting = per_turn, per_turn, {}
  self.granted, self.turns = 0, 1
  actor.send_every(ms, actor.self(), "turn")
end

function Limiter.call:take()
  if self.tokens == 0 then
    table.insert(self.waiting, gen_server.from())
    return gen_server.noreply
  end
  self.tokens, self.granted = self.tokens - 1, self.granted + 1
  return true
end

function Limiter.call:kept_to_limit()
  return self.granted <= self.turns * self.per_turn
end

function Limiter:handle_info()
  self.tokens, self.turns = self.per_turn, self.turns + 1
  while self.tokens > 0 and #self.waiting > 0 do
    self.tokens, self.granted = self.tokens - 1, self.granted + 1
    actor.reply(table.remove(self.waiting, 1), true)
  end
end

---------------------------------------------------------------- the crawl

actor.trap_exit(true) -- a task that crashes is an outcome, not our end
local limiter = Limiter:start_link(PER_TURN, 2)
local seen, frontier, broken, visited = { [1] = true }, { 1 }, {}, 0
while #frontier > 0 do
  local wave, at = frontier, 0
  frontier = {}
  local stream = task.async_stream(wave, function(n) return fetch(limiter, n) end,
    { max_concurrency = AT_ONCE, timeout = 10000 })
  for r in stream do
    at = at + 1
    if r[1] == "exit" then
      broken[#broken + 1] = wave[at]
    else
      visited = visited + 1
      for _, link in ipairs(r[2].links) do
        if not seen[link] then
          seen[link] = true
          frontier[#frontier + 1] = link
        end
      end
    end
  end
end
print(("%d pages visited"):format(visited))
print("broken: " .. table.concat(broken, " "))
print("never faster than allowed: " .. tostring(limiter:kept_to_limit()))
gen_server.stop(limiter)
