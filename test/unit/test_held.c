/* SPDX-License-Identifier: MIT
 *
 * lib/io/held.c: requests that libuv may still have when they are over. A request of the tests' own stands for all of
 * them: what libuv would do is done by hand, so every order of libuv's callbacks, deliveries and ends can be forced,
 * and is compared with a model of a few lines.
 */
#include "io/io.h"
#include "support/fds.h"
#include "unit/test_wait.h"

typedef struct fake_s fake_t;
struct fake_s {
  UVF_OP_FIELDS
  int shift; /* so that the offset is not that of any real one */
  uvf__held_t held;
  int has_release;
  void (*in_done)(fake_t *fake);
  void (*in_release)(fake_t *fake);
  /* seen */
  int done, released, seen_status, claimed; /* claimed: what uvf__held_claim answered */
  int *done_too, *released_too;             /* for one that is freed; or NULL */
};

static int inside; /* the test stands in a call in which no callback may run */

static uvf_op_t *op_of(fake_t *fake) { return (uvf_op_t *)(void *)fake; }

static int has_release(uvf_op_t *op) { return ((fake_t *)(void *)op)->has_release; }

static void fake_done(uvf_op_t *op) {
  fake_t *fake = (fake_t *)(void *)op;
  assert_false(inside);
  fake->done++;
  fake->seen_status = fake->status;
  if (fake->done_too != NULL) ++*fake->done_too;
  if (fake->in_done != NULL) fake->in_done(fake);
}

static void fake_release(uvf_op_t *op) {
  fake_t *fake = (fake_t *)(void *)op;
  assert_false(inside);
  fake->released++;
  if (fake->released_too != NULL) ++*fake->released_too;
  if (fake->in_release != NULL) fake->in_release(fake);
}

static int fake_withdraw(uvf_op_t *op) { return uvf__held_may_tell(op); }

static const uvf__held_type_t fake_type = {{"fake", fake_withdraw, uvf__held_deliver, NULL, 0, NULL},
                                           offsetof(fake_t, held),
                                           has_release,
                                           fake_done,
                                           fake_release};

/* As a start does it: libuv owes `held` callbacks, also when ctx is over if it is of the closing kind. */
static void fake_start(uvf_ctx_t *ctx, fake_t *fake, int release, uint32_t held, int closing) {
  int rc;
  memset(fake, 0, sizeof *fake);
  fake->has_release = release;
  inside++;
  rc = uvf__op_begin(ctx, op_of(fake), &fake_type.op, "fake_start");
  inside--;
  assert_true(rc >= 0);
  if (rc > 0 || closing) fake->held.held = held;
}

/* A callback of libuv's: the first to come with a result claims. */
static void fake_back(fake_t *fake, int result) {
  inside++;
  fake->claimed = uvf__held_claim(op_of(fake), result);
  fake->held.held--;
  uvf__held_settle(op_of(fake));
  inside--;
}

static int fake_cancel(fake_t *fake) {
  int rc;
  inside++;
  rc = uvf_op_cancel(op_of(fake));
  inside--;
  return rc;
}

/* For on_thread(). */
static void cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

/* --- every order --- */

/* What must have been seen, step by step. */
typedef struct model_s {
  int release, err, claimed, status, told, released;
  int posted; /* the context is over, its loop does not know yet */
  uint32_t held;
} model_t;

static void model_claim(model_t *m, int status) {
  if (m->claimed) return;
  m->claimed = 1;
  m->status = status;
}

static void model_end(model_t *m, int err, int posted) {
  if (m->err == 0) {
    m->err = err;
    m->posted = posted;
  }
  if (!posted && m->err == err) model_claim(m, err);
}

static void model_turn(model_t *m) {
  if (m->err != 0) model_claim(m, m->err);
  m->posted = 0;
  if (!m->claimed) return;
  if (m->release || m->held == 0) m->told = 1;
  if (m->release && m->held == 0) m->released = 1;
}

typedef struct order_s {
  model_t model;
  uvf_ctx_t *ctx;
  fake_t *fake;
  const char *steps;
  int result;
} order_t;

