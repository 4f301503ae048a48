/* SPDX-License-Identifier: MIT
 *
 * The table of who uses a handle (lib/io/user.c): found by handle and kind, newest first, in any size, and with no
 * memory to grow. The handles are addresses: the table never looks behind them.
 */
#include "io/io.h"
#include "unit/io_probe.h"

typedef struct place_s {
  uvf__user_t user;
  int in;
} place_t;

static uvf__hub_t *hub_of_test(void) { return uvf__ctx_hub(io.f->root); }

/* Addresses as of handles: a few hundred bytes apart. */
static const uv_handle_t *handle_at(const char *memory, size_t i) {
  return (const uv_handle_t *)(const void *)(memory + i * 256);
}

static void add(place_t *place, const uv_handle_t *handle, uint32_t kind) {
  assert_int_equal(uvf__users_get(hub_of_test(), "test"), 0);
  uvf__user_add(hub_of_test(), &place->user, handle, kind, (uvf_op_t *)(void *)place);
  place->in = 1;
}

static void take_out(place_t *place) {
  uvf__user_remove(hub_of_test(), &place->user);
  assert_null(place->user.prev);
  uvf__user_remove(hub_of_test(), &place->user); /* harmless */
  place->in = 0;
}

static void nobody_is_found_before_the_first_request_and_where_no_loop_has_a_root(void **state) {
  uv_loop_t other;
  uv_timer_t timer;
  (void)state;
  assert_int_equal(uv_loop_init(&other), 0);
  assert_int_equal(uv_timer_init(&other, &timer), 0);
  assert_null(uvf__user_find(NULL, (uv_handle_t *)&timer, UVF__USER_READ));
  assert_null(uvf__user_find(hub_of_test(), (uv_handle_t *)&timer, UVF__USER_READ));
  uv_close((uv_handle_t *)&timer, NULL);
  uv_run(&other, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&other), 0);
}

static void the_users_of_a_handle_are_found_newest_first_each_kind_by_itself(void **state) {
  enum { N = 9 };
  char memory[512] = {0};
  place_t places[N], other;
  const uv_handle_t *handle = handle_at(memory, 0);
  (void)state;
  for (uint32_t i = 0; i < N; i++) add(&places[i], handle, i % 3);
  add(&other, handle_at(memory, 1), UVF__USER_WRITE);
  for (uint32_t kind = 0; kind < 3; kind++) {
    uvf__user_t *user = uvf__user_find(hub_of_test(), handle, kind);
    for (int i = N - 3 + (int)kind; i >= 0; i -= 3) {
      assert_ptr_equal(user, &places[i].user);
      assert_ptr_equal(user->op, &places[i]);
      user = uvf__user_older(user);
    }
    assert_null(user);
  }
  take_out(&places[4]); /* one in the middle */
  assert_ptr_equal(uvf__user_older(&places[7].user), &places[1].user);
  take_out(&places[7]); /* the newest */
  assert_ptr_equal(uvf__user_find(hub_of_test(), handle, UVF__USER_WRITE), &places[1].user);
  take_out(&places[1]); /* the only one */
  assert_null(uvf__user_find(hub_of_test(), handle, UVF__USER_WRITE));
  assert_ptr_equal(uvf__user_find(hub_of_test(), handle_at(memory, 1), UVF__USER_WRITE), &other.user);
  for (int i = 0; i < N; i++) {
    if (places[i].in) take_out(&places[i]);
  }
  take_out(&other);
}

/* Writers of handle i are places[i], places[i + HANDLES], ...: the newest that is in must be found, and the next. */
enum { HANDLES = 20000, ROUNDS = 3 };

static void check_all(const char *memory, const place_t *places) {
  for (size_t i = 0; i < HANDLES; i++) {
    uvf__user_t *user = uvf__user_find(hub_of_test(), handle_at(memory, i), UVF__USER_WRITE);
    for (int round = ROUNDS - 1; round >= 0; round--) {
      const place_t *place = &places[(size_t)round * HANDLES + i];
      if (!place->in) continue;
      if (user != &place->user) fail_msg("handle %d: another one than that of round %d was found", (int)i, round);
      user = uvf__user_older(user);
    }
    assert_null(user);
  }
}

