/* misuse.c - is this pointer a live block? See misuse.h. */
#include "misuse.h"

#include "error.h"
#include "ref.h"
#include "window.h"

_Noreturn void misuse_report(const char *what, const struct shmb_arena *a, const void *p, const char *why)
{
	fatal_pointer(what, p, why, a->region ? shmb_region_name(a->region) : NULL);
}

/* Of a block, `size` bytes of which are the program's. */
_Noreturn void misuse_report_block(const char *what, const struct shmb_arena *a, const void *p, uint64_t size, const char *why)
{
	fatal_block(what, p, size, why, a->region ? shmb_region_name(a->region) : NULL);
}

void misuse_check_open(const char *what, const struct shmb_arena *a)
{
	if (unlikely(atomic_load_explicit(&a->closed, memory_order_relaxed)))
		fatal_pointer(what, a, "the arena is closed", NULL);
}

/* What the block map's byte says of a pointer that is no live block. */
static const char *why_not(const struct shmb_arena *a, uint64_t off)
{
	struct block_view in;
	if (off % GRAIN == 0) {
		enum block_state s = block_state_of(block_get(a->blocks, (uint32_t)(off >> GRAIN_SHIFT)));
		if (s == BLOCK_CACHED || s == BLOCK_STRAY)
			return "double free";
	}
	return ref_find(a, off, &in) ? "points into a block, not at its start" : "no live block starts here";
}

struct misuse_seen misuse_check_live(const char *what, const struct shmb_arena *a, const void *p)
{
	struct misuse_seen s = {.off = (uint64_t)((const char *)p - a->data), .class = CLASSES};
	misuse_check_open(what, a);
	if (!arena_has(a, p))
		misuse_report(what, a, p, window_has(p) && window_get(p) ? "belongs to another arena" : "not a pointer into");
	uint64_t unit = s.off >> UNIT_SHIFT;
	if (unit >= units_ready(a))
		misuse_report(what, a, p, "no block was ever there");
	s.word = span_get(a, unit);
	switch (span_kind_of(s.word)) {
	case SPAN_SMALL: {
		uint8_t b = s.off % GRAIN || unit >= SMALL_UNITS ? 0 : block_get(a->blocks, (uint32_t)(s.off >> GRAIN_SHIFT));
		if (block_state_of(b) != BLOCK_LIVE || block_class(b) >= CLASSES)
			misuse_report(what, a, p, why_not(a, s.off));
		s.class = block_class(b);
		return s;
	}
	case SPAN_HEAD:
		if (!span_aux(s.word) || span_aux(s.word) > units_ready(a) - unit)
			misuse_report(what, a, p, "the words of its units were overwritten");
		if (s.off % UNIT == 0)
			return s;
		/* fall through */
	case SPAN_CONT:
		misuse_report(what, a, p, "points into a block, not at its start");
	default:
		misuse_report(what, a, p, "no live block starts here: free memory (double free?)");
	}
}

void misuse_retire(struct shmb_arena *a, const struct misuse_seen *s)
{
	if (s->class == CLASSES)
		atomic_store(&a->spans[s->off >> UNIT_SHIFT], span_make(SPAN_FREE, SPAN_DIRTY, 0));
	else
		block_set(a->blocks, (uint32_t)(s->off >> GRAIN_SHIFT), block_make(BLOCK_STRAY, s->class));
}
