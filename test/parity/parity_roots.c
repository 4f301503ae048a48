/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-1 to C-5, C-40, C-42, C-43: roots, a context and its end, and what is refused at construction.
 */
#include "parity.h"

static void c01_background_is_never_done(void **state) {
  fixture_t *f = *state;
  counted_t c;
  assert_non_null(f->root);
  assert_live(f->root);
  assert_described(f->root, "background");
  assert_string_equal(uvf_ctx_name(f->root), "background");
  assert_true(uvf_ctx_deadline_ns(f->root) == UVF_NO_DEADLINE);
  watch_start(&c, f->root, NULL);
  settle(&f->loop);
  assert_int_equal(c.calls, 0);
  assert_live(f->root);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
}

static int todo_closed;

static void on_todo_closed(uvf_ctx_t *root) {
  todo_closed++;
  assert_string_equal(uvf_ctx_name(root), "todo");
}

static void c02_todo_is_never_done(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *todo = NULL;
  counted_t c;
  assert_int_equal(uvf_ctx_todo(&f->loop, &todo), 0);
  assert_non_null(todo);
  assert_ptr_not_equal(todo, f->root);
  assert_live(todo);
  assert_described(todo, "todo");
  watch_start(&c, todo, NULL);
  settle(&f->loop);
  assert_int_equal(c.calls, 0);
  assert_live(todo);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
  todo_closed = 0;
  uvf_ctx_close(todo, on_todo_closed);
  run_until(&f->loop, &todo_closed, 1);
  assert_live(f->root); /* roots of one loop are independent */
}

static void c03_with_cancel_prints_its_chain(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *c1 = cancel_of(f->root);
  uvf_ctx_t *c2 = cancel_of(c1);
  char small[8];
  assert_described(c1, "background.with_cancel");
  assert_described(c2, "background.with_cancel.with_cancel");
  /* as snprintf: the whole length, and always terminated */
  assert_int_equal(uvf_ctx_describe(c1, NULL, 0), strlen("background.with_cancel"));
  memset(small, 'z', sizeof small);
  assert_int_equal(uvf_ctx_describe(c1, small, sizeof small), strlen("background.with_cancel"));
  assert_non_null(memchr(small, '\0', sizeof small));
  RELEASE(c2, c1);
}

/* parent c1, a wrapper of it, and a child of the wrapper */
typedef struct wrapped_s {
  uvf_ctx_t *ctx[3];
  counted_t done[3];
} wrapped_t;

static void wrapped_open(wrapped_t *w, fixture_t *f) {
  w->ctx[0] = cancel_of(f->root);
  w->ctx[1] = wrapper_of(w->ctx[0]);
  w->ctx[2] = cancel_of(w->ctx[1]);
  for (size_t i = 0; i < 3; i++) watch_start(&w->done[i], w->ctx[i], NULL);
}

static void c04_nothing_is_done_before_the_cancel(void **state) {
  fixture_t *f = *state;
  wrapped_t w;
  wrapped_open(&w, f);
  settle(&f->loop);
  for (size_t i = 0; i < 3; i++) {
    assert_live(w.ctx[i]);
    assert_int_equal(w.done[i].calls, 0);
    assert_int_equal(watchers(w.ctx[i]), 1);
    assert_int_equal(uvf_watch_stop(&w.done[i].watch), UVF_STOP_REMOVED);
  }
  release_each(w.ctx, 3);
}

static void c05_cancel_propagates_before_it_returns(void **state) {
  fixture_t *f = *state;
  wrapped_t w;
  wrapped_open(&w, f);
  uvf_ctx_cancel(w.ctx[0]);
  for (size_t i = 0; i < 3; i++) {
    assert_over_with(w.ctx[i], UV_ECANCELED, UV_ECANCELED, NULL);
    assert_int_equal(w.done[i].calls, 0); /* the callback never runs inside the cancel */
  }
  for (size_t i = 0; i < 3; i++) run_until(&f->loop, &w.done[i].calls, 1);
  settle(&f->loop);
  for (size_t i = 0; i < 3; i++) assert_called_once(&w.done[i], UV_ECANCELED);
  release_each(w.ctx, 3);
}

