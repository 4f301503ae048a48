/* SPDX-License-Identifier: MIT
 *
 * Cancel on the loop thread: what is over when it returns, who wins, and in which order the completions follow.
 */
#include "unit/probe.h"

/* --- on the loop thread --- */

#define TREE 400

static void cancel_on_the_loop_thread_ends_the_whole_subtree_before_it_returns(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *top = child_of(f->root), *beside = timeout_of(f->root, HOUR_MS), *tree[TREE], *chain = child_of(top);
  uvf_ctx_t *far = NULL;
  for (size_t i = 0; i < TREE; i++) {
    assert_int_equal(kinds[i % ARRAY_SIZE(kinds)].derive(i < 3 ? top : tree[(i - 3) / 3], &tree[i]), 0);
  }
  for (int i = 0; i < 1000; i++) { /* a chain whose middle nobody holds */
    uvf_ctx_t *next = child_of(chain);
    uvf_ctx_release(chain);
    chain = next;
  }
  assert_int_equal(uvf_ctx_without_cancel(top, &far), 0);
  assert_int_equal(stats_of(f->root).live, TREE + 1001 + 4);
  uvf_ctx_cancel(top);
  assert_over(top, UV_ECANCELED, UV_ECANCELED);
  for (size_t i = 0; i < TREE; i++) assert_over(tree[i], UV_ECANCELED, UV_ECANCELED);
  assert_over(chain, UV_ECANCELED, UV_ECANCELED);
  assert_int_equal(stats_of(f->root).deadlines, 1); /* that of beside */
  assert_int_equal(stats_of(f->root).live, 3);
  assert_int_equal(counts_of(top).children, 0);
  assert_over(beside, 0, 0);
  assert_over(far, 0, 0);
  assert_over(f->root, 0, 0);
  for (size_t i = 0; i < TREE; i++) uvf_ctx_release(tree[i]);
  uvf_ctx_release(chain);
  uvf_ctx_release(top);
  uvf_ctx_release(beside);
  uvf_ctx_release(far);
}

static void cancelling_a_child_leaves_its_parent_and_siblings_live_and_unlinks_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root), *child = child_of(parent), *sibling = child_of(parent);
  assert_int_equal(counts_of(parent).children, 2);
  uvf_ctx_cancel(child);
  assert_int_equal(counts_of(parent).children, 1);
  assert_over(child, UV_ECANCELED, UV_ECANCELED);
  assert_over(parent, 0, 0);
  assert_over(sibling, 0, 0);
  uvf_ctx_release(child);
  uvf_ctx_release(sibling);
  uvf_ctx_release(parent);
}

static void the_first_end_wins_and_is_never_changed(void **state) {
  fixture_t *f = *state;
  int first = 0, second = 0;
  void *data = NULL;
  uvf_ctx_t *parent = child_of(f->root), *child = timeout_of(parent, 1), *late = timeout_of(parent, 0);
  probe_t probe = {0};
  probe_start(&probe, child, 0, NULL);
  uvf_ctx_cancel_cause(child, -11, &first);
  uvf_ctx_cancel_cause(child, -22, &second);
  uvf_ctx_cancel(child);
  uvf_ctx_cancel_cause(parent, -33, &second);
  uvf_ctx_cancel(late); /* its deadline was the first */
  for (int round = 0; round < 2; round++) {
    assert_int_equal(uvf_ctx_err(child), UV_ECANCELED);
    assert_int_equal(uvf_ctx_cause(child, &data), -11);
    assert_ptr_equal(data, &first);
    assert_int_equal(uvf_ctx_cause(parent, &data), -33);
    assert_ptr_equal(data, &second);
    assert_over(late, UV_ETIMEDOUT, UV_ETIMEDOUT);
    spin_ns(3 * MS_NS); /* past the child's own deadline */
    turn(&f->loop);
  }
  assert_int_equal(probe.calls, 1);
  assert_int_equal(probe.status, UV_ECANCELED);
  uvf_ctx_release(late);
  uvf_ctx_release(child);
  uvf_ctx_release(parent);
}

