/*
 * ref.c - offsets as names of blocks between processes, and what an offset
 * points into.
 */
#include "ref.h"

#include "canary.h"
#include "shadow.h"

static bool find_small(const struct shmb_arena *a, uint64_t off, struct block_view *out)
{
	uint64_t page = off >> PAGE_SHIFT;
	page_t w = atomic_load_explicit(&a->pages[page], memory_order_acquire);
	if (!w || page_class(w) >= CLASSES)
		return false;
	uint64_t size = class_size(page_class(w));
	uint64_t first = (page << PAGE_SHIFT) + ((uint64_t)page_phase(w) << GRAIN_SHIFT);
	uint64_t start = off >= first ? first + (off - first) / size * size : first - size;
	if (start >> UNIT_SHIFT != off >> UNIT_SHIFT)
		return false;
	uint8_t b = block_get(a->blocks, (uint32_t)(start >> GRAIN_SHIFT));
	*out = (struct block_view){.start = start, .size = size};
	return b == block_make(BLOCK_LIVE, page_class(w)) && off - start < size;
}

bool ref_find(const struct shmb_arena *a, uint64_t off, struct block_view *out)
{
	uint64_t unit = off >> UNIT_SHIFT;
	if (unit >= units_ready(a))
		return false;
	span_t w = span_get(a, unit);
	if (span_kind_of(w) == SPAN_SMALL)
		return unit < SMALL_UNITS && find_small(a, off, out);
	if (span_kind_of(w) == SPAN_CONT && span_aux(w) <= unit) {
		unit -= span_aux(w);
		w = span_get(a, unit);
	}
	*out = (struct block_view){.start = unit << UNIT_SHIFT, .size = span_aux(w) << UNIT_SHIFT};
	return span_kind_of(w) == SPAN_HEAD && span_aux(w) <= units_ready(a) - unit && off - out->start < out->size;
}

shmb_ref shmb_ref_of(const shmb_arena *a, const void *p)
{
	return p && arena_has(a, p) ? (shmb_ref)((const char *)p - a->map) : 0;
}

void *shmb_deref(const shmb_arena *a, shmb_ref ref, size_t len)
{
	struct block_view b;
	uint64_t off = ref - a->lay.data;
	if (ref < a->lay.data || off >= a->lay.units << UNIT_SHIFT)
		return NULL;
	__builtin_prefetch(a->data + off); /* another processor may have it, and the block's byte: both come at once */
	if (!ref_find(a, off, &b))
		return NULL;
	shadow_reach(a, a->data + b.start);
	uint64_t most = a->guard ? canary_usable(a, b.start, b.size) : b.size;
	return off - b.start <= most && len <= most - (off - b.start) ? a->data + off : NULL;
}
