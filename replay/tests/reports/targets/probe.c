/* Stands in front of malloc and writes the stack of every allocation that is made while
 * probe_tag is set to the file PROBE_OUT: "TAG SIZE PATH OFFSET PATH OFFSET …", the most recent
 * frame first, as return addresses relative to where each module was loaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <execinfo.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

const char *volatile probe_tag;
static int out = -1;
static char line[65536];

void probe_start(const char *tag) {
  if (out < 0) {
    void *frames[4];
    backtrace(frames, 4); /* loads the unwinder, which allocates */
    out = open(getenv("PROBE_OUT"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  probe_tag = tag;
}

void probe_stop(void) { probe_tag = NULL; }

static inline __attribute__((always_inline)) void capture(size_t size) {
  const char *tag = probe_tag;
  if (tag == NULL) return;
  probe_tag = NULL;
  void *frames[128];
  int count = backtrace(frames, 128);
  int length = snprintf(line, sizeof line, "%s %zu", tag, size);
  for (int i = 1; i < count; i++) { /* frame 0 is the entry point itself */
    Dl_info info;
    if (dladdr(frames[i], &info) == 0) continue;
    char path[4096];
    if (realpath(info.dli_fname, path) == NULL) strcpy(path, info.dli_fname);
    length += snprintf(line + length, sizeof line - length, " %s %tx", path,
                       (char *)frames[i] - (char *)info.dli_fbase);
  }
  line[length++] = '\n';
  if (write(out, line, length) != length) _exit(99);
  probe_tag = tag;
}

void *malloc(size_t size) {
  capture(size);
  return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
  capture(count * size);
  return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
  capture(size);
  return __libc_realloc(block, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
  capture(size);
  *block = __libc_memalign(alignment, size);
  return *block == NULL;
}
