/* luactor.h: values that C programs own. */
#include "embed/value.h"

#include <string.h>

#include "term/tag.h"

enum { COUNTS = (int)sizeof(la_blob_t *) };

/* A blob that no host's end takes away. */
static la_blob_t *free_blob(la_blob_t *b) {
  if (b->home != NULL) {
    return la_blob_new(NULL, b->bytes, b->size);
  }
  la_blob_ref(b);
  return b;
}

/* 'to' gets a reference to each; false: memory, and it has none. */
static bool adopt_blobs(la_blob_t **to, la_blob_t *const *from, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) {
    to[i] = la_alloc_fails() ? NULL : free_blob(from[i]);
    if (to[i] == NULL) {
      while (i-- > 0) {
        la_blob_unref(to[i]);
      }
      return false;
    }
  }
  return true;
}

static uint64_t home_of(const la_term_t *t, uint64_t nonce) {
  return nonce != 0 && la_term_has_code(t) ? nonce : 0;
}

luactor_value *la_value_new(const la_term_t *t, uint64_t nonce) {
  const size_t at = (t->size + COUNTS - 1) / COUNTS * COUNTS;
  luactor_value *v = la_alloc(sizeof *v + at + t->nblobs * sizeof *t->blobs);
  if (v == NULL) {
    return NULL;
  }
  memcpy(v->store, t->bytes, t->size);
  v->whole.term = (la_term_t){.bytes = v->store, .size = t->size};
  v->msg = NULL;
  v->error = NULL;
  v->whole.home = home_of(t, nonce);
  if (t->nblobs > 0) {
    v->whole.term.blobs = (la_blob_t **)(void *)(v->store + at);
    if (!adopt_blobs(v->whole.term.blobs, t->blobs, t->nblobs)) {
      la_free(v);
      return NULL;
    }
    v->whole.term.nblobs = t->nblobs;
  }
  return v;
}

/* Blobs of the host are replaced: the message is nobody else's. */
static bool set_free(la_msg_t *m) {
  la_blob_t **blobs = la_msg_blobs(m);
  for (uint32_t i = 0; i < m->nblobs; i++) {
    if (blobs[i]->home != NULL) {
      la_blob_t *b = la_alloc_fails() ? NULL : free_blob(blobs[i]);
      if (b == NULL) {
        return false;
      }
      la_blob_unref(blobs[i]);
      blobs[i] = b;
    }
  }
  return true;
}

luactor_value *la_value_of_msg(la_msg_t *m, uint64_t nonce) {
  luactor_value *v = la_alloc(sizeof *v);
  if (v == NULL || !set_free(m)) {
    la_free(v);
    return NULL;
  }
  v->msg = m;
  v->error = NULL;
  la_msg_term(m, &v->whole.term);
  v->whole.home = home_of(&v->whole.term, nonce);
  return v;
}

luactor_value *la_value_text(const char *text) {
  uint8_t bytes[256];
  const size_t len = strlen(text);
  bytes[0] = LA_TAG_BINARY;
  la_put32(bytes + 1, (uint32_t)len);
  memcpy(bytes + 5, text, len < 250 ? len : 250);
  return la_value_new(&(la_term_t){.bytes = bytes, .size = len + 5}, 0);
}

void luactor_value_free(luactor_value *v) {
  if (v == NULL) {
    return;
  }
  if (v->msg != NULL) {
    la_msg_free(v->msg);
  } else {
    for (uint32_t i = 0; i < v->whole.term.nblobs; i++) {
      la_blob_unref(v->whole.term.blobs[i]);
    }
  }
  la_free(v->error);
  la_free(v);
}

luactor_view luactor_view_of(const luactor_value *v) {
  return v != NULL ? la_view_all(&v->whole) : (luactor_view){0};
}

int la_extract_code(la_extract_t e) {
  switch (e) {
    case LA_EXTRACT_OK:
      return 0;
    case LA_EXTRACT_DEEP:
      return LUACTOR_ERANGE;
    case LA_EXTRACT_BOUND:
      return LUACTOR_ETYPE;
    case LA_EXTRACT_NOMEM:
      break;
  }
  return LUACTOR_ENOMEM;
}

int luactor_value_copy(luactor_view view, luactor_value **out) {
  luactor_builder *b;
  if (out == NULL || luactor_type(view) == LUACTOR_TYPE_NONE) {
    return LUACTOR_EINVAL;
  }
  b = luactor_builder_new();
  luactor_build_view(b, view);
  const int code = luactor_build_finish(b, out);
  luactor_builder_free(b);
  return code;
}
