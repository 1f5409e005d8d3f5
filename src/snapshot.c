/*
 * snapshot.c - an arena's contents as a forked child sees them. See preload_api.h.
 *
 * A mirror is as large as the region, and the child moves it into the region's
 * place. Where there is no room for that (RLIMIT_AS, RLIMIT_DATA, no
 * overcommitting), or memory may not be moved, the copies are packed one after
 * the other, and the child maps what it needs, no more.
 *
 * A mirror can be of one moment. All that is to be copied is frozen (freeze.c):
 * the index, that is header, span and page words; then, as these say, what is
 * in use. That is the moment: whoever writes to a frozen page waits, so of each
 * thread what it did up to some point is there, and nothing after it. Then the
 * units are copied one by one; between two of them those for which somebody
 * waits are copied first. What is copied is let go.
 *
 * From before that moment until the fork is over other threads' malloc and free
 * wait as well (halt.h). That would be long where much is in use, so it is
 * frozen and copied once before: who waits then is let go at once, and what he
 * writes to is copied again; all of it, where other processes are attached. Else
 * little is left, and nobody is let go before it is copied: what a thread does
 * outside the region after the moment is then what it does in the microseconds
 * up to the fork.
 *
 * Otherwise each page is as it was at some moment, data first and tables last.
 */
#include "arena.h"
#include "commit.h"
#include "freeze.h"
#include "halt.h"
#include "huge.h"
#include "lease.h"
#include "preload_api.h"
#include "shadow.h"
#include "sys.h"
#include "window.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_WISHES = 8192 }; /* each can be a mapping more, of which there are 65530 */
enum { PACK_ATTEMPTS = 4, WORD_BITS = 64, RUN_ON_NS = 1000000 };

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
	uint64_t ready; /* units to be looked at, and what is said of them: the region's own words, or their copy */
	const _Atomic span_t *spans;
	const _Atomic page_t *pages;
	struct freeze freeze;
	uint64_t *copied; /* frozen: a bit a unit */
	uint64_t *loose;  /* the same: let go early, and to be copied later; NULL: it is later */
	bool brief;       /* little is left to copy: nobody is let go before the end */
	uint64_t prepared; /* the last huge page that was looked at: its first unit plus one */
	unsigned wishes;   /* for huge pages */
};

/* A mapping that has become one with its neighbours cannot be taken out where no more mappings are allowed. */
static void give_back(void *memory, uint64_t len)
{
	if (sys_unmap(memory, len))
		sys_discard(memory, len);
}

static void discard(struct snapshot *s)
{
	if (s->memory)
		give_back(s->memory, s->size);
	s->memory = NULL;
}

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
	if (c->mirror && len > PAGE)
		(void)huge_populate_pages(to, len); /* at once, not by a fault for each page; refused: by these */
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

/* ---- what is in use ----------------------------------------------------------------- */

static span_t word_of(const struct copier *c, uint64_t unit)
{
	return atomic_load_explicit(&c->spans[unit], memory_order_acquire);
}

/* Of how many units is what starts at this one? 0: of nothing that is copied. */
static uint64_t used_at(const struct copier *c, uint64_t unit)
{
	span_t w = word_of(c, unit);
	if (span_kind_of(w) == SPAN_SMALL)
		return 1;
	return span_kind_of(w) == SPAN_HEAD && span_aux(w) <= c->ready - unit ? span_aux(w) : 0;
}

/* The next run of units in use, from *unit on: its length; 0: there is none. */
static uint64_t run_next(const struct copier *c, uint64_t *unit)
{
	uint64_t n = 0, k;
	while (*unit < c->ready && !used_at(c, *unit))
		++*unit;
	while (*unit + n < c->ready && (k = used_at(c, *unit + n)))
		n += k;
	return n;
}

static void look_at_region(struct copier *c)
{
	c->ready = units_ready(c->a);
	c->spans = c->a->spans;
	c->pages = c->a->pages;
}

/* ---- copying ------------------------------------------------------------------------ */

/* Where at least half of it will be used: it makes the copy several times faster, and the fork after it. */
static bool wants_huge(const struct copier *c, uint64_t unit)
{
	unsigned used = 0;
	for (uint64_t u = unit; u < unit + HUGE_UNITS && u < c->ready; u++) {
		enum span_kind k = span_kind_of(word_of(c, u));
		used += k == SPAN_SMALL || k == SPAN_HEAD || k == SPAN_CONT;
	}
	return used >= HUGE_UNITS / 2 && unit + HUGE_UNITS <= c->a->lay.units;
}

