/* SPDX-License-Identifier: MIT */
#include "pages.h"

#include <stdlib.h>
#include <string.h>

enum { AHEAD = 64 }; /* pages that may wait for one stage */

/* An item: a URL, and what came of it. */
typedef struct page_s {
  http_get_t get;
  uvf_flow_t *flow; /* the call that fetches it */
  uint64_t began_ns, took_ns;
  int err;
  char url[];
} page_t;

/* Called by uvflow with a page that will not be printed: after Ctrl-C. */
static void drop(void *page, void *data) {
  pages_t *pages = data;
  pages->dropped++;
  free(page);
}

/* --- urls: a source on the loop --------------------------------------------------------------- */

static int emit_page(uvf_flow_t *flow, const char *url) {
  size_t size = strlen(url) + 1;
  page_t *page = malloc(sizeof(*page) + size);
  if (!page) return UV_ENOMEM;
  memcpy(page->url, url, size);
  int err = uvf_emit(flow, 0, page);
  if (err) free(page); /* still ours */
  return err;
}

static int is_url(char **line) {
  size_t len;
  *line += strspn(*line, " \t");
  len = strcspn(*line, " \t\r");
  (*line)[len] = '\0';
  return len > 0 && **line != '#';
}

/* 0: a page was emitted. UV_EAGAIN: there will be one. UV_EOF: that was all. */
static int next_page(pages_t *pages, uvf_flow_t *flow) {
  char *line;
  int err;
  if (*pages->options->urls) return *pages->next ? emit_page(flow, *pages->next++) : UV_EOF;
  do {
    err = lines_next(&pages->lines, &line);
  } while (!err && !is_url(&line));
  return err ? err : emit_page(flow, line);
}

static void on_lines(lines_t *lines, int status) {
  pages_t *pages = container_of(lines, pages_t, lines);
  uvf_flow_t *flow = pages->waiting;
  if (status && status != UV_ECANCELED) pages->where = "standard input: ";
  if (!status) status = next_page(pages, flow);
  if (status == UV_EAGAIN && !(status = lines_wait(lines, on_lines))) return; /* a comment or an empty line */
  uvf_watch_stop(&pages->watch);
  uvf_flow_done(flow, status);
}

/* Called by uvflow: the context of the call is over, at Ctrl-C. */
static void on_call_over(uvf_watch_t *watch, int status) {
  (void)status;
  lines_cancel(&container_of(watch, pages_t, watch)->lines);
}

/* Called by uvflow, on the loop, whenever there is room for one more page. */
static int urls(uvf_flow_t *flow, void *none) {
  pages_t *pages = flow->data;
  int err = next_page(pages, flow);
  (void)none;
  if (err == 0) return uvf_flow_done(flow, 0); /* this call is over at once */
  if (err != UV_EAGAIN) return err;
  pages->waiting = flow;
  err = uvf_ctx_on_done(flow->ctx, &pages->watch, on_call_over);
  if (!err && (err = lines_wait(&pages->lines, on_lines))) uvf_watch_stop(&pages->watch);
  return err; /* 0: on_lines will come */
}

/* --- fetch ------------------------------------------------------------------------------------ */

/* Called by http.c, on the loop, once: an answer, a failure, or the end of the call's context. */
static void on_fetched(http_get_t *get, int status) {
  page_t *page = container_of(get, page_t, get);
  uvf_flow_t *flow = page->flow;
  page->took_ns = uv_hrtime() - page->began_ns;
  page->err = status;
  if (status != UV_ECANCELED) status = uvf_emit(flow, 0, page);
  uvf_flow_done(flow, status); /* an error: the page goes to drop */
}

/* Called by uvflow, on the loop: up to `workers` are under way at once. */
static int fetch(uvf_flow_t *flow, void *item) {
  pages_t *pages = flow->data;
  page_t *page = item;
  page->flow = flow;
  page->began_ns = uv_hrtime();
  return http_get_start(pages->http, flow->ctx, &page->get, page->url, NULL, on_fetched);
}

/* --- print ------------------------------------------------------------------------------------ */

/* Called by uvflow, on the loop, in the order of the URLs. */
static int print(uvf_flow_t *flow, void *item) {
  pages_t *pages = flow->data;
  page_t *page = item;
  const char *why = !page->err ? "" : page->err == UV_EIO ? page->get.error : uv_strerror(page->err);
  int failed = page->err || page->get.http_status >= 400;
  result_t result = {page->url, page->get.http_status, page->get.bytes, page->took_ns, failed, why};
  int err = print_result(&pages->print, &result);
  if (err) return err; /* nobody reads it: the end of the pipeline, and the page is uvflow's again */
  pages->bytes += page->get.bytes;
  (*(failed ? &pages->failed : &pages->fetched))++;
  free(page);
  return 0;
}

/* --- the pipeline ----------------------------------------------------------------------------- */

static int build(pages_t *pages) {
  const pages_options_t *options = pages->options;
  uvf_stage_options_t o;
  uvf_stage_t *from, *via, *to;
  uvf_stage_options_init(&o, UVF_STAGE_ASYNC, "urls", urls, pages);
  o.inputs = 0; /* a source */
  int err = uvf_pipeline_add(pages->pipeline, &o, &from);

  uvf_stage_options_init(&o, UVF_STAGE_ASYNC, "fetch", fetch, pages);
  o.drop = drop;
  o.workers = options->workers;
  o.capacity = options->workers + AHEAD;
  o.ordered = 1;
  o.item_timeout_ms = options->timeout_ms;
  if (options->rate) o.limiter = &pages->limiter;
  if (!err) err = uvf_pipeline_add(pages->pipeline, &o, &via);

  uvf_stage_options_init(&o, UVF_STAGE_LOOP, "print", print, pages);
  o.drop = drop;
  o.capacity = AHEAD;
  if (!err) err = uvf_pipeline_add(pages->pipeline, &o, &to);
  if (!err) err = uvf_pipeline_chain(from, via);
  if (!err) err = uvf_pipeline_chain(via, to);
  return err;
}

int pages_init(pages_t *pages, uvf_ctx_t *ctx, const pages_options_t *options) {
  pages->options = options;
  pages->next = options->urls;
  uvf_limiter_init(&pages->limiter, options->rate, 1);
  int err = *options->urls ? 0 : lines_open(&pages->lines, ctx, 0);
  if (err) pages->where = "standard input: ";
  if (!err) err = uvf_pipeline_create("fetchall", &pages->pipeline);
  return err ? err : build(pages);
}

void pages_free(pages_t *pages) {
  uvf_pipeline_destroy(pages->pipeline);
  uvf_limiter_destroy(&pages->limiter);
}

size_t pages_given_up(const pages_t *pages) {
  size_t given_up = pages->dropped;
  for (char **url = pages->next; *url; url++) given_up++;
  return given_up;
}
