/* SPDX-License-Identifier: MIT
 *
 * Makes the first fragment of README.md, Groups, a program. There are more tasks than threads of the pool; the one that
 * fails is the first, so that it does not wait for one that takes a minute where the pool has a single thread.
 */
#include <stdio.h>
#include <string.h>
#include <uvflow.h>
#include "groups.inc"

enum { TASKS = 4 };

int main(void) {
  static char *const names[TASKS] = {"missing", "index", "large", "slow"};
  uv_loop_t *loop = uv_default_loop();
  uvf_ctx_t *root;
  uvf_group_t group;
  uvf_task_t tasks[TASKS];
  uvf_wait_t wait;
  for (int i = 0; i < TASKS; i++) tasks[i].data = names[i];
  if (uvf_ctx_background(loop, &root) || fetch_all(root, &group, tasks, TASKS, &wait)) return 1;
  uv_run(loop, UV_RUN_DEFAULT);

  if (wait.status != UV_ENOENT || group.first != &tasks[0]) return 2;
  for (int i = 0; i < TASKS; i++) {
    if (tasks[i].status != (i == 0 ? UV_ENOENT : UV_ECANCELED)) return 3;
  }
  if (uvf_group_close(&group)) return 4;
  uvf_ctx_close(root, NULL);
  uv_run(loop, UV_RUN_DEFAULT);
  return uv_loop_close(loop) ? 5 : 0;
}
