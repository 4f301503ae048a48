/* SPDX-License-Identifier: MIT
 *
 * serve.h: the budget of retries: its bounds and thresholds exactly, what counts, and that nothing is lost when many
 * threads share it.
 */
#include "serve/budget.h"

#include <math.h>
#include <stdatomic.h>

#include "unit/retry_probe.h"

#define ONE 1000 /* a token, in what the budget counts in */

static int tokens_are(const uvf_retry_budget_t *budget, double wanted) {
  double off = uvf_retry_budget_tokens(budget) - wanted;
  return off < 0.0001 && off > -0.0001;
}

static uvf_retry_budget_t budget_of(double max_tokens, double ratio) {
  uvf_retry_budget_t budget;
  memset(&budget, 0xff, sizeof budget);
  assert_int_equal(uvf_retry_budget_init(&budget, max_tokens, ratio), 0);
  return budget;
}

/* --- by itself --- */

static void a_budget_is_full_at_first_and_sizes_out_of_range_are_refused(void **state) {
  static const double good[][2] = {{1, 1}, {1, 0.001}, {10, 0.1}, {1000000, 1000000}, {2.5, 2.5}, {1.001, 1e-9}};
  static const double bad[][2] = {{0, 0.1},       {0.999, 0.1}, {-1, 0.1},      {1000001, 0.1}, {10, 0},
                                  {10, -0.1},     {10, 10.1},   {INFINITY, 1},  {NAN, 1},       {10, NAN},
                                  {10, INFINITY}, {1e300, 1},   {10, -INFINITY}};
  uvf_retry_budget_t budget = budget_of(7, 1);
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
    assert_int_equal(uvf_retry_budget_init(&budget, bad[i][0], bad[i][1]), UV_EINVAL);
  assert_true(tokens_are(&budget, 7)); /* a refused init changes nothing */
  assert_int_equal(uvf_retry_budget_init(NULL, 10, 0.1), UV_EINVAL);
  assert_true(uvf_retry_budget_tokens(NULL) == 0);
  for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
    budget = budget_of(good[i][0], good[i][1]);
    assert_true(tokens_are(&budget, good[i][0]));
    uvf__budget_note(&budget, 1);
    assert_true(tokens_are(&budget, good[i][0])); /* never more than full */
  }
  uvf__budget_note(NULL, 0);
  assert_int_equal(uvf__budget_allows(NULL), 1);
}

/* Allowed while more than half is there: at the half itself not any more. */
static void it_allows_as_long_as_more_than_half_is_there(void **state) {
  static const struct {
    double max;
    int allowed; /* failures after which it still allows */
    double left; /* one failure later */
  } rows[] = {{10, 4, 5}, {9, 4, 4},     {1, 0, 0},         {2, 0, 1},
              {3, 1, 1},  {1.5, 0, 0.5}, {2.001, 1, 0.001}, {1000, 499, 500}};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_retry_budget_t budget = budget_of(rows[i].max, 0.5);
    assert_int_equal(uvf__budget_allows(&budget), 1);
    for (int k = 0; k < rows[i].allowed; k++) uvf__budget_note(&budget, 0);
    assert_int_equal(uvf__budget_allows(&budget), 1);
    uvf__budget_note(&budget, 0);
    assert_int_equal(uvf__budget_allows(&budget), 0);
    assert_true(tokens_are(&budget, rows[i].left));
    for (int k = 0; k < 2000; k++) uvf__budget_note(&budget, 0);
    assert_true(tokens_are(&budget, 0)); /* never less than nothing */
    for (int k = 0; k < (int)(rows[i].max + 0.9995); k++) uvf__budget_note(&budget, 1);
    assert_int_equal(uvf__budget_allows(&budget), tokens_are(&budget, rows[i].max / 2) ? 0 : 1);
    uvf__budget_note(&budget, 1);
    assert_int_equal(uvf__budget_allows(&budget), 1);
    for (int k = 0; k < 2000; k++) uvf__budget_note(&budget, 1);
    assert_true(tokens_are(&budget, rows[i].max));
  }
}

static void a_success_gives_back_its_part_to_the_thousandth(void **state) {
  uvf_retry_budget_t budget = budget_of(10, 0.1), small = budget_of(10, 0.0001);
  (void)state;
  for (int i = 0; i < 5; i++) uvf__budget_note(&budget, 0);
  for (int i = 1; i <= 50; i++) {
    uvf__budget_note(&budget, 1);
    assert_true(tokens_are(&budget, 5 + i * 0.1));
    assert_int_equal(uvf__budget_allows(&budget), 1); /* 5.1 is more than half */
  }
  uvf__budget_note(&small, 0);
  uvf__budget_note(&small, 1);
  assert_true(tokens_are(&small, 9.001)); /* something always */
}

