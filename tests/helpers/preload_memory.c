/*
 * preload_memory.c - what programs do to heap memory beside reading and
 * writing it. Run by preload_memory.sh, with the shim and without, and both
 * must say the same.
 *
 *   preload_memory plain|placed FILE     each case; `placed`: the blocks must lie in a region
 *   preload_memory lockall PREFIX        what mlockall makes of the region PREFIX<pid>
 *   preload_memory clone                 a child that no handler hears of
 *   preload_memory forked PATH           forks where the region cannot be opened any more
 *
 * FILE is made and removed, on a file system that may know O_DIRECT. Blocks
 * of the cases are 64 KiB to 4 MiB, and 16 KiB at page boundaries.
 */
#include "preload_util.h"

#include <errno.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#ifndef MADV_COLD
#define MADV_COLD 20
#define MADV_PAGEOUT 21
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#define MADV_GUARD_REMOVE 103
#endif

enum { KIB = 1024, MIB = 1024 * KIB, BYTES_PAGE = 4 * KIB };

static bool placed;
static const char *file;

static void say(const char *what, long value)
{
	dprintf(STDOUT_FILENO, "  %s: %ld\n", what, value);
}

/* The result of a call that says -1 and errno. */
static void say_result(const char *what, long r)
{
	dprintf(STDOUT_FILENO, "  %s: %s\n", what, r == 0 ? "0" : r > 0 ? "more" : strerrorname_np(errno));
}

/* At a page boundary, each page of it filled with its number. */
static unsigned char *block(size_t size)
{
	unsigned char *p = kept(aligned_alloc(BYTES_PAGE, any(size)));
	if (!p || (placed && !inode_at(p))) {
		dprintf(STDOUT_FILENO, "  no block of %zu bytes in the region\n", size);
		exit(1);
	}
	for (size_t i = 0; i < size; i++)
		p[i] = (unsigned char)(i / BYTES_PAGE + 1);
	return p;
}

/* Which of the pages are zero, which as filled, which neither: a letter each. */
static void say_pages(const char *what, const unsigned char *p, size_t size)
{
	char text[64] = "";
	size_t step = size / BYTES_PAGE <= 32 ? 1 : size / BYTES_PAGE / 32;
	for (size_t page = 0, n = 0; page < size / BYTES_PAGE; page += step, n++) {
		size_t zeros = 0, good = 0;
		for (size_t i = page * BYTES_PAGE; i < (page + step) * BYTES_PAGE; i++)
			zeros += p[i] == 0, good += p[i] == (unsigned char)(i / BYTES_PAGE + 1);
		text[n] = zeros == step * BYTES_PAGE ? '0' : good >= step * BYTES_PAGE - 16 * BYTES_PAGE / 256 ? 'x' : '?';
	}
	dprintf(STDOUT_FILENO, "  %s: %s\n", what, text);
}

/* ---- madvise ------------------------------------------------------------------- */

static void discard(size_t size, int advice)
{
	unsigned char *p = block(size);
	say_result("a quarter in the middle", madvise(p + size / 4, size / 4, advice));
	say_pages("then", p, size);
	memset(p + size / 4, 77, size / 4);
	say("it takes what is written", p[size / 4] + p[size / 2 - 1]);
	say_result("all", madvise(p, size, advice));
	say_pages("then", p, size);
	free(p);
	p = kept(calloc(1, any(size)));
	size_t dirt = 0;
	for (size_t i = 0; i < size; i++)
		dirt += p[i] != 0;
	say("after free, calloc gives zeros: dirt", (long)dirt);
	free(p);
}

static void dontneed(void)
{
	discard(16 * KIB, MADV_DONTNEED);
	discard(64 * KIB, MADV_DONTNEED);
	discard(4 * MIB, MADV_DONTNEED);
	discard(64 * KIB, MADV_DONTNEED_LOCKED);
}

