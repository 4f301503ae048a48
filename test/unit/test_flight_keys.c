/* SPDX-License-Identifier: MIT
 *
 * Single flight: what a key is, many of them, misuse, and without memory.
 */
#include "unit/test_flight.h"

/* --- keys --- */

static void keys_are_their_bytes_and_their_length(void **state) {
  fixture_t *f = *state;
  static const struct {
    const char *key;
    size_t len;
  } rows[] = {{"", 0},         {"\0", 1},       {"\0\0", 2},       {"a", 1},         {"a\0", 2}, {"ab", 2},
              {"abcdefgh", 8}, {"abcdefgi", 8}, {"abcdefgh\0", 9}, {"abcdefghi", 9}, {"A", 1},   {"\xff\xff", 2}};
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[ARRAY_SIZE(rows)][2];
  flight_open(&flight, f->root);
  for (int twice = 0; twice < 2; twice++) {
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
      assert_int_equal(ask_len(&callers[i][twice], f->root, &flight, rows[i].key, rows[i].len, &desk), 0);
  }
  await_started(f, &desk, (int)ARRAY_SIZE(rows));
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    size_t len;
    const void *key = uvf_flight_key(desk.calls[i], &len);
    assert_int_equal(len, rows[i].len);
    assert_int_equal(memcmp(key, rows[i].key, len), 0);
    assert_int_equal(uvf_flight_end(desk.calls[i], 0, &callers[i], NULL), 0);
  }
  turn(&f->loop);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    for (int twice = 0; twice < 2; twice++) assert_answered(&callers[i][twice], 0, &callers[i], 1);
  }
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void keep_call(uvf_flight_call_t *call, void *arg) {
  uvf_flight_call_t **calls = arg;
  int number;
  memcpy(&number, uvf_flight_key(call, NULL), sizeof number);
  calls[number] = call;
}

/* n executions at once, ended in another order than they began; each has two callers. */
static void run_many(fixture_t *f, int n) {
  uvf_flight_t flight;
  uvf_flight_call_t **calls = calloc((size_t)n, sizeof(void *));
  caller_t *callers = calloc(2 * (size_t)n, sizeof *callers);
  unsigned char key[200] = {0};
  assert_non_null(calls);
  assert_non_null(callers);
  flight_open(&flight, f->root);
  for (int i = 0; i < 2 * n; i++) {
    int number = i % n;
    memcpy(key, &number, sizeof number);
    note_init(&callers[i].note, i, NULL);
    assert_int_equal(
        uvf_flight_do(f->root, &callers[i].note.wait, &flight, key, sizeof key, keep_call, calls, on_result), 0);
  }
  for (int i = 0; i < n; i++) {
    if (i % 64 == 0) turn(&f->loop);
  }
  for (int k = 0; k < 7; k++) {
    for (int i = k; i < n; i += 7) {
      assert_non_null(calls[i]);
      assert_int_equal(uvf_flight_end(calls[i], 0, &calls[i], NULL), 0);
    }
  }
  for (int i = 0; i < 2 * n; i++) run_until(&f->loop, &callers[i].note.calls, 1);
  for (int i = 0; i < 2 * n; i++) assert_answered(&callers[i], 0, &calls[i % n], 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
  free(callers);
  free(calls);
}

static void many_keys_at_once_are_kept_apart(void **state) {
  static const int rows[] = {1, 15, 16, 17, 33, 3000};
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) run_many(*state, rows[i]);
}

/* --- misuse and memory --- */

static void destroy_it(void *arg) { (void)uvf_flight_destroy(arg); }

static void destroying_one_with_an_execution_under_way_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t caller;
  flight_open(&flight, f->root);
  ask(&caller, f->root, &flight, "a", &desk);
  await_started(f, &desk, 1);
  assert_int_equal(uvf_flight_forget(&flight, "a", 1), 1); /* it is still under way */
  if (test_rules_on()) {
    const char *rule = test_expect_rule(destroy_it, &flight);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_flight_destroy: ", strlen("uvf_flight_destroy: "));
  } else {
    assert_int_equal(uvf_flight_destroy(&flight), UV_EBUSY);
  }
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, NULL, NULL), 0);
  run_until(&f->loop, &caller.note.calls, 1);
  assert_answered(&caller, 0, NULL, 0);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

typedef struct again_s {
  uvf_ctx_t *ctx;
  uvf_flight_t *flight;
  caller_t caller;
  desk_t desk;
} again_t;

static void do_again(void *arg) {
  again_t *again = arg;
  (void)uvf_flight_do(again->ctx, &again->caller.note.wait, again->flight, "b", 1, on_start, &again->desk, on_result);
}

