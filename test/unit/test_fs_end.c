/* SPDX-License-Identifier: MIT
 *
 * How a call of a file ends: each call, ended in each way, caught in each state, with and without a release callback.
 * The pool has two threads, which are parked or not, so the state is known:
 *
 *   OVER        the context is over before the start
 *   QUEUED      both threads are parked
 *   RUNNING     libuv has begun it, and it blocks: the open of a FIFO without a writer, a read of an empty pipe, a
 *               write that is more than a pipe takes
 *   COMPLETED   it is through on the pool, the loop does not know yet
 *   MET         the same, and the end comes in the callback that libuv calls right before the call's own
 *   READY       libuv's callback has come, ours has not
 */
#include "unit/test_fs.h"

#ifndef _WIN32
#include <sys/stat.h>
#endif

typedef enum state_e { OVER, QUEUED, RUNNING, COMPLETED, MET, READY } state_t;
typedef enum way_e { BY_OP, BY_CTX, BY_THREAD, BY_DEADLINE, BY_PARENT, BY_ROOT, WAYS } way_t;
typedef enum what_e { OPEN, READ, WRITE, STAT, FSTAT, OPENDIR, READDIR, CLOSEDIR, CLOSE, WHATS } what_t;

#define PIPE_WRITE (4u << 20) /* more than any pipe takes at once */

typedef struct row_s {
  state_t state;
  way_t way;
  what_t what;
  uvf_ctx_t *root, *parent, *ctx;
  call_t *call;
  park_t *parks[POOL_SIZE];
  size_t nparks;
  int rc, roots_closed;
  size_t fds;      /* before the call */
  uv_file file;    /* for those that take one */
  uv_file pipe[2]; /* of READ and WRITE when RUNNING */
  uv_dir_t *dir;   /* for those that take one */
  char *bytes;     /* of WRITE when RUNNING */
  char buffer[16];
  uv_dirent_t entries[8];
} row_t;

static int is_close(const row_t *r) { return r->what == CLOSE || r->what == CLOSEDIR; }
static int err_of(const row_t *r) { return r->way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED; }

/* Was the call carried out? */
static int was_run(const row_t *r) { return r->state >= RUNNING || is_close(r); }

static int wanted_status(const row_t *r) { return r->state == READY ? 0 : err_of(r); }

/* --- the ends --- */

static void on_root_closed(uvf_ctx_t *root) {
  (void)root;
  (*(int *)kit.f->data)++;
}

static void row_end(void *arg) {
  row_t *r = arg;
  kit.inside = 1;
  switch (r->way) {
    case BY_OP: r->rc = uvf_op_cancel((uvf_op_t *)(void *)r->call->req); break;
    case BY_CTX: uvf_ctx_cancel(r->ctx); break;
    case BY_PARENT: uvf_ctx_cancel(r->parent); break;
    case BY_THREAD: on_thread(cancel_ctx, r->ctx); break;
    case BY_DEADLINE: an_hour_passes(r->ctx); break;
    default: uvf_ctx_close(r->root, on_root_closed); break;
  }
  kit.inside = 0;
}

static void row_end_ready(void *arg) {
  row_t *r = arg;
  assert_int_equal(r->call->done, 0);
  assert_int_equal(r->call->req->uvf__state, UVF__OP_READY);
  row_end(r);
}

/* --- the calls --- */

static void row_files(row_t *r) {
  uv_fs_t fs;
  r->file = r->pipe[0] = r->pipe[1] = -1;
  if (r->what == READDIR || r->what == CLOSEDIR) {
    assert_int_equal(uv_fs_opendir(NULL, &fs, path_of("folder"), NULL), 0);
    r->dir = fs.ptr;
    uv_fs_req_cleanup(&fs);
  } else if (r->state == RUNNING) {
    if (r->what == READ || r->what == WRITE) assert_int_equal(uv_pipe(r->pipe, 0, 0), 0);
    if (r->what == WRITE) r->bytes = calloc(1, PIPE_WRITE);
  } else if (r->what != OPEN && r->what != STAT && r->what != OPENDIR) {
    file_make("file", "data");
    r->file = file_open("file", UV_FS_O_RDWR);
  }
  r->fds = test_fd_count();
}

