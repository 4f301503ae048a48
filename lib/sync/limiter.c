/* SPDX-License-Identifier: MIT
 *
 * The limiter: a token bucket, and a queue of those who wait for tokens, of whom only the first has to know its time.
 *
 * Parties: whoever visits the limiter, on any thread (a start, a try, a ring, a withdrawal, set, unreserve): serves the
 * head as long as it is due, then sees to it that the new head learns its time; the head, which comes back at its time:
 * a request by a timeout on its own loop, a blocked thread by parker->wake; the nudge, a post that brings word to the
 * loop of a head.
 *
 * Invariants
 * 1. The lock guards the limiter's fields, the queue, and `owed` of those in it. A time is computed from (tokens,
 *    at_ns) by due_ns() alone, and the same function decides whether it has come: who comes at its time is served,
 *    whatever the rounding. It rounds up: never early.
 * 2. When nobody holds the lock the head is `alarmed`, with a time not later than its own: its timeout is armed for
 *    alarm_ns, or will be by the thread that has just let go of the lock and runs that loop, or by the nudge on its
 *    way; if it is a thread, it is parked till then, or calls wake before it sleeps. A time of UINT64_MAX needs no
 *    alarm. One that rings early, because the head's time has moved back, is forgotten and given anew.
 * 3. A timeout is touched on the loop of its request only. It may ring when its request has been served on another
 *    thread: that has not called back, so both are still there; and it is stopped before the request becomes ready.
 * 4. nudged: IDLE -> FLYING, under the lock, request in the queue, by who then posts the nudge. FLYING -> IDLE when it
 *    arrives. FLYING -> ENDED by who has claimed the request: it is out of the queue, so no second nudge follows. Then
 *    only the arrival makes it ready: as long as a nudge flies the request's memory is not given back. Such a nudge
 *    looks at its request alone: one that was cancelled does not count as waiting, its limiter may be gone.
 * 5. A nudge always arrives: its request has begun and is not ready, so it holds its root and with it the hub.
 * 6. A change that finds a nudge FLYING need not send one: the nudge arrives first, then takes the lock, and computes.
 * 7. Who waited before a reservation is not held up by it: its tokens are `owed` by the one that was last in the queue
 *    then, and leave the bucket when that one leaves the queue; if it was withdrawn, the one before it owes them.
 *
 * Deadlock: the lock is a leaf but for the parker's under it (wait.h). Nudges, timeouts and tellings come after it.
 */
#include "kernel/context.h"
#include "kernel/wait.h"
#include "uvflow/sync.h"

enum { IDLE = 0, FLYING = 1, ENDED = 2 }; /* nudged */

#define NS_PER_S 1e9
#define NS_END 1.8446744073709550e19 /* below 2^64: the longest time that is counted in ns */

_Static_assert(sizeof(uvf__post_t) <= sizeof(((uvf_limiter_wait_t *)0)->uvf__nudge), "a nudge is a post");

typedef uvf_limiter_wait_t request_t;

static request_t *of(const uvf__waiter_t *w) { return (request_t *)(void *)w->op; }
static uvf_op_t *op_of(request_t *req) { return (uvf_op_t *)(void *)req; }
static uvf__post_t *nudge_of(request_t *req) { return (uvf__post_t *)(void *)req->uvf__nudge; }
static uvf__hub_t *hub_of(const request_t *req) { return uvf__ctx_hub(req->ctx); }

/* --- the bucket ----------------------------------------------------------------------------------- */

static int is_unlimited(const uvf_limiter_t *l) { return l->uvf__rate >= UVF_LIMITER_INF; }

/* Not a number, or a number there is none above. */
static int is_odd(double n) { return n != n || n > 1.7976931348623157e308; }

static double level(const uvf_limiter_t *l, uint64_t now_ns) {
  double tokens = l->uvf__tokens;
  if (is_unlimited(l)) return l->uvf__burst;
  if (now_ns > l->uvf__at_ns) tokens += l->uvf__rate * (double)(now_ns - l->uvf__at_ns) / NS_PER_S;
  return tokens < l->uvf__burst ? tokens : l->uvf__burst;
}

static void refill(uvf_limiter_t *l, uint64_t now_ns) {
  l->uvf__tokens = level(l, now_ns);
  if (now_ns > l->uvf__at_ns) l->uvf__at_ns = now_ns;
}

