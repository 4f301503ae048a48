/* SPDX-License-Identifier: MIT
 *
 * serve.h: hedges: attempts that begin before the last has answered; and what becomes of those that did not win.
 */
#include "unit/retry_probe.h"

/* --- when they begin --- */

static void a_hedge_begins_when_its_time_has_come_and_never_earlier(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(1000, 1000, 20);
  call_t call;
  CALL_INIT(call, 4, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  for (int i = 1; i <= 4; i++) {
    assert_int_equal(call.starts, i);
    pass_ns(&f->loop, 20 * MS_NS - 1);
    assert_int_equal(call.starts, i);
    pass_ns(&f->loop, 1);
    assert_int_equal(call.starts, i < 4 ? i + 1 : 4); /* n at most */
  }
  assert_int_equal(stats_of(f->root).contexts, 5);
  assert_int_equal(finish(&call, 2, 0), 0);
  turn(&f->loop);
  assert_call(&call, 4, 1, 0); /* three run still */
  for (unsigned int i = 0; i < 4; i++) assert_int_equal(i == 2 || finish(&call, i, UV_ECANCELED) == 0, 1);
  turn(&f->loop);
  assert_call(&call, 4, 1, 1);
  assert_ptr_equal(call.retry.winner, &call.attempts[2]);
}

static void hedges_keep_their_time_by_the_real_clock(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(1000, 1000, 5);
  call_t call;
  CALL_INIT(call, 3, {SLEEPS, 0, HOUR_MS}, {SLEEPS, 0, HOUR_MS}, {SLEEPS, 0, 1});
  uint64_t begin_ns = uv_hrtime(); /* they count from before their starts */
  call_start(&call, f->root, &o, 1);
  run_until(&f->loop, &call.releases, 1);
  assert_call(&call, 3, 1, 1);
  assert_true(call.at_ns[1] - begin_ns >= 5 * MS_NS);
  assert_true(call.at_ns[2] - begin_ns >= 10 * MS_NS);
  assert_true(call.at_ns[2] - call.at_ns[0] < GENEROUS_NS);
  assert_int_equal(call.status, 0);
  assert_ptr_equal(call.retry.winner, &call.attempts[2]);
}

static void a_delay_of_0_is_no_hedge(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(1, 1, 0);
  call_t call;
  CALL_INIT(call, 2, {LATER, 0, 0});
  call_start(&call, f->root, &o, 0);
  turn(&f->loop);
  for (int i = 0; i < 100; i++) pass_ms(&f->loop, 1);
  assert_int_equal(call.starts, 1);
  assert_int_equal(finish(&call, 0, 0), 0);
  turn(&f->loop);
  assert_call(&call, 1, 1, 0);
}

static void with_one_attempt_there_is_nothing_to_hedge_with(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(1, 1, 1);
  call_t call;
  CALL_INIT(call, 1, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 1000);
  assert_call(&call, 1, 0, 0);
  assert_int_equal(finish(&call, 0, UV_EIO), 0);
  turn(&f->loop);
  assert_call(&call, 1, 1, 1);
  assert_int_equal(call.status, UV_EIO);
}

static void a_hedge_past_the_deadline_is_none(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 30);
  uvf_retry_options_t o = options_of(1, 1, 12);
  call_t call;
  CALL_INIT(call, 8, {SLEEPS, 0, HOUR_MS});
  call_start(&call, ctx, &o, 1);
  pass_until_done(&call, &f->loop, 100);
  assert_call(&call, 3, 1, 1); /* at 0, 12, 24 */
  assert_int_equal(call.status, UV_ETIMEDOUT);
  for (int i = 0; i < 3; i++) assert_int_equal(call.attempts[i].status, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}

/* --- failures among hedges --- */

static void a_failure_brings_the_next_attempt_forward(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 100);
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  assert_int_equal(finish(&call, 0, UV_EIO), 0);
  for (int i = 0; i < 13; i++) pass_ms(&f->loop, 1);
  assert_int_equal(call.starts, 2);
  assert_true(call.at_ns[1] - call.at_ns[0] >= 8 * MS_NS);
  pass_ns(&f->loop, call.at_ns[1] + 100 * MS_NS - 1 - fake_ns); /* counted from the attempt before, and only once */
  assert_int_equal(call.starts, 2);
  pass_ns(&f->loop, 1);
  assert_int_equal(call.starts, 3);
  assert_int_equal(finish(&call, 1, UV_EIO), 0);
  assert_int_equal(finish(&call, 2, UV_EPIPE), 0);
  turn(&f->loop);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(call.status, UV_EPIPE);
}

