/*
 * work_vector.c - an array that grows by a factor from 4 KiB to 256 MiB as
 * realloc() lets it, each page of it written once, and is freed. An operation
 * is a page of the final array.
 */
#include "alloc.h"
#include "works.h"

enum { PAGE_BYTES = 4096 };
static const size_t whole = (size_t)256 << 20;

uint64_t vector_step(struct party *p)
{
	const struct vector *v = p->work->param;
	volatile char *b = bench_malloc(PAGE_BYTES);
	size_t have = PAGE_BYTES, written = 0;
	for (;;) {
		if (!b)
			bench_die("out of memory");
		for (; written < have; written += PAGE_BYTES)
			b[written] = 1;
		if (have >= whole)
			break;
		have = (have * v->percent / 100 + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
		have = have < whole ? have : whole;
		b = bench_realloc((void *)b, have);
	}
	for (size_t at = 0; at < whole; at += whole / 16)
		if (b[at] != 1)
			bench_die("an array lost its contents");
	bench_free((void *)b);
	return whole / PAGE_BYTES;
}
