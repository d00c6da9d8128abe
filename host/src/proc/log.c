/* See log.h. */
#include "proc/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/out.h"
#include "proc/host.h"
#include "term/tag.h"

#define MAX_MESSAGE ((size_t)64 << 10)
#define MAX_TRACE 6000
#define MAX_FIELDS 40
#define HIDDEN "<redacted>"

_Static_assert(LUACTOR_LOG_ERROR == 1 && LUACTOR_LOG_DEBUG == 4,
               "LA_LOG_LEVELS has the same numbers");

/* ---- levels ------------------------------------------------------------------ */

const char *la_log_level_name(int level) {
  switch (level) {
#define X(number, text) \
  case number:          \
    return text;
    LA_LOG_LEVELS(X)
#undef X
    default:
      return "info";
  }
}

int la_log_level_of(const char *name) {
#define X(number, text)         \
  if (strcmp(name, text) == 0) { \
    return number;              \
  }
  LA_LOG_LEVELS(X)
#undef X
  return -1;
}

/* ---- form ---------------------------------------------------------------------- */

static la_log_form_t *form_new(const la_log_form_t *from, const char *secrets) {
  la_log_form_t *f = la_alloc(sizeof *f);
  const size_t len = strlen(secrets) + 1;
  char *copy = la_alloc(len);
  if (f == NULL || copy == NULL) {
    la_free(f);
    la_free(copy);
    return NULL;
  }
  *f = (la_log_form_t){.json = from->json,
                       .time = from->time,
                       .depth = from->depth,
                       .size = from->size,
                       .burst = from->burst,
                       .window_ms = from->window_ms,
                       .secrets = memcpy(copy, secrets, len)};
  atomic_init(&f->refs, 1);
  return f;
}

static la_log_form_t *form_ref(la_log_t *log) {
  la_lock(&log->lock);
  la_log_form_t *f = log->form;
  atomic_fetch_add_explicit(&f->refs, 1, memory_order_relaxed);
  la_unlock(&log->lock);
  return f;
}

void la_log_form_unref(la_log_form_t *f) {
  /* acq_rel: the last one sees all that others did with it. */
  if (f != NULL &&
      atomic_fetch_sub_explicit(&f->refs, 1, memory_order_acq_rel) == 1) {
    la_free(f->secrets);
    la_free(f);
  }
}

la_log_form_t *la_log_form_edit(la_log_t *log) {
  la_log_form_t *now = form_ref(log);
  la_log_form_t *copy = form_new(now, now->secrets);
  la_log_form_unref(now);
  return copy;
}

void la_log_form_set(la_log_t *log, la_log_form_t *form) {
  la_lock(&log->lock);
  la_log_form_t *old = log->form;
  log->form = form;
  la_unlock(&log->lock);
  la_log_form_unref(old);
}

/* ---- handlers -------------------------------------------------------------------- */

static la_log_handler_t *handler_ref(la_log_handler_t *h) {
  atomic_fetch_add_explicit(&h->refs, 1, memory_order_relaxed);
  return h;
}

void la_log_handler_unref(la_log_handler_t *h) {
  if (h != NULL &&
      atomic_fetch_sub_explicit(&h->refs, 1, memory_order_acq_rel) == 1) {
    if (h->fd >= 0) {
      close(h->fd);
    }
    la_free(h);
  }
}

static la_log_handler_t *handler_new(const char *name, la_log_dest_t dest,
                                     int level) {
  la_log_handler_t *h = la_zalloc(sizeof *h);
  if (h != NULL) {
    atomic_init(&h->refs, 1);
    h->dest = dest;
    h->level = level;
    h->fd = -1;
    snprintf(h->name, sizeof h->name, "%s", name);
  }
  return h;
}

static la_log_added_t insert(la_log_t *log, la_log_handler_t *h) {
  la_log_added_t result = LA_LOG_NO_ROOM;
  la_log_handler_t **place = NULL;
  la_lock(&log->lock);
  for (uint32_t i = 0; i < LA_LOG_HANDLERS; i++) {
    la_log_handler_t **at = &log->handlers[i];
    if (*at == NULL && place == NULL) {
      place = at;
    } else if (*at != NULL && strcmp((*at)->name, h->name) == 0) {
      place = NULL;
      result = LA_LOG_NAME_TAKEN;
      break;
    }
  }
  if (place != NULL) {
    *place = h;
    result = LA_LOG_ADDED;
  }
  la_unlock(&log->lock);
  return result;
}

