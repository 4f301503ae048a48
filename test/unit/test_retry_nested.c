/* SPDX-License-Identifier: MIT
 *
 * Retries whose callbacks run the loop, and many at once: in a loop nested in a callback everything goes on that would
 * in the outer one, whether the callback came from a post or a timeout.
 */
#include "unit/retry_probe.h"

/* --- loops in loops --- */

typedef enum place_e { IN_FIRST_START, IN_SECOND_START, IN_RETRYABLE, IN_DONE, IN_RELEASE, PLACES } place_t;

/* What the nested loop waits for: a sleep that began before the retry, or one that begins there; or the end of ctx. */
typedef enum goal_e { OLD_SLEEP, NEW_SLEEP, OWN_DEADLINE, GOALS } goal_t;

typedef struct nest_s {
  place_t place;
  goal_t goal;
  uv_loop_t *loop;
  uvf_ctx_t *ctx;
  uvf_sleep_t sleep;
  int slept, entered, left;
} nest_t;

static void on_nest_slept(uvf_sleep_t *sleep, int status) {
  (void)status;
  ((nest_t *)sleep->data)->slept = 1;
}

static void nest(call_t *call, place_t place) {
  nest_t *nest = call->arg;
  int in_call = call->in_call;
  uint64_t end = uv_hrtime() + GENEROUS_NS;
  if (place != nest->place || nest->entered++) return;
  call->in_call = 0;
  if (nest->goal == NEW_SLEEP && uvf_sleep_start(uvf_ctx_loop(nest->ctx)->data, &nest->sleep, 2, on_nest_slept) != 0)
    call->wrong++;
  while (uv_hrtime() < end && (nest->goal == OWN_DEADLINE ? uvf_ctx_err(nest->ctx) == 0 : !nest->slept))
    uv_run(nest->loop, UV_RUN_NOWAIT); /* without blocking: what never comes is a failure and no hang */
  if (uv_hrtime() >= end) call->wrong++;
  call->in_call = in_call;
  nest->left++;
}

static void nest_in_start(call_t *call, uvf_attempt_t *attempt) {
  if (attempt->number == 0) nest(call, IN_FIRST_START);
  if (attempt->number == 1) nest(call, IN_SECOND_START);
}

static void nest_in_retryable(call_t *call) { nest(call, IN_RETRYABLE); }
static void nest_in_done(call_t *call) { nest(call, IN_DONE); }
static void nest_in_release(call_t *call) { nest(call, IN_RELEASE); }

/* loop->data is the root while this runs: a sleep under it outlives the context. */
static void run_nest(fixture_t *f, place_t place, goal_t goal, int release) {
  static const step_t steps[] = {{SLEEPS, UV_EIO, 3}, {INSIDE, 0, 0}};
  uvf_retry_options_t o = options_of(2, 2, UVF_NO_LIMIT);
  nest_t nested = {.place = place, .goal = goal, .loop = &f->loop};
  call_t call;
  nested.ctx = timeout_of(f->root, goal == OWN_DEADLINE ? 25 : HOUR_MS);
  nested.sleep.data = &nested;
  f->loop.data = f->root;
  if (goal == OLD_SLEEP) assert_int_equal(uvf_sleep_start(f->root, &nested.sleep, 15, on_nest_slept), 0);
  call_init(&call, steps, 2, 2);
  call.in_start = nest_in_start;
  call.in_retryable = nest_in_retryable;
  call.in_done = nest_in_done;
  call.in_release = nest_in_release;
  call.arg = &nested;
  call_start(&call, nested.ctx, &o, release);
  run_until(&f->loop, release ? &call.releases : &call.dones, 1);
  run_until(&f->loop, &nested.left, 1);
  if (goal != OWN_DEADLINE) run_until(&f->loop, &nested.slept, 1);
  if (call.wrong != 0) print_error("nested in place %d, for goal %d\n", place, goal);
  assert_int_equal(call.wrong, 0);
  assert_int_equal(call.dones, 1);
  assert_int_equal(call.releases, release);
  assert_int_equal(nested.entered, 1);
  f->loop.data = f;
  uvf_ctx_release(nested.ctx);
}

static void every_callback_may_run_the_loop_until_something_that_is_due_later(void **state) {
  for (int place = 0; place < PLACES; place++) {
    for (int goal = 0; goal < GOALS; goal++) {
      for (int release = place == IN_RELEASE; release < 2; release++)
        run_nest(*state, (place_t)place, (goal_t)goal, release);
    }
  }
}

