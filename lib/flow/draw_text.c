/* SPDX-License-Identifier: MIT
 *
 * The drawing as text: row by row, in each the columns of boxes and the gaps between. What would be wider than COLUMNS
 * goes on below, in bands: a link from one band to the next ends in a number in brackets, and begins with it again.
 *
 * Gaps are painted into cells first, since lines meet there; boxes are written as they come, since a character of a
 * name is neither a byte nor a column.
 */
#include <string.h>

#include "flow/draw.h"
#include "kernel/alloc.h"

#define COLUMNS 120
#define TAG_MAX 12 /* of a number in brackets */

/* --- the pen -------------------------------------------------------------------------------------- */

typedef struct pen_s {
  FILE *out;
  int plain;
  size_t spaces; /* owed: written before the next that is none */
} pen_t;

static void put_bytes(pen_t *pen, const char *bytes, size_t len) {
  for (; pen->spaces > 0; pen->spaces--) (void)fputc(' ', pen->out); /* draw asks ferror at the end */
  (void)fwrite(bytes, 1, len, pen->out);
}

static void put_glyph(void *arg, uvf__glyph_t glyph) {
  pen_t *pen = arg;
  if (glyph.len == 1 && *glyph.bytes == ' ') {
    pen->spaces++;
  } else {
    put_bytes(pen, glyph.bytes, glyph.len);
  }
}

static void put_text(pen_t *pen, const char *text) {
  while (*text != '\0') put_glyph(pen, uvf__glyph_next(&text));
}

static void put_line_end(pen_t *pen) {
  pen->spaces = 0;
  put_bytes(pen, "\n", 1);
}

/* A piece of line that leaves its cell in these directions. */
static void put_line(pen_t *pen, unsigned int directions) {
  static const char *const pretty[] = {" ", "─", "─", "─", "│", "┘", "└", "┴", "│", "┐", "┌", "┬", "│", "┤", "├", "┼"};
  static const char plain[] = " ---|+++|+++|+++";
  if (directions == 0) {
    pen->spaces++;
  } else if (pen->plain) {
    put_bytes(pen, &plain[directions], 1);
  } else {
    put_bytes(pen, pretty[directions], strlen(pretty[directions]));
  }
}

static void put_cell(pen_t *pen, unsigned char cell) {
  char c = (char)cell;
  if (cell == UVF__HEAD) {
    put_text(pen, pen->plain ? ">" : "►");
  } else if (cell < UVF__HEAD) {
    put_line(pen, cell);
  } else {
    put_bytes(pen, &c, 1);
  }
}

/* --- boxes ---------------------------------------------------------------------------------------- */

static size_t put_name_row(pen_t *pen, const char *name, size_t row) {
  for (size_t i = 0; i < row; i++) (void)uvf__name_row(&name, 0, NULL, NULL);
  return uvf__name_row(&name, row == UVF__NAME_ROWS - 1, put_glyph, pen);
}

static void put_inside(pen_t *pen, const uvf__box_t *box, size_t row, size_t width) {
  size_t used = 0;
  if (row < box->name_rows) {
    used = put_name_row(pen, box->stage->name, row);
  } else if (row - box->name_rows < box->facts->n) {
    const uvf__fact_t *fact = &box->facts->at[row - box->name_rows];
    used = strlen(fact->label) + strlen(fact->value);
    put_text(pen, fact->label);
    if (fact->value[0] != '\0') {
      pen->spaces += width - used;
      put_text(pen, fact->value);
      used = width;
    }
  }
  pen->spaces += width - used;
}

