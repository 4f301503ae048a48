/* SPDX-License-Identifier: MIT
 *
 * Makes the fragment of README.md, Pipelines, a program.
 */
#include <stdio.h>
#include <uvflow.h>
#include "pipelines.inc"

int main(void) {
  uv_loop_t *loop = uv_default_loop();
  uvf_ctx_t *root;
  sum_t sum = {1, 1000, 0};
  if (uvf_ctx_background(loop, &root) || start_sum(root, &sum)) return 1;
  uv_run(loop, UV_RUN_DEFAULT);
  if (sum.sum != 333833500) return 2;
  uvf_ctx_close(root, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) ? 3 : 0;
}
