/* SPDX-License-Identifier: MIT
 *
 * Makes the fragment of README.md, Channels, a program.
 */
#include <stdio.h>
#include <uvflow.h>
#include "channels.inc"

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  uvf_ctx_t *root;
  uvf_chan_t *chan;
  uvf_work_t job;
  uvf_chan_each_t each;
  if (uvf_ctx_background(loop, &root) || uvf_chan_create(2, &chan) || start(root, chan, &job, &each)) return 1;
  uv_run(loop, UV_RUN_DEFAULT);

  uvf_chan_stats_t stats;
  uvf_chan_stats(chan, &stats);
  if (job.status != 0 || each.status != UV_EOF || !uvf_chan_is_closed(chan)) return 2;
  if (stats.sent != 5 || stats.received != 5 || stats.dropped != 0 || stats.length != 0) return 3;
  uvf_chan_release(chan);
  uvf_ctx_close(root, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) ? 4 : 0;
}
