/* SPDX-License-Identifier: MIT
 *
 * uvflow/io.h: libuv's handles under a context.
 *
 * Guard: the handle tree
 * ======================
 *
 * A guard binds one uv_handle_t to a context: the end of the context closes the handle. The handles of a subtree are
 * closed children's before parents', within one context the last bound first, each exactly once, and behind the
 * completions that were already due.
 *
 * A guard takes its place among the operations of its context, newest first: what was started after the handle was
 * bound is answered before it is closed. Except jobs that cannot be answered yet: one that is running without a release
 * callback, or has committed, is answered when its function returns, which may be after the handle was closed. Where
 * one struct serves both, count who still needs it.
 */
#ifndef UVFLOW_IO_H
#define UVFLOW_IO_H

#include "base.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct uvf_guard_s uvf_guard_t;

/* A guard; the caller's memory, commonly beside the handle in one struct. Valid until uvf_guard_stop or
 * uvf_guard_close returned 0, or the close callback given at start has been entered. `status` is the err of the context
 * that closed the handle. The library does not use handle->data; the guard has a `data` of its own. */
struct uvf_guard_s {
  UVF_OP_FIELDS
  /* private */
  uv_handle_t *uvf__handle;
  uv_close_cb uvf__close;
};

/* Binds handle to ctx: when ctx ends, the library calls uv_close(handle, close_cb). `close_cb` may be NULL and is
 * called by libuv with the bare handle. When ctx is already over the handle is closed soon, not inside this call.
 * The handle must not be closed by hand while it is bound: call uvf_guard_stop first, or uvf_guard_close. (If it was,
 * it is not closed again; but the guard stays bound, and must stay valid, until the context ends.) Loop thread; the
 * handle must be of the context's loop. Does not block. A guard does not hold the loop: an active handle does that.
 * It holds the context's memory. Closing the root closes every bound handle and waits for that; after the root's
 * close callback none is open.
 * 0: bound. UV_EINVAL: a NULL argument but close_cb, a handle of another loop, or one that is closing.
 * Misuse: a guard already bound. */
UVF_EXTERN int uvf_guard_start(uvf_ctx_t *ctx, uvf_guard_t *guard, uv_handle_t *handle, uv_close_cb close_cb);

/* Unbinds: from now on the handle is the caller's alone, and the guard's memory too.
 * 0: unbound. UV_EBUSY: it is not bound any more: the context has closed the handle (close_cb came or will come), or it
 * was stopped or closed through the guard before (then nothing more happens). UV_EINVAL: NULL.
 * Loop thread. Does not block. Works also when ctx has ended but the close was still due. The guard must have been
 * started at least once, or be zeroed. */
UVF_EXTERN int uvf_guard_stop(uvf_guard_t *guard);

/* Unbinds and closes the handle now, with the close callback given at start. 0: closing. UV_EBUSY, UV_EINVAL: as above,
 * and nothing happened. Loop thread. close_cb does not run inside. */
UVF_EXTERN int uvf_guard_close(uvf_guard_t *guard);

#define uvf_guard_start(...) UVF__AT(uvf_guard_start(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_IO_H */
