/* sys.c - every system call of the library, wrapped once. See sys.h. */
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_COLD
#define MADV_COLD 20
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_FEATURE_WP_HUGETLBFS_SHMEM
#define UFFD_FEATURE_WP_HUGETLBFS_SHMEM (1 << 12)
#endif
#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* Evaluates `call` with errno saved, retried on EINTR, to 0 or its errno. */
#define RESULT(call)                                       \
	({                                                 \
		int saved_ = errno;                        \
		long r_;                                   \
		do                                         \
			r_ = (call);                       \
		while (r_ == -1 && errno == EINTR);        \
		int err_ = r_ == -1 ? errno : 0;           \
		errno = saved_;                            \
		err_;                                      \
	})

/* Not libc's: a program may have one of its own, and so does the shim. */
static long advise(void *addr, uint64_t len, int advice)
{
	return syscall(SYS_madvise, addr, len, advice);
}

int sys_open(const char *path, int flags, mode_t mode, int *fd)
{
	int got = -1;
	int err = RESULT(got = open(path, flags | O_CLOEXEC, mode));
	*fd = got;
	return err;
}

/* Without printf, which is the first thing in a process to call it for tens of microseconds. */
static char *self_path(char out[32], int fd)
{
	static const char dir[] = "/proc/self/fd/";
	char *end = out + 31;
	*end = 0;
	do
		*--end = (char)('0' + fd % 10);
	while (fd /= 10);
	return memcpy(end - (sizeof dir - 1), dir, sizeof dir - 1);
}

static bool same_file(int a, int b)
{
	struct stat sa, sb;
	return !sys_fstat(a, &sa) && !sys_fstat(b, &sb) && sa.st_dev == sb.st_dev && sa.st_ino == sb.st_ino;
}

int sys_reopen(int fd, const char *path, int flags, int *out)
{
	char self[32];
	if (path && !sys_open(path, flags | O_NOFOLLOW | O_NONBLOCK, 0, out)) {
		if (same_file(fd, *out))
			return 0;
		sys_close(*out);
	}
	return sys_open(self_path(self, fd), flags, 0, out);
}

int sys_close(int fd)
{
	int saved = errno; /* Linux frees the number even on EINTR: never retried */
	int err = close(fd) == -1 ? errno : 0;
	errno = saved;
	return err;
}

int sys_dup(int fd, int floor, int *out)
{
	int got = -1;
	int err = RESULT(got = fcntl(fd, F_DUPFD_CLOEXEC, floor));
	*out = got;
	return err;
}

int sys_close_but(int fd)
{
	int err = fd > 0 ? RESULT(syscall(SYS_close_range, 0, (unsigned)fd - 1, 0)) : 0;
	return err ? err : RESULT(syscall(SYS_close_range, (unsigned)fd + 1, UINT_MAX, 0));
}

int sys_fstat(int fd, struct stat *st)
{
	return RESULT(fstat(fd, st));
}

int sys_stat(const char *path, struct stat *st)
{
	return RESULT(lstat(path, st));
}

int sys_stat_in(int dir, const char *name, struct stat *st)
{
	return RESULT(fstatat(dir, name, st, AT_SYMLINK_NOFOLLOW));
}

/* Some say what is best to read at once instead: then a part takes more addresses, nothing else. */
uint64_t sys_granule(const struct stat *st)
{
	enum { LEAST = 4096, MOST = 1 << 30 };
	uint64_t n = st->st_blksize > 0 ? (uint64_t)st->st_blksize : 0;
	return n < LEAST || n > MOST || (n & (n - 1)) ? LEAST : n;
}

int sys_fchmod(int fd, mode_t mode)
{
	return RESULT(fchmod(fd, mode));
}

int sys_truncate(int fd, uint64_t size)
{
	struct rlimit lim;
	if (size > INT64_MAX)
		return EFBIG;
	if (getrlimit(RLIMIT_FSIZE, &lim) == 0 && lim.rlim_cur != RLIM_INFINITY && size > lim.rlim_cur)
		return EFBIG;
	return RESULT(ftruncate(fd, (off_t)size));
}

int sys_fallocate(int fd, uint64_t size)
{
	return sys_fallocate_at(fd, 0, size);
}

int sys_fallocate_at(int fd, uint64_t off, uint64_t len)
{
	return RESULT(fallocate(fd, 0, (off_t)off, (off_t)len));
}

