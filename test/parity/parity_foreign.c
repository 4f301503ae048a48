/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-66 to C-71, C-73, C-79 to C-84: what Go says of contexts that are not its own. Ours are two: a child
 * of another loop, which is joined by a bridge and ends when both loops have turned, and a child of several parents.
 * Both loops are run by this thread in turn.
 */
#include "parity.h"

/* A parent on the fixture's loop and a child of it on another, which is what is "foreign" here. */
typedef struct bridge_s {
  fixture_t *f;
  other_t *o;
  uvf_ctx_t *parent;
  uvf_ctx_t *remote;
} bridge_t;

static void bridge_open(bridge_t *b, fixture_t *f) {
  b->f = f;
  b->o = other_open();
  b->parent = cancel_of(f->root);
  b->remote = remote_of(b->o->root, b->parent);
  settle_both(f, b->o);
}

static void bridge_close(bridge_t *b) {
  RELEASE(b->remote, b->parent);
  settle_both(b->f, b->o);
  assert_int_equal(stats(b->o->root).contexts, 1);
  assert_int_equal(stats(b->f->root).contexts, 1);
  other_close(b->o);
}

/* The remote child itself may be marked early, as by any thread's cancel; what hangs from it waits for its own loop. */
static void c66_a_remote_end_is_not_bypassed(void **state) {
  bridge_t b;
  int data;
  uvf_ctx_t *child;
  counted_t of_remote;
  counted_t of_child;
  bridge_open(&b, *state);
  child = cancel_of(b.remote);
  watch_start(&of_remote, b.remote, NULL);
  watch_start(&of_child, child, NULL);
  uvf_ctx_cancel_cause(b.parent, CAUSE_X, &data);
  assert_over(b.parent, UV_ECANCELED, CAUSE_X);
  assert_live(child);
  settle(&b.f->loop); /* the parent's loop alone ends nothing there */
  assert_live(child);
  assert_int_equal(of_remote.calls + of_child.calls, 0);
  settle(&b.o->loop); /* its own does */
  assert_over_with(b.remote, UV_ECANCELED, CAUSE_X, &data);
  assert_over_with(child, UV_ECANCELED, CAUSE_X, &data);
  assert_called_once(&of_remote, UV_ECANCELED);
  assert_called_once(&of_child, UV_ECANCELED);
  RELEASE(child);
  bridge_close(&b);
}

static void c67_cancelled_by_itself_across_loops(void **state) {
  bridge_t b;
  bridge_open(&b, *state);
  assert_int_equal(children(b.parent), 1);
  uvf_ctx_cancel(b.remote);
  assert_over_with(b.remote, UV_ECANCELED, UV_ECANCELED, NULL);
  assert_int_equal(children(b.o->root), 0);
  settle_both(b.f, b.o);
  assert_live(b.parent);
  assert_live(b.o->root);
  assert_int_equal(children(b.parent), 0);
  bridge_close(&b);
}

static void c67_cancelled_by_itself_under_several_parents(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *first = cancel_of(f->root);
  uvf_ctx_t *second = cancel_of(f->root);
  uvf_ctx_t *any = any_of(first, second);
  uvf_ctx_cancel(any);
  assert_over_with(any, UV_ECANCELED, UV_ECANCELED, NULL);
  assert_live(first);
  assert_live(second);
  assert_int_equal(children(first), 0);
  assert_int_equal(children(second), 0);
  RELEASE(first, second, any);
}

static void c68_a_child_cancelled_below_leaves_them_alone(void **state) {
  bridge_t b;
  uvf_ctx_t *child;
  uvf_ctx_t *any;
  uvf_ctx_t *below_any;
  bridge_open(&b, *state);
  child = cancel_of(b.remote);
  any = any_of(b.parent, b.f->root);
  below_any = cancel_of(any);
  uvf_ctx_cancel_cause(child, CAUSE_X, NULL);
  uvf_ctx_cancel_cause(below_any, CAUSE_X, NULL);
  settle_both(b.f, b.o);
  assert_over(child, UV_ECANCELED, CAUSE_X);
  assert_over(below_any, UV_ECANCELED, CAUSE_X);
  assert_live(b.remote);
  assert_live(any);
  assert_live(b.parent);
  RELEASE(child, any, below_any);
  bridge_close(&b);
}

static void c69_their_end_does_not_change_the_childs_cause(void **state) {
  bridge_t b;
  uvf_ctx_t *child;
  uvf_ctx_t *any;
  uvf_ctx_t *below_any;
  bridge_open(&b, *state);
  child = cancel_of(b.remote);
  any = any_of(b.parent, b.f->root);
  below_any = cancel_of(any);
  uvf_ctx_cancel_cause(child, CAUSE_X, NULL);
  uvf_ctx_cancel_cause(below_any, CAUSE_X, NULL);
  uvf_ctx_cancel(b.remote);
  uvf_ctx_cancel(any);
  settle_both(b.f, b.o);
  uvf_ctx_cancel_cause(b.parent, CAUSE_Y, NULL);
  settle_both(b.f, b.o);
  assert_over(child, UV_ECANCELED, CAUSE_X);
  assert_over(below_any, UV_ECANCELED, CAUSE_X);
  assert_over(b.remote, UV_ECANCELED, UV_ECANCELED);
  assert_over(any, UV_ECANCELED, UV_ECANCELED);
  RELEASE(child, any, below_any);
  bridge_close(&b);
}