static void tens_of_thousands_are_found_in_their_order_also_after_many_have_left(void **state) {
  char *memory = malloc((size_t)HANDLES * 256);
  place_t *places = calloc((size_t)HANDLES * ROUNDS, sizeof *places);
  uint64_t seed = test_seed();
  (void)state;
  assert_non_null(memory);
  assert_non_null(places);
  for (size_t i = 0; i < (size_t)HANDLES * ROUNDS; i++)
    add(&places[i], handle_at(memory, i % HANDLES), UVF__USER_WRITE);
  check_all(memory, places);
  for (size_t i = 0; i < (size_t)HANDLES * ROUNDS; i++) {
    if (test_rand(&seed) % 3 != 0) take_out(&places[i]);
  }
  check_all(memory, places);
  for (size_t i = 0; i < (size_t)HANDLES * ROUNDS; i++) {
    if (places[i].in) take_out(&places[i]);
  }
  check_all(memory, places);
  free(places);
  free(memory);
}

static void without_memory_to_grow_it_gets_slower_and_no_more(void **state) {
  enum { MANY = 5000 };
  char *memory = malloc((size_t)MANY * 256);
  place_t *places = calloc(MANY, sizeof *places);
  size_t refused = 0, before;
  (void)state;
  assert_non_null(memory);
  assert_non_null(places);
  add(&places[0], handle_at(memory, 0), UVF__USER_READ);
  before = test_alloc_live();
  for (size_t i = 1; i < MANY; i++) {
    test_alloc_fail_at(1);
    add(&places[i], handle_at(memory, i), UVF__USER_READ);
    refused += (size_t)test_alloc_failed();
    test_alloc_fail_at(0);
  }
  assert_true(refused > 0); /* it has tried */
  assert_int_equal(test_alloc_live(), before);
  for (size_t i = 0; i < MANY; i++)
    assert_ptr_equal(uvf__user_find(hub_of_test(), handle_at(memory, i), UVF__USER_READ), &places[i].user);
  assert_int_equal(uvf__users_get(hub_of_test(), "test"), 0); /* and grows when there is some again */
  for (size_t i = 0; i < MANY; i++) {
    assert_ptr_equal(uvf__user_find(hub_of_test(), handle_at(memory, i), UVF__USER_READ), &places[i].user);
    take_out(&places[i]);
  }
  free(places);
  free(memory);
}

static void a_growing_table_takes_a_number_of_blocks_that_is_logarithmic(void **state) {
  enum { MANY = 40000 };
  char *memory = malloc((size_t)MANY * 64);
  place_t *places = calloc(MANY, sizeof *places);
  size_t before = test_alloc_count(), live = test_alloc_live();
  (void)state;
  assert_non_null(memory);
  assert_non_null(places);
  for (size_t i = 0; i < MANY; i++) add(&places[i], (const uv_handle_t *)(const void *)(memory + i * 64), 0);
  assert_in_range(test_alloc_count() - before, 3, 20);
  assert_int_equal(test_alloc_live() - live, 2); /* the old ones are gone */
  for (size_t i = 0; i < MANY; i++) take_out(&places[i]);
  free(places);
  free(memory);
}

static void without_memory_for_the_first_table_nothing_has_happened(void **state) {
  size_t before = test_alloc_live();
  (void)state;
  for (size_t n = 1; n <= 2; n++) {
    test_alloc_fail_at(n);
    assert_int_equal(uvf__users_get(hub_of_test(), "test"), UV_ENOMEM);
    assert_true(test_alloc_failed());
    test_alloc_fail_at(0);
    assert_int_equal(test_alloc_live(), before);
  }
  assert_int_equal(uvf__users_get(hub_of_test(), "test"), 0);
  assert_int_equal(test_alloc_live(), before + 2);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(nobody_is_found_before_the_first_request_and_where_no_loop_has_a_root),
      unit_io(the_users_of_a_handle_are_found_newest_first_each_kind_by_itself),
      unit_io(tens_of_thousands_are_found_in_their_order_also_after_many_have_left),
      unit_io(without_memory_to_grow_it_gets_slower_and_no_more),
      unit_io(a_growing_table_takes_a_number_of_blocks_that_is_logarithmic),
      unit_io(without_memory_for_the_first_table_nothing_has_happened),
  };
  io_main();
  return test_run(tests);
}
