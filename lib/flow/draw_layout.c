/* SPDX-License-Identifier: MIT
 *
 * Where the boxes of a drawing stand. A stage's column is its distance from the sources by the longest way, so that
 * every link that does not lead back goes to the right. Where a link skips columns it has a place of its own in each, a
 * row among the boxes: so it goes round them, and every wire leads from one column to the next.
 *
 * In a column the order is by where the links come from, which keeps crossings few; each box stands as high as the one
 * above lets it, and so that the first link into it is straight.
 */
#include "flow/draw.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/alloc.h"

#define OPEN_PORTS_MAX 8 /* of the ports that are not linked: more are not drawn */

/* --- names ---------------------------------------------------------------------------------------- */

/* Is what is left wider than a row? */
static int overflows(const char *text) {
  size_t width = 0;
  while (*text != '\0' && width <= UVF__NAME_COLUMNS) width += uvf__glyph_next(&text).width;
  return width > UVF__NAME_COLUMNS;
}

size_t uvf__name_row(const char **text, int last, void (*put)(void *arg, uvf__glyph_t glyph), void *arg) {
  int cut = last && overflows(*text);
  size_t most = cut ? UVF__NAME_COLUMNS - 3 : UVF__NAME_COLUMNS;
  size_t width = 0;
  while (**text != '\0') {
    const char *behind = *text;
    uvf__glyph_t glyph = uvf__glyph_next(&behind);
    if (width + glyph.width > most) break;
    if (put != NULL) put(arg, glyph);
    width += glyph.width;
    *text = behind;
  }
  for (int i = 0; put != NULL && cut && i < 3; i++) put(arg, (uvf__glyph_t){".", 1, 1});
  return cut ? width + 3 : width;
}

size_t uvf__name_rows(const char *name, size_t *width) {
  size_t rows = 0;
  *width = 0;
  do {
    size_t n = uvf__name_row(&name, rows == UVF__NAME_ROWS - 1, NULL, NULL);
    if (n > *width) *width = n;
    rows++;
  } while (*name != '\0' && rows < UVF__NAME_ROWS);
  return rows;
}

/* --- ports ---------------------------------------------------------------------------------------- */

int uvf__shows_input(const uvf__arrow_t *arrow) { return arrow->to->o.inputs > 1 || arrow->input > 0; }

/* A row for each output, in the order of their numbers. */
static void place_outputs(uvf__layout_t *l, uvf__box_t *box) {
  const uvf_stage_t *s = box->stage;
  uvf__arrow_t *arrow = &l->arrows.at[l->arrows.first[s->index]];
  unsigned int nports = uvf__stage_outputs(s) > s->nouts ? uvf__stage_outputs(s) : s->nouts;
  unsigned int open = 0;
  for (unsigned int port = 0; port < nports; port++) {
    int linked = port < s->nouts && s->outs[port].to != NULL;
    if (!linked && port >= s->nouts && open == OPEN_PORTS_MAX) break;
    if (!linked && open++ >= OPEN_PORTS_MAX) continue;
    box->out_rows++;
    if (!linked || arrow->back)
      l->stubs[l->nstubs++] = (uvf__stub_t){s->index, box->out_rows, port, linked ? '*' : 'x'};
    if (linked) arrow++->out_row = box->out_rows;
  }
}

static int by_input(const void *a, const void *b) {
  const uvf__arrow_t *x = *(uvf__arrow_t *const *)a;
  const uvf__arrow_t *y = *(uvf__arrow_t *const *)b;
  if (x->to != y->to) return x->to->index < y->to->index ? -1 : 1;
  if (x->input != y->input) return x->input < y->input ? -1 : 1;
  return 0;
}

