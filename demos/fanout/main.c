/* SPDX-License-Identifier: MIT
 *
 * fanout: asks many HTTP servers at once, under one deadline.
 *
 * One loop, one root, and everything under it: the run's requests (fan.c), curl's sockets and timer (http.c), the
 * servers (backends.c), the line of progress and the signal. The program ends when the run has: what is left is closed
 * with the root, and the loop comes to its end by itself.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

#include "backends.h"
#include "report.h"

enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2, EXIT_SECOND_INTERRUPT = 130 };

typedef struct app_s {
  uv_loop_t loop;
  uvf_ctx_t *root;
  options_t options;
  backends_t *backends;
  http_t http;
  fan_t fan;
  progress_t progress;
  uv_signal_t signal;
  uvf_guard_t signal_guard;
  int interrupted;
} app_t;

static char why_interrupted[] = "interrupted (Ctrl-C)"; /* not const: a cause carries a void pointer */

int complain(const char *what, int err) {
  fprintf(stderr, "fanout: %s: %s\n", what, uv_strerror(err));
  return err;
}

/* --- Ctrl-C -------------------------------------------------------------------------------------------------- */

/* Called by the system, at once, wherever the program is: also in a write that blocks, where the loop would not hear of
 * a signal. */
static void on_second_interrupt(int signum) {
  (void)signum;
  _exit(EXIT_SECOND_INTERRUPT); /* exit() would wait for threads of the pool */
}

/* Called by libuv at the first Ctrl-C. */
static void on_interrupt(uv_signal_t *handle, int signum) {
  app_t *app = container_of(handle, app_t, signal);
  uvf_guard_close(&app->signal_guard);
  signal(signum, on_second_interrupt);
  progress_wipe(&app->progress);
  fputs("fanout: interrupted; once more to end at once\n", stderr);
  app->interrupted = 1;
  fan_cancel(&app->fan, CAUSE_INTERRUPTED, why_interrupted);
}

static int watch_interrupt(app_t *app) {
  int err = uv_signal_init(&app->loop, &app->signal);
  if (err) return err;
  err = uvf_guard_start(app->root, &app->signal_guard, HANDLE(&app->signal), NULL);
  if (err) {
    uv_close(HANDLE(&app->signal), NULL);
    return err;
  }
  return uv_signal_start(&app->signal, on_interrupt, SIGINT);
}

/* --- the run ------------------------------------------------------------------------------------------------- */

/* Called by fan.c, on the loop, when every request has its outcome. */
static void on_fan_done(fan_t *fan) {
  app_t *app = container_of(fan, app_t, fan);
  progress_wipe(&app->progress);
  http_close(&app->http);
  backends_stop(app->backends);
  uvf_ctx_close(app->root, NULL); /* and with it all that is bound to it: signal, timers, sockets */
  app->root = NULL;
}

/* Sets up all that runs. However far it came, closing the root undoes it. */
static int start(app_t *app, uint64_t began_ns) {
  int err = uvf_ctx_background(&app->loop, &app->root);
  if (err) return complain("root", err);
  if (app->options.own_backends) {
    app->backends = backends_start(app->root, &app->options.targets);
    if (backends_failed(app->backends)) return UV_ENOSYS; /* said why */
    if (app->options.first > app->options.targets.count) app->options.first = 0;
  }
  if ((err = watch_interrupt(app))) return complain("SIGINT", err);
  if ((err = http_init(&app->http, app->root, (long)app->options.concurrency))) return complain("curl", err);
  if (app->backends) app->http.no_proxy = "*"; /* whatever the environment says */
  err = fan_start(&app->fan, app->root, &app->http, &app->options, began_ns, on_fan_done);
  if (err) {
    http_close(&app->http);
    return complain("requests", err);
  }
  if ((err = progress_start(&app->progress, app->root, &app->fan))) complain("progress", err); /* can do without */
  return 0;
}

/* Prints what came of it; the exit status. */
static int report(app_t *app) {
  if (app->options.json)
    report_json(&app->fan);
  else
    report_table(&app->fan);
  if (fflush(stdout) || ferror(stdout)) {
    fputs("fanout: the result could not be written to standard output\n", stderr);
    return EXIT_NOT_DONE;
  }
  if (app->interrupted) return EXIT_NOT_DONE;
  return app->options.own_backends || fan_succeeded(&app->fan) ? EXIT_DONE : EXIT_NOT_DONE;
}

static int run(app_t *app, uint64_t began_ns) {
  int status = EXIT_NOT_DONE;
  int err = uv_loop_init(&app->loop);
  if (err) {
    complain("loop", err);
    return status;
  }
  int started = start(app, began_ns) == 0;
  if (!started && app->root) {
    backends_stop(app->backends);
    uvf_ctx_close(app->root, NULL);
    app->root = NULL;
  }
  uv_run(&app->loop, UV_RUN_DEFAULT); /* returns when nothing is left that could happen */
  if (started) status = report(app);
  fan_free(&app->fan);
  backends_free(app->backends);
  err = uv_loop_close(&app->loop);
  if (err) { /* a handle was left: an error of this program */
    complain("closing the loop", err);
    status = EXIT_NOT_DONE;
  }
  return status;
}

/* Where a standard descriptor is closed (`>&-`), the next file or socket would take its number, and the table would be
 * written into that. Filled with a file that is open for reading alone, so that a write fails and is reported. */
static void fill_standard_descriptors(void) {
  uv_fs_t req;
  int fd;
  do {
    fd = uv_fs_open(NULL, &req, "/dev/null", UV_FS_O_RDONLY, 0, NULL);
    uv_fs_req_cleanup(&req);
  } while (fd >= 0 && fd <= 2);
  if (fd < 0) return; /* a system without that file */
  uv_fs_close(NULL, &req, fd, NULL);
  uv_fs_req_cleanup(&req);
}

int main(int argc, char **argv) {
  uint64_t began_ns = uv_hrtime();
  static app_t app;
  fill_standard_descriptors();
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN); /* a peer that is gone is an error of one write, not the end of the program */
#endif
  int status = EXIT_USAGE;
  if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
    fputs("fanout: curl_global_init failed\n", stderr);
    return EXIT_NOT_DONE;
  }
  switch (options_parse(&app.options, argc, argv)) {
    case OPTIONS_RUN: status = run(&app, began_ns); break;
    case OPTIONS_HELP: status = EXIT_DONE; break;
    default: break;
  }
  options_free(&app.options);
  curl_global_cleanup();
  return status;
}
