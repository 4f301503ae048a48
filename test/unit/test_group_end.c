/* SPDX-License-Identifier: MIT
 *
 * What becomes of a task: the table of who ends it, at which step of its life, on the loop and on the pool. Its end
 * comes exactly once in each row, fn or start at most once, and the wait of the group after all.
 */
#include "unit/test_group.h"

enum { TURN, STARTING, RUNNING, STEPS };
enum { ITSELF, ANOTHERS_FAILURE, PARENT, DEADLINE, ROOT_CLOSED, CANCELLED, ENDERS };

static const char *const kind_names[] = {"loop", "pool"};
static const char *const step_names[] = {"before its turn", "before its start", "running"};
static const char *const ender_names[] = {"itself",       "another's failure", "its parent's cancel",
                                          "its deadline", "its root's close",  "a cancel of its own"};

#define VICTIM (&k.notes[0])
#define OTHER (&k.notes[1]) /* a task of the loop that runs meanwhile; with a limit of 1 it holds the only place */
#define OWN_STATUS (-77)
#define OTHERS_STATUS (-55)
#define SOON_MS 250 /* more than a set-up takes anywhere */

/* --- the whole of our share of the pool is busy --- */

typedef struct blocker_s {
  uvf_work_t job;
  gate_t started, go;
  int done;
} blocker_t;

static blocker_t blockers[16];
static unsigned int nblockers;

static int block_fn(uvf_work_t *job) {
  blocker_t *b = job->data;
  gate_open(&b->started, 1);
  gate_pass(&b->go);
  return 0;
}

static void block_done(uvf_work_t *job, int status) {
  (void)status;
  ((blocker_t *)job->data)->done = 1;
}

static void block_pool(fixture_t *f) {
  nblockers = uvf_work_limit();
  assert_true(nblockers <= ARRAY_SIZE(blockers));
  for (unsigned int i = 0; i < nblockers; i++) {
    memset(&blockers[i], 0, sizeof blockers[i]);
    gate_init(&blockers[i].started);
    gate_init(&blockers[i].go);
    blockers[i].job.data = &blockers[i];
    assert_int_equal(uvf_work_start(f->root, &blockers[i].job, block_fn, block_done, NULL), 0);
  }
  for (unsigned int i = 0; i < nblockers; i++) gate_pass(&blockers[i].started);
}

static void unblock_pool(fixture_t *f) {
  for (unsigned int i = 0; i < nblockers; i++) gate_open(&blockers[i].go, 1);
  for (unsigned int i = 0; i < nblockers; i++) {
    run_until(&f->loop, &blockers[i].done, 1);
    gate_destroy(&blockers[i].started);
    gate_destroy(&blockers[i].go);
  }
  nblockers = 0;
}

/* --- one row --- */

typedef struct row_s {
  int kind, step, ender;
} row_t;

static uvf_ctx_t *parent;
static uvf_ctx_t *second_root;
static int second_closed;

static void on_second_closed(uvf_ctx_t *root) {
  (void)root;
  second_closed = 1;
}

/* The start of a loop task is due in the next turn: what is to come before it must be due earlier. */
static int is_told_first(const row_t *row) {
  return row->step == STARTING && row->kind == LOOP && row->ender == ANOTHERS_FAILURE;
}

/* Brings the victim to its step. */
static void set_up(fixture_t *f, const row_t *row) {
  kit_reset();
  second_closed = 0;
  assert_int_equal(uvf_ctx_background(&f->loop, &second_root), 0);
  parent = row->ender == DEADLINE ? timeout_of(second_root, SOON_MS) : child_of(second_root);
  if (row->step == STARTING && row->kind == POOL) block_pool(f);
  group_open(parent, 0);
  if (row->step == TURN) assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
  OTHER->later = 1;
  note_go(OTHER, LOOP);
  turn(&f->loop);
  VICTIM->result = OWN_STATUS;
  VICTIM->later = VICTIM->gated = row->step == RUNNING;
  if (is_told_first(row)) note_done(OTHER, OTHERS_STATUS);
  note_go(VICTIM, row->kind);
  waited_start(&k.waits[0], f->root);
  if (row->step == STARTING && row->kind == LOOP) return; /* the loop must not turn */
  turn(&f->loop);
  if (row->kind == POOL && row->step == RUNNING) gate_pass(&VICTIM->started);
  assert_int_equal(atomic_load(&VICTIM->runs), row->step == RUNNING);
  assert_int_equal(k.group.waiting, row->step == TURN);
}

