/* SPDX-License-Identifier: MIT
 *
 * Waits of blocked threads: told before, while it spins, while it sleeps; ended by a cancel on the loop or not, by a
 * deadline with the loop stuck, by a close; and both at once.
 */
#include "unit/test_wait.h"

/* --- blocked threads: told --- */

static void a_thread_that_need_not_wait_comes_back_at_once(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  blocked_t blocked;
  t.tokens = 1;
  blocked_start(&blocked, f->root, pass_blocking, &t);
  assert_int_equal(blocked_join(&blocked), 0);
  assert_int_equal(t.tokens, 0);
}

static void a_thread_that_is_parked_is_woken_by_who_serves_it(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  blocked_t blocked;
  for (int i = 0; i < 20; i++) {
    blocked_start(&blocked, f->root, pass_blocking, &t);
    await_parked(f->root, 1);
    assert_int_equal(atomic_load(&blocked.returned), 0);
    give(&t, 1);
    assert_int_equal(blocked_join(&blocked), 0);
    assert_int_equal(atomic_load(&uvf__ctx_hub(f->root)->nsleepers), 0);
    assert_int_equal(t.tokens, 0);
  }
}

typedef struct handover_s {
  turnstile_t t;
  gate_t queued, told;
} handover_t;

static int told_before_it_waits(uvf_ctx_t *ctx, void *object) {
  handover_t *h = object;
  uvf__parker_t parker;
  uvf_wait_t wait;
  int err = uvf__wait_block_begin(ctx, &wait, &turnstile_type, &h->t, 0, &parker);
  if (err != 0) return err;
  start(&h->t, &wait);
  gate_open(&h->queued, 1);
  gate_pass(&h->told);
  return uvf__block_end(uvf__wait_op(&wait), "told_before_it_waits");
}

static void a_thread_that_is_told_before_it_begins_to_wait_does_not_wait(void **state) {
  fixture_t *f = *state;
  handover_t h = {0};
  blocked_t blocked;
  gate_init(&h.queued);
  gate_init(&h.told);
  blocked_start(&blocked, f->root, told_before_it_waits, &h);
  gate_pass(&h.queued);
  give(&h.t, 1);
  gate_open(&h.told, 1);
  assert_int_equal(blocked_join(&blocked), 0);
  gate_destroy(&h.queued);
  gate_destroy(&h.told);
}

typedef struct relay_s {
  turnstile_t there, back;
  int n;
} relay_t;

static int answer(uvf_ctx_t *ctx, void *object) {
  relay_t *relay = object;
  for (int i = 0; i < relay->n; i++) {
    int err = pass_blocking(ctx, &relay->there);
    if (err != 0) return err;
    give(&relay->back, 1);
  }
  return 0;
}

static int ask(uvf_ctx_t *ctx, void *object) {
  relay_t *relay = object;
  uint64_t seed = 88172645463325252;
  for (int i = 0; i < relay->n; i++) {
    int err;
    spin_ns(test_rand(&seed) % 100000); /* the other is not waiting yet, spins, is about to park, or is parked */
    give(&relay->there, 1);
    err = pass_blocking(ctx, &relay->back);
    if (err != 0) return err;
  }
  return 0;
}

static void a_thread_is_told_whatever_it_is_doing_at_that_moment(void **state) {
  fixture_t *f = *state;
  relay_t relay = {0};
  blocked_t threads[2];
  relay.n = (int)test_scaled(5000, 10);
  blocked_start(&threads[0], f->root, answer, &relay);
  blocked_start(&threads[1], f->root, ask, &relay);
  assert_int_equal(blocked_join(&threads[0]), 0);
  assert_int_equal(blocked_join(&threads[1]), 0);
  assert_int_equal(relay.there.tokens + relay.back.tokens, 0);
}

/* They wake each other, so one that stops in between would leave the others asleep. Their context ends meanwhile: they
 * have been served before that. */
