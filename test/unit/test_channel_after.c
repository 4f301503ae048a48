/* SPDX-License-Identifier: MIT
 *
 * Channels, at their edges: what a call does after it has let go of the lock, how long it holds it, calls that want
 * nothing, and a merge that is cancelled on the wrong thread.
 */
#include "chan/chan.h"
#include "unit/chan_probe.h"

/* --- after the lock --- */

static uvf_chan_t *held;

static void give_up_the_channel(uvf_op_t *op) {
  (void)op;
  uvf_chan_release(held);
}

static const uvf__op_type_t holder_type = {.name = "holder", .posted = give_up_the_channel};

static void who_is_told_may_have_held_the_channel_for_the_caller(void **state) {
  fixture_t *f = *state;
  drops_t *drops = calloc(1, sizeof *drops);
  uvf__chan_after_t after;
  uvf__waiter_t w;
  uvf_op_t op;
  assert_non_null(drops);
  turn(&f->loop);
  for (int dropping = 0; dropping < 2; dropping++) { /* with a drop function, without one */
    uvf_chan_options_t options = {0, UVF_CHAN_DROP_NEWEST, dropping ? on_drop : NULL, drops};
    assert_int_equal(uvf_chan_create_ex(&options, &held), 0);
    memset(&op, 0, sizeof op);
    op.ctx = f->root;
    op.uvf__type = &holder_type;
    uvf__waiter_init(&w, &op);
    uvf__chan_after_init(&after); /* what a send leaves that met one, and then had to drop */
    uvf__told_add(&after.told, &w);
    after.item = ITEM(5);
    after.drops = 1;
    uvf__chan_after(held, &after);
  }
  assert_int_equal(drops->n, 1);
  assert_int_equal(drops->item[0], 5);
  free(drops);
}

/* --- others in between --- */

#define MANY 4096

static struct {
  uvf_chan_t *chan;
  int calls;
  size_t length; /* when the sender was told */
  int sent;
} seen;

static void look_around(uvf_op_t *op) {
  seen.calls++;
  seen.length = uvf_chan_length(seen.chan);
  seen.sent = uvf_chan_try_send(seen.chan, ITEM(MANY + 2)); /* the lock is free */
  uvf__chan_send_type.posted(op);
}

static void a_large_receive_lets_others_in_between(void **state) {
  fixture_t *f = *state;
  static uvf__op_type_t spy;
  void **items = calloc(MANY, sizeof *items);
  static call_t sender; /* a failed assertion leaves nothing on a dead frame */
  size_t n = 0;
  assert_non_null(items);
  spy = uvf__chan_send_type;
  spy.posted = look_around;
  turn(&f->loop);
  memset(&seen, 0, sizeof seen);
  seen.chan = chan_of(MANY);
  put(seen.chan, 1, MANY);
  send_start(&sender, f->root, seen.chan, ITEM(MANY + 1));
  assert_waiting(seen.chan, MANY, 1, 0);
  sender.req.uvf__type = &spy; /* told as ever, but we look on */
  assert_int_equal(uvf_chan_try_recv_many(seen.chan, items, MANY, &n), 0);
  assert_int_equal(n, MANY);
  for (int i = 0; i < MANY; i++) assert_int_equal(NUMBER(items[i]), i + 1);
  assert_int_equal(seen.calls, 1);
  assert_int_equal(seen.sent, 0);
  assert_true(seen.length >= MANY / 2); /* long before it had all */
  take(seen.chan, MANY + 1, MANY + 2);
  run_until(&f->loop, &sender.calls, 1);
  assert_ended(&sender, 0);
  uvf_chan_release(seen.chan);
  free(items);
}