static void put_box_row(pen_t *pen, const uvf__box_t *box, size_t row, size_t width) {
  int top = row == 0;
  int bottom = row == box->height - 1;
  if (box->stage == NULL) { /* a link that passes */
    for (size_t i = 0; i < width; i++) put_line(pen, UVF__LEFT | UVF__RIGHT);
  } else if (top || bottom) {
    unsigned int side = top ? UVF__DOWN : UVF__UP;
    put_line(pen, side | UVF__RIGHT);
    for (size_t i = 2; i < width; i++) put_line(pen, UVF__LEFT | UVF__RIGHT);
    put_line(pen, side | UVF__LEFT);
  } else {
    put_line(pen, UVF__UP | UVF__DOWN);
    pen->spaces++;
    put_inside(pen, box, row - 1, width - 4);
    pen->spaces++;
    put_line(pen, UVF__UP | UVF__DOWN | (row <= box->out_rows ? UVF__RIGHT : 0u));
  }
}

/* --- bands ---------------------------------------------------------------------------------------- */

typedef struct band_s {
  size_t first, last;    /* columns */
  size_t top, bottom;    /* rows, the last one excluded */
  unsigned char **cells; /* by column: of the gap behind it */
  size_t *widths;        /* of it */
  size_t *cursors;       /* by column: the box of the row that is written, or the next below it */
  char (*tags)[TAG_MAX]; /* by row: of the wires that came in from the band above */
  char (*next_tags)[TAG_MAX];
  size_t ntags; /* so far */
} band_t;

static void band_free(band_t *band, size_t ncolumns) {
  for (size_t c = 0; band->cells != NULL && c < ncolumns; c++) uvf__free(band->cells[c]);
  uvf__free(band->cells);
  uvf__free(band->widths);
  uvf__free(band->cursors);
  uvf__free(band->tags);
  uvf__free(band->next_tags);
}

static int band_init(band_t *band, const uvf__layout_t *l) {
  memset(band, 0, sizeof *band);
  band->cells = uvf__draw_array(l->ncolumns, sizeof *band->cells);
  band->widths = uvf__draw_array(l->ncolumns, sizeof *band->widths);
  band->cursors = uvf__draw_array(l->ncolumns, sizeof *band->cursors);
  band->tags = uvf__draw_array(l->height, sizeof *band->tags);
  band->next_tags = uvf__draw_array(l->height, sizeof *band->next_tags);
  if (band->cells != NULL && band->widths != NULL && band->cursors != NULL && band->tags != NULL &&
      band->next_tags != NULL)
    return 0;
  band_free(band, l->ncolumns);
  return UV_ENOMEM;
}

/* Of the gap behind the last column of a band: the numbers of ports, a piece of line, tags or the marks of stubs. */
static size_t tail_width(const uvf__gap_t *gap) {
  return gap->nwires > 0 ? gap->out_label + 1 + TAG_MAX : gap->has_stubs ? gap->out_label + 1 : 0;
}

/* What the band takes when it ends with its last column; a tag is seldom longer than 4. */
static size_t band_width(const uvf__layout_t *l, size_t first, size_t last) {
  const uvf__gap_t *end = &l->gaps[last];
  size_t width = first > 0 ? 4 + uvf__gap_width(&l->gaps[first - 1]) : 0;
  for (size_t c = first; c <= last; c++) width += l->columns[c].width;
  for (size_t c = first; c < last; c++) width += uvf__gap_width(&l->gaps[c]);
  return width + (end->nwires > 0 ? end->out_label + 1 + 4 : tail_width(end));
}

static void band_rows(band_t *band, const uvf__layout_t *l) {
  band->top = l->height;
  band->bottom = 0;
  for (size_t c = band->first; c <= band->last; c++) {
    const uvf__box_t *first = &l->boxes[l->order[l->columns[c].first]];
    const uvf__box_t *last = &l->boxes[l->order[l->columns[c].first + l->columns[c].nboxes - 1]];
    if (band->top > first->top) band->top = first->top;
    if (band->bottom < last->top + last->height) band->bottom = last->top + last->height;
  }
  for (size_t c = band->first > 0 ? band->first - 1 : 0; c < band->last; c++) {
    for (size_t i = 0; i < l->gaps[c].nnets; i++) {
      const uvf__net_t *net = &l->gaps[c].nets[i];
      if (band->top > net->low) band->top = net->low;
      if (band->bottom <= net->high) band->bottom = net->high + 1;
      if (net->detour == UVF__NOWHERE) continue;
      if (band->top > net->detour) band->top = net->detour;
      if (band->bottom <= net->detour) band->bottom = net->detour + 1;
    }
  }
}

