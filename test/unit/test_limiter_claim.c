/* SPDX-License-Identifier: MIT
 *
 * The limiter: who ends a wait, every end against every other; nudges that are on their way while it ends.
 */
#include "unit/limiter_probe.h"

/* --- who claims it --- */

enum { BY_TOKENS, BY_TOKENS_FAR, BY_CANCEL, BY_CONTEXT, BY_CONTEXT_FAR, BY_DEADLINE, BY_CLOSE, WAYS };

typedef struct stage_s {
  fixture_t *f;
  uvf_limiter_t *limiter;
  uvf_ctx_t *root, *ctx;
  toll_t toll;
  int roots_closed;
} stage_t;

static stage_t *on_stage;

static void stage_closed(uvf_ctx_t *root) {
  (void)root;
  on_stage->roots_closed++;
}

/* Nothing flows in, so that every token is accounted for. */
static void stage_open(stage_t *s, fixture_t *f) {
  memset(s, 0, sizeof *s);
  on_stage = s;
  s->f = f;
  s->limiter = limiter_of(0, 5);
  assert_int_equal(uvf_ctx_background(&f->loop, &s->root), 0);
  assert_int_equal(uvf_ctx_with_deadline(s->root, stopped_clock() + 5 * MS_NS, &s->ctx), 0);
}

/* None of these lets the loop turn: the claim is made, or could be, and nobody was told. */
static int act(stage_t *s, int way) {
  switch (way) {
    case BY_TOKENS: token_back(s->limiter); return 0;
    case BY_TOKENS_FAR: on_thread(token_back, s->limiter); return 0;
    case BY_CANCEL: return uvf_op_cancel(toll_op(&s->toll));
    case BY_CONTEXT: uvf_ctx_cancel(s->ctx); return 0;
    case BY_CONTEXT_FAR: on_thread(limiter_cancel_ctx, s->ctx); return 0;
    case BY_DEADLINE:
      go_ms(5);
      uvf__hub_run_deadlines(uvf__ctx_hub(s->ctx));
      return 0;
    default:
      uvf_ctx_close(s->root, stage_closed);
      s->root = NULL;
      return 0;
  }
}

static int is_tokens(int way) { return way == BY_TOKENS || way == BY_TOKENS_FAR; }
static int status_by(int way) { return is_tokens(way) ? 0 : way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED; }

static void stage_close(stage_t *s) {
  uvf_ctx_release(s->ctx);
  if (s->root != NULL) uvf_ctx_close(s->root, stage_closed);
  run_until(&s->f->loop, &s->roots_closed, 1);
  limiter_free(s->limiter);
}

static void make_rate(void *arg) {
  if (uvf_limiter_set(arg, 1e-3, 5) != 0) abort();
}

static void make_no_rate(void *arg) {
  if (uvf_limiter_set(arg, 0, 5) != 0) abort();
}

/* With a nudge in flight to a loop that does not turn, or with none. */
static void stage_start(stage_t *s, int flying) {
  turn(&s->f->loop);
  toll_start(&s->toll, s->ctx, s->limiter, 1, 0, NULL);
  assert_int_equal(s->toll.wait.uvf__nudged, 0);
  if (!flying) return;
  on_thread(make_rate, s->limiter); /* a thousand seconds to wait for: its loop must know */
  assert_int_equal(s->toll.wait.uvf__nudged, 1);
  on_thread(make_no_rate, s->limiter);
}

static void a_wait_ends_once_by_whoever_claims_it_with_a_nudge_in_flight_or_without(void **state) {
  for (int i = 0; i < WAYS * 2; i++) {
    int way = i / 2, flying = i % 2;
    stage_t s;
    stage_open(&s, *state);
    stage_start(&s, flying);
    assert_int_equal(act(&s, way), 0);
    assert_int_equal(s.toll.calls, 0); /* never inside */
    run_until(&s.f->loop, &s.toll.calls, 1);
    turn(&s.f->loop);
    assert_toll(&s.toll, status_by(way));
    assert_int_equal(uvf_op_cancel(toll_op(&s.toll)), UV_EBUSY);
    assert_tokens(s.limiter, 0);
    stage_close(&s);
  }
}

