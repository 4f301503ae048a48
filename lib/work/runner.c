/* SPDX-License-Identifier: MIT
 *
 * Who runs jobs. A hub's jobs stand in one queue; runners (uv_work_t requests) take them from there one at a time, so
 * that a slow job holds up nobody: there is no private batch. A runner holds one slot of the process-wide share
 * (share.c) from the moment its request is queued until it stops taking jobs.
 *
 * Yielding. After a quantum a runner stops where that helps somebody: another hub that waits for a slot, or somebody
 * else's request that waits for a pool thread. The second cannot be asked for; so the runner has the loop queue one
 * more request, the relief, behind whatever waits. A relief that is still queued at the next quantum shows that the
 * pool is full: the runner leaves it its slot and returns. A relief that was started meanwhile shows that there was a
 * free thread, and there is no need. Requests can be queued by the loop only: a runner that returned without a relief
 * in the queue would leave its jobs stuck behind a busy loop, so for the pool's sake it never does. Where the limit
 * lets us have the whole pool, so that there is no thread to spare, a relief is queued in advance.
 *
 * Invariants
 * 1. w->lock guards the outbox, `reliefs`, `loaded`, runner->started, and job->uvf__run while it is QUEUED or
 *    RUNNING. It is held over no other lock and no user code. The inbox is lock-free: the loop pushes, whoever has
 *    the lock takes it whole.
 * 2. `alive` counts slots at work for this hub: requests queued, runners, slots left to reliefs. While a job is
 *    queued, either fewer jobs are outstanding than alive (then a runner is about to look), or this hub stands in the
 *    line for one more slot, or it has `limit`.
 * 3. No job is forgotten by a runner that leaves: it takes itself out of `alive` first and looks at the queue again
 *    after; the loop pushes first and looks at `alive` after (both sequentially consistent, so one of the two sees
 *    the other).
 *    The same once more around giving the slot back, under the share's lock: a loop that found none free while this
 *    one was held has pushed before, so the runner sees the job and takes a slot again.
 * 4. Every request of ours with libuv, and a place in the line, is counted in hub->busy: the hub is not closed before
 *    they are back.
 * 5. A hub with nothing to do has nothing waiting in libuv's pool: requests that were not started are cancelled
 *    (trim), so that they do not hold the loop.
 */
#include "work/runner.h"

#include <string.h>

#include "kernel/context.h"
#include "work/share.h"

#define QUANTUM_NS UINT64_C(2000000)
#define LINGER_NS UINT64_C(20000)
#define LINGER_PATIENCE 16u
#define CHECK_MAX 64u /* jobs between two looks at the clock, at most */
#define LOCK_SPINS 64

typedef struct runner_s {
  uv_work_t req;
  uvf__workers_t *w;
  uvf__link_t link; /* spare or out */
  int started;
  int relief;
} runner_t;

struct uvf__workers_s {
  uvf__ext_t ext;
  uvf__hub_t *hub;
  /* loop thread */
  uvf__link_t *spare;
  uvf__link_t *out; /* runners with libuv */
  uint64_t jobs;    /* outstanding: pushed and not back */
  uvf__claimant_t claim;
  uvf__post_t want_relief;
  runner_t first; /* so that one can always be queued */
  char apart1[64];
  /* both sides, often */
  _Atomic(uvf_work_t *) inbox; /* newest first */
  char apart2[64];
  /* both sides, seldom written */
  _Atomic(uint32_t) alive;
  char apart3[64];
  /* runners, mostly; under lock */
  uv_mutex_t lock;
  uvf_work_t *head; /* the outbox, oldest first */
  uvf_work_t *tail;
  uint32_t in_vain; /* lingered, or not even tried, since it last paid */
  uint32_t reliefs; /* queued with libuv and not started */
  uint32_t loaded;  /* of these: how many have the slot of a runner that left */
  int wanting;      /* want_relief is among the posts: it must not be posted again */
};

/* Held for a few instructions at a time: worth a moment's spinning before the thread is put to sleep. */
static void lock(uvf__workers_t *w) {
  for (int i = 0; i < LOCK_SPINS; i++) {
    if (uv_mutex_trylock(&w->lock) == 0) return;
    UVF__PAUSE();
  }
  uv_mutex_lock(&w->lock);
}

static void unlock(uvf__workers_t *w) { uv_mutex_unlock(&w->lock); }

/* --- the queue -------------------------------------------------------------------------------- */