/* Huge pages for where units are to be copied to: whoever comes back to one finds it there. */
static void prepare(struct copier *c, uint64_t unit, uint64_t n)
{
	for (uint64_t at = unit & ~(uint64_t)(HUGE_UNITS - 1); at < unit + n; at += HUGE_UNITS) {
		if (!c->mirror || c->a->small_pages || c->prepared == at + 1 || c->wishes == HUGE_WISHES)
			continue;
		c->prepared = at + 1;
		if (wants_huge(c, at) && huge_worth()) {
			(void)huge_populate(c->mirror + c->a->lay.data + (at << UNIT_SHIFT), HUGE_PAGE, false);
			c->wishes++;
		}
	}
}

/* Runs of pages that have had blocks. */
static void copy_small(struct copier *c, uint64_t unit)
{
	uint64_t page = unit * UNIT_PAGES, end = page + UNIT_PAGES;
	prepare(c, unit, 1);
	for (uint64_t n; page < end; page += n + 1) {
		for (n = 0; page + n < end && atomic_load_explicit(&c->pages[page + n], memory_order_acquire);)
			n++;
		copy(c, c->a->data + (page << PAGE_SHIFT), n << PAGE_SHIFT);
	}
}

static void copy_large(struct copier *c, uint64_t unit, uint64_t n)
{
	prepare(c, unit, n);
	copy(c, c->a->data + (unit << UNIT_SHIFT), n << UNIT_SHIFT);
}

static void copy_data(struct copier *c)
{
	for (uint64_t u = 0, n; u < c->ready; u += n ? n : 1) {
		n = used_at(c, u);
		if (n && span_kind_of(word_of(c, u)) == SPAN_HEAD)
			copy_large(c, u, n);
		else if (n)
			copy_small(c, u);
	}
}

static const char *map_of(const struct copier *c, uint64_t unit)
{
	return (const char *)c->a->blocks + unit * (UNIT / GRAIN);
}

static void copy_index(struct copier *c)
{
	copy(c, (const char *)c->a->pages, c->ready * UNIT_PAGES * sizeof(page_t));
	copy(c, (const char *)c->a->spans, c->ready * sizeof(span_t));
	copy(c, c->a->hdr, PAGE);
}

/* The tables tell the child which pointers are blocks, and how large. */
static void copy_all(struct copier *c)
{
	look_at_region(c);
	copy_data(c);
	for (uint64_t u = 0; u < c->ready; u++)
		if (span_kind_of(word_of(c, u)) == SPAN_SMALL)
			copy(c, map_of(c, u), UNIT / GRAIN);
	copy_index(c);
}

/* ---- of one moment --------------------------------------------------------------------- */

/* A run's data, and the block map of those units that have one. */
static int run_hold(const struct copier *c, uint64_t unit, uint64_t n, bool hold)
{
	int err = freeze_range(&c->freeze, c->a->data + (unit << UNIT_SHIFT), n << UNIT_SHIFT, hold);
	for (uint64_t u = unit, end = unit + n; u < end && !err;) {
		uint64_t small = u;
		while (small < end && span_kind_of(word_of(c, small)) == SPAN_SMALL)
			small++;
		err = freeze_range(&c->freeze, map_of(c, u), (small - u) * (UNIT / GRAIN), hold);
		u = small + 1;
	}
	return err;
}

static int table_hold(const struct copier *c, const void *table, uint64_t bytes)
{
	return freeze_range(&c->freeze, table, round_up(bytes, PAGE), true);
}

static uint64_t unit_bit(uint64_t unit) { return (uint64_t)1 << unit % WORD_BITS; }

/* Units that are something else than when they were copied: a small one's map was not, nor held, if it was none. */
static void changed_forget(struct copier *c)
{
	const _Atomic span_t *then = (const _Atomic span_t *)(c->mirror + c->a->lay.spans);
	for (uint64_t u = 0; u < c->ready; u++)
		if (atomic_load_explicit(&then[u], memory_order_relaxed) != word_of(c, u))
			c->copied[u / WORD_BITS] &= ~unit_bit(u);
}

