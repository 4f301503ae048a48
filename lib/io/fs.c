/* SPDX-License-Identifier: MIT
 *
 * Calls of the file system under a context.
 *
 * Parties, all on the loop thread: libuv's callback, which claims with its result; whoever ends the request early, and
 * tries uv_cancel; the hub's drain.
 *
 * Invariants
 * 1. A result is the caller's only if it was claimed. A descriptor, directory or list of names that comes after that is
 *    given back, with the same uv_fs_t, before the request counts as back; req->result goes on saying what had come.
 * 2. Closing is carried out whatever becomes of the context: it begins also when that is over, and is never cancelled.
 * 3. A request on a descriptor is a FILE user of it while libuv has it. A guard does not close under its feet: it
 *    leaves the close to the newest user (`uvf__close_file`), who leaves it to another or, the last, carries it out.
 * 4. libuv's memory of a request is freed in its callback; but the names of a readdir that succeeded, which are the
 *    caller's until uvf_fs_cleanup.
 */
#include "io/io.h"

enum { OPEN = 1, CLOSE, READ, WRITE, STAT, OPENDIR, READDIR, CLOSEDIR, NAMED };

static uvf_fs_t *of(uvf_op_t *op) { return (uvf_fs_t *)(void *)op; }

UVF__HELD_CALLBACKS(fs, uvf_fs_t)

static int is_close(const uvf_fs_t *req) { return req->uvf__kind == CLOSE || req->uvf__kind == CLOSEDIR; }

static int withdraw(uvf_op_t *op) {
  if (!is_close(of(op))) uv_cancel((uv_req_t *)&of(op)->uvf__req);
  return uvf__held_may_tell(op);
}

static const uvf__held_type_t type = {{"fs", withdraw, uvf__held_deliver, NULL, 0, NULL},
                                      offsetof(uvf_fs_t, uvf__held),
                                      fs_has_release,
                                      fs_done,
                                      fs_release};

/* Descriptors stand in the table of handles as if they were addresses. */
static const uv_handle_t *key_of(uv_file file) { return (const uv_handle_t *)((uintptr_t)(unsigned int)file << 4); }

int uvf__file_close_later(uvf__hub_t *hub, uv_file file) {
  uvf__user_t *user = uvf__user_find(hub, key_of(file), UVF__USER_FILE);
  if (user == NULL) return 0;
  of(user->op)->uvf__close_file = 1;
  return 1;
}

static void on_given_back(uv_fs_t *fs);

/* libuv is through with the descriptor. 1: it is being closed. */
static int leave_file(uvf_fs_t *req) {
  uvf__hub_t *hub = uvf__ctx_hub(req->ctx);
  uvf__user_remove(hub, &req->uvf__user);
  if (!req->uvf__close_file) return 0;
  req->uvf__close_file = 0;
  if (uvf__file_close_later(hub, req->uvf__file)) return 0;
  return uv_fs_close(hub->loop, &req->uvf__req, req->uvf__file, on_given_back) == 0;
}

/* libuv is through with the request. It may be gone afterwards. */
static void back(uvf_fs_t *req) {
  if (!leave_file(req)) req->uvf__held.held--;
  uvf__held_settle((uvf_op_t *)(void *)req);
}

static void on_given_back(uv_fs_t *fs) {
  uv_fs_req_cleanup(fs);
  back(UVF__CONTAINER(fs, uvf_fs_t, uvf__req));
}

/* Nobody will see the result. 1 if giving it back takes a call of libuv's. */
static int give_back(uvf_fs_t *req) {
  uv_loop_t *loop = uvf__ctx_hub(req->ctx)->loop;
  uv_dir_t *dir = req->uvf__req.ptr;
  int opened = req->result >= 0;
  uv_fs_req_cleanup(&req->uvf__req);
  if (!opened) return 0;
  if (req->uvf__kind == OPEN) return uv_fs_close(loop, &req->uvf__req, (uv_file)req->result, on_given_back) == 0;
  if (req->uvf__kind == OPENDIR) return uv_fs_closedir(loop, &req->uvf__req, dir, on_given_back) == 0;
  return 0;
}

static void on_result(uv_fs_t *fs) {
  uvf_fs_t *req = UVF__CONTAINER(fs, uvf_fs_t, uvf__req);
  uvf_op_t *op = (uvf_op_t *)(void *)req;
  req->result = fs->result;
  if (!uvf__held_claim(op, fs->result < 0 ? (int)fs->result : 0)) {
    if (give_back(req)) {
      uvf__held_settle(op); /* libuv still has it; done need not wait, if there is a release callback */
    } else {
      back(req);
    }
    return;
  }
  if (req->uvf__kind == STAT && fs->result >= 0) req->statbuf = fs->statbuf;
  if (req->uvf__kind == OPENDIR && fs->result >= 0) req->dir = fs->ptr;
  if (req->uvf__kind == READDIR && fs->result > 0) {
    req->uvf__kind = NAMED;
  } else {
    uv_fs_req_cleanup(fs);
  }
  back(req);
}

void uvf_fs_cleanup(uvf_fs_t *req) {
  uv_dir_t names = {0};
  if (req == NULL || req->uvf__kind != NAMED) return;
  req->uvf__kind = READDIR;
  /* libuv would look for the names in the directory, which may be gone, or have been read into another array. */
  names.dirents = req->uvf__entries;
  names.nentries = (size_t)req->result;
  req->uvf__req.ptr = &names;
  uv_fs_req_cleanup(&req->uvf__req);
}

/* --- start ------------------------------------------------------------------------------------ */

