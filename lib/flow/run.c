/* SPDX-License-Identifier: MIT
 *
 * A run of a pipeline: its life on the loop.
 *
 * Parties: runners (jobs on the pool, runner.c: each picks chunks and makes their calls, as long as there are any); the
 * loop (makes the calls of LOOP and ASYNC stages, starts runners, watches, ends); functions of ASYNC, which end when
 * they like, on the loop.
 *
 * Invariants
 * 1. The run is one operation under its own context: delivered whenever there may be something for the loop, and over
 *    when the run is. PENDING between deliveries: a runner that has something for the loop claims and posts it; the end
 *    of the context claims it. Once the context is over, or all stages are finished, it is not armed any more: whoever
 *    is the last thing under way (a runner that comes back, a call's uvf_flow_done, a wait for a token) finishes the
 *    run; all on the loop.
 * 2. jobs counts runners that were started, calls what the loop has begun and not ended (ASYNC, waits for tokens). The
 *    run is over when both are 0, no chunk is out, and either all stages are finished or it was stopped.
 * 3. Runners are started by the loop alone. One that finds nothing to do looks on for a moment and then goes: so
 *    whoever makes work on the loop looks whether a runner should be started, and so does the loop when one is back.
 * 4. A call that lasts holds up nobody: the watch, which is on while runners are, sees to it that what its row has
 *    emitted goes on, that what is not begun of the row is stolen (`rescue`), and that another runner is started where
 *    nothing has moved for a tick although something could.
 * 5. User functions run with in_service set, if from here: whatever they bring about, the run is not over inside.
 */
#include "flow/flow.h"
#include "kernel/context.h"
#include "work/runner.h"

#define WATCH_NS 2000000
#define WATCH_MAX_NS 32000000
#define TURN_NS 1000000

static void wake(uvf_pipeline_t *p);

/* --- runners -------------------------------------------------------------------------------------- */

static void on_runner_back(uvf_work_t *job, int status) {
  uvf__runner_t *r = UVF__CONTAINER(job, uvf__runner_t, job);
  (void)status;
  r->on = 0;
  r->pipeline->jobs--;
  wake(r->pipeline);
}

static void on_watch(uvf__timeout_t *timeout);

/* Runs while runners do: it finds calls that last. */
static void watch_in(uvf_pipeline_t *p, uint64_t ns) {
  uvf__hub_t *hub = uvf__ctx_hub(p->ctx);
  uvf__timeout_stop(hub, &p->watch);
  p->watch_ns = ns;
  uvf__timeout_start(hub, &p->watch, uvf__clock_ns() + ns, on_watch);
}

/* It is counted among the waiting already. */
static void start_runner(uvf_pipeline_t *p) {
  if (p->watch_ns == 0) watch_in(p, WATCH_NS);
  for (unsigned int i = 0; i < p->nrunners; i++) {
    uvf__runner_t *r = &p->runners[i];
    if (r->on) continue;
    if (uvf__work_start_again(p->ctx, &r->job, uvf__flow_runner, on_runner_back) != 0) break;
    r->on = 1;
    p->jobs++;
    return;
  }
  uvf__lock_many(&p->lock); /* the watch tries again */
  p->waiting--;
  uvf__unlock(&p->lock);
}

/* As many as would help. */
static void top_up(uvf_pipeline_t *p) {
  unsigned int n;
  uvf__lock_many(&p->lock);
  n = p->wanted > 0 ? p->wanted : uvf__flow_wants_runners(p, uv_hrtime());
  p->wanted = 0;
  if (n > p->nrunners - p->jobs) n = p->nrunners - p->jobs;
  p->waiting += n;
  uvf__unlock(&p->lock);
  while (n-- > 0) start_runner(p);
}

/* --- tokens --------------------------------------------------------------------------------------- */

static void on_token(uvf_limiter_wait_t *wait, int status) {
  uvf_stage_t *s = UVF__CONTAINER(wait, uvf_stage_t, limit_wait);
  uvf_pipeline_t *p = s->pipeline;
  p->calls--;
  s->limit_waits = 0;
  if (status == 0) {
    uvf__lock_many(&p->lock);
    s->tokens++;
    s->limited = 0;
    if (s->finished) uvf__flow_return_tokens(s);
    uvf__u32_store(&p->hint, p->hint + 1);
    uvf__unlock(&p->lock);
  }
  wake(p);
}

