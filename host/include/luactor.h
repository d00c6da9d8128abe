/* luactor: a host of Lua actors, for C programs.
 *
 * A host owns scheduler threads and processes; every process is a Lua state of
 * its own. Hosts share nothing: several may live in one program. A host touches
 * no signal, no standard stream and no locale unless its configuration says so.
 *
 * The last line of each comment says: thread · blocking · errors. Functions
 * that can fail return 0 or a negative LUACTOR_E code; results go to
 * out-parameters on success only. NULL where it is not allowed, and a number that is no
 * pid, address or reference where one is meant, are EINVAL; functions without errors then
 * do nothing and return 0 or NULL. "The host's own" threads are those that it has made,
 * and whichever calls its processes' C functions or its callbacks. */
#ifndef LUACTOR_H
#define LUACTOR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LUACTOR_API __attribute__((visibility("default")))
#else
#define LUACTOR_API
#endif

#define LUACTOR_VERSION "0.1.0"

/* X(symbol, number, text) */
#define LUACTOR_ERRORS(X)                              \
  X(ENOMEM, -1, "not enough memory")                   \
  X(EINVAL, -2, "invalid argument")                    \
  X(ENOPROC, -3, "no such process")                    \
  X(EFULL, -4, "mailbox is full")                      \
  X(ECLOSED, -5, "host is closed or stopping")         \
  X(ETIMEOUT, -6, "timed out")                         \
  X(ELIMIT, -7, "too many processes")                  \
  X(ETHREAD, -8, "cannot start a thread")              \
  X(EBUSY, -9, "host is running")                      \
  X(ECALLER, -10, "not from this thread")              \
  X(ETYPE, -11, "value of another type")               \
  X(ENOENT, -12, "no such element")                    \
  X(ERANGE, -13, "value is too large or nested too deep") \
  X(EEXIT, -14, "the process has ended")               \
  X(ENAME, -15, "the name is taken")                   \
  X(ENOWAIT, -16, "the process cannot wait here")      \
  X(EDONE, -17, "done already")

enum luactor_error {
#define X(sym, num, text) LUACTOR_##sym = num,
  LUACTOR_ERRORS(X)
#undef X
};

typedef struct luactor_host luactor_host;
typedef uint64_t luactor_pid;

enum luactor_preempt {
  LUACTOR_PREEMPT_COUNT = 0, /* a count hook every 'reductions' instructions */
  LUACTOR_PREEMPT_TICK = 1   /* a timer signal arms a one-shot hook */
};

#define LUACTOR_MAX_SCHEDULERS 64
#define LUACTOR_MAX_PROCESSES ((1u << 24) - 1)

typedef struct luactor_config {
  size_t size;        /* sizeof(luactor_config), set by luactor_config_init */
  int schedulers;     /* scheduler threads, at most LUACTOR_MAX_SCHEDULERS; 0:
                       * number of processors, but no more than that */
  int preempt;        /* enum luactor_preempt; default LUACTOR_PREEMPT_COUNT,
                       * which needs no signal */
  int reductions;     /* instructions per slice in count mode; 0: 4000 */
  int tick_signal;    /* signal that the host sends to its own threads, with a
                       * handler installed while it runs: ends slices in tick mode (0:
                       * SIGURG); in count mode it only finds out in which function
                       * a process hangs (0: none) */
  size_t max_heap;    /* bytes a process may use; 0: no limit */
  uint32_t max_processes; /* at most LUACTOR_MAX_PROCESSES; 0: 262,144 */
  const char *lua_path;   /* put before package.path; NULL: nothing; copied */
  const char *lua_cpath;  /* put before package.cpath; copied */
  int ignore_env;         /* do not read LUA_PATH, LUA_CPATH (lua -E) */
  int lua_warnings;       /* warn("...") is shown from the start (lua -W) */
  /* Where log lines and crash reports go, one whole text at a time, from any
   * thread. NULL: nowhere. */
  void (*log)(void *userdata, int level, const char *text, size_t len);
  void *log_userdata;
  /* Words between commas: "error", "warn", "info", "debug" or "none": the level
   * (info); "json": an object a line instead of text; "time": text lines begin
   * with the time. The environment's LUACTOR_LOG comes after it. Read while the host is
   * opened; an unknown word is LUACTOR_EINVAL. */
  const char *log_options;
  /* actor.halt and os.exit end the host; the embedder sees it as luactor_run
   * returning. Standard streams are flushed only when this is set. */
  int flush_stdio;
  /* Own allocator, as lua_Alloc: for all that the host and its processes' Lua states
   * allocate, from any thread that works for the host; may return NULL. What it returns
   * is aligned as malloc's. Not for what the C library, libuv and OpenSSL need for
   * threads, files, names and connections; a template of states is built in address
   * space of the system's that is given back at once. NULL: the C library's. */
  void *(*alloc)(void *userdata, void *ptr, size_t osize, size_t nsize);
  void *alloc_userdata;
  uint64_t seed;      /* seeds math.random of every process; 0: by 'random' */
  /* Own clock: nanoseconds that never go back, asked from any thread that works for
   * the host. Timers, timeouts, deadlines of calls, actor.now and the times in reports
   * go by it; os.time, os.clock, log lines, connections to nodes and the 'ms' of
   * luactor_wait, luactor_wait_event and luactor_stop do not. NULL: the system's. A host with
   * threads looks at it once a millisecond while it has a timer. */
  uint64_t (*clock)(void *userdata);
  void *clock_userdata;
  /* Own random bytes, for math.random when 'seed' is 0 and for nodes; asked from any
   * thread that works for the host. NULL: the system's. */
  void (*random)(void *userdata, void *bytes, size_t n);
  void *random_userdata;
  int no_images;      /* build each process's Lua state from nothing instead of
                       * copying a template; also when the environment has
                       * LUACTOR_IMAGES=0 */
  int no_direct;      /* read and write tables of messages through Lua's API
                       * only, not in Lua's memory; also when the environment has
                       * LUACTOR_DIRECT=0 */
  void *reserved[6];
} luactor_config;

