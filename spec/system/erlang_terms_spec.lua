-- Terms on their way to Erlang and back. A random value is made together with
-- its text in Erlang; Erlang reads the text and says whether what came is that,
-- and this side whether what came back is what was sent. Then the other way
-- round, with random terms of Erlang's. A failure names the seed; LUACTOR_SPEC_SEED sets it.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown = setup, teardown
local _ENV = _G

local V, on = actor.var, actor.on
local atom, tuple = actor.atom, actor.tuple
local ME, E <const> = "spec@127.0.0.1", "e@127.0.0.1"
local SEED <const> = tonumber(os.getenv "LUACTOR_SPEC_SEED") or os.time()
local ROUNDS <const> = math.max(50, 1500 * helper.scale // 1 | 0)

if not (peers.has "erl" and peers.has "erlc") then
  describe("terms to Erlang", function()
    it("are tested", function() pending "no erl here: apt-get install erlang-base" end)
  end)
  return
end

------------------------------------------------------------------ values

local random <const> = math.random
local value

local function bytes_text(s)
  if #s > 1000 then
    local c = s:sub(1, 1)
    assert(s == c:rep(#s))
    return ("binary:copy(<<%d>>,%d)"):format(c:byte(), #s)
  end
  return "<<" .. table.concat({ s:byte(1, -1) }, ",") .. ">>"
end

local function atom_text(s)
  return "'" .. s:gsub("[\\']", "\\%0") .. "'"
end

local function float_text(x)
  return ("(fun() -> <<F:64/float>> = <<16#%016x:64>>, F end)()"):format(
    string.unpack(">I8", string.pack(">d", x)))
end

local function any_string()
  local kind = random(6)
  if kind == 1 then return "" end
  if kind == 2 then return string.char(random(0, 255)):rep(({ 8191, 8192, 8193, 65536, 200000 })[random(5)]) end
  local s = {}
  for i = 1, random(30) do s[i] = string.char(random(0, 255)) end
  return table.concat(s)
end

local ATOMS <const> = { "ok", "", "it's", "with space", "Hå", "日本", "a\\b", ("x"):rep(255), ("é"):rep(255),
  "undefined", "true_not", "$gen_call" }

local leaves = {
  function() return true, "true" end,
  function() return false, "false" end,
  function() return actor.null, "nil", "nil" end,
  function()
    local n = random(0)
    return n, ("%d"):format(n)
  end,
  function()
    local n = ({ 0, 255, 256, -1, 1 << 31, -(1 << 31), (1 << 31) - 1, -(1 << 31) - 1, math.maxinteger,
      math.mininteger, 1 << 53 })[random(11)]
    return n, ("%d"):format(n)
  end,
  function()
    local x = ({ 0.0, -0.0, 1.0, 0.1, -1e308, 5e-324, 2.0 ^ 53, math.pi })[random(8)] * random(2)
    if x - x ~= 0 then x = 1.5 end
    return x, float_text(x)
  end,
  function()
    local s = any_string()
    return s, bytes_text(s)
  end,
  function()
    local s = ATOMS[random(#ATOMS)]
    return atom(s), atom_text(s)
  end,
  function() return {}, "[]" end,
  function() return actor.map {}, "#{}" end,
  function() return tuple {}, "{}" end,
  function() return actor.export("lists", "map", 2), "fun lists:map/2" end,
  function(extra) return extra.pid, "Pid" end,
  function(extra) return extra.ref, "Ref" end,
  function(extra) return extra.theirs, "Theirs" end,
}

local function several(depth, extra, n)
  local list, texts = {}, {}
  for i = 1, n do list[i], texts[i] = value(depth - 1, extra) end
  return list, table.concat(texts, ",")
end

local function pairs_of(depth, extra, n, key)
  local map, texts = {}, {}
  for i = 1, n do
    local v, text = value(depth - 1, extra)
    map["k" .. i] = v
    texts[i] = key("k" .. i) .. "=>" .. text
  end
  return map, "#{" .. table.concat(texts, ",") .. "}"
end

local branches = {
  function(depth, extra)
    local list, text = several(depth, extra, random(0, 2 * depth))
    return list, "[" .. text .. "]"
  end,
  function(depth, extra)
    local list, text = several(depth, extra, random(0, 2 * depth))
    return tuple(list), "{" .. text .. "}"
  end,
  function(depth, extra) return pairs_of(depth, extra, random(5), bytes_text) end,
  function(depth, extra)
    local map, text = pairs_of(depth, extra, random(5), atom_text)
    return actor.atomkeys(map), text
  end,
  function(depth, extra)
    local list, text = several(depth, extra, random(3))
    local tail = random(1000)
    return actor.cons(list, tail), "[" .. text .. "|" .. tail .. "]"
  end,
  function(depth, extra) -- a sequence with other keys is a map
    local a, ta = value(depth - 1, extra)
    local b, tb = value(depth - 1, extra)
    return { a, x = b }, "#{1=>" .. ta .. "," .. bytes_text "x" .. "=>" .. tb .. "}"
  end,
  function(depth, extra) -- keys of all kinds
    local a, ta = value(depth - 1, extra)
    return { [1.5] = a, [true] = 1, [-3] = 2, [extra.pid] = 3, [atom "k"] = 4 },
      "#{" .. float_text(1.5) .. "=>" .. ta .. ",true=>1,-3=>2,Pid=>3,k=>4}"
  end,
  function() -- bytes: what Erlang packs as a string
    local list = {}
    for i = 1, random(300) do list[i] = random(0, 255) end
    return list, "[" .. table.concat(list, ",") .. "]"
  end,
  function() -- a long tuple
    local list = {}
    for i = 1, 255 + random(3) do list[i] = i end
    return tuple(list), "{" .. table.concat(list, ",") .. "}"
  end,
  function(depth, extra) -- the same table twice
    local a, text = value(depth - 1, extra)
    local t = { a }
    return { t, t }, "[[" .. text .. "],[" .. text .. "]]"
  end,
}

function value(depth, extra)
  if depth == 0 or random(3) == 1 then return leaves[random(#leaves)](extra) end
  return branches[random(#branches)](depth, extra)
end

-- Equal: nil, or the path to where they differ. The atom nil is nil in a tuple and null
-- elsewhere; the field n of a tuple is there only when it holds nil.
local function differ(a, b, path)
  if a == actor.null then a = nil end
  if b == actor.null then b = nil end
  if type(a) ~= type(b) or math.type(a) ~= math.type(b) then return path end
  if type(a) ~= "table" then
    if a == b and (a ~= 0 or math.type(a) == "integer" or 1 / a == 1 / b) then return nil end
    return path
  end
  if #a ~= #b then return path .. ".#" end
  for k, v in pairs(a) do
    local at = k ~= "n" and differ(v, b[k], path .. "." .. tostring(k))
    if at then return at end
  end
  for k in pairs(b) do
    if a[k] == nil and k ~= "n" then return path .. "." .. tostring(k) end
  end
  return nil
end

------------------------------------------------------------------ the specs

local e

local function meet()
  peers.open { epmd = true }
  node.start { name = ME, cookie = "c", listen = 0, epmd = false }
  e = peers.erl { name = E, cookie = "c" }
  e:eval("driver:register(\"spec\", %d), pong = net_adm:ping('%s')", node.port(), ME)
  e:eval [[register(checker, spawn(fun() -> (fun F() -> receive
      {check, From, Tag, Term, Text, Extra} ->
        R = try driver:check(Term, Text, maps:to_list(Extra)) catch C:X -> {C, X, Text} end,
        From ! {Tag, case R of same -> same; _ -> unicode:characters_to_binary(io_lib:format("~0tP", [R, 60])) end, Term}
    end, F() end)() end)),
    register(holder, spawn(fun() -> receive P -> P ! {holder, self()}, receive never -> ok end end end)), ok]]
end

describe("a value", function()
  setup(meet)
  teardown(function()
    node.stop()
    peers.close()
    actor.flush(actor._)
  end)

  it("is in Erlang what it should be, and comes back as it left", function()
    math.randomseed(SEED)
    actor.send({ "holder", E }, actor.self())
    local extra = { pid = actor.self(), ref = actor.ref(), theirs = helper.receive { "holder", V.p } }
    for i = 1, ROUNDS do
      local v, text = value(random(0, 4), extra)
      actor.send({ "checker", E }, tuple { atom "check", actor.self(), i, v, text,
        actor.atomkeys { Pid = extra.pid, Ref = extra.ref, Theirs = extra.theirs } })
      local answer = helper.receive(V.m:of { i, V._, V._ }) -- nil is no capture
      local verdict, back = answer[2], answer[3]
      local at = ("seed %d, round %d: %s"):format(SEED, i, text:sub(1, 500))
      assert.equal(atom "same", verdict, at)
      assert.equal(nil, differ(v, back, "at"), at)
    end
  end)

  it("of nil, false or true is those as a whole message and in tuples", function()
    for _, pair in ipairs { { nil, "nil" }, { true, "true" }, { false, "false" } } do
      local v, text = pair[1], pair[2]
      actor.send({ "checker", E }, tuple { atom "check", actor.self(), 1, v, text, actor.map {}, n = 6 })
      assert.equal(atom "same", (helper.receive { 1, V.verdict, actor._ }))
    end
    e:eval("register(whole, spawn(fun() -> receive {P, go} -> P ! nil, P ! true, P ! {nil, 1} end end))")
    actor.send({ "whole", E }, tuple { actor.self(), atom "go" })
    assert.is_nil((actor.receive()))
    assert.is_true((actor.receive()))
    local t = actor.receive()
    assert.is_nil(t[1])
    assert.equal(1, t[2])
  end)

  it("that Erlang has no word for raises in send, with its path", function()
    local cycle = {}
    cycle.self = cycle
    for _, case in ipairs {
      { { x = 0 / 0 }, "cannot send message.x (" },
      { { { 1 / 0 } }, "cannot send message[1][1] (" },
      { cycle, "cannot send message.self (" },
      { { f = print }, "cannot send message.f (" },
      { { f = function() end }, "cannot send message.f (function)" },
    } do
      local ok, why = pcall(actor.send, { "checker", E }, case[1])
      assert.is_false(ok)
      assert.matches(case[2], why, 1, true)
    end
    assert.equal("pong", node.ping(E))
  end)
end)

describe("a term of Erlang", function()
  setup(meet)
  teardown(function()
    node.stop()
    peers.close()
    actor.flush(actor._)
  end)

  local function echo_server()
    return actor.spawn_opt({ name = "echoes" }, function()
      local serve = actor.receiver(
        on(actor._, function(m)
          actor.send(m[2], tuple { atom "echo", m[3], m[4], n = 3 })
        end))
      while true do serve() end
    end)
  end

  it("comes back as it left", function()
    local server = echo_server()
    assert.equal("same", e:result(e:tell(("driver:there_and_back({echoes, '%s'}, %d, %d, 20000)")
      :format(ME, SEED, ROUNDS)), 120000), "seed " .. SEED)
    helper.kill(server)
  end)

  it("comes back as it left from another process", function()
    local server = echo_server()
    local proxy = actor.spawn_opt({ name = "way" }, function()
      while true do
        actor.send(server, (actor.receive()))
      end
    end)
    assert.equal("same", e:result(e:tell(("driver:there_and_back({way, '%s'}, %d, %d, 20000)")
      :format(ME, SEED + 1, ROUNDS // 4)), 120000), "seed " .. SEED + 1)
    helper.kill(server)
    helper.kill(proxy)
  end)
end)
