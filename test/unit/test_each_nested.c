/* SPDX-License-Identifier: MIT
 *
 * For-each whose items callback runs the loop: its end may come in there, its memory go, or be started again; and the
 * call that it stands in must notice.
 */
#include "unit/each_probe.h"

#define ITEMS 100 /* more than are given at once */

static struct {
  fixture_t *f;
  uvf_ctx_t *ctx;
  int how;
  int inside;       /* items callbacks that stand */
  int ends;         /* of all for-eaches of the test */
  int ends_inside;  /* ... in a loop that an items callback ran */
  int status;       /* of the last */
  int given;        /* items, of all */
  int closed;       /* root callbacks */
  int closed_early; /* ... inside */
  int starts_left;
  uvf_chan_t *chans[2];
} n;

enum { BY_CANCEL, BY_CONTEXT, BY_OTHER_THREAD, BY_PARENT, BY_DEADLINE, BY_ROOT, WAYS };

static void turns(int most) {
  for (int i = 0; i < most; i++) uv_run(&n.f->loop, UV_RUN_NOWAIT);
}

static void nothing_at_end(uvf_ctx_t *root) {
  (void)root;
  n.closed++;
  if (n.inside > 0) n.closed_early++;
}

static void end_it(range_t *r) {
  switch (n.how) {
    case BY_CANCEL: r->rc = uvf_op_cancel((uvf_op_t *)&r->each); break;
    case BY_CONTEXT: uvf_ctx_cancel(n.ctx); break;
    case BY_OTHER_THREAD: on_thread(cancel_ctx, n.ctx); break;
    case BY_PARENT: uvf_ctx_cancel(n.ctx->parent); break;
    case BY_DEADLINE: expire(n.ctx); break;
    default:
      n.f->root = NULL;
      uvf_ctx_close(n.ctx->parent->parent, nothing_at_end);
      break;
  }
}

static void ends_inside(range_t *r, size_t count) {
  int before = n.ends;
  n.given += (int)count;
  n.inside++;
  end_it(r);
  for (int i = 0; i < 1000 && n.ends == before; i++) turns(1);
  turns(5);
  n.inside--;
}

static void freed_at_its_end(range_t *r) {
  n.ends++;
  n.ends_inside += n.inside > 0;
  n.status = r->status;
  memset(r, 0xdb, sizeof *r);
  free(r);
}

static range_t *prepare(fixture_t *f, uvf_chan_t *chan, int how) {
  range_t *r = range_new(chan);
  memset(&n, 0, sizeof n);
  n.f = f;
  n.how = how;
  n.status = 1;
  r->then = ends_inside;
  r->finally = freed_at_its_end;
  return r;
}

static void the_end_may_come_inside_its_own_callback_and_its_memory_go_there(void **state) {
  fixture_t *f = *state;
  turn(&f->loop); /* who runs the loop is known */
  for (int how = 0; how < BY_ROOT; how++) {
    for (int waits = 0; waits < 2; waits++) { /* a sender gives it the first item: that comes with more behind it */
      uvf_ctx_t *parent = child_of(f->root);
      uvf_chan_t *chan = chan_of(ITEMS);
      range_t *r = prepare(f, chan, how);
      uint64_t ops = stats_of(f->root).ops;
      n.ctx = timeout_of(parent, HOUR_MS);
      if (!waits) put(chan, 1, ITEMS);
      range_start(r, n.ctx, 0);
      if (waits) {
        turn(&f->loop);
        assert_waiting(chan, 0, 0, 1);
        put(chan, 1, ITEMS);
      }
      run_until(&f->loop, &n.ends, 1);
      turn(&f->loop);
      assert_int_equal(n.ends, 1);
      assert_int_equal(n.ends_inside, 1);
      assert_int_equal(n.status, how == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED);
      assert_int_equal(n.given, 64);
      assert_int_equal(uvf_chan_length(chan), ITEMS - 64); /* nothing more was taken */
      assert_int_equal(stats_of(f->root).ops, ops);
      uvf_ctx_release(n.ctx);
      uvf_ctx_release(parent);
      uvf_chan_release(chan);
    }
  }
}

static void a_root_does_not_close_while_a_callback_of_one_that_has_ended_stands(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *parent = child_of(f->root);
  uvf_chan_t *chan = chan_of(ITEMS);
  range_t *r = prepare(f, chan, BY_ROOT);
  n.ctx = child_of(parent);
  put(chan, 1, ITEMS);
  range_start(r, n.ctx, 0);
  uvf_ctx_release(n.ctx);
  uvf_ctx_release(parent);
  run_until(&f->loop, &n.ends, 1);
  assert_int_equal(n.ends_inside, 1);
  assert_int_equal(n.status, UV_ECANCELED);
  assert_int_equal(n.closed_early, 0);
  if (n.closed == 0) run_until(&f->loop, &n.closed, 1);
  assert_int_equal(n.closed, 1);
  assert_int_equal(n.given, 64);
  uvf_chan_release(chan);
}

