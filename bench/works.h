/* works.h - the functions of the workloads, one work_*.c a subject; works.c lists them. */
#ifndef BENCH_WORKS_H
#define BENCH_WORKS_H

#include "bench.h"

/* small: pair64, and windows of live blocks replaced at random */
struct window {
	uint32_t slots;
	uint32_t least, most; /* bytes */
	uint32_t stride;      /* one byte is written in each; 0: only the first */
};
void nothing_begin(struct party *p);
uint64_t pair64_step(struct party *p);
void window_begin(struct party *p);
uint64_t window_step(struct party *p);
void window_end(struct party *p);

/* pass, xmalloc: one party allocates, the other frees */
void *ring_new(void);
uint64_t pass_step(struct party *p);
void pass_end(struct party *p);
void *queue_new(void);
void xmalloc_begin(struct party *p);
uint64_t xmalloc_step(struct party *p);
void xmalloc_end(struct party *p);

/* larson: threads that hand their blocks to their successors */
void larson_begin(struct party *p);
uint64_t larson_step(struct party *p);
void larson_end(struct party *p);

/* hoard: threadtest, cache-thrash, cache-scratch */
void threadtest_begin(struct party *p);
uint64_t threadtest_step(struct party *p);
uint64_t thrash_step(struct party *p);
void *scratch_new(void);
void scratch_begin(struct party *p);

/* mstress: sizes of all kinds, some blocks change hands */
void *exchange_new(void);
void mstress_begin(struct party *p);
uint64_t mstress_step(struct party *p);
void mstress_end(struct party *p);

/* touch: a gigabyte, new; at its end reads of it, and reads of huge pages */
void touch_begin(struct party *p);
uint64_t touch_step(struct party *p);
void touch_end(struct party *p);

/* vector: an array that grows to 256 MiB */
struct vector {
	uint32_t percent; /* of its size that it grows to when it is full */
};
uint64_t vector_step(struct party *p);

/* calloc: 1 KiB to 1 MiB */
void calloc_begin(struct party *p);
uint64_t calloc_step(struct party *p);
void calloc_end(struct party *p);

/* fragment: what is left of many small blocks, then larger ones between them */
void fragment_begin(struct party *p);
uint64_t fragment_step(struct party *p);
void fragment_end(struct party *p);

#endif
