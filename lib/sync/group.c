/* SPDX-License-Identifier: MIT
 *
 * Groups: tasks under a context of their own, a limit on how many are active, and waits for the end of all.
 *
 * Parties, all on the loop thread (so there is no lock): go (counts a task in), the end of a task (counts it out), the
 * context's end (withdraws tasks that wait for their turn), the waits.
 *
 *  a task's step | its own operation                     | counted in | who ends the step
 *  --------------+---------------------------------------+------------+----------------------------------------------
 *  TURN          | PENDING, in `turns`                   | waiting    | count_out of another; its claim for a failure
 *  STARTING      | CLAIMED, ready                        | active     | deliver, which looks at the context's err first
 *  RUNNING       | COMMITTED, linked under the context   | active     | uvf_task_done
 *  STOPPED, DONE | ready                                 | active     | deliver
 *  ON_POOL       | none: the job in it is the operation  | active     | the job's done
 *  ENDED         | none                                  | -          | -
 *
 * Invariants
 * 1. A task is counted in by a go that returns 0 and counted out by end_task, once, which then calls its end: every
 *    step leads there. A context's end can take away nothing but TURN (PENDING); all else ends by itself, looking at
 *    err as it does.
 * 2. If a task waits for its turn and the context is live, `limit` tasks are active: a slot is given on in the call
 *    that frees it, to the first in `turns`, so nobody overtakes.
 * 3. The first error is noted, and the context cancelled with it as the cause, before the failing task's end callback.
 * 4. The end callback is the last touch of the task. It may start tasks, and close the group and free it, if it was the
 *    last and nobody waits: `uvf__gone` points at a flag of the end_task that is under way, which then leaves it alone.
 *    It can be nested (a callback that runs the loop): what the inner one learns it tells the outer one.
 * 5. Waits are told when nothing is active or waiting, after the end callback: what that starts is waited for too. They
 *    are claimed before the group's context is cancelled: one of them may be under it.
 */
#include "kernel/context.h"
#include "kernel/wait.h"
#include "uvflow/group.h"
#include "work/runner.h"

enum { TURN = 1, STARTING, STOPPED, RUNNING, DONE, ON_POOL, ENDED };

static uvf_op_t *op_of(uvf_task_t *task) { return (uvf_op_t *)(void *)task; }

/* 0, or UV_EINVAL: closed already, or not its loop thread. */
static int enter(const uvf_group_t *group, const char *function) {
  UVF__RULE(group->ctx != NULL, function, "the group is closed");
  return group->ctx != NULL ? uvf__hub_enter(uvf__ctx_hub(group->ctx), function) : UV_EINVAL;
}

static int is_idle(const uvf_group_t *group) { return group->active == 0 && group->waiting == 0; }

static void cancel_after_wait(uvf_group_t *group) {
  if (!(group->uvf__flags & UVF_GROUP_KEEP_GOING)) uvf_ctx_cancel(group->ctx);
}

/* --- the end of a task ------------------------------------------------------------------------ */

static void note_error(uvf_group_t *group, const uvf_task_t *task, int status) {
  if (group->uvf__nerrors < group->uvf__errors_max) group->uvf__errors[group->uvf__nerrors] = status;
  group->uvf__nerrors++;
  if (group->err != 0) return;
  group->err = status;
  group->first = task;
  if (!(group->uvf__flags & UVF_GROUP_KEEP_GOING)) uvf_ctx_cancel_cause(group->ctx, status, NULL);
}

static int start_on_pool(uvf_group_t *group, uvf_task_t *task);

/* Cannot fail for a task of the pool: go has made the workers, and its own operation keeps the root open. */
static void take_turn(uvf_group_t *group, uvf_task_t *task) {
  uvf_op_t *op = op_of(task);
  group->waiting--;
  group->active++;
  if (task->uvf__fn == NULL) {
    task->uvf__step = STARTING;
    uvf__op_claim(op);
    uvf__op_ready(op);
    return;
  }
  uvf__site(op->uvf__site);
  start_on_pool(group, task);
}

static void serve_turns(uvf_group_t *group) {
  uvf__waiter_t *w;
  while (group->active < group->uvf__limit && (w = group->uvf__turns.first) != NULL) {
    uvf__queue_remove(&group->uvf__turns, w);
    take_turn(group, (uvf_task_t *)(void *)w->op);
  }
}

