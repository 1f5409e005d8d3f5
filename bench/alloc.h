/*
 * alloc.h - the one difference between the drivers: which functions the
 * loops call. All else is the same source compiled again.
 */
#ifndef BENCH_ALLOC_H
#define BENCH_ALLOC_H

#include <stdlib.h>

#ifdef BENCH_SHMB
#include <shmbind.h>
extern shmb_arena *bench_arena;
#define bench_malloc(size) shmb_malloc(bench_arena, (size))
#define bench_free(p) shmb_free(bench_arena, (p))
#define bench_realloc(p, size) shmb_realloc(bench_arena, (p), (size))
#define bench_calloc(n, size) shmb_calloc(bench_arena, (n), (size))
#define BENCH_MALLOC_ENTRY ((void *)shmb_malloc)
#define BENCH_FREE_ENTRY ((void *)shmb_free)
#elif defined BENCH_BOOST
#include "boost_heap.h"
#define bench_malloc(size) boost_heap_malloc(size)
#define bench_free(p) boost_heap_free(p)
#define bench_realloc(p, size) ((void)(p), (void)(size), bench_die("no realloc"), NULL)
#define bench_calloc(n, size) ((void)(n), (void)(size), bench_die("no calloc"), NULL)
#define BENCH_MALLOC_ENTRY ((void *)boost_heap_malloc)
#define BENCH_FREE_ENTRY ((void *)boost_heap_free)
#elif defined BENCH_MEMKIND
#include <memkind.h>
extern memkind_t bench_kind;
#define bench_malloc(size) memkind_malloc(bench_kind, (size))
#define bench_free(p) memkind_free(bench_kind, (p))
#define bench_realloc(p, size) memkind_realloc(bench_kind, (p), (size))
#define bench_calloc(n, size) memkind_calloc(bench_kind, (n), (size))
#define BENCH_MALLOC_ENTRY ((void *)memkind_malloc)
#define BENCH_FREE_ENTRY ((void *)memkind_free)
#else
#define bench_malloc(size) malloc(size)
#define bench_free(p) free(p)
#define bench_realloc(p, size) realloc((p), (size))
#define bench_calloc(n, size) calloc((n), (size))
#define BENCH_MALLOC_ENTRY ((void *)malloc)
#define BENCH_FREE_ENTRY ((void *)free)
#endif

#endif
