/* A disk that fails, a process that dies and a clock that jumps, for tests: see shim.py.

   Loaded by LD_PRELOAD. It stands before the calls that change what is on a disk, counts those that fall below one
   folder, and at the call of a given number, or from it on, lets something go wrong:

     SHIM_BELOW=/folder    the folder; an absolute path without links
     SHIM_LOG=/file        a line for each call: number, name of the call, file, bytes
     SHIM_AT=17            the number
     SHIM_DO=ENOSPC        it and all that follow fail so (EIO, EROFS); at ENOSPC, half of a write still goes through
            =kill-before   SIGKILL, before the call, after it, or with half of the bytes written
            =kill-after
            =kill-half
            =SIGINT       the signal, before the call (SIGTERM)
     SHIM_MOUNTS=/file     is read in place of /proc/mounts
     SHIM_CLOCK=/link      a symbolic link to the seconds by which the time of day is shifted, from now on; what is
                           monotonic is left alone */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { GO, FAIL, HALF, LAST };

static const char *below;
static size_t below_size;
static int log_file = -1, failure;
static long at = -1;
static enum { COUNT, FAILS, KILL_BEFORE, KILL_AFTER, KILL_HALF, SIGNALS } mode;
static atomic_long met_so_far;

/* Looked for at each call until there is something: a process may say it after a fork. */
static void begin(void) {
    const char *log = getenv("SHIM_LOG"), *what = getenv("SHIM_DO"), *number = getenv("SHIM_AT");
    if (!(below = getenv("SHIM_BELOW"))) return;
    below_size = strlen(below);
    if (log) log_file = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (!what || !number) return;
    at = atol(number);
    if (!strcmp(what, "ENOSPC")) mode = FAILS, failure = ENOSPC;
    else if (!strcmp(what, "EIO")) mode = FAILS, failure = EIO;
    else if (!strcmp(what, "EROFS")) mode = FAILS, failure = EROFS;
    else if (!strcmp(what, "kill-before")) mode = KILL_BEFORE;
    else if (!strcmp(what, "kill-after")) mode = KILL_AFTER;
    else if (!strcmp(what, "kill-half")) mode = KILL_HALF;
    else if (!strcmp(what, "SIGINT")) mode = SIGNALS, failure = SIGINT;
    else if (!strcmp(what, "SIGTERM")) mode = SIGNALS, failure = SIGTERM;
    else abort();
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    pause();
}

/* What becomes of a call on `path`. */
static int met(const char *call, const char *path, long size) {
    if (!below) begin();
    if (!below || strncmp(path, below, below_size) || (path[below_size] && path[below_size] != '/')) return GO;
    int before = errno;
    long number = ++met_so_far;
    if (log_file >= 0) {
        char line[PATH_MAX + 100];
        int length = snprintf(line, sizeof line, "%ld %s %s %ld\n", number, call, path + below_size, size);
        syscall(SYS_write, log_file, line, length);
    }
    errno = before;
    if (mode == COUNT || number < at) return GO;
    if (mode == FAILS) {
        if (failure == ENOSPC && number == at && size > 1) return HALF;
        errno = failure;
        return FAIL;
    }
    if (number > at) return GO;
    if (mode == KILL_AFTER) return LAST;
    if (mode == SIGNALS) {
        syscall(SYS_kill, getpid(), failure);
        return GO;
    }
    if (mode == KILL_HALF && size > 1) return HALF;
    die();
    return FAIL;
}

static int met_at(const char *call, int folder, const char *path) {
    char whole[2 * PATH_MAX], link[64];
    if (path[0] == '/') return met(call, path, 0);
    if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
    else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, whole, PATH_MAX);
    if (length < 0) return GO;
    snprintf(whole + length, sizeof whole - length, "/%s", path);
    return met(call, whole, 0);
}

static int met_file(const char *call, int file, long size) {
    char link[64], path[PATH_MAX];
    int before = errno;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length < 0) return GO;
    path[length] = 0;
    return met(call, path, size);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* Does what `does` says, unless it shall fail; dies after it where it shall. */
#define PASS(type, verdict, does)         \
    do {                                  \
        int v = verdict;                  \
        if (v == FAIL) return -1;         \
        type done = does;                 \
        if (v == LAST) die();             \
        return done;                      \
    } while (0)

#define PASS_WRITE(call, file, size, does, half)  \
    do {                                          \
        int v = met_file(call, file, size);       \
        if (v == FAIL) return -1;                 \
        if (v == HALF) {                          \
            ssize_t done = half;                  \
            if (mode != FAILS) die();             \
            return done;                          \
        }                                         \
        ssize_t done = does;                      \
        if (v == LAST) die();                     \
        return done;                              \
    } while (0)