static void wait_for_tokens(uvf_pipeline_t *p) {
  uvf__lock_many(&p->lock);
  p->to_wait = 0;
  uvf__unlock(&p->lock);
  for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) {
    int want;
    int rc;
    if (s->o.limiter == NULL) continue;
    uvf__lock_many(&p->lock);
    want = s->limited && s->tokens == 0 && !s->closed && !p->stop;
    uvf__unlock(&p->lock);
    if (s->limit_waits && !want) uvf_op_cancel((uvf_op_t *)(void *)&s->limit_wait); /* it takes no more */
    if (s->limit_waits || !want) continue;
    rc = (uvf_limiter_wait)(p->ctx, &s->limit_wait, s->o.limiter, 1, on_token);
    if (rc == 0) {
      s->limit_waits = 1;
      p->calls++;
      continue;
    }
    uvf__lock_many(&p->lock); /* it can never be called: its limiter's burst is less than one */
    uvf__flow_stop(p, rc);
    uvf__flow_settle(p);
    uvf__unlock(&p->lock);
  }
}

/* --- calls ---------------------------------------------------------------------------------------- */

static void over(uvf__chunk_t *c) {
  uvf_pipeline_t *p = c->stage->pipeline;
  uvf__lock_many(&p->lock);
  uvf__flow_finish(c);
  uvf__unlock(&p->lock);
  uvf__flow_drop_all(p);
}

/* Calls of LOOP and ASYNC stages, as long as the run has a share in this turn of the loop; 1 if there are more. It may
 * be delivered many times in a turn. */
static int loop_calls(uvf_pipeline_t *p) {
  uvf__hub_t *hub = uvf__ctx_hub(p->ctx);
  uint64_t now_ns = uv_hrtime();
  if (p->turn != hub->turn) {
    p->turn = hub->turn;
    p->turn_ends_ns = now_ns + TURN_NS;
  }
  for (;;) {
    uvf__chunk_t *c = NULL;
    int more;
    uvf__lock_many(&p->lock);
    if (now_ns < p->turn_ends_ns) c = uvf__flow_pick(p, UVF__ON_LOOP);
    more = c == NULL && uvf__flow_has_work(p, UVF__ON_LOOP);
    uvf__unlock(&p->lock);
    if (c == NULL) return more;
    c->now_ns = now_ns;
    if (c->stage->o.kind == UVF_STAGE_ASYNC && !c->flushing) p->calls++;
    if (uvf__flow_call(c)) {
      int counted = c->stage->o.kind == UVF_STAGE_ASYNC && !c->flushing;
      over(c);
      if (counted) p->calls--;
    }
    now_ns = uv_hrtime();
    if (uvf__ctx_err(p->ctx) != 0) return 0; /* by one of them; what waits is to be dropped */
  }
}

int uvf_flow_done(uvf_flow_t *flow, int status) {
  uvf__chunk_t *c;
  uvf_pipeline_t *p;
  int pending;
  if (flow == NULL) return UV_EINVAL;
  c = (uvf__chunk_t *)(void *)flow;
  p = c->stage->pipeline;
  if (uvf__hub_enter(uvf__ctx_hub(p->ctx), "uvf_flow_done") != 0) return UV_EINVAL;
  pending = c->pending;
  UVF__RULE(pending, "uvf_flow_done", "the call is over already, or is not one of an ASYNC stage");
  if (!pending) return UV_EINVAL;
  c->pending = 0;
  if (flow->ctx != c->stage->ctx) uvf_ctx_release(flow->ctx);
  flow->ctx = c->stage->ctx;
  c->each_ns = uv_hrtime() - c->now_ns + 1;
  uvf__flow_settle_async(c, status);
  over(c); /* a drop function may run the loop: the run must not be over in there */
  p->calls--;
  wake(p);
  return 0;
}

/* --- the watch ------------------------------------------------------------------------------------ */

