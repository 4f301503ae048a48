/* SPDX-License-Identifier: MIT
 *
 * What the tests of single flight share: a desk that takes notes of the executions that were started, and callers.
 */
#ifndef UVFLOW_TEST_FLIGHT_H
#define UVFLOW_TEST_FLIGHT_H

#include "unit/test_wait.h"

enum { DESK_MAX = 64 };

/* The executions that have started, in order. It is the `arg` of callers. */
typedef struct desk_s {
  int started;
  uvf_flight_call_t *calls[DESK_MAX];
  uv_thread_t thread;                                         /* of the last start */
  void (*then)(struct desk_s *desk, uvf_flight_call_t *call); /* or NULL; runs inside the start */
} desk_t;

static inline void on_start(uvf_flight_call_t *call, void *arg) {
  desk_t *desk = arg;
  desk->thread = uv_thread_self();
  if (desk->started < DESK_MAX) desk->calls[desk->started] = call;
  desk->started++;
  if (desk->then != NULL) desk->then(desk, call);
}

/* A note of a flight: also whether it was shared. */
typedef struct caller_s {
  note_t note;
  int shared;
} caller_t;

static inline void on_result(uvf_wait_t *wait, int status) {
  caller_t *caller = (caller_t *)wait;
  caller->shared = uvf_flight_is_shared(wait);
  on_note(wait, status);
}

static inline void flight_open(uvf_flight_t *flight, uvf_ctx_t *ctx) {
  memset(flight, 0xa5, sizeof *flight);
  assert_int_equal(uvf_flight_init(flight, ctx), 0);
}

static inline int ask_len(caller_t *caller, uvf_ctx_t *ctx, uvf_flight_t *flight, const void *key, size_t len,
                          desk_t *desk) {
  note_init(&caller->note, 0, NULL);
  caller->shared = -1;
  return uvf_flight_do(ctx, &caller->note.wait, flight, key, len, on_start, desk, on_result);
}

static inline void ask(caller_t *caller, uvf_ctx_t *ctx, uvf_flight_t *flight, const char *key, desk_t *desk) {
  assert_int_equal(ask_len(caller, ctx, flight, key, strlen(key), desk), 0);
}

static inline void await_started(fixture_t *f, desk_t *desk, int n) {
  for (int i = 0; i < 1000 && desk->started < n; i++) turn(&f->loop);
  assert_int_equal(desk->started, n);
}

#define assert_answered(caller, wanted_status, wanted_value, wanted_shared)                                            \
  do {                                                                                                                 \
    assert_noted(&(caller)->note, (wanted_status));                                                                    \
    assert_ptr_equal((caller)->note.value, (wanted_value));                                                            \
    assert_int_equal((caller)->shared, (wanted_shared));                                                               \
  } while (0)

/* Results that count how often they were freed. */
typedef struct result_s {
  atomic_int freed;
  int number;
  uv_thread_t thread; /* that freed it */
} result_t;

static inline void free_result(void *value) {
  result_t *result = value;
  result->thread = uv_thread_self();
  atomic_fetch_add(&result->freed, 1);
}

#endif
