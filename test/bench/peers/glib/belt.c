/* SPDX-License-Identifier: MIT */
#include "glib_peer.h"

/* Whoever waits looks again so many times, letting others run, before it sleeps: GAsyncQueue and GCond sleep at once,
 * and being woken for every half of 128 items is most of what an item costs then. */
#define LOOKS 100

void belt_open(belt_t *b, size_t senders) {
  b->items = g_async_queue_new();
  g_mutex_init(&b->mutex);
  g_cond_init(&b->freed);
  b->room = BELT_CAPACITY;
  b->waiting = 0;
  b->share = BELT_CAPACITY / senders;
}

void belt_close(belt_t *b) {
  g_async_queue_unref(b->items);
  g_mutex_clear(&b->mutex);
  g_cond_clear(&b->freed);
}

void belt_free_room(belt_t *b, size_t n) {
  g_mutex_lock(&b->mutex);
  g_atomic_int_add(&b->room, (gint)n);
  if (b->waiting) g_cond_broadcast(&b->freed);
  g_mutex_unlock(&b->mutex);
}

static void take_credit(belt_sender_t *s) {
  belt_t *b = s->belt;
  for (int i = 0; i < LOOKS && !g_atomic_int_get(&b->room); i++) g_thread_yield();
  g_mutex_lock(&b->mutex);
  while (!b->room) {
    b->waiting++;
    g_cond_wait(&b->freed, &b->mutex);
    b->waiting--;
  }
  s->credit = MIN((size_t)b->room, b->share);
  g_atomic_int_add(&b->room, -(gint)s->credit);
  g_mutex_unlock(&b->mutex);
}

void belt_send(belt_sender_t *s, gpointer item) {
  if (!s->credit) take_credit(s);
  s->credit--;
  g_async_queue_push(s->belt->items, item);
}

void belt_send_many(belt_sender_t *s, gpointer *items, size_t n) {
  while (n > 0) {
    if (!s->credit) take_credit(s);
    size_t now = MIN(n, s->credit);
    g_async_queue_lock(s->belt->items);
    for (size_t i = 0; i < now; i++) g_async_queue_push_unlocked(s->belt->items, items[i]);
    g_async_queue_unlock(s->belt->items);
    s->credit -= now;
    items += now;
    n -= now;
  }
}

static void pay(belt_receiver_t *r) {
  if (r->owed) belt_free_room(r->belt, r->owed);
  r->owed = 0;
}

gpointer belt_receive(belt_receiver_t *r) {
  GAsyncQueue *items = r->belt->items;
  gpointer item = g_async_queue_try_pop(items);
  if (!item) {
    pay(r);
    for (int i = 0; i < LOOKS && !item; i++) {
      g_thread_yield();
      item = g_async_queue_try_pop(items);
    }
    if (!item) item = g_async_queue_pop(items);
  }
  if (++r->owed >= BELT_CAPACITY / 2) pay(r);
  return item;
}

size_t belt_receive_many(belt_receiver_t *r, gpointer *items, size_t max, gconstpointer last) {
  GAsyncQueue *from = r->belt->items;
  size_t n = 0;
  if (g_async_queue_length(from) <= 0) {
    pay(r);
    for (int i = 0; i < LOOKS && g_async_queue_length(from) <= 0; i++) g_thread_yield();
  }
  g_async_queue_lock(from);
  gpointer item = g_async_queue_pop_unlocked(from);
  for (; item; item = g_async_queue_try_pop_unlocked(from)) {
    items[n++] = item;
    if (n == max || item == last) break;
  }
  g_async_queue_unlock(from);
  r->owed += n;
  if (r->owed >= BELT_CAPACITY / 2) pay(r);
  return n;
}
