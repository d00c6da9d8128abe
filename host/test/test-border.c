/* Terms across the border between nodes, byte by byte. */
#include "term/border.h"

#include "term/tag.h"
#include "term/wire.h"
#include "unit.h"

static const la_peer_t erlang = {.node = "me@here", .creation = 7};
static const la_peer_t luactor = {
    .node = "me@here", .creation = 7, .is_luactor = true};

/* Bytes written as hex, blanks ignored. */
static void hex(la_buf_t *b, const char *text) {
  b->len = 0;
  unsigned high = 0;
  bool half = false;
  for (; *text != '\0'; text++) {
    if (*text == ' ') {
      continue;
    }
    const unsigned d = *text <= '9' ? (unsigned)(*text - '0')
                                    : (unsigned)(*text - 'a' + 10);
    if (half) {
      la_buf_u8(b, (uint8_t)(high << 4 | d));
    }
    high = d;
    half = !half;
  }
}

static void assert_bytes(const la_buf_t *got, const char *want) {
  la_buf_t b = {0};
  hex(&b, want);
  if (b.len != got->len || memcmp(b.data, got->data, b.len) != 0) {
    print_message("wanted %s, got", want);
    for (size_t i = 0; i < got->len; i++) {
      print_message(" %02x", got->data[i]);
    }
    print_message("\n");
    fail();
  }
  la_buf_free(&b);
}

static void flat(const la_exported_t *x, la_buf_t *out) {
  size_t at = 0;
  out->len = 0;
  for (uint32_t i = 0; i < x->nholes; i++) {
    la_buf_put(out, x->bytes.data + at, x->holes[i].at - at);
    la_buf_put(out, x->holes[i].blob->bytes, x->holes[i].blob->size);
    at = x->holes[i].at;
  }
  la_buf_put(out, x->bytes.data + at, x->bytes.len - at);
}

typedef struct passage {
  const char *wire;  /* what comes */
  const char *local; /* what it is here */
  const char *back;  /* what goes out again; NULL: the same as came */
} passage_t;

#define ME "77 07 6d654068657265"     /* me@here */

