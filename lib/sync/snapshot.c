/* SPDX-License-Identifier: MIT
 *
 * The snapshot: a reference count in two parts, so that a reader needs one locked instruction to learn which version is
 * the current one and to keep it.
 *
 * The word: the index of the current version (high 16 bits), and how many gets it has seen since it was published or
 * folded (low 48 bits). A version has the other part of its count, `refs`: BIAS while it is current, plus what was
 * folded, minus the puts. Replacing a version takes the word's count away, adds it, and takes BIAS off: what is left is
 * the number of readers.
 *
 * Invariants
 * 1. The index in the word changes under the lock only. Everybody else but adds 1 to the count; a fold, under the lock,
 *    takes from it what it has seen in it.
 * 2. While a version is current refs >= BIAS - 2^48 > 0: puts <= gets = folded + count. From the moment it is replaced
 *    refs is the number of its readers and only falls; whoever makes it 0, the last put or the replacement itself, and
 *    nobody else, retires the version: gives the index back, under the lock, then frees the value, without. The index
 *    is back first, because the snapshot may be destroyed when the value is free.
 * 3. A get that has read index i is counted in the word, or in refs of version i: i is not given back, and the version
 *    not written, before the put. So the reader needs no lock, and i cannot mean another version (no ABA).
 * 4. Chunks of versions are never moved or freed before the end; a chunk's pointer is written before the first of its
 *    indices is in the word, and who reads an index has acquired what was released with it (later gets are
 *    read-modify-writes, which continue the release).
 * 5. The count does not run over into the index. A get that finds FOLD or more moves that much into refs, if it gets
 *    the lock at once: under it the index stands still, so the two changes need not be one. If it does not get the
 *    lock, somebody else has it: a publisher, who takes the whole count away, another get that folds, or one who takes
 *    or gives back an index and is a dozen instructions from letting go. From FOLD = 2^32 to 2^48 there are 65,535 *
 *    2^32 gets, each of which tries: at 100 million a second that is 32 days, in which the lock would have to be held
 *    at each one of them. refs in turn would need 2^62 folded gets whose puts never come: that many readers have no
 *    place in memory. The puts of folded gets come off again, so refs stays within BIAS - 2^48 and BIAS + the number of
 *    readers.
 *
 * Deadlock: the lock is a leaf; nothing is allocated under it, and values are freed without it.
 */
#include <string.h>

#include "kernel/alloc.h"
#include "kernel/wait.h"
#include "uvflow/sync.h"

#define COUNT_BITS 48
#define COUNT_MASK ((UINT64_C(1) << COUNT_BITS) - 1)
#define FOLD (UINT64_C(1) << 32)
#define BIAS (UINT64_C(1) << 62)
#define CHUNK 256u
#define CHUNKS 256u
#define NONE UINT32_MAX

typedef struct version_s {
  uvf__au64 refs; /* first: tests look at it */
  void *value;
  uvf_snapshot_free_cb free_cb;
  uint32_t index;
  uint32_t next_free;
} version_t;

/* Under the snapshot's lock, but for `chunk` (invariant 4). */
typedef struct table_s {
  _Atomic(version_t *) chunk[CHUNKS];
  uint32_t nchunks;
  uint32_t fresh;      /* indices from here on were never used */
  uint32_t first_free; /* those given back */
  uint32_t used;
} table_t;

static uvf__au64 *word_of(uvf_snapshot_t *snapshot) { return (uvf__au64 *)&snapshot->uvf__word; }
static uint32_t index_in(uint64_t word) { return (uint32_t)(word >> COUNT_BITS); }

static version_t *version_at(table_t *table, uint32_t index) {
  return atomic_load_explicit(&table->chunk[index / CHUNK], memory_order_relaxed) + index % CHUNK;
}

/* --- indices -------------------------------------------------------------------------------------- */

static uint32_t room(const table_t *table) { return table->nchunks * CHUNK; }

/* Under the lock. NULL: the chunks that are there are full. */
static version_t *index_take(table_t *table) {
  uint32_t index = table->first_free;
  version_t *version;
  if (index != NONE) {
    version = version_at(table, index);
    table->first_free = version->next_free;
  } else if (table->fresh < room(table)) {
    index = table->fresh++;
    version = version_at(table, index);
    version->index = index;
  } else {
    return NULL;
  }
  table->used++;
  return version;
}

/* Nobody refers to it any more. Afterwards the snapshot is not touched. */
static void retire(uvf_snapshot_t *snapshot, version_t *version) {
  table_t *table = snapshot->uvf__table;
  void *value = version->value;
  uvf_snapshot_free_cb free_cb = version->free_cb;
  uvf__lock(&snapshot->uvf__lock);
  version->next_free = table->first_free;
  table->first_free = version->index;
  table->used--;
  uvf__unlock(&snapshot->uvf__lock);
  if (free_cb != NULL) free_cb(value);
}

/* One chunk more, unless somebody else has been faster. 0, UV_ENOMEM, UV_EAGAIN. No lock held. */
static int grow(uvf_snapshot_t *snapshot, uint32_t nchunks) {
  table_t *table = snapshot->uvf__table;
  version_t *chunk;
  int needed;
  if (nchunks == CHUNKS) return UV_EAGAIN;
  chunk = uvf__malloc(CHUNK * sizeof *chunk);
  if (chunk == NULL) return UV_ENOMEM;
  uvf__lock(&snapshot->uvf__lock);
  needed = table->nchunks == nchunks;
  if (needed) atomic_store_explicit(&table->chunk[table->nchunks++], chunk, memory_order_relaxed);
  uvf__unlock(&snapshot->uvf__lock);
  if (!needed) uvf__free(chunk);
  return 0;
}

/* --- readers -------------------------------------------------------------------------------------- */

