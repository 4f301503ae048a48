/* SPDX-License-Identifier: MIT
 *
 * Select on one thread: what needs no wait. Which case happens, that exactly one does, and that the choice is fair.
 */
#include "unit/select_probe.h"

/* --- nothing to wait for --- */

static void without_cases_it_waits_for_its_context(void **state) {
  fixture_t *f = *state;
  for (int off = 0; off < 2; off++) { /* none, or all switched off */
    for (int how = 0; how < 4; how++) {
      uvf_ctx_t *ctx = how == 1 ? timeout_of(f->root, 5) : child_of(f->root);
      uvf_select_case_t cases[2] = {receives(UVF_CHAN_NONE), sends(UVF_CHAN_NONE, 1)};
      choice_t c = {0};
      choice_start(&c, ctx, off ? cases : NULL, off ? 2 : 0);
      if (how != 1) turn(&f->loop);
      assert_int_equal(c.calls, 0);
      if (how != 1) assert_int_equal(counts_of(ctx).ops, 1);
      if (how == 0) uvf_ctx_cancel(ctx);
      if (how == 2) on_thread(cancel_ctx, ctx);
      if (how == 3) assert_int_equal(choice_cancel(&c), 0);
      assert_int_equal(c.calls, 0);
      run_until(&f->loop, &c.calls, 1);
      assert_chose(&c, how == 1 ? UV_ETIMEDOUT : UV_ECANCELED, off ? 2 : 0);
      assert_int_equal(NUMBER(cases[0].item), -1);
      assert_int_equal(NUMBER(cases[1].item), 1);
      uvf_ctx_release(ctx);
    }
  }
}

static void a_case_that_is_off_never_happens(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  for (int i = 0; i < 100; i++) {
    uvf_select_case_t cases[3] = {receives(UVF_CHAN_NONE), sends(chan, 5), sends(UVF_CHAN_NONE, 6)};
    choice_t c = {0};
    choice_start(&c, f->root, cases, 3);
    run_until(&f->loop, &c.calls, 1);
    assert_chose(&c, 0, 1);
    take(chan, 5, 5);
  }
  uvf_chan_release(chan);
}

static void arguments_that_make_no_select_are_refused(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *chan = chan_of(1);
  uvf_select_case_t cases[3] = {receives(chan), receives(chan), sends(chan, 1)};
  choice_t c = {0};
  size_t index = 77;
  assert_int_equal(uvf_select_start(NULL, &c.sel, cases, 2, on_choice), UV_EINVAL);
  assert_int_equal(uvf_select_start(f->root, NULL, cases, 2, on_choice), UV_EINVAL);
  assert_int_equal(uvf_select_start(f->root, &c.sel, NULL, 2, on_choice), UV_EINVAL);
  assert_int_equal(uvf_select_start(f->root, &c.sel, cases, 2, NULL), UV_EINVAL);
  assert_int_equal(uvf_select_try(NULL, 2, &index), UV_EINVAL);
  assert_int_equal(uvf_select_try(cases, 2, NULL), UV_EINVAL);
  assert_int_equal(uvf_select_wait(NULL, cases, 2, &index), UV_EINVAL);
  assert_int_equal(uvf_select_wait(f->root, NULL, 2, &index), UV_EINVAL);
  assert_int_equal(uvf_select_wait(f->root, cases, 2, NULL), UV_EINVAL);
  for (int kind = -1; kind < 3; kind += 3) { /* -1 and 2 */
    cases[1].kind = kind;
    assert_int_equal(uvf_select_start(f->root, &c.sel, cases, 3, on_choice), UV_EINVAL);
    assert_int_equal(uvf_select_try(cases, 3, &index), UV_EINVAL); /* though the third is ready */
    assert_int_equal(uvf_select_wait(f->root, cases, 3, &index), UV_EINVAL);
  }
  assert_waiting(chan, 0, 0, 0);
  assert_counters(chan, 0, 0, 0);
  assert_int_equal(stats_of(f->root).ops, 0);
  turn(&f->loop);
  assert_int_equal(c.calls, 0);
  uvf_chan_release(chan);
}