static void a_failure_does_not_put_a_hedge_off(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(1000, 1000, 20);
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 20);
  assert_int_equal(call.starts, 2);
  assert_int_equal(finish(&call, 0, UV_EIO), 0); /* a pause of 800 at least; the second has not answered */
  pass_ns(&f->loop, 20 * MS_NS - 1);
  assert_int_equal(call.starts, 2);
  pass_ns(&f->loop, 1);
  assert_int_equal(call.starts, 3);
  assert_int_equal(finish(&call, 2, 0), 0);
  assert_int_equal(finish(&call, 1, 0), 0); /* too late to win */
  turn(&f->loop);
  assert_call(&call, 3, 1, 1);
  assert_ptr_equal(call.retry.winner, &call.attempts[2]);
  assert_int_equal(call.attempts[1].status, 0);
  assert_int_equal(call.retry.failed, 1);
}

static void a_failure_whose_pause_would_be_too_long_leaves_the_hedge_that_is_due_before(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 70);
  uvf_retry_options_t o = options_of(1000, 1000, 20);
  call_t call;
  CALL_INIT(call, 2, {LATER, 0, 0});
  call_start(&call, ctx, &o, 1);
  turn(&f->loop);
  assert_int_equal(finish(&call, 0, UV_EIO), 0); /* 800 ms at least: past the deadline */
  turn(&f->loop);
  assert_call(&call, 1, 0, 0);
  pass_ms(&f->loop, 20);
  assert_call(&call, 2, 0, 0);
  assert_int_equal(finish(&call, 1, 0), 0);
  turn(&f->loop);
  assert_call(&call, 2, 1, 1);
  assert_int_equal(call.status, 0);
  uvf_ctx_release(ctx);
}

static void one_that_is_not_retryable_ends_the_hedges_too(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 5);
  call_t call;
  CALL_INIT(call, 4, {SLEEPS, 0, HOUR_MS}, {LATER, 0, 0});
  call.answer = 0;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 5);
  assert_int_equal(finish(&call, 1, UV_EACCES), 0);
  turn(&f->loop);
  assert_call(&call, 2, 1, 1);
  assert_int_equal(call.status, UV_EACCES);
  assert_int_equal(call.attempts[0].status, UV_ECANCELED); /* the sleep was cut */
  pass_ms(&f->loop, 1000);
  assert_call(&call, 2, 1, 1);
}

/* --- decided --- */

static void once_decided_no_attempt_begins_any_more(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    for (int status = 0; status > -2; status--) {
      uvf_retry_options_t o = options_of(10, 10, 5);
      call_t call;
      CALL_INIT(call, CALL_MAX, {LATER, 0, 0});
      call.answer = 0;
      call_start(&call, f->root, &o, release);
      turn(&f->loop);
      pass_ms(&f->loop, 5);
      pass_ms(&f->loop, 5);
      assert_int_equal(call.starts, 3);
      assert_int_equal(finish(&call, 1, status), 0);
      for (int i = 0; i < 30; i++) pass_ms(&f->loop, 5);
      assert_call(&call, 3, release, 0); /* without a release callback done waits for the losers */
      assert_int_equal(finish(&call, 0, UV_EIO), 0);
      for (int i = 0; i < 3; i++) pass_ms(&f->loop, 5);
      assert_call(&call, 3, release, 0);
      assert_int_equal(finish(&call, 2, 0), 0);
      assert_call(&call, 3, release, 0);
      turn(&f->loop);
      assert_call(&call, 3, 1, release);
      assert_int_equal(call.status, status);
      assert_int_equal(call.asked, status != 0 ? 1 : 0);
      if (status == 0) assert_ptr_equal(call.retry.winner, &call.attempts[1]);
    }
  }
}

/* The attempts' contexts, kept for a look at them afterwards. */
typedef struct kept_s {
  uvf_ctx_t *ctx[CALL_MAX];
} kept_t;

static void keep_ctx(call_t *call, uvf_attempt_t *attempt) {
  kept_t *kept = call->arg;
  kept->ctx[attempt->number] = uvf_ctx_retain(attempt->ctx);
}

static void the_losers_contexts_are_cancelled_and_the_winners_is_not(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 5);
  kept_t kept = {{NULL}};
  probe_t probes[3] = {0};
  call_t call;
  CALL_INIT(call, 3, {LATER, 0, 0});
  call.in_start = keep_ctx;
  call.arg = &kept;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  pass_ms(&f->loop, 5);
  pass_ms(&f->loop, 5);
  for (int i = 0; i < 3; i++) {
    assert_int_equal(uvf_ctx_err(kept.ctx[i]), 0);
    probe_start(&probes[i], kept.ctx[i], i, NULL);
  }
  assert_int_equal(finish(&call, 0, 0), 0);
  assert_over(kept.ctx[1], UV_ECANCELED, UV_ECANCELED); /* before uvf_attempt_done has returned */
  assert_over(kept.ctx[2], UV_ECANCELED, UV_ECANCELED);
  assert_int_equal(uvf_ctx_err(kept.ctx[0]), 0);
  assert_int_equal(uvf_ctx_err(f->root), 0);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) assert_int_equal(probes[i].calls, i > 0);
  assert_int_equal(uvf_watch_stop(&probes[0].watch), UVF_STOP_REMOVED);
  assert_call(&call, 3, 1, 0);
  assert_int_equal(finish(&call, 1, UV_ECANCELED), 0);
  assert_int_equal(finish(&call, 2, UV_ECANCELED), 0);
  turn(&f->loop);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(call.retry.failed, 0); /* they lost, which is no failure */
  for (int i = 0; i < 3; i++) uvf_ctx_release(kept.ctx[i]);
}

