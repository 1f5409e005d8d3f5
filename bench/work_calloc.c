/*
 * work_calloc.c - 64 live blocks of zeros, one replaced at random; sizes from
 * 1 KiB to 1 MiB, each doubling as likely as another. A word of each page is
 * read, which must be 0, and written.
 */
#include "alloc.h"
#include "works.h"

enum { SLOTS = 64, LEAST_LOG = 10, DOUBLINGS = 10, PAGE_BYTES = 4096, OPS = 64 };

static void *block_new(uint64_t r)
{
	unsigned log = LEAST_LOG + bench_between((uint32_t)(r >> 32), 0, DOUBLINGS - 1);
	size_t size = bench_between((uint32_t)r, 1u << log, 1u << (log + 1));
	volatile char *b = bench_calloc(1, size);
	if (!b)
		bench_die("out of memory");
	for (size_t at = 0; at < size; at += PAGE_BYTES) {
		if (b[at])
			bench_die("calloc gave no zeros");
		b[at] = 1;
	}
	return (void *)b;
}

void calloc_begin(struct party *p)
{
	void **live = bench_map(SLOTS * sizeof *live);
	p->state = live;
	for (unsigned i = 0; i < SLOTS; i++)
		live[i] = block_new(bench_random(&p->rng));
}

uint64_t calloc_step(struct party *p)
{
	void **live = p->state;
	for (unsigned i = 0; i < OPS; i++) {
		void **slot = &live[bench_random(&p->rng) % SLOTS];
		bench_free(*slot);
		*slot = block_new(bench_random(&p->rng));
	}
	return OPS;
}

void calloc_end(struct party *p)
{
	void **live = p->state;
	for (unsigned i = 0; i < SLOTS; i++)
		bench_free(live[i]);
}
