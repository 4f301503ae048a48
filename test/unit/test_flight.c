/* SPDX-License-Identifier: MIT
 *
 * Single flight on one loop: who joins what, results and when they are freed, every end of a wait, forgetting.
 */
#include "unit/test_flight.h"

/* --- one execution --- */

static void one_caller_gets_the_result_of_an_execution_of_its_own(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t caller;
  result_t result = {0};
  char key[4] = "key";
  size_t len = 0;
  uv_thread_t self = uv_thread_self();
  flight_open(&flight, f->root);
  ask(&caller, f->root, &flight, key, &desk);
  assert_int_equal(desk.started, 0); /* never inside */
  memset(key, 'x', sizeof key);      /* it was copied */
  await_started(f, &desk, 1);
  assert_true(uv_thread_equal(&desk.thread, &self));
  assert_int_equal(memcmp(uvf_flight_key(desk.calls[0], &len), "key", 3), 0);
  assert_int_equal(len, 3);
  assert_ptr_equal(uvf_flight_key(desk.calls[0], NULL), uvf_flight_key(desk.calls[0], &len));
  assert_ptr_equal(uvf_flight_ctx(desk.calls[0]), f->root);
  assert_int_equal(caller.note.calls, 0);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  assert_int_equal(caller.note.calls, 0); /* never inside */
  assert_int_equal(atomic_load(&result.freed), 0);
  run_until(&f->loop, &caller.note.calls, 1);
  assert_answered(&caller, 0, &result, 0);
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void callers_of_one_key_share_one_execution_and_the_first_ones_argument(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0}, unused = {0};
  caller_t callers[6];
  result_t result = {0};
  flight_open(&flight, f->root);
  ask(&callers[0], f->root, &flight, "a", &desk);
  ask(&callers[1], f->root, &flight, "a", &unused); /* before it has started */
  await_started(f, &desk, 1);
  for (int i = 2; i < 6; i++) ask(&callers[i], f->root, &flight, "a", &unused);
  turn(&f->loop);
  assert_int_equal(uvf_flight_end(desk.calls[0], UV_EIO, &result, free_result), 0); /* a value with an error, too */
  run_until(&f->loop, &callers[5].note.calls, 1);
  for (int i = 0; i < 6; i++) assert_answered(&callers[i], UV_EIO, &result, 1);
  assert_int_equal(desk.started, 1);
  assert_int_equal(unused.started, 0);
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void who_asks_after_the_end_starts_another(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[3];
  int one = 1, two = 2;
  flight_open(&flight, f->root);
  ask(&callers[0], f->root, &flight, "a", &desk);
  await_started(f, &desk, 1);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &one, NULL), 0);
  ask(&callers[1], f->root, &flight, "a", &desk); /* before the first one's callback */
  await_started(f, &desk, 2);
  ask(&callers[2], f->root, &flight, "a", &desk);
  assert_int_equal(uvf_flight_end(desk.calls[1], 0, &two, NULL), 0);
  run_until(&f->loop, &callers[2].note.calls, 1);
  assert_answered(&callers[0], 0, &one, 0);
  assert_answered(&callers[1], 0, &two, 1);
  assert_answered(&callers[2], 0, &two, 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void end_at_once(desk_t *desk, uvf_flight_call_t *call) {
  (void)desk;
  if (uvf_flight_end(call, 0, NULL, NULL) != 0) abort();
}

static void an_execution_may_end_where_it_starts(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {.then = end_at_once};
  caller_t callers[2];
  flight_open(&flight, f->root);
  for (int i = 0; i < 2; i++) ask(&callers[i], f->root, &flight, "a", &desk);
  run_until(&f->loop, &callers[1].note.calls, 1);
  for (int i = 0; i < 2; i++) assert_answered(&callers[i], 0, NULL, 1);
  assert_int_equal(desk.started, 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void end_it(void *arg) {
  desk_t *desk = arg;
  if (uvf_flight_end(desk->calls[0], 0, desk, NULL) != 0) abort();
}

static void an_execution_may_be_ended_from_any_thread(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  uv_thread_t self = uv_thread_self();
  flight_open(&flight, f->root);
  for (int i = 0; i < 100; i++) {
    desk_t desk = {0};
    caller_t callers[2];
    uv_thread_t thread;
    for (int k = 0; k < 2; k++) ask(&callers[k], f->root, &flight, "a", &desk);
    await_started(f, &desk, 1);
    assert_int_equal(uv_thread_create(&thread, end_it, &desk), 0);
    run_until(&f->loop, &callers[1].note.calls, 1);
    assert_int_equal(uv_thread_join(&thread), 0);
    for (int k = 0; k < 2; k++) assert_answered(&callers[k], 0, &desk, 1);
    assert_true(uv_thread_equal(&callers[0].note.thread, &self));
  }
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

/* --- results --- */

static void look_at_result(note_t *note) {
  result_t *result = note->value;
  *(int *)note->arg += atomic_load(&result->freed) == 0 ? result->number : 100000;
}

static void a_result_is_freed_once_all_have_returned_from_their_callbacks(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[4];
  result_t result = {.number = 7};
  int sum = 0;
  flight_open(&flight, f->root);
  for (int i = 0; i < 4; i++) {
    ask(&callers[i], f->root, &flight, "a", &desk);
    callers[i].note.then = look_at_result;
    callers[i].note.arg = &sum;
  }
  await_started(f, &desk, 1);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  run_until(&f->loop, &callers[3].note.calls, 1);
  assert_int_equal(sum, 28); /* valid in each of them */
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void a_result_that_nobody_waits_for_is_freed_at_once(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[2];
  result_t result = {0};
  uvf_ctx_t *ctx = child_of(f->root);
  flight_open(&flight, f->root);
  for (int i = 0; i < 2; i++) ask(&callers[i], ctx, &flight, "a", &desk);
  uvf_ctx_cancel(ctx); /* before it has started: it does nevertheless */
  await_started(f, &desk, 1);
  for (int i = 0; i < 2; i++) assert_answered(&callers[i], UV_ECANCELED, NULL, 0);
  ask(&callers[0], f->root, &flight, "a", &desk); /* and may still be joined */
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&callers[0].note.wait), 0);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  assert_int_equal(atomic_load(&result.freed), 1);
  run_until(&f->loop, &callers[0].note.calls, 1);
  assert_answered(&callers[0], UV_ECANCELED, NULL, 0);
  assert_int_equal(desk.started, 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
  uvf_ctx_release(ctx);
}

static void free_caller(note_t *note) {
  ++*(int *)note->arg;
  memset(note, 0xdb, sizeof(caller_t));
  free(note);
}

static void a_wait_may_be_freed_in_its_callback(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  result_t result = {0};
  int freed = 0;
  flight_open(&flight, f->root);
  for (int i = 0; i < 20; i++) {
    caller_t *caller = malloc(sizeof *caller);
    assert_non_null(caller);
    ask(caller, f->root, &flight, "a", &desk);
    caller->note.then = free_caller;
    caller->note.arg = &freed;
  }
  await_started(f, &desk, 1);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  run_until(&f->loop, &freed, 20);
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void destroy_here(note_t *note) { note->id = uvf_flight_destroy(note->arg); }

static void a_flight_may_be_destroyed_in_the_last_callback(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 100; i++) {
    uvf_flight_t *flight = malloc(sizeof *flight);
    desk_t desk = {0};
    caller_t caller;
    uv_thread_t thread;
    assert_non_null(flight);
    flight_open(flight, f->root);
    ask(&caller, f->root, flight, "a", &desk);
    caller.note.then = destroy_here;
    caller.note.arg = flight;
    await_started(f, &desk, 1);
    assert_int_equal(uv_thread_create(&thread, end_it, &desk), 0); /* its end is still on its way out */
    run_until(&f->loop, &caller.note.calls, 1);
    assert_int_equal(caller.note.id, 0);
    memset(flight, 0xdb, sizeof *flight);
    free(flight);
    assert_int_equal(uv_thread_join(&thread), 0);
  }
}

/* --- ends --- */

/* Who ends a wait: before the start, during the execution, after its end. Another caller gets the result. */
static void every_end_of_a_wait_calls_back_once_and_the_execution_goes_on(void **state) {
  fixture_t *f = *state;
  enum { CANCEL, CONTEXT, FOREIGN, DEADLINE, ENDS };
  enum { LISTED, STARTED, ENDED, WHENS };
  static const int err[ENDS] = {UV_ECANCELED, UV_ECANCELED, UV_ECANCELED, UV_ETIMEDOUT};
  for (int when = 0; when < WHENS; when++) {
    for (int by = 0; by < ENDS; by++) {
      uvf_flight_t flight;
      desk_t desk = {0};
      caller_t caller, other;
      result_t result = {0};
      uvf_ctx_t *ctx = by == DEADLINE ? timeout_of(f->root, HOUR_MS / 2) : child_of(f->root);
      turn(&f->loop);
      flight_open(&flight, f->root);
      ask(&caller, ctx, &flight, "a", &desk);
      ask(&other, f->root, &flight, "a", &desk);
      if (when >= STARTED) await_started(f, &desk, 1);
      if (when >= ENDED) assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
      switch (by) {
        case CANCEL:
          assert_int_equal(uvf_op_cancel((uvf_op_t *)&caller.note.wait), when == ENDED ? UV_EBUSY : 0);
          break;
        case CONTEXT: uvf_ctx_cancel(ctx); break;
        case FOREIGN: on_thread(cancel_it, ctx); break;
        default: an_hour_passes(ctx); break;
      }
      assert_int_equal(caller.note.calls, 0);
      run_until(&f->loop, &caller.note.calls, 1);
      await_started(f, &desk, 1);
      if (when != ENDED) {
        assert_answered(&caller, err[by], NULL, 0);
        assert_int_equal(other.note.calls, 0);
        assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
      } else {
        assert_answered(&caller, 0, &result, 1);
      }
      run_until(&f->loop, &other.note.calls, 1);
      assert_answered(&other, 0, &result, 1);
      assert_int_equal(atomic_load(&result.freed), 1);
      assert_int_equal(caller.note.calls, 1);
      assert_int_equal(uvf_flight_destroy(&flight), 0);
      uvf_ctx_release(ctx);
    }
  }
  clock_of_old();
}

static void one_whose_context_has_ended_as_the_execution_ends_is_told_that(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[2];
  result_t result = {0};
  uvf_ctx_t *ctx = child_of(f->root);
  turn(&f->loop);
  flight_open(&flight, f->root);
  ask(&callers[0], ctx, &flight, "a", &desk);
  ask(&callers[1], f->root, &flight, "a", &desk);
  await_started(f, &desk, 1);
  on_thread(cancel_it, ctx); /* its loop does not know yet */
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  run_until(&f->loop, &callers[1].note.calls, 1);
  turn(&f->loop);
  assert_answered(&callers[0], UV_ECANCELED, NULL, 0);
  assert_answered(&callers[1], 0, &result, 1);
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
  uvf_ctx_release(ctx);
}

static void under_a_context_that_is_over_nothing_is_joined_or_started(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t caller;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  flight_open(&flight, f->root);
  test_alloc_fail_at(1);
  ask(&caller, over, &flight, "a", &desk);
  assert_int_equal(test_alloc_failed(), 0);
  test_alloc_fail_at(0);
  run_until(&f->loop, &caller.note.calls, 1);
  assert_answered(&caller, UV_ETIMEDOUT, NULL, 0);
  turn(&f->loop);
  assert_int_equal(desk.started, 0);
  assert_int_equal(uvf_flight_forget(&flight, "a", 1), 0);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
  uvf_ctx_release(over);
}

static void where_the_flights_context_is_over_all_get_its_err_and_nothing_is_started(void **state) {
  fixture_t *f = *state;
  for (int late = 0; late < 2; late++) { /* over before they ask, or after that and before the start */
    uvf_flight_t flight;
    desk_t desk = {0};
    caller_t callers[2];
    uvf_ctx_t *ctx = child_of(f->root);
    flight_open(&flight, ctx);
    if (!late) uvf_ctx_cancel(ctx);
    for (int i = 0; i < 2; i++) {
      ask(&callers[i], f->root, &flight, "a", &desk);
      assert_int_equal(callers[i].note.calls, 0);
    }
    if (late) uvf_ctx_cancel(ctx);
    run_until(&f->loop, &callers[1].note.calls, 1);
    turn(&f->loop);
    for (int i = 0; i < 2; i++) assert_answered(&callers[i], UV_ECANCELED, NULL, late);
    assert_int_equal(desk.started, 0);
    assert_int_equal(uvf_flight_destroy(&flight), 0);
    uvf_ctx_release(ctx);
  }
}

static void the_close_of_the_root_answers_all_who_wait_and_the_execution_ends_after_it(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t caller;
  result_t result = {0};
  uvf_ctx_t *ctx = child_of(f->root);
  flight_open(&flight, ctx);
  ask(&caller, ctx, &flight, "a", &desk);
  await_started(f, &desk, 1);
  fixture_close_root(f);
  assert_answered(&caller, UV_ECANCELED, NULL, 0);
  assert_int_equal(uvf_ctx_err(uvf_flight_ctx(desk.calls[0])), UV_ECANCELED); /* valid as long as it lasts */
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &result, free_result), 0);
  assert_int_equal(atomic_load(&result.freed), 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
  uvf_ctx_release(ctx);
}

/* --- forgetting --- */

static void after_forget_the_next_caller_starts_another_and_the_first_end_leaves_that_listed(void **state) {
  fixture_t *f = *state;
  uvf_flight_t flight;
  desk_t desk = {0};
  caller_t callers[4];
  int one = 1, two = 2;
  flight_open(&flight, f->root);
  assert_int_equal(uvf_flight_forget(&flight, "a", 1), 0);
  ask(&callers[0], f->root, &flight, "a", &desk);
  await_started(f, &desk, 1);
  ask(&callers[1], f->root, &flight, "a", &desk);
  assert_int_equal(uvf_flight_forget(&flight, "b", 1), 0);
  assert_int_equal(uvf_flight_forget(&flight, "a", 1), 1);
  assert_int_equal(uvf_flight_forget(&flight, "a", 1), 0);
  ask(&callers[2], f->root, &flight, "a", &desk);
  await_started(f, &desk, 2);
  assert_int_equal(uvf_flight_end(desk.calls[0], 0, &one, NULL), 0);
  ask(&callers[3], f->root, &flight, "a", &desk); /* joins the second */
  turn(&f->loop);
  assert_int_equal(desk.started, 2);
  assert_int_equal(uvf_flight_end(desk.calls[1], 0, &two, NULL), 0);
  run_until(&f->loop, &callers[3].note.calls, 1);
  for (int i = 0; i < 4; i++) assert_answered(&callers[i], 0, i < 2 ? &one : &two, 1);
  assert_int_equal(uvf_flight_destroy(&flight), 0);
}

static void forgotten_calls_may_end_in_any_order(void **state) {
  fixture_t *f = *state;
  static const int orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}, {2, 0, 1}, {0, 2, 1}};
  for (size_t o = 0; o < ARRAY_SIZE(orders); o++) {
    uvf_flight_t flight;
    desk_t desk = {0};
    caller_t callers[3];
    int values[3];
    flight_open(&flight, f->root);
    for (int i = 0; i < 3; i++) {
      ask(&callers[i], f->root, &flight, "a", &desk);
      await_started(f, &desk, i + 1);
      if (i < 2) assert_int_equal(uvf_flight_forget(&flight, "a", 1), 1);
    }
    for (int i = 0; i < 3; i++) {
      assert_int_equal(uvf_flight_end(desk.calls[orders[o][i]], 0, &values[orders[o][i]], NULL), 0);
    }
    run_until(&f->loop, &callers[orders[o][2]].note.calls, 1);
    for (int i = 0; i < 3; i++) assert_answered(&callers[i], 0, &values[i], 0);
    assert_int_equal(uvf_flight_destroy(&flight), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(one_caller_gets_the_result_of_an_execution_of_its_own),
      unit(callers_of_one_key_share_one_execution_and_the_first_ones_argument),
      unit(who_asks_after_the_end_starts_another),
      unit(an_execution_may_end_where_it_starts),
      unit(an_execution_may_be_ended_from_any_thread),
      unit(a_result_is_freed_once_all_have_returned_from_their_callbacks),
      unit(a_result_that_nobody_waits_for_is_freed_at_once),
      unit(a_wait_may_be_freed_in_its_callback),
      unit(a_flight_may_be_destroyed_in_the_last_callback),
      unit(every_end_of_a_wait_calls_back_once_and_the_execution_goes_on),
      unit(one_whose_context_has_ended_as_the_execution_ends_is_told_that),
      unit(under_a_context_that_is_over_nothing_is_joined_or_started),
      unit(where_the_flights_context_is_over_all_get_its_err_and_nothing_is_started),
      unit(the_close_of_the_root_answers_all_who_wait_and_the_execution_ends_after_it),
      unit(after_forget_the_next_caller_starts_another_and_the_first_end_leaves_that_listed),
      unit(forgotten_calls_may_end_in_any_order),
  };
  return test_run(tests);
}