/* A row for each input that is linked, in the order of their numbers; the box gets as high as that needs. */
static int place_inputs(uvf__layout_t *l) {
  uvf__arrow_t **sorted = uvf__draw_array(l->arrows.n, sizeof *sorted);
  if (sorted == NULL) return UV_ENOMEM;
  for (size_t i = 0; i < l->arrows.n; i++) sorted[i] = &l->arrows.at[i];
  if (l->arrows.n > 0) qsort(sorted, l->arrows.n, sizeof *sorted, by_input);
  for (size_t i = 0; i < l->arrows.n; i++) {
    const uvf__arrow_t *before = i > 0 && sorted[i - 1]->to == sorted[i]->to ? sorted[i - 1] : NULL;
    uvf__box_t *box = &l->boxes[sorted[i]->to->index];
    sorted[i]->in_row = before == NULL ? 1 : before->in_row + (before->input != sorted[i]->input);
    if (box->height < sorted[i]->in_row + 2) box->height = sorted[i]->in_row + 2;
  }
  uvf__free(sorted);
  return 0;
}

/* --- columns -------------------------------------------------------------------------------------- */

/* The column of each stage. A stage comes into the queue when all that feed it have been seen. */
static int find_columns(uvf__layout_t *l) {
  size_t n = l->pipeline->nstages;
  size_t *waits = uvf__draw_array(n, sizeof *waits);
  size_t *queue = uvf__draw_array(n, sizeof *queue);
  size_t end = 0;
  if (waits == NULL || queue == NULL) {
    uvf__free(waits);
    uvf__free(queue);
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < l->arrows.n; i++) waits[l->arrows.at[i].to->index] += !l->arrows.at[i].back;
  for (size_t i = 0; i < n; i++) {
    if (waits[i] == 0) queue[end++] = i;
  }
  for (size_t at = 0; at < end; at++) {
    size_t column = l->boxes[queue[at]].column + 1;
    if (column > l->ncolumns) l->ncolumns = column;
    for (size_t i = l->arrows.first[queue[at]]; i < l->arrows.first[queue[at] + 1]; i++) {
      uvf__box_t *to = &l->boxes[l->arrows.at[i].to->index];
      if (l->arrows.at[i].back) continue;
      if (to->column < column) to->column = column;
      if (--waits[l->arrows.at[i].to->index] == 0) queue[end++] = l->arrows.at[i].to->index;
    }
  }
  uvf__free(waits);
  uvf__free(queue);
  return 0;
}

static size_t span(const uvf__layout_t *l, const uvf__arrow_t *a) {
  return a->back ? 0 : l->boxes[a->to->index].column - l->boxes[a->from->index].column;
}

/* A wire for each step of each link, sorted by gap, and a place for it in the columns that it passes. */
static void cut_wires(uvf__layout_t *l, size_t nwires) {
  size_t passing = l->pipeline->nstages;
  size_t first = 0;
  for (size_t i = 0; i < l->arrows.n; i++) {
    const uvf__arrow_t *a = &l->arrows.at[i];
    for (size_t k = 0; k < span(l, a); k++) l->gaps[l->boxes[a->from->index].column + k].nwires++;
  }
  for (size_t c = 0; c < l->ncolumns; c++) {
    l->gaps[c].wires = l->wires + first;
    first += l->gaps[c].nwires;
    l->gaps[c].nwires = 0;
  }
  for (size_t i = 0; i < l->arrows.n && nwires > 0; i++) {
    const uvf__arrow_t *a = &l->arrows.at[i];
    uvf__wire_t wire = {a->from->index, 0, a->out_row, 0, a};
    for (size_t left = span(l, a); left > 0; left--) {
      size_t c = l->boxes[wire.from].column;
      wire.to = left == 1 ? a->to->index : passing++;
      wire.in_row = left == 1 ? a->in_row : 0;
      l->gaps[c].wires[l->gaps[c].nwires++] = wire;
      l->boxes[wire.to].column = c + 1;
      wire.from = wire.to;
      wire.out_row = 0;
    }
  }
}

static void fill_columns(uvf__layout_t *l) {
  size_t at = 0;
  for (size_t i = 0; i < l->nboxes; i++) l->columns[l->boxes[i].column].nboxes++;
  for (size_t c = 0; c < l->ncolumns; c++) {
    l->columns[c].first = at;
    at += l->columns[c].nboxes;
    l->columns[c].nboxes = 0;
  }
  for (size_t i = 0; i < l->nboxes; i++) {
    uvf__column_t *column = &l->columns[l->boxes[i].column];
    l->order[column->first + column->nboxes++] = i;
  }
}

/* --- rows ----------------------------------------------------------------------------------------- */

