/* SPDX-License-Identifier: MIT
 *
 * What the requests of io/ share: one that libuv may still have when it is over, and a register of who uses a handle.
 */
#ifndef UVF_IO_IO_H
#define UVF_IO_IO_H

#include "kernel/context.h"
#include "kernel/op.h"
#include "uvflow/io.h"

/* --- requests that libuv may hold (held.c) ---------------------------------------------------- */

/* `op` is the first member, so that an operation's type leads here. */
typedef struct uvf__held_type_s {
  uvf__op_type_t op;
  size_t offset;                    /* of the uvf__held_t in the request */
  int (*has_release)(uvf_op_t *op); /* was a release callback given? */
  void (*done)(uvf_op_t *op);       /* calls them; NULL callbacks are theirs to skip */
  void (*release)(uvf_op_t *op);
} uvf__held_type_t;

static inline uvf__held_t *uvf__held_of(uvf_op_t *op) {
  const uvf__held_type_t *type = (const uvf__held_type_t *)op->uvf__type;
  return (uvf__held_t *)(void *)((char *)op + type->offset);
}

/* NOLINTBEGIN(bugprone-macro-parentheses): a type takes none */
/* The has_release(), done() and release() of a type of request: name##_has_release, ... */
#define UVF__HELD_CALLBACKS(name, request_t)                                                                           \
  static int name##_has_release(uvf_op_t *op) { return ((request_t *)(void *)op)->uvf__release != NULL; }              \
  static void name##_done(uvf_op_t *op) {                                                                              \
    request_t *request = (request_t *)(void *)op;                                                                      \
    if (request->uvf__done != NULL) request->uvf__done(request, op->status);                                           \
  }                                                                                                                    \
  static void name##_release(uvf_op_t *op) {                                                                           \
    request_t *request = (request_t *)(void *)op;                                                                      \
    request->uvf__release(request);                                                                                    \
  }
/* NOLINTEND(bugprone-macro-parentheses) */

/* The deliver() of all of them. */
int uvf__held_deliver(uvf_op_t *op);

/* For a withdraw(): may done come now? */
static inline int uvf__held_may_tell(uvf_op_t *op) {
  return uvf__held_of(op)->held == 0 || ((const uvf__held_type_t *)op->uvf__type)->has_release(op);
}

/* libuv's result, or a timeout: claims. 1: it is the status. 0: somebody was first, or the context is over and its err
 * is the status: nobody will see the result. Loop thread. */
int uvf__held_claim(uvf_op_t *op, int result);

/* To be called last whenever `held` has gone down or the request was claimed: sees to it that the next callback comes
 * if it may. The request may not be touched afterwards. */
void uvf__held_settle(uvf_op_t *op);

/* --- who uses a handle (user.c) --------------------------------------------------------------- */

enum { UVF__USER_READ, UVF__USER_WRITE, UVF__USER_CONNECT, UVF__USER_FILE };

/* Makes room, so that uvf__user_add cannot fail: 0, UV_ENOMEM, or UV_EINVAL on another thread than the loop's. */
int uvf__users_get(uvf__hub_t *hub, const char *function);

void uvf__user_add(uvf__hub_t *hub, uvf__user_t *user, const uv_handle_t *handle, uint32_t kind, uvf_op_t *op);
void uvf__user_remove(uvf__hub_t *hub, uvf__user_t *user); /* harmless if it is not in: prev is NULL then */

/* The newest of that kind; NULL: none. `hub` of the handle's loop, or NULL to have it looked up. */
uvf__user_t *uvf__user_find(uvf__hub_t *hub, const uv_handle_t *handle, uint32_t kind);

/* The next older one of the same handle and kind. */
uvf__user_t *uvf__user_older(const uvf__user_t *user);

/* Somebody is about to uv_close the handle: its pending read is answered, its writes are counted. */
void uvf__handle_closing(uvf__hub_t *hub, const uv_handle_t *handle);

/* fs.c: 1: a request that libuv has uses the descriptor, and it will be closed behind the last one; 0: none does. */
int uvf__file_close_later(uvf__hub_t *hub, uv_file file);

/* write.c: notes how much of it has gone. */
void uvf__write_count(uvf__user_t *user);

#endif
