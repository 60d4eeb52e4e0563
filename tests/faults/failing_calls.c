// A file system that fails, for a program that is started with this library in LD_PRELOAD: counts the
// calls that change files under a folder and lets the n-th fail, or all from the n-th on.
//
//   FAULT_UNDER=FOLDER     only files below it (absolute)
//   FAULT_AT=N             the number of the call that fails, from 1; 0: none, they are only counted
//   FAULT_ERRNO=NUMBER     how (28: ENOSPC, 5: EIO, 30: EROFS, 122: EDQUOT)
//   FAULT_ON=1             every call from the n-th on fails (a disk that stays full)
//   FAULT_RANK=R           only in the process of this rank (OMPI_COMM_WORLD_RANK); 0 without MPI
//   FAULT_LOG=FILE         a line for each call: number, function, path, and "failed" where it did
//   FAULT_LOCKS=NUMBER     no file below FOLDER can be locked, by flock() or fcntl() (37: ENOLCK, 95: EOPNOTSUPP)
//   FAULT_LINKS=NUMBER     no hard link can be made there (1: EPERM)
//
// Calls: opening for writing, write, pwrite, writev, ftruncate, fsync, fdatasync, rename, renameat2, mkdir.
// Closing, removing and reading never fail.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// The real function of this name, found once.
#define REAL(name) \
  static __typeof__(&name) real; \
  if (real == NULL) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

static atomic_long calls;

static long number_in(const char* name) {
  const char* value = getenv(name);
  return value == NULL ? 0 : strtol(value, NULL, 10);
}

static int is_our_rank(void) {
  const char* wanted = getenv("FAULT_RANK");
  const char* own = getenv("OMPI_COMM_WORLD_RANK");
  return wanted == NULL || strcmp(wanted, own == NULL ? "0" : own) == 0;
}

static int is_under(const char* path) {
  const char* folder = getenv("FAULT_UNDER");
  return folder != NULL && strncmp(path, folder, strlen(folder)) == 0 &&
         path[strlen(folder)] == '/';
}

static void note(long number, const char* function, const char* path, int failed) {
  const char* log = getenv("FAULT_LOG");
  if (log == NULL) return;
  char line[4400];
  const int size = snprintf(line, sizeof line, "%ld %s %s%s\n", number, function, path,
                            failed ? " failed" : "");
  // System calls: the library's own functions are the ones that are watched.
  const long file =
      syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (file < 0) return;
  if (syscall(SYS_write, file, line, (size_t)size) < 0) abort();
  syscall(SYS_close, file);
}

// Whether this call on this path is to fail; errno is set then.
static int fails(const char* function, const char* path) {
  if (path == NULL || !is_under(path) || !is_our_rank()) return 0;
  const long number = ++calls;
  const long at = number_in("FAULT_AT");
  const int failed = at > 0 && (number_in("FAULT_ON") ? number >= at : number == at);
  note(number, function, path, failed);
  if (failed) errno = (int)number_in("FAULT_ERRNO");
  return failed;
}

// The path of an open file, in a buffer of 4096 bytes; NULL where it has none.
static const char* path_of(int file, char* path) {
  const int before = errno;
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  const ssize_t size = readlink(link, path, 4095);
  errno = before;
  if (size < 0) return NULL;
  path[size] = '\0';
  return path;
}

static int descriptor_fails(const char* function, int file) {
  char buffer[4096];
  return fails(function, path_of(file, buffer));
}

// Whether the file system has none of what the variable names; errno is set then.
static int is_missing(const char* variable, const char* path) {
  const long error = number_in(variable);
  if (error == 0 || path == NULL || !is_under(path)) return 0;
  errno = (int)error;
  return 1;
}

static int absolute_fails(const char* function, const char* path) {
  char whole[8192];
  if (path == NULL) return 0;
  if (path[0] == '/') return fails(function, path);
  if (getcwd(whole, 4096) == NULL) return 0;
  snprintf(whole + strlen(whole), 4096, "/%s", path);
  return fails(function, whole);
}