static void a_cause_of_zero_means_canceled_and_children_inherit_code_and_pointer(void **state) {
  static const int codes[][2] = {{0, UV_ECANCELED}, {-1, -1}, {-12345, -12345}, {UV_EPIPE, UV_EPIPE}, {7, 7}};
  fixture_t *f = *state;
  int reason = 0;
  for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
    uvf_ctx_t *top = child_of(f->root), *middle = timeout_of(top, HOUR_MS), *bottom = child_of(middle);
    void *data = NULL;
    uvf_ctx_cancel_cause(top, codes[i][0], &reason);
    assert_over(top, UV_ECANCELED, codes[i][1]);
    assert_over(middle, UV_ECANCELED, codes[i][1]);
    assert_int_equal(uvf_ctx_cause(bottom, &data), codes[i][1]);
    assert_ptr_equal(data, &reason);
    uvf_ctx_release(top);
    uvf_ctx_release(middle);
    assert_int_equal(uvf_ctx_cause(bottom, &data), codes[i][1]); /* also when the ancestors' holders are gone */
    assert_ptr_equal(data, &reason);
    uvf_ctx_release(bottom);
  }
}

static void a_plain_cancel_has_no_pointer(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  void *data = f;
  uvf_ctx_cancel(ctx);
  assert_int_equal(uvf_ctx_cause(ctx, &data), UV_ECANCELED);
  assert_null(data);
  uvf_ctx_release(ctx);
}

/* --- order of the completions --- */

static void completions_come_later_children_before_parents_newest_first_within_one_context(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  uvf_ctx_t *a = child_of(f->root), *b = child_of(a), *c = child_of(b);
  probe_t probes[9] = {0};
  probe_start(&probes[0], a, 10, &journal);
  probe_start(&probes[1], c, 30, &journal);
  probe_start(&probes[2], b, 20, &journal);
  probe_start(&probes[3], c, 31, &journal);
  probe_start(&probes[4], a, 11, &journal);
  probe_start(&probes[5], b, 21, &journal);
  probe_start(&probes[6], b, 22, &journal);
  probe_start(&probes[7], c, 32, &journal);
  probe_start(&probes[8], a, 12, &journal);
  uvf_ctx_cancel(a);
  assert_int_equal(journal.n, 0); /* no callback inside */
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  uvf_ctx_release(c);
  run_until(&f->loop, &journal.n, 9);
  assert_journal(&journal, 32, 31, 30, 22, 21, 20, 12, 11, 10);
}

