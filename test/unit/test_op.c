/* SPDX-License-Identifier: MIT
 *
 * The operation of lib/kernel/op.c with a provider of the test's own: each row of base.h's table, the order forced.
 */
#include "kernel/op.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kernel/context.h"
#include "support/support.h"

/* A request whose completion the test makes, on whichever thread, when it likes. */
typedef struct fake_s {
  UVF_OP_FIELDS
  int may_tell; /* what withdraw answers */
  int withdrawn, calls;
  int got;
  struct fake_s **order; /* if not NULL: where to write itself down */
  int again;             /* start once more in the callback */
} fake_t;

static uvf_op_t *op_of(fake_t *fake) { return (uvf_op_t *)(void *)fake; }

static int fake_start(uvf_ctx_t *ctx, fake_t *fake);

static int withdraw(uvf_op_t *op) {
  fake_t *fake = (fake_t *)(void *)op;
  fake->withdrawn++;
  return fake->may_tell;
}

static int deliver(uvf_op_t *op) {
  fake_t *fake = (fake_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  fake->calls++;
  fake->got = op->status;
  if (fake->order != NULL) *fake->order++ = fake;
  if (fake->again > 0) {
    uvf_ctx_t *ctx = op->ctx;
    fake->again--;
    if (fake_start(ctx, fake) < 0) fake->got = UV_EPROTO;
  }
  return 1;
}

static void posted(uvf_op_t *op) { uvf__op_ready(op); }

static const uvf__op_type_t fake_type = {"fake", withdraw, deliver, posted, 0, NULL};

static int fake_start(uvf_ctx_t *ctx, fake_t *fake) {
  return uvf__op_begin(ctx, op_of(fake), &fake_type, "fake_start");
}

static fake_t fake_new(void) {
  fake_t fake;
  memset(&fake, 0xff, sizeof fake); /* a start reads none of it */
  fake.may_tell = 1;
  fake.withdrawn = fake.calls = fake.again = 0;
  fake.order = NULL;
  return fake;
}

/* A completion on the loop thread. */
static int complete(fake_t *fake, int result) {
  if (!uvf__op_claim(op_of(fake))) return 0;
  fake->status = result;
  uvf__op_ready(op_of(fake));
  return 1;
}

static uvf_ctx_t *child_of(uvf_ctx_t *parent) {
  uvf_ctx_t *ctx = NULL;
  assert_int_equal(uvf_ctx_with_cancel(parent, &ctx), 0);
  return ctx;
}

static void completion_first_then_neither_cancel_nor_context_changes_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake = fake_new();
  assert_int_equal(fake_start(ctx, &fake), 1);
  assert_int_equal(complete(&fake, 7), 1);
  assert_int_equal(uvf_op_cancel(op_of(&fake)), UV_EBUSY);
  uvf_ctx_cancel(ctx);
  assert_int_equal(fake.calls, 0); /* never inside */
  run_until(&f->loop, &fake.calls, 1);
  assert_int_equal(fake.got, 7);
  assert_int_equal(fake.withdrawn, 0);
  assert_int_equal(uvf_op_cancel(op_of(&fake)), UV_EBUSY);
  uvf_ctx_release(ctx);
}

static void cancel_first_then_completion_comes_too_late(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake = fake_new();
  assert_int_equal(fake_start(ctx, &fake), 1);
  assert_int_equal(uvf_op_cancel(op_of(&fake)), 0);
  assert_int_equal(fake.withdrawn, 1);
  assert_int_equal(fake.calls, 0);
  assert_int_equal(complete(&fake, 7), 0);
  assert_int_equal(uvf_op_cancel(op_of(&fake)), UV_EBUSY);
  run_until(&f->loop, &fake.calls, 1);
  assert_int_equal(fake.got, UV_ECANCELED);
  assert_int_equal(uvf_ctx_err(ctx), 0); /* the context goes on */
  uvf_ctx_release(ctx);
}

static void the_context_first_then_cancel_and_completion_come_too_late(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = NULL;
  fake_t fake = fake_new();
  assert_int_equal(uvf_ctx_with_timeout(f->root, 5, &ctx), 0);
  assert_int_equal(fake_start(ctx, &fake), 1);
  while (uvf_ctx_err(ctx) == 0) uv_run(&f->loop, UV_RUN_ONCE);
  assert_int_equal(uvf_op_cancel(op_of(&fake)), UV_EBUSY);
  assert_int_equal(complete(&fake, 7), 0);
  run_until(&f->loop, &fake.calls, 1);
  assert_int_equal(fake.got, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}

static void a_withdrawal_that_must_wait_is_told_when_the_provider_has_it_back(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake = fake_new();
  uvf_ctx_counts_t counts;
  fake.may_tell = 0;
  assert_int_equal(fake_start(ctx, &fake), 1);
  uvf_ctx_cancel(ctx);
  run_ready(&f->loop);
  assert_int_equal(fake.calls, 0);
  assert_true(uv_loop_alive(&f->loop)); /* it is still owed */
  uvf_ctx_counts(ctx, &counts);
  assert_int_equal(counts.ops, 1);
  uvf__op_ready(op_of(&fake));
  run_until(&f->loop, &fake.calls, 1);
  assert_int_equal(fake.got, UV_ECANCELED);
  uvf_ctx_release(ctx);
}

static void under_a_context_that_is_over_it_does_not_begin_and_is_answered_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake = fake_new();
  uvf_ctx_cancel(ctx);
  assert_int_equal(fake_start(ctx, &fake), 0);
  assert_int_equal(fake.calls, 0);
  run_until(&f->loop, &fake.calls, 1);
  run_ready(&f->loop);
  assert_int_equal(fake.calls, 1);
  assert_int_equal(fake.got, UV_ECANCELED);
  assert_int_equal(fake.withdrawn, 0);
  uvf_ctx_release(ctx);
}

