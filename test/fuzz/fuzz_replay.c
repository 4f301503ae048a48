/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target over the files of the folders given: a corpus as a test, with any compiler. Every file is also
 * handed in cut short at each of its first bytes, in memory of just that size, so that a sanitizer or valgrind sees
 * the first byte that is read too far.
 */
#include <uv.h>

#include "fuzz.h"

#define CUTS 256

static void run_cut(const uint8_t *data, size_t size) {
  uint8_t *copy = malloc(size != 0 ? size : 1);
  MUST(copy != NULL);
  if (size != 0) memcpy(copy, data, size);
  LLVMFuzzerTestOneInput(copy, size);
  free(copy);
}

/* Returns 1 if it could be read. */
static int run_file(const char *path) {
  static uint8_t data[1 << 16];
  FILE *in = fopen(path, "rb");
  size_t size;
  if (in == NULL) return 0;
  size = fread(data, 1, sizeof(data), in);
  fclose(in);
  for (size_t n = 0; n < size && n < CUTS; n++) run_cut(data, n);
  run_cut(data, size);
  return 1;
}

static int run_folder(const char *folder) {
  uv_fs_t list;
  uv_dirent_t entry;
  int files = 0;
  if (uv_fs_scandir(NULL, &list, folder, 0, NULL) < 0) {
    fprintf(stderr, "%s: no such folder: give those of a corpus, as test/fuzz/corpus/timeout\n", folder);
    exit(2);
  }
  while (uv_fs_scandir_next(&list, &entry) == 0) {
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s", folder, entry.name);
    if (!run_file(path)) {
      fprintf(stderr, "%s: cannot be read\n", path);
      exit(2);
    }
    files++;
  }
  uv_fs_req_cleanup(&list);
  return files;
}

int main(int argc, char **argv) {
  int files = 0;
  for (int i = 1; i < argc; i++) files += run_folder(argv[i]);
  printf("%d files replayed\n", files);
  /* A corpus that is not found must not pass for one that holds. */
  return files > 0 ? 0 : 2;
}
