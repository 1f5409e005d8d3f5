/* lock.c - a lock in a region that survives its holder. See lock.h. */
#include "lock.h"

#include "error.h"
#include "slot.h"
#include "sys.h"

enum { SPINS = 100, PATIENCE_MS = 5 };

#ifdef SHMB_DEBUG
static __thread unsigned held_ranks __attribute__((tls_model("initial-exec")));

void rank_enter(enum lock_rank rank)
{
	ASSERT(held_ranks >> rank == 0);
	held_ranks |= 1u << rank;
}

void rank_leave(enum lock_rank rank)
{
	ASSERT(held_ranks >> rank & 1);
	held_ranks &= ~(1u << rank);
}
#endif

bool holder_dead(const struct shmb_arena *a, holder_t h)
{
	int fd;
	if (!holder_current(a, h))
		return true; /* recovered already */
	if (region_descriptor(a->region, &fd))
		return false;
	bool dead = lease_probe(fd, LEASE_SLOT + holder_slot(h), 1) == LIVE_NO;
	sys_close(fd);
	return dead;
}

/* Threads of this process that hold such a lock, or want one. */
static _Atomic unsigned contending;

void lock_forget(void)
{
	if (atomic_load(&contending)) /* a store may copy a page */
		atomic_store(&contending, 0);
}

static bool lock_try(_Atomic holder_t *lock, holder_t me)
{
	holder_t nobody = 0;
	return atomic_compare_exchange_strong(lock, &nobody, me);
}

bool lock_try_over(struct shmb_arena *a, _Atomic holder_t *lock)
{
	holder_t now = 0, me = atomic_load(&a->holder);
	if (atomic_compare_exchange_strong(lock, &now, me))
		return true;
	return now != me && holder_dead(a, now) && atomic_compare_exchange_strong(lock, &now, me);
}

void lock_take(struct shmb_arena *a, _Atomic holder_t *lock, _Atomic uint32_t *waiters)
{
	holder_t me = atomic_load(&a->holder);
	rank_enter(RANK_BUCKET);
	atomic_fetch_add(&contending, 1);
	for (unsigned i = 0; i < SPINS; i++)
		if (lock_try(lock, me))
			return;
	atomic_fetch_add(waiters, 1);
	while (!lock_try(lock, me)) {
		holder_t now = atomic_load(lock);
		if (now == 0 || sys_futex_wait(lock, now, PATIENCE_MS) == 0 || atomic_load(lock) != now)
			continue;
		/* `me`, with nobody here who could have written it: a stranger did, before this tenure began */
		bool nobody = now == me ? atomic_load(&contending) == 1 : holder_dead(a, now);
		if (nobody && atomic_compare_exchange_strong(lock, &now, me))
			break;
	}
	atomic_fetch_sub(waiters, 1);
}

void lock_drop(_Atomic holder_t *lock, _Atomic uint32_t *waiters)
{
	atomic_store(lock, 0);
	atomic_fetch_sub(&contending, 1);
	if (atomic_load(waiters))
		sys_futex_wake(lock);
	rank_leave(RANK_BUCKET);
}
