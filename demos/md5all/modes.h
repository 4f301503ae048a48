/* SPDX-License-Identifier: MIT
 *
 * The three ways to do it. Each returns when every file that was found has become something, and all that it made is
 * released: 0, or the error that stopped it. When run->ctx is cancelled they stop soon.
 */
#ifndef MD5ALL_MODES_H
#define MD5ALL_MODES_H

#include "digest.h"
#include "options.h"
#include "walk.h"

typedef struct run_s {
  const options_t *options;
  algorithm_t algorithm;
  tally_t tally;
  walk_t walk;
  uvf_ctx_t *ctx; /* Ctrl-C cancels it */
} run_t;

/* serial.c, parallel.c, bounded.c */
int serial(run_t *run);
int parallel(run_t *run);
int bounded(run_t *run);

/* The pipeline of bounded, as a drawing on stdout. */
int bounded_draw(run_t *run);

#endif
