/* SPDX-License-Identifier: MIT
 *
 * What the fuzz targets share. Each is one function that takes any bytes and checks what must hold for all of them:
 * driven by libFuzzer (-fsanitize=fuzzer,address,undefined), or by fuzz_replay.c over the files of a corpus.
 */
#ifndef UVF_TEST_FUZZ_H
#define UVF_TEST_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <uvflow/codec.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A broken property ends the program: that is what a fuzzer and a test both notice. */
#define MUST(condition)                                                                                                \
  do {                                                                                                                 \
    if (!(condition)) {                                                                                                \
      fprintf(stderr, "%s:%d: %s: must hold: %s\n", __FILE__, __LINE__, __func__, #condition);                         \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

#endif /* UVF_TEST_FUZZ_H */
