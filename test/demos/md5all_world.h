/* SPDX-License-Identifier: MIT
 *
 * What each test of md5all starts with: a loop, a child to be run, and an empty directory, which is removed.
 */
#ifndef UVFLOW_TEST_MD5ALL_WORLD_H
#define UVFLOW_TEST_MD5ALL_WORLD_H

#include "child.h"

#define MS_NS UINT64_C(1000000)
#define GIB (INT64_C(1) << 30)

typedef struct tree_s {
  uv_loop_t loop;
  child_t child;
  char dir[512];
  char paths[16][1024]; /* path_of() turns round in them */
  size_t next_path;
} tree_t;

/* cmocka setup and teardown: *state is a tree_t*. Teardown asserts uv_loop_close() == 0. */
int tree_setup(void **state);
int tree_teardown(void **state);

#define tree_test(f) cmocka_unit_test_setup_teardown(f, tree_setup, tree_teardown)

/* The path of `name` in the tree; good for the next fifteen calls. */
const char *path_of(tree_t *tree, const char *name);

void make_dir(tree_t *tree, const char *name);
void make_file(tree_t *tree, const char *name, const void *data, size_t size);
void make_sparse(tree_t *tree, const char *name, int64_t size); /* reads as zeros, takes no room */
void make_link(tree_t *tree, const char *to, const char *name);
void make_fifo(tree_t *tree, const char *name);

/* n sparse files f0000 ... in a new directory, of `size` each. */
void make_many(tree_t *tree, const char *dir, int n, int64_t size);

#define RUN_MD5ALL(tree, ...) child_run(&(tree)->child, &(tree)->loop, MD5ALL, __VA_ARGS__)

/* What md5all said of its run: "F files found: D digested, X failed, N not done; B bytes read". */
typedef struct counts_s {
  unsigned long long found, digested, failed, not_done, bytes;
} counts_t;

/* Reads the last such line on the child's standard error; fails if there is none or it does not add up. */
void read_counts(const tree_t *tree, counts_t *counts);

size_t lines_of(const text_t *text);

#endif
