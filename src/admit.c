/*
 * admit.c - a look at a region before this process writes to it: the counts of
 * its header, slots, depots, units' words and boxes' words, each by itself.
 *
 * Others may be at work, so only that is asked which holds at every moment
 * (sound.h). Blocks, pages and magazines are not looked at here, of which there
 * are many: who comes upon them checks them. Nor is what is written later:
 * whoever may write to a region is trusted from then on.
 *
 * Words are read with pread(2), as they are many and may be holes. What it
 * costs is in proportion to the units that were ever used, 8 bytes each.
 */
#include "admit.h"

#include "ref.h"
#include "sound.h"
#include "sys.h"

#include <errno.h>

enum { AT_ONCE = 8192 }; /* bytes on the stack */

static bool slots_sound(const struct shmb_arena *a)
{
	uint32_t n = slots_high(a);
	for (uint32_t i = 0; i < n; i++)
		if (sound_slot(&a->slots[i]))
			return false;
	return true;
}

static bool depots_sound(const struct shmb_arena *a)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		const struct depot_shm *d = &a->depots[c];
		uint32_t n = atomic_load(&d->count);
		for (uint32_t i = 0; i < n && n <= DEPOT_CELLS; i++)
			if (atomic_load(&d->cells[i]) > mags_ready(a))
				return false;
		if (n > DEPOT_CELLS)
			return false;
	}
	return true;
}

static bool holder_sound(const struct shmb_arena *a, holder_t h)
{
	return sound_holder(h, a->slots, slots_high(a));
}

static bool unit_sound(const struct shmb_arena *a, uint64_t unit, const void *entry)
{
	span_t w = *(const span_t *)entry;
	return !sound_span(w, unit, a->lay.units) && (span_kind_of(w) == SPAN_FREE || holder_sound(a, span_holder(w)));
}

/* Or was the box dropped while it was looked at? Its word changes before its object goes. */
static bool object_sound(const struct shmb_arena *a, uint64_t i, const struct box_shm *seen)
{
	struct block_view in;
	uint64_t off = atomic_load(&seen->ref) - a->lay.data;
	bool live = off < a->lay.units << UNIT_SHIFT && ref_find(a, off, &in) && in.start == off;
	return live || atomic_load(&a->boxes[i].word) != atomic_load(&seen->word);
}

static bool box_sound(const struct shmb_arena *a, uint64_t i, const void *entry)
{
	const struct box_shm *seen = entry;
	uint64_t w = atomic_load(&seen->word);
	switch (box_state_of(w)) {
	case BOX_READY: return holder_sound(a, box_holder(w)) && object_sound(a, i, seen);
	case BOX_MAKING:
	case BOX_DROPPING: return holder_sound(a, box_holder(w));
	case BOX_KEPT:
	case BOX_ABANDONED: return object_sound(a, i, seen);
	default: return box_state_of(w) < BOX_STATES;
	}
}

/* Shows `sound` every entry of a table. */
static int table_sound(const struct shmb_arena *a, int fd, uint64_t table, uint64_t entries, uint64_t size,
                       bool (*sound)(const struct shmb_arena *a, uint64_t i, const void *entry))
{
	_Alignas(8) char bytes[AT_ONCE];
	for (uint64_t at = 0, end = entries * size, n; at < end; at += n) {
		n = end - at < AT_ONCE ? end - at : AT_ONCE;
		int err = sys_pread(fd, bytes, n, table + at);
		if (err)
			return err == EIO ? SHMB_ECORRUPT : err;
		for (uint64_t i = 0; i < n; i += size)
			if (!sound(a, (at + i) / size, bytes + i))
				return SHMB_ECORRUPT;
	}
	return 0;
}

int admit(const struct shmb_arena *a, int fd)
{
	uint64_t is, most;
	if (sound_header(a->hdr, &a->lay, &is, &most) || !slots_sound(a) || !depots_sound(a))
		return SHMB_ECORRUPT;
	int err = table_sound(a, fd, a->lay.spans, units_ready(a), sizeof(span_t), unit_sound);
	return err ? err
	           : table_sound(a, fd, a->lay.boxes, boxes_ready(a), sizeof(struct box_shm), box_sound);
}
