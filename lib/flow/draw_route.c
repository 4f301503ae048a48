/* SPDX-License-Identifier: MIT
 *
 * The lines in the gap between two columns of a drawing. Wires that end in the same input are one net: each comes in
 * from the left in the row of its output, they join on the net's track, a column of the gap, and it goes on to the
 * right in the row of the input.
 *
 * Two nets never share a piece of line:
 * 1. on a track, since nets whose rows overlap get different ones;
 * 2. in a row that one leaves from and another ends in, since the track of the first is then to the left of that of the
 *    second. Where such rules go round in a circle one net of it makes a detour: from a track to the left of all
 *    others, by a row that nobody uses, to one to the right of all. That puts it before and behind everybody.
 * What crosses is painted as the vertical line alone, so that a joint is never taken for a crossing.
 */
#include "flow/draw.h"

#include <stdlib.h>
#include <string.h>

#include "kernel/alloc.h"

static size_t least(size_t a, size_t b) { return a < b ? a : b; }
static size_t most(size_t a, size_t b) { return a > b ? a : b; }

/* --- nets ----------------------------------------------------------------------------------------- */

typedef struct end_s {
  const uvf__wire_t *wire;
  size_t from, to;
} end_t;

static int by_end(const void *a, const void *b) {
  const end_t *x = a;
  const end_t *y = b;
  if (x->to != y->to) return x->to < y->to ? -1 : 1;
  return x->from < y->from ? -1 : x->from > y->from;
}

/* The net that ends in a row, or NULL; they are sorted by it. */
static uvf__net_t *net_at(const uvf__gap_t *gap, size_t row) {
  size_t from = 0;
  size_t n = gap->nnets;
  while (n > 0) {
    uvf__net_t *net = &gap->nets[from + n / 2];
    if (net->row == row) return net;
    if (net->row < row) {
      from += n / 2 + 1;
      n -= n / 2 + 1;
    } else {
      n /= 2;
    }
  }
  return NULL;
}

static int make_nets(const uvf__layout_t *l, uvf__gap_t *gap) {
  end_t *ends = uvf__draw_array(gap->nwires, sizeof *ends);
  gap->sorted = uvf__draw_array(gap->nwires, sizeof *gap->sorted);
  gap->nets = uvf__draw_array(gap->nwires, sizeof *gap->nets);
  if (ends == NULL || gap->sorted == NULL || gap->nets == NULL) {
    uvf__free(ends);
    return UV_ENOMEM;
  }
  for (size_t i = 0; i < gap->nwires; i++) {
    const uvf__wire_t *w = &gap->wires[i];
    ends[i] = (end_t){w, uvf__wire_from_row(l, w), uvf__wire_to_row(l, w)};
  }
  if (gap->nwires > 0) qsort(ends, gap->nwires, sizeof *ends, by_end);
  for (size_t i = 0; i < gap->nwires; i++) {
    uvf__net_t *net = &gap->nets[gap->nnets];
    if (i > 0 && ends[i].to == ends[i - 1].to) {
      net--;
    } else {
      gap->nnets++;
      *net = (uvf__net_t){&gap->sorted[i], 0, ends[i].to, ends[i].to, ends[i].to, UVF__NOWHERE, UVF__NOWHERE, 0, 0};
    }
    gap->sorted[i] = ends[i].wire;
    net->nwires++;
    net->low = least(net->low, ends[i].from);
    net->high = most(net->high, ends[i].from);
  }
  uvf__free(ends);
  return 0;
}

/* --- tracks --------------------------------------------------------------------------------------- */

static int is_straight(const uvf__net_t *net) { return net->low == net->high; }

/* Whoever ends in the row a wire of `net` leaves from has to wait for it, and be to its right. */
static uvf__net_t *behind(const uvf__layout_t *l, const uvf__gap_t *gap, const uvf__net_t *net, size_t i) {
  uvf__net_t *other = net_at(gap, uvf__wire_from_row(l, net->wires[i]));
  return other == net ? NULL : other;
}

/* Which of two nets should be to the left, if nothing else says so, for fewer crossings: of those that lead down the
 * one that comes from further down, of the others the one that comes from further up. */