/* What a call that lasts holds up goes on without it: what its row has emitted, what is not begun of it, and what
 * another runner could do. */
static void on_watch(uvf__timeout_t *timeout) {
  uvf_pipeline_t *p = UVF__CONTAINER(timeout, uvf_pipeline_t, watch);
  int still;
  int stuck;
  int for_loop;
  uvf__lock_many(&p->lock);
  still = p->finished_chunks == p->seen;
  p->watch_ns = !still ? WATCH_NS : p->watch_ns * 2 < WATCH_MAX_NS ? p->watch_ns * 2 : WATCH_MAX_NS;
  uvf__flow_send_on(p);
  p->rescue = uvf__flow_may_steal(p, p->seen_turns);
  stuck = p->waiting == 0 && p->jobs < p->nrunners && (p->rescue || (still && uvf__flow_has_work(p, UVF__ON_POOL)));
  if (stuck) p->waiting++;
  for_loop = uvf__flow_has_work(p, UVF__ON_LOOP);
  p->seen = p->finished_chunks;
  p->seen_turns = p->turns;
  uvf__unlock(&p->lock);
  if (stuck) start_runner(p);
  if (p->jobs > 0 || stuck) {
    watch_in(p, p->watch_ns);
  } else {
    p->watch_ns = 0;
  }
  if (for_loop) wake(p);
}

/* --- its operation -------------------------------------------------------------------------------- */

static uvf_pipeline_t *of(uvf_op_t *op) { return UVF__CONTAINER(op, uvf_pipeline_t, op); }

static int withdraw(uvf_op_t *op) {
  uvf__queue_remove(&uvf__ctx_hub(op->ctx)->later, &of(op)->later);
  return 1;
}

static int is_over(uvf_pipeline_t *p) {
  int over;
  uvf__lock_many(&p->lock);
  over = (p->stop || p->open == 0) && p->running_chunks == 0;
  for (size_t i = 0; i < p->nstages && over; i++) over = p->order[i]->active == 0;
  uvf__unlock(&p->lock);
  return over && p->jobs == 0 && p->calls == 0;
}

/* Something has happened on the loop, outside of the operation's own delivery. */
static void wake(uvf_pipeline_t *p) {
  if (p->in_service) return;
  if (p->armed) {
    uvf__flow_call_loop(p);
  } else if (!p->readied) {
    p->readied = 1;
    uvf__op_ready(&p->op);
  }
}

/* Calls that go on and whose output nobody takes. Their ends may come at once, but not inside. */
static void end_unwanted(uvf_pipeline_t *p) {
  int any;
  uvf__lock_many(&p->lock);
  any = p->to_end;
  p->to_end = 0;
  uvf__unlock(&p->lock);
  for (uvf_stage_t *s = p->stages; any && s != NULL; s = s->next) {
    if (s->o.kind == UVF_STAGE_ASYNC && uvf__u32_load(&s->unwanted) != 0) uvf_ctx_cancel(s->ctx);
  }
}

static void serve(uvf_pipeline_t *p) {
  int err = uvf__ctx_err(p->ctx);
  int status;
  p->more = 0;
  uvf__lock_many(&p->lock);
  if (err != 0 && !p->stop) {
    uvf__flow_stop(p, err);
    uvf__flow_settle(p);
  }
  status = p->stop ? p->status : 0;
  uvf__unlock(&p->lock);
  uvf__flow_drop_all(p);
  if (status != 0) {
    if (err == 0) uvf_ctx_cancel_cause(p->ctx, status, NULL);
    return;
  }
  p->more = loop_calls(p);
  end_unwanted(p);
  wait_for_tokens(p);
  top_up(p);
}

/* For stats, which any thread may ask for. */
static void mark_running(uvf_pipeline_t *p, int running) {
  uint64_t now_ns = uv_hrtime();
  uvf__lock_many(&p->lock);
  p->running = running;
  if (running) {
    p->start_ns = now_ns;
  } else {
    p->end_ns = now_ns;
  }
  uvf__unlock(&p->lock);
}