int sys_link(int fd, const char *path)
{
	char self[32];
	int err = RESULT(linkat(AT_FDCWD, self_path(self, fd), AT_FDCWD, path, AT_SYMLINK_FOLLOW));
	if (err == ENOENT) /* no /proc here: kernels from 6.10 on allow this without privilege */
		err = RESULT(linkat(fd, "", AT_FDCWD, path, AT_EMPTY_PATH));
	return err;
}

int sys_rename_new(const char *from, const char *to)
{
	return RESULT(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

int sys_unlink(const char *path)
{
	return RESULT(unlink(path));
}

int sys_unlink_in(int dir, const char *name)
{
	return RESULT(unlinkat(dir, name, 0));
}

int sys_pwrite(int fd, const void *buf, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = -1;
		int err = RESULT(n = pwrite(fd, (const char *)buf + done, len - done, (off_t)(off + done)));
		if (err)
			return err;
		done += (size_t)n;
	}
	return 0;
}

static int put_mapped(int fd, const void *buf, size_t len, uint64_t off)
{
	struct stat st;
	void *at;
	int err = sys_fstat(fd, &st);
	if (err)
		return err;
	uint64_t granule = sys_granule(&st), skip = off & (granule - 1);
	uint64_t span = (skip + len + granule - 1) & ~(granule - 1);
	err = sys_map(NULL, span, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, off - skip, &at);
	if (err)
		return err;
	err = sys_populate(at, span);
	if (!err)
		memcpy((char *)at + skip, buf, len);
	sys_unmap(at, span);
	return err;
}

int sys_put(int fd, const void *buf, size_t len, uint64_t off)
{
	int err = sys_pwrite(fd, buf, len, off);
	return err == EINVAL ? put_mapped(fd, buf, len, off) : err;
}

int sys_write(int fd, const void *buf, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = -1;
		int err = RESULT(n = write(fd, (const char *)buf + done, len - done));
		if (err)
			return err;
		if (n == 0)
			return EIO;
		done += (size_t)n;
	}
	return 0;
}

int sys_pread(int fd, void *buf, size_t len, uint64_t off)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = -1;
		int err = RESULT(n = pread(fd, (char *)buf + done, len - done, (off_t)(off + done)));
		if (err)
			return err;
		if (n == 0)
			return EIO;
		done += (size_t)n;
	}
	return 0;
}

static int seek(int fd, uint64_t off, int whence, uint64_t *out)
{
	off_t got = -1;
	int err = RESULT(got = lseek(fd, (off_t)off, whence));
	*out = err ? 0 : (uint64_t)got;
	return err;
}

int sys_seek_data(int fd, uint64_t off, uint64_t *data)
{
	return seek(fd, off, SEEK_DATA, data);
}

int sys_seek_hole(int fd, uint64_t off, uint64_t *hole)
{
	return seek(fd, off, SEEK_HOLE, hole);
}

static struct flock lock_of(short type, uint64_t first, uint64_t len)
{
	return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)first, .l_len = (off_t)len};
}

int sys_lock(int fd, short type, uint64_t byte, bool wait)
{
	struct flock l = lock_of(type, byte, 1);
	return RESULT(fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &l));
}

int sys_lock_probe(int fd, uint64_t first, uint64_t len, bool *held)
{
	struct flock l = lock_of(F_WRLCK, first, len);
	int err = RESULT(fcntl(fd, F_OFD_GETLK, &l));
	*held = err || l.l_type != F_UNLCK;
	return err;
}

int sys_map(void *want, uint64_t len, int prot, int flags, int fd, uint64_t off, void **addr)
{
	void *got = MAP_FAILED;
	int saved = errno;
	got = mmap(want, len, prot, flags, fd, (off_t)off);
	int err = got == MAP_FAILED ? errno : 0;
	errno = saved;
	*addr = err ? NULL : got;
	return err; /* cppcheck-suppress memleak ; *addr is it */
}

/*
 * After mlockall(MCL_FUTURE) a new mapping is populated at once: tens of GiB
 * of a sparse file. Not so where it may not be accessed. COLD is refused on
 * locked memory and else without an effect.
 */
int sys_map_lazily(void *want, uint64_t len, int prot, int flags, int fd, uint64_t off, void **addr)
{
	int err = sys_map(want, len, PROT_NONE, flags, fd, off, addr);
	if (err)
		return err;
	if (RESULT(advise(*addr, 1, MADV_COLD)) == EINVAL)
		(void)RESULT(syscall(SYS_mlock2, *addr, len, MLOCK_ONFAULT));
	err = prot == PROT_NONE ? 0 : sys_protect(*addr, len, prot);
	if (err) {
		sys_unmap(*addr, len);
		*addr = NULL;
	}
	return err;
}

