-- Who is not let in, and what is said of it: cookies and their files, certificates,
-- versions of TLS, addresses. Each refused connection is one line in the log.
local node = require "luactor.node"
local helper = require "spec.helper"
local peers = require "spec.peers"
local describe, it, assert, pending = describe, it, assert, pending
local setup, teardown, before_each, after_each = setup, teardown, before_each, after_each
local _ENV = _G

local ME, PEER <const> = "spec@127.0.0.1", "peer@127.0.0.1"

local function count(text, what)
  local n, at = 0, 1
  while true do
    local from, to = text:find(what, at, true)
    if not from then return n end
    n, at = n + 1, to + 1
  end
end

-- The peer has refused `n` connections in all, the last lines for this cause.
local function refused(peer, n, why)
  helper.wait(function() return count(peer:log(), " refused: ") >= n end)
  local log = peer:log()
  assert.equal(n, count(log, " refused: "))
  assert.is_truthy(log:find("node: connection from 127%.0%.0%.1:%d+ refused: [^\n]*"
    .. why:gsub("%p", "%%%0")), log)
end

describe("a cookie file", function()
  local path
  before_each(function()
    peers.open()
    path = peers.dir() .. "/cookie"
    peers.spill(path, "secret\n")
  end)
  after_each(function() node.stop() peers.close() end)

  local function start() return node.start { name = ME, cookie_file = path, epmd = false } end

  it("is its owner's alone", function()
    for _, mode in ipairs { "400", "600" } do
      peers.sh(("chmod %s %s"):format(mode, path))
      assert.is_true(start())
      node.stop()
    end
    for _, mode in ipairs { "640", "604", "644", "620", "602", "610" } do
      peers.sh(("chmod %s %s"):format(mode, path))
      local ok, why = pcall(start)
      assert.is_false(ok)
      assert.matches(("node.start: cookie_file: %s: others may read or write it (mode %s)"):format(path,
        mode), why, 1, true)
      assert.equal("nonode@nohost", node.name())
    end
  end)

  it("is a file, and holds one word", function()
    local function fails(why)
      local ok, text = pcall(start)
      assert.is_false(ok)
      assert.matches(why, text, 1, true)
    end
    peers.sh("chmod 600 " .. path)
    peers.spill(path, "two words")
    fails(path .. " holds no cookie")
    peers.spill(path, "")
    fails(path .. " holds no cookie")
    peers.sh(("rm %s; mkdir -m 700 %s"):format(path, path))
    fails(path .. ": not a regular file")
    peers.sh("rmdir " .. path)
    fails(path .. ": No such file")
  end)
end)

describe("a listener", function()
  after_each(function() node.stop() end)

  it("on another address than loopback needs TLS, or to be told", function()
    for _, address in ipairs { "0.0.0.0", "::", "10.0.0.1" } do
      local ok, why = pcall(node.start, { name = ME, cookie = "c", listen = 0, address = address,
        epmd = false })
      assert.is_false(ok)
      assert.matches(("listening on %s without TLS lets everybody on the network read and forge "
        .. "messages; use tls, or insecure = true"):format(address), why, 1, true)
    end
    assert.is_true(node.start { name = ME, cookie = "c", listen = 0, address = "0.0.0.0",
      epmd = false, insecure = true })
  end)
end)

