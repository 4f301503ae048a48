/* SPDX-License-Identifier: MIT
 *
 * Looking inside: names, the description of a chain, counts, the figures of a loop, and the drawing of a tree.
 */
#include "unit/probe.h"

/* --- names --- */

static void a_context_is_named_by_its_kind_until_it_is_given_a_name_and_null_takes_it_back(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *born = child_of(ctx);
  static const char name[] = "request 7";
  assert_string_equal(uvf_ctx_name(f->root), "background");
  assert_string_equal(uvf_ctx_name(ctx), "with_cancel");
  uvf_ctx_set_name(ctx, name);
  assert_ptr_equal(uvf_ctx_name(ctx), name);              /* not copied */
  assert_string_equal(uvf_ctx_name(born), "with_cancel"); /* not inherited */
  uvf_ctx_cancel(ctx);
  assert_string_equal(uvf_ctx_name(ctx), "request 7");
  uvf_ctx_set_name(ctx, NULL);
  assert_string_equal(uvf_ctx_name(ctx), "with_cancel");
  uvf_ctx_release(ctx);
  uvf_ctx_release(born);
}

/* --- describe --- */

static void describe_writes_the_chain_from_the_root_and_returns_its_length(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *a = child_of(f->root), *b = timeout_of(a, HOUR_MS), *c = NULL;
  char buf[200];
  assert_int_equal(uvf_ctx_with_deadline(b, uv_hrtime() + HOUR_NS, &c), 0);
  assert_int_equal(uvf_ctx_describe(f->root, buf, sizeof buf), strlen("background"));
  assert_string_equal(buf, "background");
  assert_int_equal(uvf_ctx_describe(c, buf, sizeof buf), strlen("background.with_cancel.with_timeout.with_deadline"));
  assert_string_equal(buf, "background.with_cancel.with_timeout.with_deadline");
  uvf_ctx_set_name(a, "server");
  uvf_ctx_set_name(b, "request");
  assert_int_equal(uvf_ctx_describe(c, buf, sizeof buf), strlen("background.server.request.with_deadline"));
  assert_string_equal(buf, "background.server.request.with_deadline");
  assert_int_equal(uvf_ctx_describe(c, NULL, 0), strlen("background.server.request.with_deadline"));
  uvf_ctx_release(a);
  uvf_ctx_release(b);
  uvf_ctx_release(c);
}

static void describe_keeps_within_a_buffer_of_any_size_and_cuts_at_the_start(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root);
  char full[400], buf[420];
  size_t len;
  for (int i = 0; i < 20; i++) {
    uvf_ctx_t *next = i % 3 ? child_of(ctx) : timeout_of(ctx, HOUR_MS);
    uvf_ctx_set_name(next, i % 4 == 0 ? "x" : NULL);
    uvf_ctx_release(ctx);
    ctx = next;
  }
  len = uvf_ctx_describe(ctx, full, sizeof full);
  assert_in_range(len, 100, sizeof full - 1);
  assert_int_equal(strlen(full), len);
  for (size_t size = 0; size <= len + 10; size++) {
    memset(buf, 0x7e, sizeof buf);
    assert_int_equal(uvf_ctx_describe(ctx, buf, size), len); /* the length it would have had */
    for (size_t i = size; i < sizeof buf; i++) assert_int_equal(buf[i], 0x7e);
    if (size == 0) continue;
    assert_non_null(memchr(buf, '\0', size));
    if (size > len) {
      assert_string_equal(buf, full);
    } else if (size > 3) {
      size_t kept = strlen(buf) - 3;
      assert_memory_equal(buf, "...", 3);
      assert_string_equal(buf + 3, full + len - kept); /* the rest is the end of the chain */
      if (size > 40) assert_true(kept > size / 2);
    }
  }
  uvf_ctx_release(ctx);
}

/* --- counts --- */

static int zero_fn(uvf_work_t *work) {
  (void)work;
  return 0;
}

static void count_done(uvf_work_t *work, int status) {
  (void)status;
  ++*(int *)work->data;
}

