/*
 * commit.c - the memory under units: it is there before anybody may touch it.
 *
 * Page by page, or 2 MiB at once: a huge page costs a seventh of its 512 pages
 * (README of bench/), and its users a seventh of their misses of the TLB. It
 * is asked for with MADV_COLLAPSE, which a system does that has shared huge
 * pages switched off, if one page is there. Refused (a kernel before 6.1, a
 * file system that has none, nothing in one piece), or slow for want of memory
 * in one piece: by pages, and after a while it is tried again.
 */
#include "commit.h"

#include "shadow.h"
#include "sys.h"

/* ---- what pages cost here ------------------------------------------------------- */

enum { HUGE_PAGES = HUGE_UNITS * UNIT_PAGES, SLOWER = 2, PAUSE_LEAST = 16, PAUSE_MOST = 1024, SAMPLE = UNIT_PAGES };

/* Of this process. Threads that measure at once lose one of two measurements. */
static struct {
	_Atomic uint32_t page_ns; /* smoothed: to populate one; 0: not known */
	_Atomic uint32_t pause;   /* huge pages to pass over */
	_Atomic uint32_t last;    /* how many those were at first */
} cost;

bool commit_huge_anyway;

static int populate(char *addr, uint64_t len)
{
	uint64_t pages = len / PAGE, began = pages >= SAMPLE ? sys_ticks_ns() : 0;
	int err = sys_populate(addr, len);
	if (began && !err) {
		uint64_t now = (sys_ticks_ns() - began) / pages;
		uint32_t had = atomic_load_explicit(&cost.page_ns, memory_order_relaxed);
		uint64_t mean = had ? had - had / 8 + now / 8 : now;
		atomic_store_explicit(&cost.page_ns, mean < UINT32_MAX ? (uint32_t)mean : UINT32_MAX, memory_order_relaxed);
	}
	return err;
}

static void pause_more(void)
{
	uint32_t last = atomic_load_explicit(&cost.last, memory_order_relaxed), next = last * 2;
	next = next < PAUSE_LEAST ? PAUSE_LEAST : next > PAUSE_MOST ? PAUSE_MOST : next;
	atomic_store_explicit(&cost.last, next, memory_order_relaxed);
	atomic_store_explicit(&cost.pause, next, memory_order_relaxed);
}

/* Whole huge pages. False: some of it may be there. */
static bool populate_huge(char *addr, uint64_t len)
{
	uint64_t pages = len / PAGE, began = sys_ticks_ns();
	uint32_t page_ns = atomic_load_explicit(&cost.page_ns, memory_order_relaxed);
	bool done = !sys_populate_huge(addr, len);
	if (!done || (page_ns && (sys_ticks_ns() - began) / pages > (uint64_t)page_ns * SLOWER))
		pause_more();
	else
		atomic_store_explicit(&cost.last, 0, memory_order_relaxed);
	return done;
}

bool commit_is_huge(const struct shmb_arena *a)
{
	if (a->region->granule != PAGE || atomic_load_explicit(&a->frozen, memory_order_relaxed))
		return false;
	uint32_t pause = atomic_load_explicit(&cost.pause, memory_order_relaxed);
	if (pause)
		atomic_store_explicit(&cost.pause, pause - 1, memory_order_relaxed);
	return !pause || commit_huge_anyway;
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
	char *at = a->data + (start << UNIT_SHIFT), *end = at + (n << UNIT_SHIFT);
	char *huge = a->data + (round_up(start, HUGE_UNITS) << UNIT_SHIFT);
	uint64_t len = huge < end ? (uint64_t)(end - huge) & ~(((uint64_t)HUGE_UNITS << UNIT_SHIFT) - 1) : 0;
	if (!huge_too || !len || !populate_huge(huge, len))
		return populate(at, (uint64_t)(end - at));
	int err = huge > at ? populate(at, (uint64_t)(huge - at)) : 0;
	return !err && huge + len < end ? populate(huge + len, (uint64_t)(end - huge - len)) : err;
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
	int err = sys_punch(a->data + (start << UNIT_SHIFT), n << UNIT_SHIFT);
	if (!err)
		err = table_punch(a, start, n, a->map_bits, a->blocks);
	if (!err)
		err = table_punch(a, start, n, a->tag_bits, a->tags);
	return !err;
}
