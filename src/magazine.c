/*
 * magazine.c - thread caches and the depot behind them (Bonwick and Adams,
 * "Magazines and Vmem", USENIX 2001), in the region, so that they outlive
 * their thread.
 *
 * A thread has two magazines of each class it uses. A free block goes into
 * the freer's magazine whoever allocated it, and is issued again from there.
 * Full magazines go to the class's depot; over its limit a magazine is
 * emptied: blocks of this process go to its jemalloc, a magazine with others'
 * blocks is posted whole to the owner of its topmost, who reuses it or takes
 * his own out of it. What nobody accepts waits in the thread's backlog. There,
 * too, a thread keeps STOCK_BYTES of what it frees and the depot does not take.
 *
 * Only the thread writes its record and its magazines; the depot's cells are
 * under a lock that is tried, never waited for; an inbox cell goes from 0 to
 * a number by compare-and-swap and back by its addressee, a thread at a time.
 * Every move lists the magazine at its new place before it leaves the old one;
 * layout.h says which place then counts.
 *
 * Bounds: a thread caches at most 2 * class_rounds() blocks of each class and
 * STOCK_BYTES of all, the depot DEPOT_BYTES of each, while that is in use.
 */
#include "magazine.h"

#include "engine.h"
#include "error.h"
#include "lock.h"
#include "orphan.h"
#include "page.h"
#include "slot.h"
#include "sys.h"

enum { DEPOT_BYTES = 512 * 1024, FIRST_BATCH = 4, DEPOT_TRIES = 64, GRAINS_PER_UNIT = UNIT / GRAIN };
enum { TIDY_MS = 100, IDLE_MS = 500, TIDY_MAGS = 32 };

static uint32_t number_of(const struct shmb_arena *a, const struct mag_shm *m)
{
	return (uint32_t)(m - a->mags) + 1;
}

static uint32_t count_of(const struct mag_shm *m)
{
	return atomic_load_explicit(&m->count, memory_order_relaxed);
}

static void count_set(struct mag_shm *m, uint32_t n)
{
	atomic_store_explicit(&m->count, n, memory_order_release);
}

void magazine_init(struct tctx *t)
{
	for (unsigned c = 0; c < CLASSES; c++)
		t->batch[c] = FIRST_BATCH;
	for (unsigned c = 0; c < HOT; c++) /* the record's last thread may have died */
		atomic_store_explicit(&t->shm->hot[c], 0, memory_order_relaxed);
	for (unsigned c = 0; c < CLASSES; c++) /* whoever gave it back saw to that; unless it was no process of ours */
		atomic_store_explicit(&t->shm->pairs[c], 0, memory_order_relaxed);
	atomic_store(&t->shm->backlog, 0);
	atomic_store(&t->shm->transit, 0);
	atomic_store(&t->shm->discard, 0);
}

/* ---- the pool ------------------------------------------------------------------- */

static bool pool_commit(struct shmb_arena *a, uint32_t ready)
{
	enum { PER_PAGE = PAGE / sizeof(struct mag_shm) };
	if (ready >= MAGS || sys_populate(&a->mags[ready], PAGE) ||
	    sys_populate(a->map + ((a->lay.mag_bits + ready / 8) & ~(uint64_t)(PAGE - 1)), PAGE))
		return false;
	(void)atomic_compare_exchange_strong(&a->hdr->mags_ready, &ready, ready + PER_PAGE);
	return true;
}

