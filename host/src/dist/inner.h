/* Inside of dist/: nodes, their connections and what is remembered of them.
 *
 * One lock guards all of it (rank NODE). Nothing is signalled under it: what a
 * change has to tell processes is collected and sent when the lock is free.
 * Links (transports) belong to the loop's thread. */
#ifndef LA_DIST_INNER_H
#define LA_DIST_INNER_H

#include "base/map.h"
#include "dist/control.h"
#include "dist/dist.h"
#include "dist/epmd.h"
#include "dist/frame.h"
#include "dist/handshake.h"
#include "dist/outq.h"

/* What the loop has handed to the system at a time: the rest waits in order. */
#define WINDOW ((size_t)256 << 10)
/* More than this is not left to the end of a slice. */
#define SLICE_BYTES ((size_t)64 << 10)
#define SETUP_MS 7000

typedef struct la_conn la_conn_t;
typedef struct la_link la_link_t;

/* One TCP connection, during and after its handshake. [loop] */
struct la_link {
  la_dist_t *dist;
  la_conn_t *conn;   /* whom it serves; NULL: unknown yet, or no more. [lock] */
  la_stream_t *stream;
  la_hs_t *hs;       /* NULL when it is over */
  la_frames_t *frames;
  la_buf_t in;       /* of the handshake */
  la_hs_config_t config;
  char peer[LA_NODE_NAME_MAX + 1];
  char from[64];     /* accepted: the address it comes from */
  bool accepted;
  bool opening;      /* counted in nopening */
  bool refused;      /* its end has been logged, or is nobody's fault */
  la_loop_timer_t timer;
  la_door_t *door;      /* UP [lock] */
  uint64_t read;        /* bytes since the last tick */
  _Atomic uint64_t wrote;
  size_t said;          /* bytes under way that are of no packet */
  unsigned silent;      /* ticks without a byte */
  struct la_link *next_link; /* all of the host */
};

/* What waits for a connection to stand: a control message and its payload. */
typedef struct la_late {
  struct la_late *next;
  la_id_t by;          /* whose it is */
  la_buf_t control;
  la_msg_t *msg;       /* payload: one of them, or none */
  la_reason_t *reason;
} la_late_t;

typedef enum { CONN_SETUP, CONN_UP, CONN_DOWN } la_conn_state_t;

/* The connection to a node, from the moment somebody needs it. [lock] */
struct la_conn {
  la_conn_t *next;
  la_dist_t *dist;
  la_conn_state_t state;
  char node[LA_NODE_NAME_MAX + 1];
  la_link_t *link;
  bool nok;            /* the peer's own attempt wins: we wait for it */
  uint64_t setup_ends; /* ms of the loop */
  la_hs_peer_t peer;   /* UP */
  la_peer_t border;
  la_late_t *late, **late_end;
  size_t late_bytes;
  la_outq_t outq;      /* UP: what is to be written */
  bool flushing;       /* the loop has been told */
  bool is_lazy;        /* what is being added may wait for something else */
  bool owed;           /* in the list of those to be written at the end of a slice */
  la_conn_t *next_owed;
  la_job_t flush;
  la_note_t *waiters;  /* RESUME notes: who waits for it to stand */
  la_note_t *rooms, **rooms_end; /* ROOM notes of who waits, oldest first */
  la_map_t monitors;   /* our reference -> la_watch_out_t */
  la_map_t calls;      /* tag -> la_call_out_t */
  la_map_t spawns;     /* our reference -> la_spawn_out_t */
  uint64_t last_unlink;
  uint32_t refs;       /* the table, its link, jobs under way */
};

/* A link between a local process and a proxy. */
typedef struct la_tied {
  struct la_tied *next;
  la_pid_t local;
  uint64_t unlinking; /* 0: active */
  la_note_t *note;    /* our LINK signal, which becomes EXIT; or NULL */
} la_tied_t;

/* A remote process watches one of ours. */
typedef struct la_watch_in {
  struct la_watch_in *next; /* of the proxy */
  la_id_t ref;       /* ours, towards the local process */
  la_pid_t target;
  la_buf_t control;  /* the terms asked for: who, ref */
  size_t who_len;
} la_watch_in_t;

