/* SPDX-License-Identifier: MIT
 *
 * Waits: see wait.h for the parties, and for what guards a queue. Here: how those that were served are told, and how a
 * thread blocks.
 *
 * Invariants of a blocked thread
 * 1. Its record (request and parker) is on its stack. parker->word: SPINNING -> PARKED (by the thread) and either ->
 *    TOLD (by who served it, the last touch if the word was SPINNING). If it was PARKED, it is to be woken: under
 *    parker->lock `woken` is set. The thread leaves only when it has seen that under the lock, or has claimed its
 *    operation itself, so that there is no teller.
 * 2. While it is parked it is in hub->sleepers. Contexts that end poke the sleepers of their hub, under sleep_lock; the
 *    thread takes itself out under the same lock, so no poke comes later.
 * 3. No end of a context is missed: the thread counts itself in nsleepers, then looks at err; who ends a context claims
 *    err, then looks at nsleepers; all four sequentially consistent, so one of the two sees the other. (Of a sweep, see
 *    cancel.c, it is the end that counts: after its claims, and read between nsleepers and err.)
 * 4. A deadline is watched by the thread itself, and so is the time its `wake` has asked for.
 * 5. A thread whose waiter is in an object's queue may be prodded under that object's lock: if it is PARKED by `poked`;
 *    if not, it calls `wake`, which takes the object's lock, after it has become PARKED. parker->lock outlives that:
 *    who was served is out of the queue before it is told, who gives up withdraws before the lock is destroyed.
 * 6. Of parked threads that are told at once the teller wakes every eighth; each wakes the next (`then`) as the first
 *    thing when it has been woken, and before it is, its record is the teller's. A wake-up costs who makes it some
 *    microseconds, and a loop that takes what many threads send would do nothing else.
 *
 * Lock order: hub->sleep_lock or an object's lock, then parker->lock, which is a leaf.
 */
#include "kernel/wait.h"

#include "kernel/context.h"

#ifndef _WIN32
#include <sched.h>
#endif

enum { SPINNING = 0, PARKED = 1, TOLD = 2 };

#define THREAD_TAG UVF__POST_MASK /* op->uvf__post of a blocked thread's: the parker, tagged as no post is */
/* How long who waits leaves the lock alone before it looks again: so many times what the look costs, which is fetching
 * the lock's cache line from the holder's processor; the holder has to fetch it back. Long beside the holder's few
 * dozen instructions: while it has the line to itself it gets many things done, one after the other, and so does the
 * next. Measured: three threads at one channel, 20 ns an item, 35 where half of the processors are far away; with a
 * fixed 1.5 us 20 and 45, with a seventh of that 35 to 110. Who gets many done at once does not come back so soon: then
 * waiting that long is idle time (one thread and a loop that takes all there is: 25 ns, and 16 as it is). */
#define LOCK_LOOKS 40
#define LOCK_MANY_LOOKS 3
#define LINE_NEAR_NS 60 /* what a look is taken to cost at least, and at most: clocks are coarse, threads interrupted */
#define LINE_FAR_NS 240
#define CLOCK_NS 20
#define LOCK_SPIN_NS 150000
#define LOCK_TRIES 100
#define BLOCK_SPIN_NS 20000 /* what it costs to be put to sleep and woken, more or less */
#define BLOCK_LOOKS 80
#define BLOCK_RETRY 32
#define WAKE_CHAIN 8
#define DOZE_MAX_NS (UINT64_C(3600) * 1000000000) /* an hour: what libuv adds the clock to must not overflow */

/* --- pausing ---------------------------------------------------------------------------------------- */

void uvf__yield(void) {
#ifdef _WIN32
  SwitchToThread();
#else
  sched_yield();
#endif
}

uint32_t uvf__spins_us = 64;

static void calibrate(void) {
  uint64_t best_ns = UINT64_MAX; /* the least of a few: the others were interrupted */
  for (int round = 0; round < 4; round++) {
    uint64_t start_ns = uv_hrtime();
    uint64_t ns;
    for (int i = 0; i < 64; i++) UVF__PAUSE();
    ns = uv_hrtime() - start_ns;
    if (ns < best_ns) best_ns = ns;
  }
  atomic_store_explicit((uvf__au32 *)&uvf__spins_us, (uint32_t)(UINT64_C(64000) / (best_ns + 1)) + 1,
                        memory_order_relaxed);
}

void uvf__spin_calibrate(void) {
  static uv_once_t once = UV_ONCE_INIT;
  uv_once(&once, calibrate);
}

/* --- the lock ------------------------------------------------------------------------------------- */

