/* The pid table, and the inbox protocol of its slots: push, take, park. */
#include "proc/pidtab.h"

#include <pthread.h>
#include <semaphore.h>

#include "base/env.h"
#include "unit.h"

static la_pidtab_t *table;

static int setup(void **state) {
  (void)state;
  table = malloc(sizeof *table);
  assert_true(la_pidtab_init(table, 5000));
  return 0;
}

static int teardown(void **state) {
  (void)state;
  la_pidtab_fini(table);
  free(table);
  return 0;
}

static la_id_t take(int kind, la_slot_t **slot) {
  bool no_memory;
  const la_id_t id = la_pidtab_take(table, kind, slot, &no_memory);
  assert_true(id != LA_NO_ID);
  la_slot_publish(*slot, id);
  return id;
}

static void give(la_slot_t *s, la_id_t id) {
  atomic_store(&s->id, LA_NO_ID);
  assert_null(la_slot_close(s));
  la_pidtab_give(table, s, la_id_slot(id));
}

/* ---- slots ------------------------------------------------------------------ */

static void leads_from_a_pid_to_its_slot(void **state) {
  (void)state;
  la_slot_t *s;
  const la_id_t id = take(LA_SLOT_PROC, &s);
  assert_int_equal(la_id_kind(id), LA_ID_PID);
  assert_int_not_equal(la_id_slot(id), 0);
  assert_ptr_equal(la_pidtab_slot(table, id), s);
  assert_ptr_equal(la_pidtab_at(table, la_id_slot(id)), s);
  assert_true(la_slot_is(s, id));
  assert_true(la_pidtab_size(table) > la_id_slot(id));
  give(s, id);
  assert_false(la_slot_is(s, id));
  assert_ptr_equal(la_pidtab_slot(table, id), s); /* never freed */
}

static void knows_no_slot_of_foreign_identities(void **state) {
  (void)state;
  assert_null(la_pidtab_slot(table, la_id_make(LA_ID_PID, 0, 5)));
  la_slot_t *s;
  const la_id_t id = take(LA_SLOT_PROC, &s);
  assert_null(la_pidtab_slot(table, la_id_counted(LA_ID_REF, la_id_slot(id))));
  assert_null(la_pidtab_slot(table, LA_NO_ID));
  assert_null(la_pidtab_slot(table, la_id_make(LA_ID_PID, 0, 1 << 20)));
  assert_null(
      la_pidtab_slot(table, la_id_make(LA_ID_PID, 0, LA_ID_SLOT_MASK)));
  assert_ptr_equal(
      la_pidtab_slot(table, la_id_make(LA_ID_ALIAS, 77, la_id_slot(id))), s);
  give(s, id);
}

static void keeps_to_the_limit_of_processes(void **state) {
  (void)state;
  static la_slot_t *slots[5000];
  static la_id_t ids[5000];
  la_slot_t *s;
  bool no_memory;
  for (int i = 0; i < 5000; i++) {
    ids[i] = take(LA_SLOT_PROC, &slots[i]);
  }
  assert_true(la_pidtab_take(table, LA_SLOT_PROC, &s, &no_memory) ==
              LA_NO_ID);
  assert_false(no_memory);
  const la_id_t box = take(LA_SLOT_MBOX, &s); /* is no process */
  assert_int_equal(la_id_kind(box), LA_ID_MBOX);
  give(s, box);
  give(slots[17], ids[17]);
  ids[17] = take(LA_SLOT_PROC, &slots[17]);
  for (int i = 0; i < 5000; i++) {
    give(slots[i], ids[i]);
  }
  assert_int_equal(atomic_load(&table->nprocs), 0);
}

