/* SPDX-License-Identifier: MIT
 *
 * Services: long-lived things that end together.
 *
 * Parties, all on the loop thread: each service (starts, says that it has ended), the end of their context. A service
 * is a task of a group that keeps going: the group counts, this file judges.
 *
 * Invariants
 * 1. The first end, of a service, of the context given, or a stop, is noted once (`uvf__ending`) and cancels the
 *    context of all; which of the two came first is told by that context's err at the moment the first service ends.
 * 2. A service that was started is RUNNING until uvf_service_ended (or a failing start) has ended it; its task is done
 *    in the same call. One whose turn comes when the context is over is never started, and says nothing about the
 *    outcome: something else had ended it.
 * 3. The callback comes in the end of the last task, when the group is closed: nothing is touched after it.
 */
#include "kernel/context.h"
#include "kernel/rule.h"
#include "uvflow/group.h"

enum { WAITING = 1, STARTING, RUNNING, ENDED };

static uvf_service_t *service_of(uvf_task_t *task) { return UVF__CONTAINER(task, uvf_service_t, uvf__task); }

/* service: NULL if it was the context. */
static void note_end(uvf_services_t *all, const uvf_service_t *service, int status) {
  int err = uvf_ctx_err(all->ctx);
  if (!all->uvf__ending) {
    all->uvf__ending = 1;
    if (err != 0) {
      status = err;
    } else {
      all->first = service;
      uvf_ctx_cancel_cause(all->ctx, status, NULL); /* 0: UV_ECANCELED */
    }
  }
  if (all->status == 0) all->status = status;
}

static void end_service(uvf_service_t *service, int status) {
  int starting = service->uvf__step == STARTING;
  service->uvf__step = ENDED;
  service->running = 0;
  service->status = status;
  note_end(service->uvf__all, service, status);
  if (!starting) uvf_task_done(&service->uvf__task, 0); /* else when start has returned, which may run the loop */
}

static void on_start(uvf_task_t *task) {
  uvf_service_t *service = service_of(task);
  int err;
  service->uvf__step = STARTING;
  err = service->start(service);
  if (service->uvf__step != ENDED && err != 0) end_service(service, err);
  if (service->uvf__step == ENDED) {
    uvf_task_done(task, 0);
  } else {
    service->uvf__step = RUNNING;
    service->running = 1;
  }
}

static void finish(uvf_services_t *all, int status) {
  uvf_ctx_t *ctx = uvf_ctx_retain(all->ctx); /* readable in the callback */
  uvf_services_cb cb = all->uvf__cb;
  uvf_group_close(&all->uvf__group);
  cb(all, status);
  uvf_ctx_release(ctx);
}

static void on_end(uvf_task_t *task, int status) {
  uvf_service_t *service = service_of(task);
  uvf_services_t *all = service->uvf__all;
  if (service->uvf__step == WAITING) {
    service->uvf__step = ENDED;
    service->status = status;
    if (!all->uvf__ending) note_end(all, NULL, status);
  }
  if (all->uvf__group.active == 0) finish(all, all->status);
}

static void on_none(uvf_wait_t *wait, int status) {
  uvf_services_t *all = UVF__CONTAINER(wait, uvf_services_t, uvf__wait);
  all->status = status;
  finish(all, status);
}

static int are_complete(const uvf_service_t *list, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (list[i].start == NULL) return 0;
  }
  return 1;
}

int uvf_services_run(uvf_ctx_t *ctx, uvf_services_t *services, uvf_service_t *list, size_t n, uvf_services_cb cb) {
  uvf_group_t *group;
  int err;
  if (ctx == NULL || services == NULL || cb == NULL || (list == NULL && n > 0)) return UV_EINVAL;
  if (!are_complete(list, n)) return UV_EINVAL;
  group = &services->uvf__group;
  err = uvf_group_init(group, ctx, UVF_GROUP_KEEP_GOING);
  if (err != 0) return err;
  uvf_ctx_set_name(group->ctx, "services");
  services->ctx = group->ctx;
  services->status = 0;
  services->first = NULL;
  services->uvf__cb = cb;
  services->uvf__ending = 0;
  if (n == 0) return (uvf_group_wait)(ctx, &services->uvf__wait, group, on_none);
  for (size_t i = 0; i < n; i++) { /* none can fail: there is no limit and no pool, and init was allowed here */
    uvf_service_t *service = &list[i];
    service->ctx = group->ctx;
    service->status = 0;
    service->running = 0;
    service->uvf__all = services;
    service->uvf__step = WAITING;
    (uvf_group_go_loop)(group, &service->uvf__task, on_start, on_end);
    service->uvf__task.uvf__site = service->name; /* what the dump shows of it */
  }
  return 0;
}

int uvf_services_stop(uvf_services_t *services) {
  int err;
  if (services == NULL) return UV_EINVAL;
  err = uvf__hub_enter(uvf__ctx_hub(services->ctx), "uvf_services_stop");
  if (err != 0 || services->uvf__ending) return err;
  if (uvf_ctx_err(services->ctx) != 0) return 0; /* its parent was first: the first end will say so */
  services->uvf__ending = 1;
  uvf_ctx_cancel(services->ctx);
  return 0;
}

int uvf_service_ended(uvf_service_t *service, int status) {
  int running;
  int err;
  if (service == NULL) return UV_EINVAL;
  running = service->uvf__step == STARTING || service->uvf__step == RUNNING;
  UVF__RULE(running, "uvf_service_ended", "the service does not run: it was not started, or has ended already");
  if (!running) return UV_EINVAL;
  err = uvf__hub_enter(uvf__ctx_hub(service->ctx), "uvf_service_ended");
  if (err != 0) return err;
  end_service(service, status);
  return 0;
}
