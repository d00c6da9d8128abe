-- Counts words on several nodes at once: map on each of them, reduce here.
--
-- On each of the nodes that help:
--   luactor --name w1@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/words.lua
--   luactor --name w2@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/words.lua
-- and on the one that asks them, with their names:
--   luactor --name w3@127.0.0.1 --cookie-file cookie --listen 0 examples/nodes/words.lua \
--     w1@127.0.0.1 w2@127.0.0.1
--
-- Functions do not travel between nodes, names do: the helpers run `count` of the
-- module counting.lua, which is beside this program and which they export.
local actor = require "luactor"
local node = require "luactor.node"
local rpc = require "luactor.rpc"
local task = require "luactor.task"

node.export { "counting.count" }

if #arg == 0 then
  actor.receive "never" -- until it is stopped
end

-- 300 pages of 100 words.
local words = { "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and" }
local pages = {}
for i = 1, 300 do
  local page = {}
  for j = 1, 100 do page[j] = words[(i * j) % #words + 1] end
  pages[i] = table.concat(page, " ")
end

-- Each page is a task that asks one of the nodes; this one is among them.
local nodes = { node.name(), table.unpack(arg) }
local work = {}
for i, page in ipairs(pages) do work[i] = { nodes[i % #nodes + 1], page } end

local function map(item)
  local where, page = item[1], item[2]
  return { where, rpc.call(where, "counting.count", { page }) }
end

local totals, shares = {}, {}
for result in task.async_stream(work, map, { max_concurrency = 12 }) do
  assert(result[1] == "ok", result[2])
  local where, counts = result[2][1], result[2][2]
  shares[where] = (shares[where] or 0) + 1
  for word, n in pairs(counts) do totals[word] = (totals[word] or 0) + n end
end

local order = {}
for word in pairs(totals) do order[#order + 1] = word end
table.sort(order, function(a, b)
  return totals[a] > totals[b] or totals[a] == totals[b] and a < b
end)
for i = 1, 3 do print(order[i], totals[order[i]]) end
for _, where in ipairs(nodes) do print(where, shares[where] .. " pages") end
actor.halt(0)