static void dontneed_odd(void)
{
	unsigned char *p = block(64 * KIB);
	say_result("a length of one byte: its page", madvise(p + BYTES_PAGE, 1, MADV_DONTNEED));
	say_result("no length", madvise(p + 2 * BYTES_PAGE, 0, MADV_DONTNEED));
	say_result("no page boundary", madvise(p + 100, BYTES_PAGE, MADV_DONTNEED));
	say_result("no page boundary, no length", madvise(p + 100, 0, MADV_DONTNEED));
	say_result("a length that wraps", madvise(p + 2 * BYTES_PAGE, (size_t)-1, MADV_DONTNEED));
	say_result("one that ends below", madvise(p + 2 * BYTES_PAGE, (size_t)0 - 8 * BYTES_PAGE, MADV_DONTNEED));
	say_result("nothing is there", madvise(NULL, BYTES_PAGE, MADV_DONTNEED));
	say_result("no such advice", madvise(p, BYTES_PAGE, 9999));
	say_result("REMOVE, which private memory has not", madvise(p, BYTES_PAGE, MADV_REMOVE));
	say_pages("then", p, 64 * KIB);
	errno = 42;
	say_result("well", madvise(p, BYTES_PAGE, MADV_DONTNEED));
	say("errno as it was", errno);
	free(p);
}

static void dontneed_locked(void)
{
	unsigned char *p = block(64 * KIB);
	say_result("mlock", mlock(p, 32 * KIB));
	say_result("DONTNEED of locked memory", madvise(p, 16 * KIB, MADV_DONTNEED));
	say_result("FREE of locked memory", madvise(p, 16 * KIB, MADV_FREE));
	say_pages("then", p, 64 * KIB);
	say_result("DONTNEED_LOCKED", madvise(p, 16 * KIB, MADV_DONTNEED_LOCKED));
	say_pages("then", p, 64 * KIB);
	say_result("munlock", munlock(p, 32 * KIB));
	say_result("DONTNEED", madvise(p, 32 * KIB, MADV_DONTNEED));
	say_pages("then", p, 64 * KIB);
	free(p);
}

static void dontneed_protected(void)
{
	unsigned char *p = block(128 * KIB);
	say_result("read-only", mprotect(p, 32 * KIB, PROT_READ));
	say_result("no access", mprotect(p + 32 * KIB, 32 * KIB, PROT_NONE));
	say_result("DONTNEED over both and more", madvise(p, 96 * KIB, MADV_DONTNEED));
	say_result("as before", mprotect(p, 64 * KIB, PROT_READ | PROT_WRITE));
	say_pages("then", p, 128 * KIB);
	free(p);
}

static void guards(void)
{
	unsigned char *p = block(64 * KIB);
	int r = madvise(p, 16 * KIB, MADV_GUARD_INSTALL);
	if (r) {
		dprintf(STDOUT_FILENO, "  this kernel has none for it\n");
	} else {
		say_result("removed", madvise(p, 16 * KIB, MADV_GUARD_REMOVE));
		say_pages("then", p, 64 * KIB);
	}
	free(p);
}

static void posix(void)
{
	unsigned char *p = block(64 * KIB);
	say("DONTNEED", posix_madvise(p, 64 * KIB, POSIX_MADV_DONTNEED));
	say("WILLNEED", posix_madvise(p, 64 * KIB, POSIX_MADV_WILLNEED));
	say("SEQUENTIAL", posix_madvise(p, 64 * KIB, POSIX_MADV_SEQUENTIAL));
	say("RANDOM", posix_madvise(p, 64 * KIB, POSIX_MADV_RANDOM));
	say("NORMAL", posix_madvise(p, 64 * KIB, POSIX_MADV_NORMAL));
	say("no page boundary", posix_madvise(p + 5, 64 * KIB, POSIX_MADV_WILLNEED));
	say_pages("which changes nothing", p, 64 * KIB);
	free(p);
}

