---@meta luactor

-- Types of the functions that luactor makes in C, for editors and for the reference. Never
-- loaded. A spec compares the list with `require "luactor"`.

---Times are milliseconds. A destination is a pid, an alias, a mailbox, a registered name, or `{ name, node }`.
---@class luactor
---@field var luactor.Vars      makes pattern variables: `V.name`, `V.name "type"`, `V.rest "..."`, `V.name:of(p)`
---@field _ luactor.Pattern     matches anything, captures nothing
---@field null luactor.Atom     the atom nil inside lists and maps, which cannot hold nil
local actor = {}

---@class luactor.Pid: lightuserdata
local Pid = {}
---@class luactor.Ref: lightuserdata
---@class luactor.Alias: lightuserdata
---@class luactor.Timer: lightuserdata
---@class luactor.Mailbox: lightuserdata
local Mailbox = {}
---@class luactor.Pool: lightuserdata  the address of a pool: see luactor.pool
local Pool = {}
---@class luactor.Atom: userdata
---@class luactor.Opaque: userdata  a term of Erlang that can only be passed on
---@class luactor.Pattern
---@class luactor.Clause
---@class luactor.Vars: { [string]: luactor.Pattern }

---@alias luactor.Dest luactor.Pid|luactor.Alias|luactor.Mailbox|luactor.Pool|string|{ [1]: string, [2]: string }
---@alias luactor.Overflow "block"|"drop_new"|"drop_old"|"error"|"kill"

---@class luactor.MailboxOptions
---@field limit integer?              most messages that wait; nil: no limit
---@field overflow luactor.Overflow?  what a full mailbox does; default "block"

---Of a process and all that it and its children spawn, together.
---@class luactor.Limits
---@field memory integer?     bytes: heaps, waiting messages, timers and the like, 2 KiB for each process; over it the group ends
---@field processes integer?  a further spawn raises "system_limit"
---@field messages integer?   that wait in mailboxes, counted in steps of 16; over it the group ends
---@field handles integer?    open files and pipes, threads of its own: io.open returns nil, "too many open handles", 24
---@field cpu number?         share of one scheduler: 0.5 is half of one, 2 is two; who has used it up waits

---@class luactor.GroupInfo
---@field id integer
---@field memory integer     in use, and likewise the others; for each that is limited there is `memory_limit`...
---@field processes integer
---@field messages integer
---@field handles integer
---@field cpu_limit number?
---@field cpu_ms integer?    with cpu_limit: what it has used so far

---@class luactor.SpawnOptions
---@field sandbox string[]?  libraries (coroutine math os string table utf8), lpeg and Lua modules that the process and its
---children may have beside the core calls; needs max_heap and mailbox.limit. See docs/guide/limits.md
---@field limits luactor.Limits?  the process heads a group of its own, which ends with it
---@field link boolean?
---@field monitor boolean?        the reference is the second result
---@field name string?            registered before the process runs; raises when it is taken
---@field priority "low"|"normal"|"high"|"max"|nil
---@field max_heap integer?       bytes, Lua heap and waiting messages together
---@field mailbox luactor.MailboxOptions?
---@field trap_exit boolean?
---@field gc "incremental"|"generational"|"off"|nil
---@field thread integer|"own"|nil  a scheduler's number from 1, or a thread for this process alone
---@field env table?              further globals; travels by value
---@field label string?
---@field node string?            name@host: there, by "module.function" only, without limits, thread and env; suspends
---until it is decided. A node that cannot be reached gives a process that has ended with "noconnection"

-- Processes ---------------------------------------------------------------------

---Start a process that runs `f(...)`. Never suspends; never fails because of what `f` does.
---Raises "system_limit" past --max-processes, and names the path of what cannot travel.
---@param f function|string  a function, which travels with its upvalues, or "module.function"
---@return luactor.Pid
function actor.spawn(f, ...) end

---As spawn, linked: no window in which a crash is missed.
---@param f function|string
---@return luactor.Pid
function actor.spawn_link(f, ...) end

---As spawn, monitored.
---@param f function|string
---@return luactor.Pid, luactor.Ref
function actor.spawn_monitor(f, ...) end

---@param opts luactor.SpawnOptions  an unknown option raises
---@param f function|string
---@return luactor.Pid, luactor.Ref?
function actor.spawn_opt(opts, f, ...) end

---Declare modules to be pure: loading them makes values and does nothing else. Requires each here, and
---builds an image in which it is loaded, from which processes begin that are spawned by "module.function" (and
---functions of which it is an upvalue). Raises when a module is not found or its loading fails. May suspend.
---@param ... string  names of modules
---@return boolean ok  false: an image was refused; processes then load the module as ever
---@return string? reason  the module, and why
function actor.preload(...) end

