/* SPDX-License-Identifier: MIT
 *
 * Random jobs on several loops: every way to start, commit, cancel and close, with other threads cancelling contexts at
 * random. Each job keeps a record of its own that outlives it, and the jobs themselves are freed in their last
 * callback. What must hold, whatever happened: done once, release once and after done, fn at most once, answers that
 * agree with each other, nothing alive at the end.
 */
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

enum { LOOPS = 3, CANCELLERS = 2, CTXS = 24, JOBS_AT_ONCE = 400, MAILBOX = 16 };

/* --- what went wrong, from any thread --- */

static atomic_int faults;
static _Atomic(const char *) first_fault;

static void check(int cond, const char *rule) {
  const char *none = NULL;
  if (cond) return;
  if (atomic_fetch_add(&faults, 1) < 5) fprintf(stderr, "broken: %s\n", rule);
  atomic_compare_exchange_strong(&first_fault, &none, rule);
}

/* --- contexts handed to the cancelling threads: each slot owns one reference --- */

static _Atomic(uvf_ctx_t *) mailbox[MAILBOX];
static atomic_int cancellers_stop;

typedef struct canceller_s {
  uv_thread_t thread;
  uint64_t seed;
} canceller_t;

static void canceller_run(void *arg) {
  canceller_t *c = arg;
  while (!atomic_load(&cancellers_stop)) {
    uint64_t r = test_rand(&c->seed);
    uvf_ctx_t *ctx = atomic_exchange(&mailbox[r % MAILBOX], NULL);
    if (ctx != NULL) {
      int err;
      if (r >> 8 & 1) {
        uvf_ctx_cancel(ctx);
      } else {
        uvf_ctx_cancel_cause(ctx, UV_EPROTO, c);
      }
      err = uvf_ctx_err(ctx);
      check(err == UV_ECANCELED || err == UV_ETIMEDOUT, "a context is over when its cancel returned");
      check(uvf_ctx_cause(ctx, NULL) != 0, "who sees err sees the cause");
      uvf_ctx_release(ctx);
    } else if ((r & 0xf00) == 0) {
      uv_sleep(1);
    }
  }
}

/* --- a loop and its jobs --- */

typedef struct side_s side_t;

typedef struct record_s {
  uvf_work_t *job;
  side_t *side;
  size_t place;      /* in side->live */
  uint64_t deadline; /* of its context */
  uint64_t spin_ns;
  int value, commits, commits_twice, obeys, cancels_own, has_release;
  atomic_int ran, returned;
  int commit_answer;
  int done, released, status;
  int cancels, cancelled; /* uvf_work_cancel calls, and how many answered 0 */
} record_t;

struct side_s {
  uv_thread_t thread, self;
  uint64_t seed;
  size_t todo; /* jobs still to start */
  int result;
  uv_loop_t loop;
  uvf_ctx_t *root;
  int roots_open;
  uvf_ctx_t *ctx[CTXS]; /* references held, NULL where none */
  record_t *live[JOBS_AT_ONCE];
  size_t n_live, started, over;
  int inside; /* the side stands in a start or a cancel */
  int in_callback;
  size_t withdrawn, committed, timed_out, early; /* how often it was what: printed, so that a one-sided soak shows */
};

static void record_over(record_t *r) {
  side_t *side = r->side;
  int ran = atomic_load(&r->ran);
  check(r->done == 1, "done comes exactly once");
  check(r->released == r->has_release, "release comes exactly once");
  check(ran <= 1, "fn runs at most once");
  check(r->cancelled <= 1, "one cancel wins at most");
  if (r->cancelled) check(r->status == UV_ECANCELED, "a cancel that answered 0 gives UV_ECANCELED");
  if (ran && r->commits && r->commit_answer == 0) check(r->status == r->value, "a committed value is the status");
  if (ran && r->commits && r->commit_answer != 0) {
    check(r->commit_answer == UV_ECANCELED, "a commit answers 0 or UV_ECANCELED");
    check(r->status == UV_ECANCELED || r->status == UV_ETIMEDOUT, "a refused commit means a failure status");
  }
  if (!ran) check(r->status == UV_ECANCELED || r->status == UV_ETIMEDOUT, "a withdrawn job gets the err");
  check(r->status == r->value || r->status == UV_ECANCELED || r->status == UV_ETIMEDOUT, "a status is fn's or an err");
  if (r->cancels_own && ran && !(r->commits && r->commit_answer == 0)) {
    check(r->status != r->value, "a job that ended its own context is told so");
  }
  side->withdrawn += !ran;
  side->committed += ran && r->commits && r->commit_answer == 0;
  side->timed_out += r->status == UV_ETIMEDOUT;
  side->live[r->place] = side->live[--side->n_live];
  side->live[r->place]->place = r->place;
  side->over++;
  free(r);
}

