/* SPDX-License-Identifier: MIT
 *
 * io.h: ten thousand writes pending on one stream: how much of each has gone when they are ended together, by halves, or
 * by a close, is exact for every one, however far their running count has got.
 */
#include "unit/stream_probe.h"

#define FIRST_LEN ((size_t)1 << 20) /* more than a local socket takes at once: it is pending, and all others behind */
#define HALVES 2

typedef struct many_s {
  wire_t wire;
  uvf_ctx_t *ctx[HALVES];
  wr_t **writes;
  size_t n, gone;
} many_t;

static uvf_ctx_t *ctx_of(const many_t *m, size_t i) { return m->ctx[i % HALVES]; }

static size_t clamp(size_t n, size_t most) { return n < most ? n : most; }

/* Of this one, when `gone` bytes have left the stream. */
static size_t part_of(const wr_t *wr, size_t gone) { return gone > wr->place ? clamp(gone - wr->place, wr->len) : 0; }

static void many_begin(many_t *m, size_t count_from) {
  uint64_t seed = test_seed();
  memset(m, 0, sizeof *m);
  m->n = test_scaled(10000, 10);
  m->writes = calloc(m->n, sizeof(wr_t *));
  assert_non_null(m->writes);
  wire_open(&m->wire, LOCAL);
  for (size_t i = 0; i < HALVES; i++) m->ctx[i] = child_of(io.f->root);
  for (size_t i = 0; i < m->n; i++) {
    size_t len = i == 0 ? FIRST_LEN : 1 + test_rand(&seed) % 500;
    m->writes[i] = wr_begin(&m->wire, ctx_of(m, i), len, 1 + (unsigned int)(test_rand(&seed) % clamp(len, 18)), 1);
    if (i == 0) wr_req(m->writes[0])->uvf__end += count_from; /* all others count on from it */
  }
  assert_int_equal(m->writes[0]->t->done, 0);
}

/* The other end reads until about `much` has come; the system's buffer is full again afterwards. */
static void many_drain(many_t *m, size_t much) {
  while (m->wire.received < much) {
    wire_drain(&m->wire);
    uv_run(&io.f->loop, UV_RUN_NOWAIT);
  }
  do { /* libuv writes a few at a turn */
    m->gone = m->wire.given - uv_stream_get_write_queue_size(m->wire.stream);
    turn(&io.f->loop);
  } while (m->gone != m->wire.given - uv_stream_get_write_queue_size(m->wire.stream));
  assert_in_range(m->gone, 1, m->wire.given - 1);
}

/* Those of this half (HALVES: all) that were not through are told what has gone of them. */
static void assert_told(const many_t *m, size_t half) {
  size_t cut = 0, untouched = 0;
  for (size_t i = 0; i < m->n; i++) {
    const wr_t *wr = m->writes[i];
    size_t part = part_of(wr, m->gone);
    if (half < HALVES && i % HALVES != half) continue;
    if (wr->t->done != 1 || wr->in_done != part || wr->t->status != (part == wr->len ? 0 : UV_ECANCELED))
      fail_msg("write %zu: done %d, status %d, nwritten %zu, not %zu", i, wr->t->done, wr->t->status, wr->in_done,
               part);
    cut += part > 0 && part < wr->len;
    untouched += part == 0;
  }
  assert_true(cut <= 1);
  assert_true(untouched > m->n / 8);
}

static void many_end(many_t *m, int all_of_it) {
  size_t sum = 0;
  wire_close_stream(&m->wire);
  turn(&io.f->loop);
  for (size_t i = 0; i < m->n; i++) {
    wr_t *wr = m->writes[i];
    size_t part = part_of(wr, m->gone);
    if (wr->t->released != 1 || wr->in_release != (all_of_it ? wr->len : part))
      fail_msg("write %zu: released %d, nwritten %zu of %zu, %zu gone", i, wr->t->released, wr->in_release, wr->len,
               part);
    sum += wr->in_release;
    wr_free(wr);
  }
  wire_drain_all(&m->wire);
  assert_int_equal(m->wire.received, sum); /* in their order: the wire has looked */
  wire_close(&m->wire);
  for (size_t i = 0; i < HALVES; i++) uvf_ctx_release(m->ctx[i]);
  free(m->writes);
}

static const size_t counts[] = {0, SIZE_MAX - FIRST_LEN - 100000}; /* the second wraps among them */

static void cancelled_together_each_knows_what_has_gone_of_it(void **state) {
  (void)state;
  for (size_t i = 0; i < 2 * ARRAY_SIZE(counts); i++) {
    many_t m;
    many_begin(&m, counts[i / 2]);
    many_drain(&m, i % 2 ? FIRST_LEN / 2 : m.wire.given / 2); /* the first is cut, or one in the middle */
    for (size_t k = 0; k < HALVES; k++) uvf_ctx_cancel(m.ctx[k]);
    turn(&io.f->loop);
    assert_told(&m, HALVES);
    many_end(&m, 0);
  }
}

static void closed_with_their_stream_each_knows_what_has_gone_of_it(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
    many_t m;
    many_begin(&m, counts[i]);
    many_drain(&m, m.wire.given / 2);
    wire_close_stream(&m.wire);
    turn(&io.f->loop);
    assert_told(&m, HALVES);
    many_end(&m, 0);
  }
}

static void cancelled_by_halves_they_are_sent_all_the_same_and_say_so_in_the_end(void **state) {
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
    many_t m;
    many_begin(&m, counts[i]);
    many_drain(&m, m.wire.given / 3);
    uvf_ctx_cancel(m.ctx[1]);
    turn(&io.f->loop);
    assert_told(&m, 1);
    many_drain(&m, m.wire.given / 2);
    uvf_ctx_cancel(m.ctx[0]);
    turn(&io.f->loop);
    assert_told(&m, 0);
    while (uv_stream_get_write_queue_size(m.wire.stream) > 0) {
      wire_drain(&m.wire);
      uv_run(&io.f->loop, UV_RUN_NOWAIT);
    }
    turn(&io.f->loop);
    many_end(&m, 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(cancelled_together_each_knows_what_has_gone_of_it),
      unit_io(closed_with_their_stream_each_knows_what_has_gone_of_it),
      unit_io(cancelled_by_halves_they_are_sent_all_the_same_and_say_so_in_the_end),
  };
  stream_main();
  return test_run(tests);
}