/* An empty magazine in `transit`; NULL: none to be had. */
static struct mag_shm *pool_take(struct tctx *t, unsigned class)
{
	struct shmb_arena *a = t->arena;
	for (uint32_t i = 0;;) {
		uint32_t ready = mags_ready(a);
		i = (uint32_t)hint_find(a->mag_bits, i, ready, false);
		if (i >= ready) {
			if (pool_commit(a, ready))
				continue;
			atomic_store(&t->shm->transit, 0);
			return NULL;
		}
		struct mag_shm *m = &a->mags[i];
		uint64_t nobody = 0;
		atomic_store(&t->shm->transit, i + 1);
		if (atomic_compare_exchange_strong(&m->holder, &nobody, mag_holder(t->number, t->hold))) {
			hint_set(a->mag_bits, i);
			count_set(m, 0); /* as it is, in any region that was not tampered with */
			m->class = class;
			m->rounds = class_rounds(class);
			m->next = 0;
			return m;
		}
		hint_set(a->mag_bits, i);
		if (!atomic_load(&m->holder))
			hint_clear(a->mag_bits, i);
		i++;
	}
}

static void pool_return(struct shmb_arena *a, struct mag_shm *m)
{
	if (count_of(m)) /* listed where it should not be, it got blocks meanwhile */
		return;
	atomic_store(&m->holder, 0);
	hint_clear(a->mag_bits, (uint64_t)(m - a->mags));
}

/* Finds magazines whose returner was killed before it could say so. */
static void pool_resync(struct shmb_arena *a)
{
	uint32_t ready = mags_ready(a);
	for (uint32_t i = 0; i < ready; i++) {
		if (!hint_get(a->mag_bits, i) || atomic_load(&a->mags[i].holder))
			continue;
		hint_clear(a->mag_bits, i);
		if (atomic_load(&a->mags[i].holder))
			hint_set(a->mag_bits, i);
	}
}

/* ---- a thread's pair -------------------------------------------------------------- */

struct pair {
	struct mag_shm *loaded, *previous; /* NULL: none */
};

static struct pair pair_get(const struct tctx *t, unsigned class)
{
	uint64_t w = atomic_load_explicit(&t->shm->pairs[class], memory_order_relaxed);
	uint32_t loaded = pair_loaded(w), previous = pair_previous(w);
	struct mag_shm *mags = t->arena->mags;
	return (struct pair){.loaded = loaded ? &mags[loaded - 1] : NULL, .previous = previous ? &mags[previous - 1] : NULL};
}

/* Has the hot path use the loaded magazine; again, where an evictor gave up. */
static void pair_show(struct tctx *t, unsigned class, struct mag_shm *loaded)
{
	uint32_t hot = loaded ? number_of(t->arena, loaded) << MAG_SHIFT : 0;
	atomic_store_explicit(&t->shm->hot[class], hot, memory_order_relaxed);
}

/* Both at once. */
static void pair_store(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous)
{
	uint64_t w = pair_make(loaded ? number_of(t->arena, loaded) : 0, previous ? number_of(t->arena, previous) : 0);
	atomic_store_explicit(&t->shm->pairs[class], w, memory_order_release);
	pair_show(t, class, loaded);
}

/* The same where that lists what was in transit. */
static void pair_set(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous)
{
	pair_store(t, class, loaded, previous);
	atomic_store_explicit(&t->shm->transit, 0, memory_order_release);
}

/* May a magazine of the class list it: is it within a unit of small blocks, and said to be cached? */
static bool entry_checked(const struct shmb_arena *a, uint32_t grain, unsigned class)
{
	return page_fits(a, grain, class) && block_get(a->blocks, grain) == block_make(BLOCK_CACHED, class);
}

/*
 * The magazine as another process left it, or NULL where it cannot be one:
 * the region is data from strangers, and the hot path believes what it finds.
 */
static struct mag_shm *magazine_checked(const struct shmb_arena *a, uint32_t number, unsigned class)
{
	if (!number || number > mags_ready(a))
		return NULL;
	struct mag_shm *m = &a->mags[number - 1];
	uint32_t n = atomic_load_explicit(&m->count, memory_order_acquire); /* who set it wrote the rest first */
	if (m->class != class || m->rounds != class_rounds(class) || n == 0 || n > m->rounds)
		return NULL;
	for (uint32_t i = 0; i < n; i++)
		if (!entry_checked(a, m->entries[i], class))
			return NULL;
	return m;
}

