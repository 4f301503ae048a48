/* SPDX-License-Identifier: MIT
 *
 * What the tests of io share: tallies of a request's two callbacks, the ways to end a request, the moment between
 * libuv's callback and ours, a pool that is known to be full, memory of libuv's that can fail, and addresses of this
 * machine that answer, refuse, and never answer.
 *
 * A tally's request is a heap block of its own and is freed in its last callback, unless `keep` is set: under
 * AddressSanitizer every test thus proves that the library does not touch a request after that.
 */
#ifndef UVFLOW_TEST_IO_PROBE_H
#define UVFLOW_TEST_IO_PROBE_H

#include "kernel/op.h"
#include "support/fds.h"
#include "unit/test_wait.h"

#define IO_POOL 4 /* threads of libuv's pool */
#define PATIENCE_MS 15000

typedef struct tally_s tally_t;
struct tally_s {
  void *req; /* any request struct, `data` the tally; NULL once it was freed */
  size_t size;
  tally_t *next;
  /* set by the test before the start */
  int keep, has_release;
  void (*in_done)(tally_t *t); /* after the notes were taken, before the request is freed */
  void (*in_release)(tally_t *t);
  void *arg;
  /* seen */
  int starts, done, released;
  int status, err_in_done;
  int done_at, released_at; /* places in the order of all callbacks, from 1 */
  uint64_t done_ns;
};

typedef struct io_s {
  fixture_t *f;
  uv_thread_t thread;
  tally_t *tallies;
  int calls, inside, depth;
  int nested; /* the test runs the loop inside a callback: callbacks may come in callbacks */
  int rc;
  int roots_closed;
  size_t libuv_before;
  const char *bad; /* the first promise that was broken */
} io_t;

static io_t io;

static inline void io_expect(int cond, const char *broken) {
  if (!cond && io.bad == NULL) io.bad = broken;
}

/* --- tallies --- */

static inline tally_t *tally_new(size_t size) {
  tally_t *t = calloc(1, sizeof *t);
  if (t == NULL) abort();
  t->size = size;
  t->req = malloc(size);
  if (t->req == NULL) abort();
  memset(t->req, 0xff, size); /* a start must initialise all of it, and read none */
  ((uvf_op_t *)t->req)->data = t;
  t->status = NOT_YET;
  t->next = io.tallies;
  io.tallies = t;
  return t;
}

static inline uvf_op_t *op_of_tally(const tally_t *t) { return t->req; }

static inline void tally_drop(tally_t *t) {
  if (t->keep) return;
  memset(t->req, 0xdb, t->size);
  free(t->req);
  t->req = NULL;
}

static inline void io_enter(void) {
  uv_thread_t self = uv_thread_self();
  io_expect(uv_thread_equal(&self, &io.thread), "a callback ran on another thread than the loop's");
  io_expect(!io.inside, "a callback ran inside a start or a cancel");
  io_expect(io.depth == 0 || io.nested, "a callback ran inside another callback");
  io.depth++;
  io.calls++;
}

static inline void io_leave(void) { io.depth--; }

/* To be called by the request's done callback. */
static inline void tally_done(tally_t *t, int status) {
  io_enter();
  t->done_ns = uv_hrtime();
  t->done++;
  t->done_at = io.calls;
  t->status = status;
  t->err_in_done = uvf_ctx_err(op_of_tally(t)->ctx);
  io_expect(t->done == t->starts, "done came more than once");
  io_expect(op_of_tally(t)->status == status, "the request's status differs from done's");
  if (t->in_done != NULL) t->in_done(t);
  if (!t->has_release && t->done == t->starts && t->req != NULL) tally_drop(t);
  io_leave();
}

static inline void tally_release(tally_t *t) {
  io_enter();
  t->released++;
  t->released_at = io.calls;
  io_expect(t->released == t->starts, "release came more than once");
  io_expect(t->done == t->released, "release came before done");
  io_expect(uvf_ctx_loop(op_of_tally(t)->ctx) == &io.f->loop, "the context is not usable in release");
  if (t->in_release != NULL) t->in_release(t);
  if (t->released == t->starts && t->req != NULL) tally_drop(t);
  io_leave();
}

