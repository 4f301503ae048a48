/* SPDX-License-Identifier: MIT
 *
 * The blocking side of the conservation soak: threads without a loop, each of which now sends, now receives, selects,
 * cancels contexts, closes and replaces channels.
 */
#ifndef UVFLOW_SOAK_CONSERVE_THREAD_H
#define UVFLOW_SOAK_CONSERVE_THREAD_H

#include "conserve_world.h"

enum { ROUNDS = 16 };

static atomic_int threads_end;

static int send_one_wait(source_t *s, uvf_ctx_t *ctx, box_t *box) {
  void *item;
  int err;
  if (!item_take(s, &item)) return UV_EAGAIN;
  err = uvf_chan_send_wait(ctx, box->chan, item);
  settle_sends(s, &item, 1, err == 0);
  ended(s, err, UV_EPIPE, 0);
  return err;
}

static int send_many_wait(source_t *s, uvf_ctx_t *ctx, box_t *box) {
  void *items[MANY];
  size_t n = items_take(s, items, 1 + below(&s->dice, box_room(box))), sent = n + 1;
  int err;
  if (n == 0) return UV_EAGAIN;
  err = uvf_chan_send_many_wait(ctx, box->chan, items, n, &sent);
  HOLDS_FOR((err == 0) == (sent == n), sent);
  settle_sends(s, items, n, sent);
  ended(s, err, UV_EPIPE, 0);
  return err;
}

static int receive_one_wait(source_t *s, uvf_ctx_t *ctx, box_t *box) {
  void *item = &ledger;
  int err = uvf_chan_recv_wait(ctx, box->chan, &item);
  if (err == 0) items_got(s, &item, 1);
  HOLDS(err == 0 || item == &ledger);
  ended(s, err, UV_EOF, 0);
  return err;
}

static int receive_many_wait(source_t *s, uvf_ctx_t *ctx, box_t *box) {
  void *items[MANY];
  size_t n = MANY + 1, max = 1 + below(&s->dice, MANY);
  int err = uvf_chan_recv_many_wait(ctx, box->chan, items, max, &n);
  HOLDS_FOR(err == 0 ? n >= 1 && n <= max : n == 0, n);
  items_got(s, items, n);
  ended(s, err, UV_EOF, 0);
  return err;
}

static int select_one_wait(source_t *s, uvf_ctx_t *ctx) {
  choice_t choice;
  size_t index = CASES + 1;
  int err;
  choice_make(s, &choice);
  err = uvf_select_wait(ctx, choice.cases, choice.n, &index);
  choice_settle(s, &choice, err, index);
  ended(s, err, err == UV_EPIPE ? UV_EPIPE : UV_EOF, 0);
  return err;
}

/* One kind of thing on one channel under one context, until it fails or has been done often enough. */
static void one_episode(source_t *s) {
  uvf_ctx_t *ctx = ctx_get(&s->dice, below(&s->dice, CREWS));
  box_t *box = box_get(below(&s->dice, SLOTS));
  size_t what = below(&s->dice, 8), rounds = 1 + below(&s->dice, ROUNDS);
  int err = 0;
  for (size_t i = 0; i < rounds && err == 0; i++) {
    if (what < 3 && box_drops(s, box)) break;
    switch (what) {
      case 0: err = try_sends(s, box); break;
      case 1: err = send_one_wait(s, ctx, box); break;
      case 2: err = send_many_wait(s, ctx, box); break;
      case 3: err = select_one_wait(s, ctx); break;
      case 4: err = try_recvs(s, box); break;
      case 5: err = receive_one_wait(s, ctx, box); break;
      case 6: err = receive_many_wait(s, ctx, box); break;
      default: try_something(s); break;
    }
  }
  box_put(box);
  uvf_ctx_release(ctx);
}

static void thread_main(void *arg) {
  source_t *s = arg;
  while (!atomic_load(&threads_end)) {
    if (one_in(&s->dice, 64)) ctx_cancel_one(&s->dice);
    if (one_in(&s->dice, 256)) box_replace(s, below(&s->dice, SLOTS));
    if (one_in(&s->dice, 2048)) box_close(s, below(&s->dice, SLOTS));
    one_episode(s);
  }
}

static uv_thread_t threads[THREADS];

static void threads_start(void) {
  atomic_store(&threads_end, 0);
  for (size_t i = 0; i < THREADS; i++) {
    assert_int_equal(uv_thread_create(&threads[i], thread_main, &sources[CREWS + i]), 0);
  }
}

static void threads_join(void) {
  atomic_store(&threads_end, 1);
  for (size_t i = 0; i < THREADS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
}

#endif