/* ---- depot ------------------------------------------------------------------------ */

bool depot_lock(struct shmb_arena *a, unsigned class)
{
	_Atomic holder_t *lock = &a->depots[class].lock;
	holder_t h = atomic_load(&a->holder);
	for (unsigned i = 0; i < DEPOT_TRIES; i++) {
		holder_t nobody = 0;
		if (atomic_compare_exchange_strong(lock, &nobody, h ? h : a->recover_as)) {
			rank_enter(RANK_DEPOT);
			return true;
		}
		cpu_relax();
	}
	return false;
}

void depot_unlock(struct shmb_arena *a, unsigned class)
{
	atomic_store(&a->depots[class].lock, 0);
	rank_leave(RANK_DEPOT);
}

static uint32_t depot_limit(unsigned class)
{
	uint32_t n = DEPOT_BYTES / (class_size(class) * class_rounds(class));
	return n > DEPOT_CELLS ? DEPOT_CELLS : n;
}

static uint32_t depot_count(const struct depot_shm *d)
{
	uint32_t n = atomic_load_explicit(&d->count, memory_order_relaxed);
	return n < DEPOT_CELLS ? n : DEPOT_CELLS;
}

bool depot_lists(const struct shmb_arena *a, unsigned class, uint32_t number)
{
	const struct depot_shm *d = &a->depots[class];
	for (uint32_t i = 0, n = depot_count(d); i < n; i++)
		if (atomic_load(&d->cells[i]) == number)
			return true;
	return false;
}

static bool depot_push(struct shmb_arena *a, struct mag_shm *m, uint32_t limit)
{
	struct depot_shm *d = &a->depots[m->class];
	if (depot_count(d) >= limit || !depot_lock(a, m->class))
		return false;
	uint32_t n = depot_count(d);
	if (n < limit) {
		atomic_store(&d->cells[n], number_of(a, m));
		atomic_store(&d->count, n + 1);
		atomic_store_explicit(&d->used_ms, (uint32_t)sys_coarse_ms(), memory_order_relaxed);
	}
	depot_unlock(a, m->class);
	return n < limit;
}

/* In a stranger's list it may be twice, and be this thread's already. */
static bool has_loaded(const struct tctx *t, unsigned class, uint32_t number)
{
	uint64_t w = atomic_load_explicit(&t->shm->pairs[class], memory_order_relaxed);
	return pair_loaded(w) == number || pair_previous(w) == number;
}

/*
 * A magazine with blocks, in transit and this thread's; NULL: none, or somebody
 * is at the depot. use: the depot is of use, not only in the way.
 */
static struct mag_shm *depot_pop(struct tctx *t, unsigned class, bool use)
{
	struct shmb_arena *a = t->arena;
	struct depot_shm *d = &a->depots[class];
	struct mag_shm *m = NULL;
	if (!depot_count(d) || !depot_lock(a, class))
		return NULL;
	uint32_t n = depot_count(d);
	if (n) {
		uint32_t number = atomic_load(&d->cells[n - 1]);
		m = has_loaded(t, class, number) ? NULL : magazine_checked(a, number, class);
		if (m) {
			atomic_store(&m->holder, mag_holder(t->number, t->hold));
			atomic_store(&t->shm->transit, number);
		}
		atomic_store(&d->count, n - 1);
		if (use)
			atomic_store_explicit(&d->used_ms, (uint32_t)sys_coarse_ms(), memory_order_relaxed);
	}
	depot_unlock(a, class);
	return m;
}

/* ---- inbox and backlog --------------------------------------------------------------- */

