/* SPDX-License-Identifier: MIT
 *
 * io.h: files: what the calls bring, what they refuse, no memory, and callbacks that do what callbacks do. How a call
 * ends early is test_fs_end.c's, folders are test_fs_dir.c's.
 */
#include "unit/test_fs.h"

static uv_buf_t buf_of(const char *text) { return uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text)); }

static call_t *latest;

static call_t *run_call(call_t *call, int started) {
  assert_int_equal(started, 0);
  call_wait(call);
  return call;
}

/* Carries one call out, both callbacks; the call_t tells what came of it. */
#define run(call, function, ctx, ...)                                                                                  \
  (latest = (call), run_call(latest, call_start(latest, function, ctx, __VA_ARGS__)))

#define assert_ended(run_of_call, wanted_status, wanted_result)                                                        \
  do {                                                                                                                 \
    const call_t *ended = (run_of_call);                                                                               \
    assert_int_equal(ended->status, wanted_status);                                                                    \
    assert_int_equal(ended->result, wanted_result);                                                                    \
  } while (0)

static uv_file open_under(uvf_ctx_t *ctx, const char *name, int flags) {
  call_t *call = call_new(0);
  run(call, uvf_fs_open, ctx, path_of(name), flags | BINARY, 0600);
  assert_int_equal(call->status, 0);
  assert_true(call->result >= 0);
  return (uv_file)call->result;
}

/* --- what they bring --- */

static void a_file_is_opened_written_read_looked_at_and_closed(void **state) {
  fixture_t *f = *state;
  char bytes[16] = "";
  uv_buf_t out = buf_of("twelve bytes"), in = uv_buf_init(bytes, sizeof bytes);
  for (int release = 0; release < 2; release++) {
    uv_file fd = open_under(f->root, "file", UV_FS_O_RDWR | UV_FS_O_CREAT | UV_FS_O_TRUNC);
    call_t *call;
    assert_true(test_fd_is_open(fd));
    assert_ended(run(call_new(release), uvf_fs_write, f->root, fd, &out, 1, 0), 0, 12);
    assert_ended(run(call_new(release), uvf_fs_read, f->root, fd, &in, 1, 0), 0, 12);
    assert_string_equal(bytes, "twelve bytes");
    assert_ended(call = run(call_new(release), uvf_fs_stat, f->root, path_of("file")), 0, 0);
    assert_int_equal(call->statbuf.st_size, 12);
    assert_ended(call = run(call_new(release), uvf_fs_fstat, f->root, fd), 0, 0);
    assert_int_equal(call->statbuf.st_size, 12);
    assert_int_equal(call->released, release);
    assert_ended(call = run(call_new(release), uvf_fs_close, f->root, fd), 0, 0);
    assert_false(test_fd_is_open(fd));
    if (release) assert_true(call->released_at > call->done_at);
  }
  assert_file("file", "twelve bytes");
}

static void offset_minus_one_moves_the_position_and_others_do_not(void **state) {
  fixture_t *f = *state;
  char bytes[4] = "";
  uv_buf_t out = buf_of("abc"), in = uv_buf_init(bytes, 2);
  uv_file fd = open_under(f->root, "file", UV_FS_O_RDWR | UV_FS_O_CREAT);
  assert_ended(run(call_new(0), uvf_fs_write, f->root, fd, &out, 1, -1), 0, 3);
  assert_ended(run(call_new(0), uvf_fs_write, f->root, fd, &out, 1, -1), 0, 3);
  assert_ended(run(call_new(0), uvf_fs_write, f->root, fd, &out, 1, 1), 0, 3);
  assert_file("file", "aabcbc");
  assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, &in, 1, -1), 0, 0); /* its end */
  assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, &in, 1, 3), 0, 2);
  assert_string_equal(bytes, "cb");
  assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, &in, 1, 5), 0, 1);
  assert_string_equal(bytes, "cb"); /* c, and what was there */
  assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, &in, 1, 6), 0, 0);
  assert_ended(run(call_new(0), uvf_fs_close, f->root, fd), 0, 0);
  fd = open_under(f->root, "file", UV_FS_O_RDONLY);
  for (int i = 0; i < 3; i++) {
    assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, &in, 1, -1), 0, 2);
    assert_memory_equal(bytes, &"aabcbc"[2 * i], 2);
  }
  assert_ended(run(call_new(0), uvf_fs_close, f->root, fd), 0, 0);
}

