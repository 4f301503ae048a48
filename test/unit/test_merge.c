/* SPDX-License-Identifier: MIT
 *
 * Merge: every item of every input comes out once, each input's in order; and each way to end leaves every item where
 * it can be found.
 */
#include "unit/chan_probe.h"

#define INPUTS 8

typedef struct fan_s {
  uvf_chan_merge_t merge;
  uvf_chan_t *in[INPUTS], *out;
  size_t n;
  int calls, status;
  uint64_t count;
  void (*then)(struct fan_s *fan);
  void *arg;
} fan_t;

static void on_merged(uvf_chan_merge_t *merge, int status) {
  fan_t *fan = (fan_t *)merge;
  fan->calls++;
  fan->status = status == merge->status ? status : -1;
  fan->count = merge->count;
  if (fan->then != NULL) fan->then(fan);
}

static void fan_open(fan_t *fan, size_t n, size_t in, uvf_chan_t *out) {
  memset(fan, 0, sizeof *fan);
  fan->n = n;
  fan->out = out;
  for (size_t i = 0; i < n; i++) fan->in[i] = chan_of(in);
}

static void fan_start(fan_t *fan, uvf_ctx_t *ctx) {
  memset(&fan->merge, 0xa5, sizeof fan->merge);
  fan->merge.data = fan;
  fan->calls = 0;
  fan->status = 1;
  assert_int_equal(uvf_chan_merge(ctx, &fan->merge, fan->n > 0 ? fan->in : NULL, fan->n, fan->out, on_merged), 0);
  assert_int_equal(fan->calls, 0); /* never inside */
  assert_ptr_equal(fan->merge.data, fan);
}

static void fan_close(fan_t *fan) {
  for (size_t i = 0; i < fan->n; i++) uvf_chan_release(fan->in[i]);
  uvf_chan_release(fan->out);
}

/* Item k of input i is i * 1000 + k, from 1. Takes what is in the output; each input's next one is kept in next[]. */
static int drain(fan_t *fan, int *next) {
  void *item;
  int n = 0;
  while (uvf_chan_try_recv(fan->out, &item) == 0) {
    int i = NUMBER(item) / 1000;
    assert_true(i >= 0 && i < (int)fan->n);
    assert_int_equal(NUMBER(item) % 1000, ++next[i]);
    n++;
  }
  return n;
}

static void it_passes_everything_on_each_inputs_items_in_order_until_all_are_closed(void **state) {
  fixture_t *f = *state;
  static const size_t outs[] = {0, 1, 3, 2000};
  for (size_t row = 0; row < ARRAY_SIZE(outs); row++) {
    for (size_t cap = 0; cap < 3; cap++) {
      fan_t fan;
      int next[INPUTS] = {0}, got = 0, put_in[INPUTS] = {0};
      enum { EACH = 150 };
      fan_open(&fan, 5, cap, chan_of(outs[row]));
      fan_start(&fan, f->root);
      for (int spins = 0; got < 5 * EACH && spins < 100000; spins++) {
        for (int i = 0; i < 5; i++) {
          while (put_in[i] < EACH && uvf_chan_try_send(fan.in[i], ITEM(i * 1000 + put_in[i] + 1)) == 0) {
            put_in[i]++;
          }
        }
        run_ready(&f->loop);
        got += drain(&fan, next);
      }
      assert_int_equal(got, 5 * EACH);
      assert_int_equal(fan.calls, 0);
      for (int i = 0; i < 5; i++) {
        assert_int_equal(fan.calls, 0);
        uvf_chan_close(fan.in[i]);
        run_ready(&f->loop);
      }
      run_until(&f->loop, &fan.calls, 1);
      run_ready(&f->loop);
      assert_int_equal(fan.calls, 1);
      assert_int_equal(fan.status, 0);
      assert_int_equal(fan.count, 5 * EACH);
      assert_int_equal(uvf_chan_is_closed(fan.out), 0); /* that is the caller's */
      assert_counters(fan.out, 5 * EACH, 5 * EACH, 0);
      fan_close(&fan);
    }
  }
}

static void inputs_that_were_closed_before_are_drained(void **state) {
  fixture_t *f = *state;
  fan_t fan;
  int next[INPUTS] = {0};
  fan_open(&fan, 3, 100, chan_of(1000));
  for (int i = 0; i < 3; i++) put(fan.in[i], i * 1000 + 1, i * 1000 + 100 * (i > 0));
  for (int i = 0; i < 3; i++) uvf_chan_close(fan.in[i]);
  fan_start(&fan, f->root);
  run_until(&f->loop, &fan.calls, 1);
  assert_int_equal(fan.status, 0);
  assert_int_equal(fan.count, 200);
  assert_int_equal(drain(&fan, next), 200);
  fan_close(&fan);
}