describe("a refused connection", function()
  local peer, port
  before_each(function()
    peers.open()
    peer = peers.luactor { name = PEER }
    port = peer:eval("node.start{ name = %q, cookie = 'c', listen = 0, epmd = false } return node.port()",
      PEER)
  end)
  after_each(function() node.stop() peers.close() end)

  local function connect(opts)
    opts.name, opts.epmd = opts.name or ME, false
    node.start(opts)
    node.place(PEER, "127.0.0.1:" .. port)
    local ok, why = node.connect(PEER)
    node.stop()
    return ok, why
  end

  it("for a wrong cookie is one line with the address", function()
    assert.is_nil((connect { cookie = "wrong" }))
    refused(peer, 1, "cookie")
    assert.is_nil((connect { cookie = "wrong too" }))
    refused(peer, 2, "cookie")
    assert.is_true((connect { cookie = "c" }))
    refused(peer, 2, "cookie")
  end)

  it("for the name of the node itself is one line", function()
    node.start { name = PEER, cookie = "c", epmd = false }
    node.stop()
    local other = peers.luactor {}
    other:eval([[node.start{ name = %q, cookie = "c", epmd = false }
      node.place("x@127.0.0.1", "127.0.0.1:%s")
      return node.connect "x@127.0.0.1"]], PEER, port)
    refused(peer, 1, "it has the name of this node")
  end)

  it("for nonsense is one line", function()
    peers.sh(("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%s; cat >&3; cat <&3'")
      :format(port))
    refused(peer, 1, "")
  end)

  it("is counted in a storm", function()
    local n <const> = 60
    peers.sh(("for i in $(seq %d); do timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/%s; echo garbage >&3; cat <&3'; done")
      :format(n, port))
    helper.wait(function()
      local log = peer:log()
      local hidden = 0
      for k in log:gmatch "node: (%d+) more connections refused" do hidden = hidden + tonumber(k) end
      return count(log, " refused: ") + hidden == n
    end)
    assert.is_true((connect { cookie = "c" }))
  end)
end)

describe("under TLS", function()
  local peer, port, tls
  local ok
  setup(function()
    peers.open()
    ok = peers.has "openssl"
    if not ok then return end
    tls = peers.certificate("node", { "127.0.0.1" })
    peer = peers.luactor { name = PEER }
    port = peer:eval([[node.start{ name = %q, cookie = 'c', listen = 0, epmd = false,
      tls = { cert = %q, key = %q, ca = %q } } return node.port()]], PEER, tls.cert, tls.key, tls.ca)
  end)
  teardown(function() peers.close() end)
  after_each(function() node.stop() end)

  local lines = 0
  local function refuses(why)
    lines = lines + 1
    refused(peer, lines, why)
  end

  local function client(words)
    return select(2, peers.sh(("timeout 5 openssl s_client -connect 127.0.0.1:%s -cert %s -key %s -CAfile %s %s </dev/null")
      :format(port, tls.cert, tls.key, tls.ca, words)))
  end

  it("versions 1.2 and 1.3 are taken, older ones refused", function()
    if not ok then return pending "no openssl here" end
    assert.matches("TLSv1.3", client "-tls1_3", 1, true)
    refuses "closed by the peer"
    assert.matches("TLSv1.2", client "-tls1_2", 1, true)
    refuses "closed by the peer"
    client "-tls1_1 -cipher ALL:@SECLEVEL=0"
    refuses "TLS handshake: "
  end)

  it("certificates of others are refused", function()
    if not ok then return pending "no openssl here" end
    local other = peers.certificate("other", { "127.0.0.1" }, "otherca")
    node.start { name = ME, cookie = "c", epmd = false,
      tls = { cert = other.cert, key = other.key, ca = tls.ca } }
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    refuses "TLS handshake: "
  end)

  it("a certificate for another host is refused", function()
    if not ok then return pending "no openssl here" end
    local elsewhere = peers.certificate("elsewhere", { "elsewhere.example" })
    node.start { name = ME, cookie = "c", epmd = false, tls = elsewhere }
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    refuses "its certificate is not for its host"
  end)

  it("an expired certificate is refused", function()
    if not ok then return pending "no openssl here" end
    local dir = peers.dir()
    local made, text = peers.sh(([[cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
      -keyout old.key -out old.csr -subj /CN=old && printf 'subjectAltName=DNS:127.0.0.1,IP:127.0.0.1\n' >ext &&
      openssl x509 -req -in old.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days -1 -extfile ext -out old.pem]])
      :format(dir))
    if not made then return pending(text) end
    node.start { name = ME, cookie = "c", epmd = false,
      tls = { cert = dir .. "/old.pem", key = dir .. "/old.key", ca = tls.ca } }
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    refuses "certificate has expired"
  end)

  it("none at all, or plain text, is refused", function()
    if not ok then return pending "no openssl here" end
    peers.sh(("timeout 5 openssl s_client -connect 127.0.0.1:%s </dev/null"):format(port))
    refuses "TLS handshake: "
    node.start { name = ME, cookie = "c", epmd = false }
    node.place(PEER, "127.0.0.1:" .. port)
    assert.is_nil((node.connect(PEER)))
    refuses "TLS handshake: "
  end)
end)
