/*
 * crash_ops.h - the operations of the crash sweep: what leads up to each, and
 * the one call that is stepped. Each preparation verifies that the call will
 * go the way its name says.
 */
#ifndef CRASH_OPS_H
#define CRASH_OPS_H

#include "commit.h"
#include "crash_harden.h"
#include "crash_rules.h"
#include "evict.h"
#include "huge.h"

struct op {
	const char *name;
	void (*prepare)(void);
	void (*run)(void);
	bool is_long; /* hundreds of thousands of instructions: left to --all, or asked for by name */
};

/* ---- between processes ----------------------------------------------------------------- */

static void recover_the_dead(void)
{
	int fd;
	NEED(!region_descriptor(A->region, &fd));
	recover_dead(A, fd);
	sys_close(fd);
}

static void peer_gives_pages(void)
{
	give_new(5 * 8, PAGES);
}

static void peer_gives_tiny(void)
{
	give_new(4 * ROUNDS, TINY);
}

static void peer_gives_a_few(void) /* two units of them */
{
	give_new(10, PAGES);
	give_new(20, TINY);
}

static void peer_frees_given(void)
{
	free_given(0, plan->given_n);
}

/* Fills this process's pair with the peer's blocks while the depot is at its limit. */
static void prepare_foreign_pair(void)
{
	begin_with_peer();
	ask(peer_gives_pages);
	unsigned theirs = plan->given_n;
	fill_caches(PAGES, 8);
	hold_down(PAGES, 0);
	hold_new(PAGES);
	hold_down(PAGES, 0);
	NEED(previous_count(PAGES) == 0 && loaded_count(PAGES) == 0);
	for (unsigned i = 0; i < 3 * 8; i++) /* the last are held */
		hold(given(16 + i), PAGES);
	free_given(0, 16);
	NEED(loaded_count(PAGES) == 8 && previous_count(PAGES) == 8 && depot_size(PAGES) == 8 && theirs == 40);
	operand = subject(take(PAGES), PAGES);
	shmb_free(A, operand);
	plan->held_n--; /* the 24th is what is freed */
	operand = subject(shmb_deref(A, plan->held[plan->held_n].ref, PAGES), PAGES);
}

static void prepare_free_post(void)
{
	prepare_foreign_pair();
	NEED(inbox_size(plan->peer_slot) == 0);
}

/* The same, the peer dead: units are adopted and left, the emptied ones given back. */
static void prepare_free_orphan(void)
{
	prepare_foreign_pair();
	kill_peer();
	recover_the_dead();
}

static void peer_fills_depot(void)
{
	unsigned first = plan->given_n;
	give_new(3 * ROUNDS, SMALL);
	free_given(first, plan->given_n);
}

/* On top of this thread's magazines in the depot there is one of the peer's, which keeps it. */
static void prepare_malloc_below(void)
{
	begin_with_peer();
	fill_caches(SMALL, 2);
	ask(peer_fills_depot);
	hold_down(SMALL, 0);
	hold_new(SMALL);
	hold_down(SMALL, 0);
	const struct depot_shm *d = &A->depots[class_of(SMALL)];
	unsigned n = depot_size(SMALL);
	NEED(previous_count(SMALL) == 0 && n > 2 && n < 6);
	NEED(cell_tag(atomic_load(&d->cells[n - 1])) != cell_tag(atomic_load(&d->cells[1])));
	allocates(SMALL);
}

/* The peer has posted magazines of this process's blocks to it. */
static void prepare_inbox(void)
{
	begin_with_peer();
	give_new(14 * 8, PAGES);
	hold_down(PAGES, 0);
	ask(peer_frees_given);
	NEED(depot_size(PAGES) == 8 && inbox_size(holder_slot(atomic_load(&A->holder))) >= 2);
}

static void prepare_malloc_receive(void)
{
	prepare_inbox();
	NEED(loaded_count(PAGES) == 0 && previous_count(PAGES) == 0);
	allocates(PAGES);
}