static void row_call(row_t *r) {
  uv_buf_t buf = uv_buf_init(r->buffer, sizeof r->buffer);
  switch (r->what) {
    case OPEN:
      begin(r->call, uvf_fs_open, r->ctx, path_of(r->state == RUNNING ? "fifo" : "file"), UV_FS_O_RDONLY, 0);
      break;
    case READ: begin(r->call, uvf_fs_read, r->ctx, r->state == RUNNING ? r->pipe[0] : r->file, &buf, 1, -1); break;
    case WRITE:
      buf = r->state == RUNNING ? uv_buf_init(r->bytes, PIPE_WRITE) : uv_buf_init(memcpy(r->buffer, "DATA", 4), 4);
      begin(r->call, uvf_fs_write, r->ctx, r->state == RUNNING ? r->pipe[1] : r->file, &buf, 1, -1);
      break;
    case STAT: begin(r->call, uvf_fs_stat, r->ctx, path_of("file")); break;
    case FSTAT: begin(r->call, uvf_fs_fstat, r->ctx, r->file); break;
    case OPENDIR: begin(r->call, uvf_fs_opendir, r->ctx, path_of("folder")); break;
    case READDIR: begin(r->call, uvf_fs_readdir, r->ctx, r->dir, r->entries, ARRAY_SIZE(r->entries)); break;
    case CLOSEDIR: begin(r->call, uvf_fs_closedir, r->ctx, r->dir); break;
    default: begin(r->call, uvf_fs_close, r->ctx, r->file); break;
  }
}

/* Lets go what blocks on the pool. */
static void row_let_go(row_t *r) {
  size_t left = PIPE_WRITE;
  if (r->what == OPEN) {
    file_close(file_open("fifo", UV_FS_O_WRONLY)); /* waits for the reader, which is as good as there */
  } else if (r->what == READ) {
    uv_fs_t fs;
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "data", 4);
    assert_int_equal(uv_fs_write(NULL, &fs, r->pipe[1], &buf, 1, -1, NULL), 4);
  }
  while (r->what == WRITE && left > 0) {
    static char sink[65536];
    uv_fs_t fs;
    uv_buf_t buf = uv_buf_init(sink, sizeof sink);
    int n = uv_fs_read(NULL, &fs, r->pipe[0], &buf, 1, -1, NULL);
    assert_true(n > 0);
    left -= (size_t)n;
  }
}

/* --- what came of it --- */

static int64_t result_of(const row_t *r) {
  switch (r->what) {
    case WRITE: return r->state == RUNNING ? (int64_t)PIPE_WRITE : 4;
    case READ: return 4;
    case READDIR: return 3;
    default: return 0;
  }
}

/* The effects: done also when the caller was told otherwise. */
static void check_effects(row_t *r) {
  int ran = was_run(r);
  if (r->what == READ) assert_int_equal(memcmp(r->buffer, "data", 4) == 0, ran);
  if (r->what == WRITE && r->state != RUNNING) assert_file("file", ran ? "DATA" : "data");
  if (is_close(r)) assert_int_equal(test_fd_count(), r->fds - 1);
  if (is_close(r)) assert_true(r->file < 0 || !test_fd_is_open(r->file));
}

static void check_result(row_t *r) {
  call_t *call = r->call;
  assert_int_equal(call->done, 1);
  assert_int_equal(call->released, call->release);
  assert_int_equal(call->status, wanted_status(r));
  if (!was_run(r)) {
    assert_int_equal(call->result, UV_ECANCELED);
  } else if (r->what == OPEN) {
    assert_true(call->result >= 0);
    assert_int_equal(test_fd_is_open((uv_file)call->result), call->status == 0);
  } else {
    assert_int_equal(call->result, result_of(r));
  }
  if (r->what == OPEN && call->status == 0) file_close((uv_file)call->result);
  if (r->what == OPENDIR) assert_int_equal(call->dir != NULL, call->status == 0);
  if (r->what == OPENDIR && call->status == 0) {
    uv_fs_t fs;
    assert_int_equal(uv_fs_closedir(NULL, &fs, call->dir, NULL), 0);
    uv_fs_req_cleanup(&fs);
  }
  if (r->what == STAT || r->what == FSTAT) assert_true(call->status != 0 || call->statbuf.st_size == 4);
  if (r->what == READDIR && call->status == 0) uvf_fs_cleanup(call->req);
  check_effects(r);
}

/* --- the states --- */

static void row_over(row_t *r) {
  row_end(r);
  row_call(r);
}

