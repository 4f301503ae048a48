/* SPDX-License-Identifier: MIT
 *
 * io.h: folders: opened, read in pieces, closed; whose the names are and when they are freed; no memory anywhere.
 */
#include "unit/test_fs.h"

#define NAMES 7

static const char *const NAME[NAMES] = {"a", "bb", "ccc", "dddd", "eeeee", "ffffff", "a name with spaces"};

static void make_names(void) {
  for (int i = 0; i < NAMES; i++) file_make(NAME[i], "");
}

static uv_dir_t *opened(uvf_ctx_t *ctx, int release) {
  call_t *call = call_new(release);
  begin(call, uvf_fs_opendir, ctx, kit.folder);
  call_wait(call);
  assert_int_equal(call->status, 0);
  assert_int_equal(call->result, 0);
  assert_non_null(call->dir);
  return call->dir;
}

static void closed(uvf_ctx_t *ctx, uv_dir_t *dir, int release) {
  size_t fds = test_fd_count();
  call_t *call = call_new(release);
  begin(call, uvf_fs_closedir, ctx, dir);
  call_wait(call);
  assert_int_equal(call->status, 0);
  assert_int_equal(call->result, 0);
  assert_int_equal(test_fd_count(), fds - 1);
}

/* A readdir whose request is kept, because of the names. */
static call_t *names_of(uvf_ctx_t *ctx, uv_dir_t *dir, uv_dirent_t *entries, size_t n, int release) {
  call_t *call = call_new(release);
  call->keep = 1;
  begin(call, uvf_fs_readdir, ctx, dir, entries, n);
  call_wait(call);
  assert_int_equal(call->status, 0);
  return call;
}

/* --- reading --- */

static void tick_off(int seen[NAMES], const uv_dirent_t *entry) {
  int i = 0;
  while (i < NAMES && strcmp(NAME[i], entry->name) != 0) i++;
  assert_true(i < NAMES);
  assert_true(entry->type == UV_DIRENT_FILE || entry->type == UV_DIRENT_UNKNOWN);
  seen[i]++;
}

static void a_folder_is_read_in_pieces_of_any_size_to_its_end(void **state) {
  fixture_t *f = *state;
  make_names();
  for (size_t piece = 1; piece <= NAMES + 1; piece++) {
    int seen[NAMES] = {0}, release = piece % 2 == 0;
    uv_dirent_t entries[NAMES + 1];
    uv_dir_t *dir = opened(f->root, release);
    call_t *call;
    kit.ncalls = 0; /* what is over and freed needs no place any more */
    do {
      call = names_of(f->root, dir, entries, piece, release);
      assert_true(call->result >= 0 && call->result <= (int64_t)piece);
      for (int64_t i = 0; i < call->result; i++) tick_off(seen, &entries[i]);
      uvf_fs_cleanup(call->req);
      free(call->req);
      call->req = NULL;
    } while (call->result > 0);
    for (int i = 0; i < NAMES; i++) assert_int_equal(seen[i], 1);
    closed(f->root, dir, release);
  }
}

static void an_empty_folder_has_no_entries_and_needs_no_cleanup(void **state) {
  fixture_t *f = *state;
  uv_dirent_t entry;
  uv_dir_t *dir = opened(f->root, 0);
  for (int i = 0; i < 2; i++) assert_int_equal(names_of(f->root, dir, &entry, 1, i)->result, 0);
  closed(f->root, dir, 0);
}

static void what_is_no_folder_cannot_be_opened(void **state) {
  fixture_t *f = *state;
  file_make("file", "");
  for (int release = 0; release < 2; release++) {
    call_t *none = call_new(release), *file = call_new(release);
    begin(none, uvf_fs_opendir, f->root, path_of("none"));
    begin(file, uvf_fs_opendir, f->root, path_of("file"));
    call_wait(none);
    call_wait(file);
    assert_int_equal(none->status, UV_ENOENT);
    assert_int_equal(none->result, UV_ENOENT);
    assert_null(none->dir);
    assert_int_equal(file->status, UV_ENOTDIR);
    assert_int_equal(file->result, UV_ENOTDIR);
    assert_null(file->dir);
  }
}