/* --- C-70: cancels from inside an end ----------------------------------------------------------------------------- */

typedef struct reentrant_s {
  uvf_watch_t watch;
  uvf_ctx_t *cancels[3];
  int calls;
  int errs[3]; /* on return, in the callback */
} reentrant_t;

static void on_cancels_more(uvf_watch_t *watch, int status) {
  reentrant_t *r = watch->data;
  (void)status;
  r->calls++;
  for (size_t i = 0; i < 3; i++) {
    uvf_ctx_cancel_cause(r->cancels[i], CAUSE_Y, r);
    r->errs[i] = uvf_ctx_err(r->cancels[i]);
  }
}

static void c70_an_end_that_cancels_the_child(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *first = cancel_of(f->root);
  uvf_ctx_t *any = any_of(first, f->root);
  uvf_ctx_t *child = cancel_of(any);
  uvf_ctx_t *bystander = cancel_of(f->root);
  uvf_ctx_t *below_bystander = timeout_of(bystander, HOUR_MS);
  reentrant_t r = {.calls = 0};
  counted_t c;
  r.watch.data = &r;
  r.cancels[0] = child;     /* over already, with its parent */
  r.cancels[1] = any;       /* the one whose end this is */
  r.cancels[2] = bystander; /* live, with something below */
  assert_int_equal(uvf_ctx_on_done(any, &r.watch, on_cancels_more), 0);
  watch_start(&c, below_bystander, NULL);
  uvf_ctx_cancel(any);
  run_until(&f->loop, &c.calls, 1);
  settle(&f->loop);
  assert_int_equal(r.calls, 1);
  for (size_t i = 0; i < 3; i++) assert_int_equal(r.errs[i], UV_ECANCELED);
  assert_over_with(any, UV_ECANCELED, UV_ECANCELED, NULL);
  assert_over_with(child, UV_ECANCELED, UV_ECANCELED, NULL);
  assert_live(first);
  assert_over_with(bystander, UV_ECANCELED, CAUSE_Y, &r);
  assert_over_with(below_bystander, UV_ECANCELED, CAUSE_Y, &r);
  assert_called_once(&c, UV_ECANCELED);
  RELEASE(first, any, child, bystander, below_bystander);
}

/* --- C-71, C-73: one link, and one only --------------------------------------------------------------------------- */

static void c71_one_bridge_however_many_children(void **state) {
  bridge_t b;
  uvf_ctx_t *child[4];
  bridge_open(&b, *state);
  child[0] = cancel_of(b.remote);
  child[1] = timeout_of(b.remote, HOUR_MS);
  child[2] = timeout_of(child[0], HOUR_MS);
  child[3] = wrapper_of(child[2]);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 1);
  assert_int_equal(watchers(b.parent), 0);
  assert_int_equal(stats(b.f->root).deadlines, 0); /* their timers are their own loop's */
  assert_int_equal(children(b.o->root), 1);
  assert_int_equal(children(b.remote), 2);
  assert_int_equal(stats(b.o->root).deadlines, 2);
  uvf_ctx_cancel(b.remote);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 0);
  assert_int_equal(stats(b.o->root).deadlines, 0);
  release_each(child, ARRAY_SIZE(child));
  bridge_close(&b);
}

static void c73_a_second_parent_costs_a_second_link(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *first = cancel_of(f->root);
  uvf_ctx_t *second = cancel_of(f->root);
  uvf_ctx_t *any = any_of(first, second);
  uvf_ctx_t *same_loop = remote_of(first, second); /* both of one loop: any-of under another name */
  uvf_ctx_t *child = timeout_of(any, HOUR_MS);
  uvf_ctx_t *grandchild = cancel_of(child);
  assert_int_equal(children(first), 2);
  assert_int_equal(children(second), 2);
  assert_int_equal(watchers(first), 0);
  assert_int_equal(watchers(second), 0);
  assert_int_equal(children(any), 1);
  uvf_ctx_cancel_cause(second, CAUSE_X, NULL);
  assert_over(any, UV_ECANCELED, CAUSE_X);
  assert_over(same_loop, UV_ECANCELED, CAUSE_X);
  assert_over(grandchild, UV_ECANCELED, CAUSE_X);
  assert_int_equal(children(first), 0);
  assert_int_equal(children(second), 0);
  RELEASE(first, second, any, same_loop, child, grandchild);
}

/* --- C-79 to C-84: the bridge as the hook that a foreign parent offers -------------------------------------------- */

static void c79_a_remote_parent_ends_a_cancel_child(void **state) {
  bridge_t b;
  uvf_ctx_t *child;
  bridge_open(&b, *state);
  child = cancel_of(b.remote);
  uvf_ctx_cancel(b.parent);
  settle_both(b.f, b.o);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  RELEASE(child);
  bridge_close(&b);
}