static void tell_waits(uvf_group_t *group) {
  uvf__told_t told;
  uvf__waiter_t *w;
  int served = 0;
  if (group->uvf__waits.first == NULL || !is_idle(group)) return;
  uvf__told_init(&told);
  while ((w = uvf__queue_take(&group->uvf__waits, &told)) != NULL) {
    w->op->status = group->err;
    served = 1;
  }
  if (served) cancel_after_wait(group);
  uvf__tell(&told);
}

static void end_task(uvf_task_t *task, int status) {
  uvf_group_t *group = task->group;
  uvf_task_end_cb end = task->uvf__end;
  int had_turn = task->uvf__step != TURN;
  int *outer = group->uvf__gone;
  int gone = 0;
  task->status = status;
  task->uvf__step = ENDED;
  if (status != 0) note_error(group, task, status);
  if (had_turn) {
    group->active--;
    serve_turns(group);
  } else {
    group->waiting--;
  }
  if (end != NULL) {
    group->uvf__gone = &gone;
    end(task, status);
    if (gone) {
      if (outer != NULL) *outer = 1;
      return;
    }
    group->uvf__gone = outer;
  }
  tell_waits(group);
}

/* --- a task's own operation ------------------------------------------------------------------- */

static int withdraw_task(uvf_op_t *op) {
  uvf_task_t *task = (uvf_task_t *)(void *)op;
  uvf__queue_remove(&task->group->uvf__turns, &task->uvf__waiter);
  return 1;
}

static int deliver(uvf_op_t *op) {
  uvf_task_t *task = (uvf_task_t *)(void *)op;
  uvf__root_t *root;
  if (task->uvf__step == STARTING) {
    int err = uvf__ctx_err(op->ctx);
    if (UVF__LIKELY(err == 0)) {
      task->uvf__step = RUNNING;
      uvf__u32_store(&op->uvf__state, UVF__OP_COMMITTED);
      uvf__op_relink(op);
      root = op->ctx->root;
      uvf__root_live(op->ctx); /* start may run the loop, and the task end in there: this call is not over then */
      task->uvf__start(task);
      uvf__root_unlive(root);
      return 0;
    }
    op->status = err;
  }
  uvf__op_mark_dead(uvf__ctx_hub(op->ctx), op);
  end_task(task, op->status);
  return 1;
}

/* uvf_op_cancel of one that does not wait for its turn. */
static int stop(uvf_op_t *op) {
  uvf_task_t *task = (uvf_task_t *)(void *)op;
  if (task->uvf__step == ON_POOL) return uvf_work_cancel(&task->uvf__work);
  if (task->uvf__step != STARTING) return UV_EBUSY;
  task->uvf__step = STOPPED;
  op->status = UV_ECANCELED;
  return 0;
}

static const uvf__op_type_t task_type = {.name = "task",
                                         .withdraw = withdraw_task,
                                         .deliver = deliver,
                                         .posted = uvf__wait_posted,
                                         .flags = 0,
                                         .stop = stop};

int uvf_task_done(uvf_task_t *task, int status) {
  int running;
  int err;
  if (task == NULL) return UV_EINVAL;
  running = task->uvf__step == RUNNING;
  UVF__RULE(running, "uvf_task_done", "the task does not run on the loop, or has been told that it is done already");
  if (!running) return UV_EINVAL;
  err = uvf__hub_enter(uvf__ctx_hub(task->ctx), "uvf_task_done");
  if (err != 0) return err;
  err = uvf__ctx_err(task->ctx);
  task->uvf__step = DONE;
  task->status = err != 0 ? err : status;
  uvf__op_ready(op_of(task));
  return 0;
}

int uvf_task_err(const uvf_task_t *task) {
  if (task == NULL) return UV_EINVAL;
  return task->uvf__fn != NULL ? uvf_work_err(&task->uvf__work) : uvf__ctx_err(task->ctx);
}

int uvf_task_commit(uvf_task_t *task) {
  return task != NULL && task->uvf__fn != NULL ? uvf_work_commit(&task->uvf__work) : UV_EINVAL;
}

/* --- tasks on the pool ------------------------------------------------------------------------ */