static int finish(uvf_pipeline_t *p) {
  uvf_ctx_t *ctx = p->ctx;
  uvf__hub_t *hub = uvf__ctx_hub(ctx);
  uvf_pipeline_cb cb = p->cb;
  int status = p->status;
  uvf__flow_drop_all(p);
  uvf__timeout_stop(hub, &p->watch);
  uvf__op_mark_dead(hub, &p->op);
  uvf__flow_free_run(p);
  uvf_ctx_cancel(ctx);
  mark_running(p, 0);
  cb(p, status, p->arg);
  uvf_ctx_release(ctx);
  return 1;
}

/* Nothing is begun any more: the loop has only to wait for who is under way. */
static int is_ending(uvf_pipeline_t *p) {
  int ending;
  uvf__lock_many(&p->lock);
  ending = p->stop || p->open == 0;
  uvf__unlock(&p->lock);
  return ending;
}

/* Those that still wait for a thread need not come; the others are about to go. */
static void withdraw_runners(uvf_pipeline_t *p) {
  for (unsigned int i = 0; i < p->nrunners; i++) {
    if (p->runners[i].on) uvf_work_cancel(&p->runners[i].job);
  }
}

static int deliver(uvf_op_t *op) {
  uvf_pipeline_t *p = of(op);
  int ending;
  uvf__queue_remove(&uvf__ctx_hub(op->ctx)->later, &p->later);
  p->armed = 0;
  p->readied = 0;
  p->in_service = 1;
  serve(p);
  if ((uvf__u32_load(&p->stop) != 0) != (uvf__ctx_err(p->ctx) != 0)) serve(p); /* a call of the loop has ended it */
  p->in_service = 0;
  if (is_over(p)) return finish(p);
  ending = is_ending(p);
  if (ending) withdraw_runners(p);
  if (ending || uvf__op_rearm(op) != 0) { /* not armed any more: whoever comes back wakes it */
    uvf__u32_store(&op->uvf__state, UVF__OP_CLAIMED);
    uvf__op_relink(op);
    if (!ending) wake(p);
    return 0;
  }
  p->armed = 1;
  if (p->more) {
    uvf__wait_later(uvf__ctx_hub(p->ctx), &p->later);
  } else {
    int again;
    uvf__lock_many(&p->lock); /* what came while it was not armed */
    again = uvf__flow_has_work(p, UVF__ON_LOOP) || p->open == 0 || p->to_end || p->to_wait || p->stop || p->wanted > 0;
    uvf__unlock(&p->lock);
    if (again) uvf__flow_call_loop(p);
  }
  return 0;
}

static const uvf__op_type_t run_type = {"pipeline", withdraw, deliver, uvf__wait_posted, 0, NULL};

/* --- starting ------------------------------------------------------------------------------------- */

int uvf_pipeline_run(uvf_ctx_t *ctx, uvf_pipeline_t *p, uvf_pipeline_cb cb, void *arg) {
  int err;
  if (ctx == NULL || p == NULL || cb == NULL) return UV_EINVAL;
  if (p->running) return UV_EBUSY;
  err = uvf_pipeline_validate(p, NULL, 0);
  if (err != 0) return err;
  err = uvf_ctx_with_cancel(ctx, &p->ctx);
  if (err != 0) return err;
  err = uvf__flow_begin(p);
  if (err == 0) err = uvf__op_begin(p->ctx, &p->op, &run_type, "uvf_pipeline_run");
  if (err < 0) {
    uvf__flow_free_run(p);
    uvf_ctx_release(p->ctx);
    return err;
  }
  p->cb = cb;
  p->arg = arg;
  mark_running(p, 1);
  uvf__waiter_init(&p->later, &p->op);
  p->watch.deadline.link.prev = NULL;
  if (err > 0) {
    p->armed = 1;
    uvf__wait_now(&p->op, 0);
  }
  return 0;
}

uvf_stage_t *uvf_pipeline_failed(const uvf_pipeline_t *p) { return p == NULL ? NULL : p->failed; }

void uvf_pipeline_cancel(uvf_pipeline_t *p) {
  if (p == NULL || !p->running || uvf__hub_enter(uvf__ctx_hub(p->ctx), "uvf_pipeline_cancel") != 0) return;
  uvf_ctx_cancel(p->ctx);
}
