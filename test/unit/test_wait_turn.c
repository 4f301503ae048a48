/* SPDX-License-Identifier: MIT
 *
 * What the kernel does for waits in time: the loop's next turn, and timeouts.
 */
#include "unit/test_wait.h"

/* --- the next turn --- */

static int leave_later(uvf_op_t *op) {
  uvf_wait_t *wait = (uvf_wait_t *)(void *)op;
  uvf__queue_remove(&uvf__ctx_hub(op->ctx)->later, &wait->uvf__waiter);
  return 1;
}

static const uvf__op_type_t later_type = {
    .name = "later", .withdraw = leave_later, .deliver = uvf__wait_deliver, .posted = uvf__wait_posted};

static void later(note_t *note, uvf_ctx_t *ctx) {
  if (uvf__wait_begin(ctx, &note->wait, &later_type, ctx, 0, on_note, "later") == 1)
    uvf__wait_later(uvf__ctx_hub(ctx), &note->wait.uvf__waiter);
}

static int turns;

/* Behind the poll, and before the library's own. */
static void on_each_turn(uv_check_t *check) {
  (void)check;
  turns++;
}

typedef struct turner_s {
  note_t now, next; /* both started in a callback */
  uvf_ctx_t *ctx;
  turnstile_t t;
  int began, now_at, next_at;
} turner_t;

static void note_now(note_t *note) { ((turner_t *)note->arg)->now_at = turns; }
static void note_next(note_t *note) { ((turner_t *)note->arg)->next_at = turns; }

static void start_both(probe_t *probe) {
  turner_t *turner = probe->arg;
  turner->began = turns;
  later(&turner->next, turner->ctx);
  start(&turner->t, &turner->now.wait);
}

static void what_goes_on_later_does_so_in_the_loops_next_turn(void **state) {
  fixture_t *f = *state;
  turner_t turner = {0};
  probe_t probe = {0};
  uvf_ctx_t *first = child_of(f->root);
  uv_check_t check;
  turner.ctx = f->root;
  turner.t.tokens = 1;
  note_init(&turner.now, 0, NULL);
  note_init(&turner.next, 1, NULL);
  turner.now.then = note_now;
  turner.next.then = note_next;
  turner.now.arg = turner.next.arg = &turner;
  assert_int_equal(uv_check_init(&f->loop, &check), 0);
  assert_int_equal(uv_check_start(&check, on_each_turn), 0);
  uv_unref((uv_handle_t *)&check);
  turns = 0;
  assert_int_equal(uvf__wait_begin(f->root, &turner.now.wait, &turnstile_type, &turner.t, 0, on_note, "pass"), 1);
  probe_start(&probe, first, 0, NULL);
  probe.then = start_both;
  probe.arg = &turner;
  uvf_ctx_cancel(first);
  run_until(&f->loop, &turner.next.calls, 1);
  assert_int_equal(turner.now_at, turner.began); /* in the same drain */
  assert_true(turner.next_at > turner.began);    /* the loop has been round: it has looked at its descriptors */
  assert_noted(&turner.next, 0);
  uv_close((uv_handle_t *)&check, NULL);
  run_ready(&f->loop);
  uvf_ctx_release(first);
}

static void again(note_t *note) {
  if (--*(int *)note->arg > 0) later(note, note->wait.ctx);
}

static void what_goes_on_turn_after_turn_holds_the_loop_and_never_itself_up(void **state) {
  fixture_t *f = *state;
  note_t note;
  int left = 50;
  note_init(&note, 0, NULL);
  note.then = again;
  note.arg = &left;
  later(&note, f->root);
  assert_int_equal(note.calls, 0);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  assert_int_equal(note.calls, 50);
  assert_int_equal(left, 0);
}

