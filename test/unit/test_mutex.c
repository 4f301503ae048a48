/* SPDX-License-Identifier: MIT
 *
 * The mutex: what holds of every lock, and what is its own: held from one callback to another, unlocked elsewhere.
 */
#include "unit/test_lock.h"

static int init(void *o) { return uvf_mutex_init(o); }
static int destroy(void *o) { return uvf_mutex_destroy(o); }
static int start(uvf_ctx_t *ctx, uvf_wait_t *wait, void *o, uvf_wait_cb cb) {
  return uvf_mutex_lock(ctx, wait, (uvf_mutex_t *)o, cb);
}
static int block(uvf_ctx_t *ctx, void *o) { return uvf_mutex_lock_wait(ctx, o); }
static int attempt(void *o) { return uvf_mutex_try_lock(o); }
static int release(void *o) { return uvf_mutex_unlock(o); }
static size_t queued(void *o) {
  uvf_mutex_t *mutex = o;
  return queue_length(&mutex->uvf__sem.uvf__lock, &mutex->uvf__sem.uvf__waits);
}

static const lock_t mutex_lock = {"uvf_mutex_", sizeof(uvf_mutex_t), init, destroy, start, block, attempt, release,
                                  queued};

static void unlock_there(void *mutex) {
  if (uvf_mutex_unlock(mutex) != 0) abort();
}

static void what_one_callback_locked_another_thread_may_unlock(void **state) {
  fixture_t *f = *state;
  uvf_mutex_t *mutex = object_new();
  note_t notes[2];
  for (int i = 0; i < 2; i++) {
    note_init(&notes[i], i, NULL);
    note_start(&notes[i], f->root, mutex);
  }
  run_until(&f->loop, &notes[0].calls, 1);
  turn(&f->loop); /* held over several turns */
  assert_int_equal(notes[1].calls, 0);
  on_thread(unlock_there, mutex);
  run_until(&f->loop, &notes[1].calls, 1);
  on_thread(unlock_there, mutex);
  object_free(mutex);
}

static void locking_twice_for_one_purpose_is_ended_by_the_context_only(void **state) {
  fixture_t *f = *state;
  uvf_mutex_t *mutex = object_new();
  uvf_ctx_t *ctx = timeout_of(f->root, 5);
  note_t note;
  note_init(&note, 0, NULL);
  assert_int_equal(uvf_mutex_try_lock(mutex), 0);
  note_start(&note, ctx, mutex);
  run_until(&f->loop, &note.calls, 1);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
  assert_told(&note, UV_ETIMEDOUT);
  assert_int_equal(uvf_mutex_unlock(mutex), 0);
  uvf_ctx_release(ctx);
  object_free(mutex);
}

static void relock(note_t *note) {
  uvf_mutex_t *mutex = note->arg;
  if (note->calls < 3) note->status = uvf_mutex_lock(note->wait.ctx, &note->wait, mutex, on_note);
  if (uvf_mutex_unlock(mutex) != 0) note->status = UV_EPROTO;
}

static void the_same_request_may_be_started_again_inside_its_callback_and_queues_behind_the_others(void **state) {
  fixture_t *f = *state;
  uvf_mutex_t *mutex = object_new();
  journal_t journal = {0};
  note_t notes[2];
  for (int i = 0; i < 2; i++) {
    note_init(&notes[i], i, &journal);
    notes[i].then = relock;
    notes[i].arg = mutex;
    note_start(&notes[i], f->root, mutex);
  }
  run_until(&f->loop, &notes[1].calls, 3);
  assert_journal(&journal, 0, 1, 0, 1, 0, 1);
  assert_int_equal(notes[0].status, 0);
  assert_int_equal(notes[1].status, 0);
  object_free(mutex);
}

/* Round and round between two threads: each hand-off wakes the other. */
typedef struct relay_s {
  uvf_mutex_t *mutex;
  uvf_ctx_t *ctx;
  size_t rounds;
  uint64_t *plain;
  int rc;
} relay_t;

static void relay_run(void *arg) {
  relay_t *relay = arg;
  for (size_t i = 0; i < relay->rounds && relay->rc == 0; i++) {
    relay->rc = uvf_mutex_lock_wait(relay->ctx, relay->mutex);
    ++*relay->plain;
    if (relay->rc == 0) relay->rc = uvf_mutex_unlock(relay->mutex);
  }
}

static void many_threads_add_to_a_plain_counter_and_lose_nothing(void **state) {
  enum { N = 4 };
  fixture_t *f = *state;
  uvf_mutex_t *mutex = object_new();
  uv_thread_t threads[N];
  relay_t relays[N];
  uint64_t plain = 0;
  size_t rounds = test_scaled(20000, 10);
  for (int i = 0; i < N; i++) {
    relays[i] = (relay_t){mutex, f->root, rounds, &plain, 0};
    assert_int_equal(uv_thread_create(&threads[i], relay_run, &relays[i]), 0);
  }
  for (int i = 0; i < N; i++) {
    assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(relays[i].rc, 0);
  }
  assert_int_equal(plain, N * rounds);
  object_free(mutex);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LOCK_TESTS,
      unit(what_one_callback_locked_another_thread_may_unlock),
      unit(locking_twice_for_one_purpose_is_ended_by_the_context_only),
      unit(the_same_request_may_be_started_again_inside_its_callback_and_queues_behind_the_others),
      unit(many_threads_add_to_a_plain_counter_and_lose_nothing),
  };
  lock = &mutex_lock;
  return test_run(tests);
}
