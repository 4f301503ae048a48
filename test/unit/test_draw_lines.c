/* SPDX-License-Identifier: MIT
 *
 * Drawings for Graphviz, letter by letter; the widths of characters; and for random graphs that every line leads from the
 * output to the input it stands for.
 */
#include "unit/draw_probe.h"

#include "flow/draw.h"

/* --- for Graphviz --- */

static void dot_has_labels_and_the_numbers_of_ports(void **state) {
  (void)state;
  assert_dot(fan(), 0,
             "digraph {\n"
             "  rankdir=LR;\n"
             "  labelloc=t;\n"
             "  label=\"batch\";\n"
             "  node [shape=box];\n"
             "  s0 [label=\"source\\nsource\"];\n"
             "  s1 [label=\"upper\\nwork x5\\nqueue 256\"];\n"
             "  s2 [label=\"reverse\\nwork x5\\nqueue 256\"];\n"
             "  s3 [label=\"join\\nwork x1\\nqueue 256\"];\n"
             "  s4 [label=\"sink\\nloop\\nqueue 256\"];\n"
             "  s0 -> s1 [taillabel=\"0\"];\n"
             "  s0 -> s2 [taillabel=\"1\"];\n"
             "  s1 -> s3;\n"
             "  s2 -> s3;\n"
             "  s3 -> s4;\n"
             "}\n");
}

static void dot_has_figures_when_they_are_asked_for(void **state) {
  (void)state;
  assert_dot(figures(), UVF_DRAW_STATS,
             "digraph {\n"
             "  rankdir=LR;\n"
             "  labelloc=t;\n"
             "  label=\"figures\";\n"
             "  node [shape=box];\n"
             "  s0 [label=\"gen\\nsource\\nbusy 0/1\\ncalls 1235\\nout 1235\\nrate 618/s\\ncall -\\np99 -\"];\n"
             "  s1 [label=\"sum\\nloop\\nqueued 0/256\\nbusy 0/1\\ndone 19\\nrate 9.5/s\\ncall -\\np99 -\"];\n"
             "  s2 [label=\"square\\nwork x4\\nskip errors\\nqueued 126/256\\nbusy 4/4\\ndone 1100\\nout 1100\\nrate "
             "550/s\\ncall -\\np99 -\\nfailed 2\\nretried 1\\ndropped 3\"];\n"
             "  s0 -> s2;\n"
             "  s2 -> s1;\n"
             "}\n");
}

static void dot_draws_links_back_dashed_and_tells_what_is_wrong(void **state) {
  (void)state;
  assert_dot(broken(), 0,
             "digraph {\n"
             "  rankdir=LR;\n"
             "  labelloc=t;\n"
             "  label=\"broken\\ncannot run: input 1 of stage \\\"c\\\" is not linked\";\n"
             "  node [shape=box];\n"
             "  s0 [label=\"a\\nsource\"];\n"
             "  s1 [label=\"b\\nwork x1\\nqueue 256\"];\n"
             "  s2 [label=\"c\\nwork x1\\nqueue 256\"];\n"
             "  s3 [label=\"d\\nwork x1\\nqueue 256\"];\n"
             "  s4 [label=\"island\\nsource\"];\n"
             "  s0 -> s1;\n"
             "  s1 -> s2 [headlabel=\"0\"];\n"
             "  s2 -> s1 [taillabel=\"1\", style=dashed, constraint=false];\n"
             "  s2 -> s3 [taillabel=\"2\"];\n"
             "}\n");
}

static void names_are_escaped_for_dot(void **state) {
  uvf_pipeline_t *p = pipeline_of("a \"b\" \\");
  (void)state;
  (void)source_of(p, "x\\\"&lt;\n\xff\xe6\xae\xb5\\");
  assert_dot(p, 0,
             "digraph {\n"
             "  rankdir=LR;\n"
             "  labelloc=t;\n"
             "  label=\"a \\\"b\\\" \\\\\";\n"
             "  node [shape=box];\n"
             "  s0 [label=\"x\\\\\\\"&amp;lt;??\xe6\xae\xb5\\\\\\nsource\"];\n"
             "}\n");
}

