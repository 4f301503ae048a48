/* SPDX-License-Identifier: MIT
 *
 * The slabs of lib/kernel/alloc.c: every block its own, memory given back after a burst, failure changes nothing.
 */
#include "kernel/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { SLAB = 64, KEPT = 16 }; /* blocks in a slab; empty slabs kept */

typedef struct block_s {
  unsigned char *p;
  uint16_t index;
} block_t;

static void blocks_are_distinct_and_aligned_and_hold_what_is_written(void **state) {
  enum { N = 1000, SIZE = 130 };
  static block_t b[N];
  uvf__pool_t pool;
  (void)state;
  uvf__pool_init(&pool, SIZE);
  assert_int_equal(pool.size, 192);
  for (size_t i = 0; i < N; i++) {
    b[i].p = uvf__pool_alloc(&pool, &b[i].index);
    assert_non_null(b[i].p);
    assert_int_equal((uintptr_t)b[i].p % 64, 0);
    memset(b[i].p, (int)(i & 0xff), SIZE);
  }
  for (size_t i = 0; i < N; i++) {
    for (size_t k = 0; k < SIZE; k++) assert_int_equal(b[i].p[k], i & 0xff);
  }
  for (size_t i = 0; i < N; i++) uvf__pool_free(&pool, b[i].p, b[i].index);
  uvf__pool_destroy(&pool);
}

static void a_random_life_never_hands_out_a_block_twice(void **state) {
  enum { N = 700, SIZE = 64 };
  static block_t b[N];
  uint64_t seed = test_seed();
  uvf__pool_t pool;
  size_t live_before = test_alloc_live();
  (void)state;
  memset(b, 0, sizeof b);
  uvf__pool_init(&pool, SIZE);
  for (int step = 0; step < 100000; step++) {
    size_t i = test_rand(&seed) % N;
    if (b[i].p == NULL) {
      b[i].p = uvf__pool_alloc(&pool, &b[i].index);
      assert_non_null(b[i].p);
      memcpy(b[i].p, &i, sizeof i);
    } else {
      size_t mark;
      memcpy(&mark, b[i].p, sizeof mark);
      assert_int_equal(mark, i); /* nobody else wrote there */
      uvf__pool_free(&pool, b[i].p, b[i].index);
      b[i].p = NULL;
    }
  }
  for (size_t i = 0; i < N; i++) {
    if (b[i].p != NULL) uvf__pool_free(&pool, b[i].p, b[i].index);
  }
  uvf__pool_destroy(&pool);
  assert_int_equal(test_alloc_live(), live_before);
}

static void a_burst_goes_back_to_the_system_but_for_a_few_slabs(void **state) {
  enum { SLABS = 100, N = SLABS * SLAB };
  static block_t b[N];
  uvf__pool_t pool;
  size_t live_before = test_alloc_live();
  (void)state;
  uvf__pool_init(&pool, 128);
  for (size_t i = 0; i < N; i++) b[i].p = uvf__pool_alloc(&pool, &b[i].index);
  assert_int_equal(test_alloc_live() - live_before, SLABS);
  for (size_t i = 0; i < N; i++) uvf__pool_free(&pool, b[i].p, b[i].index);
  assert_int_equal(test_alloc_live() - live_before, KEPT);
  uvf__pool_destroy(&pool);
  assert_int_equal(test_alloc_live(), live_before);
}

static void one_block_taken_and_given_in_turn_allocates_once(void **state) {
  uvf__pool_t pool;
  size_t before;
  (void)state;
  uvf__pool_init(&pool, 128);
  before = test_alloc_count();
  for (int i = 0; i < 10000; i++) {
    uint16_t index;
    void *p = uvf__pool_alloc(&pool, &index);
    assert_non_null(p);
    uvf__pool_free(&pool, p, index);
  }
  assert_int_equal(test_alloc_count() - before, 1);
  uvf__pool_destroy(&pool);
}

static void without_memory_the_pool_stays_as_it_was(void **state) {
  uvf__pool_t pool;
  block_t b[SLAB];
  uint16_t index;
  (void)state;
  uvf__pool_init(&pool, 128);
  test_alloc_fail_at(1);
  assert_null(uvf__pool_alloc(&pool, &index));
  assert_int_equal(test_alloc_failed(), 1);
  for (size_t i = 0; i < SLAB; i++) {
    b[i].p = uvf__pool_alloc(&pool, &b[i].index);
    assert_non_null(b[i].p);
  }
  test_alloc_fail_at(1); /* the first slab is full: the next block needs another */
  assert_null(uvf__pool_alloc(&pool, &index));
  for (size_t i = 0; i < SLAB; i++) uvf__pool_free(&pool, b[i].p, b[i].index);
  test_alloc_fail_at(0);
  uvf__pool_destroy(&pool);
}

static void freeing_null_is_harmless(void **state) {
  size_t before = test_alloc_live();
  (void)state;
  uvf__free(NULL);
  assert_int_equal(test_alloc_live(), before);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(blocks_are_distinct_and_aligned_and_hold_what_is_written),
      cmocka_unit_test(a_random_life_never_hands_out_a_block_twice),
      cmocka_unit_test(a_burst_goes_back_to_the_system_but_for_a_few_slabs),
      cmocka_unit_test(one_block_taken_and_given_in_turn_allocates_once),
      cmocka_unit_test(without_memory_the_pool_stays_as_it_was),
      cmocka_unit_test(freeing_null_is_harmless),
  };
  return test_run(tests);
}
