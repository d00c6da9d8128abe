/* Values of luactor.h: building, reading, copying. */
#include <math.h>

#include "luactor.h"
#include "unit.h"

static void expect_text(luactor_view v, const char *want) {
  char text[2048];
  const size_t n = luactor_print(v, text, sizeof text);
  assert_string_equal(text, want);
  assert_int_equal(n, strlen(want));
}

static void expect_built(luactor_value *v, const char *want) {
  expect_text(luactor_view_of(v), want);
  luactor_value_free(v);
}

static luactor_value *finish(luactor_builder *b) {
  luactor_value *v = NULL;
  assert_int_equal(luactor_build_finish(b, &v), 0);
  assert_non_null(v);
  return v;
}

static luactor_view field(luactor_view of, const char *key) {
  luactor_view v = {0};
  assert_int_equal(luactor_get_field(of, key, &v), 0);
  return v;
}

static luactor_view element(luactor_view of, size_t i) {
  luactor_view v = {0};
  assert_int_equal(luactor_get_index(of, i, &v), 0);
  return v;
}

static int64_t integer(luactor_view v) {
  int64_t n = 0;
  assert_int_equal(luactor_get_integer(v, &n), 0);
  return n;
}

/* ---- scalars -------------------------------------------------------------------- */

static void reads_scalars(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_build_table(b);
  luactor_build_boolean(b, 1);
  luactor_build_integer(b, INT64_MIN);
  luactor_build_integer(b, 255);
  luactor_build_integer(b, -70000);
  luactor_build_number(b, 2.5);
  luactor_build_number(b, INFINITY);
  luactor_build_string(b, "a\0b", 3);
  luactor_build_atom(b, "ok");
  luactor_build_atom(b, "false");
  assert_int_equal(luactor_build_end(b), 0);
  luactor_value *v = finish(b);
  luactor_builder_free(b);
  const luactor_view t = luactor_view_of(v);
  assert_int_equal(luactor_type(t), LUACTOR_TYPE_TABLE);
  size_t n;
  assert_int_equal(luactor_get_length(t, &n), 0);
  assert_int_equal(n, 9);
  int yes = 0;
  assert_int_equal(luactor_get_boolean(element(t, 1), &yes), 0);
  assert_int_equal(yes, 1);
  assert_true(integer(element(t, 2)) == INT64_MIN);
  assert_int_equal(integer(element(t, 3)), 255);
  assert_int_equal(integer(element(t, 4)), -70000);
  double d;
  assert_int_equal(luactor_get_number(element(t, 5), &d), 0);
  assert_true(d == 2.5);
  assert_int_equal(luactor_get_number(element(t, 4), &d), 0);
  assert_true(d == -70000.0);
  assert_int_equal(luactor_get_number(element(t, 6), &d), 0);
  assert_true(isinf(d));
  assert_int_equal(luactor_get_integer(element(t, 5), NULL), LUACTOR_ETYPE);
  const char *s;
  assert_int_equal(luactor_get_string(element(t, 7), &s, &n), 0);
  assert_int_equal(n, 3);
  assert_memory_equal(s, "a\0b", 3);
  assert_int_equal(luactor_type(element(t, 8)), LUACTOR_TYPE_ATOM);
  assert_true(luactor_is_text(element(t, 8), "ok"));
  assert_false(luactor_is_text(element(t, 8), "o"));
  assert_false(luactor_is_text(element(t, 1), "true"));
  assert_int_equal(luactor_type(element(t, 9)), LUACTOR_TYPE_BOOLEAN);
  assert_int_equal(luactor_get_index(t, 0, NULL), LUACTOR_ENOENT);
  assert_int_equal(luactor_get_index(t, 10, NULL), LUACTOR_ENOENT);
  luactor_value_free(v);
}

