/* SPDX-License-Identifier: MIT
 *
 * What the tests of the codecs share: text handed over in memory of just its size, without a terminator, so that a
 * sanitizer or valgrind sees the first byte that is read too far; and a check that nothing was allocated.
 */
#ifndef UVFLOW_TEST_CODEC_PROBE_H
#define UVFLOW_TEST_CODEC_PROBE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"

#include <uvflow/codec.h>

/* A text that may hold NULs, from a literal. */
#define TEXT(literal) literal, sizeof(literal) - 1

/* A copy to free, of exactly len bytes. */
static inline char *exact(const char *text, size_t len) {
  char *copy = malloc(len != 0 ? len : 1);
  assert_non_null(copy);
  if (len != 0) memcpy(copy, text, len);
  return copy;
}

/* A row of a table that failed, named before the assertion ends the test. */
static inline void check_row(int holds, const char *text, size_t len) {
  if (holds) return;
  printf("row: \"");
  for (size_t i = 0; i < len && i < 200; i++) {
    if (text[i] > ' ' && text[i] < 0x7f)
      putchar(text[i]);
    else
      printf("\\x%02x", (unsigned int)(unsigned char)text[i]);
  }
  printf("\"\n");
  fail();
}

/* The codecs allocate nothing: setup notes the count of the library's allocator, teardown compares. */
static size_t codec_blocks;

static inline int codec_setup(void **state) {
  (void)state;
  codec_blocks = test_alloc_count();
  return 0;
}

static inline int codec_teardown(void **state) {
  (void)state;
  return test_alloc_count() == codec_blocks ? 0 : -1;
}

#define codec(f) cmocka_unit_test_setup_teardown(f, codec_setup, codec_teardown)

#endif
