-- A node under attack: garbage, cut and damaged handshakes and packets, floods, clients that
-- dawdle or read nothing. It stays up, its memory stays bounded, and an honest peer (this
-- process) is served all the while. LUACTOR_SPEC_SEED sets the seed, which failures name.
local actor = require "luactor"
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local V = actor.var
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown, before_each = setup, teardown, before_each
local _ENV = _G

local ME, L <const> = "spec@127.0.0.1", "l@127.0.0.1"
local SEED <const> = tonumber(os.getenv "LUACTOR_SPEC_SEED") or os.time()
local N <const> = math.max(20, 200 * helper.scale // 1 | 0)

if not (peers.has "erl" and peers.has "erlc" and peers.has "openssl") then
  describe("a node under attack", function()
    it("is tested", function()
      pending "no erl or openssl here: apt-get install erlang-base erlang-ssl openssl"
    end)
  end)
  return
end

-- A sanitizer keeps what is freed for a while.
local ROOM <const> = (os.getenv "LUACTOR_SANITIZE" or "") ~= "" and 20 or 1

local l, e, target, port

local function rss() -- KB
  return tonumber(l:eval [[
    collectgarbage()
    for line in io.lines "/proc/self/status" do
      local kb = line:match "VmRSS:%s*(%d+)"
      if kb then return kb end
    end]])
end

local function add(k) return actor.call({ "server", L }, { "add", k }, 20000) end

-- Let the intruder do something, and be served meanwhile.
local function during(code, ...)
  local id = e:tell(code:format(...))
  local path = e.answers .. "/" .. id
  local calls = 0
  repeat
    assert.equal(calls + 1, add(calls))
    calls = calls + 1
    actor.sleep(2)
  until peers.slurp(path)
  return e:result(id)
end

local function attack(how)
  describe("a node under attack " .. how, function()
    local before
    setup(function()
      peers.open()
      local tls, text = nil, "nil"
      if how == "under TLS" then
        tls = peers.certificate("node", { "127.0.0.1" })
        text = ("{ cert = %q, key = %q, ca = %q }"):format(tls.cert, tls.key, tls.ca)
      end
      l = peers.luactor { name = "l" }
      port = l:eval(([[
        node.start{ name = %q, cookie = "c", listen = 0, epmd = false, tls = %s }
        actor.spawn_opt({ name = "server" }, function()
          local slow = 0
          local serve = actor.receiver(
            on(actor.request(V.from, { "add", V.k "number" }), function(from, k) actor.reply(from, k + 1) end),
            on(actor.request(V.from, "slow"), function(from) actor.reply(from, slow) end),
            on({ "slow", V.x }, function(x) slow = x end),
            on(actor._, function() end))
          while true do serve() end
        end)
        actor.spawn_opt({ name = "generous" }, function()
          local serve = actor.receiver(
            on({ "big", V.from "pid" }, function(from) actor.send(from, ("x"):rep(60000)) end),
            on(actor._, function() end))
          while true do serve() end
        end)
        return node.port()]]):format(L, text))
      e = peers.erl {} -- no node
      local ok, why = peers.sh(("erlc -o %s spec/fixture/intruder.erl"):format(peers.dir()))
      assert.is_true(ok, why)
      target = tls and ("{%d, \"c\", [{certfile, %q}, {keyfile, %q}, {cacertfile, %q}, {verify, verify_none}]}")
        :format(port, tls.cert, tls.key, tls.ca) or ("{%d, \"c\", none}"):format(port)
      if tls then e:eval "ok = ssl:start()" end
      node.start { name = ME, cookie = "c", listen = 0, epmd = false, tls = tls }
      node.place(L, "127.0.0.1:" .. port)
      assert.is_true(node.connect(L))
      node.monitor(L, true)
    end)
    before_each(function()
      add(1)
      before = rss()
    end)
    teardown(function()
      -- Whatever was done to it, the honest peer noticed nothing.
      local lost = actor.flush { "nodedown", actor._ }
      node.stop()
      peers.close()
      actor.flush(actor._)
      assert.equal(0, lost)
    end)

    it("endures garbage", function()
      during("intruder:garbage(%s, %d, %d)", target, SEED, 2 * N)
    end)

    it("endures damaged handshakes", function()
      during("intruder:handshakes(%s, %d, %d)", target, SEED + 1, N)
    end)

    it("endures damaged packets of peers that have proved themselves", function()
      during("intruder:frames(%s, %d, %d, <<\"server\">>)", target, SEED + 2, N)
      assert.is_true(rss() < before + 60000 * ROOM, "seed " .. SEED)
    end)

    it("endures several at once", function()
      local ids = {}
      for i = 1, 3 do
        ids[#ids + 1] = e:tell(("intruder:frames(%s, %d, %d, <<\"server\">>)"):format(target,
          SEED + 10 + i, N // 2))
        ids[#ids + 1] = e:tell(("intruder:garbage(%s, %d, %d)"):format(target, SEED + 20 + i, N))
      end
      during("intruder:handshakes(%s, %d, %d)", target, SEED + 30, N // 2)
      for _, id in ipairs(ids) do e:result(id, 120000) end
      assert.is_true(rss() < before + 60000 * ROOM, "seed " .. SEED)
    end)

    it("understands one who sends byte by byte", function()
      assert.equal("ok", e:eval("intruder:byte_by_byte(%s, <<\"server\">>)", target))
      helper.wait(function() return actor.call({ "server", L }, "slow") == 42 end)
    end)

    it("swallows what is too large, and does not set memory aside for promises", function()
      assert.equal("ok", during("intruder:big_frames(%s, <<\"server\">>)", target))
      helper.wait(function() return actor.call({ "server", L }, "slow") == 43 end)
      assert.is_true(rss() < before + 80000 * ROOM)
    end)

    it("holds back for one who reads nothing", function()
      local top = before
      local id = e:tell(("intruder:greedy(%s, <<\"generous\">>, 5000, 500)"):format(target))
      local path = e.answers .. "/" .. id
      repeat -- who sends to it is held back, others are not
        local now = rss()
        top = now > top and now or top
        assert.equal("pong", node.ping(L))
      until peers.slurp(path)
      assert.equal("5000", e:result(id))
      assert.is_true(top < before + 60000 * ROOM, ("%d KB, %d before"):format(top, before))
      assert.equal(2, add(1))
    end)

    it("is open to honest peers during and after a flood of connections that say nothing", function()
      local top = before
      local id = e:tell(("intruder:flood(%s, 1500, 1500)"):format(target))
      local path = e.answers .. "/" .. id
      repeat
        assert.equal(2, add(1))
        local now = rss()
        top = now > top and now or top
      until peers.slurp(path)
      e:result(id)
      assert.is_true(top < before + 60000 * ROOM, ("%d KB, %d before"):format(top, before))
      assert.is_true(node.disconnect(L))
      assert.equal(L, (helper.receive { "nodedown", V.name }))
      assert.is_true(node.connect(L))
      assert.equal(2, add(1))
    end)

    it("does not wait for one who dawdles", function()
      local ms = tonumber(e:eval("intruder:loris(%s, 15000)", target))
      assert.is_true(ms > 3000 and ms < 12000, tostring(ms))
      assert.equal(2, add(1))
      assert.is_true(rss() < before + 60000 * ROOM)
    end)
  end)
end

attack "over TCP"
attack "under TLS"
