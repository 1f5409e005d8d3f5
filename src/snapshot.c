/* snapshot.c - an arena's contents as a forked child sees them. See preload_api.h. */
#include "arena.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

#include <string.h>
#include <sys/mman.h>

enum { HUGE_UNITS = 32 }; /* from 2 MiB up: huge pages make the copy several times faster */

/* What is copied from where: through a descriptor, since a page that another thread frees
 * meanwhile would be allocated again by reading it through the mapping. */
struct copier {
	const struct shmb_arena *a;
	char *mirror;
	int fd;      /* -1: there is none to be had, a mapping has to do */
	char *again; /* one that can be read whatever the program did to its own */
	int err;
};

static void copy(struct copier *c, const void *from, uint64_t len)
{
	uint64_t off = (uint64_t)((const char *)from - c->a->map);
	if (c->fd < 0)
		memcpy(c->mirror + off, c->again + off, len);
	else if (!c->err)
		c->err = sys_pread(c->fd, c->mirror + off, len, off);
}

static void copy_small(struct copier *c, uint64_t unit)
{
	const struct shmb_arena *a = c->a;
	for (uint64_t page = unit * UNIT_PAGES; page < (unit + 1) * UNIT_PAGES; page++)
		if (atomic_load_explicit(&a->pages[page], memory_order_acquire))
			copy(c, a->data + (page << PAGE_SHIFT), PAGE);
}

static void copy_large(struct copier *c, uint64_t unit, uint64_t n)
{
	char *from = c->a->data + (unit << UNIT_SHIFT);
	if (n >= HUGE_UNITS)
		(void)madvise(c->mirror + (from - c->a->map), n << UNIT_SHIFT, MADV_HUGEPAGE); /* a wish */
	copy(c, from, n << UNIT_SHIFT);
}

static void copy_data(struct copier *c)
{
	const struct shmb_arena *a = c->a;
	for (uint64_t u = 0, ready = units_ready(a); u < ready; u++) {
		span_t w = span_get(a, u);
		if (span_kind_of(w) == SPAN_SMALL) {
			copy_small(c, u);
		} else if (span_kind_of(w) == SPAN_HEAD && span_aux(w) <= ready - u) {
			copy_large(c, u, span_aux(w));
			u += span_aux(w) - 1;
		}
	}
}

/* What tells the child which pointers are blocks, and how large. */
static void copy_tables(struct copier *c)
{
	const struct shmb_arena *a = c->a;
	uint64_t ready = units_ready(a);
	for (uint64_t u = 0; u < ready; u++)
		if (span_kind_of(span_get(a, u)) == SPAN_SMALL)
			copy(c, (const char *)a->blocks + u * (UNIT / GRAIN), UNIT / GRAIN);
	copy(c, (const char *)a->pages, ready * UNIT_PAGES * sizeof(page_t));
	copy(c, (const char *)a->spans, ready * sizeof(span_t));
	copy(c, a->hdr, PAGE);
}

static void source_open(struct copier *c)
{
	void *again;
	c->again = c->a->map;
	if (!region_descriptor(c->a->region, &c->fd))
		return;
	c->fd = -1;
	if (!sys_map_again(c->a->map, c->a->lay.size, &again))
		c->again = again;
}

static void source_close(struct copier *c)
{
	if (c->fd >= 0)
		sys_close(c->fd);
	else if (c->again != c->a->map)
		sys_unmap(c->again, c->a->lay.size);
}

int preload_snapshot_take(shmb_arena *a, struct snapshot *s)
{
	s->size = a->lay.size;
	int err = sys_map_lazily(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
	                         &s->mirror);
	if (err)
		return err;
	struct copier c = {.a = a, .mirror = s->mirror};
	source_open(&c);
	copy_data(&c);
	copy_tables(&c);
	source_close(&c);
	if (c.err)
		preload_snapshot_discard(s);
	return c.err;
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

void preload_count_fallback(shmb_arena *a)
{
	atomic_fetch_add_explicit(&a->hdr->fallbacks, 1, memory_order_relaxed);
}

void preload_exit(void)
{
	region_unlink_owned();
}
