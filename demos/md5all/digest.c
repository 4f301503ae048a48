/* SPDX-License-Identifier: MIT */
#include "digest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#ifndef S_ISREG
#define S_ISREG(mode) (((mode)&S_IFMT) == S_IFREG)
#endif

/* Read at once. It fits a core's second cache beside the rest, and a call for each 128 KiB is nothing. */
enum { BLOCK_BYTES = 128 * 1024 };

void algorithm_close(algorithm_t *algorithm) {
  EVP_MD_free(algorithm->md);
  algorithm->md = NULL;
}

int algorithm_open(algorithm_t *algorithm, const char *name) {
  algorithm->md = EVP_MD_fetch(NULL, name, NULL);
  int size = algorithm->md ? EVP_MD_get_size(algorithm->md) : 0; /* 0 as well: of any length */
  algorithm->size = size > 0 ? (size_t)size : 0;
  if (algorithm->size) return 0;
  algorithm_close(algorithm);
  return UV_ENOTSUP;
}

int digester_open(digester_t *digester, const algorithm_t *algorithm) {
  digester->algorithm = algorithm;
  digester->state = EVP_MD_CTX_new();
  digester->block = malloc(BLOCK_BYTES);
  if (digester->state && digester->block) return 0;
  digester_close(digester);
  return UV_ENOMEM;
}

void digester_close(digester_t *digester) {
  EVP_MD_CTX_free(digester->state);
  free(digester->block);
  memset(digester, 0, sizeof(*digester));
}

/* --- the file ------------------------------------------------------------------------------------------------ */

/* libuv's calls without a callback: they block, and are the same on every system. */
static int open_file(const file_t *file) {
  /* Between the walk and now it may have become anything: a link, which find would not follow; a FIFO, at which an open
   * would wait for a writer. */
  int flags = UV_FS_O_RDONLY | UV_FS_O_NONBLOCK | UV_FS_O_SEQUENTIAL | (file->is_linked ? 0 : UV_FS_O_NOFOLLOW);
  uv_fs_t req;
  int fd = uv_fs_open(NULL, &req, file->path, flags, 0, NULL);
  uv_fs_req_cleanup(&req);
  return fd;
}

static void close_file(int fd) {
  uv_fs_t req;
  uv_fs_close(NULL, &req, fd, NULL);
  uv_fs_req_cleanup(&req);
}

static int size_of(int fd, uint64_t *size) {
  uv_fs_t req;
  int err = uv_fs_fstat(NULL, &req, fd, NULL);
  *size = req.statbuf.st_size;
  if (!err && !S_ISREG(req.statbuf.st_mode)) err = (req.statbuf.st_mode & S_IFMT) == S_IFDIR ? UV_EISDIR : UV_EFTYPE;
  uv_fs_req_cleanup(&req);
  return err;
}

static int read_block(int fd, char *block) {
  uv_buf_t buf = uv_buf_init(block, BLOCK_BYTES);
  uv_fs_t req;
  int n = uv_fs_read(NULL, &req, fd, &buf, 1, -1, NULL);
  uv_fs_req_cleanup(&req);
  return n;
}

/* To the size that the file had when it was opened, which spares a read that says that there is no more; to the end
 * where that is not known, as in /proc. */
static int digest_open_file(digester_t *digester, tally_t *tally, int fd, stop_fn stop, void *arg) {
  uint64_t size;
  uint64_t sum = 0;
  int err = size_of(fd, &size);
  if (err) return err;
  if (!EVP_DigestInit_ex2(digester->state, digester->algorithm->md, NULL)) return UV_EIO;
  do {
    if ((err = stop(arg))) return err;
    int n = read_block(fd, digester->block);
    if (n <= 0) return n;
    if (!EVP_DigestUpdate(digester->state, digester->block, (size_t)n)) return UV_EIO;
    sum += (uint64_t)n;
    atomic_fetch_add_explicit(&tally->bytes, (unsigned long long)n, memory_order_relaxed);
  } while (sum != size);
  return 0;
}

int digest_file(digester_t *digester, tally_t *tally, file_t *file, stop_fn stop, void *arg) {
  int fd = open_file(file);
  if (fd < 0) return fd;
  int err = digest_open_file(digester, tally, fd, stop, arg);
  close_file(fd);
  if (!err && !EVP_DigestFinal_ex(digester->state, file->digest, NULL)) err = UV_EIO;
  return err;
}
