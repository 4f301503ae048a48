/* SPDX-License-Identifier: MIT
 *
 * The library's memory: the replaceable allocator, and slabs of equal blocks with a free list for contexts.
 */
#ifndef UVF_KERNEL_ALLOC_H
#define UVF_KERNEL_ALLOC_H

#include <stddef.h>
#include <stdint.h>

#include "kernel/list.h"

void *uvf__malloc(size_t size); /* NULL when out of memory */
void uvf__free(void *p);

/* From the first root on the allocator is settled: replacing it would free with the wrong function. */
void uvf__alloc_settle(void);

/* One size of block. Touched by one thread at a time: the loop thread, or after close whoever holds the hub's gate. */
typedef struct uvf__pool_s {
  size_t size;          /* of a block, a multiple of 64 */
  uvf__link_t *partial; /* slabs with a free block, most recently used first */
  uint32_t empty;       /* slabs in `partial` of which no block is in use */
} uvf__pool_t;

void uvf__pool_init(uvf__pool_t *pool, size_t size);

/* A block, 64-byte aligned when it comes from a slab, and in *index the number to give back to uvf__pool_free. NULL
 * when out of memory. */
void *uvf__pool_alloc(uvf__pool_t *pool, uint16_t *index);
void uvf__pool_free(uvf__pool_t *pool, void *block, uint16_t index);

/* Frees the slabs; all blocks must have been given back. */
void uvf__pool_destroy(uvf__pool_t *pool);

#endif
