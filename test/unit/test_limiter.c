/* SPDX-License-Identifier: MIT
 *
 * The limiter: what is in the bucket, to the last bit and the last ns, by a clock that stands still; who comes when;
 * and that nobody is early by the real one.
 */
#include <math.h>

#include "unit/limiter_probe.h"

/* --- the bucket --- */

static void it_begins_full_and_fills_at_its_rate_up_to_its_burst(void **state) {
  uvf_limiter_t limiter;
  (void)state;
  assert_int_equal(uvf_limiter_init(&limiter, 10, 5), 0);
  assert_tokens(&limiter, 5);
  assert_int_equal(uvf_limiter_try(&limiter, 5), 0);
  assert_tokens(&limiter, 0);
  assert_int_equal(uvf_limiter_try(&limiter, 1), UV_EAGAIN);
  go(99999999);
  assert_int_equal(uvf_limiter_try(&limiter, 1), UV_EAGAIN);
  go(1);
  assert_tokens(&limiter, 1);
  assert_int_equal(uvf_limiter_try(&limiter, 1), 0);
  go_ms(250);
  assert_tokens(&limiter, 2.5);
  go_ms(250);
  assert_tokens(&limiter, 5);
  go_ms(100000);
  assert_tokens(&limiter, 5);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

/* A third of a second has no last digit: 333333333.3 ns are not over after 333333333. */
static void a_time_that_is_no_whole_number_of_ns_is_rounded_up(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(3, 1);
  toll_t toll;
  uint64_t delay_ns = 0;
  turn(&f->loop);
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  go(333333333);
  ring(f);
  assert_int_equal(toll.calls, 0);
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  assert_true(uvf_limiter_tokens(limiter) >= 0); /* and nothing of it is lost or owed for being rounded */
  assert_true(uvf_limiter_tokens(limiter) < 1e-8);
  limiter_free(limiter);
  limiter = limiter_of(3, 1);
  assert_int_equal(uvf_limiter_reserve(limiter, 1, &delay_ns), 0);
  assert_int_equal(delay_ns, 333333334);
  limiter_free(limiter);
}

/* Who comes at the time it was given is served, for any rate: by a rounding error it would come again 1 ms later. And
 * the ns before that its tokens are not all there, counted more precisely. */
static void who_comes_at_its_time_is_served_whatever_the_rounding(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(3000, 10);
  turn(&f->loop);
  for (size_t i = 0; i < rounds; i++) {
    double rate = (double)(test_rand(&seed) % 1000000 + 1) / (double)(test_rand(&seed) % 1000 + 1);
    double burst = (double)(test_rand(&seed) % 1000 + 1) / 7;
    double n = burst / (double)(test_rand(&seed) % 9 + 1);
    uvf_limiter_t *limiter = limiter_of(rate, burst);
    uint64_t begin_ns = stopped_clock();
    toll_t toll;
    toll_start(&toll, f->root, limiter, n, 0, NULL);
    go(limiter->uvf__alarm_ns - 1 - begin_ns);
    uvf__hub_run_deadlines(uvf__ctx_hub(f->root));
    assert_int_equal(waiting(limiter), 1);
    go(1);
    assert_true((long double)(stopped_clock() - begin_ns) * (long double)rate >= (long double)n * 1e9L * (1 - 1e-15L));
    uvf__hub_run_deadlines(uvf__ctx_hub(f->root));
    assert_int_equal(waiting(limiter), 0);
    run_until(&f->loop, &toll.calls, 1);
    assert_toll(&toll, 0);
    limiter_free(limiter);
  }
}

static void without_a_rate_nothing_flows_and_without_a_limit_everything_goes(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(0, 3);
  toll_t tolls[3];
  uint64_t delay_ns = 77;
  go_ms(1000000);
  assert_tokens(limiter, 0);
  assert_int_equal(uvf_limiter_try(limiter, 1), UV_EAGAIN);
  assert_int_equal(uvf_limiter_reserve(limiter, 1, &delay_ns), UV_EAGAIN);
  assert_int_equal(delay_ns, 77);
  assert_tokens(limiter, 0);
  for (int i = 0; i < 3; i++) toll_start(&tolls[i], f->root, limiter, i + 1, i, NULL);
  turn(&f->loop);
  ring(f);
  assert_int_equal(waiting(limiter), 3);
  assert_int_equal(uvf_limiter_set(limiter, UVF_LIMITER_INF, 3), 0);
  assert_int_equal(waiting(limiter), 0);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) assert_toll(&tolls[i], 0);
  assert_int_equal(uvf_limiter_try(limiter, 1000), 0); /* the burst limits nothing now */
  toll_start(&tolls[0], f->root, limiter, 1000, 0, NULL);
  turn(&f->loop);
  assert_toll(&tolls[0], 0);
  assert_int_equal(uvf_limiter_reserve(limiter, 1000, &delay_ns), 0);
  assert_int_equal(delay_ns, 0);
  assert_int_equal(uvf_limiter_set(limiter, 10, 3), 0); /* and it is full when there is a limit again */
  assert_tokens(limiter, 3);
  limiter_free(limiter);
}

