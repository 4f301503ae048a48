/* SPDX-License-Identifier: MIT
 *
 * What functions of stages may do from inside, and what becomes of it: end the run, run the loop, look at the time, emit
 * what nobody wants, fail while others close their stage.
 */
#include "unit/flow_nodes.h"

/* --- the end of the run from inside a call on the loop --- */

static struct {
  int by_context;
  uvf_ctx_t *ctx;
  int calls, after; /* the end */
} inside;

static int ends_at_the_tenth(void) {
  if (inside.calls++ > 9) inside.after++;
  if (inside.calls != 10) return 0;
  if (inside.by_context)
    uvf_ctx_cancel(inside.ctx);
  else
    uvf_pipeline_cancel(k.p);
  return 0;
}

static int takes(uvf_flow_t *flow, void *item) {
  (void)flow;
  item_end(item);
  return ends_at_the_tenth();
}

static int makes(uvf_flow_t *flow, void *item) {
  (void)item;
  item_pass(flow, 0, item_born());
  return ends_at_the_tenth();
}

static int takes_at_once(uvf_flow_t *flow, void *item) { return uvf_flow_done(flow, takes(flow, item)); }
static int makes_at_once(uvf_flow_t *flow, void *item) { return uvf_flow_done(flow, makes(flow, item)); }

/* Calls of node 0 or 1, which come in rows. */
static void end_from_inside(fixture_t *f, node_t *n, uvf_stage_fn fn) {
  run_t run = {0, 1};
  inside.calls = inside.after = 0;
  n->o.fn = fn;
  in_a_row();
  assert_int_equal(uvf_ctx_with_cancel(f->root, &inside.ctx), 0);
  assert_int_equal(uvf_pipeline_run(inside.ctx, k.p, on_run_done, &run), 0);
  in_rows_of(n, 64);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, UV_ECANCELED);
  assert_null(uvf_pipeline_failed(k.p));
  assert_int_equal(inside.calls, 10);
  assert_int_equal(inside.after, 0);
  uvf_ctx_release(inside.ctx);
  end();
}

static void a_function_on_the_loop_that_ends_the_run_is_not_called_again(void **state) {
  static const struct {
    int kind;
    uvf_stage_fn takes, makes;
  } of[] = {{UVF_STAGE_LOOP, takes, makes}, {UVF_STAGE_ASYNC, takes_at_once, makes_at_once}};
  for (size_t i = 0; i < ARRAY_SIZE(of); i++) {
    for (inside.by_context = 0; inside.by_context < 2; inside.by_context++) {
      begin();
      node(UVF_STAGE_SOURCE)->make = 100;
      k.n[0].per_call = 100; /* they all wait when the first is handled */
      end_from_inside(*state, node(of[i].kind), of[i].takes);
      begin();
      source(of[i].kind, 0);
      node(UVF_STAGE_WORK);
      end_from_inside(*state, &k.n[0], of[i].makes);
    }
  }
}

/* --- a drop function that runs the loop --- */

static struct {
  fixture_t *f;
  uvf_flow_t *flow;
  run_t run;
  int done_inside;
} nested;

static int keeps(uvf_flow_t *flow, void *item) {
  item_end(item);
  nested.flow = flow;
  return 0;
}

static void drop_runs_the_loop(void *item, void *data) {
  uvf_pipeline_cancel(k.p);
  run_ready(&nested.f->loop);
  nested.done_inside += nested.run.done;
  drop(item, data);
}

static int only_the_call_is_left(void *arg) {
  (void)arg;
  return nested.flow != NULL && k.p->jobs == 0;
}

static void a_drop_function_may_run_the_loop_and_the_run_is_not_over_in_there(void **state) {
  nested.f = *state;
  nested.flow = NULL;
  nested.run = (run_t){0, 1};
  nested.done_inside = 0;
  begin();
  node(UVF_STAGE_SOURCE)->make = 5;
  node(UVF_STAGE_ASYNC)->o.fn = keeps;
  k.n[1].o.drop = drop_runs_the_loop;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(nested.f->root, k.p, on_run_done, &nested.run), 0);
  run_until_seen(&nested.f->loop, only_the_call_is_left, NULL);
  assert_int_equal(uvf_flow_done(nested.flow, UV_EOF), 0);
  run_until(&nested.f->loop, &nested.run.done, 1);
  assert_int_equal(nested.done_inside, 0);
  assert_int_equal(k.n[1].drops, 4);
  assert_int_equal(nested.run.status, UV_ECANCELED);
  end();
}

/* --- flush functions --- */

static struct { int calls, err, ctx_err, has_deadline; } flushed;

static int looks_at_the_time(uvf_flow_t *flow) {
  flushed.calls++;
  flushed.err = uvf_flow_err(flow);
  flushed.ctx_err = uvf_ctx_err(flow->ctx);
  flushed.has_deadline = uvf_ctx_remaining_ns(flow->ctx) != UINT64_MAX;
  return 0;
}

static int takes_all_its_time(uvf_flow_t *flow, void *item) {
  while (uvf_flow_err(flow) == 0) {}
  item_end(item);
  return flow->stage->o.kind == UVF_STAGE_ASYNC ? uvf_flow_done(flow, 0) : 0;
}

