/* SPDX-License-Identifier: MIT
 *
 * io.h: guards of descriptors and requests, the order of all kinds, and the read that a guard ends by closing its
 * handle.
 */
#include "unit/guard_probe.h"

/* --- descriptors --- */

static void file_close(uv_file file) {
  uv_fs_t fs;
  assert_int_equal(uv_fs_close(NULL, &fs, file, NULL), 0);
  uv_fs_req_cleanup(&fs);
}

static void the_end_of_the_context_closes_the_descriptor(void **state) {
  (void)state;
  for (way_t way = BY_CTX; way < WAYS; way++) {
    uv_file file = file_open();
    uvf_guard_t guard;
    scene_t s;
    scene_open(&s, way);
    memset(&guard, 0xa5, sizeof guard);
    assert_int_equal(uvf_guard_start_file(s.ctx, &guard, file), 0);
    turn(&io.f->loop);
    assert_true(test_fd_is_open(file));
    (void)scene_end(&s, NULL);
    assert_true(test_fd_is_open(file)); /* not inside */
    turn(&io.f->loop);
    assert_false(test_fd_is_open(file));
    assert_int_equal(guard.status, s.err);
    assert_int_equal(uvf_guard_close(&guard), UV_EBUSY);
    scene_close(&s);
  }
}

static void a_stopped_descriptor_stays_open_and_a_closed_one_is_closed_at_once(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    int closed = i % 2;
    uv_file file = file_open();
    uvf_ctx_t *ctx = child_of(f->root);
    uvf_guard_t guard;
    assert_int_equal(uvf_guard_start_file(ctx, &guard, file), 0);
    if (i / 2) uvf_ctx_cancel(ctx);
    assert_int_equal(closed ? uvf_guard_close(&guard) : uvf_guard_stop(&guard), 0);
    assert_int_equal(test_fd_is_open(file), !closed);
    uvf_ctx_cancel(ctx);
    turn(&f->loop);
    assert_int_equal(test_fd_is_open(file), !closed);
    if (!closed) file_close(file);
    uvf_ctx_release(ctx);
  }
}

/* --- requests --- */

typedef struct job_s {
  uv_work_t work;
  uvf_guard_t guard;
  int ran, over, status;
} job_t;

static void job_run(uv_work_t *work) { ((job_t *)work)->ran++; }

static void job_over(uv_work_t *work, int status) {
  job_t *job = (job_t *)work;
  job->over++;
  job->status = status;
  (void)uvf_guard_stop(&job->guard);
}

static void job_start(job_t *job, uvf_ctx_t *ctx) {
  memset(job, 0, sizeof *job);
  assert_int_equal(uv_queue_work(&io.f->loop, &job->work, job_run, job_over), 0);
  assert_int_equal(uvf_guard_start_req(ctx, &job->guard, (uv_req_t *)&job->work), 0);
}

static void the_end_of_the_context_takes_back_a_queued_request(void **state) {
  (void)state;
  for (way_t way = BY_CTX; way < WAYS; way++) {
    crowd_t crowd;
    job_t job;
    scene_t s;
    scene_open(&s, way);
    crowd_open(&crowd, IO_POOL);
    job_start(&job, s.ctx);
    (void)scene_end(&s, NULL);
    run_until(&io.f->loop, &job.over, 1);
    crowd_close(&crowd);
    assert_int_equal(job.status, UV_ECANCELED);
    assert_int_equal(job.ran, 0);
    assert_int_equal(job.guard.status, s.err);
    scene_close(&s);
  }
}

static void a_request_that_has_run_is_not_taken_back_and_one_whose_guard_was_stopped_runs(void **state) {
  fixture_t *f = *state;
  for (int stopped = 0; stopped < 2; stopped++) {
    uvf_ctx_t *ctx = child_of(f->root);
    crowd_t crowd;
    job_t job;
    crowd_open(&crowd, stopped ? IO_POOL : IO_POOL - 1);
    job_start(&job, ctx);
    if (stopped) {
      assert_int_equal(uvf_guard_stop(&job.guard), 0);
    } else {
      crowd_overtaken(&crowd); /* it has run, and its loop does not know */
    }
    uvf_ctx_cancel(ctx);
    if (stopped) turn(&f->loop);
    crowd_close(&crowd);
    run_until(&f->loop, &job.over, 1);
    assert_int_equal(job.status, 0);
    assert_int_equal(job.ran, 1);
    uvf_ctx_release(ctx);
  }
}

static void a_closed_guard_cancels_its_request_now(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  crowd_t crowd;
  job_t job;
  crowd_open(&crowd, IO_POOL);
  job_start(&job, ctx);
  assert_int_equal(uvf_guard_close(&job.guard), 0);
  assert_int_equal(job.over, 0);
  run_until(&f->loop, &job.over, 1); /* though every thread is parked */
  assert_int_equal(job.status, UV_ECANCELED);
  assert_int_equal(job.ran, 0);
  crowd_close(&crowd);
  uvf_ctx_release(ctx);
}

