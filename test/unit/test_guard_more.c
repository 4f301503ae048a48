/* SPDX-License-Identifier: MIT
 *
 * io.h: guards of requests, descriptors and functions; the order of all kinds; what may be done inside a release; and
 * the read that a closed handle ends.
 */
#include "unit/io_probe.h"

#include <fcntl.h>

/* --- functions --- */

typedef struct note_call_s {
  uvf_guard_t guard;
  int id, calls, status;
  journal_t *journal;
  void (*then)(struct note_call_s *call);
  void *arg;
} call_t;

static void on_call(uvf_guard_t *guard) {
  call_t *call = (call_t *)guard;
  io_enter();
  call->calls++;
  call->status = guard->status;
  if (call->journal != NULL) journal_add(call->journal, call->id);
  if (call->then != NULL) call->then(call);
  io_leave();
}

static call_t call_of(int id, journal_t *journal) {
  call_t call = {.id = id, .status = NOT_YET, .journal = journal};
  memset(&call.guard, 0xa5, sizeof call.guard); /* a start reads none of it */
  return call;
}

static void call_start(call_t *call, uvf_ctx_t *ctx) {
  assert_int_equal(io_call(uvf_guard_start_call(ctx, &call->guard, on_call)), 0);
}

static void the_end_of_the_context_calls_the_function_once_and_not_inside_the_cancel(void **state) {
  (void)state;
  for (way_t way = BY_CTX; way < WAYS; way++) {
    call_t call = call_of(0, NULL);
    scene_t s;
    scene_open(&s, way);
    call_start(&call, s.ctx);
    turn(&io.f->loop);
    assert_int_equal(call.calls, 0);
    assert_int_equal(counts_of(s.ctx).guards, 1);
    assert_int_equal(scene_end(&s, NULL), 0);
    assert_int_equal(call.calls, 0);
    run_until(&io.f->loop, &call.calls, 1);
    turn(&io.f->loop);
    assert_int_equal(call.calls, 1);
    assert_int_equal(call.status, s.err);
    assert_int_equal(uvf_guard_stop(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_guard_close(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_op_cancel((uvf_op_t *)&call.guard), UV_EBUSY);
    scene_close(&s);
    assert_int_equal(call.calls, 1);
  }
}

static void bound_to_a_context_that_is_over_it_is_released_soon_and_not_inside_the_start(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *over = timeout_of(f->root, 0);
  call_t call = call_of(0, NULL);
  call_start(&call, over);
  assert_int_equal(call.calls, 0);
  run_until(&f->loop, &call.calls, 1);
  assert_int_equal(call.status, UV_ETIMEDOUT);
  uvf_ctx_release(over);
}

static void a_stopped_one_is_never_called_and_a_closed_one_inside_the_close(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    int closed = i % 2, due = i / 2;
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call = call_of(0, NULL);
    call_start(&call, ctx);
    if (due) uvf_ctx_cancel(ctx); /* the call is due and has not come */
    assert_int_equal(closed ? uvf_guard_close(&call.guard) : uvf_guard_stop(&call.guard), 0);
    assert_int_equal(call.calls, closed);
    if (closed) assert_int_equal(call.status, 0);
    assert_int_equal(uvf_guard_close(&call.guard), UV_EBUSY);
    assert_int_equal(uvf_guard_stop(&call.guard), UV_EBUSY);
    assert_int_equal(counts_of(ctx).guards, 0);
    uvf_ctx_cancel(ctx);
    turn(&f->loop);
    assert_int_equal(call.calls, closed);
    uvf_ctx_release(ctx);
  }
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void look_at_ctx(call_t *call) { io_expect(uvf_ctx_err(call->guard.ctx) == 0, "the context is gone"); }

static void the_context_is_there_inside_the_function_though_only_the_guard_held_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t call = call_of(0, NULL);
  call.then = look_at_ctx;
  call_start(&call, ctx);
  uvf_ctx_release(ctx);
  assert_int_equal(stats_of(f->root).contexts, 2);
  assert_int_equal(uvf_guard_close(&call.guard), 0);
  assert_int_equal(call.calls, 1);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).contexts, 1);
}