static void what_is_to_go_on_later_can_be_ended_until_then(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  note_t notes[4];
  uvf__hub_t *hub = uvf__ctx_hub(f->root);
  turn(&f->loop);
  for (int i = 0; i < 4; i++) {
    note_init(&notes[i], i, NULL);
    later(&notes[i], i < 2 ? ctx : f->root);
  }
  assert_int_equal(queue_length(&hub->later), 4);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&notes[2].wait), 0);
  uvf_ctx_cancel(ctx);
  assert_int_equal(queue_length(&hub->later), 1);
  run_until(&f->loop, &notes[3].calls, 1);
  run_until(&f->loop, &notes[0].calls, 1);
  turn(&f->loop);
  assert_noted(&notes[0], UV_ECANCELED);
  assert_noted(&notes[1], UV_ECANCELED);
  assert_noted(&notes[2], UV_ECANCELED);
  assert_noted(&notes[3], 0);
  later(&notes[0], f->root); /* and by the close */
  notes[0].calls = 0;
  fixture_close_root(f);
  assert_noted(&notes[0], UV_ECANCELED);
  uvf_ctx_release(ctx);
}

/* --- timeouts --- */

typedef struct alarm_s {
  uvf__timeout_t timeout;
  uint64_t at_ns;
  uint64_t rang_ns; /* 0: not yet */
  int id;
  int rings;
  journal_t *journal;
  void (*then)(struct alarm_s *alarm);
  struct alarm_s *other;
  uvf__hub_t *hub;
} alarm_t;

static int rung, rings_wanted;
static turnstile_t bell;

static void on_ring(uvf__timeout_t *timeout) {
  alarm_t *alarm = UVF__CONTAINER(timeout, alarm_t, timeout);
  alarm->rang_ns = uv_hrtime();
  alarm->rings++;
  if (++rung == rings_wanted) give(&bell, 1);
  journal_add(alarm->journal, alarm->id);
  if (alarm->then != NULL) alarm->then(alarm);
}

/* Runs the loop, which a wait holds meanwhile as in every provider, until n have rung since `rung` was 0. */
static void await_rings(fixture_t *f, int n) {
  note_t note;
  rings_wanted = n;
  pass(&note, f->root, &bell, 0, NULL);
  run_until(&f->loop, &note.calls, 1);
  assert_noted(&note, 0);
}

static void alarm_init(alarm_t *alarm, fixture_t *f, int id, journal_t *journal) {
  memset(alarm, 0, sizeof *alarm);
  alarm->id = id;
  alarm->journal = journal;
  alarm->hub = uvf__ctx_hub(f->root);
}

static void alarm_set(alarm_t *alarm, uint64_t at_ns) {
  alarm->at_ns = at_ns;
  uvf__timeout_start(alarm->hub, &alarm->timeout, at_ns, on_ring);
}

static void timeouts_ring_in_the_order_of_their_times_and_never_early(void **state) {
  fixture_t *f = *state;
  static const uint64_t after_us[] = {9000, 300, 70000, 1500, 0, 2500, 30000, 1};
  journal_t journal = {0};
  alarm_t alarms[ARRAY_SIZE(after_us)];
  uint64_t now_ns;
  rung = 0;
  now_ns = uv_hrtime();
  for (size_t i = 0; i < ARRAY_SIZE(after_us); i++) {
    alarm_init(&alarms[i], f, (int)i, &journal);
    alarm_set(&alarms[i], now_ns + after_us[i] * 1000);
  }
  assert_int_equal(rung, 0);
  await_rings(f, (int)ARRAY_SIZE(after_us));
  for (size_t i = 0; i < ARRAY_SIZE(after_us); i++) {
    assert_int_equal(alarms[i].rings, 1);
    assert_true(alarms[i].rang_ns >= alarms[i].at_ns);
    assert_true(alarms[i].rang_ns <= alarms[i].at_ns + GENEROUS_NS);
  }
  /* those that lie further apart than the loop may be late all at once: the four latest */
  assert_true(journal_find(&journal, 0) < journal_find(&journal, 6));
  assert_true(journal_find(&journal, 6) < journal_find(&journal, 2));
}

