/*
 * page.c - page runs carved from the units this process holds, for jemalloc's
 * slabs: most are one page, and a 64 KiB unit for each would waste memory.
 *
 * Which pages are free is private to the process: a 16-bit mask a unit, units
 * chained by their longest free run, smallest sufficient run first. What
 * others need after its death are the page words in the region. All private
 * state is under `lock`; units come and go with the lock dropped.
 *
 * Units that are populated already come first, one by one; new ones in spans
 * that grow with what is held, so that commits get fewer and larger.
 */
#include "page.h"

#include "error.h"
#include "lock.h"
#include "span.h"
#include "sys.h"

#include <string.h>
#include <sys/mman.h>

enum { ALL_FREE = (1 << UNIT_PAGES) - 1, SPAN_SHARE = 8, SPAN_MOST = 16 };

void page_heap_open(struct shmb_arena *a)
{
	memset(&a->page_heap, 0, sizeof a->page_heap);
	pthread_mutex_init(&a->page_heap.lock, NULL);
}

void page_heap_close(struct shmb_arena *a)
{
	hint_t *mapping = atomic_exchange(&a->page_heap.had, NULL);
	a->page_heap.next = NULL;
	if (mapping)
		sys_unmap(mapping, a->page_heap.mapped);
}

void page_heap_renew(struct shmb_arena *a)
{
	memset(a->page_heap.bins, 0, sizeof a->page_heap.bins);
	a->page_heap.held = 0;
}

void page_heap_forget(struct shmb_arena *a)
{
	atomic_store(&a->page_heap.had, NULL); /* the mapping is left: its size is what the parent touched of it */
	a->page_heap.next = NULL;
}

static void heap_lock(struct page_heap *h)
{
	rank_enter(RANK_PAGES);
	pthread_mutex_lock(&h->lock);
}

static void heap_unlock(struct page_heap *h)
{
	pthread_mutex_unlock(&h->lock);
	rank_leave(RANK_PAGES);
}

/* With the first unit: a process that only attaches needs none of it. */
static bool heap_map(struct shmb_arena *a)
{
	struct page_heap *h = &a->page_heap;
	uint64_t units = a->lay.units < SMALL_UNITS ? a->lay.units : SMALL_UNITS;
	uint64_t bits = round_up(units, 64) / 8;
	uint64_t size = bits + units * (sizeof *h->next + sizeof *h->prev + sizeof *h->free);
	void *at;
	if (sys_map(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &at))
		return false;
	heap_lock(h);
	bool first = !h->next;
	if (first) {
		h->mapped = size;
		h->next = (uint32_t *)((char *)at + bits);
		h->prev = h->next + units;
		h->free = (uint16_t *)(h->prev + units);
		atomic_store(&h->had, at);
	}
	heap_unlock(h);
	if (!first)
		sys_unmap(at, size);
	return true;
}

static unsigned longest_run(unsigned mask)
{
	unsigned n = 0;
	for (; mask; mask &= mask << 1)
		n++;
	return n;
}

/*
 * The lowest position of `n` free pages at a multiple of `align`. Of single pages the unit's first is the last: free
 * has to look at the unit's word for a block that starts there. -1: none.
 */
static int run_position(unsigned mask, unsigned n, unsigned align)
{
	for (unsigned have = 1; have < n; have++)
		mask &= mask >> 1;
	for (unsigned i = n == 1 ? align : 0; i + n <= UNIT_PAGES; i += align)
		if (mask >> i & 1)
			return (int)i;
	return mask & 1 ? 0 : -1;
}

static void bin_remove(struct page_heap *h, uint32_t unit)
{
	unsigned bin = longest_run(h->free[unit]);
	if (h->prev[unit])
		h->next[h->prev[unit] - 1] = h->next[unit];
	else
		h->bins[bin] = h->next[unit];
	if (h->next[unit])
		h->prev[h->next[unit] - 1] = h->prev[unit];
}

static void bin_insert(struct page_heap *h, uint32_t unit)
{
	unsigned bin = longest_run(h->free[unit]);
	h->prev[unit] = 0;
	h->next[unit] = h->bins[bin];
	if (h->bins[bin])
		h->prev[h->bins[bin] - 1] = unit + 1;
	h->bins[bin] = unit + 1;
}

static void *take_locked(struct shmb_arena *a, unsigned n, unsigned align)
{
	struct page_heap *h = &a->page_heap;
	for (unsigned bin = n; bin <= UNIT_PAGES; bin++) {
		for (uint32_t u = h->bins[bin]; u; u = h->next[u - 1]) {
			int i = run_position(h->free[u - 1], n, align);
			if (i < 0)
				continue;
			bin_remove(h, u - 1);
			h->free[u - 1] &= (uint16_t) ~(((1u << n) - 1) << i);
			bin_insert(h, u - 1);
			return unit_addr(a, u - 1) + (size_t)i * PAGE;
		}
	}
	return NULL;
}

/*
 * A free unit has neither blocks nor pages. In a region that was tampered with
 * it may, and what it says would come to be believed, so it is looked at.
 */
