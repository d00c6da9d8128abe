local actor = require "luactor"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along
local pack, unpack = actor.pack, actor.unpack

-- A value with everything that may be packed.
local function sample()
  local shared = { 1, 2, 3 }
  local t = {
    "text", 1, -1, 2 ^ 40 // 1 | 0, 0.5, 1e300, true, false, "\0\xff",
    list = { 1, 2, { 3 } }, a = shared, b = shared,
    big = math.maxinteger, small = math.mininteger,
    long = ("0123456789"):rep(1000), pid = actor.self(), ref = actor.ref(),
  }
  t.cycle = t
  return t
end

describe("actor.pack", function()
  it("makes a string", function()
    assert.equal("string", type(pack({ 1, 2 })))
  end)

  it("makes equal strings of equal scalars", function()
    assert.equal(pack("same"), pack("same"))
  end)

  it("raises for a function", function()
    assert.has_error(function() pack(function() end) end)
  end)

  it("raises for a function inside a table and names its path", function()
    local ok, e = pcall(pack, { handlers = { stop = function() end } })
    assert.same({ false, "handlers.stop" },
      { ok, tostring(e):match "handlers%.stop" })
  end)

  it("raises for a coroutine", function()
    assert.has_error(function() pack(coroutine.create(print)) end)
  end)

  it("raises for a userdata", function()
    assert.has_error(function() pack(io.stdout) end)
  end)

  it("takes 200 levels", function()
    local t = "bottom"
    for _ = 1, 200 do t = { t } end
    assert.same(t, unpack(pack(t)))
  end)

  it("takes 200 levels of tuples", function()
    local t = actor.tuple {}
    for _ = 1, 199 do t = actor.tuple { t } end
    assert.equal(pack(t), pack(unpack(pack(t))))
    assert.has_error(function() pack(actor.tuple { t }) end)
  end)

  it("raises past 200 levels", function()
    local t = "bottom"
    for _ = 1, 201 do t = { t } end
    assert.has_error(function() pack(t) end)
  end)
end)

