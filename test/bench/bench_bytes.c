/* SPDX-License-Identifier: MIT
 *
 * Memory: what the library asked its allocator for, and what the system gave the process for it. Each of these rows
 * has a process of its own: the allocator can be replaced only before the first root, and a resident set is what it is
 * only as long as nothing else has grown it.
 */
#include <stdatomic.h>
#include <stdlib.h>

#include "bench.h"

/* --- an allocator that counts bytes ------------------------------------------------------------------------------- */

typedef union head_u {
  size_t size;
  max_align_t align;
} head_t;

static atomic_size_t live_bytes;

static void *counting_malloc(size_t size) {
  head_t *head = malloc(sizeof(*head) + size);
  if (!head) return NULL;
  head->size = size;
  atomic_fetch_add(&live_bytes, size);
  return head + 1;
}

static void counting_free(void *p) {
  if (!p) return;
  head_t *head = (head_t *)p - 1;
  atomic_fetch_sub(&live_bytes, head->size);
  free(head);
}

/* --- many timeouts ------------------------------------------------------------------------------------------------ */

typedef struct many_s {
  bench_loop_t b;
  void **each; /* contexts or timers; allocated and touched before anything is counted */
  size_t n;
} many_t;

static many_t *many_new(size_t size, int with_root) {
  many_t *m = bench_alloc(1, sizeof(*m));
  m->each = bench_alloc(size, sizeof(*m->each));
  m->n = size;
  for (size_t i = 0; i < size; i++) m->each[i] = m; /* pages that were never written would be counted later */
  bench_loop_open(&m->b, with_root);
  return m;
}

static void make_contexts(many_t *m) {
  for (size_t i = 0; i < m->n; i++) {
    uvf_ctx_t *ctx;
    bench_must("uvf_ctx_with_timeout", uvf_ctx_with_timeout(m->b.root, BENCH_HOUR_MS, &ctx));
    m->each[i] = ctx;
  }
  bench_turn(&m->b);
}

static void contexts_teardown(void *state) {
  many_t *m = state;
  for (size_t i = 0; i < m->n; i++) uvf_ctx_release(m->each[i]);
  bench_loop_close(&m->b);
  free(m->each);
  free(m);
}

static void *counted_setup(size_t size) {
  bench_must("uvf_replace_allocator", uvf_replace_allocator(counting_malloc, counting_free));
  return many_new(size, 1);
}

/* Everything the library holds is counted, its share for the loop and the root included. */
static void counted_run(void *state, uint64_t ops, bench_sample_t *s) {
  many_t *m = state;
  (void)ops;
  make_contexts(m);
  s->amount += atomic_load(&live_bytes);
  s->ops += m->n;
}

static void counted_teardown(void *state) {
  contexts_teardown(state);
  size_t left = atomic_load(&live_bytes);
  if (left) bench_fail("the library still holds memory after its last root was closed", 0);
}

static void *sizeof_setup(size_t size) { return bench_alloc(size ? 1 : 0, 1); }

static void sizeof_run(void *state, uint64_t ops, bench_sample_t *s) {
  (void)state;
  (void)ops;
  s->amount += sizeof(uv_timer_t);
  s->ops += 1;
}

/* --- the resident set --------------------------------------------------------------------------------------------- */

static size_t resident(void) {
  size_t bytes;
  bench_must("uv_resident_set_memory", uv_resident_set_memory(&bytes));
  return bytes;
}

static void *contexts_setup(size_t size) { return many_new(size, 1); }

static void resident_run(void *state, uint64_t ops, bench_sample_t *s) {
  many_t *m = state;
  (void)ops;
  size_t before = resident();
  make_contexts(m);
  s->amount += resident() - before;
  s->ops += m->n;
}

static void on_timer(uv_timer_t *timer) {
  (void)timer;
  bench_fail("a timer of one hour has fired", 0);
}

static void *timers_setup(size_t size) { return many_new(size, 0); }

static void timers_run(void *state, uint64_t ops, bench_sample_t *s) {
  many_t *m = state;
  (void)ops;
  size_t before = resident();
  for (size_t i = 0; i < m->n; i++) {
    uv_timer_t *timer = malloc(sizeof(*timer));
    if (!timer) bench_fail("malloc", UV_ENOMEM);
    uv_timer_init(&m->b.loop, timer);
    uv_timer_start(timer, on_timer, BENCH_HOUR_MS, 0);
    m->each[i] = timer;
  }
  s->amount += resident() - before;
  s->ops += m->n;
}

static void on_timer_closed(uv_handle_t *handle) { free(handle); }

static void timers_teardown(void *state) {
  many_t *m = state;
  for (size_t i = 0; i < m->n; i++) uv_close(m->each[i], on_timer_closed);
  bench_loop_close(&m->b);
  free(m->each);
  free(m);
}

static const bench_impl_t ours_counted = {"uvflow", counted_setup, counted_run, counted_teardown};
static const bench_impl_t raw_sizeof = {"libuv: sizeof(uv_timer_t)", sizeof_setup, sizeof_run, free};
static const bench_impl_t ours_resident = {"uvflow", contexts_setup, resident_run, contexts_teardown};
static const bench_impl_t raw_resident = {"libuv: malloc'ed timers", timers_setup, timers_run, timers_teardown};

const bench_row_t bench_bytes_rows[] = {
    {.name = "bytes",
     .title = "bytes per outstanding timeout",
     .what = "1,000,000 contexts with timeouts of 1 h. Counted: the sizes that the library has asked its allocator for "
             "and not given back, its share for the loop and the root included, divided by 1,000,000. malloc's own "
             "overhead is not in it.",
     .peer = "Go 241",
     .goal = 160,
     .impls = {&ours_counted, &raw_sizeof},
     .size = 1000000,
     .flags = BENCH_BYTES | BENCH_ONCE | BENCH_OWN_PROCESS | BENCH_SIDE},
    {.name = "resident",
     .title = "resident bytes per outstanding timeout",
     .what = "The same with the plain allocator: by how much the process's resident set grew, malloc's overhead "
             "included. Raw: 1,000,000 running timers, each a block of its own, made afterwards in the same process.",
     .impls = {&ours_resident, &raw_resident},
     .size = 1000000,
     .flags = BENCH_BYTES | BENCH_ONCE | BENCH_OWN_PROCESS},
    {.name = NULL},
};