la_log_added_t la_log_add(la_log_t *log, const char *name, int level,
                          const char *path, la_id_t to, bool owned) {
  la_log_handler_t *h = handler_new(name,
                                    path != NULL      ? LA_LOG_TO_FILE
                                    : to != LA_NO_ID ? LA_LOG_TO_PROC
                                                     : LA_LOG_TO_HOST,
                                    level);
  if (h == NULL) {
    return LA_LOG_NO_MEMORY;
  }
  h->to = to;
  h->is_owned = owned;
  if (path != NULL) {
    h->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK,
                 0666);
    if (h->fd < 0) {
      const int code = errno;
      la_log_handler_unref(h);
      errno = code;
      return LA_LOG_NO_FILE;
    }
  }
  const la_log_added_t result = insert(log, h);
  if (result != LA_LOG_ADDED) {
    la_log_handler_unref(h);
  }
  return result;
}

bool la_log_remove(la_log_t *log, const char *name, la_id_t *owned) {
  la_log_handler_t *found = NULL;
  la_lock(&log->lock);
  for (uint32_t i = 0; i < LA_LOG_HANDLERS && found == NULL; i++) {
    la_log_handler_t **at = &log->handlers[i];
    if (*at != NULL && strcmp((*at)->name, name) == 0) {
      found = *at;
      *at = NULL;
    }
  }
  la_unlock(&log->lock);
  *owned = found != NULL && found->is_owned ? found->to : LA_NO_ID;
  la_log_handler_unref(found);
  return found != NULL;
}

la_log_handler_t *la_log_handler_at(la_log_t *log, uint32_t i) {
  la_log_handler_t *h = NULL;
  la_lock(&log->lock);
  if (i < LA_LOG_HANDLERS && log->handlers[i] != NULL) {
    h = handler_ref(log->handlers[i]);
  }
  la_unlock(&log->lock);
  return h;
}

/* A handler's process is gone: so is the handler. Without any left the host's own
 * is back, so that nothing becomes silent by an accident: true. */
static bool remove_gone(la_host_t *host, la_log_handler_t *h) {
  la_log_t *log = &host->log;
  bool was = false;
  uint32_t left = 0;
  la_lock(&log->lock);
  for (uint32_t i = 0; i < LA_LOG_HANDLERS; i++) {
    if (log->handlers[i] == h) {
      log->handlers[i] = NULL;
      was = true;
    } else if (log->handlers[i] != NULL) {
      left++;
    }
  }
  la_unlock(&log->lock);
  if (!was) {
    return false;
  }
  la_log_handler_unref(h);
  if (left == 0) {
    la_log_add(log, "default", LUACTOR_LOG_DEBUG, NULL, LA_NO_ID, false);
  }
  la_log(host, LUACTOR_LOG_WARN, "log handler '%s' is gone", h->name);
  return left == 0;
}

/* ---- text and bytes of an event ------------------------------------------------------ */

typedef struct {
  char *at;
  size_t len, cap;
  bool failed; /* memory: what follows is not added */
} line_t;

static char *room(line_t *o, size_t n) {
  if (o->len + n > o->cap) {
    const size_t cap = (o->len + n) * 2;
    char *at = o->failed ? NULL : la_realloc(o->at, cap);
    if (at == NULL) {
      o->failed = true;
      return NULL;
    }
    o->at = at;
    o->cap = cap;
  }
  return o->at + o->len;
}

static void add(line_t *o, const void *s, size_t n) {
  char *at = n > 0 ? room(o, n) : NULL;
  if (at != NULL) {
    memcpy(at, s, n);
    o->len += n;
  }
}

static void add_text(line_t *o, const char *s) {
  add(o, s, strlen(s));
}

static void add_json(line_t *o, const char *s, size_t n) {
  if (n > MAX_MESSAGE) {
    n = MAX_MESSAGE;
  }
  char *at = room(o, 6 * n + 8);
  if (at != NULL) {
    o->len += la_print_json_text(s, n, n, at, 6 * n + 8);
  }
}

static void add_time(line_t *o, const la_host_t *host) {
  const uint64_t ns = la_wall(&host->env);
  const time_t s = (time_t)(ns / 1000000000);
  struct tm tm;
  char text[40];
  gmtime_r(&s, &tm);
  const size_t n = strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
  add(o, text, n);
  snprintf(text, sizeof text, ".%03uZ", (unsigned)(ns / 1000000 % 1000));
  add_text(o, text);
}

