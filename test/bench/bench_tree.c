/* SPDX-License-Identifier: MIT
 *
 * Ending a wide subtree: the price of one cancel, spread over the children it reaches.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct tree_s {
  bench_loop_t b;
  uvf_ctx_t **child;
  size_t n;
} tree_t;

static void *tree_setup(size_t size) {
  tree_t *t = bench_alloc(1, sizeof(*t));
  bench_loop_open(&t->b, 1);
  t->child = bench_alloc(size, sizeof(*t->child));
  t->n = size;
  return t;
}

static void tree_teardown(void *state) {
  tree_t *t = state;
  bench_loop_close(&t->b);
  free(t->child);
  free(t);
}

/* Which parts of a round are timed. */
enum { TIME_CANCEL = 1, TIME_RELEASE = 2 };

static void tree_round(tree_t *t, int timed, int with_timeouts, bench_sample_t *s) {
  uvf_ctx_t *top;
  bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(t->b.root, &top));
  for (size_t i = 0; i < t->n; i++) {
    bench_must("derive", with_timeouts ? uvf_ctx_with_timeout(top, BENCH_HOUR_MS, &t->child[i])
                                       : uvf_ctx_with_cancel(top, &t->child[i]));
  }
  bench_turn(&t->b);
  uint64_t start = uv_hrtime();
  uvf_ctx_cancel(top);
  bench_turn(&t->b);
  uint64_t cancelled = uv_hrtime();
  if (uvf_ctx_err(t->child[0]) != UV_ECANCELED || uvf_ctx_err(t->child[t->n - 1]) != UV_ECANCELED) {
    bench_fail("the cancel did not reach every child", 0);
  }
  uint64_t releasing = uv_hrtime();
  for (size_t i = 0; i < t->n; i++) uvf_ctx_release(t->child[i]);
  uvf_ctx_release(top);
  bench_turn(&t->b);
  uint64_t released = uv_hrtime();
  if (timed & TIME_CANCEL) s->amount += cancelled - start;
  if (timed & TIME_RELEASE) s->amount += released - releasing;
  s->ops += t->n;
}

static void cancel_run(void *state, uint64_t ops, bench_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) tree_round(t, TIME_CANCEL, 0, s);
}

static void free_run(void *state, uint64_t ops, bench_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) tree_round(t, TIME_CANCEL | TIME_RELEASE, 0, s);
}

static void timeouts_run(void *state, uint64_t ops, bench_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) tree_round(t, TIME_CANCEL | TIME_RELEASE, 1, s);
}

static const bench_impl_t ours_cancel = {"uvflow", tree_setup, cancel_run, tree_teardown};
static const bench_impl_t ours_free = {"uvflow", tree_setup, free_run, tree_teardown};
static const bench_impl_t ours_timeouts = {"uvflow", tree_setup, timeouts_run, tree_teardown};

#define CHILDREN_SERIES "cancel of one parent, each child, by children"

#define CHILDREN_ROW(n, number, label)                                                                                 \
  {                                                                                                                    \
    .name = "children-" n, .title = "cancel of " label " children, each",                                              \
    .what = "As children, with " label " of them: how the cost of one grows with their number.",                       \
    .impls = {&ours_cancel, &bench_raw_timer_stop_all}, .size = (number), .flags = BENCH_SIDE,                         \
    .series = CHILDREN_SERIES, .x = (number)                                                                           \
  }

const bench_row_t bench_tree_rows[] = {
    CHILDREN_ROW("1k", 1000, "1,000"),
    CHILDREN_ROW("10k", 10000, "10,000"),
    CHILDREN_ROW("100k", 100000, "100,000"),
    {.name = "children",
     .title = "cancel of 1,000,000 children, each",
     .what = "1,000,000 with_cancel children of one context, made in order, without operations. Timed: one "
             "uvf_ctx_cancel of their parent and the loop's next turn, divided by their number; not making them, and "
             "not freeing them. Raw: 1,000,000 running timers in an array, stopped one after the other; they carry a "
             "deadline, our children here do not.",
     .peer = "tokio 77",
     .goal = 20,
     .impls = {&ours_cancel, &bench_raw_timer_stop_all},
     .size = 1000000,
     .flags = BENCH_SIDE,
     .series = CHILDREN_SERIES,
     .x = 1000000},
    {.name = "children-free",
     .title = "the same with their release and free",
     .what = "As children, and the release of every child by its holder, in the order they were made, and of the "
             "parent, with one more turn: timed apart and added. Raw: 1,000,000 timers, each a block of its own, "
             "closed one after the other and freed in the close callback.",
     .goal = 45,
     .impls = {&ours_free, &bench_raw_timer_close_all},
     .size = 1000000,
     .flags = BENCH_SIDE},
    {.name = "children-timeout",
     .title = "the same, each with a timeout",
     .what = "As children-free, but every child is a with_timeout of 1 h whose deadline has to be disarmed: the "
             "like-for-like comparison with timers.",
     .impls = {&ours_timeouts, &bench_raw_timer_close_all},
     .size = 1000000},
    {.name = NULL},
};