static void takes_integral_floats_for_integers(void **state) {
  (void)state;
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "d", 4.0), 0);
  assert_int_equal(luactor_type(luactor_view_of(v)), LUACTOR_TYPE_NUMBER);
  assert_int_equal(integer(luactor_view_of(v)), 4);
  luactor_value_free(v);
  assert_int_equal(luactor_make(&v, "d", 0x1p63), 0);
  assert_int_equal(luactor_get_integer(luactor_view_of(v), NULL),
                   LUACTOR_ETYPE);
  luactor_value_free(v);
}

static void keeps_large_strings(void **state) {
  (void)state;
  char *big = malloc(100000);
  assert_non_null(big);
  memset(big, 'x', 100000);
  luactor_value *v, *w, *copy;
  assert_int_equal(luactor_make(&v, "{S s}", big, (size_t)100000, "end"), 0);
  free(big);
  assert_int_equal(luactor_make(&w, "{s v x=v}", "begin", v, v), 0);
  luactor_value_free(v);
  assert_int_equal(
      luactor_value_copy(field(luactor_view_of(w), "x"), &copy), 0);
  luactor_value_free(w);
  const char *s;
  size_t n;
  assert_int_equal(
      luactor_get_string(element(luactor_view_of(copy), 1), &s, &n), 0);
  assert_int_equal(n, 100000);
  assert_true(s[0] == 'x' && s[99999] == 'x');
  assert_true(luactor_is_text(element(luactor_view_of(copy), 2), "end"));
  luactor_value_free(copy);
}

/* ---- tables --------------------------------------------------------------------- */

static void builds_tables_of_all_shapes(void **state) {
  (void)state;
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "{}"), 0);
  expect_built(v, "{}");
  assert_int_equal(luactor_make(&v, "{i i}", 1, 2), 0);
  expect_built(v, "{1, 2}");
  assert_int_equal(luactor_make(&v, "{a=i, b={}}", 1), 0);
  expect_built(v, "{a = 1, b = {}}");
  assert_int_equal(luactor_make(&v, "{s {i} x=d, y={z=b}}", "m", 7, 0.5, 0), 0);
  expect_built(v, "{'m', {7}, x = 0.5, y = {z = false}}");
  assert_int_equal(luactor_make(&v, "(a (i) ())", "ok", 1), 0);
  assert_int_equal(luactor_type(luactor_view_of(v)), LUACTOR_TYPE_TUPLE);
  assert_int_equal(integer(element(element(luactor_view_of(v), 2), 1)), 1);
  luactor_value_free(v);
}

static void builds_large_tuples(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_build_tuple(b);
  for (int i = 1; i <= 300; i++) {
    luactor_build_integer(b, i);
  }
  luactor_build_end(b);
  luactor_value *v = finish(b);
  assert_int_equal(luactor_type(luactor_view_of(v)), LUACTOR_TYPE_TUPLE);
  assert_int_equal(integer(element(luactor_view_of(v), 300)), 300);
  luactor_value_free(v);
  luactor_builder_free(b);
}

/* Each of these is { 'a', 'b', 'c', x = 1 }. */
static void makes_one_sequence_in_whatever_order(void **state) {
  (void)state;
  static const char want[] = "{'a', 'b', 'c', x = 1}";
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "{s x=i s s}", "a", 1, "b", "c"), 0);
  expect_built(v, want);
  assert_int_equal(luactor_make(&v, "{x=i s s s}", 1, "a", "b", "c"), 0);
  expect_built(v, want);
  luactor_builder *b = luactor_builder_new();
  luactor_build_table(b);
  for (int i = 3; i >= 1; i--) {
    luactor_build_key(b);
    luactor_build_number(b, i); /* 3.0 is 3 */
    luactor_build_string(b, &"abc"[i - 1], 1);
    if (i == 2) {
      luactor_build_field(b, "x");
      luactor_build_integer(b, 1);
    }
  }
  luactor_build_end(b);
  expect_built(finish(b), want);
  luactor_build_table(b);
  for (int i = 1; i <= 3; i++) {
    luactor_build_key(b);
    luactor_build_integer(b, i);
    luactor_build_string(b, &"abc"[i - 1], 1);
  }
  luactor_build_field(b, "x");
  luactor_build_integer(b, 1);
  luactor_build_end(b);
  expect_built(finish(b), want);
  luactor_builder_free(b);
}