int sys_map_again(void *addr, uint64_t len, void **out)
{
	int saved = errno;
	void *got = mremap(addr, 0, len, MREMAP_MAYMOVE);
	int err = got == MAP_FAILED ? errno : mprotect(got, len, PROT_READ | PROT_WRITE) ? errno : 0;
	if (err && got != MAP_FAILED)
		(void)sys_unmap(got, len);
	errno = saved;
	*out = err ? NULL : got;
	return err;
}

int sys_move(void *from, uint64_t len, void *to)
{
	int saved = errno;
	void *got = to == from ? mremap(from, len, len, 0) : mremap(from, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	int err = got == MAP_FAILED ? errno : 0;
	errno = saved;
	return err;
}

/*
 * Refused where a part of a mapping would go and there are as many as a
 * process may have. Nothing in its place gives back what it holds: memory, a
 * file, the lock behind a file.
 */
int sys_unmap(void *addr, uint64_t len)
{
	void *at;
	int err = RESULT(munmap(addr, len));
	if (err && !sys_map(addr, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0, &at))
		err = 0;
	return err;
}

int sys_protect(void *addr, uint64_t len, int prot)
{
	return RESULT(mprotect(addr, len, prot));
}

int sys_dontfork(void *addr, uint64_t len)
{
	return RESULT(advise(addr, len, MADV_DONTFORK));
}

void sys_dofork(void *addr, uint64_t len)
{
	(void)RESULT(advise(addr, len, MADV_DOFORK));
}

int sys_wipeonfork(void *addr, uint64_t len)
{
	return RESULT(advise(addr, len, MADV_WIPEONFORK));
}

void sys_hugepages(void *addr, uint64_t len)
{
	(void)RESULT(advise(addr, len, MADV_HUGEPAGE));
}

int sys_barrier(bool quick)
{
	return RESULT(syscall(SYS_membarrier, quick ? MEMBARRIER_CMD_GLOBAL_EXPEDITED : MEMBARRIER_CMD_GLOBAL, 0, 0));
}

int sys_barrier_register(void)
{
	return RESULT(syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0));
}

int sys_populate(void *addr, uint64_t len)
{
	int err = RESULT(advise(addr, len, MADV_POPULATE_WRITE));
	return err == EFAULT ? ENOMEM : err; /* EFAULT stands for the SIGBUS that a touch would have been */
}

int sys_populate_huge(void *addr, uint64_t len)
{
	int err = 0;
	for (char *at = addr; at < (char *)addr + len && !err; at += HUGE_PAGE) /* of nothing none is made */
		err = sys_populate(at, 1);
	return err ? err : RESULT(advise(addr, len, MADV_COLLAPSE));
}

void sys_discard(void *addr, uint64_t len)
{
	(void)RESULT(advise(addr, len, MADV_DONTNEED));
}

int sys_punch(void *addr, uint64_t len)
{
	return RESULT(advise(addr, len, MADV_REMOVE));
}

/*
 * A filter may end a program for a call that it does not know, so under one
 * only the device is asked. Either wants privilege, or an administrator's word.
 */
static int writes_descriptor(int *fd)
{
	enum { FLAGS = O_CLOEXEC | O_NONBLOCK };
	int got = -1, device;
	int err = prctl(PR_GET_SECCOMP) > 0 ? EPERM : RESULT(got = (int)syscall(SYS_userfaultfd, FLAGS));
	if (err && !sys_open("/dev/userfaultfd", O_RDWR, 0, &device)) {
		err = RESULT(got = ioctl(device, USERFAULTFD_IOC_NEW, FLAGS));
		sys_close(device);
	}
	*fd = got;
	return err;
}

int sys_writes_open(int *fd)
{
	enum { FLOOR = 512 }; /* away from the numbers that programs close and use again */
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_HUGETLBFS_SHMEM};
	int low, high = -1;
	int err = writes_descriptor(&low);
	if (err)
		return err;
	err = RESULT(ioctl(low, UFFDIO_API, &api));
	if (!err && !RESULT(high = fcntl(low, F_DUPFD_CLOEXEC, FLOOR)))
		*fd = high;
	else if (!err)
		*fd = low; /* a limit on descriptors */
	if (err || high >= 0)
		sys_close(low);
	return err;
}

int sys_writes_watch(int fd, void *addr, uint64_t len)
{
	struct uffdio_register r = {.range = {.start = (uintptr_t)addr, .len = len}, .mode = UFFDIO_REGISTER_MODE_WP};
	return RESULT(ioctl(fd, UFFDIO_REGISTER, &r));
}

