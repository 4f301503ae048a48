/* SPDX-License-Identifier: MIT
 *
 * serve.h: retries: how many attempts there are, when each begins, and with what the whole thing ends.
 */
#include "unit/retry_probe.h"

/* --- the first attempts --- */

static void the_first_attempt_begins_from_the_loop_and_its_success_is_the_result(void **state) {
  static const how_t hows[] = {LATER, INSIDE, SLEEPS};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(hows) * 2; i++) {
    const step_t step = {hows[i / 2], 0, 7};
    call_t call;
    call_init(&call, &step, 1, 3);
    call_start(&call, f->root, NULL, i % 2 == 0);
    assert_int_equal(uv_loop_alive(&f->loop), 1); /* it holds the loop */
    turn(&f->loop);
    assert_int_equal(call.starts, 1);
    if (step.how == LATER) {
      assert_call(&call, 1, 0, 0);
      assert_int_equal(finish(&call, 0, 0), 0);
      assert_call(&call, 1, 0, 0); /* not inside */
    }
    pass_until_done(&call, &f->loop, 10);
    assert_call(&call, 1, 1, i % 2 == 0);
    assert_int_equal(call.status, 0);
    assert_ptr_equal(call.retry.winner, &call.attempts[0]);
    assert_int_equal(call.retry.started, 1);
    assert_int_equal(call.retry.failed, 0);
    assert_int_equal(call.asked, 0);
    assert_int_equal(stats_of(f->root).contexts, 1);
    assert_int_equal(stats_of(f->root).ops, 0);
  }
}

static void failures_are_followed_by_further_attempts_until_one_succeeds(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 1000, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 8, {AT_ONCE, UV_ENOENT, 0}, {INSIDE, UV_EPIPE, 0}, {SLEEPS, UV_EIO, 3}, {SLEEPS, 0, 1});
  call_start(&call, f->root, &o, 1);
  pass_until_done(&call, &f->loop, 1000);
  assert_call(&call, 4, 1, 1);
  assert_int_equal(call.status, 0);
  assert_ptr_equal(call.retry.winner, &call.attempts[3]);
  assert_int_equal(call.retry.started, 4);
  assert_int_equal(call.retry.failed, 3);
  assert_int_equal(call.asked, 3);
  for (int i = 0; i < 4; i++) assert_int_equal(call.attempts[i].status, ((int[]){UV_ENOENT, UV_EPIPE, UV_EIO, 0})[i]);
}

static void when_all_have_failed_the_last_error_is_told_without_a_further_pause(void **state) {
  static const unsigned int counts[] = {1, 2, 5, CALL_MAX};
  static const how_t hows[] = {AT_ONCE, INSIDE, SLEEPS};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(counts) * ARRAY_SIZE(hows); i++) {
    unsigned int n = counts[i / ARRAY_SIZE(hows)];
    uvf_retry_options_t o = options_of(10, 20, UVF_NO_LIMIT);
    step_t steps[CALL_MAX];
    call_t call;
    for (unsigned int k = 0; k < n; k++) steps[k] = (step_t){hows[i % ARRAY_SIZE(hows)], -100 - (int)k, 0};
    call_init(&call, steps, n, n);
    call_start(&call, f->root, &o, 0);
    pass_until_done(&call, &f->loop, 1000);
    assert_call(&call, (int)n, 1, 0);
    assert_int_equal(call.status, -100 - (int)n + 1);
    assert_null(call.retry.winner);
    assert_int_equal(call.retry.failed, n);
    assert_true(call.done_ns <= call.at_ns[n - 1] + 2 * MS_NS);
  }
}

static void what_is_not_retryable_fails_the_whole_thing_at_once(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 20, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 8, {LATER, 0, 0});
  call.answer = 0;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  assert_int_equal(finish(&call, 0, UV_EACCES), 0);
  turn(&f->loop);
  assert_call(&call, 1, 1, 1);
  assert_int_equal(call.asked, 1);
  assert_int_equal(call.status, UV_EACCES);
  assert_int_equal(call.retry.failed, 1);
}

static void a_status_above_zero_is_a_failure_like_any_other(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 2, {AT_ONCE, 503, 0}, {INSIDE, 504, 0});
  call_start(&call, f->root, &o, 1);
  pass_until_done(&call, &f->loop, 100);
  assert_call(&call, 2, 1, 1);
  assert_int_equal(call.status, 504);
}

/* --- pauses --- */

/* Attempt i + 1 begins within [0.8, 1.2] of the pause after failure i, never earlier and not later than a step of the
 * clock. */