static void leaves_a_gap_as_pairs(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_build_table(b);
  luactor_build_text(b, "a");
  luactor_build_key(b);
  luactor_build_integer(b, 3);
  luactor_build_text(b, "c");
  luactor_build_end(b);
  luactor_value *v = finish(b), *three;
  size_t n;
  assert_int_equal(luactor_get_length(luactor_view_of(v), &n), 0);
  assert_int_equal(n, 1);
  luactor_view c;
  assert_int_equal(luactor_make(&three, "i", 3), 0);
  assert_int_equal(
      luactor_get_key(luactor_view_of(v), luactor_view_of(three), &c), 0);
  assert_true(luactor_is_text(c, "c"));
  luactor_value_free(three);
  luactor_value_free(v);
  luactor_builder_free(b);
}

static void leaves_out_what_is_nil(void **state) {
  (void)state;
  luactor_value *v;
  assert_int_equal(luactor_make(&v, "{s x=n y=i z=n}", "a", 1), 0);
  expect_built(v, "{'a', y = 1}");
  assert_int_equal(luactor_make(&v, "{s x=n}", "a"), 0);
  expect_built(v, "{'a'}");
  assert_int_equal(luactor_make(&v, "{x=n}"), 0);
  expect_built(v, "{}");
}

static void takes_any_value_as_a_key(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_build_table(b);
  luactor_build_key(b);
  luactor_build_boolean(b, 1);
  luactor_build_text(b, "yes");
  luactor_build_key(b);
  luactor_build_table(b);
  luactor_build_integer(b, 1);
  luactor_build_end(b);
  luactor_build_text(b, "table");
  luactor_build_key(b);
  luactor_build_number(b, 1.5);
  luactor_build_text(b, "float");
  luactor_build_end(b);
  luactor_value *v = finish(b), *key;
  luactor_view at;
  assert_int_equal(luactor_make(&key, "b", 1), 0);
  assert_int_equal(
      luactor_get_key(luactor_view_of(v), luactor_view_of(key), &at), 0);
  assert_true(luactor_is_text(at, "yes"));
  luactor_value_free(key);
  assert_int_equal(luactor_make(&key, "d", 1.5), 0);
  assert_int_equal(
      luactor_get_key(luactor_view_of(v), luactor_view_of(key), &at), 0);
  assert_true(luactor_is_text(at, "float"));
  luactor_value_free(key);
  luactor_value_free(v);
  luactor_builder_free(b);
}

static void finds_elements_by_their_index_as_a_key(void **state) {
  (void)state;
  luactor_value *v, *key;
  luactor_view at;
  assert_int_equal(luactor_make(&v, "{s s}", "a", "b"), 0);
  assert_int_equal(luactor_make(&key, "d", 2.0), 0);
  assert_int_equal(
      luactor_get_key(luactor_view_of(v), luactor_view_of(key), &at), 0);
  assert_true(luactor_is_text(at, "b"));
  luactor_value_free(v);
  luactor_value_free(key);
}

static void walks_over_all_pairs(void **state) {
  (void)state;
  luactor_value *v;
  luactor_iter it;
  luactor_view key, value;
  assert_int_equal(luactor_make(&v, "{s s x=i y=i}", "a", "b", 10, 20), 0);
  assert_int_equal(luactor_iterate(luactor_view_of(v), &it), 0);
  for (int i = 1; i <= 2; i++) {
    assert_int_equal(luactor_next(&it, &key, &value), 1);
    assert_int_equal(integer(key), i);
    assert_int_equal(luactor_type(key), LUACTOR_TYPE_INTEGER);
    assert_true(luactor_is_text(value, i == 1 ? "a" : "b"));
  }
  expect_text(key, "2");
  int64_t sum = 0;
  for (int i = 0; i < 2; i++) {
    assert_int_equal(luactor_next(&it, &key, &value), 1);
    assert_true(luactor_is_text(key, "x") || luactor_is_text(key, "y"));
    sum += integer(value);
  }
  assert_int_equal(sum, 30);
  assert_int_equal(luactor_next(&it, &key, &value), 0);
  assert_int_equal(luactor_next(&it, NULL, NULL), 0);
  luactor_value_free(v);
  assert_int_equal(luactor_make(&v, "{x=i}", 1), 0);
  assert_int_equal(luactor_iterate(luactor_view_of(v), &it), 0);
  assert_int_equal(luactor_next(&it, &key, NULL), 1);
  assert_true(luactor_is_text(key, "x"));
  assert_int_equal(luactor_next(&it, NULL, NULL), 0);
  luactor_value_free(v);
}

