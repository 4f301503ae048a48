/* SPDX-License-Identifier: MIT
 *
 * io.h: the guard of a descriptor that requests still use when it ends: it is closed behind the last of them, once, and
 * nobody else gets its number before.
 *
 * The pool has two threads, so what runs and what is queued is known: a read of an empty pipe keeps one until push(); a
 * park keeps one until it is ended, and began only when what was started before it had left the queue.
 */
#include "unit/test_fs.h"

typedef enum how_e { BY_CTX, BY_THREAD, BY_DEADLINE, BY_GUARD, HOWS } how_t;

typedef struct bound_s {
  uvf_ctx_t *ctx; /* the guard's */
  uvf_guard_t guard;
  uv_file file, far; /* a pipe's reading end, which is guarded, and its other one; or a file, and -1 */
  int begun, back;   /* reads */
  char bytes[4][8];  /* of each */
} bound_t;

static void bind_file(bound_t *b, how_t how) {
  b->ctx = how == BY_DEADLINE ? timeout_of(kit.f->root, HOUR_MS) : child_of(kit.f->root);
  memset(&b->guard, 0xa5, sizeof b->guard);
  assert_int_equal(uvf_guard_start_file(b->ctx, &b->guard, b->file), 0);
}

static void pipe_open(bound_t *b, how_t how) {
  uv_file ends[2];
  memset(b, 0, sizeof *b);
  assert_int_equal(uv_pipe(ends, 0, 0), 0);
  b->file = ends[0];
  b->far = ends[1];
  bind_file(b, how);
}

static void data_open(bound_t *b, how_t how) {
  memset(b, 0, sizeof *b);
  file_make("file", "data");
  b->file = file_open("file", UV_FS_O_RDWR);
  b->far = -1;
  bind_file(b, how);
}

static void count_back(call_t *call) { ((bound_t *)call->arg)->back++; }

/* Waits, in a pipe, for the next byte that is pushed. */
static call_t *read_begin(bound_t *b, uvf_ctx_t *ctx, int release) {
  call_t *call = call_new(release);
  uv_buf_t buf;
  call->arg = b;
  call->in_done = count_back;
  buf = uv_buf_init(b->bytes[b->begun++], b->far < 0 ? 4 : 1);
  begin(call, uvf_fs_read, ctx, b->file, &buf, 1, b->far < 0 ? 0 : -1);
  return call;
}

static call_t *fstat_begin(bound_t *b, uvf_ctx_t *ctx, int release) {
  call_t *call = call_new(release);
  begin(call, uvf_fs_fstat, ctx, b->file);
  return call;
}

static void push(bound_t *b) {
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "x", 1);
  uv_fs_t fs;
  assert_int_equal(uv_fs_write(NULL, &fs, b->far, &buf, 1, -1, NULL), 1);
  uv_fs_req_cleanup(&fs);
}

/* The guard has released when this returns. */
static void bound_end(bound_t *b, how_t how) {
  switch (how) {
    case BY_CTX: uvf_ctx_cancel(b->ctx); break;
    case BY_THREAD: on_thread(cancel_ctx, b->ctx); break;
    case BY_DEADLINE: an_hour_passes(b->ctx); break;
    default: assert_int_equal(uvf_guard_close(&b->guard), 0); break;
  }
  turn(&kit.f->loop);
  assert_int_equal(uvf_guard_stop(&b->guard), UV_EBUSY);
  assert_int_equal(uvf_guard_close(&b->guard), UV_EBUSY);
}

/* What was started before is through with the pool, and told. */
static void settle(void) {
  park_t *one = park_start(), *two = park_start();
  park_end(one);
  park_end(two);
  turn(&kit.f->loop);
}

/* It is closed; and whoever gets its number next keeps it. */
static void assert_closed_once(uv_file file) {
  uv_file others[16];
  size_t n = 0;
  assert_false(test_fd_is_open(file));
  file_make("other", "wrong!");
  do {
    assert_true(n < ARRAY_SIZE(others));
    others[n] = file_open("other", UV_FS_O_RDONLY);
  } while (others[n++] != file);
  settle();
  for (size_t i = 0; i < n; i++) file_close(others[i]);
}

static void bound_drop(bound_t *b) {
  uvf_ctx_release(b->ctx);
  if (b->far >= 0) file_close(b->far);
}

/* --- one request --- */

