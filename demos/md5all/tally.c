/* SPDX-License-Identifier: MIT */
#include "tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

file_t *file_new(const char *dir, const char *name) {
  size_t dir_len = strlen(dir);
  size_t name_len = name ? strlen(name) : 0;
  size_t slash = name && dir_len && dir[dir_len - 1] != '/';
  file_t *file = malloc(sizeof(*file) + dir_len + slash + name_len + 1);
  if (!file) return NULL;
  file->next = NULL;
  file->status = 0;
  file->is_linked = 0;
  memcpy(file->path, dir, dir_len);
  if (slash) file->path[dir_len] = '/';
  if (name) memcpy(file->path + dir_len + slash, name, name_len);
  file->path[dir_len + slash + name_len] = '\0';
  return file;
}

/* --- what becomes of a file ---------------------------------------------------------------------------------- */

void tally_digested(tally_t *tally, file_t *file) {
  file->next = tally->files;
  tally->files = file;
  atomic_fetch_add(&tally->digested, 1);
}

/* A path can hold a line feed, which must not look like the start of another message. */
static void report(tally_t *tally, const char *path, int err) {
  char shown[1024];
  size_t n = 0;
  for (; *path && n < sizeof(shown) - 2; path++) {
    if (*path == '\n' || *path == '\r' || *path == '\\') shown[n++] = '\\';
    shown[n++] = *path == '\n' ? 'n' : *path == '\r' ? 'r' : *path;
  }
  shown[n] = '\0';
  const char *wipe = atomic_load(&tally->line_shown) ? "\r\033[K" : "";
  fprintf(stderr, "%smd5all: %s%s: %s\n", wipe, shown, *path ? "..." : "", uv_strerror(err));
}

void tally_failed(tally_t *tally, file_t *file, int err) {
  report(tally, file->path, err);
  free(file);
  atomic_fetch_add(&tally->failed, 1);
}

void tally_not_done(tally_t *tally, file_t *file) {
  free(file);
  atomic_fetch_add(&tally->not_done, 1);
}

void tally_trouble(tally_t *tally, const char *path, int err) {
  report(tally, path, err);
  atomic_fetch_add(&tally->troubles, 1);
}

int tally_adds_up(const tally_t *tally) {
  return atomic_load(&tally->found) ==
         atomic_load(&tally->digested) + atomic_load(&tally->failed) + atomic_load(&tally->not_done);
}

int tally_describe(const tally_t *tally, char *text, size_t size) {
  return snprintf(text, size, "%llu files found: %llu digested, %llu failed, %llu not done; %llu bytes read",
                  atomic_load(&tally->found), atomic_load(&tally->digested), atomic_load(&tally->failed),
                  atomic_load(&tally->not_done), atomic_load(&tally->bytes));
}

/* --- the output ---------------------------------------------------------------------------------------------- */

/* Sorting compares each path some fifteen times. Nearly all of these comparisons are decided by the few bytes behind
 * what all paths have in common: kept as a number, beside the pointer, they spare following it. */
typedef struct row_s {
  uint64_t key;
  const file_t *file;
} row_t;

static int compare_rows(const void *a, const void *b) {
  const row_t *x = a;
  const row_t *y = b;
  if (x->key != y->key) return x->key < y->key ? -1 : 1;
  return strcmp(x->file->path, y->file->path);
}

static size_t common_length(const file_t *files) {
  size_t len = files ? strlen(files->path) : 0;
  for (const file_t *file = files; file; file = file->next) {
    size_t same = 0;
    while (same < len && file->path[same] == files->path[same]) same++;
    len = same;
  }
  return len;
}

static uint64_t key_of(const char *text) {
  uint64_t key = 0;
  for (size_t i = 0; i < sizeof(key); i++) {
    key = key << 8 | (unsigned char)*text;
    if (*text) text++;
  }
  return key;
}

/* As md5sum does: a line whose name needed escaping begins with a backslash. */
static void print_row(const file_t *file, size_t digest_size, FILE *out) {
  static const char DIGITS[] = "0123456789abcdef";
  char text[2 * EVP_MAX_MD_SIZE + 3];
  size_t n = 0;
  const char *odd = strpbrk(file->path, "\\\n\r");
  if (odd) text[n++] = '\\';
  for (size_t i = 0; i < digest_size; i++) {
    text[n++] = DIGITS[file->digest[i] >> 4];
    text[n++] = DIGITS[file->digest[i] & 15];
  }
  text[n++] = ' ';
  text[n++] = ' ';
  fwrite(text, 1, n, out);
  if (!odd) {
    fputs(file->path, out);
  } else {
    for (const char *at = file->path; *at; at++) {
      const char *escaped = *at == '\\' ? "\\\\" : *at == '\n' ? "\\n" : *at == '\r' ? "\\r" : NULL;
      if (escaped) fputs(escaped, out);
      if (!escaped) putc(*at, out);
    }
  }
  putc('\n', out);
}

int tally_print(tally_t *tally, size_t digest_size, FILE *out) {
  size_t n = (size_t)atomic_load(&tally->digested);
  row_t *rows = malloc((n + 1) * sizeof(*rows));
  if (!rows) return UV_ENOMEM;
  size_t common = common_length(tally->files);
  size_t at = 0;
  for (const file_t *file = tally->files; file; file = file->next, at++) {
    rows[at].key = key_of(file->path + common);
    rows[at].file = file;
  }
  qsort(rows, n, sizeof(*rows), compare_rows);
  errno = 0;
  for (size_t i = 0; i < n && !ferror(out); i++) print_row(rows[i].file, digest_size, out);
  int failed = fflush(out) || ferror(out);
  free(rows);
  if (!failed) return 0;
  return errno ? uv_translate_sys_error(errno) : UV_EIO;
}

void tally_free(tally_t *tally) {
  while (tally->files) {
    file_t *next = tally->files->next;
    free(tally->files);
    tally->files = next;
  }
}