static void enter(side_t *side) {
  uv_thread_t self = uv_thread_self();
  check(uv_thread_equal(&self, &side->self), "callbacks come on the loop's thread");
  check(!side->inside, "no callback inside a start or a cancel");
  check(!side->in_callback, "no callback inside a callback");
  side->in_callback = 1;
}

static int job_fn(uvf_work_t *job) {
  record_t *r = job->data;
  uint64_t until = uv_hrtime() + r->spin_ns;
  atomic_fetch_add(&r->ran, 1);
  while (uv_hrtime() < until) {
    if (r->obeys && uvf_ctx_err(job->ctx) != 0) break;
  }
  if (r->cancels_own) uvf_ctx_cancel(job->ctx);
  if (r->commits) {
    r->commit_answer = uvf_work_commit(job);
    if (r->commits_twice) check(uvf_work_commit(job) == r->commit_answer, "a second commit answers as the first");
  }
  atomic_fetch_add(&r->returned, 1);
  return r->value;
}

static void job_drop(record_t *r) {
  memset(r->job, 0xdb, sizeof *r->job);
  free(r->job);
  r->job = NULL;
}

static void random_step(side_t *side);

static void job_done(uvf_work_t *job, int status) {
  record_t *r = job->data;
  side_t *side = r->side;
  enter(side);
  r->done++;
  r->status = status;
  check(job == r->job && job->status == status, "the job carries the status");
  if (status == UV_ETIMEDOUT) check(uv_hrtime() >= r->deadline, "a deadline is never early");
  if (status == UV_ETIMEDOUT) check(uvf_ctx_err(job->ctx) == UV_ETIMEDOUT, "the context timed out");
  if (r->has_release) {
    side->early += atomic_load(&r->ran) != atomic_load(&r->returned);
  } else {
    check(atomic_load(&r->ran) == atomic_load(&r->returned), "without a release done waits for fn");
  }
  if (test_rand(&side->seed) % 8 == 0) random_step(side); /* callbacks may do anything */
  if (!r->has_release) {
    job_drop(r);
    record_over(r);
  }
  side->in_callback = 0;
}

static void job_release(uvf_work_t *job) {
  record_t *r = job->data;
  side_t *side = r->side;
  enter(side);
  r->released++;
  check(r->done == 1, "release comes after done");
  check(atomic_load(&r->ran) == atomic_load(&r->returned), "release waits for fn");
  check(uvf_ctx_loop(job->ctx) == &side->loop, "the context is usable in release");
  if (test_rand(&side->seed) % 8 == 0) random_step(side);
  job_drop(r);
  record_over(r);
  side->in_callback = 0;
}

/* --- random steps; each may also be taken inside a callback --- */