static void under_a_context_that_is_over_nothing_happens(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = timeout_of(f->root, 0);
  uvf_chan_t *chan = chan_of(1);
  uvf_select_case_t cases[2] = {sends(chan, 5), receives(chan)};
  choice_t c = {0};
  choice_start(&c, ctx, cases, 2);
  run_until(&f->loop, &c.calls, 1);
  assert_chose(&c, UV_ETIMEDOUT, 2);
  assert_counters(chan, 0, 0, 0);
  uvf_ctx_release(ctx);
  uvf_chan_release(chan);
}

/* --- ready at once --- */

static void a_case_that_is_ready_happens_inside_the_start_and_is_told_later(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *full = chan_of(1), *empty = chan_of(1), *chan = chan_of(1);
  put(full, 9, 9);
  for (int sending = 0; sending < 2; sending++) {
    uvf_select_case_t cases[3] = {sends(full, 8), sending ? sends(chan, 5) : receives(chan), receives(empty)};
    choice_t c = {0};
    if (!sending) put(chan, 5, 5);
    choice_start(&c, f->root, cases, 3);
    assert_int_equal(uvf_chan_length(chan), sending);
    assert_waiting(full, 1, 0, 0); /* the others were not even entered */
    assert_waiting(empty, 0, 0, 0);
    assert_int_equal(choice_cancel(&c), UV_EBUSY);
    run_until(&f->loop, &c.calls, 1);
    assert_chose(&c, 0, 1);
    assert_int_equal(NUMBER(cases[1].item), 5);
    assert_int_equal(NUMBER(cases[0].item), 8);
    assert_int_equal(NUMBER(cases[2].item), -1);
    if (sending) take(chan, 5, 5);
  }
  uvf_chan_release(full);
  uvf_chan_release(empty);
  uvf_chan_release(chan);
}

static void a_closed_channels_case_is_ready(void **state) {
  fixture_t *f = *state;
  uvf_chan_t *closed = chan_of(1), *open = chan_of(0), *left = chan_of(1);
  put(left, 3, 3);
  uvf_chan_close(closed);
  uvf_chan_close(left);
  for (int row = 0; row < 3; row++) {
    uvf_select_case_t cases[2] = {receives(open), row == 0   ? receives(closed)
                                                  : row == 1 ? sends(closed, 6)
                                                             : receives(left)};
    choice_t c = {0};
    size_t index = 77;
    if (row < 2) {
      assert_int_equal(uvf_select_try(cases, 2, &index), row == 0 ? UV_EOF : UV_EPIPE);
      assert_int_equal(index, 1);
    }
    choice_start(&c, f->root, cases, 2);
    run_until(&f->loop, &c.calls, 1);
    assert_chose(&c, row == 0 ? UV_EOF : row == 1 ? UV_EPIPE : 0, 1);
    assert_int_equal(NUMBER(cases[1].item), row == 0 ? -1 : row == 1 ? 6 : 3);
    assert_waiting(open, 0, 0, 0);
  }
  uvf_chan_release(open);
  uvf_chan_release(closed);
  uvf_chan_release(left);
}

static void a_try_takes_what_is_ready_or_nothing(void **state) {
  uvf_chan_t *room = chan_of(1), *none = chan_of(0);
  uvf_select_case_t cases[3] = {receives(none), receives(room), sends(none, 7)};
  size_t index = 77;
  (void)state;
  assert_int_equal(uvf_select_try(cases, 3, &index), UV_EAGAIN);
  assert_int_equal(index, 3);
  assert_waiting(none, 0, 0, 0);
  assert_waiting(room, 0, 0, 0);
  assert_int_equal(uvf_select_try(NULL, 0, &index), UV_EAGAIN);
  assert_int_equal(index, 0);
  cases[0].chan = cases[2].chan = UVF_CHAN_NONE;
  assert_int_equal(uvf_select_try(cases, 3, &index), UV_EAGAIN);
  assert_int_equal(index, 3);
  put(room, 4, 4);
  assert_int_equal(uvf_select_try(cases, 3, &index), 0);
  assert_int_equal(index, 1);
  assert_int_equal(NUMBER(cases[1].item), 4);
  uvf_chan_release(room);
  uvf_chan_release(none);
}