/* Calls a start or a cancel; callbacks that come inside are noticed. */
#define io_call(expression) (io.inside++, io.rc = (expression), io.inside--, io.rc)
#define io_do(expression) (io.inside++, (void)(expression), io.inside--)

#define tally_start(t, start)                                                                                          \
  do {                                                                                                                 \
    (t)->starts++;                                                                                                     \
    io_expect(io_call(start) == 0, "a start failed");                                                                  \
  } while (0)

/* Until its callbacks have come. */
static inline void run_tally(tally_t *t) {
  run_until(&io.f->loop, &t->done, t->starts);
  if (t->has_release) run_until(&io.f->loop, &t->released, t->starts);
}

#define assert_tally(t, wanted)                                                                                        \
  do {                                                                                                                 \
    assert_int_equal((t)->done, 1);                                                                                    \
    assert_int_equal((t)->released, (t)->has_release);                                                                 \
    assert_int_equal((t)->status, (wanted));                                                                           \
    if ((t)->has_release) assert_true((t)->released_at > (t)->done_at);                                                \
  } while (0)

static inline uint32_t state_of(const tally_t *t) { return uvf__u32_load(&op_of_tally(t)->uvf__state); }

/* --- ways to end a request --- */

typedef enum way_e { BY_OP, BY_CTX, BY_PARENT, BY_THREAD, BY_DEADLINE, BY_ROOT, WAYS } way_t;

/* A request's context, two below a root of its own. */
typedef struct scene_s {
  way_t way;
  int err; /* what the request's status is if this way ends it */
  uvf_ctx_t *root, *parent, *ctx;
} scene_t;

static inline void scene_root_closed(uvf_ctx_t *root) {
  (void)root;
  io_enter();
  io.roots_closed++;
  io_leave();
}

static inline void scene_open(scene_t *s, way_t way) {
  s->way = way;
  s->err = way == BY_DEADLINE ? UV_ETIMEDOUT : UV_ECANCELED;
  io.roots_closed = 0;
  assert_int_equal(uvf_ctx_background(&io.f->loop, &s->root), 0);
  s->parent = child_of(s->root);
  s->ctx = way == BY_DEADLINE ? timeout_of(s->parent, HOUR_MS) : child_of(s->parent);
}

static inline void scene_cancel(void *ctx) { uvf_ctx_cancel(ctx); }

/* Ends the request or its context, without a turn of the loop. What uvf_op_cancel answered, or 0. */
static inline int scene_end(scene_t *s, uvf_op_t *op) {
  switch (s->way) {
    case BY_OP: return io_call(uvf_op_cancel(op));
    case BY_CTX: io_do(scene_cancel(s->ctx)); break;
    case BY_PARENT: io_do(scene_cancel(s->parent)); break;
    case BY_THREAD: io_do(on_thread(scene_cancel, s->ctx)); break;
    case BY_DEADLINE: io_do(an_hour_passes(s->ctx)); break;
    default:
      io_do(uvf_ctx_close(s->root, scene_root_closed));
      s->root = NULL;
      break;
  }
  io_expect(uvf_ctx_err(s->ctx) == s->err, "the context has another err");
  return 0;
}

static inline void scene_close(scene_t *s) {
  uvf_ctx_release(s->ctx);
  uvf_ctx_release(s->parent);
  if (s->root != NULL) uvf_ctx_close(s->root, scene_root_closed);
  run_until(&io.f->loop, &io.roots_closed, 1);
}

/* --- the moment when libuv has called back, and the request's callback is due --- */

typedef struct moment_s {
  uv_check_t check;
  tally_t *t;
  void (*then)(void *arg);
  void *arg;
  int came;
} moment_t;

/* Check callbacks run newest first, so this one runs before the library's, which delivers. */
static inline void moment_on_check(uv_check_t *check) {
  moment_t *moment = (moment_t *)check;
  if (moment->came || moment->t->done > 0 || state_of(moment->t) != UVF__OP_READY) return;
  moment->came = 1;
  moment->then(moment->arg);
}

static inline void moment_start(moment_t *moment, tally_t *t, void (*then)(void *), void *arg) {
  memset(moment, 0, sizeof *moment);
  moment->t = t;
  moment->then = then;
  moment->arg = arg;
  assert_int_equal(uv_check_init(&io.f->loop, &moment->check), 0);
  assert_int_equal(uv_check_start(&moment->check, moment_on_check), 0);
  uv_unref((uv_handle_t *)&moment->check);
}

