/* SPDX-License-Identifier: MIT
 *
 * Thousands of reads with random buffers, limits and ends, by the loop's own hand and by other threads: what they bring
 * in total is exactly what was sent, each byte once and in its place (the reads of stream_probe.h see to that).
 */
#include "unit/stream_probe.h"

enum { CANCELLERS = 2, SLOTS = 4 };

/* --- on one thread --- */

/* How a random read may be told. */
static int status_is_possible(int status) {
  return status == 0 || status == UV_ECANCELED || status == UV_ETIMEDOUT || status == UV_EOF;
}

static void check_read(const rd_t *rd, size_t min) {
  assert_int_equal(rd->t->done, 1);
  assert_true(status_is_possible(rd->t->status));
  if (rd->t->status == 0) assert_true(rd->nread >= min);
  if (rd->limit != 0) assert_int_equal(rd->t->status, UV_ETIMEDOUT);
  assert_in_range(rd->limit, 0, UVF_READ_TOTAL);
}

static uvf_read_limits_t random_limits(uint64_t *seed, size_t len) {
  uvf_read_limits_t limits = {0};
  limits.min = test_rand(seed) % 2 ? 0 : 1 + test_rand(seed) % len;
  if (test_rand(seed) % 8 == 0) limits.idle_ms = 1 + test_rand(seed) % 2;
  if (test_rand(seed) % 8 == 0) limits.total_ms = 1 + test_rand(seed) % 2;
  return limits;
}

static void end_at_random(uint64_t *seed, rd_t *rd, uvf_ctx_t *ctx) {
  switch (test_rand(seed) % 5) {
    case 0: uvf_ctx_cancel(ctx); break;
    case 1: on_thread(scene_cancel, ctx); break;
    case 2: (void)uvf_op_cancel((uvf_op_t *)rd_req(rd)); break;
    default: break;
  }
}

static void read_at_random(uint64_t *seed, wire_t *w) {
  size_t len = 1 + test_rand(seed) % (test_rand(seed) % 4 ? 100 : 20000);
  uvf_read_limits_t limits = random_limits(seed, len);
  uvf_ctx_t *ctx = test_rand(seed) % 8 ? child_of(io.f->root) : timeout_of(io.f->root, test_rand(seed) % 3);
  rd_t *rd = rd_begin(w, ctx, len, &limits);
  rd->t->keep = 1;
  for (size_t steps = test_rand(seed) % 6; steps > 0; steps--) {
    switch (test_rand(seed) % 4) {
      case 0: wire_send(w, 1 + test_rand(seed) % 200); break;
      case 1:
        if (steps == 1) end_at_random(seed, rd, ctx);
        break;
      default: uv_run(&io.f->loop, UV_RUN_NOWAIT); break;
    }
  }
  while (rd->t->done == 0) {
    if (w->sent - w->taken < len) wire_send(w, 1 + test_rand(seed) % 2000);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  check_read(rd, limits.min);
  uvf_ctx_release(ctx);
  rd_free(rd);
}

static void whatever_ends_them_reads_bring_each_byte_once(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (medium_t medium = 0; medium < MEDIA; medium++) {
    wire_t w;
    wire_open(&w, medium);
    for (size_t i = test_scaled(2500, 10); i > 0; i--) read_at_random(&seed, &w);
    while (w.taken < w.sent) wire_take(&w, w.sent - w.taken);
    wire_close(&w);
  }
}

/* --- with a sender and cancellers beside the loop --- */

typedef struct crowd_of_ends_s {
  _Atomic(uvf_ctx_t *) slots[SLOTS]; /* each with a reference of its own */
  atomic_int stop;
  wire_t *wire; /* its other end: the sender's alone */
  size_t total;
  uint64_t seeds[CANCELLERS + 1];
  atomic_int next_seed;
} crowd_of_ends_t;

static void cancel_beside(void *arg) {
  crowd_of_ends_t *crowd = arg;
  uint64_t seed = crowd->seeds[atomic_fetch_add(&crowd->next_seed, 1)];
  while (!atomic_load(&crowd->stop)) {
    uvf_ctx_t *ctx = atomic_exchange(&crowd->slots[test_rand(&seed) % SLOTS], NULL);
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (ctx == NULL && test_rand(&seed) % 8 == 0) uv_sleep(0);
  }
}

static void send_beside(void *arg) {
  crowd_of_ends_t *crowd = arg;
  uint64_t seed = crowd->seeds[CANCELLERS];
  while (crowd->wire->sent < crowd->total) {
    size_t n = 1 + test_rand(&seed) % (test_rand(&seed) % 16 ? 300 : 9000);
    size_t left = crowd->total - crowd->wire->sent;
    if (wire_send(crowd->wire, n < left ? n : left) == 0) uv_sleep(1);
  }
}

/* Reads once; a canceller may have its context any moment. Returns whether the stream is at its end. */
static int read_beside(crowd_of_ends_t *crowd, uint64_t *seed) {
  size_t len = 1 + test_rand(seed) % 3000;
  uvf_read_limits_t limits = random_limits(seed, len);
  uvf_ctx_t *ctx = child_of(io.f->root);
  rd_t *rd = rd_begin(crowd->wire, ctx, len, &limits);
  int at_end;
  uvf_ctx_release(atomic_exchange(&crowd->slots[test_rand(seed) % SLOTS], uvf_ctx_retain(ctx)));
  run_tally(rd->t);
  check_read(rd, limits.min);
  at_end = rd->t->status == UV_EOF;
  uvf_ctx_release(ctx);
  rd_free(rd);
  return at_end;
}

static void with_threads_that_cancel_and_send_each_byte_comes_once(void **state) {
  uint64_t seed = test_seed();
  uv_thread_t cancellers[CANCELLERS], sender;
  crowd_of_ends_t crowd = {.wire = NULL};
  wire_t w;
  (void)state;
  wire_open(&w, LOCAL);
  crowd.wire = &w;
  crowd.total = test_scaled(8000000, 20);
  for (int i = 0; i <= CANCELLERS; i++) crowd.seeds[i] = test_rand(&seed) | 1;
  for (int i = 0; i < CANCELLERS; i++) assert_int_equal(uv_thread_create(&cancellers[i], cancel_beside, &crowd), 0);
  assert_int_equal(uv_thread_create(&sender, send_beside, &crowd), 0);
  while (w.taken < crowd.total) assert_false(read_beside(&crowd, &seed));
  assert_int_equal(uv_thread_join(&sender), 0);
  wire_hang_up(&w);
  while (!read_beside(&crowd, &seed)) {}
  atomic_store(&crowd.stop, 1);
  for (int i = 0; i < CANCELLERS; i++) assert_int_equal(uv_thread_join(&cancellers[i]), 0);
  for (int i = 0; i < SLOTS; i++) uvf_ctx_release(atomic_exchange(&crowd.slots[i], NULL));
  assert_int_equal(w.taken, crowd.total);
  wire_close(&w);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(whatever_ends_them_reads_bring_each_byte_once),
      unit_io(with_threads_that_cancel_and_send_each_byte_comes_once),
  };
  stream_main();
  return test_run(tests);
}