/* --- gaps ----------------------------------------------------------------------------------------- */

/* Writes text into cells that may lie at the end of a row. */
static void paint_text(unsigned char *at, const char *text) {
  while (*text != '\0') *at++ = (unsigned char)*text++;
}

static void paint_stubs(const uvf__layout_t *l, size_t column, unsigned char *cells, size_t width) {
  for (size_t i = 0; i < l->nstubs; i++) {
    const uvf__stub_t *stub = &l->stubs[i];
    const uvf__box_t *box = &l->boxes[stub->box];
    char text[TAG_MAX + 1];
    if (box->column != column) continue;
    if (uvf__shows_outputs(box->stage)) {
      (void)snprintf(text, sizeof text, "%u%c", stub->port, stub->mark);
    } else {
      (void)snprintf(text, sizeof text, "%c", stub->mark);
    }
    paint_text(&cells[(box->top + stub->row) * width], text);
  }
}

/* The end of a band: each wire ends in a tag, from above to below. */
static void paint_tail(band_t *band, const uvf__layout_t *l, unsigned char *cells, size_t width) {
  const uvf__gap_t *gap = &l->gaps[band->last];
  memset(band->next_tags, 0, l->height * sizeof *band->next_tags);
  for (size_t i = 0; i < gap->nwires; i++) band->next_tags[uvf__wire_from_row(l, &gap->wires[i])][0] = '(';
  for (size_t y = 0; y < l->height; y++) {
    if (band->next_tags[y][0] != 0) (void)snprintf(band->next_tags[y], TAG_MAX, "(%zu)", ++band->ntags);
  }
  for (size_t i = 0; i < gap->nwires; i++) {
    const uvf__wire_t *w = &gap->wires[i];
    unsigned char *row = &cells[uvf__wire_from_row(l, w) * width];
    memset(row, UVF__LEFT | UVF__RIGHT, gap->out_label + 1);
    if (l->boxes[w->from].stage != NULL && uvf__shows_outputs(w->arrow->from)) {
      char text[TAG_MAX];
      (void)snprintf(text, sizeof text, "%u", w->arrow->port);
      paint_text(row, text);
    }
    paint_text(row + gap->out_label + 1, band->next_tags[uvf__wire_from_row(l, w)]);
  }
}

/* Cells for the gap behind column c, which is in the band, before it, or its end. */
static int paint_gap(band_t *band, const uvf__layout_t *l, size_t c) {
  int is_tail = c == band->last;
  size_t width = is_tail ? tail_width(&l->gaps[c]) : uvf__gap_width(&l->gaps[c]);
  uvf__free(band->cells[c]);
  band->widths[c] = width;
  band->cells[c] = uvf__draw_array(l->height * width, 1);
  if (band->cells[c] == NULL) return UV_ENOMEM;
  if (is_tail) {
    paint_tail(band, l, band->cells[c], width);
  } else {
    uvf__gap_paint(l, &l->gaps[c], band->cells[c]);
  }
  if (c >= band->first) {
    paint_stubs(l, c, band->cells[c], width);
    return 0;
  }
  for (size_t y = 0; y < l->height; y++) { /* the numbers of the ports were told at the end of the band above */
    for (size_t x = 0; x < l->gaps[c].out_label; x++) {
      if (band->cells[c][y * width + x] > UVF__HEAD) band->cells[c][y * width + x] = UVF__LEFT | UVF__RIGHT;
    }
  }
  return 0;
}

/* --- rows ----------------------------------------------------------------------------------------- */

