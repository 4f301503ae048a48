/* SPDX-License-Identifier: MIT
 *
 * Cancelling a tree of GCancellables: each is connected to its parent's "cancelled".
 */
#include "glib_peer.h"

/* As many contexts in all, in rows of short chains. */
#define CHAINED 10000

typedef struct tree_s {
  GCancellable **node;
  size_t n;     /* nodes in all */
  size_t depth; /* of a chain */
} tree_t;

static tree_t *tree_new(size_t n, size_t depth) {
  tree_t *t = peer_alloc(1, sizeof(*t));
  t->n = n;
  t->depth = depth;
  t->node = peer_alloc(n, sizeof(*t->node));
  return t;
}

static void tree_delete(tree_t *t) {
  free(t->node);
  free(t);
}

/* --- children ----------------------------------------------------------------------------------------------------- */

/* Once a parent is cancelled it never calls its handlers again, so they need not be disconnected one by one: they go
 * with it. */
static void children_round(tree_t *t, int with_free, peer_sample_t *s) {
  GCancellable *top = g_cancellable_new();
  for (size_t i = 0; i < t->n; i++) {
    t->node[i] = g_cancellable_new();
    g_cancellable_connect(top, G_CALLBACK(cancel_child), t->node[i], NULL);
  }
  g_main_context_iteration(NULL, FALSE);
  uint64_t start = peer_now_ns();
  g_cancellable_cancel(top);
  g_main_context_iteration(NULL, FALSE);
  uint64_t cancelled = peer_now_ns();
  if (!g_cancellable_is_cancelled(t->node[0]) || !g_cancellable_is_cancelled(t->node[t->n - 1]))
    peer_fail("the cancel did not reach every child");
  uint64_t releasing = peer_now_ns();
  for (size_t i = 0; i < t->n; i++) g_object_unref(t->node[i]);
  g_object_unref(top);
  g_main_context_iteration(NULL, FALSE);
  uint64_t released = peer_now_ns();
  s->amount += cancelled - start + (with_free ? released - releasing : 0);
  s->ops += t->n;
}

/* One g_cancellable_cancel of a parent of N; not making them, and not freeing them. */
void *children_setup(const peer_size_t *size) { return tree_new(size->size, 1); }

void children_run(void *state, uint64_t ops, peer_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) children_round(t, 0, s);
}

void children_teardown(void *state) { tree_delete(state); }

/* The same, and the last reference to each child, in the order they were made, and to the parent. */
void *children_free_setup(const peer_size_t *size) { return tree_new(size->size, 1); }

void children_free_run(void *state, uint64_t ops, peer_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) children_round(t, 1, s);
}

void children_free_teardown(void *state) { tree_delete(state); }

/* --- chains ------------------------------------------------------------------------------------------------------- */

/* Chains of N, as many as make 10,000; the first of each is cancelled, which calls itself through the signal for each
 * of the chain: the stack is what bounds N. */
void *chain_setup(const peer_size_t *size) {
  size_t depth = size->size ? size->size : 1;
  size_t chains = CHAINED / depth ? CHAINED / depth : 1;
  return tree_new(chains * depth, depth);
}

void chain_run(void *state, uint64_t ops, peer_sample_t *s) {
  tree_t *t = state;
  for (uint64_t done = 0; done < ops; done += t->n) {
    for (size_t i = 0; i < t->n; i++) {
      t->node[i] = g_cancellable_new();
      if (i % t->depth) g_cancellable_connect(t->node[i - 1], G_CALLBACK(cancel_child), t->node[i], NULL);
    }
    g_main_context_iteration(NULL, FALSE);
    uint64_t start = peer_now_ns();
    for (size_t i = 0; i < t->n; i += t->depth) g_cancellable_cancel(t->node[i]);
    g_main_context_iteration(NULL, FALSE);
    s->amount += peer_now_ns() - start;
    s->ops += t->n;
    if (!g_cancellable_is_cancelled(t->node[t->n - 1])) peer_fail("the cancel did not reach the chain's end");
    for (size_t i = 0; i < t->n; i++) g_object_unref(t->node[i]);
  }
}

void chain_teardown(void *state) { tree_delete(state); }
