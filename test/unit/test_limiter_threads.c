/* SPDX-License-Identifier: MIT
 *
 * The limiter: blocked threads, which keep their own time; loops and threads in one queue, and all at once.
 */
#include "unit/limiter_probe.h"

/* --- blocked threads --- */

static void a_blocked_thread_wakes_at_its_time_while_no_loop_runs(void **state) {
  fixture_t *f = *state;
  uint64_t begin_ns = uv_hrtime();
  uvf_limiter_t *limiter = limiter_of(50, 5);
  blocked_t b[3];
  for (int i = 0; i < 3; i++) blocked_start(&b[i], f->root, block_for_one, limiter);
  for (int i = 0; i < 3; i++) assert_int_equal(blocked_join(&b[i]), 0);
  assert_true(uv_hrtime() - begin_ns >= 60 * MS_NS);
  assert_true(uv_hrtime() - begin_ns < GENEROUS_NS);
  limiter_free(limiter);
}

static void a_parked_thread_learns_of_a_new_rate_and_of_being_the_first(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(0, 5);
  uvf_ctx_t *ctx = child_of(f->root);
  toll_t toll;
  blocked_t b[2];
  uint64_t begin_ns;
  turn(&f->loop);
  toll_start(&toll, ctx, limiter, 5, 0, NULL);
  for (int i = 0; i < 2; i++) {
    blocked_start(&b[i], f->root, block_for_one, limiter);
    await_parked(f->root, (uint32_t)i + 1);
  }
  begin_ns = uv_hrtime();
  assert_int_equal(uvf_limiter_set(limiter, 0.01, 5), 0); /* not before 500 s are over: for the request at the head */
  uvf_ctx_cancel(ctx);                                    /* 100 s for the thread that is it now */
  assert_int_equal(waiting(limiter), 2);
  assert_int_equal(uvf_limiter_set(limiter, 100, 5), 0);
  for (int i = 0; i < 2; i++) assert_int_equal(blocked_join(&b[i]), 0);
  assert_true(uv_hrtime() - begin_ns >= 19 * MS_NS); /* 1 ms at most is what 0.01 a second had brought */
  assert_true(uv_hrtime() - begin_ns < GENEROUS_NS);
  run_until(&f->loop, &toll.calls, 1);
  assert_toll(&toll, UV_ECANCELED);
  uvf_ctx_release(ctx);
  limiter_free(limiter);
}

static void when_a_blocked_head_is_ended_the_next_one_is_the_first(void **state) {
  fixture_t *f = *state;
  for (int far = 0; far < 2; far++) {
    uvf_limiter_t *limiter = limiter_of(0.001, 5);
    uvf_ctx_t *ctx = child_of(f->root);
    blocked_t head, next;
    turn(&f->loop);
    blocked_start(&head, ctx, block_for_one, limiter);
    await_parked(f->root, 1);
    token_back(limiter); /* served: a second one waits for 1000 s */
    assert_int_equal(blocked_join(&head), 0);
    blocked_start(&head, ctx, block_for_one, limiter);
    await_waiting(limiter, 1);
    blocked_start(&next, f->root, block_for_one, limiter);
    await_parked(f->root, 2);
    if (far) on_thread(limiter_cancel_ctx, ctx);
    if (!far) uvf_ctx_cancel(ctx);
    assert_int_equal(blocked_join(&head), UV_ECANCELED);
    token_back(limiter);
    assert_int_equal(blocked_join(&next), 0);
    assert_true(uvf_limiter_tokens(limiter) < 0.5);
    uvf_ctx_release(ctx);
    limiter_free(limiter);
  }
}

static void a_deadline_ends_a_thread_that_waits_for_tokens(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(1, 5);
  uvf_ctx_t *ctx = timeout_of(f->root, 20);
  blocked_t b;
  blocked_start(&b, ctx, block_for_one, limiter);
  assert_int_equal(blocked_join(&b), UV_ETIMEDOUT);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
  assert_int_equal(waiting(limiter), 0);
  uvf_ctx_release(ctx);
  limiter_free(limiter);
}

/* --- loops and threads in one queue --- */

typedef struct queued_s {
  lane_t *lane;
  uvf_limiter_t *limiter;
  toll_t toll;
  gate_t told;
} queued_t;

