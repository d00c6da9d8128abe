/* The part of test-misuse that needs no host: views, builders, formats. */
#ifndef LA_TEST_MISUSE_VALUES_H
#define LA_TEST_MISUSE_VALUES_H

#include <math.h>

#include "misuse.h"

static void views(void **state) {
  (void)state;
  luactor_value *v = NULL, *out = NULL, *text = text_value("x");
  luactor_view n, t, part = {0};
  luactor_iter iter, zero;
  char line[8] = "abcdefg";
  memset(&zero, 0, sizeof zero);
  assert_int_equal(luactor_make(&v, "{i s}", 1, "x"), 0);
  t = luactor_view_of(v);
  assert_int_equal(luactor_get_index(t, 1, &n), 0);
  const luactor_view s = luactor_view_of(text);
  HARMLESS(luactor_value_free(NULL));
  GIVES(LUACTOR_TYPE_NONE, luactor_type(luactor_view_of(NULL)));
  NULLS(luactor_view_of(NULL).whole);
  GIVES(LUACTOR_TYPE_NONE, luactor_type(nothing));
  const luactor_view kinds[] = {nothing, s, t};
  for (size_t i = 0; i < COUNT(kinds); i++) {
    const int want = i == 0 ? LUACTOR_EINVAL : LUACTOR_ETYPE;
    GIVES(want, luactor_get_boolean(kinds[i], NULL));
    GIVES(want, luactor_get_integer(kinds[i], NULL));
    GIVES(want, luactor_get_number(kinds[i], NULL));
    GIVES(want, luactor_get_pid(kinds[i], NULL));
    GIVES(want, luactor_get_ref(kinds[i], NULL));
  }
  const luactor_view scalars[] = {nothing, s, n};
  for (size_t i = 0; i < COUNT(scalars); i++) {
    const int want = i == 0 ? LUACTOR_EINVAL : LUACTOR_ETYPE;
    GIVES(want, luactor_get_length(scalars[i], NULL));
    GIVES(want, luactor_get_index(scalars[i], 1, NULL));
    GIVES(want, luactor_get_field(scalars[i], "x", NULL));
    GIVES(want, luactor_get_key(scalars[i], s, NULL));
    GIVES(want, luactor_iterate(scalars[i], &iter));
    GIVES(0, luactor_is_call(scalars[i], NULL, NULL));
  }
  FAILS(EINVAL, luactor_get_string(nothing, NULL, NULL));
  FAILS(ETYPE, luactor_get_string(n, NULL, NULL));
  GIVES(0, luactor_get_string(s, NULL, NULL));
  GIVES(0, luactor_get_integer(n, NULL));
  GIVES(0, luactor_is_text(nothing, "x"));
  GIVES(0, luactor_is_text(s, NULL));
  FAILS(ENOENT, luactor_get_index(t, 0, &part));
  FAILS(ENOENT, luactor_get_index(t, SIZE_MAX, &part));
  GIVES(0, luactor_get_index(t, 1, NULL));
  FAILS(EINVAL, luactor_get_field(t, NULL, &part));
  FAILS(ENOENT, luactor_get_field(t, "x", NULL));
  FAILS(EINVAL, luactor_get_key(t, nothing, &part));
  FAILS(ENOENT, luactor_get_key(t, t, &part));
  FAILS(EINVAL, luactor_iterate(t, NULL));
  FAILS(EINVAL, luactor_next(NULL, NULL, NULL));
  FAILS(EINVAL, luactor_next(&zero, NULL, NULL));
  GIVES(0, luactor_iterate(t, &iter));
  GIVES(1, luactor_next(&iter, NULL, NULL));
  GIVES(1, luactor_next(&iter, NULL, NULL));
  GIVES(0, luactor_next(&iter, NULL, NULL));
  GIVES(0, luactor_next(&iter, NULL, NULL));
  FAILS(EINVAL, luactor_value_copy(nothing, &out));
  FAILS(EINVAL, luactor_value_copy(t, NULL));
  GIVES(0, luactor_print(t, NULL, 10));
  GIVES(0, luactor_print(t, line, 0));
  GIVES(0, luactor_print(nothing, line, sizeof line));
  GIVES(0, luactor_print(t, line, 1));
  GIVES(0, luactor_print_pid(NOBODY, NULL, 9));
  GIVES(0, luactor_print_pid(NOBODY, line, 0));
  GIVES(0, luactor_print_pid(0, line, sizeof line));
  GIVES(7, luactor_print_pid(NOBODY, line, sizeof line));
  HARMLESS(luactor_print_pid(UINT64_MAX, line, sizeof line));
  NULLS(luactor_reason_error(NULL));
  NULLS(luactor_reason_error(v));
  GIVES(0, strcmp("unknown error", luactor_strerror(-1000)));
  GIVES(0, luactor_strerror(1) == NULL);
  GIVES(0, luactor_version() == NULL);
  assert_true(out == NULL && part.whole == NULL);
  luactor_value_free(text);
  luactor_value_free(v);
}

