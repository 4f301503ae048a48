/* SPDX-License-Identifier: MIT
 *
 * uvf_bench: what the library costs, beside what the same costs on plain libuv, in one run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

static const bench_row_t *const groups[] = {
    bench_context_rows,     bench_tree_rows,    bench_value_rows,  bench_bytes_rows,       bench_watch_rows,
    bench_thread_rows,      bench_job_rows,     bench_chan_rows,   bench_chan_thread_rows, bench_pong_rows,
    bench_pong_thread_rows, bench_wake_rows,    bench_select_rows, bench_sync_rows,        bench_turn_rows,
    bench_group_rows,       bench_request_rows, bench_pipe_rows,   bench_pipe_work_rows,   bench_pipe_loop_rows};
#define GROUPS (sizeof(groups) / sizeof(groups[0]))

static void usage(FILE *out) {
  fprintf(out,
          "usage: uvf_bench [options]\n"
          "  --row NAME     only the row NAME, or every row whose name begins with NAME\n"
          "  --impl TEXT    only implementations whose name contains TEXT (\"uvflow\", \"libuv\", \"floor\")\n"
          "  --workers N    rows on the pool: N workers (a pool of N + 1 threads) instead of the row's own number\n"
          "  --quick        short samples and small sizes: to see that it runs\n"
          "  --json FILE    write the figures to FILE too, one JSON object a line\n"
          "  --list         say what each row times, and stop\n"
          "  --names        print the rows' names, and stop\n"
          "  --help         this text\n"
          "Build it in release mode. It exits with 0 also when a goal is missed: speed is never a test.\n");
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

static int wanted(const bench_row_t *row, const bench_options_t *o) {
  if (!o->row) return 1;
  if (exact(o->row)) return !strcmp(row->name, o->row);
  return !strncmp(row->name, o->row, strlen(o->row));
}

/* Must come before anything uses the pool: libuv reads the variable once, and the library does. */
static void set_pool(unsigned int workers) {
  char threads[16];
  snprintf(threads, sizeof(threads), "%u", workers + 1);
  bench_must("uv_os_setenv", uv_os_setenv("UV_THREADPOOL_SIZE", threads));
}

static int bad(const char *what) {
  fprintf(stderr, "uvf_bench: %s\n", what);
  usage(stderr);
  return 2;
}

int main(int argc, char **argv) {
  bench_options_t o = {0};
  size_t rows = 0;

  for (int i = 1; i < argc; i++) {
    const char *arg = argv[i];
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(arg, "--help")) {
      usage(stdout);
      return 0;
    } else if (!strcmp(arg, "--list") || !strcmp(arg, "--names")) {
      list_rows(!strcmp(arg, "--names"));
      return 0;
    } else if (!strcmp(arg, "--quick")) {
      o.quick = 1;
    } else if (!strcmp(arg, "--child")) {
      o.child = 1;
    } else if (!strcmp(arg, "--row") || !strcmp(arg, "--impl") || !strcmp(arg, "--json") || !strcmp(arg, "--workers")) {
      if (!value) return bad("an option lacks its value");
      i++;
      if (!strcmp(arg, "--row")) o.row = value;
      if (!strcmp(arg, "--impl")) o.impl = value;
      if (!strcmp(arg, "--json")) o.json = value;
      if (!strcmp(arg, "--workers")) {
        o.workers = (unsigned int)strtoul(value, NULL, 10);
        if (o.workers < 1 || o.workers > 1000) return bad("--workers takes a number from 1 to 1000");
      }
    } else {
      return bad("an option that is not known");
    }
  }

  if (o.child && o.workers) set_pool(o.workers);
  if (!o.child) bench_table_begin(&o);
  for (size_t g = 0; g < GROUPS; g++) {
    for (const bench_row_t *row = groups[g]; row->name; row++) {
      bench_result_t results[BENCH_MAX_IMPLS];
      if (!wanted(row, &o)) continue;
      rows++;
      if (o.child) {
        bench_run_row(row, &o, results);
        bench_child_report(results);
        continue;
      }
      if (row->workers || row->flags & BENCH_OWN_PROCESS) {
        bench_spawn_row(row, &o, results);
      } else {
        bench_run_row(row, &o, results);
      }
      bench_table_row(row, results);
    }
  }
  if (!rows) return bad("no row has that name");
  if (!o.child) bench_table_end(rows);
  return 0;
}