static void all_that_are_parked_are_woken_by_one_call(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  blocked_t blocked[20];
  static const int counts[] = {2, 7, 8, 9, 16, 17, 20};
  for (size_t c = 0; c < ARRAY_SIZE(counts); c++) {
    for (int ends = 0; ends < 2; ends++) {
      uvf_ctx_t *ctx = child_of(f->root);
      note_t note;
      for (int i = 0; i < counts[c]; i++) {
        blocked_start(&blocked[i], i % 3 ? ctx : f->root, pass_blocking, &t);
        if (i == counts[c] / 2) { /* a request among them */
          await_parked(f->root, (uint32_t)i + 1);
          pass(&note, f->root, &t, 0, NULL);
        }
      }
      await_parked(f->root, (uint32_t)counts[c]);
      give(&t, (uint64_t)counts[c] + 1);
      if (ends) uvf_ctx_cancel(ctx);
      for (int i = 0; i < counts[c]; i++) assert_int_equal(blocked_join(&blocked[i]), 0);
      run_until(&f->loop, &note.calls, 1);
      assert_noted(&note, 0);
      assert_int_equal(t.tokens, 0);
      assert_int_equal(atomic_load(&uvf__ctx_hub(f->root)->nsleepers), 0);
      uvf_ctx_release(ctx);
    }
  }
}

/* --- blocked threads: ended --- */

static void a_thread_does_not_begin_to_wait_under_a_context_that_is_over(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  turnstile_t t = {0};
  blocked_t blocked;
  t.tokens = 1;
  blocked_start(&blocked, over, pass_blocking, &t);
  assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
  assert_int_equal(t.tokens, 1);
  uvf_ctx_release(over);
}

static void a_parked_thread_is_ended_by_a_cancel_on_the_loop(void **state) {
  fixture_t *f = *state;
  for (int above = 0; above < 2; above++) { /* of its context, or of an ancestor */
    uvf_ctx_t *parent = child_of(f->root), *ctx = child_of(parent);
    turnstile_t t = {0};
    blocked_t blocked;
    blocked_start(&blocked, ctx, pass_blocking, &t);
    await_parked(f->root, 1);
    uvf_ctx_cancel(above ? parent : ctx);
    assert_int_equal(blocked_join(&blocked), UV_ECANCELED);
    assert_null(t.queue.first);
    give(&t, 1);
    assert_int_equal(t.tokens, 1); /* it took none */
    uvf_ctx_release(ctx);
    uvf_ctx_release(parent);
  }
}

static void a_parked_thread_is_ended_by_a_cancel_from_another_thread_though_its_loop_is_stuck(void **state) {
  stuck_t stuck;
  turnstile_t t = {0};
  blocked_t blocked;
  (void)state;
  stuck_start(&stuck, 0);
  blocked_start(&blocked, stuck.ctx, pass_blocking, &t);
  await_parked(stuck.ctx, 1);
  uvf_ctx_cancel(stuck.ctx);
  assert_int_equal(blocked_join(&blocked), UV_ECANCELED); /* the loop has not moved */
  assert_null(t.queue.first);
  stuck_go_on(&stuck);
  stuck_stop(&stuck);
}

static void a_parked_thread_is_ended_by_its_deadline_though_its_loop_is_stuck(void **state) {
  static const uint64_t rows[] = {1, 5, 30};
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    stuck_t stuck;
    turnstile_t t = {0};
    blocked_t blocked;
    uint64_t deadline_ns, now_ns;
    stuck_start(&stuck, rows[i]);
    deadline_ns = uvf_ctx_deadline_ns(stuck.ctx);
    blocked_start(&blocked, stuck.ctx, pass_blocking, &t);
    assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
    now_ns = uv_hrtime();
    assert_true(now_ns >= deadline_ns);
    assert_true(now_ns <= deadline_ns + GENEROUS_NS);
    assert_null(t.queue.first);
    stuck_go_on(&stuck);
    stuck_stop(&stuck);
  }
}

static void a_parked_thread_is_ended_by_the_close_of_its_root(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  turnstile_t t = {0};
  blocked_t of_root, of_child;
  blocked_start(&of_root, f->root, pass_blocking, &t);
  blocked_start(&of_child, ctx, pass_blocking, &t);
  await_parked(f->root, 2);
  uvf_ctx_release(ctx);
  fixture_close_root(f);
  assert_int_equal(blocked_join(&of_root), UV_ECANCELED);
  assert_int_equal(blocked_join(&of_child), UV_ECANCELED);
  assert_null(t.queue.first);
}

