/* sound.c - what single words of a region may say. See sound.h. */
#include "sound.h"

#include <stddef.h>

const char *sound_header(const struct header_shm *h, const struct layout *l, uint64_t *is, uint64_t *most)
{
	const struct {
		const char *name;
		uint64_t is, most, step;
	} counts[] = {
		{"units that have tables", atomic_load(&h->units_ready), round_up(l->units, CHUNK_UNITS), 1},
		{"magazines", atomic_load(&h->mags_ready), MAGS, PAGE / sizeof(struct mag_shm)},
		{"thread records", atomic_load(&h->threads_ready), THREADS, PAGE / sizeof(struct thread_shm)},
		{"slots", atomic_load(&h->slots_high), SLOTS, 1},
		{"boxes", atomic_load(&h->boxes_ready), BOXES, PAGE / sizeof(struct box_shm)},
		{"tables of names", atomic_load(&h->names_ready), 1, 1},
		{"rules", atomic_load(&h->rules), RULE_ENTRIES, 1},
	};
	for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
		*is = counts[i].is;
		*most = counts[i].most;
		if (*is > *most || *is % counts[i].step)
			return counts[i].name;
	}
	return NULL;
}

const char *sound_span(span_t w, uint64_t unit, uint64_t units)
{
	uint64_t aux = span_aux(w);
	switch (span_kind_of(w)) {
	case SPAN_FREE: return aux > SPAN_FRESH || span_holder(w) ? "free, and yet somebody's" : NULL;
	case SPAN_TAKING: return NULL;
	case SPAN_SMALL: return unit >= SMALL_UNITS ? "small blocks beyond the block map" : NULL;
	case SPAN_HEAD: return !aux || aux > units - unit ? "a run that does not fit" : NULL;
	case SPAN_CONT: return !aux || aux > unit ? "part of a run that starts nowhere" : NULL;
	default: return "no such kind of word";
	}
}

const char *sound_slot(const struct slot_shm *s)
{
	uint32_t word = atomic_load(&s->word), hold = atomic_load(&s->hold);
	if ((word & 0xff) > SLOT_LIVE)
		return "no such state";
	return word >> 8 > GEN_MASK || hold >> 1 > GEN_MASK ? "no such generation" : NULL;
}

bool sound_holder(holder_t h, const struct slot_shm *slots, uint32_t n)
{
	unsigned s = holder_slot(h);
	if (!h || s >= n)
		return false;
	uint32_t word = atomic_load(&slots[s].word);
	uint32_t now = h & HOLD ? atomic_load(&slots[s].hold) >> 1 : word >> 8;
	uint32_t back = (now - h) & GEN_MASK; /* generations wrap */
	return back <= GEN_MASK / 2 && (back || (word & 0xff) == SLOT_LIVE); /* a free slot's next was nobody's yet */
}

void sound_text(char *text, size_t room)
{
	text[room - 1] = 0;
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c < ' ' || *c == 0x7f)
			*c = '?';
}