enum luactor_log_level {
  LUACTOR_LOG_ERROR = 1,
  LUACTOR_LOG_WARN = 2,
  LUACTOR_LOG_INFO = 3,
  LUACTOR_LOG_DEBUG = 4
};

/* A function for luactor_config.log: a line on standard error. A reader that has
 * stopped to read is waited for one second; then lines are dropped until
 * it reads again, and their number is shown. 'userdata' is an unsigned that
 * begins as 0 and counts them, or NULL, which counts nothing; hosts may share it.
 * [any · up to 1 s · -] */
LUACTOR_API void luactor_log_stderr(void *userdata, int level, const char *text,
                                    size_t len);

/* Fill 'config' with the defaults. [any · never blocks · -] */
LUACTOR_API void luactor_config_init(luactor_config *config);

/* Make a host. 'config' is copied. No thread is started before luactor_start
 * or luactor_run. A number out of its range is EINVAL, never silently another.
 * [any · never blocks · ENOMEM, EINVAL] */
LUACTOR_API int luactor_open(const luactor_config *config,
                             luactor_host **host);

/* Start the scheduler threads, once.
 * [any · never blocks · EINVAL, ETHREAD, EBUSY: it was started or stepped before, also
 * when it has been stopped since; ECLOSED: halted or stopped before that] */
LUACTOR_API int luactor_start(luactor_host *host);

/* Start the scheduler threads if they are not running, and wait until the host is
 * done: no process is left, or it was halted or stopped. Returns the exit
 * status: that of actor.halt / os.exit, else 0; of a host that was halted or stopped
 * at once. A host that never had a process waits for one.
 * [any but the host's own · until done · EINVAL, ETHREAD, ECALLER] */
LUACTOR_API int luactor_run(luactor_host *host);

/* ---- a foreign event loop -------------------------------------------------------
 *
 * A host that is stepped has no scheduler threads: luactor_step runs its processes in the
 * calling thread. The first of luactor_step, luactor_fd, luactor_next_deadline and
 * luactor_start decides which kind of host it is; 'schedulers' and 'preempt' do not count
 * for a stepped one: it has one scheduler, which ends slices after 'reductions'
 * instructions. It makes threads only for what scripts ask for: actor.blocking,
 * spawn_opt{ thread = "own" }, nodes, reading a line.
 *
 * A loop waits until luactor_fd is readable, then calls luactor_step:
 *   for (;;) { poll(fd, forever); if (luactor_step(host, 1000) <= 0) break; }
 * Under an own clock it also has to come back by luactor_next_deadline, as the
 * descriptor knows nothing of that clock.
 *
 * A C call that does not return holds the loop: there is no watchdog in such a host. */

enum luactor_step_result {
  LUACTOR_STEP_DONE = 0,  /* no process is left, or the host was halted or stopped */
  LUACTOR_STEP_READY = 1, /* time is up and there may be more to run now */
  LUACTOR_STEP_IDLE = 2   /* nothing to run before a message, a timer or the end of
                           * something that runs elsewhere */
};

/* Run what is ready in the calling thread for about 'max_us' microseconds (0: one slice;
 * negative: until nothing is ready). A slice is not cut short, so it may take longer by
 * one. Returns an enum luactor_step_result. The thread of the first call is the only one that
 * may step the host. Under an own clock every slice counts for at least a
 * microsecond, so that a clock that stands still ends a step too.
 * [one thread · up to max_us and the C calls now running · EINVAL, ECALLER: another
 * thread, or from inside the host; EBUSY: the host was started; ECLOSED, ENOMEM] */
LUACTOR_API int luactor_step(luactor_host *host, int64_t max_us);

/* A descriptor that is readable when luactor_step has something to do: after a message
 * from another thread, when a timer is due, when something that runs elsewhere has
 * ended, and when the last step returned LUACTOR_STEP_READY. For poll, epoll, uv_poll;
 * do not read from it; the host closes it. Rarely it is readable for nothing.
 * [any · never blocks · EINVAL, EBUSY: the host was started; ECLOSED, ENOMEM: no memory
 * or no descriptor] */
LUACTOR_API int luactor_fd(luactor_host *host);

/* Microseconds of the host's clock until luactor_step must be called even if nothing
 * else happens, rounded up: 0 when there is something to run now (so before the first
 * step), -1 when there is no timer, or the host was halted or stopped. It may be early:
 * step and ask again.
 * [any · never blocks · EINVAL, EBUSY: the host was started] */
LUACTOR_API int64_t luactor_next_deadline(luactor_host *host);

/* ---- waiting -------------------------------------------------------------------- */

/* What the host waits for when luactor_wait_event returns. */
enum luactor_event {
  LUACTOR_EVENT_DONE = 1,  /* no process is left, or stopped */
  LUACTOR_EVENT_STUCK = 2, /* every process waits and nothing can wake one */
  LUACTOR_EVENT_TIMEOUT = 3,
  LUACTOR_EVENT_HALTED = 4 /* by actor.halt, os.exit or luactor_halt */
};

/* Wait at most 'ms' (negative: for ever) until the host is done or stuck. The host
 * must be started, else EINVAL. A message sent by a C thread makes a stuck host go on.
 * This and the other waiting functions, called by the thread that steps a host, run
 * it meanwhile.
 * Returns an enum luactor_event. [any but the host's own · up to ms · EINVAL,
 * ECALLER] */
LUACTOR_API int luactor_wait_event(luactor_host *host, int ms);

