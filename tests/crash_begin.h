/* crash_begin.h - how operations of the crash sweep begin, and the calls that most of them step. */
#ifndef CRASH_BEGIN_H
#define CRASH_BEGIN_H

#include "crash_plan.h"


/*
 * SMALL's depot takes as many magazines as it has cells, MIDDLE's and PAGES's
 * eight before it is at its limit; a block of PAGES is a slab of its own.
 */
enum { SMALL = 64, TINY = 16, MIDDLE = 1024, PAGES = 8192, ROUNDS = MAG_ROUNDS, LARGE = 3 * UNIT };

static void *operand; /* what run() is called with */
static size_t wanted;

static void run_malloc(void)
{
	plan->result = shmb_ref_of(A, shmb_malloc(A, wanted));
}

static void run_free(void)
{
	shmb_free(A, operand);
}

static void allocates(size_t size)
{
	plan->request = wanted = size;
}

/* Victim owns the region; a few blocks of several kinds are live in it. */
static void begin(void)
{
	open_arena(SHMB_CREATE_ONLY);
	A->stock_bytes = 0; /* what the depot does not take is flushed; but where it is the subject */
	hold_new(SMALL);
	hold_new(PAGES);
	hold_new(MIDDLE);
	hold_new(2 * UNIT);
}

static void begin_with_peer(void)
{
	begin();
	ask(peer_open);
}

#endif
