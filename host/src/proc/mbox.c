/* See mbox.h. */
#include "proc/mbox.h"

#include <string.h>

static inline int lane_of(const la_msg_t *m) {
  return m->sig.flags & LA_SIG_PRIORITY ? 0 : 1;
}

static inline la_msg_t *next_of(const la_msg_t *m) {
  return (la_msg_t *)m->sig.next;
}

void la_mbox_init(la_mbox_t *b, la_id_t id, la_slot_t *slot) {
  memset(b, 0, sizeof *b);
  b->id = id;
  b->slot = slot;
}

void la_mbox_put(la_mbox_t *b, la_msg_t *m) {
  const int lane = lane_of(m);
  m->sig.next = NULL;
  m->prev = b->tail[lane];
  if (b->tail[lane] != NULL) {
    b->tail[lane]->sig.next = &m->sig;
  } else {
    b->head[lane] = m;
  }
  b->tail[lane] = m;
  if (b->cursor[lane] == NULL) {
    b->cursor[lane] = m;
  }
  b->count++;
}

void la_mbox_remove(la_mbox_t *b, la_msg_t *m) {
  const int lane = lane_of(m);
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
  if (b->cursor[lane] == m) {
    b->cursor[lane] = next;
  }
  if (b->mark == m) {
    b->mark = m->prev;
  }
  m->sig.next = NULL;
  m->prev = NULL;
  b->count--;
  if (m->sig.flags & LA_SIG_COUNTED) {
    m->sig.flags &= (uint8_t)~LA_SIG_COUNTED;
    la_room_give(b->slot);
  }
}

void la_mbox_rewind(la_mbox_t *b, la_id_t fresh) {
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
  b->cursor[lane_of(m)] = next_of(m);
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
  return next != NULL || lane_of(m) == 1 ? next : b->head[1];
}