/* Orderly stop: every process without a parent gets the exit signal
 * "shutdown"; when those are gone, every process that is left gets it; what is left after
 * 'ms' is killed. Then the threads are joined. A host that does not run is
 * closed to new processes and messages. [any but the host's own · up to ms and
 * the C calls now running · EINVAL, ECALLER, ETIMEOUT when a C call did not
 * return: call again] */
LUACTOR_API int luactor_stop(luactor_host *host, int ms);

/* End the host at once with this exit status. [any · never blocks · -] */
LUACTOR_API void luactor_halt(luactor_host *host, int status);

/* Free everything; a host that runs is stopped with a bound of 0 ms. The host must
 * not be used afterwards; after an error it still exists. NULL is allowed.
 * [any but the host's own · as luactor_stop · ECALLER, ETIMEOUT when a C call or a
 * thread that reads a line did not return: its memory is still in use] */
LUACTOR_API int luactor_close(luactor_host *host);

/* ---- spawning ----------------------------------------------------------------- */

typedef struct luactor_value luactor_value;
typedef struct luactor_group luactor_group;

/* What happens to a message for which a mailbox has no room. */
enum luactor_overflow {
  LUACTOR_OVERFLOW_BLOCK = 0,    /* processes that send wait, C gets EFULL */
  LUACTOR_OVERFLOW_DROP_NEW = 1, /* it is dropped */
  LUACTOR_OVERFLOW_DROP_OLD = 2, /* the oldest is */
  LUACTOR_OVERFLOW_ERROR = 3,    /* the sender gets an error */
  LUACTOR_OVERFLOW_KILL = 4      /* the owner is killed: for processes only */
};

enum luactor_priority {
  LUACTOR_PRIORITY_LOW = -1,
  LUACTOR_PRIORITY_NORMAL = 0,
  LUACTOR_PRIORITY_HIGH = 1,
  LUACTOR_PRIORITY_MAX = 2
};

/* Options of a process, for the functions that end in _opt; NULL there means the
 * defaults. Texts are copied. */
typedef struct luactor_spawn_opts {
  size_t size;            /* set by luactor_spawn_opts_init */
  const char *name;       /* registered before it runs; NULL: none */
  const char *label;      /* shown in reports; NULL: none */
  int priority;           /* enum luactor_priority */
  int trap_exit;          /* exit signals come as messages */
  size_t max_heap;        /* bytes; 0: as the host's configuration says */
  uint32_t mailbox_limit; /* messages; 0: any number */
  int mailbox_overflow;   /* enum luactor_overflow */
  int detached;           /* nobody will luactor_wait for it: its end is not kept, and
                           * its crash is reported in the log */
  luactor_group *group;   /* its limits and rights; NULL: none. Of a group with
                           * rights, max_heap and mailbox_limit may only be made
                           * smaller */
  void *reserved[4];
} luactor_spawn_opts;

/* [any · never blocks · -] */
LUACTOR_API void luactor_spawn_opts_init(luactor_spawn_opts *opts);

/* Spawn a process that runs a Lua file, or a chunk of text named
 * 'chunkname' ("=stdin", "@file"; as in lua_load). 'args' become the chunk's varargs
 * and the global 'arg' (args[script] is arg[0]; those before it get negative
 * indices); 'args' may be NULL when argc is 0, none of them may be. A file that is
 * missing or has a syntax error ends the process with that error. 'pid' may be NULL.
 * [any · reads no file itself · EINVAL, ENOMEM, ELIMIT, ECLOSED, ENAME] */
LUACTOR_API int luactor_spawn_file(luactor_host *host, const char *path,
                                   int argc, const char *const *args,
                                   int script, luactor_pid *pid);
LUACTOR_API int luactor_spawn_file_opt(luactor_host *host,
                                       const luactor_spawn_opts *opts,
                                       const char *path, int argc,
                                       const char *const *args, int script,
                                       luactor_pid *pid);
LUACTOR_API int luactor_spawn_string(luactor_host *host, const char *code,
                                     size_t len, const char *chunkname,
                                     int argc, const char *const *args,
                                     int script, luactor_pid *pid);
LUACTOR_API int luactor_spawn_string_opt(luactor_host *host,
                                         const luactor_spawn_opts *opts,
                                         const char *code, size_t len,
                                         const char *chunkname, int argc,
                                         const char *const *args, int script,
                                         luactor_pid *pid);

/* Spawn a process that calls a function of a module, "module.function", with 'n'
 * values (at most 200), which stay the caller's. What cannot be found or loaded
 * ends the process with that error. [any · never blocks · EINVAL, ENOMEM, ELIMIT,
 * ECLOSED, ENAME, ERANGE, ETYPE for functions of another host] */
LUACTOR_API int luactor_spawn_call(luactor_host *host, const char *function,
                                   const luactor_value *const *args, int n,
                                   luactor_pid *pid);
LUACTOR_API int luactor_spawn_call_opt(luactor_host *host,
                                       const luactor_spawn_opts *opts,
                                       const char *function,
                                       const luactor_value *const *args, int n,
                                       luactor_pid *pid);

/* Wait until the process has ended. '*reason' gets the exit reason, which the caller
 * frees: "normal", { "error", e, traceback } ...; it may be NULL. Only for processes that
 * were made by luactor_spawn_* and are not detached, once each: their ends are kept
 * until somebody asks, or the host is closed. All else, also what is no pid, is ENOPROC.
 * [any but the host's own · up to ms (negative: for ever) · EINVAL, ECALLER,
 * ECLOSED, ETIMEOUT, ENOPROC, ENOMEM (ask again)] */
LUACTOR_API int luactor_wait(luactor_host *host, luactor_pid pid, int ms,
                             luactor_value **reason);

