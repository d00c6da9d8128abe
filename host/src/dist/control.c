/* See control.h. Each operation is a row of fields in 'shapes'; reading and
 * writing both go by the row. */
#include "dist/control.h"

enum {
  SMALL_INT = 97,
  INT = 98,
  SMALL_TUPLE = 104,
  EMPTY = 106,
  LIST = 108,
  BINARY = 109,
  SMALL_BIG = 110
};

/* The fields of a tuple, in order:
 *   f who acts (pid)          w who acts or was watched (pid or name)
 *   t receiver (pid)          n receiver's name      m receiver (pid or name)
 *   a receiver (reference)    r ref                  u unlink id
 *   _ an ignored term, written as ''    k a trace token, or our 'priority'
 *   x reason                  g SPAWN_REPLY's flags  z pid or atom it gives
 *   M {module, function, arity}   G group leader     o list of options */
typedef struct shape {
  uint8_t number;
  uint8_t op;
  bool has_payload;
  const char *fields;
} shape_t;

static const shape_t shapes[] = {
    {1, LA_CTL_LINK, false, "ft"},
    {2, LA_CTL_SEND, true, "_t"},
    {3, LA_CTL_EXIT, false, "ftx"},
    {4, LA_CTL_UNLINK, false, "ft"},
    {6, LA_CTL_REG_SEND, true, "f_n"},
    {7, LA_CTL_GROUP_LEADER, false, "ft"},
    {8, LA_CTL_EXIT2, false, "ftx"},
    {12, LA_CTL_SEND, true, "_tk"},
    {13, LA_CTL_EXIT, false, "ftkx"},
    {16, LA_CTL_REG_SEND, true, "f_nk"},
    {18, LA_CTL_EXIT2, false, "ftkx"},
    {19, LA_CTL_MONITOR_P, false, "fmr"},
    {20, LA_CTL_DEMONITOR_P, false, "fmr"},
    {21, LA_CTL_MONITOR_P_EXIT, false, "wtrx"},
    {22, LA_CTL_SEND_SENDER, true, "ft"},
    {23, LA_CTL_SEND_SENDER, true, "ftk"},
    {24, LA_CTL_PAYLOAD_EXIT, true, "ft"},
    {25, LA_CTL_PAYLOAD_EXIT, true, "ftk"},
    {26, LA_CTL_PAYLOAD_EXIT2, true, "ft"},
    {27, LA_CTL_PAYLOAD_EXIT2, true, "ftk"},
    {28, LA_CTL_PAYLOAD_MONITOR_P_EXIT, true, "wtr"},
    {29, LA_CTL_SPAWN_REQUEST, true, "rfGMo"},
    {30, LA_CTL_SPAWN_REQUEST, true, "rfGMok"},
    {31, LA_CTL_SPAWN_REPLY, false, "rtgz"},
    {32, LA_CTL_SPAWN_REPLY, false, "rtgzk"},
    {33, LA_CTL_ALIAS_SEND, true, "fa"},
    {34, LA_CTL_ALIAS_SEND, true, "fak"},
    {35, LA_CTL_UNLINK_ID, false, "uft"},
    {36, LA_CTL_UNLINK_ID_ACK, false, "uft"},
};

static const shape_t *shape_of(uint64_t number) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    if (shapes[i].number == number) {
      return &shapes[i];
    }
  }
  return NULL;
}

bool la_control_has_payload(la_ctl_op_t op) {
  const shape_t *s = shape_of(op);
  return s != NULL && s->has_payload;
}

/* ---- reading -------------------------------------------------------------- */

/* A non-negative integer below 2^64. */
static const uint8_t *read_uint(const uint8_t *p, const uint8_t *end,
                                uint64_t *out) {
  if (end - p >= 2 && *p == SMALL_INT) {
    *out = p[1];
    return p + 2;
  }
  if (end - p >= 5 && *p == INT && p[1] < 0x80) {
    *out = la_get32(p + 1);
    return p + 5;
  }
  if (end - p < 3 || *p != SMALL_BIG || p[2] != 0 ||
      (size_t)(end - p) < 3u + p[1]) {
    return NULL;
  }
  const uint8_t n = p[1];
  *out = 0;
  for (uint8_t i = 0; i < n; i++) {
    if (i < 8) {
      *out |= (uint64_t)p[3 + i] << (8 * i);
    } else if (p[3 + i] != 0) {
      return NULL;
    }
  }
  return p + 3 + n;
}

