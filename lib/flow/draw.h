/* SPDX-License-Identifier: MIT
 *
 * What the drawings share: characters and how wide they are, what is said of a stage, and for the drawing as text the
 * layout: which box stands where, and which way the links go.
 */
#ifndef UVF_FLOW_DRAW_H
#define UVF_FLOW_DRAW_H

#include <stdio.h>

#include "flow/graph.h"

/* --- characters (draw.c) -------------------------------------------------------------------------- */

typedef struct uvf__glyph_s {
  const char *bytes; /* "?" for what is no character, or steers the terminal */
  size_t len;
  unsigned int width; /* columns: 0, 1 or 2 */
} uvf__glyph_t;

/* The character at *text, which is moved behind it; not at the end of the string. */
uvf__glyph_t uvf__glyph_next(const char **text);

/* --- what is said of a stage (draw.c) ------------------------------------------------------------- */

#define UVF__FACTS_MAX 16
#define UVF__FACT_SIZE 48

/* A line of a box: a text at its left, and, for a figure, one at its right. All ASCII. */
typedef struct uvf__fact_s {
  char label[UVF__FACT_SIZE];
  char value[UVF__FACT_SIZE]; /* empty: none */
} uvf__fact_t;

typedef struct uvf__facts_s {
  size_t n;
  size_t columns; /* that a box should have for them at least, so that it need not widen while they grow */
  uvf__fact_t at[UVF__FACTS_MAX];
} uvf__facts_t;

/* To to, of UVF__FACT_SIZE: a rate as short as will do, "12.3k/s"; that of a limiter, exact but for what is behind three
 * digits, or nothing where there is none that counts; a duration in two digits, as it comes from samples. */
void uvf__draw_rate(char *to, double rate);
void uvf__draw_limit(char *to, double rate);
void uvf__draw_duration(char *to, uint64_t ns);

/* With UVF_DRAW_STATS: with its figures. Loop thread. */
void uvf__draw_facts(const uvf_stage_t *stage, unsigned int flags, uvf__facts_t *facts);

/* --- the links (draw_links.c) --------------------------------------------------------------------- */

typedef struct uvf__arrow_s {
  const uvf_stage_t *from;
  const uvf_stage_t *to;
  unsigned int port;
  unsigned int input;
  int back; /* leads back to where the way from the sources has come by already */
  /* layout */
  size_t out_row; /* of the box; its top border is row 0 */
  size_t in_row;
} uvf__arrow_t;

/* All links, by stage and port. */
typedef struct uvf__arrows_s {
  size_t n;
  uvf__arrow_t *at;
  size_t *first; /* by stage: its first; nstages + 1 of them */
} uvf__arrows_t;

int uvf__arrows_init(uvf__arrows_t *arrows, const uvf_pipeline_t *pipeline);
void uvf__arrows_free(uvf__arrows_t *arrows);

/* Zeroed; not NULL for n == 0. NULL: out of memory. */
void *uvf__draw_array(size_t n, size_t size);

/* --- the layout (draw_layout.c) ------------------------------------------------------------------- */

#define UVF__NAME_COLUMNS 24 /* longer names go on below */
#define UVF__NAME_ROWS 4     /* and are cut there */

/* Something in a column: a box; or a link that passes it, one row high. */
typedef struct uvf__box_s {
  const uvf_stage_t *stage; /* NULL: a link that passes */
  size_t column;
  size_t top; /* its row */
  size_t height;
  size_t name_rows;
  size_t out_rows;           /* rows 1 to out_rows have an output */
  uint64_t from_sum, from_n; /* rows that links come from: their mean decides the order in the column */
  uvf__facts_t *facts;
} uvf__box_t;

/* A link, or a part of it, from one column to the next. */
typedef struct uvf__wire_s {
  size_t from, to; /* boxes */
  size_t out_row, in_row;
  const uvf__arrow_t *arrow;
} uvf__wire_t;

