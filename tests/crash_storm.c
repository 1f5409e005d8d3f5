/*
 * crash_storm.c - processes share blocks and boxes while they are killed at
 * random moments; nothing may be lost, shared by two, or waited for.
 *
 *   crash_storm                          about 20 seconds
 *   crash_storm --kills N [--seconds S]  until N kills, or S seconds
 *   crash_storm --hardened ...           on a hardened region
 *
 * WORKERS processes of two threads pass blocks through a table of refs in a
 * raw region. Each block's content is a function of its own ref and writer, so
 * a block that two have, or that was changed after it was passed on, is seen
 * by whoever takes it next. The parent kills and replaces them. Each MEET kills
 * the workers meet at a barrier in shared memory: who waits for a dead one does
 * not come, and elsewhere would soon be killed himself. Each CHECK kills the
 * region must check clean there. Each ROUND ends with all workers gone: what is
 * live then is what the killed ones had in hand; the parent frees it, and every
 * byte of the capacity must be free.
 *
 * Rounds take turns: plain; beside an idle process that holds caches; beside a
 * process stopped in the middle of malloc and free.
 *
 * Blocks count for rules, as a preloaded program's do, which change now and
 * then (crash_storm_rules.h).
 *
 * STORM_SEED=N repeats a choice of sizes and moments (not of interleavings).
 */
#include "shmbind.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	WORKERS = 4,
	LANES = 2, /* threads of each */
	EXTRA = WORKERS, /* the stopped worker's number */
	TABLE = 512,
	STASH = 16,
	NAMES = 24,
	MEET = 10,
	CHECK = 100,
	ROUND = 500,
	HANG_S = 10,
	AWAY_MS = 1000,
	SIZE_MAX_KIB = 200
};
#define CAPACITY ((size_t)2 << 30)

/* What of a thread must survive it, so that little is leaked at a kill. */
struct lane {
	_Atomic uint64_t ops;
	_Atomic uint32_t parked; /* the pause it stands at */
	_Atomic uint64_t stash[STASH];
};

struct shared {
	_Atomic uint32_t pause; /* odd: stand still; a futex */
	_Atomic uint32_t finish;
	_Atomic uint32_t failed;
	char failure[400];
	_Atomic uint64_t table[TABLE];
	struct lane lanes[WORKERS + 1][LANES];
};

static struct shared *sh;
static shmb_arena *arena;
static char arena_name[64], raw_name[64];

static uint64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t rnd(uint64_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 7;
	return *s ^= *s << 17;
}
static uint64_t below(uint64_t *s, uint64_t n) { return (rnd(s) >> 16) % n; }

/* In a worker: the first failure is kept for the parent. */
__attribute__((format(printf, 1, 2))) static _Noreturn void fail(const char *format, ...)
{
	va_list ap;
	char text[400];
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (sh && !atomic_exchange(&sh->failed, 1))
		strcpy(sh->failure, text);
	fprintf(stderr, "crash_storm %d: %s\n", (int)getpid(), text);
	_exit(3);
}

#include "crash_storm_rules.h"

#include "crash_storm.h"

/* ---- the parent ------------------------------------------------------------------------ */

enum kind { PLAIN, IDLE, STOPPED, KINDS };
static const char *const kind_names[] = {"plain", "idle", "stopped"};

static struct storm {
	uint64_t seed, kills, ops, longest_ms, meetings, checks, rounds, changes;
	uint64_t want, deadline_ms;
	pid_t pids[WORKERS + 1], idle;
	bool stopped; /* the extra worker */
	bool hardened;
	uint64_t seen[WORKERS + 1][LANES], since[WORKERS + 1][LANES];
} st;

static void out(void *opaque, const char *text) { fputs(text, opaque); }
static void quiet(void *opaque, const char *text) { (void)opaque, (void)text; }

