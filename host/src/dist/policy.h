/* What other nodes may do on this host: which functions they may have run, and
 * which registered names they reach.
 *
 * Functions. Until something is exported, luactor peers may start functions of the
 * modules that belong to the application, which only a process can tell (TRUST_SOURCE),
 * and Erlang peers none. From the first export on, even of nothing, all peers
 * may start what is exported and nothing else.
 *
 * Names. Without rules every registered name is reached, as in Erlang. With
 * rules a peer reaches the names of its own rule, or else those of the rule for
 * all others, which is empty when there is none. The names of the node's own
 * services are always reached.
 *
 * It belongs to the host and not to one life of it as a node, so exports may be
 * stated before node.start. Its lock is taken under that of nodes. */
#ifndef LA_POLICY_H
#define LA_POLICY_H

#include "proc/host.h"

typedef struct la_policy la_policy_t;

/* The host's, made when there is none; NULL: memory. [any] */
la_policy_t *la_policy_of(la_host_t *host);
void la_policy_free(la_host_t *host);

typedef enum {
  LA_TRUST_NONE,
  LA_TRUST_SOURCE,   /* if the module is one of the application's */
  LA_TRUST_EXPORTED, /* whatever it is */
} la_trust_t;

/* Export "module" or "module.function"; NULL: begin the list. False: memory. */
bool la_policy_export(la_host_t *host, const char *word);
/* Back to the beginning: nothing has been exported. */
void la_policy_forget_exports(la_host_t *host);
/* May 'module'.'function' be started for a peer? [any] */
la_trust_t la_policy_trust(la_host_t *host, bool is_luactor,
                           const char *module, const char *function);
/* The exports, each ended by a NUL; la_alloc'ed. NULL: there is no list, or no memory.
 * Sorted. */
char *la_policy_exports(la_host_t *host, size_t *count);

/* A name for a peer ("": all others); NULL: every name. False: memory. */
bool la_policy_name(la_host_t *host, const char *peer, const char *name);
/* There are rules from now on; false: memory. */
bool la_policy_begin_names(la_host_t *host);
void la_policy_forget_names(la_host_t *host);
bool la_policy_may_reach(la_host_t *host, const char *peer, const char *name);

/* One line of the log about a peer that was refused something; what repeats is
 * counted (log.h, rule 2). 'kind' tells what belongs together. [any] */
void la_policy_log(la_host_t *host, const char *peer, const char *kind,
                   const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

#endif
