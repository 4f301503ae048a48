/* SPDX-License-Identifier: MIT */
#include "walk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { ENTRIES = 64 }; /* of a step */

typedef int (*stat_fn)(uv_loop_t *loop, uv_fs_t *req, const char *path, uv_fs_cb cb);

static int look(const char *path, stat_fn how, uv_stat_t *stat) {
  uv_fs_t req;
  int err = how(NULL, &req, path, NULL);
  *stat = req.statbuf;
  uv_fs_req_cleanup(&req);
  return err;
}

static int is_type(const uv_stat_t *stat, unsigned int type) { return (stat->st_mode & S_IFMT) == type; }

/* --- places -------------------------------------------------------------------------------------------------- */

static void release(place_t *place) {
  while (place && --place->references == 0) {
    place_t *parent = place->parent;
    free(place);
    place = parent;
  }
}

/* A link can lead back to a directory that it was reached through. */
static int is_loop(const place_t *parent, const uv_stat_t *stat) {
  while (parent && (parent->inode != stat->st_ino || parent->device != stat->st_dev)) parent = parent->parent;
  return parent != NULL;
}

/* stat: NULL if links are not followed: then there are no loops. */
static int add_place(walk_t *walk, const char *path, const uv_stat_t *stat) {
  if (stat && is_loop(walk->here, stat)) {
    tally_trouble(walk->tally, path, UV_ELOOP);
    return 0;
  }
  size_t size = strlen(path) + 1;
  place_t *place = calloc(1, sizeof(*place) + size);
  if (!place) return UV_ENOMEM;
  memcpy(place->path, path, size);
  place->references = 1;
  place->parent = walk->here;
  if (place->parent) place->parent->references++;
  place->device = stat ? stat->st_dev : 0;
  place->inode = stat ? stat->st_ino : 0;
  place->next = walk->places;
  walk->places = place;
  return 0;
}

static void enter(walk_t *walk) {
  place_t *place = walk->places;
  uv_fs_t req;
  walk->places = place->next;
  int err = uv_fs_opendir(NULL, &req, place->path, NULL);
  walk->dir = err ? NULL : req.ptr;
  uv_fs_req_cleanup(&req);
  if (err) {
    tally_trouble(walk->tally, place->path, err);
    release(place);
  } else {
    walk->here = place;
  }
}

static void leave(walk_t *walk) {
  uv_fs_t req;
  uv_fs_closedir(NULL, &req, walk->dir, NULL);
  uv_fs_req_cleanup(&req);
  release(walk->here);
  walk->dir = NULL;
  walk->here = NULL;
}

/* --- entries ------------------------------------------------------------------------------------------------- */

/* What a link leads to; NULL in `stat` if it is not to be followed. */
static uv_dirent_type_t through_link(walk_t *walk, const char *path, uv_stat_t *stat) {
  int err = look(path, uv_fs_stat, stat);
  /* One that leads to itself is an error even where links are passed over. */
  if (err && (walk->follow || err == UV_ELOOP)) tally_trouble(walk->tally, path, err);
  if (err || !walk->follow) return UV_DIRENT_UNKNOWN;
  return is_type(stat, S_IFDIR) ? UV_DIRENT_DIR : is_type(stat, S_IFREG) ? UV_DIRENT_FILE : UV_DIRENT_UNKNOWN;
}

/* Some file systems do not say in the directory what an entry is. */
static uv_dirent_type_t ask_type(walk_t *walk, const char *path) {
  uv_stat_t stat;
  int err = look(path, uv_fs_lstat, &stat);
  if (err) tally_trouble(walk->tally, path, err);
  if (err) return UV_DIRENT_BLOCK;
  if (is_type(&stat, S_IFDIR)) return UV_DIRENT_DIR;
  if (is_type(&stat, S_IFLNK)) return UV_DIRENT_LINK;
  return is_type(&stat, S_IFREG) ? UV_DIRENT_FILE : UV_DIRENT_BLOCK;
}

static int add_file(walk_t *walk, file_t *file, found_fn found, void *arg) {
  atomic_fetch_add(&walk->tally->found, 1); /* before anybody can be through with it */
  int err = found(arg, file);
  if (!err) return 0;
  atomic_fetch_sub(&walk->tally->found, 1);
  free(file);
  return err;
}

static int add_entry(walk_t *walk, const uv_dirent_t *entry, found_fn found, void *arg) {
  uv_dirent_type_t type = entry->type;
  uv_stat_t stat;
  if (type != UV_DIRENT_FILE && type != UV_DIRENT_DIR && type != UV_DIRENT_LINK && type != UV_DIRENT_UNKNOWN) return 0;
  file_t *file = file_new(walk->here->path, entry->name);
  if (!file) return UV_ENOMEM;
  if (type == UV_DIRENT_UNKNOWN) type = ask_type(walk, file->path);
  file->is_linked = type == UV_DIRENT_LINK;
  if (file->is_linked) type = through_link(walk, file->path, &stat);
  if (type == UV_DIRENT_FILE) return add_file(walk, file, found, arg);
  int err = 0;
  if (type == UV_DIRENT_DIR) {
    if (walk->follow && !file->is_linked) err = look(file->path, uv_fs_stat, &stat);
    if (err) tally_trouble(walk->tally, file->path, err);
    err = err ? 0 : add_place(walk, file->path, walk->follow ? &stat : NULL);
  }
  free(file);
  return err;
}

static int read_entries(walk_t *walk, found_fn found, void *arg) {
  uv_dirent_t entries[ENTRIES];
  uv_fs_t req;
  int err = 0;
  walk->dir->dirents = entries;
  walk->dir->nentries = ENTRIES;
  int n = uv_fs_readdir(NULL, &req, walk->dir, NULL);
  if (n < 0) tally_trouble(walk->tally, walk->here->path, n);
  for (int i = 0; i < n && !err; i++) err = add_entry(walk, &entries[i], found, arg);
  uv_fs_req_cleanup(&req);
  if (n <= 0) leave(walk);
  return err;
}

/* --- the walk ------------------------------------------------------------------------------------------------ */

/* A path of the command line: links are followed, and a file may be named. */
static int begin_path(walk_t *walk, const char *path, found_fn found, void *arg) {
  uv_stat_t stat;
  int err = look(path, uv_fs_stat, &stat);
  if (!err && is_type(&stat, S_IFDIR)) return add_place(walk, path, walk->follow ? &stat : NULL);
  if (!err && !is_type(&stat, S_IFREG)) err = UV_EFTYPE;
  if (err) {
    tally_trouble(walk->tally, path, err);
    return 0;
  }
  file_t *file = file_new(path, NULL);
  if (!file) return UV_ENOMEM;
  file->is_linked = 1;
  return add_file(walk, file, found, arg);
}

void walk_open(walk_t *walk, char **paths, int npaths, int follow, tally_t *tally) {
  memset(walk, 0, sizeof(*walk));
  walk->paths = paths;
  walk->npaths = npaths;
  walk->follow = follow;
  walk->tally = tally;
}

int walk_step(walk_t *walk, found_fn found, void *arg) {
  if (walk->dir) return read_entries(walk, found, arg);
  if (walk->places) {
    enter(walk);
    return 0;
  }
  if (walk->npaths) {
    walk->npaths--;
    return begin_path(walk, *walk->paths++, found, arg);
  }
  atomic_store(&walk->tally->walked, 1);
  return UV_EOF;
}

void walk_close(walk_t *walk) {
  if (walk->dir) leave(walk);
  while (walk->places) {
    place_t *place = walk->places;
    walk->places = place->next;
    release(place);
  }
}
