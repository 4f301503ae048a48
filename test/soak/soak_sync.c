/* SPDX-License-Identifier: MIT
 *
 * Semaphores, a mutex, a rwlock and a pool, used at random by 2 loops and 4 more threads under contexts that end at
 * random, while waits are cancelled. Who holds one exclusively changes two plain words, one after the other; who shares
 * it looks whether they are equal: so neither mutual exclusion nor the order of memory can fail unseen. Some waits are
 * patient, under a root: they hang, and the watchdog says so, if what they wait for is never handed on. In the end
 * nothing is held, and everything can be destroyed.
 */
#include "soak.h"

enum { ACTORS = 24, THREADS = 4, USERS = CREWS + THREADS, SEM_SMALL = 3, SEM_LARGE = 100, POOL_MAX = 3, NESTED = 3 };

enum { SMALL, LARGE, MUTEX, RWLOCK, POOL, GUARDS };

static const uint64_t sizes[GUARDS] = {SEM_SMALL, SEM_LARGE, 1, SEM_LARGE, POOL_MAX};

static uvf_sem_t sems[2];
static uvf_mutex_t mutex;
static uvf_rwlock_t rwlock;
static uvf_objpool_t objects;

/* What is guarded. */
static struct {
  uint64_t first, second; /* plain on purpose */
  atomic_size_t held;     /* units */
  atomic_size_t debts;    /* units of a semaphore whose holder left the release to somebody else */
} guarded[GUARDS];

/* An object of the pool: its holder's alone. */
typedef struct object_s {
  uint64_t first, second;
} object_t;

static atomic_size_t objects_live, creates;

/* A thread, or all requests of a loop. */
typedef struct user_s {
  dice_t dice;
  atomic_size_t acquired;
  atomic_size_t failed;
  char apart[64];
} user_t;

static user_t users[USERS];
static size_t wanted;
static atomic_int threads_end;

/* Something that is to be held: of which guard, how much; the rwlock is held exclusively as all of its units. */
typedef struct hold_s {
  int guard;
  uint64_t want;
  void *object;
} hold_t;

/* --- the pool's objects --- */

static int on_create(void **object, void *arg) {
  HOLDS(arg == &objects);
  if (atomic_fetch_add(&creates, 1) % 16 == 7) return UV_EMFILE;
  if (atomic_fetch_add(&objects_live, 1) >= POOL_MAX) complain("at most max objects", __FILE__, __LINE__, 0);
  *object = calloc(1, sizeof(object_t));
  return *object != NULL ? 0 : UV_ENOMEM;
}

static void on_destroy(void *object, void *arg) {
  HOLDS(arg == &objects);
  atomic_fetch_sub(&objects_live, 1);
  free(object);
}

/* --- holding --- */

static void change(uint64_t *first, uint64_t *second) {
  HOLDS(*first == *second);
  ++*first;
  ++*second;
}

static void look(const hold_t *hold) {
  if (hold->guard == POOL) {
    object_t *object = hold->object;
    change(&object->first, &object->second);
  } else if (hold->want == sizes[hold->guard]) {
    change(&guarded[hold->guard].first, &guarded[hold->guard].second);
  } else if (hold->want > 0) {
    HOLDS(guarded[hold->guard].first == guarded[hold->guard].second);
  }
}

static void enter(user_t *user, const hold_t *hold) {
  size_t held = atomic_fetch_add_explicit(&guarded[hold->guard].held, (size_t)hold->want, memory_order_relaxed);
  HOLDS_FOR(held + hold->want <= sizes[hold->guard], held);
  look(hold);
  atomic_fetch_add_explicit(&user->acquired, 1, memory_order_relaxed);
}

static int give_back(user_t *user, const hold_t *hold) {
  switch (hold->guard) {
    case MUTEX: return uvf_mutex_unlock(&mutex);
    case RWLOCK: return hold->want == 1 ? uvf_rwlock_rdunlock(&rwlock) : uvf_rwlock_wrunlock(&rwlock);
    case POOL:
      return one_in(&user->dice, 16) ? uvf_objpool_discard(&objects, hold->object)
                                     : uvf_objpool_put(&objects, hold->object);
    default:
      if (!one_in(&user->dice, 8)) return uvf_sem_release(&sems[hold->guard], hold->want);
      atomic_fetch_add(&guarded[hold->guard].debts, (size_t)hold->want);
      return 0;
  }
}