/* Against a plain array: what is built is what is read. */
static void reads_what_was_built_at_random(void **state) {
  (void)state;
  seed_random("reads_what_was_built_at_random");
  luactor_builder *b = luactor_builder_new();
  for (int round = 0; round < 2000; round++) {
    int values[16], n = 0;
    const int most = (int)random_below(16);
    memset(values, -1, sizeof values);
    luactor_build_table(b);
    for (int i = 0; i < most; i++) {
      const int k = (int)random_below(16);
      if (values[k] >= 0) {
        continue;
      }
      values[k] = round + i;
      luactor_build_key(b);
      luactor_build_integer(b, k);
      luactor_build_integer(b, round + i);
      n++;
    }
    assert_int_equal(luactor_build_end(b), 0);
    luactor_value *v = finish(b);
    luactor_iter it;
    luactor_view key, value;
    size_t nseq;
    assert_int_equal(luactor_get_length(luactor_view_of(v), &nseq), 0);
    assert_true(nseq == 15 || values[nseq + 1] < 0);
    assert_int_equal(luactor_iterate(luactor_view_of(v), &it), 0);
    while (luactor_next(&it, &key, &value) == 1) {
      assert_int_equal(values[integer(key)], integer(value));
      n--;
    }
    assert_int_equal(n, 0);
    luactor_value_free(v);
  }
  luactor_builder_free(b);
}

static void copies_parts(void **state) {
  (void)state;
  luactor_value *v, *copy;
  assert_int_equal(luactor_make(&v, "{s {i {s}} x={y=i}}", "a", 1, "in", 2), 0);
  assert_int_equal(luactor_value_copy(element(luactor_view_of(v), 2), &copy),
                   0);
  expect_built(copy, "{1, {'in'}}");
  assert_int_equal(luactor_value_copy(field(luactor_view_of(v), "x"), &copy),
                   0);
  expect_built(copy, "{y = 2}");
  assert_int_equal(luactor_make(&copy, "{w w}", element(luactor_view_of(v), 2),
                                field(luactor_view_of(v), "x")),
                   0);
  expect_built(copy, "{{1, {'in'}}, {y = 2}}");
  luactor_value_free(v);
}

/* ---- limits ----------------------------------------------------------------------- */

static void refuses_more_than_200_levels(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_value *v = NULL, *w = NULL;
  for (int i = 0; i < 200; i++) {
    assert_int_equal(luactor_build_table(b), 0);
  }
  for (int i = 0; i < 200; i++) {
    assert_int_equal(luactor_build_end(b), 0);
  }
  v = finish(b);
  luactor_build_table(b);
  assert_int_equal(luactor_build_view(b, luactor_view_of(v)), LUACTOR_ERANGE);
  assert_int_equal(luactor_build_end(b), LUACTOR_ERANGE); /* it stays */
  assert_int_equal(luactor_build_finish(b, &w), LUACTOR_ERANGE);
  for (int i = 0; i < 200; i++) {
    luactor_build_table(b);
  }
  assert_int_equal(luactor_build_table(b), LUACTOR_ERANGE);
  assert_int_equal(luactor_build_finish(b, &w), LUACTOR_ERANGE);
  assert_int_equal(luactor_build_integer(b, 1), 0); /* it is empty again */
  expect_built(finish(b), "1");
  luactor_value_free(v);
  luactor_builder_free(b);
}