static void lazily_freed(void)
{
	unsigned char *p = block(256 * KIB);
	say_result("FREE", madvise(p, 128 * KIB, MADV_FREE));
	size_t bad = 0;
	for (size_t i = 0; i < 128 * KIB; i++)
		bad += p[i] != 0 && p[i] != (unsigned char)(i / BYTES_PAGE + 1);
	say("neither the old nor zero", (long)bad);
	memset(p, 9, 64 * KIB);
	for (size_t i = 0; i < 64 * KIB; i++)
		bad += p[i] != 9;
	say("written and lost", (long)bad);
	for (size_t i = 128 * KIB; i < 256 * KIB; i++)
		bad += p[i] != (unsigned char)(i / BYTES_PAGE + 1);
	say("the rest and lost", (long)bad);
	say_result("no page boundary", madvise(p + 1, BYTES_PAGE, MADV_FREE));
	free(p);
}

static void other_advice(void)
{
	static const struct {
		int advice;
		const char *name;
	} all[] = {{MADV_NORMAL, "NORMAL"}, {MADV_RANDOM, "RANDOM"}, {MADV_SEQUENTIAL, "SEQUENTIAL"},
	           {MADV_WILLNEED, "WILLNEED"}, {MADV_DONTFORK, "DONTFORK"}, {MADV_DOFORK, "DOFORK"},
	           {MADV_MERGEABLE, "MERGEABLE"}, {MADV_UNMERGEABLE, "UNMERGEABLE"}, {MADV_HUGEPAGE, "HUGEPAGE"},
	           {MADV_NOHUGEPAGE, "NOHUGEPAGE"}, {MADV_DONTDUMP, "DONTDUMP"}, {MADV_DODUMP, "DODUMP"},
	           {MADV_COLD, "COLD"}, {MADV_PAGEOUT, "PAGEOUT"}, {MADV_POPULATE_READ, "POPULATE_READ"},
	           {MADV_POPULATE_WRITE, "POPULATE_WRITE"}, {MADV_KEEPONFORK, "KEEPONFORK"}};
	unsigned char *p = block(4 * MIB);
	for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
		say_result(all[i].name, madvise(p, 4 * MIB, all[i].advice));
	say_pages("which changes nothing", p, 4 * MIB);
	free(p);
}

/* As ibverbs does to what it registers: the child has the block or not, the parent has it. */
static void dontfork(void)
{
	int status;
	unsigned char *p = block(64 * KIB);
	say_result("DONTFORK", madvise(p, 64 * KIB, MADV_DONTFORK));
	pid_t pid = fork();
	if (pid == 0) {
		void *q = kept(malloc(any(100 * KIB)));
		free(q);
		_exit(q ? 5 : 6);
	}
	waitpid(pid, &status, 0);
	say("the child allocates and leaves with", WEXITSTATUS(status));
	say_result("DOFORK", madvise(p, 64 * KIB, MADV_DOFORK));
	say_pages("the block", p, 64 * KIB);
	free(p);
}

/* ---- mprotect, mlock ------------------------------------------------------------- */

static sigjmp_buf caught;
static unsigned char *guarded;
static size_t guarded_len;
static volatile sig_atomic_t faults;

static void on_fault(int unused)
{
	(void)unused;
	siglongjmp(caught, 1);
}

static void on_first_write(int unused)
{
	(void)unused;
	faults++;
	mprotect(guarded, guarded_len, PROT_READ | PROT_WRITE);
}

static bool can(unsigned char *p, bool write)
{
	volatile unsigned char *v = p;
	if (sigsetjmp(caught, 1))
		return false;
	if (write)
		*v = *v;
	else
		(void)*v;
	return true;
}