static void other_done(int status) {
  if (OTHER->task != NULL && atomic_load(&OTHER->runs)) (void)note_done(OTHER, status);
}

static void strike(fixture_t *f, const row_t *row) {
  int running_on_loop = row->kind == LOOP && row->step == RUNNING;
  switch (row->ender) {
    case ITSELF:
      if (row->step == TURN) other_done(0);
      if (running_on_loop) note_done(VICTIM, OWN_STATUS);
      break;
    case ANOTHERS_FAILURE:
      if (!is_told_first(row)) {
        note_done(OTHER, OTHERS_STATUS);
        assert_int_equal(OTHER->ends, 0);
      }
      break;
    case PARENT: uvf_ctx_cancel(parent); break;
    case DEADLINE: {
      uint64_t left_ns = uvf_ctx_remaining_ns(parent);
      assert_int_not_equal(left_ns, UVF_NO_DEADLINE);
      uv_sleep((unsigned int)(left_ns / MS_NS) + 1); /* no loop runs meanwhile */
      break;
    }
    case ROOT_CLOSED: uvf_ctx_close(second_root, on_second_closed); break;
    default: {
      uvf_op_t *op = (uvf_op_t *)VICTIM->task;
      assert_int_equal(uvf_op_cancel(op), running_on_loop ? UV_EBUSY : 0);
      assert_int_equal(uvf_op_cancel(op), UV_EBUSY);
      assert_int_equal(uvf_ctx_err(k.group.ctx), 0); /* its context goes on */
      break;
    }
  }
  (void)f;
}

static int wanted_status(const row_t *row) {
  if (row->ender == ITSELF) return OWN_STATUS;
  if (row->ender == DEADLINE) return UV_ETIMEDOUT;
  if (row->ender == CANCELLED && row->kind == LOOP && row->step == RUNNING) return OWN_STATUS;
  return UV_ECANCELED;
}

static void check(fixture_t *f, const row_t *row) {
  int runs = row->ender == ITSELF || row->step == RUNNING;
  int status = wanted_status(row);
  set_up(f, row);
  assert_int_equal(VICTIM->ends, 0);
  strike(f, row);
  assert_int_equal(VICTIM->ends, 0); /* never inside */
  if (row->step == RUNNING && (row->kind == POOL || row->ender != ITSELF)) {
    turn(&f->loop);
    assert_int_equal(VICTIM->ends, 0); /* it is not over before it says so */
    assert_int_equal(uvf_task_err(OTHER->task != NULL ? OTHER->task : VICTIM->task), uvf_ctx_err(k.group.ctx));
    if (row->kind == POOL) {
      gate_open(&VICTIM->go, 1);
    } else {
      note_done(VICTIM, OWN_STATUS);
    }
  }
  if (row->step == STARTING && row->kind == POOL && row->ender == ITSELF) unblock_pool(f);
  run_until(&f->loop, &VICTIM->ends, 1);
  assert_ended(VICTIM, runs, status);
  if (row->kind == POOL && runs) assert_int_equal(VICTIM->err_in_fn, row->ender == ITSELF ? 0 : status);
  other_done(0);
  run_until(&f->loop, &k.waits[0].calls, 1);
  turn(&f->loop);
  assert_ended(VICTIM, runs, status);
  assert_int_equal(OTHER->ends, 1);
  assert_int_equal(k.waits[0].calls, 1);
  assert_int_equal(k.waits[0].status, row->ender == ANOTHERS_FAILURE ? OTHERS_STATUS : status);
  assert_int_equal(k.journal.id[2], 1000);
  assert_int_equal(k.journal.n, 3);
  if (nblockers > 0) unblock_pool(f);
  if (row->ender != ROOT_CLOSED) uvf_ctx_close(second_root, on_second_closed);
  uvf_ctx_release(parent);
  run_until(&f->loop, &second_closed, 1);
  group_close(); /* also when its root is closed */
}

