/* SPDX-License-Identifier: MIT
 *
 * Parity rows C-30, C-31, C-41, C-64, C-85: cancels from other threads. A context that a thread cancels is over when
 * that returns; what is below it is looked at when its loop has turned.
 */
#include "parity.h"
#include "race.h"

/* --- C-30: everybody cancels at once ------------------------------------------------------------------------------ */

#define NODES 100
#define FAN_OUT 4

typedef struct node_s {
  uvf_ctx_t *ctx;
  gate_t *start;
  counted_t done;
  uv_thread_t thread;
  int err_on_return;
} node_t;

static void cancel_node(void *arg) {
  node_t *node = arg;
  gate_pass(node->start);
  uvf_ctx_cancel(node->ctx);
  node->err_on_return = uvf_ctx_err(node->ctx);
}

static void c30_a_tree_cancelled_everywhere_at_once(void **state) {
  fixture_t *f = *state;
  static node_t node[NODES];
  for (size_t round = 0; round < test_scaled(20, 10); round++) {
    gate_t start;
    int total = 0;
    gate_init(&start);
    for (size_t i = 0; i < NODES; i++) {
      node[i].ctx = cancel_of(i == 0 ? f->root : node[(i - 1) / FAN_OUT].ctx);
      node[i].start = &start;
      node[i].err_on_return = 0;
      watch_start(&node[i].done, node[i].ctx, &total);
      assert_int_equal(uv_thread_create(&node[i].thread, cancel_node, &node[i]), 0);
    }
    gate_open(&start, NODES);
    run_until(&f->loop, &total, NODES);
    for (size_t i = 0; i < NODES; i++) uv_thread_join(&node[i].thread);
    settle(&f->loop);
    for (size_t i = 0; i < NODES; i++) {
      assert_int_equal(node[i].err_on_return, UV_ECANCELED);
      assert_over(node[i].ctx, UV_ECANCELED, UV_ECANCELED);
      assert_called_once(&node[i].done, UV_ECANCELED);
      assert_int_equal(children(node[i].ctx), 0);
      RELEASE(node[i].ctx);
    }
    assert_int_equal(total, NODES);
    gate_destroy(&start);
  }
}

/* --- C-31: a child cancelled by whoever sees its parent's end ----------------------------------------------------- */

typedef struct follow_s {
  uvf_ctx_t *parent;
  uvf_ctx_t *child;
  int child_err;
} follow_t;

static void follow_parent(void *arg) {
  follow_t *w = arg;
  unsigned int spins = 0;
  while (uvf_ctx_err(w->parent) == 0) {
    if (++spins % 4096 == 0) uv_sleep(0);
  }
  uvf_ctx_cancel_cause(w->child, CAUSE_Y, NULL);
  w->child_err = uvf_ctx_err(w->child);
}

static void c31_child_cancelled_while_its_parent_is(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(500, 10); round++) {
    race_t race;
    follow_t w = {cancel_of(f->root), NULL, 0};
    uvf_ctx_t *crowd[8]; /* so that the parent's cancel takes a while */
    int cause;
    for (size_t i = 0; i < ARRAY_SIZE(crowd); i++) {
      crowd[i] = cancel_of(w.parent);
      if (i == ARRAY_SIZE(crowd) / 2) w.child = cancel_of(w.parent);
    }
    race_init(&race, 2);
    race_add(&race, follow_parent, &w, 0);
    race_meet(&race, race_delay(&seed));
    uvf_ctx_cancel_cause(w.parent, CAUSE_X, NULL);
    cause = uvf_ctx_cause(w.child, NULL); /* on the loop's thread the subtree is over on return, whoever ended it */
    race_join(&race);
    assert_int_equal(w.child_err, UV_ECANCELED);
    assert_true(cause == CAUSE_X || cause == CAUSE_Y);
    assert_over(w.child, UV_ECANCELED, cause);
    assert_over(w.parent, UV_ECANCELED, CAUSE_X);
    settle(&f->loop);
    assert_over(w.child, UV_ECANCELED, cause);
    release_each(crowd, ARRAY_SIZE(crowd));
    RELEASE(w.child, w.parent);
  }
}

/* The other way round: the parent is cancelled on the thread, and the loop's thread follows. */
static void cancel_parent(void *arg) {
  follow_t *w = arg;
  uvf_ctx_cancel_cause(w->parent, CAUSE_X, w);
}