static const passage_t passages[] = {
    {"61 05", "61 05", NULL},
    {"62 ffffffff", "62 ffffffff", NULL},
    {"62 00000005", "61 05", "61 05"},
    {"6e 04 00 00000080", "db 0000000080000000", NULL},
    {"6e 08 01 0000000000000080", "db 8000000000000000", NULL},
    {"6e 02 00 0100", "61 01", "61 01"},
    {"6e 00 00", "61 00", "61 00"},
    {"6e 01 ff 05", "62 fffffffb", "62 fffffffb"},
    {"6e 09 00 010203040506070809", "e8 0000000c 6e0900010203040506070809",
     NULL},
    {"6f 00000001 00 05", "61 05", "61 05"},
    {"46 3ff8000000000000", "46 3ff8000000000000", NULL},
    {"63 312e35303030303030303030303030303030303030652b3030 000000000000",
     "46 3ff8000000000000", "46 3ff8000000000000"},
    {"77 04 74727565", "d9", NULL},
    {"77 05 66616c7365", "da", NULL},
    {"77 03 6e696c", "d8", NULL},
    {"77 02 6f6b", "77 02 6f6b", NULL},
    {"64 0002 6f6b", "77 02 6f6b", "77 02 6f6b"},
    {"73 02 68e5", "77 03 68c3a5", "77 03 68c3a5"},
    {"6d 00000002 6162", "6d 00000002 6162", NULL},
    {"6a", "6a", NULL},
    {"6b 0002 0102", "6c 00000002 6101 6102 6a", "6c 00000002 6101 6102 6a"},
    {"6c 00000001 61016a", "6c 00000001 61016a", NULL},
    {"6c 00000000 6a", "6a", "6a"},
    {"6c 00000000 6105", "61 05", "61 05"},
    {"6c 00000001 7701617701 62", "e7 00000001 7701617701 62", NULL},
    /* nil: none in a tuple, an atom in a list. */
    {"68 02 77036e696c 6101", "68 02 d8 6101", NULL},
    {"6c 00000001 77036e696c 6a", "6c 00000001 77036e696c 6a", NULL},
    {"68 00", "68 00", NULL},
    {"69 00000001 6a", "69 00000001 6a", NULL},
    /* Maps: atom keys, an empty one, other keys, key 1. */
    {"74 00000001 770161 6101", "e9 02 74 00000001 770161 6101", NULL},
    {"74 00000000", "e9 01 74 00000000", NULL},
    {"74 00000001 6d0000000161 6101", "e9 00 74 00000001 6d0000000161 6101",
     NULL},
    {"74 00000001 6101 6102", "e9 01 74 00000001 6101 6102", NULL},
    {"74 00000002 770161 6101 6102 6103",
     "e9 00 74 00000002 770161 6101 6102 6103", NULL},
    /* Maps that Lua cannot hold: keys 1 and 1.0, key nil. */
    {"74 00000002 6101 6101 463ff0000000000000 6102",
     "e8 00000014 74 00000002 6101 6101 463ff0000000000000 6102", NULL},
    {"74 00000001 77036e696c 6101", "e8 0000000c 740000000177036e696c6101",
     NULL},
    {"6c 00000002 74 00000001 77036e696c 6101 6105 6a",
     "6c 00000002 e8 0000000c 740000000177036e696c6101 6105 6a", NULL},
    /* Ours: pid 12 and a reference; of another incarnation; a stranger's. */
    {"58" ME "0000000c 00000000 00000007", "c8 100000000000000c", NULL},
    {"5a 0003" ME "00000007 00000002 00000009 00000000",
     "c8 2000000000000009", NULL},
    {"58" ME "0000000c 00000000 00000008",
     "58" ME "0000000c 00000000 00000008", NULL},
    {"58 7703614062 00000009 00000001 00000005",
     "58 7703614062 00000009 00000001 00000005", NULL},
    {"67 7703614062 00000009 00000001 05",
     "58 7703614062 00000009 00000001 00000005",
     "58 7703614062 00000009 00000001 00000005"},
    /* Kept whole: a bit string, a fun, a port. */
    {"4d 00000001 03 a0", "e8 00000007 4d0000000103a0", NULL},
    {"71 77056c69737473 77036d6170 6102",
     "e8 0000000f 71 77056c69737473 77036d6170 6102", NULL},
    {"78 7703614062 0000000000000009 00000005",
     "e8 00000012 78 7703614062 0000000000000009 00000005", NULL},
};

static void comes_in_and_goes_out(void **state) {
  (void)state;
  la_buf_t wire = {0}, back = {0};
  for (size_t i = 0; i < COUNT(passages); i++) {
    const passage_t *x = &passages[i];
    hex(&wire, x->wire);
    la_imported_t in = {0};
    const uint8_t *behind;
    const char *why;
    assert_int_equal(la_import(wire.data, wire.data + wire.len, &erlang, false,
                               &in, &behind, &why),
                     LA_IMPORT_OK);
    assert_ptr_equal(behind, wire.data + wire.len);
    assert_bytes(&in.bytes, x->local);
    la_term_t t;
    la_imported_term(&in, &t);
    la_exported_t out = {0};
    char cause[500] = "";
    if (!la_export(&t, &erlang, LA_EXPORT_VALUE, "message", &out, cause,
                   sizeof cause)) {
      print_message("%s\n", cause);
      fail();
    }
    flat(&out, &back);
    assert_bytes(&back, x->back != NULL ? x->back : x->wire);
    la_exported_free(&out);
    la_imported_free(&in);
  }
  la_buf_free(&wire);
  la_buf_free(&back);
}

