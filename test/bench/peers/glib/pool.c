/* SPDX-License-Identifier: MIT
 *
 * Work on other threads: a GThreadPool with as many threads of its own as the row has workers, and GTask's
 * g_task_run_in_thread, whose pool is that of GLib.
 */
#include "glib_peer.h"

/* Each slot on lines of its own. */
typedef union slot_u {
  struct {
    struct crew_s *crew;
    uint64_t number;
  } one;
  char line[128];
} slot_t;

typedef struct crew_s {
  GMainLoop *loop;
  GCancellable *cancellable;
  GThreadPool *pool;
  GAsyncQueue *done;
  wake_t *wake;
  void (*start)(struct crew_s *c, slot_t *slot);
  slot_t *slots;
  size_t n; /* in flight */
  uint64_t spin_ns;
  uint64_t turns;
  uint64_t to_start;
  uint64_t running;
} crew_t;

static crew_t *crew_new(size_t in_flight, uint64_t spin_ns) {
  crew_t *c = peer_alloc(1, sizeof(*c));
  c->n = in_flight;
  c->slots = peer_alloc(c->n, sizeof(*c->slots));
  for (size_t i = 0; i < c->n; i++) c->slots[i].one.crew = c;
  c->spin_ns = spin_ns;
  c->loop = g_main_loop_new(NULL, FALSE);
  c->cancellable = g_cancellable_new();
  return c;
}

static void crew_pool(crew_t *c, GFunc fn, gpointer data, size_t workers) {
  GError *err = NULL;
  c->pool = g_thread_pool_new(fn, data, (gint)workers, TRUE, &err);
  if (err) peer_fail(err->message);
  c->done = g_async_queue_new();
}