/* The caller holds the version with this index. */
static UVF__COLD void fold(uvf_snapshot_t *snapshot, uint32_t index) {
  uint64_t word;
  if (!uvf__u32_claim(&snapshot->uvf__lock, 0, 1)) return; /* invariant 5 */
  word = atomic_load_explicit(word_of(snapshot), memory_order_relaxed);
  if (index_in(word) == index && (word & COUNT_MASK) >= FOLD) {
    version_t *version = version_at(snapshot->uvf__table, index);
    uint64_t count = word & COUNT_MASK;
    atomic_fetch_add_explicit(&version->refs, count, memory_order_relaxed);
    atomic_fetch_sub_explicit(word_of(snapshot), count, memory_order_relaxed);
  }
  uvf__unlock(&snapshot->uvf__lock);
}

void *uvf_snapshot_get(uvf_snapshot_t *snapshot, uvf_snapshot_ref_t *ref) {
  uint64_t word;
  version_t *version;
  UVF__RULE(snapshot != NULL && ref != NULL, "uvf_snapshot_get", "takes a snapshot and a ref");
  if (snapshot == NULL || ref == NULL) return NULL;
  word = atomic_fetch_add_explicit(word_of(snapshot), 1, memory_order_acquire);
  version = version_at(snapshot->uvf__table, index_in(word));
  ref->value = version->value;
  ref->uvf__version = version;
  if (UVF__UNLIKELY((word & COUNT_MASK) >= FOLD)) fold(snapshot, index_in(word));
  return ref->value;
}

void uvf_snapshot_put(uvf_snapshot_t *snapshot, uvf_snapshot_ref_t *ref) {
  version_t *version;
  UVF__RULE(snapshot != NULL && ref != NULL && ref->uvf__version != NULL, "uvf_snapshot_put",
            "takes a snapshot and a ref that was got and not put yet");
  if (snapshot == NULL || ref == NULL || ref->uvf__version == NULL) return;
  version = ref->uvf__version;
  ref->uvf__version = NULL;
  if (atomic_fetch_sub_explicit(&version->refs, 1, memory_order_acq_rel) == 1) retire(snapshot, version);
}

/* --- publishers ----------------------------------------------------------------------------------- */

/* Takes BIAS off, adds the gets of the word; 1 if that leaves nobody. */
static int is_unread(version_t *version, uint64_t gets) {
  return atomic_fetch_add_explicit(&version->refs, gets - BIAS, memory_order_acq_rel) == BIAS - gets;
}

static void version_fill(version_t *version, void *value, uvf_snapshot_free_cb free_cb) {
  version->value = value;
  version->free_cb = free_cb;
  atomic_store_explicit(&version->refs, BIAS, memory_order_relaxed); /* released with the word */
}

int uvf_snapshot_publish(uvf_snapshot_t *snapshot, void *value, uvf_snapshot_free_cb free_cb) {
  table_t *table;
  version_t *version;
  version_t *old;
  uint64_t word;
  if (snapshot == NULL) return UV_EINVAL;
  table = snapshot->uvf__table;
  for (;;) {
    uint32_t nchunks;
    int rc;
    uvf__lock(&snapshot->uvf__lock);
    version = index_take(table);
    if (version != NULL) break;
    nchunks = table->nchunks;
    uvf__unlock(&snapshot->uvf__lock);
    rc = grow(snapshot, nchunks);
    if (rc != 0) return rc;
  }
  version_fill(version, value, free_cb);
  word = atomic_exchange_explicit(word_of(snapshot), (uint64_t)version->index << COUNT_BITS, memory_order_acq_rel);
  old = version_at(table, index_in(word));
  uvf__unlock(&snapshot->uvf__lock);
  if (is_unread(old, word & COUNT_MASK)) retire(snapshot, old);
  return 0;
}

/* --- life ----------------------------------------------------------------------------------------- */

int uvf_snapshot_init(uvf_snapshot_t *snapshot, void *value, uvf_snapshot_free_cb free_cb) {
  table_t *table;
  version_t *chunk;
  if (snapshot == NULL) return UV_EINVAL;
  table = uvf__malloc(sizeof *table);
  if (table == NULL) return UV_ENOMEM;
  chunk = uvf__malloc(CHUNK * sizeof *chunk);
  if (chunk == NULL) {
    uvf__free(table);
    return UV_ENOMEM;
  }
  memset(table, 0, sizeof *table);
  atomic_init(&table->chunk[0], chunk);
  table->nchunks = 1;
  table->first_free = NONE;
  version_fill(index_take(table), value, free_cb); /* index 0: the word is 0 */
  snapshot->uvf__word = 0;
  snapshot->uvf__lock = 0;
  snapshot->uvf__table = table;
  return 0;
}

int uvf_snapshot_destroy(uvf_snapshot_t *snapshot) {
  table_t *table;
  version_t *version;
  uint64_t word;
  int busy;
  if (snapshot == NULL) return UV_EINVAL;
  table = snapshot->uvf__table;
  uvf__lock(&snapshot->uvf__lock);
  word = atomic_load_explicit(word_of(snapshot), memory_order_acquire);
  version = version_at(table, index_in(word));
  busy = table->used != 1 || atomic_load_explicit(&version->refs, memory_order_acquire) + (word & COUNT_MASK) != BIAS;
  uvf__unlock(&snapshot->uvf__lock);
  UVF__RULE(!busy, "uvf_snapshot_destroy", "readers are left");
  if (busy) return UV_EBUSY;
  if (version->free_cb != NULL) version->free_cb(version->value);
  for (uint32_t i = 0; i < table->nchunks; i++) uvf__free(atomic_load(&table->chunk[i]));
  uvf__free(table);
  snapshot->uvf__table = NULL;
  return 0;
}
