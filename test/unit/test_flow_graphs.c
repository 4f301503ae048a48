/* SPDX-License-Identifier: MIT
 *
 * Conservation: random graphs of random stages, which fail, retry, end early and are cancelled at random moments. At
 * the end of each every item has ended once, every stage's figures are those that its functions counted, and nothing
 * is left. UVF_TEST_SEED repeats all of it, UVF_TEST_GRAPH one graph, by the number that a failure prints.
 */
#include "unit/flow_probe.h"

#define STAGES_MAX 8
#define PORTS_MAX 8
#define MANY_ITEMS 1500u

enum { END_NONE, END_BY_PIPELINE, END_BY_CTX, END_BY_DEADLINE, END_BY_STAGE, END_BEFORE, ENDS };

typedef struct node_s {
  uvf_stage_t *stage;
  uvf_stage_options_t o;
  char name[32];
  unsigned int outs;
  unsigned int fails, eofs, passes; /* per 1024 calls */
  uint64_t seed;
  unsigned int left; /* of a source: calls to make; its own thread's */
  int flush_emits, flush_fails;
  atomic_uint taken, ok, failed, dropped, emitted, flushes, again;
  atomic_int busy[4];
  atomic_int bad; /* a worker twice at once, a wrong thread, a wrong field */
} node_t;

typedef struct later_s {
  uvf_flow_t *flow;
  void *item;
} later_t;

static struct {
  uint64_t rand;
  size_t n;
  node_t nodes[STAGES_MAX];
  uvf_pipeline_t *p;
  uvf_ctx_t *ctx;
  run_t run;
  uv_thread_t loop_thread;
  /* calls of ASYNC stages that go on */
  uv_idle_t idle;
  later_t later[STAGES_MAX * 4];
  size_t nlater;
  /* the end */
  uvf_limiter_t limiter; /* of some of the stages */
  int end;
  atomic_int calls_left; /* END_BY_STAGE: when this is 0 */
  uv_timer_t timer;
} g;

static uint64_t mix(uint64_t a, uint64_t b) {
  uint64_t x = a * UINT64_C(0x9e3779b97f4a7c15) ^ (b + UINT64_C(0x7f4a7c159e3779b9));
  x ^= x >> 31;
  x *= UINT64_C(0xbf58476d1ce4e5b9);
  x ^= x >> 29;
  x *= UINT64_C(0x94d049bb133111eb);
  return x ^ x >> 32;
}

static unsigned int pick(unsigned int n) { return (unsigned int)(test_rand(&g.rand) % n); }

/* --- functions of stages -------------------------------------------------------------------------- */

static void expect(node_t *n, int true_) {
  if (!true_) atomic_fetch_add(&n->bad, 1);
}

static void pass(node_t *n, uvf_flow_t *flow, uint64_t dice, void *item) {
  if (item != NULL && item_pass(flow, (unsigned int)(dice % n->outs), item) == 0) atomic_fetch_add(&n->emitted, 1);
}

/* Emits 0 to 3 for it, itself among them. */
static void handle(node_t *n, uvf_flow_t *flow, uint64_t dice, void *item) {
  unsigned int count = n->outs == 0 ? 0 : (unsigned int)(dice >> 8 & 3);
  if (count == 0) {
    if (item != NULL) item_end(item);
    return;
  }
  if (item == NULL) item = item_born();
  pass(n, flow, dice >> 12, item);
  while (--count > 0 && atomic_load(&items.next) < MANY_ITEMS) pass(n, flow, dice >> (12 + 8 * count), item_born());
}

static void count(node_t *n, int rc, uvf_flow_t *flow) {
  if (rc == 0 || rc == UV_EOF) {
    atomic_fetch_add(&n->ok, 1);
  } else if (n->o.on_error >= UVF_ON_ERROR_RETRY && flow->retry < n->o.retries) {
    atomic_fetch_add(&n->again, 1); /* or failed, if the pipeline has ended meanwhile */
  } else {
    atomic_fetch_add(&n->failed, 1);
  }
}

static int work(node_t *n, uvf_flow_t *flow, void *item) {
  uint64_t dice = mix(n->seed ^ flow->retry, item != NULL ? id_of(item) : n->left);
  int rc = 0;
  if (dice % 1024 < n->fails) {
    rc = -1000 - (int)(n - g.nodes);
  } else if ((dice >> 10) % 1024 < n->eofs) {
    rc = UV_EOF;
  }
  dice >>= 20;
  if (dice % 64 == 0) uvf_flow_err(flow);
  if (rc == 0 || rc == UV_EOF) {
    handle(n, flow, dice, item);
  } else if (n->outs > 0 && dice % 4 == 0 && atomic_load(&items.next) < MANY_ITEMS) {
    pass(n, flow, dice >> 2, item_born()); /* what was emitted before it failed */
  }
  if (rc != 0 || item != NULL) count(n, rc, flow);
  return rc;
}

