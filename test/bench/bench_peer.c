/* SPDX-License-Identifier: MIT
 *
 * The peers' programs: what they have, and their samples. One that fails, or that says something else than it should, is
 * told of on standard error and left out: the row goes on without it, and uvf_bench ends with BENCH_EXIT_PEER.
 */
#include "bench_peer.h"
#include "bench_child.h"
#include "bench_pipe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PROGRAMS 16
#define MAX_IMPLS 400
#define LIST_SIZE 65536

static char programs[MAX_PROGRAMS][1024];
static size_t program_count;
static bench_peer_impl_t *impls;
static size_t impl_count;

/* Waits for its end; not 0: it has failed. */
static int peer_end(bench_child_t *run) {
  int code = bench_child_end(run);
  if (code) fprintf(stderr, "uvf_bench: a peer has failed: it ended with %d\n", code);
  return code;
}

/* --- what there is ------------------------------------------------------------------------------------------------ */

static void add_line(const char *program, const char *line) {
  const char *tab = strchr(line, '\t');
  bench_peer_impl_t *impl = &impls[impl_count];
  if (!tab || impl_count == MAX_IMPLS) bench_fail("a peer's list cannot be read, or is too long", UV_EINVAL);
  snprintf(impl->program, sizeof(impl->program), "%s", program);
  snprintf(impl->row, sizeof(impl->row), "%.*s", (int)(tab - line), line);
  snprintf(impl->name, sizeof(impl->name), "%s", tab + 1);
  impl_count++;
}

static void add_program(const char *directory, const char *name) {
  static const char *const args[] = {"--list", NULL};
  char line[256];
  if (program_count == MAX_PROGRAMS) bench_fail("more peers than there is room for", UV_ENOBUFS);
  char *program = programs[program_count++];
  snprintf(program, sizeof(programs[0]), "%s/%s", directory, name);
  bench_child_t *run = bench_child_start(program, args, LIST_SIZE);
  while (!bench_child_line(run, line, sizeof(line))) add_line(program, line);
  if (peer_end(run)) bench_fail("a peer cannot say what it has", 0);
}

void bench_peers_find(const char *directory) {
  uv_fs_t scan;
  uv_dirent_t entry;
  if (!directory) return;
  impls = bench_alloc(MAX_IMPLS, sizeof(*impls));
  int n = uv_fs_scandir(NULL, &scan, directory, 0, NULL); /* in the order of names */
  if (n < 0) bench_fail(directory, n);
  while (!uv_fs_scandir_next(&scan, &entry)) {
    if (entry.name[0] != '.' && entry.type != UV_DIRENT_DIR) add_program(directory, entry.name);
  }
  uv_fs_req_cleanup(&scan);
}

static int row_matches(const char *pattern, const char *row) {
  size_t n = strlen(pattern);
  if (n && pattern[n - 1] == '*') return !strncmp(pattern, row, n - 1);
  return !strcmp(pattern, row);
}

const bench_peer_impl_t *bench_peer_of(const bench_row_t *row, int nth) {
  for (size_t i = 0; i < impl_count; i++) {
    if (row_matches(impls[i].row, row->name) && nth-- == 0) return &impls[i];
  }
  return NULL;
}

void bench_peers_about(FILE *out) {
  static const char *const args[] = {"--about", NULL};
  char line[256];
  for (size_t i = 0; i < program_count; i++) {
    bench_child_t *run = bench_child_start(programs[i], args, sizeof(line));
    if (!bench_child_line(run, line, sizeof(line))) fprintf(out, "%s%s", i ? ", " : "", line);
    (void)peer_end(run);
  }
}

/* --- its samples -------------------------------------------------------------------------------------------------- */

static bench_child_t *failed_to(bench_child_t *run, const bench_peer_impl_t *impl, const char *row) {
  fprintf(stderr, "uvf_bench: row %s: \"%s\" does not get ready\n", row, impl->name);
  (void)peer_end(run);
  return NULL;
}

bench_child_t *bench_peer_start(const bench_peer_impl_t *impl, const bench_row_t *row, const bench_peer_work_t *work) {
  char size[24], workers[16], turns[24], sample[24], line[64];
  snprintf(size, sizeof(size), "%zu", work->size);
  snprintf(workers, sizeof(workers), "%u", work->workers);
  snprintf(sample, sizeof(sample), "%llu", (unsigned long long)work->sample_ns);
  snprintf(turns, sizeof(turns), "%llu", (unsigned long long)pipe_spins_for(1000000));
  const char *args[] = {"--row", row->name,        "--impl", impl->name,    "--size", size, "--workers",
                        workers, "--turns-per-ms", turns,    "--sample-ns", sample,   NULL, NULL};
  if (work->once) args[12] = "--once";
  bench_child_t *run = bench_child_start(impl->program, args, 256);
  if (bench_child_line(run, line, sizeof(line)) || strcmp(line, "ready") != 0) return failed_to(run, impl, row->name);
  return run;
}

int bench_peer_sample(bench_child_t *run, bench_sample_t *s) {
  char line[128];
  unsigned long long ops, amount, cpu;
  int err = bench_child_say(run, "sample\n");
  if (!err) err = bench_child_line(run, line, sizeof(line));
  if (err) return err;
  if (sscanf(line, "%llu %llu %llu", &ops, &amount, &cpu) != 3 || !ops) return UV_EPROTO;
  s->ops = ops;
  s->amount = amount;
  s->cpu_ns = cpu;
  return 0;
}

int bench_peer_stop(bench_child_t *run) { return peer_end(run); }