/* One of ours watches something there. */
typedef struct la_watch_out {
  la_id_t ref, proxy;
  la_pid_t local;
  la_note_t *note; /* the MONITOR signal, which becomes DOWN; NULL: of a call,
                    * or then to be made */
} la_watch_out_t;

typedef struct la_call_out {
  la_id_t tag, ref, proxy;
  la_call_t *call;
} la_call_out_t;

/* A process that was asked for, until the answer: the signals that may become
 * necessary; link and watch only when asked for. */
typedef struct la_spawn_out {
  la_id_t ref;
  la_pid_t local;
  la_note_t *note; /* SPAWNED */
  la_note_t *link; /* LINK of the new process */
  la_watch_out_t *watch;
} la_spawn_out_t;

/* Something that lives on another node. */
typedef struct la_proxy {
  la_id_t id;
  uint32_t holds;     /* and relations */
  uint32_t next_free;
  bool is_name;
  char *node, *name;
  la_wire_id_t wire;  /* its node points to 'node' */
  la_tied_t *ties;
  la_watch_in_t *watchers;
  uint64_t hash;
  uint32_t next_same; /* chain of a hash */
} la_proxy_t;

typedef struct la_place {
  struct la_place *next;
  char *address;
  int port;
  char node[];
} la_place_t;

/* Refused connections of the present second. [loop] */
typedef struct la_refusals {
  uint64_t since;
  uint32_t shown, hidden;
  char last[400]; /* the last hidden one */
} la_refusals_t;

struct la_dist {
  la_host_t *host;
  la_loop_t *loop;
  char name[LA_NODE_NAME_MAX + 1];
  char cookie[LA_COOKIE_MAX + 1];
  size_t cookie_len;
  char address[64];
  int port;
  bool use_epmd, hidden;
  bool is_unknown;      /* the last registration failed [loop] */
  size_t max_message;
  la_tls_t *tls;
  uint32_t creation;
  /* [loop] */
  la_listener_t *listener;
  la_link_t *links;
  uint32_t nopening;    /* accepted, not proved yet */
  la_loop_timer_t ticker;
  uint64_t ticktime_ms, last_ticks; /* fixed; when ticks were last due */
  struct la_asker *registration;
  la_loop_timer_t again; /* until it is registered anew */
  struct la_mapserver *server; /* a mapper of our own, or NULL */
  la_refusals_t refusals;
  la_note_t *starting;
  /* [lock] */
  la_lock_t lock;
  la_conn_t *conns;
  la_conn_t *owed;      /* each counted */
  la_proxy_t *proxies;
  uint32_t nproxies, free_proxy;
  uint64_t last_serial; /* of a proxy */
  la_map_t by_hash;     /* hash -> 1 + index of the first of a chain */
  la_place_t *places;
  _Atomic bool leaving; /* read by anybody */
  la_map_t parked;      /* address -> those that wait for room there */
  size_t parked_bytes;
  _Atomic uint32_t nparked; /* entries; changed under the lock */
  _Atomic la_pid_t leader; /* group leader of what we start elsewhere */
  la_dist_t *before; /* a node that this host has been */
};

/* Signals to be sent when the lock is free. */
typedef struct la_told {
  la_sig_t *first, **last;
} la_told_t;

static inline void la_told_init(la_told_t *t) {
  t->first = NULL;
  t->last = &t->first;
}
static inline void la_told_add(la_told_t *t, la_sig_t *s) {
  if (s != NULL) {
    s->next = NULL;
    *t->last = s;
    t->last = &s->next;
  }
}
void la_told_send(la_host_t *host, la_told_t *t);

static inline la_reason_t *la_noconnection(void) {
  return la_reason_text("noconnection");
}

/* ---- conn.c: the table of connections, under the lock ------------------- */

/* The connection to a node, begun when there is none; NULL: memory, leaving. */
la_conn_t *la_conn_to(la_dist_t *d, const char *node);
la_conn_t *la_conn_find(la_dist_t *d, const char *node);
/* One in the table, in SETUP, that nobody has begun; NULL: memory. */
la_conn_t *la_conn_new(la_dist_t *d, const char *node);
void la_conn_unref(la_conn_t *c);
/* See to it that the loop looks at it. */
void la_conn_poke(la_conn_t *c);
/* It is no more. 'why' goes to who waited for it. */
void la_conn_down(la_conn_t *c, const char *why, la_told_t *told);
/* The same, for an attempt that has no link. [takes the lock] */
void la_conn_fail(la_conn_t *c, const char *why);
/* Tell who waits (a RESUME note, taken over; or NULL) what came of it. */
void la_conn_answer(la_told_t *told, la_note_t *n, const char *why);
/* "nodeup" or "nodedown" to who asked for it. */
void la_conn_tell(la_dist_t *d, const char *node, const char *event,
                  la_told_t *told);