static void the_end_of_one_context_leaves_threads_under_another_asleep(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = child_of(f->root), *b = child_of(f->root), *timed = timeout_of(f->root, HOUR_MS);
  turnstile_t t = {0};
  blocked_t under_a, under_b, under_timed;
  blocked_start(&under_a, a, pass_blocking, &t);
  await_queued(&t, 1);
  blocked_start(&under_b, b, pass_blocking, &t);
  await_queued(&t, 2);
  blocked_start(&under_timed, timed, pass_blocking, &t);
  await_parked(f->root, 3);
  uvf_ctx_cancel(a);
  assert_int_equal(blocked_join(&under_a), UV_ECANCELED);
  await_queued(&t, 2);
  await_parked(f->root, 2);
  assert_int_equal(atomic_load(&under_b.returned) + atomic_load(&under_timed.returned), 0);
  give(&t, 2);
  assert_int_equal(blocked_join(&under_b), 0);
  assert_int_equal(blocked_join(&under_timed), 0);
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  uvf_ctx_release(timed);
}

static void a_thread_that_is_ended_makes_way_for_those_behind_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  turnstile_t t = {0};
  blocked_t ahead;
  note_t behind;
  blocked_start(&ahead, ctx, pass_blocking, &t);
  await_queued(&t, 1);
  pass(&behind, f->root, &t, 0, NULL);
  await_parked(f->root, 1);
  uvf_ctx_cancel(ctx);
  assert_int_equal(blocked_join(&ahead), UV_ECANCELED);
  assert_ptr_equal(t.queue.first, &behind.wait.uvf__waiter);
  give(&t, 1);
  run_until(&f->loop, &behind.calls, 1);
  assert_noted(&behind, 0);
  uvf_ctx_release(ctx);
}

typedef struct here_s {
  uvf_ctx_t *ctx;
  turnstile_t *t;
  int result;
} here_t;

static void block_here(void *arg) {
  here_t *here = arg;
  here->result = pass_blocking(here->ctx, here->t);
}

static void a_thread_that_runs_a_loop_is_refused_when_it_would_have_to_wait(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  here_t here = {f->root, &t, NOT_YET};
  turn(&f->loop);
  t.tokens = 1;
  block_here(&here); /* it need not wait */
  assert_int_equal(here.result, 0);
  if (test_rules_on()) {
    const char *rule = test_expect_rule(block_here, &here);
    assert_non_null(rule);
    assert_memory_equal(rule, "pass_blocking: ", strlen("pass_blocking: "));
    return; /* the rule was broken in the middle of the wait: the turnstile is lost with it */
  }
  block_here(&here);
  assert_int_equal(here.result, UV_EPERM);
  assert_null(t.queue.first); /* withdrawn */
  assert_int_equal(t.tokens, 0);
}

/* --- a thread that has something to see to while it sleeps --- */

typedef struct sleeper_s {
  turnstile_t t;
  uint64_t again_ns; /* under the turnstile's lock; when it is to be called next */
  atomic_int calls;
  uint64_t due_ns, called_ns; /* of the last call that was asked for by time */
  int serves;                 /* it serves itself when it is called for the third time */
} sleeper_t;

static uint64_t sleeper_wake(uvf_op_t *op) {
  sleeper_t *s = UVF__CONTAINER(((uvf_wait_t *)(void *)op)->uvf__object, sleeper_t, t);
  int calls = atomic_fetch_add(&s->calls, 1) + 1;
  uint64_t again_ns;
  if (s->serves && calls == 3) give(&s->t, 1);
  uvf__lock(&s->t.lock);
  s->called_ns = uv_hrtime();
  s->due_ns = s->again_ns;
  if (s->again_ns <= s->called_ns) s->again_ns = UINT64_MAX;
  again_ns = s->again_ns;
  uvf__unlock(&s->t.lock);
  return again_ns;
}