/* --- inside the function --- */

static int inner[3];

static void try_all(call_t *call) {
  inner[0] = uvf_guard_stop(&call->guard);
  inner[1] = uvf_guard_close(&call->guard);
  inner[2] = uvf_op_cancel((uvf_op_t *)&call->guard);
}

static void inside_its_function_a_guard_is_unbound_already(void **state) {
  fixture_t *f = *state;
  for (int by_hand = 0; by_hand < 2; by_hand++) {
    uvf_ctx_t *ctx = child_of(f->root);
    call_t call = call_of(0, NULL);
    call.then = try_all;
    call_start(&call, ctx);
    if (by_hand) {
      assert_int_equal(uvf_guard_close(&call.guard), 0);
    } else {
      uvf_ctx_cancel(ctx);
      run_until(&f->loop, &call.calls, 1);
    }
    for (int i = 0; i < 3; i++) assert_int_equal(inner[i], UV_EBUSY);
    uvf_ctx_release(ctx);
  }
}

static void bind_again(call_t *call) {
  if (call->calls < 3) io_expect(uvf_guard_start_call(call->arg, &call->guard, on_call) == 0, "not bound again");
}

static void inside_its_function_a_guard_may_be_bound_again(void **state) {
  fixture_t *f = *state;
  for (int i = 0; i < 4; i++) {
    uvf_ctx_t *ctx = child_of(f->root), *other = child_of(f->root);
    call_t call = call_of(0, NULL);
    call.then = bind_again;
    call.arg = i % 2 ? ctx : other; /* the one that is over: called again soon; or one that goes on */
    call_start(&call, ctx);
    if (i < 2) {
      uvf_ctx_cancel(ctx);
      run_until(&f->loop, &call.calls, 1);
    } else {
      assert_int_equal(uvf_guard_close(&call.guard), 0);
    }
    turn(&f->loop);
    if (i == 1) {
      assert_int_equal(call.calls, 3);
    } else {
      assert_int_equal(call.calls, 1);
      uvf_ctx_cancel(call.arg);
      turn(&f->loop);
      assert_int_equal(call.calls, i % 2 ? 3 : 2);
      (void)uvf_guard_stop(&call.guard);
      if (i % 2 == 0) uvf_ctx_cancel(other);
    }
    turn(&f->loop);
    uvf_ctx_release(ctx);
    uvf_ctx_release(other);
    assert_int_equal(stats_of(f->root).ops - (uint64_t)(call.calls == 2), 0);
  }
}

static void free_call(uvf_guard_t *guard) {
  memset(guard, 0xdb, sizeof *guard);
  free(guard);
}