/* Where its threads are: a line each of what /proc says. */
static void say_where(unsigned worker, pid_t pid)
{
	static const char *const files[] = {"stat", "wchan", "syscall", "stack"};
	char cmd[200];
	fprintf(stderr, "worker %u: pid %d\n", worker, (int)pid);
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(cmd, sizeof cmd, "cd /proc/%d/task && for t in *; do echo \"$t %s: $(cut -c1-200 $t/%s | head -12)\"; done >&2", (int)pid,
		         files[i], files[i]);
		(void)!system(cmd);
	}
}

/* Ends the test: everything that helps is said, every process it made is ended. */
__attribute__((format(printf, 1, 2))) static _Noreturn void give_up(const char *format, ...)
{
	char text[400];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	fprintf(stderr, "FAIL after %lu kills: %s\n", (unsigned long)st.kills, text);
	for (unsigned i = 0; i <= WORKERS; i++)
		if (st.pids[i])
			say_where(i, st.pids[i]);
	shmb_stats_name(arena_name, out, stderr, "");
	shmb_check_name(arena_name, out, stderr);
	if (getenv("STORM_HOLD"))
		pause();
	for (unsigned i = 0; i <= WORKERS; i++)
		if (st.pids[i])
			kill(st.pids[i], SIGKILL);
	shmb_remove_name(arena_name);
	shmb_remove_name(raw_name);
	if (atomic_load(&sh->failed))
		fprintf(stderr, "first failure: %s\n", sh->failure);
	fprintf(stderr, "after %lu kills: %s\n", (unsigned long)st.kills, text); /* again: it is the end that the runner shows */
	exit(1);
}

static void reap(unsigned i, bool killed)
{
	int status;
	while (waitpid(st.pids[i], &status, 0) == -1 && errno == EINTR)
		;
	st.pids[i] = 0;
	if (killed ? !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL : status != 0)
		give_up("worker %u ended with status %#x", i, status);
}

static void spawn(unsigned i)
{
	uint64_t seed = rnd(&st.seed);
	for (unsigned l = 0; l < LANES; l++)
		st.since[i][l] = now_ms();
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		worker(i, seed, i != EXTRA);
	st.pids[i] = pid;
}

static bool counts(unsigned i) { return st.pids[i] && !(i == EXTRA && st.stopped); }

/* Has every thread moved lately? The time when nobody looked is not counted: this process waited, or the machine stood. */
static void watch(void)
{
	static uint64_t last;
	uint64_t now = now_ms(), away = last && now - last > AWAY_MS ? now - last : 0;
	last = now;
	for (unsigned i = 0; i <= WORKERS; i++) {
		for (unsigned l = 0; l < LANES; l++) {
			uint64_t ops = atomic_load(&sh->lanes[i][l].ops);
			if (ops != st.seen[i][l] || !counts(i)) {
				st.seen[i][l] = ops;
				st.since[i][l] = now;
			}
			st.since[i][l] += away;
			uint64_t still = now > st.since[i][l] ? now - st.since[i][l] : 0;
			if (still > st.longest_ms)
				st.longest_ms = still;
			if (still > HANG_S * 1000)
				give_up("worker %u, thread %u: no progress for %lu ms", i, l, (unsigned long)still);
		}
	}
	if (atomic_load(&sh->failed))
		give_up("a worker failed");
}

static void nap(uint64_t us)
{
	struct timespec t = {0, (long)us * 1000};
	nanosleep(&t, NULL);
}

/* Children that killed workers left behind are this process's now: waits for them. */
static void reap_strangers(void)
{
	char path[64];
	int pid;
	snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
	FILE *f = fopen(path, "r");
	while (f && fscanf(f, "%d", &pid) == 1) {
		bool known = pid == st.pids[EXTRA];
		for (unsigned i = 0; i < WORKERS; i++)
			known |= pid == st.pids[i];
		int status = 0;
		if (!known && pid != st.idle && waitpid(pid, &status, 0) == pid && status)
			give_up("an orphaned child ended with status %#x", status);
	}
	if (f)
		fclose(f);
}

