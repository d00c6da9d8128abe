-- The child of bench/sup.lua, a module as in a program: its class travels by name.
local actor = require "luactor"
local gen_server = require "luactor.gen_server"

local M = gen_server.define "crasher"

function M:init(main) actor.send(main, { "up", actor.self() }) end

function M:handle_info() return gen_server.stop_with "crash" end

function M.begin(main) return M:start_link(main) end

return M
