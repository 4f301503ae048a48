/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-45 to C-63: the table of err and cause. A row is a script of steps on a parent and a child, then what
 * both must answer.
 */
#include "parity.h"

static int x_data;
static int y_data;
static int slow_data;
static int early_data;

enum { CAUSE_EARLY = -70004 };

typedef enum {
  END = 0,
  MAKE_CANCEL,   /* child = with_cancel(parent) */
  MAKE_NOW,      /* child = with_timeout(parent, 0) */
  MAKE_FAR,      /* child = with_timeout(parent, for ever) */
  MAKE_NOW_SLOW, /* the two with the cause SLOW */
  MAKE_FAR_SLOW,
  MAKE_WITHOUT, /* child = without_cancel(parent) */
  PARENT_X,     /* cancel the parent with the cause X ... */
  PARENT_EARLY,
  PARENT_ZERO,  /* ... with a cause of 0 ... */
  PARENT_PLAIN, /* ... with none */
  CHILD_X,
  CHILD_Y,
  CHILD_ZERO,
  CHILD_PLAIN,
  PARENT_EXPIRES /* the parent is replaced by a with_timeout(0) of the root, before the child is made */
} step_t;

typedef struct answer_s {
  int err;
  int cause;
  void *data;
} answer_t;

static const answer_t none = {0, 0, NULL};
static const answer_t plain = {UV_ECANCELED, UV_ECANCELED, NULL};
static const answer_t timed_out = {UV_ETIMEDOUT, UV_ETIMEDOUT, NULL};
static const answer_t canceled_x = {UV_ECANCELED, CAUSE_X, &x_data};
static const answer_t canceled_y = {UV_ECANCELED, CAUSE_Y, &y_data};
static const answer_t canceled_early = {UV_ECANCELED, CAUSE_EARLY, &early_data};
static const answer_t timed_out_slow = {UV_ETIMEDOUT, CAUSE_SLOW, &slow_data};

static uvf_ctx_t *make(step_t step, uvf_ctx_t *parent) {
  switch (step) {
    case MAKE_NOW: return timeout_of(parent, 0);
    case MAKE_FAR: return timeout_of(parent, FOREVER_MS);
    case MAKE_NOW_SLOW: return timeout_cause_of(parent, 0, CAUSE_SLOW, &slow_data);
    case MAKE_FAR_SLOW: return timeout_cause_of(parent, FOREVER_MS, CAUSE_SLOW, &slow_data);
    case MAKE_WITHOUT: return without_of(parent);
    default: return cancel_of(parent);
  }
}

static void expect(uvf_ctx_t *ctx, answer_t want) {
  assert_over_with(ctx, want.err, want.cause, want.data);
  assert_int_equal(uvf_ctx_cause(ctx, NULL), want.cause);
}

/* `wrapped` puts a second context between the two that only passes the parent's end on: the answers must not change.
 * */
static void play(fixture_t *f, const step_t *steps, answer_t want_parent, answer_t want_child, int wrapped) {
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *between = NULL;
  uvf_ctx_t *child = NULL;
  for (; *steps != END; steps++) {
    switch (*steps) {
      case PARENT_EXPIRES:
        uvf_ctx_release(parent);
        parent = timeout_of(f->root, 0);
        break;
      case PARENT_X: uvf_ctx_cancel_cause(parent, CAUSE_X, &x_data); break;
      case PARENT_EARLY: uvf_ctx_cancel_cause(parent, CAUSE_EARLY, &early_data); break;
      case PARENT_ZERO: uvf_ctx_cancel_cause(parent, 0, NULL); break;
      case PARENT_PLAIN: uvf_ctx_cancel(parent); break;
      case CHILD_X: uvf_ctx_cancel_cause(child, CAUSE_X, &x_data); break;
      case CHILD_Y: uvf_ctx_cancel_cause(child, CAUSE_Y, &y_data); break;
      case CHILD_ZERO: uvf_ctx_cancel_cause(child, 0, NULL); break;
      case CHILD_PLAIN: uvf_ctx_cancel(child); break;
      default:
        if (wrapped) between = wrapper_of(parent);
        child = make(*steps, wrapped ? between : parent);
        break;
    }
  }
  for (int turn = 0; turn < 2; turn++) { /* at once, and still the same when the loop has turned */
    expect(parent, want_parent);
    if (between != NULL) expect(between, want_parent);
    if (child != NULL) expect(child, want_child);
    settle(&f->loop);
  }
  RELEASE(child, between, parent);
}

static void both_ways(void **state, const step_t *steps, answer_t want_parent, answer_t want_child) {
  play(*state, steps, want_parent, want_child, 0);
  play(*state, steps, want_parent, want_child, 1);
}

#define STEPS(...) ((const step_t[]){__VA_ARGS__, END})

static void c45_roots_have_neither(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *todo = NULL;
  expect(f->root, none);
  assert_int_equal(uvf_ctx_todo(&f->loop, &todo), 0);
  expect(todo, none);
  uvf_ctx_close(todo, NULL);
  expect(f->root, none);
}

static void c46_plain_cancel(void **state) { both_ways(state, STEPS(MAKE_CANCEL, CHILD_PLAIN), none, plain); }

static void c47_cancel_with_a_cause(void **state) { both_ways(state, STEPS(MAKE_CANCEL, CHILD_X), none, canceled_x); }

static void c48_cancel_with_cause_zero(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, CHILD_ZERO), none, plain);
  both_ways(state, STEPS(MAKE_CANCEL, PARENT_ZERO), plain, plain);
}