/* --- many threads --- */

#define THREADS 4

typedef struct race_s {
  uvf_retry_budget_t budget;
  gate_t start;
  size_t rounds;
  double max;
  atomic_int wrong;
} race_t;

static void race_balanced(void *arg) {
  race_t *race = arg;
  gate_pass(&race->start);
  for (size_t i = 0; i < race->rounds; i++) {
    double tokens;
    uvf__budget_note(&race->budget, i % 2 == 0);
    tokens = uvf_retry_budget_tokens(&race->budget);
    if (!(tokens >= 0 && tokens <= race->max)) atomic_fetch_add(&race->wrong, 1);
  }
}

static void race_failing(void *arg) {
  race_t *race = arg;
  gate_pass(&race->start);
  for (size_t i = 0; i < race->rounds; i++) {
    if (!uvf__budget_allows(&race->budget)) {
      uvf__budget_note(&race->budget, 1);
    } else {
      uvf__budget_note(&race->budget, 0);
    }
  }
}

static void race_run(race_t *race, void (*fn)(void *)) {
  uv_thread_t threads[THREADS];
  gate_init(&race->start);
  for (int i = 0; i < THREADS; i++) assert_int_equal(uv_thread_create(&threads[i], fn, race), 0);
  gate_open(&race->start, THREADS);
  for (int i = 0; i < THREADS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  gate_destroy(&race->start);
  assert_int_equal(race->wrong, 0);
}

static void no_token_is_lost_or_made_when_threads_share_it(void **state) {
  race_t race = {.max = 1000, .rounds = test_scaled(100000, 10)};
  (void)state;
  race.budget = budget_of(race.max, 1);
  for (int i = 0; i < 500; i++) uvf__budget_note(&race.budget, 0); /* away from both bounds */
  race_run(&race, race_balanced);
  assert_true(tokens_are(&race.budget, 500));
  race.rounds = 101; /* odd: one success more than failures, of each */
  race_run(&race, race_balanced);
  assert_true(tokens_are(&race.budget, 500 + THREADS));
}

static void at_its_bounds_threads_do_not_push_it_over(void **state) {
  race_t race = {.max = 1, .rounds = test_scaled(100000, 10)};
  (void)state;
  race.budget = budget_of(race.max, 0.7); /* every failure empties it, every other success fills it */
  race_run(&race, race_balanced);
  race.max = 10;
  race.budget = budget_of(race.max, 0.3);
  race_run(&race, race_failing); /* it swings round the half: at most a failure of each thread below */
  assert_in_range(uvf_retry_budget_tokens(&race.budget) * ONE, (5 - THREADS) * ONE, (5 + THREADS) * ONE);
}

/* --- with retries --- */

static void failures_stop_the_retries_of_all_calls_that_share_it(void **state) {
  fixture_t *f = *state;
  uvf_retry_budget_t budget = budget_of(10, 0.1);
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  call_t calls[6];
  o.budget = &budget;
  for (int i = 0; i < 6; i++) {
    call_t *call = &calls[i];
    static const step_t step = {INSIDE, UV_EIO, 0};
    call_init(call, &step, 1, 3);
    call_start(call, f->root, &o, i % 2);
    for (int k = 0; k < 10; k++) pass_ms(&f->loop, 1);
    /* 9 8 7, 6 5: refused, 4, 3, 2, 1: first attempts are always made */
    assert_call(call, i == 0 ? 3 : i == 1 ? 2 : 1, 1, i % 2);
    assert_int_equal(call->status, UV_EIO);
  }
  assert_true(tokens_are(&budget, 1));
}

static void successes_let_retries_begin_again(void **state) {
  fixture_t *f = *state;
  static const step_t good = {INSIDE, 0, 0}, bad = {INSIDE, UV_EIO, 0};
  uvf_retry_budget_t budget = budget_of(4, 0.25);
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  call_t call;
  o.budget = &budget;
  uvf__budget_note(&budget, 0);
  uvf__budget_note(&budget, 0);
  for (int i = 1; i <= 5; i++) {
    call_init(&call, &good, 1, 3);
    call_start(&call, f->root, &o, 1);
    turn(&f->loop);
    assert_call(&call, 1, 1, 1);
    assert_true(tokens_are(&budget, 2 + i * 0.25));
  }
  call_init(&call, &bad, 1, 3); /* 3.25 -> 2.25: one more; 1.25: no more */
  call_start(&call, f->root, &o, 1);
  for (int k = 0; k < 10; k++) pass_ms(&f->loop, 1);
  assert_call(&call, 2, 1, 1);
  assert_true(tokens_are(&budget, 1.25));
}

static void a_budget_used_up_during_a_pause_ends_the_call_when_the_pause_is_over(void **state) {
  fixture_t *f = *state;
  uvf_retry_budget_t budget = budget_of(4, 1);
  uvf_retry_options_t o = options_of(100, 100, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 3, {INSIDE, UV_EPIPE, 0});
  o.budget = &budget;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  uvf__budget_note(&budget, 0); /* 2 of 4: another call's */
  assert_call(&call, 1, 0, 0);
  assert_in_range(pass_until_done(&call, &f->loop, 200), 80, 121);
  turn(&f->loop);
  assert_call(&call, 1, 1, 1);
  assert_int_equal(call.status, UV_EPIPE);
}

static void there_is_no_hedge_without_budget_but_the_attempt_that_runs_may_win(void **state) {
  fixture_t *f = *state;
  for (int row = 0; row < 6; row++) {
    uvf_retry_budget_t budget = budget_of(4, 1);
    uvf_retry_options_t o = options_of(10, 10, 20);
    int used_before = row % 2, status = row / 2 == 0 ? 0 : UV_EIO;
    call_t call;
    CALL_INIT(call, 3, {LATER, 0, 0});
    o.budget = &budget;
    if (row / 2 == 2) o.hedge_ms = 1;
    if (used_before) uvf__budget_note(&budget, 0), uvf__budget_note(&budget, 0);
    call_start(&call, f->root, &o, 1);
    turn(&f->loop);
    if (row / 2 == 2 && !used_before) { /* the hedges have come while there was budget */
      pass_ms(&f->loop, 1);
      pass_ms(&f->loop, 1);
      assert_int_equal(call.starts, 3);
      assert_int_equal(finish(&call, 1, UV_EIO), 0);
      assert_int_equal(finish(&call, 2, UV_EIO), 0);
      assert_int_equal(finish(&call, 0, UV_EIO), 0);
      turn(&f->loop);
      assert_call(&call, 3, 1, 1);
      assert_true(tokens_are(&budget, 1));
      continue;
    }
    if (!used_before) uvf__budget_note(&budget, 0), uvf__budget_note(&budget, 0);
    for (int i = 0; i < 100; i++) pass_ms(&f->loop, 1);
    assert_call(&call, 1, 0, 0);
    assert_int_equal(finish(&call, 0, status), 0);
    turn(&f->loop);
    assert_call(&call, 1, 1, 1); /* at once: no pause leads anywhere */
    assert_int_equal(call.status, status);
    assert_true(tokens_are(&budget, status == 0 ? 3 : 1));
  }
}

static void what_ends_after_the_decision_is_not_counted(void **state) {
  fixture_t *f = *state;
  uvf_retry_budget_t budget = budget_of(10, 0.5);
  uvf_retry_options_t o = options_of(10, 10, 1);
  call_t call;
  CALL_INIT(call, 4, {LATER, 0, 0});
  o.budget = &budget;
  uvf__budget_note(&budget, 0);
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) pass_ms(&f->loop, 1);
  assert_int_equal(call.starts, 4);
  assert_int_equal(finish(&call, 3, UV_EIO), 0); /* 8 */
  assert_int_equal(finish(&call, 1, 0), 0);      /* 8.5 */
  assert_int_equal(finish(&call, 0, UV_ECANCELED), 0);
  assert_int_equal(finish(&call, 2, 0), 0);
  turn(&f->loop);
  assert_call(&call, 4, 1, 1);
  assert_true(tokens_are(&budget, 8.5));
}

