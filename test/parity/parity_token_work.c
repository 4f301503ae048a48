/* SPDX-License-Identifier: MIT
 *
 * Parity rows T-11 to T-14, T-22: a token across threads, work that runs until it is cancelled (a job under a
 * context), and when a cancel is complete.
 */
#include "parity.h"
#include "race.h"

/* --- T-11: across threads ----------------------------------------------------------------------------------------- */

typedef struct handed_s {
  uvf_ctx_t *ctx;
  const void *key;
  int err_before;
  int err_after;
  int cause;
  void *value;
  void *data;
  uint64_t deadline_ns;
  int retained_same;
} handed_t;

static void use_everything(void *arg) {
  handed_t *h = arg;
  uvf_ctx_t *clone = uvf_ctx_retain(h->ctx);
  h->retained_same = clone == h->ctx;
  h->err_before = uvf_ctx_err(clone);
  h->value = uvf_ctx_value(clone, h->key);
  h->deadline_ns = uvf_ctx_deadline_ns(clone);
  uvf_ctx_cancel_cause(clone, CAUSE_X, h);
  h->err_after = uvf_ctx_err(clone);
  h->cause = uvf_ctx_cause(clone, &h->data);
  uvf_ctx_release(clone);
  uvf_ctx_release(h->ctx); /* the reference that was handed over */
}

static void t11_a_token_may_cross_threads(void **state) {
  fixture_t *f = *state;
  static const int key;
  uint64_t deadline = uv_hrtime() + HOUR_MS * MS_NS;
  uvf_ctx_t *timed = deadline_of(f->root, deadline);
  handed_t h;
  counted_t c;
  memset(&h, 0, sizeof h);
  h.ctx = value_of(timed, &key, &h);
  h.key = &key;
  watch_start(&c, h.ctx, NULL);
  run_on_thread(use_everything, &h);
  assert_int_equal(h.retained_same, 1);
  assert_int_equal(h.err_before, 0);
  assert_ptr_equal(h.value, &h);
  assert_true(h.deadline_ns == deadline);
  assert_int_equal(h.err_after, UV_ECANCELED);
  assert_int_equal(h.cause, CAUSE_X);
  assert_ptr_equal(h.data, &h);
  settle(&f->loop);
  assert_called_once(&c, UV_ECANCELED);
  RELEASE(timed);
  settle(&f->loop);
  assert_int_equal(stats(f->root).contexts, 1);
}

/* --- T-12, T-13: run until cancelled ------------------------------------------------------------------------------ */

typedef struct run_s {
  uvf_work_t work;
  atomic_int started;
  atomic_int returned;
  int until_cancelled; /* fn goes on until it sees the end */
  gate_t may_return;
  int gated;
  int value; /* what fn made */
  int done;
  int released;
  int status;
  int returned_at_done;
} run_t;

static int run_fn(uvf_work_t *work) {
  run_t *r = work->data;
  unsigned int spins = 0;
  atomic_store(&r->started, 1);
  while (r->until_cancelled && uvf_ctx_err(work->ctx) == 0) {
    if (++spins % 4096 == 0) uv_sleep(0);
  }
  if (r->gated) gate_pass(&r->may_return);
  r->value = 42;
  atomic_store(&r->returned, 1);
  return 0;
}

static void on_run_done(uvf_work_t *work, int status) {
  run_t *r = work->data;
  r->done++;
  r->status = status;
  r->returned_at_done = atomic_load(&r->returned);
}

static void on_run_released(uvf_work_t *work) { ((run_t *)work->data)->released++; }

static void run_open(run_t *r, uvf_ctx_t *ctx, int until_cancelled, int owned) {
  memset(r, 0, sizeof *r);
  r->work.data = r;
  r->until_cancelled = until_cancelled;
  r->gated = until_cancelled && owned;
  gate_init(&r->may_return);
  assert_int_equal(uvf_work_start(ctx, &r->work, run_fn, on_run_done, owned ? on_run_released : NULL), 0);
  assert_int_equal(r->done, 0);
}

/* Turns the loop until fn has begun on its thread. */
static void wait_started(uv_loop_t *loop, run_t *r) {
  uint64_t start = uv_hrtime();
  while (!atomic_load(&r->started)) {
    settle(loop);
    assert_true(uv_hrtime() - start < 20000 * MS_NS);
  }
}

