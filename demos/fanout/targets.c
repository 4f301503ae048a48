/* SPDX-License-Identifier: MIT */
#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "options.h"

enum { READ_AT_ONCE = 65536, SHOWN_OF_A_URL = 80 };

static const char *const OUT_OF_MEMORY = "fanout: out of memory while reading the list of URLs\n";

static void target_free(target_t *target) {
  for (size_t i = 0; i < target->count; i++) free(target->urls[i]);
  free(target->urls);
}

void targets_free(targets_t *targets) {
  for (size_t i = 0; i < targets->count; i++) target_free(&targets->list[i]);
  free(targets->list);
  memset(targets, 0, sizeof(*targets));
}

/* Returns why a URL cannot be asked, or NULL if it can. */
static const char *wrong_with(const char *url) {
  if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
    return "it does not begin with http:// or https://";
  /* Also what keeps control characters off the terminal when it is shown. */
  for (const char *c = url; *c; c++)
    if (*c <= ' ' || *c >= 0x7f) return "there is a blank or a character that is not ASCII in it (percent-encode it)";
  CURLU *parser = curl_url();
  if (!parser) return "out of memory";
  CURLUcode code = curl_url_set(parser, CURLUPART_URL, url, 0);
  curl_url_cleanup(parser);
  if (code == CURLUE_OK) return NULL;
#if LIBCURL_VERSION_NUM >= 0x075000
  return curl_url_strerror(code);
#else
  return "it cannot be read as a URL";
#endif
}

static char *copy_trimmed(const char *begin, const char *end) {
  while (begin < end && strchr(" \t\r\n", *begin)) begin++;
  while (end > begin && strchr(" \t\r\n", end[-1])) end--;
  size_t len = (size_t)(end - begin);
  char *copy = malloc(len + 1);
  if (!copy) return NULL;
  memcpy(copy, begin, len);
  copy[len] = '\0';
  return copy;
}

/* Adds one replica to a target. */
static int add_replica(target_t *target, const char *begin, const char *end, const char *where) {
  char *url = copy_trimmed(begin, end);
  char **urls = url ? realloc(target->urls, (target->count + 1) * sizeof(*urls)) : NULL;
  if (!urls) {
    free(url);
    fputs(OUT_OF_MEMORY, stderr);
    return -1;
  }
  target->urls = urls;
  target->urls[target->count++] = url; /* from here on target_free frees it */
  const char *why = wrong_with(url);
  if (!why) return 0;
  fprintf(stderr, "fanout: %s: not a URL: '%.*s': %s; write it as http://host/path\n", where, SHOWN_OF_A_URL, url, why);
  return -1;
}

int targets_add(targets_t *targets, const char *text, const char *where) {
  target_t target = {NULL, 0};
  int err;
  do {
    const char *end = strchr(text, '|');
    if (!end) end = text + strlen(text);
    err = add_replica(&target, text, end, where);
    text = *end ? end + 1 : NULL;
  } while (!err && text);
  if (!err && targets->count == targets->room) {
    size_t room = targets->room ? targets->room * 2 : 16;
    target_t *list = realloc(targets->list, room * sizeof(*list));
    if (list) {
      targets->list = list;
      targets->room = room;
    } else {
      fputs(OUT_OF_MEMORY, stderr);
      err = -1;
    }
  }
  if (err) {
    target_free(&target);
    return -1;
  }
  targets->list[targets->count++] = target;
  return 0;
}

/* The whole of a stream as one string, with its length; NULL: out of memory or an error of the stream. */
static char *read_all(FILE *in, size_t *len) {
  size_t room = READ_AT_ONCE, n = 0, got;
  char *text = malloc(room + 1);
  while (text && (got = fread(text + n, 1, room - n, in)) > 0) {
    n += got;
    if (n < room) continue;
    char *more = realloc(text, room * 2 + 1);
    if (!more) break;
    text = more;
    room *= 2;
  }
  if (!text || ferror(in) || !feof(in)) {
    free(text);
    return NULL;
  }
  text[n] = '\0';
  *len = n;
  return text;
}

static int add_lines(targets_t *targets, char *text, const char *path) {
  size_t before = targets->count, number = 1;
  for (char *line = text, *next; line; line = next, number++) {
    next = strchr(line, '\n');
    if (next) *next++ = '\0';
    line += strspn(line, " \t\r");
    if (!*line || *line == '#') continue;
    char where[320];
    snprintf(where, sizeof(where), "%.280s, line %zu", path, number);
    if (targets_add(targets, line, where)) return -1;
  }
  if (targets->count > before) return 0;
  fprintf(stderr, "fanout: %s: no URL in it; write one on each line\n", path);
  return -1;
}

int targets_add_file(targets_t *targets, const char *path) {
  int is_stdin = strcmp(path, "-") == 0;
  const char *name = is_stdin ? "standard input" : path;
  FILE *in = is_stdin ? stdin : fopen(path, "rb");
  if (!in) {
    fprintf(stderr, "fanout: %s: %s; give --file a list of URLs that can be read\n", name, strerror(errno));
    return -1;
  }
  size_t len = 0;
  errno = 0;
  char *text = read_all(in, &len);
  int err = -1;
  if (!text)
    fprintf(stderr, "fanout: %s: %s\n", name, strerror(errno ? errno : ENOMEM));
  else if (strlen(text) != len)
    fprintf(stderr, "fanout: %s: there is a zero byte in it: not a list of URLs, one on each line\n", name);
  else
    err = add_lines(targets, text, name);
  free(text);
  if (!is_stdin) fclose(in);
  return err;
}