/* Sends it to whose hold `to` is; false: it is nobody's any more, or there is no room. */
static bool inbox_post(struct shmb_arena *a, holder_t to, struct mag_shm *m)
{
	if (!(to & HOLD) || !holder_current(a, to))
		return false;
	struct slot_shm *s = &a->slots[holder_slot(to)];
	for (unsigned i = 0; i < INBOX_CELLS; i++) {
		uint32_t empty = 0;
		if (atomic_compare_exchange_strong(&s->inbox[i], &empty, cell_make(number_of(a, m), to)))
			return true;
	}
	return false;
}

/* The magazine of a cell, in transit; NULL: not ours to have, or not what is asked for. */
static struct mag_shm *cell_receive(struct tctx *t, _Atomic uint32_t *at, int class)
{
	struct shmb_arena *a = t->arena;
	uint32_t cell = atomic_load_explicit(at, memory_order_acquire), number = cell_number(cell);
	if (!number || number > MAGS || !cell_meant_for(cell, t->hold))
		return NULL;
	struct mag_shm *m = magazine_checked(a, number, class >= 0 ? (unsigned)class : a->mags[number - 1].class);
	if (!m || (holder_t)atomic_load(&m->holder) == t->hold) /* the latter: in a stranger's list twice */
		return NULL;
	atomic_store(&t->shm->transit, number);
	atomic_store(&m->holder, mag_holder(t->number, t->hold));
	atomic_store(at, 0);
	return m;
}

static bool inbox_empty(const struct slot_shm *s)
{
	uint32_t any = 0;
	for (unsigned i = 0; i < INBOX_CELLS; i++)
		any |= atomic_load_explicit(&s->inbox[i], memory_order_relaxed);
	return !any;
}

/*
 * A magazine that was sent to this process, in transit; class < 0: of any class.
 * One thread at a time: another might have received what a cell said a moment
 * ago, and have passed it on to a third. Nobody waits.
 */
static struct mag_shm *inbox_receive(struct tctx *t, int class)
{
	struct shmb_arena *a = t->arena;
	struct slot_shm *s = &a->slots[holder_slot(t->hold)];
	struct mag_shm *m = NULL;
	if (inbox_empty(s) || atomic_exchange(&a->receiving, true))
		return NULL;
	for (unsigned i = 0; i < INBOX_CELLS && !m; i++)
		m = cell_receive(t, &s->inbox[i], class);
	atomic_store(&a->receiving, false);
	return m;
}

static uint32_t bytes_of(const struct mag_shm *m)
{
	return class_size(m->class) * m->rounds;
}

static void backlog_push(struct tctx *t, struct mag_shm *m)
{
	m->next = atomic_load(&t->shm->backlog);
	atomic_store(&t->shm->backlog, number_of(t->arena, m));
	t->backlog_bytes += bytes_of(m);
}

/* Into transit; NULL: there is none. One that a stranger's list had twice may be in a ring: it ends once it was given on. */
static struct mag_shm *backlog_pop(struct tctx *t)
{
	uint32_t n = atomic_load(&t->shm->backlog);
	if (!n)
		return NULL;
	struct mag_shm *m = &t->arena->mags[n - 1];
	if (unlikely(atomic_load_explicit(&m->holder, memory_order_relaxed) != mag_holder(t->number, t->hold))) {
		atomic_store(&t->shm->backlog, 0);
		t->backlog_bytes = 0;
		return NULL;
	}
	atomic_store(&t->shm->transit, n);
	atomic_store(&t->shm->backlog, m->next);
	t->backlog_bytes -= bytes_of(m);
	return m;
}

/*
 * Where the depot has no room a thread keeps some of what it frees, in its
 * backlog, since it may well allocate as much again. Blocks of others' units
 * are not for it to keep.
 */
static bool stock_push(struct tctx *t, struct mag_shm *m)
{
	struct shmb_arena *a = t->arena;
	uint64_t unit = m->entries[count_of(m) - 1] / GRAINS_PER_UNIT;
	if (t->backlog_bytes + bytes_of(m) > a->stock_bytes || !page_unit_mine(a, unit, span_get(a, unit)))
		return false;
	backlog_push(t, m);
	return true;
}

