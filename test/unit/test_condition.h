/* SPDX-License-Identifier: MIT
 *
 * What the tests of the condition share: one with its mutex, and waits of requests and threads.
 */
#ifndef UVFLOW_TEST_CONDITION_H
#define UVFLOW_TEST_CONDITION_H

#include "unit/test_sync.h"

typedef struct pair_s {
  uvf_mutex_t mutex;
  uvf_cond_t cond;
} pair_t;

static inline pair_t *pair_new(void) {
  pair_t *p = malloc(sizeof *p);
  assert_non_null(p);
  memset(p, 0xdb, sizeof *p);
  assert_int_equal(uvf_mutex_init(&p->mutex), 0);
  assert_int_equal(uvf_cond_init(&p->cond, &p->mutex), 0);
  return p;
}

static inline void pair_free(pair_t *p) {
  assert_int_equal(uvf_cond_signal(&p->cond), 0); /* nobody is left to take it */
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  assert_int_equal(uvf_cond_destroy(&p->cond), 0);
  assert_int_equal(uvf_mutex_destroy(&p->mutex), 0);
  free(p);
}

static inline size_t queued(void *o) {
  pair_t *p = o;
  return queue_length(&p->cond.uvf__lock, &p->cond.uvf__waits);
}

static inline size_t mutex_queued(void *o) {
  pair_t *p = o;
  return queue_length(&p->mutex.uvf__sem.uvf__lock, &p->mutex.uvf__sem.uvf__waits);
}

/* Locks, and waits. */
static inline void wait_start(note_t *note, int id, journal_t *journal, uvf_ctx_t *ctx, pair_t *p) {
  note_init(note, id, journal);
  assert_int_equal(uvf_mutex_try_lock(&p->mutex), 0);
  assert_int_equal(uvf_cond_wait(ctx, &note->wait, &p->cond, on_note), 0);
  assert_int_equal(note->calls, 0);
}

static inline int lock_and_wait(uvf_ctx_t *ctx, void *o) {
  pair_t *p = o;
  int rc = uvf_mutex_lock_wait(ctx, &p->mutex);
  if (rc == 0) rc = uvf_cond_wait_wait(ctx, &p->cond);
  return rc;
}

static inline int is_free(pair_t *p) {
  int rc = uvf_mutex_try_lock(&p->mutex);
  if (rc == 0) assert_int_equal(uvf_mutex_unlock(&p->mutex), 0);
  return rc == 0;
}

static inline void wait_blocked(blocker_t *b, uvf_ctx_t *ctx, pair_t *p) {
  memset(b, 0, sizeof *b);
  b->ctx = ctx;
  b->object = p;
  b->block = lock_and_wait;
  assert_int_equal(uv_thread_create(&b->thread, blocker_main, b), 0);
}

static inline void unlock(pair_t *p) { assert_int_equal(uvf_mutex_unlock(&p->mutex), 0); }

#endif
