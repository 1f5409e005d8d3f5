/*
 * box.c - named boxes, timed: finding one, and a message's way to another
 * process and back, beside the bare wait that it cannot be faster than.
 *
 *   box find NAME BOXES    ns to find a box by name, and by find_or_new(), among that many
 *   box trip NAME WAIT     ns for a message to a second process and its answer, through a box
 *   box bare - WAIT        ns for a word to a second process and back
 *
 * WAIT: spin or futex. A message is a block of the arena: whoever sends
 * allocates and fills it, its ref goes through the box, whoever receives
 * checks the ref, reads the block and frees it.
 */
#include "pin.h"

#include <shmbind.h>

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FINDS = 200000, TRIPS = 20000, WARM_TRIPS = 2000, MESSAGE = 64, SPINS = 5000 };

struct mailbox {
	struct {
		_Alignas(64) _Atomic uint32_t word; /* counts what was put here */
		uint64_t ref;
	} to[2]; /* who answers; who asked */
};

static const shmb_type mailbox_type = SHMB_TYPE(struct mailbox, NULL);
static const shmb_type number_type = SHMB_TYPE(uint64_t, NULL);

static void die(const char *what, int err)
{
	fprintf(stderr, "box: %s: %s\n", what, shmb_strerror(err));
	_exit(1);
}

static double now_ns(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static shmb_arena *arena_open(const char *name)
{
	shmb_options opt = {.size = (size_t)1 << 30};
	shmb_arena *a;
	int err = shmb_arena_open(name, &opt, &a);
	if (err)
		die(name, err);
	return a;
}

static int zero_init(void *obj, void *arg)
{
	memset(obj, 0, *(size_t *)arg);
	return 0;
}

static void *box_object(shmb_arena *a, const char *name, const shmb_type *type, bool make)
{
	shmb_box *box;
	enum shmb_how how;
	size_t size = type->size;
	int err = make ? shmb_box_find_or_new(a, name, type, zero_init, &size, &box, &how)
	               : shmb_box_find(a, name, type, &box);
	if (err)
		die(name, err);
	return shmb_box_get(box);
}

/* ---- finding --------------------------------------------------------------------- */

static double finds_ns(shmb_arena *a, const char *wanted, bool make)
{
	double begin = now_ns();
	for (unsigned i = 0; i < FINDS; i++)
		(void)box_object(a, wanted, &number_type, make);
	return (now_ns() - begin) / FINDS;
}

static int find(const char *name, unsigned boxes)
{
	shmb_arena *a = arena_open(name);
	char text[32], wanted[32];
	for (unsigned i = 0; i < boxes; i++) {
		snprintf(text, sizeof text, "counter/%u", i);
		(void)box_object(a, text, &number_type, true);
	}
	snprintf(wanted, sizeof wanted, "counter/%u", boxes / 2);
	double found = finds_ns(a, wanted, false);
	printf("%.1f %.1f\n", found, finds_ns(a, wanted, true));
	return shmb_arena_close(a);
}

/* ---- trips ----------------------------------------------------------------------- */

struct end {
	struct mailbox *m;
	shmb_arena *a; /* NULL: words only */
	bool futex;
};

static void futex(_Atomic uint32_t *word, int op, uint32_t value)
{
	(void)syscall(SYS_futex, word, op, value, NULL, NULL, 0);
}

static void put(const struct end *e, unsigned to, uint32_t n)
{
	if (e->a) {
		char *text = shmb_malloc(e->a, MESSAGE);
		if (!text)
			die("a message", ENOMEM);
		memset(text, (int)n, MESSAGE);
		e->m->to[to].ref = shmb_ref_of(e->a, text);
	}
	atomic_store(&e->m->to[to].word, n);
	if (e->futex)
		futex(&e->m->to[to].word, FUTEX_WAKE, 1);
}

static void wait_for(const struct end *e, _Atomic uint32_t *word, uint32_t n)
{
	uint32_t seen;
	for (unsigned i = 1; (seen = atomic_load(word)) != n; i++) {
		if (e->futex)
			futex(word, FUTEX_WAIT, seen);
		else if (i % SPINS == 0)
			sched_yield();
		else
			__builtin_ia32_pause();
	}
}

static void get(const struct end *e, unsigned to, uint32_t n)
{
	wait_for(e, &e->m->to[to].word, n);
	if (!e->a)
		return;
	char *text = shmb_deref(e->a, e->m->to[to].ref, MESSAGE), want[MESSAGE];
	memset(want, (int)n, MESSAGE);
	if (!text || memcmp(text, want, MESSAGE))
		die("a message", EBADMSG);
	shmb_free(e->a, text);
}

/* Both ends count alike: the n-th message asks, and is answered with the same number. */
static void answer(const struct end *e)
{
	for (uint32_t n = 1; n <= WARM_TRIPS + TRIPS; n++) {
		get(e, 0, n);
		put(e, 1, n);
	}
}

static double ask_ns(const struct end *e)
{
	double begin = 0;
	for (uint32_t n = 1; n <= WARM_TRIPS + TRIPS; n++) {
		if (n == WARM_TRIPS + 1)
			begin = now_ns();
		put(e, 0, n);
		get(e, 1, n);
	}
	return (now_ns() - begin) / TRIPS;
}

/* The second process opens the arena itself, as an unrelated one would. */
static struct end end_open(const char *name, struct mailbox *bare, const char *wait)
{
	struct end e = {.m = bare, .futex = !strcmp(wait, "futex")};
	if (!bare) {
		e.a = arena_open(name);
		e.m = box_object(e.a, "mailbox", &mailbox_type, true);
	}
	return e;
}

static int trip(const char *name, struct mailbox *bare, const char *wait)
{
	int status;
	pid_t pid = fork();
	if (pid < 0)
		die("a process", errno);
	alarm(60);
	pin(pid == 0);
	struct end e = end_open(name, bare, wait);
	if (pid == 0) {
		answer(&e);
		_exit(e.a ? shmb_arena_close(e.a) : 0);
	}
	double took = ask_ns(&e);
	if (waitpid(pid, &status, 0) != pid || status)
		die("the second process", ECHILD);
	printf("%.1f\n", took);
	return e.a ? shmb_arena_close(e.a) : 0;
}

int main(int argc, char **argv)
{
	const char *what = argc == 4 ? argv[1] : "";
	if (!strcmp(what, "find"))
		return find(argv[2], (unsigned)atoi(argv[3]));
	if (!strcmp(what, "trip"))
		return trip(argv[2], NULL, argv[3]);
	if (!strcmp(what, "bare"))
		return trip(NULL, mmap(NULL, sizeof(struct mailbox), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0),
		            argv[3]);
	fprintf(stderr, "usage: box find NAME BOXES | box trip NAME WAIT | box bare - WAIT\n");
	return 2;
}
