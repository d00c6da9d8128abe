/* Terms of plain values, the usual messages, written without the encoder:
 * a scalar, or a list of a few. The values are read from the stack once; when their
 * size is known they are written straight to where they will stay. The bytes
 * are those that la_encode would make. */
#ifndef LA_FLAT_H
#define LA_FLAT_H

#include "term/tag.h"
#include "term/term.h"

#define LA_FLAT_MAX 8      /* values */
#define LA_FLAT_TEXT 1024  /* longest string */

typedef struct la_flat_item {
  uint8_t tag; /* as it will be written; no item before 'n' has another */
  uint32_t len;
  union {
    const char *s; /* BINARY; anchored by the stack or constant */
    uint64_t bits; /* all others, in the order of the processor */
  };
} la_flat_item_t;

typedef struct la_flat {
  uint32_t n;
  uint32_t size; /* of the items */
  la_flat_item_t item[LA_FLAT_MAX];
} la_flat_t;

static inline void la_flat_init(la_flat_t *f) {
  f->n = 0;
  f->size = 0;
}

/* Add the value at 'idx'; false when it is none for this form, or one too many.
 * [owner; raises: -] */
bool la_flat_add(la_flat_t *f, lua_State *L, int idx);

/* Bytes of the list of the items. */
static inline size_t la_flat_list_size(const la_flat_t *f) {
  return (size_t)f->size + (f->n == 0 ? 1 : 6);
}

/* Write the list; what la_flat_list_size says must be there. */
void la_flat_write_list(const la_flat_t *f, uint8_t *out);
/* Write the first item alone, 'size' bytes. */
uint8_t *la_flat_write_item(const la_flat_item_t *it, uint8_t *out);
/* la_term_tag of the first item, and of a list that begins with it. */
uint32_t la_flat_tag(const la_flat_t *f);

#endif