static void a_failed_attempts_context_is_given_back_and_not_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
  kept_t kept = {{NULL}};
  call_t call;
  CALL_INIT(call, 2, {INSIDE, UV_EIO, 0}, {LATER, 0, 0});
  call.in_start = keep_ctx;
  call.arg = &kept;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  assert_int_equal(uvf_ctx_err(kept.ctx[0]), 0);
  assert_int_equal(stats_of(f->root).contexts, 2);
  uvf_ctx_release(kept.ctx[0]);
  assert_int_equal(stats_of(f->root).contexts, 1); /* nobody else held it */
  for (int i = 0; i < 13; i++) pass_ms(&f->loop, 1);
  assert_int_equal(finish(&call, 1, 0), 0);
  turn(&f->loop);
  assert_call(&call, 2, 1, 1);
  uvf_ctx_release(kept.ctx[1]);
}

static void two_successes_in_one_turn_make_one_winner_the_first(void **state) {
  fixture_t *f = *state;
  for (unsigned int first = 0; first < 3; first++) {
    uvf_retry_options_t o = options_of(10, 10, 5);
    call_t call;
    CALL_INIT(call, 3, {LATER, 0, 0});
    call_start(&call, f->root, &o, first % 2 == 0);
    turn(&f->loop);
    pass_ms(&f->loop, 5);
    pass_ms(&f->loop, 5);
    for (unsigned int i = 0; i < 3; i++) assert_int_equal(finish(&call, (first + i) % 3, 0), 0);
    assert_int_equal(call.dones, 0);
    turn(&f->loop);
    assert_call(&call, 3, 1, first % 2 == 0);
    assert_ptr_equal(call.retry.winner, &call.attempts[first]);
  }
}

static void a_success_beats_a_failure_that_came_before_it(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(10, 10, 5);
  call_t call;
  CALL_INIT(call, 2, {LATER, 0, 0});
  call_start(&call, f->root, &o, 0);
  turn(&f->loop);
  pass_ms(&f->loop, 5);
  assert_int_equal(finish(&call, 0, UV_EIO), 0); /* none is left, but the other one runs */
  turn(&f->loop);
  assert_call(&call, 2, 0, 0);
  assert_int_equal(finish(&call, 1, 0), 0);
  turn(&f->loop);
  assert_call(&call, 2, 1, 0);
  assert_int_equal(call.status, 0);
  assert_int_equal(call.retry.failed, 1);
}

static void hedges_and_the_time_of_an_attempt_work_together(void **state) {
  fixture_t *f = *state;
  uvf_retry_options_t o = options_of(2, 2, 20);
  call_t call;
  CALL_INIT(call, 5, {SLEEPS, 0, HOUR_MS}, {SLEEPS, 0, HOUR_MS}, {SLEEPS, 0, 6});
  o.attempt_ms = 30;
  call_start(&call, f->root, &o, 1);
  /* 0: the first; 20: the second; 30: the first is over; 31.6 to 32.4: the third; 37.6 to 38.4: it wins */
  pass_until_done(&call, &f->loop, 100);
  turn(&f->loop);
  assert_call(&call, 3, 1, 1);
  assert_int_equal(call.status, 0);
  assert_ptr_equal(call.retry.winner, &call.attempts[2]);
  assert_int_equal(call.attempts[0].status, UV_ETIMEDOUT);
  assert_int_equal(call.attempts[1].status, UV_ECANCELED);
  assert_int_equal(call.retry.failed, 1);
  assert_in_range(call.done_ns - call.at_ns[0], 37 * MS_NS, 40 * MS_NS);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_clock(a_hedge_begins_when_its_time_has_come_and_never_earlier),
      unit_clock(a_delay_of_0_is_no_hedge),
      unit_clock(with_one_attempt_there_is_nothing_to_hedge_with),
      unit_clock(a_hedge_past_the_deadline_is_none),
      unit_clock(a_failure_brings_the_next_attempt_forward),
      unit_clock(a_failure_does_not_put_a_hedge_off),
      unit_clock(a_failure_whose_pause_would_be_too_long_leaves_the_hedge_that_is_due_before),
      unit_clock(one_that_is_not_retryable_ends_the_hedges_too),
      unit_clock(once_decided_no_attempt_begins_any_more),
      unit_clock(the_losers_contexts_are_cancelled_and_the_winners_is_not),
      unit_clock(a_failed_attempts_context_is_given_back_and_not_cancelled),
      unit_clock(two_successes_in_one_turn_make_one_winner_the_first),
      unit_clock(a_success_beats_a_failure_that_came_before_it),
      unit_clock(hedges_and_the_time_of_an_attempt_work_together),
      unit(hedges_keep_their_time_by_the_real_clock),
  };
  return test_run(tests);
}