static int sleep_with_wake(uvf_ctx_t *ctx, void *object) {
  sleeper_t *s = object;
  uvf__parker_t parker;
  uvf_wait_t wait;
  int err = uvf__wait_block_begin(ctx, &wait, &turnstile_type, &s->t, 0, &parker);
  if (err != 0) return err;
  parker.wake = sleeper_wake;
  start(&s->t, &wait);
  return uvf__block_end(uvf__wait_op(&wait), "sleep_with_wake");
}

static void await_calls(sleeper_t *s, int n) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  while (atomic_load(&s->calls) < n) {
    if (uv_hrtime() > end_ns) fail_msg("%d calls after 20 s, not %d", atomic_load(&s->calls), n);
    uv_sleep(0);
  }
}

/* Until a call has found its time come. */
static void await_seen_to(sleeper_t *s) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  for (int seen_to = 0; !seen_to;) {
    uvf__lock(&s->t.lock);
    seen_to = s->again_ns == UINT64_MAX;
    uvf__unlock(&s->t.lock);
    if (uv_hrtime() > end_ns) fail_msg("not called after 20 s");
    uv_sleep(0);
  }
}

static void prod(sleeper_t *s, uint64_t again_ns) {
  uvf__lock(&s->t.lock);
  s->again_ns = again_ns;
  assert_int_equal(uvf__wait_prod(s->t.queue.first->op), 1);
  uvf__unlock(&s->t.lock);
}

static void a_thread_is_called_before_it_sleeps_when_it_is_prodded_and_at_the_time_it_asked_for(void **state) {
  fixture_t *f = *state;
  sleeper_t s = {.again_ns = UINT64_MAX};
  blocked_t blocked;
  uint64_t due_ns;
  blocked_start(&blocked, f->root, sleep_with_wake, &s);
  await_calls(&s, 1);
  due_ns = uv_hrtime() + 3 * MS_NS;
  prod(&s, due_ns); /* one call for that, and one when the time has come, unless it has come by then */
  await_calls(&s, 2);
  await_seen_to(&s);
  assert_int_equal(s.due_ns, due_ns);
  assert_true(s.called_ns >= due_ns);
  give(&s.t, 1);
  assert_int_equal(blocked_join(&blocked), 0);
}

static void a_thread_may_serve_itself_when_it_is_called(void **state) {
  fixture_t *f = *state;
  sleeper_t s = {.again_ns = UINT64_MAX, .serves = 1};
  blocked_t blocked;
  blocked_start(&blocked, f->root, sleep_with_wake, &s);
  await_calls(&s, 1);
  prod(&s, UINT64_MAX);
  await_calls(&s, 2);
  prod(&s, UINT64_MAX);
  assert_int_equal(blocked_join(&blocked), 0);
  assert_int_equal(atomic_load(&s.calls), 3);
  assert_int_equal(s.t.tokens, 0);
}

static void a_deadline_ends_a_thread_that_has_asked_to_be_called_later_than_that(void **state) {
  fixture_t *f = *state;
  sleeper_t s = {.again_ns = uv_hrtime() + HOUR_NS};
  uvf_ctx_t *ctx = timeout_of(f->root, 5);
  blocked_t blocked;
  blocked_start(&blocked, ctx, sleep_with_wake, &s);
  assert_int_equal(blocked_join(&blocked), UV_ETIMEDOUT);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
  assert_null(s.t.queue.first);
  uvf_ctx_release(ctx);
}

static void a_request_on_a_loop_cannot_be_prodded(void **state) {
  fixture_t *f = *state;
  turnstile_t t = {0};
  note_t note;
  pass(&note, f->root, &t, 0, NULL);
  uvf__lock(&t.lock);
  assert_int_equal(uvf__wait_prod(uvf__wait_op(&note.wait)), 0);
  uvf__unlock(&t.lock);
  give(&t, 1);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, 0);
}

static int prod_storm_wait(uvf_ctx_t *ctx, void *object) {
  sleeper_t *s = object;
  int err = 0;
  for (int i = 0; i < 200 && err == 0; i++) err = sleep_with_wake(ctx, s);
  return err;
}