static void refuses_more_than_a_gibibyte(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_value *w = NULL;
  assert_int_equal(luactor_build_string(b, "x", (size_t)1 << 31),
                   LUACTOR_ERANGE);
  assert_int_equal(luactor_build_finish(b, &w), LUACTOR_ERANGE);
  luactor_builder_free(b);
}

/* ---- misuse ------------------------------------------------------------------------ */

static void expect_misuse(luactor_builder *b, int code) {
  luactor_value *v = NULL;
  assert_int_equal(code, LUACTOR_EINVAL);
  assert_int_equal(luactor_build_text(b, "more"), LUACTOR_EINVAL);
  assert_int_equal(luactor_build_finish(b, &v), LUACTOR_EINVAL);
  assert_null(v);
}

static void refuses_misuse_of_a_builder(void **state) {
  (void)state;
  luactor_builder *b = luactor_builder_new();
  luactor_value *v = NULL;
  expect_misuse(b, luactor_build_end(b));
  expect_misuse(b, luactor_build_key(b));
  luactor_build_integer(b, 1);
  expect_misuse(b, luactor_build_integer(b, 2));
  luactor_build_table(b);
  expect_misuse(b, luactor_build_nil(b));
  luactor_build_table(b);
  luactor_build_key(b);
  expect_misuse(b, luactor_build_nil(b));
  luactor_build_table(b);
  luactor_build_key(b);
  expect_misuse(b, luactor_build_number(b, NAN));
  luactor_build_table(b);
  luactor_build_key(b);
  expect_misuse(b, luactor_build_end(b));
  luactor_build_table(b);
  luactor_build_field(b, "x");
  expect_misuse(b, luactor_build_end(b));
  luactor_build_table(b);
  luactor_build_field(b, "x");
  luactor_build_integer(b, 1);
  expect_misuse(b, luactor_build_nil(b));
  luactor_build_tuple(b);
  expect_misuse(b, luactor_build_key(b));
  expect_misuse(b, luactor_build_text(b, NULL));
  expect_misuse(b, luactor_build_string(b, NULL, 1));
  expect_misuse(b, luactor_build_field(b, NULL));
  expect_misuse(b, luactor_build_atom(b, NULL));
  expect_misuse(b, luactor_build_atom(b, "\xff"));
  expect_misuse(b, luactor_build_pid(b, 0));
  expect_misuse(b, luactor_build_pid(b, 12345));
  expect_misuse(b, luactor_build_ref(b, 1));
  expect_misuse(b, luactor_build_view(b, luactor_view_of(NULL)));
  luactor_build_table(b);
  assert_int_equal(luactor_build_finish(b, &v), LUACTOR_EINVAL);
  assert_int_equal(luactor_build_finish(b, &v), LUACTOR_EINVAL);
  luactor_build_integer(b, 1);
  assert_int_equal(luactor_build_finish(b, NULL), LUACTOR_EINVAL);
  luactor_builder_free(b);
}

static void refuses_a_missing_builder(void **state) {
  (void)state;
  luactor_value *v = NULL;
  assert_int_equal(luactor_build_integer(NULL, 1), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_string(NULL, "x", 1), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_view(NULL, luactor_view_of(NULL)),
                   LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_table(NULL), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_key(NULL), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_field(NULL, "x"), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_end(NULL), LUACTOR_ENOMEM);
  assert_int_equal(luactor_build_finish(NULL, &v), LUACTOR_ENOMEM);
  luactor_builder_free(NULL);
}

