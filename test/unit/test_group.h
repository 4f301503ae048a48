/* SPDX-License-Identifier: MIT
 *
 * The kit of the group tests: tasks and waits that take notes. Each task, each wait is a heap block of its own, filled
 * with rubbish before its start and freed in its last callback, so that AddressSanitizer proves that a start reads none
 * of it and that the library does not touch it later. Notes are static: a failed assertion leaves nothing on a dead
 * frame.
 */
#ifndef UVFLOW_TEST_GROUP_H
#define UVFLOW_TEST_GROUP_H

#include <stdatomic.h>

#include "unit/probe.h"

enum { LOOP, POOL, KINDS };

typedef struct note_s note_t;
struct note_s {
  uvf_task_t *task; /* NULL before its start and after its end */
  int id;
  int result;
  int later; /* a loop task: not done inside its start */
  int gated; /* a pool task: opens `started`, waits for `go` */
  void (*in_start)(note_t *note);
  void (*in_end)(note_t *note); /* the task is freed by then */
  void *arg;
  gate_t started, go;
  atomic_int runs;
  int ends;
  int status;
  int err_in_fn;
  int err_in_end, cause_in_end; /* of the group's context */
  size_t active_in_end;
  size_t waiting_in_end;
};

typedef struct waited_s waited_t;
struct waited_s {
  uvf_wait_t *wait;
  int id;
  int calls;
  int status;
  int err_in_cb; /* of the group's context */
  void (*in_cb)(waited_t *waited);
  void *arg;
};

#define NOTES 128

static struct {
  uvf_group_t group;
  note_t notes[NOTES];
  waited_t waits[8];
  journal_t journal;  /* of ends: their id; of waits: 1000 + theirs; of starts, if asked for: 2000 + theirs */
  int note_starts;    /* starts go into the journal */
  int inside;         /* the test stands in a call of the library */
  int called_inside;  /* ... and a callback came */
  int broken;         /* a callback was given other things than it should */
  uv_thread_t thread; /* the loop's */
} k;

static inline void expect(int cond) {
  if (!cond) k.broken = 1;
}

static inline void expect_outside(void) {
  uv_thread_t self = uv_thread_self();
  if (k.inside) k.called_inside = 1;
  expect(uv_thread_equal(&self, &k.thread));
}

/* --- tasks --- */

static inline int note_fn(uvf_task_t *task) {
  note_t *note = task->data;
  atomic_fetch_add(&note->runs, 1);
  if (note->gated) {
    gate_open(&note->started, 1);
    gate_pass(&note->go);
  }
  note->err_in_fn = uvf_task_err(task);
  return note->result;
}

static inline void note_start(uvf_task_t *task) {
  note_t *note = task->data;
  expect_outside();
  expect(note->task == task && task->group == &k.group && task->ctx == k.group.ctx);
  atomic_fetch_add(&note->runs, 1);
  if (k.note_starts) journal_add(&k.journal, 2000 + note->id);
  note->err_in_fn = uvf_task_err(task);
  if (note->in_start != NULL) note->in_start(note);
  if (!note->later) uvf_task_done(task, note->result);
}

static inline void note_end(uvf_task_t *task, int status) {
  note_t *note = task->data;
  expect_outside();
  expect(note->task == task && task->status == status);
  note->ends++;
  note->status = status;
  note->err_in_end = uvf_ctx_err(task->ctx);
  note->cause_in_end = uvf_ctx_cause(task->ctx, NULL);
  note->active_in_end = task->group->active;
  note->waiting_in_end = task->group->waiting;
  journal_add(&k.journal, note->id);
  note->task = NULL;
  memset(task, 0xdb, sizeof *task);
  free(task);
  if (note->in_end != NULL) note->in_end(note);
}

static inline void note_task(note_t *note) {
  note->id = (int)(note - k.notes);
  note->task = malloc(sizeof *note->task);
  assert_non_null(note->task);
  memset(note->task, 0xff, sizeof *note->task);
  note->task->data = note;
}

/* Also from callbacks, so it asserts nothing about what go says. */
static inline int note_try(note_t *note, int kind, int only_now) {
  int rc;
  int outer = k.inside;
  note_task(note);
  k.inside = 1;
  if (only_now) {
    rc = kind == POOL ? uvf_group_try_go(&k.group, note->task, note_fn, note_end)
                      : uvf_group_try_go_loop(&k.group, note->task, note_start, note_end);
  } else {
    rc = kind == POOL ? uvf_group_go(&k.group, note->task, note_fn, note_end)
                      : uvf_group_go_loop(&k.group, note->task, note_start, note_end);
  }
  k.inside = outer;
  if (rc != 0) {
    free(note->task);
    note->task = NULL;
  }
  return rc;
}