/* Every function that adds, on a builder where it must give 'want'. */
static void add_each(luactor_builder *b, int want, luactor_view view) {
  GIVES(want, luactor_build_nil(b));
  GIVES(want, luactor_build_boolean(b, 1));
  GIVES(want, luactor_build_integer(b, 1));
  GIVES(want, luactor_build_number(b, 1));
  GIVES(want, luactor_build_string(b, "", 0));
  GIVES(want, luactor_build_text(b, ""));
  GIVES(want, luactor_build_atom(b, "a"));
  GIVES(want, luactor_build_pid(b, NOBODY));
  GIVES(want, luactor_build_view(b, view));
  GIVES(want, luactor_build_table(b));
  GIVES(want, luactor_build_tuple(b));
  GIVES(want, luactor_build_key(b));
  GIVES(want, luactor_build_field(b, "x"));
  GIVES(want, luactor_build_end(b));
}

typedef int bad_t(luactor_builder *b);

static int no_bytes(luactor_builder *b) {
  return luactor_build_string(b, NULL, 1);
}
static int no_text(luactor_builder *b) {
  return luactor_build_text(b, NULL);
}
static int no_atom(luactor_builder *b) {
  return luactor_build_atom(b, NULL);
}
static int bad_atom(luactor_builder *b) {
  return luactor_build_atom(b, "\xff\xfe");
}
static int no_pid(luactor_builder *b) {
  return luactor_build_pid(b, 0);
}
static int bad_pid(luactor_builder *b) {
  return luactor_build_pid(b, UINT64_MAX);
}
static int no_ref(luactor_builder *b) {
  return luactor_build_ref(b, 0);
}
static int pid_as_ref(luactor_builder *b) {
  return luactor_build_ref(b, NOBODY);
}
static int no_view(luactor_builder *b) {
  return luactor_build_view(b, nothing);
}
static int key_outside(luactor_builder *b) {
  return luactor_build_key(b);
}
static int field_outside(luactor_builder *b) {
  return luactor_build_field(b, "x");
}
static int no_field(luactor_builder *b) {
  luactor_build_table(b);
  return luactor_build_field(b, NULL);
}
static int end_outside(luactor_builder *b) {
  return luactor_build_end(b);
}
static int second_root(luactor_builder *b) {
  luactor_build_nil(b);
  return luactor_build_integer(b, 1);
}
static int key_in_tuple(luactor_builder *b) {
  luactor_build_tuple(b);
  return luactor_build_key(b);
}
static int key_after_key(luactor_builder *b) {
  luactor_build_table(b);
  luactor_build_key(b);
  return luactor_build_key(b);
}
static int end_in_key(luactor_builder *b) {
  luactor_build_table(b);
  luactor_build_key(b);
  return luactor_build_end(b);
}
static int end_after_key(luactor_builder *b) {
  luactor_build_table(b);
  luactor_build_field(b, "x");
  return luactor_build_end(b);
}
static int nil_key(luactor_builder *b) {
  luactor_build_table(b);
  luactor_build_key(b);
  return luactor_build_nil(b);
}
static int nan_key(luactor_builder *b) {
  luactor_build_table(b);
  luactor_build_key(b);
  return luactor_build_number(b, NAN);
}
static int nil_element(luactor_builder *b) {
  luactor_build_table(b);
  return luactor_build_nil(b);
}

