/* SPDX-License-Identifier: MIT
 *
 * A race of a few threads, and perhaps the test's own, that all start from one line: each arrives, waits for the
 * others, and then for a random number of turns of its own, so that over many rounds every order comes up.
 */
#ifndef UVFLOW_TEST_RACE_H
#define UVFLOW_TEST_RACE_H

#include <stdatomic.h>

#include "parity.h"

#define RACE_MAX 4

typedef struct race_s race_t;

typedef struct racer_s {
  race_t *race;
  void (*fn)(void *arg);
  void *arg;
  unsigned int delay;
  uv_thread_t thread;
} racer_t;

struct race_s {
  atomic_int here;
  int parties;
  int started;
  racer_t racers[RACE_MAX];
};

static inline void race_init(race_t *race, int parties) {
  atomic_init(&race->here, 0);
  race->parties = parties;
  race->started = 0;
}

/* The line. The thread that calls race_init may be one of the parties. */
static inline void race_meet(race_t *race, unsigned int delay) {
  unsigned int spins = 0;
  atomic_fetch_add(&race->here, 1);
  while (atomic_load(&race->here) < race->parties) {
    if (++spins % 4096 == 0) uv_sleep(0); /* gives way where there are fewer cores than parties */
  }
  for (volatile unsigned int i = 0; i < delay; i++) {}
}

static inline void racer_main(void *arg) {
  racer_t *racer = arg;
  race_meet(racer->race, racer->delay);
  racer->fn(racer->arg);
}

static inline void race_add(race_t *race, void (*fn)(void *), void *arg, unsigned int delay) {
  racer_t *racer = &race->racers[race->started++];
  racer->race = race;
  racer->fn = fn;
  racer->arg = arg;
  racer->delay = delay;
  if (uv_thread_create(&racer->thread, racer_main, racer) != 0) fail_msg("no thread");
}

static inline void race_join(race_t *race) {
  for (int i = 0; i < race->started; i++) uv_thread_join(&race->racers[i].thread);
}

/* Between none and a few microseconds. */
static inline unsigned int race_delay(uint64_t *seed) { return (unsigned int)(test_rand(seed) % 2000); }

/* Runs fn(arg) on a thread of its own and waits for its end: one order of a race, forced. */
static inline void run_on_thread(void (*fn)(void *), void *arg) {
  uv_thread_t thread;
  assert_int_equal(uv_thread_create(&thread, fn, arg), 0);
  uv_thread_join(&thread);
}

#endif
