/* What the C files of the luactor module share. */
#ifndef LA_LIB_CORE_H
#define LA_LIB_CORE_H

#include <lauxlib.h>
#include <lua.h>

#include "lib/lib_std.h"
#include "proc/host.h"

/* The identity a destination argument stands for: a pid, alias, mailbox, a
 * registered name, { name, node } or an object with a pid in its field 'pid'. LA_NO_ID
 * and *name set: a name that nobody has. Raises an argument error for
 * anything else. [owner; raises: e] */
la_id_t la_check_dest(lua_State *L, int arg, const char **name);
/* Why la_check_dest found nobody at 'arg': "noproc" or "noconnection". */
const char *la_no_dest(lua_State *L, int arg);
/* A pid argument (or an object with one; of a pool, its process). [owner; raises: e] */
la_pid_t la_check_pid(lua_State *L, int arg);
/* The same for what may be linked: also the proxy of a remote process, with a
 * hold (dist/dist.h). [owner; raises: e] */
la_pid_t la_check_peer(lua_State *L, int arg);
/* Raise because the message, which is freed, cannot go to another node. */
int la_raise_unfit(lua_State *L, la_proc_t *p, la_msg_t *m);
/* Milliseconds at 'arg' as a span in nanoseconds; UINT64_MAX for none (nil when
 * 'optional', or math.huge). [owner; raises: e] */
uint64_t la_check_ms(lua_State *L, int arg, bool optional);
/* When a wait that starts now ends. */
static inline uint64_t la_deadline(const la_proc_t *p, uint64_t span_ns) {
  return span_ns == UINT64_MAX ? UINT64_MAX : la_now(&p->host->env) + span_ns;
}

/* Serve the signals that have come; does not return when the process must
 * end. [owner; raises: e] */
static inline void la_serve_now(lua_State *L, la_proc_t *p) {
  if (!la_proc_serve(p)) {
    la_exec_halt(L);
  }
}
/* Raise what crashed in a scope of this process, if anything did; does not return
 * when a task's crash ends it. [owner; raises: e] */
void la_raise_fault_now(lua_State *L, la_proc_t *p);
static inline void la_raise_fault(lua_State *L, la_proc_t *p) {
  if (p->scope_fault != NULL || p->ndoomed != 0) {
    la_raise_fault_now(L, p);
  }
}
/* Raise unless the caller can suspend the process. [owner; raises: e] */
void la_refuse_wait(lua_State *L, const char *what);
static inline void la_check_wait(lua_State *L, const char *what) {
  if (!la_can_yield(L) || la_proc_of(L)->in_guard) {
    la_refuse_wait(L, what);
  }
}
/* Suspend: the wait has been started. 'return la_suspend(L, ctx, k);' */
int la_suspend(lua_State *L, lua_KContext ctx, lua_KFunction k);

/* An encoder, or an error. [owner; raises: e] */
la_encoder_t *la_begin_encode(lua_State *L);
/* A small message, made without the encoder: a list whose bytes up to its last
 * element are 'head', and the value at 'idx' as that. NULL: the value is not for
 * this form (term/plain.h), nothing has happened. Raises when memory is
 * short. [owner; raises: e] */
la_msg_t *la_small_message(lua_State *L, la_id_t to, const uint8_t *head,
                           size_t size, int idx);
/* The same with the list of the values at first..last, none of them nil, as the last
 * element. [owner; raises: e] */
la_msg_t *la_small_list(lua_State *L, la_id_t to, const uint8_t *head,
                        size_t size, int first, int last);
/* The message the encoder holds, addressed; ends the encoder. Raises when
 * memory is short. [owner; raises: e] */
la_msg_t *la_finish_message(lua_State *L, la_encoder_t *e, la_id_t to);
/* Encode or raise (the encoder is ended first). [owner; raises: e] */
void la_encode_or_raise(lua_State *L, la_encoder_t *e, int idx,
                        const char *what);
/* Raise for want of memory after ending the encoder, unless ok. */
void la_encoded_or_raise(lua_State *L, la_encoder_t *e, bool ok);

/* { limit = n, overflow = "..." } at 'arg', or nothing. [owner; raises: e] */
void la_check_mailbox_opts(lua_State *L, int arg, uint32_t *limit,
                           la_overflow_t *overflow);