/* What there is in the lock's word, and in *line_ns how long it took to come. */
static uint32_t look(const uint32_t *lock, uint32_t *line_ns) {
  uint64_t start_ns = uv_hrtime();
  uint32_t held = uvf__u32_load(lock);
  uint64_t took_ns = uv_hrtime() - start_ns;
  if (took_ns < LINE_NEAR_NS + CLOCK_NS) took_ns = LINE_NEAR_NS + CLOCK_NS;
  if (took_ns > LINE_FAR_NS + CLOCK_NS) took_ns = LINE_FAR_NS + CLOCK_NS;
  *line_ns = (uint32_t)took_ns - CLOCK_NS;
  return held;
}

/* The holder is a few dozen instructions from letting go, unless it lost its processor: then give it ours. */
UVF__COLD void uvf__lock_slow(uint32_t *lock, uint32_t as) {
  unsigned int naps = 0;
  uint32_t line_ns = LINE_NEAR_NS;
  uint32_t held = uvf__u32_load(lock);
  for (;;) {
    uint32_t spun_ns = 0;
    for (int i = 0; i < LOCK_TRIES && spun_ns < LOCK_SPIN_NS; i++) {
      uint32_t ns = line_ns * (as == UVF__LOCK_MANY || held == UVF__LOCK_MANY ? LOCK_MANY_LOOKS : LOCK_LOOKS);
      uvf__spin(ns);
      spun_ns += ns;
      held = look(lock, &line_ns);
      if (held == 0 && uvf__u32_claim(lock, 0, as)) return;
    }
    uv_sleep(naps++ < 16 ? 0 : 1);
  }
}

/* --- telling -------------------------------------------------------------------------------------- */

static uvf__parker_t *parker_of(const uvf_op_t *op) {
  return (uvf__parker_t *)(op->uvf__post & ~(uintptr_t)UVF__POST_MASK);
}

static int is_thread(const uvf_op_t *op) { return (op->uvf__post & UVF__POST_MASK) == THREAD_TAG; }

/* 1: it is parked, and stays so until it is woken. */
static int tell_thread(uvf__parker_t *parker) {
  if (atomic_exchange_explicit((uvf__au32 *)&parker->word, TOLD, memory_order_acq_rel) != PARKED) return 0;
  parker->then = NULL;
  return 1;
}

/* For one of its flags. */
static void rouse(uvf__parker_t *parker, int *why) {
  uv_mutex_lock(&parker->lock);
  *why = 1;
  uv_cond_signal(&parker->cond);
  uv_mutex_unlock(&parker->lock);
}

static void wake(uvf__parker_t *parker) { rouse(parker, &parker->woken); }
static void poke(uvf__parker_t *parker) { rouse(parker, &parker->poked); }

void uvf__wait_finish(uvf_op_t *op) {
  uvf__hub_t *hub;
  if (is_thread(op)) {
    if (tell_thread(parker_of(op))) wake(parker_of(op));
    return;
  }
  hub = uvf__ctx_hub(op->ctx);
  if (uvf__on_loop_surely(hub)) {
    uvf__op_type(op)->posted(op);
  } else {
    uvf__hub_post(hub, (uintptr_t)op | UVF__POST_OP); /* it holds its root live, so the hub is open */
  }
}

void uvf__tell_all(uvf__waiter_t *first) {
  uvf__parker_t *chain = NULL; /* its first thread: the one to wake when the chain is whole */
  uvf__parker_t *last = NULL;
  unsigned int n = 0;
  while (first != NULL) {
    uvf__waiter_t *next = first->next;
    uvf_op_t *op = first->op;
    if (!is_thread(op)) {
      uvf__wait_finish(op);
    } else if (tell_thread(parker_of(op))) {
      if (n++ % WAKE_CHAIN != 0) {
        last->then = parker_of(op);
      } else {
        if (chain != NULL) wake(chain);
        chain = parker_of(op);
      }
      last = parker_of(op);
    }
    first = next;
  }
  if (chain != NULL) wake(chain);
}

void uvf__wait_now(uvf_op_t *op, int status) {
  uvf__u32_store(&op->uvf__state, UVF__OP_CLAIMED);
  op->status = status;
  if (is_thread(op)) {
    parker_of(op)->word = TOLD;
  } else {
    uvf__op_type(op)->posted(op);
  }
}

void uvf__wait_posted(uvf_op_t *op) { uvf__op_ready(op); }

int uvf__waiter_is_over(const uvf__waiter_t *w) { return uvf__ctx_err(w->op->ctx) != 0; }

/* One whose context is over is not told from here, but by whoever ended that: a cancel's completions come in an
 * order. */
int uvf__wait_claim(uvf__queue_t *queue, uvf__waiter_t *w, uvf__told_t *told) {
  uvf_op_t *op = w->op;
  int err;
  uvf__queue_remove(queue, w);
  if (uvf__waiter_is_over(w) || !uvf__op_claim(op)) return 0;
  err = uvf__ctx_err(op->ctx); /* it may have ended just now */
  op->status = err;
  w->won = 1;
  uvf__told_add(told, w);
  return err == 0;
}

