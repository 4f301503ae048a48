/* SPDX-License-Identifier: MIT
 *
 * Retries at random: many at once, of every shape, on a clock that jumps, cut short in every way. What must always
 * hold is checked of each: at most n attempts, none after the decision or the deadline or before its time; done once;
 * release once, after every attempt; one winner at most; and the budgets they share never leave their bounds.
 */
#include "unit/retry_probe.h"

#define CROWD 40
#define BUDGETS 3

typedef struct actor_s {
  call_t call;
  step_t steps[CALL_MAX];
  uvf_retry_options_t o;
  uvf_ctx_t *ctx;
  uint64_t deadline_ns;
  uint64_t end_ns; /* when it is cut, if it is not over by then */
  int release, cut, closed;
} actor_t;

typedef struct world_s {
  fixture_t *f;
  uint64_t rng;
  uvf_retry_budget_t budgets[BUDGETS];
  double most[BUDGETS];
  actor_t actors[CROWD];
  size_t begun, won, lost, cut, timed_out, hedged;
} world_t;

static uint64_t pick(world_t *w, uint64_t n) { return test_rand(&w->rng) % n; }

static uint64_t pick_of(world_t *w, const uint64_t *from, size_t n) { return from[pick(w, n)]; }

static int model_retryable(uvf_attempt_t *attempt, int status) {
  on_call_retryable(attempt, status);
  return status != UV_EACCES;
}

static void actor_start(world_t *w, actor_t *a) {
  static const uint64_t limits[] = {0, UVF_NO_LIMIT, 1, 5, 20, 100};
  static const uint64_t hedges[] = {UVF_NO_LIMIT, UVF_NO_LIMIT, 0, 1, 4, 15};
  static const uint64_t pauses[] = {0, 1, 3, 10, 40};
  static const int errors[] = {UV_EIO, UV_EPIPE, UV_ECONNREFUSED, UV_EIO, UV_EACCES};
  unsigned int n = 1 + (unsigned int)pick(w, CALL_MAX);
  memset(a, 0, sizeof *a);
  for (unsigned int i = 0; i < CALL_MAX; i++) {
    how_t how = (how_t)(AT_ONCE + pick(w, 3));
    int status = pick(w, 4) == 0 && how != AT_ONCE ? 0 : errors[pick(w, ARRAY_SIZE(errors))];
    a->steps[i] = (step_t){how, status, pick(w, 30)};
  }
  call_init(&a->call, a->steps, CALL_MAX, n);
  a->o = options_of(pick_of(w, pauses, ARRAY_SIZE(pauses)), pick_of(w, pauses, ARRAY_SIZE(pauses)),
                    pick_of(w, hedges, ARRAY_SIZE(hedges)));
  a->o.attempt_ms = pick_of(w, limits, ARRAY_SIZE(limits));
  a->o.retryable = model_retryable;
  if (pick(w, 2) == 0) a->o.budget = &w->budgets[pick(w, BUDGETS)];
  a->release = (int)pick(w, 2);
  a->ctx = pick(w, 3) == 0 ? timeout_of(w->f->root, pick(w, 60)) : child_of(w->f->root);
  a->deadline_ns = uvf_ctx_deadline_ns(a->ctx);
  a->end_ns = pick(w, 3) == 0 ? fake_ns + pick(w, 50 * MS_NS) : UINT64_MAX;
  call_start(&a->call, a->ctx, &a->o, a->release);
  w->begun++;
}

static int actor_over(const actor_t *a) { return a->call.dones == 1 && a->call.releases == a->release; }

static void cancel_ctx(void *arg) { uvf_ctx_cancel(arg); }

static void actor_cut(world_t *w, actor_t *a) {
  a->cut = 1;
  a->call.in_call++;
  switch (pick(w, 3)) {
    case 0: uvf_op_cancel((uvf_op_t *)&a->call.retry); break;
    case 1: uvf_ctx_cancel(a->ctx); break;
    default: pick(w, 8) == 0 ? on_thread(cancel_ctx, a->ctx) : uvf_ctx_cancel(a->ctx); break;
  }
  a->call.in_call--;
}