static void without_inputs_it_ends_soon_with_0_or_its_contexts_err(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  for (int row = 0; row < 2; row++) {
    fan_t fan;
    fan_open(&fan, 0, 0, chan_of(1));
    fan_start(&fan, row ? over : f->root);
    run_until(&f->loop, &fan.calls, 1);
    run_ready(&f->loop);
    assert_int_equal(fan.calls, 1);
    assert_int_equal(fan.status, row ? UV_ETIMEDOUT : 0);
    assert_int_equal(fan.count, 0);
    fan_close(&fan);
  }
  uvf_ctx_release(over);
}

static void a_full_output_holds_the_inputs_back(void **state) {
  fixture_t *f = *state;
  fan_t fan;
  int next[INPUTS] = {0};
  fan_open(&fan, 3, 10, chan_of(4));
  for (int i = 0; i < 3; i++) put(fan.in[i], i * 1000 + 1, i * 1000 + 10);
  fan_start(&fan, f->root);
  turn(&f->loop);
  assert_int_equal(uvf_chan_length(fan.out), 4);
  assert_int_equal(chan_stats_of(fan.out).senders, 3); /* one item of each input in its hand */
  for (int i = 0; i < 3; i++) assert_true(uvf_chan_length(fan.in[i]) >= 10 - 4 - 1);
  assert_int_equal(uvf_chan_length(fan.in[0]) + uvf_chan_length(fan.in[1]) + uvf_chan_length(fan.in[2]), 30 - 4 - 3);
  for (int i = 0; i < 3; i++) uvf_chan_close(fan.in[i]);
  for (int spins = 0; fan.calls == 0 && spins < 1000; spins++) {
    drain(&fan, next);
    run_ready(&f->loop);
  }
  assert_int_equal(fan.calls, 1);
  assert_int_equal(fan.status, 0);
  drain(&fan, next);
  for (int i = 0; i < 3; i++) assert_int_equal(next[i], 10);
  fan_close(&fan);
}

static void a_full_input_does_not_starve_the_others_or_the_loop(void **state) {
  fixture_t *f = *state;
  fan_t fan;
  int next[INPUTS] = {0};
  size_t turns = 0;
  fan_open(&fan, 3, 900, chan_of(3000));
  for (int i = 0; i < 3; i++) put(fan.in[i], i * 1000 + 1, i * 1000 + 900);
  fan_start(&fan, f->root);
  while (uvf_chan_length(fan.out) == 0 && turns++ < 100) uv_run(&f->loop, UV_RUN_NOWAIT);
  /* Whenever one looks, no input is far ahead of another. */
  for (int spins = 0; spins < 1000 && uvf_chan_length(fan.out) < 2700; spins++) {
    size_t most = 0, least = 900;
    for (int i = 0; i < 3; i++) {
      size_t left = uvf_chan_length(fan.in[i]);
      if (left > most) most = left;
      if (left < least) least = left;
    }
    assert_true(most - least <= 130); /* two shares */
    uv_run(&f->loop, UV_RUN_NOWAIT);
  }
  assert_int_equal(drain(&fan, next), 2700);
  uvf_chan_merge_cancel(&fan.merge);
  run_until(&f->loop, &fan.calls, 1);
  assert_int_equal(fan.status, UV_ECANCELED);
  fan_close(&fan);
}

static void null_arguments_and_the_output_among_the_inputs_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *in = chan_of(1), *out = chan_of(1);
  uvf_chan_t *ins[2] = {in, NULL};
  uvf_chan_merge_t merge;
  size_t live = test_alloc_live();
  memset(&merge, 0xa5, sizeof merge);
  assert_int_equal(uvf_chan_merge(NULL, &merge, ins, 1, out, on_merged), UV_EINVAL);
  assert_int_equal(uvf_chan_merge(f->root, NULL, ins, 1, out, on_merged), UV_EINVAL);
  assert_int_equal(uvf_chan_merge(f->root, &merge, NULL, 1, out, on_merged), UV_EINVAL);
  assert_int_equal(uvf_chan_merge(f->root, &merge, ins, 1, NULL, on_merged), UV_EINVAL);
  assert_int_equal(uvf_chan_merge(f->root, &merge, ins, 1, out, NULL), UV_EINVAL);
  assert_int_equal(uvf_chan_merge(f->root, &merge, ins, 2, out, on_merged), UV_EINVAL);
  ins[1] = out;
  assert_int_equal(uvf_chan_merge(f->root, &merge, ins, 2, out, on_merged), UV_EINVAL);
  uvf_chan_merge_cancel(NULL);
  assert_waiting(in, 0, 0, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(test_alloc_live(), live);
  uvf_chan_release(in);
  uvf_chan_release(out);
}