static void check_pauses(const call_t *call, uint64_t backoff_ms, uint64_t most_ms, uint64_t step_ns) {
  uint64_t pause = (backoff_ms < most_ms ? backoff_ms : most_ms) * MS_NS;
  for (int i = 0; i + 1 < call->starts; i++) {
    uint64_t was = call->at_ns[i + 1] - call->at_ns[i];
    if (was < pause / 5 * 4 || was > pause / 5 * 6 + step_ns)
      fail_msg("pause %d of %llu ms is %llu ns", i, (unsigned long long)(pause / MS_NS), (unsigned long long)was);
    pause = pause * 2 < most_ms * MS_NS ? pause * 2 : most_ms * MS_NS;
  }
}

/* Moves the clock to just before the next attempt, as the retry itself has noted it, and then to that moment. */
static void pass_to_next(call_t *call, uv_loop_t *loop) {
  int starts = call->starts;
  pass_ns(loop, call->retry.uvf__timeout.deadline.at_ns - fake_ns - 1);
  assert_int_equal(call->starts, starts);
  pass_ns(loop, 1);
  assert_int_equal(call->starts, starts + 1);
}

static void pauses_double_up_to_their_maximum_and_are_never_early(void **state) {
  static const uint64_t rows[][2] = {{100, 1000}, {1, 1}, {10, 35}, {3, 100000}, {50, 20}, {1000, 1000}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows) * 20; i++) {
    uint64_t backoff_ms = rows[i / 20][0], most_ms = rows[i / 20][1];
    uvf_retry_options_t o = options_of(backoff_ms, most_ms, UVF_NO_LIMIT);
    uint64_t step = i % 20 == 0 && backoff_ms <= 10 ? MS_NS / 5 : 0; /* 0: straight to where it says it will begin */
    call_t call;
    CALL_INIT(call, 8, {AT_ONCE, UV_EIO, 0});
    call_start(&call, f->root, &o, 1);
    turn(&f->loop);
    while (call.dones == 0 && step > 0) pass_ns(&f->loop, step);
    while (call.dones == 0) pass_to_next(&call, &f->loop);
    assert_call(&call, 8, 1, 1);
    check_pauses(&call, backoff_ms, most_ms, step);
  }
}

static void pauses_differ_at_random_within_their_bounds(void **state) {
  fixture_t *f = *state;
  int tenths[4] = {0};
  for (int round = 0; round < 400; round++) {
    uvf_retry_options_t o = options_of(100, 100, UVF_NO_LIMIT);
    call_t call;
    uint64_t was;
    CALL_INIT(call, 2, {AT_ONCE, UV_EIO, 0});
    call_start(&call, f->root, &o, 0);
    turn(&f->loop);
    pass_ns(&f->loop, 80 * MS_NS - 1);
    assert_int_equal(call.starts, 1);
    pass_to_next(&call, &f->loop);
    was = call.at_ns[1] - call.at_ns[0];
    assert_true(was >= 80 * MS_NS && was <= 120 * MS_NS);
    turn(&f->loop);
    assert_call(&call, 2, 1, 0);
    tenths[was == 120 * MS_NS ? 3 : (was - 80 * MS_NS) / (10 * MS_NS)]++;
  }
  for (int i = 0; i < 4; i++)
    assert_in_range(tenths[i], 40, 180); /* 100 each would be even: off by 6.9 sigma and more */
}

static void without_a_backoff_the_next_attempt_follows_at_once_but_from_the_loop(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(0, 1000, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, CALL_MAX, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  for (unsigned int i = 0; i < CALL_MAX; i++) {
    assert_int_equal(finish(&call, i, UV_EIO), 0);
    assert_int_equal(call.starts, i + 1);
    pass_ns(&f->loop, 0);
    assert_int_equal(call.starts, i + 1 < CALL_MAX ? i + 2 : CALL_MAX);
  }
  assert_call(&call, CALL_MAX, 1, 1);
}

static void a_backoff_too_long_to_be_counted_is_no_short_one(void **state) {
  static const uint64_t lengths[] = {UINT64_MAX, UINT64_MAX / MS_NS, UINT64_MAX / MS_NS / 6 * 5 + 2};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(lengths) * 20; i++) {
    uvf_retry_options_t o = options_of(lengths[i / 20], UINT64_MAX, UVF_NO_LIMIT);
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call;
    CALL_INIT(call, 2, {AT_ONCE, UV_EIO, 0});
    call_start(&call, ctx, &o, 1);
    turn(&f->loop);
    pass_ms(&f->loop, 24 * HOUR_MS); /* 80 times, ever farther */
    assert_int_equal(call.starts, 1);
    uvf_ctx_cancel(ctx); /* it waits for it, or has given up at once */
    turn(&f->loop);
    assert_call(&call, 1, 1, 1);
    uvf_ctx_release(ctx);
  }
}