/* Every prefix of every term is refused, without a byte read behind it. */
static void refuses_what_ends_early(void **state) {
  (void)state;
  la_buf_t wire = {0};
  for (size_t i = 0; i < COUNT(passages); i++) {
    hex(&wire, passages[i].wire);
    for (size_t n = 0; n < wire.len; n++) {
      uint8_t *exact = malloc(n + 1);
      memcpy(exact, wire.data, n);
      la_imported_t in = {0};
      const uint8_t *behind;
      const char *why;
      assert_int_equal(la_import(exact, exact + n, &erlang, false, &in,
                                 &behind, &why),
                       LA_IMPORT_MALFORMED);
      la_imported_free(&in);
      free(exact);
    }
  }
  la_buf_free(&wire);
}

typedef struct refusal {
  const char *wire;
  bool from_luactor;
  la_import_t result;
} refusal_t;

static void refuses(void **state) {
  (void)state;
  static const refusal_t cases[] = {
      {"46 7ff0000000000000", false, LA_IMPORT_MALFORMED}, /* infinite */
      {"46 7ff8000000000000", false, LA_IMPORT_MALFORMED},
      {"77 01 ff", false, LA_IMPORT_MALFORMED},
      {"6c ffffffff 6101", false, LA_IMPORT_MALFORMED},
      {"74 ffffffff 6101", false, LA_IMPORT_MALFORMED},
      {"69 ffffffff 6101", false, LA_IMPORT_MALFORMED},
      {"43 00000000 00", false, LA_IMPORT_REFUSED}, /* of a later OTP */
      {"52 00", false, LA_IMPORT_REFUSED},
      {"c8 100000000000000c", false, LA_IMPORT_MALFORMED}, /* tags of ours */
      {"c8 100000000000000c", true, LA_IMPORT_MALFORMED},
      {"cf 7ff0000000000000", false, LA_IMPORT_MALFORMED},
      {"dc 00000000 00000000", true, LA_IMPORT_REFUSED}, /* of one host */
      {"e0 00 00000001 1b", true, LA_IMPORT_REFUSED},
      {"c9 00000001", true, LA_IMPORT_MALFORMED}, /* REF to nothing */
      {"6c 00000002 6a c9 00000001 6a", true, LA_IMPORT_MALFORMED},
      {"cd 00000001 6101 6a", true, LA_IMPORT_MALFORMED},
      {"d0 6105 6a", true, LA_IMPORT_MALFORMED}, /* no module's name */
  };
  la_buf_t wire = {0};
  for (size_t i = 0; i < COUNT(cases); i++) {
    hex(&wire, cases[i].wire);
    la_imported_t in = {0};
    const uint8_t *behind;
    const char *why = NULL;
    assert_int_equal(la_import(wire.data, wire.data + wire.len,
                               cases[i].from_luactor ? &luactor : &erlang,
                               false, &in, &behind, &why),
                     cases[i].result);
    assert_non_null(why);
    la_imported_free(&in);
  }
  /* Deeper than Lua's terms may be. */
  wire.len = 0;
  for (int i = 0; i <= LA_TERM_MAX_DEPTH; i++) {
    la_buf_put(&wire, "\x68\1", 2);
  }
  la_buf_put(&wire, "\x6a", 1);
  la_imported_t in = {0};
  const uint8_t *behind;
  const char *why;
  assert_int_equal(la_import(wire.data, wire.data + wire.len, &erlang, false,
                             &in, &behind, &why),
                   LA_IMPORT_REFUSED);
  la_imported_free(&in);
  la_buf_free(&wire);
}

typedef struct reason {
  const char *wire, *local;
} reason_t;