---@return luactor.Pid
function actor.self() end

---The process that spawned this one; nil for one that the host was given.
---@return luactor.Pid?
function actor.parent() end

---Set the text shown in reports; without an argument, return it.
---@param text string?
function actor.label(text) end

---End the caller (one argument), running its pending <close> variables; or send an exit signal (two). "kill" cannot be trapped.
---@param pid_or_reason any
---@param reason any
function actor.exit(pid_or_reason, reason) end

---Have exit signals of links come as messages { "EXIT", pid, reason }. Returns the old setting.
---@param on boolean
---@return boolean
function actor.trap_exit(on) end

---Monotonic milliseconds.
---@return number
function actor.now() end

---Let others run. Suspends.
function actor.yield() end

---Suspends for `ms` milliseconds.
---@param ms number
function actor.sleep(ms) end

---Stop the host with this exit status. Does not return.
---@param status integer?
function actor.halt(status) end

---@param pid luactor.Pid
function actor.link(pid) end

---@param pid luactor.Pid
function actor.unlink(pid) end

---One message { "DOWN", ref, "process", pid or name, reason } when it ends, or at once ("noproc") when it is gone.
---@param dest luactor.Dest
---@return luactor.Ref
function actor.monitor(dest) end

---@param ref luactor.Ref
---@param opts { flush: boolean? }?  flush: drop a DOWN message that has come already
---@return boolean was_on
function actor.demonitor(ref, opts) end

---Raises when the name or the process has one already.
---@param name string
---@param pid luactor.Pid?  default: the caller
function actor.register(name, pid) end

---@param name string
function actor.unregister(name) end

---@param name string
---@return luactor.Pid?
function actor.whereis(name) end

---@return string[]
function actor.registered() end

---@param pid luactor.Pid
---@return boolean
function actor.is_alive(pid) end

---@return luactor.Pid[]
function actor.processes() end

---Information on a process, or one item of it; nil when it is gone. Suspends until the process's next safe point (half a second
---at most: then only what can be seen from outside).
---@param pid luactor.Pid
---@param key string?
---@return any
function actor.info(pid, key) end

---Run `body(scope)`; returns when all children of the scope have ended. Suspends. See luactor._scope.
---@param body fun(scope: luactor.Scope): ...
function actor.scope(body) end

---Run `f(...)` in a process with a thread of its own and return its results; raises its error. Suspends.
---@param f function
function actor.blocking(f, ...) end

-- Messages ----------------------------------------------------------------------

---Queue a copy of `msg`. A process that is gone is no error; a name that nobody has raises. Suspends when the mailbox is full
---and its policy is "block"; raises "full" when it refuses.
---@param dest luactor.Dest
---@param msg any
---@param opts { priority: boolean?, connect: boolean? }?  connect = false: to another node only over a connection there is
---@return true
function actor.send(dest, msg, opts) end

---As send, but says why it could not; never suspends.
---@param dest luactor.Dest
---@param msg any
---@return true?, "noproc"|"full"|"noconnection"|nil
function actor.try_send(dest, msg, opts) end

---send(dest, { ... }) without building the table; nil arguments raise.
---@param dest luactor.Dest
---@return true
function actor.post(dest, ...) end

---send(dest, { "$gen_cast", msg }).
---@param dest luactor.Dest
---@param msg any
function actor.cast(dest, msg) end

---Who sent the message last received; nil for the host.
---@return luactor.Pid?
function actor.sender() end

---Send `msg` after `ms`. A name is looked up when the time has come. Ends with the caller.
---@param ms number
---@param dest luactor.Dest
---@param msg any
---@return luactor.Timer
function actor.send_after(ms, dest, msg) end

---As send_after, every `ms`; beats that were missed are left out.
---@param ms number
---@param dest luactor.Dest
---@param msg any
---@return luactor.Timer
function actor.send_every(ms, dest, msg) end

---@param timer luactor.Timer
---@return number|false ms_left
function actor.cancel(timer) end

---A reference that no other process has. A receive that demands it does not look at older messages.
---@return luactor.Ref
function actor.ref() end

---A further address of the caller, until unalias.
---@return luactor.Alias
function actor.alias() end

---@param alias luactor.Alias
---@return boolean was_on
function actor.unalias(alias) end

---@param value any  functions raise
---@return string
function actor.pack(value) end

---Safe on any bytes: raises for what pack did not make, and runs nothing.
---@param packed string
---@return any
function actor.unpack(packed) end

---@param text string  as tostring(pid) writes it
---@return luactor.Pid
function actor.pid(text) end

-- Receiving ---------------------------------------------------------------------

---The oldest message; or the captures of the first that matches a pattern, or nil, "timeout"; or what the handler of the first
---clause that matches returns. Suspends.
function actor.receive(...) end