typedef struct rank_s {
  uint64_t sum, n;
  size_t box;
} rank_t;

static int by_mean(const void *a, const void *b) {
  const rank_t *x = a;
  const rank_t *y = b;
  if (x->sum * y->n != y->sum * x->n) return x->sum * y->n < y->sum * x->n ? -1 : 1;
  return x->box < y->box ? -1 : 1;
}

/* Sorts a column by the mean of the rows its links come from; those of the column before are known. The first one
 * stands as it was added, as nothing comes in. */
static void sort_column(uvf__layout_t *l, uvf__column_t *column, const uvf__gap_t *before, rank_t *ranks) {
  for (size_t i = 0; i < before->nwires; i++) {
    const uvf__wire_t *w = &before->wires[i];
    uvf__box_t *to = &l->boxes[w->to];
    size_t row = uvf__wire_from_row(l, w);
    size_t top = row > w->in_row ? row - w->in_row : 0;
    to->top = to->from_n == 0 || top < to->top ? top : to->top;
    to->from_sum += row;
    to->from_n++;
  }
  for (size_t i = 0; i < column->nboxes; i++) {
    const uvf__box_t *box = &l->boxes[l->order[column->first + i]];
    ranks[i] = (rank_t){box->from_sum, box->from_n, l->order[column->first + i]};
  }
  qsort(ranks, column->nboxes, sizeof *ranks, by_mean);
  for (size_t i = 0; i < column->nboxes; i++) l->order[column->first + i] = ranks[i].box;
}

static int place_boxes(uvf__layout_t *l) {
  rank_t *ranks = uvf__draw_array(l->nboxes, sizeof *ranks);
  if (ranks == NULL) return UV_ENOMEM;
  for (size_t c = 0; c < l->ncolumns; c++) {
    uvf__column_t *column = &l->columns[c];
    size_t free = 0;
    if (c > 0) sort_column(l, column, &l->gaps[c - 1], ranks);
    for (size_t i = 0; i < column->nboxes; i++) {
      uvf__box_t *box = &l->boxes[l->order[column->first + i]];
      if (box->top < free) box->top = free;
      free = box->top + box->height;
    }
    if (l->height < free) l->height = free;
  }
  uvf__free(ranks);
  return 0;
}

/* --- all of it ------------------------------------------------------------------------------------ */

static size_t digits(unsigned int n) { return n < 10 ? 1 : 1 + digits(n / 10); }

static void measure_box(uvf__layout_t *l, uvf__box_t *box, unsigned int flags) {
  size_t width;
  size_t rows;
  box->facts = &l->facts[box->stage->index];
  uvf__draw_facts(box->stage, flags, box->facts);
  box->name_rows = uvf__name_rows(box->stage->name, &width);
  place_outputs(l, box);
  rows = box->name_rows + box->facts->n;
  if (rows < box->out_rows) rows = box->out_rows;
  box->height = rows + 2;
}

static size_t box_width(const uvf__box_t *box) {
  size_t width;
  (void)uvf__name_rows(box->stage->name, &width);
  if (box->facts->columns > width) width = box->facts->columns;
  for (size_t i = 0; i < box->facts->n; i++) {
    const uvf__fact_t *fact = &box->facts->at[i];
    size_t columns = strlen(fact->label) + strlen(fact->value) + (fact->value[0] != '\0');
    if (columns > width) width = columns;
  }
  return width + 4;
}

static void measure_gaps(uvf__layout_t *l) {
  for (size_t i = 0; i < l->nstubs; i++) {
    uvf__gap_t *gap = &l->gaps[l->boxes[l->stubs[i].box].column];
    size_t label = uvf__shows_outputs(l->boxes[l->stubs[i].box].stage) ? digits(l->stubs[i].port) : 0;
    gap->has_stubs = 1;
    if (gap->out_label < label) gap->out_label = label;
  }
  for (size_t c = 0; c < l->ncolumns; c++) {
    for (size_t i = 0; i < l->gaps[c].nwires; i++) {
      const uvf__wire_t *w = &l->gaps[c].wires[i];
      size_t out = l->boxes[w->from].stage && uvf__shows_outputs(w->arrow->from) ? digits(w->arrow->port) : 0;
      size_t in = l->boxes[w->to].stage && uvf__shows_input(w->arrow) ? digits(w->arrow->input) : 0;
      if (l->gaps[c].out_label < out) l->gaps[c].out_label = out;
      if (l->gaps[c].in_label < in) l->gaps[c].in_label = in;
    }
  }
}

