/* SPDX-License-Identifier: MIT
 *
 * list_dir: a function that walks a directory, and leaves concurrency to its caller.
 *
 * walk() calls back for each entry, on the thread it was called on. It starts nothing, so there is nothing to stop, to
 * wait for or to leak; the caller ends it early by what the callback returns, and its own end and failure are what it
 * returns. One caller wants no more than that. Another wants the entries on its loop while the walk goes on: it runs
 * the same function in a job, with a callback that sends into a channel. The walk need not know.
 */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { PATH_MOST = 1024, CAPACITY = 16, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] = "Usage: list_dir [--help] [--channel] [--take N] [DIR]\n"
                           "Lists a directory and all below it; DIR is the current one by default.\n"
                           "  --channel  walk in a job, and receive the entries on the loop through a channel\n"
                           "  --take N   stop after N entries\n"
                           "Exit status: 0 done, 1 the walk failed, 2 the command line is wrong.\n";

/* --- the function -------------------------------------------------------------------------------------------- */

/* Gets an entry's path, valid inside. 0: go on. Anything else ends the walk, which returns it. */
typedef int (*entry_fn)(const char *path, void *arg);

/* Calls entry for everything below dir. 0, what entry returned, or why a directory could not be read. */
static int walk(const char *dir, entry_fn entry, void *arg) {
  uv_fs_t req;
  uv_dirent_t dirent;
  char path[PATH_MOST];
  int err = uv_fs_scandir(NULL, &req, dir, 0, NULL); /* without a callback: here and now */
  if (err > 0) err = 0;
  while (uv_fs_scandir_next(&req, &dirent) == 0) {
    if (err) continue; /* before 1.45 libuv leaks an entry if this stops at the last one */
    int n = snprintf(path, sizeof(path), "%s/%s", dir, dirent.name);
    err = n < 0 || n >= (int)sizeof(path) ? UV_ENAMETOOLONG : entry(path, arg);
    if (!err && dirent.type == UV_DIRENT_DIR) err = walk(path, entry, arg);
  }
  uv_fs_req_cleanup(&req);
  return err;
}

/* --- a caller who wants it simple ---------------------------------------------------------------------------- */

static int print_entry(const char *path, void *arg) {
  long *left = arg;
  printf("%s\n", path);
  return --*left == 0 ? UV_ECANCELED : 0;
}

static int list_here(const char *dir, long take) {
  int err = walk(dir, print_entry, &take);
  return err == UV_ECANCELED ? 0 : err;
}

/* --- a caller who wants it beside its loop ------------------------------------------------------------------- */

typedef struct lister_s {
  uvf_work_t job;
  uvf_chan_each_t each;
  uvf_ctx_t *ctx;
  uvf_chan_t *chan; /* paths, malloc'ed */
  const char *dir;
  long left; /* how many are still wanted */
  int status;
} lister_t;

/* Called by walk, on the pool. Waits while the channel is full. */
static int send_entry(const char *path, void *arg) {
  lister_t *lister = arg;
  size_t size = strlen(path) + 1;
  char *copy = malloc(size);
  if (!copy) return UV_ENOMEM;
  int err = uvf_chan_send_wait(lister->job.ctx, lister->chan, memcpy(copy, path, size));
  if (err) free(copy);
  return err;
}

/* Called by uvflow on a thread of the pool. */
static int walk_job(uvf_work_t *job) {
  lister_t *lister = container_of(job, lister_t, job);
  return walk(lister->dir, send_entry, lister);
}

/* The channel is closed here and not in the job, which might never have run. */
static void on_walk_end(uvf_work_t *job, int status) {
  lister_t *lister = container_of(job, lister_t, job);
  lister->status = status;
  uvf_chan_close(lister->chan);
}

static void on_entries(uvf_chan_each_t *each, void *const *items, size_t n) {
  lister_t *lister = container_of(each, lister_t, each);
  for (size_t i = 0; i < n; i++) {
    if (lister->left > 0) {
      printf("%s\n", (char *)items[i]);
      if (--lister->left == 0) uvf_ctx_cancel(lister->ctx); /* ends the walk, wherever it is */
    }
    free(items[i]);
  }
}

static void on_entries_end(uvf_chan_each_t *each, int status) {
  lister_t *lister = container_of(each, lister_t, each);
  if (status != UV_EOF && status != UV_ECANCELED) lister->status = status;
}

static void drop_path(void *path, void *arg) {
  (void)arg;
  free(path);
}

static int list_beside(uv_loop_t *loop, uvf_ctx_t *root, const char *dir, long take) {
  lister_t lister = {.dir = dir, .left = take};
  uvf_chan_options_t options = {.capacity = CAPACITY, .drop = drop_path};
  int err = uvf_ctx_with_cancel(root, &lister.ctx);
  if (err) return err;
  err = uvf_chan_create_ex(&options, &lister.chan);
  if (!err) err = uvf_chan_each(lister.ctx, &lister.each, lister.chan, 0, on_entries, on_entries_end);
  if (!err) err = uvf_work_start(lister.ctx, &lister.job, walk_job, on_walk_end, NULL);
  if (err) uvf_ctx_cancel(lister.ctx);
  uv_run(loop, UV_RUN_DEFAULT); /* until walk and receiver have ended */
  uvf_chan_release(lister.chan);
  uvf_ctx_release(lister.ctx);
  if (!err) err = lister.status;
  return err == UV_ECANCELED && lister.left == 0 ? 0 : err;
}

/* --- the program --------------------------------------------------------------------------------------------- */

static int run_beside(const char *dir, long take) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return err;
  err = uvf_ctx_background(&loop, &root);
  if (!err) {
    err = list_beside(&loop, root, dir, take);
    uvf_ctx_close(root, NULL);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  int closed = uv_loop_close(&loop);
  return err ? err : closed;
}

/* A number from 1 to most, or 0. */
static long number(const char *text, long most) {
  char *end;
  long n = text ? strtol(text, &end, 10) : 0;
  return n >= 1 && n <= most && !*end ? n : 0;
}

int main(int argc, char **argv) {
  const char *dir = ".";
  long take = LONG_MAX;
  int channel = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--channel") == 0 && (channel = 1)) continue;
    if (argv[i][0] != '-' && (dir = argv[i])) continue;
    if (strcmp(argv[i], "--take") == 0 && (take = number(argv[++i], LONG_MAX))) continue;
    int help = argv[i] && strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  int err = channel ? run_beside(dir, take) : list_here(dir, take);
  if (!err) return EXIT_DONE;
  fprintf(stderr, "list_dir: %s: %s\n", dir, uv_strerror(err));
  return EXIT_NOT_DONE;
}