static void leave(user_t *user, const hold_t *hold) {
  int err;
  look(hold);
  atomic_fetch_sub_explicit(&guarded[hold->guard].held, (size_t)hold->want, memory_order_relaxed);
  err = give_back(user, hold);
  HOLDS_FOR(err == 0, err);
}

/* Releases what others have left to us. */
static void pay_debts(void) {
  for (int i = SMALL; i <= LARGE; i++) {
    size_t units = atomic_exchange(&guarded[i].debts, 0);
    int err = units > 0 ? uvf_sem_release(&sems[i], units) : 0;
    HOLDS_FOR(err == 0, err);
  }
}

/* --- acquiring: one of the guards from `least` on, in all three ways --- */

static hold_t hold_of(user_t *user, int least) {
  hold_t hold = {least + (int)below(&user->dice, (size_t)(GUARDS - least)), 1, NULL};
  uint64_t size = sizes[hold.guard];
  if (hold.guard <= LARGE) hold.want = below(&user->dice, (size_t)size + 1);
  if (hold.guard <= RWLOCK && one_in(&user->dice, 4)) hold.want = size;
  return hold;
}

static int start(uvf_ctx_t *ctx, uvf_wait_t *wait, const hold_t *hold, uvf_wait_cb cb) {
  switch (hold->guard) {
    case MUTEX: return uvf_mutex_lock(ctx, wait, &mutex, cb);
    case RWLOCK:
      return hold->want == 1 ? uvf_rwlock_rdlock(ctx, wait, &rwlock, cb) : uvf_rwlock_wrlock(ctx, wait, &rwlock, cb);
    case POOL: return uvf_objpool_get(ctx, wait, &objects, cb);
    default: return uvf_sem_acquire(ctx, wait, &sems[hold->guard], hold->want, cb);
  }
}

static int block(uvf_ctx_t *ctx, hold_t *hold) {
  switch (hold->guard) {
    case MUTEX: return uvf_mutex_lock_wait(ctx, &mutex);
    case RWLOCK: return hold->want == 1 ? uvf_rwlock_rdlock_wait(ctx, &rwlock) : uvf_rwlock_wrlock_wait(ctx, &rwlock);
    case POOL: return uvf_objpool_get_wait(ctx, &objects, &hold->object);
    default: return uvf_sem_acquire_wait(ctx, &sems[hold->guard], hold->want);
  }
}

static int try(hold_t *hold) {
  switch (hold->guard) {
    case MUTEX: return uvf_mutex_try_lock(&mutex);
    case RWLOCK: return hold->want == 1 ? uvf_rwlock_try_rdlock(&rwlock) : uvf_rwlock_try_wrlock(&rwlock);
    case POOL: return uvf_objpool_try_get(&objects, &hold->object);
    default: return uvf_sem_try_acquire(&sems[hold->guard], hold->want);
  }
}

/* err: what a wait ended with. 1 if it is held now. `trying`: without waiting. */
static int got(user_t *user, const hold_t *hold, int err, int trying) {
  if (err == 0) {
    enter(user, hold);
    return 1;
  }
  atomic_fetch_add_explicit(&user->failed, 1, memory_order_relaxed);
  HOLDS_FOR((trying ? err == UV_EAGAIN : err == UV_ECANCELED || err == UV_ETIMEDOUT) ||
                (hold->guard == POOL && err == UV_EMFILE),
            err);
  return 0;
}

/* --- the loops' side --- */

enum { IDLE, WAITING, HOLDING };

typedef struct actor_s {
  crew_t *crew;
  user_t *user;
  int state;
  int cancelled;
  uvf_wait_t wait;
  hold_t hold;
} actor_t;

static actor_t actors[CREWS][ACTORS];