static void c49_parent_cause_before_child(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, PARENT_X, CHILD_Y), canceled_x, canceled_x);
}

static void c50_child_cause_before_parent(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, CHILD_Y, PARENT_X), canceled_x, canceled_y);
}

static void c51_parent_cause_before_plain_child(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, PARENT_X, CHILD_PLAIN), canceled_x, canceled_x);
}

static void c52_plain_child_before_parent_cause(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, CHILD_PLAIN, PARENT_X), canceled_x, plain);
}

static void c53_plain_parent_before_child_cause(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, PARENT_PLAIN, CHILD_Y), plain, plain);
}

static void c54_child_cause_before_plain_parent(void **state) {
  both_ways(state, STEPS(MAKE_CANCEL, CHILD_Y, PARENT_PLAIN), plain, canceled_y);
}

static void c55_timeout_now_then_cancel(void **state) {
  both_ways(state, STEPS(MAKE_NOW, CHILD_PLAIN), none, timed_out);
}

static void c56_timeout_forever_then_cancel(void **state) {
  both_ways(state, STEPS(MAKE_FAR, CHILD_PLAIN), none, plain);
}

static void c57_timeout_cause_now_then_cancel(void **state) {
  both_ways(state, STEPS(MAKE_NOW_SLOW, CHILD_PLAIN), none, timed_out_slow);
}

static void c58_timeout_cause_forever_then_cancel(void **state) {
  both_ways(state, STEPS(MAKE_FAR_SLOW, CHILD_PLAIN), none, plain);
}

static void c59_timeout_cause_now_then_parent_cause(void **state) {
  both_ways(state, STEPS(MAKE_NOW_SLOW, PARENT_EARLY), canceled_early, timed_out_slow);
}

static void c60_timeout_cause_forever_then_parent_cause(void **state) {
  both_ways(state, STEPS(MAKE_FAR_SLOW, PARENT_EARLY), canceled_early, canceled_early);
}

static void c61_without_cancel_of_a_root(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = without_of(f->root);
  expect(ctx, none);
  RELEASE(ctx);
}

static void c62_without_cancel_of_a_cancelled_parent(void **state) {
  both_ways(state, STEPS(MAKE_WITHOUT, PARENT_X), canceled_x, none); /* cancelled after ... */
  both_ways(state, STEPS(PARENT_X, MAKE_WITHOUT), canceled_x, none); /* ... and before */
}

static void c63_without_cancel_of_an_expired_parent(void **state) {
  both_ways(state, STEPS(PARENT_EXPIRES, MAKE_WITHOUT), timed_out, none);
}

/* --- the deadline rows once more, with a deadline that really comes ----------------------------------------------- */

static void c57_a_cause_given_to_a_deadline_that_comes(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_cause_of(f->root, 1, CAUSE_SLOW, &slow_data);
  uvf_ctx_t *child = cancel_of(ctx);
  run_until_over(&f->loop, child, UV_ETIMEDOUT);
  expect(ctx, timed_out_slow);
  expect(child, timed_out_slow);
  uvf_ctx_cancel_cause(ctx, CAUSE_Y, &y_data);
  expect(ctx, timed_out_slow);
  RELEASE(ctx, child);
}

/* An earlier deadline of an ancestor ends the child with the ancestor's cause, not with its own. */
static void c59_the_ancestors_deadline_gives_its_own_cause(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *outer = timeout_cause_of(f->root, 1, CAUSE_SLOW, &slow_data);
  uvf_ctx_t *inner = timeout_cause_of(outer, HOUR_MS, CAUSE_EARLY, &early_data);
  run_until_over(&f->loop, inner, UV_ETIMEDOUT);
  expect(outer, timed_out_slow);
  expect(inner, timed_out_slow);
  RELEASE(outer, inner);
}

static void c57_a_deadline_cause_of_zero_is_the_timeout(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *now_ctx = timeout_cause_of(f->root, 0, 0, NULL);
  uvf_ctx_t *past = NULL;
  expect(now_ctx, timed_out);
  assert_int_equal(uvf_ctx_with_deadline_cause(f->root, 0, CAUSE_SLOW, &slow_data, &past), 0);
  expect(past, timed_out_slow);
  RELEASE(now_ctx, past);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c45_roots_have_neither),
      unit(c46_plain_cancel),
      unit(c47_cancel_with_a_cause),
      unit(c48_cancel_with_cause_zero),
      unit(c49_parent_cause_before_child),
      unit(c50_child_cause_before_parent),
      unit(c51_parent_cause_before_plain_child),
      unit(c52_plain_child_before_parent_cause),
      unit(c53_plain_parent_before_child_cause),
      unit(c54_child_cause_before_plain_parent),
      unit(c55_timeout_now_then_cancel),
      unit(c56_timeout_forever_then_cancel),
      unit(c57_timeout_cause_now_then_cancel),
      unit(c57_a_cause_given_to_a_deadline_that_comes),
      unit(c57_a_deadline_cause_of_zero_is_the_timeout),
      unit(c58_timeout_cause_forever_then_cancel),
      unit(c59_timeout_cause_now_then_parent_cause),
      unit(c59_the_ancestors_deadline_gives_its_own_cause),
      unit(c60_timeout_cause_forever_then_parent_cause),
      unit(c61_without_cancel_of_a_root),
      unit(c62_without_cancel_of_a_cancelled_parent),
      unit(c63_without_cancel_of_an_expired_parent),
  };
  return test_run(tests);
}