static void a_flush_function_has_no_time_limit_of_its_stages_calls(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < 3; kind += 2) {
    for (unsigned int n = 0; n < 3; n++) {
      memset(&flushed, 0, sizeof flushed);
      begin();
      node(UVF_STAGE_SOURCE)->make = n;
      node(kinds[kind])->o.fn = takes_all_its_time;
      k.n[1].o.item_timeout_ms = 3;
      k.n[1].o.flush = looks_at_the_time;
      in_a_row();
      assert_int_equal(run_to_end(f, f->root, k.p), 0);
      assert_int_equal(flushed.calls, 1);
      assert_int_equal(flushed.err, 0);
      assert_int_equal(flushed.ctx_err, 0);
      assert_int_equal(flushed.has_deadline, 0);
      assert_int_equal(k.n[1].stage->done, n);
      end();
    }
  }
}

static int returns_what_emit_says(uvf_flow_t *flow) {
  flushed.calls++;
  flushed.err = item_pass(flow, 0, item_born());
  return flushed.err;
}

static int has_a_broken_pipe(uvf_flow_t *flow) {
  (void)flow;
  return UV_EPIPE;
}

static void a_flush_function_may_return_that_nobody_wants_what_it_emits(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
    memset(&flushed, 0, sizeof flushed);
    begin();
    node(UVF_STAGE_SOURCE)->make = 5000;
    node(kinds[i])->o.flush = returns_what_emit_says;
    node(UVF_STAGE_WORK)->eof_at = 1;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(flushed.calls, 1);
    assert_int_equal(flushed.err, UV_EPIPE);
    end();
    begin(); /* one of its own is an error */
    node(UVF_STAGE_SOURCE)->make = 5;
    node(kinds[i])->o.flush = has_a_broken_pipe;
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), UV_EPIPE);
    assert_ptr_equal(uvf_pipeline_failed(k.p), k.n[1].stage);
    end();
  }
}

/* --- retries of a stage that is closed --- */

static struct {
  gate_t close, dropped;
  atomic_int a_is_in, b_is_in, dropping;
} ring;

/* Calls come in rows: 1 fails, 2 waits until somebody drops; then the retry of 1 comes back into a queue that is
 * closed. Who has another row ends the input meanwhile. */
static int fails_or_closes(uvf_flow_t *flow, void *item) {
  (void)flow;
  if (id_of(item) == 1) return -777;
  if (id_of(item) == 2) {
    atomic_store(&ring.a_is_in, 1);
    gate_pass(&k.gate);
  } else if (atomic_exchange(&ring.b_is_in, 1) == 0) {
    gate_pass(&ring.close);
    item_end(item);
    return UV_EOF;
  }
  item_end(item);
  return 0;
}

/* The first of the queue is dropped by who has closed the stage, and lasts until what was to be retried is dropped, too. Meanwhile the
 * source's items come. */
static void drop_lasts(void *item, void *data) {
  int closed = uvf__u32_load(&k.n[1].stage->closed) != 0; /* else it is of the row of who closes it */
  if (closed && atomic_exchange(&ring.dropping, 1) == 0) {
    gate_open(&k.gate, 1);
    gate_pass(&ring.dropped);
  }
  if (id_of(item) == 1) gate_open(&ring.dropped, 2);
  drop(item, data);
}

static int both_rows_are_under_way(void *arg) {
  const uvf_stage_t *s = k.n[1].stage;
  int full;
  (void)arg;
  uvf__lock(&k.p->lock);
  full = s->held == s->o.capacity;
  uvf__unlock(&k.p->lock);
  return full && atomic_load(&ring.a_is_in) && atomic_load(&ring.b_is_in);
}

static void a_retry_finds_its_place_in_the_queue_of_a_stage_that_was_closed_and_filled_up(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  memset(&ring, 0, sizeof ring);
  gate_init(&ring.close);
  gate_init(&ring.dropped);
  begin();
  node(UVF_STAGE_SOURCE)->make = 5000;
  k.n[0].per_call = 5000;
  node(UVF_STAGE_WORK)->o.fn = fails_or_closes;
  k.n[1].o.workers = 2;
  k.n[1].o.capacity = 64;
  k.n[1].o.on_error = UVF_ON_ERROR_RETRY;
  k.n[1].o.retries = 3;
  k.n[1].o.drop = drop_lasts;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  in_rows_of(&k.n[1], 8);
  run_until_seen(&f->loop, both_rows_are_under_way, NULL);
  gate_open(&ring.close, 1);
  gate_pass(&ring.dropped); /* the loop does not come by, and so does not drop */
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  assert_int_equal(k.n[1].stage->retried, 1);
  end();
  gate_destroy(&ring.close);
  gate_destroy(&ring.dropped);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_function_on_the_loop_that_ends_the_run_is_not_called_again),
      unit(a_drop_function_may_run_the_loop_and_the_run_is_not_over_in_there),
      unit(a_flush_function_has_no_time_limit_of_its_stages_calls),
      unit(a_flush_function_may_return_that_nobody_wants_what_it_emits),
      unit(a_retry_finds_its_place_in_the_queue_of_a_stage_that_was_closed_and_filled_up),
  };
  return test_run(tests);
}