/* With libuv's own clock: late it may be, early not. */
static void pauses_are_kept_by_the_real_clock(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(5, 20, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 4, {INSIDE, UV_EIO, 0});
  call_start(&call, f->root, &o, 1);
  run_until(&f->loop, &call.releases, 1);
  assert_call(&call, 4, 1, 1);
  check_pauses(&call, 5, 20, GENEROUS_NS);
}

/* --- the deadline --- */

static void an_attempt_that_would_begin_past_the_deadline_is_not_waited_for(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 70);
  uvf_retry_options_t o = options_of(100, 100, UVF_NO_LIMIT); /* 80 at least */
  call_t call;
  CALL_INIT(call, 5, {AT_ONCE, UV_EIO, 0});
  call_start(&call, ctx, &o, 1);
  turn(&f->loop);
  assert_call(&call, 1, 1, 1); /* decided without the clock having moved */
  assert_int_equal(call.status, UV_EIO);
  assert_int_equal(uvf_ctx_err(ctx), 0);
  uvf_ctx_release(ctx);
}

static void attempts_go_on_as_long_as_the_next_one_begins_before_the_deadline(void **state) {
  fixture_t *f = *state;
  for (int round = 0; round < 20; round++) {
    uvf_ctx_t *ctx = timeout_of(f->root, 1000);
    uvf_retry_options_t o = options_of(100, 100, UVF_NO_LIMIT);
    uint64_t deadline = uvf_ctx_deadline_ns(ctx);
    call_t call;
    CALL_INIT(call, CALL_MAX, {AT_ONCE, UV_EIO, 0});
    call_start(&call, ctx, &o, 0);
    turn(&f->loop);
    while (call.dones == 0) pass_ns(&f->loop, call.retry.uvf__timeout.deadline.at_ns - fake_ns); /* to the next one */
    assert_int_equal(call.wrong, 0);
    assert_int_equal(call.status, UV_EIO);
    assert_in_range(call.starts, 9, 13);
    assert_true(call.done_ns < deadline);                /* at once, not at the deadline */
    assert_true(call.done_ns + 120 * MS_NS >= deadline); /* and no earlier than need be */
    assert_int_equal(uvf_ctx_err(ctx), 0);
    uvf_ctx_release(ctx);
  }
}

static void an_attempt_that_runs_is_waited_for_though_no_other_could_follow(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 70);
  uvf_retry_options_t o = options_of(100, 100, 10);
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call_start(&call, ctx, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 10);
  pass_ms(&f->loop, 10);
  assert_int_equal(call.starts, 3);
  assert_int_equal(finish(&call, 1, UV_EIO), 0);
  assert_int_equal(finish(&call, 2, UV_EPIPE), 0);
  turn(&f->loop);
  assert_call(&call, 3, 0, 0);
  assert_int_equal(finish(&call, 0, UV_EAGAIN), 0);
  turn(&f->loop);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(call.status, UV_EAGAIN); /* the last that failed, not the last that began */
  uvf_ctx_release(ctx);
}

/* --- time of one attempt --- */

static void an_attempt_that_takes_too_long_is_ended_and_the_next_begins(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 3, {SLEEPS, 0, HOUR_MS}, {SLEEPS, 0, 51}, {SLEEPS, 0, 49});
  o.attempt_ms = 50;
  call_start(&call, f->root, &o, 1);
  pass_until_done(&call, &f->loop, 1000);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(call.status, 0);
  assert_ptr_equal(call.retry.winner, &call.attempts[2]);
  assert_int_equal(call.attempts[0].status, UV_ETIMEDOUT);
  assert_int_equal(call.attempts[1].status, UV_ETIMEDOUT);
  for (int i = 0; i < 2; i++) {
    assert_true(call.at_ns[i + 1] >= call.at_ns[i] + 58 * MS_NS);
    assert_true(call.at_ns[i + 1] <= call.at_ns[i] + 64 * MS_NS);
  }
}

static void note_deadline(call_t *call, uvf_attempt_t *attempt) {
  *(uint64_t *)call->arg = uvf_ctx_deadline_ns(attempt->ctx);
  if (uvf_ctx_err(attempt->ctx) != 0) call->wrong++;
}

static void the_time_of_an_attempt_is_bounded_by_its_limit_and_the_whole_deadline(void **state) {
  static const struct {
    uint64_t attempt_ms, ctx_ms, wanted_ms;
  } rows[] = {{50, 200, 50},     {300, 200, 200},           {0, 200, 200}, {UVF_NO_LIMIT, 200, 200},
              {50, HOUR_MS, 50}, {UINT64_MAX - 1, 200, 200}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    uvf_ctx_t *ctx = timeout_of(f->root, rows[i].ctx_ms);
    uint64_t deadline = 0;
    call_t call;
    CALL_INIT(call, 1, {INSIDE, 0, 0});
    o.attempt_ms = rows[i].attempt_ms;
    call.in_start = note_deadline;
    call.arg = &deadline;
    call_start(&call, ctx, &o, 1);
    turn(&f->loop);
    assert_call(&call, 1, 1, 1);
    assert_true(deadline == fake_ns + rows[i].wanted_ms * MS_NS);
    uvf_ctx_release(ctx);
  }
}

