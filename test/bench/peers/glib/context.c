/* SPDX-License-Identifier: MIT
 *
 * Contexts as GLib's programs have them: a GCancellable that is cancelled with its parent, by a handler there, and a
 * timeout source of the main context that cancels it when the time is over.
 */
#include "glib_peer.h"

typedef struct ctx_s {
  GCancellable *cancellable;
  gulong handler; /* at the parent */
  GSource *timeout;
} ctx_t;

void cancel_child(GCancellable *parent, gpointer child) {
  (void)parent;
  g_cancellable_cancel(child);
}

static gboolean on_timeout(gpointer cancellable) {
  g_cancellable_cancel(cancellable);
  peer_fail("a timeout of one hour has fired");
  return G_SOURCE_REMOVE;
}

static inline void ctx_open(ctx_t *c, GCancellable *parent) {
  c->cancellable = g_cancellable_new();
  c->handler = g_cancellable_connect(parent, G_CALLBACK(cancel_child), c->cancellable, NULL);
}

static inline void ctx_open_timeout(ctx_t *c, GCancellable *parent) {
  ctx_open(c, parent);
  c->timeout = g_timeout_source_new(HOUR_MS);
  g_source_set_callback(c->timeout, on_timeout, c->cancellable, NULL);
  g_source_attach(c->timeout, NULL);
}

static inline void ctx_close(ctx_t *c, GCancellable *parent) {
  g_cancellable_cancel(c->cancellable);
  g_cancellable_disconnect(parent, c->handler);
  g_object_unref(c->cancellable);
}

static inline void ctx_close_timeout(ctx_t *c, GCancellable *parent) {
  g_source_destroy(c->timeout);
  g_source_unref(c->timeout);
  ctx_close(c, parent);
}

/* --- one at a time ------------------------------------------------------------------------------------------------ */

static void *root_new(const peer_size_t *size) {
  (void)size;
  return g_cancellable_new();
}

/* A cancellable, its handler at the root and a timeout source of 1 h are made; it is cancelled; all three go. */
void *timeout_setup(const peer_size_t *size) { return root_new(size); }

void timeout_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    ctx_t c;
    ctx_open_timeout(&c, state);
    ctx_close_timeout(&c, state);
    turn_if_due(i);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void timeout_teardown(void *state) { g_object_unref(state); }

/* The same without the source. */
void *cancel_setup(const peer_size_t *size) { return root_new(size); }

void cancel_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    ctx_t c;
    ctx_open(&c, state);
    ctx_close(&c, state);
    turn_if_due(i);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void cancel_teardown(void *state) { g_object_unref(state); }

/* The same with a plain signal handler, which is cheaper to connect and disconnect than what GCancellable has for it;
 * enough where the parent is cancelled by this thread only, as here. */
void *cancel_plain_setup(const peer_size_t *size) { return root_new(size); }

void cancel_plain_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    GCancellable *child = g_cancellable_new();
    gulong handler = g_signal_connect(state, "cancelled", G_CALLBACK(cancel_child), child);
    g_cancellable_cancel(child);
    g_signal_handler_disconnect(state, handler);
    g_object_unref(child);
    turn_if_due(i);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void cancel_plain_teardown(void *state) { g_object_unref(state); }

/* --- among many --------------------------------------------------------------------------------------------------- */

typedef struct ring_s {
  GCancellable *root;
  ctx_t *ctx;
  size_t n;
  size_t at;
  uint64_t seed;
} ring_t;

static ring_t *ring_new(const peer_size_t *size) {
  ring_t *r = peer_alloc(1, sizeof(*r));
  r->root = g_cancellable_new();
  r->n = size->size ? size->size : 1;
  r->ctx = peer_alloc(r->n, sizeof(*r->ctx));
  r->seed = PEER_SEED;
  return r;
}

static void ring_fill(ring_t *r) {
  for (size_t i = 0; i < r->n; i++) ctx_open_timeout(&r->ctx[i], r->root);
}

static void ring_delete(ring_t *r) {
  for (size_t i = 0; i < r->n; i++) ctx_close_timeout(&r->ctx[i], r->root);
  g_object_unref(r->root);
  free(r->ctx);
  free(r);
}

static inline void ring_replace(ring_t *r, size_t i) {
  ctx_close_timeout(&r->ctx[i], r->root);
  ctx_open_timeout(&r->ctx[i], r->root);
}

void *rotate_setup(const peer_size_t *size) {
  ring_t *r = ring_new(size);
  ring_fill(r);
  return r;
}

/* The oldest of many is cancelled and freed, a new one takes its place. A turn of the loop looks at every source that
 * is attached, whether it is due or not: with many of them that is nearly all of the figure. */
void rotate_run(void *state, uint64_t ops, peer_sample_t *s) {
  ring_t *r = state;
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    ring_replace(r, r->at);
    if (++r->at == r->n) r->at = 0;
    turn_if_due(i);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void rotate_teardown(void *state) { ring_delete(state); }

void *random_one_setup(const peer_size_t *size) { return rotate_setup(size); }

void random_one_run(void *state, uint64_t ops, peer_sample_t *s) {
  ring_t *r = state;
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    ring_replace(r, peer_random(&r->seed, r->n));
    turn_if_due(i);
  }
  s->amount += peer_now_ns() - start;
  s->ops += ops;
}

void random_one_teardown(void *state) { ring_delete(state); }

/* --- what they hold ----------------------------------------------------------------------------------------------- */

/* What malloc counts as handed out, before and after: its own 8 bytes and rounding a block are in it, the array of
 * pointers that the program itself holds is not. */
void *bytes_setup(const peer_size_t *size) { return ring_new(size); }

void bytes_run(void *state, uint64_t ops, peer_sample_t *s) {
  ring_t *r = state;
  (void)ops;
  uint64_t before = peer_allocated();
  ring_fill(r);
  g_main_context_iteration(NULL, FALSE);
  s->amount += peer_allocated() - before;
  s->ops += r->n;
}

void bytes_teardown(void *state) { ring_delete(state); }

/* --- asking ------------------------------------------------------------------------------------------------------- */

void *err_setup(const peer_size_t *size) { return root_new(size); }

/* g_cancellable_is_cancelled of one that stays in the cache. */
void err_run(void *state, uint64_t ops, peer_sample_t *s) {
  gboolean seen = FALSE;
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) seen |= g_cancellable_is_cancelled(state);
  s->amount += peer_now_ns() - start;
  s->ops += ops;
  if (seen) peer_fail("the cancellable is cancelled");
}

void err_teardown(void *state) { g_object_unref(state); }
