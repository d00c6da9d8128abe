-- A million messages among a thousand processes, some of which are killed
-- meanwhile. Checked is conservation: between two processes that live to the
-- end nothing is lost, doubled or reordered; what comes from one that is
-- killed is a gapless beginning; every monitor fires exactly once; and the
-- host is as empty afterwards as before.
--
-- LUACTOR_SPEC_SCALE scales the number of processes and of messages.
local actor = require "luactor"
local helper = require "spec.helper"
local stress = require "spec.fixture.stress"

local describe, it, assert = describe, it, assert
local _ENV = _G -- functions that travel take the real globals along

local size = math.max(40, math.floor(1000 * math.sqrt(math.min(helper.scale, 1))))

describe("a thousand processes under fire", function()
  local processes_before

  it("lose, double and reorder nothing", function()
    helper.mark()
    processes_before = #actor.processes()
    assert.same({}, stress.run(size))
  end)

  it("leave no process behind", function()
    helper.wait(function() return #actor.processes() == processes_before end)
    assert.equal(processes_before, #actor.processes())
  end)

  it("leave no message or name behind", function()
    assert.has_no_error(helper.check)
  end)

  -- With one arena of the allocator, so that what a run leaves behind adds up
  -- and how full the arenas are does not matter. A sanitizer, for which the
  -- runs are scaled down, keeps what was freed and looks for leaks itself.
  if helper.scale == 1 then
    it("need no more memory when that is repeated", function()
      local out, err = helper.cli {
        env = "MALLOC_ARENA_MAX=1",
        code = [[
          local stress = require "spec.fixture.stress"
          local first, last
          for round = 1, 13 do
            stress.run(200)
            collectgarbage()
            last = stress.resident_kb()
            if round == 3 then first = last end
          end
          print(last < first * 1.1 + 2048 and "steady" or first .. " KB, " .. last .. " KB")
        ]],
      }
      assert.equal("steady\n", out, err)
    end)
  end
end)