static const uint8_t *read_id(const uint8_t *p, const uint8_t *end,
                              la_wire_kind_t kind, la_wire_id_t *out) {
  p = la_wire_id_read(p, end, out);
  return p != NULL && out->kind == kind ? p : NULL;
}

static const uint8_t *read_who(const uint8_t *p, const uint8_t *end,
                               bool may_be_name, la_ctl_who_t *out) {
  out->is_name = false;
  if (may_be_name && p < end && *p != 88 && *p != 103) {
    out->is_name = true;
    return la_wire_atom_read(p, end, &out->name, &out->name_len);
  }
  return read_id(p, end, LA_WIRE_PID, &out->id);
}

/* {Module, Function, Arity} */
static const uint8_t *read_mfa(const uint8_t *p, const uint8_t *end,
                               la_control_t *c) {
  uint64_t arity;
  if (end - p < 2 || p[0] != SMALL_TUPLE || p[1] != 3) {
    return NULL;
  }
  p = la_wire_atom_read(p + 2, end, &c->module.text, &c->module.len);
  p = p != NULL ? la_wire_atom_read(p, end, &c->function.text,
                                    &c->function.len)
                : NULL;
  p = p != NULL ? read_uint(p, end, &arity) : NULL;
  if (p == NULL || arity > 255) {
    return NULL;
  }
  c->arity = (uint32_t)arity;
  return p;
}

static bool is_text(const uint8_t *text, uint32_t len, const char *word) {
  return len == strlen(word) && memcmp(text, word, len) == 0;
}

/* An atom or a binary. */
static void read_text(const uint8_t *p, const uint8_t *end, la_ctl_text_t *t) {
  if (end - p >= 5 && *p == BINARY && la_get32(p + 1) <= LA_CTL_TEXT_MAX &&
      la_get32(p + 1) <= (size_t)(end - p) - 5) {
    *t = (la_ctl_text_t){p + 5, la_get32(p + 1)};
  } else if (la_wire_atom_read(p, end, &t->text, &t->len) == NULL ||
             t->len > LA_CTL_TEXT_MAX) {
    t->text = NULL;
  }
}

/* How a process's memory is managed in Erlang, and what concerns the asking side
 * alone: of no consequence here. */
static bool is_ignored(const uint8_t *text, uint32_t len) {
  static const char *const words[] = {
      "fullsweep_after", "min_heap_size", "min_bin_vheap_size",
      "max_heap_size", "message_queue_data", "async_dist", "scheduler",
      "reply", "reply_tag", "alias"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
    if (is_text(text, len, words[i])) {
      return true;
    }
  }
  return false;
}

#define READ_FLAG(field) (o->field = true)
#define READ_TEXT(field)               \
  (read_text(value, end, &o->field),   \
   o->is_bad = o->is_bad || o->field.text == NULL)
#define READ_UINT(field) \
  (o->is_bad = o->is_bad || read_uint(value, end, &o->field) == NULL)

