/* SPDX-License-Identifier: MIT
 *
 * Merge: n lanes, each of which receives from one input and sends to the one output. Made of the channel's own requests
 * under a context of its own; loop thread throughout.
 *
 * Invariants
 * 1. A lane runs from its first receive until a request of its ends it: then `running` is one less. It has at most one
 *    request on its way, and at most one item in its hand; if it ends with one, the output's drop function gets that.
 * 2. The first reason to end is the merge's status: the output closed, the context over. Then its context is cancelled,
 *    which ends all lanes.
 * 3. The end is told by a watcher on its context, when that is over and no lane runs: whichever is last. So it is told
 *    from the loop, once, also if there was never a lane.
 */
#include "chan/chan.h"
#include "kernel/alloc.h"
#include "kernel/context.h"
#include "uvflow/context.h"

#define SHARE 64 /* items a lane passes on before the other lanes, and everything else that is ready, have their turn */

typedef struct lane_s {
  uvf_chan_req_t recv;
  uvf_chan_req_t send;
  uvf_chan_merge_t *merge;
  uvf_chan_t *in;
} lane_t;

typedef struct lanes_s {
  uvf_watch_t over;
  int is_over;
  size_t n;
  lane_t lane[];
} lanes_t;

static void on_received(uvf_chan_req_t *req, int status);
static void on_sent(uvf_chan_req_t *req, int status);

static void finish(uvf_chan_merge_t *merge) {
  lanes_t *lanes = merge->uvf__lanes;
  uvf_chan_t *out = merge->uvf__out;
  uvf_ctx_t *ctx = merge->ctx;
  for (size_t i = 0; i < lanes->n; i++) uvf_chan_release(lanes->lane[i].in);
  uvf__free(lanes);
  merge->uvf__lanes = NULL;
  merge->uvf__cb(merge, merge->status);
  uvf_chan_release(out);
  uvf_ctx_release(ctx);
}

static void on_over(uvf_watch_t *watch, int err) {
  uvf_chan_merge_t *merge = watch->data;
  lanes_t *lanes = merge->uvf__lanes;
  lanes->is_over = 1;
  if (merge->uvf__running > 0) {
    if (merge->status == 0) merge->status = err;
    return;
  }
  finish(merge);
}

/* status: 0, the input is at its end; else why the merge ends. */
static void lane_ends(lane_t *lane, int status) {
  uvf_chan_merge_t *merge = lane->merge;
  lanes_t *lanes = merge->uvf__lanes;
  if (merge->status == 0) merge->status = status;
  merge->uvf__running--;
  if (merge->uvf__running > 0 && status == 0) return;
  if (lanes->is_over) {
    if (merge->uvf__running == 0) finish(merge);
  } else {
    uvf_ctx_cancel(merge->ctx);
  }
}

/* One item is in its hand. */
static void pass_on(lane_t *lane, void *item) {
  uvf_chan_merge_t *merge = lane->merge;
  int status = 0;
  for (int i = 0; i < SHARE && status == 0; i++) {
    status = uvf_ctx_err(merge->ctx); /* ended on another thread, perhaps */
    if (status == 0) status = uvf_chan_try_send(merge->uvf__out, item);
    if (status == UV_EAGAIN) {
      status = uvf_chan_send(merge->ctx, &lane->send, merge->uvf__out, item, on_sent);
      if (status == 0) return;
    }
    if (status != 0) {
      uvf__chan_drop(merge->uvf__out, item);
      lane_ends(lane, status);
      return;
    }
    merge->count++;
    status = uvf_chan_try_recv(lane->in, &item);
  }
  if (status == 0) { /* more than its share: on with this one when it is its turn again */
    status = uvf_chan_send(merge->ctx, &lane->send, merge->uvf__out, item, on_sent);
    if (status == 0) return;
    uvf__chan_drop(merge->uvf__out, item);
  }
  if (status == UV_EAGAIN) status = uvf_chan_recv(merge->ctx, &lane->recv, lane->in, on_received);
  if (status != 0) lane_ends(lane, status == UV_EOF ? 0 : status);
}

static void on_received(uvf_chan_req_t *req, int status) {
  lane_t *lane = req->data;
  if (status == 0) {
    pass_on(lane, req->item);
  } else {
    lane_ends(lane, status == UV_EOF ? 0 : status);
  }
}

static void on_sent(uvf_chan_req_t *req, int status) {
  lane_t *lane = req->data;
  if (status == 0) {
    lane->merge->count++;
    status = uvf_chan_recv(lane->merge->ctx, &lane->recv, lane->in, on_received);
    if (status != 0) lane_ends(lane, status);
    return;
  }
  uvf__chan_drop(lane->merge->uvf__out, req->item);
  lane_ends(lane, status);
}

static lanes_t *lanes_new(uvf_chan_merge_t *merge, uvf_chan_t *const *inputs, size_t n) {
  lanes_t *lanes;
  if (n > (SIZE_MAX / 2 - sizeof *lanes) / sizeof lanes->lane[0]) return NULL;
  lanes = uvf__malloc(sizeof *lanes + n * sizeof lanes->lane[0]);
  if (lanes == NULL) return NULL;
  lanes->over.data = merge;
  lanes->is_over = 0;
  lanes->n = n;
  for (size_t i = 0; i < n; i++) {
    lane_t *lane = &lanes->lane[i];
    lane->merge = merge;
    lane->recv.data = lane;
    lane->send.data = lane;
    lane->in = inputs[i];
  }
  return lanes;
}

int uvf_chan_merge(uvf_ctx_t *ctx, uvf_chan_merge_t *merge, uvf_chan_t *const *inputs, size_t n, uvf_chan_t *out,
                   uvf_chan_merge_cb cb) {
  lanes_t *lanes;
  uvf_ctx_t *own;
  int err;
  if (ctx == NULL || merge == NULL || out == NULL || cb == NULL || (inputs == NULL && n > 0)) return UV_EINVAL;
  for (size_t i = 0; i < n; i++) {
    if (inputs[i] == NULL || inputs[i] == out) return UV_EINVAL;
  }
  err = uvf_ctx_with_cancel(ctx, &own);
  if (err != 0) return err;
  lanes = lanes_new(merge, inputs, n);
  err = lanes != NULL ? uvf_ctx_on_done(own, &lanes->over, on_over) : UV_ENOMEM;
  if (err != 0) {
    uvf__free(lanes);
    uvf_ctx_release(own);
    return err;
  }
  merge->ctx = own;
  merge->status = 0;
  merge->count = 0;
  merge->uvf__cb = cb;
  merge->uvf__out = uvf_chan_retain(out);
  merge->uvf__lanes = lanes;
  merge->uvf__running = n;
  for (size_t i = 0; i < n; i++) {
    uvf_chan_retain(inputs[i]);
    uvf_chan_recv(merge->ctx, &lanes->lane[i].recv, inputs[i], on_received); /* cannot fail under a context of ours */
  }
  if (n == 0) {
    merge->status = uvf_ctx_err(merge->ctx);
    uvf_ctx_cancel(merge->ctx);
  }
  return 0;
}

void uvf_chan_merge_cancel(uvf_chan_merge_t *merge) {
  if (merge == NULL || merge->uvf__lanes == NULL) return;
  if (uvf__hub_enter(uvf__ctx_hub(merge->ctx), "uvf_chan_merge_cancel") != 0) return;
  if (merge->status == 0 && merge->uvf__running > 0) merge->status = UV_ECANCELED;
  uvf_ctx_cancel(merge->ctx);
}