/* What an event is written from, besides itself. */
typedef struct {
  la_host_t *host;
  const la_event_t *e;
  const la_log_form_t *form;
  la_field_t fields[MAX_FIELDS];
  uint32_t nfields;
} writing_t;

static bool is_secret(const writing_t *w, const char *key, size_t len) {
  return la_print_is_secret(w->form->secrets, key, len);
}

static void add_value(line_t *o, const writing_t *w, const la_field_t *f,
                      bool json) {
  const la_print_t how = {json, w->form->depth, w->form->secrets};
  const la_term_t t = {(const uint8_t *)f->value, f->size, w->e->fields->blobs,
                       w->e->fields->nblobs};
  const size_t max = w->form->size + (json ? LA_PRINT_SLACK : 0);
  char *at = room(o, max);
  if (at == NULL) {
    return;
  }
  if (is_secret(w, f->key, f->len)) {
    add_text(o, json ? "\"" HIDDEN "\"" : HIDDEN);
  } else {
    o->len += la_term_print_as(&t, &how, at, max);
  }
}

static void add_words(line_t *o, const char *before, const char *s,
                      const char *behind) {
  if (s != NULL && s[0] != '\0') {
    add_text(o, before);
    add_text(o, s);
    add_text(o, behind);
  }
}

static void write_text(line_t *o, const writing_t *w) {
  const la_event_t *e = w->e;
  if (e->is_bare) {
    add_text(o, e->text);
    return;
  }
  if (w->form->time) {
    add_time(o, w->host);
    add_text(o, " ");
  }
  add_text(o, la_log_level_name(e->level));
  add_text(o, " ");
  if (e->text != NULL) {
    add_text(o, e->text);
    return;
  }
  if (e->pid != LA_NO_ID) {
    char pid[48];
    add(o, pid, la_id_print(e->pid, pid));
    add_text(o, " ");
  }
  add_words(o, "", e->name, " ");
  add_words(o, "[", e->label, "] ");
  add(o, e->message, e->len < MAX_MESSAGE ? e->len : MAX_MESSAGE);
  for (uint32_t i = 0; i < w->nfields; i++) {
    add_text(o, " ");
    add(o, w->fields[i].key, w->fields[i].len);
    add_text(o, "=");
    add_value(o, w, &w->fields[i], false);
  }
}

static void json_member(line_t *o, const char *key, const char *s, size_t n) {
  add_text(o, ",");
  add_json(o, key, strlen(key));
  add_text(o, ":");
  add_json(o, s, n);
}

static void json_fields(line_t *o, const writing_t *w) {
  const char *comma = "";
  add_text(o, ",\"fields\":{");
  for (uint32_t i = 0; i < w->nfields; i++) {
    add_text(o, comma);
    comma = ",";
    add_json(o, w->fields[i].key, w->fields[i].len);
    add_text(o, ":");
    add_value(o, w, &w->fields[i], true);
  }
  const la_log_extra_t *x = w->e->extras;
  for (; x != NULL && x->key != NULL; x++) {
    add_text(o, comma);
    comma = ",";
    add_json(o, x->key, strlen(x->key));
    add_text(o, ":");
    if (x->text != NULL) {
      add_json(o, x->text, strlen(x->text));
    } else {
      char number[32];
      snprintf(number, sizeof number, "%" PRId64, x->number);
      add_text(o, number);
    }
  }
  add_text(o, "}");
}

static void write_json(line_t *o, const writing_t *w) {
  const la_event_t *e = w->e;
  const char *level = la_log_level_name(e->level);
  add_text(o, "{\"time\":\"");
  add_time(o, w->host);
  add_text(o, "\"");
  json_member(o, "level", level, strlen(level));
  json_member(o, "event", e->kind, strlen(e->kind));
  if (e->pid != LA_NO_ID) {
    char pid[48];
    json_member(o, "pid", pid, la_id_print(e->pid, pid));
  }
  if (e->name != NULL && e->name[0] != '\0') {
    json_member(o, "name", e->name, strlen(e->name));
  }
  if (e->label != NULL && e->label[0] != '\0') {
    json_member(o, "label", e->label, strlen(e->label));
  }
  json_member(o, "message", e->message, e->len);
  if (w->nfields > 0 || e->extras != NULL) {
    json_fields(o, w);
  }
  add_text(o, "}");
}

