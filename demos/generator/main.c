/* SPDX-License-Identifier: MIT
 *
 * generator: numbers without end, of which five are taken.
 *
 * The generator makes one number after the other on libuv's pool, always one ahead of the taker, and would go on for
 * ever. The taker cancels its context when it has enough. That is all: the job under way is withdrawn or its number
 * dropped, the generator is told, and the counters at the end show that nothing was left behind.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uvflow.h>

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

enum { MOST = 1000000, EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2 };

static const char HELP[] =
    "Usage: generator [--take N]\n"
    "Takes numbers from a generator that never ends, then cancels it and shows that nothing is left.\n"
    "\n"
    "  --take N  how many to take; default 5\n"
    "  --help    print this\n"
    "\n"
    "Exit status: 0 all were taken and nothing was left, 1 not so, 2 the command line is wrong.\n";

/* --- the generator ------------------------------------------------------------------------------------------- */

typedef struct generator_s generator_t;

/* Gets the numbers, on the loop, in order. */
typedef void (*number_cb)(generator_t *generator, long number);

/* Once, on the loop, when no more will come: why. */
typedef void (*end_cb)(generator_t *generator, int status);

struct generator_s {
  uvf_work_t job;
  uvf_ctx_t *ctx;
  long last; /* written by make_number alone, while its job runs */
  number_cb on_number;
  end_cb on_end;
};

/* Called by uvflow on a thread of the pool. */
static int make_number(uvf_work_t *job) {
  generator_t *generator = container_of(job, generator_t, job);
  generator->last++;
  return 0;
}

/* Called by uvflow on the loop when a number is made, and once when the context has ended: then the pool is through
 * with the job too, because it was started without a release callback. */
static void on_made(uvf_work_t *job, int status) {
  generator_t *generator = container_of(job, generator_t, job);
  long number = generator->last;
  /* The next one is begun before this one is handed over, so that the two overlap. */
  int made = status == 0;
  if (made) status = uvf_work_start(generator->ctx, &generator->job, make_number, on_made, NULL);
  if (made) generator->on_number(generator, number);
  if (!status) return; /* on_made comes again */
  uvf_ctx_release(generator->ctx);
  generator->on_end(generator, status);
}

/* Numbers 1, 2, 3 ... until ctx ends. 0, or UV_E* and neither callback comes. */
static int generator_start(generator_t *generator, uvf_ctx_t *ctx, number_cb on_number, end_cb on_end) {
  generator->last = 0;
  generator->on_number = on_number;
  generator->on_end = on_end;
  generator->ctx = ctx;
  int err = uvf_work_start(ctx, &generator->job, make_number, on_made, NULL);
  if (!err) uvf_ctx_retain(ctx);
  return err;
}

/* --- the taker ----------------------------------------------------------------------------------------------- */

typedef struct taker_s {
  generator_t generator;
  uvf_ctx_t *ctx;
  long wanted;
  long taken;
  int ended; /* times the generator said so */
} taker_t;

static void on_number(generator_t *generator, long number) {
  taker_t *taker = container_of(generator, taker_t, generator);
  if (taker->taken == taker->wanted) return; /* had been made before the cancel */
  printf("%ld\n", number);
  if (++taker->taken == taker->wanted) uvf_ctx_cancel(taker->ctx);
}

static void on_end(generator_t *generator, int status) {
  taker_t *taker = container_of(generator, taker_t, generator);
  taker->ended++;
  printf("generator: %s\n", status == UV_ECANCELED ? "cancelled" : uv_strerror(status));
}

/* --- the program --------------------------------------------------------------------------------------------- */

static int fail(const char *what, int err) {
  fprintf(stderr, "generator: %s: %s\n", what, uv_strerror(err));
  return EXIT_NOT_DONE;
}

/* Takes the numbers; the exit status. */
static int take(uv_loop_t *loop, uvf_ctx_t *root, long wanted) {
  taker_t taker = {.wanted = wanted};
  int err = uvf_ctx_with_cancel(root, &taker.ctx);
  if (err) return fail("context", err);
  err = generator_start(&taker.generator, taker.ctx, on_number, on_end);
  if (err) fail("start", err);
  uv_run(loop, UV_RUN_DEFAULT); /* returns when nothing is owed any more */
  uvf_ctx_release(taker.ctx);

  uvf_stats_t stats;
  uvf_ctx_stats(root, &stats);
  printf("left: %llu contexts beside the root, %llu deadlines, %llu operations\n",
         (unsigned long long)(stats.contexts - 1), (unsigned long long)stats.deadlines, (unsigned long long)stats.ops);
  int clean = stats.contexts == 1 && !stats.deadlines && !stats.ops && !stats.ready;
  return !err && clean && taker.ended == 1 && taker.taken == wanted ? EXIT_DONE : EXIT_NOT_DONE;
}

static int run(long wanted) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  int status = EXIT_NOT_DONE;
  int err = uv_loop_init(&loop);
  if (err) return fail("loop", err);
  if ((err = uvf_ctx_background(&loop, &root))) {
    fail("root", err);
  } else {
    status = take(&loop, root, wanted);
    uvf_ctx_close(root, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
  }
  if ((err = uv_loop_close(&loop))) return fail("closing the loop", err);
  return status;
}

int main(int argc, char **argv) {
  long wanted = 5;
  for (int i = 1; i < argc; i++) {
    if (strcmp(argv[i], "--help") == 0) {
      fputs(HELP, stdout);
      return EXIT_DONE;
    }
    if (strcmp(argv[i], "--take") != 0) {
      fprintf(stderr, "generator: unknown argument '%s'; see generator --help\n", argv[i]);
      return EXIT_USAGE;
    }
    const char *text = i + 1 < argc ? argv[++i] : "";
    char *end = NULL;
    errno = 0;
    wanted = strtol(text, &end, 10);
    if (end == text || *end || errno || wanted < 1 || wanted > MOST) {
      fprintf(stderr, "generator: --take needs a number from 1 to %d\n", MOST);
      return EXIT_USAGE;
    }
  }
  return run(wanted);
}
