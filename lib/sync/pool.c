/* SPDX-License-Identifier: MIT
 *
 * The object pool: a stack of objects that lie idle, and a queue of those who wait for one to come back.
 *
 * Parties: who gets (takes an idle object, makes one, or waits); who puts (hands the object to the first that waits);
 * who discards, or whose create failed (has a slot to pass on: makes an object for the first that waits).
 *
 * Invariants
 * 1. The lock guards every field. made = idle + out + making <= max: `out` are with users, `making` slots are in the
 *    hands of a call of ours that creates or destroys at this moment, without the lock. So a slot is counted before its
 *    object is made, and nobody else makes one for it.
 * 2. If somebody waits, nothing is idle and made == max: who gives something back looks at the queue first, and hands
 *    it over under the lock. So a waiter that is withdrawn held up nobody.
 * 3. A slot whose create failed goes to the first that waits, by the same thread, one after the other: each failure is
 *    told to one waiter. That ends with an object, with nobody waiting, or after FAILURES_MAX of them, when all who
 *    wait are told: those who try again at once must not keep this thread here as long as create fails.
 * 4. Who makes an object for a waiter has claimed it before, with status 0: it cannot be ended meanwhile, and create's
 *    code becomes its status. The one whose get runs create itself has claimed its own operation as well, as create is
 *    the user's and may cancel what it likes.
 * 5. Before anybody is told of a failure the slot has found its next owner, or is given up: the last one told may
 *    destroy the pool.
 *
 * Deadlock: the lock is a leaf (wait.h); create and destroy run without it.
 */
#include "kernel/alloc.h"
#include "kernel/wait.h"
#include "uvflow/sync.h"

#define FAILURES_MAX 16

static void make_started(uvf_objpool_t *pool) {
  pool->uvf__made++;
  pool->uvf__making++;
}

/* A slot in our hands has got its object: that is out from now on. */
static void make_done(uvf_objpool_t *pool) {
  uvf__lock(&pool->uvf__lock);
  pool->uvf__making--;
  uvf__unlock(&pool->uvf__lock);
}

static int create(uvf_objpool_t *pool, void **object) {
  void *made = NULL;
  int rc = pool->uvf__create(&made, pool->uvf__arg);
  *object = rc == 0 ? made : NULL;
  return rc;
}

/* Who gets the slot in our hands; NULL: nobody waits, it is given up. `enough`, not 0: create has failed so often with
 * that that all who wait now are told so. */
static uvf_wait_t *slot_next(uvf_objpool_t *pool, uvf__told_t *told, int enough) {
  uvf__waiter_t *w;
  uvf__told_init(told);
  uvf__lock(&pool->uvf__lock);
  while ((w = uvf__queue_take(&pool->uvf__waits, told)) != NULL && enough != 0) w->op->status = enough;
  if (w == NULL) {
    pool->uvf__making--;
    pool->uvf__made--;
  }
  uvf__unlock(&pool->uvf__lock);
  return w == NULL ? NULL : uvf__wait_of(w);
}

/* Passes the slot in our hands on. `failed`: our own operation, whose create failed, or NULL; it is told on the way. */
static void slot_pass(uvf_objpool_t *pool, uvf_op_t *failed, int status) {
  uvf__told_t told;
  uvf_wait_t *wait = slot_next(pool, &told, 0);
  int failures = 0;
  if (failed != NULL) uvf__wait_now(failed, status);
  while (wait != NULL) {
    uvf__waiter_t *first = told.first;
    int rc = create(pool, &wait->value);
    if (rc == 0) {
      make_done(pool);
      break;
    }
    wait->status = rc;
    wait = slot_next(pool, &told, ++failures < FAILURES_MAX ? 0 : rc);
    uvf__tell_all(first);
  }
  uvf__tell(&told);
}

/* Under the lock: 1: *object is an idle one. 0: there is a slot in our hands to make one. UV_EAGAIN: neither. */
static int pick(uvf_objpool_t *pool, void **object) {
  if (pool->uvf__waits.first != NULL) return UV_EAGAIN; /* nobody overtakes */
  if (pool->uvf__idle > 0) {
    *object = pool->uvf__objects[--pool->uvf__idle];
    return 1;
  }
  if (pool->uvf__made == pool->uvf__max) return UV_EAGAIN;
  make_started(pool);
  return 0;
}

/* --- the operation -------------------------------------------------------------------------------- */

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_objpool_t *pool = wait->uvf__object;
  uvf__queue_leave(&pool->uvf__lock, &pool->uvf__waits, &wait->uvf__waiter);
  return 1;
}

static const uvf__op_type_t type = {
    .name = "pool", .withdraw = withdraw, .deliver = uvf__wait_deliver, .posted = uvf__wait_posted};