static void peer_leaves_holes(void)
{
	unsigned n = plan->given_n;
	give_new(3 * ROUNDS, SMALL);
	for (unsigned i = n; i < plan->given_n; i += 7)
		hold(given(i), SMALL);
	hold_new(PAGES);
	hold_new(LARGE);
}

static void holds_the_rest(void)
{
	for (unsigned i = 0; i < plan->given_n; i++)
		if (i % 7)
			hold(given(i), SMALL);
}

/* The dead peer's units have blocks that no magazine lists: jemalloc had them. */
static void prepare_malloc_orphan(void)
{
	begin_with_peer();
	ask(peer_leaves_holes);
	holds_the_rest();
	kill_peer();
	recover_the_dead();
	while (depot_size(SMALL) || loaded_count(SMALL) || previous_count(SMALL))
		hold_new(SMALL);
	atomic_store(&A->hdr->orphans, (uint32_t)units_ready(A));
	NEED(orphan_pending(A));
	allocates(SMALL);
}

/* ---- runs of units ------------------------------------------------------------------------ */

static void prepare_large_malloc(void)
{
	begin();
	allocates(LARGE);
}

/* What is free of its huge page is populated with it. */
static void prepare_large_huge(void)
{
	begin();
	hold_new((HUGE_UNITS - atomic_load(&A->hdr->units_used)) * UNIT);
	huge_anyway = true;
	NEED(atomic_load(&A->hdr->units_used) == HUGE_UNITS && hint_find(A->used_bits, 0, 2 * HUGE_UNITS, false) == HUGE_UNITS);
	NEED(atomic_load(&A->hdr->units_dirty) == 0);
	allocates(LARGE);
}

static void prepare_large_free(void)
{
	begin();
	operand = subject(take(LARGE), LARGE);
	hold_new(LARGE);
}

/* More than may stay populated: the pages are punched. */
static void prepare_large_punch(void)
{
	begin();
	operand = subject(take(24 * UNIT), 24 * UNIT);
}

static void prepare_realloc_grow(void)
{
	begin();
	operand = take(LARGE);
	hold(operand, LARGE);
	wanted = 6 * UNIT;
}

static void prepare_realloc_shrink(void)
{
	begin();
	operand = take(6 * UNIT);
	hold(operand, 2 * UNIT);
	wanted = 2 * UNIT;
}

static void run_realloc(void)
{
	plan->result = shmb_ref_of(A, shmb_realloc(A, operand, wanted));
}

static void prepare_realloc_move(void)
{
	begin();
	operand = subject(take(SMALL), SMALL);
	allocates(MIDDLE);
}

/* ---- whole processes ------------------------------------------------------------------------ */

/* Something in each of a process's places. */
static void prepare_rich(void)
{
	prepare_inbox();
	fill_caches(SMALL, 2);
	hold_down(SMALL, 30);
	for (size_t size = 16; size <= 4096; size *= 2)
		shmb_free(A, take(size));
	shmb_free(A, take(LARGE));
}

static void operation_ends(void);

/* The last thread's exit goes on to exit(), where we stop before anything else does. */
static void prepare_thread_exit(void)
{
	prepare_rich();
	NEED(!atexit(operation_ends));
}

static void run_thread_exit(void)
{
	pthread_exit(NULL);
}

static void prepare_trim(void)
{
	prepare_rich();
	operand = take(SMALL);
	context_set(&context_busy);
	shmb_free(A, operand); /* a stray */
	context_set(&context_idle);
}

static void run_trim(void)
{
	shmb_trim(A);
}

/* A dead process's units, strays in some, of which this one can give the rest back. */
static void prepare_trim_orphans(void)
{
	begin_with_peer();
	ask(peer_gives_a_few);
	kill_peer();
	recover_the_dead();
	context_set(&context_busy);
	free_given(0, plan->given_n); /* all strays */
	context_set(&context_idle);
}

static void prepare_open(void)
{
	ask(peer_create);
	ask(peer_leaves_holes);
	ask(holds_the_rest);
}

static void run_open(void)
{
	(void)shmb_arena_open(plan->name, NULL, &A);
}