static void inside_its_function_a_guard_may_be_freed(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  uvf_guard_t *ended = malloc(sizeof *ended), *closed = malloc(sizeof *closed);
  assert_non_null(ended);
  assert_non_null(closed);
  assert_int_equal(uvf_guard_start_call(ctx, ended, free_call), 0);
  assert_int_equal(uvf_guard_start_call(ctx, closed, free_call), 0);
  assert_int_equal(uvf_guard_close(closed), 0);
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  turn(&f->loop);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void undo_others(call_t *call) {
  call_t *others = call->arg;
  io_expect(uvf_guard_stop(&others[0].guard) == 0, "a guard that is due could not be stopped");
  io.nested = 1; /* its function runs inside the close */
  io_expect(uvf_guard_close(&others[1].guard) == 0, "a guard that is due could not be closed");
  io.nested = 0;
}

static void a_function_may_stop_and_close_guards_that_are_due_behind_it(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  journal_t journal = {0};
  call_t first, others[3];
  for (int i = 2; i >= 0; i--) {
    others[i] = call_of(i, &journal);
    call_start(&others[i], ctx);
  }
  first = call_of(9, &journal);
  first.then = undo_others;
  first.arg = others;
  call_start(&first, ctx);
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  assert_journal(&journal, 9, 1, 2);
  assert_int_equal(others[1].status, 0);
  assert_int_equal(others[2].status, UV_ECANCELED);
  uvf_ctx_release(ctx);
}

/* --- descriptors --- */

static uv_file file_open(void) {
  uv_fs_t fs;
  uv_file file = uv_fs_open(NULL, &fs, ".", O_RDONLY, 0, NULL);
  uv_fs_req_cleanup(&fs);
  assert_true(file >= 0);
  return file;
}

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
  assert_int_equal(uv_cancel((uv_req_t *)&job.work), UV_EBUSY); /* it has been already */
  assert_int_equal(job.over, 0);
  run_until(&f->loop, &job.over, 1);
  assert_int_equal(job.status, UV_ECANCELED);
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

/* --- refused, shown --- */

static void null_arguments_and_bad_descriptors_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_guard_t guard;
  uv_work_t work;
  assert_int_equal(uvf_guard_start_req(NULL, &guard, (uv_req_t *)&work), UV_EINVAL);
  assert_int_equal(uvf_guard_start_req(f->root, NULL, (uv_req_t *)&work), UV_EINVAL);
  assert_int_equal(uvf_guard_start_req(f->root, &guard, NULL), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(NULL, &guard, 0), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(f->root, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_guard_start_file(f->root, &guard, -1), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(NULL, &guard, free_call), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(f->root, NULL, free_call), UV_EINVAL);
  assert_int_equal(uvf_guard_start_call(f->root, &guard, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static void call_again(void *arg) { (void)uvf_guard_start_call(io.f->root, arg, on_call); }
static void file_again(void *arg) { (void)uvf_guard_start_file(io.f->root, arg, 0); }
static void req_again(void *arg) {
  uv_work_t work;
  (void)uvf_guard_start_req(io.f->root, arg, (uv_req_t *)&work);
}

static void binding_one_twice_is_misuse(void **state) {
  static void (*const again[])(void *) = {call_again, file_again, req_again};
  static const char *const names[] = {"uvf_guard_start_call: ", "uvf_guard_start_file: ", "uvf_guard_start_req: "};
  fixture_t *f = *state;
  call_t call = call_of(0, NULL);
  call_start(&call, f->root);
  for (size_t i = 0; i < 3 && test_rules_on(); i++) {
    const char *rule = test_expect_rule(again[i], &call.guard);
    assert_non_null(rule);
    assert_memory_equal(rule, names[i], strlen(names[i]));
  }
  assert_int_equal(uvf_guard_close(&call.guard), 0);
  assert_int_equal(call.calls, 1);
}

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
  if (test_rules_on()) assert_non_null(strstr(text, "test_guard_more.c:"));
  run_until(&f->loop, &job.over, 1);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit_io(the_end_of_the_context_calls_the_function_once_and_not_inside_the_cancel),
      unit_io(bound_to_a_context_that_is_over_it_is_released_soon_and_not_inside_the_start),
      unit_io(a_stopped_one_is_never_called_and_a_closed_one_inside_the_close),
      unit_io(the_context_is_there_inside_the_function_though_only_the_guard_held_it),
      unit_io(inside_its_function_a_guard_is_unbound_already),
      unit_io(inside_its_function_a_guard_may_be_bound_again),
      unit_io(inside_its_function_a_guard_may_be_freed),
      unit_io(a_function_may_stop_and_close_guards_that_are_due_behind_it),
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
      unit_io(null_arguments_and_bad_descriptors_are_refused),
      unit_io(binding_one_twice_is_misuse),
      unit_io(the_dump_shows_each_kind),
  };
  io_main();
  return test_run(tests);
}
