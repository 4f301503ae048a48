/* SPDX-License-Identifier: MIT
 *
 * What a client is told of how its request ended. The table in codec.h, row by row.
 */
#include "uvflow/codec.h"

/* The request was not begun or given up for want of something that will be there again. */
static int is_unavailable(int code) {
  switch (code) {
    case UV_ESHUTDOWN:
    case UV_EAGAIN:
    case UV_EBUSY:
    case UV_ENOMEM:
    case UV_ENOBUFS:
    case UV_EMFILE:
    case UV_ENFILE: return 1;
    default: return 0;
  }
}

/* Somebody behind us could not be reached, or broke off. */
static int is_backend(int code) {
  switch (code) {
    case UV_ECONNREFUSED:
    case UV_ECONNRESET:
    case UV_ECONNABORTED:
    case UV_EPIPE:
    case UV_EOF:
    case UV_EPROTO:
    case UV_ENOTCONN:
    case UV_EHOSTUNREACH:
    case UV_EHOSTDOWN:
    case UV_ENETUNREACH:
    case UV_ENETDOWN:
    case UV_EAI_ADDRFAMILY:
    case UV_EAI_AGAIN:
    case UV_EAI_BADFLAGS:
    case UV_EAI_BADHINTS:
    case UV_EAI_CANCELED:
    case UV_EAI_FAIL:
    case UV_EAI_FAMILY:
    case UV_EAI_MEMORY:
    case UV_EAI_NODATA:
    case UV_EAI_NONAME:
    case UV_EAI_OVERFLOW:
    case UV_EAI_PROTOCOL:
    case UV_EAI_SERVICE:
    case UV_EAI_SOCKTYPE: return 1;
    default: return 0;
  }
}

int uvf_http_status(int err, int cause) {
  if (err == 0) return 200;
  if (err != UV_ECANCELED && err != UV_ETIMEDOUT) {
    cause = err;
    err = UV_ECANCELED;
  }
  if (cause >= 400 && cause <= 599) return cause;
  if (is_unavailable(cause)) return 503;
  if (err == UV_ETIMEDOUT || cause == UV_ETIMEDOUT) return 504;
  if (cause == UV_ECANCELED) return 499;
  return is_backend(cause) ? 502 : 500;
}