/* The same through two wrappers, one of which has a second parent that goes on. */
static void c05_cancel_propagates_through_several_parents(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *c1 = cancel_of(f->root);
  uvf_ctx_t *bystander = cancel_of(f->root);
  uvf_ctx_t *both = any_of(bystander, c1);
  uvf_ctx_t *wrapper = wrapper_of(both);
  uvf_ctx_t *c2 = cancel_of(wrapper);
  uvf_ctx_cancel(c1);
  assert_over(both, UV_ECANCELED, UV_ECANCELED);
  assert_over(wrapper, UV_ECANCELED, UV_ECANCELED);
  assert_over(c2, UV_ECANCELED, UV_ECANCELED);
  assert_live(bystander);
  assert_int_equal(children(bystander), 0); /* the link went with the end */
  RELEASE(c1, bystander, both, wrapper, c2);
}

static void c40_child_of_an_ended_parent_is_born_over(void **state) {
  fixture_t *f = *state;
  static const int key;
  int data;
  uvf_ctx_t *parent = cancel_of(f->root);
  uvf_ctx_t *child[6];
  uvf_ctx_cancel_cause(parent, CAUSE_X, &data);
  child[0] = cancel_of(parent);
  child[1] = timeout_of(parent, HOUR_MS);
  child[2] = timeout_cause_of(parent, 0, CAUSE_SLOW, NULL); /* the first end wins, also over a deadline that is past */
  child[3] = value_of(parent, &key, NULL);
  child[4] = wrapper_of(parent);
  child[5] = any_of(f->root, parent);
  for (size_t i = 0; i < ARRAY_SIZE(child); i++) {
    assert_over_with(child[i], UV_ECANCELED, CAUSE_X, &data);
  }
  assert_true(uvf_ctx_remaining_ns(child[1]) == 0);
  assert_int_equal(children(parent), 0);
  assert_int_equal(stats(f->root).deadlines, 0);
  run_until_over(&f->loop, child[0], UV_ECANCELED);
  release_each(child, ARRAY_SIZE(child));
  RELEASE(parent);
}

static int never_freed;

static void on_never_freed(void *value) {
  (void)value;
  never_freed++;
}

static void c42_a_null_key_is_refused(void **state) {
  fixture_t *f = *state;
  int value;
  uvf_ctx_t *const untouched = f->root;
  uvf_ctx_t *ctx = untouched;
  never_freed = 0;
  assert_int_equal(uvf_ctx_with_value(f->root, NULL, &value, on_never_freed, &ctx), UV_EINVAL);
  assert_ptr_equal(ctx, untouched);
  settle(&f->loop);
  assert_int_equal(never_freed, 0); /* a refused value stays the caller's */
  assert_int_equal(children(f->root), 0);
}

static void c43_a_null_parent_is_refused(void **state) {
  fixture_t *f = *state;
  static const int key;
  uvf_ctx_t *const untouched = f->root;
  uvf_ctx_t *ctx = untouched;
  uvf_ctx_t *none[2] = {f->root, NULL};
  size_t allocations = test_alloc_count();
  assert_int_equal(uvf_ctx_background(NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_todo(NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_cancel(NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_deadline(NULL, uv_hrtime() + MS_NS, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_deadline_cause(NULL, 0, CAUSE_X, NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_timeout(NULL, 1, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_timeout_cause(NULL, 1, CAUSE_X, NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_value(NULL, &key, NULL, NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_without_cancel(NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_any(NULL, 1, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_any(none, 0, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_any(none, 2, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_remote(f->root, NULL, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_remote(NULL, f->root, &ctx), UV_EINVAL);
  assert_int_equal(uvf_ctx_with_cancel(f->root, NULL), UV_EINVAL);
  assert_ptr_equal(ctx, untouched);
  assert_int_equal(test_alloc_count(), allocations);
  assert_int_equal(children(f->root), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c01_background_is_never_done),
      unit(c02_todo_is_never_done),
      unit(c03_with_cancel_prints_its_chain),
      unit(c04_nothing_is_done_before_the_cancel),
      unit(c05_cancel_propagates_before_it_returns),
      unit(c05_cancel_propagates_through_several_parents),
      unit(c40_child_of_an_ended_parent_is_born_over),
      unit(c42_a_null_key_is_refused),
      unit(c43_a_null_parent_is_refused),
  };
  return test_run(tests);
}
