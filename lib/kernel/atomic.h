/* SPDX-License-Identifier: MIT
 *
 * Atomics on plain fields. Public request structs must compile as C++, so they hold plain integers; inside the
 * library the same field is only ever accessed through these. Also the identity of a thread, and branch hints.
 */
#ifndef UVF_KERNEL_ATOMIC_H
#define UVF_KERNEL_ATOMIC_H

#include <stdatomic.h>
#include <stdint.h>

#if defined(__GNUC__) || defined(__clang__)
#define UVF__LIKELY(x) (__builtin_expect(!!(x), 1) != 0)
#define UVF__UNLIKELY(x) (__builtin_expect(!!(x), 0) != 0)
#define UVF__PREFETCH(p) __builtin_prefetch(p)
#define UVF__COLD __attribute__((cold, noinline))
#else
#define UVF__LIKELY(x) (x)
#define UVF__UNLIKELY(x) (x)
#define UVF__PREFETCH(p) ((void)(p))
#define UVF__COLD
#endif

/* Asks for a line that is about to be written, which another processor may have; of an address as a number, which may
 * be beyond what it is computed from. (Compilers for any x86 make a prefetch for reading of the builtin; the
 * instruction itself does nothing where it is not known.) */
#if (defined(__GNUC__) || defined(__clang__)) && defined(__x86_64__)
#define UVF__PREFETCH_WRITE(address) __asm__ __volatile__("prefetchw (%0)" ::"r"(address))
#elif defined(__GNUC__) || defined(__clang__)
#define UVF__PREFETCH_WRITE(address) __builtin_prefetch((const void *)(address), 1)
#else
#define UVF__PREFETCH_WRITE(address) ((void)(address))
#endif

#if (defined(__GNUC__) || defined(__clang__)) && (defined(__x86_64__) || defined(__i386__))
#define UVF__PAUSE() __builtin_ia32_pause()
#elif (defined(__GNUC__) || defined(__clang__)) && defined(__aarch64__)
#define UVF__PAUSE() __asm__ __volatile__("yield")
#else
#define UVF__PAUSE() ((void)0)
#endif

_Static_assert(sizeof(_Atomic(uint32_t)) == sizeof(uint32_t), "an atomic u32 has the layout of a plain one");
_Static_assert(sizeof(_Atomic(uint64_t)) == sizeof(uint64_t), "an atomic u64 has the layout of a plain one");

typedef _Atomic(uint32_t) uvf__au32;
typedef _Atomic(uint64_t) uvf__au64;

/* Pauses about ns nanoseconds, without a system call. One UVF__PAUSE takes from 1 to 50 ns, as the processor is made:
 * it is measured once (uvf__spin_calibrate; some microseconds; any thread, before the first use or not at all). */
extern uint32_t uvf__spins_us; /* of one microsecond */
void uvf__spin_calibrate(void);
static inline void uvf__spin(uint32_t ns) {
  uint32_t n = (ns * atomic_load_explicit((uvf__au32 *)&uvf__spins_us, memory_order_relaxed) >> 10) + 1;
  while (n-- > 0) UVF__PAUSE();
}

/* Lets other threads of this processor run, if there are any: for who waits for one that may be among them. */
void uvf__yield(void);

static inline uint32_t uvf__u32_load(const uint32_t *p) {
  return atomic_load_explicit((const uvf__au32 *)p, memory_order_acquire);
}

static inline void uvf__u32_store(uint32_t *p, uint32_t v) {
  atomic_store_explicit((uvf__au32 *)p, v, memory_order_release);
}

/* 1 if *p was `from` and is now `to`. */
static inline int uvf__u32_claim(uint32_t *p, uint32_t from, uint32_t to) {
  return atomic_compare_exchange_strong_explicit((uvf__au32 *)p, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* Of what every call or callback reads of its thread: where it lies is known when the library is loaded. */
#if (defined(__GNUC__) || defined(__clang__)) && !defined(_WIN32) && !defined(__APPLE__)
#define UVF__TLS_QUICK __attribute__((tls_model("initial-exec")))
#else
#define UVF__TLS_QUICK
#endif

/* A thread is known by a number of its own, which no later thread gets again (an address of a thread-local would be: a
 * new thread often has the stack of one that is gone). */
extern _Thread_local uintptr_t uvf__thread_number UVF__TLS_QUICK;
uintptr_t uvf__thread_new(void);

static inline uintptr_t uvf__thread(void) {
  return UVF__LIKELY(uvf__thread_number != 0) ? uvf__thread_number : uvf__thread_new();
}

#endif