static void counts_tell_what_stands_directly_under_one_context(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *children[5], *any = NULL, *apart = NULL, *deep;
  uvf_guard_t guards[2];
  uv_timer_t timers[2];
  probe_t probes[3] = {0};
  uvf_work_t jobs[4];
  uvf_ctx_counts_t counts;
  int done = 0;
  counts = counts_of(ctx);
  assert_int_equal(counts.children + counts.ops + counts.watchers + counts.guards, 0);
  for (size_t i = 0; i < 5; i++) assert_int_equal(kinds[i].derive(ctx, &children[i]), 0);
  assert_int_equal(uvf_ctx_with_any(&ctx, 1, &any), 0);
  assert_int_equal(uvf_ctx_without_cancel(ctx, &apart), 0); /* not under it: only the root ends it */
  deep = child_of(children[0]);
  for (int i = 0; i < 3; i++) probe_start(&probes[i], ctx, i, NULL);
  for (int i = 0; i < 2; i++) {
    assert_int_equal(uv_timer_init(&f->loop, &timers[i]), 0);
    assert_int_equal(uvf_guard_start(ctx, &guards[i], (uv_handle_t *)&timers[i], NULL), 0);
  }
  for (int i = 0; i < 4; i++) {
    jobs[i].data = &done;
    assert_int_equal(uvf_work_start(ctx, &jobs[i], zero_fn, count_done, NULL), 0);
  }
  counts = counts_of(ctx);
  assert_int_equal(counts.children, 6);
  assert_int_equal(counts.ops, 4);
  assert_int_equal(counts.watchers, 3);
  assert_int_equal(counts.guards, 2);
  assert_int_equal(counts_of(children[0]).children, 1);
  uvf_ctx_cancel(children[1]);
  assert_int_equal(counts_of(ctx).children, 5);
  run_until(&f->loop, &done, 4);
  assert_int_equal(counts_of(ctx).ops, 0);
  uvf_ctx_cancel(ctx);
  turn(&f->loop);
  counts = counts_of(ctx);
  assert_int_equal(counts.children + counts.ops + counts.watchers + counts.guards, 0);
  for (size_t i = 0; i < 5; i++) uvf_ctx_release(children[i]);
  uvf_ctx_release(any);
  uvf_ctx_release(apart);
  uvf_ctx_release(deep);
  uvf_ctx_release(ctx);
}

static void the_figures_of_a_loop_follow_what_happens_on_it(void **state) {
  fixture_t *f = *state;
  uvf_stats_t stats = stats_of(f->root);
  uvf_ctx_t *ctx, *timed, *second = NULL;
  probe_t probes[2] = {0};
  assert_true(stats.contexts == 1 && stats.live == 1 && stats.deadlines == 0 && stats.ops == 0 && stats.ready == 0);
  assert_true(stats.delivered == 0 && stats.roots == 1);
  ctx = child_of(f->root);
  timed = timeout_of(ctx, HOUR_MS);
  probe_start(&probes[0], ctx, 0, NULL);
  probe_start(&probes[1], timed, 0, NULL);
  stats = stats_of(timed);
  assert_true(stats.contexts == 3 && stats.live == 3 && stats.deadlines == 1 && stats.ops == 2 && stats.ready == 0);
  uvf_ctx_cancel(ctx);
  stats = stats_of(ctx);
  assert_true(stats.contexts == 3 && stats.live == 1 && stats.deadlines == 0 && stats.ops == 2 && stats.ready == 2);
  run_until(&f->loop, &probes[0].calls, 1);
  stats = stats_of(ctx);
  assert_true(stats.contexts == 3 && stats.live == 1 && stats.ops == 0 && stats.ready == 0 && stats.delivered == 2);
  uvf_ctx_release(timed);
  uvf_ctx_release(ctx);
  assert_int_equal(uvf_ctx_background(&f->loop, &second), 0);
  stats = stats_of(f->root);
  assert_true(stats.contexts == 2 && stats.live == 2 && stats.roots == 2 && stats.delivered == 2);
  uvf_ctx_close(second, NULL);
  turn(&f->loop);
  stats = stats_of(f->root);
  assert_true(stats.contexts == 1 && stats.live == 1 && stats.roots == 1);
}

/* --- the drawing --- */

static char drawn[200000];

/* The drawing of ctx as text. */
static const char *draw(uvf_ctx_t *ctx) {
  FILE *file = tmpfile();
  size_t len;
  assert_non_null(file);
  assert_int_equal(uvf_ctx_dump(ctx, file), 0);
  rewind(file);
  len = fread(drawn, 1, sizeof drawn - 1, file);
  drawn[len] = '\0';
  fclose(file);
  return drawn;
}

static int lines_of(const char *text) {
  int n = 0;
  for (; *text != '\0'; text++) n += *text == '\n';
  return n;
}

