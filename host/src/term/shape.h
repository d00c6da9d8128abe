/* What the codec keeps in each state: that it may look at tables directly
 * (term/layout.h), the shapes of maps that are received again and again, and
 * the last large strings (term/bigstr.h).
 *
 * A shape is a table with certain keys, together with the bytes of those keys
 * as they stand in a message. To make a table from a MAP with the same keys,
 * its hash part is copied from that table and only values are stored: no key is
 * hashed, compared with others of the state or inserted. See shape.c. */
#ifndef LA_SHAPE_H
#define LA_SHAPE_H

#include "term/bigstr.h"
#include "term/layout.h"
#include "term/term.h"

#define LA_SHAPE_MIN 2u     /* pairs; fewer are no work */
#define LA_SHAPE_MAX 1024u  /* pairs; one such shape holds some 50 KB */
#define LA_SHAPES 16        /* in one state */

typedef struct la_shape {
  uint32_t n;            /* pairs */
  uint32_t log_nodes;
  const la_ltable_t *table; /* values: 0..n-1 in the order of the keys */
  uint8_t *keys;         /* the keys' terms, one after the other */
  uint16_t node[];       /* where the keys are in the hash part */
} la_shape_t;

typedef struct la_shape_slot {
  uint64_t hash;     /* of the maps it is for; 0: none */
  uint32_t seen;     /* maps with this hash that no shape fitted */
  uint32_t need;     /* how many of them make a shape; grows with failures */
  uint32_t credit;   /* hits that it may still lose its shape by */
  la_shape_t *shape; /* anchored in the codec's user value; or NULL */
} la_shape_slot_t;

typedef struct la_codec {
  bool has_anchors; /* the user value is a table */
  bool has_boxes;   /* it holds that of the large strings */
  uint8_t next_big;
  la_bigstr_t big[LA_BIGSTRS];
  la_shape_slot_t slot[LA_SHAPES];
} la_codec_t;

/* The state's codec, made when first asked for; NULL when it must do with the
 * API. [owner; raises: m] */
la_codec_t *la_codec_of(lua_State *L);

/* A table of the state that keeps alive what the codec refers to: shapes, and
 * the boxes of large strings. Push it; it must be there. [owner; raises: -] */
void la_codec_push_anchors(lua_State *L);
/* Make it if it is not there. [owner; raises: m] */
void la_codec_need_anchors(lua_State *L, la_codec_t *c);

#define LA_ANCHOR_BOXES (2 * LA_SHAPES + 1)

/* The slot for MAPs with 'n' pairs that begin with the key at 'p'; NULL when
 * shapes are not for them. */
la_shape_slot_t *la_shape_slot(la_codec_t *c, const uint8_t *p,
                               const uint8_t *end, uint32_t n);

/* A MAP with the pairs at 'p' has been read without a shape: maybe make one for
 * the next. [owner; raises: m] */
void la_shape_learn(lua_State *L, la_codec_t *c, la_shape_slot_t *slot,
                    const uint8_t *p, uint32_t n);

/* The slot's shape fitted; a shape, which the slot may have lost meanwhile, did
 * not. */
void la_shape_fitted(la_shape_slot_t *slot);
void la_shape_failed(la_shape_slot_t *slot, const la_shape_t *shape);

/* Where the slot's shape is in the table of anchors. */
int la_shape_anchor(const la_codec_t *c, const la_shape_slot_t *slot);

#endif
