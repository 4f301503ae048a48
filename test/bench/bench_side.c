/* SPDX-License-Identifier: MIT
 *
 * The table side by side: a line for each row, a column for raw libuv, for ours and for each peer. While it is measured
 * standard error tells how far it is: one line that is written over on a terminal, a line for each row elsewhere.
 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bench.h"
#include "bench_peer.h"
#include "bench_report.h"

#define NAME_WIDTH 23
#define COLUMN_WIDTH 9
#define MIN_MANY 11 /* so many samples, and the interval is shown */

static struct {
  size_t rows;
  size_t done;
  int terminal; /* standard error is one */
  int colours;
  uint64_t start;
} side;

static const char *style(const char *code) { return side.colours ? code : ""; }

#define BOLD style("\033[1m")
#define DIM style("\033[2m")
#define GREEN style("\033[32m")
#define RED style("\033[31m")
#define PLAIN style("\033[0m")

/* --- while it runs ------------------------------------------------------------------------------------------------ */

void bench_side_begin(const bench_options_t *o, size_t rows) {
  char value[8];
  size_t size = sizeof(value);
  int plain = uv_os_getenv("NO_COLOR", value, &size) != UV_ENOENT;
  side.rows = rows;
  side.start = uv_hrtime();
  side.terminal = uv_guess_handle(2) == UV_TTY;
  side.colours = !plain && uv_guess_handle(1) == UV_TTY;
  fprintf(stderr, "%zu rows, %s\n", rows,
          o->quick ? "cut short: the figures mean nothing" : "5 samples of each, 11 where it is close: some minutes");
}

void bench_side_row(const bench_outcome_t *outcome) {
  char ours[32] = "-", theirs[32] = "-";
  const char *column = "no peer";
  const bench_result_t *r = bench_best_of(outcome, BENCH_UVFLOW, NULL), *peer = bench_best_peer(outcome, &column);
  if (r) bench_amount(ours, sizeof(ours), outcome->row, r->median, 0);
  if (peer) bench_amount(theirs, sizeof(theirs), outcome->row, peer->median, 0);
  side.done++;
  fprintf(stderr, "%s%3zu of %zu, %3.0f s  %-*s ours %9s  %s %s%s", side.terminal ? "\r\033[K" : "", side.done,
          side.rows, (double)(uv_hrtime() - side.start) / 1e9, NAME_WIDTH, outcome->row->name, ours, column, theirs,
          side.terminal && side.done < side.rows ? "" : "\n");
  fflush(stderr);
}

/* --- the table ---------------------------------------------------------------------------------------------------- */

/* Plain libuv's figure; where the row has none, what else it is compared with, and a letter that says so. */
static void by_hand(char *buf, size_t size, const bench_outcome_t *outcome) {
  static const struct {
    const char *column;
    const char *mark;
  } kinds[] = {{BENCH_LIBUV, " "}, {BENCH_THREADS, "t"}, {BENCH_FLOOR, "f"}};
  char text[32];
  buf[0] = '\0';
  for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
    const bench_result_t *r = bench_best_of(outcome, kinds[i].column, NULL);
    if (!r) continue;
    snprintf(buf, size, "%s%s", bench_amount(text, sizeof(text), outcome->row, r->median, 0), kinds[i].mark);
    return;
  }
}

static void print_cell(const bench_outcome_t *outcome, const char *column) {
  char text[32] = "";
  const bench_result_t *r = bench_best_of(outcome, column, NULL);
  if (r) bench_amount(text, sizeof(text), outcome->row, r->median, 0);
  printf(" %*s", COLUMN_WIDTH, text);
}

/* By how much the best peer is behind ours: the median of the ratios within each turn, where there were turns. */
static void print_ratio(const bench_outcome_t *outcome, const bench_result_t *ours) {
  const char *column = NULL;
  const bench_result_t *peer = bench_best_peer(outcome, &column);
  char text[32], interval[48] = "";
  if (!peer || !ours || !(ours->median > 0)) {
    printf("  %-13s %-20s", "", "");
    return;
  }
  double ratio = bench_ratio(outcome);
  snprintf(text, sizeof(text), ratio < 10 ? "%.2f" : "%.0f", ratio);
  if (peer->samples >= MIN_MANY && ours == &outcome->results[0]) {
    snprintf(interval, sizeof(interval), "%.2f-%.2f, %d", peer->ratio_low, peer->ratio_high, peer->samples);
  }
  printf("  %s%-6s %6s%s%s %-20s", ratio < 1 ? RED : "", column, text, ratio < 1 ? "!" : " ", ratio < 1 ? PLAIN : "",
         interval);
}