static void timeouts_of_far_apart_times_that_are_due_together_ring_in_order(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  alarm_t alarms[4];
  uint64_t now_ns = uv_hrtime();
  rung = 0;
  for (int i = 0; i < 4; i++) {
    alarm_init(&alarms[i], f, i, &journal);
    alarm_set(&alarms[i], now_ns + (uint64_t)(4 - i) * 5 * MS_NS); /* the last one started is the first due */
  }
  spin_ns(25 * MS_NS); /* the loop was held up */
  await_rings(f, 4);
  assert_journal(&journal, 3, 2, 1, 0);
}

static void stop_other(alarm_t *alarm) { uvf__timeout_stop(alarm->hub, &alarm->other->timeout); }

static void a_timeout_that_was_stopped_does_not_ring_though_it_was_due(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  alarm_t alarms[4];
  uint64_t now_ns;
  for (int i = 0; i < 4; i++) alarm_init(&alarms[i], f, i, &journal);
  uvf__timeout_stop(alarms[0].hub, &alarms[0].timeout); /* not on: harmless */
  rung = 0;
  now_ns = uv_hrtime();
  alarm_set(&alarms[0], now_ns + 1 * MS_NS);
  alarm_set(&alarms[1], now_ns + 3 * MS_NS);
  alarm_set(&alarms[2], now_ns + 9 * MS_NS);
  alarm_set(&alarms[3], now_ns + 12 * MS_NS);
  alarms[1].then = stop_other; /* stops one that is due together with it */
  alarms[1].other = &alarms[2];
  uvf__timeout_stop(alarms[0].hub, &alarms[0].timeout);
  uvf__timeout_stop(alarms[0].hub, &alarms[0].timeout);
  spin_ns(15 * MS_NS);
  await_rings(f, 2);
  turn(&f->loop);
  assert_journal(&journal, 1, 3);
  alarm_set(&alarms[0], uv_hrtime() + 1 * MS_NS); /* and may be started again */
  await_rings(f, 3);
  assert_journal(&journal, 1, 3, 0);
}

static void set_again(alarm_t *alarm) {
  if (alarm->rings < 5) alarm_set(alarm, alarm->at_ns + 2 * MS_NS);
}

static void a_timeout_may_be_started_again_where_it_rings(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  alarm_t alarm;
  uint64_t began_ns = uv_hrtime();
  alarm_init(&alarm, f, 0, &journal);
  alarm.then = set_again;
  rung = 0;
  alarm_set(&alarm, began_ns + 2 * MS_NS);
  await_rings(f, 5);
  turn(&f->loop);
  assert_int_equal(alarm.rings, 5);
  assert_true(alarm.rang_ns >= began_ns + 10 * MS_NS);
}

static void a_timeout_alone_does_not_hold_the_loop(void **state) {
  fixture_t *f = *state;
  journal_t journal = {0};
  alarm_t alarm;
  alarm_init(&alarm, f, 0, &journal);
  alarm_set(&alarm, uv_hrtime() + HOUR_NS);
  assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
  uvf__timeout_stop(alarm.hub, &alarm.timeout);
  assert_int_equal(journal.n, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(what_goes_on_later_does_so_in_the_loops_next_turn),
      unit(what_goes_on_turn_after_turn_holds_the_loop_and_never_itself_up),
      unit(what_is_to_go_on_later_can_be_ended_until_then),
      unit(timeouts_ring_in_the_order_of_their_times_and_never_early),
      unit(timeouts_of_far_apart_times_that_are_due_together_ring_in_order),
      unit(a_timeout_that_was_stopped_does_not_ring_though_it_was_due),
      unit(a_timeout_may_be_started_again_where_it_rings),
      unit(a_timeout_alone_does_not_hold_the_loop),
  };
  return test_run(tests);
}
