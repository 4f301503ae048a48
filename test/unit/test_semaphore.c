/* SPDX-License-Identifier: MIT
 *
 * The semaphore: as a lock of size 1, and its weights: what is taken, what is given back, and who is served by it.
 */
#include "unit/test_lock.h"

static int init(void *o) { return uvf_sem_init(o, 1); }
static int destroy(void *o) { return uvf_sem_destroy(o); }
static int start(uvf_ctx_t *ctx, uvf_wait_t *wait, void *o, uvf_wait_cb cb) {
  return uvf_sem_acquire(ctx, wait, (uvf_sem_t *)o, 1, cb);
}
static int block(uvf_ctx_t *ctx, void *o) { return uvf_sem_acquire_wait(ctx, o, 1); }
static int attempt(void *o) { return uvf_sem_try_acquire(o, 1); }
static int release(void *o) { return uvf_sem_release(o, 1); }
static size_t queued(void *o) {
  uvf_sem_t *sem = o;
  return queue_length(&sem->uvf__lock, &sem->uvf__waits);
}

static const lock_t sem_lock = {"uvf_sem_", sizeof(uvf_sem_t), init, destroy, start, block, attempt, release, queued};

/* --- weights --- */

static void acquire(note_t *note, int id, journal_t *journal, uvf_ctx_t *ctx, uvf_sem_t *sem, uint64_t n) {
  note_init(note, id, journal);
  assert_int_equal(uvf_sem_acquire(ctx, &note->wait, sem, n, on_note), 0);
}

static void a_try_takes_what_is_there_and_no_more(void **state) {
  static const struct {
    uint64_t size, held, n;
    int rc;
  } rows[] = {
      {0, 0, 0, 0},
      {0, 0, 1, UV_EAGAIN},
      {1, 0, 1, 0},
      {1, 1, 1, UV_EAGAIN},
      {1, 1, 0, 0},
      {5, 2, 3, 0},
      {5, 2, 4, UV_EAGAIN},
      {5, 0, 6, UV_EAGAIN},
      {5, 0, UINT64_MAX, UV_EAGAIN},
      {UVF_SEM_MAX, 0, UVF_SEM_MAX, 0},
      {UVF_SEM_MAX, 1, UVF_SEM_MAX, UV_EAGAIN},
      {UVF_SEM_MAX, 0, UVF_SEM_MAX + 1, UV_EAGAIN},
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_sem_t sem;
    uint64_t left = rows[i].size - rows[i].held;
    memset(&sem, 0xff, sizeof sem);
    assert_int_equal(uvf_sem_init(&sem, rows[i].size), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, rows[i].held), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, rows[i].n), rows[i].rc);
    if (rows[i].rc == 0) left -= rows[i].n;
    assert_int_equal(uvf_sem_available(&sem), left);
    assert_int_equal(uvf_sem_release(&sem, rows[i].size - left), 0);
    assert_int_equal(uvf_sem_destroy(&sem), 0);
  }
}

static void sizes_and_nulls(void **state) {
  uvf_sem_t sem;
  (void)state;
  assert_int_equal(uvf_sem_init(&sem, UVF_SEM_MAX + 1), UV_EINVAL);
  assert_int_equal(uvf_sem_init(&sem, UINT64_MAX), UV_EINVAL);
  assert_int_equal(uvf_sem_available(NULL), 0);
}

