/* SPDX-License-Identifier: MIT
 *
 * uvf_bench: what the library costs, beside what the same costs on plain libuv, in one run.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "bench_peer.h"

static const bench_row_t *const groups[] = {
    bench_context_rows,   bench_tree_rows,        bench_chain_rows,   bench_value_rows,  bench_bytes_rows,
    bench_watch_rows,     bench_thread_rows,      bench_job_rows,     bench_chan_rows,   bench_chan_thread_rows,
    bench_pong_rows,      bench_pong_thread_rows, bench_wake_rows,    bench_select_rows, bench_sync_rows,
    bench_turn_rows,      bench_group_rows,       bench_request_rows, bench_pipe_rows,   bench_pipe_work_rows,
    bench_pipe_loop_rows, bench_blocks_rows,      bench_md5_rows};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static void usage(FILE *out) {
  fprintf(out,
          "usage: uvf_bench [options]\n"
          "  --row NAME     only the row NAME, or every row whose name begins with NAME\n"
          "  --impl TEXT    only implementations whose name contains TEXT (\"uvflow\", \"libuv\", \"floor\")\n"
          "  --workers N    rows on the pool: N workers (a pool of N + 1 threads) instead of the row's own number\n"
          "  --quick        short samples and small sizes: to see that it runs\n"
          "  --json FILE    write the figures to FILE too, one JSON object a line\n"
          "  --peers DIR    measure beside each row what the programs in DIR do for it, turn by turn\n"
          "  --side         the rows that peers have something for, one table with a column for each, and charts of\n"
          "                 how costs grow (with --row: those rows)\n"
          "  --missing TEXT with --side: a peer that is not there, to be named under the table; may be repeated\n"
          "  --markdown FILE, --svg FILE   with --side: the table and the charts as files\n"
          "  --md5all PROGRAM, --md5-go PROGRAM, --md5-tree DIR   what the row md5 runs, and where; test/bench/run\n"
          "                 builds them\n"
          "  --list         say what each row times, and stop\n"
          "  --names        print the rows' names, and stop\n"
          "  --help         this text\n"
          "Build it in release mode. It exits with 0 also when a goal is missed: speed is never a test; with 1 or 2\n"
          "when something fails, with 3 when a peer has failed and was left out.\n");
}

/* Wraps a long text. */
static void print_text(const char *text) {
  const size_t width = 100;
  while (*text) {
    size_t n = strlen(text);
    if (n > width) {
      for (n = width; n > 0 && text[n] != ' '; n--) {}
      if (!n) n = width;
    }
    printf("    %.*s\n", (int)n, text);
    text += n;
    while (*text == ' ') text++;
  }
}

static void list_rows(int names_only) {
  for (size_t g = 0; g < GROUPS; g++) {
    for (const bench_row_t *row = groups[g]; row->name; row++) {
      if (names_only) {
        printf("%s\n", row->name);
        continue;
      }
      printf("%s: %s\n", row->name, row->title);
      print_text(row->what);
      for (int i = 0; i < BENCH_MAX_IMPLS && row->impls[i]; i++) printf("    - %s\n", row->impls[i]->name);
      printf("\n");
    }
  }
}

static int exact(const char *name) {
  for (size_t g = 0; g < GROUPS; g++) {
    for (const bench_row_t *row = groups[g]; row->name; row++) {
      if (!strcmp(row->name, name)) return 1;
    }
  }
  return 0;
}

static int named(const bench_row_t *row, const bench_options_t *o) {
  if (!o->row) return !o->side || row->flags & BENCH_SIDE;
  if (exact(o->row)) return !strcmp(row->name, o->row);
  return !strncmp(row->name, o->row, strlen(o->row));
}

static int wanted(const bench_row_t *row, const bench_options_t *o) {
  return named(row, o) && !(row->missing && row->missing(row));
}

static void say_what_is_left_out(const bench_options_t *o, FILE *out) {
  for (size_t g = 0; g < GROUPS; g++) {
    for (const bench_row_t *row = groups[g]; row->name; row++) {
      const char *why = row->missing ? row->missing(row) : NULL;
      if (why && named(row, o)) fprintf(out, "  %-16s left out: %s\n", row->name, why);
    }
  }
}

/* Must come before anything uses the pool: libuv reads the variable once, and the library does. */
static void set_pool(unsigned int workers) {
  char threads[16];
  snprintf(threads, sizeof(threads), "%u", workers + 1);
  bench_must("uv_os_setenv", uv_os_setenv("UV_THREADPOOL_SIZE", threads));
}