/* ---- the message to a process -------------------------------------------------------- */

static void put_u32(line_t *o, uint8_t tag, uint32_t n) {
  uint8_t head[5] = {tag};
  la_put32(head + 1, n);
  add(o, head, sizeof head);
}

static void put_string(line_t *o, const char *s, size_t n) {
  put_u32(o, LA_TAG_BINARY, (uint32_t)n);
  add(o, s, n);
}

static void put_pair(line_t *o, uint32_t *n, const char *key, const char *s,
                     size_t len) {
  if (s != NULL && len > 0) {
    put_string(o, key, strlen(key));
    put_string(o, s, len);
    ++*n;
  }
}

static void put_int64(line_t *o, int64_t number) {
  uint8_t bytes[9] = {LA_TAG_INT64};
  la_put64(bytes + 1, (uint64_t)number);
  add(o, bytes, sizeof bytes);
}

/* A field as it is if it is small and flat, else as text. */
static void put_value(line_t *o, const writing_t *w, const la_field_t *f) {
  la_view_t v;
  la_view(w->e->fields, f->value, &v);
  if (is_secret(w, f->key, f->len)) {
    put_string(o, HIDDEN, strlen(HIDDEN));
  } else if (v.kind == LA_K_TEXT) {
    put_string(o, (const char *)v.at,
               v.len < w->form->size ? v.len : w->form->size);
  } else if (v.kind <= LA_K_ID) {
    add(o, f->value, f->size);
  } else {
    line_t text = {0};
    add_value(&text, w, f, false);
    o->failed |= text.failed;
    put_string(o, text.at, text.len);
    la_free(text.at);
  }
}

static void put_fields(line_t *o, const writing_t *w, uint32_t *n) {
  uint32_t count = w->nfields;
  const la_log_extra_t *x = w->e->extras;
  for (const la_log_extra_t *c = x; c != NULL && c->key != NULL; c++) {
    count++;
  }
  put_string(o, "fields", 6);
  put_u32(o, LA_TAG_MAP, count);
  for (uint32_t i = 0; i < w->nfields; i++) {
    put_string(o, w->fields[i].key, w->fields[i].len);
    put_value(o, w, &w->fields[i]);
  }
  for (; x != NULL && x->key != NULL; x++) {
    put_string(o, x->key, strlen(x->key));
    if (x->text != NULL) {
      put_string(o, x->text, strlen(x->text));
    } else {
      put_int64(o, x->number);
    }
  }
  ++*n;
}

/* { "log", { level =, event =, time =, pid =, ..., text =, fields = {} } } */
static void write_term(line_t *o, const writing_t *w, const line_t *text) {
  const la_event_t *e = w->e;
  const char *level = la_log_level_name(e->level);
  uint32_t n = 0;
  put_u32(o, LA_TAG_LIST, 2);
  put_string(o, "log", 3);
  const size_t head = o->len;
  put_u32(o, LA_TAG_MAP, 0);
  put_pair(o, &n, "level", level, strlen(level));
  put_pair(o, &n, "event", e->kind, strlen(e->kind));
  put_pair(o, &n, "message", e->message,
           e->len < MAX_MESSAGE ? e->len : MAX_MESSAGE);
  put_pair(o, &n, "text", text->at, text->len);
  put_pair(o, &n, "name", e->name, e->name != NULL ? strlen(e->name) : 0);
  put_pair(o, &n, "label", e->label, e->label != NULL ? strlen(e->label) : 0);
  put_string(o, "time", 4);
  put_int64(o, (int64_t)(la_wall(&w->host->env) / 1000000));
  n++;
  if (e->pid != LA_NO_ID) {
    uint8_t id[9] = {LA_TAG_ID};
    la_put64(id + 1, e->pid);
    put_string(o, "pid", 3);
    add(o, id, sizeof id);
    n++;
  }
  put_fields(o, w, &n);
  const uint8_t end = LA_TAG_EMPTY;
  add(o, &end, 1);
  if (!o->failed) {
    la_put32((uint8_t *)o->at + head + 1, n);
  }
}

/* ---- delivery ------------------------------------------------------------------------ */