/* For a reason that luactor_wait gave, of a process that ended by an error: message and
 * traceback as lua5.4 words them, as long as the value lives. Else NULL.
 * [any · never blocks · -] */
LUACTOR_API const char *luactor_reason_error(const luactor_value *reason);

/* ---- groups ----------------------------------------------------------------------
 *
 * A group limits a set of processes: those spawned into it, all that they spawn, and
 * the groups within it. What one of them asks for beyond a limit of processes or handles
 * is refused; at a limit of memory or messages the whole group ends with the
 * reason { "group_limit", "memory" or "messages", limit }. The rest of the host does not
 * notice. docs/guide/limits.md says what counts. */
enum luactor_limit {
  LUACTOR_LIMIT_MEMORY = 0,
  LUACTOR_LIMIT_PROCESSES = 1,
  LUACTOR_LIMIT_MESSAGES = 2,
  LUACTOR_LIMIT_HANDLES = 3
};
#define LUACTOR_NLIMITS 4

typedef struct luactor_group_options {
  size_t size;           /* set by luactor_group_options_init */
  luactor_group *parent; /* NULL: the host's own; its limits hold, too */
  uint64_t limits[LUACTOR_NLIMITS]; /* bytes, processes, waiting messages, open files
                          * and threads; by enum luactor_limit. 0: none */
  double cpu;            /* of one scheduler thread: 0.5 is half of one; who has used
                          * it up waits. 0: no limit; else 0.001 or more */
  /* Rights: the names of libraries (coroutine math os string table utf8), lpeg and
   * Lua modules that processes may have beside the core calls, ended by NULL. NULL:
   * the parent's rights. Names are not looked for before they are required. Copied.
   * With them, max_heap and mailbox_limit are needed: of each process. Limits of memory,
   * processes and messages that are 0 become 16 times max_heap, 100 and 16 times
   * mailbox_limit. */
  const char *const *sandbox;
  size_t max_heap;
  uint32_t mailbox_limit;
  /* A limit was met, for the first time; called once for each, on the scheduler's
   * thread that met it. It must not wait, and may not call functions that do. 'limit':
   * enum luactor_limit; 'most': its value. NULL: nobody is told. */
  void (*on_limit)(void *userdata, luactor_group *group, int limit,
                   uint64_t most);
  void *userdata; /* the caller's, until luactor_close */
  void *reserved[4];
} luactor_group_options;

/* What a group uses. */
typedef struct luactor_group_info {
  uint64_t used[LUACTOR_NLIMITS];
  uint64_t limits[LUACTOR_NLIMITS]; /* 0: none */
  double cpu;      /* 0: no limit */
  uint64_t cpu_ns; /* used so far, when there is or was a limit */
  int ended;       /* it was ended, or met a limit */
} luactor_group_info;

/* [any · never blocks · -] */
LUACTOR_API void luactor_group_options_init(luactor_group_options *options);

/* Make a group without processes. [any · never blocks · EINVAL (also: rights that the
 * parent has not), ENOMEM, ELIMIT (groups nested deeper than 16)] */
LUACTOR_API int luactor_group_new(luactor_host *host,
                                  const luactor_group_options *options,
                                  luactor_group **group);

/* As luactor_spawn_file and luactor_spawn_string, into a group. ELIMIT also when the group
 * has no room for it or has ended. [any · reads no file itself · EINVAL, ENOMEM,
 * ELIMIT, ECLOSED] */
LUACTOR_API int luactor_group_spawn_file(luactor_group *group,
                                         const char *path, int argc,
                                         const char *const *args, int script,
                                         luactor_pid *pid);
LUACTOR_API int luactor_group_spawn_string(luactor_group *group,
                                           const char *code, size_t len,
                                           const char *chunkname, int argc,
                                           const char *const *args, int script,
                                           luactor_pid *pid);

/* Change the limits and the share: those fields of 'options', and nothing else. A limit
 * below what is used ends nothing by itself; the next that is asked for meets it.
 * [any · never blocks · EINVAL] */
LUACTOR_API int luactor_group_limits(luactor_group *group,
                                     const luactor_group_options *options);

/* [any · never blocks · EINVAL] */
LUACTOR_API int luactor_group_get(luactor_group *group,
                                  luactor_group_info *info);

/* End all processes of the group with this reason, whatever they do; NULL: "killed".
 * Nothing can be spawned in it any more. [any · never blocks · EINVAL] */
LUACTOR_API int luactor_group_kill(luactor_group *group, const char *reason);

/* Give up the group, which must not be used any more; processes in it are
 * killed, and on_limit is not called again (a call that has begun may still run). Before
 * luactor_close of its host, which frees groups that are left. NULL is allowed.
 * [any · never blocks · -] */
LUACTOR_API void luactor_group_close(luactor_group *group);

/* ---- values: reading ---------------------------------------------------------
 *
 * A luactor_value is what a message holds: any Lua value that can travel, as bytes.
 * It is never changed, belongs to no thread and to no host, and whoever got it
 * frees it; it may be read by several threads at once. A luactor_view looks at a
 * value or at a part of one, without copying: it is passed around like a number,
 * holds nothing, and is good as long as the value is. */

/* The fields are the library's. All zeroes: looks at nothing. */
typedef struct luactor_view {
  const void *whole;
  const void *part;
  int64_t number;
} luactor_view;

