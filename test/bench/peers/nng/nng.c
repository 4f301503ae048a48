/* SPDX-License-Identifier: MIT
 *
 * The peer "nng": its nng_aio is the one thing in it that a context's deadline can be compared with. An nng_aio that
 * sleeps is an operation under a timeout; nng_aio_cancel ends it and nng_aio_wait waits until it has ended. There is no
 * tree (a parent does not cancel it), no callback here (it would run on one of nng's own threads) and no value. nng has
 * no channels, pipelines or groups, and its pool's size cannot be set: those rows are left out.
 *
 * An nng_aio may be used again, so each row has two: one that is made and freed every time, as a context is, and one
 * that is kept, which is what nng's own programs do where they know how many they need.
 */
#include <stdlib.h>

#include <nng/nng.h>

#include "peer_work.h"

#define HOUR_MS 3600000

typedef struct ring_s {
  nng_aio **aio;
  size_t n;
  size_t at;
  uint64_t seed;
} ring_t;

static nng_aio *aio_new(void) {
  nng_aio *aio;
  if (nng_aio_alloc(&aio, NULL, NULL)) peer_fail("nng_aio_alloc");
  return aio;
}

static inline void begin(nng_aio *aio) { nng_sleep_aio(HOUR_MS, aio); }

static inline void end(nng_aio *aio) {
  nng_aio_cancel(aio);
  nng_aio_wait(aio);
  if (nng_aio_result(aio) != NNG_ECANCELED) peer_fail("an operation was not cancelled");
}

static ring_t *ring_new(const peer_size_t *size) {
  ring_t *r = peer_alloc(1, sizeof(*r));
  r->n = size->size ? size->size : 1;
  r->aio = peer_alloc(r->n, sizeof(*r->aio));
  r->seed = PEER_SEED;
  return r;
}

static void ring_fill(ring_t *r) {
  for (size_t i = 0; i < r->n; i++) {
    r->aio[i] = aio_new();
    begin(r->aio[i]);
  }
}

static void *ring_setup(const peer_size_t *size) {
  ring_t *r = ring_new(size);
  ring_fill(r);
  return r;
}

static void ring_teardown(void *state) {
  ring_t *r = state;
  for (size_t i = 0; i < r->n; i++) nng_aio_free(r->aio[i]);
  free(r->aio);
  free(r);
}

/* --- timeout ------------------------------------------------------------------------------------------------------ */

/* An aio is made, sleeps for an hour, is cancelled, waited for and freed. */
static void *fresh_setup(const peer_size_t *size) {
  (void)size;
  return peer_alloc(1, 1);
}

static void fresh_run(void *state, uint64_t ops, peer_sample_t *s) {
  (void)state;
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    nng_aio *aio = aio_new();
    begin(aio);
    end(aio);
    nng_aio_free(aio);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

/* The same aio sleeps for an hour, is cancelled and waited for, again and again. */
static void *kept_setup(const peer_size_t *size) {
  (void)size;
  return aio_new();
}

static void kept_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    begin(state);
    end(state);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

static void kept_teardown(void *state) { nng_aio_free(state); }

/* --- cancel ------------------------------------------------------------------------------------------------------- */

/* An operation of the program's own, as the provider of one writes it: begun, with a function that ends it when it is
 * cancelled, and no deadline. */
static void on_cancel(nng_aio *aio, void *arg, int err) {
  (void)arg;
  nng_aio_finish(aio, err);
}

static inline void defer(nng_aio *aio) {
  if (!nng_aio_begin(aio)) peer_fail("nng_aio_begin");
  nng_aio_defer(aio, on_cancel, NULL);
}

static void cancel_fresh_run(void *state, uint64_t ops, peer_sample_t *s) {
  (void)state;
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    nng_aio *aio = aio_new();
    defer(aio);
    end(aio);
    nng_aio_free(aio);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

static void cancel_kept_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    defer(state);
    end(state);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

/* --- among many --------------------------------------------------------------------------------------------------- */

static inline void replace_fresh(ring_t *r, size_t i) {
  end(r->aio[i]);
  nng_aio_free(r->aio[i]);
  r->aio[i] = aio_new();
  begin(r->aio[i]);
}

static inline void replace_kept(ring_t *r, size_t i) {
  end(r->aio[i]);
  begin(r->aio[i]);
}

static inline size_t next_oldest(ring_t *r) {
  size_t i = r->at;
  if (++r->at == r->n) r->at = 0;
  return i;
}

static inline size_t next_random(ring_t *r) { return peer_random(&r->seed, r->n); }

#define REPLACE(id, which, how)                                                                                        \
  static void id(void *state, uint64_t ops, peer_sample_t *s) {                                                        \
    ring_t *r = state;                                                                                                 \
    uint64_t start = peer_now_ns();                                                                                    \
    for (uint64_t i = 0; i < ops; i++) how(r, which(r));                                                               \
    s->amount += peer_now_ns() - start;                                                                                \
    s->ops += ops;                                                                                                     \
  }

/* The oldest of many is cancelled, waited for, freed and replaced by a new one; or begun again. */
REPLACE(rotate_fresh_run, next_oldest, replace_fresh)
REPLACE(rotate_kept_run, next_oldest, replace_kept)
/* The same with one at random. */
REPLACE(random_fresh_run, next_random, replace_fresh)
REPLACE(random_kept_run, next_random, replace_kept)

/* --- bytes -------------------------------------------------------------------------------------------------------- */

static void *bytes_setup(const peer_size_t *size) { return ring_new(size); }

/* What malloc counts as handed out, before and after: its own 8 bytes and rounding a block are in it. */
static void bytes_run(void *state, uint64_t ops, peer_sample_t *s) {
  ring_t *r = state;
  (void)ops;
  nng_aio_free(aio_new()); /* nng's threads are started with the first */
  uint64_t before = peer_allocated();
  ring_fill(r);
  s->amount += peer_allocated() - before;
  s->ops += r->n;
}

/* ------------------------------------------------------------------------------------------------------------------ */

#define FRESH "nng: nng_sleep_aio, an aio each"
#define KEPT "nng: nng_sleep_aio, the aio is kept"

const peer_impl_t peer_impls[] = {
    {"timeout", FRESH, fresh_setup, fresh_run, free, 0},
    {"timeout", KEPT, kept_setup, kept_run, kept_teardown, 0},
    {"cancel", "nng: nng_aio_defer, an aio each", fresh_setup, cancel_fresh_run, free, 0},
    {"cancel", "nng: nng_aio_defer, the aio is kept", kept_setup, cancel_kept_run, kept_teardown, 0},
    {"rotate-*", FRESH, ring_setup, rotate_fresh_run, ring_teardown, 0},
    {"rotate-*", KEPT, ring_setup, rotate_kept_run, ring_teardown, 0},
    {"random-1m", FRESH, ring_setup, random_fresh_run, ring_teardown, 0},
    {"random-1m", KEPT, ring_setup, random_kept_run, ring_teardown, 0},
    {"bytes", "nng: nng_sleep_aio", bytes_setup, bytes_run, ring_teardown, 0},
    {NULL, NULL, NULL, NULL, NULL, 0},
};

const char *peer_about(void) {
  static char about[64] = "nng ";
  const char *version = nng_version();
  for (size_t i = 0; i + 5 < sizeof(about) && version[i]; i++) about[i + 4] = version[i];
  return about;
}