/* How long n tokens take to flow in, rounded up; UINT64_MAX: for ever. */
static uint64_t flow_ns(const uvf_limiter_t *l, double n) {
  double ns;
  uint64_t whole;
  if (!(l->uvf__rate > 0)) return UINT64_MAX; /* -0.0 as well */
  ns = n * NS_PER_S / l->uvf__rate;
  if (!(ns < NS_END)) return UINT64_MAX;
  whole = (uint64_t)ns;
  return (double)whole < ns ? whole + 1 : whole;
}

/* When `want` tokens can be taken, by somebody whose turn it is; 0: at once. */
static uint64_t due_ns(const uvf_limiter_t *l, double want) {
  uint64_t ns;
  if (want <= 0 || is_unlimited(l) || want <= l->uvf__tokens) return 0;
  if (want > l->uvf__burst) return UINT64_MAX;
  ns = flow_ns(l, want - l->uvf__tokens);
  return ns < UINT64_MAX - l->uvf__at_ns ? l->uvf__at_ns + ns : UINT64_MAX;
}

/* `want` tokens leave, which are due. Less than 0 can be left by rounding only. */
static void take(uvf_limiter_t *l, double want, uint64_t now_ns) {
  refill(l, now_ns);
  if (want > 0) l->uvf__tokens = l->uvf__tokens > want ? l->uvf__tokens - want : 0;
}

/* --- the queue ------------------------------------------------------------------------------------ */

/* The one whose link is `at`; NULL: that is the head's. */
static request_t *before(uvf_limiter_t *l, uvf__waiter_t **at) {
  return at == &l->uvf__waits.first ? NULL : of(UVF__CONTAINER(at, uvf__waiter_t, next));
}

static uvf__waiter_t **queue_end(uvf_limiter_t *l) {
  return l->uvf__waits.first == NULL ? &l->uvf__waits.first : l->uvf__waits.end;
}

/* n reserved tokens have nobody more to wait for than those before `at` (invariant 7). */
static void owe(uvf_limiter_t *l, uvf__waiter_t **at, double n, uint64_t now_ns) {
  request_t *last = before(l, at);
  if (last != NULL) {
    last->uvf__owed += n;
  } else if (n > 0) {
    refill(l, now_ns);
    l->uvf__tokens -= n;
  }
}

/* What those who wait will take and owe, in all; *for_ever: one of them wants more than it can have. */
static double ahead(const uvf_limiter_t *l, int *for_ever) {
  double sum = 0;
  *for_ever = 0;
  for (const uvf__waiter_t *w = l->uvf__waits.first; w != NULL; w = w->next) {
    sum += of(w)->uvf__want + of(w)->uvf__owed;
    if (of(w)->uvf__want > l->uvf__burst) *for_ever = 1;
  }
  return sum;
}

/* --- a visit -------------------------------------------------------------------------------------- */

typedef struct visit_s {
  uint64_t now_ns;
  uvf__told_t told;
  request_t *arm;   /* a head of this very loop, and its time */
  request_t *nudge; /* of another */
  uint64_t at_ns;
} visit_t;

static void enter(uvf_limiter_t *l, visit_t *v) {
  uvf__told_init(&v->told);
  v->arm = NULL;
  v->nudge = NULL;
  uvf__lock(&l->uvf__lock);
  v->now_ns = uvf__clock_ns();
}

static void forget_alarm(uvf_limiter_t *l, const uvf__waiter_t *w) {
  if (l->uvf__alarmed == w) l->uvf__alarmed = NULL;
}

static void serve(uvf_limiter_t *l, visit_t *v) {
  uvf__waiter_t *w;
  while ((w = l->uvf__waits.first) != NULL && (v->now_ns >= due_ns(l, of(w)->uvf__want) || uvf__waiter_is_over(w))) {
    double want = of(w)->uvf__want;
    double owed = of(w)->uvf__owed;
    forget_alarm(l, w);
    if (uvf__wait_claim(&l->uvf__waits, w, &v->told)) take(l, want, v->now_ns);
    owe(l, &l->uvf__waits.first, owed, v->now_ns);
  }
}