static void actor_let_go(actor_t *actor) {
  if (actor->state != HOLDING) return;
  actor->state = IDLE;
  leave(actor->user, &actor->hold);
}

static void actor_cancel(actor_t *actor) {
  int err;
  if (actor->state != WAITING) return;
  err = uvf_op_cancel((uvf_op_t *)&actor->wait);
  HOLDS_FOR(err == UV_EBUSY || (err == 0 && !actor->cancelled), err);
  if (err == 0) actor->cancelled = 1;
}

static void on_wait(uvf_wait_t *wait, int status);

static void actor_start(actor_t *actor) {
  dice_t *dice = &actor->user->dice;
  int patient = one_in(dice, 8), err;
  uvf_ctx_t *ctx = patient ? uvf_ctx_retain(actor->crew->root) : ctx_get(dice, actor->crew->index);
  memset(&actor->wait, 0xff, sizeof actor->wait); /* nothing may count on zeroed memory */
  actor->wait.data = actor;
  actor->hold = hold_of(actor->user, SMALL);
  if (!patient && actor->hold.guard <= LARGE && one_in(dice, 64)) actor->hold.want = SEM_LARGE + 1; /* never */
  actor->cancelled = 0;
  actor->state = WAITING;
  err = start(ctx, &actor->wait, &actor->hold, on_wait);
  HOLDS_FOR(err == 0, err);
  uvf_ctx_release(ctx);
}

static void on_wait(uvf_wait_t *wait, int status) {
  actor_t *actor = wait->data;
  dice_t *dice = &actor->user->dice;
  actor_t *other = &actors[actor->crew->index][below(dice, ACTORS)];
  HOLDS(actor->state == WAITING);
  HOLDS_FOR(!actor->cancelled || status == UV_ECANCELED, status);
  actor->hold.object = wait->value;
  actor->state = got(actor->user, &actor->hold, status, 0) ? HOLDING : IDLE;
  if (!one_in(dice, 4)) actor_let_go(actor); /* else later, from the timer or somebody else's callback */
  if (one_in(dice, 2)) actor_let_go(other);
  if (one_in(dice, 32)) actor_cancel(other);
  if (actor->crew->stopping || actor->crew->lazy || actor->state == HOLDING) return;
  if (status == 0 || one_in(dice, 2)) actor_start(actor);
}

static void crew_start_some(crew_t *crew) {
  for (size_t i = 0; i < ACTORS; i++) {
    actor_t *actor = &actors[crew->index][i];
    actor->crew = crew;
    actor->user = &users[crew->index];
    actor_let_go(actor);
    if (actor->state == IDLE && one_in(&actor->user->dice, 2)) actor_start(actor);
  }
  pay_debts();
}

/* When a crew stops it lets go of what it holds: others may be patient. */
static size_t crew_busy(crew_t *crew) {
  size_t busy = 0;
  for (size_t i = 0; i < ACTORS; i++) {
    if (crew->stopping) actor_let_go(&actors[crew->index][i]);
    busy += actors[crew->index][i].state != IDLE;
  }
  pay_debts();
  return busy;
}

/* --- the threads' side --- */

/* One hold, and perhaps another inside it, of a guard that comes later, so that the patient do not wait in a circle. */
static void one_hold(user_t *user, int least, int depth) {
  dice_t *dice = &user->dice;
  hold_t hold = hold_of(user, least);
  size_t crew = below(dice, CREWS);
  int patient = one_in(dice, 8), trying = one_in(dice, 4), err;
  uvf_ctx_t *ctx = patient ? uvf_ctx_retain(crews[crew].lane.root) : ctx_get(dice, crew);
  if (!patient && hold.guard <= LARGE && one_in(dice, 64)) hold.want = SEM_LARGE + 1; /* never */
  err = trying ? try(&hold) : block(ctx, &hold);
  uvf_ctx_release(ctx);
  if (!got(user, &hold, err, trying)) return;
  if (depth < NESTED && hold.guard + 1 < GUARDS && one_in(dice, 4)) one_hold(user, hold.guard + 1, depth + 1);
  if (one_in(dice, 64)) uv_sleep(0);
  leave(user, &hold);
}

