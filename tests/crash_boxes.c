/*
 * crash_boxes.c - whatever instruction a process is killed at while it makes,
 * drops, leaks, owns or reclaims a box, the box is whole or gone, its name and
 * its memory with it.
 *
 * The victim is stepped one instruction at a time. Each instruction that
 * changes the tables is a point; for each point a new victim is brought there
 * and killed, and a survivor comes, in one of two ways: it asks for the name
 * at once, or it recovers first. Afterwards a new box of that name must be
 * made, of zeros, by exactly one; nothing may be left when it is dropped.
 *
 *   crash_boxes [OP...]
 */
#include "arena.h"
#include "box.h"
#include "recover.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STEPS_MOST = 2000000, HANG_S = 60, FIRST = 0x600d, POINTS_MOST = 2000 };
#define CAPACITY ((size_t)16 << 20)

struct thing {
	uint32_t state, pid;
	uint64_t check;
	char text[48];
};
struct large_thing {
	struct thing head;
	char rest[60 * 1024]; /* a run of units; more would only be more steps to fill it */
};

static char region[64];

static _Noreturn void lost(const char *what, long value)
{
	fprintf(stderr, "%s (%ld)\n", what, value);
	_exit(3);
}

static bool whole(const struct thing *t) { return t->state == FIRST && t->check == ~(uint64_t)t->pid; }

static void thing_drop(void *obj)
{
	struct thing *t = obj;
	if (!whole(t))
		lost("the destructor got what is no whole object, state", t->state);
	t->state = 0;
}

static int thing_init(void *obj, void *arg)
{
	struct thing *t = obj;
	static const struct thing zero;
	(void)arg;
	if (memcmp(t, &zero, sizeof zero))
		lost("the initialiser got what is not zeros, state", t->state);
	t->pid = (uint32_t)getpid();
	t->check = ~(uint64_t)t->pid;
	t->state = FIRST;
	return 0;
}

static const shmb_type small = SHMB_TYPE(struct thing, thing_drop);
static const shmb_type large = SHMB_TYPE(struct large_thing, thing_drop);

static void must(const char *what, int err)
{
	if (!err)
		return;
	fprintf(stderr, "%s: %s\n", what, shmb_strerror(err));
	_exit(3);
}

static shmb_arena *join(void)
{
	shmb_arena *a = NULL;
	must("attach", shmb_arena_open(region, NULL, &a));
	return a;
}

static shmb_box *make(shmb_arena *a, const char *name, const shmb_type *type)
{
	shmb_box *b = NULL;
	must("make", shmb_box_find_or_new(a, name, type, thing_init, NULL, &b, NULL));
	return b;
}

/* ---- what is stepped ----------------------------------------------------------------- */

static shmb_box *box;

static void make_small(shmb_arena *a) { box = make(a, "x", &small); }
static void make_large(shmb_arena *a) { box = make(a, "x", &large); }
static void make_anonymous(shmb_arena *a) { must("new", shmb_box_new(a, &small, thing_init, NULL, &box)); }
static void drop(shmb_arena *a)
{
	(void)a;
	must("drop", shmb_box_drop(box));
}
static void leak(shmb_arena *a)
{
	(void)a;
	must("leak", shmb_box_leak(box));
}
static void own(shmb_arena *a)
{
	(void)a;
	must("own", shmb_box_own(box));
}
static void leak_first(shmb_arena *a)
{
	make_small(a);
	leak(a);
}

/* Two boxes whose owner died: recovered, to be reclaimed. */
static void bereave(shmb_arena *a)
{
	int fd;
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *mine = join();
		make(mine, "x", &small);
		make(mine, "y", &small);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, NULL, 0);
	must("descriptor", region_descriptor(a->region, &fd));
	recover_dead(a, fd);
	close(fd);
	must("register", shmb_type_register(&small));
}

static void reclaim(shmb_arena *a) { box_reclaim(a); }

static const struct op {
	const char *name;
	void (*prepare)(shmb_arena *), (*run)(shmb_arena *);
	const shmb_type *type; /* of "x" */
} ops[] = {
	{"make", NULL, make_small, &small},
	{"make-large", NULL, make_large, &large},
	{"make-anonymous", NULL, make_anonymous, &small},
	{"drop", make_small, drop, &small},
	{"drop-large", make_large, drop, &large},
	{"drop-anonymous", make_anonymous, drop, &small},
	{"leak", make_small, leak, &small},
	{"own", leak_first, own, &small},
	{"reclaim", bereave, reclaim, &small},
};

