#include "base/buf.h"

#include "base/env.h"

void la_buf_free(la_buf_t *b) {
  la_free(b->data);
  memset(b, 0, sizeof *b);
}

uint8_t *la_buf_add(la_buf_t *b, size_t n) {
  if (b->failed || n > SIZE_MAX / 4 - b->len) {
    b->failed = true;
    return NULL;
  }
  if (b->cap - b->len < n) {
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap - b->len < n) {
      cap *= 2;
    }
    uint8_t *data = la_realloc(b->data, cap);
    if (data == NULL) {
      b->failed = true;
      return NULL;
    }
    b->data = data;
    b->cap = cap;
  }
  uint8_t *at = b->data + b->len;
  b->len += n;
  return at;
}

void la_buf_put(la_buf_t *b, const void *bytes, size_t n) {
  uint8_t *at = n > 0 ? la_buf_add(b, n) : NULL;
  if (at != NULL) {
    memcpy(at, bytes, n);
  }
}

void la_buf_drop(la_buf_t *b, size_t n) {
  if (n >= b->len) {
    b->len = 0;
  } else if (n > 0) {
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
  }
}

void la_buf_u8(la_buf_t *b, uint8_t v) {
  la_buf_put(b, &v, 1);
}

void la_buf_u16(la_buf_t *b, uint16_t v) {
  uint8_t *at = la_buf_add(b, 2);
  if (at != NULL) {
    la_put16(at, v);
  }
}

void la_buf_u32(la_buf_t *b, uint32_t v) {
  uint8_t *at = la_buf_add(b, 4);
  if (at != NULL) {
    la_put32(at, v);
  }
}

void la_buf_u64(la_buf_t *b, uint64_t v) {
  uint8_t *at = la_buf_add(b, 8);
  if (at != NULL) {
    la_put64(at, v);
  }
}