/* A pid must not soon mean another process, and never the same one again. */
static void lets_slots_rest_and_counts_their_uses(void **state) {
  (void)state;
  enum { USES = 20000 };
  static la_id_t seen[USES];
  uint32_t last_use[8192] = {0};
  for (uint32_t i = 0; i < USES; i++) {
    la_slot_t *s;
    const la_id_t id = take(i % 3 ? LA_SLOT_PROC : LA_SLOT_MBOX, &s);
    const uint32_t slot = la_id_slot(id);
    assert_true(slot < 8192);
    assert_true(last_use[slot] == 0 || i - last_use[slot] > 500);
    last_use[slot] = i;
    seen[i] = id & LA_ID_BODY_MASK;
    give(s, id);
  }
  for (uint32_t i = 0; i < USES; i++) { /* slots are few: compare within one */
    for (uint32_t k = i + 1; k < USES && k < i + 3000; k++) {
      assert_true(seen[i] != seen[k]);
    }
  }
  assert_true(la_pidtab_size(table) < 2048);
}

#ifdef LUACTOR_FAIL_ALLOC
static void says_when_memory_is_short(void **state) {
  (void)state;
  for (long n = 0;; n++) {
    la_slot_t *s = NULL;
    bool no_memory;
    la_alloc_countdown(n);
    const la_id_t id = la_pidtab_take(table, LA_SLOT_PROC, &s, &no_memory);
    la_alloc_countdown(-1);
    if (id != LA_NO_ID) {
      assert_true(n > 0);
      la_slot_publish(s, id);
      give(s, id);
      return;
    }
    assert_true(no_memory);
    assert_int_equal(atomic_load(&table->nprocs), 0);
  }
}
#endif

/* ---- inbox ------------------------------------------------------------------ */

static void opens_when_published_and_refuses_when_closed(void **state) {
  (void)state;
  la_sig_t sig = {.kind = LA_SIG_EXIT};
  la_slot_t *s;
  bool no_memory;
  const la_id_t id = la_pidtab_take(table, LA_SLOT_PROC, &s, &no_memory);
  assert_int_equal(la_slot_push(s, &sig), LA_PUSH_CLOSED);
  la_slot_publish(s, id);
  assert_int_equal(la_slot_push(s, &sig), LA_PUSH_OK);
  assert_true(la_slot_has_signals(s));
  assert_ptr_equal(la_slot_close(s), &sig);
  assert_int_equal(la_slot_push(s, &sig), LA_PUSH_CLOSED);
  assert_false(la_slot_has_signals(s));
  assert_null(la_slot_close(s));
  give(s, id);
}

static void gives_signals_oldest_first(void **state) {
  (void)state;
  la_sig_t sigs[10];
  la_slot_t *s;
  const la_id_t id = take(LA_SLOT_PROC, &s);
  assert_null(la_slot_take(s));
  for (size_t i = 0; i < COUNT(sigs); i++) {
    assert_int_equal(la_slot_push(s, &sigs[i]), LA_PUSH_OK);
  }
  la_sig_t *sig = la_slot_take(s);
  for (size_t i = 0; i < COUNT(sigs); i++, sig = sig->next) {
    assert_ptr_equal(sig, &sigs[i]);
  }
  assert_null(sig);
  assert_null(la_slot_take(s));
  give(s, id);
}

static void wakes_once_per_park(void **state) {
  (void)state;
  la_sig_t a, b;
  la_slot_t *s;
  const la_id_t id = take(LA_SLOT_PROC, &s);
  la_slot_push(s, &a);
  assert_false(la_slot_park(s)); /* there is something to take first */
  assert_ptr_equal(la_slot_take(s), &a);
  assert_true(la_slot_park(s));
  assert_false(la_slot_has_signals(s));
  assert_int_equal(la_slot_push(s, &a), LA_PUSH_WAKE);
  assert_int_equal(la_slot_push(s, &b), LA_PUSH_OK);
  la_sig_t *sig = la_slot_take(s);
  assert_ptr_equal(sig, &a);
  assert_ptr_equal(sig->next, &b);
  assert_null(b.next);
  assert_true(la_slot_park(s));
  give(s, id); /* parked to the end */
}

enum { SENDERS = 4, EACH = 20000 };

typedef struct {
  la_sig_t sig;
  uint32_t sender, number;
} counted_t;

static struct {
  la_slot_t *slot;
  sem_t wake;
  _Atomic uint64_t wakes;
  counted_t *sigs;
} race;

