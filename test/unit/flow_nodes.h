/* SPDX-License-Identifier: MIT
 *
 * What the tests of small graphs share: stages that do what they are told and note what they have seen; a row of
 * them; and a hook at every step of a run.
 */
#ifndef UVFLOW_TEST_FLOW_NODES_H
#define UVFLOW_TEST_FLOW_NODES_H

#include "unit/flow_probe.h"

#define NODES 6

/* What a stage does, and what it has seen. */
typedef struct node_s {
  uvf_stage_options_t o;
  uvf_stage_t *stage;
  unsigned int make;          /* of a source: how many are left to make */
  unsigned int per_call;      /* of a source: how many it makes at once; 0: one */
  int sink;                   /* ends what it is given */
  int route;                  /* item modulo ports; else port 0 */
  unsigned int copies;        /* emitted beside the item */
  int eof_at;                 /* says UV_EOF at this call */
  int fail_every, fail_times; /* every so many items fail, so many times each (0: always) */
  uint64_t slow_id;           /* waits for the gate */
  uint64_t jitter_ns;
  int later; /* ASYNC: ends from a timer */
  int flush_emits, flush_rc;
  atomic_int calls, drops, flushes, timeouts;
  atomic_int calls_at_flush;
  atomic_int out_of_order;
  atomic_uintptr_t last;
  atomic_int slow_over, others_before;
} node_t;

static struct {
  uvf_pipeline_t *p;
  node_t n[NODES];
  int used;
  gate_t gate;
  /* every call of a stage's function and of a drop function is a step; hook is called at step `at` */
  int at;
  atomic_int steps;
  int (*hook)(uvf_flow_t *flow); /* flow is NULL in a drop function. What it returns, if not 0, the function returns */
} k;

static const int kinds[] = {UVF_STAGE_WORK, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};

static inline int burn(uint64_t ns) {
  uint64_t until_ns = uv_hrtime() + ns;
  while (uv_hrtime() < until_ns) {}
  return 0;
}

static inline int step(uvf_flow_t *flow) { return atomic_fetch_add(&k.steps, 1) + 1 == k.at ? k.hook(flow) : 0; }

/* --- functions ------------------------------------------------------------------------------------ */

static inline int make(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  int call = atomic_fetch_add(&n->calls, 1) + 1;
  int rc = step(flow);
  (void)item;
  if (rc != 0) return rc;
  if (n->make == 0) return UV_EOF;
  for (unsigned int i = 0; (i == 0 || i < n->per_call) && n->make > 0; i++) {
    n->make--;
    item = item_born();
    item_pass(flow, n->route ? (unsigned int)(id_of(item) % n->stage->nouts) : 0, item);
  }
  return call == n->eof_at ? UV_EOF : 0;
}

static inline void take_or_pass(node_t *n, uvf_flow_t *flow, void *item) {
  uintptr_t id = id_of(item);
  if (n->sink) {
    if (id < atomic_exchange(&n->last, id)) atomic_fetch_add(&n->out_of_order, 1);
    item_end(item);
    return;
  }
  for (unsigned int i = 0; i < n->copies; i++) item_pass(flow, 0, item_born());
  item_pass(flow, n->route ? (unsigned int)(id % n->stage->nouts) : 0, item);
}

static inline int handle(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  uintptr_t id = id_of(item);
  int call = atomic_fetch_add(&n->calls, 1) + 1;
  int rc = step(flow);
  if (rc == UV_EOF) item_end(item);
  if (rc != 0) return rc;
  if (n->fail_every > 0 && id % (uintptr_t)n->fail_every == 0 &&
      (n->fail_times == 0 || flow->retry < (unsigned int)n->fail_times)) {
    return -777;
  }
  if (n->jitter_ns > 0) burn(id * UINT64_C(7919) % n->jitter_ns);
  if (n->slow_id != 0 && id == n->slow_id) {
    gate_pass(&k.gate);
    atomic_store(&n->slow_over, 1);
  }
  take_or_pass(n, flow, item);
  return call == n->eof_at ? UV_EOF : 0;
}

static inline int flush(uvf_flow_t *flow) {
  node_t *n = flow->data;
  int rc = step(flow);
  atomic_store(&n->calls_at_flush, atomic_load(&n->calls));
  atomic_fetch_add(&n->flushes, 1);
  if (rc != 0) return rc;
  for (int i = 0; i < n->flush_emits; i++) item_pass(flow, 0, item_born());
  return n->flush_rc;
}

static inline void drop(void *item, void *data) {
  step(NULL);
  atomic_fetch_add(&((node_t *)data)->drops, 1);
  item_end(item);
}