enum luactor_type {
  LUACTOR_TYPE_NONE = 0,  /* the view looks at nothing */
  LUACTOR_TYPE_NIL = 1,
  LUACTOR_TYPE_BOOLEAN = 2,
  LUACTOR_TYPE_INTEGER = 3,
  LUACTOR_TYPE_NUMBER = 4, /* a float */
  LUACTOR_TYPE_STRING = 5,
  LUACTOR_TYPE_ATOM = 6,   /* actor.atom; of a string's functions */
  LUACTOR_TYPE_TABLE = 7,
  LUACTOR_TYPE_TUPLE = 8,  /* actor.tuple; read as a table */
  LUACTOR_TYPE_PID = 9,
  LUACTOR_TYPE_ADDRESS = 10, /* an alias, mailbox or pool: sent to like a pid */
  LUACTOR_TYPE_REF = 11,
  LUACTOR_TYPE_FUNCTION = 12, /* can be sent on within the same host */
  LUACTOR_TYPE_OTHER = 13  /* an object; can be sent on */
};

/* NULL is allowed. [any · never blocks · -] */
LUACTOR_API void luactor_value_free(luactor_value *value);

/* Look at a whole value; at nothing when it is NULL. [any · never blocks · -] */
LUACTOR_API luactor_view luactor_view_of(const luactor_value *value);

/* An enum luactor_type. [any · never blocks · -] */
LUACTOR_API int luactor_type(luactor_view view);

/* The value, if it is of that type. As in Lua, an integer is also a number, and a float
 * with an integral value also an integer; there is no other conversion. A
 * string's bytes (an atom's text) are followed by no zero and live as long as the value.
 * 'pid': a pid or any other address. Out-parameters may be NULL.
 * [any · never blocks · ETYPE, EINVAL for a view of nothing] */
LUACTOR_API int luactor_get_boolean(luactor_view view, int *out);
LUACTOR_API int luactor_get_integer(luactor_view view, int64_t *out);
LUACTOR_API int luactor_get_number(luactor_view view, double *out);
LUACTOR_API int luactor_get_string(luactor_view view, const char **bytes,
                                   size_t *len);
LUACTOR_API int luactor_get_pid(luactor_view view, luactor_pid *out);
LUACTOR_API int luactor_get_ref(luactor_view view, uint64_t *out);

/* Is it a string or atom with this text? 1 or 0. [any · never blocks · -] */
LUACTOR_API int luactor_is_text(luactor_view view, const char *text);

/* How many elements the sequence of a table or tuple has.
 * [any · never blocks · ETYPE, EINVAL] */
LUACTOR_API int luactor_get_length(luactor_view view, size_t *out);

/* Element 'i' of the sequence, from 1 on. Takes time with 'i': to go over all of them
 * use luactor_next. [any · never blocks · ETYPE, EINVAL, ENOENT] */
LUACTOR_API int luactor_get_index(luactor_view view, size_t i,
                                  luactor_view *out);

/* What stands in the table under a text, or under any key but a table, equal as
 * Lua's == says. Takes time with the number of pairs.
 * [any · never blocks · ETYPE, EINVAL, ENOENT] */
LUACTOR_API int luactor_get_field(luactor_view view, const char *key,
                                  luactor_view *out);
LUACTOR_API int luactor_get_key(luactor_view view, luactor_view key,
                                luactor_view *out);

/* A walk over a table or tuple: the sequence in order, its keys 1, 2, ..., then the
 * other pairs in no particular order. The fields are the library's. */
typedef struct luactor_iter {
  luactor_view table;
  const void *at;
  uint32_t index, nseq, npairs;
} luactor_iter;

/* Begin. [any · never blocks · ETYPE, EINVAL] */
LUACTOR_API int luactor_iterate(luactor_view view, luactor_iter *iter);

/* The next pair: 1, or 0 when there is none left. 'key' and 'value' may be NULL.
 * [any · never blocks · EINVAL] */
LUACTOR_API int luactor_next(luactor_iter *iter, luactor_view *key,
                             luactor_view *value);

/* A value of its own of what the view looks at. The caller frees it.
 * [any · never blocks · EINVAL, ENOMEM, ERANGE when shared tables make the copy
 * nested too deep, ETYPE for functions that share variables with others outside] */
LUACTOR_API int luactor_value_copy(luactor_view view, luactor_value **out);

/* One line for people, as in reports: {'add', 1, <0.12>}. Writes at most size - 1
 * bytes and a zero, returns how many bytes; what is large is shortened.
 * [any · never blocks · -] */
LUACTOR_API size_t luactor_print(luactor_view view, char *out, size_t size);

/* ---- values: building -------------------------------------------------------
 *
 * A builder takes a value piece by piece. The first error stays: later calls do
 * nothing and return it again, so that it is enough to look at what
 * luactor_build_finish returns. A NULL builder is as one without memory. Not for two
 * threads at once. */

typedef struct luactor_builder luactor_builder;

/* NULL when memory is short. The caller frees it. [any · never blocks · -] */
LUACTOR_API luactor_builder *luactor_builder_new(void);
LUACTOR_API void luactor_builder_free(luactor_builder *builder);

/* Append a value: to the table or tuple that is open, or as the whole. A table has no nil
 * among its elements; under a key nil means that there is nothing. Strings and atoms
 * are copied. 'atom': actor.atom of that text, at most 255 bytes ("true", "false",
 * "nil" are those values). 'pid': any address.
 * [any · never blocks · EINVAL, ENOMEM, ERANGE past 200 levels or 1 GiB] */
LUACTOR_API int luactor_build_nil(luactor_builder *b);
LUACTOR_API int luactor_build_boolean(luactor_builder *b, int value);
LUACTOR_API int luactor_build_integer(luactor_builder *b, int64_t value);
LUACTOR_API int luactor_build_number(luactor_builder *b, double value);
LUACTOR_API int luactor_build_string(luactor_builder *b, const char *bytes,
                                     size_t len);
LUACTOR_API int luactor_build_text(luactor_builder *b, const char *text);
LUACTOR_API int luactor_build_atom(luactor_builder *b, const char *text);
LUACTOR_API int luactor_build_pid(luactor_builder *b, luactor_pid pid);
LUACTOR_API int luactor_build_ref(luactor_builder *b, uint64_t ref);
/* A copy of what the view looks at. Also ETYPE, as luactor_value_copy. */
LUACTOR_API int luactor_build_view(luactor_builder *b, luactor_view view);

