/* SPDX-License-Identifier: MIT
 *
 * What every file of the demo wants.
 */
#ifndef MD5ALL_COMMON_H
#define MD5ALL_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <uvflow.h>

/* From a member back to the struct that it is part of: libuv and uvflow hand a callback the member that was given to
 * them. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* Macros of the library that name a handle's base: one cast, here, instead of one at every use. */
#define HANDLE(h) ((uv_handle_t *)(h))

enum { EXIT_DONE = 0, EXIT_NOT_DONE = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* Prints "md5all: what: why" to stderr and returns err, so that a caller can say `return complain(...)`. */
int complain(const char *what, int err);

#endif
