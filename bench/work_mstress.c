/*
 * work_mstress.c - mstress, after the description of mimalloc's own stress
 * test (Leijen, Zorn, de Moura, "Mimalloc: Free List Sharding in Action",
 * 2019): a server's mixture. Sizes double with falling probability and are
 * now and then large, lifetimes differ, what a block holds is checked, and
 * some blocks change hands and are freed by another party.
 */
#include "alloc.h"
#include "works.h"

#include <string.h>

enum { SLOTS = 2000, EXCHANGE = 500, LARGE_ONE_IN = 4096, CHANGES_ONE_IN = 8 };

struct exchange {
	void *_Atomic cells[EXCHANGE];
};

struct mine {
	void *slots[SLOTS];
	struct exchange own; /* where no block may go to another party */
};

void *exchange_new(void) { return bench_map(sizeof(struct exchange)); }

static struct exchange *exchange_of(struct party *p)
{
	struct mine *m = p->state;
	return p->shared->apart ? &m->own : p->shared->meeting;
}

/* 16 << 0..6 bytes with probability 1/2, 1/4, ...; a few of 64 to 256 KiB. */
static size_t size_of(uint64_t r)
{
	unsigned doublings = (unsigned)__builtin_ctzll(r | 1u << 6);
	if ((r >> 12) % LARGE_ONE_IN == 0)
		return bench_between((uint32_t)(r >> 32), 64 << 10, 256 << 10);
	return ((size_t)16 << doublings) + (r >> 8 & 15);
}

/* The first words hold its size and a tag of it. */
static void *block_new(uint64_t r)
{
	size_t size = size_of(r);
	uint64_t *b = bench_malloc(size);
	if (!b)
		bench_die("out of memory");
	b[0] = size;
	b[1] = ~(uint64_t)size;
	return b;
}

static void block_end(void *p)
{
	uint64_t *b = p;
	if (!b)
		return;
	if (b[0] != ~b[1])
		bench_die("a block lost its contents");
	bench_free(b);
}

void mstress_begin(struct party *p)
{
	struct mine *m = bench_map(sizeof *m);
	p->state = m;
	for (unsigned i = 0; i < SLOTS; i++)
		m->slots[i] = block_new(bench_random(&p->rng));
}

uint64_t mstress_step(struct party *p)
{
	struct mine *m = p->state;
	struct exchange *x = exchange_of(p);
	for (unsigned i = 0; i < STEP_OPS; i++) {
		uint64_t where = bench_random(&p->rng);
		void **slot = &m->slots[bench_between((uint32_t)where, 0, SLOTS - 1)];
		block_end(*slot);
		*slot = block_new(bench_random(&p->rng));
		if (where >> 32 & (CHANGES_ONE_IN - 1))
			continue;
		void *_Atomic *cell = &x->cells[bench_between((uint32_t)(where >> 16), 0, EXCHANGE - 1)];
		*slot = atomic_exchange(cell, *slot);
	}
	return STEP_OPS;
}

void mstress_end(struct party *p)
{
	struct mine *m = p->state;
	struct exchange *x = exchange_of(p);
	for (unsigned i = 0; i < SLOTS; i++)
		block_end(m->slots[i]);
	for (unsigned i = 0; i < EXCHANGE; i++)
		block_end(atomic_exchange(&x->cells[i], NULL));
}
