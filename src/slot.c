/*
 * slot.c - which processes are attached: one record each, alive as long as
 * its lease is held. Pid, time and name are for people; nothing here
 * decides by them.
 */
#include "slot.h"

#include "error.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/single_threaded.h>

/* With the header, which lies before: one call, and one page of page tables. */
static int slot_commit(struct shmb_arena *a, unsigned slot)
{
	uint64_t end = a->lay.slots + (slot + 1) * sizeof(struct slot_shm);
	int err = sys_populate(a->map, round_up(end, PAGE));
	if (!err)
		hint_raise(&a->hdr->slots_high, slot + 1);
	return err;
}

static void slot_describe(struct slot_shm *s)
{
	atomic_store(&s->pid, sys_pid());
	atomic_store(&s->since, sys_now_ns());
	sys_process_name(s->name, sizeof s->name);
}

int slot_take(struct shmb_arena *a, int fd, unsigned *slot, bool *left)
{
	char path[REGION_PATH];
	uint64_t which;
	name_path(a->region->name, path);
	int err = lease_take(fd, path, LEASE_SLOT, SLOTS, &a->slot_lease, &which);
	if (err)
		return err == EAGAIN ? SHMB_ESLOTS : err;
	*slot = (unsigned)which;
	err = slot_commit(a, *slot);
	if (err)
		lease_drop(&a->slot_lease);
	else
		*left = (atomic_load(&a->slots[*slot].word) & 0xff) == SLOT_LIVE;
	return err;
}

holder_t slot_begin(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	uint32_t gen = atomic_load(&s->word) >> 8 & GEN_MASK;
	uint32_t hold = atomic_load(&s->hold) >> 1 & GEN_MASK;
	slot_describe(s);
	bool single = __libc_single_threaded || sys_threads() == 1; /* libc does not say so again in a forked child */
	atomic_store(&s->quick, single && !sys_barrier_register());
	atomic_store(&s->rules, atomic_load(&a->rules_followed)); /* a forked child's are its parent's */
	atomic_store(&s->refused, 0);
	atomic_store(&s->busy, 0);
	atomic_store(&s->hold, hold << 1); /* what an evictor left in it goes */
	atomic_store(&s->word, gen << 8 | SLOT_LIVE);
	return holder_make(slot, gen);
}

void slot_retire(struct shmb_arena *a, unsigned slot)
{
	struct slot_shm *s = &a->slots[slot];
	uint32_t gen = (atomic_load(&s->word) >> 8) + 1, hold = (atomic_load(&s->hold) >> 1) + 1;
	atomic_store(&s->hold, (hold & GEN_MASK) << 1);
	atomic_store(&s->word, (gen & GEN_MASK) << 8 | SLOT_FREE);
}