static int run(uvf_work_t *job) {
  uvf_task_t *task = UVF__CONTAINER(job, uvf_task_t, uvf__work);
  return task->uvf__fn(task);
}

static void on_job_done(uvf_work_t *job, int status) {
  uvf_task_t *task = UVF__CONTAINER(job, uvf_task_t, uvf__work);
  uvf__u32_store(&task->uvf__state, UVF__OP_DONE);
  end_task(task, status);
}

/* A task that had its turn is an operation, which must hold the context until the job does. */
static int start_on_pool(uvf_group_t *group, uvf_task_t *task) {
  int had_turn = task->uvf__step == TURN;
  int err;
  task->uvf__step = ON_POOL;
  err = (uvf_work_start)(group->ctx, &task->uvf__work, run, on_job_done, NULL);
  if (err != 0) return err;
  if (had_turn) uvf__op_remove(op_of(task));
  uvf__u32_store(&task->uvf__state, UVF__OP_COMMITTED); /* so that uvf_op_cancel asks stop() */
  return 0;
}

/* --- go --------------------------------------------------------------------------------------- */

#if UVF__RULES
static int is_started(const uvf_group_t *group, const uvf_task_t *task) {
  uvf__hub_t *hub = uvf__ctx_hub(group->ctx);
  return uvf__op_is_live(hub, (const uvf_op_t *)(const void *)task) ||
         uvf__op_is_live(hub, (const uvf_op_t *)(const void *)&task->uvf__work);
}
#endif

/* Counted as waiting: until its turn comes or it is ended. */
static int line_up(uvf_group_t *group, uvf_task_t *task, const char *function) {
  uvf__workers_t *w;
  int rc = task->uvf__fn != NULL ? uvf__workers_get(uvf__ctx_hub(group->ctx), &w) : 0;
  if (rc == 0) rc = uvf__op_begin(group->ctx, op_of(task), &task_type, function);
  if (rc < 0) return rc;
  task->uvf__step = TURN;
  group->waiting++;
  uvf__waiter_init(&task->uvf__waiter, op_of(task));
  if (rc > 0) uvf__queue_push(&group->uvf__turns, &task->uvf__waiter);
  return 0;
}

static int let_through(uvf_group_t *group, uvf_task_t *task, const char *function) {
  int rc;
  if (task->uvf__fn != NULL) {
    task->ctx = group->ctx;
    task->status = 0;
    task->uvf__type = &task_type;
    rc = start_on_pool(group, task);
  } else {
    rc = uvf__op_begin(group->ctx, op_of(task), &task_type, function);
    task->uvf__step = rc > 0 ? STARTING : STOPPED; /* not started: the context is over */
    if (rc > 0) uvf__wait_now(op_of(task), 0);
  }
  if (rc < 0) return rc;
  group->active++;
  return 0;
}

static int go(uvf_group_t *group, uvf_task_t *task, uvf_task_fn fn, uvf_task_start_cb start, uvf_task_end_cb end,
              int only_now, const char *function) {
  int now;
  int err;
  if (group == NULL || task == NULL || (fn == NULL && start == NULL)) return UV_EINVAL;
  err = enter(group, function);
  if (err != 0) return err;
  UVF__RULE(!is_started(group, task), function, "the task is already started and not over");
  now = group->active < group->uvf__limit;
  if (!now && only_now) return UV_EAGAIN;
  task->group = group;
  task->uvf__fn = fn;
  task->uvf__start = start;
  task->uvf__end = end;
  task->uvf__step = 0;
  return now ? let_through(group, task, function) : line_up(group, task, function);
}

int(uvf_group_go)(uvf_group_t *group, uvf_task_t *task, uvf_task_fn fn, uvf_task_end_cb end) {
  return go(group, task, fn, NULL, end, 0, "uvf_group_go");
}

int(uvf_group_go_loop)(uvf_group_t *group, uvf_task_t *task, uvf_task_start_cb start, uvf_task_end_cb end) {
  return go(group, task, NULL, start, end, 0, "uvf_group_go_loop");
}

int(uvf_group_try_go)(uvf_group_t *group, uvf_task_t *task, uvf_task_fn fn, uvf_task_end_cb end) {
  return go(group, task, fn, NULL, end, 1, "uvf_group_try_go");
}