static void in_a_random_tree_every_completion_keeps_the_order(void **state) {
  enum { NODES = 200, WATCHERS = 600 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  journal_t *journal = calloc(1, sizeof *journal);
  probe_t *probes = calloc(WATCHERS, sizeof *probes);
  uvf_ctx_t *nodes[NODES];
  int parent[NODES], home[WATCHERS];
  assert_non_null(journal);
  assert_non_null(probes);
  nodes[0] = child_of(f->root);
  parent[0] = -1;
  for (int i = 1; i < NODES; i++) {
    parent[i] = (int)(test_rand(&seed) % (uint64_t)i);
    assert_int_equal(kinds[test_rand(&seed) % ARRAY_SIZE(kinds)].derive(nodes[parent[i]], &nodes[i]), 0);
  }
  for (int w = 0; w < WATCHERS; w++) {
    home[w] = (int)(test_rand(&seed) % NODES);
    probe_start(&probes[w], nodes[home[w]], w, journal);
  }
  uvf_ctx_cancel(nodes[0]);
  run_until(&f->loop, &journal->n, WATCHERS);
  for (int w = 0; w < WATCHERS; w++) assert_int_equal(probes[w].calls, 1);
  for (int w = 0; w < WATCHERS; w++) {
    int at = journal_find(journal, w);
    for (int v = 0; v < w; v++) {
      if (home[v] == home[w]) assert_true(at < journal_find(journal, v)); /* the newer one first */
    }
    for (int up = parent[home[w]]; up >= 0; up = parent[up]) {
      for (int v = 0; v < WATCHERS; v++) {
        if (home[v] == up) assert_true(at < journal_find(journal, v));
      }
    }
  }
  for (int i = 0; i < NODES; i++) uvf_ctx_release(nodes[i]);
  free(probes);
  free(journal);
}

static void completions_follow_behind_those_already_due(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  uvf_ctx_t *parent = child_of(f->root), *child = child_of(parent), *other = child_of(f->root);
  probe_t probes[5] = {0};
  probe_start(&probes[0], parent, 1, &journal);
  probe_start(&probes[1], child, 2, &journal);
  probe_start(&probes[2], other, 3, &journal);
  probe_start(&probes[3], other, 4, &journal);
  uvf_ctx_cancel(other);
  uvf_ctx_cancel(parent);
  probe_start(&probes[4], other, 5, &journal); /* started under one that is over: due from now */
  uvf_ctx_release(parent);
  uvf_ctx_release(child);
  uvf_ctx_release(other);
  run_until(&f->loop, &journal.n, 5);
  assert_journal(&journal, 4, 3, 2, 1, 5);
}

/* --- inside callbacks --- */

typedef struct inside_s {
  fixture_t *f;
  uvf_ctx_t *target;
  probe_t probe; /* watches target */
  uvf_watch_t watch;
  uvf_guard_t guard;
  uvf_work_t work;
  uv_timer_t timer;
  int nested; /* the probe had run when the cancel returned */
  int err;    /* of target, when the cancel returned */
  int entered;
} inside_t;

static inside_t *inside;

static void cancel_target(void) {
  inside->entered++;
  uvf_ctx_cancel_cause(inside->target, -5, inside);
  inside->nested = inside->probe.calls;
  inside->err = uvf_ctx_err(inside->target);
}

static void cancel_in_watch(uvf_watch_t *watch, int status) {
  (void)watch;
  (void)status;
  cancel_target();
}
static int return_zero(uvf_work_t *work) {
  (void)work;
  return 0;
}
static void cancel_in_done(uvf_work_t *work, int status) {
  (void)work;
  (void)status;
  cancel_target();
}
static void cancel_in_release(uvf_work_t *work) {
  (void)work;
  cancel_target();
}
static void cancel_in_free(void *value) {
  (void)value;
  cancel_target();
}
static void cancel_in_close(uv_handle_t *handle) {
  (void)handle;
  cancel_target();
}
static void cancel_in_timer(uv_timer_t *timer) {
  cancel_target();
  uv_close((uv_handle_t *)timer, NULL);
}
static void cancel_in_root_close(uvf_ctx_t *root) {
  (void)root;
  cancel_target();
}

static void from_watcher(inside_t *in) {
  uvf_ctx_t *ctx = timeout_of(in->f->root, 0);
  assert_int_equal(uvf_ctx_on_done(ctx, &in->watch, cancel_in_watch), 0);
  uvf_ctx_release(ctx);
}
static void from_own_watcher(inside_t *in) {
  /* runs behind the probe, which watches a child, and cancels what is over already */
  assert_int_equal(uvf_ctx_on_done(in->target, &in->watch, cancel_in_watch), 0);
  uvf_ctx_cancel_cause(in->target, -5, in);
}
static void from_job(inside_t *in) {
  assert_int_equal(uvf_work_start(in->f->root, &in->work, return_zero, cancel_in_done, NULL), 0);
}
static void from_job_release(inside_t *in) {
  assert_int_equal(uvf_work_start(in->f->root, &in->work, return_zero, NULL, cancel_in_release), 0);
}
static void from_value_free(inside_t *in) {
  static int key;
  uvf_ctx_release(value_of(in->f->root, &key, in, cancel_in_free));
}
static void from_guard_close(inside_t *in) {
  uvf_ctx_t *ctx = child_of(in->f->root);
  assert_int_equal(uv_timer_init(&in->f->loop, &in->timer), 0);
  assert_int_equal(uvf_guard_start(ctx, &in->guard, (uv_handle_t *)&in->timer, cancel_in_close), 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
}
static void from_timer(inside_t *in) {
  assert_int_equal(uv_timer_init(&in->f->loop, &in->timer), 0);
  assert_int_equal(uv_timer_start(&in->timer, cancel_in_timer, 0, 0), 0);
}
static void from_root_close(inside_t *in) {
  uvf_ctx_t *root = NULL;
  assert_int_equal(uvf_ctx_background(&in->f->loop, &root), 0);
  uvf_ctx_close(root, cancel_in_root_close);
}

static void a_cancel_inside_any_callback_ends_at_once_and_completes_later(void **state) {
  static const struct {
    const char *name;
    void (*arrange)(inside_t *);
  } rows[] = {{"a watcher", from_watcher},
              {"its own watcher", from_own_watcher},
              {"a job's done", from_job},
              {"a job's release", from_job_release},
              {"a value's free", from_value_free},
              {"a guard's close", from_guard_close},
              {"a timer", from_timer},
              {"a root's close", from_root_close}};
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    inside_t in = {.f = f, .target = child_of(f->root)};
    uvf_ctx_t *below = child_of(in.target);
    inside = &in;
    probe_start(&in.probe, below, 0, NULL);
    rows[i].arrange(&in);
    assert_int_equal(in.entered, 0);
    run_until(&f->loop, &in.probe.calls, 1);
    run_until(&f->loop, &in.entered, 1);
    turn(&f->loop);
    if (in.err != UV_ECANCELED) fail_msg("%s: err is %d when cancel returns", rows[i].name, in.err);
    /* its own watcher comes after those of its children, so there the probe had run before */
    if (in.nested != (rows[i].arrange == from_own_watcher)) fail_msg("%s: called back inside", rows[i].name);
    assert_int_equal(in.probe.calls, 1);
    assert_int_equal(in.entered, 1);
    assert_over(below, UV_ECANCELED, -5);
    uvf_ctx_release(below);
    uvf_ctx_release(in.target);
    turn(&f->loop);
  }
}

static void cancel_next(probe_t *probe) { uvf_ctx_cancel(probe->arg); }

static void a_row_of_cancels_each_inside_the_callback_before_it_runs_to_its_end(void **state) {
  enum { ROW = 5000 };
  fixture_t *f = *state;
  probe_t *probes = calloc(ROW, sizeof *probes);
  uvf_ctx_t **row = calloc(ROW, sizeof *row);
  assert_non_null(probes);
  assert_non_null(row);
  for (int i = 0; i < ROW; i++) {
    row[i] = child_of(f->root);
    probe_start(&probes[i], row[i], i, NULL);
    if (i > 0) {
      probes[i - 1].then = cancel_next;
      probes[i - 1].arg = row[i];
    }
  }
  uvf_ctx_cancel(row[0]);
  run_until(&f->loop, &probes[ROW - 1].calls, 1);
  for (int i = 0; i < ROW; i++) {
    assert_int_equal(probes[i].calls, 1);
    uvf_ctx_release(row[i]);
  }
  free(row);
  free(probes);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(cancel_on_the_loop_thread_ends_the_whole_subtree_before_it_returns),
      unit(cancelling_a_child_leaves_its_parent_and_siblings_live_and_unlinks_it),
      unit(the_first_end_wins_and_is_never_changed),
      unit(a_cause_of_zero_means_canceled_and_children_inherit_code_and_pointer),
      unit(a_plain_cancel_has_no_pointer),
      unit(completions_come_later_children_before_parents_newest_first_within_one_context),
      unit(in_a_random_tree_every_completion_keeps_the_order),
      unit(completions_follow_behind_those_already_due),
      unit(a_cancel_inside_any_callback_ends_at_once_and_completes_later),
      unit(a_row_of_cancels_each_inside_the_callback_before_it_runs_to_its_end),
  };
  return test_run(tests);
}
