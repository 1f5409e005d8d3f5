/*
 * crash_trace.h - a victim and its peer, stepped one instruction at a time,
 * and copies of the region between two of them.
 *
 * Reading a hole through a mapping would allocate it, so only what SEEK_DATA
 * lists is looked at, and the list is made anew after every system call.
 */
#ifndef CRASH_TRACE_H
#define CRASH_TRACE_H

#include "crash_ops.h"

#include <sys/ptrace.h>
#include <sys/user.h>

enum { EXTENTS = 256 };

struct extent {
	uint64_t off, len;
};

struct trace {
	const struct op *op;
	pid_t victim, peer;
	int fd;             /* of the region, 0600 */
	struct layout lay;
	const char *now;    /* the region, read-only */
	char *before;       /* the part that is watched, as it was last seen */
	uint64_t watched;   /* its length */
	struct extent at[EXTENTS]; /* what of it exists */
	unsigned at_n;
	uint64_t rip;       /* of the instruction stepped last */
	uint64_t steps;
	bool ended;         /* the operation has returned */
	char fault[120];    /* a rule that was broken, whoever survives */
};

static _Noreturn void harness_fail(const char *what)
{
	perror(what);
	exit(1);
}

/* ---- processes --------------------------------------------------------------------- */

__attribute__((noinline)) static void operation_ends(void)
{
	__asm__ volatile("" ::: "memory");
	_exit(0);
}

static void victim_main(const struct op *op)
{
	if (ptrace(PTRACE_TRACEME, 0, NULL, NULL))
		_exit(91);
	op->prepare();
	raise(SIGSTOP);
	op->run();
	operation_ends();
}

static pid_t start(void (*body)(const struct op *), const struct op *op, const int unused[2])
{
	pid_t pid = fork();
	if (pid < 0)
		harness_fail("fork");
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGTERM, SIG_DFL);
		close(unused[0]);
		close(unused[1]);
		body(op);
		_exit(92);
	}
	return pid;
}

static void peer_main(const struct op *op)
{
	(void)op;
	close(plan->ask[1]);
	peer_serve();
}

static void reap(pid_t *pid)
{
	if (*pid > 0) {
		kill(*pid, SIGKILL);
		waitpid(*pid, NULL, 0);
	}
	*pid = 0;
}

/* False: the preparation failed. */
static bool trace_wait_prepared(struct trace *t)
{
	int status;
	if (waitpid(t->victim, &status, 0) != t->victim || !WIFSTOPPED(status) || WSTOPSIG(status) != SIGSTOP) {
		fprintf(stderr, "crash_sweep: %s: the preparation ended with status %#x\n", t->op->name, status);
		if (WIFEXITED(status) || WIFSIGNALED(status))
			t->victim = 0;
		return false;
	}
	return true;
}

static void trace_close(struct trace *t)
{
	reap(&t->victim);
	reap(&t->peer);
	if (t->before)
		munmap(t->before, t->watched);
	if (t->now)
		munmap((void *)t->now, t->lay.size);
	if (t->fd >= 0)
		close(t->fd);
}

/* ---- the region ---------------------------------------------------------------------- */

/* Extents of data below `end`. */
static unsigned extents(int fd, uint64_t end, struct extent *to)
{
	unsigned n = 0;
	for (uint64_t off = 0, hole; off < end; off = hole) {
		if (sys_seek_data(fd, off, &off) || off >= end || n == EXTENTS)
			break;
		if (sys_seek_hole(fd, off, &hole))
			harness_fail("SEEK_HOLE");
		to[n++] = (struct extent){off, (hole < end ? hole : end) - off};
	}
	return n;
}

static bool extents_renew(struct trace *t)
{
	struct extent now[EXTENTS];
	unsigned n = extents(t->fd, t->watched, now);
	bool same = n == t->at_n && !memcmp(now, t->at, n * sizeof *now);
	memcpy(t->at, now, n * sizeof *now);
	t->at_n = n;
	return !same;
}

/* A depot's cells and count change under its lock only. */
static void depots_watch(struct trace *t, uint64_t off, uint64_t len)
{
	const struct depot_shm *was = (const void *)(t->before + t->lay.depots), *is = (const void *)(t->now + t->lay.depots);
	if (off > t->lay.depots || off + len < t->lay.depots + CLASSES * sizeof *is)
		return;
	for (unsigned c = 0; c < CLASSES && !*t->fault; c++)
		if (memcmp(&was[c].count, &is[c].count, sizeof *is - offsetof(struct depot_shm, count)) &&
		    !atomic_load(&was[c].lock) && !atomic_load(&is[c].lock))
			snprintf(t->fault, sizeof t->fault, "depot %u changes, and nobody holds its lock", c);
}

