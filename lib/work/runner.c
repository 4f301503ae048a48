/* SPDX-License-Identifier: MIT
 *
 * Who runs jobs. A hub's jobs stand in one queue; up to `limit` runners (uv_work_t requests) of the whole process take them from there one at a time, so that
 * a slow job holds up nobody: there is no private batch. A runner holds one slot of the process-wide share from the moment its request
 * is queued until it stops taking jobs.
 *
 * Yielding. After a quantum a runner stops where that helps somebody: another hub that waits for a slot, or somebody else's request that waits for a pool
 * thread. The second cannot be asked for; so the runner has the loop queue one more request, the relief, behind whatever waits. A relief that
 * is still queued at the next quantum shows that the pool is full: the runner hands it its slot and returns. A relief that was started
 * meanwhile shows that there was a free thread, and there is no need. Requests can be queued by the loop only: a runner that returned
 * without a relief in the queue would leave the jobs stuck behind a busy loop, so it never does. In a pool of one thread, where each job keeps
 * all others out, a relief is queued from the start.
 *
 * Invariants
 * 1. w->lock guards the queue, `queued`, `idle`, `transit`, `relief`, and job->uvf__run while it is QUEUED or RUNNING. share_lock guards the share.
 *    Order: neither is taken under the other. Neither is held while fn or a callback runs.
 * 2. While a job is queued there is an idle runner for it (queued or running requests of ours that are about to look), or all runners of this
 *    hub are in jobs and it has asked for another: then it waits for a slot (`waiting`) or for memory.
 * 3. held <= limit, but when limit was lowered: then runners stop after their job until it holds.
 * 4. Every request of ours with libuv, and a place among the waiters, is counted in hub->busy: the hub is not closed before they are back.
 * 5. A hub with nothing to do has nothing queued in libuv's pool: requests that were not started are cancelled (trim), so they do not hold the loop.
 */
#include "work/runner.h"

#include <stdlib.h>

#include "kernel/context.h"

#define QUANTUM_NS UINT64_C(2000000)
#define POOL_DEFAULT 4u
#define POOL_MAX 1024u
#define CHECK_MAX 64u /* jobs between two looks at the clock, at most */

typedef struct runner_s {
  uv_work_t req;
  uvf__workers_t *w;
  uvf__link_t link; /* spare or out */
  int started;      /* under w->lock */
  int relief;
} runner_t;

struct uvf__workers_s {
  uvf__ext_t ext;
  uvf__hub_t *hub;
  /* loop thread */
  uvf__link_t *spare;
  uvf__link_t *out; /* runners with libuv */
  uint64_t jobs;    /* pushed and not back */
  int waiting;      /* for a slot */
  uvf__post_t grant;
  uvf__post_t want_relief;
  runner_t first;   /* so that one can always be queued */
  /* under lock */
  uv_mutex_t lock;
  uvf_work_t *head;
  uvf_work_t *tail;
  uint32_t queued;
  uint32_t idle;    /* runners with a slot that are not in a job */
  uint32_t transit; /* slots left by a runner for the relief */
  enum { NONE, ASKED, QUEUED } relief;
  /* the share's */
  struct uvf__workers_s *next_waiting;
};

/* --- the share of the pool -------------------------------------------------------------------------------------------------- */

static uv_once_t share_once = UV_ONCE_INIT;
static uv_mutex_t share_lock;
static unsigned int pool_size;
static _Atomic(unsigned int) limit;
static _Atomic(unsigned int) held;
static _Atomic(int) somebody_waits;
static uvf__workers_t *waiters;

static unsigned int default_limit(void) { return pool_size > 1 ? pool_size - 1 : 1; }

/* As libuv reads it: atoi, at least 1, at most 1024. */
static void share_init(void) {
  char text[32];
  size_t size = sizeof text;
  pool_size = POOL_DEFAULT;
  if (uv_os_getenv("UV_THREADPOOL_SIZE", text, &size) == 0) {
    int n = atoi(text);
    pool_size = n <= 0 ? 1 : (unsigned int)n > POOL_MAX ? POOL_MAX : (unsigned int)n;
  }
  atomic_store(&limit, default_limit());
  if (uv_mutex_init(&share_lock) != 0) uvf__rule_broken("uvf_work_start", "no mutex to be had");
}