/* --- the order of all kinds --- */

typedef struct box_s {
  uvf_guard_t guard;
  uv_timer_t timer;
} box_t;

typedef struct kinds_s {
  uvf_guard_t file_guard;
  uv_file file;
  box_t box;
  job_t job;
  call_t marks[4];
  int seen[4]; /* per mark: 1: the descriptor is closed, 2: the handle is closing, 4: the request is taken back */
  int at;
} kinds_t;

static void look(call_t *call) {
  kinds_t *k = call->arg;
  k->seen[call->id] = !test_fd_is_open(k->file) + 2 * (uv_is_closing((uv_handle_t *)&k->box.timer) != 0) +
                      4 * (k->job.guard.uvf__state == UVF__OP_DONE);
  k->at++;
}

static void mark(kinds_t *k, int id, uvf_ctx_t *ctx) {
  k->marks[id] = call_of(id, NULL);
  k->marks[id].then = look;
  k->marks[id].arg = k;
  call_start(&k->marks[id], ctx);
}

static void all_kinds_are_released_the_last_bound_first_and_childrens_before_parents(void **state) {
  fixture_t *f = *state;
  for (int nested = 0; nested < 2; nested++) {
    uvf_ctx_t *up = child_of(f->root), *down = nested ? child_of(up) : up;
    crowd_t crowd;
    kinds_t k = {.file = file_open()};
    crowd_open(&crowd, IO_POOL);
    assert_int_equal(uv_timer_init(&f->loop, &k.box.timer), 0);
    mark(&k, 3, up);
    assert_int_equal(uvf_guard_start_file(up, &k.file_guard, k.file), 0);
    mark(&k, 2, up);
    assert_int_equal(uvf_guard_start(down, &k.box.guard, (uv_handle_t *)&k.box.timer, NULL), 0);
    mark(&k, 1, down);
    job_start(&k.job, down);
    mark(&k, 0, down);
    assert_int_equal(counts_of(up).guards + (nested ? counts_of(down).guards : 0), 7);
    uvf_ctx_cancel(up);
    run_until(&f->loop, &k.at, 4);
    assert_int_equal(k.seen[0], 0);
    assert_int_equal(k.seen[1], 4);
    assert_int_equal(k.seen[2], 4 + 2);
    assert_int_equal(k.seen[3], 4 + 2 + 1);
    run_until(&f->loop, &k.job.over, 1);
    assert_int_equal(k.job.status, UV_ECANCELED);
    crowd_close(&crowd);
    if (nested) uvf_ctx_release(down);
    uvf_ctx_release(up);
  }
}

static void they_are_released_behind_the_completions_already_due_and_answers_below(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *child = child_of(ctx), *other = child_of(f->root);
  journal_t journal = {0};
  probe_t due = {0}, below = {0}, newer = {0}, older = {0};
  call_t call = call_of(100, &journal);
  probe_start(&older, ctx, 4, &journal);
  call_start(&call, ctx);
  probe_start(&newer, ctx, 3, &journal);
  probe_start(&below, child, 2, &journal);
  probe_start(&due, other, 1, &journal);
  uvf_ctx_cancel(other);
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  assert_journal(&journal, 1, 2, 3, 100, 4);
  uvf_ctx_release(ctx);
  uvf_ctx_release(child);
  uvf_ctx_release(other);
}

static void the_root_releases_what_is_bound_before_it_is_closed(void **state) {
  fixture_t *f = *state;
  uv_file file = file_open();
  uvf_guard_t guard;
  call_t call = call_of(0, NULL);
  assert_int_equal(uvf_guard_start_file(f->root, &guard, file), 0);
  call_start(&call, f->root);
  assert_false(uv_loop_alive(&f->loop)); /* a guard does not hold the loop */
  fixture_close_root(f);
  assert_int_equal(call.calls, 1);
  assert_int_equal(call.status, UV_ECANCELED);
  assert_false(test_fd_is_open(file));
}

/* --- the read on a handle that is closed --- */

typedef struct reader_s {
  uv_tcp_t near, far;
  uvf_guard_t guard;
  char bytes[8];
} reader_t;

static void on_read(uvf_read_t *req, int status) { tally_done(req->data, status); }

/* A connected pair; the near end is guarded under `bound` and read under `reads`. */
static tally_t *reader_open(reader_t *r, uvf_ctx_t *bound, uvf_ctx_t *reads) {
  tally_t *t = tally_new(sizeof(uvf_read_t));
  uv_os_sock_t ends[2];
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, ends, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &r->near), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &r->far), 0);
  assert_int_equal(uv_tcp_open(&r->near, ends[0]), 0);
  assert_int_equal(uv_tcp_open(&r->far, ends[1]), 0);
  assert_int_equal(uvf_guard_start(bound, &r->guard, (uv_handle_t *)&r->near, NULL), 0);
  tally_start(t, uvf_read_start(reads, t->req, (uv_stream_t *)&r->near, r->bytes, sizeof r->bytes, NULL, on_read));
  return t;
}

