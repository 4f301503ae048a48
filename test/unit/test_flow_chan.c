/* SPDX-License-Identifier: MIT
 *
 * Two pipelines on two loops with a channel between them: the sink of the first sends, the source of the second
 * receives, both as ASYNC stages under the contexts of their calls. What the second does not take, the first does
 * not make.
 */
#include "unit/flow_nodes.h"

typedef struct deal_s {
  uvf_chan_req_t req;
  uvf_flow_t *flow;
} deal_t;

/* The pipeline that receives, on its own thread with its own loop. */
static struct {
  uvf_chan_t *chan;
  uvf_pipeline_t *p;
  uvf_stage_t *stages[2];
  uv_thread_t thread;
  run_t run;
  int rc;
  unsigned int eof_at; /* its sink wants no more after so many; 0: all */
  unsigned int taken;
  uintptr_t last;
  int out_of_order, gated;
} far;

/* --- the first --- */

/* A channel that nobody receives from any more is the end of input. */
static void on_sent(uvf_chan_req_t *req, int status) {
  deal_t *d = req->data;
  uvf_flow_t *flow = d->flow;
  if (status == UV_EPIPE) {
    item_end(req->item);
    status = UV_EOF;
  }
  free(d);
  uvf_flow_done(flow, status);
}

static int sends(uvf_flow_t *flow, void *item) {
  deal_t *d = malloc(sizeof *d);
  if (d == NULL) return UV_ENOMEM;
  d->flow = flow;
  d->req.data = d;
  return uvf_chan_send(flow->ctx, &d->req, far.chan, item, on_sent);
}

static int closes(uvf_flow_t *flow) {
  (void)flow;
  uvf_chan_close(far.chan);
  return 0;
}

/* --- the second --- */

static void on_received(uvf_chan_req_t *req, int status) {
  deal_t *d = req->data;
  uvf_flow_t *flow = d->flow;
  void *item = req->item;
  free(d);
  if (status == 0) item_pass(flow, 0, item);
  uvf_flow_done(flow, status);
}

static int receives(uvf_flow_t *flow, void *item) {
  deal_t *d = malloc(sizeof *d);
  (void)item;
  if (d == NULL) return UV_ENOMEM;
  d->flow = flow;
  d->req.data = d;
  return uvf_chan_recv(flow->ctx, &d->req, far.chan, on_received);
}

static int takes(uvf_flow_t *flow, void *item) {
  (void)flow;
  if (far.gated) gate_pass(&k.gate);
  far.gated = 0;
  if (id_of(item) < far.last) far.out_of_order++;
  far.last = id_of(item);
  item_end(item);
  return ++far.taken == far.eof_at ? UV_EOF : 0;
}

static void ends_item(void *item, void *data) {
  (void)data;
  item_end(item);
}

/* Done, it receives no more: what is still sent comes back. */
static void on_far_done(uvf_pipeline_t *p, int status, void *arg) {
  on_run_done(p, status, arg);
  uvf_chan_close(far.chan);
}

static int make_far(size_t capacity) {
  uvf_stage_options_t o;
  int rc = uvf_pipeline_create("far", &far.p);
  if (rc != 0) return rc;
  uvf_stage_options_init(&o, UVF_STAGE_ASYNC, "receive", receives, NULL);
  o.inputs = 0;
  rc = uvf_pipeline_add(far.p, &o, &far.stages[0]);
  if (rc != 0) return rc;
  uvf_stage_options_init(&o, UVF_STAGE_WORK, "take", takes, NULL);
  o.drop = ends_item;
  o.capacity = capacity;
  rc = uvf_pipeline_add(far.p, &o, &far.stages[1]);
  return rc != 0 ? rc : uvf_pipeline_chain(far.stages[0], far.stages[1]);
}

static void run_far(void *arg) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  (void)arg;
  far.rc = uv_loop_init(&loop);
  if (far.rc == 0) far.rc = uvf_ctx_background(&loop, &root);
  if (far.rc != 0) return;
  far.rc = uvf_pipeline_run(root, far.p, on_far_done, &far.run);
  while (far.rc == 0 && far.run.done == 0 && uv_run(&loop, UV_RUN_ONCE) != 0) {}
  uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  if (uv_loop_close(&loop) != 0) far.rc = UV_EBUSY;
}

/* --- both --- */

static void make_both(unsigned int items_to_make, size_t capacity) {
  uvf_chan_options_t options;
  memset(&options, 0, sizeof options);
  memset(&far, 0, sizeof far);
  options.capacity = capacity;
  options.drop = ends_item;
  begin();
  assert_int_equal(uvf_chan_create_ex(&options, &far.chan), 0);
  assert_int_equal(make_far(capacity == 0 ? 1 : capacity), 0);
  node(UVF_STAGE_SOURCE)->make = items_to_make;
  node(UVF_STAGE_ASYNC)->o.fn = sends;
  k.n[1].o.flush = closes;
  k.n[1].o.capacity = capacity == 0 ? 1 : capacity;
  in_a_row();
}