/* What was put there last, if it is of the class. */
static struct mag_shm *stock_pop(struct tctx *t, unsigned class)
{
	uint32_t n = atomic_load_explicit(&t->shm->backlog, memory_order_relaxed);
	return n && t->arena->mags[n - 1].class == class ? backlog_pop(t) : NULL;
}

/* ---- emptying ------------------------------------------------------------------------- */

/* Gives the blocks at the top that nobody living else owns back, down to `keep`; true: it got there. */
static bool flush_down(struct shmb_arena *a, struct mag_shm *m, uint32_t keep)
{
	for (uint32_t n = count_of(m); n > keep; n--) {
		uint32_t grain = m->entries[n - 1];
		uint64_t unit = grain / GRAINS_PER_UNIT;
		span_t w = span_get(a, unit);
		if (block_get(a->blocks, grain) != block_make(BLOCK_CACHED, m->class)) {
			count_set(m, n - 1); /* a stranger listed it twice: it is no longer this one's to free */
			continue;
		}
		bool mine = page_unit_mine(a, unit, w);
		if (!mine && !orphan_adopt(a, unit, w))
			return false;
		block_set(a->blocks, grain, block_make(BLOCK_NONE, 0));
		count_set(m, n - 1);
		if (mine)
			engine_free(a, grain);
		else
			orphan_leave(a, unit, w);
	}
	return true;
}

/*
 * Finds another place for a magazine that is in the thread's transit: the depot
 * of its class, within the limit; else magazine_send(). False: it is empty now.
 */
static bool magazine_send(struct tctx *t, struct mag_shm *m)
{
	struct shmb_arena *a = t->arena;
	if (flush_down(a, m, 0))
		return false;
	holder_t to = span_holder(span_get(a, m->entries[count_of(m) - 1] / GRAINS_PER_UNIT));
	if (to != t->hold && inbox_post(a, to, m))
		return true;
	if (!depot_push(a, m, DEPOT_CELLS))
		backlog_push(t, m);
	return true;
}

static bool magazine_give(struct tctx *t, struct mag_shm *m)
{
	return depot_push(t->arena, m, depot_limit(m->class)) || magazine_send(t, m);
}

/* ---- refill and spill --------------------------------------------------------------------- */

/* A magazine with blocks of the class that is there for the taking, in transit. */
static struct mag_shm *find_full(struct tctx *t, unsigned class)
{
	struct mag_shm *m = inbox_receive(t, (int)class);
	if (!m)
		m = stock_pop(t, class);
	return m ? m : depot_pop(t, class, true);
}

/* Adds blocks to the thread's loaded magazine: orphaned ones first, then new ones. */
static bool fill(struct tctx *t, struct mag_shm *m, unsigned class)
{
	struct shmb_arena *a = t->arena;
	uint32_t n = count_of(m), want = t->batch[class];
	if (want > m->rounds)
		want = m->rounds;
	if (orphan_pending(a) && orphan_collect(a, m, class))
		return true;
	for (uint32_t grain; n < want && engine_alloc(a, t->number, class, &grain); n++) {
		m->entries[n] = grain;
		count_set(m, n + 1);
		block_set(a->blocks, grain, block_make(BLOCK_CACHED, class));
	}
	t->batch[class] = (uint8_t)(want * 2 < MAG_ROUNDS ? want * 2 : MAG_ROUNDS);
	return n > 0;
}

/* A magazine with blocks becomes the loaded one; the previous one, which is empty, goes. */
static struct mag_shm *load_full(struct tctx *t, unsigned class, struct pair p, struct mag_shm *full)
{
	atomic_store(&t->shm->discard, p.previous ? number_of(t->arena, p.previous) : 0);
	pair_set(t, class, full, p.loaded);
	if (p.previous)
		pool_return(t->arena, p.previous);
	atomic_store(&t->shm->discard, 0);
	return full;
}

