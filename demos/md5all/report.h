/* SPDX-License-Identifier: MIT
 *
 * What the user sees beside the digests: the line of progress while it runs, tables and drawing.
 */
#ifndef MD5ALL_REPORT_H
#define MD5ALL_REPORT_H

#include "tally.h"

/* --- progress.c: a line on stderr that keeps up with the run ------------------------------------------------- */

typedef struct progress_s {
  tally_t *tally;
  uv_timer_t timer;
  uvf_guard_t guard;
  uint64_t began_ns;
} progress_t;

/* Nothing, if stderr is no terminal. Bound to ctx: it ends with it. */
int progress_start(progress_t *progress, uvf_ctx_t *ctx, tally_t *tally);

/* Wipes the line, before something else is printed. */
void progress_wipe(tally_t *tally);

/* "12.3 MB", as snprintf. */
int format_bytes(char *text, size_t size, double bytes);

/* --- report.c ------------------------------------------------------------------------------------------------ */

/* What each stage of a pipeline that has run did, on stderr. 0, or UV_EPROTO: its counts do not add up. */
int report_stages(const uvf_pipeline_t *pipeline);

/* What came of all, how long it took, and whether the counts add up, on stderr. */
void report_totals(const tally_t *tally, uint64_t took_ns);

/* On stdout. 0 or UV_E*. */
int report_drawing(const uvf_pipeline_t *pipeline);

#endif
