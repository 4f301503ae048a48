/* SPDX-License-Identifier: MIT
 *
 * Thousands of random writes, many queued at a time, ended at random by the loop's own hand and by other threads: the
 * other end reads the bytes of those that were begun, all of them and in their order; or, when the stream is closed in
 * the middle, exactly as many as the writes have counted.
 */
#include "unit/stream_probe.h"

enum { PENDING = 8, SLOTS = 4, CANCELLERS = 2 };

static _Atomic(uvf_ctx_t *) slots[SLOTS]; /* each with a reference of its own */
static atomic_int stop;

static void cancel_beside(void *arg) {
  uint64_t seed = (uint64_t)(uintptr_t)arg | 1;
  while (!atomic_load(&stop)) {
    uvf_ctx_t *ctx = atomic_exchange(&slots[test_rand(&seed) % SLOTS], NULL);
    uvf_ctx_cancel(ctx);
    uvf_ctx_release(ctx);
    if (ctx == NULL) uv_sleep(0);
  }
}

typedef struct model_s {
  wire_t wire;
  wr_t *writes[PENDING];
  uvf_ctx_t *ctxs[PENDING];
  size_t counted; /* nwritten of those that are over */
} model_t;

static int is_over(const wr_t *wr) { return wr->t->has_release ? wr->t->released : wr->t->done; }

static void reap(model_t *m, size_t i) {
  wr_t *wr = m->writes[i];
  assert_true(wr->t->status == 0 || wr->t->status == UV_ECANCELED || wr->t->status == UV_ETIMEDOUT);
  m->counted += wr->in_release;
  uvf_ctx_release(m->ctxs[i]);
  wr_free(wr);
  m->writes[i] = NULL;
}

static void begin(model_t *m, uint64_t *seed, size_t i) {
  size_t len = 1 + test_rand(seed) % (test_rand(seed) % 8 ? 3000 : 400000);
  unsigned int pieces = 1 + (unsigned int)(test_rand(seed) % 20);
  m->ctxs[i] = test_rand(seed) % 8 ? child_of(io.f->root) : timeout_of(io.f->root, 1);
  m->writes[i] = wr_begin(&m->wire, m->ctxs[i], len, pieces, test_rand(seed) % 4 != 0);
  uvf_ctx_release(atomic_exchange(&slots[test_rand(seed) % SLOTS], uvf_ctx_retain(m->ctxs[i])));
}

static void step(model_t *m, uint64_t *seed) {
  size_t i = test_rand(seed) % PENDING;
  if (m->writes[i] == NULL) {
    begin(m, seed, i);
  } else if (is_over(m->writes[i])) {
    reap(m, i);
  } else if (test_rand(seed) % 4 == 0) {
    (void)uvf_op_cancel((uvf_op_t *)wr_req(m->writes[i]));
  }
  if (test_rand(seed) % 3 == 0) uv_run(&io.f->loop, UV_RUN_NOWAIT);
  if (test_rand(seed) % 5 == 0) wire_drain(&m->wire);
}

static void finish(model_t *m, int closes) {
  if (closes) wire_close_stream(&m->wire);
  for (size_t i = 0; i < PENDING; i++) {
    while (m->writes[i] != NULL && !is_over(m->writes[i])) {
      if (!closes) wire_drain(&m->wire);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
    }
    if (m->writes[i] != NULL) reap(m, i);
  }
  wire_close_stream(&m->wire);
  wire_drain_all(&m->wire);
  assert_int_equal(m->wire.received, m->counted);
  if (!closes) assert_int_equal(m->wire.received, m->wire.given);
  wire_close(&m->wire);
}

static void whatever_ends_them_writes_keep_their_order_and_count_their_bytes(void **state) {
  uint64_t seed = test_seed();
  uv_thread_t threads[CANCELLERS];
  (void)state;
  atomic_store(&stop, 0);
  for (int i = 0; i < CANCELLERS; i++)
    assert_int_equal(uv_thread_create(&threads[i], cancel_beside, (void *)(uintptr_t)test_rand(&seed)), 0);
  for (size_t round = 0; round < 9; round++) {
    model_t m = {0};
    wire_open(&m.wire, round % MEDIA);
    for (size_t i = test_scaled(900, 10); i > 0; i--) step(&m, &seed);
    finish(&m, (int)(round % 2));
  }
  atomic_store(&stop, 1);
  for (int i = 0; i < CANCELLERS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  for (int i = 0; i < SLOTS; i++) uvf_ctx_release(atomic_exchange(&slots[i], NULL));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(whatever_ends_them_writes_keep_their_order_and_count_their_bytes),
  };
  stream_main();
  return test_run(tests);
}