static void start(uvf_wait_t *wait) {
  uvf_op_t *op = uvf__wait_op(wait);
  uvf_objpool_t *pool = wait->uvf__object;
  int rc;
  int got;
  uvf__lock(&pool->uvf__lock);
  got = pick(pool, &wait->value);
  if (got < 0) uvf__queue_push(&pool->uvf__waits, &wait->uvf__waiter);
  uvf__unlock(&pool->uvf__lock);
  if (got < 0) return;
  if (got == 0) {
    (void)uvf__op_claim(op); /* nobody else can have: it is in no queue, and this is its thread */
    rc = create(pool, &wait->value);
    if (rc != 0) {
      slot_pass(pool, op, rc);
      return;
    }
    make_done(pool);
  }
  uvf__wait_now(op, 0);
}

int(uvf_objpool_get)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_objpool_t *pool, uvf_wait_cb cb) {
  return uvf__wait_request(ctx, wait, &type, pool, 0, cb, start, "uvf_objpool_get");
}

int uvf_objpool_get_wait(uvf_ctx_t *ctx, uvf_objpool_t *pool, void **object) {
  if (object == NULL) return UV_EINVAL;
  return uvf__wait_blocking(ctx, &type, pool, 0, object, start, "uvf_objpool_get_wait");
}

int uvf_objpool_try_get(uvf_objpool_t *pool, void **object) {
  void *made = NULL;
  int got;
  int rc;
  if (pool == NULL || object == NULL) return UV_EINVAL;
  uvf__lock(&pool->uvf__lock);
  got = pick(pool, &made);
  uvf__unlock(&pool->uvf__lock);
  if (got < 0) return got;
  if (got == 0) {
    rc = create(pool, &made);
    if (rc != 0) {
      slot_pass(pool, NULL, 0);
      return rc;
    }
    make_done(pool);
  }
  *object = made;
  return 0;
}

/* --- back ----------------------------------------------------------------------------------------- */

/* Under the lock: is anything with users? */
static int is_out(const uvf_objpool_t *pool) { return pool->uvf__made > pool->uvf__idle + pool->uvf__making; }

int uvf_objpool_put(uvf_objpool_t *pool, void *object) {
  uvf__told_t told;
  int out;
  if (pool == NULL) return UV_EINVAL;
  uvf__told_init(&told);
  uvf__lock(&pool->uvf__lock);
  out = is_out(pool);
  if (out) {
    uvf__waiter_t *w = uvf__queue_take(&pool->uvf__waits, &told);
    if (w != NULL) {
      uvf__wait_of(w)->value = object;
    } else {
      pool->uvf__objects[pool->uvf__idle++] = object;
    }
  }
  uvf__unlock(&pool->uvf__lock);
  UVF__RULE(out, "uvf_objpool_put", "more objects come back than were taken");
  uvf__tell(&told);
  return out ? 0 : UV_EINVAL;
}

int uvf_objpool_discard(uvf_objpool_t *pool, void *object) {
  int out;
  if (pool == NULL) return UV_EINVAL;
  uvf__lock(&pool->uvf__lock);
  out = is_out(pool);
  if (out) pool->uvf__making++;
  uvf__unlock(&pool->uvf__lock);
  UVF__RULE(out, "uvf_objpool_discard", "more objects come back than were taken");
  if (!out) return UV_EINVAL;
  pool->uvf__destroy(object, pool->uvf__arg);
  slot_pass(pool, NULL, 0);
  return 0;
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_objpool_init(uvf_objpool_t *pool, size_t max, uvf_objpool_create_cb create_cb,
                     uvf_objpool_destroy_cb destroy_cb, void *arg) {
  void **objects;
  if (pool == NULL || max == 0 || create_cb == NULL || destroy_cb == NULL) return UV_EINVAL;
  if (max > SIZE_MAX / sizeof *objects) return UV_ENOMEM;
  objects = uvf__malloc(max * sizeof *objects);
  if (objects == NULL) return UV_ENOMEM;
  pool->uvf__lock = 0;
  pool->uvf__max = max;
  pool->uvf__made = 0;
  pool->uvf__making = 0;
  pool->uvf__idle = 0;
  pool->uvf__objects = objects;
  pool->uvf__create = create_cb;
  pool->uvf__destroy = destroy_cb;
  pool->uvf__arg = arg;
  pool->uvf__waits.first = NULL;
  return 0;
}

int uvf_objpool_destroy(uvf_objpool_t *pool) {
  int busy;
  if (pool == NULL) return UV_EINVAL;
  uvf__lock(&pool->uvf__lock);
  busy = pool->uvf__waits.first != NULL || pool->uvf__made > pool->uvf__idle;
  uvf__unlock(&pool->uvf__lock);
  UVF__RULE(!busy, "uvf_objpool_destroy", "somebody waits for an object, or has one");
  if (busy) return UV_EBUSY;
  while (pool->uvf__idle > 0) pool->uvf__destroy(pool->uvf__objects[--pool->uvf__idle], pool->uvf__arg);
  uvf__free(pool->uvf__objects);
  pool->uvf__objects = NULL;
  pool->uvf__made = 0;
  pool->uvf__max = 0;
  return 0;
}