static void t12_run_until_cancelled(void **state) {
  fixture_t *f = *state;
  run_t r;
  uvf_ctx_t *ctx = cancel_of(f->root);
  run_open(&r, ctx, 0, 0); /* finished: the value */
  run_until(&f->loop, &r.done, 1);
  assert_int_equal(r.status, 0);
  assert_int_equal(r.value, 42);
  gate_destroy(&r.may_return);
  run_open(&r, ctx, 1, 0); /* cancelled: none, though fn returned 0 */
  wait_started(&f->loop, &r);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &r.done, 1);
  assert_int_equal(r.status, UV_ECANCELED);
  assert_int_equal(r.returned_at_done, 1);
  gate_destroy(&r.may_return);
  run_open(&r, ctx, 0, 0); /* cancelled already: none, and the work was not begun */
  run_until(&f->loop, &r.done, 1);
  settle(&f->loop);
  assert_int_equal(r.done, 1);
  assert_int_equal(r.status, UV_ECANCELED);
  assert_int_equal(atomic_load(&r.started), 0);
  assert_int_equal(r.value, 0);
  gate_destroy(&r.may_return);
  RELEASE(ctx);
}

/* The job holds the context and is told at once; its memory comes back when fn has let go. */
static void t13_run_until_cancelled_owned(void **state) {
  fixture_t *f = *state;
  run_t r;
  uvf_ctx_t *ctx = cancel_of(f->root);
  run_open(&r, ctx, 0, 1);
  RELEASE(ctx);
  run_until(&f->loop, &r.released, 1);
  assert_int_equal(r.done, 1);
  assert_int_equal(r.status, 0);
  assert_int_equal(r.value, 42);
  gate_destroy(&r.may_return);
  ctx = cancel_of(f->root);
  run_open(&r, ctx, 1, 1);
  wait_started(&f->loop, &r);
  uvf_ctx_cancel(ctx);
  RELEASE(ctx);
  run_until(&f->loop, &r.done, 1);
  assert_int_equal(r.status, UV_ECANCELED);
  assert_int_equal(r.returned_at_done, 0); /* fn stands at the gate */
  assert_int_equal(r.released, 0);
  gate_open(&r.may_return, 1);
  run_until(&f->loop, &r.released, 1);
  settle(&f->loop);
  assert_int_equal(r.done, 1);
  assert_int_equal(r.released, 1);
  assert_int_equal(atomic_load(&r.returned), 1);
  gate_destroy(&r.may_return);
}

static void t14_a_reference_is_the_same_token(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *token = cancel_of(f->root);
  uvf_ctx_t *clone = uvf_ctx_retain(token);
  uvf_ctx_t *child = cancel_of(token);
  uvf_ctx_t *independent = cancel_of(f->root);
  assert_ptr_equal(clone, token);
  assert_ptr_not_equal(child, token);
  assert_ptr_not_equal(independent, token);
  assert_null(uvf_ctx_retain(NULL));
  uvf_ctx_release(NULL);
  RELEASE(token);
  uvf_ctx_cancel(clone);
  assert_over(clone, UV_ECANCELED, UV_ECANCELED);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  assert_live(independent);
  RELEASE(clone, child, independent);
}

/* --- T-22: not atomic while it runs, complete when it returns ----------------------------------------------------- */

#define CROWD 200

typedef struct crowd_s {
  uvf_ctx_t *ctx[CROWD];
  atomic_int cancelled; /* set when the cancel has returned */
} crowd_t;

typedef struct observer_s {
  crowd_t *crowd;
  int missed;
} observer_t;

static void look_at_crowd(void *arg) {
  observer_t *o = arg;
  crowd_t *crowd = o->crowd;
  unsigned int spins = 0;
  while (!atomic_load(&crowd->cancelled)) {
    if (++spins % 4096 == 0) uv_sleep(0);
  }
  for (size_t i = 0; i < CROWD; i++) o->missed += uvf_ctx_err(crowd->ctx[i]) == 0;
}

static void t22_a_cancel_is_complete_when_it_returns(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  static crowd_t crowd;
  for (size_t round = 0; round < test_scaled(200, 10); round++) {
    race_t race;
    observer_t observers[2] = {{&crowd, 0}, {&crowd, 0}};
    uvf_ctx_t *top = cancel_of(f->root);
    for (size_t i = 0; i < CROWD; i++) crowd.ctx[i] = cancel_of(i % 5 == 0 ? top : crowd.ctx[test_rand(&seed) % i]);
    atomic_store(&crowd.cancelled, 0);
    race_init(&race, 3);
    race_add(&race, look_at_crowd, &observers[0], 0);
    race_add(&race, look_at_crowd, &observers[1], 0);
    race_meet(&race, 0);
    uvf_ctx_cancel(top);
    atomic_store(&crowd.cancelled, 1);
    race_join(&race);
    assert_int_equal(observers[0].missed, 0);
    assert_int_equal(observers[1].missed, 0);
    release_each(crowd.ctx, CROWD);
    RELEASE(top);
    settle(&f->loop);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(t11_a_token_may_cross_threads),
      unit(t12_run_until_cancelled),
      unit(t13_run_until_cancelled_owned),
      unit(t14_a_reference_is_the_same_token),
      unit(t22_a_cancel_is_complete_when_it_returns),
  };
  return test_run(tests);
}