static void one_release_serves_all_that_now_fit_in_their_order(void **state) {
  fixture_t *f = *state;
  static const uint64_t wants[] = {3, 1, 0, 2, 5, 1};
  uvf_sem_t sem;
  journal_t journal = {0};
  note_t notes[ARRAY_SIZE(wants)];
  assert_int_equal(uvf_sem_init(&sem, 7), 0);
  assert_int_equal(uvf_sem_try_acquire(&sem, 7), 0);
  for (size_t i = 0; i < ARRAY_SIZE(wants); i++) acquire(&notes[i], (int)i, &journal, f->root, &sem, wants[i]);
  turn(&f->loop);
  assert_int_equal(journal.n, 0); /* not even the one that wants none: it is not its turn */
  assert_int_equal(uvf_sem_release(&sem, 2), 0);
  assert_int_equal(uvf_sem_available(&sem), 2); /* kept for the first */
  assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN);
  assert_int_equal(uvf_sem_try_acquire(&sem, 0), UV_EAGAIN);
  assert_int_equal(uvf_sem_release(&sem, 5), 0); /* 7: 3, 1, 0 and 2; 5 has to wait, and so has 1 */
  assert_int_equal(uvf_sem_available(&sem), 1);
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2, 3);
  assert_int_equal(uvf_sem_try_acquire(&sem, 1), UV_EAGAIN);
  assert_int_equal(uvf_sem_release(&sem, 6), 0);
  turn(&f->loop);
  assert_journal(&journal, 0, 1, 2, 3, 4, 5);
  assert_int_equal(uvf_sem_available(&sem), 1);
  assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0); /* nobody waits any more */
  assert_int_equal(uvf_sem_release(&sem, 7), 0);
  assert_int_equal(uvf_sem_destroy(&sem), 0);
}

static void a_head_that_wants_much_makes_way_when_it_is_ended(void **state) {
  fixture_t *f = *state;
  for (int way = 0; way < 4; way++) {
    uvf_sem_t sem;
    uvf_ctx_t *ctx = way == 2 ? timeout_of(f->root, 3) : child_of(f->root);
    journal_t journal = {0};
    note_t large, small[3];
    assert_int_equal(uvf_sem_init(&sem, 4), 0);
    assert_int_equal(uvf_sem_try_acquire(&sem, 2), 0);
    acquire(&large, 0, NULL, ctx, &sem, 4);
    for (int i = 0; i < 3; i++) acquire(&small[i], i, &journal, i == 1 ? ctx : f->root, &sem, 1);
    turn(&f->loop);
    if (way != 2) assert_int_equal(journal.n + large.calls, 0);
    if (way == 0) assert_int_equal(uvf_op_cancel(note_op(&large)), 0);
    if (way == 1) uvf_ctx_cancel(ctx);
    if (way == 3) on_thread(cancel_ctx, ctx);
    run_until(&f->loop, &large.calls, 1);
    for (int i = 0; i < 2 + (way != 0); i++) run_until(&f->loop, &small[i].calls, 1);
    turn(&f->loop);
    assert_told(&large, way == 2 ? UV_ETIMEDOUT : UV_ECANCELED);
    assert_told(&small[0], 0);
    if (way == 0) { /* its sibling was not ended: it has the last one, and the third waits */
      assert_told(&small[1], 0);
      assert_int_equal(small[2].calls, 0);
      assert_int_equal(uvf_sem_release(&sem, 1), 0);
      run_until(&f->loop, &small[2].calls, 1);
    } else {
      assert_told(&small[1], large.status);
    }
    assert_told(&small[2], 0);
    assert_int_equal(uvf_sem_available(&sem), 0);
    assert_int_equal(uvf_sem_release(&sem, 4), 0);
    assert_int_equal(uvf_sem_destroy(&sem), 0);
    uvf_ctx_release(ctx);
  }
}

static int block_2(uvf_ctx_t *ctx, void *o) { return uvf_sem_acquire_wait(ctx, o, 2); }

