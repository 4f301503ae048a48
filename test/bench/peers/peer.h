/* SPDX-License-Identifier: MIT
 *
 * A peer: a program that does the work of some of uvf_bench's rows by other means, and takes a sample of it whenever
 * uvf_bench asks for one, so that both are measured turn by turn. peer.c is its main function for C and C++; peers in
 * other languages speak the same lines:
 *
 *   PEER --list
 *       A line for each implementation: the row's name, a tab, the implementation's name ("Go: WithTimeout"; what stands
 *       before the colon is its column in the table). A row that ends with "*" stands for all rows that begin so.
 *   PEER --about
 *       One line: the peer and its version.
 *   PEER --row ROW --impl NAME --size N --workers W --turns-per-ms T --sample-ns NS [--once]
 *       Sets the implementation up, warms it up for a third of a sample (not with --once) and prints "ready". Then, for
 *       every line "sample" that it reads, it works for half of NS that does not count (not with --once: the
 *       others have had the processors), then for at least NS nanoseconds of what is timed (one run with --once), and
 *       prints "<operations> <amount> <CPU ns>": the amount is nanoseconds, or bytes where the row counts bytes;
 *       the CPU time is that of all threads meanwhile, 0 if not known. At the end of its input it exits with 0. N and W
 *       are the row's size and workers, 0 where it has none. T says how much work a millisecond is, in turns of
 *       peer_spin's loop: uvf_bench has measured it once, and all do the same work.
 *
 * What a row times is said by `uvf_bench --list`; each implementation says in a comment how it does the same.
 */
#ifndef UVFLOW_BENCH_PEER_H
#define UVFLOW_BENCH_PEER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct peer_sample_s {
  uint64_t ops;
  uint64_t amount; /* ns, or bytes */
  uint64_t cpu_ns;
} peer_sample_t;

/* What the row says. */
typedef struct peer_size_s {
  size_t size;
  unsigned int workers;
} peer_size_t;

enum {
  PEER_ELAPSED = 1 /* most of it is untimed set-up: samples are measured by the clock, not by their amount */
};

typedef struct peer_impl_s {
  const char *row;
  const char *name; /* NULL ends the list */
  void *(*setup)(const peer_size_t *size);
  /* Does about `ops` operations (whole rounds, at least one) and adds to the sample. */
  void (*run)(void *state, uint64_t ops, peer_sample_t *sample);
  void (*teardown)(void *state);
  unsigned int flags;
} peer_impl_t;

/* What the peer's program has. */
extern const peer_impl_t peer_impls[];
const char *peer_about(void);

/* --- for implementations ------------------------------------------------------------------------------------------ */

uint64_t peer_now_ns(void);
/* CPU time of the process so far. */
uint64_t peer_cpu_ns(void);
/* Says what failed and exits with 1. */
void peer_fail(const char *what);
/* Never returns NULL; zeroed. */
void *peer_alloc(size_t n, size_t size);

/* The work of an item: so many turns, each of which needs the one before. */
uint64_t peer_spin(uint64_t number, uint64_t turns);
/* How many take so long, as --turns-per-ms has it. */
uint64_t peer_turns_for(uint64_t ns);

#ifdef __cplusplus
}
#endif

#endif
