/*
 * crash_recover.c - a process that holds very many blocks is killed. What
 * recovery does must not grow with them, nobody else may have to wait, and the
 * blocks are nobody's and everybody's: readable, freed exactly once, and their
 * memory comes back.
 *
 *   crash_recover [--full]     500,000 blocks of 32 bytes; --full: 5,000,000,
 *                              and as many that another holds beside the dead
 *
 * Recovery is timed three ways: a newcomer's open, which maps the region and
 * takes a slot besides; a survivor's trim, which then goes through the heap
 * for all that can be given back; and a survivor's shmb_recover(), which does
 * nothing else. Times are printed, not judged. The refs of the blocks are in a
 * raw region, where the survivors find them.
 */
#include "shmbind.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 32, BYSTANDER_BURST = 64, FEW = 10000, MANY = 500000, MANY_FULL = 5000000 };
#define CAPACITY ((size_t)1 << 30)

static char arena_name[64], raw_name[64];
static uint64_t *refs; /* the raw region */

struct bystander {
	_Atomic uint32_t go, stop;
	_Atomic uint64_t longest_ns, before_ns, turns;
};
static struct bystander *by; /* shared with it */
static int let_go[2];        /* a pipe: what the holder waits for */

enum how { BY_OPEN, BY_TRIM, BY_RECOVER };
static const char *const how_text[] = {"a newcomer's open", "a survivor's trim", "a survivor's shmb_recover"};

struct plan {
	size_t blocks; /* the victim's */
	enum how how;
	bool holder; /* a living process with `held` blocks is there */
	size_t held;
};

static uint64_t now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static _Noreturn void fail(const char *what, int err)
{
	fprintf(stderr, "FAIL: %s: %s\n", what, err ? shmb_strerror(err) : "wrong");
	shmb_remove_name(arena_name);
	shmb_remove_name(raw_name);
	exit(1);
}

static shmb_arena *attach(void)
{
	shmb_arena *a;
	int err = shmb_arena_open(arena_name, NULL, &a);
	if (err)
		fail("attach", err);
	return a;
}

/* ---- the processes beside -------------------------------------------------------- */

static _Noreturn void victim(size_t n, int say)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shmb_arena *a = attach();
	for (size_t i = 0; i < n; i++) {
		uint64_t *p = shmb_malloc(a, BLOCK);
		if (!p)
			fail("victim's malloc", ENOMEM);
		refs[i] = shmb_ref_of(a, p);
		p[0] = refs[i];
		p[1] = i;
		p[2] = ~refs[i];
		p[3] = ~i;
	}
	if (write(say, "x", 1) != 1)
		fail("victim's pipe", errno);
	for (;;)
		pause();
}

/* Holds blocks, each of which leads to the one before, until it is told to let go of them. */
static _Noreturn void holder(size_t n, int say)
{
	char c;
	void **last = NULL;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shmb_arena *a = attach();
	for (size_t i = 0; i < n; i++) {
		void **p = shmb_malloc(a, BLOCK);
		if (!p)
			fail("holder's malloc", ENOMEM);
		*p = last;
		last = p;
	}
	if (write(say, "x", 1) != 1 || read(let_go[0], &c, 1) != 1)
		fail("holder's pipes", errno);
	while (last) {
		void **before = *last;
		shmb_free(a, last);
		last = before;
	}
	_exit(shmb_arena_close(a));
}

/* Allocates and frees all the time and keeps the longest malloc since `go`. */
static _Noreturn void bystander(void)
{
	void *p[BYSTANDER_BURST];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shmb_arena *a = attach();
	while (!atomic_load(&by->stop)) {
		_Atomic uint64_t *longest = atomic_load(&by->go) ? &by->longest_ns : &by->before_ns;
		for (unsigned i = 0; i < BYSTANDER_BURST; i++) {
			uint64_t start = now_ns();
			p[i] = shmb_malloc(a, BLOCK << i % 8);
			uint64_t took = now_ns() - start;
			if (!p[i])
				fail("bystander's malloc", ENOMEM);
			if (took > atomic_load(longest))
				atomic_store(longest, took);
		}
		for (unsigned i = 0; i < BYSTANDER_BURST; i++)
			shmb_free(a, p[i]);
		atomic_fetch_add(&by->turns, 1);
	}
	_exit(shmb_arena_close(a));
}

static pid_t start(void (*child)(size_t n, int say), size_t n)
{
	int say[2];
	char c;
	if (pipe(say))
		fail("pipe", errno);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		child(n, say[1]);
	close(say[1]);
	if (read(say[0], &c, 1) != 1)
		fail("the victim or the holder ended", 0);
	close(say[0]);
	return pid;
}

static pid_t start_bystander(void)
{
	memset(by, 0, sizeof *by);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		bystander();
	while (!atomic_load(&by->turns)) {
		if (waitpid(pid, NULL, WNOHANG) == pid)
			fail("the bystander ended", 0);
		sched_yield();
	}
	return pid;
}

/* ---- what it leaves ---------------------------------------------------------------- */

static void read_all(shmb_arena *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t *p = shmb_deref(a, refs[i], BLOCK);
		if (!p)
			fail("a block of the dead is not to be found", 0);
		if (p[0] != refs[i] || p[1] != i || p[2] != ~refs[i] || p[3] != ~i)
			fail("a block of the dead was changed", 0);
	}
}

/* A second free of a block must end the process that does it, and harm nothing. */
static void free_twice(shmb_ref ref)
{
	fflush(NULL);
	pid_t pid = fork();
	int status;
	if (pid == 0) {
		if (!freopen("/dev/null", "w", stderr))
			_exit(1);
		shmb_arena *a = attach();
		shmb_free(a, (char *)shmb_region_addr(shmb_arena_region(a)) + ref);
		_exit(0);
	}
	if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
		fail("a block of the dead was freed twice", 0);
}

