/* SPDX-License-Identifier: MIT
 *
 * Contexts with a deadline: a GCancellable that is cancelled with its parent, by a handler there, and when its time is
 * over. Two ways to the latter. A timeout source each, as most programs have it: a turn of the loop looks at every
 * source that is attached, due or not, and with many of them that is nearly all of the figure. And one source for all
 * of them, whose ready time is that of the earliest of a GSequence, as a program has it that expects many.
 */
#include "glib_peer.h"

typedef struct ctx_s {
  GCancellable *cancellable;
  gulong handler; /* at the parent */
  GSource *source;
  /* in the sequence */
  GSequenceIter *place;
  gint64 when;
} ctx_t;

typedef struct ring_s {
  GCancellable *root;
  ctx_t *ctx;
  size_t n;
  size_t at;
  uint64_t seed;
  /* the sequence's */
  GSequence *deadlines; /* the earliest first */
  GSource *alarm;
} ring_t;

static inline void ctx_open(ctx_t *c, GCancellable *parent) {
  c->cancellable = g_cancellable_new();
  c->handler = g_cancellable_connect(parent, G_CALLBACK(cancel_child), c->cancellable, NULL);
}

static inline void ctx_close(ctx_t *c, GCancellable *parent) {
  g_cancellable_cancel(c->cancellable);
  g_cancellable_disconnect(parent, c->handler);
  g_object_unref(c->cancellable);
}

/* --- a source each ------------------------------------------------------------------------------------------------ */

static gboolean on_timeout(gpointer cancellable) {
  g_cancellable_cancel(cancellable);
  peer_fail("a timeout of one hour has fired");
  return G_SOURCE_REMOVE;
}

static inline void source_open(ring_t *r, ctx_t *c) {
  ctx_open(c, r->root);
  c->source = g_timeout_source_new(HOUR_MS);
  g_source_set_callback(c->source, on_timeout, c->cancellable, NULL);
  g_source_attach(c->source, NULL);
}

static inline void source_close(ring_t *r, ctx_t *c) {
  g_source_destroy(c->source);
  g_source_unref(c->source);
  ctx_close(c, r->root);
}

/* --- a sequence for all ------------------------------------------------------------------------------------------- */

static gint by_deadline(gconstpointer a, gconstpointer b, gpointer data) {
  const ctx_t *x = a, *y = b;
  (void)data;
  return (x->when > y->when) - (x->when < y->when);
}

static inline void sequence_open(ring_t *r, ctx_t *c) {
  GSequenceIter *end = g_sequence_get_end_iter(r->deadlines);
  GSequenceIter *last = g_sequence_iter_prev(end); /* the end's own, if there is none */
  ctx_open(c, r->root);
  c->when = g_get_monotonic_time() + (gint64)HOUR_MS * 1000;
  if (last == end || ((ctx_t *)g_sequence_get(last))->when <= c->when) {
    c->place = g_sequence_append(r->deadlines, c); /* mostly so, where many have the same time */
  } else {
    c->place = g_sequence_insert_sorted(r->deadlines, c, by_deadline, NULL);
  }
  /* An alarm that is too early only looks again: when the earliest goes, nothing is set. */
  gint64 ready = g_source_get_ready_time(r->alarm);
  if (ready < 0 || ready > c->when) g_source_set_ready_time(r->alarm, c->when);
}

static inline void sequence_close(ring_t *r, ctx_t *c) {
  g_sequence_remove(c->place);
  ctx_close(c, r->root);
}

static gboolean on_alarm(gpointer data) {
  ring_t *r = data;
  GSequenceIter *first = g_sequence_get_begin_iter(r->deadlines);
  ctx_t *c = g_sequence_iter_is_end(first) ? NULL : g_sequence_get(first);
  if (c && c->when <= g_get_monotonic_time()) peer_fail("a timeout of one hour has fired");
  g_source_set_ready_time(r->alarm, c ? c->when : -1);
  return G_SOURCE_CONTINUE;
}

static gboolean alarm_dispatch(GSource *source, GSourceFunc callback, gpointer data) {
  (void)source;
  return callback(data);
}

static GSourceFuncs alarm_funcs = {NULL, NULL, alarm_dispatch, NULL, NULL, NULL};

/* --- so many of them ---------------------------------------------------------------------------------------------- */

