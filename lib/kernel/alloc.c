/* SPDX-License-Identifier: MIT
 *
 * Invariants
 * 1. A slab is in `partial` exactly when it has a free block; a full slab is on no list and is found again through
 *    the block's index.
 * 2. `empty` counts the slabs of which no block is used. At most EMPTY_MAX are kept, so a burst's memory goes back to
 *    the system.
 * 3. A block that is free is poisoned under AddressSanitizer but for nothing: its free-list link is unpoisoned only
 *    while it is followed.
 * 4. index == INDEX_SINGLE marks a block that is an allocation of its own (free lists switched off).
 */
#include "kernel/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "kernel/atomic.h"
#include "kernel/rule.h"
#include "uvflow/base.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UVF__ASAN 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define UVF__ASAN 1
#endif
#ifdef UVF__ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

#define SLAB_BLOCKS 64u
#define EMPTY_MAX 16u
#define INDEX_SINGLE UINT16_MAX
#define ALIGN 64u

static uv_malloc_func malloc_func = malloc;
static uv_free_func free_func = free;
static int pooling = 1;
static _Atomic(int) settled;

int uvf_replace_allocator(uv_malloc_func new_malloc, uv_free_func new_free) {
  if (new_malloc == NULL || new_free == NULL) return UV_EINVAL;
  if (atomic_load(&settled)) return UV_EBUSY;
  malloc_func = new_malloc;
  free_func = new_free;
  return 0;
}

int uvf_use_free_lists(int on) {
  if (atomic_load(&settled)) return UV_EBUSY;
  pooling = on != 0;
  return 0;
}

void uvf__alloc_settle(void) { atomic_store(&settled, 1); }

void *uvf__malloc(size_t size) { return malloc_func(size); }

void uvf__free(void *p) {
  if (p != NULL) free_func(p);
}

/* --- slabs ------------------------------------------------------------------------------------ */

typedef struct slab_s {
  uvf__link_t link; /* in pool->partial */
  void *free;       /* blocks given back, newest first */
  uint32_t used;
  uint32_t fresh; /* blocks never handed out start here */
} slab_t;

#define SLAB_HEADER 64u
_Static_assert(sizeof(slab_t) <= SLAB_HEADER, "the slab's head fits one line");

/* The raw allocation lies in the word before the head. */
static void **slab_raw(slab_t *slab) { return (void **)(void *)slab - 1; }

static char *slab_block(uvf__pool_t *pool, slab_t *slab, uint32_t index) {
  return (char *)slab + SLAB_HEADER + (size_t)index * pool->size;
}

static slab_t *slab_of(uvf__pool_t *pool, void *block, uint16_t index) {
  return (slab_t *)(void *)((char *)block - (size_t)index * pool->size - SLAB_HEADER);
}

/* Off its list already. */
static void slab_delete(uvf__pool_t *pool, slab_t *slab) {
  UNPOISON(slab_block(pool, slab, 0), SLAB_BLOCKS * pool->size); /* it may go to an allocator of the user's */
  (void)pool;
  uvf__free(*slab_raw(slab));
}

static UVF__COLD slab_t *slab_new(uvf__pool_t *pool) {
  size_t bytes = sizeof(void *) + ALIGN + SLAB_HEADER + SLAB_BLOCKS * pool->size;
  char *raw = uvf__malloc(bytes);
  slab_t *slab;
  if (raw == NULL) return NULL;
  slab = (slab_t *)(((uintptr_t)raw + sizeof(void *) + ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
  *slab_raw(slab) = raw;
  slab->free = NULL;
  slab->used = 0;
  slab->fresh = 0;
  uvf__link_push(&pool->partial, &slab->link);
  pool->empty++;
  POISON(slab_block(pool, slab, 0), SLAB_BLOCKS * pool->size);
  return slab;
}

void uvf__pool_init(uvf__pool_t *pool, size_t size) {
  pool->size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
  pool->partial = NULL;
  pool->empty = 0;
}

void *uvf__pool_alloc(uvf__pool_t *pool, uint16_t *index) {
  slab_t *slab;
  char *block;
  if (UVF__UNLIKELY(!pooling)) {
    *index = INDEX_SINGLE;
    return uvf__malloc(pool->size);
  }
  if (UVF__LIKELY(pool->partial != NULL)) {
    slab = UVF__CONTAINER(pool->partial, slab_t, link);
  } else {
    slab = slab_new(pool);
    if (slab == NULL) return NULL;
  }
  if (slab->used++ == 0) pool->empty--;
  block = slab->free;
  if (block != NULL) {
    UNPOISON(block, pool->size);
    slab->free = *(void **)(void *)block;
    *index = (uint16_t)((size_t)(block - slab_block(pool, slab, 0)) / pool->size);
  } else {
    *index = (uint16_t)slab->fresh;
    block = slab_block(pool, slab, slab->fresh++);
    UNPOISON(block, pool->size);
  }
  if (slab->free == NULL && slab->fresh == SLAB_BLOCKS) uvf__link_remove(&slab->link);
  return block;
}

void uvf__pool_free(uvf__pool_t *pool, void *block, uint16_t index) {
  slab_t *slab;
  if (UVF__UNLIKELY(index == INDEX_SINGLE)) {
    uvf__free(block);
    return;
  }
  slab = slab_of(pool, block, index);
#if UVF__RULES
  memset(block, 0xdb, pool->size); /* a stale pointer shows at once */
#endif
  if (slab->free == NULL && slab->fresh == SLAB_BLOCKS) uvf__link_push(&pool->partial, &slab->link);
  *(void **)block = slab->free;
  slab->free = block;
  POISON(block, pool->size);
  if (--slab->used == 0 && ++pool->empty > EMPTY_MAX) {
    pool->empty--;
    uvf__link_remove(&slab->link);
    slab_delete(pool, slab);
  }
}

void uvf__pool_destroy(uvf__pool_t *pool) {
  while (pool->partial != NULL) slab_delete(pool, UVF__CONTAINER(uvf__link_pop(&pool->partial), slab_t, link));
  pool->empty = 0;
}