static void what_is_not_retryable_takes_no_token(void **state) {
  fixture_t *f = *state;
  uvf_retry_budget_t budget = budget_of(10, 0.5);
  uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
  call_t call;
  CALL_INIT(call, 4, {INSIDE, UV_EACCES, 0});
  o.budget = &budget;
  call.answer = 0;
  call_start(&call, f->root, &o, 1);
  turn(&f->loop);
  assert_call(&call, 1, 1, 1);
  assert_true(tokens_are(&budget, 10));
}

static void answers_that_are_not_retryable_do_not_stop_the_retries_of_others(void **state) {
  fixture_t *f = *state;
  uvf_retry_budget_t budget = budget_of(10, 0.5);
  for (int i = 0; i < 20; i++) {
    uvf_retry_options_t o = options_of(10, 10, UVF_NO_LIMIT);
    call_t call;
    CALL_INIT(call, 4, {LATER, 0, 0});
    o.budget = &budget;
    call.answer = 0;
    call_start(&call, f->root, &o, i % 2);
    turn(&f->loop);
    assert_int_equal(finish(&call, 0, UV_ENOENT), 0);
    turn(&f->loop);
    assert_call(&call, 1, 1, i % 2);
    assert_int_equal(call.status, UV_ENOENT);
    assert_true(tokens_are(&budget, 10));
  }
  for (int i = 0; i < 2; i++) {
    uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
    call_t call;
    CALL_INIT(call, 3, {INSIDE, UV_EIO, 0}, {INSIDE, UV_EIO, 0}, {INSIDE, 0, 0});
    o.budget = &budget;
    o.retryable = i ? on_call_retryable : NULL; /* NULL: every failure is */
    call_start(&call, f->root, &o, 1);
    turn(&f->loop);
    for (int k = 0; k < 3; k++) pass_ms(&f->loop, 1);
    assert_call(&call, 3, 1, 1);
    assert_int_equal(call.status, 0);
    assert_true(tokens_are(&budget, 10 - 1.5 * (i + 1)));
  }
}