static void run_one(how_t how, int release, int mine) {
  int told = mine && how != BY_GUARD; /* its own context has ended */
  park_t *park;
  call_t *call;
  bound_t b;
  pipe_open(&b, how);
  call = read_begin(&b, mine ? b.ctx : kit.f->root, release);
  park = park_start();
  bound_end(&b, how);
  assert_true(test_fd_is_open(b.file));
  assert_int_equal(call->done, told && release);
  assert_int_equal(call->released, 0);
  push(&b);
  call_wait(call);
  assert_int_equal(call->status, !told ? 0 : how == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED);
  assert_int_equal(call->result, 1);
  assert_int_equal(b.bytes[0][0], 'x');
  park_end(park);
  assert_closed_once(b.file); /* before the request's last callback has come */
  bound_drop(&b);
}

static void under_a_read_that_runs_the_descriptor_stays_open(void **state) {
  (void)state;
  for (int i = 0; i < 4 * HOWS; i++) run_one((how_t)(i / 4), i & 1, i & 2);
}

static void under_a_write_that_runs_it_stays_open_and_then_the_reader_sees_the_end(void **state) {
  enum { LEN = 1 << 20 }; /* more than a pipe takes at once */
  char *bytes = calloc(1, LEN), *sink = malloc(LEN);
  (void)state;
  assert_non_null(bytes);
  assert_non_null(sink);
  for (int release = 0; release < 2; release++) {
    call_t *call = call_new(release);
    uv_buf_t buf = uv_buf_init(bytes, LEN), into = uv_buf_init(sink, LEN);
    uv_file ends[2];
    size_t got = 0;
    park_t *park;
    uv_fs_t fs;
    bound_t b;
    memset(&b, 0, sizeof b);
    assert_int_equal(uv_pipe(ends, 0, 0), 0);
    b.file = ends[1];
    b.far = ends[0];
    bind_file(&b, BY_CTX);
    begin(call, uvf_fs_write, b.ctx, b.file, &buf, 1, -1);
    park = park_start();
    bound_end(&b, BY_CTX);
    assert_true(test_fd_is_open(b.file));
    while (got < LEN) {
      int n = uv_fs_read(NULL, &fs, b.far, &into, 1, -1, NULL);
      assert_true(n > 0);
      got += (size_t)n;
    }
    call_wait(call);
    assert_int_equal(call->result, LEN);
    assert_int_equal(uv_fs_read(NULL, &fs, b.far, &into, 1, -1, NULL), 0); /* nobody writes any more */
    park_end(park);
    assert_closed_once(b.file);
    bound_drop(&b);
  }
  free(bytes);
  free(sink);
}

/* --- several --- */

static void requests_that_are_still_queued_find_their_own_file(void **state) {
  (void)state;
  for (int i = 0; i < 2 * HOWS; i++) {
    park_t *first = park_start(), *second = park_start();
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "more", 4);
    uv_file others[4];
    call_t *calls[3];
    bound_t b;
    data_open(&b, (how_t)(i / 2));
    calls[0] = fstat_begin(&b, kit.f->root, i % 2);
    calls[1] = read_begin(&b, kit.f->root, !(i % 2));
    calls[2] = call_new(i % 2);
    begin(calls[2], uvf_fs_write, kit.f->root, b.file, &buf, 1, 4);
    bound_end(&b, (how_t)(i / 2));
    assert_true(test_fd_is_open(b.file));
    file_make("other", "wrong!");
    for (size_t k = 0; k < ARRAY_SIZE(others); k++) {
      others[k] = file_open("other", UV_FS_O_RDWR);
      assert_int_not_equal(others[k], b.file);
    }
    park_end(first); /* they run one by one */
    for (int k = 0; k < 3; k++) {
      call_wait(calls[k]);
      assert_int_equal(calls[k]->status, 0);
    }
    assert_int_equal(calls[0]->statbuf.st_size, 4);
    assert_int_equal(calls[1]->result, 4);
    assert_memory_equal(b.bytes[0], "data", 4);
    assert_int_equal(calls[2]->result, 4);
    park_end(second);
    assert_closed_once(b.file);
    assert_file("file", "datamore");
    assert_file("other", "wrong!");
    for (size_t k = 0; k < ARRAY_SIZE(others); k++) file_close(others[k]);
    bound_drop(&b);
  }
}

