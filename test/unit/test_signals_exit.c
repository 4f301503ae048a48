/* SPDX-License-Identifier: MIT
 *
 * serve.h: signals that end the process: the second one, and any that is not caught any more. This program runs itself
 * as a child, with the name of one of the scenes below, where it sends itself one signal for each line it has said.
 */
#include <signal.h>
#include <stdatomic.h>

#include "unit/probe.h"

/* --- the child: no assertion of cmocka's in here --------------------------------------------------------------- */

#define LEFT 77    /* exit code of a child that left when it had seen enough, */
#define UNASKED 78 /* and of one that nobody has ended */

static uv_loop_t *loop;
static uvf_ctx_t *root;
static uvf_signals_t signals, others;
static uvf_drain_t drain;
static uvf_drain_request_t request;
static uv_timer_t patience;
static atomic_int lines; /* said */
static int firsts;       /* it leaves after so many; 0: never */

static void must(int ok) {
  if (!ok) _Exit(3);
}

/* Any thread. */
static void say(const char *line) {
  printf("%s\n", line);
  fflush(stdout);
  atomic_fetch_add(&lines, 1);
}

static void on_exit_of_child(void) { say("exit"); }

static void on_first(uvf_signals_t *caught, int signum) {
  char line[32];
  (void)caught;
  snprintf(line, sizeof line, "first %d", signum);
  say(line);
  printf("never flushed\n");
  if (--firsts == 0) _Exit(LEFT);
}

static void start(uvf_signals_cb cb) { must(uvf_signals_start(root, &signals, NULL, 0, cb, NULL) == 0); }

static void on_stopped(uvf_signals_t *stopped) {
  (void)stopped;
  say("ready");
}

static void twice(void) {
  start(on_first);
  say("ready");
}

static void both_at_once(void) {
  start(on_first);
  must(raise(SIGINT) == 0 && raise(SIGTERM) == 0);
}

static void two_catchers(void) {
  must(uvf_signals_start(root, &others, NULL, 0, on_first, NULL) == 0);
  twice();
}

static void two_catchers_then(void) {
  firsts = 2;
  two_catchers();
}

static void stopped(void) {
  start(on_first);
  must(uvf_signals_stop(&signals, on_stopped) == 0);
}

static void stop_then(uvf_signals_t *caught, int signum) {
  (void)signum;
  must(uvf_signals_stop(caught, on_stopped) == 0);
}

static void stopped_after_the_first(void) {
  start(stop_then);
  say("ready");
}

static void again_then(uvf_signals_t *caught) {
  (void)caught;
  twice();
}

static void started_again(void) {
  start(on_first);
  must(uvf_signals_stop(&signals, again_then) == 0);
}

static void on_root_closed(uvf_ctx_t *closed) {
  (void)closed;
  say("ready");
}

static void root_closed(void) {
  start(on_first);
  uvf_ctx_close(root, on_root_closed);
}

static int outlasts_us(uvf_work_t *work) {
  (void)work;
  say("working");
  uv_sleep(60000);
  return 0;
}

static void on_job(uvf_work_t *work, int status) {
  (void)work;
  (void)status;
}

static void with_a_job(void) {
  static uvf_work_t work;
  start(on_first);
  must(uvf_work_start(root, &work, outlasts_us, on_job, NULL) == 0);
}

/* As a server: it stops when it has drained, and all is released. */

static void on_drained(uvf_drain_t *drained, int status) {
  (void)drained;
  printf("drained %d\n", status);
  must(uvf_signals_stop(&signals, NULL) == 0);
  uvf_ctx_close(root, NULL);
  root = NULL;
  uv_close((uv_handle_t *)&patience, NULL);
}

static void end_request(uvf_drain_t *draining, uvf_drain_step_t step) {
  (void)draining;
  if (request.drain == NULL) return;
  must(uvf_ctx_err(request.ctx) == 0); /* the signal did not cut it */
  if (step == UVF_DRAIN_WAIT) must(uvf_drain_request_end(&request) == 0);
}

static void drain_then(uvf_signals_t *caught, int signum) {
  (void)caught;
  must(uvf_drain_start(root, &drain, on_drained) == 0);
  printf("draining for %d\n", signum);
}

static void draining(void) {
  uvf_drain_options_t options;
  uvf_ctx_t *ctx = NULL;
  uvf_drain_options_init(&options);
  options.on_step = end_request;
  must(uvf_drain_init(&drain, &options) == 0 && uvf_ctx_with_cancel(root, &ctx) == 0);
  must(uvf_drain_request_begin(&drain, &request, NULL, ctx) == 0);
  uvf_ctx_release(ctx);
  start(drain_then);
  say("ready");
}

typedef struct scene_s {
  const char *name;
  void (*begin)(void);
  int signums[3]; /* raised one by one, when as many lines have been said; then 0 */
  int exit_code, killed_by;
  const char *says;
} scene_t;

