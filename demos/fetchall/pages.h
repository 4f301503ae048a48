/* SPDX-License-Identifier: MIT
 *
 * The pipeline: urls ---> fetch ---> print, all on the loop.
 *
 * urls gives one page for each URL, of the command line or of the lines of standard input, and reads no more of those
 * than there is room for behind it. fetch has several transfers under way at once, each under a context of its own
 * call: its end, at the time limit or at Ctrl-C, takes the transfer out of curl. Its output is ordered: print gets the
 * pages in the order of their URLs. A page that could not be had is a result like any other.
 */
#ifndef FETCHALL_PAGES_H
#define FETCHALL_PAGES_H

#include <stdatomic.h>

#include "../fanout/http.h"
#include "lines.h"
#include "print.h"

typedef struct pages_options_s {
  char **urls; /* NULL after the last; none at all: the lines of standard input */
  unsigned int workers;
  unsigned int rate; /* a second; 0: no limit */
  uint64_t timeout_ms;
} pages_options_t;

/* Caller's memory, zeroed, until the root was closed. */
typedef struct pages_s {
  const pages_options_t *options;
  uvf_pipeline_t *pipeline;
  http_t *http; /* to be set before the run */
  print_t print;
  /* what came of it */
  size_t fetched, failed;
  atomic_size_t dropped; /* were under way when the run was cancelled */
  uint64_t bytes;
  const char *where; /* an error came from; NULL: nowhere special */
  /* private */
  char **next;
  lines_t lines;
  uvf_flow_t *waiting; /* the call of urls that waits for a line */
  uvf_watch_t watch;   /* of its context */
  uvf_limiter_t limiter;
} pages_t;

/* Makes pages->pipeline, to be run under ctx or a context below it. 0, or UV_E*; pages_free either way. */
int pages_init(pages_t *pages, uvf_ctx_t *ctx, const pages_options_t *options);
void pages_free(pages_t *pages);

/* How many pages neither were fetched nor failed, after a run that was cancelled. */
size_t pages_given_up(const pages_t *pages);

#endif
