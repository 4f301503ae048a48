/* SPDX-License-Identifier: MIT
 *
 * Contexts as GLib's programs have them: a GCancellable that is cancelled with its parent, by a handler there.
 */
#include "glib_peer.h"

void cancel_child(GCancellable *parent, gpointer child) {
  (void)parent;
  g_cancellable_cancel(child);
}

static void *root_new(const peer_size_t *size) {
  (void)size;
  return g_cancellable_new();
}

/* A cancellable and its handler at the root are made; it is cancelled; both go. */
void *cancel_setup(const peer_size_t *size) { return root_new(size); }

void cancel_run(void *state, uint64_t ops, peer_sample_t *s) {
  uint64_t start = peer_now_ns();
  for (uint64_t i = 0; i < ops; i++) {
    GCancellable *child = g_cancellable_new();
    gulong handler = g_cancellable_connect(state, G_CALLBACK(cancel_child), child, NULL);
    g_cancellable_cancel(child);
    g_cancellable_disconnect(state, handler);
    g_object_unref(child);
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
