/*
 * Records what a process writes to data.mdb, and when it syncs, into the file CUT_TRACE: a byte for the operation, offset u64,
 * length u32, the bytes. w: written; d: written through (O_DSYNC); s: all written so far is synced; t: cut to a length;
 * a: written to a file "acks", which tells what was acknowledged. Loaded by LD_PRELOAD.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

enum { fds_max = 4096 };
static char kinds[fds_max];
static int trace = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static void out(const void *bytes, size_t size) {
  static ssize_t (*real)(int, const void *, size_t);
  if (!real) real = REAL(write);
  const char *at = bytes;
  while (size > 0) {
    ssize_t n = real(trace, at, size);
    if (n <= 0) abort();
    at += n;
    size -= n;
  }
}

static void note(char kind, uint64_t offset, const struct iovec *parts, int count) {
  if (trace < 0) {
    const char *name = getenv("CUT_TRACE");
    if (!name) return;
    trace = REAL(open)(name, O_WRONLY | O_CREAT | O_APPEND, 0600);
  }
  uint32_t size = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  out(&kind, 1);
  out(&offset, 8);
  out(&size, 4);
  for (int i = 0; i < count; i++) out(parts[i].iov_base, parts[i].iov_len);
}

static int opened(const char *path, int flags, int fd) {
  size_t size = strlen(path);
  if (fd < 0 || fd >= fds_max) return fd;
  kinds[fd] = 0;
  if (size >= 8 && !strcmp(path + size - 8, "data.mdb")) kinds[fd] = flags & O_DSYNC ? 'd' : 'w';
  if (size >= 5 && !strcmp(path + size - 5, "/acks")) kinds[fd] = 'a';
  return fd;
}

#define OPEN(name)                                   \
  int name(const char *path, int flags, ...) {       \
    va_list rest;                                    \
    va_start(rest, flags);                           \
    int mode = va_arg(rest, int);                    \
    va_end(rest);                                    \
    return opened(path, flags, REAL(name)(path, flags, mode)); \
  }
OPEN(open)
OPEN(open64)

int close(int fd) {
  if (fd >= 0 && fd < fds_max) kinds[fd] = 0;
  return REAL(close)(fd);
}

static char kind_of(int fd) { return fd >= 0 && fd < fds_max ? kinds[fd] : 0; }

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
  if (!kind_of(fd)) return REAL(pwritev)(fd, parts, count, offset);
  pthread_mutex_lock(&lock);
  ssize_t n = REAL(pwritev)(fd, parts, count, offset);
  if (n >= 0) note(kinds[fd], offset, parts, count);
  pthread_mutex_unlock(&lock);
  return n;
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return pwritev(fd, parts, count, offset); }

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset) {
  if (!kind_of(fd)) return REAL(pwrite)(fd, bytes, size, offset);
  struct iovec part = {(void *)bytes, size};
  pthread_mutex_lock(&lock);
  ssize_t n = REAL(pwrite)(fd, bytes, size, offset);
  if (n >= 0) note(kinds[fd], offset, &part, 1);
  pthread_mutex_unlock(&lock);
  return n;
}
ssize_t pwrite64(int fd, const void *bytes, size_t size, off_t offset) { return pwrite(fd, bytes, size, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
  if (!kind_of(fd)) return REAL(writev)(fd, parts, count);
  pthread_mutex_lock(&lock);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  ssize_t n = REAL(writev)(fd, parts, count);
  if (n >= 0) note(kinds[fd], offset, parts, count);
  pthread_mutex_unlock(&lock);
  return n;
}

ssize_t write(int fd, const void *bytes, size_t size) {
  if (!kind_of(fd)) return REAL(write)(fd, bytes, size);
  struct iovec part = {(void *)bytes, size};
  pthread_mutex_lock(&lock);
  off_t offset = lseek(fd, 0, SEEK_CUR);
  ssize_t n = REAL(write)(fd, bytes, size);
  if (n >= 0) note(kinds[fd], offset, &part, 1);
  pthread_mutex_unlock(&lock);
  return n;
}

static int synced(int fd, int result) {
  if (result == 0 && kind_of(fd) && kinds[fd] != 'a') {
    pthread_mutex_lock(&lock);
    note('s', 0, NULL, 0);
    pthread_mutex_unlock(&lock);
  }
  return result;
}
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)(fd)); }
int fsync(int fd) { return synced(fd, REAL(fsync)(fd)); }

int ftruncate(int fd, off_t size) {
  int result = REAL(ftruncate)(fd, size);
  if (result == 0 && kind_of(fd)) note('t', size, NULL, 0);
  return result;
}
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
