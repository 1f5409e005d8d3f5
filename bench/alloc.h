/*
 * alloc.h - the one difference between the two drivers: which pair of
 * functions the loops call. All else is the same source compiled twice.
 */
#ifndef BENCH_ALLOC_H
#define BENCH_ALLOC_H

#include <stdlib.h>

#ifdef BENCH_SHMB
#include <shmbind.h>
extern shmb_arena *bench_arena;
#define bench_malloc(size) shmb_malloc(bench_arena, (size))
#define bench_free(p) shmb_free(bench_arena, (p))
#define BENCH_MALLOC_ENTRY ((void *)shmb_malloc)
#define BENCH_FREE_ENTRY ((void *)shmb_free)
#else
#define bench_malloc(size) malloc(size)
#define bench_free(p) free(p)
#define BENCH_MALLOC_ENTRY ((void *)malloc)
#define BENCH_FREE_ENTRY ((void *)free)
#endif

#endif
