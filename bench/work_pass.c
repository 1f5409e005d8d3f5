/*
 * work_pass.c - party 0 allocates and fills in, party 1 reads and frees:
 * blocks of 64 bytes through a ring of 1,024 pointers, handed over 64 at a
 * time so that the ring costs little beside them.
 *
 * `sent` is written by party 0 only, `taken` by party 1 only.
 */
#include "alloc.h"
#include "works.h"

#include <sched.h>

enum { RING = 1024, BATCH = 64, BLOCK = 64, SPINS = 2000 };

struct ring {
	_Alignas(64) _Atomic uint64_t sent;
	_Alignas(64) _Atomic uint64_t taken;
	_Alignas(64) char *cells[RING];
};

void *ring_new(void) { return bench_map(sizeof(struct ring)); }

/* Until *counter >= least; false: the run is over and it will not be. */
static bool wait_for(struct shared *s, _Atomic uint64_t *counter, uint64_t least)
{
	for (unsigned i = 1; atomic_load_explicit(counter, memory_order_acquire) < least; i++) {
		if (atomic_load(&s->over) && atomic_load(counter) < least)
			return false;
		if (i % SPINS == 0)
			sched_yield();
		__builtin_ia32_pause();
	}
	return true;
}

static uint64_t send_batch(struct party *p, struct ring *r)
{
	uint64_t at = atomic_load_explicit(&r->sent, memory_order_relaxed);
	if (at + BATCH > RING && !wait_for(p->shared, &r->taken, at + BATCH - RING))
		return 0;
	for (unsigned i = 0; i < BATCH; i++) {
		char *b = bench_malloc(BLOCK);
		if (!b)
			bench_die("out of memory");
		*(volatile char *)b = 1;
		r->cells[(at + i) % RING] = b;
	}
	atomic_store_explicit(&r->sent, at + BATCH, memory_order_release);
	return BATCH;
}

static uint64_t take_batch(struct party *p, struct ring *r)
{
	uint64_t at = atomic_load_explicit(&r->taken, memory_order_relaxed);
	if (!wait_for(p->shared, &r->sent, at + BATCH))
		return 0;
	for (unsigned i = 0; i < BATCH; i++) {
		char *b = r->cells[(at + i) % RING];
		if (*(volatile char *)b != 1)
			bench_die("a block lost its contents on the way");
		bench_free(b);
	}
	atomic_store_explicit(&r->taken, at + BATCH, memory_order_release);
	return BATCH;
}

uint64_t pass_step(struct party *p)
{
	struct ring *r = p->shared->meeting;
	uint64_t n = 0;
	for (unsigned i = 0; i < STEP_OPS / BATCH; i++)
		n += p->index == 0 ? send_batch(p, r) : take_batch(p, r);
	return n;
}

/* What is still in the ring goes the same way. */
void pass_end(struct party *p)
{
	if (p->index == 1)
		while (take_batch(p, p->shared->meeting))
			;
}