/* --- characters --- */

static void characters_are_as_wide_as_terminals_make_them(void **state) {
  static const struct {
    const char *text;
    size_t len;
    unsigned int width;
  } rows[] = {
      {"a", 1, 1},
      {"\xc3\xa9", 2, 1},         /* e with accent */
      {"\xcc\x81", 2, 0},         /* the accent */
      {"\xe0\xb8\xb4", 3, 0},     /* a Thai vowel above */
      {"\xe2\x80\x8d", 3, 0},     /* joiner */
      {"\xef\xb8\x8f", 3, 0},     /* variation selector */
      {"\xe6\xae\xb5", 3, 2},     /* Han */
      {"\xe3\x81\x82", 3, 2},     /* Hiragana */
      {"\xea\xb0\x80", 3, 2},     /* Hangul */
      {"\xe1\x84\x80", 3, 2},     /* Jamo that leads */
      {"\xe1\x85\xa1", 3, 0},     /* and one that follows */
      {"\xef\xbc\xa1", 3, 2},     /* full width A */
      {"\xef\xbd\xb1", 3, 1},     /* half width A */
      {"\xf0\x9f\x9a\x80", 4, 2}, /* a rocket */
      {"\xf0\xa0\x80\x80", 4, 2}, /* Han beyond 16 bits */
      {"\xf4\x8f\xbf\xbf", 4, 1}, /* the last there is */
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *at = rows[i].text;
    uvf__glyph_t glyph = uvf__glyph_next(&at);
    assert_int_equal(glyph.width, rows[i].width);
    assert_int_equal(glyph.len, rows[i].len);
    assert_ptr_equal(glyph.bytes, rows[i].text);
    assert_ptr_equal(at, rows[i].text + rows[i].len);
  }
}

static void what_is_no_character_is_a_question_mark(void **state) {
  static const struct {
    const char *text;
    size_t used;
  } rows[] = {
      {"\x80", 1},             /* one that follows, alone */
      {"\xc3", 1},             /* the end */
      {"\xe6\xae", 1},         /* the end, later */
      {"\xf0\x9f\x9a", 1},     /* and later */
      {"\xc0\xaf", 1},         /* longer than need be */
      {"\xe0\x9f\xbf", 1},     /* the same */
      {"\xf0\x8f\xbf\xbf", 1}, /* the same */
      {"\xed\xa0\x80", 1},     /* half of a pair */
      {"\xf4\x90\x80\x80", 1}, /* past the last */
      {"\xff", 1},             /* never */
      {"\n", 1},               /* controls */
      {"\x1b", 1},
      {"\x7f", 1},
      {"\xc2\x9b", 2},     /* the same with the high bit */
      {"\xe2\x80\xae", 3}, /* turns the direction of writing */
      {"\xe2\x80\xa8", 3}, /* a line's end */
  };
  (void)state;
  for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
    const char *at = rows[i].text;
    uvf__glyph_t glyph = uvf__glyph_next(&at);
    assert_true(glyph.len == 1 && *glyph.bytes == '?' && glyph.width == 1);
    assert_int_equal(at - rows[i].text, rows[i].used);
  }
}

/* --- lines of random graphs --- */

typedef struct trace_s {
  const uvf__gap_t *gap;
  unsigned char *cells;
  unsigned char *seen; /* for each cell: the directions it was left in */
  size_t width, height;
  size_t right, nright; /* rows of the ends at the right */
  size_t nleft;
} trace_t;

static int is_port_number(unsigned char cell) { return cell >= '0' && cell <= '9'; }