/* --- ends --- */

enum { BY_CANCEL, BY_CTX, BY_CTX_FAR, BY_DEADLINE, BY_OUTPUT, ENDS };

static void an_early_end_gives_what_it_has_in_its_hand_to_the_drop_function(void **state) {
  fixture_t *f = *state;
  for (int end = 0; end < ENDS; end++) {
    fan_t fan;
    drops_t drops = {0};
    int next[INPUTS] = {0};
    uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS);
    fan_open(&fan, 3, 10, chan_dropping(2, UVF_CHAN_WAIT, &drops));
    for (int i = 0; i < 3; i++) put(fan.in[i], i * 1000 + 1, i * 1000 + (i < 2 ? 5 : 1));
    fan_start(&fan, ctx);
    turn(&f->loop);
    assert_int_equal(chan_stats_of(fan.out).senders, 3);
    assert_int_equal(drops.n, 0);
    if (end == BY_CANCEL) uvf_chan_merge_cancel(&fan.merge);
    if (end == BY_CANCEL) uvf_chan_merge_cancel(&fan.merge);
    if (end == BY_CTX) uvf_ctx_cancel(ctx);
    if (end == BY_CTX_FAR) on_thread(cancel_ctx, ctx);
    if (end == BY_DEADLINE) expire(ctx);
    if (end == BY_OUTPUT) uvf_chan_close(fan.out);
    assert_int_equal(fan.calls, 0);
    run_until(&f->loop, &fan.calls, 1);
    turn(&f->loop);
    assert_int_equal(fan.calls, 1);
    assert_int_equal(fan.status, end == BY_DEADLINE ? UV_ETIMEDOUT : end == BY_OUTPUT ? UV_EPIPE : UV_ECANCELED);
    assert_int_equal(fan.count, 2);
    assert_int_equal(drops.n, 3);
    /* Output, drop function, and what is left in the inputs are all there is, each input's in this order. */
    assert_int_equal(drain(&fan, next), 2);
    for (int i = 0; i < 3; i++) {
      int from = drops.item[i] / 1000;
      assert_int_equal(drops.item[i] % 1000, ++next[from]);
    }
    for (int i = 0; i < 3; i++) {
      take(fan.in[i], i * 1000 + next[i] + 1, i * 1000 + (i < 2 ? 5 : 1));
      assert_nothing_there(fan.in[i], UV_EAGAIN);
      assert_waiting(fan.in[i], 0, 0, 0);
    }
    assert_waiting(fan.out, 0, 0, 0);
    uvf_ctx_release(ctx);
    fan_close(&fan);
    assert_int_equal(drops.n, 3);
  }
}