static void c80_a_remote_parent_ends_a_timeout_child(void **state) {
  bridge_t b;
  uvf_ctx_t *child;
  bridge_open(&b, *state);
  child = timeout_of(b.remote, HOUR_MS);
  assert_int_equal(stats(b.o->root).deadlines, 1);
  uvf_ctx_cancel(b.parent);
  settle_both(b.f, b.o);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  assert_int_equal(stats(b.o->root).deadlines, 0);
  RELEASE(child);
  bridge_close(&b);
}

static void c81_a_remote_parent_ends_a_watcher(void **state) {
  bridge_t b;
  counted_t c;
  bridge_open(&b, *state);
  watch_start(&c, b.remote, NULL);
  uvf_ctx_cancel(b.parent);
  settle(&b.f->loop);
  assert_int_equal(c.calls, 0);
  run_until(&b.o->loop, &c.calls, 1);
  settle_both(b.f, b.o);
  assert_called_once(&c, UV_ECANCELED);
  bridge_close(&b);
}

/* The parent was over, or ends, before its loop has heard of the child. */
static void c81_a_remote_parent_that_is_over_ends_its_child(void **state) {
  bridge_t b;
  counted_t c[2];
  uvf_ctx_t *late;
  uvf_ctx_t *parent;
  uvf_ctx_t *unheard;
  bridge_open(&b, *state);
  uvf_ctx_cancel_cause(b.parent, CAUSE_X, NULL);
  late = remote_of(b.o->root, b.parent);
  assert_over(late, UV_ECANCELED, CAUSE_X); /* born over */
  parent = cancel_of(b.f->root);
  unheard = remote_of(b.o->root, parent);
  uvf_ctx_cancel_cause(parent, CAUSE_Y, NULL);
  watch_start(&c[0], late, NULL);
  watch_start(&c[1], unheard, NULL);
  settle_both(b.f, b.o);
  assert_called_once(&c[0], UV_ECANCELED);
  assert_called_once(&c[1], UV_ECANCELED);
  assert_over(unheard, UV_ECANCELED, CAUSE_Y);
  RELEASE(late, unheard, parent);
  bridge_close(&b);
}

static void c82_two_remote_children_are_two_bridges(void **state) {
  bridge_t b;
  uvf_ctx_t *second;
  bridge_open(&b, *state);
  second = remote_of(b.o->root, b.parent);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 2);
  uvf_ctx_cancel(second);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 1);
  uvf_ctx_cancel(b.remote);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 0);
  RELEASE(second);
  bridge_close(&b);
}

static void c83_a_timeout_below_adds_no_bridge_and_frees_it(void **state) {
  bridge_t b;
  uvf_ctx_t *timed;
  uvf_ctx_t *remote;
  bridge_open(&b, *state);
  uvf_ctx_cancel(b.remote);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 0);
  timed = timeout_of(b.o->root, HOUR_MS); /* the deadline is the local side's: the bridge goes with it all the same */
  remote = remote_of(timed, b.parent);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 1);
  uvf_ctx_cancel(timed);
  assert_over(remote, UV_ECANCELED, UV_ECANCELED);
  settle_both(b.f, b.o);
  assert_int_equal(children(b.parent), 0);
  RELEASE(remote, timed);
  bridge_close(&b);
}

static void c84_a_watcher_of_a_remote_child_is_one_and_none_after_stop(void **state) {
  bridge_t b;
  counted_t c;
  bridge_open(&b, *state);
  watch_start(&c, b.remote, NULL);
  settle_both(b.f, b.o);
  assert_int_equal(watchers(b.remote), 1);
  assert_int_equal(watchers(b.parent), 0);
  assert_int_equal(children(b.parent), 1);
  assert_int_equal(uvf_watch_stop(&c.watch), UVF_STOP_REMOVED);
  assert_int_equal(watchers(b.remote), 0);
  uvf_ctx_cancel(b.parent);
  settle_both(b.f, b.o);
  assert_int_equal(c.calls, 0);
  assert_over(b.remote, UV_ECANCELED, UV_ECANCELED);
  bridge_close(&b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c66_a_remote_end_is_not_bypassed),
      unit(c67_cancelled_by_itself_across_loops),
      unit(c67_cancelled_by_itself_under_several_parents),
      unit(c68_a_child_cancelled_below_leaves_them_alone),
      unit(c69_their_end_does_not_change_the_childs_cause),
      unit(c70_an_end_that_cancels_the_child),
      unit(c71_one_bridge_however_many_children),
      unit(c73_a_second_parent_costs_a_second_link),
      unit(c79_a_remote_parent_ends_a_cancel_child),
      unit(c80_a_remote_parent_ends_a_timeout_child),
      unit(c81_a_remote_parent_ends_a_watcher),
      unit(c81_a_remote_parent_that_is_over_ends_its_child),
      unit(c82_two_remote_children_are_two_bridges),
      unit(c83_a_timeout_below_adds_no_bridge_and_frees_it),
      unit(c84_a_watcher_of_a_remote_child_is_one_and_none_after_stop),
  };
  return test_run(tests);
}
