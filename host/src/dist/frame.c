/* See frame.h. The reader is in one of three states: in the length, in a
 * packet, or swallowing one. Small packets are cut out of 'in'; a packet that
 * is longer than what 'in' holds gets a block of its own which is then read
 * into directly. */
#include "dist/frame.h"

#include "base/env.h"
#include "base/map.h"

#define IN_BYTES ((size_t)64 << 10)

enum { PASS_THROUGH = 112, VERSION = 131, WHOLE = 68, FIRST = 69, NEXT = 70 };

/* A message that arrives in pieces. 'data' is NULL when it is swallowed. */
typedef struct pieces {
  uint64_t left; /* number of the last piece that came */
  uint8_t *data;
  size_t len, cap;
} pieces_t;

struct la_frames {
  la_frames_hooks_t hooks;
  bool fragments;
  size_t max;
  const char *why;
  uint8_t *in;      /* IN_BYTES: bytes from 'start' to 'end' are not used yet */
  size_t start, end;
  uint8_t *big;     /* the packet being read, when it does not fit 'in' */
  size_t big_len, big_size;
  size_t swallow;   /* bytes of a packet that is too long */
  la_map_t open;    /* sequence + 1 -> pieces_t */
  size_t nopen, open_bytes;
};

la_frames_t *la_frames_new(bool fragments, size_t max,
                           const la_frames_hooks_t *hooks) {
  la_frames_t *r = la_zalloc(sizeof *r);
  if (r == NULL) {
    return NULL;
  }
  r->in = la_alloc(IN_BYTES);
  if (r->in == NULL) {
    la_free(r);
    return NULL;
  }
  r->fragments = fragments;
  r->max = max;
  r->hooks = *hooks;
  return r;
}

static void pieces_free(pieces_t *s) {
  la_free(s->data);
  la_free(s);
}

void la_frames_free(la_frames_t *r) {
  if (r == NULL) {
    return;
  }
  for (la_map_cell_t *c = NULL; (c = la_map_next(&r->open, c)) != NULL;) {
    pieces_free(c->value);
  }
  la_map_fini(&r->open);
  la_free(r->big);
  la_free(r->in);
  la_free(r);
}

static bool fail(la_frames_t *r, const char *why) {
  r->why = why;
  return false;
}

const char *la_frames_why(const la_frames_t *r) {
  return r->why;
}

/* ---- pieces ---------------------------------------------------------------- */

static bool hand_over(la_frames_t *r, uint8_t *data, size_t at, size_t size) {
  la_packet_t packet = {data, at, size, !r->fragments};
  return r->hooks.message(r->hooks.ud, &packet);
}

/* Drop what was collected of a message; its other pieces are swallowed. */
static void give_up(la_frames_t *r, pieces_t *s, const char *why) {
  r->open_bytes -= s->len;
  la_free(s->data);
  s->data = NULL;
  s->len = s->cap = 0;
  r->hooks.dropped(r->hooks.ud, why);
}

static void append(la_frames_t *r, pieces_t *s, const uint8_t *p, size_t n) {
  if (s->cap == 0) {
    return;
  }
  if (s->len + n > r->max || r->open_bytes + n > 2 * r->max) {
    give_up(r, s, "a message in pieces that is too long");
    return;
  }
  if (s->cap - s->len < n) {
    size_t cap = s->cap;
    while (cap - s->len < n) {
      cap *= 2;
    }
    uint8_t *data = la_realloc(s->data, cap);
    if (data == NULL) {
      give_up(r, s, "not enough memory for a message");
      return;
    }
    s->data = data;
    s->cap = cap;
  }
  memcpy(s->data + s->len, p, n);
  s->len += n;
  r->open_bytes += n;
}

/* A piece has come; hand the message over when it was the last. */
static bool last_piece(la_frames_t *r, uint64_t key, pieces_t *s) {
  if (s->left > 1) {
    return true;
  }
  la_map_remove(&r->open, key);
  r->nopen--;
  r->open_bytes -= s->len;
  uint8_t *data = s->data;
  const size_t len = s->len;
  la_free(s);
  return data == NULL || hand_over(r, data, 0, len);
}

static bool first_piece(la_frames_t *r, const uint8_t *p, size_t n) {
  if (n < 17 || p[16] != 0) {
    return fail(r, "a malformed first fragment");
  }
  const uint64_t sequence = la_get64(p), number = la_get64(p + 8);
  const uint64_t key = sequence + 1;
  if (number == 0 || key == 0 || la_map_get(&r->open, key) != NULL) {
    return fail(r, "a first fragment out of order");
  }
  if (r->nopen == LA_SEQUENCES_MAX) {
    return fail(r, "too many unfinished messages");
  }
  pieces_t *s = la_zalloc(sizeof *s);
  if (s == NULL || !la_map_put(&r->open, key, s)) {
    la_free(s);
    return fail(r, "not enough memory");
  }
  r->nopen++;
  s->left = number;
  s->cap = n < 1024 ? 1024 : n;
  s->data = la_alloc(s->cap);
  if (s->data == NULL) {
    s->cap = 0;
    r->hooks.dropped(r->hooks.ud, "not enough memory for a message");
  }
  append(r, s, p + 17, n - 17);
  return last_piece(r, key, s);
}