static void a_blocked_head_that_is_ended_makes_way_too_while_every_loop_is_stuck(void **state) {
  fixture_t *f = *state;
  uvf_sem_t *sem = object_new();
  uvf_ctx_t *ctx = timeout_of(f->root, 500); /* long enough for the thread to queue, on a busy machine too */
  blocker_t head, next;
  note_t note;
  assert_int_equal(uvf_sem_destroy(sem), 0);
  assert_int_equal(uvf_sem_init(sem, 2), 0);
  assert_int_equal(uvf_sem_try_acquire(sem, 1), 0);
  memset(&head, 0, sizeof head);
  head.ctx = ctx;
  head.object = sem;
  head.block = block_2;
  assert_int_equal(uv_thread_create(&head.thread, blocker_main, &head), 0);
  await_queued(queued, sem, 1);
  blocker_start(&next, f->root, sem, 0, NULL);
  assert_int_equal(blocker_join(&next), 0); /* nobody but the head's own thread can have let it go */
  assert_int_equal(blocker_join(&head), UV_ETIMEDOUT);
  assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(ctx));
  assert_int_equal(uvf_ctx_err(ctx), 0); /* the loop has not turned */
  assert_int_equal(uvf_sem_try_acquire(sem, 1), UV_EAGAIN);
  note_init(&note, 0, NULL);
  note_start(&note, f->root, sem);
  assert_int_equal(uvf_sem_release(sem, 1), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_int_equal(uvf_sem_release(sem, 2), 0);
  uvf_ctx_release(ctx);
  object_free(sem);
}

static int block_max(uvf_ctx_t *ctx, void *o) { return uvf_sem_acquire_wait(ctx, o, UINT64_MAX); }

static void what_can_never_be_served_waits_for_its_context_and_is_in_nobodys_way(void **state) {
  fixture_t *f = *state;
  static const uint64_t wants[] = {4, UVF_SEM_MAX, UINT64_MAX};
  for (size_t i = 0; i < ARRAY_SIZE(wants); i++) {
    uvf_sem_t *sem = malloc(sizeof *sem);
    uvf_ctx_t *ctx = child_of(f->root);
    blocker_t b;
    note_t large, cancelled, small;
    assert_non_null(sem);
    assert_int_equal(uvf_sem_init(sem, 3), 0);
    acquire(&large, 0, NULL, ctx, sem, wants[i]);
    acquire(&cancelled, 1, NULL, ctx, sem, wants[i]);
    memset(&b, 0, sizeof b);
    b.ctx = ctx;
    b.object = sem;
    b.block = block_max;
    assert_int_equal(uv_thread_create(&b.thread, blocker_main, &b), 0);
    assert_int_equal(uvf_sem_try_acquire(sem, 3), 0);
    acquire(&small, 2, NULL, f->root, sem, 3);
    assert_int_equal(uvf_sem_release(sem, 3), 0);
    run_until(&f->loop, &small.calls, 1);
    assert_told(&small, 0);
    assert_int_equal(uvf_op_cancel(note_op(&cancelled)), 0);
    run_until(&f->loop, &cancelled.calls, 1);
    assert_told(&cancelled, UV_ECANCELED);
    assert_int_equal(large.calls, 0);
    uvf_ctx_cancel(ctx);
    assert_int_equal(blocker_join(&b), UV_ECANCELED);
    run_until(&f->loop, &large.calls, 1);
    assert_told(&large, UV_ECANCELED);
    assert_int_equal(uvf_sem_release(sem, 3), 0);
    assert_int_equal(uvf_sem_destroy(sem), 0);
    free(sem);
    uvf_ctx_release(ctx);
  }
}

