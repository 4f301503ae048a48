/* SPDX-License-Identifier: MIT
 *
 * Asking a context: its err, and a request value far above it.
 */
#include <stdlib.h>

#include "bench.h"

typedef struct chain_s {
  bench_loop_t b;
  uvf_ctx_t **ctx;
  size_t n;
  uvf_ctx_t *leaf; /* the value that is looked up points here */
  char *keys;
} chain_t;

static chain_t *chain_new(size_t size, int all_values) {
  chain_t *c = bench_alloc(1, sizeof(*c));
  bench_loop_open(&c->b, 1);
  c->ctx = bench_alloc(size, sizeof(*c->ctx));
  c->keys = bench_alloc(size, 1);
  c->n = size;
  uvf_ctx_t *parent = c->b.root;
  for (size_t i = 0; i < size; i++) {
    int err = i == 0 || all_values ? uvf_ctx_with_value(parent, &c->keys[i], &c->leaf, NULL, &c->ctx[i])
                                   : uvf_ctx_with_cancel(parent, &c->ctx[i]);
    bench_must("derive", err);
    parent = c->ctx[i];
  }
  c->leaf = parent;
  return c;
}

static void *one_value_setup(size_t size) { return chain_new(size, 0); }

static void all_values_setup_check(const chain_t *c) {
  void *value = NULL;
  if (!uvf_ctx_find(c->leaf, &c->keys[c->n / 2], &value) || value != &c->leaf) {
    bench_fail("a value in the middle is gone", 0);
  }
}

static void *all_values_setup(size_t size) {
  chain_t *c = chain_new(size, 1);
  all_values_setup_check(c);
  return c;
}

static void chain_teardown(void *state) {
  chain_t *c = state;
  for (size_t i = c->n; i > 0; i--) uvf_ctx_release(c->ctx[i - 1]);
  bench_loop_close(&c->b);
  free(c->ctx);
  free(c->keys);
  free(c);
}

/* Each lookup begins where the one before said: they cannot overlap. */
static void lookup_run(void *state, uint64_t ops, bench_sample_t *s) {
  chain_t *c = state;
  const void *key = &c->keys[0];
  uvf_ctx_t *leaf = c->leaf;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uvf_ctx_t *volatile *value = uvf_ctx_value(leaf, key);
    if (!value) bench_fail("the value is gone", 0);
    leaf = *value;
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
  bench_sink = (uintptr_t)leaf;
}

static void err_run(void *state, uint64_t ops, bench_sample_t *s) {
  chain_t *c = state;
  int seen = 0;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) seen |= uvf_ctx_err(c->leaf);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
  if (seen) bench_fail("the context is over", seen);
}

static void make_run(void *state, uint64_t ops, bench_sample_t *s) {
  chain_t *c = state;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) {
    uvf_ctx_t *ctx;
    bench_must("uvf_ctx_with_value", uvf_ctx_with_value(c->b.root, c->keys, c, NULL, &ctx));
    uvf_ctx_release(ctx);
    if (bench_turn_due(i)) bench_turn(&c->b);
  }
  s->amount += uv_hrtime() - start;
  s->ops += ops;
}

/* --- libuv's own question ----------------------------------------------------------------------------------------- */

typedef struct active_s {
  bench_loop_t b;
  uv_timer_t timer;
} active_t;

static void *active_setup(size_t size) {
  (void)size;
  active_t *a = bench_alloc(1, sizeof(*a));
  bench_loop_open(&a->b, 0);
  bench_must("uv_timer_init", uv_timer_init(&a->b.loop, &a->timer));
  return a;
}

static void active_run(void *state, uint64_t ops, bench_sample_t *s) {
  active_t *a = state;
  int seen = 0;
  uint64_t start = uv_hrtime();
  for (uint64_t i = 0; i < ops; i++) seen |= uv_is_active((const uv_handle_t *)&a->timer);
  s->amount += uv_hrtime() - start;
  s->ops += ops;
  if (seen) bench_fail("the timer is running", 0);
}

static void active_teardown(void *state) {
  active_t *a = state;
  uv_close((uv_handle_t *)&a->timer, NULL);
  bench_loop_close(&a->b);
  free(a);
}

static const bench_impl_t ours_err = {"uvflow", one_value_setup, err_run, chain_teardown};
static const bench_impl_t raw_active = {"libuv: uv_is_active", active_setup, active_run, active_teardown};
static const bench_impl_t ours_one = {"uvflow", one_value_setup, lookup_run, chain_teardown};
static const bench_impl_t ours_all = {"uvflow", all_values_setup, lookup_run, chain_teardown};
static const bench_impl_t ours_make = {"uvflow", one_value_setup, make_run, chain_teardown};

const bench_row_t bench_value_rows[] = {
    {.name = "err",
     .title = "uvf_ctx_err of a live context",
     .what =
         "Timed: the call, as a user's program makes it, on one context that stays in the cache: with gcc and clang "
         "the header makes a load of it, elsewhere it is a call into the library. Calls may overlap in the processor, "
         "as they do in a user's loop. Raw: "
         "uv_is_active of a timer.",
     .peer = "GLib 4.3",
     .goal = 2,
     .impls = {&ours_err, &raw_active},
     .size = 1,
     .flags = BENCH_SIDE},
    {.name = "value-1",
     .title = "lookup through 100 contexts, 1 value",
     .what = "A chain of 100 contexts; the one next to the root has the value, the others none. Timed: uvf_ctx_value "
             "from the leaf; each lookup's start is read out of the one before, so that they cannot overlap. All of it "
             "stays in the nearest cache. Raw: the same through 100 malloc'ed nodes, comparing keys.",
     .peer = "Go 531",
     .goal = 10,
     .impls = {&ours_one, &bench_raw_chase},
     .size = 100,
     .flags = BENCH_SIDE},
    {.name = "value-100",
     .title = "lookup through 100 contexts, 100 values",
     .what = "As value-1, but every context has a value of its own key, and the farthest is looked up.",
     .peer = "Go 531",
     .goal = 180,
     .impls = {&ours_all, &bench_raw_chase},
     .size = 100,
     .flags = BENCH_SIDE},
    {.name = "value-make",
     .title = "with_value + release",
     .what = "Timed: a child of the root with a value that needs no free function, released at once without a cancel; "
             "one loop turn every 256 of them. The floor is a malloc and free of 160 bytes.",
     .impls = {&ours_make, &bench_raw_malloc},
     .size = 160},
    {.name = NULL},
};