/* The first start waits for what the second attempt, its own hedge, brings. */
static void start_and_wait_for_the_hedge(call_t *call, uvf_attempt_t *attempt) {
  int in_call = call->in_call;
  uint64_t end = uv_hrtime() + GENEROUS_NS;
  if (attempt->number != 0) return;
  call->in_call = 0;
  while (uv_hrtime() < end && call->retry.started < 2) uv_run(call->arg, UV_RUN_NOWAIT);
  if (uv_hrtime() >= end) call->wrong++;
  call->in_call = in_call;
}

static void a_hedge_begins_and_wins_in_a_loop_nested_in_the_first_start(void **state) {
  fixture_t *f = *state;
  static const how_t hows[] = {AT_ONCE, INSIDE, LATER};
  for (size_t i = 0; i < ARRAY_SIZE(hows) * 2; i++) {
    const step_t steps[] = {{hows[i / 2], UV_EIO, 0}, {INSIDE, 0, 0}};
    uvf_retry_options_t o = options_of(2, 2, 1);
    call_t call;
    call_init(&call, steps, 2, 2);
    call.in_start = start_and_wait_for_the_hedge;
    call.arg = &f->loop;
    call_start(&call, f->root, &o, i % 2 == 0);
    while (call.starts < 2) uv_run(&f->loop, UV_RUN_ONCE);
    run_ready(&f->loop);
    if (hows[i / 2] == LATER) assert_int_equal(finish(&call, 0, UV_ECANCELED), 0);
    run_until(&f->loop, &call.dones, 1);
    run_ready(&f->loop);
    assert_call(&call, 2, 1, i % 2 == 0);
    assert_int_equal(call.status, 0);
    assert_ptr_equal(call.retry.winner, &call.attempts[1]);
    assert_int_equal(call.retry.failed, 0); /* the first ended after it was decided */
  }
}

/* Done inside start, which then runs the loop: it is told there, but neither it nor its attempts are given back. */
typedef struct late_s {
  uv_loop_t *loop;
  unsigned int number;
  int dones, releases; /* seen before start returned */
} late_t;

static void end_and_run_the_loop(call_t *call, uvf_attempt_t *attempt) {
  late_t *late = call->arg;
  if (attempt->number != late->number) return;
  call->wrong += finish(call, attempt->number, 0) != 0;
  for (int i = 0; i < 10; i++) uv_run(late->loop, UV_RUN_NOWAIT);
  late->dones = call->dones;
  late->releases = call->releases;
}

static void nothing_is_given_back_before_the_start_that_ended_it_has_returned(void **state) {
  static const step_t steps[] = {{INSIDE, UV_EIO, 0}, {LATER, 0, 0}};
  fixture_t *f = *state;
  for (unsigned int row = 0; row < 4; row++) {
    uvf_retry_options_t o = options_of(1, 1, UVF_NO_LIMIT);
    late_t late = {&f->loop, row / 2, 0, 0};
    int release = row % 2;
    call_t call;
    call_init(&call, late.number == 0 ? &steps[1] : steps, late.number + 1, 3);
    call.in_start = end_and_run_the_loop;
    call.arg = &late;
    call_start(&call, f->root, &o, release);
    run_until(&f->loop, &call.dones, 1);
    run_ready(&f->loop);
    assert_call(&call, (int)late.number + 1, 1, release);
    assert_int_equal(late.dones, release);
    assert_int_equal(late.releases, 0);
    assert_ptr_equal(call.retry.winner, &call.attempts[late.number]);
  }
}

/* --- company --- */

static call_t crowd[64];

static int crowd_waits;

static void wait_for_the_others(call_t *call, uvf_attempt_t *attempt) {
  uint64_t end = uv_hrtime() + GENEROUS_NS;
  int in_call = call->in_call;
  int others = 0;
  if (attempt->number != 1 || crowd_waits++) return;
  call->in_call = 0;
  while (others < (int)ARRAY_SIZE(crowd) - 1 && uv_hrtime() < end) {
    uv_run(call->arg, UV_RUN_NOWAIT);
    others = 0;
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) others += crowd[i].dones;
  }
  if (others < (int)ARRAY_SIZE(crowd) - 1) call->wrong++;
  call->in_call = in_call;
}

/* Their pauses of exactly no time end in one batch: the first holds the loop until the others have got through. */
static void start_crowd(fixture_t *f) {
  static const step_t steps[] = {{INSIDE, UV_EIO, 0}, {INSIDE, 0, 0}};
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  crowd_waits = 0;
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
    call_init(&crowd[i], steps, 2, 2);
    crowd[i].in_start = wait_for_the_others;
    crowd[i].arg = &f->loop;
    call_start(&crowd[i], f->root, &o, i % 2 == 0);
  }
}

static void assert_crowd(void) {
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
    assert_call(&crowd[i], 2, 1, i % 2 == 0);
    assert_int_equal(crowd[i].status, 0);
  }
}

