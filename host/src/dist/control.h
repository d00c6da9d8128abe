/* Control messages: the tuples in front of every packet between nodes.
 *
 * Reading checks arity and types and leaves pointers into the packet; what is
 * wrong is a protocol error of the peer, which ends the connection. Writing
 * gives the tuple without the version byte. The trace tokens of OTP are
 * accepted and left out. Source: "Distribution Protocol" in the ERTS User's
 * Guide. */
#ifndef LA_CONTROL_H
#define LA_CONTROL_H

#include "term/wire.h"

/* X(symbol, number): what we understand. A number with a trace token is read
 * as the one without. */
#define LA_CONTROLS(X)         \
  X(LINK, 1)                   \
  X(SEND, 2)                   \
  X(EXIT, 3)                   \
  X(UNLINK, 4)                 \
  X(REG_SEND, 6)               \
  X(GROUP_LEADER, 7)           \
  X(EXIT2, 8)                  \
  X(MONITOR_P, 19)             \
  X(DEMONITOR_P, 20)           \
  X(MONITOR_P_EXIT, 21)        \
  X(SEND_SENDER, 22)           \
  X(PAYLOAD_EXIT, 24)          \
  X(PAYLOAD_EXIT2, 26)         \
  X(PAYLOAD_MONITOR_P_EXIT, 28) \
  X(SPAWN_REQUEST, 29)         \
  X(SPAWN_REPLY, 31)           \
  X(ALIAS_SEND, 33)            \
  X(UNLINK_ID, 35)             \
  X(UNLINK_ID_ACK, 36)

typedef enum {
#define X(sym, number) LA_CTL_##sym = number,
  LA_CONTROLS(X)
#undef X
} la_ctl_op_t;

/* A process or, where a name may stand, a registered name. */
typedef struct la_ctl_who {
  bool is_name;
  const uint8_t *name; /* UTF-8 */
  uint32_t name_len;
  la_wire_id_t id;
} la_ctl_who_t;

/* X(name, kind): options of a process that is asked for. FLAG: the atom, or a
 * tuple that begins with it; TEXT: {name, atom or binary}; UINT: {name, integer},
 * 0 when not given. Beyond Erlang's they are for luactor nodes only. */
#define LA_CTL_OPTIONS(X) \
  X(link, FLAG)           \
  X(monitor, FLAG)        \
  X(trap_exit, FLAG)      \
  X(name, TEXT)           \
  X(label, TEXT)          \
  X(priority, TEXT)       \
  X(gc, TEXT)             \
  X(overflow, TEXT)       \
  X(mailbox_limit, UINT)  \
  X(max_heap, UINT)

#define LA_CTL_TEXT_MAX 255 /* bytes */

typedef struct la_ctl_text {
  const uint8_t *text; /* UTF-8; NULL: not given */
  uint32_t len;
} la_ctl_text_t;

#define LA_CTL_FLAG bool
#define LA_CTL_TEXT la_ctl_text_t
#define LA_CTL_UINT uint64_t
typedef struct la_ctl_options {
#define X(name, kind) LA_CTL_##kind name;
  LA_CTL_OPTIONS(X)
#undef X
  bool is_bad; /* and one that is not known */
} la_ctl_options_t;

typedef struct la_control {
  la_ctl_op_t op;
  la_ctl_who_t from; /* who acts; MONITOR_P_EXIT: who was watched */
  la_ctl_who_t to;   /* receiver; a reference for ALIAS_SEND */
  la_wire_id_t ref;  /* monitors; the request of SPAWN_* */
  uint64_t unlink_id;
  bool priority; /* messages, between luactor nodes: where OTP has its token */
  uint32_t spawn_flags; /* SPAWN_REPLY: 1 linked, 2 monitored */
  /* SPAWN_REQUEST */
  la_ctl_options_t options;
  la_wire_id_t leader; /* the group leader */
  la_ctl_text_t module, function;
  uint32_t arity;
  /* Writing: whose signals it keeps its order with; LA_NO_ID: those of 'from',
   * a process here. */
  la_id_t by;
  /* EXIT, EXIT2 and MONITOR_P_EXIT without payload: the reason's term. */
  const uint8_t *reason;
  size_t reason_len;
} la_control_t;

/* Read the control message at 'bytes'. Returns the byte behind it, or NULL with '*why' set:
 * a static text. */
const uint8_t *la_control_read(const uint8_t *bytes, const uint8_t *end,
                               la_control_t *out, const char **why);
/* Does a payload follow it? */
bool la_control_has_payload(la_ctl_op_t op);

/* Write the tuple. Which fields count is said by 'op'; EXIT and the like are
 * written in their payload forms by asking for those. */
void la_control_write(la_buf_t *b, const la_control_t *c);

#endif