/* --- several loops --- */

typedef struct side_s {
  lane_t lane;
  call_t call;
  uvf_retry_budget_t *budget;
  int rounds, failed, won;
  gate_t over;
} side_t;

static void side_start(void *arg) {
  static const step_t steps[] = {{INSIDE, UV_EIO, 0}, {SLEEPS, UV_EIO, 0}, {INSIDE, 0, 0}};
  side_t *side = arg;
  uvf_retry_options_t o = options_of(0, 0, UVF_NO_LIMIT);
  void (*in_release)(call_t *) = side->call.in_release;
  o.budget = side->budget;
  o.retryable = NULL;
  call_init(&side->call, steps, 3, 3);
  side->call.in_release = in_release;
  side->call.arg = side;
  if (uvf_retry_start(side->lane.root, &side->call.retry, side->call.attempts, 3, &o, on_call_start, on_call_done,
                      on_call_release) != 0)
    abort();
}

static void side_again(call_t *call) {
  side_t *side = call->arg;
  side->failed += (int)call->retry.failed;
  side->won += call->status == 0;
  if (call->wrong != 0) abort();
  if (--side->rounds > 0) {
    side_start(side);
  } else {
    gate_open(&side->over, 1);
  }
}

static void retries_of_several_loops_share_one_budget_and_every_token_is_accounted_for(void **state) {
  static side_t sides[3];
  uvf_retry_budget_t budget = budget_of(100000, 2);
  int failed = 0, won = 0, rounds = (int)test_scaled(200, 10);
  (void)state;
  for (int i = 0; i < 40000; i++) uvf__budget_note(&budget, 0);
  for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
    memset(&sides[i], 0, sizeof sides[i]);
    lane_start(&sides[i].lane);
    gate_init(&sides[i].over);
    sides[i].budget = &budget;
    sides[i].rounds = rounds;
    sides[i].call.in_release = side_again;
  }
  for (size_t i = 0; i < ARRAY_SIZE(sides); i++) lane_call(&sides[i].lane, side_start, &sides[i]);
  for (size_t i = 0; i < ARRAY_SIZE(sides); i++) {
    gate_pass(&sides[i].over);
    lane_stop(&sides[i].lane);
    gate_destroy(&sides[i].over);
    failed += sides[i].failed;
    won += sides[i].won;
  }
  assert_int_equal(won, rounds * (int)ARRAY_SIZE(sides));
  assert_int_equal(failed, 2 * won);
  assert_true(tokens_are(&budget, 60000 + 2.0 * won - failed));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_budget_is_full_at_first_and_sizes_out_of_range_are_refused),
      unit(it_allows_as_long_as_more_than_half_is_there),
      unit(a_success_gives_back_its_part_to_the_thousandth),
      unit(no_token_is_lost_or_made_when_threads_share_it),
      unit(at_its_bounds_threads_do_not_push_it_over),
      unit_clock(failures_stop_the_retries_of_all_calls_that_share_it),
      unit_clock(successes_let_retries_begin_again),
      unit_clock(a_budget_used_up_during_a_pause_ends_the_call_when_the_pause_is_over),
      unit_clock(there_is_no_hedge_without_budget_but_the_attempt_that_runs_may_win),
      unit_clock(what_ends_after_the_decision_is_not_counted),
      unit_clock(what_is_not_retryable_takes_no_token),
      unit_clock(answers_that_are_not_retryable_do_not_stop_the_retries_of_others),
      unit(retries_of_several_loops_share_one_budget_and_every_token_is_accounted_for),
  };
  return test_run(tests);
}