static void refuses_bad_formats(void **state) {
  (void)state;
  static const char *const bad[] = {"",   "{",     "}",   "{)",    "{i",
                                    "(}", "q",     "n n", "x=i",   "{x=}",
                                    "=i", "{x=y=}", "(x=i)"};
  for (size_t i = 0; i < COUNT(bad); i++) {
    luactor_value *v = NULL;
    assert_int_equal(luactor_make(&v, bad[i], 1, 2, 3), LUACTOR_EINVAL);
    assert_null(v);
  }
  assert_int_equal(luactor_make(NULL, "i", 1), LUACTOR_EINVAL);
  luactor_value *v;
  assert_int_equal(luactor_make(&v, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_make(&v, "s", NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_make(&v, "v", NULL), LUACTOR_EINVAL);
}

static void refuses_to_read_nothing(void **state) {
  (void)state;
  const luactor_view none = {0};
  luactor_value *v;
  luactor_iter it;
  memset(&it, 0, sizeof it);
  assert_int_equal(luactor_type(none), LUACTOR_TYPE_NONE);
  assert_int_equal(luactor_type(luactor_view_of(NULL)), LUACTOR_TYPE_NONE);
  assert_int_equal(luactor_get_boolean(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_integer(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_number(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_string(none, NULL, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_pid(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_ref(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_length(none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_index(none, 1, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_field(none, "x", NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_key(none, none, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_iterate(none, &it), LUACTOR_EINVAL);
  assert_int_equal(luactor_next(&it, NULL, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_next(NULL, NULL, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_value_copy(none, &v), LUACTOR_EINVAL);
  assert_int_equal(luactor_push_value(NULL, NULL), LUACTOR_ECALLER);
  assert_int_equal(luactor_to_value(NULL, 1, &v), LUACTOR_ECALLER);
  assert_false(luactor_is_text(none, "x"));
  char c = 'x';
  assert_int_equal(luactor_print(none, &c, 1), 0);
  assert_int_equal(c, '\0');
  assert_int_equal(luactor_print(none, NULL, 9), 0);
  luactor_value_free(NULL);
}

static void refuses_other_types(void **state) {
  (void)state;
  luactor_value *v, *t;
  assert_int_equal(luactor_make(&v, "i", 1), 0);
  assert_int_equal(luactor_make(&t, "{x=i}", 1), 0);
  const luactor_view i = luactor_view_of(v), table = luactor_view_of(t);
  assert_int_equal(luactor_get_boolean(i, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_string(i, NULL, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_pid(i, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_ref(i, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_length(i, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_index(i, 1, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_field(i, "x", NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_integer(table, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_number(table, NULL), LUACTOR_ETYPE);
  assert_int_equal(luactor_get_field(table, "y", NULL), LUACTOR_ENOENT);
  assert_int_equal(luactor_get_field(table, NULL, NULL), LUACTOR_EINVAL);
  assert_int_equal(luactor_get_key(table, table, NULL), LUACTOR_ENOENT);
  assert_int_equal(luactor_get_index(table, 1, NULL), LUACTOR_ENOENT);
  luactor_value_free(v);
  luactor_value_free(t);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(reads_scalars),
      cmocka_unit_test(takes_integral_floats_for_integers),
      cmocka_unit_test(keeps_large_strings),
      cmocka_unit_test(builds_tables_of_all_shapes),
      cmocka_unit_test(builds_large_tuples),
      cmocka_unit_test(makes_one_sequence_in_whatever_order),
      cmocka_unit_test(leaves_a_gap_as_pairs),
      cmocka_unit_test(leaves_out_what_is_nil),
      cmocka_unit_test(takes_any_value_as_a_key),
      cmocka_unit_test(finds_elements_by_their_index_as_a_key),
      cmocka_unit_test(walks_over_all_pairs),
      cmocka_unit_test(reads_what_was_built_at_random),
      cmocka_unit_test(copies_parts),
      cmocka_unit_test(refuses_more_than_200_levels),
      cmocka_unit_test(refuses_more_than_a_gibibyte),
      cmocka_unit_test(refuses_misuse_of_a_builder),
      cmocka_unit_test(refuses_a_missing_builder),
      cmocka_unit_test(refuses_bad_formats),
      cmocka_unit_test(refuses_to_read_nothing),
      cmocka_unit_test(refuses_other_types),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
