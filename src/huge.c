/*
 * huge.c - what huge pages cost here, and small ones.
 *
 * A huge page costs a seventh of its 512 pages (bench/README.md), and saves
 * most misses of the TLB later. Of shared memory it is asked for with
 * MADV_COLLAPSE, which a system does that has shared huge pages switched off.
 * Where there are none (a kernel before 6.1, a file system without, nothing in
 * one piece), or they are slow (memory is compacted first; a virtual machine
 * whose host has taken what is free in one piece), small ones do, and after a
 * while, twice as long each time, another attempt is made.
 */
#include "huge.h"

#include "class.h"
#include "error.h"

#include <stdatomic.h>

enum { SAMPLE = 16, PAUSE_LEAST = 32, PAUSE_MOST = 1024, LONG_NS = 50000000, LONG_PAGE_NS = 10000 };

bool huge_anyway;

/* Of this process. Threads that measure at once lose one of two measurements. */
static struct {
	_Atomic uint32_t page_ns; /* smoothed: to populate a small one; 0: not known */
	_Atomic uint32_t pause;   /* attempts to leave out */
	_Atomic uint32_t last;    /* how many those were at first */
} cost;

static uint32_t get(const _Atomic uint32_t *v) { return atomic_load_explicit(v, memory_order_relaxed); }
static void set(_Atomic uint32_t *v, uint32_t to) { atomic_store_explicit(v, to, memory_order_relaxed); }

static uint32_t ns_each(uint64_t took, uint64_t len)
{
	uint64_t ns = took / (len / PAGE);
	return ns < UINT32_MAX / 2 ? (uint32_t)ns : UINT32_MAX / 2;
}

int huge_populate_pages(void *addr, uint64_t len)
{
	bool measured = len >= (uint64_t)SAMPLE * PAGE;
	uint64_t began = measured ? sys_ticks_ns() : 0;
	int err = sys_populate(addr, len);
	if (measured && !err) {
		uint32_t had = get(&cost.page_ns), now = ns_each(sys_ticks_ns() - began, len);
		set(&cost.page_ns, had ? had - had / 8 + now / 8 : now);
	}
	return err;
}

bool huge_worth(void)
{
	uint32_t pause = get(&cost.pause);
	if (likely(!pause) || huge_anyway)
		return true;
	set(&cost.pause, pause - 1);
	return false;
}

/*
 * took_long: the kernel waits for its own workers on all processors before it makes a huge page. Where those do not
 * get their turn it is not asked again soon.
 */
static void pause_more(bool took_long)
{
	uint32_t next = took_long ? PAUSE_MOST : get(&cost.last) * 2;
	next = next < PAUSE_LEAST ? PAUSE_LEAST : next > PAUSE_MOST ? PAUSE_MOST : next;
	set(&cost.last, next);
	set(&cost.pause, next);
}

bool huge_populate(void *addr, uint64_t len, bool shared)
{
	uint32_t page_ns = get(&cost.page_ns);
	uint64_t began = sys_ticks_ns();
	if (!shared)
		sys_hugepages(addr, len);
	bool done = !(shared ? sys_populate_huge(addr, len) : sys_populate(addr, len));
	uint64_t took = sys_ticks_ns() - began;
	uint32_t dear = page_ns / 3 * 4; /* giving small ones back costs another third */
	bool took_long = took > LONG_NS + len / PAGE * LONG_PAGE_NS;
	if (!done || took_long || (page_ns && ns_each(took, len) > dear))
		pause_more(took_long);
	else
		set(&cost.last, 0);
	return done;
}
