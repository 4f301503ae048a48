/* SPDX-License-Identifier: MIT
 *
 * uvflow/group.h: many things started, and one place that waits for all of them: groups, wait groups, services.
 *
 * Which one?
 *
 *  you have                                             | take
 *  -----------------------------------------------------+-----------------------------------------------------------
 *  tasks of one purpose; the first error ends the rest  | a group: Go's errgroup
 *  things that come and go by themselves (requests,     | a wait group: Go's WaitGroup, tokio's TaskTracker; its wait
 *  events), to be drained at shutdown                   | under a deadline is a graceful shutdown
 *  servers that should live until one of them ends      | services
 *  a server with connections and requests that is to    | uvf_drain_t, of serve.h
 *  end step by step                                     |
 */
#ifndef UVFLOW_GROUP_H
#define UVFLOW_GROUP_H

#include <stdio.h>

#include "base.h"
#include "work.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- group ------------------------------------------------------------------------------------ */

/* A group of tasks under a context of its own. The caller's memory; all of its calls are made on the loop thread of the
 * context it was made under (tasks on the pool look at their own context only, see uvf_task_fn).
 *
 *  a task ends with           | the group
 *  ---------------------------+---------------------------------------------------------------------------------------
 *  0                          | counts it out
 *  anything else, the first   | keeps it as its error; cancels its context with it as the cause (not with KEEP_GOING)
 *  anything else, a later one | counts it out, and lists it if a list was asked for
 *
 *  The task that fails because the group's context was cancelled by an earlier failure ends with UV_ECANCELED: that is
 *  a later error and never replaces the first. */
typedef struct uvf_group_s uvf_group_t;
typedef struct uvf_task_s uvf_task_t;

enum {
  /* No failure cancels anything; the group can be used again after a wait. As a zero errgroup.Group. */
  UVF_GROUP_KEEP_GOING = 1
};

struct uvf_group_s {
  /* public */
  void *data;
  /* read-only */
  uvf_ctx_t *ctx; /* what tasks run under, and what they should start their own things under. Cancel it to give up: the
                   * tasks end, and are waited for as ever */
  int err;        /* the first error so far, 0 if none */
  size_t active;  /* tasks that run, or are about to */
  size_t waiting; /* tasks that wait for their turn under the limit */
  const uvf_task_t *first; /* whose error it is, NULL: none; to compare with: its memory may be the caller's again */
  /* private */
  unsigned int uvf__flags;
  size_t uvf__limit;
  uvf__queue_t uvf__turns;
  uvf__queue_t uvf__waits;
  int *uvf__errors;
  size_t uvf__errors_max;
  size_t uvf__nerrors;
  int *uvf__gone;
};

/* Runs on a pool thread, at most once. Its return value is the task's status: 0 or a negative code. task->ctx is the
 * group's context; look at uvf_task_err(task) in long work. */
typedef int (*uvf_task_fn)(uvf_task_t *task);

/* Starts the task's work on the loop thread, at most once; later, or inside, uvf_task_done(task, status) must be
 * called, exactly once. What it starts belongs under task->ctx, so that it ends when the group fails. */
typedef void (*uvf_task_start_cb)(uvf_task_t *task);

/* The end of a task, on the loop thread, exactly once for every go that returned 0: the library's last touch of the
 * task, which is counted out of group->active by then. It comes before the group's waits are told. */
typedef void (*uvf_task_end_cb)(uvf_task_t *task, int status);

/* A task; the caller's memory, valid until its end callback has been entered (without one: until a later
 * uvf_group_wait has called back with the group drained: group->active and waiting are 0 then).
 * uvf_op_cancel((uvf_op_t *)task) ends it with UV_ECANCELED: one that waits for its turn or was not started yet, and
 * one on the pool as uvf_work_cancel does. One that runs on the loop: UV_EBUSY; it ends by uvf_task_done alone. */
struct uvf_task_s {
  UVF_OP_FIELDS
  /* read-only */
  uvf_group_t *group;
  /* private */
  uvf_work_t uvf__work;
  uvf_task_fn uvf__fn;
  uvf_task_start_cb uvf__start;
  uvf_task_end_cb uvf__end;
  uint32_t uvf__step;
  uvf__waiter_t uvf__waiter;
};

/* Makes a group under parent. flags: 0 or UVF_GROUP_KEEP_GOING. Its limit is none. Does not block. Loop thread.
 * 0: end it with uvf_group_close. UV_EINVAL: NULL, unknown flags. UV_ENOMEM: nothing happened.
 * As errgroup.WithContext; and as there, group->ctx is over as soon as a task fails, or a wait has ended (with
 * KEEP_GOING: only when parent is). */
UVF_EXTERN int uvf_group_init(uvf_group_t *group, uvf_ctx_t *parent, unsigned int flags);