static void start_job(side_t *side) {
  record_t *r;
  uvf_ctx_t *ctx = side->ctx[test_rand(&side->seed) % CTXS];
  uint64_t x = test_rand(&side->seed);
  /* Under one that is over now and then; most jobs shall get as far as the queue. */
  if (ctx == NULL || (uvf_ctx_err(ctx) != 0 && x >> 60 != 0)) ctx = side->root;
  if (ctx == NULL || side->todo == 0 || side->n_live == JOBS_AT_ONCE) return;
  r = calloc(1, sizeof *r);
  if (r == NULL) abort();
  r->job = malloc(sizeof *r->job);
  if (r->job == NULL) abort();
  memset(r->job, 0xff, sizeof *r->job);
  r->job->data = r;
  r->side = side;
  r->value = x % 3 == 0 ? UV_EIO : (int)(x % 3) - 1;
  r->spin_ns = x >> 8 & 1 ? 0 : (x >> 10) % 60000;
  r->has_release = (int)(x >> 30 & 1);
  r->commits = (x >> 31 & 3) == 0;
  r->commits_twice = (int)(x >> 33 & 1);
  r->obeys = (int)(x >> 34 & 1);
  r->cancels_own = (x >> 35 & 31) == 0 && ctx != side->root;
  r->deadline = uvf_ctx_deadline_ns(ctx);
  r->place = side->n_live;
  side->live[side->n_live++] = r;
  side->todo--;
  side->started++;
  side->inside++;
  check(uvf_work_start(ctx, r->job, job_fn, job_done, r->has_release ? job_release : NULL) == 0, "a start succeeds");
  side->inside--;
}

static void derive(side_t *side) {
  uvf_ctx_t **slot = &side->ctx[test_rand(&side->seed) % CTXS];
  uvf_ctx_t *parent = side->ctx[test_rand(&side->seed) % CTXS], *ctx = NULL;
  uint64_t x = test_rand(&side->seed);
  int err;
  if (parent == NULL) parent = side->root;
  if (parent == NULL) return;
  if (x % 4 == 0) {
    err = uvf_ctx_with_timeout(parent, (x >> 8) % 4, &ctx);
  } else if (x % 4 == 1) {
    err = uvf_ctx_with_deadline(parent, uv_hrtime() + (x >> 8) % 5000000, &ctx);
  } else {
    err = uvf_ctx_with_cancel(parent, &ctx);
  }
  check(err == 0, "a derivation succeeds");
  if (*slot != NULL) uvf_ctx_release(*slot);
  *slot = ctx;
}

static void cancel_job(side_t *side) {
  record_t *r;
  int rc, over;
  if (side->n_live == 0) return;
  r = side->live[test_rand(&side->seed) % side->n_live];
  over = r->done > 0;
  side->inside++;
  rc = r->cancels++ % 2 ? uvf_op_cancel((uvf_op_t *)r->job) : uvf_work_cancel(r->job);
  side->inside--;
  check(rc == 0 || rc == UV_EBUSY, "a cancel answers 0 or UV_EBUSY");
  if (over) check(rc == UV_EBUSY, "after done a cancel is too late");
  r->cancelled += rc == 0;
}

static void cancel_ctx(side_t *side) {
  uvf_ctx_t *ctx = side->ctx[test_rand(&side->seed) % CTXS];
  if (ctx == NULL) return;
  side->inside++;
  uvf_ctx_cancel(ctx);
  side->inside--;
  check(uvf_ctx_err(ctx) != 0, "a context is over when its cancel returned");
}

static void post_ctx(side_t *side) {
  uint64_t x = test_rand(&side->seed);
  uvf_ctx_t *ctx = side->ctx[x % CTXS];
  if (ctx == NULL) return;
  uvf_ctx_release(atomic_exchange(&mailbox[(x >> 8) % MAILBOX], uvf_ctx_retain(ctx)));
}

static void release_ctx(side_t *side) {
  uvf_ctx_t **slot = &side->ctx[test_rand(&side->seed) % CTXS];
  uvf_ctx_release(*slot);
  *slot = NULL;
}

static void on_root_closed(uvf_ctx_t *root) {
  side_t *side = uvf_ctx_loop(root)->data;
  enter(side);
  side->roots_open--;
  side->in_callback = 0;
}

static void drop_references(side_t *side) {
  for (int i = 0; i < CTXS; i++) {
    uvf_ctx_release(side->ctx[i]);
    side->ctx[i] = NULL;
  }
}

static void close_root(side_t *side) {
  if (side->root == NULL) return;
  if (test_rand(&side->seed) % 2) drop_references(side); /* before the close, or after it */
  side->inside++;
  uvf_ctx_close(side->root, on_root_closed);
  side->inside--;
  side->root = NULL;
  drop_references(side);
}

static void open_root(side_t *side) {
  if (side->root != NULL || side->roots_open > 3) return;
  check(uvf_ctx_background(&side->loop, &side->root) == 0, "a root can be made while others close");
  side->roots_open++;
}

