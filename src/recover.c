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
#include "magazine.h"
#include "slot.h"
#include "sys.h"

static bool inbox_lists(const struct shmb_arena *a, uint32_t number)
{
	uint32_t high = atomic_load(&a->hdr->slots_high);
	for (unsigned s = 0; s < high && s < SLOTS; s++)
		for (unsigned i = 0; i < INBOX_CELLS; i++)
			if (atomic_load(&a->slots[s].inbox[i]) == number)
				return true;
	return false;
}

/* Gives on a magazine that record `i` of `dead` lists, if it is its still. */
static void give_on(struct shmb_arena *a, unsigned i, holder_t dead, uint32_t number)
{
	if (!number || number > atomic_load(&a->hdr->mags_ready) || number > MAGS)
		return;
	struct mag_shm *m = &a->mags[number - 1];
	if (m->class >= CLASSES || inbox_lists(a, number) || depot_lists(a, m->class, number))
		return;
	if (atomic_load(&m->holder) == mag_holder(i, dead)) /* looked at last: a receiver changes it first */
		magazine_bequeath(a, number);
}

static void recover_thread(struct shmb_arena *a, unsigned i, holder_t dead)
{
	struct thread_shm *t = &a->threads[i];
	for (unsigned c = 0; c < CLASSES; c++) {
		uint64_t pair = atomic_load(&t->pairs[c]);
		give_on(a, i, dead, pair_loaded(pair));
		give_on(a, i, dead, pair_previous(pair));
		atomic_store(&t->pairs[c], 0);
	}
	give_on(a, i, dead, atomic_load(&t->transit));
	give_on(a, i, dead, atomic_load(&t->discard));
	atomic_store(&t->discard, 0);
	/* out of the backlog before it is given on: after that its `next` is others' to write */
	for (uint32_t n; (n = atomic_load(&t->backlog)) && n <= MAGS;) {
		atomic_store(&t->transit, n);
		atomic_store(&t->backlog, a->mags[n - 1].next);
		give_on(a, i, dead, n);
	}
	atomic_store(&t->transit, 0);
	atomic_store(&t->owner, 0);
}

/* Out of its cell before it is given on: the next recoverer could not tell it from a new post. */
static void recover_inbox(struct shmb_arena *a, struct slot_shm *s, holder_t dead)
{
	give_on(a, NO_THREAD, dead, atomic_load(&s->moving));
	for (unsigned i = 0; i < INBOX_CELLS; i++) {
		uint32_t number = atomic_load(&s->inbox[i]);
		bool real = number && number <= MAGS && number <= atomic_load(&a->hdr->mags_ready);
		if (real) {
			atomic_store(&s->moving, number);
			atomic_store(&a->mags[number - 1].holder, mag_holder(NO_THREAD, dead));
		}
		atomic_store(&s->inbox[i], 0);
		if (real)
			give_on(a, NO_THREAD, dead, number);
	}
	atomic_store(&s->moving, 0);
}

void recover_slot(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	uint32_t word = atomic_load(&s->word);
	holder_t dead = holder_make(slot, word >> 8);
	if ((word & 0xff) != SLOT_LIVE)
		return;
	for (unsigned c = 0; c < CLASSES; c++) {
		holder_t held = dead;
		(void)atomic_compare_exchange_strong(&a->depots[c].lock, &held, 0);
	}
	boxes_abandon(a, dead);
	uint32_t threads = atomic_load(&a->hdr->threads_ready);
	for (unsigned i = 0; i < threads && i < THREADS; i++)
		if (atomic_load(&a->threads[i].owner) == dead)
			recover_thread(a, i, dead);
	recover_inbox(a, s, dead);
	slot_retire(a, slot);
	atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
	atomic_fetch_add(&a->hdr->recoveries, 1);
}

void recover_dead(struct shmb_arena *a, int fd)
{
	uint32_t high = atomic_load(&a->hdr->slots_high);
	for (unsigned s = 0; s < high && s < SLOTS; s++) {
		struct lease lease = {0};
		if ((atomic_load(&a->slots[s].word) & 0xff) != SLOT_LIVE)
			continue;
		if (lease_probe(fd, LEASE_SLOT + s, 1) == LIVE_NO && !lease_take(fd, LEASE_SLOT + s, 1, &lease, NULL)) {
			recover_slot(a, s);
			lease_drop(&lease);
		}
	}
}

void recover_now(struct shmb_arena *a)
{
	int fd;
	if (region_descriptor(a->region, &fd))
		return;
	recover_dead(a, fd);
	sys_close(fd);
}