static void unit_wipe(struct shmb_arena *a, uint64_t unit)
{
	_Atomic uint64_t *bytes = (_Atomic uint64_t *)(void *)(a->blocks + unit * (UNIT / GRAIN));
	for (unsigned i = 0; i < UNIT / GRAIN / sizeof *bytes; i++)
		if (unlikely(atomic_load_explicit(&bytes[i], memory_order_relaxed)))
			atomic_store_explicit(&bytes[i], 0, memory_order_relaxed);
	for (unsigned i = 0; i < UNIT_PAGES; i++)
		atomic_store_explicit(&a->pages[unit * UNIT_PAGES + i], 0, memory_order_relaxed);
}

/* Adds units to the heap; false: there are none. */
static bool grow(struct shmb_arena *a)
{
	struct page_heap *h = &a->page_heap;
	holder_t hold = atomic_load(&a->hold);
	heap_lock(h);
	bool mapped = h->next != NULL;
	uint64_t more = h->held / SPAN_SHARE < SPAN_MOST ? h->held / SPAN_SHARE : SPAN_MOST;
	heap_unlock(h);
	if (!mapped && !heap_map(a))
		return false;
	bool zeroed;
	uint64_t n = more ? more : 1, start = span_take_populated(a, &n, true);
	if (start == SPAN_NONE && more > 1)
		start = span_take(a, n = more, 1, true, &zeroed);
	if (start == SPAN_NONE)
		start = span_take(a, n = 1, 1, true, &zeroed);
	if (start == SPAN_NONE)
		return false;
	for (uint64_t u = start; u < start + n; u++)
		unit_wipe(a, u);
	heap_lock(h);
	for (uint64_t u = start + n; u-- > start;) {
		h->free[u] = ALL_FREE;
		bin_insert(h, (uint32_t)u);
		hint_set(atomic_load_explicit(&h->had, memory_order_relaxed), u);
		atomic_store_explicit(&a->spans[u], span_make(SPAN_SMALL, 0, hold), memory_order_release);
	}
	h->held += n;
	heap_unlock(h);
	return true;
}

void *page_take(struct shmb_arena *a, unsigned n, unsigned align)
{
	struct page_heap *h = &a->page_heap;
	do {
		heap_lock(h);
		void *p = take_locked(a, n, align);
		heap_unlock(h);
		if (p)
			return p;
	} while (grow(a));
	return NULL;
}

static void unit_return(struct shmb_arena *a, uint64_t unit)
{
	ASSERT(span_seize(a, unit, span_get(a, unit)));
	span_return(a, unit, 1);
}

void page_return(struct shmb_arena *a, void *addr, unsigned n)
{
	struct page_heap *h = &a->page_heap;
	uint64_t page = (uint64_t)((char *)addr - a->data) >> PAGE_SHIFT;
	uint32_t unit = (uint32_t)(page / UNIT_PAGES);
	for (unsigned i = 0; i < n; i++)
		atomic_store_explicit(&a->pages[page + i], 0, memory_order_relaxed);
	heap_lock(h);
	ASSERT(page_unit_mine(a, unit, span_get(a, unit)));
	bin_remove(h, unit);
	h->free[unit] |= (uint16_t)(((1u << n) - 1) << page % UNIT_PAGES);
	bool whole = h->free[unit] == ALL_FREE;
	if (whole)
		h->held--;
	else
		bin_insert(h, unit);
	heap_unlock(h);
	if (whole)
		unit_return(a, unit);
}

void page_trim(struct shmb_arena *a)
{
	struct page_heap *h = &a->page_heap;
	for (;;) {
		heap_lock(h);
		uint32_t u = h->bins[UNIT_PAGES];
		if (u) {
			bin_remove(h, u - 1);
			h->held--;
		}
		heap_unlock(h);
		if (!u)
			return;
		unit_return(a, u - 1);
	}
}

void page_note(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	enum { PAGE_GRAINS = PAGE / GRAIN };
	uint32_t step = class_size(class) / GRAIN, end = grain % PAGE_GRAINS + step;
	uint32_t phase = grain % PAGE_GRAINS % step; /* in the pages after the first: where the block ends */
	for (_Atomic page_t *page = &a->pages[grain / PAGE_GRAINS];; page++) {
		page_t w = page_make(class, phase);
		if (atomic_load_explicit(page, memory_order_relaxed) != w)
			atomic_store_explicit(page, w, memory_order_release);
		if (end <= PAGE_GRAINS)
			return;
		end -= PAGE_GRAINS;
		phase = end;
	}
}

bool page_explains(const struct shmb_arena *a, uint32_t grain, unsigned class)
{
	enum { PAGE_GRAINS = PAGE / GRAIN };
	if (!page_fits(a, grain, class))
		return false;
	page_t w = atomic_load_explicit(&a->pages[grain / PAGE_GRAINS], memory_order_relaxed);
	uint32_t in = grain % PAGE_GRAINS;
	return w && page_class(w) == class && in >= page_phase(w) &&
	       (in - page_phase(w)) % (class_size(class) / GRAIN) == 0;
}
