/* SPDX-License-Identifier: MIT
 *
 * What the tests of the object pool share: objects that know whether they are alive, and a maker that counts and fails.
 */
#ifndef UVFLOW_TEST_POOL_PROBE_H
#define UVFLOW_TEST_POOL_PROBE_H

#include "unit/test_wait.h"

/* --- objects, which know whether they are alive --- */

#define ALIVE UINT32_C(0xa11fe)
#define DEAD UINT32_C(0xdead)

typedef struct thing_s {
  uint32_t magic;
  atomic_int users;
  uint64_t uses; /* plain: who holds it is alone with it */
} thing_t;

/* What stands behind a pool: counts, and can fail. */
typedef struct maker_s {
  atomic_int made, destroyed, wrong;
  atomic_int fail;    /* so many creates from now on fail */
  atomic_int percent; /* of the others, this many fail as well */
  int fail_with;
  void (*then)(struct maker_s *maker); /* or NULL; inside create */
  void *arg;
  _Atomic(uint64_t) seed;
} maker_t;

static inline int make_thing(void **object, void *arg) {
  maker_t *maker = arg;
  uint64_t seed = atomic_fetch_add(&maker->seed, UINT64_C(0x9e3779b97f4a7c15)) | 1;
  thing_t *thing;
  if (maker->then != NULL) maker->then(maker);
  *object = maker; /* must not be looked at if it fails */
  if (atomic_load(&maker->fail) > 0 && atomic_fetch_sub(&maker->fail, 1) > 0) return maker->fail_with;
  if ((int)(test_rand(&seed) % 100) < atomic_load(&maker->percent)) return maker->fail_with;
  thing = malloc(sizeof *thing);
  if (thing == NULL) return UV_ENOMEM;
  thing->magic = ALIVE;
  atomic_init(&thing->users, 0);
  thing->uses = 0;
  atomic_fetch_add(&maker->made, 1);
  *object = thing;
  return 0;
}

static inline void destroy_thing(void *object, void *arg) {
  maker_t *maker = arg;
  thing_t *thing = object;
  if (thing->magic != ALIVE || atomic_load(&thing->users) != 0) atomic_fetch_add(&maker->wrong, 1);
  thing->magic = DEAD;
  atomic_fetch_add(&maker->destroyed, 1);
  free(thing);
}

static inline void maker_init(maker_t *maker) {
  memset(maker, 0, sizeof *maker);
  maker->fail_with = UV_ECONNREFUSED;
  atomic_init(&maker->seed, 1);
}

/* On the heap, so that a sanitizer sees who touches it afterwards. */
static inline uvf_objpool_t *pool_of(size_t max, maker_t *maker) {
  uvf_objpool_t *pool = malloc(sizeof *pool);
  assert_non_null(pool);
  memset(pool, 0xdb, sizeof *pool);
  maker_init(maker);
  assert_int_equal(uvf_objpool_init(pool, max, make_thing, destroy_thing, maker), 0);
  return pool;
}

static inline void pool_end(uvf_objpool_t *pool, maker_t *maker) {
  assert_int_equal(uvf_objpool_destroy(pool), 0);
  assert_int_equal(atomic_load(&maker->made), atomic_load(&maker->destroyed));
  assert_int_equal(atomic_load(&maker->wrong), 0);
  free(pool);
}

static inline void *taken_from(uvf_objpool_t *pool) {
  void *object = NULL;
  assert_int_equal(uvf_objpool_try_get(pool, &object), 0);
  assert_int_equal(((thing_t *)object)->magic, ALIVE);
  return object;
}

static inline void get(note_t *note, uvf_ctx_t *ctx, uvf_objpool_t *pool, int id, journal_t *journal) {
  note_init(note, id, journal);
  assert_int_equal(uvf_objpool_get(ctx, &note->wait, pool, on_note), 0);
  assert_int_equal(note->calls, 0); /* never inside */
}

static inline size_t queued(uvf_objpool_t *pool) {
  size_t n = 0;
  uvf__lock(&pool->uvf__lock);
  for (const uvf__waiter_t *w = pool->uvf__waits.first; w != NULL; w = w->next) n++;
  uvf__unlock(&pool->uvf__lock);
  return n;
}

static inline void pool_cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

static inline int block_for_one(uvf_ctx_t *ctx, void *pool) {
  void *object = NULL;
  int rc = uvf_objpool_get_wait(ctx, pool, &object);
  if (rc != 0) return object == NULL ? rc : UV_EPROTO;
  if (((thing_t *)object)->magic != ALIVE) return UV_EPROTO;
  return uvf_objpool_put(pool, object);
}

#endif