/* Open a table or a tuple: the values that follow are its elements, up to
 * luactor_build_end. In a table, luactor_build_key says that the next value is
 * a key (not nil or NaN) and the one after it what stands under it;
 * luactor_build_field gives the key itself. Keys are to be different.
 * [any · never blocks · EINVAL, ENOMEM, ERANGE] */
LUACTOR_API int luactor_build_table(luactor_builder *b);
LUACTOR_API int luactor_build_tuple(luactor_builder *b);
LUACTOR_API int luactor_build_key(luactor_builder *b);
LUACTOR_API int luactor_build_field(luactor_builder *b, const char *key);
LUACTOR_API int luactor_build_end(luactor_builder *b);

/* The value that was built, for the caller to free, or the first error. The builder
 * is empty afterwards and can be used again.
 * [any · never blocks · EINVAL when it is not one whole value, ENOMEM, ERANGE,
 * ETYPE] */
LUACTOR_API int luactor_build_finish(luactor_builder *b, luactor_value **out);

/* A value in one call: luactor_make(&v, "{s i {x=d y=d}}", "move", 3, 1.5, 2.0).
 *
 *   n  nil                        s  const char *: a string
 *   b  int: a boolean             S  const char *, size_t: a string
 *   i  int                        a  const char *: an atom
 *   I  int64_t                    p  luactor_pid: any address
 *   d  double                     r  uint64_t: a reference
 *   v  const luactor_value *      w  luactor_view
 *   { }  a table                  ( )  a tuple
 *   name=  inside a table, before a value: its key
 *
 * Spaces and commas separate. [any · never blocks · EINVAL for a bad format or
 * argument, ENOMEM, ERANGE, ETYPE] */
LUACTOR_API int luactor_make(luactor_value **out, const char *format, ...);

/* ---- values and Lua ---------------------------------------------------------- */

struct lua_State;

/* For C functions that a process of a host has called ('L' is what Lua gave them).
 *
 * Push the Lua value; needs one free stack slot. Raises a Lua error when memory
 * is short or what came with the value cannot be loaded here.
 * [the process · never blocks · EINVAL, and nothing pushed, for a view of nothing;
 * ECALLER outside a process; ETYPE for functions of another host] */
LUACTOR_API int luactor_push_value(struct lua_State *L,
                                   const luactor_value *value);
LUACTOR_API int luactor_push_view(struct lua_State *L, luactor_view view);

/* The Lua value at 'idx' as a value of its own, which the caller frees. Calls
 * __transfer functions, which may raise. For a value that cannot
 * travel ETYPE, and the text that names it is pushed.
 * [the process · never blocks · EINVAL, ENOMEM, ECALLER, ETYPE] */
LUACTOR_API int luactor_to_value(struct lua_State *L, int idx,
                                 luactor_value **out);

/* ---- processes ---------------------------------------------------------------
 *
 * A luactor_pid is a plain number, compared with ==, and good as long as the host:
 * one of a process that has ended never means another. Where a function sends
 * to a pid, an alias, a mailbox or a pool will do. */

/* Queue a copy of the value as a message. A process that is gone is not an error: the
 * message is dropped. Order is kept per sender and receiver. From a C function of a
 * process, the message is from that process (actor.sender).
 * [any · never blocks · EINVAL, ENOMEM, ECLOSED, EFULL when the mailbox has a limit
 * and no room, ETYPE for functions of another host] */
LUACTOR_API int luactor_send(luactor_host *host, luactor_pid to,
                             const luactor_value *value);
/* The same for a string. */
LUACTOR_API int luactor_send_string(luactor_host *host, luactor_pid to,
                                    const char *bytes, size_t len);

/* The process, or other address, that is registered so.
 * [any · never blocks · EINVAL, ENOPROC] */
LUACTOR_API int luactor_whereis(luactor_host *host, const char *name,
                                luactor_pid *pid);
/* Give a living process a name; it loses it when it ends.
 * [any · never blocks · EINVAL, ENOMEM, ENOPROC, ENAME when the name is another's
 * or the process has one] */
LUACTOR_API int luactor_register(luactor_host *host, const char *name,
                                 luactor_pid pid);
/* [any · never blocks · EINVAL, ENOPROC when nobody has it] */
LUACTOR_API int luactor_unregister(luactor_host *host, const char *name);

/* 1 or 0. [any · never blocks · -] */
LUACTOR_API int luactor_is_alive(luactor_host *host, luactor_pid pid);

/* Send an exit signal with this reason, as actor.exit(pid, reason): "kill" ends the
 * process whatever it does; another it may trap; "normal" (also NULL) does
 * nothing to one that does not trap. One that is gone is not an error.
 * [any · never blocks · EINVAL, ENOMEM, ETYPE] */
LUACTOR_API int luactor_exit(luactor_host *host, luactor_pid pid,
                             const luactor_value *reason);

/* "<0.12>" and the like, as Lua prints it; 48 bytes are enough. Returns the length.
 * [any · never blocks · -] */
LUACTOR_API size_t luactor_print_pid(luactor_pid pid, char *out, size_t size);

/* A call, as actor.call: { "$gen_call", from, request } is sent and the answer awaited, at most
 * 'ms' (negative: for ever); a full mailbox that blocks its senders is waited for. '*reply'
 * gets the answer, or, with ETIMEOUT, ENOPROC, EFULL and EEXIT (the server ended
 * before it answered), the reason; else NULL. The caller frees it. An answer that
 * comes too late is never seen. In a process only under actor.blocking, and in no
 * callback: it does not let the scheduler go on, which may be what the answer needs.
 * [any · up to ms · EINVAL, ENOMEM, ETYPE, ECLOSED and the four] */
