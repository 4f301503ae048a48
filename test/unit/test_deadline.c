/* SPDX-License-Identifier: MIT
 *
 * Deadlines: never early, the earlier one counts, what is saturated or past, causes, and what they do not hold.
 */
#include "unit/probe.h"

/* --- when --- */

static void a_deadline_is_never_early_measured_from_the_call(void **state) {
  static const uint64_t rows[] = {1, 2, 3, 4, 5, 7, 10, 15, 20, 33, 64, 65, 100, 256, 300, 1025};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uint64_t before, after;
    uvf_ctx_t *ctx;
    probe_t probe = {0};
    spin_ns(MS_NS * (i % 3) * 2 / 3); /* leave the loop's clock stale by parts of a millisecond and more */
    before = uv_hrtime();
    ctx = timeout_of(f->root, rows[i]);
    after = uv_hrtime();
    assert_in_range(uvf_ctx_deadline_ns(ctx), before + rows[i] * MS_NS, after + rows[i] * MS_NS);
    probe_start(&probe, ctx, 0, NULL);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(probe.status, UV_ETIMEDOUT);
    assert_true(probe.at >= before + rows[i] * MS_NS);
    assert_true(probe.at - after <= rows[i] * MS_NS + GENEROUS_NS);
    assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
    uvf_ctx_release(ctx);
  }
}

static void an_absolute_deadline_is_kept_to_the_nanosecond_and_never_early(void **state) {
  fixture_t *f = *state;
  for (uint64_t part = 0; part < MS_NS; part += MS_NS / 7) {
    uint64_t deadline = uv_hrtime() + 3 * MS_NS + part;
    uvf_ctx_t *ctx = NULL;
    probe_t probe = {0};
    assert_int_equal(uvf_ctx_with_deadline(f->root, deadline, &ctx), 0);
    assert_true(uvf_ctx_deadline_ns(ctx) == deadline);
    probe_start(&probe, ctx, 0, NULL);
    run_until(&f->loop, &probe.calls, 1);
    assert_true(probe.at >= deadline);
    assert_true(probe.at - deadline <= GENEROUS_NS);
    assert_true(uvf_ctx_deadline_ns(ctx) == deadline); /* constant, also after the end */
    uvf_ctx_release(ctx);
  }
}

static void err_stays_zero_until_the_deadline_however_often_the_loop_turns(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 10);
  uint64_t deadline = uvf_ctx_deadline_ns(ctx), now, last = 0;
  int err;
  do {
    turn(&f->loop);
    err = uvf_ctx_err(ctx);
    now = uv_hrtime();
    if (err == 0) last = now;
  } while (err == 0 && now < deadline + GENEROUS_NS);
  assert_int_equal(err, UV_ETIMEDOUT);
  assert_true(now >= deadline);
  assert_true(last > 0);
  uvf_ctx_release(ctx);
}

static void a_loop_that_does_not_run_ends_nothing(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 1);
  probe_t probe = {0};
  probe_start(&probe, ctx, 0, NULL);
  spin_ns(5 * MS_NS);
  assert_over(ctx, 0, 0);
  assert_true(uvf_ctx_remaining_ns(ctx) == 0);
  run_until(&f->loop, &probe.calls, 1);
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  uvf_ctx_release(ctx);
}

static void a_nearer_deadline_armed_after_a_farther_one_comes_first(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  static const uint64_t ms[] = {HOUR_MS, 700, 250, 80, 10};
  uvf_ctx_t *ctx[ARRAY_SIZE(ms)];
  probe_t probes[ARRAY_SIZE(ms)] = {0};
  for (size_t i = 0; i < ARRAY_SIZE(ms); i++) {
    ctx[i] = timeout_of(f->root, ms[i]);
    probe_start(&probes[i], ctx[i], (int)i, &journal);
  }
  run_until(&f->loop, &journal.n, 4);
  assert_journal(&journal, 4, 3, 2, 1);
  assert_int_equal(stats_of(f->root).deadlines, 1);
  assert_int_equal(uvf_watch_stop(&probes[0].watch), UVF_STOP_REMOVED);
  for (size_t i = 0; i < ARRAY_SIZE(ms); i++) uvf_ctx_release(ctx[i]);
}

