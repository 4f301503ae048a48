/* SPDX-License-Identifier: MIT
 *
 * The timing wheel of lib/kernel/deadline.c against a plain array: same deadlines, clock passed in.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/deadline.h"

#define TICK_NS (UINT64_C(1) << 20)

typedef struct model_s {
  uvf__deadline_t d;
  int armed;
} model_t;

static model_t *model_of(uvf__link_t *link) {
  return UVF__CONTAINER(UVF__CONTAINER(link, uvf__deadline_t, link), model_t, d);
}

/* Runs the wheel at now and checks that exactly the due ones of the model come; returns how many. */
static size_t run_and_check(uvf__wheel_t *w, model_t *m, size_t n, uint64_t now_ns) {
  uvf__link_t *due = NULL;
  size_t got = 0;
  uvf__wheel_run(w, now_ns, &due);
  while (due != NULL) {
    model_t *one = model_of(due);
    assert_true(one->armed);
    assert_true(one->d.at_ns <= now_ns); /* never early */
    uvf__wheel_disarm(w, &one->d);
    one->armed = 0;
    got++;
  }
  for (size_t i = 0; i < n; i++) assert_true(!m[i].armed || m[i].d.at_ns > now_ns); /* none forgotten */
  return got;
}

static size_t count_armed(const model_t *m, size_t n) {
  size_t armed = 0;
  for (size_t i = 0; i < n; i++) armed += (size_t)m[i].armed;
  return armed;
}

static uint64_t earliest(const model_t *m, size_t n) {
  uint64_t min = UINT64_MAX;
  for (size_t i = 0; i < n; i++) {
    if (m[i].armed && m[i].d.at_ns < min) min = m[i].d.at_ns;
  }
  return min;
}

static void arm(uvf__wheel_t *w, model_t *m, uint64_t at_ns) {
  uint64_t wake;
  m->d.at_ns = at_ns;
  m->armed = 1;
  wake = uvf__wheel_arm(w, &m->d);
  assert_true(wake <= at_ns); /* woken then, the wheel can still be in time */
}

static void random_deadlines_come_exactly_when_due_and_next_is_never_late(void **state) {
  uint64_t seed = test_seed();
  uint64_t now_ns = test_rand(&seed) >> 8;
  static uvf__wheel_t w;
  enum { N = 300 };
  static model_t m[N];
  (void)state;
  memset(m, 0, sizeof m);
  uvf__wheel_init(&w, now_ns);
  for (int step = 0; step < 30000; step++) {
    model_t *one = &m[test_rand(&seed) % N];
    uint64_t next;
    if (one->armed) {
      if (test_rand(&seed) % 3 == 0) {
        uvf__wheel_disarm(&w, &one->d);
        one->armed = 0;
      }
    } else {
      unsigned int bits = (unsigned int)(test_rand(&seed) % 44); /* from ns to hours, each scale alike */
      arm(&w, one, now_ns + 1 + (test_rand(&seed) & ((UINT64_C(1) << bits) - 1)));
    }
    assert_int_equal(w.armed, count_armed(m, N));
    next = uvf__wheel_next(&w);
    assert_true(next <= earliest(m, N)); /* whoever sleeps until next is not late */
    assert_true((next == UINT64_MAX) == (w.armed == 0));
    switch (test_rand(&seed) % 8) {
      case 0: now_ns += test_rand(&seed) % TICK_NS; break;
      case 1: now_ns += test_rand(&seed) % (TICK_NS * 100); break;
      case 2: now_ns = next != UINT64_MAX && next > now_ns ? next : now_ns; break; /* exactly at a wake-up */
      case 3: now_ns += (test_rand(&seed) % 50 == 0) ? test_rand(&seed) % (UINT64_C(1) << 42) : 0; break;
      default: break;
    }
    run_and_check(&w, m, N, now_ns);
  }
  run_and_check(&w, m, N, now_ns + (UINT64_C(1) << 50));
  assert_int_equal(w.armed, 0);
}

static void due_ones_of_different_ticks_come_in_order_of_time(void **state) {
  static uvf__wheel_t w;
  static model_t m[500];
  uvf__link_t *due = NULL;
  uint64_t last_tick = 0;
  (void)state;
  uvf__wheel_init(&w, 7 * TICK_NS);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) arm(&w, &m[i], 7 * TICK_NS + (i * 7919 % 500) * TICK_NS * 3);
  uvf__wheel_run(&w, 10000 * TICK_NS, &due);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) {
    assert_non_null(due);
    assert_true(model_of(due)->d.at_ns / TICK_NS >= last_tick);
    last_tick = model_of(due)->d.at_ns / TICK_NS;
    uvf__wheel_disarm(&w, &model_of(due)->d);
  }
  assert_null(due);
  assert_int_equal(w.armed, 0);
}

