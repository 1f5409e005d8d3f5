/*
 * work_touch.c - a gigabyte in blocks of 1 MiB: one byte of each page written
 * for the first time, and reads of 8 bytes at random places, each of which
 * depends on the one before: as the allocator gave them, and after the kernel was
 * asked for huge pages. An operation is a page, then a read.
 */
#include "alloc.h"
#include "works.h"

#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

enum { BLOCKS = 1024, BLOCK = 1 << 20, PAGE_BYTES = 4096, HUGE = 2 << 20, READS = 300000 };

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

void touch_begin(struct party *p) { p->state = bench_map(BLOCKS * sizeof(void *)); }

uint64_t touch_step(struct party *p)
{
	volatile char **blocks = p->state;
	for (unsigned i = 0; i < BLOCKS; i++) {
		blocks[i] = bench_malloc(BLOCK);
		if (!blocks[i])
			bench_die("out of memory");
		for (unsigned at = 0; at < BLOCK; at += PAGE_BYTES)
			blocks[i][at] = 1;
	}
	return BLOCKS * (BLOCK / PAGE_BYTES);
}

/* Each page once, so that it is mapped, then at random. */
static double reads_ns(struct party *p)
{
	char **blocks = p->state;
	struct timespec begin, end;
	uint64_t r = bench_random(&p->rng);
	for (unsigned i = 0; i < BLOCKS; i++)
		for (unsigned at = 0; at < BLOCK; at += PAGE_BYTES)
			r += ((const volatile char *)blocks[i])[at] & 2; /* 0, but the processor cannot know */
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begin);
	for (unsigned i = 0; i < READS; i++) {
		uint64_t word = *(const volatile uint64_t *)(blocks[r >> 54] + (r >> 34 & (BLOCK - 8)));
		r = r * 6364136223846793005u + 1442695040888963407u + (word & 2);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &end);
	p->rng = r | 1;
	return ((double)(end.tv_sec - begin.tv_sec) * 1e9 + (double)(end.tv_nsec - begin.tv_nsec)) / READS;
}

/* What lies around the blocks in the same 2 MiB becomes part of a huge page with them. False: the kernel has none. */
static bool collapse(void *const *blocks)
{
	uintptr_t last = 0;
	size_t huge = 0;
	for (unsigned i = 0; i < BLOCKS; i++) {
		uintptr_t at = (uintptr_t)blocks[i] / HUGE * HUGE;
		if (at != last && madvise((void *)at, HUGE, MADV_COLLAPSE) == 0)
			huge += HUGE;
		last = at;
	}
	return huge >= (size_t)BLOCKS * BLOCK / 2;
}

void touch_end(struct party *p)
{
	void **blocks = p->state;
	char *more = p->shared->more;
	int n = snprintf(more, sizeof p->shared->more, " reads %.3f", reads_ns(p));
	if (collapse(blocks))
		(void)snprintf(more + n, sizeof p->shared->more - (size_t)n, " readshuge %.3f", reads_ns(p));
	for (unsigned i = 0; i < BLOCKS; i++)
		bench_free(blocks[i]);
}