/* The line of text that contains what, copied; the test fails if there is not exactly one. */
static const char *line_with(const char *text, const char *what) {
  static char line[1000];
  const char *at = strstr(text, what), *begin, *end;
  if (at == NULL) fail_msg("no \"%s\" in:\n%s", what, text);
  if (strstr(at + strlen(what), what) != NULL) fail_msg("more than one \"%s\" in:\n%s", what, text);
  for (begin = at; begin > text && begin[-1] != '\n'; begin--) {}
  end = strchr(at, '\n');
  assert_non_null(end);
  assert_in_range(end - begin, 1, sizeof line - 1);
  memcpy(line, begin, (size_t)(end - begin));
  line[end - begin] = '\0';
  return line;
}

static void the_drawing_has_a_line_for_each_context_and_operation_with_names_and_deadlines(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *server = child_of(f->root), *request = timeout_of(server, HOUR_MS), *part = child_of(request), *any = NULL;
  uvf_ctx_t *const both[2] = {request, server};
  uvf_guard_t guard;
  uv_timer_t timer;
  probe_t probe = {0};
  const char *text, *line;
  double left_ms;
  assert_int_equal(uvf_ctx_with_any(both, 2, &any), 0);
  uvf_ctx_set_name(f->root, "main");
  uvf_ctx_set_name(server, "server");
  uvf_ctx_set_name(request, "request 12");
  uvf_ctx_set_name(part, "part");
  assert_int_equal(uv_timer_init(&f->loop, &timer), 0);
  assert_int_equal(uvf_guard_start(server, &guard, (uv_handle_t *)&timer, NULL), 0);
  probe_start(&probe, part, 0, NULL);
  text = draw(f->root);
  assert_true(lines_of(text) >= 7);
  assert_true(strncmp(text, line_with(text, "\"main\""), strlen("background")) == 0); /* the root is the first line */
  assert_non_null(strstr(line_with(text, "\"server\""), "with_cancel"));
  line = line_with(text, "\"request 12\"");
  assert_non_null(strstr(line, "with_timeout"));
  assert_non_null(strstr(line, "ms left"));
  left_ms = strtod(strstr(line, "\"request 12\"") + strlen("\"request 12\""), NULL);
  assert_true(left_ms <= (double)HOUR_MS && left_ms > (double)HOUR_MS - 60000);
  assert_non_null(strstr(line_with(text, "\"part\""), "ms left"));
  assert_non_null(strstr(line_with(text, "[guard"), "uv_timer_t"));
  assert_non_null(line_with(text, "[watch"));
  assert_non_null(strstr(text, "with_any"));
  if (test_rules_on()) { /* the library is a debug build: it knows where they were started */
#ifndef NDEBUG
    assert_non_null(strstr(line_with(text, "[guard"), "test_dump.c:"));
    assert_non_null(strstr(line_with(text, "[watch"), "probe.h:"));
#endif
  }
  text = draw(part); /* only what is under it */
  assert_int_equal(lines_of(text), 2);
  assert_null(strstr(text, "server"));
  uvf_ctx_cancel(server);
  turn(&f->loop);
  uvf_ctx_release(any);
  uvf_ctx_release(part);
  uvf_ctx_release(request);
  uvf_ctx_release(server);
}

static void the_drawing_tells_what_is_over_and_why(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *plain = child_of(f->root), *caused = child_of(f->root), *timed = timeout_of(f->root, 0);
  uvf_ctx_cancel(plain);
  uvf_ctx_cancel_cause(caused, UV_EPIPE, NULL);
  assert_non_null(strstr(draw(plain), "ECANCELED"));
  assert_non_null(strstr(draw(timed), "ETIMEDOUT"));
  draw(caused);
  assert_non_null(strstr(drawn, "ECANCELED"));
  assert_true(strstr(drawn, "EPIPE") != NULL || strstr(drawn, uv_strerror(UV_EPIPE)) != NULL);
  uvf_ctx_cancel_cause(plain, UV_EPIPE, NULL); /* the first end won */
  assert_null(strstr(draw(plain), uv_strerror(UV_EPIPE)));
  uvf_ctx_release(plain);
  uvf_ctx_release(caused);
  uvf_ctx_release(timed);
}

static void deeper_than_64_levels_it_says_how_many_it_left_out(void **state) {
  enum { DEEP = 1000 };
  fixture_t *f = *state;
  uvf_ctx_t *chain[DEEP], *side[DEEP];
  const char *text, *said;
  int drawn_contexts = 0;
  for (int i = 0; i < DEEP; i++) {
    chain[i] = child_of(i == 0 ? f->root : chain[i - 1]);
    side[i] = child_of(chain[i]);
  }
  text = draw(f->root);
  said = line_with(text, "contexts below");
  assert_non_null(strstr(said, "..."));
  for (const char *at = text; (at = strstr(at, "with_cancel")) != NULL; at++) drawn_contexts++;
  assert_true(drawn_contexts >= 64 && drawn_contexts < 200);
  assert_int_equal(strtol(strpbrk(said, "0123456789"), NULL, 10) + drawn_contexts, 2 * DEEP); /* none is lost */
  for (int i = 0; i < DEEP; i++) {
    uvf_ctx_release(side[i]);
    uvf_ctx_release(chain[i]);
  }
}