/* B: libuv's callback. D: a delivery. X: uvf_op_cancel. E: the deadline. T: a cancel on another thread. */
static void order_step(order_t *o, char step) {
  model_t *m = &o->model;
  int over = m->told && (!m->release || m->released), unclaimed = !m->claimed;
  switch (step) {
    case 'B':
      if (m->held == 0) return;
      m->held--;
      model_claim(m, m->err != 0 ? m->err : o->result);
      fake_back(o->fake, o->result);
      if (unclaimed) assert_int_equal(o->fake->claimed, m->err == 0);
      if (!unclaimed) assert_int_equal(o->fake->claimed, 0);
      break;
    case 'D':
      model_turn(m);
      turn(&((fixture_t *)o->fake->data)->loop);
      break;
    case 'X':
      assert_int_equal(fake_cancel(o->fake), unclaimed ? 0 : UV_EBUSY);
      model_claim(m, UV_ECANCELED);
      break;
    case 'E':
      model_end(m, UV_ETIMEDOUT, 0);
      inside++;
      an_hour_passes(o->ctx);
      inside--;
      break;
    default:
      model_end(m, UV_ECANCELED, 1);
      inside++;
      on_thread(cancel_ctx, o->ctx);
      inside--;
      break;
  }
  if (o->fake->done != m->told || o->fake->released != m->released || (m->told && o->fake->seen_status != m->status)) {
    fail_msg("order %s, at %c: done %d (wanted %d), released %d (%d), status %d (%d)", o->steps, step, o->fake->done,
             m->told, o->fake->released, m->released, o->fake->seen_status, m->status);
  }
  if (over) assert_int_equal(o->fake->done, 1);
}

static void check_order(fixture_t *f, const char *steps, int release, uint32_t held, int over) {
  fake_t fake;
  order_t o = {.ctx = timeout_of(f->root, HOUR_MS), .fake = &fake, .steps = steps};
  o.result = steps[0] % 2 == 0 ? 0 : UV_EIO;
  if (over) uvf_ctx_cancel(o.ctx);
  fake_start(o.ctx, &fake, release, held, 1);
  fake.data = f;
  o.model.release = release;
  o.model.held = held;
  if (over) model_end(&o.model, UV_ECANCELED, 0);
  for (const char *step = steps; *step != '\0'; step++) order_step(&o, *step);
  if (!o.model.claimed && o.model.held == 0) order_step(&o, 'X');
  while (o.model.held > 0) order_step(&o, 'B');
  order_step(&o, 'D');
  assert_int_equal(fake.done, 1);
  assert_int_equal(fake.released, release);
  assert_int_equal(counts_of(o.ctx).ops, 0);
  uvf_ctx_release(o.ctx);
}

/* All words of four letters of the alphabet. */
static void check_orders(fixture_t *f, const char *alphabet, uint32_t held, int over) {
  size_t n = strlen(alphabet);
  for (size_t word = 0; word < n * n * n * n; word++) {
    char steps[5] = {alphabet[word % n], alphabet[word / n % n], alphabet[word / n / n % n], alphabet[word / n / n / n],
                     '\0'};
    for (int release = 0; release < 2; release++) check_order(f, steps, release, held, over);
  }
  clock_of_old();
}

static void every_order_of_callback_delivery_and_ends_is_told_as_it_should_be(void **state) {
  check_orders(*state, "BDXE", 1, 0);
}

static void every_order_with_a_cancel_on_another_thread(void **state) { check_orders(*state, "BDT", 1, 0); }

static void every_order_of_a_request_that_libuv_owes_two_callbacks(void **state) { check_orders(*state, "BDX", 2, 0); }

static void every_order_of_one_that_begins_under_a_context_that_is_over(void **state) {
  check_orders(*state, "BDX", 1, 1);
  check_orders(*state, "BDX", 2, 1);
}

static void every_order_of_one_that_libuv_never_had(void **state) { check_orders(*state, "DXE", 0, 0); }

/* --- what is linked meanwhile --- */