static void enter(node_t *n, uvf_flow_t *flow, int busy) {
  uv_thread_t self = uv_thread_self();
  int here = uv_thread_equal(&self, &g.loop_thread);
  expect(n, flow->worker < n->o.workers && flow->data == n && flow->stage == n->stage);
  expect(n, here == (n->o.kind == UVF_STAGE_LOOP || n->o.kind == UVF_STAGE_ASYNC));
  expect(n, flow->ctx != NULL);
  if (busy && flow->worker < n->o.workers) expect(n, atomic_exchange(&n->busy[flow->worker], 1) == 0);
  if (g.end == END_BY_STAGE && atomic_fetch_sub(&g.calls_left, 1) == 1) {
    if (here)
      uvf_pipeline_cancel(g.p);
    else
      uvf_ctx_cancel(g.ctx);
  }
}

static void leave(node_t *n, unsigned int worker) { expect(n, atomic_exchange(&n->busy[worker], 0) == 1); }

static int on_item(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  int rc;
  enter(n, flow, 1);
  atomic_fetch_add(&n->taken, 1);
  expect(n, flow->input < n->o.inputs && flow->retry <= n->o.retries);
  if (id_of(item) % 97 == 0) {
    uint64_t until_ns = uv_hrtime() + mix(n->seed, id_of(item)) % 300000;
    while (uv_hrtime() < until_ns) {}
  }
  rc = work(n, flow, item);
  leave(n, flow->worker);
  return rc;
}

/* Of a source. */
static int make(node_t *n, uvf_flow_t *flow) {
  if (n->left == 0) return UV_EOF;
  n->left--;
  return work(n, flow, NULL);
}

static int on_source(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  int rc;
  enter(n, flow, 1);
  expect(n, item == NULL);
  rc = make(n, flow);
  leave(n, flow->worker);
  return rc;
}

static int on_async(uvf_flow_t *flow, void *item) {
  node_t *n = flow->data;
  uint64_t dice = mix(n->seed + 1, item != NULL ? id_of(item) : n->left);
  int rc;
  enter(n, flow, 1);
  atomic_fetch_add(&n->taken, 1);
  expect(n, (item == NULL) == (n->o.inputs == 0));
  if (dice % 4 != 0) {
    g.later[g.nlater].flow = flow;
    g.later[g.nlater].item = item;
    if (g.nlater++ == 0) uv_idle_start(&g.idle, g.idle.idle_cb);
    return 0;
  }
  rc = item == NULL ? make(n, flow) : work(n, flow, item);
  leave(n, flow->worker);
  if (rc == 0 || dice % 8 == 0) {
    uvf_flow_done(flow, rc);
    return 0;
  }
  return rc;
}

/* Ends one or more of the calls that go on, in any order. */
static void on_idle(uv_idle_t *idle) {
  for (unsigned int k = 1 + pick(4); k > 0 && g.nlater > 0; k--) {
    size_t i = pick((unsigned int)g.nlater);
    later_t l = g.later[i];
    node_t *n = l.flow->data;
    int rc;
    g.later[i] = g.later[--g.nlater];
    rc = l.item == NULL ? make(n, l.flow) : work(n, l.flow, l.item);
    leave(n, l.flow->worker);
    if (uvf_flow_done(l.flow, rc) != 0) expect(n, 0);
  }
  if (g.nlater == 0) uv_idle_stop(idle);
}

static int on_flush(uvf_flow_t *flow) {
  node_t *n = flow->data;
  enter(n, flow, 0);
  atomic_fetch_add(&n->flushes, 1);
  for (unsigned int i = 0; i < n->o.workers; i++) expect(n, atomic_load(&n->busy[i]) == 0);
  for (int i = 0; i < n->flush_emits && n->outs > 0; i++) pass(n, flow, mix(n->seed + 2, (uint64_t)i), item_born());
  return n->flush_fails ? -1000 - (int)(n - g.nodes) : 0;
}

static void on_drop(void *item, void *data) {
  node_t *n = data;
  atomic_fetch_add(&n->dropped, 1);
  item_end(item);
}

/* --- graphs --------------------------------------------------------------------------------------- */