/* Behind the outbox with what came in. Under lock. */
static void take_inbox(uvf__workers_t *w) {
  uvf_work_t *job;
  uvf_work_t *later = NULL;
  uvf_work_t *last;
  if (atomic_load_explicit(&w->inbox, memory_order_relaxed) == NULL) return;
  last = job = atomic_exchange(&w->inbox, NULL);
  for (;;) { /* newest first: turn it round */
    uvf_work_t *earlier = job->uvf__qnext;
    job->uvf__qnext = later;
    if (later != NULL) later->uvf__qprev = job;
    later = job;
    if (earlier == NULL) break;
    job = earlier;
  }
  job->uvf__qprev = w->tail;
  if (w->tail != NULL) {
    w->tail->uvf__qnext = job;
  } else {
    w->head = job;
  }
  w->tail = last;
}

static int is_empty(uvf__workers_t *w) { return w->head == NULL && atomic_load(&w->inbox) == NULL; }

static int is_empty_now(uvf__workers_t *w) {
  int empty;
  lock(w);
  empty = is_empty(w);
  unlock(w);
  return empty;
}

/* Under lock. */
static void unqueue(uvf__workers_t *w, uvf_work_t *job) {
  uvf_work_t *next = job->uvf__qnext;
  uvf_work_t *prev = job->uvf__qprev;
  if (next != NULL) {
    next->uvf__qprev = prev;
  } else {
    w->tail = prev;
  }
  if (prev != NULL) {
    prev->uvf__qnext = next;
  } else {
    w->head = next;
  }
}

/* Under lock. */
static uvf_work_t *pop(uvf__workers_t *w) {
  uvf_work_t *job;
  if (w->head == NULL) take_inbox(w);
  job = w->head;
  if (job == NULL) return NULL;
  unqueue(w, job);
  job->uvf__run = UVF__RUN_RUNNING;
  return job;
}

/* Behind all that is there. Under lock. */
static void push_last(uvf__workers_t *w, uvf_work_t *job) {
  take_inbox(w);
  job->uvf__run = UVF__RUN_QUEUED;
  job->uvf__qnext = NULL;
  job->uvf__qprev = w->tail;
  if (w->tail != NULL) {
    w->tail->uvf__qnext = job;
  } else {
    w->head = job;
  }
  w->tail = job;
}

/* --- pool thread ------------------------------------------------------------------------------ */

int uvf__workers_wanted(uvf__hub_t *hub) {
  uvf__workers_t *w = (uvf__workers_t *)(void *)hub->exts[UVF__EXT_WORK];
  if (atomic_load_explicit(&w->inbox, memory_order_relaxed) != NULL || uvf__share_wanted(&w->claim)) return 1;
  return uvf__share_over() || uvf__share_is_whole_pool() || !is_empty_now(w);
}

/* Spins for a moment while there is nothing to do: the next job of a busy loop is a microsecond away, waking a
 * sleeping thread takes ten. Where it has not paid for a while, because jobs come far apart, it is tried only now and
 * then. Entered and left under lock. */
static uvf_work_t *linger(uvf__workers_t *w) {
  uint64_t until_ns;
  uvf_work_t *job;
  if (++w->in_vain > LINGER_PATIENCE && w->in_vain % LINGER_PATIENCE != 0) return NULL;
  until_ns = uv_hrtime() + LINGER_NS;
  do {
    unlock(w);
    uvf__yield(); /* the loop may have been woken on this processor */
    for (int i = 0; i < 32 && atomic_load_explicit(&w->inbox, memory_order_relaxed) == NULL; i++) UVF__PAUSE();
    lock(w);
    if (uvf__share_over()) return NULL; /* not another one with this slot */
    job = pop(w);
  } while (job == NULL && uv_hrtime() < until_ns);
  if (job != NULL) w->in_vain = 0;
  return job;
}

enum { GO_ON, LEAVE, HAND_OVER, SHED };

/* What a runner does when its quantum is over. Under lock. */
static int end_of_quantum(uvf__workers_t *w, int *ask) {
  if (is_empty(w)) return GO_ON;
  if (uvf__share_wanted(&w->claim)) return LEAVE;
  if (w->reliefs > w->loaded) return HAND_OVER;
  *ask = !w->wanting;
  w->wanting = 1;
  return GO_ON;
}

/* How many jobs until the next look at the clock: about a quarter of a quantum. */
static unsigned int next_check(uint64_t gone_ns, unsigned int ran) {
  uint64_t jobs = QUANTUM_NS / 4 / (gone_ns / ran + 1);
  return jobs < 1 ? 1 : jobs > CHECK_MAX ? CHECK_MAX : (unsigned int)jobs;
}

/* The limit was lowered: gives the slot back if it is one too many. Under lock, which is put down meanwhile. */
static int shed(uvf__workers_t *w) {
  int gone;
  if (UVF__LIKELY(!uvf__share_over())) return 0;
  unlock(w);
  gone = uvf__share_shed();
  lock(w);
  return gone;
}