static bool changed(struct trace *t)
{
	bool any = false;
	for (unsigned i = 0; i < t->at_n; i++) {
		struct extent e = t->at[i];
		if (!memcmp(t->before + e.off, t->now + e.off, e.len))
			continue;
		depots_watch(t, e.off, e.len);
		memcpy(t->before + e.off, t->now + e.off, e.len);
		any = true;
	}
	return any;
}

static bool trace_map(struct trace *t)
{
	struct header_shm h;
	char path[96];
	snprintf(path, sizeof path, "/dev/shm%s", plan->name);
	if (sys_open(path, O_RDWR, 0, &t->fd) || sys_pread(t->fd, &h, sizeof h, 0))
		return false;
	t->lay = layout_of(h.capacity >> UNIT_SHIFT);
	void *now = mmap(NULL, t->lay.size, PROT_READ, MAP_SHARED, t->fd, 0);
	t->watched = plan->data_counts ? t->lay.size : t->lay.data;
	void *before = mmap(NULL, t->watched, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (now == MAP_FAILED || before == MAP_FAILED)
		harness_fail("mmap");
	t->now = now;
	t->before = before;
	(void)extents_renew(t);
	(void)changed(t);
	*t->fault = 0;
	return true;
}

/* Copies the region to a new object `name`; it has no locks: whoever was attached looks dead. */
static void region_copy(const struct trace *t, const char *name)
{
	static struct extent all[EXTENTS];
	char path[96];
	int fd;
	snprintf(path, sizeof path, "/dev/shm%s", name);
	if (sys_open(path, O_RDWR | O_CREAT | O_EXCL, 0600, &fd) || sys_truncate(fd, t->lay.size) || sys_fchmod(fd, 01600))
		harness_fail(path);
	unsigned n = extents(t->fd, t->lay.size, all);
	if (n == EXTENTS)
		harness_fail("too many extents");
	for (unsigned i = 0; i < n; i++)
		if (sys_pwrite(fd, t->now + all[i].off, all[i].len, all[i].off))
			harness_fail("pwrite");
	close(fd);
}

/* ---- stepping --------------------------------------------------------------------------- */

/* A victim ready to be stepped; false: say so and give up on this operation. */
static bool trace_open(struct trace *t, const struct op *op)
{
	static unsigned number;
	*t = (struct trace){.op = op, .fd = -1};
	int ask_fd[2], answer_fd[2];
	memset(plan, 0, sizeof *plan);
	snprintf(plan->name, sizeof plan->name, "/shmb-test-%d-%u", (int)getpid(), number++);
	if (pipe(ask_fd) || pipe(answer_fd))
		harness_fail("pipe");
	memcpy(plan->ask, ask_fd, sizeof ask_fd);
	memcpy(plan->answer, answer_fd, sizeof answer_fd);
	t->peer = start(peer_main, op, (int[2]){-1, answer_fd[0]});
	t->victim = start(victim_main, op, (int[2]){ask_fd[0], answer_fd[1]});
	close(ask_fd[0]), close(ask_fd[1]), close(answer_fd[0]), close(answer_fd[1]);
	if (trace_wait_prepared(t) && trace_map(t))
		return true;
	return false;
}

/* One instruction. False: the operation has ended, well (t->ended) or not. */
static bool trace_step(struct trace *t)
{
	int status;
	t->rip = (uint64_t)ptrace(PTRACE_PEEKUSER, t->victim, offsetof(struct user, regs.rip), NULL);
	if (t->rip == (uint64_t)(uintptr_t)operation_ends) {
		t->ended = true;
		return false;
	}
	if (ptrace(PTRACE_SINGLESTEP, t->victim, NULL, NULL) || waitpid(t->victim, &status, 0) != t->victim)
		harness_fail("PTRACE_SINGLESTEP");
	t->steps++;
	if (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP)
		return true;
	snprintf(t->fault, sizeof t->fault, "the operation itself ended with status %#x", status);
	if (!WIFSTOPPED(status))
		t->victim = 0;
	return false;
}

/* Has the instruction stepped last changed what is watched? Its text is the same here as in the victim. */
static bool trace_changed(struct trace *t)
{
	static const unsigned char syscall_bytes[2] = {0x0f, 0x05};
	bool tables = !memcmp((const void *)t->rip, syscall_bytes, 2) && extents_renew(t);
	return changed(t) || tables;
}

#endif