uvf__waiter_t *uvf__queue_take(uvf__queue_t *queue, uvf__told_t *told) {
  uvf__waiter_t *w;
  while ((w = queue->first) != NULL) {
    if (uvf__wait_claim(queue, w, told)) return w;
  }
  return NULL;
}

/* --- uvf_wait_t ----------------------------------------------------------------------------------- */

int uvf__wait_deliver(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  if (wait->uvf__cb != NULL) wait->uvf__cb(wait, op->status);
  return 1;
}

static void fill(uvf_wait_t *wait, void *object, uint64_t want, uvf_wait_cb cb) {
  wait->value = NULL;
  wait->uvf__cb = cb;
  wait->uvf__object = object;
  wait->uvf__want = want;
  uvf__waiter_init(&wait->uvf__waiter, uvf__wait_op(wait));
}

int uvf__wait_begin(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object, uint64_t want,
                    uvf_wait_cb cb, const char *function) {
  int rc;
  if (ctx == NULL || wait == NULL || object == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, uvf__wait_op(wait), type, function);
  if (rc >= 0) fill(wait, object, want, cb);
  return rc;
}

int uvf__wait_block_begin(uvf_ctx_t *ctx, uvf_wait_t *wait, const uvf__op_type_t *type, void *object, uint64_t want,
                          uvf__parker_t *parker) {
  if (ctx == NULL || object == NULL) return UV_EINVAL;
  fill(wait, object, want, NULL);
  return uvf__block_begin(ctx, uvf__wait_op(wait), type, parker);
}

/* --- blocked threads ------------------------------------------------------------------------------ */

int uvf__block_check(const char *function) {
  int has_loop = uvf__hub_thread_has_loop();
  (void)function;
  UVF__RULE(!has_loop, function, "blocks: it must not be called on a thread that runs a loop");
  return has_loop ? UV_EPERM : 0;
}

int uvf__block_begin(uvf_ctx_t *ctx, uvf_op_t *op, const uvf__op_type_t *type, uvf__parker_t *parker) {
  int err = uvf__ctx_err(ctx);
  if (err != 0) return err;
  op->ctx = ctx;
  op->status = 0;
  op->uvf__type = type;
  op->uvf__post = (uintptr_t)parker | THREAD_TAG;
  parker->word = SPINNING;
  parker->wake = NULL;
  parker->ctx = ctx;
  uvf__u32_store(&op->uvf__state, UVF__OP_PENDING);
  return 0;
}

static int is_told(uvf__parker_t *parker) { return uvf__u32_load(&parker->word) == TOLD; }

/* err as invariant 3 wants it: an end that is being claimed counts. */
static int ended(uvf_ctx_t *ctx) {
  int32_t err = atomic_load(&ctx->err);
  if (err == 0) return uvf__clock_ns() >= ctx->deadline.at_ns ? UV_ETIMEDOUT : 0;
  for (int i = 0; err > 0; i++) { /* three stores away, see uvf__ctx_claim */
    if (i > LOCK_TRIES) uv_sleep(0);
    err = atomic_load(&ctx->err);
  }
  return err;
}

static void join_sleepers(uvf__hub_t *hub, uvf__parker_t *parker) {
  uv_mutex_lock(&hub->sleep_lock);
  uvf__link_push(&hub->sleepers, &parker->link);
  atomic_fetch_add(&hub->nsleepers, 1);
  (void)atomic_load(&hub->sweep); /* what a sweep that has not seen this thread has stored is visible now */
  uv_mutex_unlock(&hub->sleep_lock);
}

static void leave_sleepers(uvf__hub_t *hub, uvf__parker_t *parker) {
  uv_mutex_lock(&hub->sleep_lock);
  uvf__link_remove(&parker->link);
  atomic_fetch_sub(&hub->nsleepers, 1);
  uv_mutex_unlock(&hub->sleep_lock);
}

UVF__COLD void uvf__wait_poke_slow(uvf__hub_t *hub) {
  uv_mutex_lock(&hub->sleep_lock);
  for (uvf__link_t *l = hub->sleepers; l != NULL; l = l->next) {
    uvf__parker_t *parker = UVF__CONTAINER(l, uvf__parker_t, link);
    if (atomic_load(&parker->ctx->err) != 0) poke(parker);
  }
  uv_mutex_unlock(&hub->sleep_lock);
}

int uvf__wait_prod(uvf_op_t *op) {
  uvf__parker_t *parker = parker_of(op);
  if (!is_thread(op)) return 0;
  if (uvf__u32_load(&parker->word) == PARKED) poke(parker);
  return 1;
}