static void of_two_that_claim_the_first_wins_and_no_token_is_lost(void **state) {
  for (int i = 0; i < WAYS * WAYS * 2; i++) {
    int first = i / 2 / WAYS, second = i / 2 % WAYS, flying = i % 2;
    stage_t s;
    int rc;
    if (first == second || (first == BY_CLOSE && (second == BY_CONTEXT || second == BY_CONTEXT_FAR))) continue;
    stage_open(&s, *state);
    stage_start(&s, flying);
    assert_int_equal(act(&s, first), 0);
    rc = act(&s, second);
    /* another thread's cancel ends the context, but only its loop can claim for it */
    assert_int_equal(rc, second == BY_CANCEL && first != BY_CONTEXT_FAR ? UV_EBUSY : 0);
    assert_int_equal(s.toll.calls, 0);
    run_until(&s.f->loop, &s.toll.calls, 1);
    turn(&s.f->loop);
    assert_toll(&s.toll, status_by(first));
    assert_tokens(s.limiter, is_tokens(second)); /* what the first way did not need */
    stage_close(&s);
  }
}

static void a_blocked_thread_ends_once_by_whoever_claims_it(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < WAYS; way++) {
    stage_t s;
    blocked_t b;
    if (way == BY_CANCEL || way == BY_DEADLINE) continue; /* no request to cancel; a clock that stands still */
    stage_open(&s, *state);
    turn(&f->loop);
    blocked_start(&b, s.ctx, block_for_one, s.limiter);
    await_parked(s.ctx, 1);
    assert_int_equal(waiting(s.limiter), 1);
    assert_int_equal(act(&s, way), 0);
    assert_int_equal(blocked_join(&b), status_by(way));
    assert_int_equal(waiting(s.limiter), 0);
    assert_tokens(s.limiter, 0);
    stage_close(&s);
  }
}

/* The head goes first, and makes way for others that end with it; they get nothing, who is left gets it. */
static void the_end_of_a_tree_ends_all_its_waits_and_no_other(void **state) {
  enum { N = 8 };
  fixture_t *f = *state;
  for (int flying = 0; flying < 2; flying++) {
    uvf_limiter_t *limiter = limiter_of(0, 5);
    uvf_ctx_t *ctx = child_of(f->root), *below = child_of(ctx);
    toll_t tolls[N];
    turn(&f->loop);
    for (int i = 0; i < 3; i++) token_back(limiter);
    for (int i = 0; i < N; i++) {
      toll_start(&tolls[i], i == 0 ? below : i == N / 2 ? f->root : ctx, limiter, i == 0 ? 5 : 1, i, NULL);
    }
    if (flying) on_thread(make_rate, limiter);
    if (flying) on_thread(make_no_rate, limiter);
    assert_int_equal(waiting(limiter), N);
    uvf_ctx_cancel(ctx);
    assert_int_equal(waiting(limiter), 0);
    turn(&f->loop);
    for (int i = 0; i < N; i++) assert_toll(&tolls[i], i == N / 2 ? 0 : UV_ECANCELED);
    assert_tokens(limiter, 2);
    uvf_ctx_release(below);
    uvf_ctx_release(ctx);
    limiter_free(limiter);
  }
}

static void under_a_context_that_is_over_nothing_is_taken(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(0, 5);
  uvf_ctx_t *ctx = child_of(f->root);
  blocked_t b;
  toll_t toll;
  token_back(limiter);
  uvf_ctx_cancel(ctx);
  toll_start(&toll, ctx, limiter, 1, 0, NULL);
  run_until(&f->loop, &toll.calls, 1);
  assert_toll(&toll, UV_ECANCELED);
  blocked_start(&b, ctx, block_for_one, limiter);
  assert_int_equal(blocked_join(&b), UV_ECANCELED);
  assert_tokens(limiter, 1);
  uvf_ctx_release(ctx);
  limiter_free(limiter);
}