static void *sender_main(void *arg) {
  counted_t *own = arg;
  for (uint32_t i = 0; i < EACH; i++) {
    switch (la_slot_push(race.slot, &own[i].sig)) {
      case LA_PUSH_WAKE:
        atomic_fetch_add(&race.wakes, 1);
        sem_post(&race.wake);
        break;
      case LA_PUSH_CLOSED:
        abort();
      case LA_PUSH_OK:
        break;
    }
  }
  return NULL;
}

/* The taker sleeps only after it has parked: a wake-up that is missing leaves
 * it asleep, one too many is counted. */
static void loses_no_signal_and_no_wake_up(void **state) {
  (void)state;
  const la_id_t id = take(LA_SLOT_PROC, &race.slot);
  race.sigs = calloc(SENDERS * EACH, sizeof *race.sigs);
  sem_init(&race.wake, 0, 0);
  atomic_store(&race.wakes, 0);
  pthread_t threads[SENDERS];
  for (uint32_t t = 0; t < SENDERS; t++) {
    counted_t *own = race.sigs + t * EACH;
    for (uint32_t i = 0; i < EACH; i++) {
      own[i].sender = t;
      own[i].number = i;
    }
    assert_int_equal(pthread_create(&threads[t], NULL, sender_main, own), 0);
  }
  uint32_t next[SENDERS] = {0};
  uint64_t parks = 0;
  for (uint32_t got = 0; got < SENDERS * EACH;) {
    la_sig_t *sig = la_slot_take(race.slot);
    for (; sig != NULL; sig = sig->next, got++) {
      const counted_t *c = (const counted_t *)sig;
      assert_int_equal(c->number, next[c->sender]); /* order of each sender */
      next[c->sender]++;
    }
    if (got < SENDERS * EACH && la_slot_park(race.slot)) {
      parks++;
      while (sem_wait(&race.wake) != 0) {
      }
    }
  }
  for (int t = 0; t < SENDERS; t++) {
    pthread_join(threads[t], NULL);
  }
  assert_int_equal(atomic_load(&race.wakes), parks);
  assert_null(la_slot_take(race.slot));
  give(race.slot, id);
  sem_destroy(&race.wake);
  free(race.sigs);
}

/* Slots change their users while others push to whoever lives there. */
static _Atomic(la_slot_t *) shared_slot;
static _Atomic bool leave;

static void *stray_main(void *arg) {
  uint64_t *refused = arg;
  la_sig_t *sig = calloc(1, sizeof *sig);
  while (!atomic_load(&leave)) {
    if (la_slot_push(atomic_load(&shared_slot), sig) == LA_PUSH_CLOSED) {
      ++*refused;
    } else {
      sig = calloc(1, sizeof *sig);
    }
  }
  free(sig);
  return NULL;
}

static uint64_t free_all(la_sig_t *sig) {
  uint64_t n = 0;
  while (sig != NULL) {
    la_sig_t *next = sig->next;
    free(sig);
    sig = next;
    n++;
  }
  return n;
}

static void may_be_pushed_to_whoever_lives_there(void **state) {
  (void)state;
  pthread_t threads[2];
  uint64_t refused[2] = {0};
  la_slot_t *s;
  la_id_t id = take(LA_SLOT_PROC, &s);
  atomic_store(&leave, false);
  atomic_store(&shared_slot, s);
  for (int t = 0; t < 2; t++) {
    pthread_create(&threads[t], NULL, stray_main, &refused[t]);
  }
  uint64_t got = 0;
  for (int i = 0; i < 5000 || got == 0; i++) {
    got += free_all(la_slot_take(s));
    atomic_store(&s->id, LA_NO_ID);
    got += free_all(la_slot_close(s));
    la_pidtab_give(table, s, la_id_slot(id));
    id = take(LA_SLOT_PROC, &s);
    atomic_store(&shared_slot, s);
  }
  atomic_store(&leave, true);
  for (int t = 0; t < 2; t++) {
    pthread_join(threads[t], NULL);
  }
  /* What came last went to a slot that has been left, or to this one. */
  for (uint32_t i = 0; i < la_pidtab_size(table); i++) {
    got += free_all(la_slot_close(la_pidtab_at(table, i)));
  }
  give(s, id);
}