#define OPEN(name, ...)                                                                       \
    mode_t mode_ = 0;                                                                         \
    if (flags & (O_CREAT | O_TMPFILE)) {                                                      \
        va_list more;                                                                         \
        va_start(more, flags);                                                                \
        mode_ = va_arg(more, mode_t);                                                         \
        va_end(more);                                                                         \
    }                                                                                         \
    if (!strcmp(path, "/proc/mounts") && getenv("SHIM_MOUNTS")) path = getenv("SHIM_MOUNTS");  \
    int writes = flags & (O_CREAT | O_TRUNC) || (flags & O_ACCMODE) != O_RDONLY;              \
    PASS(int, writes ? met_at("open", folder, path) : GO, REAL(name)(__VA_ARGS__, mode_))

int open(const char *path, int flags, ...) { int folder = AT_FDCWD; OPEN(open, path, flags); }
int open64(const char *path, int flags, ...) { int folder = AT_FDCWD; OPEN(open64, path, flags); }
int openat(int folder, const char *path, int flags, ...) { OPEN(openat, folder, path, flags); }
int openat64(int folder, const char *path, int flags, ...) { OPEN(openat64, folder, path, flags); }

ssize_t write(int file, const void *data, size_t size) {
    PASS_WRITE("write", file, size, REAL(write)(file, data, size), REAL(write)(file, data, size / 2));
}
ssize_t pwrite(int file, const void *data, size_t size, off_t place) {
    PASS_WRITE("write", file, size, REAL(pwrite)(file, data, size, place), REAL(pwrite)(file, data, size / 2, place));
}
ssize_t pwrite64(int file, const void *data, size_t size, off64_t place) {
    PASS_WRITE("write", file, size, REAL(pwrite64)(file, data, size, place),
               REAL(pwrite64)(file, data, size / 2, place));
}
ssize_t writev(int file, const struct iovec *parts, int count) {
    PASS(ssize_t, met_file("write", file, 0), REAL(writev)(file, parts, count));
}
int fsync(int file) { PASS(int, met_file("sync", file, 0), REAL(fsync)(file)); }
int fdatasync(int file) { PASS(int, met_file("sync", file, 0), REAL(fdatasync)(file)); }
int ftruncate(int file, off_t size) { PASS(int, met_file("truncate", file, 0), REAL(ftruncate)(file, size)); }
int ftruncate64(int file, off64_t size) { PASS(int, met_file("truncate", file, 0), REAL(ftruncate64)(file, size)); }
int fchmod(int file, mode_t mode_) { PASS(int, met_file("chmod", file, 0), REAL(fchmod)(file, mode_)); }
int chmod(const char *path, mode_t mode_) { PASS(int, met_at("chmod", AT_FDCWD, path), REAL(chmod)(path, mode_)); }
int mkdir(const char *path, mode_t mode_) { PASS(int, met_at("mkdir", AT_FDCWD, path), REAL(mkdir)(path, mode_)); }
int rmdir(const char *path) { PASS(int, met_at("rmdir", AT_FDCWD, path), REAL(rmdir)(path)); }
int unlink(const char *path) { PASS(int, met_at("unlink", AT_FDCWD, path), REAL(unlink)(path)); }
int unlinkat(int folder, const char *path, int flags) {
    PASS(int, met_at("unlink", folder, path), REAL(unlinkat)(folder, path, flags));
}
int rename(const char *from, const char *to) {
    PASS(int, met_at("rename", AT_FDCWD, to), REAL(rename)(from, to));
}
int renameat(int here, const char *from, int there, const char *to) {
    PASS(int, met_at("rename", there, to), REAL(renameat)(here, from, there, to));
}

static long shift(void) {
    char text[32];
    int before = errno;
    const char *clock_link = getenv("SHIM_CLOCK");
    ssize_t length = clock_link ? readlink(clock_link, text, sizeof text - 1) : -1;
    errno = before;
    if (length < 0) return 0;
    text[length] = 0;
    return atol(text);
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int done = REAL(clock_gettime)(which, now);
    if (!done && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return done;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    int done = REAL(gettimeofday)(now, zone);
    if (!done) now->tv_sec += shift();
    return done;
}
time_t time(time_t *place) {
    time_t now = REAL(time)(NULL) + shift();
    if (place) *place = now;
    return now;
}
