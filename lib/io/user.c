/* SPDX-License-Identifier: MIT
 *
 * Who uses a handle: libuv calls back with the bare handle, whose data is the caller's, so a table by address leads
 * from it to our request. One table a hub, made by the first request that needs one.
 *
 * Invariants (loop thread)
 * 1. A bucket holds its users newest first, each in the request it belongs to: adding and removing allocate nothing.
 * 2. The table grows in uvf__users_get, a start, which may fail; when it cannot grow it gets slower, no more.
 */
#include "io/io.h"

#include <string.h>

#define FIRST_BUCKETS 256u

typedef struct users_s {
  uvf__ext_t ext;
  uvf__user_t **buckets;
  size_t nbuckets; /* a power of 2 */
  size_t count;
} users_t;

static users_t *users_of(uvf__hub_t *hub) { return (users_t *)(void *)hub->exts[UVF__EXT_IO]; }

/* By kind too: a read does not walk past the writes of its stream. */
static uvf__user_t **bucket_of(const users_t *users, const uv_handle_t *handle, uint32_t kind) {
  return &users
              ->buckets[(((uintptr_t)handle >> 4) + kind) * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (users->nbuckets - 1)];
}

static void link_user(uvf__user_t **bucket, uvf__user_t *user) {
  user->next = *bucket;
  user->prev = bucket;
  if (user->next != NULL) user->next->prev = &user->next;
  *bucket = user;
}

static void unlink_user(uvf__user_t *user) {
  *user->prev = user->next;
  if (user->next != NULL) user->next->prev = user->prev;
  user->prev = NULL;
}

static void destroy(uvf__ext_t *ext) {
  users_t *users = UVF__CONTAINER(ext, users_t, ext);
  uvf__free(users->buckets);
  uvf__free(users);
}

/* Keeps the order within each handle: the oldest is moved first. */
static void move_bucket(users_t *users, uvf__user_t *newest) {
  uvf__user_t *turned = NULL;
  while (newest != NULL) {
    uvf__user_t *next = newest->next;
    newest->next = turned;
    turned = newest;
    newest = next;
  }
  while (turned != NULL) {
    uvf__user_t *next = turned->next;
    link_user(bucket_of(users, turned->handle, turned->kind), turned);
    turned = next;
  }
}

static void grow(users_t *users) {
  size_t old = users->nbuckets;
  uvf__user_t **from = users->buckets;
  uvf__user_t **to = uvf__malloc(2 * old * sizeof *to);
  if (to == NULL) return; /* invariant 2 */
  memset(to, 0, 2 * old * sizeof *to);
  users->buckets = to;
  users->nbuckets = 2 * old;
  for (size_t i = 0; i < old; i++) move_bucket(users, from[i]);
  uvf__free(from);
}

int uvf__users_get(uvf__hub_t *hub, const char *function) {
  users_t *users = users_of(hub);
  int err = uvf__hub_enter(hub, function);
  if (err != 0) return err;
  if (UVF__LIKELY(users != NULL)) {
    if (UVF__UNLIKELY(users->count > 2 * users->nbuckets)) grow(users);
    return 0;
  }
  users = uvf__malloc(sizeof *users);
  if (users == NULL) return UV_ENOMEM;
  memset(users, 0, sizeof *users);
  users->buckets = uvf__malloc(FIRST_BUCKETS * sizeof *users->buckets);
  if (users->buckets == NULL) {
    uvf__free(users);
    return UV_ENOMEM;
  }
  memset(users->buckets, 0, FIRST_BUCKETS * sizeof *users->buckets);
  users->nbuckets = FIRST_BUCKETS;
  users->ext.destroy = destroy;
  hub->exts[UVF__EXT_IO] = &users->ext;
  return 0;
}

void uvf__user_add(uvf__hub_t *hub, uvf__user_t *user, const uv_handle_t *handle, uint32_t kind, uvf_op_t *op) {
  users_t *users = users_of(hub);
  user->handle = handle;
  user->op = op;
  user->kind = kind;
  link_user(bucket_of(users, handle, kind), user);
  users->count++;
}

void uvf__user_remove(uvf__hub_t *hub, uvf__user_t *user) {
  if (user->prev == NULL) return;
  unlink_user(user);
  users_of(hub)->count--;
}

static uvf__user_t *first_of(uvf__user_t *user, const uv_handle_t *handle, uint32_t kind) {
  while (user != NULL && (user->handle != handle || user->kind != kind)) user = user->next;
  return user;
}

uvf__user_t *uvf__user_find(uvf__hub_t *hub, const uv_handle_t *handle, uint32_t kind) {
  const users_t *users;
  if (hub == NULL) hub = uvf__hub_find(handle->loop);
  users = hub != NULL ? users_of(hub) : NULL;
  return users != NULL ? first_of(*bucket_of(users, handle, kind), handle, kind) : NULL;
}

uvf__user_t *uvf__user_older(const uvf__user_t *user) { return first_of(user->next, user->handle, user->kind); }

void uvf__handle_closing(uvf__hub_t *hub, const uv_handle_t *handle) {
  uvf__user_t *reader = uvf__user_find(hub, handle, UVF__USER_READ);
  uvf__user_t *writer = uvf__user_find(hub, handle, UVF__USER_WRITE);
  for (; writer != NULL; writer = uvf__user_older(writer)) uvf__write_count(writer);
  if (reader != NULL) uvf__op_fail(reader->op, UV_ECANCELED);
}

void uvf_stream_close(uv_stream_t *stream, uv_close_cb close_cb) {
  uv_handle_t *handle = (uv_handle_t *)stream;
  uvf__hub_t *hub;
  if (stream == NULL || uv_is_closing(handle)) return;
  hub = uvf__hub_find(stream->loop);
  if (hub != NULL) {
    if (uvf__hub_enter(hub, "uvf_stream_close") != 0) return;
    uvf__handle_closing(hub, handle);
  }
  uv_close(handle, close_cb);
}