/* --- nudges --- */

static void free_in_callback(toll_t *toll) {
  uvf_limiter_t *limiter = toll->arg;
  int *done = toll->wait.data;
  if (limiter != NULL && uvf_limiter_destroy(limiter) == 0) free(limiter);
  *done += toll->calls;
  memset(toll, 0xdb, sizeof *toll);
  free(toll);
}

/* The request's memory is gone when its callback returns: no nudge may come to it then. */
static toll_t *toll_to_free(uvf_ctx_t *ctx, uvf_limiter_t *limiter, int *done) {
  toll_t *toll = malloc(sizeof *toll);
  assert_non_null(toll);
  toll_start(toll, ctx, limiter, 1, 0, NULL);
  toll->then = free_in_callback;
  toll->wait.data = done;
  return toll;
}

static void a_request_is_not_given_back_while_a_nudge_flies(void **state) {
  fixture_t *f = *state;
  turn(&f->loop);
  for (int way = 0; way < 3; way++) {
    uvf_limiter_t *limiter = limiter_of(0, 5);
    uvf_ctx_t *ctx = child_of(f->root);
    int done = 0;
    toll_t *toll = toll_to_free(ctx, limiter, &done);
    on_thread(make_rate, limiter);
    assert_int_equal(toll->wait.uvf__nudged, 1);
    if (way == 0) assert_int_equal(uvf_op_cancel(toll_op(toll)), 0);
    if (way == 1) uvf_ctx_cancel(ctx);
    if (way == 2) on_thread(token_back, limiter); /* told by the nudge alone: a second post would be of freed memory */
    assert_int_equal(toll->wait.uvf__nudged, 2);
    assert_int_equal(waiting(limiter), 0);
    if (way < 2) limiter_free(limiter); /* nobody waits: it may go, and the nudge must not look for it */
    run_until(&f->loop, &done, 1);
    turn(&f->loop);
    assert_int_equal(done, 1);
    if (way == 2) limiter_free(limiter);
    uvf_ctx_release(ctx);
  }
}

static void a_nudge_that_has_arrived_makes_room_for_another_and_each_brings_the_latest_rate(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(0, 5);
  toll_t toll, next;
  turn(&f->loop);
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  toll_start(&next, f->root, limiter, 1, 1, NULL);
  for (int i = 0; i < 3; i++) {
    on_thread(make_rate, limiter);
    assert_int_equal(toll.wait.uvf__nudged, 1);
    turn(&f->loop);
    assert_int_equal(toll.wait.uvf__nudged, 0);
    assert_int_equal(next.wait.uvf__nudged, 0); /* only the head is told */
    on_thread(make_no_rate, limiter);
    ring(f); /* the alarm of the rate before is not its time */
    assert_int_equal(uvf_limiter_set(limiter, 0, 5), 0);
    go_ms(2000000);
    ring(f);
    assert_int_equal(toll.calls, 0);
  }
  on_thread(make_rate, limiter);
  assert_int_equal(uvf_limiter_set(limiter, 10, 5), 0); /* while the first one flies: one nudge for both */
  assert_int_equal(toll.wait.uvf__nudged, 1);
  turn(&f->loop);
  go(100 * MS_NS - 1);
  ring(f);
  assert_int_equal(toll.calls, 0);
  go(1);
  ring(f);
  assert_toll(&toll, 0);
  assert_int_equal(next.calls, 0);
  go_ms(100);
  ring(f);
  assert_toll(&next, 0);
  limiter_free(limiter);
}