/* Keeps invariant 2. */
static void alarm_head(uvf_limiter_t *l, visit_t *v) {
  uvf__waiter_t *w = l->uvf__waits.first;
  request_t *req;
  uint64_t at_ns;
  if (w == NULL) return;
  req = of(w);
  at_ns = due_ns(l, req->uvf__want);
  if (w == l->uvf__alarmed && at_ns >= l->uvf__alarm_ns) return;
  l->uvf__alarmed = w;
  l->uvf__alarm_ns = at_ns;
  if (at_ns == UINT64_MAX || uvf__wait_prod(w->op)) return;
  if (uvf__on_loop_surely(hub_of(req))) {
    v->arm = req;
    v->at_ns = at_ns;
  } else if (uvf__u32_claim(&req->uvf__nudged, IDLE, FLYING)) {
    v->nudge = req;
  }
}

/* As uvf__tell, but for invariant 4. */
static void tell(uvf__waiter_t *w) {
  while (w != NULL) {
    uvf__waiter_t *next = w->next;
    if (!uvf__u32_claim(&of(w)->uvf__nudged, FLYING, ENDED)) uvf__wait_finish(w->op);
    w = next;
  }
}

static void on_ring(uvf__timeout_t *timeout);
static void on_nudge(uvf__post_t *post, int closed);

/* No lock held; the head may have been served meanwhile: then it has not called back yet, this being its loop. */
static void arm(request_t *req, uint64_t at_ns) {
  uvf__timeout_stop(hub_of(req), &req->uvf__timeout);
  uvf__timeout_start(hub_of(req), &req->uvf__timeout, at_ns, on_ring);
}

static void send_nudge(request_t *req) {
  nudge_of(req)->apply = on_nudge;
  uvf__hub_post(hub_of(req), (uintptr_t)nudge_of(req) | UVF__POST_CALL);
}

/* Everything ends with this. The limiter is not touched after its lock is released. */
static void leave(uvf_limiter_t *l, visit_t *v) {
  serve(l, v);
  alarm_head(l, v);
  uvf__unlock(&l->uvf__lock);
  tell(v->told.first);
  if (v->arm != NULL) arm(v->arm, v->at_ns);
  if (v->nudge != NULL) send_nudge(v->nudge);
}

/* --- the head comes back -------------------------------------------------------------------------- */

static void come_back(request_t *req) {
  uvf_limiter_t *l = req->uvf__limiter;
  visit_t v;
  enter(l, &v);
  forget_alarm(l, &req->uvf__waiter);
  leave(l, &v);
}

static void on_ring(uvf__timeout_t *timeout) { come_back(UVF__CONTAINER(timeout, request_t, uvf__timeout)); }

static void posted(uvf_op_t *op) {
  request_t *req = (request_t *)(void *)op;
  uvf__timeout_stop(hub_of(req), &req->uvf__timeout);
  uvf__op_ready(op);
}

/* `closed` cannot be: invariant 5. */
static void on_nudge(uvf__post_t *post, int closed) {
  request_t *req = UVF__CONTAINER(post, request_t, uvf__nudge);
  (void)closed;
  if (uvf__u32_claim(&req->uvf__nudged, FLYING, IDLE)) {
    come_back(req);
  } else {
    posted(op_of(req));
  }
}

/* parker->wake */
static uint64_t wake(uvf_op_t *op) {
  request_t *req = (request_t *)(void *)op;
  uvf_limiter_t *l = req->uvf__limiter;
  uint64_t at_ns = UINT64_MAX;
  visit_t v;
  enter(l, &v);
  serve(l, &v);
  if (l->uvf__waits.first == &req->uvf__waiter) {
    at_ns = due_ns(l, req->uvf__want);
    l->uvf__alarmed = &req->uvf__waiter;
    l->uvf__alarm_ns = at_ns;
  }
  leave(l, &v);
  return at_ns;
}

/* --- the operation -------------------------------------------------------------------------------- */

static int withdraw(uvf_op_t *op) {
  request_t *req = (request_t *)(void *)op;
  uvf_limiter_t *l = req->uvf__limiter;
  uvf__waiter_t *w = &req->uvf__waiter;
  visit_t v;
  uvf__timeout_stop(hub_of(req), &req->uvf__timeout); /* a thread's is never armed */
  enter(l, &v);
  if (w->prev != NULL) {
    uvf__waiter_t **at = w->prev;
    forget_alarm(l, w);
    uvf__queue_remove(&l->uvf__waits, w);
    owe(l, at, req->uvf__owed, v.now_ns);
  }
  leave(l, &v);
  return !uvf__u32_claim(&req->uvf__nudged, FLYING, ENDED);
}