static inline void moment_stop(moment_t *moment) {
  uv_close((uv_handle_t *)&moment->check, NULL);
  run_ready(&io.f->loop);
}

/* --- in the loop's poll, before what became ready later --- */

typedef struct early_s {
  uv_tcp_t near, far;
  void (*then)(void *arg);
  void *arg;
  int came;
} early_t;

static inline void early_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  static char byte;
  (void)handle;
  (void)suggested;
  *buf = uv_buf_init(&byte, 1);
}

static inline void early_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf) {
  early_t *early = stream->data;
  (void)buf;
  if (nread <= 0 || early->came) return;
  early->came = 1;
  early->then(early->arg);
}

/* A connected pair with a byte in it. Systems tell events in the order in which they came about: what completes after
 * this is told after then(arg), in the same poll, and the library has not looked at its posts in between. */
static inline void early_open(early_t *early, void (*then)(void *), void *arg) {
  uv_buf_t buf = uv_buf_init((char *)(uintptr_t) "x", 1);
  uv_os_sock_t ends[2];
  early->then = then;
  early->arg = arg;
  early->came = 0;
  assert_int_equal(uv_socketpair(SOCK_STREAM, 0, ends, UV_NONBLOCK_PIPE, UV_NONBLOCK_PIPE), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &early->near), 0);
  assert_int_equal(uv_tcp_init(&io.f->loop, &early->far), 0);
  assert_int_equal(uv_tcp_open(&early->near, ends[0]), 0);
  assert_int_equal(uv_tcp_open(&early->far, ends[1]), 0);
  early->near.data = early;
  assert_int_equal(uv_read_start((uv_stream_t *)&early->near, early_alloc, early_read), 0);
  turn(&io.f->loop); /* the system knows that we wait for it */
  assert_int_equal(uv_try_write((uv_stream_t *)&early->far, &buf, 1), 1);
}

static inline void early_close(early_t *early) {
  uv_close((uv_handle_t *)&early->near, NULL);
  uv_close((uv_handle_t *)&early->far, NULL);
  turn(&io.f->loop);
}

/* Another thread cancels, and has done so when this returns; the loop has not heard of it. */
static inline void cancel_elsewhere(void *ctx) { on_thread(scene_cancel, ctx); }

/* --- a clock that stands still --- */

static uint64_t frozen_ns;

static inline uint64_t frozen_clock(void) { return frozen_ns; }

static inline void clock_freeze(void) {
  frozen_ns = uvf__clock_ns();
  uvf__clock_ns = frozen_clock;
}

/* What is due by then rings, as by the loop's timer. */
static inline void clock_to(uvf_ctx_t *ctx, uint64_t ns) {
  frozen_ns = ns;
  uvf__hub_run_deadlines(uvf__ctx_hub(ctx));
}

/* --- memory of libuv's --- */

static atomic_size_t libuv_live, libuv_fail_in;

static inline int libuv_may_fail(void) {
  size_t left = atomic_load(&libuv_fail_in);
  while (left > 0 && !atomic_compare_exchange_weak(&libuv_fail_in, &left, left - 1)) {}
  return left == 1;
}

static inline void *libuv_malloc(size_t size) {
  void *p = libuv_may_fail() ? NULL : malloc(size);
  if (p != NULL) atomic_fetch_add(&libuv_live, 1);
  return p;
}

static inline void *libuv_calloc(size_t n, size_t size) {
  void *p = libuv_may_fail() ? NULL : calloc(n, size);
  if (p != NULL) atomic_fetch_add(&libuv_live, 1);
  return p;
}

static inline void *libuv_realloc(void *old, size_t size) {
  void *p = libuv_may_fail() ? NULL : realloc(old, size);
  if (p != NULL && old == NULL) atomic_fetch_add(&libuv_live, 1);
  return p;
}

static inline void libuv_free(void *p) {
  if (p != NULL) atomic_fetch_sub(&libuv_live, 1);
  free(p);
}

