/* SPDX-License-Identifier: MIT
 *
 * Files, and what has become of them. Every file that was found ends here, once, in one of three ways: digested,
 * failed, or not done (the run was interrupted). So the counts add up: found = digested + failed + not done.
 */
#ifndef MD5ALL_TALLY_H
#define MD5ALL_TALLY_H

#include <openssl/evp.h>
#include <stdatomic.h>

#include "common.h"

/* A file on its way from the walk to the tally. */
typedef struct file_s {
  struct file_s *next;
  int status;    /* why it has no digest; 0: it was not tried, or has one */
  int is_linked; /* it was found through a link, which is to be followed */
  unsigned char digest[EVP_MAX_MD_SIZE];
  char path[];
} file_t;

/* "dir/name", or dir alone if name is NULL. NULL: no memory. */
file_t *file_new(const char *dir, const char *name);

/* The counters may be read at any time, on any thread: that is what the line of progress does. */
typedef struct tally_s {
  atomic_ullong found, digested, failed, not_done;
  atomic_ullong bytes;    /* read so far, also of files that were not finished */
  atomic_ullong troubles; /* directories and links that could not be read, and were no files */
  atomic_int walked;      /* there is nothing more to be found */
  atomic_int line_shown;  /* a line of progress may stand on the terminal: to be wiped before others are printed */
  file_t *files;          /* digested; one thread at a time */
} tally_t;

/* What becomes of a file: the tally's from then on. digested: by one thread at a time; the others: by any. */
void tally_digested(tally_t *tally, file_t *file);
void tally_failed(tally_t *tally, file_t *file, int err); /* reports it */
void tally_not_done(tally_t *tally, file_t *file);

/* Reports a path that is no file of the tally's. Any thread. */
void tally_trouble(tally_t *tally, const char *path, int err);

/* 1: found = digested + failed + not done. When the run is over. */
int tally_adds_up(const tally_t *tally);

/* "20200 files found: 20180 digested, 1 failed, 19 not done; 291635200 bytes read", as snprintf. */
int tally_describe(const tally_t *tally, char *text, size_t size);

/* Writes "digest  path" for every digested file to out, sorted by path. 0, UV_ENOMEM, or why writing failed. */
int tally_print(tally_t *tally, size_t digest_size, FILE *out);

void tally_free(tally_t *tally);

#endif
