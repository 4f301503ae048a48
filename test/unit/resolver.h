/* SPDX-License-Identifier: MIT
 *
 * The system's resolver with a gate before it and a count of the lists it has given, where names can be put before the
 * C library's (glibc); elsewhere the gate is missing, and nothing is counted: the tests that need it are left out.
 */
#ifndef UVFLOW_TEST_RESOLVER_H
#define UVFLOW_TEST_RESOLVER_H

#include "unit/io_probe.h"

#if defined(__GLIBC__)
#if __GLIBC_PREREQ(2, 34) /* dlsym is part of the C library */
#define RESOLVER_GATE 1
#endif
#endif

#ifdef RESOLVER_GATE

#include <dlfcn.h>
#include <netdb.h>

static atomic_int resolver_closed; /* the gate */
static atomic_int resolver_calls, resolver_lists;
static gate_t resolver_entered, resolver_go;

static inline void *resolver_next(const char *name) { return dlsym((void *)-1L, name); } /* RTLD_NEXT */

/* Visible, so that libuv's calls come here. */
UVF_EXTERN int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                           struct addrinfo **list) {
  union {
    void *p;
    int (*fn)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
  } real = {resolver_next("getaddrinfo")};
  int status;
  atomic_fetch_add(&resolver_calls, 1);
  if (atomic_load(&resolver_closed)) {
    gate_open(&resolver_entered, 1);
    gate_pass(&resolver_go);
  }
  status = real.fn(node, service, hints, list);
  if (status == 0) atomic_fetch_add(&resolver_lists, 1);
  return status;
}

UVF_EXTERN void freeaddrinfo(struct addrinfo *list) {
  union {
    void *p;
    void (*fn)(struct addrinfo *);
  } real = {resolver_next("freeaddrinfo")};
  atomic_fetch_sub(&resolver_lists, 1);
  real.fn(list);
}

static inline void resolver_open(void) {
  gate_init(&resolver_entered);
  gate_init(&resolver_go);
}

static inline void resolver_close(void) {
  gate_destroy(&resolver_entered);
  gate_destroy(&resolver_go);
}

/* What is resolved from here on hangs, until it is let go. */
static inline void resolver_hang(void) { atomic_store(&resolver_closed, 1); }
static inline void resolver_hangs(void) { assert_true(gate_passed(&resolver_entered)); }
static inline void resolver_let_go(unsigned int n) {
  atomic_store(&resolver_closed, 0);
  gate_open(&resolver_go, n);
}

static inline int resolver_called(void) { return atomic_load(&resolver_calls); }
static inline int resolver_left(void) { return atomic_load(&resolver_lists); }

#else

static inline void resolver_open(void) {}
static inline void resolver_close(void) {}
static inline int resolver_called(void) { return 0; }
static inline int resolver_left(void) { return 0; }

#endif

#endif