static void put_column(pen_t *pen, band_t *band, const uvf__layout_t *l, size_t c, size_t y) {
  const uvf__column_t *column = &l->columns[c];
  const uvf__box_t *box = NULL;
  while (band->cursors[c] < column->nboxes) {
    box = &l->boxes[l->order[column->first + band->cursors[c]]];
    if (y < box->top + box->height) break;
    band->cursors[c]++;
    box = NULL;
  }
  if (box == NULL || y < box->top) {
    pen->spaces += column->width;
  } else {
    put_box_row(pen, box, y - box->top, column->width);
  }
}

static void put_gap(pen_t *pen, const band_t *band, size_t c, size_t y) {
  for (size_t x = 0; x < band->widths[c]; x++) put_cell(pen, band->cells[c][y * band->widths[c] + x]);
}

static void put_band(pen_t *pen, band_t *band, const uvf__layout_t *l) {
  size_t tags = 0;
  for (size_t y = 0; y < l->height; y++) {
    if (strlen(band->tags[y]) > tags) tags = strlen(band->tags[y]);
  }
  for (size_t y = band->top; y < band->bottom; y++) {
    if (band->first > 0) {
      pen->spaces += tags - strlen(band->tags[y]);
      put_text(pen, band->tags[y]);
      put_gap(pen, band, band->first - 1, y);
    }
    for (size_t c = band->first; c <= band->last; c++) {
      put_column(pen, band, l, c, y);
      put_gap(pen, band, c, y);
    }
    put_line_end(pen);
  }
}

static int put_bands(pen_t *pen, const uvf__layout_t *l) {
  band_t band;
  int rc = band_init(&band, l);
  if (rc != 0) return rc;
  for (band.first = 0; rc == 0 && band.first < l->ncolumns; band.first = band.last + 1) {
    char(*tags)[TAG_MAX] = band.tags;
    band.last = band.first;
    while (band.last + 1 < l->ncolumns && band_width(l, band.first, band.last + 1) <= COLUMNS) band.last++;
    band_rows(&band, l);
    for (size_t c = band.first > 0 ? band.first - 1 : 0; rc == 0 && c <= band.last; c++) rc = paint_gap(&band, l, c);
    if (rc != 0) break;
    if (band.first > 0) put_line_end(pen);
    put_band(pen, &band, l);
    band.tags = band.next_tags;
    band.next_tags = tags;
  }
  band_free(&band, l->ncolumns);
  return rc;
}

/* --- all of it ------------------------------------------------------------------------------------ */

/* What the lines cannot say: where those that lead back go, and why it would not run. */
static int put_notes(pen_t *pen, const uvf__layout_t *l) {
  char message[512];
  int rc = uvf_pipeline_validate(l->pipeline, message, sizeof message);
  for (size_t i = 0; i < l->arrows.n; i++) {
    const uvf__arrow_t *arrow = &l->arrows.at[i];
    char ports[64];
    if (!arrow->back) continue;
    (void)snprintf(ports, sizeof ports, "* back: output %u of \"", arrow->port);
    put_text(pen, ports);
    put_text(pen, arrow->from->name);
    (void)snprintf(ports, sizeof ports, "\" to input %u of \"", arrow->input);
    put_text(pen, ports);
    put_text(pen, arrow->to->name);
    put_text(pen, "\"");
    put_line_end(pen);
  }
  if (rc != UV_EINVAL) return rc;
  put_text(pen, "cannot run: ");
  put_text(pen, message);
  put_line_end(pen);
  return 0;
}

int uvf__draw_text(const uvf_pipeline_t *pipeline, FILE *f, unsigned int flags) {
  pen_t pen = {f, (flags & UVF_DRAW_PLAIN) != 0, 0};
  uvf__layout_t layout;
  int rc = uvf__layout_init(&layout, pipeline, flags);
  if (rc != 0) return rc;
  put_text(&pen, pipeline->name);
  put_line_end(&pen);
  rc = put_bands(&pen, &layout);
  if (rc == 0) rc = put_notes(&pen, &layout);
  uvf__layout_free(&layout);
  return rc;
}
