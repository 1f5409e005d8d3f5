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

enum { HALT_NOT, HALT_COPYING, HALT_FORKING };
enum { HALT_MS = 20, NAP_MS = 100 };
#define NS_PER_MS ((uint64_t)1000000)

static const struct slot_shm *own_slot(const struct shmb_arena *a)
{
	return &a->slots[holder_slot(atomic_load(&a->holder))];
}

/* Is another thread of this process in a call, with a record or without? */
static bool others_in(const struct shmb_arena *a)
{
	holder_t hold = atomic_load(&a->hold);
	for (unsigned i = 0; i < threads_ready(a); i++) {
		const struct thread_shm *r = &a->threads[i];
		bool other = atomic_load(&r->owner) == hold && atomic_load(&r->tid) != atomic_load(&a->halter);
		if (other && thread_underway(r))
			return true;
	}
	return atomic_load(&own_slot(a)->busy) != 0;
}

static void others_out(const struct shmb_arena *a, uint64_t until_ns, void (*meanwhile)(void *), void *opaque)
{
	while (others_in(a) && sys_now_ns() < until_ns) {
		if (meanwhile)
			meanwhile(opaque);
		sys_yield();
	}
}

/* A process that is not registered for the quick barrier would wait 15 ms and more: it only lets others' stores arrive. */
static bool barrier(bool quick)
{
	if (quick)
		return !sys_barrier(true);
	sys_yield();
	return true;
}

void halt_begin(struct shmb_arena *a, void (*meanwhile)(void *), void *opaque)
{
	if (!atomic_load(&a->holder) || atomic_load(&a->halt))
		return; /* a forked child's, from which nothing was issued yet; or it has begun */
	uint64_t until_ns = sys_now_ns() + HALT_MS * NS_PER_MS;
	holder_t hold = atomic_load(&a->hold);
	bool quick = atomic_load(&own_slot(a)->quick) != 0;
	atomic_store(&a->halter, sys_tid());
	atomic_store(&a->halt, HALT_COPYING);
	if (!barrier(quick))
		return; /* those that are in a call now are not waited for */
	others_out(a, until_ns, meanwhile, opaque);
	for (unsigned i = 0; i < threads_ready(a); i++)
		if (atomic_load(&a->threads[i].owner) == hold)
			thread_close(&a->threads[i]);
	(void)barrier(quick);
	others_out(a, until_ns, meanwhile, opaque);
}

void halt_limit(struct shmb_arena *a)
{
	if (!atomic_load(&a->halt))
		return;
	atomic_store(&a->halt, HALT_FORKING);
	sys_futex_wake(&a->halt);
}

void halt_end(struct shmb_arena *a)
{
	if (!atomic_load(&a->halt))
		return; /* a store may copy a page */
	atomic_store(&a->halt, HALT_NOT);
	sys_futex_wake(&a->halt);
}

bool halt_wait(struct shmb_arena *a)
{
	uint64_t until_ns = 0;
	if (sys_tid() == atomic_load(&a->halter))
		return false;
	for (uint32_t now; (now = atomic_load(&a->halt)) != HALT_NOT;) {
		if (now == HALT_FORKING && !until_ns)
			until_ns = sys_now_ns() + HALT_MS * NS_PER_MS;
		if (until_ns && sys_now_ns() >= until_ns)
			return false;
		(void)sys_futex_wait(&a->halt, now, now == HALT_FORKING ? HALT_MS : NAP_MS);
	}
	return true;
}
