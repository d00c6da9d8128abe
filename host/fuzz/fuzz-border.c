/* Hostile terms of another node: what is let in is a well-formed local term,
 * can be read in place, and goes out again as something that would be let in
 * as the same. */
#include <stdlib.h>

#include "base/env.h"
#include "term/border.h"
#include "term/tag.h"
#include "term/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok) {
  if (!ok) {
    abort();
  }
}

static void flat(const la_exported_t *x, la_buf_t *out) {
  size_t at = 0;
  for (uint32_t i = 0; i < x->nholes; i++) {
    la_buf_put(out, x->bytes.data + at, x->holes[i].at - at);
    la_buf_put(out, x->holes[i].blob->bytes, x->holes[i].blob->size);
    at = x->holes[i].at;
  }
  la_buf_put(out, x->bytes.data + at, x->bytes.len - at);
  check(out->len == la_exported_size(x));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 1 << 16) {
    return 0;
  }
  const la_peer_t peer = {
      .node = "me@here", .creation = 7, .is_luactor = data[0] & 1};
  const bool as_reason = data[0] & 2;
  const uint8_t *behind, *end = data + size;
  const char *why = NULL;
  la_imported_t in = {0};
  const la_import_t r = la_import(data + 1, end, &peer, as_reason, &in,
                                  &behind, &why);
  check((r == LA_IMPORT_OK) == (behind != NULL));
  check((r == LA_IMPORT_OK) == (why == NULL));
  if (r == LA_IMPORT_OK) {
    la_term_t t;
    la_imported_term(&in, &t);
    check(la_term_skip(t.bytes, t.bytes + t.size) == t.bytes + t.size);
    char line[200];
    la_term_print(&t, line, sizeof line);
    (void)la_term_equal(&t, 0, &t, 0);
    (void)la_term_tag(t.bytes, t.size);

    la_exported_t out = {0};
    char cause[500];
    if (la_export(&t, &peer, as_reason ? LA_EXPORT_REASON : LA_EXPORT_VALUE,
                  "message", &out, cause, sizeof cause)) {
      la_buf_t wire = {0};
      flat(&out, &wire);
      check(peer.is_luactor ||
            la_wire_skip(wire.data, wire.data + wire.len, NULL) ==
                wire.data + wire.len);
      la_imported_t again = {0};
      const la_import_t r2 =
          la_import(wire.data, wire.data + wire.len, &peer, as_reason, &again,
                    &behind, &why);
      check(r2 == LA_IMPORT_OK && behind == wire.data + wire.len);
      check(again.bytes.len == in.bytes.len &&
            memcmp(again.bytes.data, in.bytes.data, in.bytes.len) == 0);
      la_imported_free(&again);
      la_buf_free(&wire);
    } else {
      check(cause[0] != '\0');
    }
    la_exported_free(&out);
  }
  la_imported_free(&in);
  return 0;
}