/* Told while the pool stands still: nothing waits for it but a close, which is carried out. */
static void row_queued(row_t *r) {
  int at_once = r->call->release || !is_close(r);
  row_call(r);
  row_end(r);
  assert_int_equal(r->rc, 0);
  if (at_once) run_until(&kit.f->loop, &r->call->done, 1);
  run_ready(&kit.f->loop);
  assert_int_equal(r->call->done, at_once);
  assert_int_equal(r->call->released, r->call->release && !is_close(r));
  if (is_close(r)) assert_int_equal(call_cancel(r->call), UV_EBUSY);
  if (is_close(r)) assert_int_equal(test_fd_count(), r->fds);
}

static void row_running(row_t *r) {
  row_call(r);
  r->parks[r->nparks++] = park_start(); /* it stood behind the call, so that has left the queue */
  row_end(r);
  assert_int_equal(r->rc, 0);
  if (r->call->release) run_until(&kit.f->loop, &r->call->done, 1);
  run_ready(&kit.f->loop);
  assert_int_equal(r->call->done, r->call->release);
  assert_int_equal(r->call->released, 0);
  assert_int_equal(r->roots_closed, 0); /* a closing root waits */
  assert_int_equal(call_cancel(r->call), UV_EBUSY);
  row_let_go(r);
}

/* On the loop, right before or right behind the call's own callback, and before anything is delivered. */
static void row_with_marker(row_t *r) {
  park_t *marker;
  if (r->state == READY) row_call(r);
  marker = park_queue();
  park_open(marker);
  if (r->state == MET) row_call(r);
  r->parks[r->nparks++] = park_start(); /* the one thread that was left is through with both */
  marker->then = r->state == READY ? row_end_ready : row_end;
  marker->arg = r;
  park_end(marker);
}

static void row_completed(row_t *r) {
  if (r->state == MET) {
    row_with_marker(r);
  } else {
    row_call(r);
    r->parks[r->nparks++] = park_start(); /* the one thread that was left is through with the call */
    row_end(r);
    assert_int_equal(r->call->done, 0);
  }
  assert_int_equal(r->rc, 0);
  if (r->call->release) { /* also when something late is still to be closed, for which no thread is left */
    run_until(&kit.f->loop, &r->call->done, 1);
    run_ready(&kit.f->loop);
    assert_int_equal(r->call->released, r->what != OPEN && r->what != OPENDIR);
  }
}

static void row_ready(row_t *r) {
  row_with_marker(r);
  assert_int_equal(r->rc, r->way == BY_OP ? UV_EBUSY : 0);
}

/* --- a row --- */

static void row_contexts(row_t *r) {
  assert_int_equal(uvf_ctx_background(&kit.f->loop, &r->root), 0);
  r->parent = child_of(r->root);
  r->ctx = r->way == BY_DEADLINE ? timeout_of(r->parent, HOUR_MS) : child_of(r->parent);
}

static void row_park(row_t *r, size_t n) {
  while (r->nparks < n) r->parks[r->nparks++] = park_start();
}

static void row_tidy(row_t *r) {
  while (r->nparks > 0) park_end(r->parks[--r->nparks]);
  call_wait(r->call);
  check_result(r);
  if (r->way == BY_OP) assert_int_equal(uvf_ctx_err(r->ctx), 0); /* one request ended, its context goes on */
  if (r->way != BY_OP) assert_int_equal(uvf_ctx_err(r->ctx), err_of(r));
  if (r->way != BY_ROOT) uvf_ctx_close(r->root, on_root_closed);
  uvf_ctx_release(r->ctx);
  uvf_ctx_release(r->parent);
  run_until(&kit.f->loop, &r->roots_closed, 1);
  if (r->file >= 0 && r->what != CLOSE) file_close(r->file);
  for (int i = 0; i < 2; i++) {
    if (r->pipe[i] >= 0) file_close(r->pipe[i]);
  }
  if (r->what == READDIR) {
    uv_fs_t fs;
    assert_int_equal(uv_fs_closedir(NULL, &fs, r->dir, NULL), 0);
    uv_fs_req_cleanup(&fs);
  }
  free(r->bytes);
  assert_int_equal(r->call->done, 1);
  free(r->call->req);
  kit.ncalls--;
}

static void row_once(state_t state, what_t what, way_t way, int release) {
  row_t *r = calloc(1, sizeof *r);
  long live = atomic_load(&mem_live);
  size_t fds = test_fd_count();
  assert_non_null(r);
  kit.f->data = &r->roots_closed;
  r->state = state;
  r->what = what;
  r->way = way;
  r->call = call_new(release);
  r->call->keep = 1; /* looked at, cancelled again, cleaned up behind the callbacks */
  row_contexts(r);
  row_files(r);
  row_park(r, state == QUEUED ? 2 : state >= COMPLETED ? 1 : 0);
  switch (state) {
    case OVER: row_over(r); break;
    case QUEUED: row_queued(r); break;
    case RUNNING: row_running(r); break;
    case COMPLETED:
    case MET: row_completed(r); break;
    default: row_ready(r); break;
  }
  row_tidy(r);
  assert_int_equal(test_fd_count(), fds);
  assert_int_equal(atomic_load(&mem_live), live);
  free(r);
}

