/* SPDX-License-Identifier: MIT
 *
 * How a job ends: every row of the table in uvflow/work.h, crossed with every way to end it, with and without a release
 * callback; then the claims that race: commit, cancel, completion. The pool is saturated or the job parked, so that the
 * state it is caught in is known.
 */
#include "test_job.h"

typedef enum was_e { QUEUED, QUEUED_IN_POOL, RUNNING, COMMITTED, RETURNED } was_t;
typedef enum way_e { BY_OP, BY_CTX, BY_DEADLINE, BY_PARENT, BY_PARENT_DEADLINE, BY_ROOT, BY_THREAD } way_t;

#define DEADLINE_MS 25

static int is_timed(way_t way) { return way == BY_DEADLINE || way == BY_PARENT_DEADLINE; }

typedef struct row_s {
  was_t was;
  way_t way;
  int release, value;
  uvf_ctx_t *root, *parent, *ctx;
  probe_t *p;
  int err; /* what the end gives */
  int rc;  /* what uvf_work_cancel answered */
} row_t;

static void row_contexts(row_t *r) {
  assert_int_equal(uvf_ctx_background(&kit.f->loop, &r->root), 0);
  if (r->way == BY_PARENT_DEADLINE) {
    assert_int_equal(uvf_ctx_with_timeout(r->root, DEADLINE_MS, &r->parent), 0);
  } else {
    assert_int_equal(uvf_ctx_with_cancel(r->root, &r->parent), 0);
  }
  if (r->way == BY_DEADLINE) {
    assert_int_equal(uvf_ctx_with_timeout(r->parent, DEADLINE_MS, &r->ctx), 0);
  } else {
    assert_int_equal(uvf_ctx_with_cancel(r->parent, &r->ctx), 0);
  }
}

/* Ends the job or its context. When this returns the context is over (but for BY_OP), and no callback has come. */
static void row_end(row_t *r) {
  switch (r->way) {
    case BY_OP: r->rc = probe_cancel(r->p); break;
    case BY_CTX: ctx_cancel(r->ctx); break;
    case BY_PARENT: ctx_cancel(r->parent); break;
    case BY_THREAD: ctx_cancel_elsewhere(r->ctx); break;
    case BY_ROOT: kit_close(r->root); break;
    case BY_DEADLINE:
    case BY_PARENT_DEADLINE:
      if (r->was == RETURNED) {
        /* Running the loop would deliver the result first. */
        while (uvf_ctx_remaining_ns(r->ctx) > 0) uv_sleep(1);
        return;
      }
      run_until_over(r->ctx);
      assert_true(uv_hrtime() >= uvf_ctx_deadline_ns(r->ctx));
      break;
  }
  if (r->way != BY_OP) assert_int_equal(uvf_ctx_err(r->ctx), r->err);
}

/* A cancel that comes too late says so and changes nothing, however late it is. */
static void row_late_cancel(row_t *r) {
  if (!r->p->keep) return;
  assert_int_equal(probe_cancel(r->p), UV_EBUSY);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)r->p->job), UV_EBUSY);
}

static void row_finish(row_t *r, int status) {
  probe_t *p = r->p;
  run_probe(p);
  run_ready(&kit.f->loop);
  row_late_cancel(r);
  run_ready(&kit.f->loop);
  assert_int_equal(p->done, 1);
  assert_int_equal(p->status, status);
  assert_int_equal(p->released, r->release);
  if (r->release) assert_true(p->released_at > p->done_at);
  if (is_timed(r->way) && status == UV_ETIMEDOUT) assert_true(p->done_ns >= uvf_ctx_deadline_ns(r->ctx));
  if (r->way == BY_OP) {
    assert_int_equal(uvf_ctx_err(r->ctx), 0); /* one operation ended, its context goes on */
  } else if (r->was != RETURNED) {
    assert_int_equal(p->err_in_done, r->err);
    assert_int_equal(p->cause_in_done, r->way == BY_ROOT ? UV_ESHUTDOWN : r->err);
  }
}

static void row_queued(row_t *r) {
  row_end(r);
  assert_int_equal(r->rc, 0);
  if (r->way != BY_THREAD) row_late_cancel(r); /* from another thread: claimed only when the loop runs */
  row_finish(r, r->err);
  /* The blockers are still parked: nothing waited for the pool. */
  assert_int_equal(atomic_load(&r->p->ran), 0);
  if (r->way == BY_ROOT) run_until(&kit.f->loop, &kit.closed, 1);
}

static void row_running(row_t *r) {
  int closed = kit.closed;
  row_end(r);
  assert_int_equal(r->rc, 0);
  if (r->release) {
    run_until(&kit.f->loop, &r->p->done, 1); /* at once, while fn is parked */
    assert_int_equal(r->p->status, r->err);
  }
  run_ready(&kit.f->loop);
  assert_int_equal(r->p->done, r->release);
  assert_int_equal(r->p->released, 0);
  assert_int_equal(atomic_load(&r->p->returned), 0);
  assert_int_equal(kit.closed, closed); /* a closing root waits for its job */
  row_late_cancel(r);
  gate_open(&r->p->go, 1);
  row_finish(r, r->err);
  assert_int_equal(atomic_load(&r->p->ran), 1);
}

