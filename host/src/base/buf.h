/* A byte buffer that grows. A failed allocation is remembered: whoever fills
 * it checks once, at the end. */
#ifndef LA_BUF_H
#define LA_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct la_buf {
  uint8_t *data;
  size_t len, cap;
  bool failed; /* memory was short: 'data' is not whole */
} la_buf_t;

/* A buffer starts as zeros. */
void la_buf_free(la_buf_t *b);
/* Room for 'n' bytes at the end, which the caller fills; NULL when memory is
 * short. The length grows by 'n'. */
uint8_t *la_buf_add(la_buf_t *b, size_t n);
void la_buf_put(la_buf_t *b, const void *bytes, size_t n);
/* Forget the first 'n' bytes. */
void la_buf_drop(la_buf_t *b, size_t n);

/* Numbers in network order. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "la_get and la_put swap bytes");

static inline uint16_t la_get16(const uint8_t *p) {
  return (uint16_t)((unsigned)p[0] << 8 | p[1]);
}

static inline uint32_t la_get32(const uint8_t *p) {
  uint32_t v;
  memcpy(&v, p, 4);
  return __builtin_bswap32(v);
}

static inline uint64_t la_get64(const uint8_t *p) {
  uint64_t v;
  memcpy(&v, p, 8);
  return __builtin_bswap64(v);
}

static inline void la_put16(uint8_t *p, uint16_t v) {
  p[0] = (uint8_t)(v >> 8);
  p[1] = (uint8_t)v;
}

static inline void la_put32(uint8_t *p, uint32_t v) {
  v = __builtin_bswap32(v);
  memcpy(p, &v, 4);
}

static inline void la_put64(uint8_t *p, uint64_t v) {
  v = __builtin_bswap64(v);
  memcpy(p, &v, 8);
}

void la_buf_u8(la_buf_t *b, uint8_t v);
void la_buf_u16(la_buf_t *b, uint16_t v);
void la_buf_u32(la_buf_t *b, uint32_t v);
void la_buf_u64(la_buf_t *b, uint64_t v);

#endif