static void to_file(la_log_handler_t *h, const char *line, size_t len) {
  const bool stuck = atomic_load(&h->is_stuck);
  const uint64_t dropped = atomic_load(&h->dropped);
  bool ok = true;
  if (dropped > 0) {
    char text[64];
    const int n = snprintf(text, sizeof text, "%" PRIu64 " events dropped\n",
                           dropped);
    ok = la_out_write(h->fd, text, (size_t)n, 0);
    if (ok) {
      atomic_fetch_sub(&h->dropped, dropped);
    }
  }
  ok = ok && la_out_write(h->fd, line, len, stuck ? 0 : LA_LOG_WAIT_MS);
  atomic_store(&h->is_stuck, !ok);
  if (!ok) {
    atomic_fetch_add(&h->dropped, 1);
  }
}

static void emit(la_host_t *host, const la_event_t *e);

static void to_proc(la_host_t *host, la_log_handler_t *h, const la_event_t *e,
                    const line_t *term) {
  if (h->is_owned && h->to == e->pid) {
    return; /* its own events would never end */
  }
  const la_term_t t = {.bytes = (const uint8_t *)term->at, .size = term->len};
  la_msg_t *m = term->failed ? NULL : la_msg_new(&t, h->to, LA_NO_ID);
  if (m == NULL) {
    atomic_fetch_add(&h->dropped, 1);
    return;
  }
  switch (la_send(host, NULL, m)) {
    case LA_SENT:
      break;
    case LA_SEND_NOPROC:
      if (remove_gone(host, h)) {
        emit(host, e); /* it reached nobody */
      }
      break;
    default: /* no room */
      la_sig_free(&m->sig);
      atomic_fetch_add(&h->dropped, 1);
      break;
  }
}

static void deliver(const writing_t *w, la_log_handler_t *h, line_t *text,
                    line_t *term) {
  la_host_t *host = w->host;
  const luactor_config *c = &host->config;
  if (h->dest == LA_LOG_TO_PROC) {
    if (term->len == 0) {
      write_term(term, w, text);
    }
    to_proc(host, h, w->e, term);
  } else if (text->failed) {
    static const char sorry[] = "an event (no memory to write it)\n";
    if (h->dest == LA_LOG_TO_FILE) {
      to_file(h, sorry, sizeof sorry - 1);
    } else if (c->log != NULL) {
      c->log(c->log_userdata, w->e->level, sorry, sizeof sorry - 2);
    }
  } else if (h->dest == LA_LOG_TO_FILE) {
    to_file(h, text->at, text->len + 1); /* with the line feed behind it */
  } else if (c->log != NULL) {
    c->log(c->log_userdata, w->e->level, text->at, text->len);
  }
}

static void emit(la_host_t *host, const la_event_t *e) {
  la_log_handler_t *handlers[LA_LOG_HANDLERS];
  uint32_t n = 0;
  la_log_t *log = &host->log;
  la_lock(&log->lock);
  la_log_form_t *form = log->form;
  atomic_fetch_add_explicit(&form->refs, 1, memory_order_relaxed);
  for (uint32_t i = 0; i < LA_LOG_HANDLERS; i++) {
    la_log_handler_t *h = log->handlers[i];
    if (h != NULL && e->level <= h->level &&
        (h->dest != LA_LOG_TO_HOST || host->config.log != NULL)) {
      handlers[n++] = handler_ref(h);
    }
  }
  la_unlock(&log->lock);
  if (n > 0) {
    writing_t w = {.host = host, .e = e, .form = form};
    line_t text = {0}, term = {0};
    if (e->fields != NULL) {
      w.nfields = la_term_fields(e->fields, w.fields, MAX_FIELDS);
    }
    if (form->json) {
      write_json(&text, &w);
    } else {
      write_text(&text, &w);
    }
    char *end = room(&text, 1);
    if (end != NULL) {
      *end = '\n';
    }
    for (uint32_t i = 0; i < n; i++) {
      deliver(&w, handlers[i], &text, &term);
    }
    la_free(text.at);
    la_free(term.at);
  }
  for (uint32_t i = 0; i < n; i++) {
    la_log_handler_unref(handlers[i]);
  }
  la_log_form_unref(form);
}

/* ---- holding back ---------------------------------------------------------------------- */

/* Equal for causes that differ in numbers only: "job 17 failed". */
static uint64_t cause_key(const la_event_t *e) {
  uint64_t h = UINT64_C(0xcbf29ce484222325);
  for (const char *s = e->kind; *s != '\0'; s++) {
    h = (h ^ (uint8_t)*s) * UINT64_C(0x100000001b3);
  }
  for (size_t i = 0; i < e->cause_len; i++) {
    const uint8_t c = (uint8_t)e->cause[i];
    if (c < '0' || c > '9') {
      h = (h ^ c) * UINT64_C(0x100000001b3);
    }
  }
  return h | 1;
}