static void random_step(side_t *side) {
  switch (test_rand(&side->seed) % 32) {
    case 0:
      if (test_rand(&side->seed) % 40 == 0) close_root(side);
      break;
    case 1:
    case 2: release_ctx(side); break;
    case 3:
      if (test_rand(&side->seed) % 4 == 0) cancel_ctx(side);
      break;
    case 4:
      if (test_rand(&side->seed) % 4 == 0) post_ctx(side);
      break;
    case 5: cancel_job(side); break;
    case 6:
    case 7:
    case 8:
    case 9:
    case 10: derive(side); break;
    default: start_job(side); break;
  }
}

static void side_run(void *arg) {
  side_t *side = arg;
  side->self = uv_thread_self();
  if ((side->result = uv_loop_init(&side->loop)) != 0) return;
  side->loop.data = side;
  while (side->todo > 0) {
    uint64_t x = test_rand(&side->seed);
    open_root(side);
    for (uint64_t n = x % 40; n > 0; n--) random_step(side);
    if (side->n_live < JOBS_AT_ONCE && x >> 8 & 3) {
      uv_run(&side->loop, UV_RUN_NOWAIT);
    } else {
      uv_run(&side->loop, UV_RUN_ONCE);
    }
  }
  if (test_rand(&side->seed) % 2) uv_run(&side->loop, UV_RUN_DEFAULT); /* let all end, or close them as they are */
  close_root(side);
  uv_run(&side->loop, UV_RUN_DEFAULT);
  check(side->roots_open == 0, "every close callback comes");
  check(side->n_live == 0, "no job is left");
  check(side->over == side->started, "every job is over");
  side->result = uv_loop_close(&side->loop);
}

static void random_jobs_on_several_loops_all_end_exactly_once(void **state) {
  static side_t sides[LOOPS];
  canceller_t cancellers[CANCELLERS];
  uint64_t seed = test_seed();
  size_t rounds = test_scaled(4, 2), blocks = test_alloc_live();
  (void)state;
  for (size_t round = 0; round < rounds; round++) {
    memset(sides, 0, sizeof sides);
    atomic_store(&cancellers_stop, 0);
    assert_int_equal(uvf_work_set_limit((unsigned int)(test_rand(&seed) % 5)), 0);
    for (int i = 0; i < CANCELLERS; i++) {
      cancellers[i].seed = test_rand(&seed);
      assert_int_equal(uv_thread_create(&cancellers[i].thread, canceller_run, &cancellers[i]), 0);
    }
    for (int i = 0; i < LOOPS; i++) {
      sides[i].seed = test_rand(&seed);
      sides[i].todo = test_scaled(40000, 10);
      assert_int_equal(uv_thread_create(&sides[i].thread, side_run, &sides[i]), 0);
    }
    for (int i = 0; i < LOOPS; i++) uv_thread_join(&sides[i].thread);
    atomic_store(&cancellers_stop, 1);
    for (int i = 0; i < CANCELLERS; i++) uv_thread_join(&cancellers[i].thread);
    /* References that outlived their loops. */
    for (int i = 0; i < MAILBOX; i++) uvf_ctx_release(atomic_exchange(&mailbox[i], NULL));
    for (int i = 0; i < LOOPS; i++) {
      printf("loop %d: %zu jobs, %zu withdrawn, %zu committed, %zu timed out, %zu answered before fn returned\n", i,
             sides[i].started, sides[i].withdrawn, sides[i].committed, sides[i].timed_out, sides[i].early);
      assert_int_equal(sides[i].result, 0);
      /* A soak in which something never happens tests nothing of it. */
      assert_true(sides[i].withdrawn > 0 && sides[i].withdrawn < sides[i].started);
      assert_true(sides[i].committed > 0);
      assert_true(sides[i].timed_out > 0);
    }
    if (atomic_load(&faults) != 0) {
      fail_msg("%d broken promises, the first: %s", atomic_load(&faults), atomic_load(&first_fault));
    }
    assert_int_equal(test_alloc_live(), blocks);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(random_jobs_on_several_loops_all_end_exactly_once),
  };
  return test_run(tests);
}
