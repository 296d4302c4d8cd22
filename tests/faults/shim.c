/* Faults below a program: what it does to files in one folder is counted, and fails, is cut short or ends the process when the plan
   says so. Built by fault_runs.py, put under Python by LD_PRELOAD, and told the plan by `fault_plan` through ctypes.

   An event is a call that changes a file or folder: opening one for writing, writing, syncing, renaming, removing, making a folder.
   A full disk still removes.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

enum { COUNT, KILL, KILL_AFTER, SIGNAL, FAIL, SHORT, FAIL_READS };

static char folder[PATH_MAX];
static int mode = COUNT, number;
static long wanted, events, armed_at, clock_step, clock_calls;

static void die(int signal_number) {
    (void)signal_number;
    kill(getpid(), SIGKILL);
}

/* From now on, `at` counts from here; `of` is the number of an error or a signal. */
void fault_plan(const char *prefix, int new_mode, long at, int of) {
    strncpy(folder, prefix, sizeof folder - 1);
    wanted = at;
    number = of;
    armed_at = __atomic_load_n(&events, __ATOMIC_SEQ_CST);
    mode = new_mode;
    if (mode == KILL_AFTER) { /* so many milliseconds on the CPU, which a busy machine does not shift */
        struct itimerval when = {{0, 0}, {at / 1000, at % 1000 * 1000 + 1}};
        signal(SIGPROF, die);
        setitimer(ITIMER_PROF, &when, NULL);
    }
}

void fault_clock(long seconds) { clock_step = seconds; }

long fault_total(void) { return __atomic_load_n(&events, __ATOMIC_SEQ_CST); }

static int is_ours(const char *path) { return folder[0] && path && strncmp(path, folder, strlen(folder)) == 0; }

static int is_our_file(int descriptor) {
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return is_ours(path);
}

/* Counts an event; returns 1 if it shall fail, with errno set. */
static int fails(int can_fail) {
    long now = __atomic_add_fetch(&events, 1, __ATOMIC_SEQ_CST) - armed_at;
    if (mode == KILL && now == wanted) die(0);
    if (mode == SIGNAL && now >= wanted && now <= wanted + 2) kill(getpid(), number);
    if (can_fail && mode == FAIL && now >= wanted) {
        errno = number;
        return 1;
    }
    return 0;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int descriptor, const void *bytes, size_t size) {
    __typeof__(&write) real = REAL(write);
    if (!is_our_file(descriptor)) return real(descriptor, bytes, size);
    if (mode == KILL && __atomic_load_n(&events, __ATOMIC_SEQ_CST) + 1 - armed_at == wanted) real(descriptor, bytes, size / 2);
    if (fails(1)) return -1;
    if (mode == SHORT && size > 1) size = size > 4096 ? 4096 - size % 7 : size / 2;
    return real(descriptor, bytes, size);
}

ssize_t read(int descriptor, void *bytes, size_t size) {
    if (mode == FAIL_READS && is_our_file(descriptor)) {
        errno = number;
        return -1;
    }
    return REAL(read)(descriptor, bytes, size);
}

int fsync(int descriptor) { return is_our_file(descriptor) && fails(1) ? -1 : REAL(fsync)(descriptor); }

int rename(const char *from, const char *to) { return (is_ours(from) || is_ours(to)) && fails(1) ? -1 : REAL(rename)(from, to); }

int unlink(const char *path) { return is_ours(path) && fails(0) ? -1 : REAL(unlink)(path); }

int rmdir(const char *path) { return is_ours(path) && fails(0) ? -1 : REAL(rmdir)(path); }

int mkdir(const char *path, mode_t rights) { return is_ours(path) && fails(1) ? -1 : REAL(mkdir)(path, rights); }

int unlinkat(int descriptor, const char *path, int flags) {
    int ours = path[0] == '/' ? is_ours(path) : is_our_file(descriptor);
    return ours && fails(0) ? -1 : REAL(unlinkat)(descriptor, path, flags);
}

#define OPEN(name)                                                        \
    int name(const char *path, int flags, ...) {                          \
        va_list more;                                                     \
        va_start(more, flags);                                            \
        mode_t rights = flags & O_CREAT ? va_arg(more, mode_t) : 0;       \
        va_end(more);                                                     \
        int writes = (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;  \
        if (writes && is_ours(path) && fails(1)) return -1;                \
        return REAL(name)(path, flags, rights);                           \
    }

OPEN(open)
OPEN(open64)

/* Every seventh look at the wall clock is `clock_step` seconds away, by turns before and after. */
int clock_gettime(clockid_t which, struct timespec *found) {
    int status = REAL(clock_gettime)(which, found);
    if (status == 0 && which == CLOCK_REALTIME && clock_step) {
        long calls = __atomic_add_fetch(&clock_calls, 1, __ATOMIC_SEQ_CST);
        if (calls % 7 == 0) found->tv_sec += calls % 2 ? clock_step : -clock_step;
    }
    return status;
}
