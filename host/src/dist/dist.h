/* A host as a node: connections to other nodes, and the signals that go over
 * them. What the rest of the host knows of it.
 *
 * A process of another node is met in two forms. As a value it is Erlang's pid,
 * in bytes (term/wire.h). Where the host needs a 64-bit identity, to send a
 * signal to or to keep in a link, a *proxy* stands for it: an identity of kind
 * PROXY, whose signals are not pushed into an inbox but written to a connection, by
 * whoever sends them.
 *
 * A proxy is counted: by what is remembered of it (links, monitors, calls) and
 * by holds, which whoever keeps its identity for later has to have. A process
 * holds the one that it looked up last, a timer the one that it sends to. */
#ifndef LA_DIST_H
#define LA_DIST_H

#include "dist/control.h"
#include "proc/host.h"
#include "term/wire.h"

typedef struct la_dist la_dist_t;

typedef struct la_dist_config {
  const char *name;    /* name@host */
  const char *cookie;
  const char *address; /* to listen on; NULL: 127.0.0.1 */
  int port;            /* 0: any; -1: do not listen */
  bool epmd;           /* register there, and ask there for others */
  bool hidden;
  uint32_t ticktime_ms; /* silence of about this long ends a connection; 0: a minute */
  size_t max_message;  /* bytes of one that comes in; 0: LA_MESSAGE_MAX */
  bool insecure;       /* other addresses than loopback without TLS */
  const char *cert, *key, *ca; /* TLS: all or none */
} la_dist_config_t;

/* Become a node. 'n', a RESUME note, is signalled when it is decided; its name is
 * then NULL, or says what went wrong (la_alloc'ed). False with 'why': it was
 * refused at once and 'n' stays the caller's. [any] */
bool la_dist_start(la_host_t *host, const la_dist_config_t *config,
                   la_note_t *n, char *why, size_t max);
/* Leave all nodes: everything over them ends with "noconnection". Must not be called
 * on the loop's thread. [any] */
void la_dist_stop(la_host_t *host);
/* The host ends: leave, and free what is kept. */
void la_dist_close(la_host_t *host);
/* NULL when the host is no node. */
const char *la_dist_name(la_host_t *host);

/* The identity for what lives on another node, with a hold; LA_NO_ID: memory, or the host is no
 * node. 'name' NULL: the process 'id', else the one registered so on 'node'. [any] */
la_id_t la_dist_proxy(la_host_t *host, const la_wire_id_t *id,
                      const char *node, const char *name);
/* One more hold; give one back. Both do nothing to what is no proxy (any more).
 * [any] */
void la_dist_hold(la_host_t *host, la_id_t proxy);
void la_dist_release(la_host_t *host, la_id_t proxy);
/* How many are kept: for tests. */
uint32_t la_dist_kept(la_host_t *host);
/* The term that stands for it in EXIT and DOWN messages; NULL: memory. */
la_reason_t *la_dist_who(la_host_t *host, la_id_t proxy);
/* Whether its node is the connected one, and which creation that has. */
bool la_dist_creation(la_host_t *host, const char *node, uint32_t *creation);

/* Whether it is connected, and then whether it is a luactor. */
bool la_dist_is_up(la_host_t *host, const char *node, bool *is_luactor);

/* What one of our pids stands for that came from outside: itself, or a pool, which
 * looks like a process there. 'host' is the host. [any] */
la_id_t la_dist_own(void *host, la_id_t pid);
/* Nobody will answer 'm', a message to 'to': the member of the pool that worked on
 * it has ended, or there was no room for it. Was it a call from another node? Then
 * its caller learns the reason. [any] */
void la_dist_call_lost(la_host_t *host, la_id_t to, const la_msg_t *m,
                       la_reason_t *reason);

/* A signal to a proxy: takes it over. [any] */
void la_dist_signal(la_host_t *host, la_sig_t *sig);
/* A message to a proxy. LA_SENT: it is on its way and taken over; LA_SEND_NOPROC: there
 * is no connection and the message is gone; LA_SEND_WAIT: too much is on its way;
 * LA_SEND_UNFIT: it cannot travel; in both cases it stays the caller's. [any] */
la_sent_t la_dist_send(la_host_t *host, la_msg_t *m);
/* Why a message is unfit: names the part of it. */
void la_dist_unfit(la_host_t *host, const la_msg_t *m, char *why, size_t max);

/* A process that is to be started on another node. */
typedef struct la_far_spawn {
  const char *node;
  la_pid_t from; /* who asks: parent and, as the options say, linked and watching */
  la_id_t ref;   /* of the request and of the monitor */
  la_ctl_options_t options;
  la_ctl_text_t module, function;
  uint32_t arity;
  const la_msg_t *arguments; /* its term: the list of them */
} la_far_spawn_t;

/* Ask for it. LA_SENT: a SPAWNED note will come to 'from', and for a link a LINK
 * before it: 'who' is the pid's term, or 'name' what went wrong. LA_SEND_NOPROC: there
 * is no connection; connect first. LA_SEND_UNFIT: it cannot be asked, 'why'. [any] */
la_sent_t la_dist_spawn(la_host_t *host, const la_far_spawn_t *s, char *why,
                        size_t max);
/* The process that answers Erlang's requests for input and output. */
void la_dist_set_leader(la_host_t *host, la_pid_t pid);
la_pid_t la_dist_leader(la_host_t *host); /* LA_NO_ID: none */

/* The names that the mapper of a host knows: 'n' (RESUME) is signalled with reason
 * NULL and the mapper's text as name, or with a reason and what went wrong. False:
 * memory, and 'n' stays the caller's. */
bool la_dist_names(la_host_t *host, const char *address, la_note_t *n);

/* Where it listens; 0: nowhere. */
int la_dist_port(la_host_t *host);
/* Connect; 'n' (RESUME) is signalled with name NULL or what went wrong. */
void la_dist_connect(la_host_t *host, const char *node, la_note_t *n);
bool la_dist_disconnect(la_host_t *host, const char *node);
/* The names of the connected nodes, each ended by a NUL; la_alloc'ed. */
char *la_dist_list(la_host_t *host, size_t *count);
/* Where a node listens that no mapper knows; NULL forgets it. False: memory. */
bool la_dist_place(la_host_t *host, const char *node, const char *address,
                   int port);
void la_nodewatches_init(la_nodewatches_t *all);
void la_nodewatches_fini(la_nodewatches_t *all);
/* The host becomes a node: who asked for single nodes asked the one before. */
void la_nodewatches_begin(la_nodewatches_t *all);
/* nodeup and nodedown messages of 'node', "" for all, to 'pid'; calls add up, as
 * in OTP. False: memory. [any] */
bool la_dist_watch(la_host_t *host, const char *node, la_pid_t pid, bool on);

#endif