static void check_clean(const char *when)
{
	int err = shmb_check_name(arena_name, quiet, NULL);
	st.checks++;
	if (err)
		give_up("%s: check: %s", when, shmb_strerror(err));
}

static void toggle_extra(void)
{
	st.stopped = !st.stopped;
	kill(st.pids[EXTRA], st.stopped ? SIGSTOP : SIGCONT);
	for (unsigned l = 0; l < LANES; l++)
		st.since[EXTRA][l] = now_ms();
}

/* Everybody stands still between two operations; for a check the stopped one too: the sums must be exact. */
static void barrier(bool check)
{
	if (st.stopped && check)
		toggle_extra();
	uint32_t pause = atomic_fetch_add(&sh->pause, 1) + 1;
	st.meetings++;
	for (unsigned i = 0; i <= WORKERS; i++)
		for (unsigned l = 0; l < LANES; l++)
			while (counts(i) && atomic_load(&sh->lanes[i][l].parked) != pause) {
				watch();
				if (waitpid(st.pids[i], NULL, WNOHANG) == st.pids[i])
					give_up("worker %u ended by itself", i);
				nap(200);
			}
	reap_strangers();
	if (check)
		check_clean("at a barrier");
	atomic_fetch_add(&sh->pause, 1);
	syscall(SYS_futex, &sh->pause, FUTEX_WAKE, 1 << 30, NULL, NULL, 0);
}

static bool over(void)
{
	return st.kills >= st.want || now_ms() >= st.deadline_ms;
}

/* Half of those who change the rules are killed in the middle. */
static void change_rules(void)
{
	int status;
	pid_t pid = rules_setter((unsigned)below(&st.seed, 2));
	if (below(&st.seed, 2)) {
		nap(below(&st.seed, 2000));
		kill(pid, SIGKILL);
	}
	while (waitpid(pid, &status, 0) == -1 && errno == EINTR)
		;
	if (status && !WIFSIGNALED(status))
		give_up("who set rules ended with status %#x", status);
	st.changes++;
}

static void kill_one(enum kind kind)
{
	nap(200 + below(&st.seed, 4800));
	watch();
	unsigned i = (unsigned)below(&st.seed, WORKERS);
	kill(st.pids[i], SIGKILL);
	reap(i, true);
	spawn(i);
	st.kills++;
	if (st.kills % MEET == 0 && rules_may_change())
		change_rules();
	if (kind == STOPPED && st.kills % 20 == 0)
		toggle_extra();
	if (st.kills % MEET == 0)
		barrier(st.kills % CHECK == 0);
}

/* ---- the account ------------------------------------------------------------------------- */

static uint64_t stat_of(const char *json, const char *key)
{
	char quoted[64];
	snprintf(quoted, sizeof quoted, "\"%s\":", key);
	const char *at = strstr(json, quoted);
	if (!at)
		give_up("no %s in the statistics", key);
	return strtoull(at + strlen(quoted), NULL, 10);
}

static void append(void *opaque, const char *text) { strncat(opaque, text, (64 << 10) - strlen(opaque) - 1); }

static const char *stats(void)
{
	static char json[64 << 10];
	json[0] = 0;
	int err = shmb_stats_name(arena_name, append, json, "J");
	if (err)
		give_up("statistics: %s", shmb_strerror(err));
	return json;
}

struct refs {
	shmb_ref *at;
	size_t n;
};

static int collect(void *opaque, const shmb_block_info *b)
{
	struct refs *r = opaque;
	if (b->state == SHMB_BLOCK_LIVE) {
		r->at = realloc(r->at, (r->n + 1) * sizeof *r->at);
		r->at[r->n++] = b->ref;
	}
	return 0;
}