static int goes_before(const uvf__net_t *a, const uvf__net_t *b) {
  int a_down = a->row == a->high;
  int b_down = b->row == b->high;
  if (a_down != b_down) return a_down;
  return a_down ? a->low > b->low : a->low < b->low;
}

static int overlaps(const uvf__gap_t *gap, const uvf__net_t *net, size_t track) {
  for (size_t i = 0; i < gap->nnets; i++) {
    const uvf__net_t *other = &gap->nets[i];
    if (other != net && other->detour == UVF__NOWHERE && other->track == track && !is_straight(other) &&
        other->low <= net->high && net->low <= other->high)
      return 1;
  }
  return 0;
}

/* A row that nothing in the gap uses, as near to where the net ends as there is. */
static size_t free_row(const uvf__layout_t *l, const uvf__gap_t *gap, const uvf__net_t *net) {
  for (size_t d = 1;; d++) {
    for (int up = 0; up < 2; up++) {
      size_t row = up ? net->row - d : net->row + d;
      int used = up && d > net->row;
      for (size_t i = 0; i < gap->nwires && !used; i++)
        used = uvf__wire_from_row(l, &gap->wires[i]) == row || uvf__wire_to_row(l, &gap->wires[i]) == row;
      for (size_t i = 0; i < gap->nnets && !used; i++) used = gap->nets[i].detour == row;
      if (!used) return row;
    }
  }
}

/* `net` has its track: those that waited for it come to its right, if it is no detour. */
static void tell_behind(const uvf__layout_t *l, const uvf__gap_t *gap, const uvf__net_t *net) {
  for (size_t i = 0; i < net->nwires; i++) {
    uvf__net_t *other = behind(l, gap, net, i);
    if (other == NULL) continue;
    other->waits--;
    if (net->detour == UVF__NOWHERE) other->track2 = most(other->track2, net->track + 1); /* at least */
  }
}

/* The next net to get a track: one that waits for nobody; or, to break a circle, one that does. NULL: all have one. */
static uvf__net_t *next_net(const uvf__gap_t *gap) {
  uvf__net_t *next = NULL;
  for (size_t i = 0; i < gap->nnets; i++) {
    uvf__net_t *net = &gap->nets[i];
    if (is_straight(net) || net->track != UVF__NOWHERE) continue;
    if (next == NULL || (net->waits == 0) > (next->waits == 0) ||
        ((net->waits == 0) == (next->waits == 0) && goes_before(net, next)))
      next = net;
  }
  return next;
}

/* Detours have a first track to the left of all that make none, and a second one to the right. */
static void place_detours(uvf__gap_t *gap, size_t ndetours) {
  size_t k = 0;
  for (size_t i = 0; i < gap->nnets; i++) {
    uvf__net_t *net = &gap->nets[i];
    if (is_straight(net)) continue;
    if (net->detour == UVF__NOWHERE) {
      net->track += ndetours;
    } else {
      net->track = k++;
      net->track2 = ndetours + gap->ntracks + net->track;
    }
  }
  gap->ntracks += 2 * ndetours;
}

int uvf__gap_route(uvf__layout_t *layout, uvf__gap_t *gap) {
  size_t ndetours = 0;
  uvf__net_t *net;
  if (make_nets(layout, gap) != 0) return UV_ENOMEM;
  for (size_t n = 0; n < gap->nnets; n++) {
    for (size_t i = 0; i < gap->nets[n].nwires; i++) {
      uvf__net_t *other = behind(layout, gap, &gap->nets[n], i);
      if (other != NULL) other->waits++;
    }
  }
  while ((net = next_net(gap)) != NULL) {
    if (net->waits > 0) {
      net->detour = free_row(layout, gap, net);
      net->track = 0;
      ndetours++;
      if (layout->height <= net->detour) layout->height = net->detour + 1;
    } else {
      net->track = net->track2;
      while (overlaps(gap, net, net->track)) net->track++;
      gap->ntracks = most(gap->ntracks, net->track + 1);
    }
    tell_behind(layout, gap, net);
  }
  place_detours(gap, ndetours);
  return 0;
}

