/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>

#include "fan.h"

int backends_add(backends_t *backends, const char *url, size_t len) {
  if (backends->count == MOST_BACKENDS) return UV_ENOBUFS;
  char *copy = malloc(len + 1);
  if (!copy) return UV_ENOMEM;
  memcpy(copy, url, len);
  copy[len] = '\0';
  backends->urls[backends->count++] = copy;
  return 0;
}

/* What is wrong with the last URL; NULL: nothing. */
static const char *wrong_with(const char *url) {
  CURLU *parser = curl_url();
  if (!parser) return "out of memory";
  CURLUcode code = curl_url_set(parser, CURLUPART_URL, url, 0);
  curl_url_cleanup(parser);
  return code == CURLUE_OK ? NULL : "it cannot be read as a URL; write http://host:port/path";
}

int backends_parse(backends_t *backends, const char *list) {
  for (const char *at = list; at; at = strchr(at, ',') ? strchr(at, ',') + 1 : NULL) {
    int err = backends_add(backends, at, strcspn(at, ","));
    const char *why = err ? uv_strerror(err) : wrong_with(backends->urls[backends->count - 1]);
    if (!why) continue;
    fprintf(stderr, "gateway: --backends: '%.*s': %s\n", (int)strcspn(at, ","), at, why);
    return -1;
  }
  return 0;
}

void backends_free(backends_t *backends) {
  while (backends->count) free(backends->urls[--backends->count]);
}

int backends_open(backends_t *backends, uvf_ctx_t *ctx, size_t transfers) {
  uvf_waitgroup_init(&backends->fans);
  int err = http_init(&backends->http, ctx, (long)transfers);
  /* More than that wait their turn in curl, and their time runs. */
  if (!err) curl_multi_setopt(backends->http.multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)transfers);
  if (!err) backends->http.no_proxy = "*"; /* they are meant to be asked directly */
  return err;
}

int backends_close(backends_t *backends, uvf_ctx_t *ctx, uvf_wait_cb cb) {
  uvf_waitgroup_close(&backends->fans);
  return uvf_waitgroup_wait(ctx, &backends->wait, &backends->fans, cb);
}
