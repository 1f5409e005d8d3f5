/*
 * work_larson.c - larson, after Larson and Krishnan, "Memory Allocation for
 * Long-Running Server Applications" (ISMM 1998): a thread replaces random
 * blocks of its set, and after a while starts a thread that goes on with the
 * set, and ends. So blocks outlive the thread that allocated them and are
 * freed by another.
 *
 * A step is the life of one such thread.
 */
#include "alloc.h"
#include "works.h"

enum { SET = 5000, LEAST = 8, MOST = 1000, LIFE_OPS = 20000 };

static void *block_new(uint32_t r)
{
	volatile char *b = bench_malloc(bench_between(r, LEAST, MOST));
	if (!b)
		bench_die("out of memory");
	*b = 1;
	return (void *)b;
}

void larson_begin(struct party *p)
{
	void **set = bench_map(SET * sizeof *set);
	p->state = set;
	for (unsigned i = 0; i < SET; i++)
		set[i] = block_new((uint32_t)bench_random(&p->rng));
}

static void *life(void *arg)
{
	struct party *p = arg;
	void **set = p->state;
	for (unsigned i = 0; i < LIFE_OPS; i++) {
		uint64_t r = bench_random(&p->rng);
		uint32_t at = bench_between((uint32_t)(r >> 32), 0, SET - 1);
		bench_free(set[at]);
		set[at] = block_new((uint32_t)r);
	}
	return NULL;
}

uint64_t larson_step(struct party *p)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, life, p) || pthread_join(thread, NULL))
		bench_die("no thread");
	return LIFE_OPS;
}

void larson_end(struct party *p)
{
	void **set = p->state;
	for (unsigned i = 0; i < SET; i++)
		bench_free(set[i]);
}