/* --- what is copied, what may be left out --- */

static void options_are_copied_and_the_callbacks_may_be_left_out(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 8; row++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    call_t call;
    CALL_INIT(call, 2, {AT_ONCE, UV_EIO, 0}, {INSIDE, 0, 0});
    if (row & 4) o.retryable = NULL; /* every failure is worth another */
    assert_int_equal(uvf_retry_start(f->root, &call.retry, call.attempts, 2, &o, on_call_start,
                                     row & 1 ? on_call_done : NULL, row & 2 ? on_call_release : NULL),
                     0);
    memset(&o, 0xff, sizeof o);
    turn(&f->loop);
    assert_int_equal(call.starts, 1);
    for (int i = 0; i < 13; i++) pass_ms(&f->loop, 1);
    assert_int_equal(call.starts, 2);
    assert_int_equal(call.asked, row & 4 ? 0 : 1);
    assert_int_equal(call.dones, row & 1);
    assert_int_equal(call.releases, row & 2 ? 1 : 0);
    assert_int_equal(call.retry.status, 0);
    assert_int_equal(stats_of(f->root).ops, 0);
  }
}

static void the_defaults_are_those_of_the_header(void **state) {
  uvf_retry_options_t o;
  (void)state;
  memset(&o, 0x5a, sizeof o);
  uvf_retry_options_init(&o);
  assert_true(o.attempt_ms == UVF_NO_LIMIT || o.attempt_ms == 0);
  assert_true(o.hedge_ms == UVF_NO_LIMIT);
  assert_true(o.backoff_ms == 100);
  assert_true(o.backoff_max_ms == 1000);
  assert_null(o.retryable);
  assert_null(o.budget);
}

static int lonely_start(uvf_attempt_t *attempt) {
  return attempt->number + 1 < attempt->retry->uvf__count ? UV_EIO : uvf_attempt_done(attempt, 0);
}

static int lonely_done;

static void on_lonely_done(uvf_retry_t *retry, int status) {
  lonely_done++;
  assert_int_equal(status, 0);
  assert_int_equal(retry->winner->number, retry->uvf__count - 1);
}

static void many_thousands_of_attempts_are_no_different(void **state) {
  fixture_t *f = *state;
  unsigned int n = (unsigned int)test_scaled(20000, 4);
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  uvf_retry_t retry;
  uvf_attempt_t *attempts = malloc(n * sizeof *attempts);
  o.retryable = NULL;
  lonely_done = 0;
  assert_non_null(attempts);
  assert_int_equal(uvf_retry_start(f->root, &retry, attempts, n, &o, lonely_start, on_lonely_done, NULL), 0);
  for (unsigned int i = 0; i < n + 2 && !lonely_done; i++) {
    uvf__hub_run_deadlines(uvf__hub_find(&f->loop));
    uv_run(&f->loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(lonely_done, 1);
  assert_int_equal(retry.failed, n - 1);
  free(attempts);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_clock(the_first_attempt_begins_from_the_loop_and_its_success_is_the_result),
      unit_clock(failures_are_followed_by_further_attempts_until_one_succeeds),
      unit_clock(when_all_have_failed_the_last_error_is_told_without_a_further_pause),
      unit_clock(what_is_not_retryable_fails_the_whole_thing_at_once),
      unit_clock(a_status_above_zero_is_a_failure_like_any_other),
      unit_clock(pauses_double_up_to_their_maximum_and_are_never_early),
      unit_clock(pauses_differ_at_random_within_their_bounds),
      unit_clock(without_a_backoff_the_next_attempt_follows_at_once_but_from_the_loop),
      unit_clock(a_backoff_too_long_to_be_counted_is_no_short_one),
      unit(pauses_are_kept_by_the_real_clock),
      unit_clock(an_attempt_that_would_begin_past_the_deadline_is_not_waited_for),
      unit_clock(attempts_go_on_as_long_as_the_next_one_begins_before_the_deadline),
      unit_clock(an_attempt_that_runs_is_waited_for_though_no_other_could_follow),
      unit_clock(an_attempt_that_takes_too_long_is_ended_and_the_next_begins),
      unit_clock(the_time_of_an_attempt_is_bounded_by_its_limit_and_the_whole_deadline),
      unit_clock(options_are_copied_and_the_callbacks_may_be_left_out),
      unit_clock(the_defaults_are_those_of_the_header),
      unit_clock(many_thousands_of_attempts_are_no_different),
  };
  return test_run(tests);
}