static void numbers_that_make_no_sense_are_refused(void **state) {
  fixture_t *f = *state;
  static const double odd[] = {NAN, -NAN, INFINITY};
  uvf_limiter_t limiter;
  uvf_limiter_t *l = &limiter;
  toll_t toll;
  uint64_t delay_ns = 0;
  toll_init(&toll, 0, NULL);
  assert_int_equal(uvf_limiter_init(l, NAN, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_init(l, 1, NAN), UV_EINVAL);
  assert_int_equal(uvf_limiter_init(l, -1, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_init(l, 1, -1), UV_EINVAL);
  assert_int_equal(uvf_limiter_init(NULL, 1, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_init(l, 10, 5), 0);
  for (size_t i = 0; i < ARRAY_SIZE(odd); i++) {
    assert_int_equal(uvf_limiter_wait(f->root, &toll.wait, l, odd[i], on_toll), UV_EINVAL);
    assert_int_equal(uvf_limiter_wait_wait(f->root, l, odd[i]), UV_EINVAL);
    assert_int_equal(uvf_limiter_try(l, odd[i]), UV_EINVAL);
    assert_int_equal(uvf_limiter_reserve(l, odd[i], &delay_ns), UV_EINVAL);
    assert_int_equal(uvf_limiter_unreserve(l, odd[i]), UV_EINVAL);
  }
  assert_int_equal(uvf_limiter_set(l, NAN, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_set(l, 1, -0.5), UV_EINVAL);
  assert_int_equal(uvf_limiter_set(NULL, 1, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait(f->root, &toll.wait, l, 5.001, on_toll), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait_wait(f->root, l, 5.001), UV_EINVAL);
  assert_int_equal(uvf_limiter_reserve(l, 5.001, &delay_ns), UV_EINVAL);
  assert_int_equal(uvf_limiter_try(l, 5.001), UV_EAGAIN);
  assert_int_equal(uvf_limiter_unreserve(l, -1), UV_EINVAL);
  assert_int_equal(uvf_limiter_reserve(l, 1, NULL), UV_EINVAL);
  assert_int_equal(uvf_limiter_reserve(NULL, 1, &delay_ns), UV_EINVAL);
  assert_int_equal(uvf_limiter_unreserve(NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_try(NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_destroy(NULL), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait(NULL, &toll.wait, l, 1, on_toll), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait(f->root, NULL, l, 1, on_toll), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait(f->root, &toll.wait, NULL, 1, on_toll), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait(f->root, &toll.wait, l, 1, NULL), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait_wait(NULL, l, 1), UV_EINVAL);
  assert_int_equal(uvf_limiter_wait_wait(f->root, NULL, 1), UV_EINVAL);
  assert_true(uvf_limiter_tokens(NULL) == 0);
  assert_tokens(l, 5); /* none of these took or gave anything */
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uvf_limiter_destroy(l), 0);
}

/* --- reservations --- */

static void a_reservation_goes_into_debt_and_says_when_it_is_paid(void **state) {
  uvf_limiter_t limiter;
  uint64_t delay_ns = 77;
  (void)state;
  assert_int_equal(uvf_limiter_init(&limiter, 10, 5), 0);
  assert_int_equal(uvf_limiter_reserve(&limiter, 5, &delay_ns), 0);
  assert_int_equal(delay_ns, 0);
  assert_int_equal(uvf_limiter_reserve(&limiter, 3, &delay_ns), 0);
  assert_int_equal(delay_ns, 300 * MS_NS);
  assert_int_equal(uvf_limiter_reserve(&limiter, 5, &delay_ns), 0);
  assert_int_equal(delay_ns, 800 * MS_NS);
  assert_tokens(&limiter, -8);
  assert_int_equal(uvf_limiter_reserve(&limiter, 0, &delay_ns), 0);
  assert_int_equal(delay_ns, 0); /* takes nothing, waits for nobody */
  assert_int_equal(uvf_limiter_try(&limiter, 0), 0);
  assert_int_equal(uvf_limiter_try(&limiter, -3), 0);
  assert_tokens(&limiter, -8);
  go_ms(800);
  assert_tokens(&limiter, 0);
  go(99999999);
  assert_int_equal(uvf_limiter_try(&limiter, 1), UV_EAGAIN);
  go(1);
  assert_int_equal(uvf_limiter_try(&limiter, 1), 0);
  assert_int_equal(uvf_limiter_reserve(&limiter, 4, &delay_ns), 0);
  assert_int_equal(uvf_limiter_unreserve(&limiter, 3), 0);
  assert_tokens(&limiter, -1);
  assert_int_equal(uvf_limiter_unreserve(&limiter, 1000), 0);
  assert_tokens(&limiter, 5);
  assert_int_equal(uvf_limiter_set(&limiter, 1e-300, 5), 0); /* longer than there are ns */
  assert_int_equal(uvf_limiter_try(&limiter, 5), 0);
  assert_int_equal(uvf_limiter_reserve(&limiter, 1, &delay_ns), UV_EAGAIN);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

static void a_reservation_does_not_hold_up_who_waited_before_it_but_who_comes_after(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t before, after;
  uint64_t delay_ns = 0;
  turn(&f->loop);
  toll_start(&before, f->root, limiter, 2, 0, NULL);
  assert_int_equal(uvf_limiter_reserve(limiter, 3, &delay_ns), 0);
  assert_int_equal(delay_ns, 500 * MS_NS);
  assert_tokens(limiter, -3);
  toll_start(&after, f->root, limiter, 1, 1, NULL);
  assert_int_equal(uvf_limiter_reserve(limiter, 0, &delay_ns), 0);
  assert_int_equal(delay_ns, 600 * MS_NS); /* when those before it have theirs */
  go(200 * MS_NS - 1);
  ring(f);
  assert_int_equal(before.calls, 0);
  go(1);
  ring(f);
  assert_toll(&before, 0);
  assert_tokens(limiter, -3);
  go(400 * MS_NS - 1);
  ring(f);
  assert_int_equal(after.calls, 0);
  go(1);
  ring(f);
  assert_toll(&after, 0);
  assert_tokens(limiter, 0);
  limiter_free(limiter);
}

static void a_reservation_stays_when_those_before_it_are_cancelled(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t a, b, c;
  uint64_t delay_ns = 0;
  turn(&f->loop);
  toll_start(&a, f->root, limiter, 1, 0, NULL);
  toll_start(&b, f->root, limiter, 4, 1, NULL);
  assert_int_equal(uvf_limiter_reserve(limiter, 2, &delay_ns), 0);
  assert_int_equal(delay_ns, 700 * MS_NS);
  assert_int_equal(uvf_op_cancel(toll_op(&b)), 0); /* then it is behind a */
  assert_tokens(limiter, -2);
  go_ms(100);
  ring(f);
  assert_toll(&a, 0);
  assert_toll(&b, UV_ECANCELED);
  assert_tokens(limiter, -2);
  toll_start(&c, f->root, limiter, 1, 2, NULL);
  assert_int_equal(uvf_limiter_reserve(limiter, 5, &delay_ns), 0);
  assert_int_equal(delay_ns, 800 * MS_NS);
  assert_int_equal(uvf_op_cancel(toll_op(&c)), 0); /* the head: nobody is before it any more */
  assert_tokens(limiter, -7);
  turn(&f->loop);
  assert_toll(&c, UV_ECANCELED);
  limiter_free(limiter);
}

static void what_is_given_back_is_first_what_was_not_taken_yet(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t toll;
  uint64_t delay_ns = 0;
  turn(&f->loop);
  toll_start(&toll, f->root, limiter, 2, 0, NULL);
  assert_int_equal(uvf_limiter_reserve(limiter, 3, &delay_ns), 0);
  assert_int_equal(uvf_limiter_unreserve(limiter, 3), 0);
  go(200 * MS_NS - 1);
  ring(f);
  assert_int_equal(toll.calls, 0); /* no earlier for what was never taken */
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  assert_tokens(limiter, 0);
  toll_start(&toll, f->root, limiter, 2, 0, NULL);
  assert_int_equal(uvf_limiter_unreserve(limiter, 1), 0); /* now it is */
  go(100 * MS_NS - 1);
  ring(f);
  assert_int_equal(toll.calls, 0);
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  toll_start(&toll, f->root, limiter, 2, 0, NULL);
  assert_int_equal(uvf_limiter_unreserve(limiter, 2), 0);
  assert_int_equal(waiting(limiter), 0); /* served inside the call */
  turn(&f->loop);
  assert_toll(&toll, 0);
  limiter_free(limiter);
}

static void behind_one_that_can_never_be_served_nothing_can_be_reserved(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t toll;
  uint64_t delay_ns = 77;
  turn(&f->loop);
  toll_start(&toll, f->root, limiter, 5, 0, NULL);
  assert_int_equal(uvf_limiter_set(limiter, 10, 4), 0);
  assert_int_equal(uvf_limiter_reserve(limiter, 1, &delay_ns), UV_EAGAIN);
  assert_int_equal(delay_ns, 77);
  go_ms(100000);
  ring(f);
  assert_int_equal(toll.calls, 0);
  assert_int_equal(uvf_limiter_try(limiter, 1), UV_EAGAIN); /* it holds up those behind it */
  assert_tokens(limiter, 4);
  assert_int_equal(uvf_limiter_set(limiter, 10, 5), 0);
  go(100 * MS_NS - 1);
  ring(f);
  assert_int_equal(toll.calls, 0);
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  limiter_free(limiter);
}

/* --- order and time --- */

static void they_come_in_order_each_at_its_time_to_the_ns(void **state) {
  static const double wants[] = {1, 3, 0, 0.5, -1, 2};
  static const uint64_t at_ms[] = {100, 400, 400, 450, 450, 650};
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t tolls[ARRAY_SIZE(wants)];
  journal_t journal = {0};
  uint64_t begin_ns = stopped_clock();
  turn(&f->loop);
  for (size_t i = 0; i < ARRAY_SIZE(wants); i++) toll_start(&tolls[i], f->root, limiter, wants[i], (int)i, &journal);
  for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
    if (stopped_clock() < begin_ns + at_ms[i] * MS_NS) {
      go(begin_ns + at_ms[i] * MS_NS - 1 - stopped_clock());
      ring(f);
      assert_int_equal(tolls[i].calls, 0);
      assert_int_equal(uvf_limiter_try(limiter, 0), UV_EAGAIN); /* nobody overtakes, not even with nothing */
      go(1);
      ring(f);
    }
    assert_toll(&tolls[i], 0);
  }
  assert_journal(&journal, 0, 1, 2, 3, 4, 5);
  assert_tokens(limiter, 0);
  limiter_free(limiter);
}

static void when_the_head_is_cancelled_the_next_one_comes_earlier(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < 2; way++) {
    uvf_limiter_t *limiter = limiter_of(10, 5);
    uvf_ctx_t *ctx = child_of(f->root);
    toll_t head, next, last;
    turn(&f->loop);
    toll_start(&head, ctx, limiter, 5, 0, NULL);
    toll_start(&next, f->root, limiter, 1, 1, NULL);
    toll_start(&last, f->root, limiter, 1, 1, NULL);
    go_ms(90);
    if (way == 0) assert_int_equal(uvf_op_cancel(toll_op(&head)), 0);
    if (way == 1) uvf_ctx_cancel(ctx);
    ring(f);
    assert_toll(&head, UV_ECANCELED);
    assert_int_equal(next.calls, 0);
    go(10 * MS_NS - 1);
    ring(f);
    assert_int_equal(next.calls, 0);
    go(1);
    ring(f);
    assert_toll(&next, 0);
    assert_int_equal(last.calls, 0);
    go_ms(50);
    toll_start(&head, ctx, limiter, 0, 0, NULL); /* way 1: under one that is over */
    assert_int_equal(uvf_op_cancel(toll_op(&last)), 0);
    turn(&f->loop);
    assert_toll(&last, UV_ECANCELED);
    assert_toll(&head, way == 0 ? 0 : UV_ECANCELED);
    assert_tokens(limiter, 0.5); /* nothing was taken by those that were ended */
    uvf_ctx_release(ctx);
    limiter_free(limiter);
  }
}

static void who_is_cancelled_makes_way_at_once_for_those_that_can_be_served(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t tolls[4];
  turn(&f->loop);
  for (int i = 0; i < 4; i++) toll_start(&tolls[i], f->root, limiter, i == 0 ? 5 : 1, i, NULL);
  go_ms(300);
  ring(f);
  assert_int_equal(waiting(limiter), 4);
  assert_int_equal(uvf_op_cancel(toll_op(&tolls[0])), 0);
  assert_int_equal(waiting(limiter), 0);
  assert_tokens(limiter, 0);
  turn(&f->loop);
  for (int i = 0; i < 4; i++) assert_toll(&tolls[i], i == 0 ? UV_ECANCELED : 0);
  limiter_free(limiter);
}

static void a_new_rate_holds_at_once_for_those_who_wait(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t toll, next;
  turn(&f->loop);
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  toll_start(&next, f->root, limiter, 1, 0, NULL);
  go_ms(50); /* half of it is there */
  assert_int_equal(uvf_limiter_set(limiter, 100, 5), 0);
  assert_tokens(limiter, 0.5);
  go(5 * MS_NS - 1);
  ring(f);
  assert_int_equal(toll.calls, 0);
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  assert_int_equal(uvf_limiter_set(limiter, 1, 5), 0); /* slower: its old alarm must not be its time */
  go(10 * MS_NS);
  ring(f);
  assert_int_equal(next.calls, 0);
  go(990 * MS_NS - 1);
  ring(f);
  assert_int_equal(next.calls, 0);
  go(1);
  ring(f);
  assert_toll(&next, 0);
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  assert_int_equal(uvf_limiter_set(limiter, 0, 5), 0);
  go_ms(5000);
  ring(f);
  assert_int_equal(toll.calls, 0);
  assert_int_equal(uvf_limiter_set(limiter, 1000, 5), 0);
  go_ms(1);
  run_until(&f->loop, &toll.calls, 1); /* by the loop's own timer, this once */
  assert_toll(&toll, 0);
  limiter_free(limiter);
}

static void a_bucket_without_bottom_takes_what_it_is_given(void **state) {
  uvf_limiter_t limiter;
  uint64_t delay_ns = 77;
  (void)state;
  assert_int_equal(uvf_limiter_init(&limiter, 1, INFINITY), 0);
  assert_int_equal(uvf_limiter_try(&limiter, 1e308), 0);
  assert_int_equal(uvf_limiter_reserve(&limiter, 1e308, &delay_ns), 0);
  assert_int_equal(delay_ns, 0);
  assert_int_equal(uvf_limiter_set(&limiter, 1, 2), 0);
  assert_tokens(&limiter, 2);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  assert_int_equal(uvf_limiter_init(&limiter, INFINITY, 0), 0);
  assert_int_equal(uvf_limiter_try(&limiter, 5), 0);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
  assert_int_equal(uvf_limiter_init(&limiter, 10, 0), 0); /* nothing fits in */
  assert_int_equal(uvf_limiter_try(&limiter, 0), 0);
  go_ms(1000);
  assert_int_equal(uvf_limiter_try(&limiter, 1e-300), UV_EAGAIN);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

static void waiting_and_being_served_allocates_nothing(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(10, 5);
  toll_t tolls[10];
  size_t allocations;
  turn(&f->loop);
  allocations = test_alloc_count();
  for (int i = 0; i < 10; i++) toll_start(&tolls[i], f->root, limiter, 1, i, NULL);
  for (int i = 1; i < 10; i += 2) assert_int_equal(uvf_op_cancel(toll_op(&tolls[i])), 0);
  go_ms(500);
  ring(f);
  for (int i = 0; i < 10; i++) assert_toll(&tolls[i], i % 2 ? UV_ECANCELED : 0);
  assert_int_equal(test_alloc_count(), allocations);
  limiter_free(limiter);
}

/* --- by the real clock --- */

/* In any stretch of time no more goes through than the burst and what flowed in. */
static void nobody_is_early_by_the_real_clock(void **state) {
  enum { N = 60 };
  fixture_t *f = *state;
  uvf_limiter_t limiter;
  toll_t tolls[N];
  uint64_t begin_ns = uv_hrtime();
  assert_int_equal(uvf_limiter_init(&limiter, 1000, 10), 0);
  assert_int_equal(uvf_ctx_run_here(f->root), 0); /* before the loop has run, who is served at once overtakes posts */
  for (int i = 0; i < N; i++) toll_start(&tolls[i], f->root, &limiter, 1, i, NULL);
  run_until(&f->loop, &tolls[N - 1].calls, 1);
  for (int i = 0; i < N; i++) {
    assert_toll(&tolls[i], 0);
    if (i >= 10) assert_true(tolls[i].at - begin_ns >= (uint64_t)(i - 9) * MS_NS);
    if (i > 0) assert_true(tolls[i].at >= tolls[i - 1].at);
  }
  assert_true(tolls[N - 1].at - begin_ns < GENEROUS_NS);
  assert_int_equal(uvf_limiter_destroy(&limiter), 0);
}

static void a_wait_holds_the_loop(void **state) {
  fixture_t *f = *state;
  uint64_t begin_ns = uv_hrtime();
  uvf_limiter_t *limiter = limiter_of(100, 1);
  toll_t toll;
  assert_int_equal(uv_loop_alive(&f->loop), 0);
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_toll(&toll, 0);
  assert_true(toll.at - begin_ns >= 10 * MS_NS);
  limiter_free(limiter);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      stopped(it_begins_full_and_fills_at_its_rate_up_to_its_burst),
      stopped(a_time_that_is_no_whole_number_of_ns_is_rounded_up),
      stopped(who_comes_at_its_time_is_served_whatever_the_rounding),
      stopped(without_a_rate_nothing_flows_and_without_a_limit_everything_goes),
      stopped(numbers_that_make_no_sense_are_refused),
      stopped(a_reservation_goes_into_debt_and_says_when_it_is_paid),
      stopped(a_reservation_does_not_hold_up_who_waited_before_it_but_who_comes_after),
      stopped(a_reservation_stays_when_those_before_it_are_cancelled),
      stopped(what_is_given_back_is_first_what_was_not_taken_yet),
      stopped(behind_one_that_can_never_be_served_nothing_can_be_reserved),
      stopped(they_come_in_order_each_at_its_time_to_the_ns),
      stopped(when_the_head_is_cancelled_the_next_one_comes_earlier),
      stopped(who_is_cancelled_makes_way_at_once_for_those_that_can_be_served),
      stopped(a_new_rate_holds_at_once_for_those_who_wait),
      stopped(a_bucket_without_bottom_takes_what_it_is_given),
      stopped(waiting_and_being_served_allocates_nothing),
      unit(nobody_is_early_by_the_real_clock),
      unit(a_wait_holds_the_loop),
  };
  return test_run(tests);
}
