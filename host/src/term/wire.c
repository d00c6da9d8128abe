#include "term/wire.h"

#include "term/tag.h"

/* Tags of the external term format that nodes may send, oldest ones too. */
enum {
  BIT_BINARY = 77,
  NEW_FLOAT = 70,
  SMALL_INT = 97,
  INT = 98,
  FLOAT = 99,
  SMALL_TUPLE = 104,
  LARGE_TUPLE = 105,
  NIL = 106,
  STRING = 107,
  LIST = 108,
  BINARY = 109,
  SMALL_BIG = 110,
  LARGE_BIG = 111,
  NEW_FUN = 112,
  EXPORT = 113,
  MAP = 116,
  ATOM_UTF8 = 118,
  SMALL_ATOM_UTF8 = 119,
  ATOM_LATIN1 = 100,
  SMALL_ATOM_LATIN1 = 115,
  NEW_PID = 88,
  PID = 103,
  NEWER_REF = 90,
  NEW_REF = 114,
  NEW_PORT = 89,
  V4_PORT = 120,
  PORT = 102,
};

bool la_wire_atom_ok(const uint8_t *text, size_t len) {
  size_t chars = 0, i = 0;
  while (i < len) {
    const uint8_t c = text[i];
    size_t more = 0;
    uint32_t code = c, least = 0;
    if (c >= 0xF0 && c < 0xF5) {
      more = 3, code = c & 7u, least = 0x10000;
    } else if (c >= 0xE0 && c < 0xF0) {
      more = 2, code = c & 15u, least = 0x800;
    } else if (c >= 0xC2 && c < 0xE0) {
      more = 1, code = c & 31u, least = 0x80;
    } else if (c >= 0x80) {
      return false;
    }
    if (more > len - i - 1) {
      return false;
    }
    for (size_t k = 1; k <= more; k++) {
      if ((text[i + k] & 0xC0) != 0x80) {
        return false;
      }
      code = code << 6 | (text[i + k] & 63u);
    }
    if (code < least || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
      return false;
    }
    i += 1 + more;
    chars++;
  }
  return chars <= 255;
}

static bool is_ascii(const uint8_t *text, size_t len) {
  for (size_t i = 0; i < len; i++) {
    if (text[i] >= 0x80) {
      return false;
    }
  }
  return true;
}

const uint8_t *la_wire_atom_read(const uint8_t *p, const uint8_t *end,
                                 const uint8_t **text, uint32_t *len) {
  if (end - p < 2) {
    return NULL;
  }
  const uint8_t tag = *p++;
  const bool is_long = tag == ATOM_UTF8 || tag == ATOM_LATIN1;
  const bool is_latin1 = tag == ATOM_LATIN1 || tag == SMALL_ATOM_LATIN1;
  if (!is_long && tag != SMALL_ATOM_UTF8 && tag != SMALL_ATOM_LATIN1) {
    return NULL;
  }
  if (is_long && end - p < 2) {
    return NULL;
  }
  *len = is_long ? la_get16(p) : *p;
  p += is_long ? 2 : 1;
  if ((size_t)(end - p) < *len ||
      !(is_latin1 ? is_ascii(p, *len) : la_wire_atom_ok(p, *len))) {
    return NULL;
  }
  *text = p;
  return p + *len;
}

void la_wire_atom_write(la_buf_t *b, const void *text, size_t len) {
  if (len <= 255) {
    la_buf_u8(b, SMALL_ATOM_UTF8);
    la_buf_u8(b, (uint8_t)len);
  } else {
    la_buf_u8(b, ATOM_UTF8);
    la_buf_u16(b, (uint16_t)len);
  }
  la_buf_put(b, text, len);
}

/* Words and creation behind the node's name. */
static const uint8_t *read_tail(const uint8_t *p, const uint8_t *end,
                                bool wide_creation, bool creation_first,
                                la_wire_id_t *out) {
  const size_t ncreation = wide_creation ? 4 : 1;
  if ((size_t)(end - p) < ncreation + 4 * out->nwords) {
    return NULL;
  }
  if (creation_first) {
    out->creation = wide_creation ? la_get32(p) : *p;
    p += ncreation;
  }
  for (uint32_t i = 0; i < out->nwords; i++, p += 4) {
    out->words[i] = la_get32(p);
  }
  if (!creation_first) {
    out->creation = wide_creation ? la_get32(p) : *p;
    p += ncreation;
  }
  return p;
}