static void a_send_into_a_dropping_channel_is_ready_and_its_drop_runs_without_a_lock(void **state) {
  fixture_t *f = *state;
  for (int full = UVF_CHAN_DROP_NEWEST; full <= UVF_CHAN_DROP_OLDEST; full++) {
    drops_t drops = {0};
    uvf_chan_t *chan = chan_dropping(1, full, &drops), *other = chan_of(0);
    uvf_select_case_t cases[2] = {receives(other), sends(chan, 2)};
    choice_t c = {0};
    size_t index;
    put(chan, 1, 1);
    choice_start(&c, f->root, cases, 2);
    assert_int_equal(drops.n, 1);
    assert_int_equal(drops.item[0], full == UVF_CHAN_DROP_NEWEST ? 2 : 1);
    run_until(&f->loop, &c.calls, 1);
    assert_chose(&c, 0, 1);
    assert_int_equal(uvf_select_try(cases, 2, &index), 0);
    assert_int_equal(drops.n, 2);
    assert_counters(chan, 3, 0, 2);
    uvf_chan_release(chan);
    uvf_chan_release(other);
  }
}

/* --- random --- */

static void among_those_that_are_ready_it_chooses_at_random(void **state) {
  enum { DRAWS = 10000 };
  (void)state;
  for (int k = 2; k <= 5; k++) {
    uvf_chan_t *chans[5];
    uvf_select_case_t cases[7];
    int count[7] = {0}, closed = 0;
    cases[5] = receives(UVF_CHAN_NONE);
    for (int i = 0; i < k; i++) chans[i] = chan_of(2);
    for (int i = 0; i < k; i++) put(chans[i], 1, 1);
    uvf_chan_close(chans[1]); /* with an item: EOF later, or EPIPE */
    for (int draw = 0; draw < DRAWS; draw++) {
      size_t index = 77;
      int rc;
      for (int i = 0; i < k; i++) cases[i] = i % 2 ? receives(chans[i]) : sends(chans[i], 2);
      cases[k] = receives(UVF_CHAN_NONE);
      rc = uvf_select_try(cases, (size_t)k + 1, &index);
      assert_true(index < (size_t)k);
      count[index]++;
      if (index == 1) {
        assert_int_equal(rc, closed++ == 0 ? 0 : UV_EOF);
      } else {
        void *item;
        assert_int_equal(rc, 0);
        if (index % 2) assert_int_equal(uvf_chan_try_send(chans[index], ITEM(1)), 0);
        if (!(index % 2)) assert_int_equal(uvf_chan_try_recv(chans[index], &item), 0);
      }
    }
    assert_fair(count, k, DRAWS);
    for (int i = 0; i < k; i++) uvf_chan_release(chans[i]);
  }
}

static void a_start_chooses_at_random_too_and_the_others_items_stay(void **state) {
  fixture_t *f = *state;
  enum { DRAWS = 2000 };
  uvf_chan_t *a = chan_of(1), *b = chan_of(1);
  int count[2] = {0};
  put(a, 1, 1);
  put(b, 2, 2);
  for (int draw = 0; draw < DRAWS; draw++) {
    uvf_select_case_t cases[2] = {receives(a), receives(b)};
    choice_t c = {0};
    choice_start(&c, f->root, cases, 2);
    run_until(&f->loop, &c.calls, 1);
    assert_int_equal(c.status, 0);
    assert_true(c.index < 2);
    count[c.index]++;
    assert_int_equal(NUMBER(cases[c.index].item), (int)c.index + 1);
    assert_int_equal(NUMBER(cases[1 - c.index].item), -1);
    assert_int_equal(uvf_chan_length(a), c.index == 1);
    assert_int_equal(uvf_chan_length(b), c.index == 0);
    put(c.index == 0 ? a : b, (int)c.index + 1, (int)c.index + 1);
  }
  assert_fair(count, 2, DRAWS);
  uvf_chan_release(a);
  uvf_chan_release(b);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(without_cases_it_waits_for_its_context),
      unit(a_case_that_is_off_never_happens),
      unit(arguments_that_make_no_select_are_refused),
      unit(under_a_context_that_is_over_nothing_happens),
      unit(a_case_that_is_ready_happens_inside_the_start_and_is_told_later),
      unit(a_closed_channels_case_is_ready),
      unit(a_try_takes_what_is_ready_or_nothing),
      unit(a_send_into_a_dropping_channel_is_ready_and_its_drop_runs_without_a_lock),
      unit(among_those_that_are_ready_it_chooses_at_random),
      unit(a_start_chooses_at_random_too_and_the_others_items_stay),
  };
  return test_run(tests);
}
