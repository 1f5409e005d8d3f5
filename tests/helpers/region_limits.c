/*
 * region_limits.c - processes that use regions where there is little of
 * something, for region_limits.sh.
 *
 *   region_limits many ARENAS RAWS      so many regions at once in one process, and one arena more
 *   region_limits crowd NAME            as many processes attached as may be, and one more
 *   region_limits fill NAME SIZE        an arena: allocates until it is refused, looks at every byte, frees
 *   region_limits few NAME N            the same of 64 MiB, with descriptors below N alone
 *   region_limits raw NAME SIZE         a raw region
 *   region_limits hold NAME             an arena, until the end of the input
 *   region_limits spaces NAME           owner, attacher and claimer, each the first process of a pid namespace
 *   region_limits later NAME LIMIT      opens an arena, has the limit set then, and goes on using it;
 *                                       LIMIT: nofile, fsize, or a directory to chroot to
 *
 * Each says what it did, and ends with 0 if that was what is promised, with 1
 * and the error if it was refused, with 2 if it was something else.
 */
#include "shmbind.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
enum { MANY_MOST = 1000, BLOCK = 50000, BLOCKS_MOST = 100000, TEXT = 100 };

static _Noreturn void refused(const char *what, int err)
{
	printf("%s: %s\n", what, shmb_strerror(err));
	exit(1);
}

#define NEED(e)                                                              \
	do {                                                                 \
		if (!(e)) {                                                  \
			printf("line %d: not so: %s\n", __LINE__, #e);       \
			exit(2);                                             \
		}                                                            \
	} while (0)

static int open_arena(const char *name, size_t size, unsigned flags, shmb_arena **a)
{
	shmb_options opt = {.size = size, .flags = flags};
	return shmb_arena_open(name, &opt, a);
}

/* ---- many regions ------------------------------------------------------------------ */

static const char *numbered(unsigned i)
{
	static char name[TEXT];
	snprintf(name, sizeof name, "/shmb-test-%d-%u", (int)getppid(), i);
	return name;
}

struct one {
	shmb_region *r; /* of these two one is NULL */
	shmb_arena *a;
	unsigned *p;
};

static int one_open(struct one *o, unsigned i, bool raw)
{
	shmb_options opt = {.size = raw ? 10000 : 16 * MIB, .flags = SHMB_CREATE_ONLY};
	return raw ? shmb_region_open(numbered(i), &opt, &o->r) : shmb_arena_open(numbered(i), &opt, &o->a);
}

static void one_close(struct one *o)
{
	if (o->a)
		shmb_free(o->a, o->p);
	NEED((o->a ? shmb_arena_close(o->a) : shmb_region_close(o->r)) == 0);
}

/* And one arena too many. */
static void many(unsigned arenas, unsigned raws)
{
	static struct one of[MANY_MOST];
	struct one more;
	unsigned n = arenas + raws;
	NEED(n < MANY_MOST);
	for (unsigned i = 0; i < n; i++) {
		int err = one_open(&of[i], i, i >= arenas);
		if (err)
			refused(numbered(i), err);
	}
	for (unsigned i = 0; i < n; i++) {
		of[i].p = of[i].a ? shmb_malloc(of[i].a, 1000) : shmb_region_addr(of[i].r);
		NEED(of[i].p && (!of[i].a || shmb_arena_of(of[i].p) == of[i].a));
		*of[i].p = i;
	}
	int err = one_open(&more, n, false);
	printf("%u open at once, one arena more: %s\n", n, err ? shmb_strerror(err) : "ok");
	for (unsigned i = 0; i < n; i++) {
		NEED(*of[i].p == i);
		one_close(&of[i]);
	}
	NEED(err == EMFILE && !one_open(&of[0], n, false) && !shmb_arena_close(of[0].a));
}

/* ---- as many processes as may be ---------------------------------------------------- */

struct crowd {
	const char *name;
	int said[2], go[2];
	pid_t pid[SHMB_SLOTS];
	unsigned n;
};

static void member(const struct crowd *c)
{
	shmb_arena *a;
	char byte;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close(c->go[1]);
	int err = open_arena(c->name, 0, SHMB_ATTACH_ONLY, &a);
	void *p = err ? NULL : shmb_malloc(a, 100);
	if (write(c->said[1], p ? "y" : "n", 1) != 1)
		_exit(2);
	while (read(c->go[0], &byte, 1) < 0) /* its end */
		;
	if (!p)
		_exit(1);
	shmb_free(a, p);
	_exit(shmb_arena_close(a) != 0);
}

static bool join(struct crowd *c)
{
	char is;
	pid_t pid = fork();
	if (pid == 0)
		member(c);
	NEED(pid > 0 && read(c->said[0], &is, 1) == 1);
	c->pid[c->n++] = pid;
	return is == 'y';
}

/* From a process that has not attached: what an open comes to. */
static int comes_to(const char *name, unsigned flags)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *a;
		int err = open_arena(name, 0, flags, &a);
		_exit(err ? (err == SHMB_ESLOTS ? 7 : 1) : shmb_arena_close(a));
	}
	NEED(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	return WEXITSTATUS(status);
}