/* An output that has no line: not linked, or its link leads back. */
typedef struct uvf__stub_s {
  size_t box;
  size_t row;
  unsigned int port;
  char mark;
} uvf__stub_t;

#define UVF__NOWHERE SIZE_MAX

/* Wires to the same input: they join on a track, a column of the gap, and go on as one. Where two nets would want each
 * other to give way one makes a detour: by the row `detour` to a second track. */
typedef struct uvf__net_s {
  const uvf__wire_t **wires;
  size_t nwires;
  size_t row;            /* that it ends in */
  size_t low, high;      /* rows of the first track */
  size_t track;          /* NOWHERE: it is straight */
  size_t detour, track2; /* NOWHERE: none */
  size_t waits;
} uvf__net_t;

/* What is between a column and the next. */
typedef struct uvf__gap_s {
  uvf__wire_t *wires;
  size_t nwires;
  const uvf__wire_t **sorted;
  uvf__net_t *nets;
  size_t nnets;
  size_t ntracks;
  size_t out_label, in_label; /* columns of the port numbers */
  int has_stubs;
} uvf__gap_t;

typedef struct uvf__column_s {
  size_t first, nboxes; /* in layout->order, from the top */
  size_t width;
} uvf__column_t;

typedef struct uvf__layout_s {
  const uvf_pipeline_t *pipeline;
  uvf__arrows_t arrows;
  size_t nboxes;
  uvf__box_t *boxes; /* the stages, by index; then the links that pass */
  size_t *order;
  size_t ncolumns;
  uvf__column_t *columns;
  uvf__gap_t *gaps; /* behind each column */
  uvf__wire_t *wires;
  size_t nstubs;
  uvf__stub_t *stubs;
  uvf__facts_t *facts;
  size_t height;
} uvf__layout_t;

int uvf__layout_init(uvf__layout_t *layout, const uvf_pipeline_t *pipeline, unsigned int flags);
void uvf__layout_free(uvf__layout_t *layout);

/* The rows of a name in a box, and *width, of the widest. */
size_t uvf__name_rows(const char *name, size_t *width);

/* The next row of a name: writes its glyphs with put(), if not NULL, and returns its width. *text is moved on. `last`:
 * what does not fit is cut. */
size_t uvf__name_row(const char **text, int last, void (*put)(void *arg, uvf__glyph_t glyph), void *arg);

static inline size_t uvf__wire_from_row(const uvf__layout_t *l, const uvf__wire_t *w) {
  return l->boxes[w->from].top + w->out_row;
}

static inline size_t uvf__wire_to_row(const uvf__layout_t *l, const uvf__wire_t *w) {
  return l->boxes[w->to].top + w->in_row;
}

/* Are the numbers of its ports to be told? */
static inline int uvf__shows_outputs(const uvf_stage_t *s) { return uvf__stage_outputs(s) > 1 || s->nouts > 1; }
int uvf__shows_input(const uvf__arrow_t *arrow);

/* --- the ways of the links (draw_route.c) --------------------------------------------------------- */

int uvf__gap_route(uvf__layout_t *layout, uvf__gap_t *gap);
size_t uvf__gap_width(const uvf__gap_t *gap);

/* What a cell of a gap holds: the directions lines leave it in, or a character from ' ' on. */
enum { UVF__LEFT = 1, UVF__RIGHT = 2, UVF__UP = 4, UVF__DOWN = 8, UVF__HEAD = 16 };

/* Paints the lines: `cells` are height rows of the gap's width, zeroed. */
void uvf__gap_paint(const uvf__layout_t *layout, const uvf__gap_t *gap, unsigned char *cells);

/* --- the drawings --------------------------------------------------------------------------------- */

int uvf__draw_text(const uvf_pipeline_t *pipeline, FILE *f, unsigned int flags);
int uvf__draw_dot(const uvf_pipeline_t *pipeline, FILE *f, unsigned int flags);

#endif
