/* See signal.h. */
#include "proc/signal.h"

#include <string.h>

#include "mem/block.h"
#include "term/tag.h"

static size_t blobs_at(uint32_t size) {
  return (size + 7u) & ~(size_t)7;
}

la_blob_t **la_msg_blobs(const la_msg_t *m) {
  union {
    const uint8_t *in;
    la_blob_t **out;
  } u = {m->bytes + blobs_at(m->size)};
  return u.out;
}

la_note_t *la_note_new(la_sig_kind_t kind, la_id_t to, la_id_t from) {
  la_note_t *n = la_block_new(sizeof *n);
  if (n != NULL) {
    *n = (la_note_t){
        .sig = {.to = to, .from = from, .kind = (uint8_t)kind}};
  }
  return n;
}

/* Bytes of a message's block. */
static size_t block_size(uint32_t size, uint32_t nblobs) {
  return nblobs == 0 ? sizeof(la_msg_t) + size
                     : sizeof(la_msg_t) + blobs_at(size) +
                           nblobs * sizeof(la_blob_t *);
}

/* The block of a message of 'size' bytes, which are still to be written. */
static inline la_msg_t *new_msg(uint32_t size, uint32_t nblobs, la_id_t to,
                                la_id_t from, uint32_t tag) {
  la_msg_t *m = la_block_new(block_size(size, nblobs));
  if (m != NULL) {
    m->sig = (la_sig_t){
        .to = to, .from = from, .kind = LA_SIG_MESSAGE, .tag = tag};
    m->prev = NULL;
    m->call = NULL;
    m->trace = 0;
    m->entry = 0;
    m->size = size;
    m->nblobs = nblobs;
  }
  return m;
}

la_msg_t *la_msg_new(const la_term_t *t, la_id_t to, la_id_t from) {
  la_msg_t *m = new_msg((uint32_t)t->size, t->nblobs, to, from,
                        la_term_tag(t->bytes, t->size));
  if (m == NULL) {
    return NULL;
  }
  memcpy(m->bytes, t->bytes, t->size);
  for (uint32_t i = 0; i < t->nblobs; i++) {
    la_blob_ref(t->blobs[i]);
    la_msg_blobs(m)[i] = t->blobs[i];
  }
  return m;
}

la_msg_t *la_msg_new_far(const la_term_t *t, la_id_t to, const uint8_t *who,
                         size_t who_size) {
  la_msg_t *m = new_msg((uint32_t)(t->size + who_size + 2), t->nblobs, to,
                        LA_FAR_SENDER, la_term_tag(t->bytes, t->size));
  if (m == NULL) {
    return NULL;
  }
  memcpy(m->bytes, t->bytes, t->size);
  memcpy(m->bytes + t->size, who, who_size);
  m->bytes[m->size - 2] = (uint8_t)(who_size >> 8);
  m->bytes[m->size - 1] = (uint8_t)who_size;
  for (uint32_t i = 0; i < t->nblobs; i++) {
    la_blob_ref(t->blobs[i]);
    la_msg_blobs(m)[i] = t->blobs[i];
  }
  return m;
}

_Static_assert(sizeof(la_msg_t) + LA_MSG_SMALL == 2 * LA_BLOCK_STEP,
               "whatever a small message holds, its block is of one class");

la_msg_t *la_msg_begin(la_id_t to, la_id_t from) {
  return new_msg(LA_MSG_SMALL, 0, to, from, 0);
}

/* la_term_tag of the usual message: a text or a list that begins with one. */
static inline uint32_t tag_of(const uint8_t *bytes, size_t size) {
  const uint8_t *p = *bytes == LA_TAG_LIST ? bytes + 5 : bytes;
  return *p == LA_TAG_BINARY ? la_tag_of_text(p + 5, la_get32(p + 1))
                             : la_term_tag(bytes, size);
}

void la_msg_written(la_msg_t *m, const uint8_t *end) {
  m->size = (uint32_t)(end - m->bytes);
  m->sig.tag = tag_of(m->bytes, m->size);
}

void la_msg_cancel(la_msg_t *m) {
  la_block_free(m, sizeof *m + LA_MSG_SMALL);
}

la_msg_t *la_msg_copy(const la_msg_t *m) {
  la_term_t t;
  la_msg_term(m, &t);
  const uint32_t tail = la_msg_tail(m);
  la_msg_t *copy =
      tail > 0 ? la_msg_new_far(&t, m->sig.to, m->bytes + t.size, tail - 2)
               : la_msg_new(&t, m->sig.to, m->sig.from);
  if (copy != NULL) {
    copy->sig.flags = m->sig.flags & LA_SIG_PRIORITY;
    copy->trace = m->trace;
  }
  return copy;
}

size_t la_msg_blob_bytes(const la_msg_t *m) {
  size_t n = 0;
  for (uint32_t i = 0; i < m->nblobs; i++) {
    n += la_msg_blobs(m)[i]->size;
  }
  return n;
}