/* --- painting ------------------------------------------------------------------------------------- */

/* Port number, a piece of line, the tracks with a column between, a piece of line, port number, head. */
size_t uvf__gap_width(const uvf__gap_t *gap) {
  return gap->out_label + 2 * gap->ntracks + gap->in_label + (gap->ntracks == 0 ? 4 : 3);
}

static size_t column_of(const uvf__gap_t *gap, size_t track) { return gap->out_label + 1 + 2 * track; }

static void paint_vertical(unsigned char *cells, size_t width, size_t x, size_t from, size_t to) {
  for (size_t y = least(from, to); y <= most(from, to); y++) {
    if (y > least(from, to)) cells[y * width + x] |= UVF__UP;
    if (y < most(from, to)) cells[y * width + x] |= UVF__DOWN;
  }
}

/* From x to end; where the line begins or ends on a track it joins that, others it passes under. */
static void paint_row(unsigned char *row, size_t x, size_t end, size_t own, size_t own2) {
  for (size_t at = x; at <= end; at++) {
    int mine = at == own || at == own2;
    if (row[at] != 0 && !mine) continue;
    if (at > x || !mine) row[at] |= UVF__LEFT;
    if (at < end || !mine) row[at] |= UVF__RIGHT;
  }
}

static void paint_number(unsigned char *at, unsigned int number) {
  char text[16];
  int n = snprintf(text, sizeof text, "%u", number);
  memcpy(at, text, (size_t)n);
}

static void paint_net(const uvf__layout_t *l, const uvf__gap_t *gap, const uvf__net_t *net, unsigned char *cells) {
  size_t width = uvf__gap_width(gap);
  size_t x = net->track == UVF__NOWHERE ? UVF__NOWHERE : column_of(gap, net->track);
  size_t x2 = net->detour == UVF__NOWHERE ? x : column_of(gap, net->track2);
  unsigned char *end = &cells[net->row * width];
  if (x == UVF__NOWHERE) {
    paint_row(end, 0, width - 1, UVF__NOWHERE, UVF__NOWHERE);
  } else {
    for (size_t i = 0; i < net->nwires; i++)
      paint_row(&cells[uvf__wire_from_row(l, net->wires[i]) * width], 0, x, x, x2);
    if (net->detour != UVF__NOWHERE) paint_row(&cells[net->detour * width], x, x2, x, x2);
    paint_row(end, x2, width - 1, x, x2);
  }
  for (size_t i = 0; i < net->nwires; i++) {
    const uvf__wire_t *w = net->wires[i];
    if (l->boxes[w->from].stage != NULL && uvf__shows_outputs(w->arrow->from))
      paint_number(&cells[uvf__wire_from_row(l, w) * width], w->arrow->port);
    if (l->boxes[w->to].stage == NULL) continue;
    end[width - 1] = UVF__HEAD;
    if (uvf__shows_input(w->arrow)) paint_number(&end[width - 1 - gap->in_label], w->arrow->input);
  }
}

void uvf__gap_paint(const uvf__layout_t *layout, const uvf__gap_t *gap, unsigned char *cells) {
  size_t width = uvf__gap_width(gap);
  for (size_t i = 0; i < gap->nnets; i++) {
    const uvf__net_t *net = &gap->nets[i];
    size_t low = net->row;
    size_t high = net->detour == UVF__NOWHERE ? net->row : net->detour;
    if (is_straight(net)) continue;
    if (net->detour != UVF__NOWHERE) {
      paint_vertical(cells, width, column_of(gap, net->track2), net->row, net->detour);
      low = net->detour;
    }
    for (size_t k = 0; k < net->nwires; k++) {
      low = least(low, uvf__wire_from_row(layout, net->wires[k]));
      high = most(high, uvf__wire_from_row(layout, net->wires[k]));
    }
    paint_vertical(cells, width, column_of(gap, net->track), low, high);
  }
  for (size_t i = 0; i < gap->nnets; i++) paint_net(layout, gap, &gap->nets[i], cells);
}