static void thousands_of_deadlines_in_random_order_each_fire_once_and_not_early(void **state) {
  enum { N = 6000 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  probe_t *probes = calloc(N, sizeof *probes);
  uvf_ctx_t **ctx = calloc(N, sizeof *ctx);
  uint64_t *wanted = calloc(N, sizeof *wanted);
  int cancelled = 0;
  assert_non_null(probes);
  assert_non_null(ctx);
  assert_non_null(wanted);
  for (int i = 0; i < N; i++) {
    uint64_t ms = 20 + test_rand(&seed) % (i % 10 == 0 ? 900 : 200);
    wanted[i] = uv_hrtime() + ms * MS_NS;
    ctx[i] = timeout_of(i > 0 && i % 5 == 0 ? ctx[test_rand(&seed) % (uint64_t)i] : f->root, ms);
    if (uvf_ctx_deadline_ns(ctx[i]) < wanted[i]) wanted[i] = uvf_ctx_deadline_ns(ctx[i]); /* a parent's is nearer */
    probe_start(&probes[i], ctx[i], i, NULL);
    if (i % 7 == 0) turn(&f->loop);
  }
  for (int i = 0; i < N; i += 11) uvf_ctx_cancel(ctx[i]);
  for (int i = 0; i < N; i++) run_until(&f->loop, &probes[i].calls, 1);
  turn(&f->loop);
  for (int i = 0; i < N; i++) {
    assert_int_equal(probes[i].calls, 1);
    assert_int_equal(probes[i].status, uvf_ctx_err(ctx[i]));
    if (probes[i].status == UV_ETIMEDOUT) {
      assert_true(probes[i].at >= wanted[i]);
    } else {
      assert_int_equal(probes[i].status, UV_ECANCELED);
      cancelled++;
    }
  }
  assert_true(cancelled >= 1);
  assert_true(cancelled < N / 2);
  assert_int_equal(stats_of(f->root).deadlines, 0);
  for (int i = 0; i < N; i++) uvf_ctx_release(ctx[i]);
  free(wanted);
  free(ctx);
  free(probes);
}

/* --- the earlier of parent and child --- */

static void the_earlier_of_parents_and_childs_deadline_counts_and_only_it_is_armed(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *near = timeout_of(f->root, 5), *plain = child_of(near), *far = timeout_of(plain, HOUR_MS);
  uvf_ctx_t *outer = timeout_of(f->root, HOUR_MS), *inner = timeout_of(outer, 5);
  probe_t probes[2] = {0};
  assert_true(uvf_ctx_deadline_ns(plain) == uvf_ctx_deadline_ns(near));
  assert_true(uvf_ctx_deadline_ns(far) == uvf_ctx_deadline_ns(near));
  assert_true(uvf_ctx_deadline_ns(inner) < uvf_ctx_deadline_ns(outer));
  assert_int_equal(stats_of(f->root).deadlines, 3); /* near, outer, inner */
  probe_start(&probes[0], far, 0, NULL);
  probe_start(&probes[1], inner, 0, NULL);
  run_until(&f->loop, &probes[0].calls, 1);
  run_until(&f->loop, &probes[1].calls, 1);
  assert_true(probes[0].at >= uvf_ctx_deadline_ns(near));
  assert_over(near, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_over(plain, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_over(far, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_over(inner, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_over(outer, 0, 0);
  uvf_ctx_release(near);
  uvf_ctx_release(plain);
  uvf_ctx_release(far);
  uvf_ctx_release(outer);
  uvf_ctx_release(inner);
}

/* --- the ends of the scale --- */

static void a_time_too_far_to_be_counted_means_no_deadline_of_its_own(void **state) {
  static const uint64_t rows[] = {UINT64_MAX, UINT64_MAX - 1, UINT64_C(1000000000000000000), UINT64_MAX / MS_NS + 1,
                                  UINT64_MAX / MS_NS};
  fixture_t *f = *state;
  uvf_ctx_t *near = timeout_of(f->root, HOUR_MS);
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_ctx_t *ctx = timeout_of(f->root, rows[i]), *below = timeout_of(near, rows[i]), *caused = NULL;
    assert_int_equal(uvf_ctx_with_timeout_cause(f->root, rows[i], -9, NULL, &caused), 0);
    assert_over(ctx, 0, 0);
    assert_over(caused, 0, 0);
    assert_true(uvf_ctx_deadline_ns(ctx) == UVF_NO_DEADLINE);
    assert_true(uvf_ctx_deadline_ns(caused) == UVF_NO_DEADLINE);
    assert_true(uvf_ctx_remaining_ns(ctx) == UVF_NO_DEADLINE);
    assert_true(uvf_ctx_remaining_ms(ctx) == UVF_NO_DEADLINE);
    assert_true(uvf_ctx_deadline_ns(below) == uvf_ctx_deadline_ns(near));
    turn(&f->loop);
    assert_over(ctx, 0, 0);
    assert_int_equal(stats_of(f->root).deadlines, 1);
    uvf_ctx_release(ctx);
    uvf_ctx_release(below);
    uvf_ctx_release(caused);
  }
  uvf_ctx_release(near);
}

static void the_farthest_time_that_can_be_counted_is_a_deadline(void **state) {
  fixture_t *f = *state;
  uint64_t ms = (UINT64_MAX - uv_hrtime() - HOUR_NS) / MS_NS, before = uv_hrtime();
  uvf_ctx_t *timeout = timeout_of(f->root, ms), *deadline = NULL, *none = NULL;
  assert_int_equal(uvf_ctx_with_deadline(f->root, UINT64_MAX - 1, &deadline), 0);
  assert_int_equal(uvf_ctx_with_deadline(f->root, UVF_NO_DEADLINE, &none), 0);
  assert_in_range(uvf_ctx_deadline_ns(timeout), before + ms * MS_NS, UINT64_MAX - 1);
  assert_true(uvf_ctx_deadline_ns(deadline) == UINT64_MAX - 1);
  assert_true(uvf_ctx_deadline_ns(none) == UVF_NO_DEADLINE);
  turn(&f->loop);
  assert_over(timeout, 0, 0);
  assert_over(deadline, 0, 0);
  assert_over(none, 0, 0);
  assert_true(uvf_ctx_remaining_ms(deadline) >= ms);
  assert_true(uvf_ctx_remaining_ms(deadline) <= UINT64_MAX / MS_NS + 1);
  uvf_ctx_release(timeout);
  uvf_ctx_release(deadline);
  uvf_ctx_release(none);
}

static void a_deadline_that_is_now_or_past_makes_a_child_that_is_born_over(void **state) {
  fixture_t *f = *state;
  int reason = 0;
  uvf_ctx_t *ctx[6] = {NULL};
  void *data = NULL;
  assert_int_equal(uvf_ctx_with_timeout(f->root, 0, &ctx[0]), 0);
  assert_int_equal(uvf_ctx_with_deadline(f->root, uv_hrtime(), &ctx[1]), 0);
  assert_int_equal(uvf_ctx_with_deadline(f->root, uv_hrtime() - 1, &ctx[2]), 0);
  assert_int_equal(uvf_ctx_with_deadline(f->root, 0, &ctx[3]), 0);
  assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 0, -5, &reason, &ctx[4]), 0);
  assert_int_equal(uvf_ctx_with_deadline_cause(f->root, 1, -5, &reason, &ctx[5]), 0);
  assert_int_equal(stats_of(f->root).deadlines, 0);
  assert_int_equal(stats_of(f->root).live, 1);
  assert_int_equal(counts_of(f->root).children, 0);
  for (size_t i = 0; i < ARRAY_SIZE(ctx); i++) {
    probe_t probe = {0};
    assert_over(ctx[i], UV_ETIMEDOUT, i < 4 ? UV_ETIMEDOUT : -5);
    assert_int_equal(uvf_ctx_cause(ctx[i], &data), i < 4 ? UV_ETIMEDOUT : -5);
    assert_ptr_equal(data, i < 4 ? NULL : &reason);
    assert_true(uvf_ctx_remaining_ns(ctx[i]) == 0);
    assert_true(uvf_ctx_remaining_ms(ctx[i]) == 0);
    assert_true(uvf_ctx_deadline_ns(ctx[i]) <= uv_hrtime());
    probe_start(&probe, ctx[i], 0, NULL);
    assert_int_equal(probe.calls, 0);
    run_until(&f->loop, &probe.calls, 1);
    assert_int_equal(probe.status, UV_ETIMEDOUT);
    uvf_ctx_release(ctx[i]);
  }
}

/* --- causes --- */

static void a_deadline_gives_its_cause_only_when_it_is_what_ends_the_context(void **state) {
  fixture_t *f = *state;
  int mine = 0, theirs = 0;
  void *data = NULL;
  uvf_ctx_t *ended = NULL, *zero = NULL, *parent = NULL, *under = NULL, *cancelled = NULL, *below;
  probe_t probes[3] = {0};
  assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 5, -1, &mine, &ended), 0);
  assert_int_equal(uvf_ctx_with_deadline_cause(f->root, uv_hrtime() + 5 * MS_NS, 0, &mine, &zero), 0);
  assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 5, -2, &theirs, &parent), 0);
  assert_int_equal(uvf_ctx_with_timeout_cause(parent, 400, -3, &mine, &under), 0);
  assert_int_equal(uvf_ctx_with_timeout_cause(f->root, 5, -4, &mine, &cancelled), 0);
  below = child_of(ended);
  uvf_ctx_cancel_cause(cancelled, -6, &theirs);
  probe_start(&probes[0], ended, 0, NULL);
  probe_start(&probes[1], zero, 0, NULL);
  probe_start(&probes[2], under, 0, NULL);
  for (size_t i = 0; i < ARRAY_SIZE(probes); i++) run_until(&f->loop, &probes[i].calls, 1);
  assert_int_equal(uvf_ctx_err(ended), UV_ETIMEDOUT);
  assert_int_equal(uvf_ctx_cause(ended, &data), -1);
  assert_ptr_equal(data, &mine);
  assert_int_equal(uvf_ctx_err(below), UV_ETIMEDOUT);
  assert_int_equal(uvf_ctx_cause(below, &data), -1);
  assert_ptr_equal(data, &mine);
  assert_int_equal(uvf_ctx_cause(zero, &data), UV_ETIMEDOUT); /* 0 means UV_ETIMEDOUT */
  assert_ptr_equal(data, &mine);
  assert_int_equal(uvf_ctx_err(under), UV_ETIMEDOUT);
  assert_int_equal(uvf_ctx_cause(under, &data), -2);
  assert_ptr_equal(data, &theirs);
  assert_int_equal(uvf_ctx_err(cancelled), UV_ECANCELED);
  assert_int_equal(uvf_ctx_cause(cancelled, &data), -6);
  assert_ptr_equal(data, &theirs);
  uvf_ctx_release(ended);
  uvf_ctx_release(below);
  uvf_ctx_release(zero);
  uvf_ctx_release(under);
  uvf_ctx_release(parent);
  uvf_ctx_release(cancelled);
}