/*
 * Takes what can be freed here out of a magazine in transit; the rest goes to
 * whose block is topmost then, or waits in the backlog.
 */
static void purge(struct tctx *t, struct mag_shm *m)
{
	struct shmb_arena *a = t->arena;
	if (flush_down(a, m, 0)) {
		pool_return(a, m);
	} else {
		holder_t to = span_holder(span_get(a, m->entries[count_of(m) - 1] / GRAINS_PER_UNIT));
		if (to == t->hold || !inbox_post(a, to, m))
			backlog_push(t, m);
	}
	atomic_store(&t->shm->transit, 0);
}

/*
 * Empties depots that nobody has put anything in or taken anything from for a
 * while: their blocks, few as they may be, keep whole units from being given
 * back. A few magazines at a time, by whoever comes by.
 */
static void depots_tidy(struct tctx *t)
{
	struct shmb_arena *a = t->arena;
	uint64_t now = sys_coarse_ms();
	unsigned most = TIDY_MAGS;
	if (now - atomic_load_explicit(&a->tidied_ms, memory_order_relaxed) < TIDY_MS)
		return;
	for (unsigned c = 0; c < CLASSES; c++) {
		const struct depot_shm *d = &a->depots[c];
		uint32_t idle = (uint32_t)now - atomic_load_explicit(&d->used_ms, memory_order_relaxed);
		struct mag_shm *m;
		for (; depot_count(d) && idle >= IDLE_MS && idle <= INT32_MAX && (m = depot_pop(t, c, false)); most--) {
			purge(t, m);
			if (most == 1)
				return;
		}
	}
	atomic_store_explicit(&a->tidied_ms, now, memory_order_relaxed);
}

struct mag_shm *magazine_refill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.loaded && count_of(p.loaded)) {
		pair_show(t, class, p.loaded);
		return p.loaded;
	}
	if (p.previous && count_of(p.previous)) {
		pair_set(t, class, p.previous, p.loaded);
		return p.previous;
	}
	depots_tidy(t);
	struct mag_shm *m = find_full(t, class);
	if (m)
		return load_full(t, class, p, m);
	if (!p.loaded) {
		p.loaded = pool_take(t, class);
		if (!p.loaded)
			return NULL;
		pair_set(t, class, p.loaded, p.previous);
	}
	return fill(t, p.loaded, class) ? p.loaded : NULL;
}

struct mag_shm *magazine_spill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.loaded && count_of(p.loaded) < p.loaded->rounds) {
		pair_show(t, class, p.loaded);
		return p.loaded;
	}
	if (p.previous && count_of(p.previous) < p.previous->rounds) {
		pair_set(t, class, p.previous, p.loaded);
		return p.previous;
	}
	depots_tidy(t);
	if (p.previous) {
		struct mag_shm *full = p.previous;
		atomic_store(&t->shm->transit, number_of(t->arena, full));
		pair_store(t, class, p.loaded, NULL);
		if (!depot_push(t->arena, full, depot_limit(class)) && !stock_push(t, full) && !magazine_send(t, full)) {
			pair_set(t, class, full, p.loaded); /* it was emptied: use it again */
			return full;
		}
		atomic_store(&t->shm->transit, 0);
	}
	struct mag_shm *empty = pool_take(t, class);
	if (!empty)
		return p.loaded && flush_down(t->arena, p.loaded, p.loaded->rounds / 2u) ? p.loaded : NULL;
	pair_set(t, class, empty, p.loaded);
	return empty;
}

/* Hands on one magazine that the thread's record lists no more but in transit. */
static void hand_on(struct tctx *t, struct mag_shm *m)
{
	if (!count_of(m) || !magazine_give(t, m))
		pool_return(t->arena, m);
	atomic_store(&t->shm->transit, 0);
}