/* The crowd's parent has the region open in a child of its own, so that forks here do not attach. */
static pid_t owner_start(const struct crowd *c)
{
	char is;
	pid_t pid = fork();
	if (pid == 0) {
		shmb_arena *a;
		close(c->go[1]);
		if (open_arena(c->name, 64 * MIB, SHMB_CREATE_ONLY, &a) || write(c->said[1], "y", 1) != 1)
			_exit(2);
		while (read(c->go[0], &is, 1) < 0)
			;
		_exit(shmb_arena_close(a) != 0);
	}
	NEED(pid > 0 && read(c->said[0], &is, 1) == 1);
	return pid;
}

static void crowd(const char *name)
{
	static struct crowd c;
	int status;
	c.name = name;
	NEED(!pipe(c.said) && !pipe(c.go));
	pid_t owner = owner_start(&c);
	while (c.n < SHMB_SLOTS - 1)
		NEED(join(&c));
	printf("%u attached\n", c.n + 1);
	NEED(comes_to(name, SHMB_ATTACH_ONLY) == 7);
	printf("one more: %s\n", shmb_strerror(SHMB_ESLOTS));
	NEED(comes_to(name, SHMB_READ_ONLY) == 0);
	NEED(!kill(c.pid[17], SIGKILL) && waitpid(c.pid[17], &status, 0) == c.pid[17]);
	NEED(comes_to(name, SHMB_ATTACH_ONLY) == 0); /* and left again */
	c.n--;
	c.pid[17] = c.pid[c.n];
	NEED(join(&c) && comes_to(name, SHMB_ATTACH_ONLY) == 7);
	printf("after a death: one\n");
	close(c.go[1]);
	for (unsigned i = 0; i < c.n; i++)
		NEED(waitpid(c.pid[i], &status, 0) == c.pid[i] && status == 0);
	NEED(waitpid(owner, &status, 0) == owner && status == 0);
}

/* ---- little memory -------------------------------------------------------------------- */

static void fill(const char *name, size_t size)
{
	static char *p[BLOCKS_MOST];
	shmb_arena *a;
	unsigned n = 0;
	int err = open_arena(name, size, size ? 0 : SHMB_ATTACH_ONLY, &a);
	if (err)
		refused(name, err);
	for (; n < BLOCKS_MOST && (p[n] = shmb_malloc(a, BLOCK)); n++)
		memset(p[n], (int)n, BLOCK);
	NEED(n < BLOCKS_MOST && errno == ENOMEM);
	for (unsigned i = 0; i < n; i++)
		NEED(p[i][0] == (char)i && p[i][BLOCK - 1] == (char)i);
	for (unsigned i = 0; i < n; i++)
		shmb_free(a, p[i]);
	NEED(!n || (p[0] = shmb_malloc(a, BLOCK)));
	NEED(shmb_arena_close(a) == 0);
	printf("%s, then %s\n", n ? "some" : "none", shmb_strerror(ENOMEM));
}