static void a_wait_that_is_started_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  again_t again = {.ctx = f->root, .flight = &flight};
  flight_open(&flight, f->root);
  ask(&again.caller, f->root, &flight, "a", &again.desk);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(do_again, &again);
    assert_non_null(rule);
    assert_memory_equal(rule, "uvf_flight_do: ", strlen("uvf_flight_do: "));
  }
  await_started(f, &again.desk, 1);
  assert_int_equal(uvf_flight_end(again.desk.calls[0], 0, NULL, NULL), 0);
  run_until(&f->loop, &again.caller.note.calls, 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void null_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  uvf_wait_t wait;
  size_t len = 1;
  assert_int_equal(uvf_flight_init(NULL, f->root), UV_EINVAL);
  assert_int_equal(uvf_flight_init(&flight, NULL), UV_EINVAL);
  flight_open(&flight, f->root);
  assert_int_equal(uvf_flight_do(NULL, &wait, &flight, "a", 1, on_start, NULL, on_result), UV_EINVAL);
  assert_int_equal(uvf_flight_do(f->root, NULL, &flight, "a", 1, on_start, NULL, on_result), UV_EINVAL);
  assert_int_equal(uvf_flight_do(f->root, &wait, NULL, "a", 1, on_start, NULL, on_result), UV_EINVAL);
  assert_int_equal(uvf_flight_do(f->root, &wait, &flight, NULL, 1, on_start, NULL, on_result), UV_EINVAL);
  assert_int_equal(uvf_flight_do(f->root, &wait, &flight, "a", 1, NULL, NULL, on_result), UV_EINVAL);
  assert_int_equal(uvf_flight_do(f->root, &wait, &flight, "a", 1, on_start, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_flight_end(NULL, 0, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_flight_forget(NULL, "a", 1), 0);
  assert_int_equal(uvf_flight_forget(&flight, NULL, 1), 0);
  assert_int_equal(uvf_flight_is_shared(NULL), 0);
  assert_null(uvf_flight_key(NULL, &len));
  assert_int_equal(len, 0);
  assert_null(uvf_flight_key(NULL, NULL));
  assert_null(uvf_flight_ctx(NULL));
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uvf_flight_destroy(NULL), UV_EINVAL);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void each_allocation_that_fails_changes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[20];
  size_t blocks = test_alloc_live();
  int failures = 0, refused = 0;
  for (size_t n = 1;; n++) {
    int err;
    test_alloc_fail_at(n);
    err = uvf_flight_init(&flight, f->root);
    if (!test_alloc_failed()) break;
    assert_int_equal(err, UV_ENOMEM);
    assert_int_equal(test_alloc_live(), blocks);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(failures, 1);
  for (int i = 0; i < 20; i++) { /* the seventeenth grows the table: it can do without */
    for (size_t n = 1;; n++) {
      char key[2] = {'k', (char)i};
      int err;
      blocks = test_alloc_live();
      test_alloc_fail_at(n);
      err = ask_len(&callers[i], f->root, &flight, key, 2, &desk);
      if (err == 0) break;
      assert_int_equal(test_alloc_failed(), 1);
      assert_int_equal(err, UV_ENOMEM);
      assert_int_equal(test_alloc_live(), blocks);
      assert_int_equal(stats_of(f->root).ops, 2 * (uint64_t)i); /* waits and starts of those before */
      assert_int_equal(uvf_flight_forget(&flight, key, 2), 0);
      refused++;
    }
    test_alloc_fail_at(0);
  }
  assert_int_equal(refused, 20);
  await_started(f, &desk, 20);
  for (int i = 0; i < 20; i++) {
    caller_t joins;
    char key[2] = {'k', (char)i};
    test_alloc_fail_at(1); /* to join needs none, nor to end */
    assert_int_equal(ask_len(&joins, f->root, &flight, key, 2, &desk), 0);
    assert_int_equal(uvf_flight_end(desk.calls[i], 0, &callers[i], NULL), 0);
    run_ready(&f->loop);
    assert_int_equal(test_alloc_failed(), 0);
    test_alloc_fail_at(0);
    assert_answered(&joins, 0, &callers[i], 1);
    assert_answered(&callers[i], 0, &callers[i], 1);
  }
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(keys_are_their_bytes_and_their_length),
      unit(many_keys_at_once_are_kept_apart),
      unit(destroying_one_with_an_execution_under_way_is_misuse),
      unit(a_wait_that_is_started_twice_is_misuse),
      unit(null_arguments_are_refused),
      unit(each_allocation_that_fails_changes_nothing),
  };
  return test_run(tests);
}
