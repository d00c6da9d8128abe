/* luactor.h: values by a format. */
#include <ctype.h>
#include <stdarg.h>
#include <string.h>

#include "embed/value.h"

enum { MAX_KEY = 255 };

/* "name=" at 's': its length, or 0. */
static size_t key_length(const char *s) {
  size_t n = 0;
  while (isalnum((unsigned char)s[n]) || s[n] == '_') {
    n++;
  }
  return n > 0 && n <= MAX_KEY && s[n] == '=' ? n : 0;
}

static int put_key(luactor_builder *b, const char *s, size_t len) {
  luactor_build_key(b);
  return luactor_build_string(b, s, len);
}

/* What is there of the arguments, a structure so that it can be passed on. */
typedef struct {
  va_list list;
} args_t;

static int put_sized(luactor_builder *b, args_t *args) {
  const char *s = va_arg(args->list, const char *);
  return luactor_build_string(b, s, va_arg(args->list, size_t));
}

static int put_one(luactor_builder *b, char what, args_t *args) {
  switch (what) {
    case 'n':
      return luactor_build_nil(b);
    case 'b':
      return luactor_build_boolean(b, va_arg(args->list, int));
    case 'i':
      return luactor_build_integer(b, va_arg(args->list, int));
    case 'I':
      return luactor_build_integer(b, va_arg(args->list, int64_t));
    case 'd':
      return luactor_build_number(b, va_arg(args->list, double));
    case 's':
      return luactor_build_text(b, va_arg(args->list, const char *));
    case 'S':
      return put_sized(b, args);
    case 'a':
      return luactor_build_atom(b, va_arg(args->list, const char *));
    case 'p':
      return luactor_build_pid(b, va_arg(args->list, luactor_pid));
    case 'r':
      return luactor_build_ref(b, va_arg(args->list, uint64_t));
    case 'v':
      return luactor_build_view(
          b, luactor_view_of(va_arg(args->list, const luactor_value *)));
    case 'w':
      return luactor_build_view(b, va_arg(args->list, luactor_view));
    case '{':
      return luactor_build_table(b);
    case '(':
      return luactor_build_tuple(b);
    case '}': case ')':
      return luactor_build_end(b);
    default:
      return LUACTOR_EINVAL;
  }
}

/* Does every bracket close the one that is open? */
static bool brackets_match(const char *format) {
  char open[256];
  size_t n = 0;
  for (const char *s = format; *s != '\0'; s++) {
    if (*s == '{' || *s == '(') {
      if (n == sizeof open) {
        return false;
      }
      open[n++] = *s;
    } else if (*s == '}' || *s == ')') {
      if (n == 0 || open[--n] != (*s == '}' ? '{' : '(')) {
        return false;
      }
    }
  }
  return n == 0;
}

static int build(luactor_builder *b, const char *s, args_t *args) {
  int code = b != NULL ? 0 : LUACTOR_ENOMEM;
  while (code == 0 && *s != '\0') {
    const size_t key = key_length(s);
    if (key > 0) {
      code = put_key(b, s, key);
      s += key + 1;
    } else if (*s == ' ' || *s == ',') {
      s++;
    } else {
      code = put_one(b, *s++, args);
    }
  }
  return code;
}

int luactor_make(luactor_value **out, const char *format, ...) {
  if (out == NULL || format == NULL || !brackets_match(format)) {
    return LUACTOR_EINVAL;
  }
  luactor_builder *b = luactor_builder_new();
  args_t args;
  va_start(args.list, format);
  int code = build(b, format, &args);
  va_end(args.list);
  if (code == 0) {
    code = luactor_build_finish(b, out);
  }
  luactor_builder_free(b);
  return code;
}
