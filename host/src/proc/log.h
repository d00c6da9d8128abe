/* The log of a host: events, and where they go.
 *
 * An event has a level, a message, the process it is about, and fields. It goes
 * to every handler whose level admits it: the host's own (config.log), files,
 * and processes. Events of processes come through luactor.log; crash reports
 * and those of the host are made here.
 *
 * Rules:
 * 1. Nobody waits for ever to log. A process that handles events gets a message
 *    if its mailbox has room; a file that takes nothing is waited for LA_LOG_WAIT_MS
 *    once. What was dropped is counted and told as soon as something gets through.
 * 2. Reports (crashes, restarts) of the same cause are held back when there are
 *    too many in a while; how many is told when the while is over.
 * 3. Values are bounded in depth and size, and values of secret keys are not
 *    shown, in all forms and to all handlers.
 * 4. No callback, write or send happens under the lock. */
#ifndef LA_LOG_H
#define LA_LOG_H

#include <stdatomic.h>

#include "base/lock.h"
#include "proc/timer.h"
#include "term/term.h"

typedef struct luactor_host la_host_t;
typedef struct la_proc la_proc_t;

/* X(number, text); numbers as enum luactor_log_level */
#define LA_LOG_LEVELS(X) \
  X(0, "none")           \
  X(1, "error")          \
  X(2, "warn")           \
  X(3, "info")           \
  X(4, "debug")

enum {
  LA_LOG_HANDLERS = 16,
  LA_LOG_CAUSES = 64,   /* causes that are counted at one time */
  LA_LOG_WAIT_MS = 1000,
};

/* What every event is written with. Immutable and counted: a new setting is a
 * new block. */
typedef struct la_log_form {
  _Atomic uint32_t refs;
  bool json;
  bool time;           /* text lines begin with the time */
  int depth;
  uint32_t size;       /* bytes of one value */
  uint32_t burst;      /* reports of one cause in a window */
  uint32_t window_ms;
  char *secrets;       /* as la_print_t wants them */
} la_log_form_t;

typedef enum {
  LA_LOG_TO_HOST, /* config.log */
  LA_LOG_TO_FILE,
  LA_LOG_TO_PROC, /* a message { "log", event } */
} la_log_dest_t;

/* Counted: the log holds one reference, each event under way another. */
typedef struct la_log_handler {
  _Atomic uint32_t refs;
  la_log_dest_t dest;
  int level;
  int fd;              /* TO_FILE: its own description, non-blocking */
  la_id_t to;          /* TO_PROC */
  bool is_owned;       /* its process was started for it */
  _Atomic uint64_t dropped;
  _Atomic bool is_stuck; /* the last write found no room: do not wait again */
  char name[64];
} la_log_handler_t;

/* Reports of one cause in the present window. */
typedef struct la_log_cause {
  uint64_t key;        /* 0: the place is free */
  uint64_t until_ns;
  uint32_t count;
  uint32_t held;       /* back */
  char text[120];      /* the beginning of the first that was held back */
} la_log_cause_t;

typedef struct la_log {
  _Atomic int level;   /* least important level that is looked at */
  la_lock_t lock;
  la_log_form_t *form;
  la_log_handler_t *handlers[LA_LOG_HANDLERS];
  la_log_cause_t causes[LA_LOG_CAUSES];
  la_timer_t timer;    /* LA_TIMER_LOG: a window in which something was held
                        * back ends; under its wheel's lock */
  bool armed;
} la_log_t;

/* One of the fields that C code adds to an event. */
typedef struct la_log_extra {
  const char *key;
  const char *text;    /* NULL: the number */
  int64_t number;
} la_log_extra_t;

typedef struct la_event {
  int level;
  const char *kind;    /* "log", "host", "crash", or what a report is called */
  const char *message;
  size_t len;
  const char *text;    /* the whole text line behind time and level, where it is not
                        * made of the other parts; or NULL */
  bool is_bare;        /* 'text' is written without time and level */
  la_pid_t pid;        /* LA_NO_ID: the host */
  const char *name;    /* "" or NULL: none */
  const char *label;
  const la_term_t *fields;      /* a table, or NULL */
  const la_log_extra_t *extras; /* ended by a NULL key, or NULL */
  const char *cause;   /* what similar events have in common; NULL: it is never
                        * held back */
  size_t cause_len;
} la_event_t;

/* 0, LUACTOR_ENOMEM, or LUACTOR_EINVAL for an unknown word in 'options'. */
int la_log_init(la_host_t *host, const char *options);
/* Tell what has been held back so far. */
void la_log_flush(la_host_t *host);
void la_log_fini(la_host_t *host);
/* The window of held back reports is over (wait.c). [sched] */
void la_log_window(la_host_t *host);

static inline bool la_log_wants(const la_log_t *log, int level) {
  return level <= atomic_load_explicit(&log->level, memory_order_relaxed);
}

/* Give an event to the handlers, whatever the host's level: who has a level of
 * his own asks first. [any; at most LA_LOG_WAIT_MS for each file] */
void la_log_event(la_host_t *host, const la_event_t *e);
/* May a report of this kind and cause be written? If not, it is counted. [any] */
bool la_log_admit(la_host_t *host, const la_event_t *e);
/* Write one text as an event of the host. [any] */
void la_log(la_host_t *host, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Write a text line without time and level, as plain Lua words it. [any] */
void la_log_bare(la_host_t *host, int level, const char *prefix,
                 const char *text);
/* The crash report of an ending process. [owner] */
void la_report_crash(la_proc_t *p);

/* The settings as a new block to be changed and given back; NULL: memory. */
la_log_form_t *la_log_form_edit(la_log_t *log);
void la_log_form_set(la_log_t *log, la_log_form_t *form);
void la_log_form_unref(la_log_form_t *form);
/* The number of a level's name, or -1. */
int la_log_level_of(const char *name);
const char *la_log_level_name(int level);

typedef enum {
  LA_LOG_ADDED,
  LA_LOG_NAME_TAKEN,
  LA_LOG_NO_ROOM,  /* LA_LOG_HANDLERS */
  LA_LOG_NO_MEMORY,
  LA_LOG_NO_FILE,  /* errno */
} la_log_added_t;

/* 'path' for a file, 'to' for a process, neither for the host's own. [any] */
la_log_added_t la_log_add(la_log_t *log, const char *name, int level,
                          const char *path, la_id_t to, bool owned);
/* *owned: the process that was started for it, or LA_NO_ID. */
bool la_log_remove(la_log_t *log, const char *name, la_id_t *owned);
/* The handler at an index, with a reference; NULL. */
la_log_handler_t *la_log_handler_at(la_log_t *log, uint32_t i);
void la_log_handler_unref(la_log_handler_t *h);

#endif
