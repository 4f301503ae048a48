/* SPDX-License-Identifier: MIT
 *
 * What the tests of semaphore, mutex, rwlock and condition share: requests that take notes, blocked threads, everybody
 * who may claim a wait, and misuse. `lock` is what a program tests, where that is something that one at a time can
 * hold.
 */
#ifndef UVFLOW_TEST_SYNC_H
#define UVFLOW_TEST_SYNC_H

#include <stdatomic.h>

#include "kernel/context.h"
#include "kernel/wait.h"
#include "unit/probe.h"

/* Each program sets it: what is under test. */
typedef struct lock_s {
  const char *name; /* the middle of its functions' names */
  size_t size;
  int (*init)(void *object);
  int (*destroy)(void *object);
  int (*start)(uvf_ctx_t *ctx, uvf_wait_t *wait, void *object, uvf_wait_cb cb);
  int (*block)(uvf_ctx_t *ctx, void *object);
  int (*attempt)(void *object);
  int (*release)(void *object);
  size_t (*queued)(void *object);
} lock_t;

static const lock_t *lock;

/* --- objects --- */

/* On the heap, so that a sanitizer sees who touches it afterwards. */
static inline void *object_new(void) {
  void *object = malloc(lock->size);
  assert_non_null(object);
  memset(object, 0xdb, lock->size);
  assert_int_equal(lock->init(object), 0);
  return object;
}

static inline void object_free(void *object) {
  assert_int_equal(lock->attempt(object), 0); /* nothing was lost, nobody is left */
  assert_int_equal(lock->release(object), 0);
  assert_int_equal(lock->destroy(object), 0);
  free(object);
}

static inline size_t queue_length(uint32_t *word, const uvf__queue_t *queue) {
  size_t n = 0;
  uvf__lock(word);
  for (const uvf__waiter_t *w = queue->first; w != NULL; w = w->next) n++;
  uvf__unlock(word);
  return n;
}

/* Until n wait in it; blocked threads come there in their own time. */
static inline void await_queued(size_t (*queued)(void *object), void *object, size_t n) {
  uint64_t limit = uv_hrtime() + 20000 * MS_NS;
  while (queued(object) != n && uv_hrtime() < limit) uv_sleep(0);
  assert_int_equal(queued(object), n);
}

/* --- requests that take notes --- */

typedef struct note_s {
  uvf_wait_t wait;
  int id;
  int calls;
  int status;
  journal_t *journal;                /* or NULL */
  void (*then)(struct note_s *note); /* or NULL; inside the callback */
  void *arg;
} note_t;

static inline void on_note(uvf_wait_t *wait, int status) {
  note_t *note = (note_t *)wait;
  note->calls++;
  note->status = status;
  if (wait->status != status) note->status = UV_EPROTO;
  if (note->journal != NULL) journal_add(note->journal, note->id);
  if (note->then != NULL) note->then(note);
}

static inline void note_init(note_t *note, int id, journal_t *journal) {
  memset(note, 0, sizeof *note);
  memset(&note->wait, 0xff, sizeof note->wait); /* a start reads none of it */
  note->id = id;
  note->status = 1;
  note->journal = journal;
}

static inline uvf_op_t *note_op(note_t *note) { return (uvf_op_t *)(void *)&note->wait; }

static inline void note_start(note_t *note, uvf_ctx_t *ctx, void *object) {
  assert_int_equal(lock->start(ctx, &note->wait, object, on_note), 0);
  assert_int_equal(note->calls, 0); /* never inside */
}

#define assert_told(note, wanted)                                                                                      \
  do {                                                                                                                 \
    assert_int_equal((note)->calls, 1);                                                                                \
    assert_int_equal((note)->status, (wanted));                                                                        \
  } while (0)

/* --- blocked threads --- */

typedef struct blocker_s {
  uv_thread_t thread;
  uvf_ctx_t *ctx; /* a reference of the test's */
  void *object;
  int (*block)(uvf_ctx_t *ctx, void *object);
  int id;
  int status;
  uint64_t took_ns;
  journal_t *journal; /* written while it is held; then it is released */
} blocker_t;

static inline void blocker_main(void *arg) {
  blocker_t *b = arg;
  uint64_t begin = uv_hrtime();
  b->status = b->block(b->ctx, b->object);
  b->took_ns = uv_hrtime() - begin;
  if (b->status != 0 || b->journal == NULL) return;
  journal_add(b->journal, b->id);
  if (lock->release(b->object) != 0) b->status = UV_EPROTO;
}

static inline void blocker_start(blocker_t *b, uvf_ctx_t *ctx, void *object, int id, journal_t *journal) {
  memset(b, 0, sizeof *b);
  b->ctx = ctx;
  b->object = object;
  b->block = lock->block;
  b->id = id;
  b->journal = journal;
  b->status = 1;
  assert_int_equal(uv_thread_create(&b->thread, blocker_main, b), 0);
}

static inline int blocker_join(blocker_t *b) {
  assert_int_equal(uv_thread_join(&b->thread), 0);
  return b->status;
}

static inline void cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

/* --- who claims it --- */

enum { BY_RELEASE, BY_CANCEL, BY_CONTEXT, BY_OTHER_THREAD, BY_DEADLINE, BY_CLOSE, WAYS };

static inline int status_by(int way) {
  return way == BY_RELEASE ? 0 : way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED;
}

/* --- misuse --- */

typedef struct misuse_s {
  void *object;
  uvf_ctx_t *ctx;
  note_t *note;
  int (*call)(void *object);
  int rc;
} misuse_t;

static inline void misuse_call(void *arg) {
  misuse_t *m = arg;
  m->rc = m->call(m->object);
}

static inline void misuse_start(void *arg) {
  misuse_t *m = arg;
  m->rc = lock->start(m->ctx, &m->note->wait, m->object, on_note);
}

static inline void misuse_block(void *arg) {
  misuse_t *m = arg;
  m->rc = lock->block(m->ctx, m->object);
}

/* A debug build names the function and the rule; a release build returns the code. */
#define assert_misuse(fn, m, code, function)                                                                           \
  do {                                                                                                                 \
    const char *rule_ = test_expect_rule((fn), (m));                                                                   \
    if (test_rules_on()) {                                                                                             \
      assert_non_null(rule_);                                                                                          \
      assert_memory_equal(rule_, function ": ", strlen(function ": "));                                                \
    } else {                                                                                                           \
      (fn)(m);                                                                                                         \
      assert_int_equal((m)->rc, (code));                                                                               \
    }                                                                                                                  \
  } while (0)

#endif
