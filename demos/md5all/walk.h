/* SPDX-License-Identifier: MIT
 *
 * The walk through directories, a step at a time. Between two steps it keeps one directory open and the names of those
 * that it has seen and not entered yet: no files, so its memory does not grow with their number.
 */
#ifndef MD5ALL_WALK_H
#define MD5ALL_WALK_H

#include "tally.h"

/* A directory that is to be entered, and by which ones it was reached. */
typedef struct place_s {
  struct place_s *next;
  struct place_s *parent;
  size_t references; /* by the list or the walk, and by children */
  uint64_t device, inode;
  char path[];
} place_t;

typedef struct walk_s {
  char **paths; /* to begin with; not begun yet */
  int npaths;
  int follow; /* links, too */
  tally_t *tally;
  place_t *places; /* to be entered, the last found first */
  place_t *here;   /* entered; NULL: none */
  uv_dir_t *dir;
} walk_t;

/* Gets a file: 0: it is taken; else it is the walk's still, which frees it, and walk_step returns that. */
typedef int (*found_fn)(void *arg, file_t *file);

void walk_open(walk_t *walk, char **paths, int npaths, int follow, tally_t *tally);

/* Looks at some entries of one directory: no more than a few calls of the system, which block. Errors of directories
 * are reported to the tally, and the walk goes on. 0: call it again; UV_EOF: that was all; UV_ENOMEM, or what found
 * said. */
int walk_step(walk_t *walk, found_fn found, void *arg);

/* At any time. */
void walk_close(walk_t *walk);

#endif
