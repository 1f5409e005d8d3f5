/*
 * tenure.c - this process's membership of an arena.
 *
 * A process that leaves is treated like one that died: recover_slot() hands on
 * what it held. So there is one way out, and it is exercised daily.
 */
#include "tenure.h"

#include "engine.h"
#include "lock.h"
#include "page.h"
#include "recover.h"
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

int tenure_begin(struct shmb_arena *a, int fd)
{
	unsigned slot;
	bool left;
	int err = slot_take(a, fd, &slot, &left);
	if (err)
		return err;
	if (left) {
		a->recover_as = holder_make(slot, atomic_load(&a->slots[slot].word) >> 8);
		recover_slot(a, slot);
	}
	holder_t h = slot_begin(a, slot);
	err = page_heap_open(a);
	if (!err)
		err = engine_open(a, h);
	atomic_store(&a->holder, h); /* last: other threads of a forked child go by it */
	if (err)
		tenure_end(a);
	else
		recover_dead(a, fd);
	return err;
}

int tenure_renew(struct shmb_arena *a)
{
	int fd, err = 0;
	setup_lock();
	if (!atomic_load(&a->holder)) {
		err = region_descriptor(a->region, &fd);
		if (!err) {
			err = tenure_begin(a, fd);
			sys_close(fd);
		}
	}
	setup_unlock();
	return err;
}

void tenure_forget(struct shmb_arena *a)
{
	atomic_store(&a->holder, 0);
	a->slot_lease = (struct lease){0};
	a->engine = NULL;
	atomic_store(&a->parked, NULL);
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
	lease_drop(&a->slot_lease);
	page_heap_close(a);
}
