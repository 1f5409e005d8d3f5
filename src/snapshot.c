/* snapshot.c - an arena's contents as a forked child sees them. See preload_api.h. */
#include "arena.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

#include <string.h>
#include <sys/mman.h>

enum { HUGE_UNITS = 32 }; /* from 2 MiB up: huge pages make the copy several times faster */

static void mirror_copy(const struct shmb_arena *a, char *mirror, const void *from, uint64_t len)
{
	memcpy(mirror + ((const char *)from - a->map), from, len);
}

static void copy_small(const struct shmb_arena *a, char *mirror, uint64_t unit)
{
	for (uint64_t page = unit * UNIT_PAGES; page < (unit + 1) * UNIT_PAGES; page++)
		if (atomic_load_explicit(&a->pages[page], memory_order_acquire))
			mirror_copy(a, mirror, a->data + (page << PAGE_SHIFT), PAGE);
}

static void copy_large(const struct shmb_arena *a, char *mirror, uint64_t unit, uint64_t n)
{
	char *from = a->data + (unit << UNIT_SHIFT);
	if (n >= HUGE_UNITS)
		(void)madvise(mirror + (from - a->map), n << UNIT_SHIFT, MADV_HUGEPAGE); /* a wish */
	mirror_copy(a, mirror, from, n << UNIT_SHIFT);
}

static void copy_data(const struct shmb_arena *a, char *mirror)
{
	for (uint64_t u = 0, ready = units_ready(a); u < ready; u++) {
		span_t w = span_get(a, u);
		if (span_kind_of(w) == SPAN_SMALL) {
			copy_small(a, mirror, u);
		} else if (span_kind_of(w) == SPAN_HEAD && span_aux(w) <= ready - u) {
			copy_large(a, mirror, u, span_aux(w));
			u += span_aux(w) - 1;
		}
	}
}

/* What tells the child which pointers are blocks, and how large. */
static void copy_tables(const struct shmb_arena *a, char *mirror)
{
	uint64_t ready = units_ready(a);
	for (uint64_t u = 0; u < ready; u++)
		if (span_kind_of(span_get(a, u)) == SPAN_SMALL)
			mirror_copy(a, mirror, (const char *)a->blocks + u * (UNIT / GRAIN), UNIT / GRAIN);
	mirror_copy(a, mirror, (const char *)a->pages, ready * UNIT_PAGES * sizeof(page_t));
	mirror_copy(a, mirror, (const char *)a->spans, ready * sizeof(span_t));
	mirror_copy(a, mirror, a->hdr, PAGE);
}

int preload_snapshot_take(shmb_arena *a, struct snapshot *s)
{
	s->size = a->lay.size;
	int err = sys_map(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
	                  &s->mirror);
	if (err)
		return err;
	copy_data(a, s->mirror);
	copy_tables(a, s->mirror);
	return 0;
}

void preload_snapshot_discard(struct snapshot *s)
{
	if (s->mirror)
		ASSERT(sys_unmap(s->mirror, s->size) == 0);
	s->mirror = NULL;
}

void preload_snapshot_adopt(shmb_arena *a, struct snapshot *s)
{
	atomic_store(&a->retired, true);
	ASSERT(mremap(s->mirror, s->size, s->size, MREMAP_MAYMOVE | MREMAP_FIXED, a->map) == a->map);
	s->mirror = NULL;
}

bool preload_free(void *p)
{
	shmb_arena *a = shmb_arena_of(p);
	if (a)
		shmb_free(a, p);
	return a != NULL;
}

void preload_count_fallback(shmb_arena *a)
{
	atomic_fetch_add_explicit(&a->hdr->fallbacks, 1, memory_order_relaxed);
}

void preload_exit(void)
{
	region_unlink_owned();
}
