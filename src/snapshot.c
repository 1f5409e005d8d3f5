/* snapshot.c - an arena's contents as a forked child sees them. See preload_api.h. */
#include "arena.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_UNITS = 32 }; /* from 2 MiB up: huge pages make the copy several times faster */

/* What is copied from where: through a descriptor, since a page that another thread frees
 * meanwhile would be allocated again by reading it through the mapping. */
struct copier {
	const struct shmb_arena *a;
	char *mirror;
	bool closed; /* the mirror is opened to writing piece by piece: see mirror_map() */
	int fd;      /* -1: there is none to be had, a mapping has to do */
	char *again; /* one that can be read whatever the program did to its own */
	int err;
};

static void source_map(struct copier *c)
{
	void *again;
	c->fd = -1;
	c->again = c->a->map;
	if (!sys_map_again(c->a->map, c->a->lay.size, &again))
		c->again = again;
}

static void source_open(struct copier *c)
{
	if (region_descriptor(c->a->region, &c->fd))
		source_map(c);
}

static void source_close(struct copier *c)
{
	if (c->fd >= 0)
		sys_close(c->fd);
	else if (c->again != c->a->map)
		sys_unmap(c->again, c->a->lay.size);
}

/* Whole pages. */
static void copy(struct copier *c, const void *from, uint64_t len)
{
	uint64_t off = (uint64_t)((const char *)from - c->a->map);
	if (!c->err && c->closed)
		c->err = sys_protect(c->mirror + off, round_up(len, PAGE), PROT_READ | PROT_WRITE);
	if (!c->err && c->fd >= 0) {
		int err = sys_pread(c->fd, c->mirror + off, len, off);
		if (!err || err == EIO) { /* EIO: the file is too short, a mapping has no more */
			c->err = err;
			return;
		}
		sys_close(c->fd); /* a sandbox that allows no reading */
		source_map(c);
	}
	if (!c->err)
		memcpy(c->mirror + off, c->again + off, len);
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

/*
 * As large as the region, and nothing in it. Where so much memory that can be
 * written would be over a limit (RLIMIT_DATA, or no overcommitting) it may not
 * be, and what is copied is made so, piece by piece.
 */
static int mirror_map(uint64_t size, void *at, int flags, void **mirror, bool *closed)
{
	int err = sys_map_lazily(at, size, PROT_NONE, flags | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, mirror);
	*closed = !err && sys_protect(*mirror, size, PROT_READ | PROT_WRITE);
	return err;
}

int preload_snapshot_take(shmb_arena *a, struct snapshot *s)
{
	struct copier c = {.a = a};
	s->size = a->lay.size;
	int err = mirror_map(s->size, NULL, 0, &s->mirror, &c.closed);
	if (err)
		return err;
	c.mirror = s->mirror;
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

/* Where the mirror cannot be moved its contents are, going by its own tables. */
static void adopt_contents(const struct shmb_arena *a, const struct snapshot *s)
{
	struct shmb_arena m = {.lay = a->lay, .map = s->mirror};
	struct copier c = {.a = &m, .fd = -1, .again = s->mirror};
	void *at;
	m.hdr = s->mirror;
	m.data = m.map + m.lay.data;
	m.spans = (_Atomic span_t *)(m.map + m.lay.spans);
	m.pages = (_Atomic page_t *)(m.map + m.lay.pages);
	m.blocks = (block_t *)(m.map + m.lay.blockmap);
	(void)sys_protect(s->mirror, s->size, PROT_READ);
	ASSERT(mirror_map(s->size, a->map, MAP_FIXED, &at, &c.closed) == 0);
	c.mirror = at;
	copy_data(&c);
	copy_tables(&c);
	ASSERT(c.err == 0 && sys_unmap(s->mirror, s->size) == 0);
}

void preload_snapshot_adopt(shmb_arena *a, struct snapshot *s)
{
	atomic_store(&a->retired, true);
	if (mremap(s->mirror, s->size, s->size, MREMAP_MAYMOVE | MREMAP_FIXED, a->map) != a->map)
		adopt_contents(a, s);
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