static void bad_arguments_are_refused_and_nothing_happens(void **state) {
  fixture_t *f = *state;
  uvf_ctx_t *ctx = f->root;
  uvf_fs_t req;
  uv_dirent_t entry;
  uv_dir_t dir;
  memset(&req, 0xff, sizeof req);
  memset(&dir, 0xff, sizeof dir);
  assert_int_equal(uvf_fs_opendir(NULL, &req, "x", NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_opendir(ctx, NULL, "x", NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_opendir(ctx, &req, NULL, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_readdir(NULL, &req, &dir, &entry, 1, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_readdir(ctx, NULL, &dir, &entry, 1, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_readdir(ctx, &req, NULL, &entry, 1, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_readdir(ctx, &req, &dir, NULL, 1, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_readdir(ctx, &req, &dir, &entry, 0, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_closedir(NULL, &req, &dir, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_closedir(ctx, NULL, &dir, NULL, NULL), UV_EINVAL);
  assert_int_equal(uvf_fs_closedir(ctx, &req, NULL, NULL, NULL), UV_EINVAL);
  assert_int_equal(counts_of(ctx).ops, 0);
  for (size_t i = 0; i < sizeof req; i++) assert_int_equal(((unsigned char *)&req)[i], 0xff);
  for (size_t i = 0; i < sizeof dir; i++) assert_int_equal(((unsigned char *)&dir)[i], 0xff);
}

/* --- whose the names are --- */

static void the_names_are_freed_by_the_cleanup_once(void **state) {
  fixture_t *f = *state;
  make_names();
  for (int release = 0; release < 2; release++) {
    uv_dirent_t entries[NAMES];
    uv_dir_t *dir = opened(f->root, release);
    long before = atomic_load(&mem_live);
    call_t *call = names_of(f->root, dir, entries, NAMES, release);
    assert_int_equal(atomic_load(&mem_live), before + NAMES);
    uvf_fs_cleanup(call->req);
    assert_int_equal(atomic_load(&mem_live), before);
    memset(entries, 0xff, sizeof entries); /* not looked at any more */
    uvf_fs_cleanup(call->req);
    assert_int_equal(atomic_load(&mem_live), before);
    closed(f->root, dir, release);
    uvf_fs_cleanup(call->req);
  }
}

static void each_readdir_frees_its_own_names_in_any_order_also_after_the_closedir(void **state) {
  fixture_t *f = *state;
  make_names();
  for (int order = 0; order < 6; order++) {
    static const int ORDER[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    uv_dirent_t entries[3][2];
    call_t *calls[3];
    uv_dir_t *dir = opened(f->root, 0);
    kit.ncalls = 0;
    for (int i = 0; i < 3; i++) calls[i] = names_of(f->root, dir, entries[i], 2, i % 2);
    closed(f->root, dir, 0);
    for (int i = 0; i < 3; i++) {
      int n = ORDER[order][i];
      long before = atomic_load(&mem_live);
      size_t length = strlen(entries[n][0].name) + strlen(entries[n][1].name); /* still there to be read */
      assert_true(length > 0);
      uvf_fs_cleanup(calls[n]->req);
      assert_int_equal(atomic_load(&mem_live), before - 2);
    }
    for (int i = 0; i < 3; i++) free(calls[i]->req);
    for (int i = 0; i < 3; i++) calls[i]->req = NULL;
  }
}

/* Told it was cancelled: nothing of it is the caller's. */
static void the_names_of_a_readdir_that_was_given_up_are_not_the_callers(void **state) {
  fixture_t *f = *state;
  make_names();
  for (int release = 0; release < 2; release++) {
    uv_dirent_t entries[NAMES];
    uv_dir_t *dir = opened(f->root, 0);
    long before = atomic_load(&mem_live);
    call_t *call = call_new(release);
    park_t *parks[POOL_SIZE];
    call->keep = 1;
    parks[0] = park_start();
    begin(call, uvf_fs_readdir, f->root, dir, entries, NAMES);
    parks[1] = park_start(); /* behind it: the readdir is through */
    assert_int_equal(call_cancel(call), 0);
    call_wait(call);
    assert_int_equal(call->status, UV_ECANCELED);
    assert_int_equal(call->result, NAMES);
    assert_int_equal(atomic_load(&mem_live), before);
    uvf_fs_cleanup(call->req); /* nothing */
    assert_int_equal(atomic_load(&mem_live), before);
    for (int i = 0; i < POOL_SIZE; i++) park_end(parks[i]);
    closed(f->root, dir, 0);
  }
}

static void cleanup_does_nothing_to_any_other_request(void **state) {
  fixture_t *f = *state;
  call_t *stat = call_new(0), *none = call_new(1), *open = call_new(0);
  uvf_fs_t zeroed;
  long before;
  memset(&zeroed, 0, sizeof zeroed);
  stat->keep = none->keep = open->keep = 1;
  begin(stat, uvf_fs_stat, f->root, kit.folder);
  begin(none, uvf_fs_opendir, f->root, path_of("none"));
  begin(open, uvf_fs_opendir, f->root, kit.folder);
  call_wait(stat);
  call_wait(none);
  call_wait(open);
  before = atomic_load(&mem_live);
  uvf_fs_cleanup(NULL);
  uvf_fs_cleanup(&zeroed);
  uvf_fs_cleanup(stat->req);
  uvf_fs_cleanup(none->req);
  uvf_fs_cleanup(open->req);
  assert_int_equal(atomic_load(&mem_live), before);
  closed(f->root, open->dir, 0);
}

/* --- a whole walk in callbacks, as a program has it --- */

typedef struct walk_s {
  uvf_fs_t req; /* one for all: it is over when its callback is entered */
  uv_dir_t *dir;
  uv_dirent_t entries[3];
  int seen[NAMES];
  int status, over;
} walk_t;

static void on_walk_closed(uvf_fs_t *req, int status) {
  walk_t *walk = req->data;
  if (walk->status == 0) walk->status = status;
  walk->over = 1;
}

static void on_walk_read(uvf_fs_t *req, int status) {
  walk_t *walk = req->data;
  if (status == 0 && req->result > 0) {
    for (int64_t i = 0; i < req->result; i++) tick_off(walk->seen, &walk->entries[i]);
    uvf_fs_cleanup(req);
    status = uvf_fs_readdir(req->ctx, req, walk->dir, walk->entries, 3, on_walk_read, NULL);
    if (status == 0) return;
  }
  walk->status = status;
  kit_expect(uvf_fs_closedir(req->ctx, req, walk->dir, on_walk_closed, NULL) == 0, "closedir failed");
}

static void on_walk_open(uvf_fs_t *req, int status) {
  walk_t *walk = req->data;
  walk->dir = req->dir;
  walk->status = status;
  walk->over = status != 0;
  if (status == 0) (void)uvf_fs_readdir(req->ctx, req, req->dir, walk->entries, 3, on_walk_read, NULL);
}

static void one_request_walks_through_a_folder(void **state) {
  fixture_t *f = *state;
  walk_t walk;
  make_names();
  memset(&walk, 0, sizeof walk);
  walk.req.data = &walk;
  assert_int_equal(uvf_fs_opendir(f->root, &walk.req, kit.folder, on_walk_open, NULL), 0);
  run_until(&f->loop, &walk.over, 1);
  assert_int_equal(walk.status, 0);
  for (int i = 0; i < NAMES; i++) assert_int_equal(walk.seen[i], 1);
}

/* Wherever the end comes in the walk, the folder is closed and nothing leaks. */
static void a_walk_that_is_ended_anywhere_closes_its_folder(void **state) {
  fixture_t *f = *state;
  make_names();
  for (int turns = 0; turns < 24; turns++) {
    uvf_ctx_t *ctx = timeout_of(f->root, HOUR_MS);
    walk_t walk;
    memset(&walk, 0, sizeof walk);
    walk.req.data = &walk;
    assert_int_equal(uvf_fs_opendir(ctx, &walk.req, kit.folder, on_walk_open, NULL), 0);
    for (int i = 0; i < turns && !walk.over; i++) uv_run(&f->loop, UV_RUN_ONCE);
    if (turns % 2 == 0) uvf_ctx_cancel(ctx);
    if (turns % 2 == 1) an_hour_passes(ctx);
    run_until(&f->loop, &walk.over, 1);
    assert_true(walk.status == 0 || walk.status == uvf_ctx_err(ctx));
    uvf_ctx_release(ctx);
  }
}

/* --- no memory --- */

static void without_memory_of_libuvs_a_folder_is_not_opened(void **state) {
  fixture_t *f = *state;
  int failures = 0, over = 0;
  for (long n = 1; !over; n++) {
    call_t *call = call_new(n % 2 == 0);
    int err;
    atomic_store(&mem_fail_in, n);
    err = call_start(call, uvf_fs_opendir, f->root, kit.folder); /* its path, and later, on the pool, the uv_dir_t */
    if (err == 0) call_wait(call);
    over = atomic_exchange(&mem_fail_in, 0) != 0;
    if (err == 0 && call->status == 0) closed(f->root, call->dir, 0);
    assert_int_equal(err == 0 ? call->status : err, over ? 0 : UV_ENOMEM);
    failures += !over;
  }
  assert_int_equal(failures, 2);
}

static void without_memory_for_the_names_none_are_given_and_none_leak(void **state) {
  fixture_t *f = *state;
  make_names();
  for (long n = 1; n <= NAMES + 1; n++) {
    uv_dirent_t entries[NAMES];
    uv_dir_t *dir = opened(f->root, 0);
    long before = atomic_load(&mem_live);
    call_t *call = call_new(n % 2 == 0);
    call->keep = 1;
    atomic_store(&mem_fail_in, n);
    begin(call, uvf_fs_readdir, f->root, dir, entries, NAMES);
    call_wait(call);
    assert_int_equal(atomic_exchange(&mem_fail_in, 0) == 0, n <= NAMES);
    if (n <= NAMES) assert_true(call->status < 0);
    if (n > NAMES) assert_int_equal(call->result, NAMES);
    uvf_fs_cleanup(call->req);
    assert_int_equal(atomic_load(&mem_live), before);
    closed(f->root, dir, 0);
  }
}

int main(void) {
  const struct CMUnitTest tests[] = {
      fs_test(a_folder_is_read_in_pieces_of_any_size_to_its_end),
      fs_test(an_empty_folder_has_no_entries_and_needs_no_cleanup),
      fs_test(what_is_no_folder_cannot_be_opened),
      fs_test(bad_arguments_are_refused_and_nothing_happens),
      fs_test(the_names_are_freed_by_the_cleanup_once),
      fs_test(each_readdir_frees_its_own_names_in_any_order_also_after_the_closedir),
      fs_test(the_names_of_a_readdir_that_was_given_up_are_not_the_callers),
      fs_test(cleanup_does_nothing_to_any_other_request),
      fs_test(one_request_walks_through_a_folder),
      fs_test(a_walk_that_is_ended_anywhere_closes_its_folder),
      fs_test(without_memory_of_libuvs_a_folder_is_not_opened),
      fs_test(without_memory_for_the_names_none_are_given_and_none_leak),
  };
  mem_install();
  return test_run(tests);
}