/* Jobs until none is left or it should yield. Entered under lock; left without. */
static int run_jobs(uvf__workers_t *w) {
  uint64_t since_ns = 0;
  unsigned int ran = 0;
  unsigned int check_in = 1;
  int verdict = GO_ON;
  while (verdict == GO_ON) {
    uvf_work_t *job;
    int again;
    int ask = 0;
    if (shed(w)) {
      verdict = SHED;
      break;
    }
    job = pop(w);
    if (job == NULL) job = linger(w);
    if (job == NULL) break;
    unlock(w);
    if (since_ns == 0) since_ns = uv_hrtime();
    again = uvf__job_run(w->hub, job);
    ran++;
    if (--check_in > 0 && !again) {
      lock(w);
    } else {
      uint64_t gone_ns = uv_hrtime() - since_ns;
      check_in = next_check(gone_ns, ran);
      lock(w);
      if (again) push_last(w, job);
      if (gone_ns >= QUANTUM_NS) {
        verdict = end_of_quantum(w, &ask);
        since_ns = 0;
        ran = 0;
        check_in = 1;
      }
    }
    if (ask) uvf__hub_post_busy(w->hub, (uintptr_t)&w->want_relief | UVF__POST_CALL);
  }
  if (verdict == HAND_OVER) w->loaded++;
  unlock(w);
  return verdict;
}

/* Entered under lock, left without. */
static void work_until_done(uvf__workers_t *w) {
  for (;;) {
    int verdict = run_jobs(w);
    if (verdict == HAND_OVER) return;
    atomic_fetch_sub(&w->alive, 1);
    if (verdict == SHED) return; /* on_back looks whether jobs are left without a runner */
    if (verdict == LEAVE) {
      uvf__share_yield(&w->claim);
      return;
    }
    if (is_empty_now(w)) { /* invariant 3, twice: before the slot is given back, and after */
      uvf__share_give();
      if (is_empty_now(w) || !uvf__share_retake(&w->claim)) return;
    }
    atomic_fetch_add(&w->alive, 1);
    lock(w);
  }
}

static void on_pool(uv_work_t *req) {
  runner_t *r = UVF__CONTAINER(req, runner_t, req);
  uvf__workers_t *w = r->w;
  lock(w);
  r->started = 1;
  if (r->relief) {
    w->reliefs--;
    if (w->loaded == 0) { /* there was a thread to spare */
      unlock(w);
      return;
    }
    w->loaded--;
  }
  work_until_done(w);
}

/* --- loop thread ------------------------------------------------------------------------------ */

static void on_back(uv_work_t *req, int status);

static int queue_runner(uvf__workers_t *w, int relief) {
  runner_t *r;
  if (w->spare != NULL) {
    r = UVF__CONTAINER(uvf__link_pop(&w->spare), runner_t, link);
  } else {
    r = uvf__malloc(sizeof *r);
    if (r == NULL) return UV_ENOMEM;
    r->w = w;
  }
  r->started = 0;
  r->relief = relief;
  uvf__link_push(&w->out, &r->link);
  w->hub->busy++;
  return uv_queue_work(w->hub->loop, &r->req, on_pool, on_back);
}

/* A slot that was for this hub goes back unused. */
static void give_back(uvf__workers_t *w) {
  atomic_fetch_sub(&w->alive, 1);
  uvf__share_give();
}

/* A relief is not to come, or was taken back before it began; so is a slot, if that leaves more slots than reliefs. */
static void drop_relief(uvf__workers_t *w) {
  int slot;
  lock(w);
  w->reliefs--;
  slot = w->loaded > w->reliefs;
  if (slot) w->loaded--;
  unlock(w);
  if (slot) give_back(w);
}

/* One that has no slot yet, unless there is one. */
static void queue_relief(uvf__workers_t *w) {
  int wanted;
  lock(w);
  wanted = w->reliefs == w->loaded;
  if (wanted) w->reliefs++;
  unlock(w);
  if (wanted && queue_runner(w, 1) != 0) drop_relief(w);
}

/* With a slot: one more runner. Without memory for it the slot goes back; `first` sees to it that then another one is
 * out, whose return tries again. */
static void add_runner(uvf__workers_t *w) {
  atomic_fetch_add(&w->alive, 1);
  if (queue_runner(w, 0) == 0) {
    if (uvf__share_is_whole_pool() && atomic_load(&w->alive) >= uvf__share_pool_size()) queue_relief(w);
    return;
  }
  give_back(w);
}

static void top_up(uvf__workers_t *w) {
  if (w->jobs > atomic_load(&w->alive) && uvf__share_take(&w->claim)) add_runner(w);
}

/* Nothing to do: takes back what was not started, and the place in the line. What is taken back does not count as alive
 * from here on, though libuv still has the request: jobs may come before on_back does. */
