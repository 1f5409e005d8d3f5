/* inject.c - the calls that the library makes, on their way. See inject.h. */
#include "inject.h"

#include "engine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif

#define KIND_NAME(kind, name, ...) [kind] = name,
#define KIND_ERRORS(kind, name, ...) [kind] = {__VA_ARGS__},
const char *const kind_names[KIND_COUNT] = {KINDS(KIND_NAME)};
const int kind_errors[KIND_COUNT][ERRORS_MAX] = {KINDS(KIND_ERRORS)};

struct plan *plan;
bool no_unnamed;

void plan_setup(void)
{
	plan = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (plan == MAP_FAILED)
		abort();
}

void plan_reset(enum kind kind, unsigned nth, int err, bool lasting)
{
	memset(plan, 0, sizeof *plan);
	plan->kind = kind;
	plan->nth = nth;
	plan->err = err;
	plan->lasting = lasting;
}

/* 0: the call is to be made. Else how it fails, as in the plan; errno is set. */
static int fault(enum kind kind)
{
	if (!plan || !atomic_load(&plan->armed))
		return 0;
	unsigned n = atomic_fetch_add(&plan->calls[kind], 1);
	if (!plan->err || kind != plan->kind || n < plan->nth || (n > plan->nth && !plan->lasting))
		return 0;
	atomic_fetch_add(&plan->fired, 1);
	if (plan->err < PART)
		errno = plan->err;
	return plan->err;
}

#define WRAPPED(type, name, ...) \
	type __real_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__); \
	type __wrap_##name(__VA_ARGS__)

/* ---- files ------------------------------------------------------------------------- */

static enum kind open_kind(const char *path, int flags)
{
	if ((flags & O_TMPFILE) == O_TMPFILE)
		return OPEN_TMPFILE;
	if (flags & O_PATH)
		return OPEN_DIR;
	if (!strncmp(path, "/dev/userfaultfd", 16))
		return OPEN_DEVICE;
	if (flags & O_CREAT)
		return OPEN_OTHER;
	return !strncmp(path, "/proc/self/fd/", 14) ? OPEN_SELF : !strncmp(path, "/proc/", 6) ? OPEN_PROC : OPEN_NAME;
}

WRAPPED(int, open, const char *path, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	mode_t mode = va_arg(ap, mode_t);
	va_end(ap);
	if (no_unnamed && (flags & O_TMPFILE) == O_TMPFILE) {
		errno = EOPNOTSUPP;
		return -1;
	}
	return fault(open_kind(path, flags)) ? -1 : __real_open(path, flags, mode);
}

/* The number is free again whatever it says. */
WRAPPED(int, close, int fd)
{
	int err = fault(CLOSE), r = __real_close(fd);
	if (err)
		errno = err;
	return err ? -1 : r;
}

static enum kind fcntl_kind(int cmd)
{
	return cmd == F_DUPFD_CLOEXEC ? DUPFD : cmd == F_OFD_SETLK ? SETLK : cmd == F_OFD_SETLKW ? SETLKW : GETLK;
}

WRAPPED(int, fcntl, int fd, int cmd, ...)
{
	va_list ap;
	va_start(ap, cmd);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	return fault(fcntl_kind(cmd)) ? -1 : __real_fcntl(fd, cmd, arg);
}

WRAPPED(int, fstat, int fd, struct stat *st) { return fault(FSTAT) ? -1 : __real_fstat(fd, st); }
WRAPPED(int, lstat, const char *path, struct stat *st) { return fault(LSTAT) ? -1 : __real_lstat(path, st); }
WRAPPED(int, fstatat, int dir, const char *path, struct stat *st, int flags)
{
	return fault(FSTATAT) ? -1 : __real_fstatat(dir, path, st, flags);
}
WRAPPED(int, fchmod, int fd, mode_t mode) { return fault(FCHMOD) ? -1 : __real_fchmod(fd, mode); }
WRAPPED(int, ftruncate, int fd, off_t len) { return fault(FTRUNCATE) ? -1 : __real_ftruncate(fd, len); }
WRAPPED(int, getrlimit, int which, struct rlimit *lim) { return fault(GETRLIMIT) ? -1 : __real_getrlimit(which, lim); }
WRAPPED(int, fallocate, int fd, int mode, off_t off, off_t len)
{
	return fault(FALLOCATE) ? -1 : __real_fallocate(fd, mode, off, len);
}
WRAPPED(int, linkat, int from, const char *old, int to, const char *path, int flags)
{
	return fault(LINKAT) ? -1 : __real_linkat(from, old, to, path, flags);
}
WRAPPED(int, renameat2, int from, const char *old, int to, const char *path, unsigned flags)
{
	return fault(RENAMEAT2) ? -1 : __real_renameat2(from, old, to, path, flags);
}
WRAPPED(int, unlink, const char *path) { return fault(UNLINK) ? -1 : __real_unlink(path); }
WRAPPED(int, unlinkat, int dir, const char *path, int flags)
{
	return fault(UNLINKAT) ? -1 : __real_unlinkat(dir, path, flags);
}
WRAPPED(int, scandir, const char *path, struct dirent ***list, int (*take)(const struct dirent *),
        int (*order)(const struct dirent **, const struct dirent **))
{
	return fault(SCANDIR) ? -1 : __real_scandir(path, list, take, order);
}