/* ---- room -------------------------------------------------------------------- */

static void counts_messages_up_to_the_limit(void **state) {
  (void)state;
  la_slot_t *s;
  bool counted;
  const la_id_t id = take(LA_SLOT_PROC, &s);
  assert_true(la_room_take(s, id, &counted));
  assert_false(counted); /* no limit */
  atomic_store(&s->limit, 2);
  for (int i = 0; i < 2; i++) {
    assert_true(la_room_take(s, id, &counted));
    assert_true(counted);
  }
  assert_false(la_room_take(s, id, &counted));
  assert_int_equal(la_room_count(s), 2);
  la_room_give(s);
  assert_true(la_room_take(s, id, &counted));
  assert_int_equal(la_room_count(s), 2);
  give(s, id);
}

static void does_not_count_for_who_lived_there_before(void **state) {
  (void)state;
  la_slot_t *s;
  bool counted;
  la_id_t old = take(LA_SLOT_PROC, &s);
  /* The same body a use later: what take makes of this slot when its turn
   * comes again. */
  give(s, old);
  la_id_t id;
  la_slot_t *again;
  do {
    id = take(LA_SLOT_PROC, &again);
    if (again != s) {
      give(again, id);
    }
  } while (again != s);
  atomic_store(&s->limit, 1);
  assert_int_equal(la_id_slot(id), la_id_slot(old));
  assert_true(la_room_take(s, old, &counted));
  assert_false(counted);
  assert_int_equal(la_room_count(s), 0);
  assert_true(la_room_take(s, id, &counted));
  assert_true(counted);
  assert_true(la_room_take(s, old, &counted)); /* full, but not for this one */
  assert_false(counted);
  give(s, id);
}

static _Atomic uint32_t rooms;

static void *room_main(void *arg) {
  const la_id_t id = *(la_id_t *)arg;
  la_slot_t *s = la_pidtab_slot(table, id);
  bool counted;
  for (int i = 0; i < 10000; i++) {
    if (la_room_take(s, id, &counted)) {
      const uint32_t n = atomic_fetch_add(&rooms, 1) + 1;
      if (!counted || n > 3) {
        abort();
      }
      atomic_fetch_sub(&rooms, 1);
      la_room_give(s);
    }
  }
  return NULL;
}

static void never_lets_in_more_than_the_limit(void **state) {
  (void)state;
  la_slot_t *s;
  la_id_t id = take(LA_SLOT_PROC, &s);
  atomic_store(&s->limit, 3);
  pthread_t threads[4];
  for (int t = 0; t < 4; t++) {
    pthread_create(&threads[t], NULL, room_main, &id);
  }
  for (int t = 0; t < 4; t++) {
    pthread_join(threads[t], NULL);
  }
  assert_int_equal(la_room_count(s), 0);
  give(s, id);
}

int main(void) {
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
  const struct CMUnitTest tests[] = {
      TEST(leads_from_a_pid_to_its_slot),
      TEST(knows_no_slot_of_foreign_identities),
      TEST(keeps_to_the_limit_of_processes),
      TEST(lets_slots_rest_and_counts_their_uses),
#ifdef LUACTOR_FAIL_ALLOC
      TEST(says_when_memory_is_short),
#endif
      TEST(opens_when_published_and_refuses_when_closed),
      TEST(gives_signals_oldest_first),
      TEST(wakes_once_per_park),
      TEST(loses_no_signal_and_no_wake_up),
      TEST(may_be_pushed_to_whoever_lives_there),
      TEST(counts_messages_up_to_the_limit),
      TEST(does_not_count_for_who_lived_there_before),
      TEST(never_lets_in_more_than_the_limit),
  };
#undef TEST
  return cmocka_run_group_tests_name("pidtab", tests, NULL, NULL);
}
