-- Reads the JSON lines of `bench/run` and prints a table in Markdown: for each
-- case and peer the median and the minimum of ns_per_op, the ratio of the
-- medians to that of Erlang where the lines hold both, and the medians of
-- whatever else the lines carry.
local groups, order = {}, {}
for line in io.lines() do
  local fields = {}
  for key, value in line:gmatch '"([%w_]+)":"?([^,"}]+)' do
    fields[key] = tonumber(value) or value
  end
  if fields.case then
    local id = fields.case .. " " .. fields.peer
    if not groups[id] then
      groups[id] = {}
      order[#order + 1] = id
    end
    table.insert(groups[id], fields)
  end
end

local function sorted(group, key)
  local values = {}
  for _, fields in ipairs(group) do
    values[#values + 1] = tonumber(fields[key]) or 0
  end
  table.sort(values)
  return values
end

local function median(values)
  local n = #values
  return (values[(n + 1) // 2] + values[n // 2 + 1]) / 2
end

local function short(x) return ("%.4g"):format(x) end

-- The ratio to the yardstick: of two peers with the same number of schedulers
-- where there is such a line.
local function ratio(first, ns)
  local single = first.peer:match "1$"
  local rival = groups[first.case .. " erlang" .. (single or "")]
    or groups[first.case .. " erlang"]
  if not rival or first.peer:match "^erlang" then return "" end
  local base = median(sorted(rival, "ns_per_op"))
  return base > 0 and ("%.2f"):format(median(ns) / base) or ""
end

local common = { peer = true, case = true, ops = true, seconds = true,
  ns_per_op = true }

print("| case | peer | ops | ns/op median | min | to Erlang | other (medians) |")
print("|---|---|---:|---:|---:|---:|---|")
for _, id in ipairs(order) do
  local group = groups[id]
  local first = group[1]
  local ns = sorted(group, "ns_per_op")
  local others = {}
  for key in pairs(first) do
    if not common[key] then others[#others + 1] = key end
  end
  table.sort(others)
  for i, key in ipairs(others) do
    others[i] = key .. " " .. short(median(sorted(group, key)))
  end
  print(("| %s | %s | %d | %s | %s | %s | %s |"):format(first.case, first.peer,
    first.ops, short(median(ns)), short(ns[1]), ratio(first, ns),
    table.concat(others, ", ")))
end
