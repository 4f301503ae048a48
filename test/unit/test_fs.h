/* SPDX-License-Identifier: MIT
 *
 * The kit of the tests of files: calls that note what became of them, a pool of two threads that can be parked, libuv's
 * own memory counted and made to fail, and a temporary folder. The teardown checks what holds for every call: each
 * callback once, on the loop's thread, never inside a start or a cancel; no descriptor, block or file is left.
 *
 * A call's request is a block of its own, freed in its last callback unless `keep` is set: under AddressSanitizer every
 * test thus proves that nobody touches it after that.
 */
#ifndef UVFLOW_TEST_FS_H
#define UVFLOW_TEST_FS_H

#include <errno.h>
#include <stdatomic.h>

#include "support/fds.h"
#include "unit/test_wait.h"

#define POOL_SIZE 2
#define CALLS_MAX 64
#define PARKS_MAX 4

#ifdef _WIN32
#define BINARY UV_FS_O_BINARY
#else
#define BINARY 0
#endif

/* --- libuv's own memory --- */

static atomic_long mem_live, mem_fail_in;

static inline int mem_fails(void) {
  long left = atomic_load(&mem_fail_in);
  while (left > 0 && !atomic_compare_exchange_weak(&mem_fail_in, &left, left - 1)) {}
  if (left == 1) errno = ENOMEM; /* libuv reports it from its pool */
  return left == 1;
}

static inline void *mem_malloc(size_t size) {
  void *p = mem_fails() ? NULL : malloc(size);
  if (p != NULL) atomic_fetch_add(&mem_live, 1);
  return p;
}

static inline void *mem_calloc(size_t n, size_t size) {
  void *p = mem_fails() ? NULL : calloc(n, size);
  if (p != NULL) atomic_fetch_add(&mem_live, 1);
  return p;
}

static inline void *mem_realloc(void *old, size_t size) {
  void *p = mem_fails() ? NULL : realloc(old, size);
  if (p != NULL && old == NULL) atomic_fetch_add(&mem_live, 1);
  return p;
}

static inline void mem_free(void *p) {
  if (p != NULL) atomic_fetch_sub(&mem_live, 1);
  free(p);
}

/* Before anything else of libuv is called. */
static inline void mem_install(void) {
  if (uv_replace_allocator(mem_malloc, mem_realloc, mem_calloc, mem_free) != 0) abort();
  uv_os_setenv("UV_THREADPOOL_SIZE", "2");
}

/* --- the kit --- */

typedef struct call_s call_t;
struct call_s {
  uvf_fs_t *req; /* NULL once it was freed */
  /* set by the test */
  int release; /* the call is given a release callback */
  int keep;    /* its memory stays until the teardown */
  void (*in_done)(call_t *call);
  void *arg;
  /* seen */
  int starts, done, released, status;
  int done_at, released_at; /* places in the order of all callbacks, from 1 */
  int64_t result;           /* these three in the last callback so far */
  uv_dir_t *dir;
  uv_stat_t statbuf;
};

typedef struct park_s {
  uv_work_t work;
  gate_t started, go;
  int used, opened, over;
  void (*then)(void *arg); /* on the loop, when it is over */
  void *arg;
} park_t;

typedef struct kit_s {
  fixture_t *f;
  uv_thread_t thread;
  park_t parks[PARKS_MAX];
  call_t calls[CALLS_MAX];
  int ncalls, inside, callbacks, nested;
  long mem_before;
  char folder[512];
  const char *bad; /* the first promise that was broken */
} kit_t;

static kit_t kit;

static inline void kit_expect(int cond, const char *broken) {
  if (!cond && kit.bad == NULL) kit.bad = broken;
}

static inline void kit_enter(call_t *call) {
  uv_thread_t self = uv_thread_self();
  kit_expect(uv_thread_equal(&self, &kit.thread), "a callback ran on another thread than the loop's");
  kit_expect(!kit.inside, "a callback ran inside a start or a cancel");
  kit.callbacks++;
  call->result = call->req->result;
  call->dir = call->req->dir;
}

static inline void call_drop(call_t *call) {
  uvf_fs_t *req = call->req;
  if (call->keep) return;
  call->req = NULL;
  memset(req, 0xdb, sizeof *req);
  free(req);
}