/* Gives back what the group holds; its context is cancelled. No task may be active or waiting, and nobody may wait for
 * it: that is misuse (UV_EBUSY, and nothing happened). From a wait's callback on it is fine, and, where nobody waits,
 * from the last task's end callback on. Loop thread. 0 or UV_EINVAL: NULL. Misuse: closed already; any call but init
 * afterwards (UV_EINVAL). */
UVF_EXTERN int uvf_group_close(uvf_group_t *group);

/* At most n tasks are active at once; more wait for their turn, in the order of their go. UVF_GROUP_NO_LIMIT: no limit.
 * A task that is active may still be queued for a thread: no more than uvf_work_limit() run on the pool at a time.
 * 0: no task is ever let through (try_go says UV_EAGAIN, go waits for the end of the context).
 * 0, or UV_EBUSY: tasks are active or waiting; nothing changed. UV_EINVAL: NULL. Loop thread. */
#define UVF_GROUP_NO_LIMIT SIZE_MAX
UVF_EXTERN int uvf_group_set_limit(uvf_group_t *group, size_t n);

/* Collects up to max statuses other than 0, in the order they came, in errors[], which is the caller's and must stay
 * valid until the group is closed; uvf_group_errors says how many there are. Without KEEP_GOING only the first is an
 * error of its own: it ended the context, and with that the others' status is UV_ECANCELED, whatever they
 * return, unless they had committed.
 * NULL, 0: no list. 0, or UV_EBUSY: tasks are active or waiting; UV_EINVAL: NULL group, or errors is NULL with max > 0.
 * Loop thread. */
UVF_EXTERN int uvf_group_keep_errors(uvf_group_t *group, int *errors, size_t max);

/* How many statuses other than 0 there have been; the list holds the first of them. Loop thread. NULL: 0. */
UVF_EXTERN size_t uvf_group_errors(const uvf_group_t *group);

/* Runs fn on the pool as a task of the group, when the limit lets it; never blocks. `end` may be NULL. Neither runs
 * inside. Loop thread.
 * 0: the task's end will come. If the group's context is over, or ends while it waits, fn is not run, and its status is
 * the err of that; while fn runs, the end comes when fn has returned.
 * UV_EINVAL: NULL. UV_ENOMEM: nothing happened. Misuse: a task that is already started; the wrong thread. */
UVF_EXTERN int uvf_group_go(uvf_group_t *group, uvf_task_t *task, uvf_task_fn fn, uvf_task_end_cb end);

/* The same for a task that lives on the loop: start is called from the loop (not inside), when the limit lets it; the
 * task is active until uvf_task_done. Codes as uvf_group_go. */
UVF_EXTERN int uvf_group_go_loop(uvf_group_t *group, uvf_task_t *task, uvf_task_start_cb start, uvf_task_end_cb end);

/* The same two, only if the limit lets the task through at once: else UV_EAGAIN, and nothing happened. */
UVF_EXTERN int uvf_group_try_go(uvf_group_t *group, uvf_task_t *task, uvf_task_fn fn, uvf_task_end_cb end);
UVF_EXTERN int uvf_group_try_go_loop(uvf_group_t *group, uvf_task_t *task, uvf_task_start_cb start,
                                     uvf_task_end_cb end);

/* Ends a task of go_loop: after its start callback was entered, once. Loop thread; its end callback does not run
 * inside. As for every operation, if the group's context is over by then its err is the task's status, whatever is
 * given here.
 * 0. UV_EINVAL: NULL, or the task is not running on the loop: that is misuse. */
UVF_EXTERN int uvf_task_done(uvf_task_t *task, int status);

/* For a task's fn on the pool: as uvf_work_err. For one on the loop: the err of its context. */
UVF_EXTERN int uvf_task_err(const uvf_task_t *task);

/* For a task's fn on the pool: as uvf_work_commit: 0: its status will be what fn returns, whatever ends meanwhile.
 * UV_ECANCELED: too late. UV_EINVAL: NULL, a task on the loop. */
UVF_EXTERN int uvf_task_commit(uvf_task_t *task);

/* Waits until no task is active or waiting, under a context of the waiter's choice. The status is the group's first
 * error, 0 if there was none; or the err of ctx: then the tasks go on. If no task is there it calls back at once (not
 * inside). When it ends with the group drained, the group's context is cancelled (not with KEEP_GOING). wait->value is
 * NULL. Loop thread; ctx on the same loop as the group.
 * 0: cb will come. UV_EINVAL: NULL, another loop. Misuse: already started; the wrong thread. As errgroup's Wait. */
UVF_EXTERN int uvf_group_wait(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_group_t *group, uvf_wait_cb cb);