/* Follows a line that goes on in `direction` from a cell to all its ends. */
static void follow(trace_t *t, size_t y, size_t x, unsigned int direction) {
  unsigned char cell;
  unsigned int from, open;
  if (direction == UVF__LEFT && x == 0) {
    t->nleft++;
    return;
  }
  if (direction == UVF__RIGHT && x == t->width - 1) {
    t->right = y;
    t->nright++;
    return;
  }
  x = direction == UVF__LEFT ? x - 1 : direction == UVF__RIGHT ? x + 1 : x;
  y = direction == UVF__UP ? y - 1 : direction == UVF__DOWN ? y + 1 : y;
  assert_true(x < t->width && y < t->height);
  cell = t->cells[y * t->width + x];
  if (is_port_number(cell) || cell == UVF__HEAD) cell = UVF__LEFT | UVF__RIGHT;
  from = direction == UVF__LEFT    ? UVF__RIGHT
         : direction == UVF__RIGHT ? UVF__LEFT
         : direction == UVF__UP    ? UVF__DOWN
                                   : UVF__UP;
  if (cell == (UVF__UP | UVF__DOWN) && (direction & (UVF__LEFT | UVF__RIGHT))) { /* it passes under */
    follow(t, y, x, direction);
    return;
  }
  assert_true(cell < UVF__HEAD && (cell & from)); /* the line does go on here */
  open = cell & ~from;
  assert_true(open != 0);
  for (unsigned int d = UVF__LEFT; d <= UVF__DOWN; d *= 2) {
    if (!(open & d) || (t->seen[y * t->width + x] & d)) continue;
    t->seen[y * t->width + x] |= (unsigned char)d;
    follow(t, y, x, d);
  }
}

static void assert_gap(const uvf__layout_t *l, const uvf__gap_t *gap) {
  trace_t t = {gap, NULL, NULL, uvf__gap_width(gap), l->height, 0, 0, 0};
  t.cells = calloc(t.width, t.height);
  t.seen = calloc(t.width, t.height);
  assert_true(t.cells != NULL && t.seen != NULL);
  uvf__gap_paint(l, gap, t.cells);
  for (size_t i = 0; i < gap->nwires; i++) {
    const uvf__wire_t *w = &gap->wires[i];
    size_t y = uvf__wire_from_row(l, w), same = 0;
    unsigned char first = t.cells[y * t.width];
    for (size_t k = 0; k < gap->nwires; k++) same += uvf__wire_to_row(l, &gap->wires[k]) == uvf__wire_to_row(l, w);
    memset(t.seen, 0, t.width * t.height);
    t.nright = t.nleft = 0;
    assert_true(is_port_number(first) || first == (UVF__LEFT | UVF__RIGHT));
    follow(&t, y, 0, UVF__RIGHT);
    assert_int_equal(t.nright, 1);
    assert_int_equal(t.right, uvf__wire_to_row(l, w));
    assert_int_equal(t.nleft, same - 1); /* those that it was joined by */
  }
  free(t.cells);
  free(t.seen);
}

static void in_random_graphs_every_line_leads_where_its_link_does(void **state) {
  uint64_t seed = test_seed();
  size_t detours = 0, joined = 0;
  (void)state;
  for (int round = 0; round < 300; round++) {
    size_t n = 2 + test_rand(&seed) % 20;
    uvf_pipeline_t *p = random_pipeline(&seed, n, test_rand(&seed) % (4 * n));
    uvf__layout_t l;
    assert_int_equal(uvf__layout_init(&l, p, 0), 0);
    for (size_t c = 0; c < l.ncolumns; c++) {
      assert_gap(&l, &l.gaps[c]);
      for (size_t i = 0; i < l.gaps[c].nnets; i++) {
        detours += l.gaps[c].nets[i].detour != UVF__NOWHERE;
        joined += l.gaps[c].nets[i].nwires > 1;
      }
    }
    for (size_t c = 0; c < l.ncolumns; c++) { /* no box lies upon another */
      for (size_t i = 1; i < l.columns[c].nboxes; i++) {
        const uvf__box_t *above = &l.boxes[l.order[l.columns[c].first + i - 1]];
        assert_true(above->top + above->height <= l.boxes[l.order[l.columns[c].first + i]].top);
      }
    }
    uvf__layout_free(&l);
    (void)draw(p, UVF_DRAW_TEXT, 0);
    assert_int_equal(uvf_pipeline_destroy(p), 0);
  }
  assert_true(detours > 0 && joined > 0);
}

/* In columns, without the library's own table: the names are ASCII. */
static size_t widest_line(const char *text) {
  size_t width = 0, widest = 0;
  for (; *text != '\0'; text++) {
    if (*text == '\n') {
      width = 0;
    } else if (((unsigned char)*text & 0xc0) != 0x80) {
      width++;
    }
    if (width > widest) widest = width;
  }
  return widest;
}