/* The table of limits on top, for a group. [owner; raises: e] */
void la_check_limits(lua_State *L, la_group_opts_t *o);
/* The list of names on top: the rights of a sandbox, less than the process has itself.
 * Not yet owned: la_make_sandbox. [owner; raises: e] */
typedef struct la_rights {
  uint64_t gone[LA_LAZY_FIELDS / 64];
} la_rights_t;
void la_check_rights(lua_State *L, la_rights_t *out);
/* NULL: memory. The names are those of the list at 'list'. [owner; raises: -] */
la_sandbox_t *la_make_sandbox(lua_State *L, int list, const la_rights_t *r,
                              const la_spawn_opts_t *o);
/* The same for a C program: names ended by NULL, limits to be filled in. NULL: memory, or
 * *unknown. [any] */
la_sandbox_t *la_sandbox_of_names(const la_std_t *std,
                                  const la_sandbox_t *parent,
                                  const char *const *names, bool *unknown);
/* Take from the new state what its process may not have. [owner; raises: -] */
void la_shut_state(la_proc_t *p);
/* In a sandbox names are no destinations. [owner; raises: e] */
void la_refuse_names(lua_State *L);
/* In a sandbox only processes of the sandbox may be acted on. 'arg': the pid's.
 * [owner; raises: e] */
void la_check_inside(lua_State *L, int arg, la_pid_t pid);
/* Does what is sent to the address stay in the sandbox? True without one.
 * [owner; raises: -] */
bool la_is_inside_dest(lua_State *L, la_id_t to);
/* In a sandbox: a message that rules a process outside is freed, and an error raised.
 * [owner; raises: e] */
void la_check_out_now(lua_State *L, la_msg_t *m);
static inline void la_check_out(lua_State *L, la_msg_t *m) {
  if (la_sandbox_of(la_proc_of(L)) != NULL) {
    la_check_out_now(L, m);
  }
}
/* May the process know of this one? True without a sandbox. [owner; raises: -] */
bool la_is_inside(lua_State *L, la_pid_t pid);
/* luactor._core.scope_spawn. [owner; raises: e] */
int la_spawn_scoped(lua_State *L);
/* luactor._core.caller(name): the method 'name' of server objects (luactor._server). */
int la_method_caller(lua_State *L);
/* luactor._core.reply_once: as reply, but a second answer raises. */
int la_reply_once(lua_State *L);
/* luactor._core.spawn_tied, tie, task_mailbox, traps_exit. [owner; raises: e] */
int la_spawn_tied(lua_State *L);
int la_spawn_root(lua_State *L);
int la_tie_process(lua_State *L);
int la_task_mailbox(lua_State *L);

/* home(x): true for a process of this host, the node of another's, else nil; and
 * node_name(): nil when the host is none. (lib_node.c) [owner; raises: m] */
int la_node_home(lua_State *L);
int la_node_name(lua_State *L);
int la_traps_exit(lua_State *L);

/* Call the function 'name' of a Lua module, loaded on first use, with all that is on the
 * stack. [owner; raises: e] */
int la_elsewhere(lua_State *L, const char *module, const char *name);
/* Methods of pools (lib_pool.c), and the functions of luactor._core for them. */
int la_pool_resize(lua_State *L);
int la_pool_info(lua_State *L);
int la_pool_stop(lua_State *L);
void la_open_pool(lua_State *L);

/* actor.send, which is also pid:send. [owner; raises: e] */
int la_lua_send(lua_State *L);

/* The fields of the module. */
extern const la_std_part_t la_core_parts[];    /* lib_core.c */
extern const la_std_part_t la_spawn_parts[];   /* lib_spawn.c */
extern const la_std_part_t la_send_parts[];    /* lib_send.c */
extern const la_std_part_t la_match_parts[];   /* lib_match.c */
extern const la_std_part_t la_receive_parts[]; /* lib_recv.c */
extern const la_std_part_t la_call_parts[];    /* lib_call.c */
extern const la_std_part_t la_types_parts[];   /* lib_types.c */

void la_open_inner(lua_State *L); /* lib_inner.c: luactor._core */
void la_open_log(lua_State *L);   /* lib_log.c, likewise */

#endif
