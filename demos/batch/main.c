/* SPDX-License-Identifier: MIT
 *
 * batch: a post office as a pipeline. It is drawn, then runs, and is drawn again with its figures.
 *
 *            /- port 0 -> letters -\
 *   mail ---|                       --> ledger
 *            \- port 1 -> parcels -/
 *
 * mail reads pieces and sends each to the handler of its kind: a port is a number, and so routing is an index. The two
 * handlers stand side by side, each with five clerks; both are paced by one limiter. The ledger collects on the loop.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "live.h"
#include "mail.h"

enum {
  CLERKS = 5,
  QUEUE = 16,
  CLERK_MS = 100,
  BURST = 5,
  RATE_MOST = 1000000,
  EXIT_DONE = 0,
  EXIT_NOT_DONE = 1,
  EXIT_USAGE = 2
};

static const char HELP[] =
    "Usage: batch [OPTION]... [FILE]\n"
    "Works out the postage of the mail in FILE in a pipeline; without FILE, of 24 pieces of its own.\n"
    "A line is `letter GRAMS WHO' or `parcel GRAMS WHO'.\n"
    "  --rate N     pieces a second, at most; 1 to 1000000, default 40\n"
    "  --draw-only  draw the pipeline, and don't run it\n"
    "  --dot        draw it for Graphviz, and don't run it\n"
    "  --ascii      draw with ASCII characters only\n"
    "Exit status: 0 done, 1 not done or some line was wrong, 2 the command line is wrong.\n";

typedef struct batch_s {
  const char *path;
  unsigned int rate, flags; /* UVF_DRAW_* */
  int draw_only, format;
  mail_reader_t reader;
  uvf_limiter_t limiter;
  mail_t **pieces; /* collected: the loop's */
  size_t count, room;
  live_t live;
  int wrong, status;
} batch_t;

/* --- the stages ------------------------------------------------------------------------------- */

/* Called by uvflow with a piece that nobody will handle. */
static void drop(void *piece, void *data) {
  (void)data;
  free(piece);
}

/* Called by uvflow on the pool, again and again, until it returns something else than 0. */
static int read_mail(uvf_flow_t *flow, void *none) {
  batch_t *batch = flow->data;
  mail_t *mail;
  (void)none;
  int err = mail_read(&batch->reader, &mail);
  if (err == UV_EINVAL) {
    batch->wrong++;
    fprintf(stderr, "batch: line %zu is not `letter|parcel GRAMS WHO'\n", batch->reader.line);
    return 0; /* the next one, please */
  }
  if (err) return err;
  err = uvf_emit(flow, (unsigned int)mail->kind, mail); /* the route */
  if (err) free(mail);
  return err;
}

/* Both called by uvflow on the pool, for up to CLERKS pieces at once. */
static int handle_letter(uvf_flow_t *flow, void *item) {
  mail_t *mail = item;
  mail->cents = mail_letter_cents(mail);
  uv_sleep(CLERK_MS);
  return uvf_emit(flow, 0, mail); /* to the ledger */
}

static int handle_parcel(uvf_flow_t *flow, void *item) {
  mail_t *mail = item;
  mail->cents = mail_parcel_cents(mail);
  uv_sleep(2 * CLERK_MS);
  return uvf_emit(flow, 0, mail); /* to the ledger */
}

/* Called by uvflow on the loop. */
static int collect(uvf_flow_t *flow, void *item) {
  batch_t *batch = flow->data;
  if (batch->count == batch->room) {
    size_t room = batch->room ? 2 * batch->room : 64;
    mail_t **pieces = realloc(batch->pieces, room * sizeof(*pieces));
    if (!pieces) return UV_ENOMEM;
    batch->pieces = pieces;
    batch->room = room;
  }
  batch->pieces[batch->count++] = item;
  return 0;
}

/* --- the pipeline ----------------------------------------------------------------------------- */

static int add_handler(uvf_pipeline_t *pipeline, batch_t *batch, const char *name, uvf_stage_fn fn,
                       uvf_stage_t **stage) {
  uvf_stage_options_t options;
  uvf_stage_options_init(&options, UVF_STAGE_WORK, name, fn, batch);
  options.workers = CLERKS;
  options.capacity = QUEUE;
  options.limiter = &batch->limiter;
  options.drop = drop;
  return uvf_pipeline_add(pipeline, &options, stage);
}

static int build(uvf_pipeline_t *pipeline, batch_t *batch) {
  uvf_stage_options_t options;
  uvf_stage_t *mail, *letters, *parcels, *ledger;
  uvf_stage_options_init(&options, UVF_STAGE_SOURCE, "mail", read_mail, batch);
  int err = uvf_pipeline_add(pipeline, &options, &mail);
  if (!err) err = add_handler(pipeline, batch, "letters", handle_letter, &letters);
  if (!err) err = add_handler(pipeline, batch, "parcels", handle_parcel, &parcels);
  uvf_stage_options_init(&options, UVF_STAGE_LOOP, "ledger", collect, batch);
  options.capacity = QUEUE;
  options.drop = drop;
  if (!err) err = uvf_pipeline_add(pipeline, &options, &ledger);
  if (!err) err = uvf_pipeline_link(mail, LETTER, letters, 0);
  if (!err) err = uvf_pipeline_link(mail, PARCEL, parcels, 0);
  if (!err) err = uvf_pipeline_chain(letters, ledger);
  if (!err) err = uvf_pipeline_chain(parcels, ledger);
  return err;
}

