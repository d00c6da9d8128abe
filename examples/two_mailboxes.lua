-- A process with two mailboxes: orders wait in one of their own, so control
-- messages are never behind them, and one receive waits on both.
local actor = require "luactor"
local on, V = actor.on, actor.var

local function shop(owner)
  local orders = actor.mailbox()
  owner:send { "send orders to", orders }

  -- Looks at its own mailbox alone, whatever is in the other one.
  actor.receive "open"
  print "open"

  local open, sold = true, 0
  local serve = actor.receiver(
    on("close", function() open = false end),
    orders:on({ V.what "string", V.price "number" }, "price < 100",
      function(what, price)
        sold = sold + 1
        print(("sold %s for %d"):format(what, price))
      end),
    orders:on({ V.what "string", V._ }, function(what)
      print("too expensive: " .. what)
      owner:send "no more orders"
    end))
  while open do serve() end

  orders:close()
  print("closed, sold " .. sold)
end

local pid, ref = actor.spawn_monitor(shop, actor.self())
local orders = actor.receive { "send orders to", V.mailbox }
orders:send { "bread", 3 }
orders:send { "milk", 1 }
orders:send { "yacht", 250000 }
pid:send "open"
actor.receive "no more orders"
pid:send "close"
actor.receive { "DOWN", ref, "process", pid, V._ }