static bool next_piece(la_frames_t *r, const uint8_t *p, size_t n) {
  if (n < 16) {
    return fail(r, "a malformed fragment");
  }
  const uint64_t key = la_get64(p) + 1;
  pieces_t *s = key != 0 ? la_map_get(&r->open, key) : NULL;
  if (s == NULL || la_get64(p + 8) != s->left - 1 || s->left == 1) {
    return fail(r, "a fragment out of order");
  }
  s->left--;
  append(r, s, p + 16, n - 16);
  return last_piece(r, key, s);
}

/* ---- packets ---------------------------------------------------------------- */

/* A whole packet; 'own': the block is ours to hand over, else it is copied. */
static bool packet(la_frames_t *r, uint8_t *p, size_t n, bool own) {
  size_t at = 1;
  if (r->fragments) {
    if (n < 3 || p[0] != VERSION || p[1] < WHOLE || p[1] > NEXT ||
        (p[1] == WHOLE && p[2] != 0)) {
      fail(r, "a packet with a wrong header");
      goto refuse;
    }
    if (p[1] != WHOLE) {
      const bool ok = p[1] == FIRST ? first_piece(r, p + 2, n - 2)
                                    : next_piece(r, p + 2, n - 2);
      if (own) {
        la_free(p);
      }
      return ok;
    }
    at = 3;
  } else if (n < 2 || p[0] != PASS_THROUGH) {
    fail(r, "a packet with a wrong header");
    goto refuse;
  }
  if (own) {
    return hand_over(r, p, at, n);
  }
  uint8_t *data = la_alloc(n);
  if (data == NULL) {
    r->hooks.dropped(r->hooks.ud, "not enough memory for a message");
    return true;
  }
  memcpy(data, p, n);
  return hand_over(r, data, at, n);
refuse:
  if (own) {
    la_free(p);
  }
  return false;
}

/* Begin a packet of which only a part is here. */
static bool begin_big(la_frames_t *r, size_t size) {
  const size_t have = r->end - r->start;
  if (size > r->max) {
    r->hooks.dropped(r->hooks.ud, "a packet that is too long");
  } else {
    r->big = la_alloc(size);
    if (r->big == NULL) {
      r->hooks.dropped(r->hooks.ud, "not enough memory for a packet");
    }
  }
  if (r->big == NULL) {
    r->swallow = size - have;
  } else {
    memcpy(r->big, r->in + r->start, have);
    r->big_len = have;
    r->big_size = size;
  }
  r->start = r->end = 0;
  return true;
}

/* Use up what is in 'in'. */
static bool cut(la_frames_t *r) {
  while (r->end - r->start >= 4) {
    const size_t size = la_get32(r->in + r->start);
    if (size > LA_PACKET_LIMIT) {
      return fail(r, "a packet longer than 1 GiB");
    }
    if (size > r->end - r->start - 4) {
      if (size + 4 > IN_BYTES) {
        r->start += 4;
        return begin_big(r, size);
      }
      break;
    }
    r->start += 4 + size;
    if (size > 0 &&
        !packet(r, r->in + r->start - size, size, false)) {
      return false;
    }
  }
  if (r->start > 0) {
    memmove(r->in, r->in + r->start, r->end - r->start);
    r->end -= r->start;
    r->start = 0;
  }
  return true;
}

uint8_t *la_frames_space(la_frames_t *r, size_t *n) {
  if (r->big != NULL) {
    *n = r->big_size - r->big_len;
    return r->big + r->big_len;
  }
  *n = IN_BYTES - r->end;
  return r->in + r->end;
}

bool la_frames_took(la_frames_t *r, size_t n) {
  if (r->big != NULL) {
    r->big_len += n;
    if (r->big_len < r->big_size) {
      return true;
    }
    uint8_t *p = r->big;
    r->big = NULL;
    return packet(r, p, r->big_size, true);
  }
  if (r->swallow > 0) {
    /* 'in' was empty. */
    const size_t drop = n < r->swallow ? n : r->swallow;
    r->swallow -= drop;
    r->start = drop;
  }
  r->end += n;
  return cut(r);
}

bool la_frames_feed(la_frames_t *r, const uint8_t *bytes, size_t n) {
  while (n > 0) {
    size_t room;
    uint8_t *to = la_frames_space(r, &room);
    if (room > n) {
      room = n;
    }
    memcpy(to, bytes, room);
    bytes += room;
    n -= room;
    if (!la_frames_took(r, room)) {
      return false;
    }
  }
  return true;
}

/* ---- writing ----------------------------------------------------------------- */

void la_frame_head(la_buf_t *b, bool fragments, size_t n) {
  if (fragments) {
    la_buf_u32(b, (uint32_t)(n + 3));
    la_buf_u8(b, VERSION);
    la_buf_u8(b, WHOLE);
    la_buf_u8(b, 0);
  } else {
    la_buf_u32(b, (uint32_t)(n + 1));
    la_buf_u8(b, PASS_THROUGH);
  }
}

void la_frame_piece(uint8_t *head, bool is_first, uint64_t sequence,
                    uint64_t number, size_t n) {
  const size_t size = is_first ? LA_FRAME_FIRST_BYTES : LA_FRAME_NEXT_BYTES;
  la_put32(head, (uint32_t)(n + size - 4));
  head[4] = VERSION;
  head[5] = is_first ? FIRST : NEXT;
  la_put64(head + 6, sequence);
  la_put64(head + 14, number);
  if (is_first) {
    head[22] = 0; /* no atoms */
  }
}

void la_frame_tick(la_buf_t *b) {
  la_buf_u32(b, 0);
}