static void tell_held(la_host_t *host, const la_log_cause_t *c) {
  char text[200];
  const int n = snprintf(text, sizeof text, "%u similar suppressed: %s",
                         c->held, c->text);
  const la_log_extra_t extras[] = {{"count", NULL, c->held}, {NULL, NULL, 0}};
  emit(host, &(la_event_t){.level = LUACTOR_LOG_WARN,
                           .kind = "suppressed",
                           .message = text,
                           .len = (size_t)n,
                           .extras = extras});
}

/* The place of a cause: its own, a free one, or that of the cause that is over
 * soonest, which is copied to *gone. */
static la_log_cause_t *place_locked(la_log_t *log, uint64_t key,
                                    la_log_cause_t *gone)
    LA_REQUIRES(log->lock) {
  enum { WAYS = 4 };
  la_log_cause_t *set = &log->causes[key / 2 % (LA_LOG_CAUSES / WAYS) * WAYS];
  la_log_cause_t *oldest = set;
  for (int i = 0; i < WAYS; i++) {
    if (set[i].key == key) {
      return &set[i];
    }
    if (set[i].until_ns < oldest->until_ns) {
      oldest = &set[i];
    }
  }
  *gone = *oldest;
  memset(oldest, 0, sizeof *oldest);
  oldest->key = key;
  return oldest;
}

static void arm(la_host_t *host, uint64_t due_ns) {
  la_log_t *log = &host->log;
  la_wheel_t *w = la_sched_wheel(host->scheds[0]);
  bool first = false;
  la_lock(&w->lock);
  if (log->timer.back == NULL) {
    log->timer.kind = LA_TIMER_LOG;
    first = la_wheel_add_locked(w, &log->timer, due_ns);
  }
  la_unlock(&w->lock);
  if (first) {
    la_sched_wheel_changed(host, w);
  }
}

static void first_line(char *out, size_t size, const char *s, size_t len) {
  size_t n = 0;
  while (n < len && n + 1 < size && s[n] != '\n') {
    n++;
  }
  memcpy(out, s, n);
  out[n] = '\0';
}

bool la_log_admit(la_host_t *host, const la_event_t *e) {
  la_log_t *log = &host->log;
  const uint64_t key = cause_key(e);
  const uint64_t now = la_now(&host->env);
  la_log_cause_t told = {0};
  la_lock(&log->lock);
  const uint64_t window_ns = log->form->window_ms * UINT64_C(1000000);
  la_log_cause_t *c = place_locked(log, key, &told);
  if (now >= c->until_ns) {
    if (c->held > 0) {
      told = *c;
    }
    c->count = c->held = 0;
    c->until_ns = now + window_ns;
  }
  const bool ok = c->count < log->form->burst;
  if (ok) {
    c->count++;
  } else if (c->held++ == 0) {
    first_line(c->text, sizeof c->text, e->message, e->len);
  }
  const bool must_arm = c->held == 1;
  const uint64_t until = c->until_ns;
  la_unlock(&log->lock);
  if (told.held > 0) {
    tell_held(host, &told);
  }
  if (must_arm) {
    arm(host, until);
  }
  return ok;
}

/* Tell of one cause whose window was over by 'now'; the earliest end of the
 * others goes to *next. False: there is none. */
static bool tell_one(la_host_t *host, uint64_t now, uint64_t *next) {
  la_log_t *log = &host->log;
  la_log_cause_t told = {0};
  *next = UINT64_MAX;
  la_lock(&log->lock);
  for (uint32_t i = 0; i < LA_LOG_CAUSES; i++) {
    la_log_cause_t *c = &log->causes[i];
    if (c->held == 0) {
      continue;
    }
    if (c->until_ns <= now) {
      told = *c;
      memset(c, 0, sizeof *c);
      break;
    }
    if (c->until_ns < *next) {
      *next = c->until_ns;
    }
  }
  la_unlock(&log->lock);
  if (told.held > 0) {
    tell_held(host, &told);
  }
  return told.held > 0;
}

void la_log_window(la_host_t *host) {
  const uint64_t now = la_now(&host->env);
  uint64_t next;
  while (tell_one(host, now, &next)) {
  }
  if (next != UINT64_MAX) {
    arm(host, next);
  }
}

