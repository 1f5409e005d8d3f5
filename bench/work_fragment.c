/*
 * work_fragment.c - a trace that leaves holes: in each of its rounds blocks
 * of one size are allocated until 64 MiB are live, then nine of ten of them are
 * freed at random, and the next round's blocks are a half larger, so that
 * they do not fit where those were. What survives a round lives for three.
 *
 * Only its memory is of interest; memory.c takes it.
 */
#include "alloc.h"
#include "works.h"

#include <string.h>

enum { ROUNDS = 16, LEAST = 32, KEPT_ONE_IN = 10, LIVES = 3 };
static const size_t goal = (size_t)64 << 20;

struct round {
	void **blocks; /* NULL: freed */
	size_t n, size;
};

struct trace {
	struct round rounds[LIVES + 1];
	size_t live;
	unsigned at;
};

static void block_end(struct trace *t, struct round *r, size_t i)
{
	if (r->blocks[i])
		t->live -= r->size;
	bench_free(r->blocks[i]);
	r->blocks[i] = NULL;
}

static void round_end(struct trace *t, struct round *r)
{
	for (size_t i = 0; i < r->n; i++)
		block_end(t, r, i);
	r->n = 0;
}

void fragment_begin(struct party *p)
{
	struct trace *t = bench_map(sizeof *t);
	p->state = t;
	for (unsigned i = 0; i <= LIVES; i++)
		t->rounds[i].blocks = bench_map(goal / LEAST * sizeof(void *));
}

uint64_t fragment_step(struct party *p)
{
	struct trace *t = p->state;
	struct round *r = &t->rounds[t->at % (LIVES + 1)];
	round_end(t, r); /* what is left of the round of LIVES + 1 ago */
	r->size = t->at % ROUNDS ? r[t->at % (LIVES + 1) ? -1 : LIVES].size * 3 / 2 : LEAST;
	for (; t->live < goal; t->live += r->size) {
		void *b = bench_malloc(r->size);
		if (!b)
			bench_die("out of memory");
		r->blocks[r->n++] = memset(b, 1, r->size);
	}
	for (size_t i = 0; i < r->n; i++)
		if (bench_random(&p->rng) % KEPT_ONE_IN)
			block_end(t, r, i);
	t->at++;
	return r->n;
}

void fragment_end(struct party *p)
{
	struct trace *t = p->state;
	for (unsigned i = 0; i <= LIVES; i++)
		round_end(t, &t->rounds[i]);
}