/* --- what a deadline does not do --- */

static void deadlines_do_not_hold_the_loop(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx[100];
  for (size_t i = 0; i < ARRAY_SIZE(ctx); i++) ctx[i] = timeout_of(f->root, 20 + i * 1000);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(uvf_ctx_err(ctx[ARRAY_SIZE(ctx) - 1]), 0); /* it did not wait for them */
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  for (size_t i = 0; i < ARRAY_SIZE(ctx); i++) uvf_ctx_release(ctx[i]);
}

static void a_deadline_that_was_cancelled_or_released_never_fires(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *cancelled = timeout_of(f->root, 5), *released = timeout_of(f->root, 5), *later = timeout_of(f->root, 15);
  probe_t probe = {0}, last = {0};
  probe_start(&probe, cancelled, 0, NULL);
  probe_start(&last, later, 0, NULL);
  uvf_ctx_cancel(cancelled);
  uvf_ctx_release(released);
  assert_int_equal(stats_of(f->root).deadlines, 1);
  run_until(&f->loop, &last.calls, 1);
  assert_int_equal(probe.calls, 1);
  assert_int_equal(probe.status, UV_ECANCELED);
  assert_over(cancelled, UV_ECANCELED, UV_ECANCELED);
  uvf_ctx_release(cancelled);
  uvf_ctx_release(later);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

static void remaining_falls_to_zero_and_its_form_in_ms_rounds_up(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 30), *over = timeout_of(f->root, HOUR_MS);
  uint64_t last = UINT64_MAX;
  for (;;) {
    uint64_t before = uvf_ctx_remaining_ns(ctx), ms = uvf_ctx_remaining_ms(ctx), after = uvf_ctx_remaining_ns(ctx);
    assert_true(before <= last);
    assert_true(after <= before);
    assert_true(ms * MS_NS >= after);                  /* a wait of that many ms reaches the deadline */
    assert_true(ms == 0 || (ms - 1) * MS_NS < before); /* and is less than one ms too long */
    last = after;
    if (after == 0) break;
  }
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
  assert_true(uvf_ctx_remaining_ms(ctx) == 0);
  assert_true(uvf_ctx_remaining_ms(over) <= HOUR_MS);
  assert_true(uvf_ctx_remaining_ns(over) > HOUR_NS / 2);
  uvf_ctx_cancel(over);
  assert_true(uvf_ctx_remaining_ns(over) == 0); /* 0 when it is over, however far the deadline is */
  assert_true(uvf_ctx_remaining_ms(over) == 0);
  assert_true(uvf_ctx_deadline_ns(over) > uv_hrtime());
  uvf_ctx_release(ctx);
  uvf_ctx_release(over);
}