/* Before its loop has first run nobody knows on which thread it will: even its own thread sends a nudge. */
static void a_wait_of_a_loop_that_has_not_run_ends_once_with_its_nudge_in_flight(void **state) {
  (void)state;
  for (int way = 0; way < 3; way++) {
    fixture_t *fresh = NULL;
    uvf_limiter_t *limiter = limiter_of(10, 5);
    int done = 0;
    toll_t *toll;
    assert_int_equal(fixture_setup((void **)&fresh), 0);
    toll = toll_to_free(fresh->root, limiter, &done);
    assert_int_equal(toll->wait.uvf__nudged, 1);
    if (way == 0) assert_int_equal(uvf_op_cancel(toll_op(toll)), 0);
    if (way == 1) on_thread(token_back, limiter);
    if (way == 2) go_ms(100);
    if (way == 2) assert_int_equal(uvf_limiter_try(limiter, 1), UV_EAGAIN); /* who comes by serves who is due */
    assert_int_equal(waiting(limiter), 0);
    run_until(&fresh->loop, &done, 1);
    assert_int_equal(done, 1);
    limiter_free(limiter);
    assert_int_equal(fixture_teardown((void **)&fresh), 0);
  }
}

/* Served on another thread while its alarm is set on its own loop: it rings for nobody, or is stopped. */
static void an_alarm_that_is_left_over_rings_for_nobody(void **state) {
  fixture_t *f = *state;
  for (int rings = 0; rings < 2; rings++) {
    uvf_limiter_t *limiter = limiter_of(10, 5);
    int done = 0;
    turn(&f->loop);
    toll_to_free(f->root, limiter, &done);
    on_thread(token_back, limiter);
    go_ms(200);
    if (rings) uvf__hub_run_deadlines(uvf__ctx_hub(f->root));
    run_until(&f->loop, &done, 1);
    ring(f);
    assert_int_equal(done, 1);
    limiter_free(limiter);
  }
}

/* --- misuse --- */

typedef struct misuse_s {
  uvf_limiter_t *limiter;
  uvf_ctx_t *ctx;
  toll_t *toll;
  int rc;
} misuse_t;

static void misuse_destroy(void *arg) { ((misuse_t *)arg)->rc = uvf_limiter_destroy(((misuse_t *)arg)->limiter); }
static void misuse_block(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_limiter_wait_wait(m->ctx, m->limiter, 1);
}
static void misuse_start(void *arg) {
  misuse_t *m = arg;
  m->rc = uvf_limiter_wait(m->ctx, &m->toll->wait, m->limiter, 1, on_toll);
}

static void assert_misuse(void (*fn)(void *), misuse_t *m, int code, const char *function) {
  const char *rule = test_expect_rule(fn, m);
  if (test_rules_on()) {
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
  } else {
    fn(m);
    assert_int_equal(m->rc, code);
  }
}

static void misuse_is_named_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_limiter_t *limiter = limiter_of(0, 5);
  toll_t toll;
  misuse_t m = {limiter, f->root, &toll, 1};
  turn(&f->loop);
  assert_misuse(misuse_block, &m, UV_EPERM, "uvf_limiter_wait_wait: ");
  toll_start(&toll, f->root, limiter, 1, 0, NULL);
  assert_misuse(misuse_destroy, &m, UV_EBUSY, "uvf_limiter_destroy: ");
  if (test_rules_on()) assert_misuse(misuse_start, &m, 0, "uvf_limiter_wait: ");
  assert_int_equal(waiting(limiter), 1);
  token_back(limiter);
  run_until(&f->loop, &toll.calls, 1);
  assert_toll(&toll, 0);
  limiter_free(limiter);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      stopped(a_wait_ends_once_by_whoever_claims_it_with_a_nudge_in_flight_or_without),
      stopped(of_two_that_claim_the_first_wins_and_no_token_is_lost),
      stopped(a_blocked_thread_ends_once_by_whoever_claims_it),
      stopped(the_end_of_a_tree_ends_all_its_waits_and_no_other),
      stopped(under_a_context_that_is_over_nothing_is_taken),
      stopped(a_request_is_not_given_back_while_a_nudge_flies),
      stopped(a_nudge_that_has_arrived_makes_room_for_another_and_each_brings_the_latest_rate),
      stopped(a_wait_of_a_loop_that_has_not_run_ends_once_with_its_nudge_in_flight),
      stopped(an_alarm_that_is_left_over_rings_for_nobody),
      unit(misuse_is_named_and_changes_nothing),
  };
  return test_run(tests);
}