static int deliver(uvf_op_t *op) {
  request_t *req = (request_t *)(void *)op;
  uvf__op_mark_dead(hub_of(req), op);
  req->uvf__cb(req, op->status);
  return 1;
}

static const uvf__op_type_t type = {.name = "limiter", .withdraw = withdraw, .deliver = deliver, .posted = posted};

static void fill(request_t *req, uvf_limiter_t *l, double n, uvf_limiter_cb cb) {
  req->uvf__cb = cb;
  req->uvf__limiter = l;
  req->uvf__want = n > 0 ? n : 0;
  req->uvf__owed = 0;
  req->uvf__timeout.deadline.link.prev = NULL;
  req->uvf__nudged = IDLE;
  uvf__waiter_init(&req->uvf__waiter, op_of(req));
}

/* Somebody's turn who comes now. */
static int take_turn(uvf_limiter_t *l, double want, const visit_t *v) {
  if (l->uvf__waits.first != NULL || v->now_ns < due_ns(l, want)) return 0;
  take(l, want, v->now_ns);
  return 1;
}

static void start(request_t *req) {
  uvf_limiter_t *l = req->uvf__limiter;
  visit_t v;
  int taken;
  enter(l, &v);
  serve(l, &v);
  taken = take_turn(l, req->uvf__want, &v);
  if (!taken) uvf__queue_push(&l->uvf__waits, &req->uvf__waiter);
  leave(l, &v);
  if (taken) uvf__wait_now(op_of(req), 0);
}

static int is_too_much(const uvf_limiter_t *l, double n) { return n > l->uvf__burst && !is_unlimited(l); }

/* A burst that is lowered right after this makes a wait for the context's end of it. */
static int check_wait(uvf_limiter_t *l, double n) {
  int bad;
  if (l == NULL || is_odd(n)) return UV_EINVAL;
  uvf__lock(&l->uvf__lock);
  bad = is_too_much(l, n);
  uvf__unlock(&l->uvf__lock);
  return bad ? UV_EINVAL : 0;
}

int(uvf_limiter_wait)(uvf_ctx_t *ctx, uvf_limiter_wait_t *wait, uvf_limiter_t *limiter, double n, uvf_limiter_cb cb) {
  int rc;
  if (ctx == NULL || wait == NULL || cb == NULL) return UV_EINVAL;
  rc = check_wait(limiter, n);
  if (rc != 0) return rc;
  rc = uvf__op_begin(ctx, op_of(wait), &type, "uvf_limiter_wait");
  if (rc < 0) return rc;
  fill(wait, limiter, n, cb);
  if (rc == 1) start(wait);
  return 0;
}

int uvf_limiter_wait_wait(uvf_ctx_t *ctx, uvf_limiter_t *limiter, double n) {
  uvf__parker_t parker;
  uvf_limiter_wait_t wait;
  int rc;
  if (ctx == NULL) return UV_EINVAL;
  rc = check_wait(limiter, n);
  if (rc == 0) rc = uvf__block_check_early("uvf_limiter_wait_wait");
  if (rc != 0) return rc;
  fill(&wait, limiter, n, NULL);
  rc = uvf__block_begin(ctx, op_of(&wait), &type, &parker);
  if (rc != 0) return rc;
  parker.wake = wake;
  start(&wait);
  return uvf__block_end(op_of(&wait), "uvf_limiter_wait_wait");
}

/* --- the rest ------------------------------------------------------------------------------------- */

static int is_bad(double rate_per_s, double burst) { return !(rate_per_s >= 0) || !(burst >= 0); }

int uvf_limiter_init(uvf_limiter_t *limiter, double rate_per_s, double burst) {
  if (limiter == NULL || is_bad(rate_per_s, burst)) return UV_EINVAL;
  limiter->uvf__lock = 0;
  limiter->uvf__rate = rate_per_s;
  limiter->uvf__burst = burst;
  limiter->uvf__tokens = burst;
  limiter->uvf__at_ns = uvf__clock_ns();
  limiter->uvf__waits.first = NULL;
  limiter->uvf__alarmed = NULL;
  limiter->uvf__alarm_ns = 0;
  return 0;
}