/* Queue a control message with a payload: a message's term, a reason, or none.
 * False: it cannot be said there ('why'), or memory. Takes nothing over; what
 * must wait is kept by reference (reason) or copied (message). */
bool la_conn_emit(la_conn_t *c, const la_control_t *control,
                  const la_msg_t *m, la_reason_t *reason, char *why,
                  size_t max);
/* Export and queue a packet of one that is UP: a control message and a payload, or
 * NULL. False: it cannot be said there ('why'), or memory. */
bool la_conn_packet(la_conn_t *c, la_id_t by, const la_buf_t *control,
                    const la_term_t *payload, la_export_t as, char *why,
                    size_t max);
/* The second half of it; takes 'x' over. False: memory. */
bool la_conn_add(la_conn_t *c, la_id_t by, la_exported_t *x);
/* host->pay: write, or have the loop write, what processes have left. [any] */
void la_conn_pay(la_host_t *host, bool by_tick);
/* Forget about it. */
void la_conn_forget_owed(la_dist_t *d);
/* Should 'by' wait with a message of so many bytes? */
bool la_conn_is_full(const la_conn_t *c, la_id_t by, size_t size);
/* It stands: queue what has waited. */
void la_conn_late(la_conn_t *c);
/* So many bytes of packets have been written: hand the stream what it takes, and
 * let senders go on. [loop; takes the lock] */
void la_conn_flush(la_conn_t *c, size_t wrote);

/* ---- peerlink.c: TCP connections, on the loop --------------------------- */

/* Begin an attempt; its end is heard by the connection. */
void la_peerlink_to(la_conn_t *c, const char *host, uint16_t port);
la_accept_fn la_peerlink_accept;
/* Write something that is no packet of the connection: an answer of the
 * handshake, a tick. Takes the bytes over. */
void la_peerlink_say(la_link_t *k, la_buf_t *b);

/* ---- mapper.c: where nodes listen, on the loop -------------------------- */

/* Under the lock: find out where the node listens, then begin an attempt. */
void la_mapper_begin(la_conn_t *c);
/* Register this node; ends with la_node_registered. False: memory. */
bool la_mapper_register(la_dist_t *d);
/* It is registered no more, or could not be: try again soon. */
void la_mapper_lost(la_dist_t *d);
uint16_t la_mapper_port(void);

/* ---- mapserver.c: a mapper of our own, on the loop ---------------------- */

/* Serve on loopback and the addresses of ERL_EPMD_ADDRESS. False: with 'why'. */
bool la_mapserver_start(la_dist_t *d, char *why, size_t max);
void la_mapserver_free(la_dist_t *d);

/* ---- refusal.c: on the loop --------------------------------------------- */

/* One line for a connection that is refused; in a storm they are counted, and
 * la_refusal_tick tells how many there were. */
void la_refusal(la_dist_t *d, const char *direction, const char *who,
                const char *why);
void la_refusal_tick(la_dist_t *d);

/* ---- node.c ------------------------------------------------------------- */

void la_node_registered(la_dist_t *d, const char *why, uint32_t creation);

/* ---- proxy.c (all under the lock) --------------------------------------- */

/* The proxy for a process ('name' NULL) or a name; made when there is none,
 * then with no hold: take one before the lock is free. Entries stay where they
 * are only until the next call of this. NULL: memory. */
la_proxy_t *la_proxy_get(la_dist_t *d, const la_wire_id_t *id,
                         const char *node, const char *name);
la_proxy_t *la_proxy_of(la_dist_t *d, la_id_t id);
/* Give back a hold; the last one ends it. */
void la_proxy_let_go(la_dist_t *d, la_proxy_t *x);
/* The term that stands for it; NULL: memory. */
la_reason_t *la_proxy_who(const la_proxy_t *x);
void la_proxy_free_all(la_dist_t *d);

/* ---- bond.c (all under the lock) ---------------------------------------- */

