/*
 * halt.c - see halt.h. The hot path takes no lock and does not ask. As in
 * evict.c, whose barriers these are: first those in slow paths are waited for,
 * and others do not come in; then what the hot path reads is emptied, and who
 * was on it is waited for. The next slow path of a class mends that.
 *
 *   forker   halt;  barrier;  busy? wait.  close records, barrier, marks? wait
 *   thread   busy;  halt? leave, and wait.
 */
#include "halt.h"

#include "slot.h"
#include "sys.h"

enum { QUIET_MS = 200, HALT_MS = 200, NAP_MS = 100, TURNS = 1000 };
#define NS_PER_MS ((uint64_t)1000000)

static void set_state(struct shmb_arena *a, uint32_t state)
{
	uint32_t now = atomic_load(&a->halt);
	atomic_store(&a->halt, now - now % HALT_STATES + state);
	sys_futex_wake(&a->halt);
}

/* Is thread record `i` another thread's of this process, which is in a slow path, or, `hot`, in any call? */
static bool other_in(const struct shmb_arena *a, unsigned i, bool hot)
{
	const struct thread_shm *r = &a->threads[i];
	bool other = atomic_load(&r->owner) == atomic_load(&a->hold) && atomic_load(&r->tid) != atomic_load(&a->halter);
	return other && (hot ? thread_underway(r) : atomic_load(&r->busy));
}

/* False: it has been long enough. */
static bool wait_on(uint64_t until_ns, void (*meanwhile)(void *), void *opaque)
{
	if (sys_ticks_ns() >= until_ns)
		return false;
	if (meanwhile)
		meanwhile(opaque);
	sys_yield();
	return true;
}

/* Of each it is enough that it was out once: if it came in again since the barrier it has found the way closed. */
static void others_out(const struct shmb_arena *a, bool hot, void (*meanwhile)(void *), void *opaque)
{
	uint64_t until_ns = sys_ticks_ns() + QUIET_MS * NS_PER_MS;
	while (atomic_load(&slot_own(a)->busy) && wait_on(until_ns, meanwhile, opaque)) /* calls without a record */
		;
	for (unsigned i = 0; i < threads_ready(a); i++)
		while (other_in(a, i, hot) && wait_on(until_ns, meanwhile, opaque))
			;
}

/* A process that is not registered for the quick barrier would wait 15 ms and more: it only lets others' stores arrive. */
static void barrier(bool quick)
{
	if (!quick || sys_barrier(true))
		sys_yield();
}

void halt_begin(struct shmb_arena *a, void (*meanwhile)(void *), void *opaque)
{
	if (!atomic_load(&a->holder) || halted(a))
		return; /* a forked child's, from which nothing was issued yet; or it has begun */
	for (unsigned i = 0; i < TURNS && atomic_load(&a->halt_waiting); i++)
		sys_yield(); /* it is their turn: where threads fork without a pause they had none */
	bool quick = atomic_load(&slot_own(a)->quick) != 0;
	atomic_store(&a->halter, sys_tid());
	atomic_store(&a->halt, atomic_load(&a->halt) + HALT_STATES + HALT_COPYING);
	barrier(quick);
	others_out(a, false, meanwhile, opaque);
	holder_t hold = atomic_load(&a->hold); /* not before: one of them may have renewed it */
	for (unsigned i = 0; i < threads_ready(a); i++)
		if (atomic_load(&a->threads[i].owner) == hold)
			thread_close(&a->threads[i]);
	barrier(quick);
	others_out(a, true, meanwhile, opaque);
}

void halt_limit(struct shmb_arena *a)
{
	if (!halted(a))
		return;
	atomic_store(&a->halt_until_ns, sys_ticks_ns() + HALT_MS * NS_PER_MS);
	set_state(a, HALT_FORKING);
}

void halt_end(struct shmb_arena *a)
{
	if (halted(a)) /* a store may copy a page */
		set_state(a, HALT_NOT);
}

static bool wait_for(struct shmb_arena *a, uint32_t number)
{
	for (;;) {
		uint32_t now = atomic_load(&a->halt);
		if (now % HALT_STATES == HALT_NOT || now / HALT_STATES != number)
			return true;
		if (now % HALT_STATES == HALT_FORKING && sys_ticks_ns() >= atomic_load(&a->halt_until_ns))
			return false;
		(void)sys_futex_wait(&a->halt, now, NAP_MS);
	}
}

bool halt_wait(struct shmb_arena *a)
{
	uint32_t number = atomic_load(&a->halt) / HALT_STATES;
	if (sys_tid() == atomic_load(&a->halter))
		return false;
	atomic_fetch_add(&a->halt_waiting, 1);
	bool over = wait_for(a, number);
	atomic_fetch_sub(&a->halt_waiting, 1);
	return over;
}