static void print_row(const bench_outcome_t *outcome, const char *const columns[], int n) {
  const bench_result_t *ours = bench_best_of(outcome, BENCH_UVFLOW, NULL);
  double goal = bench_goal(outcome->row, outcome->results);
  int missed = goal > 0 && ours && ours->median > goal;
  char text[32] = "", wanted[32] = "", hand[40];
  by_hand(hand, sizeof(hand), outcome);
  if (goal > 0) bench_amount(wanted, sizeof(wanted), outcome->row, goal, 1);
  if (ours) bench_amount(text, sizeof(text), outcome->row, ours->median, 0);
  printf("%-*s %7s %10s %s%*s%s%s", NAME_WIDTH, outcome->row->name, wanted, hand,
         missed     ? RED
         : goal > 0 ? GREEN
                    : "",
         COLUMN_WIDTH, text, missed ? "!" : " ", PLAIN);
  for (int i = 0; i < n; i++) {
    if (bench_is_peer(columns[i])) print_cell(outcome, columns[i]);
  }
  print_ratio(outcome, ours);
  if (ours && ours->samples > 1) printf(" %5.1f %%", (ours->max - ours->min) / 2 / ours->median * 100);
  printf("\n");
}

static void print_head(const char *const columns[], int n) {
  printf("%s%-*s %7s %10s %*s ", BOLD, NAME_WIDTH, "ns an operation", "goal", "raw libuv ", COLUMN_WIDTH, "uvflow");
  for (int i = 0; i < n; i++) {
    if (bench_is_peer(columns[i])) printf(" %*s", COLUMN_WIDTH, columns[i]);
  }
  printf("  %-35s %7s%s\n", "best peer, x ours", "noise", PLAIN);
}

static void print_foot(const bench_options_t *o, size_t rows) {
  printf("%s\nt: threads, mutexes and conditions by hand; f: a floor, which does less. !: a goal that is missed, or a "
         "peer "
         "that is ahead (test/bench/PROFILES.md).\n"
         "x ours: the median of what each turn's ratio was; where it is close its interval of 95%% and the number of "
         "turns.\nnoise: half of what lies between our smallest and largest sample. The row \"bytes\" counts bytes.\n"
         "%zu rows; uvf_bench --list says what exactly each of them times.%s\n",
         DIM, rows, PLAIN);
  if (!o->peers) printf("no peers were asked for\n");
  for (int i = 0; i < BENCH_MAX_MISSING && o->missing[i]; i++) printf("missing: %s\n", o->missing[i]);
}

/* --- the machine -------------------------------------------------------------------------------------------------- */

/* "<processor>, 4 processors, Linux 6.1 x86_64, gcc 12.2.0, libuv 1.44.2, 2026-11-22" */
static void machine(char *buf, size_t size) {
  uv_cpu_info_t *cpus = NULL;
  uv_utsname_t os;
  int count = 0;
  char day[16] = "";
  time_t now = time(NULL);
  struct tm *utc = gmtime(&now);
  if (utc) (void)strftime(day, sizeof(day), "%Y-%m-%d", utc);
  if (uv_cpu_info(&cpus, &count)) count = 0;
  bench_must("uv_os_uname", uv_os_uname(&os));
#if defined(__clang__)
  const char *compiler = "clang " __clang_version__;
#elif defined(__GNUC__)
  const char *compiler = "gcc " __VERSION__;
#else
  const char *compiler = "";
#endif
  snprintf(buf, size, "%s, %d processors, %s %s %s, %s, libuv %s, %s", count ? cpus[0].model : "processor not known",
           count, os.sysname, os.release, os.machine, compiler, uv_version_string(), day);
  if (count) uv_free_cpu_info(cpus, count);
}

void bench_side_end(const bench_options_t *o, const bench_outcome_t *outcomes, size_t n) {
  const char *columns[BENCH_MAX_COLUMNS];
  char here[1024];
  int count = bench_columns(outcomes, n, columns, BENCH_MAX_COLUMNS);
  machine(here, sizeof(here));
  printf("uvflow %s; %s\n", uvf_version_string(), here);
  if (o->peers) {
    printf("beside it: ");
    fflush(stdout);
    bench_peers_about(stdout);
    printf("\n");
  }
  if (o->quick) printf("--quick: cut short, the figures mean nothing\n");
#ifndef NDEBUG
  printf("not a release build: the figures mean nothing\n");
#endif
  printf("\n");
  print_head(columns, count);
  for (size_t i = 0; i < n; i++) print_row(&outcomes[i], columns, count);
  print_foot(o, n);
  printf("\n");
  bench_charts(stdout, outcomes, n, side.colours);
  if (o->markdown && bench_markdown(o->markdown, outcomes, n, here)) bench_fail(o->markdown, UV_EIO);
  if (o->svg && bench_svg(o->svg, outcomes, n)) bench_fail(o->svg, UV_EIO);
}