/* The header first, which says how much there is. Then the copy of the index is what counts. */
static int index_hold(struct copier *c)
{
	int err = table_hold(c, c->a->hdr, PAGE);
	look_at_region(c);
	if (!err)
		err = table_hold(c, (const void *)c->spans, c->ready * sizeof(span_t));
	if (!err)
		err = table_hold(c, (const void *)c->pages, c->ready * UNIT_PAGES * sizeof(page_t));
	if (err)
		return err;
	if (c->loose)
		changed_forget(c);
	copy_index(c);
	c->spans = (const _Atomic span_t *)(c->mirror + c->a->lay.spans);
	c->pages = (const _Atomic page_t *)(c->mirror + c->a->lay.pages);
	return c->err;
}

static void unit_copy(struct copier *c, uint64_t unit)
{
	uint64_t word = unit / WORD_BITS, bit = unit_bit(unit);
	if ((c->copied[word] & bit) || (c->loose && (c->loose[word] & bit)))
		return;
	c->copied[word] |= bit;
	if (span_kind_of(word_of(c, unit)) == SPAN_SMALL) {
		copy_small(c, unit);
		copy(c, map_of(c, unit), UNIT / GRAIN);
	} else {
		copy_large(c, unit, 1);
	}
}

/* Before somebody goes on who is going to write to it. */
static void unit_settle(struct copier *c, uint64_t unit)
{
	if (!c->loose) {
		unit_copy(c, unit);
		return;
	}
	c->loose[unit / WORD_BITS] |= unit_bit(unit);
	c->copied[unit / WORD_BITS] &= ~unit_bit(unit);
}

/* Lets those go on who wait. The index was copied before all. */
static void serve(struct copier *c)
{
	const struct layout *l = &c->a->lay;
	uintptr_t at;
	while (freeze_next(&c->freeze, &at)) {
		uint64_t off = (at - (uintptr_t)c->a->map) & ~(uint64_t)(PAGE - 1);
		uint64_t data = (off - l->data) >> UNIT_SHIFT, map = (off - l->blockmap) / (UNIT / GRAIN);
		if (off >= l->data && data < c->ready) {
			unit_settle(c, data);
			(void)freeze_range(&c->freeze, c->a->data + (data << UNIT_SHIFT), UNIT, false);
			continue;
		}
		if (off >= l->blockmap && off < l->data && map < c->ready)
			unit_settle(c, map);
		(void)freeze_range(&c->freeze, c->a->map + off, PAGE, false);
	}
}

static void serve_meanwhile(void *copier) { serve(copier); }

static void run_copy(struct copier *c, uint64_t unit, uint64_t n)
{
	for (uint64_t end = unit + n, k; unit < end; unit += k) {
		k = end - unit < HUGE_UNITS ? end - unit : HUGE_UNITS;
		for (uint64_t u = unit; u < unit + k; u++) {
			unit_copy(c, u);
			if (!c->brief)
				serve(c);
		}
		if (!c->loose && !c->brief)
			(void)run_hold(c, unit, k, false);
	}
}

static void runs_copy(struct copier *c)
{
	for (uint64_t u = 0, n; (n = run_next(c, &u)); u += n)
		run_copy(c, u, n);
}

static int all_hold(struct copier *c)
{
	int err = index_hold(c);
	for (uint64_t u = 0, n; !err && (n = run_next(c, &u)); u += n)
		err = run_hold(c, u, n, true);
	return err;
}

static uint64_t bitmap_len(const struct copier *c)
{
	return round_up(c->a->lay.units, (uint64_t)8 * PAGE) / 8;
}

static int bitmaps_map(struct copier *c)
{
	void *at;
	int err = sys_map(NULL, 2 * bitmap_len(c), PROT_READ | PROT_WRITE, PRIVATE_MEMORY, -1, 0, &at);
	c->copied = at;
	return err;
}

static void halt_others(struct shmb_arena *a)
{
	if (!forks_alone)
		halt_begin(a, NULL, NULL);
}

/*
 * The same as before: nobody else was attached in between. 0: somebody is. His
 * writes are not held, so what was copied before the moment may be wrong.
 */
static uint64_t alone_here(const struct shmb_arena *a)
{
	uint64_t sum = atomic_load(&a->hold);
	for (unsigned i = 0; i < slots_high(a); i++) {
		uint32_t w = atomic_load(&a->slots[i].word);
		if (i != holder_slot(atomic_load(&a->holder)) && (w & 0xff) == SLOT_LIVE)
			return 0;
		sum = sum * 31 + w;
	}
	return sum | (uint64_t)1 << 63;
}

