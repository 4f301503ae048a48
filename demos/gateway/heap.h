/* SPDX-License-Identifier: MIT
 *
 * A server's heap breathes with every burst of requests. glibc by default gives what lies free at its top back to the
 * system as soon as it is 128 KiB, and takes it again page by page: measured, a quarter of all requests per second. Not
 * so here: the gateway and the server that it is compared with keep some megabytes.
 */
#ifndef GATEWAY_HEAP_H
#define GATEWAY_HEAP_H

#include <stdlib.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

static inline void keep_heap(void) {
#ifdef __GLIBC__
  mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
  mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
#endif
}

#endif
