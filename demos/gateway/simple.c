/* SPDX-License-Identifier: MIT
 *
 * What can be answered at once, and what only waits.
 */
#include <stdlib.h>

#include "routes.h"

enum { DEFAULT_MS = 100, MOST_MS = 600000 };

void healthz_start(request_t *request) {
  if (uvf_drain_is_ready(&request->server->drain))
    request_answer(request, 200, TYPE_TEXT, H2O_STRLIT("ok\n"));
  else
    request_answer(request, 503, TYPE_TEXT, H2O_STRLIT("draining\n"));
}

/* h2o hands a request over when its body is complete. */
void echo_start(request_t *request) { request_answer_text(request, 200, "%zu\n", request->req->entity.len); }

typedef struct slow_s {
  task_t task;
  uvf_sleep_t sleep;
  uint64_t ms;
} slow_t;

/* Called by uvflow when the time is over, or the request's context. */
static void on_slept(uvf_sleep_t *sleep, int status) {
  slow_t *slow = container_of(sleep, slow_t, sleep);
  request_t *request = request_task_over(&slow->task);
  uint64_t ms = slow->ms;
  free(slow);
  if (!request) return;
  if (status)
    request_fail(request, status);
  else
    request_answer_text(request, 200, "slept %llu ms\n", (unsigned long long)ms);
}

void slow_start(request_t *request) {
  uint64_t ms = DEFAULT_MS;
  if (request_number(request, "ms", 0, MOST_MS, &ms)) return;
  slow_t *slow = request_task(request, sizeof(*slow));
  if (!slow) return;
  slow->ms = ms;
  int err = uvf_sleep_start(request->ctx, &slow->sleep, ms, on_slept);
  if (!err) return;
  request_task_over(&slow->task);
  free(slow);
  request_fail(request, err);
}
