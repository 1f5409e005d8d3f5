/*
 * evict.c - an idle process must not keep what others need: whoever is short
 * takes its hold, and with it its thread caches, its units and what was posted
 * to it, without a word from it. Its live blocks are as they were.
 *
 * The slow path says `busy` and looks at the hold word, the evictor the other
 * way round; so one of them sees the other. The victim wins: it takes the
 * evictor's bit off again and goes on. It never waits. A thread that has its
 * record says `busy` there first, without a locked instruction: between the
 * evictor's bit and its look every processor passes a barrier (membarrier(2)).
 * A thread that sees the bit goes the other way.
 *
 * The trouble is the hot path, which takes no lock. It marks its record, and
 * reads the record's `hot` after that. So the evictor empties that, when
 * nobody is in a slow path who would fill it again; has another barrier passed;
 * and looks at the marks: who is not marked now sees no magazine the next
 * time and takes the slow path.
 *
 *   victim   record busy;  hold word: mine? go on. else record idle, and
 *            busy + 1;  hold word: mine? go on. mine, evicting? take that off
 *   evictor  hold word: evicting;  busy? leave it.  barrier, records' busy;
 *            close, barrier, marks;  raise the generation, if the word is as it was
 *
 * Killed in here, an evictor leaves `hot` empty (the next slow path of a class
 * mends it), words marked (the same), or stale records and posts, which its
 * recoverer or the next evictor finds (recover_stale()). One at a time:
 * hdr->evictor, a lock that is tried, and taken from the dead.
 */
#include "evict.h"

#include "lock.h"
#include "recover.h"
#include "slot.h"
#include "sys.h"

enum { MARK_SPINS = 1000 };

struct victims {
	bool is[SLOTS];
	holder_t hold[SLOTS];
	unsigned n;
	bool quick; /* all of them are registered for the quick barrier */
};

static void evictor_unlock(struct shmb_arena *a)
{
	atomic_store(&a->hdr->evictor, 0);
}

static void spare(struct shmb_arena *a, struct victims *v, unsigned s)
{
	uint32_t evicting = (v->hold[s] & GEN_MASK) << 1 | SLOT_EVICTING;
	(void)atomic_compare_exchange_strong(&a->slots[s].hold, &evicting, evicting & ~(uint32_t)SLOT_EVICTING);
	v->is[s] = false;
	v->n--;
}

static void choose(struct shmb_arena *a, struct victims *v)
{
	uint32_t high = slots_high(a);
	for (unsigned i = 0; i < high; i++) {
		struct slot_shm *s = &a->slots[i];
		if (i == holder_slot(atomic_load(&a->holder)) || (atomic_load(&s->word) & 0xff) != SLOT_LIVE ||
		    atomic_load(&s->busy))
			continue;
		uint32_t was = atomic_load(&s->hold), word = was | SLOT_EVICTING; /* a dead evictor may have left the bit */
		if (!atomic_compare_exchange_strong(&s->hold, &was, word))
			continue;
		v->is[i] = true;
		v->quick &= atomic_load(&s->quick) != 0;
		v->hold[i] = hold_make(i, word >> 1);
		v->n++;
		if (atomic_load(&s->busy))
			spare(a, v, i);
	}
}

/* Is a record of that owner one of a victim's? */
static bool targeted(const struct victims *v, holder_t owner)
{
	unsigned s = holder_slot(owner);
	return owner && s < SLOTS && v->is[s] && v->hold[s] == owner;
}

static void close_records(struct shmb_arena *a, const struct victims *v)
{
	for (unsigned i = 0; i < threads_ready(a); i++)
		if (targeted(v, atomic_load(&a->threads[i].owner)))
			thread_close(&a->threads[i]);
}

/*
 * A thread that was on the hot path at the barrier may have seen a magazine, and
 * one in a slow path the hold word as it was: they must be through.
 */
static void await_marks(struct shmb_arena *a, struct victims *v)
{
	for (unsigned i = 0; i < threads_ready(a); i++) {
		holder_t owner = atomic_load(&a->threads[i].owner); /* once: its thread may leave meanwhile */
		unsigned spins = 0;
		if (!targeted(v, owner))
			continue;
		while (thread_underway(&a->threads[i]) && ++spins < MARK_SPINS)
			cpu_relax();
		if (spins == MARK_SPINS) /* stopped in there, between two processors, or at something long */
			spare(a, v, holder_slot(owner));
	}
}

static void take(struct shmb_arena *a, struct victims *v)
{
	for (unsigned i = 0; i < SLOTS; i++) {
		uint32_t word = (v->hold[i] & GEN_MASK) << 1;
		uint32_t evicting = word | SLOT_EVICTING;
		if (v->is[i] && !atomic_load(&a->slots[i].busy) &&
		    atomic_compare_exchange_strong(&a->slots[i].hold, &evicting, (((word >> 1) + 1) & GEN_MASK) << 1))
			atomic_fetch_add(&a->hdr->evictions, 1);
	}
}

/* Whose threads are in no call now, nor will be without noticing, are victims still. False: there is no telling. */
static bool close_victims(struct shmb_arena *a, struct victims *v)
{
	if (sys_barrier(v->quick))
		return false;
	await_marks(a, v);
	close_records(a, v);
	if (sys_barrier(v->quick))
		return false;
	await_marks(a, v);
	return true;
}

void evict_idle(struct shmb_arena *a)
{
	struct victims v = {.quick = true};
	if (!lock_try_over(a, &a->hdr->evictor))
		return;
	recover_stale(a); /* what an evictor that was killed has left */
	choose(a, &v);
	if (v.n) {
		if (close_victims(a, &v))
			take(a, &v);
		for (unsigned i = 0; i < SLOTS; i++)
			if (v.is[i])
				spare(a, &v, i); /* of those taken the word is another */
		recover_stale(a);
		atomic_store(&a->hdr->orphans, (uint32_t)units_ready(a));
	}
	evictor_unlock(a);
}
