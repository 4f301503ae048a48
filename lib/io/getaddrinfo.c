/* SPDX-License-Identifier: MIT
 *
 * getaddrinfo under a context. Parties, on the loop thread: libuv's callback, which claims with its result; whoever
 * ends it early, and tries uv_cancel. A list of addresses is the caller's only if it was claimed with 0; else it is
 * freed in libuv's callback.
 */
#include "io/io.h"

static uvf_getaddrinfo_t *of(uvf_op_t *op) { return (uvf_getaddrinfo_t *)(void *)op; }

UVF__HELD_CALLBACKS(getaddrinfo, uvf_getaddrinfo_t)

static int withdraw(uvf_op_t *op) {
  uv_cancel((uv_req_t *)&of(op)->uvf__req); /* too late if it runs: the result is thrown away */
  return uvf__held_may_tell(op);
}

static const uvf__held_type_t type = {{"getaddrinfo", withdraw, uvf__held_deliver, NULL, 0, NULL},
                                      offsetof(uvf_getaddrinfo_t, uvf__held),
                                      getaddrinfo_has_release,
                                      getaddrinfo_done,
                                      getaddrinfo_release};

static void on_resolved(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses) {
  uvf_getaddrinfo_t *req = UVF__CONTAINER(resolve, uvf_getaddrinfo_t, uvf__req);
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  req->uvf__held.held--;
  if (uvf__held_claim(op, status) && status == 0) {
    req->addrinfo = addresses;
  } else {
    uv_freeaddrinfo(addresses); /* NULL is fine */
  }
  uvf__held_settle(op);
}

int(uvf_getaddrinfo_start)(uvf_ctx_t *ctx, uvf_getaddrinfo_t *req, const char *node, const char *service,
                           const struct addrinfo *hints, uvf_getaddrinfo_cb done_cb,
                           uvf_getaddrinfo_release_cb release_cb) {
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  int rc;
  int err;
  if (ctx == NULL || req == NULL || (node == NULL && service == NULL)) return UV_EINVAL;
  rc = uvf__op_begin(ctx, op, &type.op, "uvf_getaddrinfo_start");
  if (rc < 0) return rc;
  req->addrinfo = NULL;
  req->uvf__held.held = 0;
  req->uvf__held.told = 0;
  req->uvf__done = done_cb;
  req->uvf__release = release_cb;
  if (rc == 0) return 0;
  err = uv_getaddrinfo(uvf__ctx_hub(ctx)->loop, &req->uvf__req, on_resolved, node, service, hints);
  if (err != 0) {
    uvf__op_remove(op);
    return err;
  }
  req->uvf__held.held = 1;
  return 0;
}
