/* SPDX-License-Identifier: MIT
 *
 * Single flight: who asks for a key while an execution for it is under way joins that, and shares its result.
 *
 * Parties: callers (each on its own loop), the execution (starts on the loop of the flight's context, ends on any
 * thread), and who forgets.
 *
 * Invariants
 * 1. A call is one allocation: record and key. It is counted: by its execution until that has ended, by every waiter
 *    that is queued or was served until its callback has returned, by its post until that is applied. The last one out
 *    frees the result, then the record. So nothing of the flight is needed after the end of its last call.
 * 2. flight->uvf__mutex guards the table and the counts. call->lock guards its queue, `joined`, and what its end gives.
 *    A call joins callers only while it is listed; its end takes it off the table first, then serves its queue: nobody
 *    comes too late to be served. Off the table it goes by its own links, never by its key: a successor may have that.
 * 3. `stage`: POSTED -> BEGUN by the flight's loop, or by the caller that posted, if the flight's context was over by
 *    then (its loop may be gone, and applies the post only to settle memory). Who makes that step starts the call, or
 *    ends it with the context's err. The caller looks at err behind its post: a hub that closes applies every post made
 *    before its last look, and who posts behind that sees that all contexts are over (hub.c).
 * 4. A wait that is ended gives its count back in withdraw only if it was still queued: then the execution has not
 *    ended, and this is not the last. Otherwise its delivery does: a withdraw calls no free function.
 * 5. start and free functions run with no lock held; nothing is allocated but in uvf_flight_init and uvf_flight_do.
 *
 * Lock order: flight->uvf__mutex, then call->lock, which is a leaf.
 */
#include <string.h>

#include "kernel/context.h"
#include "kernel/wait.h"
#include "uvflow/sync.h"

#define BUCKETS_MIN 16u

enum { POSTED = 0, BEGUN = 1 };

struct uvf_flight_call_s {
  uvf_flight_call_t *next; /* these three by the flight's mutex */
  uvf_flight_call_t **prev;
  uint64_t hash;
  uvf_flight_t *flight;
  uvf_flight_start_cb start;
  void *arg;
  uvf_op_t op; /* the start, on the flight's loop */
  uvf__post_t post;
  uint32_t stage;
  uint32_t lock;
  uvf__queue_t waits;
  uint64_t joined;
  void *value;
  uvf_flight_free_cb free_cb;
  _Atomic(uint32_t) refs;
  size_t len;
  unsigned char key[];
};

/* --- the table: chains, doubled when there are more calls than buckets -------------------------- */

static uint64_t rotate(uint64_t x, int by) { return x << by | x >> (64 - by); }

static void stir(uint64_t v[4]) {
  v[0] += v[1], v[2] += v[3];
  v[1] = rotate(v[1], 13) ^ v[0], v[3] = rotate(v[3], 16) ^ v[2];
  v[0] = rotate(v[0], 32);
  v[2] += v[1], v[0] += v[3];
  v[1] = rotate(v[1], 17) ^ v[2], v[3] = rotate(v[3], 21) ^ v[0];
  v[2] = rotate(v[2], 32);
}

static void absorb(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  stir(v);
  v[0] ^= word;
}

/* SipHash-1-3, keyed: keys come from outside, and whoever chooses them must not be able to make them fall into one
 * chain. */