static void trim(uvf__workers_t *w) {
  uvf__link_t *next;
  if (atomic_load(&w->claim.stand) != UVF__CLAIM_NONE && uvf__share_leave(&w->claim)) uvf__hub_unbusy(w->hub);
  for (uvf__link_t *n = w->out; n != NULL; n = next) {
    runner_t *r = UVF__CONTAINER(n, runner_t, link);
    int started;
    next = n->next;
    lock(w);
    started = r->started;
    unlock(w);
    if (!started && uv_cancel((uv_req_t *)&r->req) == 0) {
      r->started = 1; /* not to be cancelled again */
      if (r->relief) {
        drop_relief(w);
      } else {
        give_back(w);
      }
    }
  }
}

/* By libuv: a request of ours is back. */
static void on_back(uv_work_t *req, int status) {
  runner_t *r = UVF__CONTAINER(req, runner_t, req);
  uvf__workers_t *w = r->w;
  (void)status; /* UV_ECANCELED after trim, which has settled it */
  uvf__link_remove(&r->link);
  uvf__link_push(&w->spare, &r->link);
  top_up(w);
  uvf__hub_unbusy(w->hub);
}

/* Applied on the loop, which is open: the place in the line is counted in busy. */
static void on_grant(uvf__post_t *post, int closed) {
  uvf__claimant_t *c = UVF__CONTAINER(post, uvf__claimant_t, grant);
  uvf__workers_t *w = UVF__CONTAINER(c, uvf__workers_t, claim);
  (void)closed;
  if (uvf__share_arrived(c)) {
    if (w->jobs > atomic_load(&w->alive)) {
      add_runner(w);
    } else {
      uvf__share_give();
    }
  }
  top_up(w);
  uvf__hub_unbusy(w->hub);
}

/* The same: the runner that asked is not back. */
static void on_want_relief(uvf__post_t *post, int closed) {
  uvf__workers_t *w = UVF__CONTAINER(post, uvf__workers_t, want_relief);
  (void)closed;
  lock(w);
  w->wanting = 0;
  unlock(w);
  if (w->jobs == 0) return;
  queue_relief(w);
  top_up(w);
}

void uvf__workers_push(uvf__workers_t *w, uvf_work_t *job) {
  uvf_work_t *newest = atomic_load_explicit(&w->inbox, memory_order_relaxed);
  w->jobs++;
  job->uvf__run = UVF__RUN_QUEUED;
  do {
    job->uvf__qnext = newest;
  } while (!atomic_compare_exchange_weak(&w->inbox, &newest, job));
  top_up(w);
}

int uvf__workers_withdraw(uvf__workers_t *w, uvf_work_t *job) {
  int queued;
  lock(w);
  queued = job->uvf__run == UVF__RUN_QUEUED;
  if (queued) {
    take_inbox(w); /* it may be in there, where it cannot be reached */
    unqueue(w, job);
  }
  unlock(w);
  return queued;
}

void uvf__workers_back(uvf__workers_t *w) {
  if (--w->jobs == 0 && (w->out != NULL || atomic_load(&w->claim.stand) != UVF__CLAIM_NONE)) trim(w);
}

/* --- life ------------------------------------------------------------------------------------- */

static void destroy(uvf__ext_t *ext) {
  uvf__workers_t *w = UVF__CONTAINER(ext, uvf__workers_t, ext);
  while (w->spare != NULL) {
    runner_t *r = UVF__CONTAINER(uvf__link_pop(&w->spare), runner_t, link);
    if (r != &w->first) uvf__free(r);
  }
  uv_mutex_destroy(&w->lock);
  uvf__free(w);
}

int uvf__workers_get(uvf__hub_t *hub, uvf__workers_t **out) {
  uvf__workers_t *w = (uvf__workers_t *)(void *)hub->exts[UVF__EXT_WORK];
  int err;
  if (UVF__LIKELY(w != NULL)) {
    *out = w;
    return 0;
  }
  err = uvf__hub_enter(hub, "uvf_work_start");
  if (err != 0) return err;
  uvf__share_init();
  w = uvf__malloc(sizeof *w);
  if (w == NULL) return UV_ENOMEM;
  memset(w, 0, sizeof *w);
  err = uv_mutex_init(&w->lock);
  if (err != 0) {
    uvf__free(w);
    return err;
  }
  w->ext.destroy = destroy;
  w->hub = hub;
  w->claim.hub = hub;
  w->claim.grant.apply = on_grant;
  w->want_relief.apply = on_want_relief;
  w->first.w = w;
  uvf__link_push(&w->spare, &w->first.link);
  hub->exts[UVF__EXT_WORK] = &w->ext;
  *out = w;
  return 0;
}
