/*
 * crash_survivor.h - the process that comes after the kill: opens the region,
 * finds every block that was live, uses the heap, gives everything back, and
 * verifies that nothing is lost. Runs in a child of the harness and says what
 * failed in its verdict.
 */
#ifndef CRASH_SURVIVOR_H
#define CRASH_SURVIVOR_H

#include "crash_plan.h"
#include "crash_rules.h"

enum { CHECKED_PAIRS = 1000, AT_A_TIME = 48, TRIMS = 4, VERDICT = 400, LIVE_MAX = 4096, SURVIVOR_SECONDS = 30 };

static char *verdict; /* shared with the harness; "" is survival */

static void lost(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void lost(const char *format, ...)
{
	va_list ap;
	va_start(ap, format);
	vsnprintf(verdict, VERDICT, format, ap);
	va_end(ap);
	_exit(1);
}

#define EXPECT(cond, ...)                  \
	do {                               \
		if (!(cond))               \
			lost(__VA_ARGS__); \
	} while (0)

/* ---- check ---------------------------------------------------------------------- */

static void keep_first(void *first, const char *text)
{
	char *to = first;
	if (!*to)
		snprintf(to, VERDICT / 2, "%s", text);
}

static void must_be_clean(const char *when)
{
	char first[VERDICT / 2] = "";
	int err = shmb_check_name(plan->name, keep_first, first);
	first[strcspn(first, "\n")] = 0;
	EXPECT(!err, "check %s: %s: %s", when, shmb_strerror(err), first);
}

/* ---- the live blocks --------------------------------------------------------------- */

struct census {
	struct {
		shmb_ref ref;
		uint64_t size;
	} live[LIVE_MAX];
	unsigned live_n;
	uint64_t cached;
};

static int count_one(void *ctx, const shmb_block_info *b)
{
	struct census *c = ctx;
	c->cached += b->state == SHMB_BLOCK_CACHED;
	if (b->state != SHMB_BLOCK_LIVE)
		return 0;
	EXPECT(c->live_n < LIVE_MAX, "too many live blocks");
	c->live[c->live_n].ref = b->ref;
	c->live[c->live_n++].size = b->size;
	return 0;
}

static void take_census(struct census *c)
{
	memset(c, 0, sizeof *c);
	int err = shmb_walk_name(plan->name, count_one, c);
	EXPECT(!err, "walk: %s", shmb_strerror(err));
}

/* The live block at `ref`, and forgets it; 0: there is none. */
static uint64_t census_remove(struct census *c, shmb_ref ref)
{
	for (unsigned i = 0; i < c->live_n; i++) {
		if (c->live[i].ref != ref)
			continue;
		uint64_t size = c->live[i].size;
		c->live[i] = c->live[--c->live_n];
		return size;
	}
	return 0;
}

static uint64_t bytes_for(size_t size)
{
	size += A->guard;
	return size > CLASS_MAX_SIZE ? round_up(size, UNIT) : class_size(class_of(size));
}

/*
 * What lives must be what was held and, of the interrupted call, either its
 * subject or not, and one block more or none; when the call had returned, as
 * it said. Returns the refs that nobody else will free.
 */
static unsigned account(struct census *c, bool done, struct held orphans[2])
{
	unsigned n = 0;
	for (unsigned i = 0; i < plan->held_n; i++) {
		const struct held *h = &plan->held[i];
		EXPECT(census_remove(c, h->ref) >= h->size, "held block %u (%u bytes) at %#lx is not live", i, h->size,
		       (unsigned long)h->ref);
	}
	if (plan->subject.ref && census_remove(c, plan->subject.ref)) {
		EXPECT(!done, "the freed block is live");
		orphans[n++] = plan->subject;
		if (A->guard)
			orphans[0].size = 0; /* it may have been filled already */
	}
	if (done && plan->request) {
		EXPECT(c->live_n == 1 && c->live[0].ref == plan->result, "the returned block is not live");
	}
	EXPECT(c->live_n <= (plan->request ? 1 : 0), "%u live blocks that nobody has, one at %#lx of %lu bytes", c->live_n,
	       (unsigned long)c->live[0].ref, (unsigned long)c->live[0].size);
	if (c->live_n) {
		EXPECT(c->live[0].size == bytes_for(plan->request), "a live block of %lu bytes that nobody asked for",
		       (unsigned long)c->live[0].size);
		orphans[n++] = (struct held){.ref = c->live[0].ref}; /* no pattern yet */
	}
	return n;
}

/* ---- magazines ----------------------------------------------------------------------- */

static uint64_t blocks_in(uint32_t number)
{
	return number ? atomic_load(&A->mags[number - 1].count) : 0;
}

/* Cached blocks are the listed ones, all in shared places now or our own. */
static void count_listed(uint64_t cached)
{
	uint64_t listed = 0;
	for (unsigned k = 0; k < CLASSES; k++)
		for (unsigned i = 0; i < atomic_load(&A->depots[k].count); i++)
			listed += blocks_in(cell_number(atomic_load(&A->depots[k].cells[i])));
	for (unsigned s = 0; s < atomic_load(&A->hdr->slots_high); s++)
		for (unsigned i = 0; i < INBOX_CELLS; i++)
			listed += blocks_in(atomic_load(&A->slots[s].inbox[i]));
	for (unsigned i = 0; i < atomic_load(&A->hdr->threads_ready); i++)
		EXPECT(!atomic_load(&A->threads[i].owner), "thread record %u has an owner", i);
	EXPECT(listed == cached, "%lu blocks are cached, %lu listed", (unsigned long)cached, (unsigned long)listed);
}

/* ---- use --------------------------------------------------------------------------------- */

struct mine {
	unsigned char *p;
	uint32_t size, id;
};

static void no_overlap(const struct mine *mine, const unsigned char *p, size_t size)
{
	for (unsigned i = 0; i < AT_A_TIME; i++)
		EXPECT(!mine[i].p || p + size <= mine[i].p || mine[i].p + mine[i].size <= p, "two live blocks overlap");
	for (unsigned i = 0; i < plan->held_n; i++) {
		unsigned char *h = (unsigned char *)A->map + plan->held[i].ref;
		EXPECT(p + size <= h || h + plan->held[i].size <= p, "a new block overlaps held block %u", i);
	}
}

static void release(struct mine *m)
{
	if (!m->p)
		return;
	EXPECT(stamped(m->p, m->size, m->id), "a new block's bytes changed");
	shmb_free(A, m->p);
	m->p = NULL;
}

static void use(void)
{
	static const uint32_t sizes[] = {64, 16, 1024, 8192, 64, 200, 48, 3000, 64, 1024, 16, 30000, 64, 8192, 16, 140000};
	struct mine mine[AT_A_TIME] = {{0}};
	uint32_t random = 12345;
	for (uint32_t i = 0; i < CHECKED_PAIRS; i++) {
		random = random * 1664525 + 1013904223;
		struct mine *m = &mine[(random >> 16) % AT_A_TIME];
		release(m);
		m->size = sizes[i % 16];
		m->id = 2000 + i;
		unsigned char *p = shmb_malloc(A, m->size);
		EXPECT(p, "no memory for %u bytes", m->size);
		no_overlap(mine, p, m->size);
		m->p = p;
		stamp(p, m->size, m->id);
	}
	for (unsigned i = 0; i < AT_A_TIME; i++)
		release(&mine[i]);
}

static void free_held(const struct held *h, const char *what)
{
	void *p = shmb_deref(A, h->ref, h->size ? h->size : 1);
	EXPECT(p, "%s at %#lx does not resolve", what, (unsigned long)h->ref);
	EXPECT(!h->size || stamped(p, h->size, h->id), "%s at %#lx: its bytes changed", what, (unsigned long)h->ref);
	shmb_free(A, p);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void units_all_free(void)
{
	for (uint64_t u = 0; u < units_ready(A); u++) {
		EXPECT(span_get(A, u) == 0, "unit %lu is lost: its word is %#lx", (unsigned long)u, (unsigned long)span_get(A, u));
		EXPECT(!hint_get(A->used_bits, u), "unit %lu is free, its bit says used", (unsigned long)u);
		EXPECT(!hint_get(A->dirty_bits, u), "unit %lu is clean, its bit says dirty", (unsigned long)u);
	}
	EXPECT(atomic_load(&A->hdr->units_used) == 0, "%lu units used of none", (unsigned long)atomic_load(&A->hdr->units_used));
	EXPECT(atomic_load(&A->hdr->units_dirty) == 0, "%lu units dirty of none", (unsigned long)atomic_load(&A->hdr->units_dirty));
}

static void magazines_all_free(void)
{
	uint32_t ready = atomic_load(&A->hdr->mags_ready);
	for (uint32_t i = 0; i < ready; i++) {
		const struct mag_shm *m = &A->mags[i];
		EXPECT(!atomic_load(&m->holder), "magazine %u is lost: %u of class %u, holder %#lx", i + 1, atomic_load(&m->count),
		       m->class, (unsigned long)atomic_load(&m->holder));
		EXPECT(!atomic_load(&m->count), "magazine %u is free to take with %u blocks", i + 1, atomic_load(&m->count));
		EXPECT(!hint_get(A->mag_bits, i), "magazine %u is hidden: its bit says taken", i + 1);
	}
	for (unsigned k = 0; k < CLASSES; k++)
		EXPECT(!atomic_load(&A->depots[k].lock), "depot %u is locked", k);
}

/* No page of data, and none of the block map, is committed for nothing. */
static void memory_all_back(void)
{
	uint64_t at;
	int fd;
	EXPECT(!region_descriptor(A->region, &fd), "no descriptor");
	bool data = !sys_seek_data(fd, A->lay.data, &at);
	EXPECT(!data, "a page of data stays committed at unit %lu", (unsigned long)((at - A->lay.data) >> UNIT_SHIFT));
	bool map = !sys_seek_data(fd, A->lay.blockmap, &at);
	EXPECT(!map, "a page of the block map stays committed at unit %lu", (unsigned long)((at - A->lay.blockmap) / PAGE));
	sys_close(fd);
}

/* A survivor: the region's name is plan->name. whole: nobody else is attached. */
static void survive(bool done, bool whole)
{
	static struct census c;
	struct held orphans[2];
	shmb_options opt = {.size = 0};
	alarm(SURVIVOR_SECONDS);
	must_be_clean("before recovery");
	int err = shmb_arena_open(plan->name, &opt, &A);
	EXPECT(!err, "open: %s", shmb_strerror(err));
	must_be_clean("after recovery");
	const char *wrong = rules_wrong(done);
	EXPECT(!wrong, "%s", wrong);
	if (!whole) {
		use();
		must_be_clean("beside the living");
		shmb_arena_close(A);
		_exit(0);
	}
	take_census(&c);
	unsigned n = account(&c, done, orphans);
	count_listed(c.cached);
	use();
	must_be_clean("after use");
	for (unsigned i = 0; i < plan->held_n; i++)
		free_held(&plan->held[i], "a held block");
	for (unsigned i = 0; i < n; i++)
		free_held(&orphans[i], "the interrupted call's block");
	for (unsigned i = 0; i < TRIMS; i++)
		shmb_trim(A);
	must_be_clean("at the end");
	take_census(&c);
	EXPECT(!c.live_n && !c.cached, "%u live and %lu cached at the end", c.live_n, (unsigned long)c.cached);
	units_all_free();
	magazines_all_free();
	memory_all_back();
	err = shmb_arena_close(A);
	EXPECT(!err, "close: %s", shmb_strerror(err));
	_exit(0);
}

#endif
