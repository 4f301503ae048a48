/* SPDX-License-Identifier: MIT
 *
 * Guards: the end of a context closes a handle, cancels a request, closes a descriptor, calls a release function.
 *
 * Invariants (loop thread)
 * 1. A guard is an operation whose completion is the release: so things are released in the order of completions,
 *    children's before parents', behind what was already due. A handle's close callback is the user's own, called by
 *    libuv.
 * 2. Until then it does not hold the loop: the thing does, if it is active and referenced.
 * 3. The library releases at most once per guard, and never calls uv_close on a handle that is closing.
 * 4. A guard is unbound before it releases: nothing of it is touched after the release function was entered, or after
 *    uv_close.
 */
#include "io/io.h"

static int deliver(uvf_op_t *op);

static const uvf__op_type_t handle_type = {"guard", NULL, deliver, NULL, UVF__OP_UNREF | UVF__OP_GUARD | UVF__OP_HANDLE,
                                           NULL};
static const uvf__op_type_t req_type = {"guard of a request", NULL, deliver, NULL, UVF__OP_UNREF | UVF__OP_GUARD, NULL};
static const uvf__op_type_t file_type = {"guard of a descriptor",       NULL, deliver, NULL,
                                         UVF__OP_UNREF | UVF__OP_GUARD, NULL};
static const uvf__op_type_t call_type = {"guard of a function",         NULL, deliver, NULL,
                                         UVF__OP_UNREF | UVF__OP_GUARD, NULL};

static void close_handle(uvf__hub_t *hub, uv_handle_t *handle, uv_close_cb close_cb) {
  if (uv_is_closing(handle)) return;
  uvf__handle_closing(hub, handle);
  uv_close(handle, close_cb);
}

static void close_file(uvf__hub_t *hub, uv_file file) {
  uv_fs_t fs;
  if (uvf__file_close_later(hub, file)) return;
  uv_fs_close(NULL, &fs, file, NULL);
  uv_fs_req_cleanup(&fs);
}

static void release(uvf__hub_t *hub, uvf_guard_t *guard) {
  const uvf__op_type_t *type = uvf__op_type((uvf_op_t *)(void *)guard);
  if (type == &handle_type) {
    close_handle(hub, guard->uvf__of.handle, guard->uvf__cb.close);
  } else if (type == &req_type) {
    uv_cancel(guard->uvf__of.req);
  } else if (type == &file_type) {
    close_file(hub, guard->uvf__of.file);
  } else {
    guard->uvf__cb.call(guard);
  }
}

static int deliver(uvf_op_t *op) {
  uvf__hub_t *hub = uvf__ctx_hub(op->ctx);
  uvf__op_mark_dead(hub, op);
  release(hub, (uvf_guard_t *)(void *)op);
  return 1;
}

static int start(uvf_ctx_t *ctx, uvf_guard_t *guard, const uvf__op_type_t *type, const char *function) {
  int rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)guard, type, function);
  return rc < 0 ? rc : 0;
}

int(uvf_guard_start)(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_handle_t *handle, uv_close_cb close_cb) {
  int err;
  if (ctx == NULL || guard == NULL || handle == NULL) return UV_EINVAL;
  if (handle->loop != uvf__ctx_hub(ctx)->loop || uv_is_closing(handle)) return UV_EINVAL;
  err = start(ctx, guard, &handle_type, "uvf_guard_start");
  if (err != 0) return err;
  guard->uvf__of.handle = handle;
  guard->uvf__cb.close = close_cb;
  return 0;
}

int(uvf_guard_start_req)(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_req_t *req) {
  int err;
  if (ctx == NULL || guard == NULL || req == NULL) return UV_EINVAL;
  err = start(ctx, guard, &req_type, "uvf_guard_start_req");
  if (err == 0) guard->uvf__of.req = req;
  return err;
}

int(uvf_guard_start_file)(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_file file) {
  int err;
  if (ctx == NULL || guard == NULL || file < 0) return UV_EINVAL;
  err = start(ctx, guard, &file_type, "uvf_guard_start_file");
  if (err == 0) guard->uvf__of.file = file;
  return err;
}

int(uvf_guard_start_call)(uvf_ctx_t *ctx, uvf_guard_t *guard, uvf_guard_cb release_cb) {
  int err;
  if (ctx == NULL || guard == NULL || release_cb == NULL) return UV_EINVAL;
  err = start(ctx, guard, &call_type, "uvf_guard_start_call");
  if (err == 0) guard->uvf__cb.call = release_cb;
  return err;
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
  uvf_ctx_t *ctx;
  int err;
  if (guard == NULL) return UV_EINVAL;
  if (!uvf__op_is_on((uvf_op_t *)(void *)guard)) return UV_EBUSY;
  ctx = uvf_ctx_retain(guard->ctx); /* the release function may look at it */
  err = uvf_guard_stop(guard);
  if (err == 0) {
    guard->status = 0;
    release(uvf__ctx_hub(ctx), guard);
  }
  uvf_ctx_release(ctx);
  return err;
}