static void few(const char *name, rlim_t n)
{
	struct rlimit limit = {n, n};
	NEED(!setrlimit(RLIMIT_NOFILE, &limit));
	fill(name, 64 * MIB);
}

static void raw(const char *name, size_t size)
{
	shmb_options opt = {.size = size, .flags = SHMB_CREATE_ONLY};
	shmb_region *r;
	int err = shmb_region_open(name, &opt, &r);
	if (err)
		refused(name, err);
	memset(shmb_region_addr(r), 1, size);
	NEED(shmb_region_close(r) == 0);
	puts("ok");
}

static void hold(const char *name)
{
	shmb_arena *a;
	char byte;
	int err = open_arena(name, 64 * MIB, SHMB_CREATE_ONLY, &a);
	if (err)
		refused(name, err);
	NEED(shmb_malloc(a, 1000));
	puts("ready");
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	NEED(shmb_arena_close(a) == 0);
}

/* ---- pid namespaces -------------------------------------------------------------------- */

enum { HELD = 1000, HELD_SIZE = 3000 };

struct space {
	const char *name;
	int said[2], go[2];
	pid_t pid, waiter; /* its own as it is seen here; its parent */
};

static void tell(const struct space *s, uint64_t word)
{
	NEED(write(s->said[1], &word, sizeof word) == sizeof word);
}

static uint64_t hear(const int from[2])
{
	uint64_t word = 0;
	NEED(read(from[0], &word, sizeof word) == sizeof word);
	return word;
}

/* As process 1 of a namespace. */
static void space_start(struct space *s, const char *name, void (*run)(const struct space *s))
{
	int pid[2], status;
	s->name = name;
	NEED(!pipe(s->said) && !pipe(s->go) && !pipe(pid));
	s->waiter = fork();
	if (s->waiter) {
		s->pid = (pid_t)hear(pid);
		return;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	NEED(!unshare(CLONE_NEWPID));
	uint64_t first = (uint64_t)fork();
	if (first == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		NEED(getpid() == 1);
		run(s);
		exit(0);
	}
	NEED(write(pid[1], &first, sizeof first) == sizeof first);
	NEED(waitpid((pid_t)first, &status, 0) == (pid_t)first);
	_exit(WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status));
}