static uint64_t hash_of(const uint64_t seed[2], const void *key, size_t len) {
  const unsigned char *at = key;
  uint64_t last = (uint64_t)len << 56;
  uint64_t v[4] = {seed[0] ^ UINT64_C(0x736f6d6570736575), seed[1] ^ UINT64_C(0x646f72616e646f6d),
                   seed[0] ^ UINT64_C(0x6c7967656e657261), seed[1] ^ UINT64_C(0x7465646279746573)};
  for (; len >= 8; len -= 8, at += 8) {
    uint64_t word;
    memcpy(&word, at, 8);
    absorb(v, word);
  }
  for (size_t i = 0; i < len; i++) last |= (uint64_t)at[i] << 8 * i;
  absorb(v, last);
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) stir(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static uvf_flight_call_t **bucket(const uvf_flight_t *flight, uint64_t hash) {
  return (uvf_flight_call_t **)flight->uvf__table + (hash & (flight->uvf__buckets - 1));
}

static uvf_flight_call_t *find(const uvf_flight_t *flight, uint64_t hash, const void *key, size_t len) {
  uvf_flight_call_t *call = *bucket(flight, hash);
  while (call != NULL && (call->hash != hash || call->len != len || memcmp(call->key, key, len) != 0))
    call = call->next;
  return call;
}

static void list(uvf_flight_t *flight, uvf_flight_call_t *call) {
  uvf_flight_call_t **at = bucket(flight, call->hash);
  call->next = *at;
  call->prev = at;
  if (call->next != NULL) call->next->prev = &call->next;
  *at = call;
}

static void unlist(uvf_flight_call_t *call) {
  if (call->prev == NULL) return; /* forgotten */
  *call->prev = call->next;
  if (call->next != NULL) call->next->prev = call->prev;
  call->prev = NULL;
}

static uvf_flight_call_t **table_new(size_t buckets) {
  uvf_flight_call_t **table = NULL;
  if (buckets <= SIZE_MAX / sizeof *table) table = uvf__malloc(buckets * sizeof *table);
  for (size_t i = 0; table != NULL && i < buckets; i++) table[i] = NULL;
  return table;
}

/* Under the mutex. Returns the table that is to be freed. */
static uvf_flight_call_t **rehash(uvf_flight_t *flight, uvf_flight_call_t **table, size_t buckets) {
  uvf_flight_call_t **old = flight->uvf__table;
  size_t n = flight->uvf__buckets;
  if (buckets <= n) return table; /* somebody else was faster */
  flight->uvf__table = table;
  flight->uvf__buckets = buckets;
  for (size_t i = 0; i < n; i++) {
    while (old[i] != NULL) {
      uvf_flight_call_t *call = old[i];
      unlist(call);
      list(flight, call);
    }
  }
  return old;
}

/* Without memory for it the chains grow longer, that is all. */
static void grow(uvf_flight_t *flight, size_t buckets) {
  uvf_flight_call_t **table = table_new(buckets);
  if (table == NULL) return;
  uv_mutex_lock(&flight->uvf__mutex);
  table = rehash(flight, table, buckets);
  uv_mutex_unlock(&flight->uvf__mutex);
  uvf__free(table);
}

/* --- a call ----------------------------------------------------------------------------------- */

static void unref(uvf_flight_call_t *call) {
  if (atomic_fetch_sub_explicit(&call->refs, 1, memory_order_acq_rel) != 1) return;
  if (call->free_cb != NULL) call->free_cb(call->value);
  uvf__free(call);
}

static void end(uvf_flight_call_t *call, int status, void *value, uvf_flight_free_cb free_cb) {
  uvf_flight_t *flight = call->flight;
  uvf__waiter_t *w;
  uvf__told_t told;
  uvf__told_init(&told);
  uv_mutex_lock(&flight->uvf__mutex);
  unlist(call);
  flight->uvf__calls--;
  uv_mutex_unlock(&flight->uvf__mutex); /* the flight may be gone */
  uvf__lock(&call->lock);
  call->value = value;
  call->free_cb = free_cb;
  while ((w = uvf__queue_take(&call->waits, &told)) != NULL) {
    uvf_wait_t *wait = uvf__wait_of(w);
    wait->status = status;
    wait->value = value;
    wait->uvf__want = call->joined > 1;
  }
  uvf__unlock(&call->lock);
  uvf__tell(&told);
  unref(call);
}

/* The start's place among the callbacks of the flight's loop has come. */
static int deliver_start(uvf_op_t *op) {
  uvf_flight_call_t *call = UVF__CONTAINER(op, uvf_flight_call_t, op);
  int err = op->status != 0 ? op->status : uvf__ctx_err(op->ctx);
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  if (err != 0) {
    end(call, err, NULL, NULL);
  } else {
    call->start(call, call->arg);
  }
  return 1;
}

static const uvf__op_type_t start_type = {"flight start", NULL, deliver_start, uvf__wait_posted, 0, NULL};

/* On the flight's loop, by who made the step to BEGUN. */
static void begin(uvf_flight_call_t *call) {
  uvf_ctx_t *ctx = call->flight->uvf__ctx;
  int err = uvf__ctx_err(ctx);
  int rc = err != 0 ? err : uvf__op_begin(ctx, &call->op, &start_type, "uvf_flight_do");
  if (rc < 0) {
    end(call, rc, NULL, NULL);
  } else if (rc > 0) {
    uvf__wait_now(&call->op, 0);
  }
}

static void apply_begin(uvf__post_t *post, int closed) {
  uvf_flight_call_t *call = UVF__CONTAINER(post, uvf_flight_call_t, post);
  if (!closed && uvf__u32_claim(&call->stage, POSTED, BEGUN)) begin(call);
  unref(call); /* a call that was begun may have ended: this may be the last */
}

/* Once it is listed, by the caller that made it. It has its execution's count, and one for the post. */
static void launch(uvf_flight_call_t *call, uvf__hub_t *callers) {
  uvf_ctx_t *ctx = call->flight->uvf__ctx;
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  int err;
  if (hub == callers) {
    call->stage = BEGUN;
    unref(call);
    begin(call);
    return;
  }
  uvf_ctx_retain(ctx); /* once it is posted it may end, and the flight be destroyed */
  uvf__hub_post(hub, (uintptr_t)&call->post | UVF__POST_CALL);
  err = uvf__ctx_err(ctx);
  if (err != 0 && uvf__u32_claim(&call->stage, POSTED, BEGUN)) end(call, err, NULL, NULL);
  uvf_ctx_release(ctx);
}

static uvf_flight_call_t *call_new(uvf_flight_t *flight, uint64_t hash, const void *key, size_t len) {
  uvf_flight_call_t *call = NULL;
  if (len <= SIZE_MAX - sizeof *call) call = uvf__malloc(sizeof *call + len);
  if (call == NULL) return NULL;
  memset(call, 0, sizeof *call);
  call->hash = hash;
  call->flight = flight;
  call->post.apply = apply_begin;
  atomic_init(&call->refs, 2);
  call->len = len;
  memcpy(call->key, key, len);
  return call;
}

/* --- waiting for one -------------------------------------------------------------------------- */

static int withdraw(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_flight_call_t *call = wait->uvf__object;
  uvf__lock(&call->lock);
  if (uvf__queue_remove(&call->waits, &wait->uvf__waiter)) {
    wait->uvf__object = NULL;
    atomic_fetch_sub_explicit(&call->refs, 1, memory_order_relaxed); /* the execution's is left */
  }
  uvf__unlock(&call->lock);
  return 1;
}

static int deliver(uvf_op_t *op) {
  uvf_flight_call_t *call = uvf__wait_from(op)->uvf__object;
  uvf__wait_deliver(op);
  if (call != NULL) unref(call);
  return 1;
}

static const uvf__op_type_t flight_type = {"flight", withdraw, deliver, uvf__wait_posted, 0, NULL};

/* Joins the call that is listed, or lists `fresh` and joins that. Returns the call, NULL if there is none. From then on
 * the wait may be served at any moment, and the call be ended, unless it is `fresh`. */
static uvf_flight_call_t *join(uvf_flight_t *flight, uvf_wait_t *wait, uint64_t hash, const void *key, size_t len,
                               uvf_flight_call_t *fresh) {
  uvf_flight_call_t *call;
  uv_mutex_lock(&flight->uvf__mutex);
  call = find(flight, hash, key, len);
  if (call == NULL && fresh != NULL) {
    call = fresh;
    list(flight, call);
    flight->uvf__calls++;
  }
  if (call != NULL) {
    uvf__lock(&call->lock);
    atomic_fetch_add_explicit(&call->refs, 1, memory_order_relaxed);
    call->joined++;
    wait->uvf__object = call;
    uvf__queue_push(&call->waits, &wait->uvf__waiter);
    uvf__unlock(&call->lock);
  }
  uv_mutex_unlock(&flight->uvf__mutex);
  return call;
}

static size_t buckets_wanted(uvf_flight_t *flight) {
  size_t n = 0;
  uv_mutex_lock(&flight->uvf__mutex);
  if (flight->uvf__calls >= flight->uvf__buckets) n = flight->uvf__buckets * 2;
  uv_mutex_unlock(&flight->uvf__mutex);
  return n;
}

/* Nobody was under way: makes a call, unless somebody was faster. */
static int join_fresh(uvf_flight_t *flight, uvf_wait_t *wait, uint64_t hash, const void *key, size_t len,
                      uvf_flight_start_cb start, void *arg) {
  uvf__hub_t *hub = uvf__ctx_hub(wait->ctx); /* the wait may be gone once it is queued */
  size_t buckets = buckets_wanted(flight);
  uvf_flight_call_t *call = call_new(flight, hash, key, len);
  if (call == NULL) return UV_ENOMEM;
  call->start = start;
  call->arg = arg;
  if (buckets > 0) grow(flight, buckets);
  if (join(flight, wait, hash, key, len, call) == call) {
    launch(call, hub);
  } else {
    uvf__free(call);
  }
  return 0;
}

int(uvf_flight_do)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_flight_t *flight, const void *key, size_t len,
                   uvf_flight_start_cb start, void *arg, uvf_wait_cb cb) {
  uint64_t hash;
  int rc;
  if (flight == NULL || key == NULL || start == NULL || cb == NULL) return UV_EINVAL;
  rc = uvf__wait_begin(ctx, wait, &flight_type, flight, 0, cb, "uvf_flight_do");
  if (rc < 0) return rc;
  wait->uvf__object = NULL; /* it has joined nothing yet */
  if (rc == 0) return 0;
  hash = hash_of(flight->uvf__seed, key, len);
  if (join(flight, wait, hash, key, len, NULL) != NULL) return 0;
  rc = join_fresh(flight, wait, hash, key, len, start, arg);
  if (rc != 0) uvf__op_remove(uvf__wait_op(wait)); /* not queued anywhere: only this thread can claim it */
  return rc;
}