static void crew_delete(crew_t *c) {
  if (c->pool) g_thread_pool_free(c->pool, FALSE, TRUE);
  if (c->wake) wake_delete(c->wake);
  if (c->done) g_async_queue_unref(c->done);
  g_object_unref(c->cancellable);
  g_main_loop_unref(c->loop);
  free(c->slots);
  free(c);
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static void crew_start(crew_t *c, slot_t *slot) {
  c->to_start--;
  c->running++;
  c->start(c, slot);
}

static void job_ended(crew_t *c, slot_t *slot) {
  c->running--;
  if (c->to_start) crew_start(c, slot);
  if (!c->running) g_main_loop_quit(c->loop);
}

static void crew_run(crew_t *c, uint64_t ops, peer_sample_t *s) {
  uint64_t cpu = peer_cpu_ns();
  uint64_t start = peer_now_ns();
  c->to_start = ops;
  for (size_t i = 0; i < c->n && c->to_start; i++) crew_start(c, &c->slots[i]);
  g_main_loop_run(c->loop);
  s->amount += peer_now_ns() - start;
  s->cpu_ns += peer_cpu_ns() - cpu;
  s->ops += ops;
}

/* Pushed to the pool; the worker asks whether it is cancelled, does the work, pushes it to a GAsyncQueue and wakes the
 * loop, unless that was done since it last looked; the loop starts the next one for each that came back. */
static void pool_job(gpointer item, gpointer data) {
  crew_t *c = data;
  if (g_cancellable_is_cancelled(c->cancellable)) peer_fail("cancelled");
  if (c->spin_ns) peer_spin_clock(c->spin_ns);
  g_async_queue_push(c->done, item);
  wake_loop(c->wake);
}

static void pool_start(crew_t *c, slot_t *slot) { g_thread_pool_push(c->pool, slot, NULL); }

static void pool_ended(gpointer data, gpointer *items, size_t n) {
  for (size_t i = 0; i < n; i++) job_ended(data, items[i]);
}

static crew_t *job_pool_new(const peer_size_t *size, uint64_t spin_ns) {
  crew_t *c = crew_new(size->size, spin_ns);
  c->start = pool_start;
  crew_pool(c, pool_job, c, size->workers);
  c->wake = wake_new(c->done, pool_ended, c);
  return c;
}

void *job_pool_setup(const peer_size_t *size) { return job_pool_new(size, 0); }
void job_pool_run(void *state, uint64_t ops, peer_sample_t *s) { crew_run(state, ops, s); }
void job_pool_teardown(void *state) { crew_delete(state); }

void *job_pool_1us_setup(const peer_size_t *size) { return job_pool_new(size, 1000); }
void job_pool_1us_run(void *state, uint64_t ops, peer_sample_t *s) { crew_run(state, ops, s); }
void job_pool_1us_teardown(void *state) { crew_delete(state); }

/* A GTask for each job, run by g_task_run_in_thread, its callback on the loop. Its pool has 10 threads or more: the
 * number of workers cannot be set. */
static void task_job(GTask *task, gpointer source, gpointer data, GCancellable *cancellable) {
  slot_t *slot = data;
  (void)source;
  (void)cancellable;
  if (slot->one.crew->spin_ns) peer_spin_clock(slot->one.crew->spin_ns);
  g_task_return_boolean(task, TRUE);
}

static void task_ended(GObject *source, GAsyncResult *result, gpointer data) {
  slot_t *slot = data;
  (void)source;
  if (!g_task_propagate_boolean(G_TASK(result), NULL)) peer_fail("a task has failed");
  job_ended(slot->one.crew, slot);
}

static void task_start(crew_t *c, slot_t *slot) {
  GTask *task = g_task_new(NULL, c->cancellable, task_ended, slot);
  g_task_set_task_data(task, slot, NULL);
  g_task_run_in_thread(task, task_job);
  g_object_unref(task);
}

static crew_t *job_task_new(const peer_size_t *size, uint64_t spin_ns) {
  crew_t *c = crew_new(size->size, spin_ns);
  c->start = task_start;
  return c;
}

void *job_task_setup(const peer_size_t *size) { return job_task_new(size, 0); }
void job_task_run(void *state, uint64_t ops, peer_sample_t *s) { crew_run(state, ops, s); }
void job_task_teardown(void *state) { crew_delete(state); }

void *job_task_1us_setup(const peer_size_t *size) { return job_task_new(size, 1000); }
void job_task_1us_run(void *state, uint64_t ops, peer_sample_t *s) { crew_run(state, ops, s); }
void job_task_1us_teardown(void *state) { crew_delete(state); }

/* --- gen -> work -> sum ------------------------------------------------------------------------------------------- */

#define IN_FLIGHT 128

/* The loop is source and sink: it keeps 128 numbers in the pool; a worker pushes what it has done to a GAsyncQueue and
 * wakes the loop, as a job does; the loop adds up all that are there and pushes as many again. (A thread that waits in
 * g_async_queue_pop instead is signalled for every item until it runs, which costs more.) */
typedef struct line_s {
  crew_t *crew;
  uint64_t end;
  uint64_t sent;
  uint64_t received;
  uint64_t sum;
} line_t;

static void pool_item(gpointer item, gpointer data) {
  line_t *l = data;
  g_async_queue_push(l->crew->done, GSIZE_TO_POINTER(peer_spin(GPOINTER_TO_SIZE(item), l->crew->turns)));
  wake_loop(l->crew->wake);
}

static void line_send(line_t *l) {
  while (l->sent < l->end && l->sent - l->received < IN_FLIGHT)
    g_thread_pool_push(l->crew->pool, GSIZE_TO_POINTER(2 * l->sent++ + 1), NULL);
}

static void line_items(gpointer data, gpointer *items, size_t n) {
  line_t *l = data;
  for (size_t i = 0; i < n; i++) l->sum += GPOINTER_TO_SIZE(items[i]);
  l->received += n;
  if (l->received == l->end) {
    g_main_loop_quit(l->crew->loop);
  } else {
    line_send(l);
  }
}

void *pool_work_setup(const peer_size_t *size) {
  line_t *l = peer_alloc(1, sizeof(*l));
  crew_t *c = l->crew = crew_new(1, 0);
  c->turns = peer_turns_for(size->size);
  crew_pool(c, pool_item, l, size->workers);
  c->wake = wake_new(c->done, line_items, l);
  return l;
}

void pool_work_run(void *state, uint64_t ops, peer_sample_t *s) {
  line_t *l = state;
  l->end = ops;
  l->sent = l->received = l->sum = 0;
  uint64_t cpu = peer_cpu_ns();
  uint64_t start = peer_now_ns();
  line_send(l);
  g_main_loop_run(l->crew->loop);
  s->amount += peer_now_ns() - start;
  s->cpu_ns += peer_cpu_ns() - cpu;
  s->ops += ops;
  if (l->sum != peer_sum_of(ops, 0)) peer_fail("the pool's sum is wrong");
}

void pool_work_teardown(void *state) {
  line_t *l = state;
  crew_delete(l->crew);
  free(l);
}
