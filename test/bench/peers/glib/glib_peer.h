/* SPDX-License-Identifier: MIT
 *
 * The peer "GLib": its cancellables, its main loop, its queues and its thread pool, as GLib's own programs use them.
 * The loop is that of the default main context; everything that is not of another thread runs there.
 */
#ifndef UVFLOW_BENCH_GLIB_PEER_H
#define UVFLOW_BENCH_GLIB_PEER_H

#include <gio/gio.h>

#include "peer_work.h"

#define HOUR_MS 3600000U
/* What waits for the loop is paid too, where an operation never needs it: one turn for so many operations. */
#define TURN_EVERY 256

static inline void turn_if_due(uint64_t i) {
  if (i % TURN_EVERY == TURN_EVERY - 1) g_main_context_iteration(NULL, FALSE);
}

/* Handler of a parent's "cancelled": how a GCancellable becomes another's child (context.c). */
void cancel_child(GCancellable *parent, gpointer child);

/* --- a bounded hand-over between threads (belt.c) ----------------------------------------------------------------- */

#define BELT_CAPACITY 128
#define BELT_BATCH 64

/* A GAsyncQueue has no bound. This one gets its bound by credit: senders take all the room there is (or their share of
 * it, if there are several) under a mutex and then push without asking; receivers give room back when half of it has
 * passed through their hands, or when they find nothing. So the second mutex is rarely touched. */
typedef struct belt_s {
  GAsyncQueue *items;
  GMutex mutex;
  GCond freed;
  gint room;
  size_t waiting;
  size_t share;
} belt_t;

typedef struct belt_sender_s {
  belt_t *belt;
  size_t credit;
} belt_sender_t;

typedef struct belt_receiver_s {
  belt_t *belt;
  size_t owed;
} belt_receiver_t;

void belt_open(belt_t *b, size_t senders);
void belt_close(belt_t *b);
void belt_free_room(belt_t *b, size_t n);
/* Items are never NULL. */
void belt_send(belt_sender_t *s, gpointer item);
void belt_send_many(belt_sender_t *s, gpointer *items, size_t n);
gpointer belt_receive(belt_receiver_t *r);
/* At least one, at most max; none behind the item `last`. */
size_t belt_receive_many(belt_receiver_t *r, gpointer *items, size_t max, gconstpointer last);

/* --- a queue that wakes the loop (wake.c) ------------------------------------------------------------------------- */

/* A source for a GAsyncQueue: dispatched with all that is in it. Whoever pushes calls wake_loop, which writes to the
 * context's eventfd only if nobody has done so since the source last looked. */
typedef struct wake_s {
  GSource source;
  GAsyncQueue *items; /* not owned; NULL: only the wake-up is wanted */
  void (*on_items)(gpointer data, gpointer *items, size_t n);
  gpointer data;
  gint signalled;
} wake_t;

wake_t *wake_new(GAsyncQueue *items, void (*on_items)(gpointer data, gpointer *items, size_t n), gpointer data);
void wake_loop(wake_t *w);
void wake_delete(wake_t *w);

/* --- implementations ---------------------------------------------------------------------------------------------- */

#define IMPL(id)                                                                                                       \
  void *id##_setup(const peer_size_t *size);                                                                           \
  void id##_run(void *state, uint64_t ops, peer_sample_t *s);                                                          \
  void id##_teardown(void *state);

IMPL(cancel) /* context.c */
IMPL(cancel_plain)
IMPL(err)
IMPL(source_timeout) /* timeout.c */
IMPL(source_rotate)
IMPL(source_random)
IMPL(source_bytes)
IMPL(sequence_timeout)
IMPL(sequence_rotate)
IMPL(sequence_random)
IMPL(sequence_bytes)
IMPL(children) /* tree.c */
IMPL(children_free)
IMPL(chain)
IMPL(chan_loop) /* chan.c */
IMPL(chan_thread_loop)
IMPL(chan_thread_loop_batch)
IMPL(chan_3_loop)
IMPL(chan_producers)
IMPL(chan_threads)
IMPL(pipe_one) /* pipe.c */
IMPL(pipe_many)
IMPL(pipe_work)
IMPL(pool_work) /* pool.c */
IMPL(job_pool)
IMPL(job_pool_1us)
IMPL(job_task)
IMPL(job_task_1us)
IMPL(group_idle) /* group.c */
IMPL(group_task)
IMPL(group_pool)
IMPL(group_pool_each)
IMPL(group_pool_task)

#endif
