/* crash_magazine.h - operations of the crash sweep: magazines and depot of one process. */
#ifndef CRASH_MAGAZINE_H
#define CRASH_MAGAZINE_H

#include "crash_begin.h"

/* ---- magazines of one process ------------------------------------------------------- */

/* Leaves both magazines of the class full and `cells` in the depot; returns blocks taken and freed. */
static unsigned fill_caches(size_t size, unsigned cells)
{
	unsigned rounds = class_rounds(class_of(size)), n = (cells + 2) * rounds, first = plan->given_n;
	give_new(n, size);
	while (loaded_count(size) || previous_count(size))
		give_new(1, size);
	free_given(first, first + n);
	for (unsigned i = first + n; i < plan->given_n; i++)
		hold(given(i), size);
	NEED(loaded_count(size) == rounds && previous_count(size) == rounds && depot_size(size) == cells);
	return n;
}

/* What is taken and not given back is held: it must survive. */
static void hold_down(size_t size, unsigned loaded)
{
	while (loaded_count(size) > loaded)
		hold_new(size);
}

static void prepare_malloc_hit(void)
{
	begin();
	fill_caches(SMALL, 0);
	hold_down(SMALL, 20);
	allocates(SMALL);
}

static void prepare_free_hit(void)
{
	begin();
	fill_caches(SMALL, 0);
	hold_down(SMALL, 20);
	operand = subject(take(SMALL), SMALL);
}

static void prepare_malloc_swap(void)
{
	begin();
	fill_caches(SMALL, 0);
	hold_down(SMALL, 0);
	NEED(previous_count(SMALL) == ROUNDS);
	allocates(SMALL);
}

static void prepare_malloc_depot(void)
{
	begin();
	fill_caches(SMALL, 2);
	hold_down(SMALL, 0);
	hold_new(SMALL);
	hold_down(SMALL, 0);
	NEED(previous_count(SMALL) == 0 && depot_size(SMALL) == 2);
	allocates(SMALL);
}

/* The first call of a process: jemalloc starts, tables and units are committed. */
static void prepare_malloc_first(void)
{
	open_arena(SHMB_CREATE_ONLY);
	allocates(SMALL);
}

static void prepare_malloc_fill(void)
{
	begin();
	while (loaded_count(MIDDLE))
		hold_new(MIDDLE);
	while (loaded_count(MIDDLE) < 2) /* the fills have grown */
		hold_new(MIDDLE);
	hold_down(MIDDLE, 0);
	NEED(previous_count(MIDDLE) == 0 && depot_size(MIDDLE) == 0);
	allocates(MIDDLE);
}

static void prepare_malloc_aligned(void)
{
	begin();
	plan->request = 16384;
}

static void run_malloc_aligned(void)
{
	plan->result = shmb_ref_of(A, shmb_aligned_alloc(A, 16384, 16384));
}

static void prepare_free_swap(void)
{
	begin();
	fill_caches(SMALL, 0);
	operand = subject(take(SMALL), SMALL); /* from the one that is loaded */
	hold_down(SMALL, 0);
	void *spare = take(SMALL); /* swaps */
	NEED(previous_count(SMALL) == 0);
	shmb_free(A, spare);
	NEED(loaded_count(SMALL) == ROUNDS && previous_count(SMALL) == 0);
}

static void prepare_free_depot(void)
{
	begin();
	void *p = take(SMALL);
	fill_caches(SMALL, 1);
	operand = subject(p, SMALL);
}

static void prepare_free_flush(void)
{
	begin();
	void *p = take(MIDDLE);
	fill_caches(MIDDLE, 8);
	operand = subject(p, MIDDLE);
}

/* The depot is at its limit, and the thread may keep what it does not take. */
static void *prepare_stock(void)
{
	begin();
	void *p = take(MIDDLE);
	fill_caches(MIDDLE, 8);
	A->stock_bytes = STOCK_BYTES;
	return p;
}

static void prepare_free_stock(void)
{
	operand = subject(prepare_stock(), MIDDLE);
}

static void prepare_malloc_stock(void)
{
	void *p = prepare_stock();
	shmb_free(A, p);
	hold_down(MIDDLE, 0);
	hold_new(MIDDLE);
	hold_down(MIDDLE, 0);
	NEED(previous_count(MIDDLE) == 0 && depot_size(MIDDLE) == 8 && atomic_load(&context_current->backlog));
	allocates(MIDDLE);
}

/* Another class's depot has been idle. */
static void prepare_malloc_tidy(void)
{
	begin();
	fill_caches(MIDDLE, 2);
	hold_down(SMALL, 0);
	atomic_store(&A->depots[class_of(MIDDLE)].used_ms, (uint32_t)sys_coarse_ms() - 60 * 1000);
	atomic_store(&A->tidied_ms, 0);
	allocates(SMALL);
}

static void prepare_free_flush_pages(void)
{
	begin();
	void *p = take(PAGES);
	fill_caches(PAGES, 8);
	operand = subject(p, PAGES);
}

/* A handler that interrupted the allocator frees. */
static void prepare_free_nested(void)
{
	begin();
	operand = subject(take(SMALL), SMALL);
	context_set(&context_busy);
}

static void prepare_malloc_nested(void)
{
	begin();
	allocates(SMALL);
	plan->request = UNIT;
	context_set(&context_busy);
}

#endif