/* The boxes of the stages, their columns, and how many wires and passing places that will be. */
static int make_boxes(uvf__layout_t *l, unsigned int flags, size_t *nwires) {
  size_t n = l->pipeline->nstages;
  uvf__box_t *boxes;
  l->boxes = uvf__draw_array(n, sizeof *l->boxes);
  l->facts = uvf__draw_array(n, sizeof *l->facts);
  l->stubs = uvf__draw_array(l->arrows.n + n * OPEN_PORTS_MAX, sizeof *l->stubs);
  if (l->boxes == NULL || l->facts == NULL || l->stubs == NULL) return UV_ENOMEM;
  for (const uvf_stage_t *s = l->pipeline->stages; s != NULL; s = s->next) {
    l->boxes[s->index].stage = s;
    measure_box(l, &l->boxes[s->index], flags);
  }
  if (place_inputs(l) != 0 || find_columns(l) != 0) return UV_ENOMEM;
  l->nboxes = n;
  for (size_t i = 0; i < l->arrows.n; i++) {
    size_t columns = span(l, &l->arrows.at[i]);
    *nwires += columns;
    l->nboxes += columns > 1 ? columns - 1 : 0;
  }
  boxes = uvf__draw_array(l->nboxes, sizeof *boxes);
  if (boxes == NULL) return UV_ENOMEM;
  memcpy(boxes, l->boxes, n * sizeof *boxes);
  for (size_t i = n; i < l->nboxes; i++) boxes[i].height = 1;
  uvf__free(l->boxes);
  l->boxes = boxes;
  return 0;
}

static int make_layout(uvf__layout_t *l, unsigned int flags) {
  size_t nwires = 0;
  if (uvf__arrows_init(&l->arrows, l->pipeline) != 0 || make_boxes(l, flags, &nwires) != 0) return UV_ENOMEM;
  l->order = uvf__draw_array(l->nboxes, sizeof *l->order);
  l->columns = uvf__draw_array(l->ncolumns, sizeof *l->columns);
  l->gaps = uvf__draw_array(l->ncolumns, sizeof *l->gaps);
  l->wires = uvf__draw_array(nwires, sizeof *l->wires);
  if (l->order == NULL || l->columns == NULL || l->gaps == NULL || l->wires == NULL) return UV_ENOMEM;
  cut_wires(l, nwires);
  fill_columns(l);
  if (place_boxes(l) != 0) return UV_ENOMEM;
  measure_gaps(l);
  for (size_t i = 0; i < l->pipeline->nstages; i++) {
    uvf__column_t *column = &l->columns[l->boxes[i].column];
    if (column->width < box_width(&l->boxes[i])) column->width = box_width(&l->boxes[i]);
  }
  for (size_t c = 0; c < l->ncolumns; c++) {
    if (uvf__gap_route(l, &l->gaps[c]) != 0) return UV_ENOMEM;
  }
  return 0;
}

int uvf__layout_init(uvf__layout_t *layout, const uvf_pipeline_t *pipeline, unsigned int flags) {
  memset(layout, 0, sizeof *layout);
  layout->pipeline = pipeline;
  if (make_layout(layout, flags) == 0) return 0;
  uvf__layout_free(layout);
  return UV_ENOMEM;
}

void uvf__layout_free(uvf__layout_t *layout) {
  for (size_t c = 0; layout->gaps != NULL && c < layout->ncolumns; c++) {
    uvf__free(layout->gaps[c].nets);
    uvf__free(layout->gaps[c].sorted);
  }
  uvf__arrows_free(&layout->arrows);
  uvf__free(layout->boxes);
  uvf__free(layout->facts);
  uvf__free(layout->stubs);
  uvf__free(layout->order);
  uvf__free(layout->columns);
  uvf__free(layout->gaps);
  uvf__free(layout->wires);
}
