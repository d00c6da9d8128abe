/* See policy.h. Both lists are short and rarely change: sorted words. */
#include "dist/policy.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/env.h"

typedef struct la_words {
  char **words;
  uint32_t n, cap;
} words_t;

typedef struct rule {
  struct rule *next;
  bool all;
  words_t names;
  char peer[]; /* "": all others */
} rule_t;

struct la_policy {
  /* Set under the lock, read by anybody: most peers are asked for neither. */
  _Atomic bool is_listed, has_names;
  la_lock_t lock;
  words_t exports;
  rule_t *rules;
};

/* ---- words ---------------------------------------------------------------- */

/* Where the word is, or would be. */
static uint32_t place_of(const words_t *w, const char *word, bool *found) {
  uint32_t lo = 0, hi = w->n;
  *found = false;
  while (lo < hi) {
    const uint32_t mid = (lo + hi) / 2;
    const int order = strcmp(w->words[mid], word);
    if (order == 0) {
      *found = true;
      return mid;
    }
    if (order < 0) {
      lo = mid + 1;
    } else {
      hi = mid;
    }
  }
  return lo;
}

static bool has(const words_t *w, const char *word) {
  bool found;
  place_of(w, word, &found);
  return found;
}

static bool add(words_t *w, const char *word) {
  bool found;
  const uint32_t at = place_of(w, word, &found);
  if (found) {
    return true;
  }
  if (w->n == w->cap) {
    const uint32_t cap = w->cap != 0 ? 2 * w->cap : 8;
    char **all = la_realloc(w->words, cap * sizeof *all);
    if (all == NULL) {
      return false;
    }
    w->words = all;
    w->cap = cap;
  }
  char *copy = la_alloc(strlen(word) + 1);
  if (copy == NULL) {
    return false;
  }
  strcpy(copy, word);
  memmove(w->words + at + 1, w->words + at, (w->n - at) * sizeof *w->words);
  w->words[at] = copy;
  w->n++;
  return true;
}

static void clear(words_t *w) {
  for (uint32_t i = 0; i < w->n; i++) {
    la_free(w->words[i]);
  }
  la_free(w->words);
  *w = (words_t){0};
}

/* ---- the host's ------------------------------------------------------------ */

la_policy_t *la_policy_of(la_host_t *host) {
  la_policy_t *p = atomic_load(&host->policy);
  if (p != NULL) {
    return p;
  }
  la_policy_t *mine = la_zalloc(sizeof *mine);
  if (mine == NULL) {
    return NULL;
  }
  la_lock_init(&mine->lock, LA_RANK_POLICY);
  if (!atomic_compare_exchange_strong(&host->policy, &p, mine)) {
    la_lock_fini(&mine->lock);
    la_free(mine);
    return p;
  }
  return mine;
}

static void free_rules(la_policy_t *p) {
  while (p->rules != NULL) {
    rule_t *r = p->rules;
    p->rules = r->next;
    clear(&r->names);
    la_free(r);
  }
}

void la_policy_free(la_host_t *host) {
  la_policy_t *p = atomic_exchange(&host->policy, NULL);
  if (p != NULL) {
    clear(&p->exports);
    free_rules(p);
    la_lock_fini(&p->lock);
    la_free(p);
  }
}

/* ---- functions --------------------------------------------------------------- */

bool la_policy_export(la_host_t *host, const char *word) {
  la_policy_t *p = la_policy_of(host);
  if (p == NULL) {
    return false;
  }
  la_lock(&p->lock);
  atomic_store(&p->is_listed, true);
  const bool ok = word == NULL || add(&p->exports, word);
  la_unlock(&p->lock);
  return ok;
}

void la_policy_forget_exports(la_host_t *host) {
  la_policy_t *p = atomic_load(&host->policy);
  if (p != NULL) {
    la_lock(&p->lock);
    atomic_store(&p->is_listed, false);
    clear(&p->exports);
    la_unlock(&p->lock);
  }
}