static void end_both(void) {
  assert_int_equal(far.rc, 0);
  assert_int_equal(far.run.done, 1);
  assert_int_equal(far.out_of_order, 0);
  assert_balanced(far.p);
  assert_int_equal(uvf_pipeline_destroy(far.p), 0);
  uvf_chan_release(far.chan);
  end();
}

static void every_item_comes_through_a_channel_to_another_loop_once_and_in_order(void **state) {
  fixture_t *f = *state;
  for (size_t capacity = 0; capacity <= 64; capacity = capacity * 8 + 1) {
    make_both(1000, capacity);
    assert_int_equal(uv_thread_create(&far.thread, run_far, NULL), 0);
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(uv_thread_join(&far.thread), 0);
    assert_int_equal(far.run.status, 0);
    assert_int_equal(far.taken, 1000);
    end_both();
  }
}

static int all_is_full(void *arg) {
  uvf_chan_stats_t stats;
  (void)arg;
  uvf_chan_stats(far.chan, &stats);
  return stats.senders > 0 && stats.length == uvf_chan_capacity(far.chan) && stats_of(&k.n[1]).queued == 4;
}

static void what_the_far_end_does_not_take_is_not_made(void **state) {
  fixture_t *f = *state;
  run_t run = {0, 1};
  make_both(1000, 4);
  far.gated = 1;
  assert_int_equal(uv_thread_create(&far.thread, run_far, NULL), 0);
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  run_until_seen(&f->loop, all_is_full, NULL);
  run_for(&f->loop, 10);
  assert_true(atomic_load(&items.most) <= 3 * 4 + 4); /* three queues; a call of each stage */
  gate_open(&k.gate, 1);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, 0);
  assert_int_equal(uv_thread_join(&far.thread), 0);
  assert_int_equal(far.taken, 1000);
  assert_true(atomic_load(&items.most) <= 3 * 4 + 4);
  end_both();
}

static void when_the_far_end_wants_no_more_the_near_one_ends_as_well(void **state) {
  fixture_t *f = *state;
  for (unsigned int eof_at = 1; eof_at < 200; eof_at += 66) {
    make_both(100000, 4);
    far.eof_at = eof_at;
    assert_int_equal(uv_thread_create(&far.thread, run_far, NULL), 0);
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(uv_thread_join(&far.thread), 0);
    assert_int_equal(far.run.status, 0);
    assert_int_equal(far.taken, eof_at);
    assert_true(k.n[0].make > 0);
    for (void *item; uvf_chan_try_recv(far.chan, &item) == 0;) item_end(item);
    end_both();
  }
}

/* --- calls that wait for a channel --- */

static void a_cancel_ends_calls_that_wait_to_send_or_to_receive(void **state) {
  fixture_t *f = *state;
  for (int receiving = 0; receiving < 2; receiving++) {
    run_t run = {0, 1};
    make_both(100, 4);
    if (!receiving) {
      assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
      run_until_seen(&f->loop, all_is_full, NULL);
      uvf_pipeline_cancel(k.p);
    } else {
      assert_int_equal(uvf_pipeline_run(f->root, far.p, on_run_done, &run), 0);
      run_for(&f->loop, 5);
      assert_int_equal(run.done, 0);
      uvf_pipeline_cancel(far.p);
    }
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, UV_ECANCELED);
    for (void *item; uvf_chan_try_recv(far.chan, &item) == 0;) item_end(item);
    far.run.done = 1;
    end_both();
  }
}

static void a_call_that_waits_to_receive_ends_when_nobody_wants_more(void **state) {
  fixture_t *f = *state;
  for (unsigned int waiting = 1; waiting <= 4; waiting += 3) {
    run_t run = {0, 1};
    make_both(0, 4);
    far.eof_at = 3;
    far.stages[0]->o.workers = waiting;
    for (int i = 0; i < 3; i++) assert_int_equal(uvf_chan_try_send(far.chan, item_born()), 0);
    assert_int_equal(uvf_pipeline_run(f->root, far.p, on_run_done, &run), 0);
    run_until(&f->loop, &run.done, 1);
    assert_int_equal(run.status, 0);
    assert_int_equal(far.taken, 3);
    assert_int_equal(far.stages[0]->failed, 0);
    far.run.done = 1;
    end_both();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(every_item_comes_through_a_channel_to_another_loop_once_and_in_order),
      unit(what_the_far_end_does_not_take_is_not_made),
      unit(when_the_far_end_wants_no_more_the_near_one_ends_as_well),
      unit(a_call_that_waits_to_receive_ends_when_nobody_wants_more),
      unit(a_cancel_ends_calls_that_wait_to_send_or_to_receive),
  };
  return test_run(tests);
}
