-- What words.lua has run on each node.
local M = {}

---@param text string
---@return table<string, integer>  how often each word occurs
function M.count(text)
  local counts = {}
  for word in text:gmatch "%a+" do counts[word] = (counts[word] or 0) + 1 end
  return counts
end

return M