static size_t call_size(uint32_t nchain) {
  return sizeof(la_call_t) + nchain * sizeof(la_pid_t);
}

la_note_t *la_want_room(const la_msg_t *m, la_pid_t from) {
  la_note_t *n = la_note_new(LA_SIG_WANT_ROOM, m->sig.to, from);
  if (n != NULL) {
    const size_t size = la_msg_bytes(m);
    n->ref = m->sig.to;
    n->sig.tag = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
  }
  return n;
}

la_call_t *la_call_new(uint32_t nchain) {
  la_call_t *c = la_block_new(call_size(nchain));
  if (c != NULL) {
    memset(c, 0, call_size(nchain));
    c->note.sig.kind = LA_SIG_CALL_END;
    c->nchain = nchain;
  }
  return c;
}

static void free_msg(la_msg_t *m) {
  for (uint32_t i = 0; i < m->nblobs; i++) {
    la_blob_unref(la_msg_blobs(m)[i]);
  }
  if (m->sig.flags & LA_SIG_IS_CALL) {
    la_sig_free(&m->call->note.sig);
  }
  la_block_free(m, block_size(m->size, m->nblobs));
}

void la_sig_free(la_sig_t *s) {
  if (s->flags & LA_SIG_STATIC) {
    return;
  }
  if (s->kind == LA_SIG_MESSAGE) {
    free_msg((la_msg_t *)s);
    return;
  }
  la_note_t *n = (la_note_t *)s;
  la_reason_unref(n->reason);
  la_reason_unref(n->who);
  la_free(n->name);
  /* A record of a call is of this kind from its first day. */
  la_block_free(n, s->kind == LA_SIG_CALL_END
                       ? call_size(((la_call_t *)s)->nchain)
                       : sizeof *n);
}

/* ---- reasons ------------------------------------------------------------ */

la_reason_t *la_reason_new(const la_term_t *t) {
  la_reason_t *r = la_alloc(sizeof *r + blobs_at((uint32_t)t->size) +
                            t->nblobs * sizeof(la_blob_t *));
  if (r == NULL) {
    return NULL;
  }
  atomic_init(&r->refs, 1);
  r->is_static = false;
  memcpy(r->bytes, t->bytes, t->size);
  r->term = *t;
  r->term.bytes = r->bytes;
  if (t->nblobs > 0) {
    r->term.blobs = (la_blob_t **)(void *)(r->bytes + blobs_at((uint32_t)t->size));
    for (uint32_t i = 0; i < t->nblobs; i++) {
      la_blob_ref(t->blobs[i]);
      r->term.blobs[i] = t->blobs[i];
    }
  }
  return r;
}

/* The reasons of API.md as binary terms (tag 109, length, text), constant, so
 * that a process can always end with one. */
#define TEXTS(X)      \
  X("normal")         \
  X("shutdown")       \
  X("kill")           \
  X("killed")         \
  X("noproc")         \
  X("noconnection")   \
  X("not enough memory") \
  X("mailbox_limit")

static struct {
  const char *text;
  uint8_t bytes[24];
  la_reason_t r;
} known[] = {
#define X(t) {.text = t, .bytes = "m\0\0\0\0" t},
    TEXTS(X)
#undef X
};

la_reason_t *la_reason_text(const char *text) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    if (strcmp(known[i].text, text) == 0) {
      return &known[i].r;
    }
  }
  uint8_t bytes[5 + 64];
  size_t len = strlen(text);
  if (len > 64) {
    len = 64;
  }
  memcpy(bytes, (const uint8_t[]){'m', 0, 0, 0, (uint8_t)len}, 5);
  memcpy(bytes + 5, text, len);
  return la_reason_new(&(la_term_t){.bytes = bytes, .size = 5 + len});
}

/* Runs before any host exists: fills in what the initialiser cannot say. */
__attribute__((constructor)) static void init_known(void) {
  for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
    const size_t len = strlen(known[i].text);
    known[i].bytes[4] = (uint8_t)len;
    known[i].r.is_static = true;
    known[i].r.term = (la_term_t){.bytes = known[i].bytes, .size = 5 + len};
  }
}

la_reason_t *la_reason_ref(la_reason_t *r) {
  if (!r->is_static) {
    atomic_fetch_add_explicit(&r->refs, 1, memory_order_relaxed);
  }
  return r;
}

void la_reason_unref(la_reason_t *r) {
  if (r == NULL || r->is_static) {
    return;
  }
  /* acq_rel: the last user's reads happen before the block is freed. */
  if (atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) == 1) {
    for (uint32_t i = 0; i < r->term.nblobs; i++) {
      la_blob_unref(r->term.blobs[i]);
    }
    la_free(r);
  }
}

bool la_reason_is_orderly(const la_reason_t *r) {
  return la_reason_is(r, "normal") || la_reason_is(r, "shutdown");
}