static void reasons_are_strings_here_and_atoms_there(void **state) {
  (void)state;
  static const reason_t cases[] = {
      {"77 06 6e6f726d616c", "6d 00000006 6e6f726d616c"},
      {"77 04 626f6f6d", "77 04 626f6f6d"}, /* others stay atoms */
      {"68 02 7708 73687574646f776e 6105",
       "6c 00000002 6d 00000008 73687574646f776e 6105 6a"},
      {"68 03 7705 6572726f72 6d00000001 78 6d00000001 79",
       "6c 00000003 6d 00000005 6572726f72 6d00000001 78 6d00000001 79 6a"},
      {"68 02 7704 626f6f6d 6a", "68 02 7704 626f6f6d 6a"},
  };
  la_buf_t wire = {0}, back = {0};
  for (size_t i = 0; i < COUNT(cases); i++) {
    hex(&wire, cases[i].wire);
    la_imported_t in = {0};
    const uint8_t *behind;
    const char *why;
    assert_int_equal(la_import(wire.data, wire.data + wire.len, &erlang, true,
                               &in, &behind, &why),
                     LA_IMPORT_OK);
    assert_bytes(&in.bytes, cases[i].local);
    la_term_t t;
    la_imported_term(&in, &t);
    la_exported_t out = {0};
    char cause[500];
    assert_true(la_export(&t, &erlang, LA_EXPORT_REASON, "reason", &out, cause,
                          sizeof cause));
    flat(&out, &back);
    assert_bytes(&back, cases[i].wire);
    la_exported_free(&out);
    la_imported_free(&in);
  }
  la_buf_free(&wire);
  la_buf_free(&back);
}

typedef struct outgoing {
  const char *local, *wire;
} outgoing_t;

/* What gen_server and its like expect is written as tuples. */
static void messages_take_erlangs_shapes(void **state) {
  (void)state;
  static const outgoing_t cases[] = {
      {"6c 00000003 6d00000009 2467656e5f63616c6c"
       "6c 00000002 c8 100000000000000c c8 3000000000000009 6a 6105 6a",
       "68 03 7709 2467656e5f63616c6c"
       "68 02 58" ME "0000000c 00000000 00000007"
       "5a 0003" ME "00000007 00000003 00000009 00000000 6105"},
      {"6c 00000002 6d00000009 2467656e5f63617374 6105 6a",
       "68 02 7709 2467656e5f63617374 6105"},
      {"6c 00000002 5a 0001 7703614062 00000005 00000001 6105 6a",
       "68 02 5a 0001 7703614062 00000005 00000001 6105"},
      {"6c 00000002 6105 6106 6a", "6c 00000002 6105 6106 6a"},
  };
  la_buf_t local = {0}, back = {0};
  for (size_t i = 0; i < COUNT(cases); i++) {
    hex(&local, cases[i].local);
    const la_term_t t = {local.data, local.len, NULL, 0};
    la_exported_t out = {0};
    char cause[500];
    assert_true(la_export(&t, &erlang, LA_EXPORT_MESSAGE, "message", &out,
                          cause, sizeof cause));
    flat(&out, &back);
    assert_bytes(&back, cases[i].wire);
    la_exported_free(&out);
    /* Between luactor nodes they stay what they are. */
    assert_true(la_export(&t, &luactor, LA_EXPORT_MESSAGE, "message", &out,
                          cause, sizeof cause));
    flat(&out, &back);
    assert_int_equal(back.data[0], LA_TAG_LIST);
    la_exported_free(&out);
  }
  la_buf_free(&local);
  la_buf_free(&back);
}

typedef struct failure {
  const char *local, *why;
} failure_t;

static void says_what_cannot_leave(void **state) {
  (void)state;
  static const failure_t cases[] = {
      {"6c 00000002 6101 cf 7ff0000000000000 6a",
       "cannot send message[2] (a number that is NaN or infinite) to another "
       "node"},
      {"74 00000001 6d00000003 636667 74 00000001 6d00000001 66"
       "e0 00 00000001 1b",
       "cannot send message.cfg.f (function) to another node"},
      {"cb 00000001 c9 00000005 6a",
       "cannot send message[1] (a table inside itself) to another node"},
      {"dd", "cannot send message (the table of globals) to another node"},
  };
  la_buf_t local = {0};
  for (size_t i = 0; i < COUNT(cases); i++) {
    hex(&local, cases[i].local);
    const la_term_t t = {local.data, local.len, NULL, 0};
    la_exported_t out = {0};
    char cause[500];
    assert_false(la_export(&t, &erlang, LA_EXPORT_MESSAGE, "message", &out,
                           cause, sizeof cause));
    assert_string_equal(cause, cases[i].why);
    la_exported_free(&out);
  }
  la_buf_free(&local);
}