static void those_of_its_own_context_that_are_queued_never_run_and_it_is_closed(void **state) {
  (void)state;
  for (int i = 0; i < 2 * BY_GUARD; i++) {
    park_t *first = park_start(), *second = park_start();
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "more", 4);
    call_t *calls[3];
    bound_t b;
    data_open(&b, (how_t)(i / 2));
    calls[0] = fstat_begin(&b, b.ctx, i % 2);
    calls[1] = read_begin(&b, b.ctx, !(i % 2));
    calls[2] = call_new(i % 2);
    begin(calls[2], uvf_fs_write, b.ctx, b.file, &buf, 1, 0);
    bound_end(&b, (how_t)(i / 2));
    park_end(first);
    park_end(second);
    for (int k = 0; k < 3; k++) {
      call_wait(calls[k]);
      assert_int_equal(calls[k]->status, i / 2 == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED);
      assert_int_equal(calls[k]->result, UV_ECANCELED);
    }
    assert_closed_once(b.file);
    assert_file("file", "data");
    bound_drop(&b);
  }
}

static void it_is_closed_behind_an_older_one_when_the_newest_is_back_first(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    call_t *older, *newer;
    park_t *park;
    bound_t b;
    pipe_open(&b, BY_GUARD);
    older = read_begin(&b, kit.f->root, i & 1);
    park = park_start();
    newer = fstat_begin(&b, kit.f->root, i & 2);
    bound_end(&b, BY_GUARD);
    park_end(park);
    call_wait(newer);
    assert_int_equal(newer->status, 0);
    assert_int_equal(older->done, 0);
    assert_true(test_fd_is_open(b.file));
    push(&b);
    call_wait(older);
    assert_int_equal(older->result, 1);
    assert_closed_once(b.file);
    bound_drop(&b);
  }
}

static void it_is_closed_behind_a_newer_one_when_the_oldest_is_back_first(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    park_t *first = park_start(), *second = park_start();
    call_t *older, *newer;
    bound_t b;
    pipe_open(&b, BY_GUARD);
    older = fstat_begin(&b, kit.f->root, i & 1);
    newer = read_begin(&b, kit.f->root, i & 2);
    bound_end(&b, BY_GUARD);
    park_end(first);
    call_wait(older);
    assert_int_equal(older->status, 0);
    assert_int_equal(newer->done, 0);
    assert_true(test_fd_is_open(b.file));
    push(&b);
    call_wait(newer);
    assert_int_equal(newer->result, 1);
    park_end(second);
    assert_closed_once(b.file);
    bound_drop(&b);
  }
}

static void one_begun_while_the_close_is_put_off_is_waited_for_too(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    call_t *calls[2];
    bound_t b;
    pipe_open(&b, BY_GUARD);
    calls[0] = read_begin(&b, kit.f->root, release);
    bound_end(&b, BY_GUARD);
    calls[1] = read_begin(&b, kit.f->root, release);
    push(&b); /* for whichever of the two */
    run_until(&kit.f->loop, &b.back, 1);
    turn(&kit.f->loop);
    assert_int_equal(b.back, 1);
    assert_true(test_fd_is_open(b.file));
    push(&b);
    for (int i = 0; i < 2; i++) {
      call_wait(calls[i]);
      assert_int_equal(calls[i]->result, 1);
    }
    assert_closed_once(b.file);
    bound_drop(&b);
  }
}

static void requests_on_other_descriptors_do_not_hold_it(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    bound_t busy, idle;
    call_t *call;
    pipe_open(&busy, BY_GUARD);
    pipe_open(&idle, BY_GUARD);
    call = read_begin(&busy, kit.f->root, release);
    assert_int_equal(uvf_guard_close(&idle.guard), 0);
    assert_false(test_fd_is_open(idle.file)); /* inside the close */
    assert_true(test_fd_is_open(busy.file));
    push(&busy);
    call_wait(call);
    assert_int_equal(uvf_guard_close(&busy.guard), 0);
    assert_false(test_fd_is_open(busy.file)); /* the request is back: nobody uses it */
    bound_drop(&busy);
    bound_drop(&idle);
  }
}

/* --- stopped --- */