void la_log_flush(la_host_t *host) {
  uint64_t next;
  while (tell_one(host, UINT64_MAX, &next)) {
  }
}

void la_log_event(la_host_t *host, const la_event_t *e) {
  if (e->cause == NULL || la_log_admit(host, e)) {
    emit(host, e);
  }
}

/* ---- events of the host ------------------------------------------------------------------ */

void la_log(la_host_t *host, int level, const char *fmt, ...) {
  if (!la_log_wants(&host->log, level)) {
    return;
  }
  char text[2048];
  va_list ap;
  va_start(ap, fmt);
  int n = vsnprintf(text, sizeof text, fmt, ap);
  va_end(ap);
  if (n < 0) {
    return;
  }
  if ((size_t)n >= sizeof text) {
    n = (int)sizeof text - 1;
  }
  la_log_event(host, &(la_event_t){.level = level,
                                   .kind = "host",
                                   .message = text,
                                   .len = (size_t)n});
}

void la_log_bare(la_host_t *host, int level, const char *prefix,
                 const char *text) {
  char line[512];
  snprintf(line, sizeof line, "%s%s", prefix, text);
  if (la_log_wants(&host->log, level)) {
    la_log_event(host, &(la_event_t){.level = level,
                                     .kind = "warning",
                                     .message = line,
                                     .len = strlen(line),
                                     .text = line,
                                     .is_bare = true});
  }
}

/* What a crash report calls the cause: the first line of the error's text, or for an error
 * that is no text the value itself, or the reason. */
static void cause_text(const la_proc_t *p, const la_log_form_t *form,
                       char *out, size_t size) {
  const la_print_t how = {false, form->depth, form->secrets};
  const la_term_t *t = &p->reason->term;
  if (p->error_text == NULL) {
    out[la_term_print_as(t, &how, out, size - 1)] = '\0';
    return;
  }
  /* { "error", value, traceback }: a head of 5 bytes, the tag of 10. */
  enum { VALUE_AT = 15 };
  const uint8_t *end = t->bytes + t->size;
  const uint8_t *next = t->size > VALUE_AT && t->bytes[VALUE_AT] != 'm' &&
                                t->nblobs == 0
                            ? la_term_skip(t->bytes + VALUE_AT, end)
                            : NULL;
  if (next != NULL && strncmp(p->error_text, "(error object", 13) == 0) {
    const la_term_t value = {.bytes = t->bytes + VALUE_AT,
                             .size = (size_t)(next - t->bytes) - VALUE_AT};
    out[la_term_print_as(&value, &how, out, size - 1)] = '\0';
    return;
  }
  first_line(out, size, p->error_text, strlen(p->error_text));
}

/* Held back by what is cheap to know: where the process began, and its error. */
static bool is_crash_admitted(la_proc_t *p) {
  char cause[256];
  const int n = snprintf(cause, sizeof cause, "%s:%.150s",
                         p->initial_call != NULL ? p->initial_call : "",
                         p->error_text != NULL ? p->error_text : "");
  char text[160];
  const int len = snprintf(text, sizeof text, "process crashed: %.100s",
                           p->error_text != NULL ? p->error_text : "");
  const la_event_t e = {
      .kind = "crash",
      .message = text,
      .len = len < (int)sizeof text ? (size_t)len : sizeof text - 1,
      .cause = cause,
      .cause_len = n < (int)sizeof cause ? (size_t)n : sizeof cause - 1};
  return la_log_admit(p->host, &e);
}