/* The n-th allocation of libuv's from now fails; 0: none fails any more. */
static inline void libuv_fail_at(size_t n) { atomic_store(&libuv_fail_in, n); }

/* --- the pool --- */

typedef struct crowd_s {
  uv_loop_t loop; /* of its own: the test's loop is not held by it */
  uv_work_t works[IO_POOL];
  int n, over;
  gate_t started, go;
} crowd_t;

static inline int gate_passed(gate_t *g) {
  for (int ms = 0; ms < PATIENCE_MS; ms++) {
    if (uv_sem_trywait(&g->sem) == 0) return 1;
    uv_sleep(1);
  }
  return 0;
}

static inline void crowd_park(uv_work_t *work) {
  crowd_t *crowd = work->data;
  gate_open(&crowd->started, 1);
  gate_pass(&crowd->go);
}

static inline void crowd_over(uv_work_t *work, int status) {
  (void)status;
  ((crowd_t *)work->data)->over++;
}

static inline void crowd_add(crowd_t *crowd) {
  uv_work_t *work = &crowd->works[crowd->n++];
  work->data = crowd;
  assert_int_equal(uv_queue_work(&crowd->loop, work, crowd_park, crowd_over), 0);
}

/* Parks n threads of the pool: with all of them, what is started next is known to stay queued. */
static inline void crowd_open(crowd_t *crowd, int n) {
  memset(crowd, 0, sizeof *crowd);
  assert_int_equal(uv_loop_init(&crowd->loop), 0);
  gate_init(&crowd->started);
  gate_init(&crowd->go);
  for (int i = 0; i < n; i++) crowd_add(crowd);
  for (int i = 0; i < n; i++) assert_true(gate_passed(&crowd->started));
}

/* With all threads but one parked: when this returns the pool has finished what was started before. */
static inline void crowd_overtaken(crowd_t *crowd) {
  crowd_add(crowd);
  assert_true(gate_passed(&crowd->started));
}

static inline void crowd_close(crowd_t *crowd) {
  gate_open(&crowd->go, (unsigned int)crowd->n);
  run_until(&crowd->loop, &crowd->over, crowd->n);
  assert_int_equal(uv_loop_close(&crowd->loop), 0);
  gate_destroy(&crowd->started);
  gate_destroy(&crowd->go);
}

/* --- one request, ended in a scene -------------------------------------------------------------- */

typedef struct run_s {
  scene_t scene;
  tally_t *t;
  moment_t moment;
  size_t fds;
  int rc, calls; /* what uvf_op_cancel answered; how often the resolver had been called before */
} run_t;

/* A moment_t's function. */
static inline void run_end(void *arg) {
  run_t *run = arg;
  run->rc = scene_end(&run->scene, run->t->req);
}

static inline void run_close(run_t *run, int status) {
  run_tally(run->t);
  turn(&io.f->loop);
  assert_tally(run->t, status);
  scene_close(&run->scene);
  assert_int_equal(stats_of(io.f->root).ops, 0);
}

/* --- fixture --- */

static inline int io_setup(void **state) {
  memset(&io, 0, sizeof io);
  io.thread = uv_thread_self();
  io.libuv_before = atomic_load(&libuv_live);
  if (fds_setup(state) != 0) return -1;
  io.f = *state;
  return 0;
}

static inline int io_teardown(void **state) {
  int status;
  libuv_fail_at(0);
  status = fds_teardown(state);
  clock_of_old();
  while (io.tallies != NULL) {
    tally_t *t = io.tallies;
    io.tallies = t->next;
    io_expect(t->done == t->starts, "a done did not come");
    io_expect(!t->has_release || t->released == t->starts, "a release did not come");
    free(t->req);
    free(t);
  }
  if (io.bad != NULL) fail_msg("%s", io.bad);
  assert_int_equal(atomic_load(&libuv_live), io.libuv_before);
  return status;
}

#define unit_io(f) cmocka_unit_test_setup_teardown(f, io_setup, io_teardown)

/* The first thing in main. */
static inline void io_main(void) {
  if (uv_os_setenv("UV_THREADPOOL_SIZE", "4") != 0) abort();
  if (uv_replace_allocator(libuv_malloc, libuv_realloc, libuv_calloc, libuv_free) != 0) abort();
}

#endif