/* --- started again in the same memory --- */

static void starts_again(range_t *r) {
  n.ends++;
  n.ends_inside += n.inside > 0;
  n.status = r->status;
  if (n.starts_left == 0) {
    free(r);
    return;
  }
  n.starts_left--;
  r->chan = n.chans[n.ends % 2];
  range_start(r, n.f->root, 0);
}

static void goes_to_an_end(range_t *r) {
  n.ends++;
  n.ends_inside += n.inside > 0;
  r->chan = n.chans[1];
  r->then = NULL;
  r->finally = NULL;
  range_start(r, n.f->root, 0);
}

static void one_that_ended_inside_may_be_started_again_there_and_goes_on_as_a_new_one(void **state) {
  fixture_t *f = *state;
  for (int filled = 0; filled < 2; filled++) { /* the second channel: before, so that it runs inside; or later */
    range_t *r = prepare(f, chan_of(ITEMS), BY_CANCEL);
    n.chans[0] = r->chan;
    n.chans[1] = chan_of(ITEMS);
    r->finally = goes_to_an_end;
    put(n.chans[0], 1, ITEMS);
    if (filled) put(n.chans[1], 1, ITEMS);
    range_start(r, f->root, 0);
    run_until(&f->loop, &n.ends, 1);
    turn(&f->loop);
    assert_int_equal(n.ends_inside, 1);
    if (!filled) {
      assert_waiting(n.chans[1], 0, 0, 1); /* queued once */
      put(n.chans[1], 1, ITEMS);
    }
    turn(&f->loop);
    assert_int_equal(r->ends, 0);
    uvf_chan_close(n.chans[1]);
    run_until(&f->loop, &r->ends, 1);
    turn(&f->loop);
    assert_int_equal(r->ends, 1);
    assert_int_equal(r->status, UV_EOF);
    assert_gave(r, 1, ITEMS);
    assert_int_equal(uvf_chan_length(n.chans[0]), ITEMS - 64);
    uvf_chan_release(n.chans[0]);
    uvf_chan_release(n.chans[1]);
    free(r);
  }
}

static void ends_three_deep(range_t *r, size_t count) {
  int before = n.ends;
  n.given += (int)count;
  if (n.inside == 3) return;
  n.inside++;
  (void)uvf_op_cancel((uvf_op_t *)&r->each);
  for (int i = 0; i < 1000 && n.ends == before; i++) turns(1);
  turns(5);
  n.inside--;
}

static void it_may_end_and_start_again_in_its_callback_to_any_depth(void **state) {
  fixture_t *f = *state;
  range_t *r = prepare(f, chan_of(600), BY_CANCEL);
  int left;
  n.chans[0] = r->chan;
  n.chans[1] = chan_of(600);
  n.starts_left = 7;
  r->then = ends_three_deep;
  r->finally = starts_again;
  for (int i = 0; i < 2; i++) {
    put(n.chans[i], 1, 600);
    uvf_chan_close(n.chans[i]);
  }
  range_start(r, f->root, 0);
  run_until(&f->loop, &n.ends, 8);
  turn(&f->loop);
  assert_int_equal(n.ends, 8);
  assert_true(n.ends_inside >= 3);
  left = (int)(uvf_chan_length(n.chans[0]) + uvf_chan_length(n.chans[1]));
  assert_int_equal(n.given + left, 1200);
  assert_int_equal(stats_of(f->root).ops, 0);
  uvf_chan_release(n.chans[0]);
  uvf_chan_release(n.chans[1]);
}

/* --- a nested loop that does not end it --- */

static void closes_and_runs(range_t *r, size_t count) {
  n.given += (int)count;
  n.inside++;
  uvf_chan_close(r->chan);
  turns(20);
  n.inside--;
}

static void a_loop_run_inside_gives_it_no_more_items_and_no_end_of_the_channel(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(ITEMS);
  range_t *r = prepare(f, chan, BY_CANCEL);
  r->then = closes_and_runs;
  put(chan, 1, ITEMS);
  range_start(r, f->root, 0);
  run_until(&f->loop, &n.ends, 1);
  turn(&f->loop);
  assert_int_equal(n.ends, 1);
  assert_int_equal(n.ends_inside, 0);
  assert_int_equal(n.status, UV_EOF);
  assert_int_equal(n.given, ITEMS);
  uvf_chan_release(chan);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(the_end_may_come_inside_its_own_callback_and_its_memory_go_there),
      unit(a_root_does_not_close_while_a_callback_of_one_that_has_ended_stands),
      unit(one_that_ended_inside_may_be_started_again_there_and_goes_on_as_a_new_one),
      unit(it_may_end_and_start_again_in_its_callback_to_any_depth),
      unit(a_loop_run_inside_gives_it_no_more_items_and_no_end_of_the_channel),
  };
  return test_run(tests);
}