/* Its loop is told of the units before it turns, and of the end of the context before that. */
static void a_waiter_whose_context_is_over_gets_nothing_and_the_next_one_does(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  uvf_ctx_t *ctx = child_of(f->root);
  note_t over[3], next, last;
  assert_int_equal(uvf_sem_init(&sem, 3), 0);
  assert_int_equal(uvf_sem_try_acquire(&sem, 3), 0);
  for (int i = 0; i < 3; i++) acquire(&over[i], i, NULL, ctx, &sem, 2);
  acquire(&next, 3, NULL, f->root, &sem, 2);
  acquire(&last, 4, NULL, ctx, &sem, 1);
  on_thread(cancel_ctx, ctx);
  assert_int_equal(uvf_sem_release(&sem, 3), 0);
  assert_int_equal(uvf_sem_available(&sem), 1); /* 2 for the next, nothing for those that are over */
  assert_int_equal(uvf_sem_try_acquire(&sem, 1), 0);
  run_until(&f->loop, &next.calls, 1);
  run_until(&f->loop, &last.calls, 1);
  turn(&f->loop);
  for (int i = 0; i < 3; i++) assert_told(&over[i], UV_ECANCELED);
  assert_told(&next, 0);
  assert_told(&last, UV_ECANCELED);
  assert_int_equal(uvf_sem_release(&sem, 3), 0);
  assert_int_equal(uvf_sem_destroy(&sem), 0);
  uvf_ctx_release(ctx);
}

static int release_3(void *o) { return uvf_sem_release(o, 3); }
static int release_max(void *o) { return uvf_sem_release(o, UINT64_MAX); }

