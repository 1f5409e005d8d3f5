/*
 * work_small.c - pair64, and windows of live blocks replaced at random. The
 * loops that win, mid and big share.
 */
#include "alloc.h"
#include "works.h"

void nothing_begin(struct party *p) { (void)p; }

uint64_t pair64_step(struct party *p)
{
	(void)p;
	for (unsigned i = 0; i < STEP_OPS; i++) {
		volatile char *b = bench_malloc(64);
		*b = 1;
		bench_free((void *)b);
	}
	return STEP_OPS;
}

static void *window_block(const struct window *w, uint32_t r)
{
	uint32_t size = bench_between(r, w->least, w->most);
	volatile char *b = bench_malloc(size);
	if (!b)
		bench_die("out of memory");
	*b = 1;
	if (w->stride)
		for (uint32_t at = w->stride; at < size; at += w->stride)
			b[at] = 1;
	return (void *)b;
}

void window_begin(struct party *p)
{
	const struct window *w = p->work->param;
	void **live = bench_map(w->slots * sizeof *live);
	p->state = live;
	for (uint32_t i = 0; i < w->slots; i++)
		live[i] = window_block(w, (uint32_t)bench_random(&p->rng));
}

uint64_t window_step(struct party *p)
{
	const struct window w = *(const struct window *)p->work->param;
	void **live = p->state;
	unsigned ops = w.most > 65536 ? STEP_OPS / 64 : STEP_OPS;
	for (unsigned i = 0; i < ops; i++) {
		uint64_t r = bench_random(&p->rng);
		uint32_t at = (uint32_t)((r >> 32) * w.slots >> 32);
		bench_free(live[at]);
		live[at] = window_block(&w, (uint32_t)r);
	}
	return ops;
}

void window_end(struct party *p)
{
	const struct window *w = p->work->param;
	void **live = p->state;
	for (uint32_t i = 0; i < w->slots; i++)
		bench_free(live[i]);
}