static void those_of_one_tick_come_in_the_order_they_were_armed(void **state) {
  static uvf__wheel_t w;
  static model_t m[10];
  uvf__link_t *due = NULL;
  (void)state;
  uvf__wheel_init(&w, 0);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) arm(&w, &m[i], 5 * TICK_NS + 10);
  uvf__wheel_run(&w, 5 * TICK_NS + 9, &due);
  assert_null(due); /* its tick, but not yet its time */
  uvf__wheel_run(&w, 5 * TICK_NS + 10, &due);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) {
    assert_ptr_equal(model_of(due), &m[i]);
    uvf__wheel_disarm(&w, &m[i].d);
  }
}

static void one_on_the_due_list_can_be_disarmed_in_any_order(void **state) {
  static uvf__wheel_t w;
  static model_t m[6];
  static const int order[] = {3, 0, 5, 1, 4, 2};
  uvf__link_t *due = NULL;
  (void)state;
  uvf__wheel_init(&w, 0);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) arm(&w, &m[i], TICK_NS + i);
  uvf__wheel_run(&w, 3 * TICK_NS, &due);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) {
    uvf__wheel_disarm(&w, &m[order[i]].d);
    assert_int_equal(w.armed, ARRAY_SIZE(m) - 1 - i);
  }
  assert_null(due);
  assert_int_equal(uvf__wheel_next(&w), UINT64_MAX);
}

static void a_deadline_beyond_the_reach_of_the_wheel_is_not_armed(void **state) {
  static uvf__wheel_t w;
  uvf__deadline_t d = {{NULL, NULL}, UINT64_MAX - 1};
  (void)state;
  uvf__wheel_init(&w, 0);
  assert_int_equal(uvf__wheel_arm(&w, &d), UINT64_MAX);
  assert_null(d.link.prev);
  assert_int_equal(w.armed, 0);
  d.at_ns = (UINT64_C(1) << 62) - 1; /* the last one it reaches */
  assert_int_not_equal(uvf__wheel_arm(&w, &d), UINT64_MAX);
  assert_int_equal(w.armed, 1);
  uvf__wheel_disarm(&w, &d);
  assert_int_equal(uvf__wheel_next(&w), UINT64_MAX);
}

static void a_crowd_in_one_tick_asks_to_be_looked_at_when_the_tick_begins(void **state) {
  static uvf__wheel_t w;
  static model_t m[1000];
  uvf__link_t *due = NULL;
  size_t got = 0;
  (void)state;
  uvf__wheel_init(&w, 0);
  for (size_t i = 0; i < ARRAY_SIZE(m); i++) arm(&w, &m[i], 9 * TICK_NS + 1000 + i);
  assert_true(uvf__wheel_next(&w) <= 9 * TICK_NS + 1000);
  for (uint64_t now = 9 * TICK_NS; now < 10 * TICK_NS + 2000; now += 1000) {
    got += run_and_check(&w, m, ARRAY_SIZE(m), now);
  }
  (void)due;
  assert_int_equal(got, ARRAY_SIZE(m));
}

static void time_that_stands_still_or_goes_back_gives_nothing_twice(void **state) {
  static uvf__wheel_t w;
  model_t m = {{{NULL, NULL}, 0}, 0};
  (void)state;
  uvf__wheel_init(&w, 50 * TICK_NS);
  arm(&w, &m, 60 * TICK_NS);
  assert_int_equal(run_and_check(&w, &m, 1, 55 * TICK_NS), 0);
  assert_int_equal(run_and_check(&w, &m, 1, 52 * TICK_NS), 0);
  assert_int_equal(run_and_check(&w, &m, 1, 60 * TICK_NS), 1);
  assert_int_equal(run_and_check(&w, &m, 1, 60 * TICK_NS), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_deadlines_come_exactly_when_due_and_next_is_never_late),
      cmocka_unit_test(due_ones_of_different_ticks_come_in_order_of_time),
      cmocka_unit_test(those_of_one_tick_come_in_the_order_they_were_armed),
      cmocka_unit_test(one_on_the_due_list_can_be_disarmed_in_any_order),
      cmocka_unit_test(a_deadline_beyond_the_reach_of_the_wheel_is_not_armed),
      cmocka_unit_test(a_crowd_in_one_tick_asks_to_be_looked_at_when_the_tick_begins),
      cmocka_unit_test(time_that_stands_still_or_goes_back_gives_nothing_twice),
  };
  return test_run(tests);
}