static inline void call_done(uvf_fs_t *req, int status) {
  call_t *call = req->data;
  kit_enter(call);
  kit_expect(call->req == req, "done got another request");
  kit_expect(req->status == status, "the request's status is not the callback's");
  kit_expect(++call->done == call->starts, "done came more than once");
  call->done_at = kit.callbacks;
  call->status = status;
  if (status == 0) call->statbuf = req->statbuf;
  if (call->in_done != NULL) call->in_done(call);
  if (!call->release && call->done == call->starts) call_drop(call); /* else started again */
}

static inline void call_release(uvf_fs_t *req) {
  call_t *call = req->data;
  kit_enter(call);
  kit_expect(++call->released == call->starts, "release came more than once");
  kit_expect(call->done == call->released, "release came before done");
  call->released_at = kit.callbacks;
  call_drop(call);
}

static inline call_t *call_new(int release) {
  call_t *call = &kit.calls[kit.ncalls++];
  assert_true(kit.ncalls <= CALLS_MAX);
  memset(call, 0, sizeof *call);
  call->release = release;
  return call;
}

/* A request for the next start, all of it undefined. */
static inline uvf_fs_t *call_request(call_t *call) {
  if (call->req == NULL) call->req = malloc(sizeof *call->req);
  if (call->req == NULL) abort();
  memset(call->req, 0xff, sizeof *call->req);
  call->req->data = call;
  call->starts++;
  kit.inside = 1;
  return call->req;
}

static inline int call_started(call_t *call, int err) {
  kit.inside = 0;
  if (err != 0) call->starts--;
  return err;
}

/* Starts function(ctx, request, arguments, done, release). */
#define call_start(call, function, ctx, ...)                                                                           \
  call_started(call, function(ctx, call_request(call), __VA_ARGS__, call_done, (call)->release ? call_release : NULL))

#define begin(call, function, ctx, ...) assert_int_equal(call_start(call, function, ctx, __VA_ARGS__), 0)

static inline int call_cancel(call_t *call) {
  int rc;
  kit.inside = 1;
  rc = uvf_op_cancel((uvf_op_t *)(void *)call->req);
  kit.inside = 0;
  return rc;
}

/* For on_thread(). */
static inline void cancel_ctx(void *ctx) { uvf_ctx_cancel(ctx); }

static inline void call_wait(call_t *call) {
  run_until(&kit.f->loop, &call->done, call->starts);
  if (call->release) run_until(&kit.f->loop, &call->released, call->starts);
}

/* --- a pool that is parked --- */

static inline void park_work(uv_work_t *work) {
  park_t *park = work->data;
  gate_open(&park->started, 1);
  gate_pass(&park->go);
}

static inline void park_over(uv_work_t *work, int status) {
  park_t *park = work->data;
  (void)status;
  park->over = 1;
  if (park->then != NULL) park->then(park->arg);
}

/* Keeps one thread of the pool, or waits for one. */
static inline park_t *park_queue(void) {
  park_t *park = kit.parks;
  while (park->used) park++;
  assert_true(park < kit.parks + PARKS_MAX);
  memset(park, 0, sizeof *park);
  park->used = 1;
  gate_init(&park->started);
  gate_init(&park->go);
  park->work.data = park;
  assert_int_equal(uv_queue_work(&kit.f->loop, &park->work, park_work, park_over), 0);
  return park;
}

static inline park_t *park_start(void) {
  park_t *park = park_queue();
  gate_pass(&park->started);
  return park;
}

static inline void park_open(park_t *park) {
  if (!park->opened) gate_open(&park->go, 1);
  park->opened = 1;
}

static inline void park_end(park_t *park) {
  park_open(park);
  run_until(&kit.f->loop, &park->over, 1);
  gate_destroy(&park->started);
  gate_destroy(&park->go);
  park->used = 0;
}

/* --- files, without the library --- */

static inline const char *path_of(const char *name) {
  static char paths[4][600];
  static int next;
  char *path = paths[next++ % 4];
  snprintf(path, sizeof paths[0], "%s/%s", kit.folder, name);
  return path;
}

static inline uv_file file_open(const char *name, int flags) {
  uv_fs_t req;
  int fd = uv_fs_open(NULL, &req, path_of(name), flags | BINARY, 0600, NULL);
  uv_fs_req_cleanup(&req);
  assert_true(fd >= 0);
  return fd;
}