/* --- calls of ASYNC that go on */
typedef struct later_s {
  uv_timer_t timer;
  uvf_flow_t *flow;
  void *item;
} later_t;

static inline int handle_or_make(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  return uvf__stage_pulls(n->stage) ? make(flow, item) : handle(flow, item);
}

static inline void on_later_closed(uv_handle_t *handle) { free(handle->data); }

static inline void on_later(uv_timer_t *timer) {
  later_t *l = timer->data;
  node_t *n = l->flow->data;
  int err = uvf_ctx_err(l->flow->ctx);
  uv_close((uv_handle_t *)timer, on_later_closed);
  if (err == UV_ETIMEDOUT && uvf_flow_err(l->flow) == UV_ETIMEDOUT) {
    atomic_fetch_add(&n->timeouts, 1);
    uvf_flow_done(l->flow, UV_ETIMEDOUT);
    return;
  }
  uvf_flow_done(l->flow, handle_or_make(l->flow, l->item));
}

static inline int start(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  later_t *l;
  if (!n->later) {
    uvf_flow_done(flow, handle_or_make(flow, item));
    return 0;
  }
  l = malloc(sizeof *l);
  if (l == NULL) return UV_ENOMEM;
  l->flow = flow;
  l->item = item;
  l->timer.data = l;
  uv_timer_init(uvf_ctx_loop(flow->ctx), &l->timer);
  return uv_timer_start(&l->timer, on_later, (uint64_t)n->later * (1 + id_of(item) % 3), 0);
}

/* --- graphs --------------------------------------------------------------------------------------- */

static inline void begin(void) {
  items_reset();
  memset(&k, 0, sizeof k);
  gate_init(&k.gate);
  assert_int_equal(uvf_pipeline_create("p", &k.p), 0);
}

static inline node_t *node(int kind) {
  static const char *const names[NODES] = {"a", "b", "c", "d", "e", "f"};
  node_t *n = &k.n[k.used];
  uvf_stage_options_init(&n->o, kind, names[k.used], handle, n);
  if (kind == UVF_STAGE_SOURCE) n->o.fn = make;
  if (kind == UVF_STAGE_ASYNC) n->o.fn = start;
  n->o.drop = drop;
  k.used++;
  return n;
}

/* One that makes, of any kind but WORK. */
static inline node_t *source(int kind, unsigned int items_to_make) {
  node_t *n = node(kind);
  n->o.inputs = 0;
  n->make = items_to_make;
  if (kind == UVF_STAGE_LOOP) n->o.fn = make;
  return n;
}

static inline void add_all(void) {
  for (int i = 0; i < k.used; i++) assert_int_equal(uvf_pipeline_add(k.p, &k.n[i].o, &k.n[i].stage), 0);
}

/* Adds them all, the last one a sink, in a row. */
static inline void in_a_row(void) {
  add_all();
  for (int i = 1; i < k.used; i++) assert_int_equal(uvf_pipeline_chain(k.n[i - 1].stage, k.n[i].stage), 0);
  k.n[k.used - 1].sink = 1;
}

/* Between uvf_pipeline_run and the first turn of the loop: its first calls come in rows of so many, as they do once it is
 * known that they are cheap. */
static inline void in_rows_of(node_t *n, size_t calls) {
  size_t most = uvf__stage_batch_max(n->stage);
  n->stage->batch = calls < most ? calls : most;
}

/* After a run. */
static inline void assert_accounted(void) {
  assert_items_ended();
  assert_balanced(k.p);
  for (int i = 0; i < k.used; i++) {
    const node_t *n = &k.n[i];
    if (!uvf__stage_pulls(n->stage)) assert_int_equal(n->stage->failed + n->stage->dropped, atomic_load(&n->drops));
    assert_true(atomic_load(&n->flushes) <= 1);
    if (atomic_load(&n->flushes) == 1) assert_int_equal(atomic_load(&n->calls_at_flush), atomic_load(&n->calls));
  }
}

/* Before it is run once more: the first node makes so many. */
static inline void again(unsigned int items_to_make) {
  items_reset();
  k.n[0].make = items_to_make;
  atomic_store(&k.steps, 0);
  for (int i = 0; i < k.used; i++) {
    node_t *n = &k.n[i];
    n->calls = n->drops = n->flushes = n->timeouts = n->out_of_order = 0;
    n->last = 0;
  }
}

static inline void end(void) {
  assert_accounted();
  assert_int_equal(uvf_pipeline_destroy(k.p), 0);
  gate_destroy(&k.gate);
}

static inline uvf_stage_stats_t stats_of(const node_t *n) {
  uvf_stage_stats_t stats;
  assert_int_equal(uvf_stage_stats(n->stage, &stats), 0);
  return stats;
}

#endif