/* Tables that are reached twice: one again between luactor nodes, copies for
 * Erlang. */
static void shared_tables(void **state) {
  (void)state;
  la_buf_t local = {0}, back = {0};
  hex(&local, "6c 00000003 cb 00000001 6105 6a c9 00000008 ca 6a");
  const la_term_t t = {local.data, local.len, NULL, 0};
  la_exported_t out = {0};
  char cause[500];
  assert_true(la_export(&t, &erlang, LA_EXPORT_VALUE, "message", &out, cause,
                        sizeof cause));
  flat(&out, &back);
  assert_bytes(&back, "6c 00000003 6c 00000001 6105 6a 6c 00000001 6105 6a"
                      "6a 6a");
  la_exported_free(&out);
  assert_true(la_export(&t, &luactor, LA_EXPORT_VALUE, "message", &out, cause,
                        sizeof cause));
  flat(&out, &back);
  assert_bytes(&back, "6c 00000003 cb 00000001 6105 6a c9 00000008 ca 6a");
  la_imported_t in = {0};
  const uint8_t *behind;
  const char *why;
  assert_int_equal(la_import(back.data, back.data + back.len, &luactor, false,
                             &in, &behind, &why),
                   LA_IMPORT_OK);
  assert_int_equal(in.bytes.len, local.len);
  assert_memory_equal(in.bytes.data, local.data, local.len);
  la_imported_free(&in);
  la_exported_free(&out);
  la_buf_free(&local);
  la_buf_free(&back);
}

/* A long string is neither copied on its way out nor kept inline on its way in. */
static void long_strings_are_blobs(void **state) {
  (void)state;
  la_buf_t wire = {0}, back = {0};
  la_buf_u8(&wire, LA_TAG_TUPLE);
  la_buf_u8(&wire, 2);
  for (int i = 0; i < 2; i++) {
    la_buf_u8(&wire, LA_TAG_BINARY);
    la_buf_u32(&wire, LA_TERM_BLOB_MIN);
    memset(la_buf_add(&wire, LA_TERM_BLOB_MIN), 'a' + i, LA_TERM_BLOB_MIN);
  }
  la_imported_t in = {0};
  const uint8_t *behind;
  const char *why;
  assert_int_equal(la_import(wire.data, wire.data + wire.len, &erlang, false,
                             &in, &behind, &why),
                   LA_IMPORT_OK);
  assert_int_equal(in.nblobs, 2);
  assert_int_equal(in.bytes.len, 20);
  la_term_t t;
  la_imported_term(&in, &t);
  la_exported_t out = {0};
  char cause[500];
  assert_true(la_export(&t, &erlang, LA_EXPORT_VALUE, "message", &out, cause,
                        sizeof cause));
  assert_int_equal(out.nholes, 2);
  assert_int_equal(la_exported_size(&out), wire.len);
  flat(&out, &back);
  assert_int_equal(back.len, wire.len);
  assert_memory_equal(back.data, wire.data, wire.len);
  la_exported_free(&out);
  la_imported_free(&in);
  la_buf_free(&wire);
  la_buf_free(&back);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(comes_in_and_goes_out),
      cmocka_unit_test(refuses_what_ends_early),
      cmocka_unit_test(refuses),
      cmocka_unit_test(reasons_are_strings_here_and_atoms_there),
      cmocka_unit_test(messages_take_erlangs_shapes),
      cmocka_unit_test(says_what_cannot_leave),
      cmocka_unit_test(shared_tables),
      cmocka_unit_test(long_strings_are_blobs),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
