/* SPDX-License-Identifier: MIT
 *
 * A pipeline that would keep every thread busy for ever leaves some to others: requests of the loop, jobs, another
 * pipeline. What is asked for is answered before the busy one is cancelled, or the test hangs.
 */
#include "unit/flow_nodes.h"
#include "work/share.h"

static struct {
  uvf_pipeline_t *p;
  uvf_stage_t *work;
  run_t run;
  atomic_int inside;
  int most;
} busy;

static int endless(uvf_flow_t *flow, void *item) {
  (void)item;
  return uvf_emit(flow, 0, NULL);
}

static int works(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  atomic_fetch_add(&busy.inside, 1);
  burn(50000);
  atomic_fetch_sub(&busy.inside, 1);
  return 0;
}

/* As many calls at once as there are threads for jobs. */
static int is_all_over_the_pool(void *arg) {
  int inside = atomic_load(&busy.inside);
  (void)arg;
  if (inside > busy.most) busy.most = inside;
  return busy.most >= (int)uvf_work_limit();
}

static void begin_busy(fixture_t *f, unsigned int limit) {
  uvf_stage_options_t o;
  uvf_stage_t *source;
  memset(&busy, 0, sizeof busy);
  assert_int_equal(uvf_work_set_limit(limit), 0);
  assert_int_equal(uvf_pipeline_create("busy", &busy.p), 0);
  uvf_stage_options_init(&o, UVF_STAGE_SOURCE, "source", endless, NULL);
  assert_int_equal(uvf_pipeline_add(busy.p, &o, &source), 0);
  uvf_stage_options_init(&o, UVF_STAGE_WORK, "work", works, NULL);
  o.workers = uvf__share_pool_size();
  assert_int_equal(uvf_pipeline_add(busy.p, &o, &busy.work), 0);
  assert_int_equal(uvf_pipeline_chain(source, busy.work), 0);
  assert_int_equal(uvf_pipeline_run(f->root, busy.p, on_run_done, &busy.run), 0);
  run_until_seen(&f->loop, is_all_over_the_pool, NULL);
}

static void end_busy(fixture_t *f) {
  assert_int_equal(busy.run.done, 0);
  uvf_pipeline_cancel(busy.p);
  run_until(&f->loop, &busy.run.done, 1);
  assert_int_equal(busy.run.status, UV_ECANCELED);
  assert_balanced(busy.p);
  assert_int_equal(uvf_pipeline_destroy(busy.p), 0);
  assert_int_equal(uvf_work_set_limit(0), 0);
}

static const unsigned int limits[] = {0, UINT_MAX}; /* the default, and the whole pool */

/* --- requests of the loop --- */

typedef struct asked_s {
  uv_getaddrinfo_t name;
  uv_fs_t file;
  int names, files, failed;
} asked_t;

static void on_name(uv_getaddrinfo_t *req, int status, struct addrinfo *res) {
  asked_t *a = req->data;
  a->names++;
  a->failed += status != 0;
  uv_freeaddrinfo(res);
}

static void on_file(uv_fs_t *req) {
  asked_t *a = req->data;
  a->files++;
  a->failed += req->result != 0 || req->statbuf.st_size <= 0;
  uv_fs_req_cleanup(req);
}

static void names_and_files_are_answered_while_a_pipeline_keeps_the_pool_busy(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
    asked_t a = {.names = 0};
    begin_busy(f, limits[i]);
    a.name.data = a.file.data = &a;
    for (int round = 1; round <= 10; round++) {
      const char *host = round % 2 ? "127.0.0.1" : "localhost";
      assert_int_equal(uv_getaddrinfo(&f->loop, &a.name, on_name, host, NULL, NULL), 0);
      assert_int_equal(uv_fs_stat(&f->loop, &a.file, ".", on_file), 0);
      run_until(&f->loop, &a.names, round);
      run_until(&f->loop, &a.files, round);
    }
    assert_int_equal(a.failed, 0);
    end_busy(f);
  }
}

/* --- jobs --- */

static int does_nothing(uvf_work_t *job) {
  (void)job;
  return 0;
}

static void on_job(uvf_work_t *job, int status) {
  if (status == 0) ++*(int *)job->data;
}