static void c31_child_cancelled_on_the_loop_after_a_threads_cancel(void **state) {
  fixture_t *f = *state;
  for (size_t round = 0; round < test_scaled(500, 10); round++) {
    race_t race;
    follow_t w = {cancel_of(f->root), NULL, 0};
    uvf_ctx_t *grandchild;
    counted_t c;
    w.child = cancel_of(w.parent);
    grandchild = cancel_of(w.child);
    watch_start(&c, grandchild, NULL);
    race_init(&race, 2);
    race_add(&race, cancel_parent, &w, 0);
    race_meet(&race, 0);
    follow_parent(&w);
    assert_int_equal(w.child_err, UV_ECANCELED);
    assert_int_equal(uvf_ctx_err(grandchild), UV_ECANCELED);
    race_join(&race);
    run_until(&f->loop, &c.calls, 1);
    settle(&f->loop);
    assert_called_once(&c, UV_ECANCELED);
    RELEASE(grandchild, w.child, w.parent);
  }
}

/* --- C-41: derived while the parent is being cancelled ------------------------------------------------------------ */

static void c41_a_cancel_is_never_lost_on_a_new_child(void **state) {
  fixture_t *f = *state;
  static const int key;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(600, 10); round++) {
    race_t race;
    follow_t w = {cancel_of(f->root), NULL, 0};
    uvf_ctx_t *child[4];
    int born[4];
    int known;
    race_init(&race, 2);
    race_add(&race, cancel_parent, &w, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    known = uvf_ctx_err(w.parent);
    child[0] = cancel_of(w.parent);
    child[1] = timeout_of(w.parent, HOUR_MS);
    child[2] = value_of(w.parent, &key, &w);
    child[3] = any_of(f->root, w.parent);
    for (size_t i = 0; i < ARRAY_SIZE(child); i++) born[i] = uvf_ctx_cause(child[i], NULL);
    race_join(&race);
    for (size_t i = 0; known != 0 && i < ARRAY_SIZE(child); i++) assert_int_equal(born[i], CAUSE_X);
    settle(&f->loop);
    for (size_t i = 0; i < ARRAY_SIZE(child); i++) assert_over_with(child[i], UV_ECANCELED, CAUSE_X, &w);
    assert_int_equal(children(w.parent), 0);
    assert_int_equal(stats(f->root).deadlines, 0);
    release_each(child, ARRAY_SIZE(child));
    RELEASE(w.parent);
  }
}

static void c41_both_orders_forced(void **state) {
  fixture_t *f = *state;
  follow_t w = {cancel_of(f->root), NULL, 0};
  uvf_ctx_t *before = cancel_of(w.parent);
  uvf_ctx_t *after;
  run_on_thread(cancel_parent, &w);
  assert_over_with(w.parent, UV_ECANCELED, CAUSE_X, &w); /* the context itself, without a turn of the loop */
  after = cancel_of(w.parent);                           /* the same for what is derived from now on */
  assert_over_with(after, UV_ECANCELED, CAUSE_X, &w);
  settle(&f->loop);
  assert_over_with(before, UV_ECANCELED, CAUSE_X, &w);
  RELEASE(before, after, w.parent);
}

/* --- C-64, C-85: what another thread sees ------------------------------------------------------------------------- */

typedef struct look_s {
  uvf_ctx_t *ctx;
  const int *written; /* plain memory that the canceller wrote before */
  int x_data;         /* what the causes X and Y come with */
  int y_data;
  int torn; /* sightings that cannot be */
  int err;  /* at the first sight of the end */
  int cause;
  void *data;
  int seen_written;
  uint64_t remaining_ns;
} look_t;

static int cause_is_whole(const look_t *owner, int cause, const void *data) {
  if (cause == 0) return data == NULL;
  if (cause == CAUSE_X) return data == &owner->x_data;
  return cause == CAUSE_Y && data == &owner->y_data;
}

typedef struct poll_s {
  look_t *owner;
  look_t mine;
} poll_t;

/* Polls cause until there is one, then for a while longer: it must not change any more. */
static void poll_cause(void *arg) {
  poll_t *p = arg;
  unsigned int spins = 0;
  int first = 0;
  for (int more = 0; more < 50;) {
    void *data = p;
    int cause = uvf_ctx_cause(p->owner->ctx, &data);
    if (!cause_is_whole(p->owner, cause, data)) p->mine.torn++;
    if (first != 0 && cause != first) p->mine.torn++;
    if (cause != 0 && uvf_ctx_err(p->owner->ctx) != UV_ECANCELED) p->mine.torn++;
    first = cause;
    if (cause != 0) more++;
    if (++spins % 4096 == 0) uv_sleep(0);
  }
  p->mine.cause = first;
}

static void cancel_y(void *arg) {
  look_t *l = arg;
  uvf_ctx_cancel_cause(l->ctx, CAUSE_Y, &l->y_data);
}

