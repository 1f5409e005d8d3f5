/*
 * crash_plan.h - what the processes of the crash sweep share: which blocks
 * are live, which one the interrupted operation is about, and how the victim
 * has a second process, the peer, do something for it.
 *
 * The plan is anonymous shared memory, no part of the region: only the victim
 * and the peer write it, and neither does while the operation is stepped,
 * except for `result` at its very end.
 */
#ifndef CRASH_PLAN_H
#define CRASH_PLAN_H

#include "arena.h"
#include "context.h"
#include "magazine.h"
#include "orphan.h"
#include "recover.h"
#include "slot.h"
#include "span.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CAPACITY = 4 << 20, HELD = 1024, GIVEN = 8192, MIB = 1 << 20 };

/* A block that somebody holds, filled with its id's pattern. */
struct held {
	shmb_ref ref;
	uint32_t size, id;
};

struct plan {
	char name[64];
	struct held held[HELD]; /* live before, during and after the operation */
	unsigned held_n;
	struct held subject; /* what it frees: live or free */
	size_t request;      /* what it allocates: at most one live block more. 0: nothing */
	shmb_ref result;     /* set when it has returned */
	shmb_ref given[GIVEN]; /* from one process to the other */
	unsigned given_n;
	unsigned peer_slot;
	int ask[2], answer[2];
	bool hardened;
	bool data_counts; /* what changes in the data is watched, too */
};

static struct plan *plan;
static shmb_arena *A; /* the arena as this process has it open */

/* In the victim or the peer: the preparation is not what the operation needs. */
#define NEED(cond)                                                                          \
	do {                                                                                \
		if (!(cond)) {                                                              \
			fprintf(stderr, "crash_sweep: %s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			_exit(90);                                                          \
		}                                                                           \
	} while (0)

/* ---- patterns ----------------------------------------------------------------- */

static unsigned char pattern(uint32_t id)
{
	return (unsigned char)(id * 167 % 251 + 1);
}

static void stamp(void *p, size_t size, uint32_t id)
{
	memset(p, pattern(id), size);
}

static bool stamped(const void *p, size_t size, uint32_t id)
{
	const unsigned char *b = p;
	return b[0] == pattern(id) && memcmp(b, b + 1, size - 1) == 0;
}

/* ---- blocks ------------------------------------------------------------------- */

static void *take(size_t size)
{
	void *p = shmb_malloc(A, size);
	NEED(p);
	return p;
}

static void hold(void *p, size_t size)
{
	struct held *h = &plan->held[plan->held_n];
	NEED(plan->held_n < HELD);
	*h = (struct held){.ref = shmb_ref_of(A, p), .size = (uint32_t)size, .id = ++plan->held_n};
	stamp(p, size, h->id);
}

static void hold_new(size_t size)
{
	hold(take(size), size);
}

static void *subject(void *p, size_t size)
{
	plan->subject = (struct held){.ref = shmb_ref_of(A, p), .size = (uint32_t)size, .id = 1000};
	stamp(p, size, 1000);
	return p;
}

static void give(void *p)
{
	NEED(plan->given_n < GIVEN);
	plan->given[plan->given_n++] = shmb_ref_of(A, p);
}

static void *given(unsigned i)
{
	void *p = shmb_deref(A, plan->given[i], 1);
	NEED(p);
	return p;
}

static void free_given(unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		shmb_free(A, given(i));
}

/* Blocks of `size` as plan->given[], in order. */
static void give_new(unsigned n, size_t size)
{
	while (n--)
		give(take(size));
}

/* ---- processes ------------------------------------------------------------------ */

static void open_arena(unsigned flags)
{
	shmb_options opt = {.size = CAPACITY, .flags = flags | (plan->hardened ? SHMB_HARDENED : 0)};
	int err = shmb_arena_open(plan->name, &opt, &A);
	if (err)
		fprintf(stderr, "crash_sweep: open: %s\n", shmb_strerror(err));
	NEED(!err);
}

/* Runs `what` in the peer, which has the same program at the same addresses. */
static void ask(void (*what)(void))
{
	char done;
	NEED(write(plan->ask[1], &what, sizeof what) == sizeof what);
	NEED(read(plan->answer[0], &done, 1) == 1);
}

static void peer_serve(void)
{
	void (*what)(void);
	while (read(plan->ask[0], &what, sizeof what) == sizeof what) {
		what();
		NEED(write(plan->answer[1], "", 1) == 1);
	}
	_exit(0);
}

static void peer_open(void)
{
	open_arena(SHMB_ATTACH_ONLY);
	plan->peer_slot = holder_slot(atomic_load(&A->holder));
}

static void peer_create(void)
{
	open_arena(SHMB_CREATE_ONLY);
	plan->peer_slot = holder_slot(atomic_load(&A->holder));
}

static void peer_die(void)
{
	kill(getpid(), SIGKILL);
}

/* Kills the peer and waits until the kernel has let go of its lease. */
static void kill_peer(void)
{
	void (*what)(void) = peer_die;
	char path[96], done;
	int fd;
	NEED(write(plan->ask[1], &what, sizeof what) == sizeof what);
	NEED(read(plan->answer[0], &done, 1) == 0);
	snprintf(path, sizeof path, "/dev/shm%s", plan->name);
	NEED(!sys_open(path, O_RDWR, 0, &fd));
	NEED(!sys_lock(fd, F_WRLCK, LEASE_SLOT + plan->peer_slot, true));
	sys_close(fd);
}

/* ---- what the preparation has led to ---------------------------------------------- */

static struct mag_shm *paired(size_t size, bool previous)
{
	uint64_t w = atomic_load(&context_get()->pairs[class_of(size)]);
	uint32_t number = previous ? pair_previous(w) : pair_loaded(w);
	return number ? &A->mags[number - 1] : NULL;
}

static unsigned loaded_count(size_t size)
{
	struct mag_shm *m = paired(size, false);
	return m ? atomic_load(&m->count) : 0;
}

static unsigned previous_count(size_t size)
{
	struct mag_shm *m = paired(size, true);
	return m ? atomic_load(&m->count) : 0;
}

static unsigned depot_size(size_t size)
{
	return atomic_load(&A->depots[class_of(size)].count);
}

static unsigned inbox_size(unsigned slot)
{
	unsigned n = 0;
	for (unsigned i = 0; i < INBOX_CELLS; i++)
		n += atomic_load(&A->slots[slot].inbox[i]) != 0;
	return n;
}

#endif