/* Called by uvflow on the loop, once, when nothing of the pipeline runs any more. */
static void on_done(uvf_pipeline_t *pipeline, int status, void *arg) {
  batch_t *batch = arg;
  (void)pipeline;
  batch->status = status;
  live_end(&batch->live);
}

static int process(uv_loop_t *loop, uvf_ctx_t *root, uvf_pipeline_t *pipeline, batch_t *batch) {
  int err = uvf_pipeline_draw(pipeline, stdout, batch->format, batch->flags);
  if (err || batch->draw_only) return err;
  putchar('\n');
  fflush(stdout);
  err = live_begin(&batch->live, root, pipeline, batch->flags | UVF_DRAW_STATS);
  if (!err) err = uvf_pipeline_run(root, pipeline, on_done, batch);
  if (err) {
    live_end(&batch->live);
    return err;
  }
  uv_run(loop, UV_RUN_DEFAULT); /* returns when nothing is left to do */
  mail_report(batch->pieces, batch->count);
  putchar('\n');
  err = uvf_pipeline_draw(pipeline, stdout, batch->format, batch->flags | UVF_DRAW_STATS);
  return err ? err : batch->status;
}

static int run(batch_t *batch) {
  uv_loop_t loop;
  uvf_ctx_t *root;
  uvf_pipeline_t *pipeline = NULL;
  int err = uv_loop_init(&loop);
  if (err) return err;
  if (!(err = uvf_ctx_background(&loop, &root))) {
    err = uvf_pipeline_create("batch", &pipeline);
    if (!err) err = build(pipeline, batch);
    if (!err) err = process(&loop, root, pipeline, batch);
    uvf_pipeline_destroy(pipeline);
    uvf_ctx_close(root, NULL);
  }
  uv_run(&loop, UV_RUN_DEFAULT);
  int closed = uv_loop_close(&loop);
  for (size_t i = 0; i < batch->count; i++) free(batch->pieces[i]);
  free(batch->pieces);
  return err ? err : closed;
}

/* --- the command line ------------------------------------------------------------------------- */

/* 0, or the argument that is wrong. */
static const char *parse(batch_t *batch, char **argv) {
  for (char **arg = argv + 1; *arg; arg++) {
    if (strcmp(*arg, "--draw-only") == 0) {
      batch->draw_only = 1;
    } else if (strcmp(*arg, "--dot") == 0) {
      batch->draw_only = 1;
      batch->format = UVF_DRAW_DOT;
    } else if (strcmp(*arg, "--ascii") == 0) {
      batch->flags = UVF_DRAW_PLAIN;
    } else if (strcmp(*arg, "--rate") == 0 && arg[1]) {
      char *end;
      unsigned long rate = strtoul(*++arg, &end, 10);
      if (rate < 1 || rate > RATE_MOST || *end) return *arg;
      batch->rate = (unsigned int)rate;
    } else if ((*arg)[0] == '-' || batch->path) {
      return *arg;
    } else {
      batch->path = *arg;
    }
  }
  return NULL;
}

static int start(batch_t *batch) {
  if (batch->path && !(batch->reader.file = fopen(batch->path, "r"))) {
    fprintf(stderr, "batch: %s: %s\n", batch->path, uv_strerror(uv_translate_sys_error(errno)));
    return EXIT_NOT_DONE;
  }
  batch->reader.text = MAIL_EXAMPLE;
  uvf_limiter_init(&batch->limiter, batch->rate, BURST);
  int err = run(batch);
  uvf_limiter_destroy(&batch->limiter);
  if (batch->reader.file) fclose(batch->reader.file);
  if (!err && (fflush(stdout) || ferror(stdout))) err = UV_EIO;
  if (err) fprintf(stderr, "batch: %s\n", uv_strerror(err));
  return err || batch->wrong ? EXIT_NOT_DONE : EXIT_DONE;
}

int main(int argc, char **argv) {
  static batch_t batch = {.rate = 40, .format = UVF_DRAW_TEXT};
  if (argc == 2 && strcmp(argv[1], "--help") == 0) {
    fputs(HELP, stdout);
    return EXIT_DONE;
  }
  const char *wrong = parse(&batch, argv);
  if (wrong) {
    fprintf(stderr, "batch: wrong or without its number: '%s'; see batch --help\n", wrong);
    return EXIT_USAGE;
  }
  /* The clerks sleep on their threads of the pool: one for each, one for the mail, and one that is nobody's. */
  char size[16];
  snprintf(size, sizeof(size), "%d", 2 * CLERKS + 2);
  uv_os_setenv("UV_THREADPOOL_SIZE", size);
  return start(&batch);
}
