/* SPDX-License-Identifier: MIT
 *
 * Wait groups: count, close, reopen and waits as a table; waits under deadlines; names; misuse.
 */
#include "unit/waitgroup_probe.h"

/* --- the table --- */

typedef struct step_s {
  char what; /* + add, - done, c close, r reopen, w a wait starts, t the loop turns */
  int result;
  int told; /* waits that have been told by then */
} step_t;

typedef struct story_s {
  const char *name;
  step_t steps[12];
} story_t;

static const story_t stories[] = {
    {"open and empty: waits", {{'w', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"closed and empty: over at once", {{'c', 1, 0}, {'w', 0, 0}, {'t', 0, 1}}},
    {"open: nobody is told at zero", {{'w', 0, 0}, {'+', 0, 0}, {'-', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"closed: the last one tells",
     {{'+', 0, 0}, {'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'-', 0, 0}, {'t', 0, 0}, {'-', 0, 0}, {'t', 0, 1}}},
    {"closed: things still come", {{'c', 1, 0}, {'+', 0, 0}, {'w', 0, 0}, {'t', 0, 0}, {'-', 0, 0}, {'t', 0, 1}}},
    {"closed twice", {{'c', 1, 0}, {'c', 0, 0}, {'w', 0, 0}, {'t', 0, 1}}},
    {"reopened: waits again",
     {{'c', 1, 0}, {'r', 1, 0}, {'r', 0, 0}, {'w', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
    {"told at birth stays told when reopened", {{'c', 1, 0}, {'w', 0, 0}, {'r', 1, 0}, {'t', 0, 1}}},
    {"told by the last stays told when one comes",
     {{'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'-', 0, 0}, {'+', 0, 0}, {'t', 0, 1}}},
    {"told by close stays told when reopened", {{'w', 0, 0}, {'c', 1, 0}, {'r', 1, 0}, {'+', 0, 0}, {'t', 0, 1}}},
    {"those that wait again after that wait",
     {{'w', 0, 0}, {'c', 1, 0}, {'+', 0, 0}, {'w', 0, 0}, {'t', 0, 1}, {'-', 0, 1}, {'t', 0, 2}}},
    {"reopened with something left: close tells",
     {{'+', 0, 0}, {'c', 1, 0}, {'w', 0, 0}, {'r', 1, 0}, {'-', 0, 0}, {'t', 0, 0}, {'c', 1, 0}, {'t', 0, 1}}},
};

static int tell_step(uvf_waitgroup_t *group, waited_t *waited, uvf_ctx_t *ctx, uv_loop_t *loop, char what) {
  switch (what) {
    case '+': return uvf_waitgroup_add(group, 1);
    case '-': return uvf_waitgroup_done(group);
    case 'c': return uvf_waitgroup_close(group);
    case 'r': return uvf_waitgroup_reopen(group);
    case 'w': waited_start(waited, ctx, group); return 0;
    default: turn(loop); return 0;
  }
}

static void waits_are_told_when_it_is_closed_and_empty_and_stay_told(void **state) {
  fixture_t *f = *state;
  for (size_t i = 0; i < ARRAY_SIZE(stories); i++) {
    static waited_t waits[4];
    uvf_waitgroup_t group;
    uint64_t count = 0;
    int closed = 0, told = 0, nwaits = 0;
    memset(waits, 0, sizeof waits);
    printf("%s\n", stories[i].name);
    uvf_waitgroup_init(&group);
    for (const step_t *s = stories[i].steps; s->what != 0; s++) {
      waits[nwaits].total = &told;
      assert_int_equal(tell_step(&group, &waits[nwaits], f->root, &f->loop, s->what), s->result);
      nwaits += s->what == 'w';
      count += s->what == '+';
      count -= s->what == '-';
      closed = s->what == 'c' || (closed && s->what != 'r');
      assert_int_equal(told, s->told);
      assert_int_equal(uvf_waitgroup_count(&group), count);
      assert_int_equal(uvf_waitgroup_is_closed(&group), closed);
    }
    for (int w = 0; w < nwaits; w++) assert_told(&waits[w], 0);
  }
}

static void zeroed_memory_is_an_open_one_with_nothing_in_it(void **state) {
  fixture_t *f = *state;
  static uvf_waitgroup_t group;
  static waited_t waited;
  waited_start(&waited, f->root, &group);
  assert_int_equal(uvf_waitgroup_add(&group, 3), 0);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  for (int i = 0; i < 3; i++) {
    turn(&f->loop);
    assert_int_equal(waited.calls, 0);
    assert_int_equal(uvf_waitgroup_done(&group), 0);
  }
  run_until(&f->loop, &waited.calls, 1);
  assert_told(&waited, 0);
}

/* --- waits that end otherwise --- */

static void a_shutdown_that_takes_too_long_says_so_and_may_be_waited_for_once_more(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_ctx_t *soon;
  static waited_t waits[3];
  uint64_t since = uv_hrtime();
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_add(&group, 1), 0);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  soon = timeout_of(f->root, 5);
  waited_start(&waits[0], soon, &group);
  waited_start(&waits[1], f->root, &group);
  run_until(&f->loop, &waits[0].calls, 1);
  assert_true(uv_hrtime() - since >= 5 * MS_NS);
  assert_told(&waits[0], UV_ETIMEDOUT);
  assert_int_equal(uvf_waitgroup_count(&group), 1);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[1].wait), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[1].wait), UV_EBUSY);
  waited_start(&waits[2], f->root, &group);
  run_until(&f->loop, &waits[1].calls, 1);
  assert_told(&waits[1], UV_ECANCELED);
  assert_int_equal(waits[2].calls, 0);
  assert_int_equal(uvf_waitgroup_done(&group), 0);
  assert_int_equal(uvf_op_cancel((uvf_op_t *)&waits[2].wait), UV_EBUSY); /* told stays told */
  run_until(&f->loop, &waits[2].calls, 1);
  assert_told(&waits[2], 0);
  waited_start(&waits[0], soon, &group); /* its context is over: nothing is learnt of the group */
  run_until(&f->loop, &waits[0].calls, 1);
  assert_told(&waits[0], UV_ETIMEDOUT);
  uvf_ctx_release(soon);
}

/* Ended by: the group, a cancel, the parent's cancel, the root's close; each before and after the group was over. */
static void a_wait_ends_once_whoever_comes_first(void **state) {
  fixture_t *f = *state;
  for (int ender = 0; ender < 3; ender++) {
    for (int over_first = 0; over_first < 2; over_first++) {
      uvf_waitgroup_t group;
      static waited_t waited;
      uvf_ctx_t *root;
      uvf_ctx_t *ctx;
      assert_int_equal(uvf_ctx_background(&f->loop, &root), 0);
      ctx = child_of(root);
      uvf_waitgroup_init(&group);
      uvf_waitgroup_add(&group, 1);
      uvf_waitgroup_close(&group);
      waited_start(&waited, ctx, &group);
      if (over_first) uvf_waitgroup_done(&group);
      if (ender == 0) assert_int_equal(uvf_op_cancel((uvf_op_t *)&waited.wait), over_first ? UV_EBUSY : 0);
      if (ender == 1) uvf_ctx_cancel(ctx);
      if (ender == 2) uvf_ctx_close(root, NULL);
      assert_int_equal(waited.calls, 0);
      if (!over_first) uvf_waitgroup_done(&group);
      run_until(&f->loop, &waited.calls, 1);
      turn(&f->loop);
      assert_told(&waited, over_first ? 0 : UV_ECANCELED);
      uvf_ctx_release(ctx);
      if (ender != 2) uvf_ctx_close(root, NULL);
      turn(&f->loop);
    }
  }
}

/* --- names --- */

static void what_is_under_way_can_be_named(void **state) {
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t a, b, c;
  const char *names[4];
  size_t n = 9;
  char text[256] = {0};
  FILE *out = tmpfile();
  (void)state;
  memset(&a, 0xff, sizeof a);
  memset(&b, 0xff, sizeof b);
  memset(&c, 0xff, sizeof c);
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_enter(&group, &a, "a"), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &b, NULL), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &c, "c"), 0);
  assert_int_equal(uvf_waitgroup_add(&group, 2), 0);
  assert_ptr_equal(a.group, &group);
  assert_int_equal(uvf_waitgroup_names(&group, names, 4, &n), 5);
  assert_int_equal(n, 3);
  assert_string_equal(names[0], "c");
  assert_null(names[1]);
  assert_string_equal(names[2], "a");
  assert_int_equal(uvf_waitgroup_names(&group, names, 1, &n), 5);
  assert_int_equal(n, 1);
  assert_int_equal(uvf_waitgroup_names(&group, NULL, 0, NULL), 5);
  assert_non_null(out);
  uvf_waitgroup_dump(&group, out);
  assert_int_equal(uvf_waitgroup_leave(&c), 0);
  assert_null(c.group);
  assert_int_equal(uvf_waitgroup_leave(&b), 0);
  assert_int_equal(uvf_waitgroup_names(&group, names, 4, &n), 3);
  assert_int_equal(n, 1);
  assert_string_equal(names[0], "a");
  uvf_waitgroup_dump(&group, out);
  assert_int_equal(uvf_waitgroup_leave(&a), 0);
  assert_int_equal(uvf_waitgroup_count(&group), 2);
  rewind(out);
  assert_true(fread(text, 1, sizeof text - 1, out) > 0);
  assert_string_equal(text, "under way: c\nunder way: a\n3 others under way\nunder way: a\n2 others under way\n");
  fclose(out);
}

static void the_last_one_that_leaves_tells_as_a_done_does(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  static waited_t waited;
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "one"), 0);
  waited_start(&waited, f->root, &group);
  assert_int_equal(uvf_waitgroup_close(&group), 1);
  turn(&f->loop);
  assert_int_equal(waited.calls, 0);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "again"), 0);
  run_until(&f->loop, &waited.calls, 1);
  assert_told(&waited, 0);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
}

static void a_dump_of_more_than_are_at_hand_takes_memory_or_does_without(void **state) {
  uvf_waitgroup_t group;
  static uvf_waitgroup_entry_t entries[200];
  (void)state;
  uvf_waitgroup_init(&group);
  for (int i = 0; i < 200; i++) assert_int_equal(uvf_waitgroup_enter(&group, &entries[i], "x"), 0);
  for (int fail = 0; fail < 2; fail++) {
    FILE *out = tmpfile();
    char line[64], last[64] = "";
    int lines = 0;
    assert_non_null(out);
    test_alloc_fail_at(fail ? 1 : 0);
    uvf_waitgroup_dump(&group, out);
    assert_int_equal(test_alloc_failed(), fail);
    test_alloc_fail_at(0);
    rewind(out);
    while (fgets(line, sizeof line, out) != NULL) {
      lines++;
      strcpy(last, line);
    }
    assert_int_equal(lines, fail ? 65 : 201);
    assert_string_equal(last, fail ? "136 others under way\n" : "0 others under way\n");
    fclose(out);
  }
  for (int i = 0; i < 200; i++) assert_int_equal(uvf_waitgroup_leave(&entries[(i * 7) % 200]), 0);
  assert_int_equal(uvf_waitgroup_count(&group), 0);
}

/* --- misuse --- */

static void bad_arguments_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  uvf_wait_t wait;
  size_t n = 7;
  uvf_waitgroup_init(NULL);
  uvf_waitgroup_init(&group);
  assert_int_equal(uvf_waitgroup_add(NULL, 1), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_add(&group, 0), 0);
  assert_int_equal(uvf_waitgroup_add(&group, (UINT64_MAX >> 2) + 1), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_add(&group, UINT64_MAX >> 2), 0);
  assert_int_equal(uvf_waitgroup_add(&group, 1), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "x"), UV_E2BIG);
  assert_int_equal(uvf_waitgroup_names(&group, NULL, 0, &n), UINT64_MAX >> 2);
  assert_int_equal(n, 0);
  assert_int_equal(uvf_waitgroup_is_closed(&group), 0);
  assert_int_equal(uvf_waitgroup_done(NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_enter(NULL, &entry, "x"), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_enter(&group, NULL, "x"), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_leave(NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_close(NULL), 0);
  assert_int_equal(uvf_waitgroup_reopen(NULL), 0);
  assert_int_equal(uvf_waitgroup_is_closed(NULL), 0);
  assert_int_equal(uvf_waitgroup_count(NULL), 0);
  assert_int_equal(uvf_waitgroup_names(NULL, NULL, 0, &n), 0);
  uvf_waitgroup_dump(NULL, stderr);
  uvf_waitgroup_dump(&group, NULL);
  assert_int_equal(uvf_waitgroup_wait(NULL, &wait, &group, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, NULL, &group, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, &wait, NULL, on_waited), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_wait(f->root, &wait, &group, NULL), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_join(NULL, &group), UV_EINVAL);
  assert_int_equal(uvf_waitgroup_join(f->root, NULL), UV_EINVAL);
  assert_int_equal(stats_of(f->root).ops, 0);
}

static int misuse_result;
static void done_too_often(void *arg) { misuse_result = uvf_waitgroup_done(arg); }
static void leave_again(void *arg) { misuse_result = uvf_waitgroup_leave(arg); }
static void enter_again(void *arg) {
  uvf_waitgroup_entry_t *entry = arg;
  misuse_result = uvf_waitgroup_enter(entry->group, entry, "twice");
}

static void expect_misuse(void (*fn)(void *), void *arg, const char *function) {
  if (test_rules_on()) {
    const char *rule = test_expect_rule(fn, arg);
    assert_non_null(rule);
    assert_memory_equal(rule, function, strlen(function));
  } else {
    misuse_result = 1;
    fn(arg);
    assert_int_equal(misuse_result, UV_EINVAL);
  }
}

static void misuse_is_named_in_debug_builds_and_refused_in_others(void **state) {
  uvf_waitgroup_t group;
  uvf_waitgroup_entry_t entry;
  (void)state;
  uvf_waitgroup_init(&group);
  expect_misuse(done_too_often, &group, "uvf_waitgroup_done: ");
  uvf_waitgroup_close(&group);
  expect_misuse(done_too_often, &group, "uvf_waitgroup_done: ");
  assert_int_equal(uvf_waitgroup_count(&group), 0);
  assert_int_equal(uvf_waitgroup_enter(&group, &entry, "once"), 0);
  if (test_rules_on()) expect_misuse(enter_again, &entry, "uvf_waitgroup_enter: "); /* a release build cannot tell */
  assert_int_equal(uvf_waitgroup_count(&group), 1);
  assert_int_equal(uvf_waitgroup_leave(&entry), 0);
  expect_misuse(leave_again, &entry, "uvf_waitgroup_leave: ");
  assert_int_equal(uvf_waitgroup_count(&group), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(waits_are_told_when_it_is_closed_and_empty_and_stay_told),
      unit(zeroed_memory_is_an_open_one_with_nothing_in_it),
      unit(a_shutdown_that_takes_too_long_says_so_and_may_be_waited_for_once_more),
      unit(a_wait_ends_once_whoever_comes_first),
      unit(what_is_under_way_can_be_named),
      unit(the_last_one_that_leaves_tells_as_a_done_does),
      unit(a_dump_of_more_than_are_at_hand_takes_memory_or_does_without),
      unit(bad_arguments_are_refused),
      unit(misuse_is_named_in_debug_builds_and_refused_in_others),
  };
  return test_run(tests);
}