static void told_and_not_released_it_stands_under_its_context_and_the_root_waits(void **state) {
  fixture_t *f = *state;
  fake_t fake;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_start(ctx, &fake, 1, 1, 0);
  uvf_ctx_cancel(ctx);
  run_until(&f->loop, &fake.done, 1);
  assert_int_equal(counts_of(ctx).ops, 1);
  assert_int_equal(fake_cancel(&fake), UV_EBUSY);
  uvf_ctx_release(ctx); /* the request holds it */
  uvf_ctx_close(f->root, NULL);
  f->root = NULL;
  turn(&f->loop);
  assert_true(uv_loop_alive(&f->loop));
  assert_int_equal(counts_of(fake.ctx).ops, 1);
  fake_back(&fake, 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(fake.released, 1);
  assert_int_equal(fake.done, 1);
}

static void not_told_it_stands_under_its_context_and_the_root_waits(void **state) {
  fixture_t *f = *state;
  fake_t fake;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_ctx_cancel(ctx);
  fake_start(ctx, &fake, 0, 1, 1); /* carried out though the context is over: delivered, and put back */
  turn(&f->loop);
  assert_int_equal(fake.done, 0);
  assert_int_equal(counts_of(ctx).ops, 1);
  assert_int_equal(fake_cancel(&fake), UV_EBUSY);
  uvf_ctx_release(ctx);
  uvf_ctx_close(f->root, NULL);
  f->root = NULL;
  turn(&f->loop);
  assert_int_equal(fake.done, 0);
  assert_true(uv_loop_alive(&f->loop));
  fake_back(&fake, 0);
  assert_int_equal(fake.done, 0);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(fake.done, 1);
  assert_int_equal(fake.seen_status, UV_ECANCELED);
}

/* --- callbacks that do what callbacks do --- */

static void free_it(fake_t *fake) {
  memset(fake, 0xdb, sizeof *fake);
  free(fake);
}

static void the_last_callback_may_free_it(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    for (int early = 0; early < 2; early++) {
      int done = 0, released = 0;
      uvf_ctx_t *ctx = child_of(f->root);
      fake_t *fake = malloc(sizeof *fake);
      assert_non_null(fake);
      fake_start(ctx, fake, release, 1, 0);
      fake->done_too = &done;
      fake->released_too = &released;
      if (release) fake->in_release = free_it;
      if (!release) fake->in_done = free_it;
      uvf_ctx_release(ctx);
      if (early) assert_int_equal(fake_cancel(fake), 0);
      if (early) turn(&f->loop);
      assert_int_equal(done, early && release);
      assert_int_equal(released, 0);
      fake_back(fake, 0);
      turn(&f->loop);
      assert_int_equal(done, 1);
      assert_int_equal(released, release);
    }
  }
}

static void back_and_run(fake_t *fake) {
  fixture_t *f = fake->data;
  int *released = fake->released_too;
  fake_back(fake, 0);
  while (*released == 0) uv_run(&f->loop, UV_RUN_ONCE); /* which frees it */
}

static void release_may_come_while_done_runs_the_loop_and_free_it(void **state) {
  fixture_t *f = *state;
  int done = 0, released = 0;
  uvf_ctx_t *ctx = child_of(f->root);
  fake_t *fake = malloc(sizeof *fake);
  assert_non_null(fake);
  fake_start(ctx, fake, 1, 1, 0);
  fake->data = f;
  fake->done_too = &done;
  fake->released_too = &released;
  fake->in_done = back_and_run;
  fake->in_release = free_it;
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &released, 1);
  assert_int_equal(done, 1);
}

static void start_again(fake_t *fake) {
  uvf_ctx_t *ctx = fake->ctx;
  int *done = fake->done_too, left = fake->shift - 1;
  if (left == 0) return;
  fake_start(ctx, fake, 0, 1, 0);
  fake->done_too = done;
  fake->shift = left;
  fake->in_done = start_again;
  fake_back(fake, 0);
}

static void done_may_start_it_again_if_no_release_was_given(void **state) {
  fixture_t *f = *state;
  int done = 0;
  fake_t fake;
  fake_start(f->root, &fake, 0, 1, 0);
  fake.done_too = &done;
  fake.shift = 100;
  fake.in_done = start_again;
  fake_back(&fake, 0);
  run_until(&f->loop, &done, 100);
  turn(&f->loop);
  assert_int_equal(done, 100);
}

static void close_its_root(fake_t *fake) { uvf_ctx_close(fake->data, NULL); }

static void done_may_close_the_root_which_waits_for_release(void **state) {
  fixture_t *f = *state;
  for (int held = 0; held < 2; held++) {
    uvf_ctx_t *root;
    fake_t fake;
    assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
    fake_start(root, &fake, 1, 1, 0);
    fake.data = root;
    fake.in_done = close_its_root;
    if (!held) fake_back(&fake, 0);
    if (held) assert_int_equal(fake_cancel(&fake), 0);
    run_until(&f->loop, &fake.done, 1);
    turn(&f->loop);
    assert_int_equal(fake.released, !held);
    if (held) fake_back(&fake, 0);
    run_until(&f->loop, &fake.released, 1);
    uv_run(&f->loop, UV_RUN_DEFAULT);
    assert_int_equal(fake.done, 1);
  }
}