int uvf_flight_is_shared(const uvf_wait_t *wait) { return wait != NULL && wait->uvf__want != 0; }

/* --- executions ------------------------------------------------------------------------------- */

int uvf_flight_end(uvf_flight_call_t *call, int status, void *value, uvf_flight_free_cb free_cb) {
  if (call == NULL) return UV_EINVAL;
  end(call, status, value, free_cb);
  return 0;
}

const void *uvf_flight_key(const uvf_flight_call_t *call, size_t *len) {
  if (len != NULL) *len = call != NULL ? call->len : 0;
  return call != NULL ? call->key : NULL;
}

uvf_ctx_t *uvf_flight_ctx(const uvf_flight_call_t *call) { return call != NULL ? call->flight->uvf__ctx : NULL; }

int uvf_flight_forget(uvf_flight_t *flight, const void *key, size_t len) {
  uvf_flight_call_t *call;
  if (flight == NULL || key == NULL) return 0;
  uv_mutex_lock(&flight->uvf__mutex);
  call = find(flight, hash_of(flight->uvf__seed, key, len), key, len);
  if (call != NULL) unlist(call);
  uv_mutex_unlock(&flight->uvf__mutex);
  return call != NULL;
}

/* --- life ------------------------------------------------------------------------------------- */

int uvf_flight_init(uvf_flight_t *flight, uvf_ctx_t *ctx) {
  int err;
  if (flight == NULL || ctx == NULL) return UV_EINVAL;
  err = uvf__ctx_enter(ctx, "uvf_flight_init");
  if (err != 0) return err;
  flight->uvf__table = table_new(BUCKETS_MIN);
  if (flight->uvf__table == NULL) return UV_ENOMEM;
  err = uv_mutex_init(&flight->uvf__mutex);
  if (err != 0) {
    uvf__free(flight->uvf__table);
    return err;
  }
  flight->uvf__ctx = uvf_ctx_retain(ctx);
  flight->uvf__buckets = BUCKETS_MIN;
  flight->uvf__calls = 0;
  if (uv_random(NULL, NULL, flight->uvf__seed, sizeof flight->uvf__seed, 0, NULL) != 0) { /* no source: the next best */
    flight->uvf__seed[0] = uv_hrtime();
    flight->uvf__seed[1] = (uintptr_t)flight->uvf__table;
  }
  return 0;
}

int uvf_flight_destroy(uvf_flight_t *flight) {
  size_t calls;
  if (flight == NULL) return UV_EINVAL;
  uv_mutex_lock(&flight->uvf__mutex);
  calls = flight->uvf__calls;
  uv_mutex_unlock(&flight->uvf__mutex);
  UVF__RULE(calls == 0, "uvf_flight_destroy", "an execution is under way: end it first");
  if (calls != 0) return UV_EBUSY;
  uv_mutex_destroy(&flight->uvf__mutex);
  uvf__free(flight->uvf__table);
  uvf_ctx_release(flight->uvf__ctx);
  return 0;
}