static void queued_told(toll_t *toll) { gate_open(&((queued_t *)toll->arg)->told, 1); }

static void queued_start(void *arg) {
  queued_t *q = arg;
  toll_init(&q->toll, 0, NULL);
  q->toll.then = queued_told;
  q->toll.arg = q;
  if (uvf_limiter_wait(q->lane->root, &q->toll.wait, q->limiter, 1, on_toll) != 0) abort();
}

static void two_loops_and_a_thread_come_in_the_order_they_queued_none_early(void **state) {
  enum { N = 9 };
  fixture_t *f = *state;
  lane_t lanes[2];
  queued_t q[N];
  blocked_t b[N];
  uint64_t at_ns[N];
  uint64_t begin_ns;
  uvf_limiter_t *limiter = limiter_of(0, 5);
  for (int i = 0; i < 2; i++) lane_start(&lanes[i]);
  for (int i = 0; i < N; i++) {
    gate_init(&q[i].told);
    q[i].limiter = limiter;
    q[i].lane = &lanes[i % 3 == 2];
    if (i % 3 == 1) {
      blocked_start(&b[i], f->root, block_for_one, limiter);
    } else {
      lane_call(q[i].lane, queued_start, &q[i]);
    }
    await_waiting(limiter, (size_t)i + 1);
  }
  begin_ns = uv_hrtime();
  assert_int_equal(uvf_limiter_set(limiter, 200, 5), 0);
  for (int i = 0; i < N; i++) {
    if (i % 3 == 1) {
      assert_int_equal(blocked_join(&b[i]), 0);
      at_ns[i] = b[i].began_ns + b[i].took_ns;
    } else {
      gate_pass(&q[i].told);
      assert_toll(&q[i].toll, 0);
      at_ns[i] = q[i].toll.at;
    }
    assert_true(at_ns[i] - begin_ns >= (uint64_t)(i + 1) * 5 * MS_NS);
    assert_true(at_ns[i] - begin_ns < GENEROUS_NS);
    gate_destroy(&q[i].told);
  }
  assert_true(uvf_limiter_tokens(limiter) <= (double)(uv_hrtime() - begin_ns) * 200 / 1e9 - N);
  for (int i = 0; i < 2; i++) lane_stop(&lanes[i]);
  limiter_free(limiter);
}

/* --- all at once --- */

enum { TOLLS = 6 };

typedef struct crowd_s {
  lane_t *lane;
  uvf_ctx_t *ctx;
  uvf_limiter_t *limiter;
  uint64_t seed;
  size_t left;
  int active;
  double taken;
  uint64_t ended, served, wrong;
  toll_t tolls[TOLLS];
  gate_t done;
  uv_thread_t thread;
} crowd_t;

static void crowd_told(toll_t *toll);

static void crowd_go_on(crowd_t *c, toll_t *toll) {
  if (c->left == 0) {
    if (--c->active == 0) gate_open(&c->done, 1);
    return;
  }
  c->left--;
  toll_init(toll, (int)(test_rand(&c->seed) % 5), NULL);
  toll->then = crowd_told;
  toll->arg = c;
  if (uvf_limiter_wait(c->ctx, &toll->wait, c->limiter, toll->id, on_toll) != 0) c->wrong++;
}

static void crowd_told(toll_t *toll) {
  crowd_t *c = toll->arg;
  if (toll->calls != 1) c->wrong++;
  if (toll->status == 0) {
    c->served++;
    c->taken += toll->id;
  } else {
    c->ended++;
    if (toll->status != UV_ECANCELED) c->wrong++;
  }
  if (test_rand(&c->seed) % 3 == 0) {
    toll_t *other = &c->tolls[test_rand(&c->seed) % TOLLS];
    if (other->calls == 0) (void)uvf_op_cancel(toll_op(other));
  }
  if (test_rand(&c->seed) % 32 == 0) { /* all of them, and go on under a new one */
    uvf_ctx_cancel(c->ctx);
    uvf_ctx_release(c->ctx);
    if (uvf_ctx_with_cancel(c->lane->root, &c->ctx) != 0) c->wrong++;
  }
  crowd_go_on(c, toll);
}