static inline void note_go(note_t *note, int kind) { assert_int_equal(note_try(note, kind, 0), 0); }

static inline int note_done(note_t *note, int status) {
  int rc;
  k.inside = 1;
  rc = uvf_task_done(note->task, status);
  k.inside = 0;
  return rc;
}

#define assert_ended(note, wanted_runs, wanted_status)                                                                 \
  do {                                                                                                                 \
    assert_int_equal((note)->ends, 1);                                                                                 \
    assert_int_equal((note)->status, (wanted_status));                                                                 \
    assert_int_equal(atomic_load(&(note)->runs), (wanted_runs));                                                       \
  } while (0)

/* --- waits --- */

static inline void waited_cb(uvf_wait_t *wait, int status) {
  waited_t *waited = wait->data;
  expect_outside();
  expect(waited->wait == wait && wait->status == status && wait->value == NULL);
  waited->calls++;
  waited->status = status;
  waited->err_in_cb = k.group.ctx != NULL ? uvf_ctx_err(k.group.ctx) : 1;
  journal_add(&k.journal, 1000 + waited->id);
  waited->wait = NULL;
  memset(wait, 0xdb, sizeof *wait);
  free(wait);
  if (waited->in_cb != NULL) waited->in_cb(waited);
}

static inline void waited_start(waited_t *waited, uvf_ctx_t *ctx) {
  int outer = k.inside;
  waited->id = (int)(waited - k.waits);
  waited->calls = 0;
  waited->wait = malloc(sizeof *waited->wait);
  assert_non_null(waited->wait);
  memset(waited->wait, 0xff, sizeof *waited->wait);
  waited->wait->data = waited;
  k.inside = 1;
  assert_int_equal(uvf_group_wait(ctx, waited->wait, &k.group, waited_cb), 0);
  k.inside = outer;
}

/* Waits for the group under ctx, to the end; its status. */
static inline int wait_for_all(fixture_t *f, uvf_ctx_t *ctx) {
  waited_t *waited = &k.waits[7];
  waited_start(waited, ctx);
  run_until(&f->loop, &waited->calls, 1);
  return waited->status;
}

/* --- life --- */

static inline void group_open(uvf_ctx_t *parent, unsigned int flags) {
  memset(&k.group, 0xff, sizeof k.group);
  assert_int_equal(uvf_group_init(&k.group, parent, flags), 0);
  assert_int_equal(k.group.err, 0);
  assert_int_equal(k.group.active + k.group.waiting, 0);
}

static inline void group_close(void) {
  assert_int_equal(uvf_group_close(&k.group), 0);
  assert_null(k.group.ctx);
}

static inline void kit_reset(void) {
  for (size_t i = 0; i < NOTES; i++) {
    gate_destroy(&k.notes[i].started);
    gate_destroy(&k.notes[i].go);
  }
  memset(&k, 0, sizeof k);
  for (size_t i = 0; i < NOTES; i++) {
    gate_init(&k.notes[i].started);
    gate_init(&k.notes[i].go);
  }
  k.thread = uv_thread_self();
}

static inline int kit_setup(void **state) {
  memset(&k, 0, sizeof k);
  for (size_t i = 0; i < NOTES; i++) {
    gate_init(&k.notes[i].started);
    gate_init(&k.notes[i].go);
  }
  k.thread = uv_thread_self();
  return fixture_setup(state);
}

static inline void note_give_up(void *note) { (void)uvf_task_done(((note_t *)note)->task, 0); }

static inline int kit_teardown(void **state) {
  int err;
  for (size_t i = 0; i < NOTES; i++) { /* what a failed assertion has left must not keep the loop */
    gate_open(&k.notes[i].go, 1);
    if (k.notes[i].task != NULL) (void)test_expect_rule(note_give_up, &k.notes[i]);
  }
  err = fixture_teardown(state);
  for (size_t i = 0; i < NOTES; i++) {
    assert_null(k.notes[i].task); /* every task that was let in has ended */
    assert_true(k.notes[i].ends <= 1 || k.notes[i].arg != NULL);
    gate_destroy(&k.notes[i].started);
    gate_destroy(&k.notes[i].go);
  }
  for (size_t i = 0; i < ARRAY_SIZE(k.waits); i++) assert_null(k.waits[i].wait);
  assert_int_equal(k.called_inside, 0);
  assert_int_equal(k.broken, 0);
  return err;
}

#define group_unit(f) cmocka_unit_test_setup_teardown(f, kit_setup, kit_teardown)

#endif