static void free_all(shmb_arena *a, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		shmb_free(a, shmb_deref(a, refs[i], BLOCK));
		if (i == n / 2)
			free_twice(refs[i]);
	}
}

static void append(void *opaque, const char *text) { strncat(opaque, text, (64 << 10) - strlen(opaque) - 1); }

static uint64_t stat_of(const char *key)
{
	static char json[64 << 10];
	char quoted[64];
	json[0] = 0;
	int err = shmb_stats_name(arena_name, append, json, "J");
	snprintf(quoted, sizeof quoted, "\"%s\":", key);
	const char *at = err ? NULL : strstr(json, quoted);
	if (!at)
		fail(key, err);
	return strtoull(at + strlen(quoted), NULL, 10);
}

static void check_clean(void)
{
	static char text[64 << 10];
	text[0] = 0;
	int err = shmb_check_name(arena_name, append, text);
	if (err) {
		fputs(text, stderr);
		fail("check", err);
	}
}

/* ---- one victim ------------------------------------------------------------------------ */

static void expect_nothing(void)
{
	check_clean();
	if (stat_of("live_bytes") || stat_of("cached_bytes") || stat_of("stray_bytes") ||
	    stat_of("free_units") * 65536 != CAPACITY)
		fail("not all memory came back", 0);
}

/* Recovers the one dead process; *ns is how long it took. The arena, which a newcomer opens for it. */
static shmb_arena *recover(shmb_arena *a, enum how how, uint64_t *ns)
{
	int n = 1;
	uint64_t start = now_ns();
	if (how == BY_OPEN)
		a = attach();
	else if (how == BY_TRIM)
		shmb_trim(a);
	else
		n = shmb_recover(a);
	*ns = now_ns() - start;
	if (n != 1)
		fail("shmb_recover does not say that it recovered one", 0);
	return a;
}

static void expect_end(pid_t pid, const char *who)
{
	int status;
	if (waitpid(pid, &status, 0) != pid || status)
		fail(who, 0);
}

static void say(const struct plan *p, uint64_t took)
{
	char beside[64] = "";
	if (p->holder)
		snprintf(beside, sizeof beside, " beside %zu held by another", p->held);
	printf("%8zu blocks%s, %s: recovered in %.3f ms; another's longest malloc %.3f ms (before the kill %.3f ms); 0 bytes lost\n",
	       p->blocks, beside, how_text[p->how], (double)took / 1e6, (double)atomic_load(&by->longest_ns) / 1e6,
	       (double)atomic_load(&by->before_ns) / 1e6);
	fflush(stdout);
}

static void run(struct plan p)
{
	shmb_arena *a = p.how == BY_OPEN ? NULL : attach();
	pid_t holds = p.holder ? start(holder, p.held) : 0;
	pid_t dead = start(victim, p.blocks), beside = start_bystander();
	uint64_t took, before = stat_of("recoveries");
	kill(dead, SIGKILL);
	waitpid(dead, NULL, 0);
	atomic_store(&by->go, 1);
	a = recover(a, p.how, &took);
	if (stat_of("recoveries") <= before)
		fail("nothing was recovered", 0);
	read_all(a, p.blocks);
	atomic_store(&by->stop, 1);
	expect_end(beside, "the bystander");
	check_clean();
	if (holds && write(let_go[1], "x", 1) != 1)
		fail("holder's pipe", errno);
	if (holds)
		expect_end(holds, "the holder");
	free_all(a, p.blocks);
	shmb_trim(a);
	expect_nothing();
	say(&p, took);
	int err = shmb_arena_close(a);
	if (err)
		fail("close", err);
}

/* What the dead held counts, and what lies beside it does not. */
static void run_all(size_t most, bool full)
{
	for (enum how how = BY_OPEN; how <= BY_RECOVER; how++) {
		run((struct plan){.blocks = FEW, .how = how});
		run((struct plan){.blocks = most, .how = how});
	}
	if (!full)
		return;
	for (enum how how = BY_OPEN; how <= BY_RECOVER; how++) {
		run((struct plan){.blocks = FEW, .how = how, .holder = true, .held = 0});
		run((struct plan){.blocks = FEW, .how = how, .holder = true, .held = most});
	}
}

int main(int argc, char **argv)
{
	bool full = argc > 1 && !strcmp(argv[1], "--full");
	size_t most = full ? MANY_FULL : MANY;
	shmb_options opt = {.size = CAPACITY, .flags = SHMB_CREATE_ONLY};
	shmb_options raw = {.size = most * sizeof *refs, .flags = SHMB_CREATE_ONLY};
	shmb_arena *a = NULL;
	shmb_region *r;
	snprintf(arena_name, sizeof arena_name, "/shmb-test-%d-recover", (int)getpid());
	snprintf(raw_name, sizeof raw_name, "/shmb-test-%d-refs", (int)getpid());
	by = mmap(NULL, sizeof *by, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int err = shmb_region_open(raw_name, &raw, &r);
	if (!err)
		err = shmb_arena_open(arena_name, &opt, &a);
	if (!err)
		err = shmb_region_leak(shmb_arena_region(a));
	if (!err)
		err = shmb_arena_close(a);
	if (!err && pipe(let_go))
		err = errno;
	if (err)
		fail("begin", err);
	refs = shmb_region_addr(r);
	run_all(most, full);
	shmb_remove_name(arena_name);
	return shmb_region_close(r) != 0;
}
