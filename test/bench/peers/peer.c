/* SPDX-License-Identifier: MIT
 *
 * main of the peers in C and C++: the lines that peer.h describes.
 */
#include "peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static const char *program = "peer";

void peer_fail(const char *what) {
  fprintf(stderr, "%s: %s%s%s\n", program, what, errno ? ": " : "", errno ? strerror(errno) : "");
  exit(1);
}

uint64_t peer_now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t peer_cpu_ns(void) {
  struct rusage r;
  if (getrusage(RUSAGE_SELF, &r)) peer_fail("getrusage");
  return ((uint64_t)r.ru_utime.tv_sec + (uint64_t)r.ru_stime.tv_sec) * 1000000000 +
         ((uint64_t)r.ru_utime.tv_usec + (uint64_t)r.ru_stime.tv_usec) * 1000;
}

void *peer_alloc(size_t n, size_t size) {
  void *p = calloc(n ? n : 1, size);
  if (!p) peer_fail("out of memory");
  return p;
}

uint64_t peer_spin(uint64_t number, uint64_t turns) {
  uint64_t state = number;
  for (uint64_t i = 0; i < turns; i++) state = (state ^ state >> 29) * UINT64_C(6364136223846793005);
  return state == UINT64_C(0x5851f42d4c957f2d) ? 1 : number; /* never so; the compiler does not know */
}

static uint64_t turns_per_ms;

uint64_t peer_turns_for(uint64_t ns) {
  if (!turns_per_ms) peer_fail("this row wants --turns-per-ms");
  return ns * turns_per_ms / 1000000;
}

/* --- samples ----------------------------------------------------------------------------------------------------- */

typedef struct task_s {
  const peer_impl_t *impl;
  void *state;
  uint64_t ops; /* handed to one call of run: some fifth of a sample */
  uint64_t sample_ns;
  int once;
} task_t;

/* Runs once more and returns how much longer the sample has become. */
static uint64_t run_more(const task_t *t, peer_sample_t *s) {
  uint64_t amount = s->amount;
  uint64_t start = peer_now_ns();
  t->impl->run(t->state, t->ops, s);
  return t->impl->flags & PEER_ELAPSED ? peer_now_ns() - start : s->amount - amount;
}

static void warm_up(task_t *t) {
  peer_sample_t s = {0, 0, 0};
  uint64_t spent = 0;
  for (;;) {
    uint64_t took = run_more(t, &s);
    spent += took;
    if (took < t->sample_ns / 5) {
      t->ops *= 2;
    } else if (spent >= t->sample_ns / 3) {
      return;
    }
  }
}

/* At least once. */
static void run_for(const task_t *t, uint64_t ns, peer_sample_t *s) {
  uint64_t length = 0;
  do {
    length += run_more(t, s);
  } while (length < ns);
}

static void take_sample(const task_t *t) {
  peer_sample_t s = {0, 0, 0}, not_counted = {0, 0, 0};
  if (!t->once) run_for(t, t->sample_ns / 2, &not_counted);
  run_for(t, t->once ? 0 : t->sample_ns, &s);
  printf("%llu %llu %llu\n", (unsigned long long)s.ops, (unsigned long long)s.amount, (unsigned long long)s.cpu_ns);
  fflush(stdout);
}

static void serve(task_t *t, const peer_size_t *size) {
  char line[64];
  t->ops = 1;
  t->state = t->impl->setup(size);
  if (!t->once) warm_up(t);
  printf("ready\n");
  fflush(stdout);
  while (fgets(line, sizeof(line), stdin)) {
    if (strcmp(line, "sample\n") != 0) peer_fail("a line that is not \"sample\"");
    take_sample(t);
  }
  t->impl->teardown(t->state);
}

/* --- the command line ---------------------------------------------------------------------------------------------- */

static void usage(FILE *out) {
  fprintf(out,
          "usage: %s --list | --about\n"
          "       --row ROW --impl NAME [--size N] [--workers W] [--turns-per-ms N] [--sample-ns NS] [--once]\n"
          "uvf_bench --peers DIRECTORY runs it; by hand, a line \"sample\" on its input gets a line\n"
          "\"<operations> <amount> <CPU ns>\" on its output.\n",
          program);
}

static int row_matches(const char *pattern, const char *row) {
  size_t n = strlen(pattern);
  if (n && pattern[n - 1] == '*') return !strncmp(pattern, row, n - 1);
  return !strcmp(pattern, row);
}

static const peer_impl_t *find(const char *row, const char *name) {
  for (const peer_impl_t *impl = peer_impls; impl->name; impl++) {
    if (row_matches(impl->row, row) && !strcmp(impl->name, name)) return impl;
  }
  return NULL;
}

static int list(void) {
  for (const peer_impl_t *impl = peer_impls; impl->name; impl++) printf("%s\t%s\n", impl->row, impl->name);
  return 0;
}

int main(int argc, char **argv) {
  task_t task = {NULL, NULL, 1, 300000000, 0};
  peer_size_t size = {0, 0};
  const char *row = "", *name = "";

  program = argv[0];
  for (int i = 1; i < argc; i++) {
    const char *arg = argv[i], *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(arg, "--list")) return list();
    if (!strcmp(arg, "--about")) return printf("%s\n", peer_about()) < 0;
    if (!strcmp(arg, "--help")) return usage(stdout), 0;
    if (!strcmp(arg, "--once")) {
      task.once = 1;
      continue;
    }
    if (!value) return usage(stderr), 2;
    i++;
    if (!strcmp(arg, "--row"))
      row = value;
    else if (!strcmp(arg, "--impl"))
      name = value;
    else if (!strcmp(arg, "--size"))
      size.size = (size_t)strtoull(value, NULL, 10);
    else if (!strcmp(arg, "--workers"))
      size.workers = (unsigned int)strtoul(value, NULL, 10);
    else if (!strcmp(arg, "--turns-per-ms"))
      turns_per_ms = strtoull(value, NULL, 10);
    else if (!strcmp(arg, "--sample-ns"))
      task.sample_ns = strtoull(value, NULL, 10);
    else
      return usage(stderr), 2;
  }
  task.impl = find(row, name);
  if (!task.impl) {
    fprintf(stderr, "%s: there is no \"%s\" for the row \"%s\"; --list names what there is\n", program, name, row);
    return 2;
  }
  serve(&task, &size);
  return 0;
}