LUACTOR_API int luactor_call(luactor_host *host, luactor_pid dest,
                             const luactor_value *request, int ms,
                             luactor_value **reply);

/* Is the message a call? Then 1, and whom to answer and what was asked; else 0.
 * [any · never blocks · -] */
LUACTOR_API int luactor_is_call(luactor_view message, luactor_view *from,
                                luactor_view *request);

/* ---- mailboxes of C threads ------------------------------------------------------
 *
 * A mailbox is an address for messages to the C side. Any thread may take from it,
 * several at once too. It does not keep the host running. It is closed by who opened
 * it, before or after the host's end. */

typedef struct luactor_mailbox luactor_mailbox;

/* 'limit': messages it holds at most; 0: any number.
 * [any · never blocks · EINVAL, ENOMEM, ECLOSED] */
LUACTOR_API int luactor_mailbox_open(luactor_host *host, uint32_t limit,
                                     int overflow, luactor_mailbox **mailbox);

/* Close it: what is in it is dropped, calls in it fail with "noproc", monitors are off.
 * No thread may be using it. NULL is allowed. [any · never blocks · -] */
LUACTOR_API void luactor_mailbox_close(luactor_mailbox *mailbox);

/* Its address: to be put into messages, sent to, called. 0 for NULL and once the host
 * is closed.
 * [any · never blocks · -] */
LUACTOR_API luactor_pid luactor_mailbox_address(luactor_mailbox *mailbox);

/* Take the oldest message, priority messages first; wait at most 'ms' for one
 * (negative: for ever, 0: not at all). The caller frees it. A process or callback that
 * waits here holds its scheduler: it should give 0. When the host has stopped
 * or was closed, and nothing is left, ECLOSED.
 * [any · up to ms · EINVAL, ENOMEM (nothing is lost), ETIMEOUT, ECLOSED] */
LUACTOR_API int luactor_mailbox_receive(luactor_mailbox *mailbox, int ms,
                                        luactor_value **message);

/* A descriptor that poll() shows to be readable as long as there is a message, or
 * the host has stopped. Not to be read or closed. [any · never blocks · EINVAL,
 * ENOMEM] */
LUACTOR_API int luactor_mailbox_fd(luactor_mailbox *mailbox);

/* Watch a process: its end comes as { "DOWN", ref, "process", pid, reason }, once; at
 * once with "noproc" when it is gone. [any · never blocks · EINVAL, ENOMEM,
 * ECLOSED] */
LUACTOR_API int luactor_mailbox_monitor(luactor_mailbox *mailbox,
                                        luactor_pid pid, uint64_t *ref);
/* No longer; a message that is already there is taken out.
 * [any · never blocks · EINVAL, ECLOSED, ENOENT when it had come] */
LUACTOR_API int luactor_mailbox_demonitor(luactor_mailbox *mailbox,
                                          uint64_t ref);

/* Answer a call that was taken from this mailbox; 'from' is that of luactor_is_call,
 * of the message or a copy. NULL answers nil. A caller that is gone is not an error.
 * [any · never blocks · EINVAL, ENOMEM, ETYPE, ECLOSED] */
LUACTOR_API int luactor_mailbox_reply(luactor_mailbox *mailbox,
                                      luactor_view from,
                                      const luactor_value *value);

/* ---- C modules and slow work ------------------------------------------------------ */

/* require "name" calls this function in each process, as it would the luaopen_ function
 * of a C library, before any file is looked for. At any time: processes that have not
 * yet required the name get it. In a sandbox the name must be among its rights.
 * The function must stay where it is until the host is closed.
 * [any · never blocks · EINVAL, ENOMEM, ENAME when the name was given before] */
LUACTOR_API int luactor_add_module(luactor_host *host, const char *name,
                                   int (*open)(struct lua_State *L));

/* In a C function: the host and the process that have called it. Either may be
 * NULL. [the process · never blocks · ECALLER] */
LUACTOR_API int luactor_process_of(struct lua_State *L, luactor_host **host,
                                   luactor_pid *pid);

/* A C function that has to wait for something outside does so without holding its
 * scheduler:
 *
 *   static int l_fetch(lua_State *L) {
 *     luactor_token *token;
 *     int code = luactor_suspend(L, &token);
 *     if (code != 0) return luaL_error(L, "%s", luactor_strerror(code));
 *     start_job(token, ...);     another thread will call luactor_resume
 *     return luactor_await(L);
 *   }
 *
 * The process is suspended until the token is resumed, may be killed meanwhile, and
 * gets its messages afterwards. */
typedef struct luactor_token luactor_token;

/* Make a token for this process, which has one at a time: the last one counts. It is
 * freed with luactor_token_free, by whichever thread has it.
 * [the process · never blocks · EINVAL, ENOMEM, ECALLER outside a process, ENOWAIT
 * where the process cannot be suspended: in a guard, in a callback of a C function
 * that Lua cannot leave, in __gc and at its end] */
LUACTOR_API int luactor_suspend(struct lua_State *L, luactor_token **token);

/* Wait for the process's token: 'return luactor_await(L);'. The value it was resumed
 * with is the one result of the C function. Raises a Lua error for
 * luactor_resume_error, and without a token or outside a process; ECALLER when L is
 * NULL. [the process · the process alone · ECALLER] */
LUACTOR_API int luactor_await(struct lua_State *L);

/* Resume the process with a copy of the value (NULL: nil), or with it as an error. A
 * token that is resumed before luactor_await lets it go on at once. After
 * ENOMEM and ETYPE it can be tried again.
 * [any · never blocks · EINVAL, ENOMEM, ETYPE, EDONE the second time, ENOPROC when the
 * process has ended, ECLOSED when the host has] */