int sys_writes_hold(int fd, void *addr, uint64_t len, bool hold)
{
	struct uffdio_writeprotect w = {.range = {.start = (uintptr_t)addr, .len = len},
	                                .mode = hold ? UFFDIO_WRITEPROTECT_MODE_WP : 0};
	return RESULT(ioctl(fd, UFFDIO_WRITEPROTECT, &w));
}

int sys_writes_next(int fd, uintptr_t *addr)
{
	struct uffd_msg m;
	ssize_t n = -1;
	int err = RESULT(n = syscall(SYS_read, fd, &m, sizeof m));
	if (!err && (n != sizeof m || m.event != UFFD_EVENT_PAGEFAULT))
		err = EIO;
	*addr = err ? 0 : (uintptr_t)m.arg.pagefault.address;
	return err;
}

int sys_signals_block(uint64_t *before)
{
	uint64_t all = ~(uint64_t)0;
	return RESULT(syscall(SYS_rt_sigprocmask, SIG_BLOCK, &all, before, sizeof all));
}

void sys_signals_restore(uint64_t before)
{
	(void)RESULT(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before));
}

int sys_futex_wait(_Atomic uint32_t *word, uint32_t seen, uint32_t ms)
{
	struct timespec ts = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	int saved = errno;
	long r = syscall(SYS_futex, word, FUTEX_WAIT, seen, &ts, NULL, 0);
	int err = r == -1 ? errno : 0;
	errno = saved;
	return err;
}

void sys_futex_wake(_Atomic uint32_t *word)
{
	(void)RESULT(syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0));
}

int sys_random(void *to, size_t len)
{
	return RESULT(getrandom(to, len, 0) == (ssize_t)len ? 0 : -1);
}

pid_t sys_pid(void)
{
	return getpid();
}

pid_t sys_tid(void)
{
	return gettid();
}

unsigned sys_processors(unsigned otherwise)
{
	cpu_set_t set; /* sysconf() would read a file */
	return RESULT(sched_getaffinity(0, sizeof set, &set)) ? otherwise : (unsigned)CPU_COUNT(&set);
}

void sys_yield(void)
{
	(void)sched_yield();
}

/* ---- processes ------------------------------------------------------------------- */

int sys_fork(pid_t *child)
{
	int saved = errno;
	*child = _Fork();
	int err = *child < 0 ? errno : 0;
	errno = saved;
	return err;
}

int sys_wait(pid_t child, int *status)
{
	return RESULT(waitpid(child, status, 0));
}

void sys_session(void)
{
	(void)RESULT(setsid());
}

void sys_become_server(const char *name)
{
	sigset_t all;
	sigfillset(&all);
	(void)RESULT(sigprocmask(SIG_SETMASK, &all, NULL)); /* NOLINT(concurrency-mt-unsafe): a forked child, of one thread */
	(void)RESULT(prctl(PR_SET_NAME, name));
	(void)RESULT(chdir("/"));
}

void sys_copy_text(char *out, size_t len, const char *text)
{
	size_t n = strnlen(text, len - 1);
	memcpy(out, text, n);
	out[n] = 0;
}

unsigned sys_threads(void)
{
	struct stat st; /* a directory each, "." and ".." */
	return sys_stat("/proc/self/task", &st) || st.st_nlink < 3 ? 0 : (unsigned)st.st_nlink - 2;
}

/* Reads a small file of /proc without the heap. */
static size_t proc_read(const char *path, char *buf, size_t len)
{
	int fd;
	if (sys_open(path, O_RDONLY, 0, &fd))
		return 0;
	ssize_t n = -1;
	(void)RESULT(n = read(fd, buf, len - 1));
	sys_close(fd);
	buf[n > 0 ? n : 0] = 0;
	return n > 0 ? (size_t)n : 0;
}

void sys_process_name(char *out, size_t len)
{
	char buf[64];
	if (sys_tid() == getpid() && !prctl(PR_GET_NAME, buf)) { /* the process's name is its first thread's */
		sys_copy_text(out, len, buf);
		return;
	}
	size_t n = proc_read("/proc/self/comm", buf, sizeof buf);
	if (n && buf[n - 1] == '\n')
		buf[n - 1] = 0;
	sys_copy_text(out, len, n ? buf : "?");
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t sys_coarse_ms(void) { return clock_ns(CLOCK_MONOTONIC_COARSE) / 1000000u; }
uint64_t sys_ticks_ns(void) { return clock_ns(CLOCK_MONOTONIC); }
uint64_t sys_now_ns(void) { return clock_ns(CLOCK_REALTIME); }
