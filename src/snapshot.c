/*
 * snapshot.c - an arena's contents as a forked child sees them. See preload_api.h.
 *
 * A mirror is as large as the region, and the child moves it into the region's
 * place. Where there is no room for that (RLIMIT_AS, RLIMIT_DATA, no
 * overcommitting), or memory may not be moved, the copies are packed one after
 * the other, and the child maps what it needs, no more.
 */
#include "arena.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_UNITS = 32 }; /* from 2 MiB up: huge pages make the copy several times faster */
enum { PACK_ATTEMPTS = 4 };

#define PRIVATE_MEMORY (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

struct piece {
	uint64_t off, len; /* in the region; whole pages */
};

/* What is packed: the head, pieces, and from `data` on their bytes. */
struct pack {
	uint64_t pieces, room;     /* how many there are, and may be */
	uint64_t used, data, size; /* bytes */
	struct piece piece[];
};

/* What is copied from where: through a descriptor, since a page that another thread frees
 * meanwhile would be allocated again by reading it through the mapping. */
struct copier {
	const struct shmb_arena *a;
	char *mirror;      /* NULL: none */
	struct pack *pack; /* NULL too: only counting */
	uint64_t pieces, bytes;
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

/* Where the copy of what is at `off` goes. NULL: nowhere. */
static char *target(struct copier *c, uint64_t off, uint64_t len)
{
	struct pack *p = c->pack;
	if (c->mirror)
		return c->mirror + off;
	len = round_up(len, PAGE);
	c->pieces++;
	c->bytes += len;
	if (!p)
		return NULL;
	struct piece *last = p->pieces ? &p->piece[p->pieces - 1] : NULL;
	bool follows = last && last->off + last->len == off;
	if (p->used + len > p->size || (!follows && p->pieces == p->room)) {
		c->err = EAGAIN; /* there is more of it than when it was counted */
		return NULL;
	}
	if (follows)
		last->len += len;
	else
		p->piece[p->pieces++] = (struct piece){off, len};
	p->used += len;
	return (char *)p + p->used - len;
}

/* From the start of a page on. */
static void copy(struct copier *c, const void *from, uint64_t len)
{
	uint64_t off = (uint64_t)((const char *)from - c->a->map);
	char *to = c->err || !len ? NULL : target(c, off, len);
	if (!to)
		return;
	if (c->fd >= 0) {
		int err = sys_pread(c->fd, to, len, off);
		if (!err || err == EIO) { /* EIO: the file is too short, a mapping has no more */
			c->err = err;
			return;
		}
		sys_close(c->fd); /* a sandbox that allows no reading */
		source_map(c);
	}
	memcpy(to, c->again + off, len);
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
	if (n >= HUGE_UNITS && c->mirror)
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
		} else if (span_kind_of(w) == SPAN_HEAD && span_aux(w) && span_aux(w) <= ready - u) {
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

static void copy_all(struct copier *c)
{
	copy_data(c);
	copy_tables(c);
}

/* ---- taking ------------------------------------------------------------------------ */

static int mirror_take(struct copier *c, struct snapshot *s)
{
	s->size = c->a->lay.size;
	int err = sys_map_lazily(NULL, s->size, PROT_READ | PROT_WRITE, PRIVATE_MEMORY, -1, 0, &s->memory);
	if (!err && mremap(s->memory, PAGE, PAGE, 0) != s->memory)
		err = EPERM;
	if (err)
		return err;
	c->mirror = s->memory;
	copy_all(c);
	c->mirror = NULL;
	return c->err;
}

static int pack_take(struct copier *c, struct snapshot *s)
{
	c->err = EAGAIN;
	for (unsigned i = 0; i < PACK_ATTEMPTS && c->err == EAGAIN; i++) {
		c->err = 0;
		c->pieces = c->bytes = 0;
		copy_all(c);
		uint64_t room = c->pieces + (c->pieces >> 2 << i); /* other threads go on */
		uint64_t data = round_up(sizeof(struct pack) + room * sizeof(struct piece), PAGE);
		s->size = data + c->bytes + round_up(c->bytes >> 4 << i, PAGE);
		c->err = sys_map_lazily(NULL, s->size, PROT_READ | PROT_WRITE, PRIVATE_MEMORY, -1, 0, &s->memory);
		if (c->err)
			break;
		c->pack = s->memory;
		*c->pack = (struct pack){.room = room, .used = data, .data = data, .size = s->size};
		copy_all(c);
		c->pack = NULL;
		if (c->err)
			preload_snapshot_discard(s);
	}
	return c->err;
}

int preload_snapshot_take(shmb_arena *a, struct snapshot *s)
{
	struct copier c = {.a = a};
	source_open(&c);
	int err = mirror_take(&c, s);
	s->packed = err != 0;
	if (err) {
		preload_snapshot_discard(s);
		err = pack_take(&c, s);
	}
	source_close(&c);
	if (err)
		preload_snapshot_discard(s);
	return err;
}

void preload_snapshot_discard(struct snapshot *s)
{
	if (s->memory)
		ASSERT(sys_unmap(s->memory, s->size) == 0);
	s->memory = NULL;
}

/* ---- in the child ------------------------------------------------------------------- */

static int unpack(const struct shmb_arena *a, const struct pack *p)
{
	const char *from = (const char *)p + p->data;
	int err = sys_unmap(a->map, a->lay.size);
	for (uint64_t i = 0; i < p->pieces && !err; i++) {
		const struct piece *q = &p->piece[i];
		void *at;
		err = sys_map(a->map + q->off, q->len, PROT_READ | PROT_WRITE, PRIVATE_MEMORY | MAP_FIXED, -1, 0, &at);
		if (!err)
			memcpy(at, from, q->len);
		from += q->len;
	}
	return err;
}

int preload_snapshot_adopt(shmb_arena *a, struct snapshot *s)
{
	atomic_store(&a->retired, true);
	if (!s->packed) {
		void *moved = mremap(s->memory, s->size, s->size, MREMAP_MAYMOVE | MREMAP_FIXED, a->map);
		s->memory = NULL;
		return moved == a->map ? 0 : errno;
	}
	int err = unpack(a, s->memory);
	preload_snapshot_discard(s);
	return err;
}

void preload_exit(void)
{
	region_unlink_owned();
}
