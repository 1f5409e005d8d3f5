/*
 * tenure.c - this process's membership of an arena.
 *
 * A process that leaves is treated like one that died: recover_slot() hands on
 * what it held. So there is one way out, and it is exercised daily.
 *
 * Its hold on units, records and magazines can end earlier: whoever is short
 * takes it from a process that does nothing meanwhile (evict.c). The next slow
 * path of that process finds out and begins with a new one.
 */
#include "tenure.h"

#include "admit.h"
#include "engine.h"
#include "error.h"
#include "lock.h"
#include "page.h"
#include "recover.h"
#include "shadow.h"
#include "slot.h"
#include "sys.h"

#include <errno.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void setup_lock(void)
{
	rank_enter(RANK_SETUP);
	pthread_mutex_lock(&lock);
}

void setup_unlock(void)
{
	pthread_mutex_unlock(&lock);
	rank_leave(RANK_SETUP);
}

int tenure_begin(struct shmb_arena *a, int fd, bool look)
{
	unsigned slot;
	bool left;
	int err = slot_take(a, fd, &slot, &left);
	if (err)
		return err;
	err = look ? admit(a) : 0; /* not before: taking the slot has mapped the pages that this reads */
	if (err) {
		lease_drop(&a->slot_lease);
		return err;
	}
	if (left) {
		a->recover_as = holder_make(slot, atomic_load(&a->slots[slot].word) >> 8);
		recover_slot(a, slot);
	}
	holder_t h = slot_begin(a, slot);
	atomic_store(&a->hold, slot_hold(a, slot));
	page_heap_open(a);
	atomic_store(&a->holder, h); /* last: other threads of a forked child go by it */
	recover_dead(a, fd);
	return 0;
}

int tenure_renew(struct shmb_arena *a)
{
	int fd, err = 0;
	setup_lock();
	if (!atomic_load(&a->holder)) {
		err = region_descriptor(a->region, &fd);
		if (!err) {
			err = tenure_begin(a, fd, false);
			sys_close(fd);
		}
	}
	setup_unlock();
	return err;
}

/* ---- the hold ------------------------------------------------------------------------ */

/* Whoever wants it says so in the word first and looks at `busy` then; this side does the same the other way round. */
bool hold_try(struct shmb_arena *a)
{
	struct slot_shm *s = slot_own(a);
	uint32_t mine = (atomic_load(&a->hold) & GEN_MASK) << 1;
	atomic_fetch_add(&s->busy, 1);
	uint32_t now = atomic_load(&s->hold);
	if (likely(now == mine))
		return true;
	if (now == (mine | SLOT_EVICTING) &&
	    (atomic_compare_exchange_strong(&s->hold, &now, mine) || atomic_load(&s->hold) == mine))
		return true;
	atomic_fetch_sub(&s->busy, 1);
	return false;
}

void hold_leave(struct shmb_arena *a)
{
	atomic_fetch_sub(&slot_own(a)->busy, 1);
}

/*
 * The same without a locked instruction, in the thread's own record. That the
 * store comes before the load is the evictor's doing: its barrier between its
 * word and its look.
 */
bool hold_try_own(struct shmb_arena *a, struct thread_shm *r, holder_t hold)
{
	atomic_store_explicit(&r->busy, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	if (likely(atomic_load_explicit(&slot_own(a)->hold, memory_order_acquire) == (hold & GEN_MASK) << 1))
		return true;
	hold_leave_own(r);
	return false;
}

void hold_leave_own(struct thread_shm *r)
{
	atomic_store_explicit(&r->busy, 0, memory_order_release);
}

static void hold_renew(struct shmb_arena *a)
{
	setup_lock();
	holder_t now = slot_hold(a, holder_slot(atomic_load(&a->holder)));
	if (atomic_load(&a->hold) != now) {
		shadow_leave_all(a);
		engine_renew(a, now);
		page_heap_renew(a);
		atomic_store(&a->parked, NULL);
		atomic_store(&a->hold, now);
	}
	setup_unlock();
}

void hold_enter(struct shmb_arena *a)
{
	while (!hold_try(a))
		hold_renew(a);
}

/* ---- the end --------------------------------------------------------------------------- */

void tenure_forget(struct shmb_arena *a)
{
	atomic_store(&a->holder, 0);
	atomic_store(&a->hold, 0);
	a->slot_lease = (struct lease){0};
	atomic_store(&a->engine, NULL);
	atomic_store(&a->parked, NULL);
	atomic_store(&a->receiving, false); /* the threads that did have not come along */
	atomic_store(&a->collecting, false);
	page_heap_forget(a);
}

void tenure_end(struct shmb_arena *a)
{
	holder_t h = atomic_load(&a->holder);
	if (!h)
		return;
	engine_close(a);
	recover_slot(a, holder_slot(h)); /* the lease is ours still: nobody else does it meanwhile */
	atomic_store(&a->holder, 0);
	atomic_store(&a->hold, 0);
	lease_drop(&a->slot_lease);
	page_heap_close(a);
}
