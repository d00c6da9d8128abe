-- What does a larger message cost?
--
-- A payload goes to another process and back; both sides read one element of
-- it. payload_map100: a table of 100 named fields; payload_list1000: 100 lists
-- of 10 integers; payload_bin64k: a string of 64 KB, always the same;
-- payload_new64k: one that was not sent before; making it is one copy of 64 KB,
-- and payload_copy64k is that copy alone, as a yardstick. op = round trip.
local actor = require "luactor"
local harness = require "harness"

local V, on, post = actor.var, actor.on, actor.post

local function echo(parent, check)
  local serve = actor.receiver(on({ "ping", V.x }, function(x)
    check(x)
    post(parent, "pong", x)
  end))
  while true do serve() end
end

local function case_of(ops, make, check, renew)
  return function(case)
    local payload = make()
    local pid = actor.spawn(echo, actor.self(), check)
    local take = actor.receiver(on({ "pong", V.x }, function(x) return x end))
    harness.simple(case, ops, function(n)
      for i = 1, n do
        post(pid, "ping", renew and renew(payload, i) or payload)
        check(take())
      end
    end)
    actor.exit(pid, "kill")
  end
end

local function make_text() return ("0123456789abcdef"):rep(4096) end

local function check_text(x) harness.check(x:byte(-1) == 0x66, "last byte") end

local function renew_text(text, i) return i .. text end

harness.main {
  payload_map100 = case_of(50000, function()
    local map = {}
    for i = 1, 100 do map["field" .. i] = i * 1000 end
    return map
  end, function(x) harness.check(x.field50 == 50000, "field50") end),

  payload_list1000 = case_of(20000, function()
    local list = {}
    for i = 1, 100 do
      list[i] = {}
      for j = 1, 10 do list[i][j] = i * 10 + j end
    end
    return list
  end, function(x) harness.check(x[1][1] == 11, "first element") end),

  payload_bin64k = case_of(100000, make_text, check_text),
  payload_new64k = case_of(50000, make_text, check_text, renew_text),

  payload_copy64k = function(case)
    local text = make_text()
    harness.simple(case, 50000, function(n)
      for i = 1, n do check_text(renew_text(text, i)) end
    end)
  end,
}
