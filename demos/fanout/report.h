/* SPDX-License-Identifier: MIT
 *
 * What the user sees: the table or the JSON document at the end, and a line of progress before.
 */
#ifndef FANOUT_REPORT_H
#define FANOUT_REPORT_H

#include "fan.h"

/* "ok", "hedged", ... Static. */
const char *outcome_name(outcome_t outcome);

/* A table, the totals and why it ended, on stdout: in colour on a terminal, plain ASCII elsewhere. */
void report_table(const fan_t *fan);

/* The same as one JSON document. */
void report_json(const fan_t *fan);

/* A line on stderr that keeps up with the run, if stderr is a terminal; nothing elsewhere. */
typedef struct progress_s {
  const fan_t *fan;
  uv_timer_t timer;
  uvf_guard_t guard;
  int shown;
} progress_t;

/* Bound to ctx: it ends with it. */
int progress_start(progress_t *progress, uvf_ctx_t *ctx, const fan_t *fan);

/* Wipes the line, before something else is printed. */
void progress_wipe(progress_t *progress);

#endif