static const scene_t scenes[] = {
    {"int-int", twice, {SIGINT, SIGINT}, 128 + SIGINT, 0, "ready\nfirst 2\n"},
    {"int-term", twice, {SIGINT, SIGTERM}, 128 + SIGTERM, 0, "ready\nfirst 2\n"},
    {"term-int", twice, {SIGTERM, SIGINT}, 128 + SIGINT, 0, "ready\nfirst 15\n"},
    {"term-term", twice, {SIGTERM, SIGTERM}, 128 + SIGTERM, 0, "ready\nfirst 15\n"},
    {"at-once", both_at_once, {0}, 128 + SIGTERM, 0, "first 2\n"},
    {"two-catchers", two_catchers_then, {SIGINT}, LEFT, 0, "ready\nfirst 2\nnever flushed\nfirst 2\n"},
    {"two-catchers-twice", two_catchers, {SIGINT, SIGTERM}, 128 + SIGTERM, 0, NULL},
    {"with-a-job", with_a_job, {SIGTERM, SIGTERM}, 128 + SIGTERM, 0, "working\nfirst 15\n"},
    {"started-again", started_again, {SIGINT, SIGTERM}, 128 + SIGTERM, 0, "ready\nfirst 2\n"},
    {"stopped", stopped, {SIGTERM}, 0, SIGTERM, "ready\n"},
    {"stopped-int", stopped, {SIGINT}, 0, SIGINT, "ready\n"},
    {"stopped-after-the-first", stopped_after_the_first, {SIGINT, SIGTERM}, 0, SIGTERM, "ready\nready\n"},
    {"root-closed", root_closed, {SIGTERM}, 0, SIGTERM, "ready\n"},
    {"drain", draining, {SIGTERM}, 0, 0, "ready\ndraining for 15\ndrained 0\nexit\n"},
};

/* The loop is idle, so that what has been raised is told before the next. */
static void on_tick(uv_timer_t *timer) {
  static int ticks, raised;
  const scene_t *scene = timer->data;
  if (++ticks == 4000) _Exit(UNASKED);
  if (raised < atomic_load(&lines) && scene->signums[raised] != 0) must(raise(scene->signums[raised++]) == 0);
}

static int child_main(const char *name) {
  loop = uv_default_loop();
  must(atexit(on_exit_of_child) == 0);
  must(uvf_ctx_background(loop, &root) == 0);
  must(uv_timer_init(loop, &patience) == 0);
  for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
    if (strcmp(scenes[i].name, name) != 0) continue;
    patience.data = (void *)(uintptr_t)&scenes[i];
    must(uv_timer_start(&patience, on_tick, 2, 2) == 0);
    scenes[i].begin();
    uv_run(loop, UV_RUN_DEFAULT);
    return uv_loop_close(loop) == 0 ? 0 : 4;
  }
  return 2;
}

/* --- the parent ------------------------------------------------------------------------------------------------ */

typedef struct child_s {
  uv_process_t process;
  uv_pipe_t out;
  char text[512];
  size_t len;
  int open;
  int64_t exit_code;
  int killed_by;
} child_t;

static void on_closed(uv_handle_t *handle) { ((child_t *)handle->data)->open--; }

static void on_ended(uv_process_t *process, int64_t exit_code, int killed_by) {
  child_t *child = process->data;
  child->exit_code = exit_code;
  child->killed_by = killed_by;
  uv_close((uv_handle_t *)process, on_closed);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf) {
  child_t *child = handle->data;
  (void)suggested;
  *buf = uv_buf_init(child->text + child->len, (unsigned int)(sizeof child->text - 1 - child->len));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf) {
  child_t *child = stream->data;
  (void)buf;
  if (n < 0) {
    uv_close((uv_handle_t *)stream, on_closed);
  } else {
    child->len += (size_t)n;
  }
}

static void child_run(child_t *child, const scene_t *scene, uv_loop_t *on) {
  char path[4096];
  size_t size = sizeof path;
  char name[64];
  char *args[] = {path, "--scene", name, NULL};
  uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}, {.flags = UV_IGNORE}, {.flags = UV_INHERIT_FD}};
  uv_process_options_t options = {.exit_cb = on_ended, .file = path, .args = args, .stdio = stdio, .stdio_count = 3};
  memset(child, 0, sizeof *child);
  assert_int_equal(uv_exepath(path, &size), 0);
  snprintf(name, sizeof name, "%s", scene->name);
  child->process.data = child->out.data = child;
  assert_int_equal(uv_pipe_init(on, &child->out, 0), 0);
  child->out.data = child;
  stdio[1].flags = (uv_stdio_flags)(UV_CREATE_PIPE | UV_WRITABLE_PIPE);
  stdio[1].data.stream = (uv_stream_t *)&child->out;
  stdio[2].data.fd = 2;
  assert_int_equal(uv_spawn(on, &child->process, &options), 0);
  assert_int_equal(uv_read_start((uv_stream_t *)&child->out, on_alloc, on_read), 0);
  child->open = 2;
  while (child->open > 0) uv_run(on, UV_RUN_ONCE); /* the time limit is the child's */
}

static void the_second_signal_ends_the_process_at_once_and_what_is_given_back_does_as_ever(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(scenes); i++) {
    child_t child;
    child_run(&child, &scenes[i], &f->loop);
    if (child.exit_code != scenes[i].exit_code || child.killed_by != scenes[i].killed_by)
      fail_msg("%s: exit %d, killed by %d, having said:\n%s", scenes[i].name, (int)child.exit_code, child.killed_by,
               child.text);
    if (scenes[i].says != NULL)
      assert_string_equal(child.text, scenes[i].says); /* neither "exit" nor what was not flushed */
  }
}

int main(int argc, char **argv) {
  const struct CMUnitTest tests[] = {
      unit(the_second_signal_ends_the_process_at_once_and_what_is_given_back_does_as_ever),
  };
  if (argc == 3 && strcmp(argv[1], "--scene") == 0) return child_main(argv[2]);
  return test_run(tests);
}