static void closing_the_handle_by_its_guard_ends_the_read_under_whichever_context(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 6; i++) {
    uvf_ctx_t *bound = child_of(f->root), *reads = i % 2 ? child_of(f->root) : child_of(bound), *root = NULL;
    reader_t r;
    tally_t *t;
    if (i >= 4) { /* another root of the loop */
      uvf_ctx_release(reads);
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      reads = child_of(root);
    }
    t = reader_open(&r, bound, reads);
    turn(&f->loop);
    assert_int_equal(t->done, 0);
    if (i / 2 == 0) {
      assert_int_equal(uvf_guard_close(&r.guard), 0);
    } else {
      uvf_ctx_cancel(bound);
    }
    assert_int_equal(t->done, 0); /* never inside */
    run_tally(t);
    assert_tally(t, UV_ECANCELED);
    assert_true(uv_is_closing((uv_handle_t *)&r.near));
    uv_close((uv_handle_t *)&r.far, NULL);
    uvf_ctx_release(bound);
    uvf_ctx_release(reads);
    if (root != NULL) uvf_ctx_close(root, NULL);
    turn(&f->loop);
  }
}

static void a_read_that_has_its_bytes_keeps_them_when_the_guard_closes_the_handle(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *bound = child_of(f->root), *reads = child_of(f->root);
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "now", 3);
  moment_t moment;
  reader_t r;
  tally_t *t = reader_open(&r, bound, reads);
  t->keep = 1;
  assert_int_equal(uv_try_write((uv_stream_t *)&r.far, &buf, 1), 3);
  moment_start(&moment, t, scene_cancel, bound);
  run_tally(t);
  assert_int_equal(moment.came, 1);
  moment_stop(&moment);
  assert_tally(t, 0);
  assert_int_equal(((uvf_read_t *)t->req)->nread, 3);
  turn(&f->loop);
  assert_true(uv_is_closing((uv_handle_t *)&r.near));
  uv_close((uv_handle_t *)&r.far, NULL);
  uvf_ctx_release(bound);
  uvf_ctx_release(reads);
  turn(&f->loop);
}

/* --- shown --- */

static void the_dump_shows_each_kind(void **state) {
  fixture_t *f = *state;
  uv_file file = file_open();
  uvf_guard_t guard;
  call_t call = call_of(0, NULL);
  box_t box;
  job_t job;
  char text[4000] = "";
  FILE *out = tmpfile();
  assert_non_null(out);
  assert_int_equal(uv_timer_init(&f->loop, &box.timer), 0);
  assert_int_equal(uvf_guard_start(f->root, &box.guard, (uv_handle_t *)&box.timer, NULL), 0);
  assert_int_equal(uvf_guard_start_file(f->root, &guard, file), 0);
  call_start(&call, f->root);
  job_start(&job, f->root);
  assert_int_equal(uvf_ctx_dump(f->root, out), 0);
  rewind(out);
  assert_true(fread(text, 1, sizeof text - 1, out) > 0);
  fclose(out);
  assert_non_null(strstr(text, "[guard of a uv_timer_t]"));
  assert_non_null(strstr(text, "[guard of a descriptor]"));
  assert_non_null(strstr(text, "[guard of a function]"));
  assert_non_null(strstr(text, "[guard of a request]"));
  if (test_rules_on()) assert_non_null(strstr(text, "test_guard_kinds.c:"));
  run_until(&f->loop, &job.over, 1);
  fixture_close_root(f);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(the_end_of_the_context_closes_the_descriptor),
      unit_io(a_stopped_descriptor_stays_open_and_a_closed_one_is_closed_at_once),
      unit_io(the_end_of_the_context_takes_back_a_queued_request),
      unit_io(a_request_that_has_run_is_not_taken_back_and_one_whose_guard_was_stopped_runs),
      unit_io(a_closed_guard_cancels_its_request_now),
      unit_io(all_kinds_are_released_the_last_bound_first_and_childrens_before_parents),
      unit_io(they_are_released_behind_the_completions_already_due_and_answers_below),
      unit_io(the_root_releases_what_is_bound_before_it_is_closed),
      unit_io(closing_the_handle_by_its_guard_ends_the_read_under_whichever_context),
      unit_io(a_read_that_has_its_bytes_keeps_them_when_the_guard_closes_the_handle),
      unit_io(the_dump_shows_each_kind),
  };
  io_main();
  return test_run(tests);
}
