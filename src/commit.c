/*
 * commit.c - the memory under units: it is there before anybody may touch it,
 * by huge pages where they are worth it (huge.c).
 */
#include "commit.h"

#include "huge.h"
#include "shadow.h"

bool commit_is_huge(const struct shmb_arena *a)
{
	return a->region->granule == PAGE && !a->small_pages &&
	       !atomic_load_explicit(&a->frozen, memory_order_relaxed) && huge_worth();
}

/* ---- tables ----------------------------------------------------------------------- */

static int commit_table(struct shmb_arena *a, uint64_t table, uint64_t from, uint64_t to)
{
	uint64_t first = (table + from) & ~(uint64_t)(PAGE - 1);
	return sys_populate(a->map + first, round_up(table + to, PAGE) - first);
}

bool commit_tables(struct shmb_arena *a, uint64_t end)
{
	uint64_t from = atomic_load(&a->hdr->units_ready);
	uint64_t to = round_up(end, CHUNK_UNITS);
	if (end <= from) {
		shadow_note(a);
		return true;
	}
	if (commit_table(a, a->lay.spans, from * sizeof(span_t), to * sizeof(span_t)) ||
	    commit_table(a, a->lay.used_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.dirty_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.map_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.tag_bits, from / 8, to / 8) ||
	    commit_table(a, a->lay.unit_tags, from, to) ||
	    commit_table(a, a->lay.pages, from * UNIT_PAGES * sizeof(page_t), to * UNIT_PAGES * sizeof(page_t)))
		return false;
	while (from < to && !atomic_compare_exchange_weak(&a->hdr->units_ready, &from, to))
		;
	shadow_note(a);
	return true;
}

/* ---- units -------------------------------------------------------------------------- */

int commit_data(struct shmb_arena *a, uint64_t start, uint64_t n, bool huge_too)
{
	char *at = unit_addr(a, start), *end = unit_addr(a, start + n);
	char *huge = unit_addr(a, round_up(start, HUGE_UNITS));
	uint64_t len = huge < end ? (uint64_t)(end - huge) & ~(uint64_t)(HUGE_PAGE - 1) : 0;
	if (!huge_too || !len || !huge_populate(huge, len, true))
		return huge_populate_pages(at, (uint64_t)(end - at));
	int err = huge > at ? huge_populate_pages(at, (uint64_t)(huge - at)) : 0;
	return !err && huge + len < end ? huge_populate_pages(huge + len, (uint64_t)(end - huge - len)) : err;
}

/* A table's pages, of a byte a grain, for those units that small blocks can be in. */
static void map_range(const struct shmb_arena *a, uint64_t start, uint64_t n, char **addr, uint64_t *len)
{
	uint64_t end = start + n < SMALL_UNITS ? start + n : SMALL_UNITS;
	*addr = (char *)a->blocks + start * (UNIT / GRAIN);
	*len = start < end ? (end - start) * (UNIT / GRAIN) : 0;
}

int commit_map(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	char *addr;
	uint64_t len;
	map_range(a, start, n, &addr, &len);
	int err = sys_populate(addr, len);
	if (!err)
		hint_fill(a->map_bits, start, n, true);
	return err;
}

/* Gives a table's pages for those units back, of which `bits` say that they are there. */
static int table_punch(struct shmb_arena *a, uint64_t start, uint64_t n, hint_t *bits, void *table)
{
	char *addr;
	uint64_t len;
	if (hint_find(bits, start, start + n, true) >= start + n)
		return 0;
	hint_fill(bits, start, n, false);
	map_range(a, start, n, &addr, &len);
	return sys_punch((char *)table + (addr - (char *)a->blocks), len);
}

/*
 * Locked memory cannot be punched. While a snapshot is taken it may not be: it
 * holds writes only. The words say TAKING by now, so either it has them so, or
 * they were written later, and the mark is seen.
 */
bool commit_undo(struct shmb_arena *a, uint64_t start, uint64_t n)
{
	if (atomic_load(&a->frozen))
		return false;
	int err = sys_punch(unit_addr(a, start), n << UNIT_SHIFT);
	if (!err)
		err = table_punch(a, start, n, a->map_bits, a->blocks);
	if (!err)
		err = table_punch(a, start, n, a->tag_bits, a->tags);
	return !err;
}
