/* SPDX-License-Identifier: MIT
 *
 * md5all: the digests of all files below some directories, sorted, as md5sum would print them.
 *
 * One loop, one root, and under it the run (serial.c, parallel.c or bounded.c), the line of progress and the signal.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <io.h>
#include <process.h>
#define write _write
#else
#include <unistd.h>
#endif

#include "modes.h"
#include "report.h"

typedef struct app_s {
  uv_loop_t loop;
  uvf_ctx_t *root;
  options_t options;
  run_t run;
  progress_t progress;
  uv_signal_t signal;
  uvf_guard_t signal_guard;
  int interrupted;
} app_t;

int complain(const char *what, int err) {
  fprintf(stderr, "md5all: %s: %s\n", what, uv_strerror(err));
  return err;
}

/* --- Ctrl-C -------------------------------------------------------------------------------------------------- */

static char how_far[256]; /* what a Ctrl-C during the output says; set before that begins */
static unsigned int how_far_length;

/* Called by the system, at once, wherever the program is: also in a write that blocks, where the loop would not hear of
 * a signal. */
static void on_last_interrupt(int signum) {
  (void)signum;
  if (how_far_length && write(2, how_far, how_far_length) < 0) how_far_length = 0;
  _exit(EXIT_INTERRUPTED); /* exit() would wait for threads of the pool */
}

/* Called by libuv at the first Ctrl-C. */
static void on_interrupt(uv_signal_t *handle, int signum) {
  app_t *app = container_of(handle, app_t, signal);
  signal(signum, on_last_interrupt);
  progress_wipe(&app->run.tally);
  fputs("md5all: interrupted; once more to end at once\n", stderr);
  app->interrupted = 1;
  uvf_ctx_cancel(app->run.ctx);
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

/* A thread of the pool for each worker, and the one that uvflow leaves to others by default: so all cores work, though
 * jobs do not hold the whole pool, which would make them look for others that want it. The walk and the collecting are
 * done by the same threads between two files: one more for them would make five share four cores, and is slower. But
 * one worker has a second thread beside it in a pipeline, so that the walk goes on during a file. */
static void size_pool(const options_t *options) {
  unsigned int threads = options->mode == MODE_BOUNDED && options->workers == 1 ? 2 : options->workers;
  char text[16];
  size_t size = sizeof(text);
  if (uv_os_getenv("UV_THREADPOOL_SIZE", text, &size) == UV_ENOENT) { /* else it is the user's wish */
    snprintf(text, sizeof(text), "%u", threads + 1);
    uv_os_setenv("UV_THREADPOOL_SIZE", text);
  }
  if (uvf_work_limit() > threads) uvf_work_set_limit(threads);
}

static int digest_all(app_t *app) {
  static int (*const MODES[])(run_t *) = {serial, parallel, bounded};
  run_t *run = &app->run;
  int err = watch_interrupt(app);
  if (err) return complain("SIGINT", err);
  if (!app->options.no_progress && (err = progress_start(&app->progress, app->root, &run->tally))) {
    complain("progress", err); /* can do without */
  }
  walk_open(&run->walk, app->options.paths, app->options.npaths, app->options.follow, &run->tally);
  err = MODES[app->options.mode](run);
  walk_close(&run->walk);
  progress_wipe(&run->tally);
  return err == UV_ECANCELED && app->interrupted ? 0 : err;
}

/* Prints what came of it; the exit status. */
static int report(app_t *app, int err, uint64_t took_ns) {
  tally_t *tally = &app->run.tally;
  char text[192];
  tally_describe(tally, text, sizeof(text));
  if (app->interrupted) fprintf(stderr, "md5all: interrupted: %s\n", text);
  how_far_length = (unsigned int)snprintf(how_far, sizeof(how_far), "md5all: interrupted while printing: %s\n", text);
  signal(SIGINT, on_last_interrupt); /* the loop does not run while this waits for a slow reader */
  if (app->options.stats) report_totals(tally, took_ns);
  int not_written = tally_print(tally, app->run.algorithm.size, stdout);
  signal(SIGINT, SIG_IGN); /* all is written: there is nothing to interrupt */
  if (err) complain("stopped", err);
  if (not_written) complain("standard output", not_written);
  if (!tally_adds_up(tally)) fprintf(stderr, "md5all: the counts do not add up: %s\n", text);
  if (app->interrupted) return EXIT_INTERRUPTED;
  int failed = atomic_load(&tally->failed) || atomic_load(&tally->troubles) || atomic_load(&tally->not_done);
  return err || not_written || failed || !tally_adds_up(tally) ? EXIT_NOT_DONE : EXIT_DONE;
}

static int draw(app_t *app) {
  int err = bounded_draw(&app->run);
  if (!err && fflush(stdout)) err = UV_EIO;
  return err ? complain("drawing", err), EXIT_NOT_DONE : EXIT_DONE;
}

static int run(app_t *app, uint64_t began_ns) {
  int status = EXIT_NOT_DONE;
  int err = uv_loop_init(&app->loop);
  if (err) {
    complain("loop", err);
    return status;
  }
  if ((err = uvf_ctx_background(&app->loop, &app->root))) {
    complain("root", err);
  } else {
    if ((err = uvf_ctx_with_cancel(app->root, &app->run.ctx))) {
      complain("context", err);
    } else if (app->options.draw) {
      status = draw(app);
    } else {
      err = digest_all(app);
      status = report(app, err, uv_hrtime() - began_ns);
    }
    uvf_ctx_release(app->run.ctx);
    uvf_ctx_close(app->root, NULL); /* and with it signal and timer */
    uv_run(&app->loop, UV_RUN_DEFAULT);
    signal(SIGINT, SIG_IGN); /* as report did: closing the uv_signal_t has undone it */
  }
  tally_free(&app->run.tally);
  if ((err = uv_loop_close(&app->loop))) { /* a handle was left: an error of this program */
    complain("closing the loop", err);
    status = EXIT_NOT_DONE;
  }
  return status;
}

/* Where a standard descriptor is closed (`>&-`), the next file or event would take its number, and the result would be
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
  switch (options_parse(&app.options, argc, argv)) {
    case OPTIONS_RUN: break;
    case OPTIONS_HELP: return EXIT_DONE;
    default: return EXIT_USAGE;
  }
  app.run.options = &app.options;
  if (algorithm_open(&app.run.algorithm, app.options.algorithm)) {
    fprintf(stderr, "md5all: OpenSSL has no digest '%s'; openssl list -digest-algorithms names those it has\n",
            app.options.algorithm);
    return EXIT_USAGE;
  }
  size_pool(&app.options);
  setvbuf(stdout, NULL, _IOFBF, 1 << 18); /* the result is written in big blocks */
  int status = run(&app, began_ns);
  algorithm_close(&app.run.algorithm);
  return status;
}
