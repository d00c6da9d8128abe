/* See mbox.h. */
#include "proc/mbox.h"

#include <string.h>

#include "base/env.h"

enum { INDEX_LEAST = 32 }; /* shorter mailboxes keep no index */

static inline la_msg_t *next_of(const la_msg_t *m) {
  return (la_msg_t *)m->sig.next;
}

void la_mbox_init(la_mbox_t *b, la_id_t id, la_slot_t *slot) {
  memset(b, 0, sizeof *b);
  b->id = id;
  b->slot = slot;
}

/* The cursors are as good without it. */
static void drop_index(la_mbox_t *b) {
  la_tagindex_free(b->index);
  b->index = NULL;
}

void la_mbox_fini(la_mbox_t *b) {
  if (b->index != NULL) {
    drop_index(b);
  }
  la_free(b->room);
  b->room = NULL;
}

static bool is_selecting(const la_mbox_t *b) {
  return b->index != NULL && la_tagindex_is_wanted(b->index);
}

void la_mbox_put(la_mbox_t *b, la_msg_t *m) {
  const int lane = la_msg_lane(m);
  m->sig.next = NULL;
  m->prev = b->tail[lane];
  if (b->tail[lane] != NULL) {
    b->tail[lane]->sig.next = &m->sig;
  } else {
    b->head[lane] = m;
  }
  b->tail[lane] = m;
  b->count++;
  if (b->index != NULL && (la_tagindex_is_idle(b->index) ||
                           !la_tagindex_add(b->index, m))) {
    drop_index(b);
  }
  if (b->cursor[lane] == NULL) {
    b->cursor[lane] =
        is_selecting(b) ? la_tagindex_next(b->index, lane) : m;
  }
}

void la_mbox_remove(la_mbox_t *b, la_msg_t *m) {
  const int lane = la_msg_lane(m);
  la_msg_t *next = next_of(m);
  if (m->prev != NULL) {
    m->prev->sig.next = (la_sig_t *)next;
  } else {
    b->head[lane] = next;
  }
  if (next != NULL) {
    next->prev = m->prev;
  } else {
    b->tail[lane] = m->prev;
  }
  if (b->index != NULL) {
    la_tagindex_remove(b->index, m);
  }
  if (b->cursor[lane] == m) {
    b->cursor[lane] =
        is_selecting(b) ? la_tagindex_next(b->index, lane) : next;
  }
  if (b->mark == m) {
    b->mark = m->prev;
  }
  m->sig.next = NULL;
  m->prev = NULL;
  b->count--;
  if (b->index != NULL &&
      (b->count < INDEX_LEAST || la_tagindex_is_idle(b->index))) {
    drop_index(b);
  }
  if (m->sig.flags & LA_SIG_COUNTED) {
    m->sig.flags &= (uint8_t)~LA_SIG_COUNTED;
    la_room_give(b->slot);
  }
}

void la_mbox_rewind(la_mbox_t *b, la_id_t fresh) {
  if (b->index != NULL) {
    la_tagindex_want_all(b->index);
  }
  b->cursor[0] = b->head[0];
  if (fresh != LA_NO_ID && b->mark_ref == fresh) {
    b->cursor[1] = b->mark != NULL ? next_of(b->mark) : b->head[1];
  } else {
    b->cursor[1] = b->head[1];
  }
}

la_msg_t *la_mbox_peek(const la_mbox_t *b) {
  return b->cursor[0] != NULL ? b->cursor[0] : b->cursor[1];
}

void la_mbox_pass(la_mbox_t *b, la_msg_t *m) {
  const int lane = la_msg_lane(m);
  if (is_selecting(b)) {
    la_tagindex_pass(b->index, m);
    b->cursor[lane] = la_tagindex_next(b->index, lane);
  } else {
    b->cursor[lane] = next_of(m);
  }
}

static bool build_index(la_mbox_t *b, la_heap_t *heap) {
  b->index = la_tagindex_new(heap, b->count);
  if (b->index == NULL) {
    return false;
  }
  for (la_msg_t *m = la_mbox_first(b); m != NULL; m = la_mbox_after(b, m)) {
    if (!la_tagindex_add(b->index, m)) {
      drop_index(b);
      return false;
    }
  }
  return true;
}

void la_mbox_select(la_mbox_t *b, la_heap_t *heap, const uint32_t *tags,
                    uint32_t n) {
  if (b->count < INDEX_LEAST || (b->index == NULL && !build_index(b, heap))) {
    return;
  }
  la_tagindex_want(b->index, tags, n, b->cursor);
  for (int lane = 0; lane < 2; lane++) {
    b->cursor[lane] = la_tagindex_next(b->index, lane);
  }
}

void la_mbox_mark(la_mbox_t *b, la_id_t ref) {
  b->mark_ref = ref;
  b->mark = b->tail[1];
}

la_msg_t *la_mbox_oldest(const la_mbox_t *b) {
  return b->head[1];
}

la_msg_t *la_mbox_first(const la_mbox_t *b) {
  return b->head[0] != NULL ? b->head[0] : b->head[1];
}

la_msg_t *la_mbox_after(const la_mbox_t *b, const la_msg_t *m) {
  la_msg_t *next = next_of(m);
  return next != NULL || la_msg_lane(m) == 1 ? next : b->head[1];
}