describe("actor.unpack", function()
  it("restores every kind of scalar", function()
    for _, x in ipairs { true, false, 0, -1, 255, 256, math.maxinteger,
        math.mininteger, 0.5, 1.0, math.huge, "", "text", "\0\xff" } do
      local back = unpack(pack(x))
      assert.same({ x, math.type(x) }, { back, math.type(back) })
    end
  end)

  it("restores nil", function()
    assert.same({ n = 1 }, table.pack(unpack(pack(nil))))
  end)

  it("restores NaN", function()
    local x = unpack(pack(0 / 0))
    assert.is_true(x ~= x)
  end)

  it("restores a large table", function()
    local t = {}
    for i = 1, 5000 do t[i] = { id = i, name = "n" .. i } end
    assert.same(t, unpack(pack(t)))
  end)

  it("restores shared tables", function()
    local back = unpack(pack(sample()))
    assert.is_true(rawequal(back.a, back.b))
  end)

  it("restores cycles", function()
    local back = unpack(pack(sample()))
    assert.is_true(rawequal(back, back.cycle))
  end)

  it("restores pids and refs", function()
    local ref = actor.ref()
    local back = unpack(pack { actor.self(), ref })
    assert.is_true(back[1] == actor.self() and back[2] == ref)
  end)

  it("raises for the empty string", function()
    assert.has_error(function() unpack("") end)
  end)

  it("raises for what is no string", function()
    assert.has_error(function() unpack({}) end)
  end)

  it("raises with a text", function()
    local _, e = pcall(unpack, "\131\109\255\255")
    assert.equal("string", type(e))
  end)

  it("raises for each truncation of good bytes", function()
    local bytes = pack(sample())
    local accepted = {}
    for n = 0, #bytes - 1 do
      if pcall(unpack, bytes:sub(1, n)) then accepted[#accepted + 1] = n end
    end
    assert.same({}, accepted)
  end)

  it("raises for bytes behind the end", function()
    assert.has_error(function() unpack(pack({ 1 }) .. "\0") end)
  end)

  it("survives each single corrupt byte", function()
    local t = sample()
    t.long = "shorter"
    local bytes = pack(t)
    for i = 1, #bytes do
      for _, flip in ipairs { 0x01, 0x80, 0xff, 0x40, 0x7f } do
        local bad = bytes:sub(1, i - 1)
          .. string.char(bytes:byte(i) ~ flip) .. bytes:sub(i + 1)
        pcall(unpack, bad)
      end
    end
    assert.same({ 1 }, unpack(pack { 1 }))
  end)

  it("survives each value of the tag", function()
    for tag = 0, 255 do
      for _, rest in ipairs { "", "\0", "\1", "\0\0\0\1", "\255\255\255\255",
          ("\0"):rep(40), ("\255"):rep(40), ("a"):rep(40) } do
        pcall(unpack, "\131" .. string.char(tag) .. rest)
      end
    end
    assert.same({ 1 }, unpack(pack { 1 }))
  end)

  it("survives random bytes", function()
    local state = 12345
    local function random(n)
      state = (state * 1103515245 + 12345) & 0x7fffffff
      return (state >> 8) % n
    end
    for _ = 1, 5000 do
      local bytes = { "\131" }
      for i = 2, 2 + random(40) do bytes[i] = string.char(random(256)) end
      pcall(unpack, table.concat(bytes))
    end
    assert.same({ 1 }, unpack(pack { 1 }))
  end)

  it("raises for a list that claims more than there is", function()
    assert.has_error(function() unpack("\131\108\255\255\255\255\97\1\106") end)
  end)

  it("raises for a binary that claims more than there is", function()
    assert.has_error(function() unpack("\131\109\255\255\255\255abc") end)
  end)

  it("raises for a map that claims more than there is", function()
    assert.has_error(function() unpack("\131\116\255\255\255\255\97\1\97\1") end)
  end)

  it("raises for hostile nesting", function()
    local level = "\108\0\0\0\1"
    assert.has_error(function()
      unpack("\131" .. level:rep(1000000) .. "\106" .. ("\106"):rep(1000000))
    end)
  end)

  it("raises for nesting of 201 levels", function()
    local bytes = "\131" .. ("\108\0\0\0\1"):rep(201) .. "\97\1"
      .. ("\106"):rep(201)
    assert.has_error(function() unpack(bytes) end)
  end)

  it("reads a list as Erlang writes it", function()
    assert.same({ 1, 2, 3 }, unpack("\131\107\0\3\1\2\3"))
  end)

  it("reads a map as Erlang writes it", function()
    assert.same({ a = 1 }, unpack("\131\116\0\0\0\1\109\0\0\0\1a\97\1"))
  end)

  it("reads maps with the same and with other keys one after the other", function()
    -- Bytes of a MAP, whatever it may hold.
    local function map(...)
      local parts = {}
      for i, k in ipairs { ... } do
        parts[i] = "m" .. string.pack(">s4", k) .. "a" .. string.char(i)
      end
      return "\131t" .. string.pack(">I4", #parts) .. table.concat(parts)
    end
    for _ = 1, 5 do
      assert.same({ id = 1, name = 2, size = 3 },
        unpack(map("id", "name", "size")))
    end
    assert.same({ id = 1, name = 2, sizes = 3 },
      unpack(map("id", "name", "sizes")))
    assert.same({ id = 1, size = 2, name = 3 },
      unpack(map("id", "size", "name")))
    assert.same({ id = 3, name = 2 }, unpack(map("id", "name", "id")))
    assert.same({ id = 1, name = 2, size = 3 },
      unpack(map("id", "name", "size")))
  end)

  it("never makes a function", function()
    -- The bytes of a function as it travels between processes of a host are
    -- not known here; bytecode under each tag is close enough.
    local code = string.dump(function() return 1 end)
    local made = false
    for tag = 0, 255 do
      local ok, x = pcall(unpack, "\131" .. string.char(tag)
        .. string.pack(">I4", #code) .. code)
      made = made or ok and type(x) == "function"
    end
    assert.is_false(made)
  end)
end)