static void c64_cause_is_none_or_exact(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(500, 10); round++) {
    race_t race;
    look_t l;
    poll_t poll[2];
    memset(&l, 0, sizeof l);
    memset(poll, 0, sizeof poll);
    l.ctx = cancel_of(f->root);
    poll[0].owner = &l;
    poll[1].owner = &l;
    race_init(&race, 4);
    race_add(&race, poll_cause, &poll[0], race_delay(&seed));
    race_add(&race, poll_cause, &poll[1], race_delay(&seed));
    race_add(&race, cancel_y, &l, race_delay(&seed));
    race_meet(&race, race_delay(&seed));
    uvf_ctx_cancel_cause(l.ctx, CAUSE_X, &l.x_data);
    race_join(&race);
    assert_int_equal(poll[0].mine.torn, 0);
    assert_int_equal(poll[1].mine.torn, 0);
    assert_int_equal(poll[0].mine.cause, poll[1].mine.cause);
    assert_int_equal(poll[0].mine.cause, uvf_ctx_cause(l.ctx, NULL));
    RELEASE(l.ctx);
    settle(&f->loop);
  }
}

static void look_at_the_end(void *arg) {
  look_t *l = arg;
  unsigned int spins = 0;
  while ((l->err = uvf_ctx_err(l->ctx)) == 0) {
    if (++spins % 4096 == 0) uv_sleep(0);
  }
  l->cause = uvf_ctx_cause(l->ctx, &l->data);
  l->seen_written = *l->written;
  l->remaining_ns = uvf_ctx_remaining_ns(l->ctx);
}

/* err is never ahead of anything else that makes the end: cause, its pointer, the canceller's writes; and done
 * follows once. */
static void c85_whoever_sees_err_sees_the_rest(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (size_t round = 0; round < test_scaled(500, 10); round++) {
    race_t race;
    uvf_ctx_t *parent = timeout_of(f->root, HOUR_MS);
    uvf_ctx_t *child = timeout_of(parent, HOUR_MS / 2);
    look_t l[2];
    counted_t c[2];
    int written = 0;
    memset(l, 0, sizeof l);
    l[0].ctx = parent;
    l[1].ctx = child;
    race_init(&race, 3);
    for (size_t i = 0; i < 2; i++) {
      l[i].written = &written;
      watch_start(&c[i], l[i].ctx, NULL);
      race_add(&race, look_at_the_end, &l[i], 0);
    }
    race_meet(&race, race_delay(&seed));
    written = 4711;
    uvf_ctx_cancel_cause(parent, CAUSE_X, &written);
    race_join(&race);
    for (size_t i = 0; i < 2; i++) {
      assert_int_equal(l[i].err, UV_ECANCELED);
      assert_int_equal(l[i].cause, CAUSE_X);
      assert_ptr_equal(l[i].data, &written);
      assert_int_equal(l[i].seen_written, 4711);
      assert_true(l[i].remaining_ns == 0);
      assert_int_equal(c[i].calls, 0); /* done comes from the loop ... */
    }
    settle(&f->loop); /* ... and it comes */
    assert_called_once(&c[0], UV_ECANCELED);
    assert_called_once(&c[1], UV_ECANCELED);
    RELEASE(parent, child);
  }
}

/* The same for the end that a deadline makes. */
static void c85_whoever_sees_a_deadline_sees_its_cause(void **state) {
  fixture_t *f = *state;
  for (size_t round = 0; round < test_scaled(20, 4); round++) {
    race_t race;
    look_t l;
    int written = 4711;
    memset(&l, 0, sizeof l);
    l.written = &written;
    l.ctx = timeout_cause_of(f->root, 1, CAUSE_SLOW, &written);
    race_init(&race, 1);
    race_add(&race, look_at_the_end, &l, 0);
    run_until_over(&f->loop, l.ctx, UV_ETIMEDOUT);
    race_join(&race);
    assert_int_equal(l.err, UV_ETIMEDOUT);
    assert_int_equal(l.cause, CAUSE_SLOW);
    assert_ptr_equal(l.data, &written);
    assert_true(l.remaining_ns == 0);
    RELEASE(l.ctx);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(c30_a_tree_cancelled_everywhere_at_once),
      unit(c31_child_cancelled_while_its_parent_is),
      unit(c31_child_cancelled_on_the_loop_after_a_threads_cancel),
      unit(c41_a_cancel_is_never_lost_on_a_new_child),
      unit(c41_both_orders_forced),
      unit(c64_cause_is_none_or_exact),
      unit(c85_whoever_sees_err_sees_the_rest),
      unit(c85_whoever_sees_a_deadline_sees_its_cause),
  };
  return test_run(tests);
}