static void flush_class(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.previous) {
		atomic_store(&t->shm->transit, number_of(t->arena, p.previous));
		pair_store(t, class, p.loaded, NULL);
		hand_on(t, p.previous);
	}
	if (p.loaded) {
		atomic_store(&t->shm->transit, number_of(t->arena, p.loaded));
		pair_store(t, class, NULL, NULL);
		hand_on(t, p.loaded);
	}
}

bool magazine_holds(const struct tctx *t)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		struct pair p = pair_get(t, c);
		if ((p.loaded && count_of(p.loaded)) || (p.previous && count_of(p.previous)))
			return true;
	}
	return false;
}

static void backlog_retry(struct tctx *t)
{
	for (struct mag_shm *m; (m = backlog_pop(t));) {
		hand_on(t, m);
		if (atomic_load(&t->shm->backlog) == number_of(t->arena, m))
			return; /* nobody wants it yet */
	}
}

bool magazine_flush_thread(struct tctx *t)
{
	for (unsigned c = 0; c < CLASSES; c++)
		flush_class(t, c);
	backlog_retry(t);
	return !atomic_load(&t->shm->backlog);
}

void magazine_reclaim(struct tctx *t)
{
	struct mag_shm *m;
	(void)magazine_flush_thread(t);
	while ((m = inbox_receive(t, -1)))
		purge(t, m);
	for (unsigned c = 0; c < CLASSES; c++)
		while ((m = depot_pop(t, c, false)))
			purge(t, m);
	backlog_retry(t); /* into the depots again, for anybody */
	pool_resync(t->arena);
}

static bool mag_has(const struct shmb_arena *a, uint32_t number, uint32_t grain)
{
	if (!number || number > mags_ready(a))
		return false;
	const struct mag_shm *m = &a->mags[number - 1];
	for (uint32_t i = 0, n = count_of(m); i < n && i < MAG_ROUNDS; i++)
		if (m->entries[i] == grain)
			return true;
	return false;
}

bool magazine_lists(const struct shmb_arena *a, holder_t h, uint32_t grain)
{
	uint32_t threads = threads_ready(a);
	for (unsigned i = 0; i < threads; i++) {
		const struct thread_shm *t = &a->threads[i];
		for (unsigned c = 0; atomic_load(&t->owner) == h && c < CLASSES; c++) {
			uint64_t pair = atomic_load(&t->pairs[c]);
			if (mag_has(a, pair_loaded(pair), grain) || mag_has(a, pair_previous(pair), grain))
				return true;
		}
	}
	return false;
}

/* Its blocks become strays: safe here, since only the recoverer can reach the magazine. */
static void strays_make(struct shmb_arena *a, struct mag_shm *m)
{
	for (uint32_t n = count_of(m); n > 0; n--) {
		/* cached but unlisted it would be lost for good; without a byte it is whoever's who adopts the unit */
		block_set(a->blocks, m->entries[n - 1], block_make(BLOCK_NONE, 0));
		count_set(m, n - 1);
		block_stray_as(a, m->entries[n - 1], m->class);
	}
	pool_return(a, m);
}

bool magazine_bequeath(struct shmb_arena *a, uint32_t number)
{
	struct mag_shm *m = &a->mags[number - 1];
	uint32_t n = count_of(m);
	bool possible = m->class < CLASSES && n <= class_rounds(m->class);
	for (uint32_t i = 0; i < n && possible; i++)
		possible = page_explains(a, m->entries[i], m->class) && /* the last byte may lag: its holder was killed */
		           (i == n - 1 || block_get(a->blocks, m->entries[i]) == block_make(BLOCK_CACHED, m->class));
	if (!possible)
		return false; /* not what any of us wrote: left for `check` to name */
	for (uint32_t i = 0; i < n; i++)
		block_set(a->blocks, m->entries[i], block_make(BLOCK_CACHED, m->class));
	if (!n)
		pool_return(a, m);
	else if (!depot_push(a, m, DEPOT_CELLS))
		strays_make(a, m);
	return true;
}