static void many_buffers_go_in_their_order_and_their_array_is_copied(void **state) {
  fixture_t *f = *state;
  char out[100], in[100] = "";
  uv_file fd = open_under(f->root, "file", UV_FS_O_RDWR | UV_FS_O_CREAT);
  for (size_t n = 1; n <= 100; n = n == 1 ? 4 : n * 5) { /* 1, 4, 20, 100: libuv has room for 4 of its own */
    uv_buf_t bufs[100];
    call_t *call = call_new(n % 2 == 0);
    park_t *parks[POOL_SIZE];
    for (size_t i = 0; i < n; i++) out[i] = (char)('!' + (i * 7 + n) % 90);
    for (size_t i = 0; i < n; i++) bufs[i] = uv_buf_init(&out[i], 1);
    for (size_t i = 0; i < POOL_SIZE; i++) parks[i] = park_start();
    begin(call, uvf_fs_write, f->root, fd, bufs, (unsigned int)n, 0);
    memset(bufs, 0xff, sizeof bufs);
    for (size_t i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
    call_wait(call);
    assert_ended(call, 0, (int64_t)n);
    for (size_t i = 0; i < n; i++) bufs[i] = uv_buf_init(&in[i], 1);
    assert_ended(run(call_new(0), uvf_fs_read, f->root, fd, bufs, (unsigned int)n, 0), 0, (int64_t)n);
    assert_memory_equal(in, out, n);
  }
  assert_ended(run(call_new(0), uvf_fs_close, f->root, fd), 0, 0);
}

static void paths_are_copied(void **state) {
  fixture_t *f = *state;
  char opened[600], looked_at[600];
  park_t *parks[POOL_SIZE];
  call_t *open = call_new(0), *stat = call_new(1);
  file_make("file", "data");
  snprintf(opened, sizeof opened, "%s", path_of("file"));
  snprintf(looked_at, sizeof looked_at, "%s", path_of("file"));
  for (size_t i = 0; i < POOL_SIZE; i++) parks[i] = park_start();
  begin(open, uvf_fs_open, f->root, opened, UV_FS_O_RDONLY, 0);
  begin(stat, uvf_fs_stat, f->root, looked_at);
  memset(opened, 'x', sizeof opened);
  memset(looked_at, 'x', sizeof looked_at);
  for (size_t i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
  call_wait(open);
  call_wait(stat);
  assert_int_equal(stat->status, 0);
  assert_int_equal(open->status, 0);
  file_close((uv_file)open->result);
}

static void a_call_holds_the_loop_and_its_context(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t *call = call_new(1);
  begin(call, uvf_fs_stat, ctx, kit.folder);
  assert_int_equal(counts_of(ctx).ops, 1);
  assert_ptr_equal(call->req->ctx, ctx);
  uvf_ctx_release(ctx);
  uv_run(&f->loop, UV_RUN_DEFAULT);
  assert_int_equal(call->done, 1);
  assert_int_equal(call->released, 1);
}

/* --- errors --- */

static void the_systems_errors_are_the_status_and_the_result(void **state) {
  fixture_t *f = *state;
  char bytes[4];
  uv_buf_t in = uv_buf_init(bytes, sizeof bytes), out = buf_of("no");
  uv_file closed, folder, read_only;
  file_make("file", "data");
  read_only = file_open("file", UV_FS_O_RDONLY);
  folder = file_open(".", UV_FS_O_RDONLY);
  closed = file_open("file", UV_FS_O_RDONLY);
  file_close(closed);
  for (int release = 0; release < 2; release++) {
#define fails(code, function, ...) assert_ended(run(call_new(release), function, f->root, __VA_ARGS__), code, code)
    fails(UV_ENOENT, uvf_fs_open, path_of("none"), UV_FS_O_RDONLY, 0);
    fails(UV_ENOTDIR, uvf_fs_open, path_of("file/x"), UV_FS_O_RDONLY, 0);
    fails(UV_EISDIR, uvf_fs_open, kit.folder, UV_FS_O_WRONLY, 0);
    fails(UV_EEXIST, uvf_fs_open, path_of("file"), UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_EXCL, 0600);
    fails(UV_ENOENT, uvf_fs_stat, path_of("none"));
    fails(UV_ENOTDIR, uvf_fs_stat, path_of("file/x"));
    fails(UV_EISDIR, uvf_fs_read, folder, &in, 1, 0);
    fails(UV_EBADF, uvf_fs_read, closed, &in, 1, -1);
    fails(UV_EBADF, uvf_fs_write, closed, &out, 1, -1);
    fails(UV_EBADF, uvf_fs_write, read_only, &out, 1, 0);
    fails(UV_EBADF, uvf_fs_fstat, closed);
    fails(UV_EBADF, uvf_fs_fstat, -1);
    fails(UV_EBADF, uvf_fs_close, closed);
  }
  file_close(read_only);
  file_close(folder);
}

#define refused(code, function, ...) assert_int_equal((function)(__VA_ARGS__, call_done, call_release), code)

static void bad_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = f->root;
  uvf_fs_t req;
  uv_buf_t buf = buf_of("no");
  memset(&req, 0xff, sizeof req);
  refused(UV_EINVAL, uvf_fs_open, NULL, &req, "x", 0, 0);
  refused(UV_EINVAL, uvf_fs_open, ctx, NULL, "x", 0, 0);
  refused(UV_EINVAL, uvf_fs_open, ctx, &req, NULL, 0, 0);
  refused(UV_EINVAL, uvf_fs_read, NULL, &req, 0, &buf, 1, 0);
  refused(UV_EINVAL, uvf_fs_read, ctx, NULL, 0, &buf, 1, 0);
  refused(UV_EINVAL, uvf_fs_read, ctx, &req, 0, NULL, 1, 0);
  refused(UV_EINVAL, uvf_fs_read, ctx, &req, 0, &buf, 0, 0);
  refused(UV_EINVAL, uvf_fs_write, NULL, &req, 1, &buf, 1, 0);
  refused(UV_EINVAL, uvf_fs_write, ctx, NULL, 1, &buf, 1, 0);
  refused(UV_EINVAL, uvf_fs_write, ctx, &req, 1, NULL, 1, 0);
  refused(UV_EINVAL, uvf_fs_write, ctx, &req, 1, &buf, 0, 0);
  refused(UV_EINVAL, uvf_fs_stat, NULL, &req, "x");
  refused(UV_EINVAL, uvf_fs_stat, ctx, NULL, "x");
  refused(UV_EINVAL, uvf_fs_stat, ctx, &req, NULL);
  refused(UV_EINVAL, uvf_fs_fstat, NULL, &req, 0);
  refused(UV_EINVAL, uvf_fs_fstat, ctx, NULL, 0);
  refused(UV_EINVAL, uvf_fs_close, NULL, &req, 0);
  refused(UV_EINVAL, uvf_fs_close, ctx, NULL, 0);
  assert_int_equal(counts_of(ctx).ops, 0);
  run_ready(&f->loop);
  assert_int_equal(kit.callbacks, 0);
  for (size_t i = 0; i < sizeof req; i++) assert_int_equal(((unsigned char *)&req)[i], 0xff);
}

/* --- the callbacks --- */

static void either_callback_may_be_null(void **state) {
  fixture_t *f = *state;
  for (int done = 0; done < 2; done++) {
    for (int release = 0; release < 2; release++) {
      for (int late = 0; late < 2; late++) {
        uvf_ctx_t *ctx = child_of(f->root);
        call_t *call = call_new(release);
        park_t *parks[POOL_SIZE];
        call->keep = 1;
        for (int i = 0; i < POOL_SIZE; i++) parks[i] = park_start();
        assert_int_equal(call_started(call, uvf_fs_close(ctx, call_request(call), file_open(".", UV_FS_O_RDONLY),
                                                         done ? call_done : NULL, release ? call_release : NULL)),
                         0);
        if (!done) call->done = 1; /* for the books */
        if (late) uvf_ctx_cancel(ctx);
        run_ready(&f->loop);
        for (int i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
        uv_run(&f->loop, UV_RUN_DEFAULT);
        assert_int_equal(call->req->status, late ? UV_ECANCELED : 0);
        assert_int_equal(call->req->result, 0);
        assert_int_equal(call->released, release);
        uvf_ctx_release(ctx);
      }
    }
  }
}

static void read_again(call_t *call) {
  int *left = call->arg;
  if (call->status != 0 || --*left == 0) return;
  call->req->data = call;
  call->starts++;
  if (uvf_fs_stat(call->req->ctx, call->req, kit.folder, call_done, NULL) != 0) call->starts--;
}

static void a_callback_may_start_the_same_request_again(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t *call = call_new(0);
  int left = 50;
  call->in_done = read_again;
  call->arg = &left;
  begin(call, uvf_fs_stat, ctx, kit.folder);
  run_until(&f->loop, &call->done, 50);
  run_ready(&f->loop);
  assert_int_equal(call->done, 50);
  uvf_ctx_release(ctx);
}

typedef struct deed_s {
  uvf_ctx_t *ctx;
  call_t *other;
  int rc;
} deed_t;

static void end_the_other_and_release(call_t *call) {
  deed_t *deed = call->arg;
  deed->rc = uvf_op_cancel((uvf_op_t *)(void *)deed->other->req);
  kit_expect(deed->other->done == 0, "a callback ran inside a cancel");
  uvf_ctx_cancel(deed->ctx);
  uvf_ctx_release(deed->ctx);
}

static void a_callback_may_cancel_another_and_release_its_context(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    park_t *park;
    deed_t deed = {child_of(f->root), call_new(release), 1};
    call_t *call = call_new(0);
    call->in_done = end_the_other_and_release;
    call->arg = &deed;
    park = park_start();
    begin(call, uvf_fs_stat, deed.ctx, kit.folder);
    begin(deed.other, uvf_fs_open, deed.ctx, kit.folder, UV_FS_O_RDONLY, 0);
    call_wait(call);
    call_wait(deed.other);
    park_end(park);
    /* The other may have been through, but not told, which is no matter: it was claimed, or it stands. */
    assert_true(deed.rc == 0 ? deed.other->status == UV_ECANCELED : deed.other->status == 0);
    if (deed.rc != 0) file_close((uv_file)deed.other->result);
  }
}

static void run_nested(call_t *call) {
  call_t *other = call->arg;
  uv_loop_t *loop = uvf_ctx_loop(call->req->ctx);
  for (int i = 0; i < 100000 && other->done == 0; i++) uv_run(loop, UV_RUN_ONCE);
  kit_expect(other->done == 1, "the loop that ran inside a callback did not deliver");
}

static void a_callback_may_run_the_loop(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    call_t *call = call_new(release), *other = call_new(release);
    call->in_done = run_nested;
    call->arg = other;
    begin(call, uvf_fs_stat, f->root, kit.folder);
    begin(other, uvf_fs_stat, f->root, path_of("none"));
    call_wait(call);
    call_wait(other);
    assert_int_equal(call->status, 0);
    assert_int_equal(other->status, UV_ENOENT);
  }
}