static void row_committed(row_t *r) {
  int closed = kit.closed;
  row_end(r);
  if (r->way == BY_OP) assert_int_equal(r->rc, UV_EBUSY);
  run_ready(&kit.f->loop);
  assert_int_equal(r->p->done, 0);
  assert_int_equal(r->p->released, 0);
  assert_int_equal(kit.closed, closed);
  row_late_cancel(r);
  gate_open(&r->p->go, 1);
  row_finish(r, r->value);
  assert_int_equal(r->p->commit_answer, 0);
  assert_int_equal(r->p->commit_again, 0);
}

static void row_returned(row_t *r) {
  probe_t *after = probe_new();
  /* One thread is ours: when the next job runs, this one's fn has returned. The loop has not run: nothing came. */
  after->gated = 1;
  probe_start(kit.blocker_root, after, 0);
  assert_true(gate_passed(&after->started));
  assert_int_equal(atomic_load(&r->p->returned), 1);
  row_end(r);
  assert_int_equal(r->p->done, 0);
  if (r->way == BY_OP) {
    assert_true(r->rc == 0 || r->rc == UV_EBUSY);
    row_finish(r, r->rc == 0 ? UV_ECANCELED : r->value);
  } else {
    run_probe(r->p);
    assert_true(r->p->status == r->err || r->p->status == r->value); /* whichever claimed first */
    row_finish(r, r->p->status);
  }
  gate_open(&after->go, 1);
  run_probe(after);
}

static void row_once(was_t was, way_t way, int release, int value) {
  row_t r = {.was = was, .way = way, .release = release, .value = value};
  r.err = is_timed(way) ? UV_ETIMEDOUT : UV_ECANCELED;
  kit.closed = 0;
  if (was == QUEUED) kit_block_share(2);
  if (was == QUEUED_IN_POOL) kit_block_pool();
  if (was > QUEUED_IN_POOL) assert_int_equal(uvf_work_set_limit(1), 0);
  row_contexts(&r);
  r.p = probe_new();
  r.p->value = value;
  r.p->keep = value != 0;
  r.p->gated = was == RUNNING || was == COMMITTED;
  r.p->commits = was == COMMITTED;
  probe_start(r.ctx, r.p, release);
  if (r.p->gated) assert_true(gate_passed(&r.p->started));
  switch (was) {
    case QUEUED:
    case QUEUED_IN_POOL: row_queued(&r); break;
    case RUNNING: row_running(&r); break;
    case COMMITTED: row_committed(&r); break;
    case RETURNED: row_returned(&r); break;
  }
  if (way != BY_ROOT) kit_close(r.root);
  uvf_ctx_release(r.ctx);
  uvf_ctx_release(r.parent);
  run_until(&kit.f->loop, &kit.closed, 1);
  kit_unblock();
  run_ready(&kit.f->loop);
  assert_int_equal(r.p->done, 1);
  assert_int_equal(r.p->released, release);
}

static void check_row(was_t was, way_t way) {
  static const int values[] = {0, UV_EIO, 7};
  for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
    row_once(was, way, 0, values[i]);
    row_once(was, way, 1, values[i]);
  }
}

#define ROW(name, was, way)                                                                                            \
  static void name(void **state) {                                                                                     \
    (void)state;                                                                                                       \
    check_row(was, way);                                                                                               \
  }