static void builders(void **state) {
  (void)state;
  luactor_value *out = NULL, *v = value_of_int(1);
  const luactor_view view = luactor_view_of(v);
  static bad_t *const bad[] = {
      no_bytes,      no_text,    no_atom,       bad_atom,    no_pid,
      bad_pid,       no_ref,     pid_as_ref,    no_view,     key_outside,
      field_outside, no_field,   end_outside,   second_root, key_in_tuple,
      key_after_key, end_in_key, end_after_key, nil_key,     nan_key,
      nil_element};
  luactor_builder *b = NULL;
  add_each(NULL, LUACTOR_ENOMEM, view);
  FAILS(ENOMEM, luactor_build_ref(NULL, 0));
  FAILS(ENOMEM, luactor_build_finish(NULL, &out));
  HARMLESS(luactor_builder_free(NULL));
  HARMLESS(b = luactor_builder_new());
  for (size_t i = 0; i < COUNT(bad); i++) {
    note("luactor_build_", __LINE__, LUACTOR_EINVAL, bad[i](b));
    add_each(b, LUACTOR_EINVAL, view); /* the first error stays */
    FAILS(EINVAL, luactor_build_ref(b, 0));
    FAILS(EINVAL, luactor_build_finish(b, &out));
    FAILS(EINVAL, luactor_build_finish(b, &out)); /* empty */
  }
  for (int i = 0; i < 200; i++) {
    GIVES(0, luactor_build_table(b));
  }
  FAILS(ERANGE, luactor_build_tuple(b));
  FAILS(ERANGE, luactor_build_finish(b, &out));
  FAILS(ERANGE, luactor_build_string(b, "", SIZE_MAX));
  FAILS(ERANGE, luactor_build_finish(b, &out));
  GIVES(0, luactor_build_table(b)); /* not closed */
  FAILS(EINVAL, luactor_build_finish(b, &out));
  GIVES(0, luactor_build_string(b, NULL, 0));
  FAILS(EINVAL, luactor_build_finish(b, NULL));
  assert_null(out);
  HARMLESS(luactor_builder_free(b));
  luactor_value_free(v);
}

static void formats(void **state) {
  (void)state;
  luactor_value *v = NULL;
  static const char *const bad[] = {"",    "{",    "}",    "(}",    "q", "n n",
                                    "x=n", "{x=}", "{=n}", "(x=n)", "%d"};
  FAILS(EINVAL, luactor_make(NULL, "n"));
  FAILS(EINVAL, luactor_make(&v, NULL));
  for (size_t i = 0; i < COUNT(bad); i++) {
    FAILS(EINVAL, luactor_make(&v, bad[i]));
  }
  FAILS(EINVAL, luactor_make(&v, "s", (const char *)NULL));
  FAILS(EINVAL, luactor_make(&v, "S", (const char *)NULL, (size_t)1));
  FAILS(EINVAL, luactor_make(&v, "a", (const char *)NULL));
  FAILS(EINVAL, luactor_make(&v, "v", (const luactor_value *)NULL));
  FAILS(EINVAL, luactor_make(&v, "w", nothing));
  FAILS(EINVAL, luactor_make(&v, "p", (luactor_pid)0));
  FAILS(EINVAL, luactor_make(&v, "r", NOBODY));
  assert_null(v);
}

#endif
