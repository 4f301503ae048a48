/* SPDX-License-Identifier: MIT
 *
 * Ending a deep subtree: chains of contexts, each the child of the one before, ended by a cancel of the first.
 *
 * A chain of ten is cancelled in less time than reading the clock and a turn of the loop take. So there are many of
 * them, as many contexts in all for every depth, and the clock is read once for all.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct chains_s {
  bench_loop_t b;
  uvf_ctx_t **ctx; /* one chain after the other, each from its first context on */
  size_t n;
  size_t depth;
} chains_t;

static void *chains_setup(size_t depth) {
  chains_t *c = bench_alloc(1, sizeof(*c));
  size_t chains = BENCH_CHAINED / depth ? BENCH_CHAINED / depth : 1;
  bench_loop_open(&c->b, 1);
  c->depth = depth;
  c->n = chains * depth;
  c->ctx = bench_alloc(c->n, sizeof(*c->ctx));
  return c;
}

static void chains_teardown(void *state) {
  chains_t *c = state;
  bench_loop_close(&c->b);
  free(c->ctx);
  free(c);
}

static void chains_round(chains_t *c, bench_sample_t *s) {
  for (size_t i = 0; i < c->n; i++) {
    uvf_ctx_t *parent = i % c->depth ? c->ctx[i - 1] : c->b.root;
    bench_must("uvf_ctx_with_cancel", uvf_ctx_with_cancel(parent, &c->ctx[i]));
  }
  bench_turn(&c->b);
  uint64_t start = uv_hrtime();
  for (size_t i = 0; i < c->n; i += c->depth) uvf_ctx_cancel(c->ctx[i]);
  bench_turn(&c->b);
  s->amount += uv_hrtime() - start;
  s->ops += c->n;
  for (size_t i = 0; i < c->n; i++) {
    if (uvf_ctx_err(c->ctx[i]) != UV_ECANCELED) bench_fail("the cancel did not reach the end of a chain", 0);
    uvf_ctx_release(c->ctx[i]);
  }
  bench_turn(&c->b);
}

static void chains_run(void *state, uint64_t ops, bench_sample_t *s) {
  chains_t *c = state;
  for (uint64_t done = 0; done < ops; done += c->n) chains_round(c, s);
}

static const bench_impl_t ours = {"uvflow", chains_setup, chains_run, chains_teardown};

#define CHAIN_ROW(n, number, label)                                                                                    \
  {                                                                                                                    \
    .name = "chain-" n, .title = "cancel of a chain of " label " contexts, each",                                      \
    .what =                                                                                                            \
        "Chains of " label " with_cancel contexts, each the child of the one before, without operations; so many "     \
        "chains that there are 10,000 contexts. Timed: uvf_ctx_cancel of the first of each chain, one chain after "    \
        "the other, and the loop's next turn, divided by 10,000; not making them, and not freeing them. Raw: as "      \
        "many running timers in as many linked lists, stopped one after the other; they carry a deadline, our "        \
        "contexts here do not.",                                                                                       \
    .impls = {&ours, &bench_raw_timer_stop_lists}, .size = (number), .flags = BENCH_SIDE,                              \
    .series = "cancel of a chain, each context, by its depth", .x = (number)                                           \
  }

const bench_row_t bench_chain_rows[] = {
    CHAIN_ROW("10", 10, "10"),
    CHAIN_ROW("100", 100, "100"),
    CHAIN_ROW("1k", 1000, "1,000"),
    CHAIN_ROW("10k", 10000, "10,000"),
    {.name = NULL},
};
