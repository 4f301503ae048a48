/* SPDX-License-Identifier: MIT
 *
 * Guards: the end of a context closes a handle.
 *
 * Invariants (loop thread)
 * 1. A guard is an operation whose completion is uv_close(handle): so handles are closed in the order of completions,
 *    children's before parents', behind what was already due. The handle's close callback is the user's own, called
 *    by libuv.
 * 2. Until then it does not hold the loop: the handle does, if it is active and referenced.
 * 3. The library calls uv_close at most once per guard, and never on a handle that is closing.
 */
#include "kernel/context.h"
#include "kernel/op.h"
#include "uvflow/io.h"

static int deliver(uvf_op_t *op) {
  uvf_guard_t *guard = (uvf_guard_t *)(void *)op;
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  if (!uv_is_closing(guard->uvf__handle)) uv_close(guard->uvf__handle, guard->uvf__close);
  return 1;
}

static const uvf__op_type_t guard_type = {"guard", NULL, deliver, NULL, UVF__OP_UNREF | UVF__OP_GUARD, NULL};

int(uvf_guard_start)(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_handle_t *handle, uv_close_cb close_cb) {
  int rc;
  if (ctx == NULL || guard == NULL || handle == NULL) return UV_EINVAL;
  if (handle->loop != uvf__ctx_hub(ctx)->loop || uv_is_closing(handle)) return UV_EINVAL;
  rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)guard, &guard_type, "uvf_guard_start");
  if (rc < 0) return rc;
  guard->uvf__handle = handle;
  guard->uvf__close = close_cb;
  return 0;
}

int uvf_guard_stop(uvf_guard_t *guard) {
  uvf_op_t *op = (uvf_op_t *)(void *)guard;
  int err;
  if (guard == NULL) return UV_EINVAL;
  if (!uvf__op_is_on(op)) return UV_EBUSY;
  err = uvf__hub_enter(uvf__ctx_hub(op->ctx), "uvf_guard_stop");
  if (err != 0) return err;
  return uvf__op_remove(op) ? 0 : UV_EBUSY;
}

int uvf_guard_close(uvf_guard_t *guard) {
  int err = uvf_guard_stop(guard);
  if (err != 0) return err;
  if (!uv_is_closing(guard->uvf__handle)) uv_close(guard->uvf__handle, guard->uvf__close);
  return 0;
}
