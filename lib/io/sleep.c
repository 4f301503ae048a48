/* SPDX-License-Identifier: MIT
 *
 * Sleep: an operation that a timeout of the hub completes. Parties, on the loop thread: the timeout, which claims with
 * 0; whoever ends it early, and stops the timeout. It is stopped or has rung before the callback.
 */
#include "kernel/context.h"
#include "uvflow/io.h"

static void ring(uvf__timeout_t *timeout) {
  uvf_op_t *op = (uvf_op_t *)(void *)UVF__CONTAINER(timeout, uvf_sleep_t, uvf__timeout);
  if (!uvf__op_claim(op)) return;
  op->status = uvf__ctx_err(op->ctx);
  uvf__op_ready(op);
}

static int withdraw(uvf_op_t *op) {
  uvf__timeout_stop(uvf__ctx_hub(op->ctx), &((uvf_sleep_t *)(void *)op)->uvf__timeout);
  return 1;
}

static int deliver(uvf_op_t *op) {
  uvf_sleep_t *req = (uvf_sleep_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  req->uvf__cb(req, op->status);
  return 1;
}

static const uvf__op_type_t sleep_type = {"sleep", withdraw, deliver, NULL, 0, NULL};

int(uvf_sleep_start)(uvf_ctx_t *ctx, uvf_sleep_t *req, uint64_t timeout_ms, uvf_sleep_cb cb) {
  uint64_t now_ns = uvf__clock_ns();
  int rc;
  if (ctx == NULL || req == NULL || cb == NULL) return UV_EINVAL;
  rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)req, &sleep_type, "uvf_sleep_start");
  if (rc < 0) return rc;
  req->uvf__cb = cb;
  req->uvf__timeout.deadline.link.prev = NULL;
  if (rc > 0) uvf__timeout_start(uvf__ctx_hub(ctx), &req->uvf__timeout, uvf__after_ms(now_ns, timeout_ms), ring);
  return 0;
}