static int is_writing(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

#define OPEN_WITH_MODE(flags, mode) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | O_TMPFILE)) { \
    va_list rest; \
    va_start(rest, flags); \
    mode = va_arg(rest, mode_t); \
    va_end(rest); \
  }

int open(const char* path, int flags, ...) {
  REAL(open);
  OPEN_WITH_MODE(flags, mode)
  if (is_writing(flags) && absolute_fails("open", path)) return -1;
  return real(path, flags, mode);
}

int open64(const char* path, int flags, ...) {
  REAL(open64);
  OPEN_WITH_MODE(flags, mode)
  if (is_writing(flags) && absolute_fails("open", path)) return -1;
  return real(path, flags, mode);
}

FILE* fopen(const char* path, const char* mode) {
  REAL(fopen);
  if (mode[0] != 'r' && absolute_fails("open", path)) return NULL;
  return real(path, mode);
}

FILE* fopen64(const char* path, const char* mode) {
  REAL(fopen64);
  if (mode[0] != 'r' && absolute_fails("open", path)) return NULL;
  return real(path, mode);
}

ssize_t write(int file, const void* bytes, size_t size) {
  REAL(write);
  return descriptor_fails("write", file) ? -1 : real(file, bytes, size);
}

ssize_t pwrite(int file, const void* bytes, size_t size, off_t at) {
  REAL(pwrite);
  return descriptor_fails("pwrite", file) ? -1 : real(file, bytes, size, at);
}

ssize_t pwrite64(int file, const void* bytes, size_t size, off64_t at) {
  REAL(pwrite64);
  return descriptor_fails("pwrite", file) ? -1 : real(file, bytes, size, at);
}

ssize_t writev(int file, const struct iovec* parts, int count) {
  REAL(writev);
  return descriptor_fails("writev", file) ? -1 : real(file, parts, count);
}

int ftruncate(int file, off_t size) {
  REAL(ftruncate);
  return descriptor_fails("ftruncate", file) ? -1 : real(file, size);
}

int ftruncate64(int file, off64_t size) {
  REAL(ftruncate64);
  return descriptor_fails("ftruncate", file) ? -1 : real(file, size);
}

int fsync(int file) {
  REAL(fsync);
  return descriptor_fails("fsync", file) ? -1 : real(file);
}

int fdatasync(int file) {
  REAL(fdatasync);
  return descriptor_fails("fdatasync", file) ? -1 : real(file);
}

int rename(const char* from, const char* to) {
  REAL(rename);
  return absolute_fails("rename", from) ? -1 : real(from, to);
}

int renameat2(int from_folder, const char* from, int to_folder, const char* to, unsigned flags) {
  REAL(renameat2);
  if (absolute_fails("renameat2", from)) return -1;
  return real(from_folder, from, to_folder, to, flags);
}

int mkdir(const char* path, mode_t mode) {
  REAL(mkdir);
  return absolute_fails("mkdir", path) ? -1 : real(path, mode);
}

int flock(int file, int operation) {
  REAL(flock);
  char buffer[4096];
  return is_missing("FAULT_LOCKS", path_of(file, buffer)) ? -1 : real(file, operation);
}

static int is_lock(int command) {
  return command == F_GETLK || command == F_SETLK || command == F_SETLKW || command == F_OFD_GETLK ||
         command == F_OFD_SETLK || command == F_OFD_SETLKW;
}

#define FCNTL(name)                                                                        \
  int name(int file, int command, ...) {                                                   \
    REAL(name);                                                                            \
    va_list rest;                                                                          \
    va_start(rest, command);                                                               \
    void* argument = va_arg(rest, void*);                                                  \
    va_end(rest);                                                                          \
    char buffer[4096];                                                                     \
    if (is_lock(command) && is_missing("FAULT_LOCKS", path_of(file, buffer))) return -1;   \
    return real(file, command, argument);                                                  \
  }
FCNTL(fcntl)
FCNTL(fcntl64)
#undef FCNTL

int link(const char* from, const char* to) {
  REAL(link);
  return is_missing("FAULT_LINKS", to) ? -1 : real(from, to);
}
