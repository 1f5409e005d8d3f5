/*
 * work_hoard.c - three loads of Berger, McKinley, Blumofe and Wilson, "Hoard:
 * A Scalable Memory Allocator for Multithreaded Applications" (ASPLOS 2000).
 *
 *   threadtest     each party allocates 50,000 blocks of 8 bytes, then frees them
 *   cache-thrash   each allocates a block of 8 bytes, writes it many times,
 *                  frees it: slow where two parties get parts of a cache line
 *   cache-scratch  the same, but first each frees a block that one of them
 *                  allocated for all: slow where those are issued again where
 *                  they were freed
 */
#include "alloc.h"
#include "works.h"

#include <sched.h>

enum { OBJECTS = 50000, OBJECT = 8, WRITES = 100 };

static volatile char *object_new(void)
{
	volatile char *b = bench_malloc(OBJECT);
	if (!b)
		bench_die("out of memory");
	*b = 1;
	return b;
}

void threadtest_begin(struct party *p) { p->state = bench_map(OBJECTS * sizeof(void *)); }

uint64_t threadtest_step(struct party *p)
{
	volatile char **objects = p->state;
	for (unsigned i = 0; i < OBJECTS; i++)
		objects[i] = object_new();
	for (unsigned i = 0; i < OBJECTS; i++)
		bench_free((void *)objects[i]);
	return OBJECTS;
}

uint64_t thrash_step(struct party *p)
{
	(void)p;
	for (unsigned i = 0; i < STEP_OPS; i++) {
		volatile char *b = object_new();
		for (unsigned k = 0; k < WRITES; k++)
			b[k % OBJECT]++;
		bench_free((void *)b);
	}
	return STEP_OPS;
}

struct scratch {
	void *_Atomic objects[PARTIES_MAX];
};

void *scratch_new(void) { return bench_map(sizeof(struct scratch)); }

void scratch_begin(struct party *p)
{
	struct scratch *s = p->shared->meeting;
	void *mine = NULL;
	if (p->shared->apart)
		mine = (void *)object_new();
	else if (p->index == 0)
		for (unsigned i = 0; i < p->work->parties; i++)
			atomic_store(&s->objects[i], (void *)object_new());
	while (!mine && !(mine = atomic_load(&s->objects[p->index])))
		sched_yield();
	bench_free(mine);
}
