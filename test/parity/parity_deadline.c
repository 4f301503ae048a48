/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-16 to C-22, C-44, C-87, C-90: deadlines and timeouts. Lower bounds are exact, there is no upper one
 * but the watchdog's.
 */
#include "parity.h"

/* Runs until ctx has ended with UV_ETIMEDOUT, which must not be before deadline_ns. */
static void expect_timeout(uv_loop_t *loop, uvf_ctx_t *ctx, uint64_t deadline_ns) {
  counted_t c;
  watch_start(&c, ctx, NULL);
  run_until(loop, &c.calls, 1);
  assert_called_once(&c, UV_ETIMEDOUT);
  assert_true(c.called_ns >= deadline_ns);
  assert_over_with(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT, NULL);
}

static void c16_a_deadline_ends_its_context(void **state) {
  fixture_t *f = *state;
  uint64_t deadline = uv_hrtime() + MS_NS;
  uvf_ctx_t *ctx = deadline_of(f->root, deadline);
  assert_described(ctx, "background.with_deadline");
  assert_true(uvf_ctx_deadline_ns(ctx) == deadline);
  expect_timeout(&f->loop, ctx, deadline);
  RELEASE(ctx);
}

/* Close together, so that each wake-up of the loop finds some that are due and some that are not yet. */
static void c16_none_of_many_deadlines_is_early(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  uint64_t start = uv_hrtime();
  struct {
    uvf_ctx_t *ctx;
    uint64_t deadline_ns;
    counted_t done;
  } many[100];
  int total = 0;
  for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
    many[i].deadline_ns = start + MS_NS + test_rand(&seed) % (20 * MS_NS);
    many[i].ctx = deadline_of(f->root, many[i].deadline_ns);
    watch_start(&many[i].done, many[i].ctx, &total);
  }
  run_until(&f->loop, &total, (int)ARRAY_SIZE(many));
  for (size_t i = 0; i < ARRAY_SIZE(many); i++) {
    assert_called_once(&many[i].done, UV_ETIMEDOUT);
    assert_true(many[i].done.called_ns >= many[i].deadline_ns);
    RELEASE(many[i].ctx);
  }
}

static void c17_a_wrapper_of_a_deadline_ends_the_same(void **state) {
  fixture_t *f = *state;
  uint64_t deadline = uv_hrtime() + MS_NS;
  uvf_ctx_t *ctx = deadline_of(f->root, deadline);
  uvf_ctx_t *wrapper = wrapper_of(ctx);
  uvf_ctx_t *both = any_of(f->root, ctx);
  assert_true(uvf_ctx_deadline_ns(wrapper) == deadline);
  assert_true(uvf_ctx_deadline_ns(both) == deadline);
  expect_timeout(&f->loop, wrapper, deadline);
  assert_over(both, UV_ETIMEDOUT, UV_ETIMEDOUT);
  RELEASE(wrapper, both, ctx);
}

/* On another loop the deadline is watched there: the parent's loop does not run at all. */
static void c17_a_remote_wrapper_of_a_deadline_ends_the_same(void **state) {
  fixture_t *f = *state;
  other_t *o = other_open();
  uint64_t deadline = uv_hrtime() + MS_NS;
  uvf_ctx_t *ctx = deadline_of(f->root, deadline);
  uvf_ctx_t *remote;
  remote = remote_of(o->root, ctx);
  assert_true(uvf_ctx_deadline_ns(remote) == deadline);
  expect_timeout(&o->loop, remote, deadline);
  RELEASE(remote, ctx);
  other_close(o);
}

static void c18_a_far_deadline_ends_with_the_near_ancestor(void **state) {
  fixture_t *f = *state;
  uint64_t near_ns = uv_hrtime() + 2 * MS_NS;
  uvf_ctx_t *near_ctx = deadline_of(f->root, near_ns);
  uvf_ctx_t *between = cancel_of(near_ctx);
  uvf_ctx_t *far_ctx = deadline_of(between, near_ns + HOUR_MS * MS_NS);
  assert_true(uvf_ctx_deadline_ns(far_ctx) == near_ns);
  assert_true(stats(f->root).deadlines <= 1); /* the far one is not armed */
  expect_timeout(&f->loop, far_ctx, near_ns);
  RELEASE(far_ctx, between, near_ctx);
}