/* ---- the victim ------------------------------------------------------------------------ */

static _Noreturn void victim(const struct op *op)
{
	shmb_arena *a = join();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	shmb_free(a, shmb_malloc(a, sizeof(struct thing))); /* its magazines are there */
	if (op->prepare)
		op->prepare(a);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	op->run(a);
	raise(SIGSTOP);
	for (;;)
		pause();
}

/* The tables that boxes touch, to see which instruction changed one. */
struct part {
	const void *at;
	size_t len;
	char *copy;
};

static struct part parts[16];
static unsigned parts_n;

static void watch(const void *at, size_t len)
{
	parts[parts_n++] = (struct part){at, len, memcpy(malloc(len), at, len)};
}

static void watch_all(const shmb_arena *a, unsigned names_page)
{
	for (unsigned i = 0; i < parts_n; i++)
		free(parts[i].copy);
	parts_n = 0;
	watch(a->hdr, PAGE);
	watch(a->slots, PAGE);
	watch(a->threads, PAGE);
	watch(a->mags, 4 * PAGE);
	watch(a->mag_bits, 64);
	watch(a->boxes, PAGE);
	watch(a->box_bits, 64);
	watch((char *)a->names + (size_t)names_page * PAGE, PAGE);
	watch(a->buckets, NAME_BUCKETS * sizeof *a->buckets);
	watch((const void *)a->spans, PAGE);
	watch((const void *)a->blocks, 4 * PAGE);
}

static bool changed(void)
{
	bool any = false;
	for (unsigned i = 0; i < parts_n; i++) {
		struct part *p = &parts[i];
		if (memcmp(p->copy, p->at, p->len)) {
			memcpy(p->copy, p->at, p->len);
			any = true;
		}
	}
	return any;
}

/* Steps until the tables have changed `point` times; the number of changes there were, if fewer. */
static unsigned step_to(pid_t pid, unsigned point)
{
	int status;
	unsigned seen = 0;
	for (unsigned i = 0; i < STEPS_MOST && seen < point; i++) {
		if (ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL) || waitpid(pid, &status, 0) != pid)
			break;
		if (!WIFSTOPPED(status) || WSTOPSIG(status) == SIGSTOP)
			break;
		seen += changed();
	}
	return seen;
}

/* ---- the survivor ------------------------------------------------------------------------- */

static void append(void *opaque, const char *text) { strncat(opaque, text, (64 << 10) - strlen(opaque) - 1); }

static long stat_of(const char *key)
{
	static char json[64 << 10];
	char quoted[64];
	json[0] = 0;
	must("statistics", shmb_stats_name(region, append, json, "J"));
	snprintf(quoted, sizeof quoted, "\"%s\":", key);
	const char *at = strstr(json, quoted);
	return at ? strtol(at + strlen(quoted), NULL, 10) : -1;
}

static void end_name(shmb_arena *a, const char *name, const shmb_type *type)
{
	enum shmb_how how;
	shmb_box *b;
	int err = shmb_box_find(a, name, type, &b);
	if (err && err != ENOENT)
		must("find", err);
	if (!err && !whole(shmb_box_get(b)))
		lost("found what is not whole, state", ((struct thing *)shmb_box_get(b))->state);
	must("find_or_new", shmb_box_find_or_new(a, name, type, thing_init, NULL, &b, &how));
	if (!shmb_box_is_owner(b))
		must("own", shmb_box_own(b));
	must("drop", shmb_box_drop(b));
}

/* No block may be had twice. */
static void distinct(shmb_arena *a)
{
	enum { N = 300 };
	uint64_t *p[N];
	for (unsigned i = 0; i < N; i++) {
		p[i] = shmb_malloc(a, sizeof(struct thing));
		if (!p[i])
			must("malloc", ENOMEM);
		*p[i] = i;
	}
	for (unsigned i = 0; i < N; i++) {
		if (*p[i] != i)
			lost("a block was handed out twice, round", i);
		shmb_free(a, p[i]);
	}
}