const uint8_t *la_wire_id_read(const uint8_t *p, const uint8_t *end,
                               la_wire_id_t *out) {
  if (p == end) {
    return NULL;
  }
  const uint8_t tag = *p++;
  bool wide = true, first = false;
  switch (tag) {
    case NEW_PID:
    case PID:
      out->kind = LA_WIRE_PID;
      out->nwords = 2;
      wide = tag == NEW_PID;
      break;
    case NEW_PORT:
    case PORT:
      out->kind = LA_WIRE_PORT;
      out->nwords = 1;
      wide = tag == NEW_PORT;
      break;
    case V4_PORT:
      out->kind = LA_WIRE_PORT;
      out->nwords = 2;
      break;
    case NEWER_REF:
    case NEW_REF:
      if (end - p < 2) {
        return NULL;
      }
      out->kind = LA_WIRE_REF;
      out->nwords = la_get16(p);
      p += 2;
      if (out->nwords < 1 || out->nwords > 5) {
        return NULL;
      }
      wide = tag == NEWER_REF;
      first = true;
      break;
    default:
      return NULL;
  }
  p = la_wire_atom_read(p, end, &out->node, &out->node_len);
  if (p == NULL) {
    return NULL;
  }
  p = read_tail(p, end, wide, first, out);
  if (p != NULL && out->kind == LA_WIRE_PORT && out->nwords == 1) {
    out->words[1] = out->words[0];
    out->words[0] = 0;
    out->nwords = 2;
  }
  return p;
}

void la_wire_id_write(la_buf_t *b, const la_wire_id_t *id) {
  if (id->kind == LA_WIRE_REF) {
    la_buf_u8(b, NEWER_REF);
    la_buf_u16(b, (uint16_t)id->nwords);
    la_wire_atom_write(b, id->node, id->node_len);
    la_buf_u32(b, id->creation);
  } else {
    la_buf_u8(b, id->kind == LA_WIRE_PID ? NEW_PID : V4_PORT);
    la_wire_atom_write(b, id->node, id->node_len);
  }
  for (uint32_t i = 0; i < id->nwords; i++) {
    la_buf_u32(b, id->words[i]);
  }
  if (id->kind != LA_WIRE_REF) {
    la_buf_u32(b, id->creation);
  }
}

#define PID_ID_BITS 28
#define PID_ID_MASK ((UINT32_C(1) << PID_ID_BITS) - 1)

void la_wire_id_of(la_id_t id, const char *node, uint32_t creation,
                   la_wire_id_t *out) {
  const uint64_t body = la_id_body(id);
  out->node = (const uint8_t *)node;
  out->node_len = (uint32_t)strlen(node);
  out->creation = creation;
  if (la_id_kind(id) == LA_ID_PID || la_id_kind(id) == LA_ID_POOL) {
    out->kind = LA_WIRE_PID;
    out->nwords = 2;
    out->words[0] = (uint32_t)body & PID_ID_MASK;
    out->words[1] = (uint32_t)(body >> PID_ID_BITS);
  } else {
    out->kind = LA_WIRE_REF;
    out->nwords = 3;
    out->words[0] = (uint32_t)la_id_kind(id);
    out->words[1] = (uint32_t)body;
    out->words[2] = (uint32_t)(body >> 32);
  }
}

la_id_t la_wire_id_local(const la_wire_id_t *id) {
  if (id->kind == LA_WIRE_PID) {
    return id->words[0] > PID_ID_MASK
               ? LA_NO_ID
               : la_id_counted(LA_ID_PID,
                               (uint64_t)id->words[1] << PID_ID_BITS |
                                   id->words[0]);
  }
  if (id->kind != LA_WIRE_REF || id->nwords != 3 || id->words[0] > 15 ||
      id->words[2] >> 28 != 0) {
    return LA_NO_ID;
  }
  const la_id_t local =
      la_id_counted((la_id_kind_t)id->words[0],
                    (uint64_t)id->words[2] << 32 | id->words[1]);
  const la_id_kind_t kind = la_id_kind(local);
  /* Proxies are this host's own affair: a peer must not name one. */
  return kind == LA_ID_NONE || kind == LA_ID_PID || kind == LA_ID_PROXY
             ? LA_NO_ID
             : local;
}