/* As uvf__op_begin. 1: the caller asks libuv, and gives its answer to asked(). */
static int begin(uvf_ctx_t *ctx, uvf_fs_t *req, uint32_t kind, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb,
                 const char *function) {
  int rc = uvf__op_begin(ctx, (uvf_op_t *)(void *)req, &type.op, function);
  if (rc < 0) return rc;
  req->uvf__file = -1;
  req->uvf__close_file = 0;
  req->uvf__user.prev = NULL;
  req->result = UV_ECANCELED; /* never begun */
  req->dir = NULL;
  req->uvf__kind = kind;
  req->uvf__held.held = 0;
  req->uvf__held.told = 0;
  req->uvf__done = done_cb;
  req->uvf__release = release_cb;
  return rc;
}

/* The same for a request on a descriptor. */
static int begin_on(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, uint32_t kind, uvf_fs_cb done_cb,
                    uvf_fs_release_cb release_cb, const char *function) {
  int rc = uvf__users_get(uvf__ctx_hub(ctx), function);
  if (rc == 0) rc = begin(ctx, req, kind, done_cb, release_cb, function);
  if (rc > 0) req->uvf__file = file;
  return rc;
}

static uv_loop_t *loop_of(const uvf_fs_t *req) { return uvf__ctx_hub(req->ctx)->loop; }

static int asked(uvf_fs_t *req, int err) {
  if (err == 0) {
    req->uvf__held.held = 1;
    if (req->uvf__file >= 0) {
      uvf__user_add(uvf__ctx_hub(req->ctx), &req->uvf__user, key_of(req->uvf__file), UVF__USER_FILE,
                    (uvf_op_t *)(void *)req);
    }
    return 0;
  }
  uv_fs_req_cleanup(&req->uvf__req);
  uvf__op_remove((uvf_op_t *)(void *)req);
  return err;
}

int(uvf_fs_open)(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, int flags, int mode, uvf_fs_cb done_cb,
                 uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || path == NULL) return UV_EINVAL;
  rc = begin(ctx, req, OPEN, done_cb, release_cb, "uvf_fs_open");
  return rc <= 0 ? rc : asked(req, uv_fs_open(loop_of(req), &req->uvf__req, path, flags, mode, on_result));
}

int(uvf_fs_read)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs, int64_t offset,
                 uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || bufs == NULL || nbufs == 0) return UV_EINVAL;
  rc = begin_on(ctx, req, file, READ, done_cb, release_cb, "uvf_fs_read");
  return rc <= 0 ? rc : asked(req, uv_fs_read(loop_of(req), &req->uvf__req, file, bufs, nbufs, offset, on_result));
}

int(uvf_fs_write)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, const uv_buf_t bufs[], unsigned int nbufs,
                  int64_t offset, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || bufs == NULL || nbufs == 0) return UV_EINVAL;
  rc = begin_on(ctx, req, file, WRITE, done_cb, release_cb, "uvf_fs_write");
  return rc <= 0 ? rc : asked(req, uv_fs_write(loop_of(req), &req->uvf__req, file, bufs, nbufs, offset, on_result));
}

int(uvf_fs_stat)(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || path == NULL) return UV_EINVAL;
  rc = begin(ctx, req, STAT, done_cb, release_cb, "uvf_fs_stat");
  return rc <= 0 ? rc : asked(req, uv_fs_stat(loop_of(req), &req->uvf__req, path, on_result));
}

int(uvf_fs_fstat)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL) return UV_EINVAL;
  rc = begin_on(ctx, req, file, STAT, done_cb, release_cb, "uvf_fs_fstat");
  return rc <= 0 ? rc : asked(req, uv_fs_fstat(loop_of(req), &req->uvf__req, file, on_result));
}

int(uvf_fs_close)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_file file, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL) return UV_EINVAL;
  rc = begin(ctx, req, CLOSE, done_cb, release_cb, "uvf_fs_close");
  return rc < 0 ? rc : asked(req, uv_fs_close(loop_of(req), &req->uvf__req, file, on_result));
}

int(uvf_fs_opendir)(uvf_ctx_t *ctx, uvf_fs_t *req, const char *path, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || path == NULL) return UV_EINVAL;
  rc = begin(ctx, req, OPENDIR, done_cb, release_cb, "uvf_fs_opendir");
  return rc <= 0 ? rc : asked(req, uv_fs_opendir(loop_of(req), &req->uvf__req, path, on_result));
}

int(uvf_fs_readdir)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_dir_t *dir, uv_dirent_t entries[], size_t n, uvf_fs_cb done_cb,
                    uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || dir == NULL || entries == NULL || n == 0) return UV_EINVAL;
  rc = begin(ctx, req, READDIR, done_cb, release_cb, "uvf_fs_readdir");
  if (rc <= 0) return rc;
  req->uvf__entries = entries;
  dir->dirents = entries;
  dir->nentries = n;
  return asked(req, uv_fs_readdir(loop_of(req), &req->uvf__req, dir, on_result));
}

int(uvf_fs_closedir)(uvf_ctx_t *ctx, uvf_fs_t *req, uv_dir_t *dir, uvf_fs_cb done_cb, uvf_fs_release_cb release_cb) {
  int rc;
  if (ctx == NULL || req == NULL || dir == NULL) return UV_EINVAL;
  rc = begin(ctx, req, CLOSEDIR, done_cb, release_cb, "uvf_fs_closedir");
  return rc < 0 ? rc : asked(req, uv_fs_closedir(loop_of(req), &req->uvf__req, dir, on_result));
}