static void protected(void)
{
	unsigned char *p = block(256 * KIB);
	signal(SIGSEGV, on_fault);
	say_result("no access", mprotect(p + 64 * KIB, 64 * KIB, PROT_NONE));
	say("read it", can(p + 64 * KIB, false));
	say("read beside it", can(p + 64 * KIB - 1, false) && can(p + 128 * KIB, false));
	say_result("read-only", mprotect(p + 64 * KIB, 64 * KIB, PROT_READ));
	say("read it", can(p + 64 * KIB, false));
	say("write it", can(p + 64 * KIB, true));
	say_result("as before", mprotect(p + 64 * KIB, 64 * KIB, PROT_READ | PROT_WRITE));
	say("write it", can(p + 64 * KIB, true));
	say_pages("the block", p, 256 * KIB);
	unsigned char *code = block(16 * KIB);
	memcpy(code, "\xb8\x07\x00\x00\x00\xc3", 6); /* x86-64: return 7 */
	say_result("executable", mprotect(code, BYTES_PAGE, PROT_READ | PROT_WRITE | PROT_EXEC));
#ifdef __x86_64__
	say("and it runs", ((int (*)(void))(void *)code)());
#endif
	say_result("not any more", mprotect(code, BYTES_PAGE, PROT_READ | PROT_WRITE));
	signal(SIGSEGV, on_first_write);
	guarded = p, guarded_len = 128 * KIB;
	say_result("a write barrier", mprotect(guarded, guarded_len, PROT_READ));
	for (size_t i = 0; i < 256 * KIB; i += BYTES_PAGE)
		p[i] = 3;
	say("faults", faults);
	signal(SIGSEGV, SIG_DFL);
	free(p);
	free(code);
	p = block(256 * KIB);
	say_pages("another block", p, 256 * KIB);
	free(p);
}