static void c19_a_past_deadline_ends_at_once(void **state) {
  fixture_t *f = *state;
  uint64_t past = uv_hrtime() - MS_NS;
  uvf_ctx_t *ctx = deadline_of(f->root, past);
  uvf_ctx_t *longest_past = deadline_of(f->root, 0);
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_over(longest_past, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_true(uvf_ctx_deadline_ns(ctx) == past);
  assert_true(uvf_ctx_remaining_ns(ctx) == 0);
  assert_int_equal(stats(f->root).deadlines, 0);
  expect_timeout(&f->loop, ctx, past);
  RELEASE(ctx, longest_past);
}

static void c20_a_deadline_of_now_ends_at_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = deadline_of(f->root, uv_hrtime());
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  run_until_over(&f->loop, ctx, UV_ETIMEDOUT);
  RELEASE(ctx);
}

static void c21_a_timeout_ends_its_context(void **state) {
  fixture_t *f = *state;
  uint64_t start = uv_hrtime();
  uvf_ctx_t *ctx = timeout_of(f->root, 1);
  assert_described(ctx, "background.with_timeout");
  assert_true(uvf_ctx_deadline_ns(ctx) >= start + MS_NS); /* counted from the call, not from the loop's cached clock */
  expect_timeout(&f->loop, ctx, start + MS_NS);
  RELEASE(ctx);
}

static void c21_a_far_timeout_ends_with_the_near_ancestor(void **state) {
  fixture_t *f = *state;
  uint64_t start = uv_hrtime();
  uvf_ctx_t *near_ctx = timeout_of(f->root, 1);
  uvf_ctx_t *wrapper = wrapper_of(near_ctx);
  uvf_ctx_t *far_ctx = timeout_of(wrapper, HOUR_MS);
  expect_timeout(&f->loop, far_ctx, start + MS_NS);
  RELEASE(far_ctx, wrapper, near_ctx);
}

static void c21_a_timeout_of_zero_ends_at_once(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  assert_over(ctx, UV_ETIMEDOUT, UV_ETIMEDOUT);
  assert_true(uvf_ctx_remaining_ms(ctx) == 0);
  run_until_over(&f->loop, ctx, UV_ETIMEDOUT);
  RELEASE(ctx);
}

static void c22_cancel_before_a_far_timeout_is_canceled(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS);
  uvf_ctx_t *wrapper = wrapper_of(ctx);
  uvf_ctx_t *child = timeout_of(wrapper, HOUR_MS / 2);
  assert_live(child);
  uvf_ctx_cancel(ctx);
  assert_over(ctx, UV_ECANCELED, UV_ECANCELED);
  assert_over(wrapper, UV_ECANCELED, UV_ECANCELED);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  run_until_over(&f->loop, child, UV_ECANCELED);
  RELEASE(ctx, wrapper, child);
}

/* --- what a deadline's error is to the rest of a libuv program ---------------------------------------------------- */

typedef struct job_s {
  uvf_work_t work;
  int ran;
  int done;
  int status;
} job_t;

static int job_fn(uvf_work_t *work) {
  ((job_t *)work->data)->ran = 1;
  return 0;
}

static void on_job_done(uvf_work_t *work, int status) {
  job_t *job = work->data;
  job->done++;
  job->status = status;
}

static void c44_the_deadlines_error_is_libuvs_timeout(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  job_t job = {.ran = 0};
  assert_string_equal(uv_err_name(uvf_ctx_err(ctx)), "ETIMEDOUT");
  assert_int_equal(uv_translate_sys_error(-uvf_ctx_err(ctx)), UV_ETIMEDOUT);
  job.work.data = &job;
  assert_int_equal(uvf_work_start(ctx, &job.work, job_fn, on_job_done, NULL), 0);
  run_until(&f->loop, &job.done, 1);
  settle(&f->loop);
  assert_int_equal(job.done, 1);
  assert_int_equal(job.status, UV_ETIMEDOUT);
  assert_int_equal(job.work.status, UV_ETIMEDOUT);
  assert_int_equal(job.ran, 0);
  RELEASE(ctx);
}

/* --- promised in the documentation -------------------------------------------------------------------------------- */