static void a_large_receive_gets_all_of_it_in_order(void **state) {
  static const size_t counts[] = {1, 1023, 1024, 1025, 2047, 2048, 2049, 3000};
  void **items = calloc(MANY, sizeof *items);
  (void)state;
  assert_non_null(items);
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
    for (int closed = 0; closed < 2; closed++) {
      uvf_chan_t *chan = chan_of(MANY);
      size_t n = 0;
      put(chan, 1, (int)counts[i]);
      if (closed) uvf_chan_close(chan);
      assert_int_equal(uvf_chan_try_recv_many(chan, items, MANY, &n), 0);
      assert_int_equal(n, counts[i]);
      for (size_t j = 0; j < n; j++) assert_int_equal(NUMBER(items[j]), (int)j + 1);
      assert_int_equal(uvf_chan_try_recv_many(chan, items, MANY, &n), closed ? UV_EOF : UV_EAGAIN);
      assert_int_equal(n, 0);
      uvf_chan_release(chan);
    }
  }
  free(items);
}

/* --- calls that want nothing --- */

typedef struct nothing_s {
  uvf_ctx_t *ctx;
  uvf_chan_t *chan;
  int received, sent;
  size_t nreceived, nsent;
} nothing_t;

static void want_nothing(void *arg) {
  nothing_t *none = arg;
  void *item = NULL;
  none->received = uvf_chan_recv_many_wait(none->ctx, none->chan, &item, 0, &none->nreceived);
  none->sent = uvf_chan_send_many_wait(none->ctx, none->chan, &item, 0, &none->nsent);
}

static void who_blocks_for_nothing_gets_nothing_whatever_has_ended(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = child_of(f->root);
  uvf_ctx_cancel(over);
  for (int row = 0; row < 8; row++) {
    nothing_t none = {row & 1 ? over : f->root, chan_of(1), 1, 1, 9, 9};
    if (row & 2) put(none.chan, 1, 1);
    if (row & 4) uvf_chan_close(none.chan);
    on_thread(want_nothing, &none);
    assert_int_equal(none.received, 0);
    assert_int_equal(none.nreceived, 0);
    assert_int_equal(none.sent, 0);
    assert_int_equal(none.nsent, 0);
    assert_int_equal(uvf_chan_length(none.chan), row & 2 ? 1 : 0);
    uvf_chan_release(none.chan);
  }
  uvf_ctx_release(over);
}

/* --- a merge on the wrong thread --- */

static int merge_ends, merge_status;

static void on_merge_end(uvf_chan_merge_t *merge, int status) {
  (void)merge;
  merge_ends++;
  merge_status = status;
}

static char merge_rule[256];

static void cancel_merge(void *merge) { uvf_chan_merge_cancel(merge); }

static void cancel_merge_elsewhere(void *merge) {
  if (test_rules_on()) { /* the jump of the rule stays on this thread */
    const char *rule = test_expect_rule(cancel_merge, merge);
    snprintf(merge_rule, sizeof merge_rule, "%s", rule != NULL ? rule : "");
  } else {
    cancel_merge(merge);
  }
}

static void cancelling_a_merge_on_another_thread_is_misuse_and_changes_nothing(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *in = chan_of(4), *out = chan_of(4);
  static uvf_chan_merge_t merge;
  turn(&f->loop); /* the loop's thread is known */
  merge_ends = 0;
  merge_status = 1;
  merge_rule[0] = '\0';
  assert_int_equal(uvf_chan_merge(f->root, &merge, &in, 1, out, on_merge_end), 0);
  on_thread(cancel_merge_elsewhere, &merge);
  if (test_rules_on()) assert_memory_equal(merge_rule, "uvf_chan_merge_cancel: ", strlen("uvf_chan_merge_cancel: "));
  assert_int_equal(merge.status, 0);
  assert_int_equal(uvf_ctx_err(merge.ctx), 0);
  put(in, 1, 3);
  turn(&f->loop);
  take(out, 1, 3); /* it goes on */
  assert_int_equal(merge_ends, 0);
  uvf_chan_merge_cancel(&merge);
  run_until(&f->loop, &merge_ends, 1);
  assert_int_equal(merge_status, UV_ECANCELED);
  uvf_chan_release(in);
  uvf_chan_release(out);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(who_is_told_may_have_held_the_channel_for_the_caller),
      unit(a_large_receive_lets_others_in_between),
      unit(a_large_receive_gets_all_of_it_in_order),
      unit(who_blocks_for_nothing_gets_nothing_whatever_has_ended),
      unit(cancelling_a_merge_on_another_thread_is_misuse_and_changes_nothing),
  };
  return test_run(tests);
}