/* What a killed worker held in its hands is live and known to nobody: freed by ref. */
static size_t free_leaks(void)
{
	struct refs r = {0};
	int err = shmb_walk_name(arena_name, collect, &r);
	if (err)
		give_up("walk: %s", shmb_strerror(err));
	for (size_t i = 0; i < r.n; i++) {
		void *p = shmb_deref(arena, r.at[i], 1);
		if (!p)
			give_up("a live block's ref %#lx leads nowhere", (unsigned long)r.at[i]);
		shmb_free(arena, p);
	}
	free(r.at);
	return r.n;
}

static void end_boxes(void)
{
	for (unsigned n = 0; n < NAMES; n++) {
		char text[32];
		shmb_box *box;
		sprintf(text, "box %u", n);
		int err = shmb_box_find(arena, text, type_of(n), &box);
		if (err == ENOENT)
			continue;
		if (!err)
			err = shmb_box_own(box);
		if (!err)
			err = shmb_box_drop(box);
		if (err)
			give_up("at the end, %s: %s", text, shmb_strerror(err));
	}
}

static void take_back(_Atomic uint64_t *cells, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		dispose("at the end", atomic_exchange(&cells[i], 0));
}

static void account_rules(void)
{
	uint64_t off = rules_off(); /* nothing lives, nor lies in a cache */
	if (off > (st.kills + st.changes) * OFF_MOST)
		give_up("after %lu changes the rules' sums are off by %lu", (unsigned long)st.changes, (unsigned long)off);
	printf("  %lu changes of the rules, whose sums are off by %lu KiB\n", (unsigned long)st.changes,
	       (unsigned long)(off >> 10));
}

/* All are gone but the idle one, who held the most and says nothing: every byte must come back. */
static void account(enum kind kind)
{
	static const char *const zero[] = {"live_bytes", "cached_bytes", "stray_bytes", "small_units",
	                                   "large_units", "moving_units", "owned", "kept", "moving", "abandoned", "named"};
	int err = shmb_arena_open(arena_name, NULL, &arena);
	if (err)
		give_up("attach: %s", shmb_strerror(err));
	shmb_trim(arena);
	take_back(sh->table, TABLE);
	for (unsigned i = 0; i <= WORKERS; i++)
		for (unsigned l = 0; l < LANES; l++)
			take_back(sh->lanes[i][l].stash, STASH);
	end_boxes();
	size_t leaks = free_leaks();
	shmb_trim(arena);
	check_clean("at the end of a round");
	const char *json = stats();
	uint64_t lost = CAPACITY - stat_of(json, "free_units") * 65536;
	for (unsigned i = 0; i < sizeof zero / sizeof *zero; i++)
		if (stat_of(json, zero[i]))
			give_up("round of kind %s: %s is %lu; %lu bytes lost", kind_names[kind], zero[i],
			        (unsigned long)stat_of(json, zero[i]), (unsigned long)lost);
	if (lost)
		give_up("round of kind %s: %lu bytes lost", kind_names[kind], (unsigned long)lost);
	if (st.idle) {
		kill(st.idle, SIGKILL);
		waitpid(st.idle, NULL, 0);
		st.idle = 0;
	}
	printf("round %lu (%s): %lu kills so far, %zu blocks were in the hands of the dead, 0 bytes lost\n",
	       (unsigned long)st.rounds, kind_names[kind], (unsigned long)st.kills, leaks);
	account_rules();
	fflush(stdout);
	if ((err = shmb_arena_close(arena)))
		give_up("close: %s", shmb_strerror(err));
}

static pid_t idle_begin(void)
{
	int say[2];
	char c;
	if (pipe(say))
		give_up("pipe");
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		idler(say[1]);
	close(say[1]);
	if (read(say[0], &c, 1) != 1)
		give_up("the idle process failed");
	close(say[0]);
	return pid;
}