/* An option at 'p', which is a term: an atom or a tuple that begins with one. */
static void read_option(const uint8_t *p, const uint8_t *end,
                        la_ctl_options_t *o) {
  const uint8_t *text;
  uint32_t len;
  const bool is_tuple = end - p > 2 && *p == SMALL_TUPLE && p[1] > 0;
  const bool has_value = is_tuple && p[1] > 1;
  const uint8_t *value = la_wire_atom_read(is_tuple ? p + 2 : p, end, &text,
                                           &len);
  if (value == NULL) {
    o->is_bad = true;
    return;
  }
  value = has_value ? value : end;
#define X(name, kind)              \
  if (is_text(text, len, #name)) { \
    READ_##kind(name);             \
    return;                        \
  }
  LA_CTL_OPTIONS(X)
#undef X
  o->is_bad = o->is_bad || !is_ignored(text, len);
}

static const uint8_t *read_options(const uint8_t *p, const uint8_t *end,
                                   la_control_t *c) {
  if (p < end && *p == 106) {
    return p + 1;
  }
  if (end - p < 5 || *p != 108) {
    return NULL;
  }
  uint32_t n = la_get32(p + 1);
  p += 5;
  for (; n > 0 && p != NULL; n--) {
    const uint8_t *behind = la_wire_skip(p, end, NULL);
    if (behind != NULL) {
      read_option(p, behind, &c->options);
    }
    p = behind;
  }
  return p != NULL && p < end && *p == 106 ? p + 1 : NULL;
}

static bool is_priority(const uint8_t *p, const uint8_t *end) {
  const uint8_t *text;
  uint32_t len;
  return la_wire_atom_read(p, end, &text, &len) != NULL &&
         is_text(text, len, "priority");
}

static const uint8_t *read_field(char field, const uint8_t *p,
                                 const uint8_t *end, la_control_t *c) {
  uint64_t n;
  switch (field) {
    case 'f':
      return read_who(p, end, false, &c->from);
    case 'w':
      return read_who(p, end, true, &c->from);
    case 't':
      return read_who(p, end, false, &c->to);
    case 'm':
      return read_who(p, end, true, &c->to);
    case 'n':
      c->to.is_name = true;
      return la_wire_atom_read(p, end, &c->to.name, &c->to.name_len);
    case 'a':
      return read_id(p, end, LA_WIRE_REF, &c->to.id);
    case 'r':
      return read_id(p, end, LA_WIRE_REF, &c->ref);
    case 'u':
      p = read_uint(p, end, &c->unlink_id);
      return c->unlink_id != 0 ? p : NULL;
    case 'g':
      p = read_uint(p, end, &n);
      c->spawn_flags = (uint32_t)n;
      return p;
    case 'z':
      return read_who(p, end, true, &c->from);
    case 'x':
      c->reason = p;
      p = la_wire_skip(p, end, NULL);
      c->reason_len = p != NULL ? (size_t)(p - c->reason) : 0;
      return p;
    case 'G':
      return read_id(p, end, LA_WIRE_PID, &c->leader);
    case 'M':
      return read_mfa(p, end, c);
    case 'o':
      return read_options(p, end, c);
    case 'k':
      c->priority = is_priority(p, end);
      return la_wire_skip(p, end, NULL);
    default: /* '_' */
      return la_wire_skip(p, end, NULL);
  }
}

const uint8_t *la_control_read(const uint8_t *bytes, const uint8_t *end,
                               la_control_t *out, const char **why) {
  memset(out, 0, sizeof *out);
  uint64_t number;
  if (end - bytes < 2 || bytes[0] != SMALL_TUPLE) {
    *why = "a control message is not a tuple";
    return NULL;
  }
  const uint8_t *p = read_uint(bytes + 2, end, &number);
  const shape_t *s = p != NULL ? shape_of(number) : NULL;
  if (s == NULL) {
    *why = "an unknown control message";
    return NULL;
  }
  if (bytes[1] != 1 + strlen(s->fields)) {
    *why = "a control message of a wrong size";
    return NULL;
  }
  out->op = (la_ctl_op_t)s->op;
  for (const char *f = s->fields; *f != '\0'; f++) {
    p = read_field(*f, p, end, out);
    if (p == NULL) {
      *why = "a malformed field of a control message";
      return NULL;
    }
  }
  return p;
}

/* ---- writing -------------------------------------------------------------- */

static void write_uint(la_buf_t *b, uint64_t v) {
  if (v < 256) {
    la_buf_u8(b, SMALL_INT);
    la_buf_u8(b, (uint8_t)v);
  } else if (v < UINT64_C(0x80000000)) {
    la_buf_u8(b, INT);
    la_buf_u32(b, (uint32_t)v);
  } else {
    la_buf_u8(b, SMALL_BIG);
    la_buf_u8(b, 8);
    la_buf_u8(b, 0);
    for (int i = 0; i < 8; i++) {
      la_buf_u8(b, (uint8_t)(v >> (8 * i)));
    }
  }
}

static void write_who(la_buf_t *b, const la_ctl_who_t *w) {
  if (w->is_name) {
    la_wire_atom_write(b, w->name, w->name_len);
  } else {
    la_wire_id_write(b, &w->id);
  }
}

static void write_mfa(la_buf_t *b, const la_control_t *c) {
  la_buf_u8(b, SMALL_TUPLE);
  la_buf_u8(b, 3);
  la_wire_atom_write(b, c->module.text, c->module.len);
  la_wire_atom_write(b, c->function.text, c->function.len);
  write_uint(b, c->arity);
}

static void write_name(la_buf_t *b, bool is_tuple, const char *name) {
  if (is_tuple) {
    la_buf_u8(b, SMALL_TUPLE);
    la_buf_u8(b, 2);
  }
  la_wire_atom_write(b, name, strlen(name));
}

/* Texts as Erlang knows them are atoms; names and labels are no atoms there. */
static void write_text(la_buf_t *b, const la_ctl_text_t *t, bool is_atom) {
  if (is_atom) {
    la_wire_atom_write(b, t->text, t->len);
    return;
  }
  la_buf_u8(b, BINARY);
  la_buf_u32(b, t->len);
  la_buf_put(b, t->text, t->len);
}

#define HAS_FLAG(field) (o->field)
#define HAS_TEXT(field) (o->field.text != NULL)
#define HAS_UINT(field) (o->field != 0)
#define WRITE_FLAG(field) write_name(b, false, #field)
#define WRITE_TEXT(field)      \
  (write_name(b, true, #field), \
   write_text(b, &o->field, &o->field != &o->name && &o->field != &o->label))
#define WRITE_UINT(field) \
  (write_name(b, true, #field), write_uint(b, o->field))

static void write_options(la_buf_t *b, const la_ctl_options_t *o) {
  uint32_t n = 0;
#define X(name, kind) n += HAS_##kind(name);
  LA_CTL_OPTIONS(X)
#undef X
  if (n > 0) {
    la_buf_u8(b, LIST);
    la_buf_u32(b, n);
  }
#define X(name, kind)    \
  if (HAS_##kind(name)) { \
    WRITE_##kind(name);  \
  }
  LA_CTL_OPTIONS(X)
#undef X
  la_buf_u8(b, EMPTY);
}

/* The form with a token, where there is one. */
static const shape_t *priority_shape(la_ctl_op_t op) {
  for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
    if (shapes[i].op == op && shapes[i].number != op) {
      return &shapes[i];
    }
  }
  return shape_of(op);
}

void la_control_write(la_buf_t *b, const la_control_t *c) {
  const shape_t *s = c->priority ? priority_shape(c->op) : shape_of(c->op);
  la_buf_u8(b, SMALL_TUPLE);
  la_buf_u8(b, (uint8_t)(1 + strlen(s->fields)));
  write_uint(b, s->number);
  for (const char *f = s->fields; *f != '\0'; f++) {
    switch (*f) {
      case 'f':
      case 'w':
      case 'z':
        write_who(b, &c->from);
        break;
      case 't':
      case 'm':
      case 'n':
      case 'a':
        write_who(b, &c->to);
        break;
      case 'r':
        la_wire_id_write(b, &c->ref);
        break;
      case 'u':
        write_uint(b, c->unlink_id);
        break;
      case 'g':
        write_uint(b, c->spawn_flags);
        break;
      case 'x':
        la_buf_put(b, c->reason, c->reason_len);
        break;
      case 'G':
        la_wire_id_write(b, &c->leader);
        break;
      case 'M':
        write_mfa(b, c);
        break;
      case 'o':
        write_options(b, &c->options);
        break;
      case 'k':
        la_wire_atom_write(b, "priority", 8);
        break;
      default:
        la_wire_atom_write(b, "", 0);
    }
  }
}