/* Under share_lock: gives free slots to those that wait. */
static void grant_slots(void) {
  while (waiters != NULL && atomic_load(&held) < atomic_load(&limit)) {
    uvf__workers_t *w = waiters;
    waiters = w->next_waiting;
    atomic_fetch_add(&held, 1);
    uvf__hub_post_busy(w->hub, (uintptr_t)&w->grant | UVF__POST_CALL);
  }
  atomic_store(&somebody_waits, waiters != NULL);
}

/* A slot for w, or a place in the line. Loop thread. */
static int take_slot(uvf__workers_t *w) {
  int taken = 0;
  uvf__workers_t **at;
  uv_mutex_lock(&share_lock);
  if (waiters == NULL && atomic_load(&held) < atomic_load(&limit)) {
    atomic_fetch_add(&held, 1);
    taken = 1;
  } else if (!w->waiting) {
    w->waiting = 1;
    w->hub->busy++;
    w->next_waiting = NULL;
    for (at = &waiters; *at != NULL; at = &(*at)->next_waiting) {}
    *at = w;
    atomic_store(&somebody_waits, 1);
  }
  uv_mutex_unlock(&share_lock);
  return taken;
}

static void give_slot(void) {
  uv_mutex_lock(&share_lock);
  atomic_fetch_sub(&held, 1);
  grant_slots();
  uv_mutex_unlock(&share_lock);
}

/* Out of the line, unless a grant is on its way already. Loop thread. */
static void stop_waiting(uvf__workers_t *w) {
  uvf__workers_t **at;
  int found;
  uv_mutex_lock(&share_lock);
  for (at = &waiters; *at != NULL && *at != w; at = &(*at)->next_waiting) {}
  found = *at != NULL;
  if (found) *at = w->next_waiting;
  atomic_store(&somebody_waits, waiters != NULL);
  uv_mutex_unlock(&share_lock);
  if (!found) return;
  w->waiting = 0;
  uvf__hub_unbusy(w->hub);
}

int uvf_work_set_limit(unsigned int threads) {
  uv_once(&share_once, share_init);
  uv_mutex_lock(&share_lock);
  if (threads == 0) threads = default_limit();
  atomic_store(&limit, threads < pool_size ? threads : pool_size);
  grant_slots();
  uv_mutex_unlock(&share_lock);
  return 0;
}

unsigned int uvf_work_limit(void) {
  uv_once(&share_once, share_init);
  return atomic_load(&limit);
}

/* --- pool thread ---------------------------------------------------------------------------------------------------------------- */

/* Under w->lock. */
static uvf_work_t *pop(uvf__workers_t *w) {
  uvf_work_t *job = w->head;
  if (job == NULL) return NULL;
  w->head = job->uvf__qnext;
  if (w->head != NULL) {
    w->head->uvf__qprev = NULL;
  } else {
    w->tail = NULL;
  }
  w->queued--;
  job->uvf__run = UVF__RUN_RUNNING;
  return job;
}

/* What a runner does when its quantum is over. */
enum { GO_ON, LEAVE, HAND_OVER };

/* Under w->lock. */
static int end_of_quantum(uvf__workers_t *w, int *ask) {
  if (atomic_load(&held) > atomic_load(&limit)) return LEAVE;
  if (w->head == NULL) return GO_ON;
  if (atomic_load(&somebody_waits)) return LEAVE;
  if (w->relief == QUEUED) return HAND_OVER;
  *ask = w->relief == NONE;
  if (*ask) w->relief = ASKED;
  return GO_ON;
}

