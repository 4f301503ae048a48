/* SPDX-License-Identifier: MIT */
#include "bench.h"

#include <stdio.h>
#include <stdlib.h>

volatile uintptr_t bench_sink;

_Noreturn void bench_fail(const char *what, int err) {
  fflush(stdout);
  fprintf(stderr, "uvf_bench: %s%s%s\n", what, err ? ": " : "", err ? uv_strerror(err) : "");
  exit(1);
}

void *bench_alloc(size_t n, size_t size) {
  void *p = calloc(n ? n : 1, size);
  if (!p) bench_fail("out of memory", UV_ENOMEM);
  return p;
}

uint64_t bench_cpu_ns(void) {
  uv_rusage_t u;
  bench_must("uv_getrusage", uv_getrusage(&u));
  return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * UINT64_C(1000000000) +
         (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * UINT64_C(1000);
}

void bench_loop_open(bench_loop_t *b, int with_root) {
  bench_must("uv_loop_init", uv_loop_init(&b->loop));
  bench_must("uv_async_init", uv_async_init(&b->loop, &b->listener, NULL));
  b->root = NULL;
  if (with_root) bench_must("uvf_ctx_background", uvf_ctx_background(&b->loop, &b->root));
  /* The library learns the loop's thread from its first turn: from here on nothing is a first time. */
  bench_turn(b);
}

void bench_loop_close(bench_loop_t *b) {
  uv_close((uv_handle_t *)&b->listener, NULL);
  uvf_ctx_close(b->root, NULL); /* NULL does nothing */
  uv_run(&b->loop, UV_RUN_DEFAULT);
  bench_must("uv_loop_close", uv_loop_close(&b->loop));
}

void bench_turn(bench_loop_t *b) { uv_run(&b->loop, UV_RUN_NOWAIT); }