static void c87_the_deadline_is_the_earlier_one_and_constant(void **state) {
  fixture_t *f = *state;
  uint64_t now = uv_hrtime();
  uint64_t early = now + HOUR_MS * MS_NS;
  uint64_t late = now + 2 * HOUR_MS * MS_NS;
  uvf_ctx_t *parent = deadline_of(f->root, early);
  uvf_ctx_t *other = deadline_of(f->root, late);
  struct {
    uvf_ctx_t *ctx;
    uint64_t deadline_ns;
  } row[] = {
      {deadline_of(parent, late), early},
      {deadline_of(other, early), early},
      {cancel_of(parent), early},
      {timeout_of(parent, FOREVER_MS), early},
      {any_of(other, parent), early},
      {without_of(parent), UVF_NO_DEADLINE},
      {timeout_of(f->root, FOREVER_MS), UVF_NO_DEADLINE},
      {deadline_of(f->root, UVF_NO_DEADLINE), UVF_NO_DEADLINE},
  };
  for (size_t i = 0; i < ARRAY_SIZE(row); i++) {
    assert_true(uvf_ctx_deadline_ns(row[i].ctx) == row[i].deadline_ns);
    if (row[i].deadline_ns == UVF_NO_DEADLINE) {
      assert_true(uvf_ctx_remaining_ns(row[i].ctx) == UVF_NO_DEADLINE);
      assert_true(uvf_ctx_remaining_ms(row[i].ctx) == UVF_NO_DEADLINE);
    } else {
      uint64_t left = uvf_ctx_remaining_ns(row[i].ctx);
      assert_true(left > 0 && left <= early - now);
      assert_true(uvf_ctx_remaining_ms(row[i].ctx) <= HOUR_MS);
    }
  }
  uvf_ctx_cancel(parent);
  uvf_ctx_cancel(other);
  settle(&f->loop);
  for (size_t i = 0; i < ARRAY_SIZE(row); i++) assert_true(uvf_ctx_deadline_ns(row[i].ctx) == row[i].deadline_ns);
  for (size_t i = 0; i < ARRAY_SIZE(row); i++) uvf_ctx_release(row[i].ctx);
  RELEASE(parent, other);
}

static void c90_cancelling_stops_the_timer_and_frees_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx[3];
  uint64_t contexts = stats(f->root).contexts;
  for (size_t i = 0; i < 3; i++) ctx[i] = timeout_of(f->root, HOUR_MS + i);
  assert_int_equal(stats(f->root).deadlines, 3);
  assert_int_equal(stats(f->root).live, 4); /* and the root */
  uvf_ctx_cancel(ctx[1]);
  assert_int_equal(stats(f->root).deadlines, 2);
  assert_int_equal(stats(f->root).live, 3);
  uvf_ctx_cancel(ctx[0]);
  uvf_ctx_cancel(ctx[2]);
  assert_int_equal(stats(f->root).deadlines, 0);
  release_each(ctx, 3);
  settle(&f->loop);
  assert_int_equal(stats(f->root).contexts, contexts);
}

/* Forgetting the cancel leaks nothing either: the timer goes with the context that nobody holds. */
static void c90_a_forgotten_timer_is_freed_too(void **state) {
  fixture_t *f = *state;
  uint64_t contexts = stats(f->root).contexts;
  uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS);
  RELEASE(ctx);
  settle(&f->loop);
  assert_int_equal(stats(f->root).deadlines, 0);
  assert_int_equal(stats(f->root).contexts, contexts);
  assert_int_equal(children(f->root), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c16_a_deadline_ends_its_context),
      unit(c16_none_of_many_deadlines_is_early),
      unit(c17_a_wrapper_of_a_deadline_ends_the_same),
      unit(c17_a_remote_wrapper_of_a_deadline_ends_the_same),
      unit(c18_a_far_deadline_ends_with_the_near_ancestor),
      unit(c19_a_past_deadline_ends_at_once),
      unit(c20_a_deadline_of_now_ends_at_once),
      unit(c21_a_timeout_ends_its_context),
      unit(c21_a_far_timeout_ends_with_the_near_ancestor),
      unit(c21_a_timeout_of_zero_ends_at_once),
      unit(c22_cancel_before_a_far_timeout_is_canceled),
      unit(c44_the_deadlines_error_is_libuvs_timeout),
      unit(c87_the_deadline_is_the_earlier_one_and_constant),
      unit(c90_cancelling_stops_the_timer_and_frees_it),
      unit(c90_a_forgotten_timer_is_freed_too),
  };
  return test_run(tests);
}