WRAPPED(ssize_t, pwrite, int fd, const void *buf, size_t len, off_t off)
{
	int err = fault(PWRITE);
	return err && err != PART ? -1 : __real_pwrite(fd, buf, err ? (len + 1) / 2 : len, off);
}
WRAPPED(ssize_t, pread, int fd, void *buf, size_t len, off_t off)
{
	int err = fault(PREAD);
	if (err == END)
		return 0;
	return err && err != PART ? -1 : __real_pread(fd, buf, err ? (len + 1) / 2 : len, off);
}
WRAPPED(ssize_t, read, int fd, void *buf, size_t len) { return fault(READ) ? -1 : __real_read(fd, buf, len); }

WRAPPED(ssize_t, write, int fd, const void *buf, size_t len)
{
	int err = fault(WRITE);
	if (err == END)
		return 0;
	return err && err != PART ? -1 : __real_write(fd, buf, err ? (len + 1) / 2 : len);
}
WRAPPED(off_t, lseek, int fd, off_t off, int whence) { return fault(LSEEK) ? -1 : __real_lseek(fd, off, whence); }

static enum kind ioctl_kind(unsigned long what)
{
	switch (what) {
	case USERFAULTFD_IOC_NEW: return WRITES_NEW;
	case UFFDIO_API: return WRITES_API;
	case UFFDIO_REGISTER: return WRITES_WATCH;
	case UFFDIO_WRITEPROTECT: return WRITES_HOLD;
	default: fprintf(stderr, "faults: an ioctl that has no row: %lx\n", what); abort();
	}
}

WRAPPED(int, ioctl, int fd, unsigned long what, ...)
{
	va_list ap;
	va_start(ap, what);
	void *arg = va_arg(ap, void *);
	va_end(ap);
	return fault(ioctl_kind(what)) ? -1 : __real_ioctl(fd, what, arg);
}

/* ---- memory ------------------------------------------------------------------------ */

static enum kind mmap_kind(size_t len, int prot, int fd)
{
	if (fd >= 0)
		return prot == PROT_NONE && len == 4096 ? MMAP_LEASE : MMAP_FILE;
	return MMAP_PRIVATE;
}

WRAPPED(void *, mmap, void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	enum kind kind = fd < 0 && (flags & MAP_FIXED_NOREPLACE) ? MMAP_LOOK : mmap_kind(len, prot, fd);
	return fault(kind) ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, off);
}
WRAPPED(int, munmap, void *at, size_t len) { return fault(MUNMAP) ? -1 : __real_munmap(at, len); }
WRAPPED(int, mprotect, void *at, size_t len, int prot) { return fault(MPROTECT) ? -1 : __real_mprotect(at, len, prot); }
WRAPPED(void *, mremap, void *at, size_t len, size_t to, int flags, ...)
{
	va_list ap;
	va_start(ap, flags);
	void *where = va_arg(ap, void *);
	va_end(ap);
	return fault(len ? MREMAP_MOVE : MREMAP_AGAIN) ? MAP_FAILED : __real_mremap(at, len, to, flags, where);
}

WRAPPED(void *, malloc, size_t size) { return fault(HEAP) ? NULL : __real_malloc(size); }
WRAPPED(void *, calloc, size_t n, size_t size) { return fault(HEAP) ? NULL : __real_calloc(n, size); }

/* ---- by number ----------------------------------------------------------------------- */

static enum kind advice_kind(long advice)
{
	switch (advice) {
	case MADV_POPULATE_WRITE: return POPULATE;
	case MADV_COLLAPSE: return COLLAPSE;
	case MADV_REMOVE: return PUNCH;
	case MADV_DONTFORK: return DONTFORK;
	case MADV_WIPEONFORK: return WIPEONFORK;
	case MADV_COLD: return COLD;
	case MADV_DONTNEED: return DISCARD;
	case MADV_HUGEPAGE: return HUGEPAGE;
	default: fprintf(stderr, "faults: an advice that has no row: %ld\n", advice); abort();
	}
}

