/* SPDX-License-Identifier: MIT
 *
 * The digest of a file, with OpenSSL and blocking calls: for the pool's threads.
 */
#ifndef MD5ALL_DIGEST_H
#define MD5ALL_DIGEST_H

#include "tally.h"

/* A kind of digest: asked for once, as OpenSSL 3 takes longer to find one by its name than to digest a small file. */
typedef struct algorithm_s {
  EVP_MD *md;
  size_t size; /* of its result */
} algorithm_t;

/* 0, or UV_ENOTSUP: OpenSSL has none of that name. */
int algorithm_open(algorithm_t *algorithm, const char *name);
void algorithm_close(algorithm_t *algorithm);

/* What one file after the other is digested with. Not by two threads at once. */
typedef struct digester_s {
  const algorithm_t *algorithm;
  EVP_MD_CTX *state;
  char *block;
} digester_t;

/* 0 or UV_ENOMEM; closing one that is zeroed is fine. */
int digester_open(digester_t *digester, const algorithm_t *algorithm);
void digester_close(digester_t *digester);

/* Asked before each block: 0, or why to stop. */
typedef int (*stop_fn)(void *arg);

/* Fills in file->digest. 0, or UV_E*: what stop said, or why it cannot be read. Counts the bytes in tally. */
int digest_file(digester_t *digester, tally_t *tally, file_t *file, stop_fn stop, void *arg);

#endif