/* A child of a fork has what its parent could not read. */
static void protected_at_fork(void)
{
	int status;
	unsigned char *p = block(128 * KIB);
	mprotect(p, 64 * KIB, PROT_NONE);
	pid_t pid = fork();
	if (pid == 0) {
		mprotect(p, 64 * KIB, PROT_READ | PROT_WRITE);
		say_pages("the child's", p, 128 * KIB);
		memset(p, 0, 128 * KIB);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	mprotect(p, 64 * KIB, PROT_READ | PROT_WRITE);
	say_pages("the parent's", p, 128 * KIB);
	free(p);
}

static void locked(void)
{
	unsigned char *p = block(1 * MIB);
	say_result("mlock", mlock(p + 100, 512 * KIB));
	say_result("mlock2, as touched", (int)syscall(SYS_mlock2, p, 1 * MIB, 1));
	say_pages("the block", p, 1 * MIB);
	say_result("munlock", munlock(p, 1 * MIB));
	say_result("mlock", mlock(p, 1 * MIB));
	free(p); /* while it is locked */
	p = block(1 * MIB);
	say_pages("another block", p, 1 * MIB);
	say_result("munlock", munlock(p, 1 * MIB));
	free(p);
}

static void locked_all(void)
{
	int status;
	unsigned char *p = block(1 * MIB);
	say_result("bad flags", mlockall(0x80));
	say_result("no flags", mlockall(0));
	say_result("what is", mlockall(MCL_CURRENT));
	say_result("what will be", mlockall(MCL_CURRENT | MCL_FUTURE));
	unsigned char *q = block(1 * MIB);
	pid_t pid = fork();
	if (pid == 0) {
		unsigned char *r = kept(malloc(any(100 * KIB)));
		memset(r, 4, 100 * KIB);
		_exit(mlockall(MCL_CURRENT | MCL_FUTURE) ? 1 : p[5] + q[5] + r[5]);
	}
	waitpid(pid, &status, 0);
	say("a child locks all, and its status is", WEXITSTATUS(status));
	say_result("munlockall", munlockall());
	say_pages("a block", p, 1 * MIB);
	say_pages("another", q, 1 * MIB);
	free(p), free(q);
}

/* ---- the kernel reads and writes it -------------------------------------------------- */

static int open_direct(void)
{
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (fd < 0)
		dprintf(STDOUT_FILENO, "  no O_DIRECT here: an ordinary file\n");
	return fd < 0 ? open(file, O_RDWR | O_CREAT | O_TRUNC, 0600) : fd;
}

static void direct(void)
{
	unsigned char *p = block(1 * MIB), *q = block(16 * KIB);
	int fd = open_direct();
	say("written", pwrite(fd, p, 1 * MIB, 0));
	memset(p, 0, 1 * MIB);
	say("read", pread(fd, p, 1 * MIB, 0));
	say_pages("the block", p, 1 * MIB);
	say("read", pread(fd, q, 16 * KIB, 0));
	say_pages("a small one", q, 16 * KIB);
	struct iovec parts[2] = {{q, 8 * KIB}, {p + 512 * KIB, 64 * KIB}};
	say("written from both", pwritev(fd, parts, 2, 0));
	say("read into both", preadv(fd, parts, 2, 0));
	say_pages("the block", p, 1 * MIB);
	close(fd), unlink(file);
	free(p), free(q);
}

struct ring {
	int fd;
	char *sq, *cq;
	struct io_uring_sqe *sqes;
	struct io_uring_params params;
};

static bool ring_open(struct ring *r)
{
	r->fd = (int)syscall(SYS_io_uring_setup, 4, &r->params);
	if (r->fd < 0)
		return false;
	size_t sq = r->params.sq_off.array + 4 * r->params.sq_entries;
	size_t cq = r->params.cq_off.cqes + r->params.cq_entries * sizeof(struct io_uring_cqe);
	r->sq = mmap(NULL, sq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, cq, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_SQES);
	return r->sq != MAP_FAILED && r->cq != MAP_FAILED && r->sqes != MAP_FAILED;
}

static long ring_do(struct ring *r, struct io_uring_sqe e)
{
	uint32_t *tail = (uint32_t *)(r->sq + r->params.sq_off.tail), at = *tail & (r->params.sq_entries - 1);
	r->sqes[at] = e;
	((uint32_t *)(r->sq + r->params.sq_off.array))[at] = at;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	if (syscall(SYS_io_uring_enter, r->fd, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		return -errno;
	uint32_t *head = (uint32_t *)(r->cq + r->params.cq_off.head);
	struct io_uring_cqe *c = (struct io_uring_cqe *)(r->cq + r->params.cq_off.cqes);
	long res = c[*head & (r->params.cq_entries - 1)].res;
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return res;
}

static void uring(void)
{
	struct ring r = {.fd = -1};
	if (!ring_open(&r)) {
		dprintf(STDOUT_FILENO, "  io_uring is not to be had here\n");
		return;
	}
	unsigned char *p = block(1 * MIB), *q = block(256 * KIB);
	int fd = open_direct();
	struct io_uring_sqe e = {.opcode = IORING_OP_WRITE, .fd = fd, .addr = (uintptr_t)p, .len = 1 * MIB};
	say("written", ring_do(&r, e));
	struct iovec fixed = {q, 256 * KIB};
	say_result("a block registered", syscall(SYS_io_uring_register, r.fd, IORING_REGISTER_BUFFERS, &fixed, 1));
	memset(q, 0, 256 * KIB);
	e = (struct io_uring_sqe){.opcode = IORING_OP_READ_FIXED, .fd = fd, .addr = (uintptr_t)q, .len = 256 * KIB};
	say("read into it", ring_do(&r, e));
	say_pages("then", q, 256 * KIB);
	say_result("and no more", syscall(SYS_io_uring_register, r.fd, IORING_UNREGISTER_BUFFERS, NULL, 0));
	close(fd), unlink(file), close(r.fd);
	free(p), free(q);
}

static void pipes(void)
{
	int ends[2];
	unsigned char *p = block(64 * KIB), *q = block(64 * KIB);
	if (pipe(ends))
		exit(2);
	struct iovec v = {p, 32 * KIB};
	memset(q, 0, 64 * KIB);
	say("vmsplice", vmsplice(ends[1], &v, 1, 0));
	say("read", read(ends[0], q, 32 * KIB));
	say_pages("then", q, 64 * KIB);
	close(ends[0]), close(ends[1]);
	free(p), free(q);
}

/* Another process looks at ours and changes it. */
static void peer(void)
{
	int status;
	static unsigned char seen[64 * KIB];
	unsigned char *p = block(64 * KIB);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	pid_t pid = fork();
	if (pid == 0) {
		struct iovec here = {seen, sizeof seen}, there = {p, sizeof seen};
		memset(p, 0, 64 * KIB); /* the child's, if it has one */
		say("process_vm_readv", process_vm_readv(getppid(), &here, 1, &there, 1, 0));
		say_pages("the parent's", seen, sizeof seen);
		memset(seen, 0, 8 * KIB), there.iov_len = here.iov_len = 8 * KIB;
		say("process_vm_writev", process_vm_writev(getppid(), &here, 1, &there, 1, 0));
		_exit(0);
	}
	waitpid(pid, &status, 0);
	say_pages("then", p, 64 * KIB);
	int fd = open("/proc/self/mem", O_RDWR);
	say("/proc/self/mem", pwrite(fd, p + 8 * KIB, 8 * KIB, (off_t)(uintptr_t)p));
	say("its first byte", p[0]);
	close(fd), free(p);
}

static void residency(void)
{
	unsigned char in[16] = {0}, sum = 0;
	unsigned char *p = block(64 * KIB);
	say_result("mincore", mincore(p, 64 * KIB, in));
	for (unsigned i = 0; i < 16; i++)
		sum = (unsigned char)(sum + (in[i] & 1));
	say("pages", sum);
	free(p);
}

/* A program that puts a mapping of its own over whole pages of its block. */
static void mapped_over(void)
{
	unsigned char *p = block(1 * MIB), *q[16];
	void *at = mmap(p + 64 * KIB, 64 * KIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	say("at the place", at == p + 64 * KIB);
	say_pages("then", p, 1 * MIB);
	memset(at, 5, 64 * KIB);
	free(p);
	for (unsigned i = 0; i < 16; i++)
		q[i] = block(256 * KIB);
	say_pages("another block", q[7], 256 * KIB);
	for (unsigned i = 0; i < 16; i++)
		free(q[i]);
}

/* ---- threads ---------------------------------------------------------------------- */

struct meeting {
	pthread_mutex_t lock;
	pthread_cond_t change;
	unsigned turn, rounds;
	unsigned char rest[128 * KIB];
};

static void *other_side(void *arg)
{
	struct meeting *m = arg;
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < 1000; i++) {
		while (m->turn != 1)
			pthread_cond_wait(&m->change, &m->lock);
		m->turn = 0, m->rounds++;
		pthread_cond_signal(&m->change);
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static void meet(void)
{
	pthread_t t;
	struct meeting *m = (struct meeting *)(void *)block(sizeof *m);
	pthread_mutex_init(&m->lock, NULL), pthread_cond_init(&m->change, NULL);
	m->turn = m->rounds = 0;
	pthread_create(&t, NULL, other_side, m);
	pthread_mutex_lock(&m->lock);
	for (unsigned i = 0; i < 1000; i++) {
		m->turn = 1;
		pthread_cond_signal(&m->change);
		while (m->turn != 0)
			pthread_cond_wait(&m->change, &m->lock);
	}
	pthread_mutex_unlock(&m->lock);
	pthread_join(t, NULL);
	say("rounds", m->rounds);
	free(m);
}

/* ---- children nobody is told of ------------------------------------------------------ */

static pid_t bare_clone(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

/* What a sandbox does between clone and exec. */
static void test_clone(void)
{
	int status;
	unsigned char *p = block(64 * KIB);
	pid_t pid = bare_clone();
	if (pid == 0) {
		p[0] = 99;
		syscall(SYS_exit_group, p[BYTES_PAGE]);
	}
	waitpid(pid, &status, 0);
	say("it reads", WEXITSTATUS(status));
	say("its write shows", p[0] == 99);
	pid = bare_clone();
	if (pid == 0) {
		execl("/bin/sh", "sh", "-c", "exit 6", (char *)NULL);
		_exit(1);
	}
	waitpid(pid, &status, 0);
	say("it executes", WEXITSTATUS(status));
	pid = bare_clone();
	if (pid == 0)
		exit(4);
	waitpid(pid, &status, 0);
	say("it exits", WEXITSTATUS(status));
	say("the region is there", inode_at(p) != 0);
	free(p);
	p = block(64 * KIB);
	say_pages("and gives blocks", p, 64 * KIB);
	free(p);
}

static long region_mib(const char *prefix)
{
	char path[200];
	struct stat st;
	snprintf(path, sizeof path, "/dev/shm%s%d", prefix, (int)getpid());
	return stat(path, &st) ? -1 : st.st_blocks / 2048;
}

/* A region is as large as what is in it, whoever locks all of his memory before or after it came to be. */
static void test_lockall(const char *prefix)
{
	int status;
	unsigned char *p = block(1 * MIB);
	say("the region is small", region_mib(prefix) >= 1 && region_mib(prefix) < 32);
	say_result("mlockall", mlockall(MCL_CURRENT | MCL_FUTURE));
	say("it still is", region_mib(prefix) >= 1 && region_mib(prefix) < 32);
	pid_t pid = fork();
	if (pid == 0) {
		say_result("the child's mlockall", mlockall(MCL_FUTURE));
		unsigned char *q = block(1 * MIB);
		say("its region is small", region_mib(prefix) >= 1 && region_mib(prefix) < 32);
		say("both blocks", p[5] + q[5]);
		_exit(9);
	}
	waitpid(pid, &status, 0);
	say("the child's status", WEXITSTATUS(status));
	say("the region is as it was", region_mib(prefix) >= 1 && region_mib(prefix) < 32);
	free(p);
}

/* No descriptor and no name: the copy is made through the mapping, whatever its protection. */
static void test_forked(const char *path)
{
	int status;
	unsigned char *p = block(128 * KIB), *small = block(16 * KIB);
	unlink(path);
	for (int fd = 3; fd < 2048; fd++)
		close(fd);
	mprotect(p, 64 * KIB, PROT_NONE);
	mprotect(small, BYTES_PAGE, PROT_NONE);
	pid_t pid = fork();
	if (pid == 0) {
		mprotect(p, 64 * KIB, PROT_READ | PROT_WRITE);
		mprotect(small, BYTES_PAGE, PROT_READ | PROT_WRITE);
		say_pages("the child's", p, 128 * KIB);
		say_pages("and the small one", small, 16 * KIB);
		_exit(3);
	}
	waitpid(pid, &status, 0);
	say("the child's status", WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{"DONTNEED leaves zeros", dontneed},
	{"DONTNEED of odd ranges", dontneed_odd},
	{"DONTNEED of locked memory", dontneed_locked},
	{"DONTNEED of protected memory", dontneed_protected},
	{"guards", guards},
	{"posix_madvise", posix},
	{"FREE", lazily_freed},
	{"other advice", other_advice},
	{"DONTFORK", dontfork},
	{"mprotect", protected},
	{"mprotect and fork", protected_at_fork},
	{"mlock", locked},
	{"mlockall", locked_all},
	{"O_DIRECT", direct},
	{"io_uring", uring},
	{"vmsplice", pipes},
	{"process_vm_readv, /proc/self/mem", peer},
	{"mincore", residency},
	{"MAP_FIXED over a block", mapped_over},
	{"mutex and condition in a block", meet},
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "clone")) {
		test_clone();
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "lockall")) {
		test_lockall(argv[2]);
		return 0;
	}
	if (argc == 3 && !strcmp(argv[1], "forked")) {
		test_forked(argv[2]);
		return 0;
	}
	if (argc != 3)
		return 2;
	placed = !strcmp(argv[1], "placed");
	file = argv[2];
	for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
		dprintf(STDOUT_FILENO, "-- %s\n", cases[i].name);
		cases[i].run();
	}
	return 0;
}