static void random_stage(node_t *n, size_t index, int wild) {
  static const int kinds[] = {UVF_STAGE_WORK, UVF_STAGE_WORK, UVF_STAGE_WORK, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};
  static const int of_sources[] = {UVF_STAGE_SOURCE, UVF_STAGE_SOURCE, UVF_STAGE_LOOP, UVF_STAGE_ASYNC};
  int source = index == 0 || pick(10) == 0;
  int kind = source ? of_sources[pick(ARRAY_SIZE(of_sources))] : kinds[pick(ARRAY_SIZE(kinds))];
  memset(n, 0, sizeof *n);
  snprintf(n->name, sizeof n->name, "s%zu", index);
  uvf_stage_options_init(&n->o, kind, n->name, on_item, n);
  if (source) n->o.fn = on_source;
  if (kind == UVF_STAGE_ASYNC) n->o.fn = on_async;
  if (kind == UVF_STAGE_WORK || kind == UVF_STAGE_ASYNC) {
    n->o.workers = 1 + pick(4);
    n->o.ordered = pick(3) == 0;
    if (n->o.ordered && pick(2)) n->o.window = 1 + pick(16);
  }
  n->o.inputs = source ? 0 : 1 + pick(2);
  if (pick(6) == 0) n->o.limiter = &g.limiter;
  n->o.capacity = pick(3) == 0 ? 1 + pick(4) : 1 + pick(64);
  n->o.drop = on_drop;
  n->o.on_error = (int)pick(4);
  n->o.retries = n->o.on_error >= UVF_ON_ERROR_RETRY ? 1 + pick(3) : 0;
  if (pick(2)) n->o.flush = on_flush;
  n->flush_emits = (int)pick(4);
  n->flush_fails = wild && pick(20) == 0;
  if (pick(4) == 0) n->o.item_timeout_ms = 1 + pick(1000);
  n->seed = test_rand(&g.rand);
  n->left = pick(400);
  if (wild) {
    n->fails = n->o.on_error == UVF_ON_ERROR_FAIL ? (pick(4) == 0 ? 5 : 0) : pick(300);
    n->eofs = pick(4) == 0 ? 1 + pick(30) : 0;
  }
}

static void random_link(node_t *from, node_t *to, unsigned int input) {
  assert_int_equal(uvf_pipeline_link(from->stage, from->outs++, to->stage, input), 0);
}

static void random_graph(uint64_t seed) {
  int wild;
  g.rand = seed;
  g.n = 2 + pick(STAGES_MAX - 1);
  wild = pick(4) != 0;
  assert_int_equal(uvf_pipeline_create("random", &g.p), 0);
  for (size_t i = 0; i < g.n; i++) {
    random_stage(&g.nodes[i], i, wild);
    assert_int_equal(uvf_pipeline_add(g.p, &g.nodes[i].o, &g.nodes[i].stage), 0);
  }
  for (size_t i = 1; i < g.n; i++) {
    for (unsigned int in = 0; in < g.nodes[i].o.inputs; in++)
      random_link(&g.nodes[pick((unsigned int)i)], &g.nodes[i], in);
  }
  for (unsigned int k = pick(4); k > 0; k--) {
    size_t to = 1 + pick((unsigned int)g.n - 1);
    size_t from = pick((unsigned int)to);
    if (g.nodes[to].o.inputs > 0 && g.nodes[from].outs < PORTS_MAX)
      random_link(&g.nodes[from], &g.nodes[to], pick(g.nodes[to].o.inputs));
  }
  g.end = wild && pick(3) == 0 ? 1 + (int)pick(ENDS - 1) : END_NONE;
  atomic_store(&g.calls_left, 1 + (int)pick(400));
}

/* --- a run of one --------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *timer) {
  (void)timer;
  if (g.run.done) return;
  if (g.end == END_BY_PIPELINE) uvf_pipeline_cancel(g.p);
  if (g.end == END_BY_CTX) uvf_ctx_cancel(g.ctx);
}

static void on_closed(uv_handle_t *handle) { ++*(int *)handle->data; }

static void assert_node(const node_t *n, int status) {
  const uvf_stage_t *s = n->stage;
  unsigned int failed = atomic_load(&n->failed);
  unsigned int again = atomic_load(&n->again);
  assert_int_equal(atomic_load(&n->bad), 0);
  assert_int_equal(s->in, s->done + s->failed + s->dropped);
  assert_int_equal(s->queued, 0);
  assert_int_equal(s->active, 0);
  assert_int_equal(s->held, 0);
  assert_int_equal(s->out, atomic_load(&n->emitted));
  assert_true(s->failed <= failed + again && s->failed + s->retried <= failed + again);
  if (!s->unwanted) { /* then errors are none any more */
    assert_true(s->failed >= failed);
    assert_int_equal(s->failed + s->retried, failed + again);
  }
  if (n->o.inputs > 0) {
    assert_int_equal(s->done, atomic_load(&n->ok));
    assert_int_equal(s->failed + s->dropped, atomic_load(&n->dropped));
  }
  assert_true(atomic_load(&n->flushes) <= (n->o.flush != NULL));
  if (status == 0) {
    assert_int_equal(atomic_load(&n->flushes), n->o.flush != NULL);
    assert_int_equal(s->finished, 1);
    if (n->o.on_error % 2 == 0) assert_int_equal(s->failed, 0); /* neither SKIP nor RETRY_SKIP */
  }
}