/* ask_first: attached since before the death, so that nothing is recovered but by what it asks for. */
static _Noreturn void survivor(const struct op *op, bool ask_first, int ready, int go)
{
	static const char *const zero[] = {"live_bytes", "cached_bytes", "stray_bytes", "small_units", "large_units",
	                                   "moving_units", "owned", "kept", "moving", "abandoned", "named"};
	static char text[64 << 10];
	char c = 'x';
	shmb_arena *a = ask_first ? join() : NULL;
	if (write(ready, &c, 1) != 1 || read(go, &c, 1) != 1)
		lost("the parent has gone", errno);
	alarm(HANG_S);
	if (!a) {
		a = join();
		shmb_trim(a);
	}
	end_name(a, "x", op->type);
	end_name(a, "y", &small);
	end_name(a, "x", op->type);
	distinct(a);
	shmb_trim(a);
	shmb_trim(a);
	if (shmb_check_name(region, append, text)) {
		fputs(text, stderr);
		_exit(3);
	}
	for (unsigned i = 0; i < sizeof zero / sizeof *zero; i++)
		if (stat_of(zero[i]))
			lost(zero[i], stat_of(zero[i]));
	_exit(0);
}

/* ---- one point ------------------------------------------------------------------------------ */

static unsigned names_page; /* where the names "x" and "y" or one of them is */

static shmb_arena *arena_make(void)
{
	static unsigned n;
	shmb_options opt = {.size = CAPACITY, .flags = SHMB_CREATE_ONLY};
	shmb_arena *a;
	snprintf(region, sizeof region, "/shmb-test-%d-boxes-%u", (int)getpid(), n++);
	must("create", shmb_arena_open(region, &opt, &a));
	return a;
}

static pid_t survivor_start(const struct op *op, bool ask_first, int *go)
{
	int ready[2], pass[2];
	char c;
	if (pipe(ready) || pipe(pass))
		must("pipe", errno);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		close(pass[1]);
		survivor(op, ask_first, ready[1], pass[0]);
	}
	if (read(ready[0], &c, 1) != 1)
		must("the survivor does not start", EPIPE);
	close(ready[0]);
	close(ready[1]);
	close(pass[0]);
	*go = pass[1];
	return pid;
}

/* How many points there were, if fewer than asked for; *status: the survivor's. */
static unsigned examine(const struct op *op, unsigned point, bool ask_first, int *status)
{
	int go, stopped;
	shmb_arena *a = arena_make();
	pid_t witness = survivor_start(op, ask_first, &go);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		victim(op);
	if (waitpid(pid, &stopped, 0) != pid || !WIFSTOPPED(stopped))
		must("the victim does not start", ECHILD);
	watch_all(a, names_page);
	unsigned seen = step_to(pid, point);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (write(go, "x", 1) != 1)
		must("the survivor has gone", errno);
	waitpid(witness, status, 0);
	close(go);
	must("close", shmb_arena_close(a));
	return seen;
}

/* Where the name "x" is kept: in the same place in every region. */
static void find_names_page(void)
{
	shmb_arena *a = arena_make();
	shmb_box *b = make(a, "x", &small);
	const struct box_shm *e = (const void *)b;
	names_page = (atomic_load(&e->name) - 1) * (unsigned)sizeof(struct name_shm) / PAGE;
	must("close", shmb_arena_close(a));
}

/* Failures of one way to come. */
static unsigned sweep(const struct op *op, bool ask_first)
{
	unsigned failed = 0, point = 0, seen;
	do {
		int status;
		seen = examine(op, ++point, ask_first, &status);
		if (status) {
			printf("  FAIL %s, %s, after change %u: status %#x%s\n", op->name,
			       ask_first ? "who asks for the name" : "who recovers first", point, status,
			       WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM ? ": it hangs" : "");
			failed++;
		}
	} while (seen == point && point < POINTS_MOST);
	printf("%-16s %4u points, %s: %u failed\n", op->name, point, ask_first ? "the name is asked for" : "recovered first",
	       failed);
	fflush(stdout);
	return failed;
}

/* The victim and who steps it wake each other all the time: on one processor that is much cheaper. */
static void stay_here(void)
{
	cpu_set_t here;
	CPU_ZERO(&here);
	CPU_SET(sched_getcpu(), &here);
	(void)sched_setaffinity(0, sizeof here, &here);
}

int main(int argc, char **argv)
{
	unsigned failed = 0;
	stay_here();
	find_names_page();
	for (unsigned i = 0; i < sizeof ops / sizeof *ops; i++) {
		bool wanted = argc < 2;
		for (int k = 1; k < argc; k++)
			wanted |= !strcmp(argv[k], ops[i].name);
		for (int ask = 0; wanted && ask < 2; ask++)
			failed += sweep(&ops[i], ask);
	}
	return failed != 0;
}
