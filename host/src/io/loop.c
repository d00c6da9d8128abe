#include "io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#include "base/env.h"
#include "io/uvloop.h"

struct la_loop {
  const la_env_t *env; /* of its host */
  uv_loop_t uv;
  uv_async_t async;
  pthread_t thread;
  _Atomic(la_job_t *) jobs; /* newest first */
  _Atomic bool leave;
  bool left;                /* the loop's thread: everything is being closed */
  la_open_t *open;
};

uv_loop_t *la_loop_uv(la_loop_t *l) {
  return &l->uv;
}

bool la_loop_is_here(const la_loop_t *l) {
  return pthread_equal(pthread_self(), l->thread);
}

uint64_t la_loop_now_ms(const la_loop_t *l) {
  return uv_now(&l->uv);
}

void la_loop_opened(la_loop_t *l, la_open_t *o) {
  o->prev = NULL;
  o->next = l->open;
  if (l->open != NULL) {
    l->open->prev = o;
  }
  l->open = o;
}

void la_loop_closing(la_loop_t *l, la_open_t *o) {
  if (o->prev != NULL) {
    o->prev->next = o->next;
  } else {
    l->open = o->next;
  }
  if (o->next != NULL) {
    o->next->prev = o->prev;
  }
}

/* ---- jobs ------------------------------------------------------------------- */

void la_loop_post(la_loop_t *l, la_job_t *job) {
  la_job_t *head = atomic_load_explicit(&l->jobs, memory_order_relaxed);
  do {
    job->next = head;
  } while (!atomic_compare_exchange_weak_explicit(
      &l->jobs, &head, job, memory_order_release, memory_order_relaxed));
  /* Whoever found the list empty wakes the thread; the others' jobs are
   * taken along. */
  if (head == NULL) {
    uv_async_send(&l->async);
  }
}

static void run_jobs(la_loop_t *l) {
  la_job_t *list;
  while ((list = atomic_exchange_explicit(&l->jobs, NULL,
                                          memory_order_acquire)) != NULL) {
    la_job_t *in_order = NULL;
    while (list != NULL) {
      la_job_t *next = list->next;
      list->next = in_order;
      in_order = list;
      list = next;
    }
    while (in_order != NULL) {
      la_job_t *next = in_order->next;
      in_order->run(in_order);
      in_order = next;
    }
  }
}

static void on_async(uv_async_t *async) {
  la_loop_t *l = async->data;
  run_jobs(l);
  if (!atomic_load(&l->leave) || l->left) {
    return;
  }
  l->left = true;
  while (l->open != NULL) {
    l->open->close(l->open);
  }
  uv_close((uv_handle_t *)&l->async, NULL);
}

/* ---- life -------------------------------------------------------------------- */

static void *run(void *arg) {
  la_loop_t *l = arg;
  la_here_t nobody;
  la_here_enter(l->env, &nobody);
  uv_run(&l->uv, UV_RUN_DEFAULT);
  run_jobs(l); /* of closing hooks */
  return NULL;
}

/* Signals go to the embedder's threads, not to this one. */
static bool start_thread(la_loop_t *l) {
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &old);
  const bool ok = pthread_create(&l->thread, NULL, run, l) == 0;
  pthread_sigmask(SIG_SETMASK, &old, NULL);
  return ok;
}

la_loop_t *la_loop_start(const la_env_t *env) {
  la_loop_t *l = la_zalloc(sizeof *l);
  if (l == NULL) {
    return NULL;
  }
  l->env = env;
  if (uv_loop_init(&l->uv) != 0) {
    la_free(l);
    return NULL;
  }
  l->async.data = l;
  if (uv_async_init(&l->uv, &l->async, on_async) != 0) {
    uv_loop_close(&l->uv);
    la_free(l);
    return NULL;
  }
  if (!start_thread(l)) {
    uv_close((uv_handle_t *)&l->async, NULL);
    uv_run(&l->uv, UV_RUN_DEFAULT);
    uv_loop_close(&l->uv);
    la_free(l);
    return NULL;
  }
  return l;
}

void la_loop_stop(la_loop_t *l) {
  if (l == NULL) {
    return;
  }
  atomic_store(&l->leave, true);
  uv_async_send(&l->async);
  pthread_join(l->thread, NULL);
  uv_loop_close(&l->uv);
  la_free(l);
}

/* ---- timers ------------------------------------------------------------------- */

/* A handle outlives its timer until libuv has closed it. */
typedef struct ticker {
  uv_timer_t uv;
  la_open_t open;
  la_loop_t *loop;
  la_loop_timer_t *owner; /* NULL: stopped */
} ticker_t;

static void ticker_closed(uv_handle_t *h) {
  la_free(h->data);
}

static void ticker_close(la_open_t *o) {
  ticker_t *k = (ticker_t *)(void *)((char *)o - offsetof(ticker_t, open));
  if (k->owner != NULL) {
    k->owner->handle = NULL;
    k->owner = NULL;
  }
  la_loop_closing(k->loop, o);
  uv_close((uv_handle_t *)&k->uv, ticker_closed);
}

static void on_timer(uv_timer_t *uv) {
  ticker_t *k = uv->data;
  if (k->owner != NULL) {
    k->owner->fire(k->owner);
  }
}

bool la_loop_timer_start(la_loop_t *l, la_loop_timer_t *t, uint64_t ms,
                         uint64_t repeat) {
  ticker_t *k = t->handle;
  if (k == NULL) {
    k = la_zalloc(sizeof *k);
    if (k == NULL || l->left) {
      la_free(k);
      return false;
    }
    uv_timer_init(&l->uv, &k->uv);
    k->uv.data = k;
    k->loop = l;
    k->owner = t;
    k->open.close = ticker_close;
    la_loop_opened(l, &k->open);
    t->handle = k;
  }
  return uv_timer_start(&k->uv, on_timer, ms, repeat) == 0;
}

void la_loop_timer_stop(la_loop_timer_t *t) {
  ticker_t *k = t->handle;
  if (k != NULL) {
    ticker_close(&k->open);
  }
}