typedef struct late_s {
  uvf_ctx_t *parent, *ctx;
  uint64_t called;
} late_t;

static void derive_late(probe_t *probe) {
  late_t *late = probe->arg;
  spin_ns(30 * MS_NS); /* the loop's cached clock is 30 ms behind now */
  late->called = uv_hrtime();
  if (uvf_ctx_with_timeout(late->parent, 10, &late->ctx) != 0) late->ctx = NULL;
}

static void a_timeout_made_in_a_long_callback_counts_from_the_call_and_not_from_the_loops_clock(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  late_t late = {.parent = f->root};
  probe_t first = {.then = derive_late, .arg = &late}, second = {0};
  probe_start(&first, over, 0, NULL);
  run_until(&f->loop, &first.calls, 1);
  assert_non_null(late.ctx);
  assert_true(uvf_ctx_deadline_ns(late.ctx) >= late.called + 10 * MS_NS);
  probe_start(&second, late.ctx, 0, NULL);
  run_until(&f->loop, &second.calls, 1);
  assert_true(second.at >= late.called + 10 * MS_NS);
  uvf_ctx_release(over);
  uvf_ctx_release(late.ctx);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_deadline_is_never_early_measured_from_the_call),
      unit(an_absolute_deadline_is_kept_to_the_nanosecond_and_never_early),
      unit(err_stays_zero_until_the_deadline_however_often_the_loop_turns),
      unit(a_loop_that_does_not_run_ends_nothing),
      unit(a_nearer_deadline_armed_after_a_farther_one_comes_first),
      unit(thousands_of_deadlines_in_random_order_each_fire_once_and_not_early),
      unit(the_earlier_of_parents_and_childs_deadline_counts_and_only_it_is_armed),
      unit(a_time_too_far_to_be_counted_means_no_deadline_of_its_own),
      unit(the_farthest_time_that_can_be_counted_is_a_deadline),
      unit(a_deadline_that_is_now_or_past_makes_a_child_that_is_born_over),
      unit(a_deadline_gives_its_cause_only_when_it_is_what_ends_the_context),
      unit(deadlines_do_not_hold_the_loop),
      unit(a_deadline_that_was_cancelled_or_released_never_fires),
      unit(remaining_falls_to_zero_and_its_form_in_ms_rounds_up),
      unit(a_timeout_made_in_a_long_callback_counts_from_the_call_and_not_from_the_loops_clock),
  };
  return test_run(tests);
}