static void thread_main(void *arg) {
  user_t *user = arg;
  while (!atomic_load(&threads_end)) {
    if (one_in(&user->dice, 64)) ctx_cancel_one(&user->dice);
    if (one_in(&user->dice, 8)) pay_debts();
    one_hold(user, SMALL, 0);
  }
  pay_debts();
}

/* --- the test --- */

static uint64_t all_acquired(void) {
  uint64_t n = 0;
  for (size_t i = 0; i < USERS; i++) n += atomic_load_explicit(&users[i].acquired, memory_order_relaxed);
  return n;
}

static double part_done(void) { return (double)all_acquired() / (double)wanted; }

static uint64_t moves_of(size_t i) { return atomic_load(&users[i].acquired) + atomic_load(&users[i].failed); }

static watchdog_t watchdog = {.n = USERS, .moves = moves_of, .part = part_done, .stuck = NULL};

static void guards_open(void) {
  assert_int_equal(uvf_sem_init(&sems[SMALL], SEM_SMALL), 0);
  assert_int_equal(uvf_sem_init(&sems[LARGE], SEM_LARGE), 0);
  assert_int_equal(uvf_mutex_init(&mutex), 0);
  assert_int_equal(uvf_rwlock_init(&rwlock), 0);
  assert_int_equal(uvf_objpool_init(&objects, POOL_MAX, on_create, on_destroy, &objects), 0);
}

static void guards_close(void) {
  for (int i = 0; i < GUARDS; i++) {
    assert_int_equal(atomic_load(&guarded[i].held), 0);
    assert_int_equal(guarded[i].first, guarded[i].second);
    assert_true(guarded[i].first > 0 || i == POOL);
  }
  assert_int_equal(uvf_sem_available(&sems[SMALL]), SEM_SMALL);
  assert_int_equal(uvf_sem_available(&sems[LARGE]), SEM_LARGE);
  assert_int_equal(uvf_sem_destroy(&sems[SMALL]), 0);
  assert_int_equal(uvf_sem_destroy(&sems[LARGE]), 0);
  assert_int_equal(uvf_mutex_destroy(&mutex), 0);
  assert_int_equal(uvf_rwlock_destroy(&rwlock), 0);
  assert_int_equal(uvf_objpool_destroy(&objects), 0);
  assert_int_equal(atomic_load(&objects_live), 0);
}

static void nobody_is_in_together_who_must_not_be_and_nothing_stays_held(void **state) {
  uint64_t seed = test_seed();
  size_t blocks = test_alloc_live(), failed = 0;
  uv_thread_t threads[THREADS];
  dice_t dice;
  (void)state;
  fflush(stdout);
  wanted = test_scaled(300000, 10);
  dice = dice_from(&seed);
  for (size_t i = 0; i < USERS; i++) users[i].dice = dice_from(&seed);
  guards_open();
  crews_start(&seed);
  watchdog_start(&watchdog);
  for (size_t i = 0; i < THREADS; i++) {
    assert_int_equal(uv_thread_create(&threads[i], thread_main, &users[CREWS + i]), 0);
  }
  while (all_acquired() < wanted) uv_sleep(1);
  atomic_store(&threads_end, 1);
  for (size_t i = 0; i < THREADS; i++) assert_int_equal(uv_thread_join(&threads[i]), 0);
  if (one_in(&dice, 2)) crews_rest(); /* or their roots end those who wait */
  crews_stop();
  crews_release();
  watchdog_stop(&watchdog);
  for (size_t i = 0; i < USERS; i++) failed += atomic_load(&users[i].failed);
  printf("acquired %llu times, %zu failures, %zu objects made\n", (unsigned long long)all_acquired(), failed,
         atomic_load(&creates));
  assert_int_equal(atomic_load(&complaints), 0);
  assert_true(failed > 0);
  guards_close();
  assert_int_equal(test_alloc_live(), blocks);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(nobody_is_in_together_who_must_not_be_and_nothing_stays_held),
  };
  return test_run(tests);
}