/* Holds all, after it was copied once while others went on. */
static int hold_late(struct copier *c, struct shmb_arena *a, uint64_t alone)
{
	uint64_t len = bitmap_len(c);
	int err = all_hold(c);
	if (err)
		return err;
	c->loose = c->copied + len / sizeof *c->copied;
	runs_copy(c);
	halt_begin(a, serve_meanwhile, c);
	for (uint64_t until_ns = sys_ticks_ns() + RUN_ON_NS; sys_ticks_ns() < until_ns; sys_yield())
		serve(c); /* who waited goes on to what he was about to do with what he writes */
	err = all_hold(c);
	c->loose = NULL;
	c->brief = alone_here(a) == alone;
	if (!c->brief)
		memset(c->copied, 0, len);
	return err;
}

static int hold_now(struct copier *c, struct shmb_arena *a)
{
	halt_others(a);
	return all_hold(c);
}

/* False: it is not to be had here, or not at this time. */
static bool copy_moment(struct copier *c, struct shmb_arena *a)
{
	uint64_t alone = alone_here(a);
	if (bitmaps_map(c))
		return false;
	bool held = freeze_begin(&c->freeze, a) && !(alone ? hold_late(c, a, alone) : hold_now(c, a));
	if (held)
		runs_copy(c);
	freeze_end(&c->freeze, a);
	give_back(c->copied, 2 * bitmap_len(c));
	return held;
}

/* ---- taking ------------------------------------------------------------------------ */

/*
 * At a multiple of what regions are at a multiple of: so that its huge pages
 * are as the region's place takes them, and that it is moved by its tables.
 */
static int mirror_map(uint64_t size, void **at)
{
	uint64_t more = size + WINDOW_GRANULE;
	void *got;
	if (sys_map_lazily(NULL, more, PROT_READ | PROT_WRITE, PRIVATE_MEMORY, -1, 0, &got))
		return sys_map_lazily(NULL, size, PROT_READ | PROT_WRITE, PRIVATE_MEMORY, -1, 0, at);
	uintptr_t from = (uintptr_t)got, to = round_up(from, WINDOW_GRANULE);
	if (to > from)
		(void)sys_unmap(got, to - from);
	(void)sys_unmap((void *)(to + size), from + more - to - size);
	*at = (void *)to;
	return 0;
}

static int mirror_take(struct copier *c, struct shmb_arena *a, struct snapshot *s, bool moment)
{
	s->size = a->lay.size;
	int err = mirror_map(s->size, &s->memory);
	if (!err)
		err = sys_move(s->memory, PAGE, s->memory);
	if (err)
		return err;
	c->mirror = s->memory;
	s->moment = moment && copy_moment(c, a);
	if (!s->moment) {
		c->err = 0;
		halt_others(a);
		copy_all(c);
	}
	c->mirror = NULL;
	return c->err;
}

static int pack_take(struct copier *c, struct shmb_arena *a, struct snapshot *s)
{
	halt_others(a);
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
			discard(s);
	}
	return c->err;
}

/* Only where no other thread can allocate before the fork. */
static bool nothing_lives(struct copier *c)
{
	uint64_t unit = 0;
	look_at_region(c);
	return forks_alone && !run_next(c, &unit);
}

int preload_snapshot_take(shmb_arena *a, struct snapshot *s, bool moment)
{
	struct copier c = {.a = a};
	if (nothing_lives(&c))
		return 0;
	shadow_leave_all(a); /* free blocks are copied with the rest */
	source_open(&c);
	int err = mirror_take(&c, a, s, moment);
	s->packed = err != 0;
	if (err) {
		discard(s);
		err = pack_take(&c, a, s);
	}
	source_close(&c);
	halt_limit(a);
	if (err)
		discard(s);
	return err;
}

void preload_snapshot_discard(shmb_arena *a, struct snapshot *s)
{
	halt_end(a);
	discard(s);
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
	halt_end(a);
	if (!s->memory)
		return preload_absent(a);
	atomic_store(&a->retired, true);
	if (!s->packed) {
		int err = sys_move(s->memory, s->size, a->map);
		s->memory = NULL;
		return err;
	}
	int err = unpack(a, s->memory);
	discard(s);
	return err;
}

void preload_exit(void)
{
	region_unlink_owned();
}
