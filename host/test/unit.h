/* What the unit tests of the core's structures share: cmocka with the headers
 * that it wants, and random numbers whose seed is printed, so that a failure
 * can be had again with LUACTOR_TEST_SEED. */
#ifndef LA_TEST_UNIT_H
#define LA_TEST_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT(list) (sizeof(list) / sizeof(list)[0])

static uint64_t random_state;

/* xorshift64*; see Marsaglia, "Xorshift RNGs", 2003. */
static inline uint64_t random_bits(void) {
  random_state ^= random_state >> 12;
  random_state ^= random_state << 25;
  random_state ^= random_state >> 27;
  return random_state * UINT64_C(0x2545F4914F6CDD1D);
}

static inline uint64_t random_below(uint64_t n) {
  return random_bits() % n;
}

/* Call first in each random test. */
static inline void seed_random(const char *test) {
  const char *given = getenv("LUACTOR_TEST_SEED");
  random_state = given != NULL ? strtoull(given, NULL, 10)
                               : (uint64_t)time(NULL) * 2654435761u + 1;
  if (random_state == 0) {
    random_state = 1;
  }
  print_message("%s: LUACTOR_TEST_SEED=%llu\n", test,
                (unsigned long long)random_state);
}

#endif