int uvf_limiter_destroy(uvf_limiter_t *limiter) {
  int busy;
  if (limiter == NULL) return UV_EINVAL;
  uvf__lock(&limiter->uvf__lock);
  busy = limiter->uvf__waits.first != NULL;
  uvf__unlock(&limiter->uvf__lock);
  UVF__RULE(!busy, "uvf_limiter_destroy", "somebody waits for it");
  return busy ? UV_EBUSY : 0;
}

int uvf_limiter_set(uvf_limiter_t *limiter, double rate_per_s, double burst) {
  visit_t v;
  if (limiter == NULL || is_bad(rate_per_s, burst)) return UV_EINVAL;
  enter(limiter, &v);
  serve(limiter, &v); /* who is due by the old rate */
  refill(limiter, v.now_ns);
  limiter->uvf__rate = rate_per_s;
  limiter->uvf__burst = burst;
  if (limiter->uvf__tokens > burst) limiter->uvf__tokens = burst;
  leave(limiter, &v);
  return 0;
}

int uvf_limiter_try(uvf_limiter_t *limiter, double n) {
  visit_t v;
  int taken;
  if (limiter == NULL || is_odd(n)) return UV_EINVAL;
  enter(limiter, &v);
  serve(limiter, &v);
  taken = take_turn(limiter, n, &v);
  leave(limiter, &v);
  return taken ? 0 : UV_EAGAIN;
}

/* Under the lock: reserves n > 0 behind all who wait. */
static int reserve(uvf_limiter_t *l, double n, uint64_t now_ns, uint64_t *delay_ns) {
  int for_ever;
  double left;
  uint64_t ns = 0;
  refill(l, now_ns);
  left = l->uvf__tokens - ahead(l, &for_ever) - n;
  if (left < 0) ns = flow_ns(l, -left);
  if (for_ever || ns == UINT64_MAX) return UV_EAGAIN;
  owe(l, queue_end(l), n, now_ns);
  *delay_ns = ns;
  return 0;
}

int uvf_limiter_reserve(uvf_limiter_t *limiter, double n, uint64_t *delay_ns) {
  visit_t v;
  int rc = 0;
  if (limiter == NULL || delay_ns == NULL || is_odd(n)) return UV_EINVAL;
  enter(limiter, &v);
  serve(limiter, &v);
  if (is_too_much(limiter, n)) {
    rc = UV_EINVAL;
  } else if (is_unlimited(limiter) || (n <= 0 && limiter->uvf__waits.first == NULL)) {
    *delay_ns = 0;
  } else {
    rc = reserve(limiter, n > 0 ? n : 0, v.now_ns, delay_ns);
  }
  leave(limiter, &v);
  return rc;
}

int uvf_limiter_unreserve(uvf_limiter_t *limiter, double n) {
  visit_t v;
  request_t *req;
  if (limiter == NULL || is_odd(n) || n < 0) return UV_EINVAL;
  enter(limiter, &v);
  serve(limiter, &v);
  /* first what has not left the bucket yet, the newest first */
  for (req = before(limiter, queue_end(limiter)); req != NULL && n > 0; req = before(limiter, req->uvf__waiter.prev)) {
    double part = req->uvf__owed < n ? req->uvf__owed : n;
    req->uvf__owed -= part;
    n -= part;
  }
  refill(limiter, v.now_ns);
  limiter->uvf__tokens += n;
  if (limiter->uvf__tokens > limiter->uvf__burst) limiter->uvf__tokens = limiter->uvf__burst;
  leave(limiter, &v);
  return 0;
}

double uvf_limiter_tokens(uvf_limiter_t *limiter) {
  double tokens;
  if (limiter == NULL) return 0;
  uvf__lock(&limiter->uvf__lock);
  tokens = level(limiter, uvf__clock_ns());
  for (const uvf__waiter_t *w = limiter->uvf__waits.first; w != NULL; w = w->next) tokens -= of(w)->uvf__owed;
  uvf__unlock(&limiter->uvf__lock);
  return tokens;
}