/* What came to a stage is what was emitted to it. */
static void assert_links(void) {
  uint64_t in = 0;
  uint64_t out = 0;
  for (size_t i = 0; i < g.n; i++) {
    if (g.nodes[i].o.inputs > 0) in += g.nodes[i].stage->in;
    out += g.nodes[i].stage->out;
  }
  assert_int_equal(in, out);
}

static void assert_status(int status) {
  if (g.end == END_NONE && status != 0) {
    assert_true(status <= -1000 && status > -1000 - STAGES_MAX);
    assert_true(g.nodes[-1000 - status].stage->failed > 0 || g.nodes[-1000 - status].flush_fails);
  }
  if (g.end == END_BEFORE) assert_int_equal(status, UV_ECANCELED);
}

static void run_graph(fixture_t *f, uint64_t seed) {
  int closed = 0;
  items_reset();
  assert_int_equal(uvf_limiter_init(&g.limiter, 1e6, 1 + (double)(seed % 16)), 0);
  random_graph(seed);
  g.loop_thread = uv_thread_self();
  g.nlater = 0;
  g.run.done = 0;
  uv_idle_init(&f->loop, &g.idle);
  g.idle.idle_cb = on_idle;
  uv_timer_init(&f->loop, &g.timer);
  g.idle.data = g.timer.data = &closed;
  if (g.end == END_BY_DEADLINE) {
    assert_int_equal(uvf_ctx_with_timeout(f->root, pick(4), &g.ctx), 0);
  } else {
    assert_int_equal(uvf_ctx_with_cancel(f->root, &g.ctx), 0);
  }
  if (g.end == END_BEFORE) uvf_ctx_cancel(g.ctx);
  assert_int_equal(uvf_pipeline_run(g.ctx, g.p, on_run_done, &g.run), 0);
  if (g.end == END_BY_PIPELINE || g.end == END_BY_CTX) uv_timer_start(&g.timer, on_timer, pick(4), 0);
  run_until(&f->loop, &g.run.done, 1);
  assert_int_equal(g.nlater, 0);
  for (size_t i = 0; i < g.n; i++) assert_node(&g.nodes[i], g.run.status);
  assert_links();
  assert_status(g.run.status);
  assert_items_ended();
  assert_int_equal(uvf_pipeline_destroy(g.p), 0);
  assert_int_equal(uvf_limiter_destroy(&g.limiter), 0);
  uvf_ctx_release(g.ctx);
  uv_close((uv_handle_t *)&g.idle, on_closed);
  uv_close((uv_handle_t *)&g.timer, on_closed);
  run_until(&f->loop, &closed, 2);
  run_ready(&f->loop);
  assert_int_equal(g.run.done, 1);
  assert_true(test_alloc_live() <=
              f->blocks_before + 256); /* what the loop keeps: it follows the peak, not the count */
}

static void every_item_of_a_random_graph_ends_once_and_every_stage_is_balanced(void **state) {
  fixture_t *f = *state;
  const char *one = getenv("UVF_TEST_GRAPH");
  uint64_t seed;
  size_t graphs = test_scaled(1000, 5);
  int hist[3] = {0, 0, 0};
  if (one != NULL) {
    for (int i = 0; i < 50; i++) run_graph(f, strtoull(one, NULL, 0));
    return;
  }
  seed = test_seed();
  for (size_t i = 0; i < graphs; i++) {
    uint64_t of_graph = mix(seed, i) | 1;
    if (getenv("UVF_TEST_LOUD") != NULL) fprintf(stderr, "UVF_TEST_GRAPH=%llu\n", (unsigned long long)of_graph);
    run_graph(f, of_graph);
    hist[g.run.status == 0 ? 0 : g.run.status <= -1000 ? 1 : 2]++;
  }
  printf("%d to their end, %d failed, %d cancelled\n", hist[0], hist[1], hist[2]);
  if (graphs >= 200) assert_true(hist[0] > 0 && hist[1] > 0 && hist[2] > 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(every_item_of_a_random_graph_ends_once_and_every_stage_is_balanced),
  };
  test_alloc_install();
  if (uvf_use_free_lists(0) != 0) return 1; /* so that what is alive can be counted between two graphs */
  return test_run(tests);
}
