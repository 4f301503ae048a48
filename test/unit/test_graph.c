/* SPDX-License-Identifier: MIT
 *
 * The graph: what is made, what is copied, who is linked to whom at both ends, the order, and a graph without memory.
 */
#include "unit/graph_probe.h"

static uvf_stage_t *const no_stage = (uvf_stage_t *)(uintptr_t)16;

/* --- options --- */

static void options_begin_with_the_defaults_whatever_was_there(void **state) {
  uvf_stage_options_t o;
  int data = 0;
  (void)state;
  memset(&o, 0xff, sizeof o);
  uvf_stage_options_init(&o, UVF_STAGE_ASYNC, "fetch", never_fn, &data);
  assert_string_equal(o.name, "fetch");
  assert_int_equal(o.kind, UVF_STAGE_ASYNC);
  assert_ptr_equal(o.fn, never_fn);
  assert_ptr_equal(o.data, &data);
  assert_null(o.flush);
  assert_null(o.drop);
  assert_null(o.limiter);
  assert_true(o.inputs == UVF_PORTS_DEFAULT && o.outputs == UVF_PORTS_DEFAULT);
  assert_true(o.workers == 1 && o.capacity == 128 && o.window == 0 && o.retries == 0 && o.item_timeout_ms == 0);
  assert_int_equal(o.on_error, UVF_ON_ERROR_FAIL);
  assert_int_equal(o.ordered, 0);
  uvf_stage_options_init(NULL, UVF_STAGE_WORK, "x", never_fn, NULL);
}

static void ports_and_workers_that_follow_from_the_kind_are_settled_by_add(void **state) {
  static const struct {
    int kind;
    unsigned int inputs, workers;
  } rows[] = {{UVF_STAGE_SOURCE, 0, 1}, {UVF_STAGE_WORK, 1, 4}, {UVF_STAGE_LOOP, 1, 1}, {UVF_STAGE_ASYNC, 1, 4}};
  uvf_pipeline_t *p = pipeline_of("p");
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    uvf_stage_options_t o = options_of(rows[i].kind, "x");
    uvf_stage_t *s;
    o.workers = 4;
    s = add(p, &o);
    assert_int_equal(s->o.inputs, rows[i].inputs);
    assert_int_equal(s->o.workers, rows[i].workers);
    o.workers = 0; /* for validate to find, whatever the kind */
    assert_int_equal(add(p, &o)->o.workers, 0);
  }
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- making --- */

static void names_are_copied(void **state) {
  char name[] = "resize", pipe[] = "images";
  uvf_pipeline_t *p = pipeline_of(pipe);
  uvf_stage_t *s = work_of(p, name);
  (void)state;
  memset(name, 'x', sizeof name - 1);
  memset(pipe, 'x', sizeof pipe - 1);
  assert_string_equal(s->name, "resize");
  assert_string_equal(s->o.name, "resize");
  assert_string_equal(p->name, "images");
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void stages_are_found_in_the_order_they_were_added_and_none_past_the_last(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *stages[3];
  (void)state;
  assert_null(uvf_pipeline_stage(p, 0));
  for (size_t i = 0; i < 3; i++) stages[i] = work_of(p, "same"); /* found by validate, not by add */
  for (size_t i = 0; i < 3; i++) {
    assert_ptr_equal(uvf_pipeline_stage(p, i), stages[i]);
    assert_int_equal(stages[i]->index, i);
  }
  assert_null(uvf_pipeline_stage(p, 3));
  assert_null(uvf_pipeline_stage(p, SIZE_MAX));
  assert_null(uvf_pipeline_stage(NULL, 0));
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void what_cannot_be_made_changes_nothing(void **state) {
  uvf_pipeline_t *p = pipeline_of("p"), *none = p;
  uvf_stage_options_t good = options_of(UVF_STAGE_WORK, "x"), o;
  uvf_stage_t *s = no_stage;
  size_t blocks = test_alloc_live();
  (void)state;
  assert_int_equal(uvf_pipeline_create(NULL, &none), UV_EINVAL);
  assert_int_equal(uvf_pipeline_create("p", NULL), UV_EINVAL);
  assert_ptr_equal(none, p);
  assert_int_equal(uvf_pipeline_add(NULL, &good, &s), UV_EINVAL);
  assert_int_equal(uvf_pipeline_add(p, NULL, &s), UV_EINVAL);
  assert_int_equal(uvf_pipeline_add(p, &good, NULL), UV_EINVAL);
  o = good, o.name = NULL;
  assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EINVAL);
  o = good, o.fn = NULL;
  assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EINVAL);
  for (int kind = -1; kind < 7; kind++) {
    if (kind >= UVF_STAGE_SOURCE && kind <= UVF_STAGE_ASYNC) continue;
    o = good, o.kind = kind;
    assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EINVAL);
  }
  o = good, o.on_error = UVF_ON_ERROR_RETRY_SKIP + 1;
  assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EINVAL);
  o = good, o.on_error = UVF_ON_ERROR_FAIL - 1;
  assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EINVAL);
  assert_ptr_equal(s, no_stage);
  assert_int_equal(p->nstages, 0);
  assert_int_equal(test_alloc_live(), blocks);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
  assert_int_equal(uvf_pipeline_destroy(NULL), 0);
}