/* Jobs until none is left or it should yield. Entered with a slot, counted as idle, w->lock held; left without them. */
static void run_jobs(uvf__workers_t *w) {
  uint64_t since_ns = 0; /* the clock is only read once there was more than one job */
  unsigned int ran = 0;
  unsigned int check_in = 1;
  int verdict = GO_ON;
  uvf_work_t *job;
  while (verdict == GO_ON && (job = pop(w)) != NULL) {
    int ask = 0;
    w->idle--;
    uv_mutex_unlock(&w->lock);
    if (since_ns == 0) since_ns = uv_hrtime();
    uvf__job_run(w->hub, job);
    ran++;
    if (--check_in == 0) {
      uint64_t gone_ns = uv_hrtime() - since_ns;
      uv_mutex_lock(&w->lock);
      if (gone_ns >= QUANTUM_NS) {
        verdict = end_of_quantum(w, &ask);
        since_ns += gone_ns;
        ran = 0;
        check_in = 1;
      } else { /* look again after about a quarter of a quantum */
        uint64_t each_ns = gone_ns / ran + 1;
        uint64_t jobs = QUANTUM_NS / 4 / each_ns;
        check_in = jobs < 1 ? 1 : jobs > CHECK_MAX ? CHECK_MAX : (unsigned int)jobs;
      }
    } else {
      uv_mutex_lock(&w->lock);
    }
    if (verdict == GO_ON && atomic_load_explicit(&held, memory_order_relaxed) > atomic_load_explicit(&limit, memory_order_relaxed)) {
      verdict = LEAVE;
    }
    w->idle++;
    if (ask) uvf__hub_post_busy(w->hub, (uintptr_t)&w->want_relief | UVF__POST_CALL);
  }
  w->idle--;
  if (verdict == HAND_OVER) w->transit++;
  uv_mutex_unlock(&w->lock);
  if (verdict != HAND_OVER) give_slot();
}

static void on_pool(uv_work_t *req) {
  runner_t *r = UVF__CONTAINER(req, runner_t, req);
  uvf__workers_t *w = r->w;
  uv_mutex_lock(&w->lock);
  r->started = 1;
  if (r->relief) {
    w->relief = NONE;
    if (w->transit == 0) { /* there was a thread to spare */
      uv_mutex_unlock(&w->lock);
      return;
    }
    w->transit--;
    w->idle++;
  }
  run_jobs(w);
}

/* --- loop thread ------------------------------------------------------------------------------------------------------------------ */

static void on_back(uv_work_t *req, int status);

