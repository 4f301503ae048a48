/* SPDX-License-Identifier: MIT */
#include "md5all_world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tree_setup(void **state) {
  tree_t *tree = calloc(1, sizeof(*tree));
  char tmp[256];
  size_t size = sizeof(tmp);
  uv_fs_t req;
  if (!tree) return -1;
  *state = tree;
  assert_true(uv_os_unsetenv("UV_THREADPOOL_SIZE") == 0); /* md5all chooses for itself */
  assert_int_equal(uv_loop_init(&tree->loop), 0);
  assert_int_equal(uv_os_tmpdir(tmp, &size), 0);
  snprintf(tree->dir, sizeof(tree->dir), "%s/uvf-md5all-XXXXXX", tmp);
  assert_int_equal(uv_fs_mkdtemp(NULL, &req, tree->dir, NULL), 0);
  snprintf(tree->dir, sizeof(tree->dir), "%s", req.path);
  uv_fs_req_cleanup(&req);
  return 0;
}

int tree_teardown(void **state) {
  tree_t *tree = *state;
  child_run(&tree->child, &tree->loop, "rm", "-rf", tree->dir);
  assert_int_equal(tree->child.exit_status, 0);
  assert_int_equal(uv_loop_close(&tree->loop), 0);
  child_free(&tree->child);
  free(tree);
  return 0;
}

const char *path_of(tree_t *tree, const char *name) {
  char *path = tree->paths[tree->next_path++ % 16];
  snprintf(path, sizeof(tree->paths[0]), "%s/%s", tree->dir, name);
  return path;
}

void make_dir(tree_t *tree, const char *name) { assert_int_equal(mkdir(path_of(tree, name), 0777), 0); }

void make_file(tree_t *tree, const char *name, const void *data, size_t size) {
  FILE *f = fopen(path_of(tree, name), "wb");
  assert_non_null(f);
  if (size) assert_int_equal(fwrite(data, 1, size, f), size);
  assert_int_equal(fclose(f), 0);
}

void make_sparse(tree_t *tree, const char *name, int64_t size) {
  make_file(tree, name, NULL, 0);
  assert_int_equal(truncate(path_of(tree, name), (off_t)size), 0);
}

void make_link(tree_t *tree, const char *to, const char *name) {
  assert_int_equal(symlink(to, path_of(tree, name)), 0);
}

void make_fifo(tree_t *tree, const char *name) { assert_int_equal(mkfifo(path_of(tree, name), 0666), 0); }

void make_many(tree_t *tree, const char *dir, int n, int64_t size) {
  make_dir(tree, dir);
  for (int i = 0; i < n; i++) {
    char name[64];
    snprintf(name, sizeof(name), "%s/f%04d", dir, i);
    make_sparse(tree, name, size);
  }
}

size_t lines_of(const text_t *text) { return text->len ? count_lines(text, "", NULL) : 0; }

void read_counts(const tree_t *tree, counts_t *counts) {
  static const char MARK[] = " files found: ";
  const char *at = tree->child.err.at ? strstr(tree->child.err.at, MARK) : NULL;
  assert_non_null(at);
  for (const char *next; (next = strstr(at + 1, MARK));) at = next;
  while (at > tree->child.err.at && at[-1] >= '0' && at[-1] <= '9') at--;
  int n = sscanf(at, "%llu files found: %llu digested, %llu failed, %llu not done; %llu bytes read", &counts->found,
                 &counts->digested, &counts->failed, &counts->not_done, &counts->bytes);
  assert_int_equal(n, 5);
  assert_int_equal(counts->found, counts->digested + counts->failed + counts->not_done);
}