/* Told that it is cancelled, the callback runs the loop until release has come, which frees the request. */
static void let_go_and_run(call_t *call) {
  park_open(call->arg);
  for (int i = 0; i < 100000 && call->released == 0; i++) uv_run(&kit.f->loop, UV_RUN_ONCE);
  kit_expect(call->released == 1, "release did not come while done ran the loop");
}

static void release_may_come_while_done_runs_the_loop(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  park_t *parks[POOL_SIZE];
  call_t *call = call_new(1);
  for (int i = 0; i < POOL_SIZE; i++) parks[i] = park_start();
  call->in_done = let_go_and_run;
  call->arg = parks[0];
  begin(call, uvf_fs_close, ctx, file_open(".", UV_FS_O_RDONLY));
  uvf_ctx_cancel(ctx);
  uvf_ctx_release(ctx);
  call_wait(call);
  for (int i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
  assert_int_equal(call->status, UV_ECANCELED);
  assert_int_equal(call->result, 0);
}

static void close_the_root(call_t *call) {
  deed_t *deed = call->arg;
  uvf_ctx_close(deed->ctx, NULL);
}

static void a_callback_may_close_the_root(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    deed_t deed = {NULL, NULL, 0};
    call_t *call = call_new(release), *late = call_new(release);
    assert_int_equal(uvf_ctx_background(&f->loop, &deed.ctx), 0);
    call->in_done = close_the_root;
    call->arg = &deed;
    begin(call, uvf_fs_stat, deed.ctx, kit.folder);
    begin(late, uvf_fs_close, deed.ctx, file_open(".", UV_FS_O_RDONLY));
    call_wait(call);
    call_wait(late);
    assert_int_equal(late->result, 0);
  }
}