static void prods_and_tokens_at_any_moment_lose_nothing(void **state) {
  fixture_t *f = *state;
  sleeper_t s = {.again_ns = UINT64_MAX};
  blocked_t blocked;
  uint64_t seed = test_seed();
  blocked_start(&blocked, f->root, prod_storm_wait, &s);
  for (int i = 0; i < 200; i++) {
    spin_ns(test_rand(&seed) % 60000); /* it spins, is about to sleep, or sleeps */
    uvf__lock(&s.t.lock);
    if (s.t.queue.first != NULL) (void)uvf__wait_prod(s.t.queue.first->op);
    uvf__unlock(&s.t.lock);
    spin_ns(test_rand(&seed) % 3000);
    give(&s.t, 1);
  }
  assert_int_equal(blocked_join(&blocked), 0);
  assert_int_equal(s.t.tokens, 0);
}

/* --- a race: exactly one winner --- */

static void duel_gives(void *arg) {
  duel_t *duel = arg;
  duel_meet(duel, 3, 0);
  give(&duel->t, 1);
}

static int duel_waits(uvf_ctx_t *ctx, void *object) {
  duel_t *duel = object;
  duel_meet(duel, 3, 1);
  return pass_blocking(ctx, &duel->t);
}

static void a_thread_that_is_told_and_ended_at_once_gets_one_of_the_two(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  int told = 0, ended = 0, n = (int)test_scaled(6000, 10);
  turn(&f->loop);
  for (int i = 0; i < n; i++) {
    duel_t duel;
    blocked_t blocked;
    uv_thread_t giver;
    int result;
    duel_begin(&duel, f, &seed);
    assert_int_equal(uv_thread_create(&giver, duel_gives, &duel), 0);
    blocked_start(&blocked, duel.ctx, duel_waits, &duel);
    duel_meet(&duel, 3, 2);
    uvf_ctx_cancel(duel.ctx);
    assert_int_equal(uv_thread_join(&giver), 0);
    result = blocked_join(&blocked);
    if (result == 0) {
      told++;
    } else {
      assert_int_equal(result, UV_ECANCELED);
      ended++;
    }
    assert_int_equal(duel.t.tokens, result == 0 ? 0 : 1); /* the token was taken, or is still there */
    assert_null(duel.t.queue.first);
    uvf_ctx_release(duel.ctx);
    if (i % 64 == 0) turn(&f->loop);
  }
  assert_int_equal(told + ended, n);
  assert_true(told > 0);
  assert_true(ended > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_thread_that_need_not_wait_comes_back_at_once),
      unit(a_thread_that_is_parked_is_woken_by_who_serves_it),
      unit(a_thread_that_is_told_before_it_begins_to_wait_does_not_wait),
      unit(a_thread_is_told_whatever_it_is_doing_at_that_moment),
      unit(all_that_are_parked_are_woken_by_one_call),
      unit(a_thread_does_not_begin_to_wait_under_a_context_that_is_over),
      unit(a_parked_thread_is_ended_by_a_cancel_on_the_loop),
      cmocka_unit_test(a_parked_thread_is_ended_by_a_cancel_from_another_thread_though_its_loop_is_stuck),
      cmocka_unit_test(a_parked_thread_is_ended_by_its_deadline_though_its_loop_is_stuck),
      unit(a_parked_thread_is_ended_by_the_close_of_its_root),
      unit(the_end_of_one_context_leaves_threads_under_another_asleep),
      unit(a_thread_that_is_ended_makes_way_for_those_behind_it),
      unit(a_thread_that_runs_a_loop_is_refused_when_it_would_have_to_wait),
      unit(a_thread_is_called_before_it_sleeps_when_it_is_prodded_and_at_the_time_it_asked_for),
      unit(a_thread_may_serve_itself_when_it_is_called),
      unit(a_deadline_ends_a_thread_that_has_asked_to_be_called_later_than_that),
      unit(a_request_on_a_loop_cannot_be_prodded),
      unit(prods_and_tokens_at_any_moment_lose_nothing),
      unit(a_thread_that_is_told_and_ended_at_once_gets_one_of_the_two),
  };
  return test_run(tests);
}