static void crowd_begin(void *arg) {
  crowd_t *c = arg;
  if (uvf_ctx_with_cancel(c->lane->root, &c->ctx) != 0) c->wrong++;
  c->active = TOLLS;
  for (int i = 0; i < TOLLS; i++) c->tolls[i].calls = 1;
  for (int i = 0; i < TOLLS; i++) crowd_go_on(c, &c->tolls[i]);
}

static void crowd_block(void *arg) {
  crowd_t *c = arg;
  for (; c->left > 0; c->left--) {
    int n = (int)(test_rand(&c->seed) % 5);
    int rc = uvf_limiter_wait_wait(c->ctx, c->limiter, n);
    uint64_t delay_ns;
    c->served += rc == 0;
    c->ended += rc != 0;
    if (rc == 0) c->taken += n;
    if (rc != 0) c->wrong++;
    if (c->left % 4 == 0 && uvf_limiter_try(c->limiter, n) == 0) c->taken += n;
    if (c->left % 16 == 0 && uvf_limiter_reserve(c->limiter, n, &delay_ns) == 0) {
      if (c->left % 32 == 0) c->taken += n; /* it acts; or gives it back */
      if (c->left % 32 != 0 && uvf_limiter_unreserve(c->limiter, n) != 0) c->wrong++;
    }
    if (uvf_limiter_set(c->limiter, c->left % 8 ? 100000 : 50000, c->left % 2 ? 5 : 6) != 0) c->wrong++;
  }
}

/* Rates change between 50,000 and 100,000 a second all the time: no more than the higher one brings goes through. */
static void no_more_goes_through_than_flows_in_of_two_loops_and_two_threads_while_some_are_cancelled(void **state) {
  fixture_t *f = *state;
  size_t rounds = test_scaled(8000, 10);
  lane_t lanes[2];
  crowd_t *crowds = calloc(4, sizeof *crowds);
  uint64_t seed = test_seed();
  double taken = 0;
  uint64_t begin_ns = uv_hrtime();
  uvf_limiter_t *limiter = limiter_of(100000, 5);
  assert_non_null(crowds);
  for (int i = 0; i < 4; i++) {
    crowds[i].limiter = limiter;
    crowds[i].left = rounds;
    crowds[i].seed = test_rand(&seed);
    gate_init(&crowds[i].done);
  }
  for (int i = 0; i < 2; i++) {
    lane_start(&lanes[i]);
    crowds[i].lane = &lanes[i];
    crowds[i + 2].ctx = f->root;
  }
  for (int i = 2; i < 4; i++) assert_int_equal(uv_thread_create(&crowds[i].thread, crowd_block, &crowds[i]), 0);
  for (int i = 0; i < 2; i++) lane_call(&lanes[i], crowd_begin, &crowds[i]);
  for (int i = 0; i < 2; i++) gate_pass(&crowds[i].done);
  for (int i = 2; i < 4; i++) assert_int_equal(uv_thread_join(&crowds[i].thread), 0);
  for (int i = 0; i < 2; i++) {
    uvf_ctx_release(crowds[i].ctx);
    lane_stop(&lanes[i]);
  }
  for (int i = 0; i < 4; i++) {
    assert_int_equal(crowds[i].wrong, 0);
    assert_int_equal(crowds[i].served + crowds[i].ended, rounds); /* each has ended once */
    assert_true(crowds[i].served > 0);
    taken += crowds[i].taken;
    gate_destroy(&crowds[i].done);
  }
  /* what was reserved and given back in between may have been lent to others meanwhile, and is owed still */
  assert_true(taken + uvf_limiter_tokens(limiter) <= 6 + (double)(uv_hrtime() - begin_ns) * 100000 / 1e9);
  assert_int_equal(waiting(limiter), 0);
  free(crowds);
  limiter_free(limiter);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_blocked_thread_wakes_at_its_time_while_no_loop_runs),
      unit(a_parked_thread_learns_of_a_new_rate_and_of_being_the_first),
      unit(when_a_blocked_head_is_ended_the_next_one_is_the_first),
      unit(a_deadline_ends_a_thread_that_waits_for_tokens),
      unit(two_loops_and_a_thread_come_in_the_order_they_queued_none_early),
      unit(no_more_goes_through_than_flows_in_of_two_loops_and_two_threads_while_some_are_cancelled),
  };
  return test_run(tests);
}
