/* SPDX-License-Identifier: MIT
 *
 * Channels without waiting: on any thread, what can be done at once, or not at all. See channel.c for how an item
 * changes hands.
 */
#include "chan/chan.h"
#include "kernel/context.h"

#define LOCK_ITEMS 1024

int uvf_chan_try_send(uvf_chan_t *chan, void *item) {
  uvf__chan_after_t after;
  int rc;
  if (chan == NULL) return UV_EINVAL;
  uvf__chan_after_init(&after);
  uvf__lock(&chan->lock);
  rc = uvf__chan_place(chan, item, &after);
  uvf__unlock(&chan->lock);
  uvf__chan_after(chan, &after);
  return rc;
}

int uvf_chan_try_recv(uvf_chan_t *chan, void **item) {
  uvf__chan_after_t after;
  int rc;
  if (chan == NULL || item == NULL) return UV_EINVAL;
  uvf__chan_after_init(&after);
  uvf__lock(&chan->lock);
  rc = uvf__chan_take(chan, item, &after);
  uvf__unlock(&chan->lock);
  uvf__chan_after(chan, &after);
  return rc;
}

int uvf__chan_send_some(const uvf_ctx_t *ctx, uvf_chan_t *chan, void *const *items, size_t n, size_t *sent) {
  uvf__chan_after_t after;
  size_t i = 0;
  int rc = 0;
  uvf__chan_after_init(&after);
  uvf__lock_many(&chan->lock);
  if (ctx != NULL) rc = uvf__ctx_err(ctx);
  while (rc == 0 && i < n && (rc = uvf__chan_place(chan, items[i], &after)) == 0) {
    i++;
    if (!after.drops) continue;
    uvf__unlock(&chan->lock); /* the drop function gets them one by one */
    uvf__chan_after(chan, &after);
    uvf__chan_after_init(&after);
    uvf__lock_many(&chan->lock);
  }
  uvf__unlock(&chan->lock);
  uvf__chan_after(chan, &after);
  *sent = i;
  return i > 0 ? 0 : rc;
}

int uvf__chan_recv_some(const uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, size_t *received) {
  size_t n = 0;
  int why = 0;
  while (why == 0 && n < max) { /* by and by: others want the lock, too */
    size_t some = max - n < LOCK_ITEMS ? max - n : LOCK_ITEMS;
    uvf__chan_after_t after;
    uvf__chan_after_init(&after);
    uvf__lock_many(&chan->lock);
    n += uvf__chan_take_many(ctx, chan, items + n, some, &after, &why);
    uvf__unlock(&chan->lock);
    uvf__chan_after(chan, &after);
  }
  *received = n;
  return n > 0 ? 0 : why;
}

int uvf_chan_try_send_many(uvf_chan_t *chan, void *const *items, size_t n, size_t *sent) {
  if (sent != NULL) *sent = 0;
  if (chan == NULL || sent == NULL || (items == NULL && n > 0)) return UV_EINVAL;
  return uvf__chan_send_some(NULL, chan, items, n, sent);
}

int uvf_chan_try_recv_many(uvf_chan_t *chan, void **items, size_t max, size_t *received) {
  if (received != NULL) *received = 0;
  if (chan == NULL || received == NULL || (items == NULL && max > 0)) return UV_EINVAL;
  return uvf__chan_recv_some(NULL, chan, items, max, received);
}