static void two_loops_each_have_their_own_calls(void **state) {
  fixture_t *f = *state;
  uv_loop_t loop;
  uvf_ctx_t *root;
  char bytes[8] = "";
  uv_buf_t in = uv_buf_init(bytes, sizeof bytes);
  call_t *here = call_new(1), *there = call_new(1);
  uv_file fd;
  file_make("file", "data");
  fd = file_open("file", UV_FS_O_RDONLY);
  assert_int_equal(uv_loop_init(&loop), 0);
  assert_int_equal(uvf_ctx_background(&loop, &root), 0);
  begin(there, uvf_fs_read, root, fd, &in, 1, 0);
  begin(here, uvf_fs_fstat, f->root, fd);
  call_wait(here);
  assert_int_equal(there->done, 0); /* its loop did not run */
  run_until(&loop, &there->released, 1);
  assert_ended(there, 0, 4);
  uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  assert_int_equal(uv_loop_close(&loop), 0);
  file_close(fd);
}

/* --- no memory --- */

static void without_memory_of_libuvs_nothing_happens(void **state) {
  fixture_t *f = *state;
  uv_buf_t bufs[100];
  char bytes[100];
  uv_file fd = open_under(f->root, "file", UV_FS_O_RDWR | UV_FS_O_CREAT);
  for (size_t i = 0; i < 100; i++) bufs[i] = uv_buf_init(&bytes[i], 1);
  memset(bytes, 'x', sizeof bytes);
  for (int release = 0; release < 2; release++) {
    call_t *calls[4];
    for (int i = 0; i < 4; i++) calls[i] = call_new(release);
#define fails_first(call, function, ...)                                                                               \
  do {                                                                                                                 \
    atomic_store(&mem_fail_in, 1);                                                                                     \
    assert_int_equal(call_start(call, function, f->root, __VA_ARGS__), UV_ENOMEM);                                     \
    assert_int_equal(atomic_load(&mem_fail_in), 0);                                                                    \
    assert_int_equal(counts_of(f->root).ops, 0);                                                                       \
    run_ready(&f->loop);                                                                                               \
    assert_int_equal((call)->done + (call)->released, 0);                                                              \
    run(call, function, f->root, __VA_ARGS__);                                                                         \
    assert_int_equal((call)->status, 0);                                                                               \
  } while (0)
    fails_first(calls[0], uvf_fs_stat, path_of("file"));
    fails_first(calls[1], uvf_fs_write, fd, bufs, 100, 0);
    fails_first(calls[2], uvf_fs_read, fd, bufs, 100, 0);
    fails_first(calls[3], uvf_fs_open, path_of("file"), UV_FS_O_RDONLY, 0);
    file_close((uv_file)calls[3]->result);
  }
  file_close(fd);
}