la_trust_t la_policy_trust(la_host_t *host, bool is_luactor,
                           const char *module, const char *function) {
  la_policy_t *p = atomic_load(&host->policy);
  if (p == NULL || !atomic_load(&p->is_listed)) {
    return is_luactor ? LA_TRUST_SOURCE : LA_TRUST_NONE;
  }
  char both[600];
  const int n = snprintf(both, sizeof both, "%s.%s", module, function);
  la_lock(&p->lock);
  const bool ok = has(&p->exports, module) ||
                  ((size_t)n < sizeof both && has(&p->exports, both));
  la_unlock(&p->lock);
  return ok ? LA_TRUST_EXPORTED : LA_TRUST_NONE;
}

char *la_policy_exports(la_host_t *host, size_t *count) {
  la_policy_t *p = atomic_load(&host->policy);
  la_buf_t b = {0};
  *count = 0;
  if (p == NULL || !atomic_load(&p->is_listed)) {
    return NULL;
  }
  la_lock(&p->lock);
  for (uint32_t i = 0; i < p->exports.n; i++) {
    la_buf_put(&b, p->exports.words[i], strlen(p->exports.words[i]) + 1);
  }
  *count = p->exports.n;
  la_unlock(&p->lock);
  la_buf_u8(&b, 0);
  if (b.failed) {
    la_buf_free(&b);
    return NULL;
  }
  return (char *)b.data;
}

/* ---- names ---------------------------------------------------------------------- */

static rule_t *rule_of(const la_policy_t *p, const char *peer) {
  rule_t *r = p->rules;
  while (r != NULL && strcmp(r->peer, peer) != 0) {
    r = r->next;
  }
  return r;
}

bool la_policy_begin_names(la_host_t *host) {
  la_policy_t *p = la_policy_of(host);
  if (p != NULL) {
    atomic_store(&p->has_names, true);
  }
  return p != NULL;
}

bool la_policy_name(la_host_t *host, const char *peer, const char *name) {
  la_policy_t *p = la_policy_of(host);
  if (p == NULL) {
    return false;
  }
  la_lock(&p->lock);
  rule_t *r = rule_of(p, peer);
  if (r == NULL) {
    r = la_zalloc(sizeof *r + strlen(peer) + 1);
    if (r != NULL) {
      strcpy(r->peer, peer);
      r->next = p->rules;
      p->rules = r;
    }
  }
  const bool ok = r != NULL && (name == NULL || add(&r->names, name));
  if (ok && name == NULL) {
    r->all = true;
  }
  la_unlock(&p->lock);
  return ok;
}

void la_policy_forget_names(la_host_t *host) {
  la_policy_t *p = atomic_load(&host->policy);
  if (p != NULL) {
    la_lock(&p->lock);
    atomic_store(&p->has_names, false);
    free_rules(p);
    la_unlock(&p->lock);
  }
}

bool la_policy_may_reach(la_host_t *host, const char *peer, const char *name) {
  la_policy_t *p = atomic_load(&host->policy);
  if (p == NULL || !atomic_load(&p->has_names) ||
      strcmp(name, "net_kernel") == 0 || strcmp(name, "rex") == 0) {
    return true;
  }
  la_lock(&p->lock);
  const rule_t *r = rule_of(p, peer);
  if (r == NULL) {
    r = rule_of(p, "");
  }
  const bool ok = r != NULL && (r->all || has(&r->names, name));
  la_unlock(&p->lock);
  return ok;
}

/* ---- what is said of it ------------------------------------------------------------ */

void la_policy_log(la_host_t *host, const char *peer, const char *kind,
                   const char *fmt, ...) {
  if (!la_log_wants(&host->log, LUACTOR_LOG_WARN)) {
    return;
  }
  char text[700], cause[320];
  const int at = snprintf(text, sizeof text, "node %.255s: ", peer);
  const int c = snprintf(cause, sizeof cause, "%s %.255s", kind, peer);
  va_list ap;
  va_start(ap, fmt);
  vsnprintf(text + at, sizeof text - (size_t)at, fmt, ap);
  va_end(ap);
  la_log_event(host, &(la_event_t){.level = LUACTOR_LOG_WARN,
                                   .kind = "host",
                                   .message = text,
                                   .len = strlen(text),
                                   .cause = cause,
                                   .cause_len = (size_t)c});
}