/* Whom a control message is about: a process here, a proxy, a reference. */
la_ctl_who_t la_bond_here(const la_dist_t *d, la_pid_t pid);
la_ctl_who_t la_bond_there(const la_proxy_t *x);
void la_bond_ref(const la_dist_t *d, la_id_t ref, la_wire_id_t *out);
/* Say it, whatever comes of it: what must not be lost is noticed by the loss of
 * the connection. */
bool la_bond_emit(la_conn_t *c, const la_control_t *k, la_reason_t *reason);

/* Where the tie with a local process is, or would be. */
la_tied_t **la_bond_tie_of(la_proxy_t *x, la_pid_t local);
bool la_bond_tie(la_proxy_t *x, la_pid_t local);
void la_bond_untie(la_dist_t *d, la_proxy_t *x, la_tied_t **at);
/* The exit signal of a broken link; takes the reason over unless it is NULL. What
 * the tie has kept for it is used. */
la_sig_t *la_bond_broken(const la_proxy_t *x, la_tied_t *t,
                         la_reason_t *reason);

/* 'note': the MONITOR signal, taken over on success; NULL for a call. */
bool la_bond_watch(la_dist_t *d, la_conn_t *c, la_proxy_t *x, la_pid_t local,
                   la_id_t ref, la_note_t *note);
void la_bond_unwatch(la_dist_t *d, la_conn_t *c, la_id_t ref);
/* The proxy 'x' watches 'target', for which it asked as 'who' under 'ref'; takes
 * a hold of its own. NULL: memory. */
la_watch_in_t *la_bond_watcher(la_dist_t *d, la_proxy_t *x, la_pid_t target,
                               const la_ctl_who_t *who,
                               const la_wire_id_t *ref);
void la_bond_watcher_free(la_watch_in_t *w);
/* The DOWN signal; frees the entry, which is in no map any more. */
la_sig_t *la_bond_down(la_watch_out_t *w, la_reason_t *reason);
void la_bond_watch_free(la_watch_out_t *w);

/* The record of a call that will get no answer goes back to its caller. */
la_sig_t *la_bond_call_end(la_call_out_t *o, la_reason_t *reason);
void la_bond_forget_call(la_dist_t *d, la_conn_t *c, la_id_t tag,
                         la_told_t *told, la_reason_t *reason);
/* The connection is no more: everything over it ends. */
void la_bond_lost(la_dist_t *d, la_conn_t *c, la_told_t *told);

/* ---- inbound.c ---------------------------------------------------------- */

/* A packet has come. False: the peer breaks the protocol, '*why'. [loop] */
bool la_inbound_packet(la_conn_t *c, la_packet_t *packet, const char **why);

/* One that is being obeyed. */
typedef struct la_in {
  la_dist_t *d;
  la_conn_t *c;
  la_control_t k;
  const uint8_t *payload, *end;
  la_id_t target;  /* MONITOR_P: who is to be watched */
  la_told_t told;  /* signals for when the lock is free */
  const char *why; /* what is wrong with it */
} la_in_t;

/* The process here that is meant; LA_NO_ID: none, or of an earlier life. */
la_id_t la_inbound_ours(const la_in_t *i, const la_wire_id_t *id);
/* Let the payload in. False: drop the message (*ok) or the connection. */
bool la_inbound_payload(la_in_t *i, bool as_reason, la_imported_t *out,
                        bool *ok);

/* ---- park.c ------------------------------------------------------------- */

/* Deliver a message of 'peer', now or when there is room. Takes it over. [loop] */
void la_park_send(la_dist_t *d, const char *peer, la_msg_t *m);
/* There may be room at 'to'. [any] */
void la_park_room(la_host_t *host, la_id_t to);
/* The node is left: what waits is delivered beyond the limits. [lock] */
void la_park_end(la_dist_t *d, la_told_t *told);
void la_park_free(la_dist_t *d);

/* ---- spawn.c ------------------------------------------------------------ */

/* SPAWN_REQUEST. False: the peer breaks the protocol. [loop; takes the lock] */
bool la_spawn_asked(la_in_t *i);
/* SPAWN_REPLY. [lock] */
void la_spawn_replied(la_in_t *i);
/* The connection is no more. [lock] */
void la_spawn_lost(la_conn_t *c, la_told_t *told);

#endif