/* --- links --- */

static void a_link_is_known_at_both_ends(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = ports_of(p, "b", 3, 0);
  (void)state;
  link_to(a, 2, b, 1);
  assert_int_equal(a->nouts, 3);
  assert_true(a->outs[0].to == NULL && a->outs[1].to == NULL);
  assert_true(a->outs[2].to == b && a->outs[2].input == 1);
  link_to(a, 0, b, 2);
  assert_int_equal(a->nouts, 3);
  assert_true(a->outs[0].to == b && a->outs[0].input == 2 && a->outs[1].to == NULL && a->outs[2].to == b);
  assert_int_equal(b->nfeeders, 2); /* one for each link */
  assert_true(b->feeders[0] == a && b->feeders[1] == a);
  assert_int_equal(uvf__stage_outputs(a), 3);
  assert_int_equal(uvf__stage_outputs(b), 0);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void a_chain_takes_the_first_output_that_is_free(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *to[4];
  (void)state;
  for (int i = 0; i < 4; i++) to[i] = work_of(p, "x");
  link_to(a, 1, to[0], 0);
  chain(a, to[1]);
  chain(a, to[2]);
  chain(a, to[3]);
  assert_int_equal(a->nouts, 4);
  assert_true(a->outs[0].to == to[1] && a->outs[1].to == to[0] && a->outs[2].to == to[2] && a->outs[3].to == to[3]);
  for (unsigned int port = 0; port < 4; port++) assert_int_equal(a->outs[port].input, 0);
  assert_int_equal(uvf_pipeline_chain(NULL, a), UV_EINVAL);
  assert_int_equal(uvf_pipeline_chain(a, NULL), UV_EINVAL);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void what_cannot_be_linked_changes_nothing(void **state) {
  uvf_pipeline_t *p = pipeline_of("p"), *q = pipeline_of("q");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b"), *other = work_of(q, "b");
  size_t blocks;
  (void)state;
  link_to(a, 0, b, 0);
  blocks = test_alloc_live();
  assert_int_equal(uvf_pipeline_link(NULL, 0, b, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, 1, NULL, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, 1, other, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, UVF_PORT_MAX + 1, b, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, 1, b, UVF_PORT_MAX + 1), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, UVF_PORTS_DEFAULT, b, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_link(a, 0, b, 1), UV_EEXIST);
  assert_true(a->nouts == 1 && b->nfeeders == 1 && other->nfeeders == 0 && a->outs[0].input == 0);
  assert_int_equal(test_alloc_live(), blocks);
  link_to(a, UVF_PORT_MAX, b, UVF_PORT_MAX);
  assert_int_equal(a->nouts, UVF_PORT_MAX + 1);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
  assert_int_equal(uvf_pipeline_destroy(q), 0);
}

static void many_links_in_and_out_all_stay(void **state) {
  enum { N = 300 };
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = ports_of(p, "b", N, 0), *middle[N];
  (void)state;
  for (unsigned int i = 0; i < N; i++) {
    middle[i] = work_of(p, "x");
    chain(a, middle[i]);
    link_to(middle[i], 0, b, i);
  }
  assert_true(a->nouts == N && b->nfeeders == N);
  for (unsigned int i = 0; i < N; i++) {
    assert_ptr_equal(a->outs[i].to, middle[i]);
    assert_ptr_equal(b->feeders[i], middle[i]);
    assert_int_equal(middle[i]->outs[0].input, i);
  }
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- while it runs --- */

static void destroy_it(void *p) { (void)uvf_pipeline_destroy(p); }

static void nothing_changes_while_it_runs(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b"), *s = no_stage;
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "c");
  const char *rule;
  (void)state;
  p->running = 1;
  assert_int_equal(uvf_pipeline_add(p, &o, &s), UV_EBUSY);
  assert_ptr_equal(s, no_stage);
  assert_int_equal(uvf_pipeline_link(a, 0, b, 0), UV_EBUSY);
  assert_int_equal(uvf_pipeline_chain(a, b), UV_EBUSY);
  rule = test_expect_rule(destroy_it, p);
  if (test_rules_on()) {
    assert_non_null(rule);
    assert_string_equal(rule, "uvf_pipeline_destroy: a pipeline is destroyed when it is done, not while it runs");
  } else {
    assert_int_equal(uvf_pipeline_destroy(p), UV_EBUSY);
  }
  p->running = 0;
  assert_true(p->nstages == 2 && a->nouts == 0 && b->nfeeders == 0);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- order --- */

static void the_order_has_every_stage_behind_all_that_feed_it(void **state) {
  uint64_t seed = test_seed();
  (void)state;
  for (int round = 0; round < 200; round++) {
    size_t n = 2 + test_rand(&seed) % 30;
    uvf_pipeline_t *p = random_pipeline(&seed, n, test_rand(&seed) % 60);
    uvf_stage_t *order[64];
    size_t place[64];
    memset(place, 0xff, sizeof place);
    assert_int_equal(uvf__flow_order(p, order), 0);
    for (size_t i = 0; i < n; i++) {
      assert_int_equal(place[order[i]->index], SIZE_MAX);
      place[order[i]->index] = i;
    }
    for (uvf_stage_t *s = p->stages; s != NULL; s = s->next) {
      for (size_t i = 0; i < s->nfeeders; i++) assert_true(place[s->feeders[i]->index] < place[s->index]);
    }
    assert_int_equal(uvf_pipeline_destroy(p), 0);
  }
}

static void stages_that_have_nothing_between_them_keep_the_order_they_were_added_in(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *sink = work_of(p, "sink"), *b = work_of(p, "b"), *a = work_of(p, "a"), *source = source_of(p, "source");
  uvf_stage_t *order[4];
  (void)state;
  chain(source, b);
  chain(source, a);
  chain(a, sink);
  chain(b, sink);
  assert_int_equal(uvf__flow_order(p, order), 0);
  assert_true(order[0] == source && order[1] == b && order[2] == a && order[3] == sink);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void a_cycle_has_no_order(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = work_of(p, "b"), *c = work_of(p, "c"), *d = work_of(p, "d");
  uvf_stage_t *order[4];
  size_t waits[4];
  (void)state;
  chain(a, b);
  chain(b, c);
  chain(c, d);
  assert_int_equal(uvf__flow_order(p, order), 0);
  chain(c, b);
  assert_int_equal(uvf__flow_order(p, order), UV_EINVAL);
  assert_int_equal(uvf__graph_order(p, order, waits), 1);
  assert_true(waits[0] == 0 && waits[1] == 1 && waits[2] == 1 && waits[3] == 1);
  test_alloc_fail_at(1);
  assert_int_equal(uvf__flow_order(p, order), UV_ENOMEM);
  assert_true(test_alloc_failed());
  test_alloc_fail_at(0);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

/* --- without memory --- */

static void a_create_or_add_that_finds_no_memory_leaves_nothing_behind(void **state) {
  uvf_pipeline_t *p = NULL;
  uvf_stage_options_t o = options_of(UVF_STAGE_WORK, "x");
  uvf_stage_t *s = no_stage;
  size_t blocks = test_alloc_live();
  int failures = 0;
  (void)state;
  for (size_t n = 1;; n++) {
    int rc;
    test_alloc_fail_at(n);
    rc = uvf_pipeline_create("p", &p);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_null(p);
    assert_int_equal(test_alloc_live(), blocks);
    failures++;
  }
  assert_non_null(p);
  blocks = test_alloc_live();
  for (size_t n = 1;; n++) {
    int rc;
    test_alloc_fail_at(n);
    rc = uvf_pipeline_add(p, &o, &s);
    if (!test_alloc_failed()) break;
    assert_int_equal(rc, UV_ENOMEM);
    assert_ptr_equal(s, no_stage);
    assert_true(p->nstages == 0 && p->stages == NULL);
    assert_int_equal(test_alloc_live(), blocks);
    failures++;
  }
  test_alloc_fail_at(0);
  assert_int_equal(failures, 2);
  assert_true(p->nstages == 1 && p->stages == s);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void a_link_that_finds_no_memory_changes_neither_end(void **state) {
  uvf_pipeline_t *p = pipeline_of("p");
  uvf_stage_t *a = source_of(p, "a"), *b = ports_of(p, "b", 40, 0);
  int failures = 0;
  (void)state;
  for (unsigned int link = 0; link < 40; link++) {
    size_t blocks = test_alloc_live();
    for (size_t n = 1;; n++) {
      int rc;
      test_alloc_fail_at(n);
      rc = uvf_pipeline_link(a, link, b, link);
      if (!test_alloc_failed()) {
        assert_int_equal(rc, 0);
        break;
      }
      assert_int_equal(rc, UV_ENOMEM);
      assert_true(a->nouts == link && b->nfeeders == link);
      assert_int_equal(test_alloc_live(), blocks);
      failures++;
    }
    test_alloc_fail_at(0);
    for (unsigned int i = 0; i <= link; i++) assert_true(a->outs[i].to == b && a->outs[i].input == i);
    for (unsigned int i = 0; i <= link; i++) assert_ptr_equal(b->feeders[i], a);
  }
  assert_int_equal(failures, 14); /* both arrays grow at 1, 2, 3, 5, 9, 17 and 33 links */
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      unit(options_begin_with_the_defaults_whatever_was_there),
      unit(ports_and_workers_that_follow_from_the_kind_are_settled_by_add),
      unit(names_are_copied),
      unit(stages_are_found_in_the_order_they_were_added_and_none_past_the_last),
      unit(what_cannot_be_made_changes_nothing),
      unit(a_link_is_known_at_both_ends),
      unit(a_chain_takes_the_first_output_that_is_free),
      unit(what_cannot_be_linked_changes_nothing),
      unit(many_links_in_and_out_all_stay),
      unit(nothing_changes_while_it_runs),
      unit(the_order_has_every_stage_behind_all_that_feed_it),
      unit(stages_that_have_nothing_between_them_keep_the_order_they_were_added_in),
      unit(a_cycle_has_no_order),
      unit(a_create_or_add_that_finds_no_memory_leaves_nothing_behind),
      unit(a_link_that_finds_no_memory_changes_neither_end),
  };
  return test_run(tests);
}