static void drawings_keep_to_120_columns_and_lines_have_no_spaces_at_their_end(void **state) {
  (void)state;
  for (size_t n = 2; n < 60; n++) {
    uvf_pipeline_t *p = pipeline_of("p");
    uvf_stage_t *last = source_of(p, "source"), *first = last;
    const char *text;
    for (size_t i = 1; i < n; i++) {
      char name[32];
      uvf_stage_t *s;
      snprintf(name, sizeof name, "%.*s %zu", (int)(i % 20), "a name of its own that is long", i);
      s = work_of(p, name);
      chain(last, s);
      if (i > 1 && i % 3 == 0) chain(first, s);
      last = s;
    }
    text = draw(p, UVF_DRAW_TEXT, 0);
    assert_in_range(widest_line(text), 1, 120);
    assert_null(strstr(text, " \n"));
    assert_int_equal(uvf_pipeline_destroy(p), 0);
  }
}

/* --- what cannot be drawn --- */

static void what_cannot_be_drawn_is_refused(void **state) {
  uvf_pipeline_t *p = fan();
  FILE *f = tmpfile();
  (void)state;
  assert_non_null(f);
  assert_int_equal(uvf_pipeline_draw(NULL, f, UVF_DRAW_TEXT, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_draw(p, NULL, UVF_DRAW_TEXT, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_draw(p, f, UVF_DRAW_DOT + 1, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_draw(p, f, -1, 0), UV_EINVAL);
  assert_int_equal(uvf_pipeline_draw(p, f, UVF_DRAW_TEXT, 4), UV_EINVAL);
  assert_int_equal(ftell(f), 0);
  fclose(f);
#ifdef _WIN32
  f = fopen("NUL", "r");
#else
  f = fopen("/dev/null", "r");
#endif
  assert_non_null(f); /* it cannot be written */
  assert_int_equal(uvf_pipeline_draw(p, f, UVF_DRAW_TEXT, 0), UV_EIO);
  assert_int_equal(uvf_pipeline_draw(p, f, UVF_DRAW_DOT, 0), UV_EIO);
  fclose(f);
  assert_int_equal(uvf_pipeline_destroy(p), 0);
}

static void a_drawing_that_finds_no_memory_says_so_and_keeps_none(void **state) {
  (void)state;
  for (int format = UVF_DRAW_TEXT; format <= UVF_DRAW_DOT; format++) {
    uvf_pipeline_t *p = longest();
    FILE *f = tmpfile();
    size_t blocks = test_alloc_live();
    int failures = 0;
    assert_non_null(f);
    for (size_t n = 1;; n++) {
      int rc;
      test_alloc_fail_at(n);
      rc = uvf_pipeline_draw(p, f, format, 0);
      assert_int_equal(test_alloc_live(), blocks);
      if (!test_alloc_failed()) {
        assert_int_equal(rc, 0);
        break;
      }
      assert_int_equal(rc, UV_ENOMEM);
      failures++;
    }
    test_alloc_fail_at(0);
    assert_true(failures >= (format == UVF_DRAW_TEXT ? 30 : 5));
    fclose(f);
    assert_int_equal(uvf_pipeline_destroy(p), 0);
  }
}
int main(void) {
  const struct CMUnitTest tests[] = {
      unit(dot_has_labels_and_the_numbers_of_ports),
      unit(dot_has_figures_when_they_are_asked_for),
      unit(dot_draws_links_back_dashed_and_tells_what_is_wrong),
      unit(names_are_escaped_for_dot),
      unit(characters_are_as_wide_as_terminals_make_them),
      unit(what_is_no_character_is_a_question_mark),
      unit(in_random_graphs_every_line_leads_where_its_link_does),
      unit(drawings_keep_to_120_columns_and_lines_have_no_spaces_at_their_end),
      unit(what_cannot_be_drawn_is_refused),
      unit(a_drawing_that_finds_no_memory_says_so_and_keeps_none),
  };
  return test_run(tests);
}
