/*
 * recover.c - what a dead process held is everybody's again.
 *
 * The recoverer holds the dead slot's lease, so there is one at a time, and
 * one that dies in here leaves the work to the next: every step can be done
 * twice. The generation is raised last; that one store orphans all its units
 * (orphan.c). What is walked is bounded by the thread records in use and by
 * what the victim's records list, never by the heap. Nobody waits for it.
 *
 * Which of several places that list a magazine counts: a depot or inbox cell
 * beats a thread record, and a record counts only while the magazine's holder
 * word names it.
 */
#include "recover.h"

#include "boxes.h"
#include "depot.h"
#include "magazine.h"
#include "probe.h"
#include "slot.h"
#include "sys.h"
#include "tally.h"

static bool inbox_lists(const struct shmb_arena *a, uint32_t number)
{
	uint32_t high = slots_high(a);
	for (unsigned s = 0; s < high; s++)
		for (unsigned i = 0; i < INBOX_CELLS; i++)
			if (cell_number(atomic_load(&a->slots[s].inbox[i])) == number)
				return true;
	return false;
}

/*
 * Gives on a magazine that record `i` of `dead` lists, if it is its still; false: it is not, or is none.
 * out: the tally has its blocks as out.
 */
static bool give_on(struct shmb_arena *a, unsigned i, holder_t dead, uint32_t number, bool out)
{
	if (!number || number > mags_ready(a))
		return false;
	struct mag_shm *m = &a->mags[number - 1];
	uint32_t class = m->class;
	if (class >= CLASSES || inbox_lists(a, number) || depot_lists(a, class, number))
		return false;
	if (atomic_load(&m->holder) != mag_holder(i, dead)) /* looked at last: a receiver changes it first */
		return false;
	uint32_t n = atomic_load(&m->count);
	tally_untag(a, m);
	if (!magazine_bequeath(a, number))
		return false;
	if (out)
		tally_leave(a, class, n);
	return true;
}

/* What was on its way into the backlog, or out of it: before it is given on, as below. */
static void backlog_settle(const struct shmb_arena *a, struct thread_shm *t)
{
	uint32_t n = atomic_load(&t->backlog);
	if (n && n <= mags_ready(a) && n == atomic_load(&t->transit))
		atomic_store(&t->backlog, a->mags[n - 1].next);
}

static void recover_thread(struct shmb_arena *a, unsigned i, holder_t dead)
{
	struct thread_shm *t = &a->threads[i];
	backlog_settle(a, t);
	for (unsigned c = 0; c < CLASSES; c++) {
		uint64_t pair = atomic_load(&t->pairs[c]);
		(void)give_on(a, i, dead, pair_loaded(pair), true);
		(void)give_on(a, i, dead, pair_previous(pair), true);
		atomic_store(&t->pairs[c], 0);
	}
	(void)give_on(a, i, dead, atomic_load(&t->transit), false);
	(void)give_on(a, i, dead, atomic_load(&t->discard), false);
	atomic_store(&t->discard, 0);
	/* out of the backlog before it is given on: after that its `next` is others' to write */
	for (uint32_t n; (n = atomic_load(&t->backlog)) && n <= mags_ready(a);) {
		atomic_store(&t->transit, n);
		atomic_store(&t->backlog, a->mags[n - 1].next);
		if (!give_on(a, i, dead, n, false))
			break; /* no process of ours links that; it may be a ring */
	}
	atomic_store(&t->transit, 0);
	atomic_store(&t->backlog, 0);
}

/*
 * A record with nothing in it is free to take, unless its thread lives: only
 * the hold of its process was taken, and the thread may still look at it. By
 * compare-and-swap: who frees it may be several, and then it is somebody's.
 */
static void release_record(struct shmb_arena *a, unsigned i, holder_t owner)
{
	struct thread_shm *t = &a->threads[i];
	holder_t now = owner;
	bool gone = !holder_current(a, atomic_load(&t->tenure));
	if (!gone && !(owner & EMPTIED) && atomic_compare_exchange_strong(&t->owner, &now, owner | EMPTIED))
		now = owner | EMPTIED;
	if (gone || ((now & EMPTIED) && atomic_load(&t->left)))
		(void)atomic_compare_exchange_strong(&t->owner, &now, 0);
}

/* Takes a magazine out of the inbox and gives it on; *moving and the holder `as` list it meanwhile. */
static void recover_cell(struct shmb_arena *a, _Atomic uint32_t *cell, _Atomic uint32_t *moving, holder_t as)
{
	uint32_t number = cell_number(atomic_load(cell));
	bool real = number && number <= mags_ready(a);
	if (real) {
		atomic_store(moving, number);
		atomic_store(&a->mags[number - 1].holder, mag_holder(NO_THREAD, as));
	}
	/* out of its cell before it is given on: the next recoverer could not tell it from a new post */
	atomic_store(cell, 0);
	if (real)
		(void)give_on(a, NO_THREAD, as, number, false);
	atomic_store(moving, 0);
}