static void peer_inherits(void)
{
	peer_create();
	hold_new(SMALL);
	for (size_t size = 16; size <= 8192; size *= 2) {
		shmb_free(A, take(size));
		hold_new(size);
	}
	hold_new(LARGE);
}

/* The slot it gets is the dead one's. */
static void prepare_open_recover(void)
{
	ask(peer_inherits);
	kill_peer();
}

static void prepare_close(void)
{
	prepare_rich();
}

static void run_close(void)
{
	(void)shmb_arena_close(A);
}

/* ---- recovery ------------------------------------------------------------------------------- */

static void peer_fills(void) /* not with PAGES: it would receive */
{
	for (size_t size = 16; size <= 4096; size *= 2) {
		shmb_free(A, take(size));
		hold_new(size);
	}
	shmb_free(A, take(LARGE));
	hold_new(LARGE);
}

static int recover_fd;

static void run_recover(void)
{
	recover_dead(A, recover_fd);
}

/* The dead peer's threads have magazines, and its inbox two. */
static void prepare_recover(void)
{
	prepare_foreign_pair();
	for (unsigned i = 0; i < 17; i++)
		shmb_free(A, shmb_deref(A, plan->held[--plan->held_n].ref, 1));
	plan->subject = (struct held){0};
	shmb_free(A, operand);
	ask(peer_fills);
	kill_peer();
	NEED(inbox_size(plan->peer_slot) >= 2);
	NEED(!region_descriptor(A->region, &recover_fd));
}

/* Its depot is full: what its magazines list becomes strays. It has a backlog too. */
static void prepare_recover_full(void)
{
	begin_with_peer();
	give_new((DEPOT_CELLS + INBOX_CELLS + 5) * ROUNDS, TINY);
	hold_down(TINY, 0);
	ask(peer_frees_given);
	NEED(depot_size(TINY) == DEPOT_CELLS && inbox_size(holder_slot(atomic_load(&A->holder))) == INBOX_CELLS);
	NEED(atomic_load(&A->threads[1].backlog));
	plan->given_n = 0;
	ask(peer_gives_tiny);
	kill_peer();
	for (unsigned i = 0; i < plan->given_n; i++)
		hold(given(i), TINY);
	NEED(!region_descriptor(A->region, &recover_fd));
}

/* ---- the idle --------------------------------------------------------------------------------- */

static void evict(void)
{
	struct entered e = context_enter(A);
	evict_idle(A);
	context_leave(&e);
}

static holder_t peer_hold;

/* The peer has something in each place, the inbox too, and does nothing. */
static void prepare_evict(void)
{
	prepare_foreign_pair();
	for (unsigned i = 0; i < 17; i++)
		shmb_free(A, shmb_deref(A, plan->held[--plan->held_n].ref, 1));
	plan->subject = (struct held){0};
	shmb_free(A, operand);
	ask(peer_fills);
	peer_hold = slot_hold(A, plan->peer_slot);
	NEED(inbox_size(plan->peer_slot) >= 2);
}

static void run_evict(void)
{
	evict();
	NEED(slot_hold(A, plan->peer_slot) != peer_hold);
}

/* This process was the idle one. */
static void evicted(void)
{
	holder_t hold = atomic_load(&A->hold);
	NEED(loaded_count(SMALL));
	ask(evict);
	NEED(slot_hold(A, holder_slot(hold)) != hold && !loaded_count(SMALL));
}

static void prepare_evicted_malloc(void)
{
	prepare_rich();
	evicted();
	allocates(SMALL);
}

static void prepare_evicted_free(void)
{
	prepare_rich();
	operand = subject(take(SMALL), SMALL);
	evicted();
}

/* The peer has a quarantine, too. */
static void peer_hardens(void)
{
	hard_queue(QUEUE, 3);
	hold_new(QUEUE);
	hold_new(LARGE);
}

static void prepare_hard_evict(void)
{
	begin_hardened();
	ask(peer_open);
	ask(peer_hardens);
	peer_hold = slot_hold(A, plan->peer_slot);
}

static void prepare_hard_recover(void)
{
	begin_hardened();
	ask(peer_open);
	ask(peer_hardens);
	kill_peer();
	NEED(!region_descriptor(A->region, &recover_fd));
}

