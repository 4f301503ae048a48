/* SPDX-License-Identifier: MIT
 *
 * io.h: guards of functions: when they are called, how they are undone, and what may be done inside.
 */
#include "unit/guard_probe.h"

/* --- called --- */

static void the_end_of_the_context_calls_the_function_once_and_not_inside_the_cancel(void **state) {
  (void)state;
  for (way_t way = BY_CTX; way < WAYS; way++) {
    call_t call = call_of(0, NULL);
    scene_t s;
    scene_open(&s, way);
    call_start(&call, s.ctx);
    turn(&io.f->loop);
    assert_int_equal(call.calls, 0);
    assert_int_equal(counts_of(s.ctx).guards, 1);
    assert_int_equal(scene_end(&s, NULL), 0);
    assert_int_equal(call.calls, 0);
    run_until(&io.f->loop, &call.calls, 1);
    turn(&io.f->loop);
    assert_int_equal(call.calls, 1);
    assert_int_equal(call.status, s.err);
    assert_int_equal(uvf_guard_stop(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_guard_close(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&call.guard), UV_EBUSY);
    scene_close(&s);
    assert_int_equal(call.calls, 1);
  }
}

static void bound_to_a_context_that_is_over_it_is_released_soon_and_not_inside_the_start(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  call_t call = call_of(0, NULL);
  call_start(&call, over);
  assert_int_equal(call.calls, 0);
  run_until(&f->loop, &call.calls, 1);
  assert_int_equal(call.status, UV_ETIMEDOUT);
  uvf_ctx_release(over);
}

static void a_stopped_one_is_never_called_and_a_closed_one_inside_the_close(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    int closed = i % 2, due = i / 2;
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call = call_of(0, NULL);
    call_start(&call, ctx);
    if (due) uvf_ctx_cancel(ctx); /* the call is due and has not come */
    assert_int_equal(closed ? uvf_guard_close(&call.guard) : uvf_guard_stop(&call.guard), 0);
    assert_int_equal(call.calls, closed);
    if (closed) assert_int_equal(call.status, 0);
    assert_int_equal(uvf_guard_close(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_guard_stop(&call.guard), UV_EBUSY);
    assert_int_equal(counts_of(ctx).guards, 0);
    uvf_ctx_cancel(ctx);
    turn(&f->loop);
    assert_int_equal(call.calls, closed);
    uvf_ctx_release(ctx);
  }
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void look_at_ctx(call_t *call) { io_expect(uvf_ctx_err(call->guard.ctx) == 0, "the context is gone"); }

static void the_context_is_there_inside_the_function_though_only_the_guard_held_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t call = call_of(0, NULL);
  call.then = look_at_ctx;
  call_start(&call, ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(stats_of(f->root).contexts, 2);
  assert_int_equal(uvf_guard_close(&call.guard), 0);
  assert_int_equal(call.calls, 1);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* --- inside the function --- */

static int inner[3];

static void try_all(call_t *call) {
  inner[0] = uvf_guard_stop(&call->guard);
  inner[1] = uvf_guard_close(&call->guard);
  inner[2] = uvf_op_cancel((uvf_op_t *)&call->guard);
}

static void inside_its_function_a_guard_is_unbound_already(void **state) {
  fixture_t *f = *state;
  for (int by_hand = 0; by_hand < 2; by_hand++) {
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call = call_of(0, NULL);
    call.then = try_all;
    call_start(&call, ctx);
    if (by_hand) {
      assert_int_equal(uvf_guard_close(&call.guard), 0);
    } else {
      uvf_ctx_cancel(ctx);
      run_until(&f->loop, &call.calls, 1);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(inner[i], UV_EBUSY);
    uvf_ctx_release(ctx);
  }
}

static uvf_ctx_t *bind_to;

static void bind_again(call_t *call) {
  if (call->calls < 3) io_expect(uvf_guard_start_call(bind_to, &call->guard, on_call) == 0, "not bound again");
}

static void inside_its_function_a_guard_may_be_bound_again(void **state) {
  fixture_t *f = *state;
  for (int by_hand = 0; by_hand < 2; by_hand++) {
    uvf_ctx_t *ctx = child_of(f->root), *other = child_of(f->root);
    call_t call = call_of(0, NULL);
    call.then = bind_again;
    bind_to = other;
    call_start(&call, ctx);
    if (by_hand) {
      assert_int_equal(uvf_guard_close(&call.guard), 0);
    } else {
      uvf_ctx_cancel(ctx);
    }
    turn(&f->loop);
    assert_int_equal(call.calls, 1);
    assert_int_equal(counts_of(other).guards, 1);
    uvf_ctx_cancel(other); /* called, bound to it though it is over, called again soon */
    turn(&f->loop);
    assert_int_equal(call.calls, 3);
    assert_int_equal(call.status, UV_ECANCELED);
    assert_int_equal(stats_of(f->root).ops, 0);
    uvf_ctx_release(ctx);
    uvf_ctx_release(other);
  }
}

static void free_call(uvf_guard_t *guard) {
  memset(guard, 0xdb, sizeof *guard);
  free(guard);
}

static void inside_its_function_a_guard_may_be_freed(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_guard_t *ended = malloc(sizeof *ended), *closed = malloc(sizeof *closed);
  assert_non_null(ended);
  assert_non_null(closed);
  assert_int_equal(uvf_guard_start_call(ctx, ended, free_call), 0);
  assert_int_equal(uvf_guard_start_call(ctx, closed, free_call), 0);
  assert_int_equal(uvf_guard_close(closed), 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void undo_others(call_t *call) {
  call_t *others = call->arg;
  io_expect(uvf_guard_stop(&others[0].guard) == 0, "a guard that is due could not be stopped");
  io.nested = 1; /* its function runs inside the close */
  io_expect(uvf_guard_close(&others[1].guard) == 0, "a guard that is due could not be closed");
  io.nested = 0;
}

static void a_function_may_stop_and_close_guards_that_are_due_behind_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  journal_t journal = {0};
  call_t first, others[3];
  for (int i = 2; i >= 0; i--) {
    others[i] = call_of(i, &journal);
    call_start(&others[i], ctx);
  }
  first = call_of(9, &journal);
  first.then = undo_others;
  first.arg = others;
  call_start(&first, ctx);
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  assert_journal(&journal, 9, 1, 2);
  assert_int_equal(others[1].status, 0);
  assert_int_equal(others[2].status, UV_ECANCELED);
  uvf_ctx_release(ctx);
}

/* --- refused --- */

static void null_arguments_and_bad_descriptors_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_guard_t guard;
  uv_work_t work;
  assert_int_equal(uvf_guard_start_req(NULL, &guard, (uv_req_t *)&work), UV_EINVAL);
  assert_int_equal(uvf_guard_start_req(f->root, NULL, (uv_req_t *)&work), UV_EINVAL);
  assert_int_equal(uvf_guard_start_req(f->root, &guard, NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(NULL, &guard, 0), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(f->root, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(f->root, &guard, -1), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(NULL, &guard, free_call), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(f->root, NULL, free_call), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(f->root, &guard, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void call_again(void *arg) { (void)uvf_guard_start_call(io.f->root, arg, on_call); }
static void file_again(void *arg) { (void)uvf_guard_start_file(io.f->root, arg, 0); }
static void req_again(void *arg) {
  uv_work_t work;
  (void)uvf_guard_start_req(io.f->root, arg, (uv_req_t *)&work);
}

static void binding_one_twice_is_misuse(void **state) {
  static void (*const again[])(void *) = {call_again, file_again, req_again};
  static const char *const names[] = {"uvf_guard_start_call: ", "uvf_guard_start_file: ", "uvf_guard_start_req: "};
  fixture_t *f = *state;
  call_t call = call_of(0, NULL);
  call_start(&call, f->root);
  for (size_t i = 0; i < 3 && test_rules_on(); i++) {
    const char *rule = test_expect_rule(again[i], &call.guard);
    assert_non_null(rule);
    assert_memory_equal(rule, names[i], strlen(names[i]));
  }
  assert_int_equal(uvf_guard_close(&call.guard), 0);
  assert_int_equal(call.calls, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(the_end_of_the_context_calls_the_function_once_and_not_inside_the_cancel),
      unit_io(bound_to_a_context_that_is_over_it_is_released_soon_and_not_inside_the_start),
      unit_io(a_stopped_one_is_never_called_and_a_closed_one_inside_the_close),
      unit_io(the_context_is_there_inside_the_function_though_only_the_guard_held_it),
      unit_io(inside_its_function_a_guard_is_unbound_already),
      unit_io(inside_its_function_a_guard_may_be_bound_again),
      unit_io(inside_its_function_a_guard_may_be_freed),
      unit_io(a_function_may_stop_and_close_guards_that_are_due_behind_it),
      unit_io(null_arguments_and_bad_descriptors_are_refused),
      unit_io(binding_one_twice_is_misuse),
  };
  io_main();
  return test_run(tests);
}