static void the_end_of_a_task_comes_exactly_once_whoever_ends_it(void **state) {
  for (int kind = 0; kind < KINDS; kind++) {
    for (int step = 0; step < STEPS; step++) {
      for (int ender = 0; ender < ENDERS; ender++) {
        const row_t row = {kind, step, ender};
        printf("a task of the %s, %s, ended by %s\n", kind_names[kind], step_names[step], ender_names[ender]);
        check(*state, &row);
      }
    }
  }
}

/* After a failed assertion the pool must not stay blocked. */
static int teardown(void **state) {
  for (unsigned int i = 0; i < nblockers; i++) gate_open(&blockers[i].go, 1);
  return kit_teardown(state);
}

/* --- many at once --- */

static void fail_in_the_middle(note_t *note) {
  if (note->id == 40) note->result = -40;
}

static void a_failure_ends_all_that_wait(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    kit_reset();
    group_open(f->root, 0);
    assert_int_equal(uvf_group_set_limit(&k.group, 2), 0);
    for (int i = 0; i < 100; i++) {
      if (kind == POOL && i == 40) k.notes[i].result = -40;
      k.notes[i].in_start = fail_in_the_middle;
      note_go(&k.notes[i], kind);
    }
    assert_int_equal(wait_for_all(f, f->root), -40);
    for (int i = 0; i < 100; i++) {
      int runs = atomic_load(&k.notes[i].runs);
      assert_int_equal(k.notes[i].ends, 1);
      assert_true(runs <= 1);
      if (i < 39) assert_ended(&k.notes[i], 1, 0);
      if (i == 40) assert_ended(&k.notes[i], 1, -40);
      if (i > 42) assert_ended(&k.notes[i], 0, UV_ECANCELED);
      if (!runs) assert_int_equal(k.notes[i].status, UV_ECANCELED);
    }
    assert_int_equal(uvf_ctx_cause(k.group.ctx, NULL), -40);
    group_close();
  }
}

static void cancel_ctx(void *arg) { uvf_ctx_cancel(arg); }

static void one_that_is_cancelled_from_another_thread_ends_its_tasks(void **state) {
  fixture_t *f = *state;
  for (int kind = 0; kind < KINDS; kind++) {
    uvf_ctx_t *above = child_of(f->root);
    kit_reset();
    group_open(above, 0);
    assert_int_equal(uvf_group_set_limit(&k.group, 1), 0);
    turn(&f->loop);
    k.notes[0].later = 1;
    note_go(&k.notes[0], LOOP);
    for (int i = 1; i < 10; i++) note_go(&k.notes[i], kind);
    turn(&f->loop);
    note_done(&k.notes[0], 0); /* a place becomes free in the same turn in which the cancel arrives */
    on_thread(cancel_ctx, above);
    assert_int_equal(wait_for_all(f, f->root), UV_ECANCELED);
    for (int i = 0; i < 10; i++) {
      assert_int_equal(k.notes[i].ends, 1);
      assert_true(atomic_load(&k.notes[i].runs) <= 1);
    }
    assert_ended(&k.notes[9], 0, UV_ECANCELED);
    uvf_ctx_release(above);
    group_close();
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test_setup_teardown(the_end_of_a_task_comes_exactly_once_whoever_ends_it, kit_setup, teardown),
      group_unit(a_failure_ends_all_that_wait),
      group_unit(one_that_is_cancelled_from_another_thread_ends_its_tasks),
  };
  return test_run(tests);
}