static void what_is_due_in_the_same_moment_goes_on_in_a_nested_loop(void **state) {
  fixture_t *f = *state;
  start_crowd(f);
  turn(&f->loop);
  pass_ns(&f->loop, 0);
  assert_crowd();
}

/* Rung by the loop's own timer, which is not on while it rings: the nested loop needs it again. */
static void what_one_timer_rings_goes_on_in_a_nested_loop(void **state) {
  fixture_t *f = *state;
  start_crowd(f);
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) run_until(&f->loop, &crowd[i].dones, 1);
  turn(&f->loop);
  assert_crowd();
}

static void end_the_others(call_t *call, uvf_attempt_t *attempt) {
  if (attempt->number != 1) return;
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
    if (&crowd[i] != call && crowd[i].starts < 2) uvf_op_cancel((uvf_op_t *)&crowd[i].retry);
  }
}

/* The first whose pause ends cancels the others, whose pauses have ended too. */
static void a_start_may_end_others_that_are_due_in_the_same_moment(void **state) {
  static const step_t steps[] = {{INSIDE, UV_EIO, 0}, {INSIDE, 0, 0}};
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  int won = 0;
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
    call_init(&crowd[i], steps, 2, 2);
    crowd[i].in_start = end_the_others;
    call_start(&crowd[i], f->root, &o, i % 2 == 0);
  }
  turn(&f->loop);
  pass_ns(&f->loop, 0);
  for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
    assert_int_equal(crowd[i].wrong, 0);
    assert_int_equal(crowd[i].dones, 1);
    assert_int_equal(crowd[i].releases, i % 2 == 0);
    assert_int_equal(crowd[i].status, crowd[i].starts == 2 ? 0 : UV_ECANCELED);
    won += crowd[i].starts == 2;
  }
  assert_int_equal(won, 1);
}

/* A retry as an attempt of a retry: the outer deadline and the outer loser's end reach the inner attempts. */
typedef struct outer_s {
  call_t outer;
  call_t inner[3];
} outer_t;

static void inner_done(call_t *call) {
  uvf_attempt_t *attempt = call->arg;
  uvf_attempt_done(attempt, call->status);
}

static void start_inner(call_t *call, uvf_attempt_t *attempt) {
  static const step_t fails[] = {{SLEEPS, UV_EIO, 3}}, hangs[] = {{SLEEPS, 0, HOUR_MS}};
  static const step_t wins[] = {{AT_ONCE, UV_EIO, 0}, {SLEEPS, 0, 2}};
  outer_t *both = call->arg;
  call_t *inner = &both->inner[attempt->number];
  uvf_retry_options_t o = options_of(2, 2, UVF_NO_LIMIT);
  const step_t *steps = attempt->number == 0 ? hangs : attempt->number == 1 ? fails : wins;
  call_init(inner, steps, attempt->number == 2 ? 2 : 1, 2);
  inner->in_done = inner_done;
  inner->arg = attempt;
  call->wrong +=
      uvf_retry_start(attempt->ctx, &inner->retry, inner->attempts, 2, &o, on_call_start, on_call_done, NULL) != 0;
}

static void a_retry_may_be_an_attempt_of_another(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(2, 2, 20);
  static const step_t waits = {LATER, 0, 0};
  outer_t both;
  memset(&both, 0, sizeof both);
  call_init(&both.outer, &waits, 1, 3);
  both.outer.in_start = start_inner;
  both.outer.arg = &both;
  call_start(&both.outer, f->root, &o, 1);
  pass_until_done(&both.outer, &f->loop, 200);
  turn(&f->loop);
  assert_call(&both.outer, 3, 1, 1);
  assert_int_equal(both.outer.status, 0);
  assert_ptr_equal(both.outer.retry.winner, &both.outer.attempts[2]);
  assert_call(&both.inner[0], 1, 1, 0);
  assert_int_equal(both.inner[0].status, UV_ECANCELED);
  assert_call(&both.inner[1], 2, 1, 0);
  assert_int_equal(both.inner[1].status, UV_EIO);
  assert_call(&both.inner[2], 2, 1, 0);
  assert_int_equal(both.inner[2].status, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(every_callback_may_run_the_loop_until_something_that_is_due_later),
      unit(a_hedge_begins_and_wins_in_a_loop_nested_in_the_first_start),
      unit(nothing_is_given_back_before_the_start_that_ended_it_has_returned),
      unit_clock(what_is_due_in_the_same_moment_goes_on_in_a_nested_loop),
      unit_clock(what_one_timer_rings_goes_on_in_a_nested_loop),
      unit_clock(a_start_may_end_others_that_are_due_in_the_same_moment),
      unit_clock(a_retry_may_be_an_attempt_of_another),
  };
  return test_run(tests);
}