/* Until woken, poked or the deadline; 1 if woken. `told`: it has been claimed by somebody else: only that counts. */
static int doze(uvf__parker_t *parker, uint64_t deadline_ns, int told) {
  int woken;
  uv_mutex_lock(&parker->lock);
  while (!parker->woken && (told || !parker->poked)) {
    uint64_t now_ns;
    uint64_t left_ns;
    if (told || deadline_ns == UINT64_MAX) {
      uv_cond_wait(&parker->cond, &parker->lock);
      continue;
    }
    now_ns = uvf__clock_ns();
    if (now_ns >= deadline_ns) break;
    left_ns = deadline_ns - now_ns;
    uv_cond_timedwait(&parker->cond, &parker->lock, left_ns < DOZE_MAX_NS ? left_ns : DOZE_MAX_NS);
  }
  woken = parker->woken;
  parker->poked = 0;
  uv_mutex_unlock(&parker->lock);
  return woken;
}

/* When to look again, whatever happens. What `wake` serves may be op itself: then doze() finds it woken. */
static uint64_t alarm_ns(uvf_op_t *op, uvf__parker_t *parker) {
  uint64_t wake_ns = parker->wake == NULL ? UINT64_MAX : parker->wake(op);
  return wake_ns < op->ctx->deadline.at_ns ? wake_ns : op->ctx->deadline.at_ns;
}

/* 1: it was told. 0: it has claimed its operation for a failure, whose status is set. */
static int park(uvf_op_t *op, uvf__parker_t *parker) {
  uvf__hub_t *hub = uvf__ctx_hub(op->ctx);
  int told = 0;
  int woken = 0;
  if (!uvf__u32_claim(&parker->word, SPINNING, PARKED)) return 1;
  join_sleepers(hub, parker);
  while (!woken) {
    int err = told ? 0 : ended(op->ctx);
    if (err != 0 && uvf__op_claim(op)) {
      op->status = err;
      break;
    }
    if (err != 0) told = 1;
    woken = doze(parker, told ? UINT64_MAX : alarm_ns(op, parker), told);
  }
  if (woken && parker->then != NULL) wake(parker->then); /* invariant 6 */
  leave_sleepers(hub, parker);
  return woken;
}

static int give_up(uvf_op_t *op, int status) {
  op->status = status;
  uvf__op_type(op)->withdraw(op);
  return status;
}

/* Looks on before it sleeps; 1 if it was told meanwhile. A thread that spins keeps its processor from whoever is to
 * answer, so one for which it does not pay, because answers take longer than that, soon goes to sleep at once. */
static _Thread_local uint32_t patience = BLOCK_LOOKS;
static _Thread_local uint32_t naps;

int uvf__block_may_linger(void) { return patience > 0; }

static int spin(uvf__parker_t *parker) {
  uint32_t looks = patience;
  if (looks == 0 && ++naps % BLOCK_RETRY == 0) looks = BLOCK_LOOKS;
  for (uint32_t i = 0; i < looks; i++) {
    uvf__spin(BLOCK_SPIN_NS / BLOCK_LOOKS);
    if (!is_told(parker)) continue;
    patience = BLOCK_LOOKS;
    return 1;
  }
  patience /= 4;
  return is_told(parker);
}

static int block(uvf_op_t *op, uvf__parker_t *parker, const char *function) {
  int told;
  int err = uvf__block_check(function);
  if (err != 0 && uvf__op_claim(op)) return give_up(op, err);
  if (spin(parker)) return op->status;
  parker->woken = 0;
  parker->poked = 0;
  err = uv_mutex_init(&parker->lock);
  if (err == 0) {
    err = uv_cond_init(&parker->cond);
    if (err != 0) uv_mutex_destroy(&parker->lock);
  }
  if (err != 0) { /* no means to sleep */
    if (uvf__op_claim(op)) return give_up(op, err);
    while (!is_told(parker)) uv_sleep(0);
    return op->status;
  }
  told = park(op, parker);
  if (!told) give_up(op, op->status);
  uv_cond_destroy(&parker->cond);
  uv_mutex_destroy(&parker->lock);
  return op->status;
}

int uvf__block_end(uvf_op_t *op, const char *function) {
  uvf__parker_t *parker = parker_of(op);
  return UVF__LIKELY(is_told(parker)) ? op->status : block(op, parker, function);
}

/* --- the loop's next turn ------------------------------------------------------------------------- */

void uvf__wait_later(uvf__hub_t *hub, uvf__waiter_t *w) {
  uvf__queue_push(&hub->later, w);
  uvf__hub_kick(hub);
}

void uvf__wait_turn(uvf__hub_t *hub) {
  uvf__waiter_t *w;
  hub->turn++;
  while ((w = hub->later.first) != NULL) {
    uvf__queue_remove(&hub->later, w);
    if (uvf__op_claim(w->op)) uvf__op_ready(w->op);
  }
}
