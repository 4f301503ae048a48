/* SPDX-License-Identifier: MIT
 *
 * What the tests of the limiter share: a clock that stands still, and waits for tokens that take notes.
 */
#ifndef UVFLOW_TEST_LIMITER_PROBE_H
#define UVFLOW_TEST_LIMITER_PROBE_H

#include "unit/test_wait.h"

/* --- a clock that only goes when it is told to --- */

static _Atomic(uint64_t) stopped_ns;

static inline uint64_t stopped_clock(void) { return atomic_load(&stopped_ns); }
static inline void go(uint64_t ns) { atomic_fetch_add(&stopped_ns, ns); }
static inline void go_ms(uint64_t ms) { go(ms * MS_NS); }

/* Before the loop has a root, and until it has none: its wheels know no other time. It is behind libuv's clock, so the
 * loop's timer looks at it every ms. */
static inline int stopped_setup(void **state) {
  atomic_store(&stopped_ns, UINT64_C(1000000000));
  uvf__clock_ns = stopped_clock;
  return fixture_setup(state);
}

static inline int stopped_teardown(void **state) {
  int rc = fixture_teardown(state);
  uvf__clock_ns = uv_hrtime;
  return rc;
}

#define stopped(f) cmocka_unit_test_setup_teardown(f, stopped_setup, stopped_teardown)

/* --- a wait that takes notes --- */

typedef struct toll_s {
  uvf_limiter_wait_t wait;
  int id;
  int calls;
  int status;
  uint64_t at; /* uv_hrtime of the call */
  journal_t *journal;
  void (*then)(struct toll_s *toll);
  void *arg;
} toll_t;

static inline void on_toll(uvf_limiter_wait_t *wait, int status) {
  toll_t *toll = (toll_t *)wait;
  toll->at = uv_hrtime();
  toll->calls++;
  toll->status = wait->status == status ? status : UV_EPROTO;
  if (toll->journal != NULL) journal_add(toll->journal, toll->id);
  if (toll->then != NULL) toll->then(toll);
}

static inline void toll_init(toll_t *toll, int id, journal_t *journal) {
  memset(toll, 0, sizeof *toll);
  memset(&toll->wait, 0xa5, sizeof toll->wait); /* a start reads none of it */
  toll->id = id;
  toll->status = NOT_YET;
  toll->journal = journal;
}

static inline uvf_op_t *toll_op(toll_t *toll) { return (uvf_op_t *)(void *)&toll->wait; }

static inline void toll_start(toll_t *toll, uvf_ctx_t *ctx, uvf_limiter_t *limiter, double n, int id,
                              journal_t *journal) {
  toll_init(toll, id, journal);
  assert_int_equal(uvf_limiter_wait(ctx, &toll->wait, limiter, n, on_toll), 0);
  assert_int_equal(toll->calls, 0); /* never inside */
}

#define assert_toll(toll, wanted)                                                                                      \
  do {                                                                                                                 \
    assert_int_equal((toll)->calls, 1);                                                                                \
    assert_int_equal((toll)->status, (wanted));                                                                        \
  } while (0)

/* On the heap, so that a sanitizer sees who touches it afterwards; empty. */
static inline uvf_limiter_t *limiter_of(double rate_per_s, double burst) {
  uvf_limiter_t *limiter = malloc(sizeof *limiter);
  assert_non_null(limiter);
  memset(limiter, 0xdb, sizeof *limiter);
  assert_int_equal(uvf_limiter_init(limiter, rate_per_s, burst), 0);
  assert_int_equal(uvf_limiter_try(limiter, burst), 0);
  return limiter;
}

static inline void limiter_free(uvf_limiter_t *limiter) {
  assert_int_equal(uvf_limiter_destroy(limiter), 0);
  memset(limiter, 0xdb, sizeof *limiter);
  free(limiter);
}

static inline size_t waiting(uvf_limiter_t *limiter) {
  size_t n = 0;
  uvf__lock(&limiter->uvf__lock);
  for (const uvf__waiter_t *w = limiter->uvf__waits.first; w != NULL; w = w->next) n++;
  uvf__unlock(&limiter->uvf__lock);
  return n;
}

static inline void await_waiting(uvf_limiter_t *limiter, size_t n) {
  uint64_t end_ns = uv_hrtime() + 20000 * MS_NS;
  while (waiting(limiter) != n && uv_hrtime() < end_ns) uv_sleep(0);
  assert_int_equal(waiting(limiter), n);
}

/* Doubles that must be the same to the last bit. */
#define assert_tokens(limiter, wanted)                                                                                 \
  do {                                                                                                                 \
    double tokens_ = uvf_limiter_tokens(limiter);                                                                      \
    if (tokens_ != (wanted)) fail_msg("%.17g tokens, wanted %.17g", tokens_, (double)(wanted));                        \
  } while (0)

/* What the loop's timer does, by the clock of now: rings who is due. Then the loop turns. */
static inline void ring(fixture_t *f) {
  uvf__hub_run_deadlines(uvf__ctx_hub(f->root));
  turn(&f->loop);
}

/* --- what other threads do --- */

static inline void limiter_cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

static inline void token_back(void *limiter) {
  if (uvf_limiter_unreserve(limiter, 1) != 0) abort();
}

static inline int block_for_one(uvf_ctx_t *ctx, void *limiter) { return uvf_limiter_wait_wait(ctx, limiter, 1); }

#endif
