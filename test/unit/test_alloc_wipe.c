/* SPDX-License-Identifier: MIT
 *
 * An allocator of the user's may do with a block what it likes once it has it back: here it wipes every block before it
 * frees it. Under AddressSanitizer that shows whether the library left parts of one poisoned. A program of its own, as
 * the allocator can be replaced once only.
 */
#include <stdatomic.h>

#include "probe.h"

#define HEAD 64 /* the size stands before the block; keeps malloc's alignment */

static atomic_size_t live, wiped;

static void *wiping_malloc(size_t size) {
  char *raw = malloc(HEAD + size);
  if (raw == NULL) return NULL;
  memcpy(raw, &size, sizeof size);
  atomic_fetch_add(&live, 1);
  return raw + HEAD;
}

static void wiping_free(void *block) {
  char *raw = (char *)block - HEAD;
  size_t size;
  memcpy(&size, raw, sizeof size);
  memset(block, 0, size);
  atomic_fetch_sub(&live, 1);
  atomic_fetch_add(&wiped, size);
  free(raw);
}

enum { MANY = 4000, ROUNDS = 3 };

static void a_replaced_allocator_may_wipe_what_it_gets_back(void **state) {
  static uvf_ctx_t *ctx[MANY];
  static const int key;
  (void)state;
  for (int kind = 0; kind < (int)ARRAY_SIZE(kinds); kind++) {
    uv_loop_t loop;
    uvf_ctx_t *root;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uvf_ctx_background(&loop, &root), 0);
    for (int round = 0; round < ROUNDS; round++) { /* more slabs than are kept empty; every second one freed first */
      for (int i = 0; i < MANY; i++) assert_int_equal(kinds[kind].derive(root, &ctx[i]), 0);
      for (int i = 0; i < MANY; i += 2) uvf_ctx_release(ctx[i]);
      for (int i = 1; i < MANY; i += 2) uvf_ctx_release(ctx[i]);
    }
    for (int i = 0; i < MANY / 2; i++) ctx[i] = value_of(root, &key, &loop, NULL);
    uvf_ctx_close(root, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    for (int i = 0; i < MANY / 2; i++) uvf_ctx_release(ctx[i]); /* the last gives the slabs back */
    assert_int_equal(atomic_load(&live), 0);
  }
  assert_true(atomic_load(&wiped) > MANY * sizeof(void *));
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(a_replaced_allocator_may_wipe_what_it_gets_back)};
  if (uvf_replace_allocator(wiping_malloc, wiping_free) != 0) return 1;
  return cmocka_run_group_tests(tests, NULL, NULL);
}