/* --- wait group: also a tracker --------------------------------------------------------------- */

/* Counts things that are under way, on any thread, and tells who waits when there are none left. The caller's memory;
 * all zero is an open one with nothing in it.
 *
 *  state                | add, enter | done, leave                        | wait
 *  ---------------------+------------+------------------------------------+--------------------------------------------
 *  open                 | counts     | counts; at zero tells nobody       | waits
 *  closed, not empty    | counts     | counts; the last one tells all     | waits
 *  closed and empty     | counts     | -                                  | over at once
 *
 *  Who was told stays told, also if something is added, or it is opened again, before its callback. A wait group in
 *  Go's sense is one that is closed from the start: uvf_waitgroup_close() right after init. Its memory may go in the
 *  callback of the last wait, whoever made the last done: that call does not touch it any more. */
typedef struct uvf_waitgroup_s uvf_waitgroup_t;

/* A thing under way that has a name; the caller's memory from enter to leave. */
typedef struct uvf_waitgroup_entry_s {
  /* read-only */
  const char *name; /* kept as given: must stay valid as long as somebody may ask what is under way */
  uvf_waitgroup_t *group;
  /* private */
  uvf__link_t uvf__link;
} uvf_waitgroup_entry_t;

struct uvf_waitgroup_s {
  /* private */
  uint64_t uvf__word;
  uint32_t uvf__lock;
  uvf__link_t *uvf__entries;
  uvf__queue_t uvf__waits;
};

/* An open one with nothing in it. Any thread. NULL does nothing. */
UVF_EXTERN void uvf_waitgroup_init(uvf_waitgroup_t *group);

/* n more things are under way (0: nothing happens). Any thread. Does not block. 0. UV_EINVAL: NULL. UV_E2BIG:
 * 2^62 or more altogether; nothing happened. As WaitGroup.Add. */
UVF_EXTERN int uvf_waitgroup_add(uvf_waitgroup_t *group, uint64_t n);

/* One thing is over. Any thread; callbacks of waits follow on their loops, none runs inside. 0. UV_EINVAL: NULL. More
 * dones than adds is misuse (UV_EINVAL, nothing happened). */
UVF_EXTERN int uvf_waitgroup_done(uvf_waitgroup_t *group);

/* The same two for a thing with a name, so that a shutdown that takes too long can say what it waits for. Any thread.
 * UV_EINVAL: NULL (name may be NULL). UV_E2BIG: as add. Misuse: an entry that is in already; leaving twice
 * (UV_EINVAL). Entering takes a lock for a moment, the two above do not unless they have somebody to tell. */
UVF_EXTERN int uvf_waitgroup_enter(uvf_waitgroup_t *group, uvf_waitgroup_entry_t *entry, const char *name);
UVF_EXTERN int uvf_waitgroup_leave(uvf_waitgroup_entry_t *entry);

/* From now on waits may end. It refuses nothing: what comes is counted still. 1: it was open; 0: it was closed already
 * (or NULL). Any thread. As TaskTracker's close. */
UVF_EXTERN int uvf_waitgroup_close(uvf_waitgroup_t *group);

/* Undoes close. 1: it was closed; 0: it was open already (or NULL). Any thread. */
UVF_EXTERN int uvf_waitgroup_reopen(uvf_waitgroup_t *group);

/* 1 if it is closed. Any thread; a snapshot. NULL: 0. */
UVF_EXTERN int uvf_waitgroup_is_closed(const uvf_waitgroup_t *group);

/* How many things are under way. Any thread; a snapshot. NULL: 0. */
UVF_EXTERN uint64_t uvf_waitgroup_count(const uvf_waitgroup_t *group);

/* Waits until it is closed and empty. Status 0; or the err of ctx: UV_ETIMEDOUT is a graceful shutdown that took too
 * long (uvf_waitgroup_dump says what is left; cancel the context those things run under, and wait once more). Loop
 * thread of ctx; the group may be shared with any thread, and must stay until cb has been entered. Does not block; cb
 * never runs inside.
 * 0: cb will come. UV_EINVAL: NULL. Misuse: already started; the wrong thread. As http.Server's Shutdown(ctx). */
UVF_EXTERN int uvf_waitgroup_wait(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_waitgroup_t *group, uvf_wait_cb cb);

/* The same by blocking: see base.h, waits. 0, the err of ctx, UV_EINVAL, UV_EPERM. */
UVF_EXTERN int uvf_waitgroup_join(uvf_ctx_t *ctx, uvf_waitgroup_t *group);

/* Copies the names of at most max things that were entered and are under way into names[] (NULL for those entered
 * without one), the newest first, and their number into *copied (may be NULL); returns how many are under way, also
 * those that were only added. The pointers are those that were given to enter. Any thread. NULL group: 0. */