static inline void file_close(uv_file fd) {
  uv_fs_t req;
  assert_int_equal(uv_fs_close(NULL, &req, fd, NULL), 0);
  uv_fs_req_cleanup(&req);
}

static inline void file_make(const char *name, const char *text) {
  uv_fs_t req;
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, (unsigned int)strlen(text));
  uv_file fd = file_open(name, UV_FS_O_WRONLY | UV_FS_O_CREAT | UV_FS_O_TRUNC);
  if (buf.len > 0) assert_int_equal(uv_fs_write(NULL, &req, fd, &buf, 1, 0, NULL), (int)buf.len);
  file_close(fd);
}

#define assert_file(name, text)                                                                                        \
  do {                                                                                                                 \
    char file_text[256];                                                                                               \
    file_read(name, file_text, sizeof file_text);                                                                      \
    assert_string_equal(file_text, text);                                                                              \
  } while (0)

static inline void file_read(const char *name, char *text, size_t size) {
  uv_fs_t req;
  uv_buf_t buf = uv_buf_init(text, (unsigned int)size - 1);
  uv_file fd = file_open(name, UV_FS_O_RDONLY);
  int n = uv_fs_read(NULL, &req, fd, &buf, 1, 0, NULL);
  assert_true(n >= 0);
  text[n] = '\0';
  file_close(fd);
}

static inline void folder_make(const char *name) {
  uv_fs_t req;
  assert_int_equal(uv_fs_mkdir(NULL, &req, path_of(name), 0700, NULL), 0);
  uv_fs_req_cleanup(&req);
}

/* --- fixture --- */

static inline void folder_remove(void) {
  uv_fs_t req, at;
  uv_dirent_t entry;
  if (kit.folder[0] == '\0') return;
  assert_true(uv_fs_scandir(NULL, &req, kit.folder, 0, NULL) >= 0);
  while (uv_fs_scandir_next(&req, &entry) == 0) {
    if (uv_fs_unlink(NULL, &at, path_of(entry.name), NULL) != 0) {
      uv_fs_req_cleanup(&at);
      assert_int_equal(uv_fs_rmdir(NULL, &at, path_of(entry.name), NULL), 0);
    }
    uv_fs_req_cleanup(&at);
  }
  uv_fs_req_cleanup(&req);
  assert_int_equal(uv_fs_rmdir(NULL, &req, kit.folder, NULL), 0);
  uv_fs_req_cleanup(&req);
}

static inline void folder_of_test(void) {
  char parent[400], template[512];
  size_t size = sizeof parent;
  uv_fs_t req;
  assert_int_equal(uv_os_tmpdir(parent, &size), 0);
  snprintf(template, sizeof template, "%s/uvflow-XXXXXX", parent);
  assert_int_equal(uv_fs_mkdtemp(NULL, &req, template, NULL), 0);
  snprintf(kit.folder, sizeof kit.folder, "%s", req.path);
  uv_fs_req_cleanup(&req);
}

static inline int kit_setup(void **state) {
  static int warm; /* the pool is started once, and keeps what it needs for ever */
  memset(&kit, 0, sizeof kit);
  if (!warm) {
    assert_int_equal(fixture_setup(state), 0);
    kit.f = *state;
    park_end(park_start());
    assert_int_equal(fixture_teardown(state), 0);
    warm = 1;
  }
  folder_of_test();
  kit.mem_before = atomic_load(&mem_live);
  if (fds_setup(state) != 0) return -1;
  kit.f = *state;
  kit.thread = uv_thread_self();
  return 0;
}

static inline int kit_teardown(void **state) {
  int status;
  atomic_store(&mem_fail_in, 0);
  test_alloc_fail_at(0);
  for (park_t *park = kit.parks; park < kit.parks + PARKS_MAX; park++) { /* after a failed assertion */
    park->then = NULL;
    if (park->used) park_open(park);
  }
  status = fds_teardown(state);
  clock_of_old();
  for (int i = 0; i < kit.ncalls; i++) {
    call_t *call = &kit.calls[i];
    kit_expect(call->done == call->starts, "a done did not come");
    kit_expect(!call->release || call->released == call->starts, "a release did not come");
    free(call->req);
  }
  assert_int_equal(atomic_load(&mem_live), kit.mem_before);
  folder_remove();
  if (kit.bad != NULL) fail_msg("%s", kit.bad);
  return status;
}

#define fs_test(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

#endif
