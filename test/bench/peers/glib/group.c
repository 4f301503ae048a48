/* SPDX-License-Identifier: MIT
 *
 * Groups of 100 tasks. A group is a GCancellable that is cancelled with a root's, and a counter; every task asks it
 * whether it may begin.
 */
#include "glib_peer.h"

typedef struct team_s {
  GMainLoop *loop;
  GCancellable *root;
  size_t n;
  gint workers;
  /* of one group */
  GCancellable *cancellable;
  gulong handler;
  gint running;
  GThreadPool *pool; /* NULL: a pool for each group, or none */
  wake_t *wake;
} team_t;

static team_t *team_new(const peer_size_t *size) {
  team_t *t = peer_alloc(1, sizeof(*t));
  t->loop = g_main_loop_new(NULL, FALSE);
  t->root = g_cancellable_new();
  t->n = size->size;
  t->workers = (gint)size->workers;
  return t;
}

static void team_delete(team_t *t) {
  if (t->pool) g_thread_pool_free(t->pool, FALSE, TRUE);
  if (t->wake) wake_delete(t->wake);
  g_object_unref(t->root);
  g_main_loop_unref(t->loop);
  free(t);
}

static void group_open(team_t *t) {
  t->cancellable = g_cancellable_new();
  t->handler = g_cancellable_connect(t->root, G_CALLBACK(cancel_child), t->cancellable, NULL);
  t->running = (gint)t->n;
}

static void group_close(team_t *t) {
  if (t->running) peer_fail("a group has ended before its tasks");
  g_cancellable_disconnect(t->root, t->handler);
  g_object_unref(t->cancellable);
}

static void team_run(team_t *t, uint64_t ops, void (*round)(team_t *t), peer_sample_t *s) {
  uint64_t cpu = peer_cpu_ns();
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    group_open(t);
    round(t);
    group_close(t);
  }
  s->amount += peer_now_ns() - start;
  s->cpu_ns += peer_cpu_ns() - cpu;
  s->ops += ops;
}

static void task_done(team_t *t) {
  if (--t->running == 0) g_main_loop_quit(t->loop);
}

/* --- on the loop -------------------------------------------------------------------------------------------------- */

/* An idle source for each task, at the default priority; a plain counter. */
static gboolean on_idle(gpointer data) {
  team_t *t = data;
  if (g_cancellable_is_cancelled(t->cancellable)) peer_fail("cancelled");
  task_done(t);
  return G_SOURCE_REMOVE;
}

static void idle_round(team_t *t) {
  for (size_t i = 0; i < t->n; i++) g_idle_add_full(G_PRIORITY_DEFAULT, on_idle, t, NULL);
  g_main_loop_run(t->loop);
}

void *group_idle_setup(const peer_size_t *size) { return team_new(size); }
void group_idle_run(void *state, uint64_t ops, peer_sample_t *s) { team_run(state, ops, idle_round, s); }
void group_idle_teardown(void *state) { team_delete(state); }

/* A GTask for each: started by an idle source, in which it returns; its callback counts. */
static void on_task(GObject *source, GAsyncResult *result, gpointer data) {
  (void)source;
  if (!g_task_propagate_boolean(G_TASK(result), NULL)) peer_fail("a task has failed");
  task_done(data);
}

static gboolean on_start(gpointer task) {
  g_task_return_boolean(task, TRUE);
  return G_SOURCE_REMOVE;
}

static void task_round(team_t *t) {
  for (size_t i = 0; i < t->n; i++) {
    GTask *task = g_task_new(NULL, t->cancellable, on_task, t);
    GSource *source = g_idle_source_new();
    g_task_attach_source(task, source, on_start);
    g_source_unref(source);
    g_object_unref(task);
  }
  g_main_loop_run(t->loop);
}

void *group_task_setup(const peer_size_t *size) { return team_new(size); }
void group_task_run(void *state, uint64_t ops, peer_sample_t *s) { team_run(state, ops, task_round, s); }
void group_task_teardown(void *state) { team_delete(state); }

/* --- on a pool ---------------------------------------------------------------------------------------------------- */

/* Pushed to a GThreadPool that stays; the last task wakes the loop, which waits for the group. */
static void pool_task(gpointer item, gpointer data) {
  team_t *t = data;
  (void)item;
  if (g_cancellable_is_cancelled(t->cancellable)) peer_fail("cancelled");
  if (g_atomic_int_dec_and_test(&t->running) && t->wake) wake_loop(t->wake);
}

static void pool_round(team_t *t) {
  for (size_t i = 0; i < t->n; i++) g_thread_pool_push(t->pool, t, NULL);
  g_main_loop_run(t->loop);
}

static void on_all(gpointer data, gpointer *items, size_t n) {
  team_t *t = data;
  (void)items;
  (void)n;
  g_main_loop_quit(t->loop);
}

void *group_pool_setup(const peer_size_t *size) {
  team_t *t = team_new(size);
  t->pool = g_thread_pool_new(pool_task, t, t->workers, TRUE, NULL);
  t->wake = wake_new(NULL, on_all, t);
  return t;
}

void group_pool_run(void *state, uint64_t ops, peer_sample_t *s) { team_run(state, ops, pool_round, s); }
void group_pool_teardown(void *state) { team_delete(state); }

/* A GThreadPool for each group, which shares its threads with all others that are not exclusive; freeing it waits for
 * its tasks: what GLib itself has for a group. It blocks this thread, where ours goes on with its loop. */
static void pool_each_round(team_t *t) {
  GThreadPool *pool = g_thread_pool_new(pool_task, t, t->workers, FALSE, NULL);
  for (size_t i = 0; i < t->n; i++) g_thread_pool_push(pool, t, NULL);
  g_thread_pool_free(pool, FALSE, TRUE);
}

void *group_pool_each_setup(const peer_size_t *size) { return team_new(size); }
void group_pool_each_run(void *state, uint64_t ops, peer_sample_t *s) { team_run(state, ops, pool_each_round, s); }
void group_pool_each_teardown(void *state) { team_delete(state); }

/* A GTask for each, on GLib's own pool of 10 threads or more. */
static void thread_task(GTask *task, gpointer source, gpointer data, GCancellable *cancellable) {
  (void)source;
  (void)data;
  (void)cancellable;
  g_task_return_boolean(task, TRUE);
}

static void pool_task_round(team_t *t) {
  for (size_t i = 0; i < t->n; i++) {
    GTask *task = g_task_new(NULL, t->cancellable, on_task, t);
    g_task_run_in_thread(task, thread_task);
    g_object_unref(task);
  }
  g_main_loop_run(t->loop);
}

void *group_pool_task_setup(const peer_size_t *size) { return team_new(size); }
void group_pool_task_run(void *state, uint64_t ops, peer_sample_t *s) { team_run(state, ops, pool_task_round, s); }
void group_pool_task_teardown(void *state) { team_delete(state); }