static void calls_need_no_memory_of_the_librarys(void **state) {
  fixture_t *f = *state;
  size_t before;
  call_t *stat = call_new(1), *close = call_new(0);
  uv_file fd = file_open(".", UV_FS_O_RDONLY);
  turn(&f->loop);
  before = test_alloc_count();
  test_alloc_fail_at(1);
  run(stat, uvf_fs_stat, f->root, kit.folder);
  run(close, uvf_fs_close, f->root, fd);
  assert_int_equal(test_alloc_failed(), 0);
  assert_int_equal(test_alloc_count(), before);
  assert_int_equal(stat->status + close->status, 0);
}

/* --- misuse --- */

static void start_again(void *arg) {
  call_t *call = arg;
  (void)uvf_fs_stat(call->req->ctx, call->req, kit.folder, call_done, call_release);
}

static void starting_a_call_twice_is_misuse(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  call_t *call = call_new(1);
  park_t *parks[POOL_SIZE];
  for (int i = 0; i < POOL_SIZE; i++) parks[i] = park_start();
  begin(call, uvf_fs_close, ctx, file_open(".", UV_FS_O_RDONLY));
  for (int told = 0; told < 2; told++) { /* pending; then told, but not released: libuv still has it */
    if (test_rules_on()) {
      const char *rule = test_expect_rule(start_again, call);
      assert_non_null(rule);
      assert_non_null(strstr(rule, "uvf_fs_stat: the request is already started"));
    }
    uvf_ctx_cancel(ctx);
    run_until(&f->loop, &call->done, 1);
  }
  for (int i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
  call_wait(call);
  uvf_ctx_release(ctx);
}

typedef struct stranger_s {
  uvf_ctx_t *ctx;
  uvf_fs_t req;
  int rc;
  const char *rule;
} stranger_t;

static void start_there(void *arg) {
  stranger_t *s = arg;
  s->rc = uvf_fs_stat(s->ctx, &s->req, "x", call_done, NULL);
}

static void expect_there(void *arg) {
  stranger_t *s = arg;
  s->rule = test_expect_rule(start_there, s);
  if (!test_rules_on()) start_there(s);
}

static void a_start_on_the_wrong_thread_is_misuse(void **state) {
  fixture_t *f = *state;
  stranger_t s = {.ctx = f->root, .rc = UV_EINVAL};
  turn(&f->loop);
  on_thread(expect_there, &s);
  assert_int_equal(s.rc, UV_EINVAL);
  if (test_rules_on()) assert_non_null(strstr(s.rule, "uvf_fs_stat: must be called on the thread"));
  run_ready(&f->loop);
  assert_int_equal(kit.callbacks, 0);
}

/* --- many --- */

static void calls_ended_at_random_are_each_told_once_and_leave_nothing_open(void **state) {
  fixture_t *f = *state;
  uint64_t seed = test_seed();
  file_make("file", "data");
  for (int round = 0; round < 30; round++) {
    uvf_ctx_t *ctx = child_of(f->root);
    call_t *first = &kit.calls[0];
    kit.ncalls = 0;
    for (int i = 0; i < 20; i++) {
      call_t *call = call_new((int)(test_rand(&seed) % 2));
      uv_file fd = test_rand(&seed) % 2 ? file_open("file", UV_FS_O_RDONLY) : -1;
      if (fd >= 0) begin(call, uvf_fs_close, ctx, fd);
      if (fd < 0) begin(call, uvf_fs_open, ctx, path_of("file"), UV_FS_O_RDONLY, 0);
      call->arg = fd < 0 ? call : NULL;
      if (test_rand(&seed) % 4 == 0) call_cancel(call);
      if (test_rand(&seed) % 4 == 0) uv_run(&f->loop, UV_RUN_NOWAIT);
      if (test_rand(&seed) % 30 == 0) uvf_ctx_cancel(ctx);
      if (test_rand(&seed) % 30 == 0) on_thread(cancel_ctx, ctx);
    }
    for (int i = 0; i < 20; i++) {
      call_wait(&first[i]);
      if (first[i].arg != NULL && first[i].status == 0) file_close((uv_file)first[i].result);
    }
    uvf_ctx_release(ctx);
  }
}

/* Two reads are queued; the newer is taken back, the older goes on with the descriptor. */
static void a_guarded_descriptor_is_closed_behind_the_last_call_that_uses_it(void **state) {
  fixture_t *f = *state;
  file_make("file", "data");
  for (int release = 0; release < 2; release++) {
    park_t *parks[2] = {park_start(), park_start()};
    uv_file fd = file_open("file", UV_FS_O_RDONLY);
    call_t *older = call_new(release), *newer = call_new(release);
    char text[2][8];
    uv_buf_t bufs[2] = {uv_buf_init(text[0], 8), uv_buf_init(text[1], 8)};
    size_t open_before = test_fd_count();
    uvf_guard_t guard;
    assert_int_equal(uvf_guard_start_file(f->root, &guard, fd), 0);
    begin(older, uvf_fs_read, f->root, fd, &bufs[0], 1, 0);
    begin(newer, uvf_fs_read, f->root, fd, &bufs[1], 1, 0);
    assert_int_equal(uvf_guard_close(&guard), 0);
    assert_int_equal(test_fd_count(), open_before);
    assert_int_equal(call_cancel(newer), 0);
    call_wait(newer);
    assert_int_equal(newer->status, UV_ECANCELED);
    assert_int_equal(test_fd_count(), open_before);
    for (int i = 0; i < 2; i++) park_end(parks[i]);
    call_wait(older);
    assert_int_equal(older->status, 0);
    assert_int_equal(older->result, 4);
    assert_int_equal(test_fd_count(), open_before - 1);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      fs_test(a_file_is_opened_written_read_looked_at_and_closed),
      fs_test(offset_minus_one_moves_the_position_and_others_do_not),
      fs_test(many_buffers_go_in_their_order_and_their_array_is_copied),
      fs_test(paths_are_copied),
      fs_test(a_call_holds_the_loop_and_its_context),
      fs_test(the_systems_errors_are_the_status_and_the_result),
      fs_test(bad_arguments_are_refused_and_nothing_happens),
      fs_test(either_callback_may_be_null),
      fs_test(a_callback_may_start_the_same_request_again),
      fs_test(a_callback_may_cancel_another_and_release_its_context),
      fs_test(a_callback_may_run_the_loop),
      fs_test(release_may_come_while_done_runs_the_loop),
      fs_test(a_callback_may_close_the_root),
      fs_test(two_loops_each_have_their_own_calls),
      fs_test(without_memory_of_libuvs_nothing_happens),
      fs_test(calls_need_no_memory_of_the_librarys),
      fs_test(starting_a_call_twice_is_misuse),
      fs_test(a_start_on_the_wrong_thread_is_misuse),
      fs_test(calls_ended_at_random_are_each_told_once_and_leave_nothing_open),
      fs_test(a_guarded_descriptor_is_closed_behind_the_last_call_that_uses_it),
  };
  mem_install();
  return test_run(tests);
}
