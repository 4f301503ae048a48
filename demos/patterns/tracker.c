/* SPDX-License-Identifier: MIT
 *
 * tracker: events that outlive the requests that caused them, and a shutdown that waits for them, but not for ever.
 *
 * Every event enters a wait group with its name and leaves it when it is through. At the shutdown the group is closed
 * and waited for under a deadline. If the deadline comes first, the group says what is still running; that is
 * cancelled, and waited for once more: nothing is left behind, and what was cut short is known by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { EVENTS = 4, MOST_MS = 3600000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] = "Usage: tracker [--help] [--limit MS] [--too-slow]\n"
                           "Starts four slow events and shuts down at once, waiting for them MS at most.\n"
                           "  --limit MS  1 to 3600000, default 2000; the slowest event takes half of it\n"
                           "  --too-slow  two events take longer than the limit\n"
                           "Exit status: 0 all events were through in time, 1 not so, 2 the command line is wrong.\n";

/* An event: something that takes time. */
typedef struct event_s {
  uvf_waitgroup_entry_t entry;
  uv_timer_t timer;
  uvf_guard_t guard; /* closes the timer when it is cancelled */
  int through;
} event_t;

typedef struct server_s {
  uvf_ctx_t *root;
  uvf_ctx_t *events_ctx;
  event_t events[EVENTS];
  uvf_waitgroup_t tracker;
  uvf_wait_t wait;
  uint64_t limit_ms;
  int status; /* of the shutdown */
} server_t;

static int fail(const char *what, int err) {
  fprintf(stderr, "tracker: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Called by libuv once the timer is closed: by itself or by the end of its context. The event's last breath. */
static void on_closed(uv_handle_t *handle) {
  event_t *event = container_of(handle, event_t, timer);
  printf("%s: %s\n", event->entry.name, event->through ? "through" : "cut short");
  uvf_waitgroup_leave(&event->entry);
}

static void on_through(uv_timer_t *timer) {
  event_t *event = container_of(timer, event_t, timer);
  event->through = 1;
  uvf_guard_close(&event->guard);
}

static int track(server_t *server, event_t *event, const char *name, uint64_t takes_ms) {
  int err = uv_timer_init(uvf_ctx_loop(server->events_ctx), &event->timer);
  if (err) return err;
  err = uvf_waitgroup_enter(&server->tracker, &event->entry, name);
  if (err) {
    uv_close((uv_handle_t *)&event->timer, NULL);
    return err;
  }
  err = uv_timer_start(&event->timer, on_through, takes_ms, 0);
  if (!err) err = uvf_guard_start(server->events_ctx, &event->guard, (uv_handle_t *)&event->timer, on_closed);
  if (err) uv_close((uv_handle_t *)&event->timer, on_closed);
  return err;
}

/* Called by uvflow when all have left the group after all. */
static void on_cut_short(uvf_wait_t *wait, int status) {
  (void)wait;
  printf("shutdown: now nothing is running (%s)\n", status ? uv_strerror(status) : "ok");
}

/* Called by uvflow when all have left the group, or at the deadline. */
static void on_shutdown(uvf_wait_t *wait, int status) {
  server_t *server = container_of(wait, server_t, wait);
  server->status = status;
  if (!status) {
    printf("shutdown: all events are through\n");
    return;
  }
  const char *names[EVENTS];
  size_t n = 0;
  printf("shutdown: %s, %llu still running:", uv_err_name(status),
         (unsigned long long)uvf_waitgroup_names(&server->tracker, names, EVENTS, &n));
  for (size_t i = n; i > 0; i--) printf(" %s%s", names[i - 1], i > 1 ? "," : "\n");
  uvf_ctx_cancel(server->events_ctx);
  int err = uvf_waitgroup_wait(server->root, wait, &server->tracker, on_cut_short);
  if (err) fail("second wait", err);
}

static int shut_down(server_t *server) {
  uvf_ctx_t *limited;
  printf("shutdown: waiting %llu ms at most\n", (unsigned long long)server->limit_ms);
  int err = uvf_ctx_with_timeout(server->root, server->limit_ms, &limited);
  if (err) return err;
  uvf_waitgroup_close(&server->tracker); /* no more events are expected */
  err = uvf_waitgroup_wait(limited, &server->wait, &server->tracker, on_shutdown);
  uvf_ctx_release(limited); /* the wait keeps it */
  return err;
}

static int serve(uv_loop_t *loop, uvf_ctx_t *root, uint64_t limit_ms, int too_slow) {
  static const char *const NAMES[EVENTS] = {"login", "upload", "e-mail", "report"};
  server_t server = {.root = root, .limit_ms = limit_ms, .status = UV_ECANCELED};
  uint64_t slow_ms = too_slow ? limit_ms * 10 : limit_ms / 2;
  uint64_t takes_ms[EVENTS] = {limit_ms / 20, limit_ms / 10, slow_ms / 2, slow_ms};
  uvf_waitgroup_init(&server.tracker);
  int err = uvf_ctx_with_cancel(root, &server.events_ctx);
  if (err) return fail("context", err);
  for (int i = 0; i < EVENTS && !err; i++) err = track(&server, &server.events[i], NAMES[i], takes_ms[i]);
  if (!err) err = shut_down(&server);
  if (err) uvf_ctx_cancel(server.events_ctx);
  uv_run(loop, UV_RUN_DEFAULT);
  uvf_ctx_release(server.events_ctx);
  if (err) return fail("start", err);
  return server.status || uvf_waitgroup_count(&server.tracker) ? EXIT_NOT_DONE : EXIT_DONE;
}

static int run(long limit_ms, int too_slow) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  err = uvf_ctx_background(&loop, &root);
  int status = err ? fail("root", err) : serve(&loop, root, (uint64_t)limit_ms, too_slow);
  if (!err) uvf_ctx_close(root, NULL);
  uv_run(&loop, UV_RUN_DEFAULT);
  err = uv_loop_close(&loop);
  return err ? fail("closing the loop", err) : status;
}

/* A number from 1 to most, or 0. */
static long number(const char *text, long most) {
  char *end;
  long n = text ? strtol(text, &end, 10) : 0;
  return n >= 1 && n <= most && !*end ? n : 0;
}

int main(int argc, char **argv) {
  long limit_ms = 2000;
  int too_slow = 0;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--too-slow") == 0 && (too_slow = 1)) continue;
    if (strcmp(argv[i], "--limit") == 0 && (limit_ms = number(argv[++i], MOST_MS))) continue;
    int help = argv[i] && strcmp(argv[i], "--help") == 0;
    fputs(HELP, help ? stdout : stderr);
    return help ? EXIT_DONE : EXIT_USAGE;
  }
  return run(limit_ms, too_slow);
}
