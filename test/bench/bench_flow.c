/* SPDX-License-Identifier: MIT */
#include "bench_flow.h"

#include <stdlib.h>

static void sender_main(void *arg) {
  flow_sender_t *s = arg;
  for (;;) {
    uv_sem_wait(&s->go);
    if (s->todo == 0) return;
    s->flow->type->send(s, s->todo);
  }
}

static void receiver_main(void *arg) {
  flow_t *f = arg;
  for (;;) {
    uv_sem_wait(&f->go);
    if (f->quit) return;
    f->type->receive(f, f->wanted);
    uv_sem_post(&f->done);
  }
}

flow_t *flow_new(const flow_type_t *type, size_t capacity, size_t senders, size_t batch) {
  flow_t *f = bench_alloc(1, sizeof(*f));
  f->type = type;
  f->capacity = capacity;
  f->senders = senders;
  f->batch = batch;
  bench_loop_open(&f->b, type->with_root);
  type->open(f);
  for (unsigned int i = 0; i < senders; i++) {
    flow_sender_t *s = &f->sender[i];
    s->flow = f;
    s->id = i;
    bench_must("uv_sem_init", uv_sem_init(&s->go, 0));
    bench_must("uv_thread_create", uv_thread_create(&s->thread, sender_main, s));
  }
  if (type->to_thread) {
    bench_must("uv_sem_init", uv_sem_init(&f->go, 0));
    bench_must("uv_sem_init", uv_sem_init(&f->done, 0));
    bench_must("uv_thread_create", uv_thread_create(&f->thread, receiver_main, f));
  }
  return f;
}

/* Starting the threads is in it, as little as there is of it in thousands of items. */
void flow_run(void *state, uint64_t ops, bench_sample_t *s) {
  flow_t *f = state;
  uint64_t each = (ops + f->senders - 1) / f->senders;
  uint64_t all = each * f->senders;
  uint64_t cpu = bench_cpu_ns();
  uint64_t start = uv_hrtime();
  for (size_t i = 0; i < f->senders; i++) {
    f->sender[i].todo = each;
    uv_sem_post(&f->sender[i].go);
  }
  if (f->type->to_thread) {
    f->wanted = all;
    uv_sem_post(&f->go);
    uv_sem_wait(&f->done);
  } else {
    f->type->receive(f, all);
  }
  s->amount += uv_hrtime() - start;
  s->cpu_ns += bench_cpu_ns() - cpu;
  s->ops += all;
}

void flow_delete(void *state) {
  flow_t *f = state;
  for (size_t i = 0; i < f->senders; i++) {
    f->sender[i].todo = 0;
    uv_sem_post(&f->sender[i].go);
    bench_must("uv_thread_join", uv_thread_join(&f->sender[i].thread));
    uv_sem_destroy(&f->sender[i].go);
  }
  if (f->type->to_thread) {
    f->quit = 1;
    uv_sem_post(&f->go);
    bench_must("uv_thread_join", uv_thread_join(&f->thread));
    uv_sem_destroy(&f->go);
    uv_sem_destroy(&f->done);
  }
  f->type->close(f);
  free(f);
}

void flow_receive_on_loop(flow_t *f, uint64_t n) {
  f->wanted = f->received + n;
  uv_run(&f->b.loop, UV_RUN_DEFAULT);
}