static void prepare_rules(void)
{
	begin();
	prepare_rules_blocks();
}

#define OP(name, prepare, run) {name, prepare, run, false}
#define LONG(name, prepare, run) {name, prepare, run, true}
static const struct op ops[] = {
	OP("malloc-hit", prepare_malloc_hit, run_malloc),
	OP("free-hit", prepare_free_hit, run_free),
	OP("malloc-swap", prepare_malloc_swap, run_malloc),
	OP("malloc-depot", prepare_malloc_depot, run_malloc),
	OP("malloc-below", prepare_malloc_below, run_malloc),
	OP("malloc-stock", prepare_malloc_stock, run_malloc),
	OP("malloc-tidy", prepare_malloc_tidy, run_malloc),
	OP("malloc-first", prepare_malloc_first, run_malloc),
	OP("malloc-fill", prepare_malloc_fill, run_malloc),
	OP("malloc-aligned", prepare_malloc_aligned, run_malloc_aligned),
	OP("malloc-nested", prepare_malloc_nested, run_malloc),
	OP("malloc-receive", prepare_malloc_receive, run_malloc),
	OP("malloc-orphan", prepare_malloc_orphan, run_malloc),
	OP("free-swap", prepare_free_swap, run_free),
	OP("free-depot", prepare_free_depot, run_free),
	OP("free-stock", prepare_free_stock, run_free),
	OP("free-flush", prepare_free_flush, run_free),
	OP("free-flush-pages", prepare_free_flush_pages, run_free),
	OP("free-nested", prepare_free_nested, run_free),
	OP("free-post", prepare_free_post, run_free),
	OP("free-orphan", prepare_free_orphan, run_free),
	OP("large-malloc", prepare_large_malloc, run_malloc),
	OP("large-huge", prepare_large_huge, run_malloc),
	OP("large-free", prepare_large_free, run_free),
	OP("large-punch", prepare_large_punch, run_free),
	OP("realloc-grow", prepare_realloc_grow, run_realloc),
	OP("realloc-shrink", prepare_realloc_shrink, run_realloc),
	OP("realloc-move", prepare_realloc_move, run_realloc),
	OP("thread-exit", prepare_thread_exit, run_thread_exit),
	LONG("trim", prepare_trim, run_trim),
	OP("trim-orphans", prepare_trim_orphans, run_trim),
	OP("open", prepare_open, run_open),
	OP("open-recover", prepare_open_recover, run_open),
	OP("recover", prepare_recover, run_recover),
	OP("recover-full", prepare_recover_full, run_recover),
	OP("evict", prepare_evict, run_evict),
	LONG("evicted-malloc", prepare_evicted_malloc, run_malloc),
	LONG("evicted-free", prepare_evicted_free, run_free),
	OP("rules", prepare_rules, run_rules),
	OP("hard-malloc", prepare_hard_malloc, run_malloc),
	OP("hard-fill", prepare_hard_fill, run_malloc),
	OP("hard-load", prepare_hard_load, run_malloc),
	LONG("hard-aligned", prepare_hard_aligned, run_malloc_aligned),
	OP("hard-free", prepare_hard_free, run_free),
	OP("hard-quarantine", prepare_hard_quarantine, run_free),
	OP("hard-release", prepare_hard_release, run_free),
	LONG("hard-flush", prepare_hard_flush, run_free),
	LONG("hard-large-malloc", prepare_hard_large_malloc, run_malloc),
	LONG("hard-large-free", prepare_hard_large_free, run_free),
	OP("hard-shrink", prepare_hard_shrink, run_realloc),
	LONG("hard-large-grow", prepare_hard_large_grow, run_realloc),
	LONG("hard-large-shrink", prepare_hard_large_shrink, run_realloc),
	OP("hard-evict", prepare_hard_evict, run_evict),
	OP("hard-recover", prepare_hard_recover, run_recover),
	LONG("close", prepare_close, run_close),
};
#undef OP
#undef LONG
enum { OPS = sizeof ops / sizeof *ops };

#endif