static void jobs_run_while_a_pipeline_keeps_the_pool_busy(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
    uvf_work_t jobs[20];
    int done = 0;
    begin_busy(f, limits[i]);
    for (int round = 0; round < 3; round++) { /* one by one, then in a crowd */
      int n = round < 2 ? 1 : (int)ARRAY_SIZE(jobs);
      int before = done;
      for (int j = 0; j < n; j++) {
        jobs[j].data = &done;
        assert_int_equal(uvf_work_start(f->root, &jobs[j], does_nothing, on_job, NULL), 0);
      }
      run_until(&f->loop, &done, before + n);
    }
    end_busy(f);
  }
}

typedef struct other_s {
  uv_loop_t loop;
  uvf_work_t job;
  int done;
  int failed;
} other_t;

static void run_other(void *arg) {
  other_t *o = arg;
  uvf_ctx_t *root;
  o->job.data = &o->done;
  o->failed =
      uvf_ctx_background(&o->loop, &root) != 0 || uvf_work_start(root, &o->job, does_nothing, on_job, NULL) != 0;
  if (o->failed) return;
  while (!o->done && uv_run(&o->loop, UV_RUN_ONCE)) {}
  uvf_ctx_close(root, NULL);
  uv_run(&o->loop, UV_RUN_DEFAULT);
}

static int other_is_done(void *arg) {
  uv_sem_t *over = arg;
  return uv_sem_trywait(over) == 0;
}

static uv_sem_t other_over;

static void run_other_and_tell(void *arg) {
  run_other(arg);
  uv_sem_post(&other_over);
}

static void the_job_of_another_loop_runs_too(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
    other_t other;
    uv_thread_t thread;
    memset(&other, 0, sizeof other);
    assert_int_equal(uv_sem_init(&other_over, 0), 0);
    assert_int_equal(uv_loop_init(&other.loop), 0);
    begin_busy(f, limits[i]);
    assert_int_equal(uv_thread_create(&thread, run_other_and_tell, &other), 0);
    run_until_seen(&f->loop, other_is_done, &other_over);
    assert_int_equal(uv_thread_join(&thread), 0);
    assert_int_equal(other.failed, 0);
    assert_int_equal(other.done, 1);
    assert_int_equal(uv_loop_close(&other.loop), 0);
    uv_sem_destroy(&other_over);
    end_busy(f);
  }
}

/* --- another pipeline --- */

static void a_second_pipeline_runs_to_its_end_beside_one_that_has_none(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(limits); i++) {
    begin_busy(f, limits[i]);
    begin();
    node(UVF_STAGE_SOURCE)->make = 1000;
    node(UVF_STAGE_WORK)->o.workers = 2;
    node(UVF_STAGE_LOOP);
    in_a_row();
    assert_int_equal(run_to_end(f, f->root, k.p), 0);
    assert_int_equal(k.n[2].stage->done, 1000);
    end();
    end_busy(f);
  }
}

static int swallows(uvf_flow_t *flow, void *item) {
  (void)flow;
  (void)item;
  return 0;
}

static void the_loop_turns_while_stages_on_it_are_busy(void **state) {
  fixture_t *f = *state;
  asked_t a = {.names = 0};
  run_t run = {0, 1};
  begin();
  source(UVF_STAGE_LOOP, 0)->o.fn = endless;
  node(UVF_STAGE_LOOP)->o.fn = swallows;
  k.n[1].o.drop = NULL;
  in_a_row();
  assert_int_equal(uvf_pipeline_run(f->root, k.p, on_run_done, &run), 0);
  a.name.data = a.file.data = &a;
  assert_int_equal(uv_fs_stat(&f->loop, &a.file, ".", on_file), 0);
  run_until(&f->loop, &a.files, 1);
  run_for(&f->loop, 5);
  assert_int_equal(run.done, 0);
  uvf_pipeline_cancel(k.p);
  run_until(&f->loop, &run.done, 1);
  assert_int_equal(run.status, UV_ECANCELED);
  assert_balanced(k.p);
  assert_int_equal(uvf_pipeline_destroy(k.p), 0);
  gate_destroy(&k.gate);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(names_and_files_are_answered_while_a_pipeline_keeps_the_pool_busy),
      unit(jobs_run_while_a_pipeline_keeps_the_pool_busy),
      unit(the_job_of_another_loop_runs_too),
      unit(a_second_pipeline_runs_to_its_end_beside_one_that_has_none),
      unit(the_loop_turns_while_stages_on_it_are_busy),
  };
  return test_run(tests);
}