int(uvf_group_try_go_loop)(uvf_group_t *group, uvf_task_t *task, uvf_task_start_cb start, uvf_task_end_cb end) {
  return go(group, task, NULL, start, end, 1, "uvf_group_try_go_loop");
}

/* --- waits ------------------------------------------------------------------------------------ */

static int withdraw_wait(uvf_op_t *op) {
  uvf_wait_t *wait = uvf__wait_from(op);
  uvf_group_t *group = wait->uvf__object;
  uvf__queue_remove(&group->uvf__waits, &wait->uvf__waiter);
  return 1;
}

static const uvf__op_type_t wait_type = {.name = "group wait",
                                         .withdraw = withdraw_wait,
                                         .deliver = uvf__wait_deliver,
                                         .posted = uvf__wait_posted,
                                         .flags = 0};

int(uvf_group_wait)(uvf_ctx_t *ctx, uvf_wait_t *wait, uvf_group_t *group, uvf_wait_cb cb) {
  int rc;
  if (ctx == NULL || wait == NULL || group == NULL || cb == NULL) return UV_EINVAL;
  rc = enter(group, "uvf_group_wait");
  if (rc != 0) return rc;
  if (uvf__ctx_hub(ctx) != uvf__ctx_hub(group->ctx)) return UV_EINVAL;
  rc = uvf__wait_begin(ctx, wait, &wait_type, group, 0, cb, "uvf_group_wait");
  if (rc <= 0) return rc;
  if (!is_idle(group)) {
    uvf__queue_push(&group->uvf__waits, &wait->uvf__waiter);
    return 0;
  }
  uvf__wait_now(uvf__wait_op(wait), group->err);
  cancel_after_wait(group);
  return 0;
}

/* --- the group -------------------------------------------------------------------------------- */

int uvf_group_init(uvf_group_t *group, uvf_ctx_t *parent, unsigned int flags) {
  uvf_ctx_t *ctx;
  int err;
  if (group == NULL || parent == NULL || (flags & ~(unsigned int)UVF_GROUP_KEEP_GOING) != 0) return UV_EINVAL;
  err = uvf_ctx_with_cancel(parent, &ctx);
  if (err != 0) return err;
  group->ctx = ctx;
  group->err = 0;
  group->first = NULL;
  group->active = 0;
  group->waiting = 0;
  group->uvf__flags = flags;
  group->uvf__limit = UVF_GROUP_NO_LIMIT;
  group->uvf__turns.first = NULL;
  group->uvf__waits.first = NULL;
  group->uvf__errors = NULL;
  group->uvf__errors_max = 0;
  group->uvf__nerrors = 0;
  group->uvf__gone = NULL;
  return 0;
}

int uvf_group_close(uvf_group_t *group) {
  uvf_ctx_t *ctx;
  int busy;
  int err;
  if (group == NULL) return UV_EINVAL;
  /* Also when its root is closed, and with that its loop's thread forgotten. */
  err = group->ctx != NULL && uvf__ctx_err(group->ctx) != 0 ? 0 : enter(group, "uvf_group_close");
  if (err != 0) return err;
  busy = !is_idle(group) || group->uvf__waits.first != NULL;
  UVF__RULE(!busy, "uvf_group_close", "tasks are active or waiting, or somebody waits for the group");
  if (busy) return UV_EBUSY;
  ctx = group->ctx;
  group->ctx = NULL;
  if (group->uvf__gone != NULL) *group->uvf__gone = 1;
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  return 0;
}

int uvf_group_set_limit(uvf_group_t *group, size_t n) {
  int err;
  if (group == NULL) return UV_EINVAL;
  err = enter(group, "uvf_group_set_limit");
  if (err != 0) return err;
  if (!is_idle(group)) return UV_EBUSY;
  group->uvf__limit = n;
  return 0;
}

int uvf_group_keep_errors(uvf_group_t *group, int *errors, size_t max) {
  int err;
  if (group == NULL || (errors == NULL && max > 0)) return UV_EINVAL;
  err = enter(group, "uvf_group_keep_errors");
  if (err != 0) return err;
  if (!is_idle(group)) return UV_EBUSY;
  group->uvf__errors = errors;
  group->uvf__errors_max = max;
  return 0;
}

size_t uvf_group_errors(const uvf_group_t *group) { return group != NULL ? group->uvf__nerrors : 0; }
