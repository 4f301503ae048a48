/* SPDX-License-Identifier: MIT
 *
 * fetchall: fetches URLs, several at once, and prints what came of each in the order they were given.
 *
 * One loop, one root, and under it the pipeline (pages.c), curl's sockets and timer (../fanout/http.c), standard input
 * (lines.c) and the signal. When the pipeline is done the root is closed, and the loop comes to its end by itself.
 */
#include <signal.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <process.h>
#else
#include <unistd.h>
#endif

#include "../squares/table.h"
#include "pages.h"

#define DAY_MS 86400000ul
enum { WORKERS_MOST = 1000, RATE_MOST = 1000000 };
enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2, EXIT_SECOND_INTERRUPT = 130 };

static const char HELP[] =
    "Usage: fetchall [OPTION]... [URL]...\n"
    "Fetches every URL, of the command line or else of the lines of standard input, and prints for each\n"
    "its status, bytes and time, in the order they were given. `#' begins a line of comment.\n"
    "  --workers N     transfers at once, 1 to 1000; default 8\n"
    "  --timeout-ms N  the most that one may take; default 10000\n"
    "  --rate N        begin at most N a second; 1 to 1000000, default: no limit\n"
    "  --draw          draw the pipeline, and don't run it\n"
    "  --stats         print a table of what each stage has done, to standard error\n"
    "\n"
    "To a file or a pipe it prints fields with tabs between them: status (- if there is none), bytes,\n"
    "milliseconds, URL, why it failed. An HTTP status from 400 on is a failure.\n"
    "Ctrl-C ends what is under way and says how far it came; a second Ctrl-C ends fetchall at once.\n"
    "Exit status: 0 all were fetched, 1 not all, 2 the command line is wrong, 130 a second Ctrl-C.\n";

typedef struct app_s {
  pages_options_t options;
  int draw, stats;
  uv_loop_t loop;
  uvf_ctx_t *root;
  http_t http;
  pages_t pages;
  uv_signal_t signal;
  uvf_guard_t signal_guard;
  uint64_t began_ns;
  int interrupted, status;
} app_t;

/* --- Ctrl-C ----------------------------------------------------------------------------------- */

/* Called by the system, at once. */
static void on_second_interrupt(int signum) {
  (void)signum;
  _exit(EXIT_SECOND_INTERRUPT);
}

/* Called by libuv at the first Ctrl-C. */
static void on_interrupt(uv_signal_t *handle, int signum) {
  app_t *app = container_of(handle, app_t, signal);
  uvf_guard_close(&app->signal_guard);
  signal(signum, on_second_interrupt);
  app->interrupted = 1;
  uvf_pipeline_cancel(app->pages.pipeline);
}

static int watch_interrupt(app_t *app) {
  int err = uv_signal_init(&app->loop, &app->signal);
  if (err) return err;
  if ((err = uvf_guard_start(app->root, &app->signal_guard, HANDLE(&app->signal), NULL))) {
    uv_close(HANDLE(&app->signal), NULL);
    return err;
  }
  return uv_signal_start(&app->signal, on_interrupt, SIGINT);
}

/* --- the run ---------------------------------------------------------------------------------- */

static void report(app_t *app) {
  const pages_t *pages = &app->pages;
  double s = (double)(uv_hrtime() - app->began_ns) / 1e9;
  if (app->interrupted)
    fprintf(stderr, "fetchall: interrupted: %zu fetched, %zu failed, %zu given up\n", pages->fetched, pages->failed,
            pages_given_up(pages));
  else if (pages->print.terminal)
    printf("\n%zu fetched, %zu failed; %" PRIu64 " bytes in %.1f s\n", pages->fetched, pages->failed, pages->bytes, s);
  if (app->stats) table_print(pages->pipeline, stderr);
}

/* Called by uvflow, on the loop, once, when nothing of the pipeline runs any more. */
static void on_done(uvf_pipeline_t *pipeline, int status, void *arg) {
  app_t *app = arg;
  (void)pipeline;
  if (!app->interrupted) app->status = status;
  report(app);
  http_close(&app->http);
  uvf_ctx_close(app->root, NULL); /* and with it all that is bound to it */
  app->root = NULL;
}