static int space_end(const struct space *s, int signal)
{
	int status;
	NEED(!signal || !kill(s->pid, signal));
	NEED(waitpid(s->waiter, &status, 0) == s->waiter && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void owner_there(const struct space *s)
{
	shmb_arena *a;
	NEED(!open_arena(s->name, 64 * MIB, SHMB_CREATE_ONLY, &a));
	char *text = shmb_malloc(a, 100);
	NEED(text && strcpy(text, "from another namespace"));
	tell(s, shmb_ref_of(a, text));
	(void)hear(s->go); /* the attacher is dead: all it had cached is for others */
	NEED(shmb_recover(a) == 1);
	tell(s, 1);
	for (;;)
		pause();
}

static void attacher_there(const struct space *s)
{
	static void *p[HELD];
	shmb_arena *a;
	NEED(!open_arena(s->name, 0, SHMB_ATTACH_ONLY, &a));
	char *text = shmb_deref(a, hear(s->go), 100);
	NEED(text && !strcmp(text, "from another namespace"));
	shmb_free(a, text);
	for (unsigned i = 0; i < HELD; i++)
		NEED(p[i] = shmb_malloc(a, HELD_SIZE));
	for (unsigned i = 0; i < HELD; i++)
		shmb_free(a, p[i]);
	tell(s, 1);
	for (;;)
		pause();
}

static void claimer_there(const struct space *s)
{
	shmb_arena *a;
	NEED(!open_arena(s->name, 0, 0, &a));
	NEED(shmb_region_how(shmb_arena_region(a)) == SHMB_CLAIMED);
	NEED(shmb_malloc(a, 1000) && !shmb_arena_close(a));
	tell(s, 1);
}

static void look(const char *name, enum shmb_owner owner, unsigned dead)
{
	shmb_info info;
	NEED(!shmb_info_name(name, &info));
	NEED(info.owner == owner && info.dead == dead);
}

static void spaces(const char *name)
{
	struct space owner, attacher, claimer;
	uint64_t word = 1;
	space_start(&owner, name, owner_there);
	uint64_t ref = hear(owner.said);
	space_start(&attacher, name, attacher_there);
	NEED(write(attacher.go[1], &ref, sizeof ref) == sizeof ref);
	(void)hear(attacher.said);
	look(name, SHMB_OWNER_LIVE, 0);
	puts("both are process 1, and share blocks");
	NEED(space_end(&attacher, SIGKILL) == 128 + SIGKILL);
	look(name, SHMB_OWNER_LIVE, 1);
	NEED(write(owner.go[1], &word, sizeof word) == sizeof word);
	(void)hear(owner.said);
	look(name, SHMB_OWNER_LIVE, 0);
	puts("one is killed: the other recovers what it had");
	NEED(space_end(&owner, SIGKILL) == 128 + SIGKILL);
	look(name, SHMB_OWNER_DEAD, 1);
	space_start(&claimer, name, claimer_there);
	(void)hear(claimer.said);
	NEED(space_end(&claimer, 0) == 0);
	puts("so is that: a third claims the region, and removes it");
}

/* ---- limits that come later --------------------------------------------------------------- */

static void set_limit(const char *limit)
{
	struct rlimit none = {0, 0}, few = {3, 3};
	if (!strcmp(limit, "nofile"))
		NEED(!setrlimit(RLIMIT_NOFILE, &few));
	else if (!strcmp(limit, "fsize"))
		NEED(!setrlimit(RLIMIT_FSIZE, &none));
	else
		NEED(!chroot(limit) && !chdir("/"));
}

static void work(shmb_arena *a)
{
	char *p[100], *large = shmb_malloc(a, 3 * MIB);
	NEED(large);
	memset(large, 1, 3 * MIB);
	for (unsigned i = 0; i < 100; i++) {
		NEED(p[i] = shmb_malloc(a, 100 * (i + 1)));
		memset(p[i], 1, 100 * (i + 1));
	}
	for (unsigned i = 0; i < 100; i++)
		shmb_free(a, p[i]);
	NEED(large = shmb_realloc(a, large, 5 * MIB));
	shmb_free(a, large);
	shmb_trim(a);
}

/* Without a descriptor, or a way to the name, a child gets no slot: its calls fail, or work. */
static void work_in_child(shmb_arena *a)
{
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		void *p = shmb_malloc(a, 100);
		if (p)
			work(a);
		_exit(p ? 0 : errno == ENOMEM ? 3 : 4);
	}
	NEED(pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status));
	NEED(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 3);
	printf("a child %s, ", WEXITSTATUS(status) ? "does not" : "does, too");
}

static void later(const char *name, const char *limit)
{
	shmb_arena *a;
	int err = open_arena(name, 64 * MIB, SHMB_CREATE_ONLY, &a);
	if (err)
		refused(name, err);
	work(a);
	set_limit(limit);
	work(a);
	printf("it goes on, ");
	work_in_child(a);
	err = shmb_arena_close(a);
	printf("closing: %s\n", err ? shmb_strerror(err) : "ok");
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0); /* a child's copy of it stays empty */
	if (argc == 4 && !strcmp(argv[1], "many"))
		many((unsigned)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10));
	else if (argc == 3 && !strcmp(argv[1], "crowd"))
		crowd(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "fill"))
		fill(argv[2], strtoul(argv[3], NULL, 0));
	else if (argc == 4 && !strcmp(argv[1], "few"))
		few(argv[2], strtoul(argv[3], NULL, 10));
	else if (argc == 4 && !strcmp(argv[1], "raw"))
		raw(argv[2], strtoul(argv[3], NULL, 0));
	else if (argc == 3 && !strcmp(argv[1], "hold"))
		hold(argv[2]);
	else if (argc == 3 && !strcmp(argv[1], "spaces"))
		spaces(argv[2]);
	else if (argc == 4 && !strcmp(argv[1], "later"))
		later(argv[2], argv[3]);
	else
		return 2;
	return 0;
}
