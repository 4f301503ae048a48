/* SPDX-License-Identifier: MIT */
#include "glib_peer.h"

static gboolean wake_prepare(GSource *source, gint *timeout) {
  wake_t *w = (wake_t *)source;
  *timeout = -1;
  return g_atomic_int_get(&w->signalled);
}

static gboolean wake_check(GSource *source) {
  wake_t *w = (wake_t *)source;
  return g_atomic_int_get(&w->signalled);
}

/* Whoever pushes after the flag was taken back wakes the loop again; what was pushed before is in the queue. */
static gboolean wake_dispatch(GSource *source, GSourceFunc callback, gpointer data) {
  wake_t *w = (wake_t *)source;
  gpointer items[BELT_CAPACITY];
  (void)callback;
  (void)data;
  g_atomic_int_set(&w->signalled, 0);
  for (;;) {
    size_t n = 0;
    if (w->items) {
      g_async_queue_lock(w->items);
      while (n < BELT_CAPACITY && (items[n] = g_async_queue_try_pop_unlocked(w->items))) n++;
      g_async_queue_unlock(w->items);
    }
    if (n || !w->items) w->on_items(w->data, items, n);
    if (n < BELT_CAPACITY) return G_SOURCE_CONTINUE;
  }
}

static GSourceFuncs wake_funcs = {wake_prepare, wake_check, wake_dispatch, NULL, NULL, NULL};

wake_t *wake_new(GAsyncQueue *items, void (*on_items)(gpointer data, gpointer *items, size_t n), gpointer data) {
  wake_t *w = (wake_t *)g_source_new(&wake_funcs, sizeof(*w));
  w->items = items;
  w->on_items = on_items;
  w->data = data;
  w->signalled = 0;
  g_source_attach(&w->source, NULL);
  return w;
}

void wake_loop(wake_t *w) {
  if (!g_atomic_int_get(&w->signalled) && g_atomic_int_compare_and_exchange(&w->signalled, 0, 1))
    g_main_context_wakeup(NULL);
}

void wake_delete(wake_t *w) {
  g_source_destroy(&w->source);
  g_source_unref(&w->source);
}