LUACTOR_API int luactor_resume(luactor_token *token,
                               const luactor_value *value);
LUACTOR_API int luactor_resume_error(luactor_token *token,
                                     const luactor_value *value);

/* Free the token, before or after the host's end; a process that still waits for it gets
 * the error "abandoned". NULL is allowed. [any · never blocks · -] */
LUACTOR_API void luactor_token_free(luactor_token *token);

/* ---- native actors ------------------------------------------------------------------
 *
 * A native actor is a process without a Lua state: its code are C functions, which
 * the schedulers call, one at a time, on whichever thread is free. To others it is a
 * process like any: it has a pid, can be linked, monitored, called and killed,
 * has a mailbox with limits and shows in actor.processes. A callback must not block:
 * it holds its scheduler. */

typedef struct luactor_actor luactor_actor;

/* Any of them may be NULL. 'self' and views are good only during the call. */
typedef struct luactor_native {
  size_t size; /* sizeof(luactor_native) */
  /* Before the first message; not when it is killed before it runs. */
  void (*on_start)(luactor_actor *self, void *userdata);
  /* For each message, in the order of receipt, priority messages first; { "EXIT", pid,
   * reason } and { "DOWN", ... } come here, too. */
  void (*on_message)(luactor_actor *self, luactor_view message,
                     void *userdata);
  /* Its last call, once, whatever ended it: frees what 'userdata' holds. It may
   * still send. At luactor_close it comes on the closing thread, and 'self' is of no use. */
  void (*on_exit)(luactor_actor *self, luactor_view reason, void *userdata);
} luactor_native;

/* Spawn one. 'callbacks' is copied; 'userdata' is the actor's until on_exit, and stays the
 * caller's when this fails. [any · never blocks · EINVAL, ENOMEM, ELIMIT, ECLOSED,
 * ENAME] */
LUACTOR_API int luactor_spawn_native(luactor_host *host,
                                     const luactor_native *callbacks,
                                     void *userdata, luactor_pid *pid);
LUACTOR_API int luactor_spawn_native_opt(luactor_host *host,
                                         const luactor_spawn_opts *opts,
                                         const luactor_native *callbacks,
                                         void *userdata, luactor_pid *pid);

/* The functions below are for callbacks of the actor, on the thread that calls them;
 * anywhere else they give ECALLER, and once the actor ends, all but the first four
 * ECLOSED. */

/* Its pid and host; 0 and NULL when 'self' is not running here.
 * [callback · never blocks · -] */
LUACTOR_API luactor_pid luactor_actor_pid(luactor_actor *self);
LUACTOR_API luactor_host *luactor_actor_host(luactor_actor *self);

/* As luactor_send, from this actor. [callback · never blocks · ECALLER, EINVAL, ENOMEM,
 * EFULL, ETYPE] */
LUACTOR_API int luactor_actor_send(luactor_actor *self, luactor_pid to,
                                   const luactor_value *value);

/* Answer a call, now or later: 'from' is that of luactor_is_call or a copy. NULL
 * answers nil. [callback · never blocks · ECALLER, EINVAL, ENOMEM, ETYPE] */
LUACTOR_API int luactor_actor_reply(luactor_actor *self, luactor_view from,
                                    const luactor_value *value);

/* As in Lua. [callback · never blocks · ECALLER, ECLOSED, EINVAL, ENOMEM] */
LUACTOR_API int luactor_actor_link(luactor_actor *self, luactor_pid pid);
LUACTOR_API int luactor_actor_unlink(luactor_actor *self, luactor_pid pid);
LUACTOR_API int luactor_actor_monitor(luactor_actor *self, luactor_pid pid,
                                      uint64_t *ref);
/* Also takes out a DOWN message that has come. */
LUACTOR_API int luactor_actor_demonitor(luactor_actor *self, uint64_t ref);

/* Exit signals come as messages from now on, or no longer. Returns what was before, 1 or
 * 0. [callback · never blocks · ECALLER, ECLOSED] */
LUACTOR_API int luactor_actor_trap_exit(luactor_actor *self, int on);

/* A message after so many milliseconds, or every so many. 'timer' may be NULL. The
 * actor's end stops its timers.
 * [callback · never blocks · ECALLER, ECLOSED, EINVAL, ENOMEM, ETYPE] */
LUACTOR_API int luactor_actor_send_after(luactor_actor *self, double ms,
                                         luactor_pid to,
                                         const luactor_value *value,
                                         uint64_t *timer);
LUACTOR_API int luactor_actor_send_every(luactor_actor *self, double ms,
                                         luactor_pid to,
                                         const luactor_value *value,
                                         uint64_t *timer);
/* [callback · never blocks · ECALLER, ECLOSED, EINVAL, ENOENT when it has fired] */
LUACTOR_API int luactor_actor_cancel(luactor_actor *self, uint64_t timer);

/* End the actor with this reason (NULL: "normal") when the callback returns. The
 * first reason counts. [callback · never blocks · ECALLER, ECLOSED, ENOMEM, ETYPE] */
LUACTOR_API int luactor_actor_exit(luactor_actor *self,
                                   const luactor_value *reason);

/* A line per waiting process: pid, name, file:line. Malloced; NULL when memory is
 * short. Only useful after LUACTOR_EVENT_STUCK. [any · never blocks · -] */
LUACTOR_API char *luactor_waiting(luactor_host *host);

/* How many processes are alive. [any · never blocks · -] */
LUACTOR_API size_t luactor_process_count(luactor_host *host);

LUACTOR_API const char *luactor_strerror(int code);
LUACTOR_API const char *luactor_version(void);

#ifdef __cplusplus
}
#endif
#endif