typedef struct standing_s {
  fixture_t *f;
  int in_done, closed, closed_inside;
} standing_t;

static standing_t standing;

static void on_its_root_closed(uvf_ctx_t *root) {
  (void)root;
  standing.closed++;
  standing.closed_inside += standing.in_done;
}

/* Release comes in here, and would be the last thing that the root waits for. */
static void close_its_root_and_run_the_loop(fake_t *fake) {
  int *released = fake->released_too;
  standing.in_done = 1;
  uvf_ctx_close(fake->data, on_its_root_closed);
  fake_back(fake, 0);
  for (int i = 0; i < 20 || *released == 0; i++) uv_run(&standing.f->loop, UV_RUN_NOWAIT);
  standing.in_done = 0;
}

static void a_root_does_not_close_while_done_stands_though_release_has_come(void **state) {
  fixture_t *f = *state;
  int done = 0, released = 0;
  uvf_ctx_t *root;
  fake_t *fake = malloc(sizeof *fake);
  assert_non_null(fake);
  memset(&standing, 0, sizeof standing);
  standing.f = f;
  assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
  fake_start(root, fake, 1, 1, 0);
  fake->data = root;
  fake->done_too = &done;
  fake->released_too = &released;
  fake->in_done = close_its_root_and_run_the_loop;
  fake->in_release = free_it;
  assert_int_equal(fake_cancel(fake), 0);
  run_until(&f->loop, &done, 1);
  run_until(&f->loop, &standing.closed, 1);
  assert_int_equal(done, 1);
  assert_int_equal(released, 1);
  assert_int_equal(standing.closed, 1);
  assert_int_equal(standing.closed_inside, 0);
}

/* --- many --- */

#define MANY 64

static void many_at_random_are_each_told_and_released_once(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (int round = 0; round < 20; round++) {
    fake_t fakes[MANY];
    uvf_ctx_t *ctx = child_of(f->root);
    for (int i = 0; i < MANY; i++) fake_start(ctx, &fakes[i], i % 2, 1 + (uint32_t)(i % 3), 0);
    for (int i = 0; i < 6 * MANY; i++) {
      fake_t *fake = &fakes[test_rand(&seed) % MANY];
      uint64_t what = test_rand(&seed) % 8;
      if (what == 0) fake_cancel(fake);
      if (what == 1) uv_run(&f->loop, UV_RUN_NOWAIT);
      if (what > 1 && fake->held.held > 0) fake_back(fake, 0);
      if (i == 5 * MANY) uvf_ctx_cancel(ctx);
    }
    for (int i = 0; i < MANY; i++) {
      while (fakes[i].held.held > 0) fake_back(&fakes[i], 0);
    }
    turn(&f->loop);
    for (int i = 0; i < MANY; i++) {
      assert_int_equal(fakes[i].done, 1);
      assert_int_equal(fakes[i].released, i % 2);
    }
    uvf_ctx_release(ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_fds(every_order_of_callback_delivery_and_ends_is_told_as_it_should_be),
      unit_fds(every_order_with_a_cancel_on_another_thread),
      unit_fds(every_order_of_a_request_that_libuv_owes_two_callbacks),
      unit_fds(every_order_of_one_that_begins_under_a_context_that_is_over),
      unit_fds(every_order_of_one_that_libuv_never_had),
      unit_fds(told_and_not_released_it_stands_under_its_context_and_the_root_waits),
      unit_fds(not_told_it_stands_under_its_context_and_the_root_waits),
      unit_fds(the_last_callback_may_free_it),
      unit_fds(release_may_come_while_done_runs_the_loop_and_free_it),
      unit_fds(done_may_start_it_again_if_no_release_was_given),
      unit_fds(done_may_close_the_root_which_waits_for_release),
      unit_fds(a_root_does_not_close_while_done_stands_though_release_has_come),
      unit_fds(many_at_random_are_each_told_and_released_once),
  };
  return test_run(tests);
}