static void a_request_may_be_started_again_in_its_own_callback(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake = fake_new();
  fake.again = 3;
  uvf_ctx_cancel(ctx);
  assert_int_equal(fake_start(ctx, &fake), 0);
  uvf_ctx_release(ctx); /* the operation keeps it, in its callback too */
  run_until(&f->loop, &fake.calls, 4);
  assert_int_equal(fake.got, UV_ECANCELED);
}

static void complete_entry(void *arg) {
  fake_t *fake = arg;
  if (!uvf__op_claim(op_of(fake))) return;
  fake->status = 9;
  uvf__hub_post(uvf__ctx_hub(fake->ctx), (uintptr_t)op_of(fake) | UVF__POST_OP);
}

static void a_completion_on_another_thread_and_a_cancel_here_make_one_callback(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int completed = 0, rounds = (int)test_scaled(2000, 10);
  for (int i = 0; i < rounds; i++) {
    fake_t fake = fake_new();
    uv_thread_t thread;
    uint64_t until_ns;
    int canceled;
    assert_int_equal(fake_start(f->root, &fake), 1);
    assert_int_equal(uv_thread_create(&thread, complete_entry, &fake), 0);
    until_ns = uv_hrtime() + test_rand(&seed) % 40000;
    while (uv_hrtime() < until_ns) {}
    canceled = uvf_op_cancel(op_of(&fake));
    uv_thread_join(&thread);
    run_until(&f->loop, &fake.calls, 1);
    assert_int_equal(fake.calls, 1);
    assert_int_equal(fake.got, canceled == 0 ? UV_ECANCELED : 9);
    completed += canceled != 0;
  }
  printf("%d of %d completed first\n", completed, rounds);
}

static void completions_come_in_the_order_they_became_ready_and_failures_behind_them(void **state) {
  enum { N = 5 };
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t fake[N];
  fake_t *order[N] = {NULL};
  fake_t *expected[N];
  for (int i = 0; i < N; i++) {
    fake[i] = fake_new();
    assert_int_equal(fake_start(ctx, &fake[i]), 1);
  }
  assert_int_equal(complete(&fake[3], 0), 1);
  assert_int_equal(complete(&fake[1], 0), 1);
  uvf_ctx_cancel(ctx); /* the rest: newest first */
  expected[0] = &fake[3];
  expected[1] = &fake[1];
  expected[2] = &fake[4];
  expected[3] = &fake[2];
  expected[4] = &fake[0];
  for (int i = 0; i < N; i++) {
    for (int k = 0; k < N; k++) {
      if (expected[k] == &fake[i]) fake[i].order = &order[k];
    }
  }
  /* each writes itself to the place it is expected at, when those before it have been called and those behind have not */
  for (int k = 0; k < N; k++) assert_int_equal(expected[k]->calls, 0);
  while (uvf__op_deliver(uvf__ctx_hub(ctx), 1) == 1) {
    int called = 0;
    for (int k = 0; k < N; k++) called += expected[k]->calls;
    for (int k = 0; k < N; k++) assert_int_equal(expected[k]->calls, k < called ? 1 : 0);
  }
  for (int k = 0; k < N; k++) assert_ptr_equal(order[k], expected[k]);
  uvf_ctx_release(ctx);
}

static void start_twice(void *arg) {
  fake_t *fake = arg;
  fake_start(fake->data, fake);
}

static void starting_a_request_twice_is_named_in_a_debug_build(void **state) {
  fixture_t *f = *state;
  fake_t fake = fake_new();
  assert_int_equal(fake_start(f->root, &fake), 1);
  fake.data = f->root;
  if (test_rules_on()) assert_non_null(strstr(test_expect_rule(start_twice, &fake), "already started"));
  assert_int_equal(complete(&fake, 0), 1);
  run_until(&f->loop, &fake.calls, 1);
}

static void a_zeroed_request_that_was_never_started_can_be_stopped_and_cancelled(void **state) {
  uvf_watch_t watch;
  uvf_guard_t guard;
  uvf_work_t job;
  (void)state;
  memset(&watch, 0, sizeof watch);
  memset(&guard, 0, sizeof guard);
  memset(&job, 0, sizeof job);
  assert_int_equal(uvf_watch_stop(&watch), UVF_STOP_DONE);
  assert_int_equal(uvf_guard_stop(&guard), UV_EBUSY);
  assert_int_equal(uvf_guard_close(&guard), UV_EBUSY);
  assert_int_equal(uvf_work_cancel(&job), UV_EBUSY);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(completion_first_then_neither_cancel_nor_context_changes_it),
      unit(cancel_first_then_completion_comes_too_late),
      unit(the_context_first_then_cancel_and_completion_come_too_late),
      unit(a_withdrawal_that_must_wait_is_told_when_the_provider_has_it_back),
      unit(under_a_context_that_is_over_it_does_not_begin_and_is_answered_once),
      unit(a_request_may_be_started_again_in_its_own_callback),
      unit(a_completion_on_another_thread_and_a_cancel_here_make_one_callback),
      unit(completions_come_in_the_order_they_became_ready_and_failures_behind_them),
      unit(starting_a_request_twice_is_named_in_a_debug_build),
      unit(a_zeroed_request_that_was_never_started_can_be_stopped_and_cancelled),
  };
  return test_run(tests);
}