static void round_end(void)
{
	atomic_store(&sh->finish, 1);
	for (unsigned i = 0; i < WORKERS; i++)
		reap(i, false);
	if (st.pids[EXTRA]) {
		bool stopped = st.stopped;
		if (stopped)
			kill(st.pids[EXTRA], SIGKILL);
		reap(EXTRA, stopped);
	}
	st.stopped = false;
	reap_strangers();
	for (unsigned i = 0; i <= WORKERS; i++)
		for (unsigned l = 0; l < LANES; l++)
			st.ops += atomic_exchange(&sh->lanes[i][l].ops, 0), st.seen[i][l] = 0;
	atomic_store(&sh->finish, 0);
}

static void round_run(enum kind kind, uint64_t kills, uint64_t ms)
{
	uint64_t end = st.kills + kills, until = now_ms() + ms;
	st.idle = kind == IDLE ? idle_begin() : 0;
	st.rounds++;
	for (unsigned i = 0; i < WORKERS + (kind == STOPPED); i++)
		spawn(i);
	while (st.kills < end && now_ms() < until && !over())
		kill_one(kind);
	round_end();
	account(kind);
}

/* The region is made by a process that leaves: it is nobody's until the end. */
static void begin(void)
{
	shmb_options opt = {.size = CAPACITY, .flags = SHMB_CREATE_ONLY | (st.hardened ? SHMB_HARDENED : 0)};
	shmb_options raw = {.size = sizeof(struct shared), .flags = SHMB_CREATE_ONLY};
	shmb_region *r;
	snprintf(arena_name, sizeof arena_name, "/shmb-test-%d-storm", (int)getpid());
	snprintf(raw_name, sizeof raw_name, "/shmb-test-%d-table", (int)getpid());
	int err = shmb_region_open(raw_name, &raw, &r);
	if (!err) {
		sh = shmb_region_addr(r);
		err = shmb_arena_open(arena_name, &opt, &arena);
	}
	if (!err)
		err = shmb_region_leak(shmb_arena_region(arena));
	if (!err) {
		rules_begin();
		err = shmb_arena_close(arena);
	}
	if (err) {
		fprintf(stderr, "begin: %s\n", shmb_strerror(err));
		exit(1);
	}
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

static uint64_t number(const char *text)
{
	char *end;
	uint64_t n = text ? strtoull(text, &end, 10) : 0;
	if (!n || *end) {
		fprintf(stderr, "usage: crash_storm [--hardened] [--kills N [--seconds S]]\n");
		exit(2);
	}
	return n;
}

int main(int argc, char **argv)
{
	uint64_t seconds = 20, ms = 6000, kills = ROUND;
	const char *seed = getenv("STORM_SEED");
	st.want = UINT64_MAX;
	st.hardened = argc > 1 && !strcmp(argv[1], "--hardened");
	argc -= st.hardened, argv += st.hardened;
	for (int i = 1; i < argc; i += 2) {
		uint64_t *what = !strcmp(argv[i], "--kills") ? &st.want : &seconds;
		if (what == &seconds && strcmp(argv[i], "--seconds"))
			number(NULL);
		*what = number(argv[i + 1]);
		ms = UINT64_MAX / 2;
	}
	if (st.want != UINT64_MAX && argc == 3)
		seconds = UINT64_MAX / 4000;
	st.seed = (seed ? number(seed) : (uint64_t)time(NULL) * 1000 + (uint64_t)getpid()) | 1;
	st.deadline_ms = now_ms() + seconds * 1000;
	printf("seed %lu\n", (unsigned long)st.seed);
	begin();
	for (unsigned k = 0; !over(); k++)
		round_run((enum kind)(k % KINDS), kills, ms);
	printf("%lu kills, %lu operations, %lu meetings, %lu checks, longest without progress %lu ms, 0 bytes lost\n",
	       (unsigned long)st.kills, (unsigned long)st.ops, (unsigned long)st.meetings, (unsigned long)st.checks,
	       (unsigned long)st.longest_ms);
	shmb_remove_name(arena_name);
	shmb_remove_name(raw_name);
	return 0;
}