static int queue_runner(uvf__workers_t *w, int relief) {
  runner_t *r;
  if (w->spare != NULL) {
    r = UVF__CONTAINER(w->spare, runner_t, link);
    uvf__link_remove(&r->link);
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

static void queue_relief(uvf__workers_t *w) {
  int wanted;
  uv_mutex_lock(&w->lock);
  wanted = w->relief != QUEUED;
  if (wanted) w->relief = QUEUED;
  uv_mutex_unlock(&w->lock);
  if (!wanted || queue_runner(w, 1) == 0) return;
  uv_mutex_lock(&w->lock);
  w->relief = NONE;
  uv_mutex_unlock(&w->lock);
}

/* With a slot: one more runner. Without memory for it the slot goes back, and on_back of one that is out tries again; `first` sees to it that
 * there is one. */
static void add_runner(uvf__workers_t *w) {
  uv_mutex_lock(&w->lock);
  w->idle++;
  uv_mutex_unlock(&w->lock);
  if (queue_runner(w, 0) == 0) {
    if (pool_size == 1) queue_relief(w);
    return;
  }
  uv_mutex_lock(&w->lock);
  w->idle--;
  uv_mutex_unlock(&w->lock);
  give_slot();
}

static int short_of_runners(uvf__workers_t *w) {
  int is;
  uv_mutex_lock(&w->lock);
  is = w->queued > w->idle + w->transit;
  uv_mutex_unlock(&w->lock);
  return is;
}

static void top_up(uvf__workers_t *w) {
  if (!w->waiting && short_of_runners(w) && take_slot(w)) add_runner(w);
}

/* Nothing to do: take back what was not started, and the place in the line. */
static void trim(uvf__workers_t *w) {
  uvf__link_t *next;
  if (w->waiting) stop_waiting(w);
  for (uvf__link_t *n = w->out; n != NULL; n = next) {
    runner_t *r = UVF__CONTAINER(n, runner_t, link);
    int started;
    next = n->next;
    uv_mutex_lock(&w->lock);
    started = r->started;
    uv_mutex_unlock(&w->lock);
    if (!started) uv_cancel((uv_req_t *)&r->req); /* on_back comes with UV_ECANCELED; or it has just started */
  }
}

/* By libuv: a request of ours is back. */
static void on_back(uv_work_t *req, int status) {
  runner_t *r = UVF__CONTAINER(req, runner_t, req);
  uvf__workers_t *w = r->w;
  uvf__hub_t *hub = w->hub;
  uvf__link_remove(&r->link);
  uvf__link_push(&w->spare, &r->link);
  if (status == UV_ECANCELED) { /* it never ran: it still has what it was queued with */
    int slot = !r->relief;
    uv_mutex_lock(&w->lock);
    if (r->relief) {
      w->relief = NONE;
      if (w->transit > 0) {
        w->transit--;
        slot = 1;
      }
    } else {
      w->idle--;
    }
    uv_mutex_unlock(&w->lock);
    if (slot) give_slot();
  }
  top_up(w);
  uvf__hub_unbusy(hub);
}

static void on_grant(uvf__post_t *post, int closed) {
  uvf__workers_t *w = UVF__CONTAINER(post, uvf__workers_t, grant);
  (void)closed; /* cannot be: it is counted in busy */
  w->waiting = 0;
  if (short_of_runners(w)) {
    add_runner(w);
    top_up(w);
  } else {
    give_slot();
  }
  uvf__hub_unbusy(w->hub);
}

static void on_want_relief(uvf__post_t *post, int closed) {
  uvf__workers_t *w = UVF__CONTAINER(post, uvf__workers_t, want_relief);
  (void)closed; /* cannot be: the runner that asked is not back */
  if (w->jobs > 0) {
    queue_relief(w);
    return;
  }
  uv_mutex_lock(&w->lock);
  if (w->relief == ASKED) w->relief = NONE;
  uv_mutex_unlock(&w->lock);
}

void uvf__workers_push(uvf__workers_t *w, uvf_work_t *job) {
  int short_of;
  w->jobs++;
  job->uvf__run = UVF__RUN_QUEUED;
  job->uvf__qnext = NULL;
  uv_mutex_lock(&w->lock);
  job->uvf__qprev = w->tail;
  if (w->tail != NULL) {
    w->tail->uvf__qnext = job;
  } else {
    w->head = job;
  }
  w->tail = job;
  w->queued++;
  short_of = w->queued > w->idle + w->transit;
  uv_mutex_unlock(&w->lock);
  if (short_of && !w->waiting && take_slot(w)) add_runner(w);
}

int uvf__workers_withdraw(uvf__workers_t *w, uvf_work_t *job) {
  int queued;
  uv_mutex_lock(&w->lock);
  queued = job->uvf__run == UVF__RUN_QUEUED;
  if (queued) {
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
    w->queued--;
  }
  uv_mutex_unlock(&w->lock);
  return queued;
}

void uvf__workers_back(uvf__workers_t *w) {
  if (--w->jobs == 0 && (w->out != NULL || w->waiting)) trim(w);
}

/* --- life --------------------------------------------------------------------------------------------------------------------------- */

static void destroy(uvf__ext_t *ext) {
  uvf__workers_t *w = UVF__CONTAINER(ext, uvf__workers_t, ext);
  while (w->spare != NULL) {
    runner_t *r = UVF__CONTAINER(w->spare, runner_t, link);
    uvf__link_remove(&r->link);
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
  uv_once(&share_once, share_init);
  w = uvf__malloc(sizeof *w);
  if (w == NULL) return UV_ENOMEM;
  *w = (uvf__workers_t){0};
  err = uv_mutex_init(&w->lock);
  if (err != 0) {
    uvf__free(w);
    return err;
  }
  w->ext.destroy = destroy;
  w->hub = hub;
  w->grant.apply = on_grant;
  w->want_relief.apply = on_want_relief;
  w->first.w = w;
  uvf__link_push(&w->spare, &w->first.link);
  hub->exts[UVF__EXT_WORK] = &w->ext;
  *out = w;
  return 0;
}
