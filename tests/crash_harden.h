/*
 * crash_harden.h - operations of the crash sweep in a hardened region. Canaries
 * and what fills free blocks are data, so that is watched as well, but where
 * filling a large block would be a hundred thousand changes.
 */
#ifndef CRASH_HARDEN_H
#define CRASH_HARDEN_H

#include "canary.h"
#include "crash_magazine.h"
#include "harden.h"

/* Sizes that leave a few bytes to spare. */
enum { HARD = 50, QUEUE = 1000, QUEUE_ROUNDS = MAG_ROUNDS };

static void begin_hardened(void)
{
	plan->hardened = plan->data_counts = true;
	open_arena(SHMB_CREATE_ONLY);
	hold_new(HARD);
	hold_new(PAGES);
	hold_new(UNIT);
}

static struct mag_shm *hard_paired(size_t size, bool previous)
{
	return paired(size + CANARY, previous);
}

static unsigned hard_count(size_t size, bool previous)
{
	struct mag_shm *m = hard_paired(size, previous);
	return m ? atomic_load(&m->count) : 0;
}

static unsigned queue_length(void)
{
	unsigned n = 0;
	for (uint32_t number = atomic_load(&context_get()->backlog); number; number = A->mags[number - 1].next)
		n++;
	return n;
}

/* That many full magazines in the quarantine, and the one that is freed into full as well. */
static void hard_queue(size_t size, unsigned mags)
{
	unsigned first = plan->given_n, n = (mags + 1) * class_rounds(class_of(size + CANARY));
	give_new(n, size);
	free_given(first, first + n);
	NEED(queue_length() == mags && hard_count(size, true) == class_rounds(class_of(size + CANARY)));
}

static void prepare_hard_malloc(void)
{
	begin_hardened();
	while (hard_count(HARD, false) < 20) /* the fills grow */
		hold_new(HARD);
	allocates(HARD);
}

static void prepare_hard_fill(void)
{
	begin_hardened();
	while (hard_count(HARD, false))
		hold_new(HARD);
	allocates(HARD);
}

/* What has come out of the quarantine is in the depot. */
static void prepare_hard_load(void)
{
	begin_hardened();
	A->stock_bytes = 0;
	give_new(3 * QUEUE_ROUNDS, QUEUE);
	while (hard_count(QUEUE, false))
		hold_new(QUEUE);
	free_given(0, 3 * QUEUE_ROUNDS);
	NEED(depot_size(QUEUE + CANARY) && !hard_count(QUEUE, false));
	allocates(QUEUE);
}

static void prepare_hard_aligned(void)
{
	begin_hardened();
	plan->data_counts = false;
	plan->request = 16384;
}

static void prepare_hard_free(void)
{
	begin_hardened();
	operand = subject(take(HARD), HARD);
	shmb_free(A, take(HARD));
	NEED(hard_count(HARD, true) == 1);
}

static void prepare_hard_quarantine(void)
{
	begin_hardened();
	operand = subject(take(QUEUE), QUEUE);
	hard_queue(QUEUE, 2);
}

/* The queue is as long as it may be: its oldest goes to the depot. */
static void prepare_hard_release(void)
{
	begin_hardened();
	A->stock_bytes = 3 * QUEUE_ROUNDS * class_size(class_of(QUEUE + CANARY));
	operand = subject(take(QUEUE), QUEUE);
	hard_queue(QUEUE, 3);
	NEED(depot_size(QUEUE + CANARY) == 0);
}

/* And the depot takes no more: its blocks go back to the engine. */
static void prepare_hard_flush(void)
{
	begin_hardened();
	A->stock_bytes = 0;
	operand = subject(take(QUEUE), QUEUE);
	unsigned first = plan->given_n, n = 9 * QUEUE_ROUNDS;
	give_new(n, QUEUE);
	free_given(first, first + n);
	NEED(depot_size(QUEUE + CANARY) == 8 && hard_count(QUEUE, true) == QUEUE_ROUNDS);
}

static void prepare_hard_large_malloc(void)
{
	begin_hardened();
	plan->data_counts = false;
	allocates(UNIT);
}

static void prepare_hard_large_free(void)
{
	begin_hardened();
	plan->data_counts = false;
	operand = subject(take(UNIT), UNIT);
	hold_new(UNIT);
}

static void prepare_hard_shrink(void)
{
	begin_hardened();
	operand = take(MIDDLE);
	hold(operand, MIDDLE - 100);
	wanted = MIDDLE - 100;
}

static void prepare_hard_large_grow(void)
{
	begin_hardened();
	plan->data_counts = false;
	operand = take(UNIT);
	hold(operand, UNIT);
	wanted = 2 * UNIT;
}

static void prepare_hard_large_shrink(void)
{
	begin_hardened();
	plan->data_counts = false;
	operand = take(2 * UNIT);
	hold(operand, UNIT + 5);
	wanted = UNIT + 5;
}

#endif