static ring_t *ring_new(const peer_size_t *size) {
  ring_t *r = peer_alloc(1, sizeof(*r));
  r->root = g_cancellable_new();
  r->n = size->size ? size->size : 1;
  r->ctx = peer_alloc(r->n, sizeof(*r->ctx));
  r->seed = PEER_SEED;
  r->deadlines = g_sequence_new(NULL);
  r->alarm = g_source_new(&alarm_funcs, sizeof(*r->alarm));
  g_source_set_callback(r->alarm, on_alarm, r, NULL);
  g_source_attach(r->alarm, NULL);
  return r;
}

static void ring_delete(ring_t *r) {
  g_source_destroy(r->alarm);
  g_source_unref(r->alarm);
  g_sequence_free(r->deadlines);
  g_object_unref(r->root);
  free(r->ctx);
  free(r);
}

static inline size_t next_oldest(ring_t *r) {
  size_t i = r->at;
  if (++r->at == r->n) r->at = 0;
  return i;
}

static inline size_t next_random(ring_t *r) { return peer_random(&r->seed, r->n); }

/* Implementations: how is source or sequence. */
#define ROWS(how)                                                                                                      \
  /* Nothing else is outstanding: one is made, is cancelled, and goes. */                                              \
  void *how##_timeout_setup(const peer_size_t *size) { return ring_new(size); }                                        \
  void how##_timeout_run(void *state, uint64_t ops, peer_sample_t *s) {                                                \
    ring_t *r = state;                                                                                                 \
    uint64_t start = peer_now_ns();                                                                                    \
    for (uint64_t i = 0; i < ops; i++) {                                                                               \
      how##_open(r, r->ctx);                                                                                           \
      how##_close(r, r->ctx);                                                                                          \
      turn_if_due(i);                                                                                                  \
    }                                                                                                                  \
    s->amount += peer_now_ns() - start;                                                                                \
    s->ops += ops;                                                                                                     \
  }                                                                                                                    \
  void how##_timeout_teardown(void *state) { ring_delete(state); }                                                     \
                                                                                                                       \
  static void *how##_full(const peer_size_t *size) {                                                                   \
    ring_t *r = ring_new(size);                                                                                        \
    for (size_t i = 0; i < r->n; i++) how##_open(r, &r->ctx[i]);                                                       \
    return r;                                                                                                          \
  }                                                                                                                    \
  static void how##_empty(void *state) {                                                                               \
    ring_t *r = state;                                                                                                 \
    for (size_t i = 0; i < r->n; i++) how##_close(r, &r->ctx[i]);                                                      \
    ring_delete(r);                                                                                                    \
  }                                                                                                                    \
                                                                                                                       \
  /* The oldest of many is cancelled and freed, and replaced by a new one; or one at random. */                        \
  REPLACED(how, rotate, next_oldest)                                                                                   \
  REPLACED(how, random, next_random)                                                                                   \
                                                                                                                       \
  /* What malloc has handed out, before and after: its own 8 bytes and rounding a block are in it, the array with */   \
  /* what the program itself remembers of each is not. */                                                              \
  void *how##_bytes_setup(const peer_size_t *size) { return ring_new(size); }                                          \
  void how##_bytes_run(void *state, uint64_t ops, peer_sample_t *s) {                                                  \
    ring_t *r = state;                                                                                                 \
    (void)ops;                                                                                                         \
    uint64_t before = peer_allocated();                                                                                \
    for (size_t i = 0; i < r->n; i++) how##_open(r, &r->ctx[i]);                                                       \
    g_main_context_iteration(NULL, FALSE);                                                                             \
    s->amount += peer_allocated() - before;                                                                            \
    s->ops += r->n;                                                                                                    \
  }                                                                                                                    \
  void how##_bytes_teardown(void *state) { how##_empty(state); }

#define REPLACED(how, row, which)                                                                                      \
  void *how##_##row##_setup(const peer_size_t *size) { return how##_full(size); }                                      \
  void how##_##row##_run(void *state, uint64_t ops, peer_sample_t *s) {                                                \
    ring_t *r = state;                                                                                                 \
    uint64_t start = peer_now_ns();                                                                                    \
    for (uint64_t i = 0; i < ops; i++) {                                                                               \
      ctx_t *c = &r->ctx[which(r)];                                                                                    \
      how##_close(r, c);                                                                                               \
      how##_open(r, c);                                                                                                \
      turn_if_due(i);                                                                                                  \
    }                                                                                                                  \
    s->amount += peer_now_ns() - start;                                                                                \
    s->ops += ops;                                                                                                     \
  }                                                                                                                    \
  void how##_##row##_teardown(void *state) { how##_empty(state); }

ROWS(source)
ROWS(sequence)