ROW(a_queued_job_is_withdrawn_unrun_when_it_is_cancelled, QUEUED, BY_OP)
ROW(a_queued_job_is_withdrawn_unrun_when_its_context_is_cancelled, QUEUED, BY_CTX)
ROW(a_queued_job_is_withdrawn_unrun_when_its_deadline_comes, QUEUED, BY_DEADLINE)
ROW(a_queued_job_is_withdrawn_unrun_when_its_parent_is_cancelled, QUEUED, BY_PARENT)
ROW(a_queued_job_is_withdrawn_unrun_when_its_parents_deadline_comes, QUEUED, BY_PARENT_DEADLINE)
ROW(a_queued_job_is_withdrawn_unrun_when_its_root_is_closed, QUEUED, BY_ROOT)
ROW(a_queued_job_is_withdrawn_unrun_when_another_thread_cancels_its_context, QUEUED, BY_THREAD)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_it_is_cancelled, QUEUED_IN_POOL, BY_OP)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_context_is_cancelled, QUEUED_IN_POOL, BY_CTX)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_deadline_comes, QUEUED_IN_POOL, BY_DEADLINE)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_parent_is_cancelled, QUEUED_IN_POOL, BY_PARENT)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_parents_deadline_comes, QUEUED_IN_POOL, BY_PARENT_DEADLINE)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_root_is_closed, QUEUED_IN_POOL, BY_ROOT)
ROW(a_job_behind_a_full_pool_is_withdrawn_unrun_when_another_thread_cancels_its_context, QUEUED_IN_POOL, BY_THREAD)
ROW(a_running_job_goes_on_when_it_is_cancelled, RUNNING, BY_OP)
ROW(a_running_job_goes_on_when_its_context_is_cancelled, RUNNING, BY_CTX)
ROW(a_running_job_goes_on_when_its_deadline_comes, RUNNING, BY_DEADLINE)
ROW(a_running_job_goes_on_when_its_parent_is_cancelled, RUNNING, BY_PARENT)
ROW(a_running_job_goes_on_when_its_parents_deadline_comes, RUNNING, BY_PARENT_DEADLINE)
ROW(a_running_job_goes_on_when_its_root_is_closed, RUNNING, BY_ROOT)
ROW(a_running_job_goes_on_when_another_thread_cancels_its_context, RUNNING, BY_THREAD)
ROW(a_committed_job_keeps_its_value_when_it_is_cancelled, COMMITTED, BY_OP)
ROW(a_committed_job_keeps_its_value_when_its_context_is_cancelled, COMMITTED, BY_CTX)
ROW(a_committed_job_keeps_its_value_when_its_deadline_comes, COMMITTED, BY_DEADLINE)
ROW(a_committed_job_keeps_its_value_when_its_parent_is_cancelled, COMMITTED, BY_PARENT)
ROW(a_committed_job_keeps_its_value_when_its_parents_deadline_comes, COMMITTED, BY_PARENT_DEADLINE)
ROW(a_committed_job_keeps_its_value_when_its_root_is_closed, COMMITTED, BY_ROOT)
ROW(a_committed_job_keeps_its_value_when_another_thread_cancels_its_context, COMMITTED, BY_THREAD)
ROW(a_returned_job_is_answered_by_its_first_claim_when_it_is_cancelled, RETURNED, BY_OP)
ROW(a_returned_job_is_answered_by_its_first_claim_when_its_context_is_cancelled, RETURNED, BY_CTX)
ROW(a_returned_job_is_answered_by_its_first_claim_when_its_deadline_comes, RETURNED, BY_DEADLINE)
ROW(a_returned_job_is_answered_by_its_first_claim_when_its_parent_is_cancelled, RETURNED, BY_PARENT)
ROW(a_returned_job_is_answered_by_its_first_claim_when_its_parents_deadline_comes, RETURNED, BY_PARENT_DEADLINE)
ROW(a_returned_job_is_answered_by_its_first_claim_when_its_root_is_closed, RETURNED, BY_ROOT)
ROW(a_returned_job_is_answered_by_its_first_claim_when_another_thread_cancels_its_context, RETURNED, BY_THREAD)

int main(void) {
  const struct CMUnitTest tests[] = {
      job_test(a_queued_job_is_withdrawn_unrun_when_it_is_cancelled),
      job_test(a_queued_job_is_withdrawn_unrun_when_its_context_is_cancelled),
      job_test(a_queued_job_is_withdrawn_unrun_when_its_deadline_comes),
      job_test(a_queued_job_is_withdrawn_unrun_when_its_parent_is_cancelled),
      job_test(a_queued_job_is_withdrawn_unrun_when_its_parents_deadline_comes),
      job_test(a_queued_job_is_withdrawn_unrun_when_its_root_is_closed),
      job_test(a_queued_job_is_withdrawn_unrun_when_another_thread_cancels_its_context),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_it_is_cancelled),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_context_is_cancelled),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_deadline_comes),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_parent_is_cancelled),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_parents_deadline_comes),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_its_root_is_closed),
      job_test(a_job_behind_a_full_pool_is_withdrawn_unrun_when_another_thread_cancels_its_context),
      job_test(a_running_job_goes_on_when_it_is_cancelled),
      job_test(a_running_job_goes_on_when_its_context_is_cancelled),
      job_test(a_running_job_goes_on_when_its_deadline_comes),
      job_test(a_running_job_goes_on_when_its_parent_is_cancelled),
      job_test(a_running_job_goes_on_when_its_parents_deadline_comes),
      job_test(a_running_job_goes_on_when_its_root_is_closed),
      job_test(a_running_job_goes_on_when_another_thread_cancels_its_context),
      job_test(a_committed_job_keeps_its_value_when_it_is_cancelled),
      job_test(a_committed_job_keeps_its_value_when_its_context_is_cancelled),
      job_test(a_committed_job_keeps_its_value_when_its_deadline_comes),
      job_test(a_committed_job_keeps_its_value_when_its_parent_is_cancelled),
      job_test(a_committed_job_keeps_its_value_when_its_parents_deadline_comes),
      job_test(a_committed_job_keeps_its_value_when_its_root_is_closed),
      job_test(a_committed_job_keeps_its_value_when_another_thread_cancels_its_context),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_it_is_cancelled),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_its_context_is_cancelled),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_its_deadline_comes),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_its_parent_is_cancelled),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_its_parents_deadline_comes),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_its_root_is_closed),
      job_test(a_returned_job_is_answered_by_its_first_claim_when_another_thread_cancels_its_context),
  };
  uv_os_setenv("UV_THREADPOOL_SIZE", "4");
  return test_run(tests);
}