static void a_guard_that_is_stopped_meanwhile_leaves_it_open_for_good(void **state) {
  (void)state;
  for (int i = 0; i < 4; i++) {
    int due = i / 2; /* the end has come, and has not released yet */
    park_t *park;
    call_t *call;
    bound_t b;
    pipe_open(&b, BY_CTX);
    call = read_begin(&b, b.ctx, i % 2);
    park = park_start();
    if (due) uvf_ctx_cancel(b.ctx);
    assert_int_equal(uvf_guard_stop(&b.guard), 0);
    if (!due) uvf_ctx_cancel(b.ctx);
    turn(&kit.f->loop);
    push(&b);
    call_wait(call);
    assert_int_equal(call->status, UV_ECANCELED);
    park_end(park);
    settle();
    assert_true(test_fd_is_open(b.file));
    file_close(b.file);
    bound_drop(&b);
  }
}

/* --- the root --- */

static bound_t *of_root;
static int roots_closed, open_then;

static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  roots_closed++;
  open_then = test_fd_is_open(of_root->file);
}

static void a_root_is_closed_behind_the_descriptor(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *root = NULL, *own = f->root;
    park_t *park;
    call_t *call;
    bound_t b;
    roots_closed = 0;
    of_root = &b;
    assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
    f->root = root;
    pipe_open(&b, BY_CTX);
    f->root = own;
    call = read_begin(&b, b.ctx, release);
    park = park_start();
    uvf_ctx_close(root, on_root_closed);
    turn(&f->loop);
    assert_int_equal(roots_closed, 0);
    assert_true(test_fd_is_open(b.file));
    push(&b);
    call_wait(call);
    run_until(&f->loop, &roots_closed, 1);
    assert_int_equal(open_then, 0);
    park_end(park);
    assert_closed_once(b.file);
    bound_drop(&b);
  }
}

/* --- memory --- */

static void a_request_that_found_no_memory_does_not_hold_it(void **state) {
  (void)state;
  for (int i = 0; i < 3; i++) { /* of the table, which is made by the first: two blocks; and of libuv's */
    call_t *call = call_new(1);
    uv_buf_t bufs[5];
    bound_t b;
    data_open(&b, BY_GUARD);
    for (int k = 0; k < 5; k++) bufs[k] = uv_buf_init(b.bytes[0], 1);
    if (i < 2) {
      test_alloc_fail_at((size_t)i + 1);
    } else {
      atomic_store(&mem_fail_in, 1);
    }
    assert_int_equal(call_start(call, uvf_fs_read, kit.f->root, b.file, bufs, 5, 0), UV_ENOMEM);
    if (i < 2) assert_true(test_alloc_failed());
    assert_int_equal(atomic_load(&mem_fail_in), 0);
    test_alloc_fail_at(0);
    assert_int_equal(uvf_guard_close(&b.guard), 0);
    assert_false(test_fd_is_open(b.file));
    turn(&kit.f->loop);
    assert_int_equal(call->done, 0);
    bound_drop(&b);
  }
}

static void putting_it_off_and_closing_it_take_no_memory(void **state) {
  (void)state;
  for (int release = 0; release < 2; release++) {
    park_t *park;
    call_t *call;
    bound_t b;
    pipe_open(&b, BY_CTX);
    call = read_begin(&b, b.ctx, release);
    park = park_start();
    test_alloc_fail_at(1);
    atomic_store(&mem_fail_in, 1);
    bound_end(&b, BY_CTX);
    push(&b);
    call_wait(call);
    assert_false(test_alloc_failed());
    assert_int_equal(atomic_load(&mem_fail_in), 1);
    test_alloc_fail_at(0);
    atomic_store(&mem_fail_in, 0);
    park_end(park);
    assert_closed_once(b.file);
    bound_drop(&b);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      fs_test(under_a_read_that_runs_the_descriptor_stays_open),
      fs_test(under_a_write_that_runs_it_stays_open_and_then_the_reader_sees_the_end),
      fs_test(requests_that_are_still_queued_find_their_own_file),
      fs_test(those_of_its_own_context_that_are_queued_never_run_and_it_is_closed),
      fs_test(it_is_closed_behind_an_older_one_when_the_newest_is_back_first),
      fs_test(it_is_closed_behind_a_newer_one_when_the_oldest_is_back_first),
      fs_test(one_begun_while_the_close_is_put_off_is_waited_for_too),
      fs_test(requests_on_other_descriptors_do_not_hold_it),
      fs_test(a_guard_that_is_stopped_meanwhile_leaves_it_open_for_good),
      fs_test(a_root_is_closed_behind_the_descriptor),
      fs_test(a_request_that_found_no_memory_does_not_hold_it),
      fs_test(putting_it_off_and_closing_it_take_no_memory),
  };
  mem_install();
  return test_run(tests);
}