/* The least time from the start of one attempt to that of the next. */
static uint64_t least_gap(const actor_t *a) {
  uint64_t pause = a->o.backoff_ms < a->o.backoff_max_ms ? a->o.backoff_ms : a->o.backoff_max_ms;
  uint64_t gap = pause * MS_NS / 5 * 4;
  if (a->o.hedge_ms != UVF_NO_LIMIT && a->o.hedge_ms * MS_NS < gap) gap = a->o.hedge_ms * MS_NS;
  return gap;
}

static void actor_check(world_t *w, actor_t *a) {
  const call_t *c = &a->call;
  unsigned int failed = 0;
  assert_int_equal(c->wrong, 0);
  assert_int_equal(c->dones, 1);
  assert_int_equal(c->releases, a->release);
  assert_int_equal(c->starts, c->retry.started);
  assert_true(c->retry.started <= c->n);
  assert_int_equal(running_of(c), 0);
  for (unsigned int i = 0; i < c->retry.started; i++) {
    assert_true(c->at_ns[i] < a->deadline_ns && c->at_ns[i] <= c->done_ns);
    if (i > 0) assert_true(c->at_ns[i] >= c->at_ns[i - 1] + least_gap(a));
    failed += c->attempts[i].status != 0;
  }
  assert_true(c->retry.failed <= failed);
  assert_true(c->retry.failed <= (unsigned int)c->asked);
  if (c->status == 0) {
    assert_non_null(c->retry.winner);
    assert_int_equal(c->retry.winner->status, 0);
    w->won++;
  } else if (a->cut && (c->status == UV_ECANCELED)) {
    w->cut++;
  } else if (c->status == UV_ETIMEDOUT) {
    assert_true(a->deadline_ns <= fake_ns || (a->o.attempt_ms != 0 && a->o.attempt_ms != UVF_NO_LIMIT));
    w->timed_out++;
  } else {
    assert_true(c->retry.failed > 0); /* a failure of its own: it was the last, or not to be retried, or too late */
    w->lost++;
  }
  if (c->retry.started > c->retry.failed + 1) w->hedged++;
  uvf_ctx_release(a->ctx);
  a->closed = 1;
}

static void check_budgets(const world_t *w) {
  for (int i = 0; i < BUDGETS; i++) {
    double tokens = uvf_retry_budget_tokens(&w->budgets[i]);
    assert_true(tokens >= 0 && tokens <= w->most[i]);
  }
}

static void whatever_happens_every_retry_ends_once_and_by_the_rules(void **state) {
  static world_t w;
  size_t wanted = test_scaled(20000, 20);
  size_t over = 0;
  memset(&w, 0, sizeof w);
  w.f = *state;
  w.rng = test_seed();
  for (int i = 0; i < BUDGETS; i++) {
    w.most[i] = (double[BUDGETS]){1, 6, 200}[i];
    assert_int_equal(uvf_retry_budget_init(&w.budgets[i], w.most[i], 0.5), 0);
  }
  for (int i = 0; i < CROWD; i++) w.actors[i].closed = 1;
  while (over < wanted) {
    for (int i = 0; i < CROWD; i++) {
      actor_t *a = &w.actors[i];
      if (a->closed && w.begun < wanted && pick(&w, 2) == 0) actor_start(&w, a);
      if (!a->closed && !a->cut && a->end_ns <= fake_ns) actor_cut(&w, a);
    }
    pass_ns(&w.f->loop, pick(&w, 8) == 0 ? pick(&w, 20 * MS_NS) : pick(&w, MS_NS));
    check_budgets(&w);
    for (int i = 0; i < CROWD; i++) {
      if (w.actors[i].closed || !actor_over(&w.actors[i])) continue;
      actor_check(&w, &w.actors[i]);
      over++;
    }
  }
  for (int i = 0; i < 100; i++) pass_ms(&w.f->loop, 1);
  assert_int_equal(stats_of(w.f->root).contexts, 1);
  assert_int_equal(stats_of(w.f->root).ops, 0);
  printf("%zu retries: %zu won, %zu lost, %zu cut, %zu timed out; %zu hedged\n", w.begun, w.won, w.lost, w.cut,
         w.timed_out, w.hedged);
  assert_true(w.won > 0 && w.lost > 0 && w.cut > 0 && w.timed_out > 0 && w.hedged > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_clock(whatever_happens_every_retry_ends_once_and_by_the_rules),
  };
  return test_run(tests);
}