static void the_drawing_of_a_closing_root_names_what_is_left(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = child_of(f->root), *root = uvf_ctx_retain(f->root);
  probe_t probe = {0};
  int jobs_done = 0;
  uvf_work_t job = {.data = &jobs_done};
  uvf_ctx_set_name(ctx, "the slow one");
  probe_start(&probe, ctx, 0, NULL);
  assert_int_equal(uvf_work_start(root, &job, zero_fn, count_done, NULL), 0);
  assert_non_null(strstr(draw(root), "[work"));
  f->root = NULL;
  uvf_ctx_close(root, NULL);
  assert_non_null(strstr(draw(root), "over"));
  uvf_ctx_release(root);
  uvf_ctx_release(ctx);
  run_until(&f->loop, &jobs_done, 1);
}

typedef struct held_s {
  uvf_work_t job;
  gate_t started, go;
  int done, released;
} held_t;

static int held_fn(uvf_work_t *job) {
  held_t *held = job->data;
  gate_open(&held->started, 1);
  gate_pass(&held->go);
  return 0;
}

static void held_done(uvf_work_t *job, int status) {
  (void)status;
  ((held_t *)job->data)->done++;
}

static void held_release(uvf_work_t *job) { ((held_t *)job->data)->released++; }

static void the_drawing_of_a_root_names_running_jobs_whose_context_is_over_and_left_the_tree(void **state) {
  fixture_t *f = *state;
  for (int release = 0; release < 2; release++) {
    uvf_ctx_t *a = child_of(f->root), *b = timeout_of(a, HOUR_MS);
    held_t held = {.done = 0};
    gate_init(&held.started);
    gate_init(&held.go);
    held.job.data = &held;
    uvf_ctx_set_name(a, "request");
    assert_int_equal(uvf_work_start(b, &held.job, held_fn, held_done, release ? held_release : NULL), 0);
    gate_pass(&held.started);
    assert_null(strstr(draw(f->root), "still held")); /* it is in the tree */
    uvf_ctx_cancel(a);
    uvf_ctx_release(a);
    uvf_ctx_release(b);
    turn(&f->loop);
    assert_int_equal(held.done, release);
    line_with(draw(f->root), "still held: background.request.with_timeout");
    line_with(drawn, release ? "[work]  told, waits for its release" : "[work]  claimed");
    gate_open(&held.go, 1);
    run_until(&f->loop, release ? &held.released : &held.done, 1);
    assert_null(strstr(draw(f->root), "still held"));
    gate_destroy(&held.started);
    gate_destroy(&held.go);
  }
}

static void the_drawing_refuses_null_and_reports_a_stream_that_failed(void **state) {
  fixture_t *f = *state;
  FILE *file = fopen(__FILE__, "r"); /* not open for writing */
  assert_int_equal(uvf_ctx_dump(NULL, stderr), UV_EINVAL);
  assert_int_equal(uvf_ctx_dump(f->root, NULL), UV_EINVAL);
  assert_non_null(file);
  assert_int_equal(uvf_ctx_dump(f->root, file), UV_EIO);
  fclose(file);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(a_context_is_named_by_its_kind_until_it_is_given_a_name_and_null_takes_it_back),
      unit(describe_writes_the_chain_from_the_root_and_returns_its_length),
      unit(describe_keeps_within_a_buffer_of_any_size_and_cuts_at_the_start),
      unit(counts_tell_what_stands_directly_under_one_context),
      unit(the_figures_of_a_loop_follow_what_happens_on_it),
      unit(the_drawing_has_a_line_for_each_context_and_operation_with_names_and_deadlines),
      unit(the_drawing_tells_what_is_over_and_why),
      unit(deeper_than_64_levels_it_says_how_many_it_left_out),
      unit(the_drawing_of_a_closing_root_names_what_is_left),
      unit(the_drawing_of_a_root_names_running_jobs_whose_context_is_over_and_left_the_tree),
      unit(the_drawing_refuses_null_and_reports_a_stream_that_failed),
  };
  return test_run(tests);
}