/* What was sent to the dead. */
static void recover_inbox(struct shmb_arena *a, struct slot_shm *s, holder_t hold, holder_t dead)
{
	(void)give_on(a, NO_THREAD, dead, atomic_load(&s->moving), false);
	for (unsigned i = 0; i < INBOX_CELLS; i++) {
		uint32_t cell = atomic_load(&s->inbox[i]);
		if (cell && cell_meant_for(cell, hold))
			recover_cell(a, &s->inbox[i], &s->moving, dead);
	}
	atomic_store(&s->moving, 0);
}

/* What was sent to a hold that is stale: the evictor's. */
static void recover_late_posts(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	(void)give_on(a, NO_THREAD, HOLDER_EVICTOR, atomic_load(&s->sweeping), false);
	for (unsigned i = 0; i < INBOX_CELLS; i++) {
		uint32_t cell = atomic_load(&s->inbox[i]);
		/* seen again once its hold is seen to be stale: before that a recoverer may have been at it */
		if (cell && !cell_meant_for(cell, slot_hold(a, slot)) && atomic_load(&s->inbox[i]) == cell)
			recover_cell(a, &s->inbox[i], &s->sweeping, HOLDER_EVICTOR);
	}
	atomic_store(&s->sweeping, 0);
}

static void recover_threads(struct shmb_arena *a, holder_t hold)
{
	uint32_t threads = threads_ready(a);
	for (unsigned i = 0; i < threads; i++) {
		holder_t owner = atomic_load(&a->threads[i].owner);
		if (owner == hold)
			recover_thread(a, i, hold);
		if (owner == hold || ((owner & EMPTIED) && holder_slot(owner) == holder_slot(hold)))
			(void)atomic_compare_exchange_strong(&a->threads[i].owner, &owner, 0);
	}
}

/* The slot's hold as it is and stays: an evictor that has not come to the end of it finds the slot busy. */
static holder_t hold_fix(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	atomic_fetch_add(&s->busy, 1);
	uint32_t evicting = atomic_load(&s->hold);
	if (evicting & SLOT_EVICTING)
		(void)atomic_compare_exchange_strong(&s->hold, &evicting, evicting & ~(uint32_t)SLOT_EVICTING);
	return slot_hold(a, slot);
}

/* The dead one was taking holds: what it took is handed on. */
static void finish_eviction(struct shmb_arena *a, holder_t dead)
{
	holder_t me = atomic_load(&a->holder);
	if (!atomic_compare_exchange_strong(&a->hdr->evictor, &dead, me ? me : a->recover_as))
		return;
	recover_stale(a);
	atomic_store(&a->hdr->evictor, 0);
}

bool recover_slot(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	uint32_t word = atomic_load(&s->word);
	holder_t dead = holder_make(slot, word >> 8);
	if ((word & 0xff) != SLOT_LIVE)
		return false; /* another was faster */
	holder_t hold = hold_fix(a, slot);
	for (unsigned c = 0; c < CLASSES; c++) {
		holder_t held = dead;
		(void)atomic_compare_exchange_strong(&a->depots[c].lock, &held, 0);
	}
	boxes_abandon(a, dead, hold);
	recover_threads(a, hold);
	recover_inbox(a, s, hold, dead);
	finish_eviction(a, dead);
	slot_retire(a, slot);
	atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
	atomic_fetch_add(&a->hdr->recoveries, 1);
	PROBE3(recover, shmb_region_name(a->region), slot, atomic_load(&s->pid));
	return true;
}

void recover_stale(struct shmb_arena *a)
{
	uint32_t threads = threads_ready(a), high = slots_high(a);
	bool some = false;
	for (unsigned i = 0; i < threads; i++) {
		holder_t owner = atomic_load(&a->threads[i].owner);
		if (!owner || holder_current(a, owner & ~EMPTIED) || atomic_load(&a->threads[i].owner) != owner)
			continue; /* the last: its recoverer clears it before the hold is stale */
		if (!(owner & EMPTIED)) {
			recover_thread(a, i, owner);
			some = true;
		}
		release_record(a, i, owner);
	}
	for (unsigned s = 0; s < high; s++)
		recover_late_posts(a, s);
	if (some)
		atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
}

unsigned recover_dead(struct shmb_arena *a, int fd)
{
	uint32_t high = slots_high(a);
	unsigned n = 0;
	for (unsigned s = 0; s < high; s++) {
		struct lease lease = {0};
		if ((atomic_load(&a->slots[s].word) & 0xff) != SLOT_LIVE)
			continue;
		if (lease_probe(fd, LEASE_SLOT + s, 1) == LIVE_NO && !lease_take(fd, NULL, LEASE_SLOT + s, 1, &lease, NULL)) {
			n += recover_slot(a, s);
			lease_drop(&lease);
		}
	}
	return n;
}

unsigned recover_now(struct shmb_arena *a)
{
	int fd;
	if (region_descriptor(a->region, &fd))
		return 0;
	unsigned n = recover_dead(a, fd);
	sys_close(fd);
	return n;
}