UVF_EXTERN uint64_t uvf_waitgroup_names(uvf_waitgroup_t *group, const char **names, size_t max, size_t *copied);

/* Writes one line per named thing and one with the number of the others to f. Any thread; blocks as writing does, but
 * nobody else meanwhile. NULL does nothing. */
UVF_EXTERN void uvf_waitgroup_dump(uvf_waitgroup_t *group, FILE *f);

/* --- services --------------------------------------------------------------------------------- */

/* Long-lived things on one loop that live and end together: an application server and its debug server. Each starts
 * under the context of all; when one of them ends, with 0 or an error, that context is cancelled, all others must end
 * too, and when the last one has ended, the callback comes with the first error. */
typedef struct uvf_services_s uvf_services_t;
typedef struct uvf_service_s uvf_service_t;

/* Starts a service under service->ctx: on the loop thread. 0: it runs, and will call uvf_service_ended once, soon after
 * service->ctx is over (watch it: uvf_ctx_on_done) or when it ends by itself. A negative code: it could not start,
 * which is its end; those after it are not started.
 * With a handle: uvf_guard_start(service->ctx, .., close_cb), and uvf_service_ended in close_cb: then nothing of the
 * service is left when the callback of all comes. */
typedef int (*uvf_service_start_cb)(uvf_service_t *service);

/* Runs on the loop thread, exactly once, when no service runs any more. status: the first that was not 0, in the order
 * they ended; 0 if all ended with 0; the err of the context given to run, if that came first. */
typedef void (*uvf_services_cb)(uvf_services_t *services, int status);

/* One service; the caller's memory, valid until the callback of all. Fill in the public fields. */
struct uvf_service_s {
  /* public */
  void *data;
  const char *name; /* for the dump; may be NULL; kept as given */
  uvf_service_start_cb start;
  /* read-only */
  uvf_ctx_t *ctx;
  int status;  /* how it ended, once it has; the err of ctx if it was not started */
  int running; /* from the return of start to its end */
  /* private */
  uvf_services_t *uvf__all;
  uint32_t uvf__step;
  uvf_task_t uvf__task;
};

/* All of them; the caller's memory, valid until its callback has been entered. */
struct uvf_services_s {
  /* public */
  void *data;
  /* read-only */
  uvf_ctx_t *ctx; /* of all services, under the one given */
  int status;
  const uvf_service_t *first; /* the one that ended first; NULL: the context given did, or uvf_services_stop */
  /* private */
  uvf_group_t uvf__group;
  uvf_wait_t uvf__wait;
  uvf_services_cb uvf__cb;
  int uvf__ending;
};

/* Starts the n services of list[] in order, from the loop (not inside). Loop thread. Does not block. The context of all
 * is cancelled inside the call that says the first has ended; its cause is that status, UV_ECANCELED if it was 0.
 * 0: cb will come (n == 0: with 0, or the err of ctx). UV_EINVAL: a NULL argument or start function (n == 0: list may
 * be NULL). UV_ENOMEM: nothing happened. Misuse: services that run already; the wrong thread.
 * To stop them all by hand: uvf_services_stop, or the end of ctx. Memory that a service's handles are in may be needed
 * until their close callbacks, which can be later than cb. */
UVF_EXTERN int uvf_services_run(uvf_ctx_t *ctx, uvf_services_t *services, uvf_service_t *list, size_t n,
                                uvf_services_cb cb);

/* Ends them all on purpose. Their context is cancelled, as if ctx had been; but cb's status is not UV_ECANCELED: it is
 * the first status of a service that was not 0, or 0. Does nothing if they are ending already. Loop thread, until cb
 * has been entered. Calls nothing back inside. 0. UV_EINVAL: NULL. */
UVF_EXTERN int uvf_services_stop(uvf_services_t *services);

/* The service has ended, with status. Loop thread; once for each that started; may be called inside its start function
 * just before that returns 0. 0. UV_EINVAL: NULL; not running: that is misuse. */
UVF_EXTERN int uvf_service_ended(uvf_service_t *service, int status);

#define uvf_group_go(...) UVF__AT(uvf_group_go(__VA_ARGS__))
#define uvf_group_go_loop(...) UVF__AT(uvf_group_go_loop(__VA_ARGS__))
#define uvf_group_try_go(...) UVF__AT(uvf_group_try_go(__VA_ARGS__))
#define uvf_group_try_go_loop(...) UVF__AT(uvf_group_try_go_loop(__VA_ARGS__))
#define uvf_group_wait(...) UVF__AT(uvf_group_wait(__VA_ARGS__))
#define uvf_waitgroup_wait(...) UVF__AT(uvf_waitgroup_wait(__VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif /* UVFLOW_GROUP_H */