static void check_rows(state_t state, what_t what) {
  file_make("file", "data");
  folder_make("folder");
  file_make("folder/a", "");
  file_make("folder/b", "");
  file_make("folder/c", "");
  for (way_t way = state == OVER ? BY_CTX : BY_OP; way < WAYS; way++) {
    if (state == OVER && way == BY_ROOT) continue; /* nothing is started under a root that is closed */
    row_once(state, what, way, 0);
    row_once(state, what, way, 1);
  }
  for (const char *name = "abc"; *name != '\0'; name++) {
    char path[] = "folder/?";
    uv_fs_t fs;
    path[7] = *name;
    assert_int_equal(uv_fs_unlink(NULL, &fs, path_of(path), NULL), 0);
    uv_fs_req_cleanup(&fs);
  }
}

#define ROW(name, state, what)                                                                                         \
  static void name(void **unused) {                                                                                    \
    (void)unused;                                                                                                      \
    check_rows(state, what);                                                                                           \
  }

ROW(under_a_context_that_is_over_nothing_is_opened, OVER, OPEN)
ROW(under_a_context_that_is_over_nothing_is_read, OVER, READ)
ROW(under_a_context_that_is_over_nothing_is_written, OVER, WRITE)
ROW(under_a_context_that_is_over_no_path_is_looked_at, OVER, STAT)
ROW(under_a_context_that_is_over_no_file_is_looked_at, OVER, FSTAT)
ROW(under_a_context_that_is_over_no_folder_is_opened, OVER, OPENDIR)
ROW(under_a_context_that_is_over_no_folder_is_read, OVER, READDIR)
ROW(under_a_context_that_is_over_a_folder_is_closed_all_the_same, OVER, CLOSEDIR)
ROW(under_a_context_that_is_over_a_file_is_closed_all_the_same, OVER, CLOSE)
ROW(a_queued_open_is_taken_back, QUEUED, OPEN)
ROW(a_queued_read_is_taken_back, QUEUED, READ)
ROW(a_queued_write_is_taken_back, QUEUED, WRITE)
ROW(a_queued_stat_is_taken_back, QUEUED, STAT)
ROW(a_queued_fstat_is_taken_back, QUEUED, FSTAT)
ROW(a_queued_opendir_is_taken_back, QUEUED, OPENDIR)
ROW(a_queued_readdir_is_taken_back, QUEUED, READDIR)
ROW(a_queued_closedir_is_carried_out, QUEUED, CLOSEDIR)
ROW(a_queued_close_is_carried_out, QUEUED, CLOSE)
ROW(a_running_read_is_told_early_and_its_bytes_are_accounted_for, RUNNING, READ)
ROW(a_running_write_is_told_early_and_its_bytes_are_accounted_for, RUNNING, WRITE)
ROW(a_late_open_is_closed, COMPLETED, OPEN)
ROW(a_late_read_is_accounted_for, COMPLETED, READ)
ROW(a_late_write_is_accounted_for, COMPLETED, WRITE)
ROW(a_late_stat_is_dropped, COMPLETED, STAT)
ROW(a_late_fstat_is_dropped, COMPLETED, FSTAT)
ROW(a_late_opendir_is_closed, COMPLETED, OPENDIR)
ROW(the_names_of_a_late_readdir_are_freed, COMPLETED, READDIR)
ROW(a_late_closedir_has_closed, COMPLETED, CLOSEDIR)
ROW(a_late_close_has_closed, COMPLETED, CLOSE)
ROW(an_open_that_meets_its_end_is_closed, MET, OPEN)
ROW(a_read_that_meets_its_end_is_accounted_for, MET, READ)
ROW(a_write_that_meets_its_end_is_accounted_for, MET, WRITE)
ROW(a_stat_that_meets_its_end_is_dropped, MET, STAT)
ROW(an_fstat_that_meets_its_end_is_dropped, MET, FSTAT)
ROW(an_opendir_that_meets_its_end_is_closed, MET, OPENDIR)
ROW(the_names_of_a_readdir_that_meets_its_end_are_freed, MET, READDIR)
ROW(a_closedir_that_meets_its_end_has_closed, MET, CLOSEDIR)
ROW(a_close_that_meets_its_end_has_closed, MET, CLOSE)
ROW(an_open_that_is_about_to_be_told_stands, READY, OPEN)
ROW(a_read_that_is_about_to_be_told_stands, READY, READ)
ROW(a_write_that_is_about_to_be_told_stands, READY, WRITE)
ROW(a_stat_that_is_about_to_be_told_stands, READY, STAT)
ROW(an_fstat_that_is_about_to_be_told_stands, READY, FSTAT)
ROW(an_opendir_that_is_about_to_be_told_stands, READY, OPENDIR)
ROW(a_readdir_that_is_about_to_be_told_stands, READY, READDIR)
ROW(a_closedir_that_is_about_to_be_told_stands, READY, CLOSEDIR)
ROW(a_close_that_is_about_to_be_told_stands, READY, CLOSE)