static void an_end_while_it_waits_for_items_loses_none(void **state) {
  fixture_t *f = *state;
  for (int end = 0; end < BY_OUTPUT; end++) {
    fan_t fan;
    drops_t drops = {0};
    uvf_ctx_t *ctx = end == BY_DEADLINE ? timeout_of(f->root, 5) : child_of(f->root);
    fan_open(&fan, 3, 1, chan_dropping(1, UVF_CHAN_WAIT, &drops));
    fan_start(&fan, ctx);
    turn(&f->loop);
    for (int i = 0; i < 3 && end != BY_DEADLINE; i++) assert_waiting(fan.in[i], 0, 0, 1);
    if (end == BY_CANCEL) uvf_chan_merge_cancel(&fan.merge);
    if (end == BY_CTX) uvf_ctx_cancel(ctx);
    if (end == BY_CTX_FAR) on_thread(cancel_ctx, ctx);
    if (end != BY_DEADLINE) put(fan.in[1], 1001, 1001); /* too late */
    run_until(&f->loop, &fan.calls, 1);
    assert_int_equal(fan.status, end == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_int_equal(fan.count, 0);
    if (end == BY_CANCEL || end == BY_CTX) take(fan.in[1], 1001, 1001);
    /* From another thread the merge's own context, a child, is over when the loop wakes: by then it has the item. */
    if (end == BY_CTX_FAR) assert_int_equal((size_t)drops.n + uvf_chan_length(fan.in[1]), 1);
    if (end != BY_CTX_FAR) assert_int_equal(drops.n, 0);
    for (int i = 0; i < 3; i++) assert_waiting(fan.in[i], 0, 0, 0);
    uvf_ctx_release(ctx);
    fan_close(&fan);
  }
}

static void an_item_that_reached_it_as_it_was_ended_goes_to_the_drop_function(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  fan_t fan;
  fan_open(&fan, 2, 0, chan_dropping(5, UVF_CHAN_WAIT, &drops));
  fan_start(&fan, f->root);
  turn(&f->loop);
  put(fan.in[0], 1, 1); /* handed over: the sender is done with it */
  uvf_chan_merge_cancel(&fan.merge);
  assert_int_equal(drops.n, 0); /* no function of the user's inside */
  run_until(&f->loop, &fan.calls, 1);
  assert_int_equal(fan.status, UV_ECANCELED);
  assert_int_equal((int)fan.count + drops.n, 1);
  assert_int_equal(uvf_chan_length(fan.out), fan.count);
  if (drops.n == 1) assert_int_equal(drops.item[0], 1);
  fan_close(&fan);
}

static void a_closed_output_ends_it_at_the_next_item(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  fan_t fan;
  fan_open(&fan, 2, 3, chan_dropping(5, UVF_CHAN_WAIT, &drops));
  fan_start(&fan, f->root);
  turn(&f->loop);
  uvf_chan_close(fan.out);
  put(fan.in[1], 1001, 1003);
  run_until(&f->loop, &fan.calls, 1);
  assert_int_equal(fan.status, UV_EPIPE);
  assert_int_equal(fan.count, 0);
  assert_int_equal(drops.n, 1);
  assert_int_equal(drops.item[0], 1001);
  take(fan.in[1], 1002, 1003);
  assert_waiting(fan.in[0], 0, 0, 0);
  fan_close(&fan);
}

static void a_cancel_after_the_last_input_ended_changes_nothing(void **state) {
  fixture_t *f = *state;
  fan_t fan;
  fan_open(&fan, 0, 0, chan_of(0));
  fan_start(&fan, f->root);
  uvf_chan_merge_cancel(&fan.merge);
  run_until(&f->loop, &fan.calls, 1);
  assert_int_equal(fan.status, 0); /* nothing was being read any more */
  uvf_chan_merge_cancel(&fan.merge);
  turn(&f->loop);
  assert_int_equal(fan.calls, 1);
  fan_close(&fan);
}

static void closing_the_root_ends_it(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  fan_t fan;
  fan_open(&fan, 3, 2, chan_dropping(1, UVF_CHAN_WAIT, &drops));
  for (int i = 0; i < 3; i++) put(fan.in[i], i * 1000 + 1, i * 1000 + 2);
  fan_start(&fan, f->root);
  turn(&f->loop);
  fixture_close_root(f);
  assert_int_equal(fan.calls, 1);
  assert_int_equal(fan.status, UV_ECANCELED);
  assert_int_equal(drops.n, 3);
  fan_close(&fan);
}

/* --- memory --- */

static void it_holds_its_channels_and_its_context(void **state) {
  fixture_t *f = *state;
  drops_t drops = {0};
  fan_t fan;
  uvf_ctx_t *ctx = child_of(f->root);
  fan_open(&fan, 3, 4, chan_dropping(1, UVF_CHAN_WAIT, &drops));
  fan_start(&fan, ctx);
  put(fan.in[0], 1, 4);
  uvf_chan_close(fan.in[0]);
  fan_close(&fan); /* ours */
  turn(&f->loop);
  assert_int_equal(fan.calls, 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &fan.calls, 1);
  turn(&f->loop);
  assert_int_equal(fan.status, UV_ECANCELED);
  assert_int_equal(fan.count, 1);
  assert_int_equal(drops.n, 2); /* in the output, and in its hand */
  assert_int_equal(stats_of(f->root).contexts, 1);
  assert_int_equal(stats_of(f->root).ops, 0);
  assert_int_equal(uv_loop_alive(&f->loop), 0);
}

static void free_fan(fan_t *fan) {
  int *freed = fan->arg;
  memset(fan, 0xdb, sizeof *fan);
  free(fan);
  ++*freed;
}

static void its_memory_may_be_freed_in_the_callback(void **state) {
  fixture_t *f = *state;
  int freed = 0;
  for (int row = 0; row < 3; row++) {
    fan_t *fan = malloc(sizeof *fan);
    uvf_chan_t *in[2], *out = chan_of(0);
    assert_non_null(fan);
    fan_open(fan, row == 2 ? 0 : 2, 1, out);
    fan->then = free_fan;
    fan->arg = &freed;
    memcpy(in, fan->in, sizeof in);
    fan_start(fan, f->root);
    if (row == 0) uvf_chan_merge_cancel(&fan->merge);
    for (int i = 0; i < 2 && row == 1; i++) uvf_chan_close(in[i]);
    run_until(&f->loop, &freed, row + 1);
    for (int i = 0; i < 2 && row < 2; i++) uvf_chan_release(in[i]);
    uvf_chan_release(out);
  }
}

static void every_allocation_of_a_start_may_fail(void **state) {
  fixture_t *f = *state;
  for (size_t n = 0; n <= 3; n++) {
    fan_t fan;
    fan_open(&fan, n, 2, chan_of(20));
    for (size_t i = 0; i < n; i++) put(fan.in[i], (int)i * 1000 + 1, (int)i * 1000 + 2);
    for (size_t at = 1;; at++) {
      size_t live = test_alloc_live();
      int rc;
      test_alloc_fail_at(at);
      rc = uvf_chan_merge(f->root, &fan.merge, fan.in, n, fan.out, on_merged);
      if (!test_alloc_failed()) {
        assert_int_equal(rc, 0);
        assert_true(at > 1);
        break;
      }
      assert_int_equal(rc, UV_ENOMEM);
      test_alloc_fail_at(0);
      turn(&f->loop);
      assert_int_equal(fan.calls, 0);
      assert_int_equal(stats_of(f->root).ops, 0);
      assert_int_equal(stats_of(f->root).contexts, 1);
      for (size_t i = 0; i < n; i++) assert_waiting(fan.in[i], 2, 0, 0);
      assert_true(test_alloc_live() <= live + 1); /* a block of contexts may have been kept */
    }
    test_alloc_fail_at(0);
    for (size_t i = 0; i < n; i++) uvf_chan_close(fan.in[i]);
    run_until(&f->loop, &fan.calls, 1);
    assert_int_equal(fan.status, 0);
    assert_int_equal(fan.count, 2 * n);
    fan_close(&fan);
  }
}

/* --- many threads feed it --- */

typedef struct feeder_s {
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  int id, n;
} feeder_t;

static void feed(void *arg) {
  feeder_t *feeder = arg;
  for (int i = 1; i <= feeder->n; i++) {
    if (uvf_chan_send_wait(feeder->ctx, feeder->chan, ITEM(feeder->id * 1000 + i)) != 0) abort();
  }
  uvf_chan_close(feeder->chan);
}

static void on_merged_then_close(uvf_chan_merge_t *merge, int status) {
  fan_t *fan = (fan_t *)merge;
  uvf_chan_close(fan->out);
  on_merged(merge, status);
}

static void threads_feed_it(void **state) {
  fixture_t *f = *state;
  for (size_t cap = 0; cap < 3; cap++) {
    fan_t fan;
    feeder_t feeders[4];
    uv_thread_t threads[4];
    int next[INPUTS] = {0};
    fan_open(&fan, 4, cap, chan_of(2000));
    fan.status = 1;
    assert_int_equal(uvf_chan_merge(f->root, &fan.merge, fan.in, 4, fan.out, on_merged_then_close), 0);
    for (int i = 0; i < 4; i++) {
      feeders[i] = (feeder_t){f->root, fan.in[i], i, 400};
      assert_int_equal(uv_thread_create(&threads[i], feed, &feeders[i]), 0);
    }
    run_until(&f->loop, &fan.calls, 1);
    for (int i = 0; i < 4; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(fan.status, 0);
    assert_int_equal(fan.count, 1600);
    assert_int_equal(drain(&fan, next), 1600);
    for (int i = 0; i < 4; i++) assert_int_equal(next[i], 400);
    assert_nothing_there(fan.out, UV_EOF);
    fan_close(&fan);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(it_passes_everything_on_each_inputs_items_in_order_until_all_are_closed),
      unit(inputs_that_were_closed_before_are_drained),
      unit(without_inputs_it_ends_soon_with_0_or_its_contexts_err),
      unit(a_full_output_holds_the_inputs_back),
      unit(a_full_input_does_not_starve_the_others_or_the_loop),
      unit(null_arguments_and_the_output_among_the_inputs_are_refused),
      unit(an_early_end_gives_what_it_has_in_its_hand_to_the_drop_function),
      unit(an_end_while_it_waits_for_items_loses_none),
      unit(an_item_that_reached_it_as_it_was_ended_goes_to_the_drop_function),
      unit(a_closed_output_ends_it_at_the_next_item),
      unit(a_cancel_after_the_last_input_ended_changes_nothing),
      unit(closing_the_root_ends_it),
      unit(it_holds_its_channels_and_its_context),
      unit(its_memory_may_be_freed_in_the_callback),
      unit(every_allocation_of_a_start_may_fail),
      unit(threads_feed_it),
  };
  return test_run(tests);
}