static enum kind number_kind(long number, const long a[6])
{
	switch (number) {
	case SYS_madvise: return advice_kind(a[2]);
	case SYS_mlock2: return MLOCK2;
	case SYS_membarrier: return BARRIER;
	case SYS_futex: return FUTEX;
	case SYS_close_range: return CLOSE_RANGE;
	case SYS_userfaultfd: return WRITES_OPEN;
	case SYS_read: return WRITES_NEXT;
	case SYS_rt_sigprocmask: return SIGBLOCK;
	default: fprintf(stderr, "faults: a system call that has no row: %ld\n", number); abort();
	}
}

#define ARGS(a, last)                                   \
	long a[6];                                      \
	va_list ap;                                     \
	va_start(ap, last);                             \
	for (unsigned i_ = 0; i_ < 6; i_++)             \
		a[i_] = va_arg(ap, long);               \
	va_end(ap)

WRAPPED(long, syscall, long number, ...)
{
	ARGS(a, number);
	if (number == SYS_madvise && a[2] == MADV_DOFORK) /* undoes what failed: it takes nothing that could be refused */
		return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	return fault(number_kind(number, a)) ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- processes and threads --------------------------------------------------------------- */

WRAPPED(int, prctl, int option, ...)
{
	ARGS(a, option);
	bool fails = option == PR_GET_NAME ? fault(GETNAME) : option == PR_GET_SECCOMP && fault(SECCOMP);
	return fails ? -1 : __real_prctl(option, a[0], a[1], a[2], a[3]);
}
WRAPPED(ssize_t, getrandom, void *to, size_t len, unsigned flags)
{
	return fault(RANDOM) ? -1 : __real_getrandom(to, len, flags);
}

WRAPPED(int, sched_getaffinity, pid_t pid, size_t len, cpu_set_t *set)
{
	return fault(AFFINITY) ? -1 : __real_sched_getaffinity(pid, len, set);
}
WRAPPED(pid_t, _Fork, void) { return fault(FORK) ? -1 : __real__Fork(); }
WRAPPED(pid_t, waitpid, pid_t pid, int *status, int options)
{
	return fault(WAITPID) ? -1 : __real_waitpid(pid, status, options);
}
WRAPPED(pid_t, setsid, void) { return fault(SETSID) ? -1 : __real_setsid(); }
WRAPPED(int, sigprocmask, int how, const sigset_t *set, sigset_t *old)
{
	return fault(SIGMASK) ? -1 : __real_sigprocmask(how, set, old);
}
WRAPPED(int, chdir, const char *path) { return fault(CHDIR) ? -1 : __real_chdir(path); }
WRAPPED(int, pthread_atfork, void (*prepare)(void), void (*parent)(void), void (*child)(void))
{
	int err = fault(ATFORK);
	return err ? err : __real_pthread_atfork(prepare, parent, child);
}
WRAPPED(int, pthread_key_create, pthread_key_t *key, void (*end)(void *))
{
	int err = fault(KEY);
	return err ? err : __real_pthread_key_create(key, end);
}

WRAPPED(int, at_quick_exit, void (*end)(void)) { return fault(QUICK) ? -1 : __real_at_quick_exit(end); }

/* Later ones of the same thread need no memory. */
WRAPPED(int, pthread_setspecific, pthread_key_t key, const void *value)
{
	int err = value && !pthread_getspecific(key) ? fault(SETSPECIFIC) : 0;
	return err ? err : __real_pthread_setspecific(key, value);
}

/* ---- jemalloc's, by the names that its copy calls them by ------------------------------------- */

void *faults_je_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off);
int faults_je_munmap(void *at, size_t len);
int faults_je_madvise(void *at, size_t len, int advice);
long faults_je_syscall(long number, ...);
int faults_je_pthread_setspecific(pthread_key_t key, const void *value);

/* Not while it is set up, where it would end the process: the engine sees to it before that there is memory. */
static int je_fault(enum kind kind)
{
	return engine_started() ? fault(kind) : 0;
}

void *faults_je_mmap(void *at, size_t len, int prot, int flags, int fd, off_t off)
{
	return je_fault(JE_MMAP) ? MAP_FAILED : __real_mmap(at, len, prot, flags, fd, off);
}
int faults_je_munmap(void *at, size_t len)
{
	return je_fault(JE_MUNMAP) ? -1 : __real_munmap(at, len);
}
int faults_je_madvise(void *at, size_t len, int advice)
{
	return je_fault(JE_MADVISE) ? -1 : madvise(at, len, advice);
}
long faults_je_syscall(long number, ...)
{
	ARGS(a, number);
	int err = je_fault(JE_SYSCALL);
	long r = err && number != SYS_close ? -1 : __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	if (err)
		errno = err;
	return err ? -1 : r;
}
/*
 * Not made to fail: jemalloc aborts then. It can, for a thread's first
 * allocation without memory, where the library was loaded into a process that
 * had 32 keys already.
 */
int faults_je_pthread_setspecific(pthread_key_t key, const void *value)
{
	return __real_pthread_setspecific(key, value);
}