static int bad(const char *what, const char *which) {
  fprintf(stderr, "uvf_bench: %s: %s\n", which, what);
  usage(stderr);
  return 2;
}

/* Takes an option that has a value. Returns 0 when there is none of that name. */
static int option(bench_options_t *o, const char *name, const char *value) {
  const struct {
    const char *name;
    const char **value;
  } texts[] = {{"--row", &o->row},       {"--impl", &o->impl},     {"--json", &o->json},
               {"--peers", &o->peers},   {"--svg", &o->svg},       {"--markdown", &o->markdown},
               {"--md5all", &o->md5all}, {"--md5-go", &o->md5_go}, {"--md5-tree", &o->md5_tree}};
  for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
    if (strcmp(name, texts[i].name) != 0) continue;
    *texts[i].value = value;
    return 1;
  }
  if (!strcmp(name, "--missing")) {
    for (int i = 0; i < BENCH_MAX_MISSING; i++) {
      if (o->missing[i]) continue;
      o->missing[i] = value;
      return 1;
    }
  }
  if (!strcmp(name, "--workers")) {
    o->workers = (unsigned int)strtoul(value, NULL, 10);
    return o->workers >= 1 && o->workers <= 1000;
  }
  return 0;
}

/* Returns -1 to go on, or what to exit with. */
static int options(bench_options_t *o, int argc, char **argv) {
  for (int i = 1; i < argc; i++) {
    const char *arg = argv[i];
    if (!strcmp(arg, "--help")) {
      usage(stdout);
      return 0;
    } else if (!strcmp(arg, "--list") || !strcmp(arg, "--names")) {
      list_rows(!strcmp(arg, "--names"));
      return 0;
    } else if (!strcmp(arg, "--quick")) {
      o->quick = 1;
    } else if (!strcmp(arg, "--side")) {
      o->side = 1;
    } else if (!strcmp(arg, "--child")) {
      o->child = 1;
    } else if (i + 1 == argc) {
      return bad("an option that is not known, or that lacks its value", arg);
    } else if (!option(o, arg, argv[++i])) {
      return bad("an option that is not known, or a value that it does not take", arg);
    }
  }
  return -1;
}

static void run_row(const bench_row_t *row, const bench_options_t *o, bench_outcome_t *outcome) {
  if (!o->child && (row->workers || row->flags & BENCH_OWN_PROCESS)) {
    bench_spawn_row(row, o, outcome);
  } else {
    bench_run_row(row, o, outcome);
  }
  if (o->child) {
    bench_child_report(outcome);
  } else if (o->side) {
    bench_side_row(outcome);
  } else {
    bench_table_row(outcome);
  }
  bench_json_row(outcome);
}

/* Those that were asked for; NULL only asks how many. */
static size_t each_row(const bench_options_t *o, bench_outcome_t *outcomes) {
  size_t n = 0;
  for (size_t g = 0; g < GROUPS; g++) {
    for (const bench_row_t *row = groups[g]; row->name; row++) {
      if (!wanted(row, o)) continue;
      if (outcomes) run_row(row, o, &outcomes[n]);
      n++;
    }
  }
  return n;
}

int main(int argc, char **argv) {
  bench_options_t o = {0};
  int code = options(&o, argc, argv);
  if (code >= 0) return code;
  bench_md5_options(&o);
  size_t rows = each_row(&o, NULL);
  if (!rows) {
    say_what_is_left_out(&o, stderr);
    return bad("no row of that name can be run", o.row);
  }
#ifdef SIGPIPE
  (void)signal(SIGPIPE, SIG_IGN); /* a peer that has died is an error of the write */
#endif
  if (o.child && o.workers) set_pool(o.workers);
  bench_peers_find(o.peers);
  bench_outcome_t *outcomes = bench_alloc(rows, sizeof(*outcomes));
  if (!o.child) {
    bench_json_open(&o);
    if (o.side) {
      bench_side_begin(&o, rows);
    } else {
      bench_table_begin(&o);
    }
  }
  (void)each_row(&o, outcomes);
  if (!o.child) {
    bench_json_close();
    if (!o.side) say_what_is_left_out(&o, stdout);
    if (o.side) {
      bench_side_end(&o, outcomes, rows);
      say_what_is_left_out(&o, stdout);
    } else {
      bench_table_end(rows);
    }
  }
  free(outcomes);
  return bench_failed ? BENCH_EXIT_PEER : 0;
}