/* 0: on_done will come, or the pipeline was drawn. */
static int start(app_t *app) {
  int err = pages_init(&app->pages, app->root, &app->options);
  if (err || app->draw) return err ? err : uvf_pipeline_draw(app->pages.pipeline, stdout, UVF_DRAW_TEXT, 0);
  if ((err = watch_interrupt(app))) return err;
  if ((err = http_init(&app->http, app->root, (long)app->options.workers))) return err;
  app->pages.http = &app->http;
  print_begin(&app->pages.print);
  if (!*app->options.urls && uv_guess_handle(0) == UV_TTY)
    fputs("fetchall: one URL a line; Ctrl-D ends them\n", stderr);
  if ((err = uvf_pipeline_run(app->root, app->pages.pipeline, on_done, app))) http_close(&app->http);
  return err;
}

static int run(app_t *app) {
  int err = uv_loop_init(&app->loop);
  if (err) return err;
  if (!(err = uvf_ctx_background(&app->loop, &app->root))) {
    err = start(app);
    if (err || app->draw) {
      uvf_ctx_close(app->root, NULL);
      app->root = NULL;
    }
  }
  uv_run(&app->loop, UV_RUN_DEFAULT); /* returns when nothing is left to do */
  pages_free(&app->pages);
  int closed = uv_loop_close(&app->loop);
  if (!err) err = app->status ? app->status : closed;
  if (!err && (fflush(stdout) || ferror(stdout))) err = UV_EIO;
  return err;
}

/* --- the command line ------------------------------------------------------------------------- */

/* The number behind an option, from 1 to most; 0: it is wrong. */
static unsigned long number(const char *text, unsigned long most) {
  char *end;
  unsigned long n = text && strspn(text, "0123456789") == strlen(text) ? strtoul(text, &end, 10) : 0;
  return n <= most ? n : 0;
}

/* NULL, or the argument that is wrong. argv becomes the URLs. */
static const char *parse(app_t *app, char **argv) {
  pages_options_t *options = &app->options;
  char **urls = argv;
  options->urls = argv;
  for (char **arg = argv + 1; *arg; arg++) {
    if (strcmp(*arg, "--draw") == 0) {
      app->draw = 1;
    } else if (strcmp(*arg, "--stats") == 0) {
      app->stats = 1;
    } else if (strcmp(*arg, "--workers") == 0) {
      if (!(options->workers = (unsigned int)number(*++arg, WORKERS_MOST))) return arg[-1];
    } else if (strcmp(*arg, "--timeout-ms") == 0) {
      if (!(options->timeout_ms = number(*++arg, DAY_MS))) return arg[-1];
    } else if (strcmp(*arg, "--rate") == 0) {
      if (!(options->rate = (unsigned int)number(*++arg, RATE_MOST))) return arg[-1];
    } else if ((*arg)[0] == '-' || !(*arg)[0]) {
      return *arg;
    } else {
      *urls++ = *arg;
    }
  }
  *urls = NULL;
  return NULL;
}

int main(int argc, char **argv) {
  static app_t app = {.options = {.workers = 8, .timeout_ms = 10000}};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(HELP, stdout);
    return EXIT_DONE;
  }
  const char *wrong = parse(&app, argv);
  if (wrong) {
    fprintf(stderr, "fetchall: wrong or without its number: '%s'; see fetchall --help\n", wrong);
    return EXIT_USAGE;
  }
#ifdef SIGPIPE
  signal(SIGPIPE, SIG_IGN); /* a peer or reader that is gone is an error of one write */
#endif
  app.began_ns = uv_hrtime();
  if (curl_global_init(CURL_GLOBAL_DEFAULT)) return EXIT_NOT_DONE;
  int err = run(&app);
  curl_global_cleanup();
  if (err) fprintf(stderr, "fetchall: %s%s\n", app.pages.where ? app.pages.where : "", uv_strerror(err));
  return err || app.interrupted || app.pages.failed ? EXIT_NOT_DONE : EXIT_DONE;
}
