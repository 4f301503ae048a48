/* SPDX-License-Identifier: MIT
 *
 * Channels for threads that may block: the same requests as on a loop, on the stack of the thread (wait.h).
 */
#include "chan/chan.h"
#include "kernel/context.h"

static uvf_op_t *op_of(uvf_chan_req_t *req) { return (uvf_op_t *)(void *)req; }

int uvf_chan_send_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void *item) {
  uvf_chan_req_t req;
  uvf__parker_t parker;
  int err;
  if (ctx == NULL || chan == NULL) return UV_EINVAL;
  err = uvf__block_check_early("uvf_chan_send_wait");
  if (err == 0) err = uvf__block_begin(ctx, op_of(&req), &uvf__chan_send_type, &parker);
  if (err != 0) return err;
  uvf__chan_fill(&req, item, NULL);
  uvf__chan_start_send(chan, &req, 0);
  return uvf__block_end(op_of(&req), "uvf_chan_send_wait");
}

int uvf_chan_recv_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void **item) {
  uvf_chan_req_t req;
  uvf__parker_t parker;
  int err;
  if (ctx == NULL || chan == NULL || item == NULL) return UV_EINVAL;
  err = uvf__block_check_early("uvf_chan_recv_wait");
  if (err == 0) err = uvf__block_begin(ctx, op_of(&req), &uvf__chan_recv_type, &parker);
  if (err != 0) return err;
  uvf__chan_fill(&req, NULL, NULL);
  uvf__chan_start_recv(chan, &req, 0);
  err = uvf__block_end(op_of(&req), "uvf_chan_recv_wait");
  if (err == 0) *item = req.uvf__waiter.item;
  return err;
}

int uvf_chan_send_many_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void *const *items, size_t n, size_t *sent) {
  size_t i = 0;
  int err;
  if (sent != NULL) *sent = 0;
  if (ctx == NULL || chan == NULL || sent == NULL || (items == NULL && n > 0)) return UV_EINVAL;
  err = uvf__block_check_early("uvf_chan_send_many_wait");
  while (err == 0 && i < n) {
    size_t some = 0;
    err = uvf__chan_send_some(ctx, chan, items + i, n - i, &some);
    i += some;
    if (err == UV_EAGAIN) {
      err = uvf_chan_send_wait(ctx, chan, items[i]);
      if (err == 0) i++;
    }
  }
  *sent = i;
  return err;
}

int uvf_chan_recv_many_wait(uvf_ctx_t *ctx, uvf_chan_t *chan, void **items, size_t max, size_t *received) {
  size_t more = 0;
  int err;
  if (received != NULL) *received = 0;
  if (ctx == NULL || chan == NULL || received == NULL || (items == NULL && max > 0)) return UV_EINVAL;
  err = uvf__block_check_early("uvf_chan_recv_many_wait");
  if (err == 0 && max == 0) return 0;
  if (err == 0) err = uvf__chan_recv_some(ctx, chan, items, max, received);
  if (err != UV_EAGAIN) return err;
  err = uvf_chan_recv_wait(ctx, chan, &items[0]);
  if (err != 0) return err;
  if (max > 1) uvf__chan_recv_some(ctx, chan, items + 1, max - 1, &more);
  *received = 1 + more;
  return 0;
}