#ifndef _WIN32 /* Windows has no file whose open blocks */
static void a_running_open_is_told_early_and_its_descriptor_closed(void **state) {
  (void)state;
  assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
  check_rows(RUNNING, OPEN);
}
#endif

int main(void) {
  const struct CMUnitTest tests[] = {
      fs_test(under_a_context_that_is_over_nothing_is_opened),
      fs_test(under_a_context_that_is_over_nothing_is_read),
      fs_test(under_a_context_that_is_over_nothing_is_written),
      fs_test(under_a_context_that_is_over_no_path_is_looked_at),
      fs_test(under_a_context_that_is_over_no_file_is_looked_at),
      fs_test(under_a_context_that_is_over_no_folder_is_opened),
      fs_test(under_a_context_that_is_over_no_folder_is_read),
      fs_test(under_a_context_that_is_over_a_folder_is_closed_all_the_same),
      fs_test(under_a_context_that_is_over_a_file_is_closed_all_the_same),
      fs_test(a_queued_open_is_taken_back),
      fs_test(a_queued_read_is_taken_back),
      fs_test(a_queued_write_is_taken_back),
      fs_test(a_queued_stat_is_taken_back),
      fs_test(a_queued_fstat_is_taken_back),
      fs_test(a_queued_opendir_is_taken_back),
      fs_test(a_queued_readdir_is_taken_back),
      fs_test(a_queued_closedir_is_carried_out),
      fs_test(a_queued_close_is_carried_out),
#ifndef _WIN32
      fs_test(a_running_open_is_told_early_and_its_descriptor_closed),
#endif
      fs_test(a_running_read_is_told_early_and_its_bytes_are_accounted_for),
      fs_test(a_running_write_is_told_early_and_its_bytes_are_accounted_for),
      fs_test(a_late_open_is_closed),
      fs_test(a_late_read_is_accounted_for),
      fs_test(a_late_write_is_accounted_for),
      fs_test(a_late_stat_is_dropped),
      fs_test(a_late_fstat_is_dropped),
      fs_test(a_late_opendir_is_closed),
      fs_test(the_names_of_a_late_readdir_are_freed),
      fs_test(a_late_closedir_has_closed),
      fs_test(a_late_close_has_closed),
      fs_test(an_open_that_meets_its_end_is_closed),
      fs_test(a_read_that_meets_its_end_is_accounted_for),
      fs_test(a_write_that_meets_its_end_is_accounted_for),
      fs_test(a_stat_that_meets_its_end_is_dropped),
      fs_test(an_fstat_that_meets_its_end_is_dropped),
      fs_test(an_opendir_that_meets_its_end_is_closed),
      fs_test(the_names_of_a_readdir_that_meets_its_end_are_freed),
      fs_test(a_closedir_that_meets_its_end_has_closed),
      fs_test(a_close_that_meets_its_end_has_closed),
      fs_test(an_open_that_is_about_to_be_told_stands),
      fs_test(a_read_that_is_about_to_be_told_stands),
      fs_test(a_write_that_is_about_to_be_told_stands),
      fs_test(a_stat_that_is_about_to_be_told_stands),
      fs_test(an_fstat_that_is_about_to_be_told_stands),
      fs_test(an_opendir_that_is_about_to_be_told_stands),
      fs_test(a_readdir_that_is_about_to_be_told_stands),
      fs_test(a_closedir_that_is_about_to_be_told_stands),
      fs_test(a_close_that_is_about_to_be_told_stands),
  };
  mem_install();
  return test_run(tests);
}