---Clauses (and an `after`) compiled for repeated use: calling it, with an optional timeout, is a receive.
---@param ... luactor.Clause
---@return fun(ms: number?): ...
function actor.receiver(...) end

---A clause. The guard is an expression over the captured names, or a function of the captures; one that raises is false.
---@param pattern any
---@param guard_or_handler string|function
---@param handler function?
---@return luactor.Clause
function actor.on(pattern, guard_or_handler, handler) end

---@param ms number
---@param handler function
---@return luactor.Clause
function actor.after(ms, handler) end

---@param type "nil"|"boolean"|"integer"|"float"|"number"|"string"|"table"|"function"|"pid"|"ref"
---@return luactor.Pattern
function actor.is(type) end

---A table with these elements and keys and no other keys.
---@param pattern table
---@return luactor.Pattern
function actor.exact(pattern) end

---The first alternative that matches; all must bind the same names.
---@return luactor.Pattern
function actor.oneof(...) end

---The textual form: `{ 'add', x: integer, y, ...rest } when x > 0`. `^name` stands for a value of `values`.
---@param text string
---@param values table<string, any>?
---@return luactor.Pattern
function actor.match(text, values) end

---A call's request: `from` is bound for actor.reply, the request itself is matched by `pattern`.
---@param from luactor.Pattern
---@param pattern any
---@return luactor.Pattern
function actor.request(from, pattern) end

---Drop all matching messages of the own mailbox; how many.
---@param pattern any
---@return integer
function actor.flush(pattern) end

---A further mailbox of the caller. It may be sent to and travels in messages.
---@param opts luactor.MailboxOptions?
---@return luactor.Mailbox
function actor.mailbox(opts) end

-- Calls -------------------------------------------------------------------------

---Send { "$gen_call", { self, tag }, request } and return the reply. Suspends. Raises a table with the fields reason, dest,
---request: reason "timeout", "noproc", "noconnection", "full", "deadlock" (with ring) or the server's exit reason.
---@param dest luactor.Dest
---@param request any
---@param ms number?  default 5000
---@return any
function actor.call(dest, request, ms) end

---As call: true and the reply, or false, reason [, ring].
---@param dest luactor.Dest
---@param request any
---@param ms number?
---@return boolean, any
function actor.try_call(dest, request, ms) end

---Answer a request, once, from any process.
---@param from table  as actor.request binds it
---@param value any
function actor.reply(from, value) end

-- Erlang's types ------------------------------------------------------------------

---An atom: one value for one text. A string in a pattern matches it too.
---@param text string  UTF-8, at most 255 characters
---@return luactor.Atom
function actor.atom(text) end

---Make the table a tuple. `#` is its size; with nil in it, the field n says it.
---@param elements table
---@return table
function actor.tuple(elements) end

---Make the table a map towards Erlang, also when it is empty or a sequence.
---@param pairs table
---@return table
function actor.map(pairs) end

---Make the table a map whose string keys are atoms towards Erlang.
---@param pairs table
---@return table
function actor.atomkeys(pairs) end

---Make the table an improper list: [items... | tail].
---@param items table  at least one
---@param tail any     no list
---@return table
function actor.cons(items, tail) end

---In a pattern: this string, and no atom of that text. Elsewhere: the string.
---@param text string
---@return table
function actor.bin(text) end

---fun module:fn/arity, with these fields.
---@param module string
---@param fn string
---@param arity integer  0 to 255
---@return luactor.Opaque
function actor.export(module, fn, arity) end

-- Methods of identities -----------------------------------------------------------

---@param msg any
function Pid:send(msg) end

---@param pattern any
---@param ms number?
function Mailbox:receive(pattern, ms) end

---A clause for this mailbox, in any receive.
---@param pattern any
---@param guard_or_handler string|function
---@param handler function?
---@return luactor.Clause
function Mailbox:on(pattern, guard_or_handler, handler) end

---@param msg any
function Mailbox:send(msg) end

---@class luactor.PoolInfo
---@field size integer     how many members there should be
---@field members integer  how many there are
---@field idle integer     members that wait for work
---@field busy integer     the others
---@field queue integer    messages that wait
---@field taken integer    messages that were taken
---@field crashed integer  members that crashed

---@param msg any
function Pool:send(msg) end

---Have so many members from now on.
---@param size integer
---@return true
function Pool:resize(size) end

---nil: the pool has ended.
---@return luactor.PoolInfo?
function Pool:info() end

---@param reason any  default "normal"
---@param ms number?  how long to wait; default for ever
---@return true
function Pool:stop(reason, ms) end

---Its messages go; later ones find nobody.
function Mailbox:close() end

return actor