static void a_release_of_more_than_is_held_is_misuse_whether_somebody_waits_or_not(void **state) {
  fixture_t *f = *state;
  uvf_sem_t sem;
  note_t note;
  misuse_t m = {&sem, NULL, NULL, NULL, 1};
  assert_int_equal(uvf_sem_init(&sem, 5), 0);
  assert_int_equal(uvf_sem_try_acquire(&sem, 2), 0);
  for (int waits = 0; waits < 2; waits++) {
    if (waits) acquire(&note, 0, NULL, f->root, &sem, 4);
    m.call = release_3;
    assert_misuse(misuse_call, &m, UV_EINVAL, "uvf_sem_release");
    m.call = release_max;
    assert_misuse(misuse_call, &m, UV_EINVAL, "uvf_sem_release");
    m.call = destroy;
    assert_misuse(misuse_call, &m, UV_EBUSY, "uvf_sem_destroy");
    assert_int_equal(uvf_sem_available(&sem), 3);
    assert_int_equal(uvf_sem_release(&sem, 0), 0);
  }
  assert_int_equal(uvf_sem_release(&sem, 2), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_told(&note, 0);
  assert_int_equal(uvf_sem_release(&sem, 4), 0);
  assert_int_equal(uvf_sem_destroy(&sem), 0);
}

typedef struct destroyer_s {
  uvf_sem_t *sem;
  atomic_int rc;
} destroyer_t;

static void destroy_there(void *arg) {
  destroyer_t *d = arg;
  atomic_store(&d->rc, uvf_sem_destroy(d->sem));
}

/* Who released last may have made all units free, and not have let go of the lock yet. */
static void a_destroy_waits_for_who_is_about_to_unlock(void **state) {
  uvf_sem_t *sem = object_new();
  destroyer_t d = {.sem = sem};
  uv_thread_t thread;
  (void)state;
  atomic_init(&d.rc, 1);
  uvf__lock(&sem->uvf__lock);
  assert_int_equal(uv_thread_create(&thread, destroy_there, &d), 0);
  uv_sleep(10);
  assert_int_equal(atomic_load(&d.rc), 1);
  uvf__unlock(&sem->uvf__lock);
  assert_int_equal(uv_thread_join(&thread), 0);
  assert_int_equal(atomic_load(&d.rc), 0);
  free(sem);
}

static void a_wait_is_named_in_the_dump(void **state) {
  fixture_t *f = *state;
  uvf_sem_t *sem = object_new();
  note_t note;
  char text[4096];
  size_t n;
  FILE *file = tmpfile();
  assert_non_null(file);
  assert_int_equal(uvf_sem_try_acquire(sem, 1), 0);
  note_init(&note, 0, NULL);
  assert_int_equal(uvf_sem_acquire(f->root, &note.wait, sem, 1, on_note), 0);
  uvf_ctx_dump(f->root, file);
  rewind(file);
  n = fread(text, 1, sizeof text - 1, file);
  text[n] = 0;
  fclose(file);
  assert_non_null(strstr(text, "semaphore"));
  if (test_rules_on()) assert_non_null(strstr(text, "test_semaphore.c:"));
  assert_int_equal(uvf_op_cancel(note_op(&note)), 0);
  run_until(&f->loop, &note.calls, 1);
  assert_int_equal(uvf_sem_release(sem, 1), 0);
  object_free(sem);
}

/* --- hammered --- */

typedef struct hammer_s {
  uvf_sem_t *sem;
  uvf_ctx_t *ctx;
  atomic_uint_fast64_t *used;
  uint64_t seed, size;
  size_t rounds;
  size_t got;
  int wrong;
} hammer_t;

/* The units that are out, by those who have them, never exceed the size. */
static void hammer_run(void *arg) {
  hammer_t *h = arg;
  for (size_t i = 0; i < h->rounds; i++) {
    uint64_t n = test_rand(&h->seed) % (h->size + 1);
    int rc = test_rand(&h->seed) % 2 ? uvf_sem_try_acquire(h->sem, n) : uvf_sem_acquire_wait(h->ctx, h->sem, n);
    if (rc == UV_EAGAIN) continue;
    if (rc != 0 || atomic_fetch_add(h->used, n) + n > h->size) h->wrong++;
    h->got++;
    if (test_rand(&h->seed) % 8 == 0) uv_sleep(0);
    atomic_fetch_sub(h->used, n);
    if (n > 1 && test_rand(&h->seed) % 2) { /* in two parts */
      if (uvf_sem_release(h->sem, 1) != 0) h->wrong++;
      n--;
    }
    if (uvf_sem_release(h->sem, n) != 0) h->wrong++;
  }
}

static void threads_that_take_weights_never_have_more_than_there_is_and_lose_none(void **state) {
  enum { N = 4 };
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  for (uint64_t size = 1; size <= 5; size += 2) {
    uvf_sem_t sem;
    atomic_uint_fast64_t used;
    uv_thread_t threads[N];
    hammer_t hammers[N];
    atomic_init(&used, 0);
    assert_int_equal(uvf_sem_init(&sem, size), 0);
    for (int i = 0; i < N; i++) {
      hammers[i] = (hammer_t){&sem, f->root, &used, test_rand(&seed), size, test_scaled(10000, 10), 0, 0};
      assert_int_equal(uv_thread_create(&threads[i], hammer_run, &hammers[i]), 0);
    }
    for (int i = 0; i < N; i++) {
      assert_int_equal(uv_thread_join(&threads[i]), 0);
      assert_int_equal(hammers[i].wrong, 0);
      assert_true(hammers[i].got > 0);
    }
    assert_int_equal(uvf_sem_available(&sem), size);
    assert_int_equal(uvf_sem_try_acquire(&sem, size), 0);
    assert_int_equal(uvf_sem_release(&sem, size), 0);
    assert_int_equal(uvf_sem_destroy(&sem), 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      LOCK_TESTS,
      unit(a_try_takes_what_is_there_and_no_more),
      unit(sizes_and_nulls),
      unit(one_release_serves_all_that_now_fit_in_their_order),
      unit(a_head_that_wants_much_makes_way_when_it_is_ended),
      unit(a_blocked_head_that_is_ended_makes_way_too_while_every_loop_is_stuck),
      unit(what_can_never_be_served_waits_for_its_context_and_is_in_nobodys_way),
      unit(a_waiter_whose_context_is_over_gets_nothing_and_the_next_one_does),
      unit(a_release_of_more_than_is_held_is_misuse_whether_somebody_waits_or_not),
      unit(a_destroy_waits_for_who_is_about_to_unlock),
      unit(a_wait_is_named_in_the_dump),
      unit(threads_that_take_weights_never_have_more_than_there_is_and_lose_none),
  };
  lock = &sem_lock;
  return test_run(tests);
}