/* 'reason', 'state' have room for reason_size bytes. */
static void report_crash(la_proc_t *p, const la_log_form_t *form, char *reason,
                         char *state, size_t reason_size, char *text,
                         size_t text_size) {
  char pid[48], name[256] = "";
  la_id_print(p->pid, pid);
  la_names_of(&p->host->names, p->pid, name, sizeof name);
  cause_text(p, form, reason, reason_size);
  state[0] = '\0';
  if (p->state != NULL) {
    const la_print_t how = {false, form->depth, form->secrets};
    state[la_term_print_as(&p->state->term, &how, state, reason_size - 1)] =
        '\0';
  }
  const char *label = p->label != NULL ? p->label : "";
  const char *trace = p->error_trace != NULL ? p->error_trace : "";
  const int n = snprintf(
      text, text_size, "process %s%s%s%s%s%s%s crashed: %s\n  mailbox: %u message%s%s%s%s%.*s",
      pid, name[0] ? " (" : "", name, name[0] ? ")" : "", label[0] ? " [" : "",
      label, label[0] ? "]" : "", reason, p->mbox.count,
      p->mbox.count == 1 ? "" : "s", state[0] ? "\n  state: " : "", state,
      trace[0] ? "\n" : "", MAX_TRACE, trace);
  const la_log_extra_t extras[] = {
      {"reason", reason, 0},
      {"mailbox", NULL, p->mbox.count},
      {"initial_call", p->initial_call != NULL ? p->initial_call : "", 0},
      {"traceback", trace, 0},
      {state[0] ? "state" : NULL, state, 0},
      {NULL, NULL, 0}};
  const size_t len = strcspn(text, "\n");
  (void)n;
  la_log_event(p->host, &(la_event_t){.level = LUACTOR_LOG_ERROR,
                                      .kind = "crash",
                                      .message = text,
                                      .len = len,
                                      .text = text,
                                      .pid = p->pid,
                                      .name = name,
                                      .label = p->label,
                                      .extras = extras});
}

void la_report_crash(la_proc_t *p) {
  la_host_t *host = p->host;
  if (!la_log_wants(&host->log, LUACTOR_LOG_ERROR) || !is_crash_admitted(p)) {
    return;
  }
  la_log_form_t *form = form_ref(&host->log);
  const size_t reason_size = (size_t)form->size + 1;
  const size_t text_size = 2 * reason_size + MAX_TRACE + 1024;
  char *reason = la_alloc(2 * reason_size); /* and the state behind it */
  char *text = la_alloc(text_size);
  if (reason == NULL || text == NULL) {
    la_log(host, LUACTOR_LOG_ERROR, "a process crashed (no memory to report)");
  } else {
    report_crash(p, form, reason, reason + reason_size, reason_size, text,
                 text_size);
  }
  la_free(reason);
  la_free(text);
  la_log_form_unref(form);
}

/* ---- life -------------------------------------------------------------------------------- */

/* One word of LUACTOR_LOG or luactor_config.log_options. */
static bool option(la_log_t *log, const char *word, size_t len) {
  char name[16];
  if (len >= sizeof name) {
    return false;
  }
  memcpy(name, word, len);
  name[len] = '\0';
  const int level = la_log_level_of(name);
  if (level >= 0) {
    atomic_store(&log->level, level);
  } else if (strcmp(name, "json") == 0 || strcmp(name, "text") == 0) {
    log->form->json = name[0] == 'j';
  } else if (strcmp(name, "time") == 0 || strcmp(name, "notime") == 0) {
    log->form->time = name[0] == 't';
  } else {
    return len == 0;
  }
  return true;
}

/* Words between commas. The first that is not known, or NULL. */
static const char *options(la_log_t *log, const char *words) {
  for (const char *w = words; w != NULL && *w != '\0';) {
    const size_t len = strcspn(w, ",");
    if (!option(log, w, len)) {
      return w;
    }
    w += len + (w[len] == ',');
  }
  return NULL;
}

int la_log_init(la_host_t *host, const char *words) {
  static const la_log_form_t first = {
      .depth = 8, .size = 4096, .burst = 10, .window_ms = 1000};
  la_log_t *log = &host->log;
  la_lock_init(&log->lock, LA_RANK_LOG);
  atomic_init(&log->level, LUACTOR_LOG_INFO);
  log->form = form_new(&first, la_print_secrets);
  if (log->form == NULL ||
      la_log_add(log, "default", LUACTOR_LOG_DEBUG, NULL, LA_NO_ID, false) !=
          LA_LOG_ADDED) {
    return LUACTOR_ENOMEM;
  }
  if (options(log, words) != NULL) {
    return LUACTOR_EINVAL;
  }
  const char *bad = options(log, getenv("LUACTOR_LOG"));
  if (bad != NULL) {
    la_log(host, LUACTOR_LOG_WARN, "LUACTOR_LOG has an unknown word '%.*s'",
           (int)strcspn(bad, ","), bad);
  }
  return 0;
}

void la_log_fini(la_host_t *host) {
  la_log_t *log = &host->log;
  for (uint32_t i = 0; i < LA_LOG_HANDLERS; i++) {
    la_log_handler_unref(log->handlers[i]);
  }
  la_log_form_unref(log->form);
  la_lock_fini(&log->lock);
}