bool la_wire_id_is_of(const la_wire_id_t *id, const char *node,
                      uint32_t creation) {
  return id->creation == creation && id->node_len == strlen(node) &&
         memcmp(id->node, node, id->node_len) == 0;
}

bool la_wire_id_equal(const la_wire_id_t *a, const la_wire_id_t *b) {
  return a->kind == b->kind && a->creation == b->creation &&
         a->node_len == b->node_len && a->nwords == b->nwords &&
         memcmp(a->node, b->node, a->node_len) == 0 &&
         memcmp(a->words, b->words, 4 * a->nwords) == 0;
}

const uint8_t *la_head_identity(const uint8_t *p, const uint8_t *end) {
  la_wire_id_t id;
  return la_wire_id_read(p, end, &id);
}

/* ---- whole terms ----------------------------------------------------------- */

/* The head of a term: the byte behind it, and how many terms follow that belong to it.
 * NULL: malformed, or a tag we do not know (*unknown). */
static const uint8_t *skip_head(const uint8_t *p, const uint8_t *end,
                                uint64_t *parts, bool *unknown) {
  const size_t left = (size_t)(end - p);
  size_t n = 1;
  *parts = 0;
  switch (*p) {
    case SMALL_INT:
      n = 2;
      break;
    case INT:
      n = 5;
      break;
    case NEW_FLOAT:
      n = 9;
      break;
    case FLOAT:
      n = 32;
      break;
    case NIL:
      break;
    case SMALL_BIG:
      n = left < 2 ? SIZE_MAX : 3u + p[1];
      break;
    case LARGE_BIG:
      n = left < 5 ? SIZE_MAX : 6u + (size_t)la_get32(p + 1);
      break;
    case STRING:
      n = left < 3 ? SIZE_MAX : 3u + la_get16(p + 1);
      break;
    case BINARY:
      n = left < 5 ? SIZE_MAX : 5u + (size_t)la_get32(p + 1);
      break;
    case BIT_BINARY:
      n = left < 6 || p[5] < 1 || p[5] > 8 ? SIZE_MAX
                                           : 6u + (size_t)la_get32(p + 1);
      break;
    case SMALL_TUPLE:
      n = 2;
      *parts = left < 2 ? 0 : p[1];
      break;
    case LARGE_TUPLE:
      n = 5;
      *parts = left < 5 ? 0 : la_get32(p + 1);
      break;
    case LIST:
      n = 5;
      *parts = left < 5 ? 0 : (uint64_t)la_get32(p + 1) + 1;
      break;
    case MAP:
      n = 5;
      *parts = left < 5 ? 0 : 2 * (uint64_t)la_get32(p + 1);
      break;
    case EXPORT:
      *parts = 3;
      break;
    case NEW_FUN:
      /* Size, arity, digest, index, count; the size is not to be trusted. */
      n = 30;
      *parts = left < 30 ? 0 : 4 + (uint64_t)la_get32(p + 26);
      break;
    case ATOM_UTF8:
    case SMALL_ATOM_UTF8:
    case ATOM_LATIN1:
    case SMALL_ATOM_LATIN1: {
      const uint8_t *text;
      uint32_t len;
      return la_wire_atom_read(p, end, &text, &len);
    }
    case NEW_PID:
    case PID:
    case NEWER_REF:
    case NEW_REF:
    case NEW_PORT:
    case V4_PORT:
    case PORT: {
      la_wire_id_t id;
      return la_wire_id_read(p, end, &id);
    }
    default:
      if (unknown != NULL) {
        *unknown = true;
      }
      return NULL;
  }
  return left < n ? NULL : p + n;
}

const uint8_t *la_wire_skip(const uint8_t *p, const uint8_t *end,
                            bool *unknown) {
  uint64_t todo = 1;
  while (todo > 0) {
    /* Every term takes a byte: a count beyond the bytes left is a lie. */
    if (p == NULL || todo > (uint64_t)(end - p)) {
      return NULL;
    }
    uint64_t parts;
    p = skip_head(p, end, &parts, unknown);
    todo += parts - 1;
  }
  return p;
}
