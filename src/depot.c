/*
 * depot.c - where magazines are that no thread has: the empty ones in a pool,
 * full ones of each class in its depot.
 *
 * The pool's truth is a magazine's holder word, taken by compare-and-swap; the
 * depot's cells are under a lock that is tried, never waited for, and taken
 * over from the dead. A magazine is listed where it goes before it leaves where
 * it was; layout.h says which place then counts.
 */
#include "depot.h"

#include "error.h"
#include "lock.h"
#include "page.h"
#include "shadow.h"
#include "slot.h"
#include "sys.h"

enum { DEPOT_BYTES = 512 * 1024, DEPOT_BYTES_SMALL = 64 * 1024, SMALL = 1024, DEPOT_TRIES = 64, NEAR = 8 };

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

/* One that seems to be nobody's, from `from` on and then from the first; MAGS: there is none. */
static uint32_t pool_find(struct shmb_arena *a, uint32_t from)
{
	for (;;) {
		uint32_t ready = mags_ready(a), i;
		if (from > ready)
			from = 0;
		if ((i = (uint32_t)hint_find(a->mag_bits, from, ready, false)) < ready)
			return i;
		if ((i = (uint32_t)hint_find(a->mag_bits, 0, from, false)) < from)
			return i;
		if (!pool_commit(a, ready))
			return MAGS;
		from = ready;
	}
}

struct mag_shm *pool_take(struct tctx *t, unsigned class)
{
	struct shmb_arena *a = t->arena;
	for (uint32_t i = t->pool_at;;) {
		i = pool_find(a, i);
		if (i >= MAGS) {
			store(&t->shm->transit, 0);
			return NULL;
		}
		struct mag_shm *m = &a->mags[i];
		uint64_t nobody = 0;
		store(&t->shm->transit, i + 1);
		if (atomic_compare_exchange_strong(&m->holder, &nobody, mag_holder(t->number, t->hold))) {
			hint_set(a->mag_bits, i);
			mag_count_set(m, 0); /* as it is, in any region that was not tampered with */
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

void pool_return(struct shmb_arena *a, struct mag_shm *m)
{
	if (mag_count(m)) /* listed where it should not be, it got blocks meanwhile */
		return;
	store(&m->holder, 0);
	hint_clear(a->mag_bits, (uint64_t)(m - a->mags));
}

void pool_give_back(struct tctx *t, struct mag_shm *m)
{
	t->pool_at = mag_number(t->arena, m) - 1;
	pool_return(t->arena, m);
}

void pool_resync(struct shmb_arena *a)
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

/* May a magazine of the class list it: is it within a unit of small blocks, and said to be cached? */
static bool entry_checked(const struct shmb_arena *a, uint32_t grain, unsigned class)
{
	return page_fits(a, grain, class) && block_get(a->blocks, grain) == block_make(BLOCK_CACHED, class);
}

struct mag_shm *mag_checked(const struct shmb_arena *a, uint32_t number, unsigned class)
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
	store(&a->depots[class].lock, 0);
	rank_leave(RANK_DEPOT);
}

/*
 * Magazines hold blocks in the order in which they were freed, and a program
 * that gets small ones in that order again reads lines all over the place;
 * jemalloc has the lowest address first. So of these only few go round it.
 */
uint32_t depot_limit(unsigned class)
{
	uint32_t bytes = class_size(class) < SMALL ? DEPOT_BYTES_SMALL : DEPOT_BYTES;
	uint32_t n = bytes / (class_size(class) * class_rounds(class));
	return n > DEPOT_CELLS ? DEPOT_CELLS : n;
}

uint32_t depot_count(const struct depot_shm *d)
{
	uint32_t n = atomic_load_explicit(&d->count, memory_order_relaxed);
	return n < DEPOT_CELLS ? n : DEPOT_CELLS;
}

bool depot_lists(const struct shmb_arena *a, unsigned class, uint32_t number)
{
	const struct depot_shm *d = &a->depots[class];
	for (uint32_t i = 0, n = depot_count(d); i < n; i++)
		if (cell_number(atomic_load(&d->cells[i])) == number)
			return true;
	return false;
}

bool depot_push(struct shmb_arena *a, struct mag_shm *m, uint32_t limit)
{
	struct depot_shm *d = &a->depots[m->class];
	if (depot_count(d) >= limit || !depot_lock(a, m->class))
		return false;
	shadow_give(a, m);
	uint32_t n = depot_count(d);
	if (n < limit) {
		store(&d->cells[n], cell_make(mag_number(a, m), (uint32_t)(atomic_load(&m->holder) >> 32) + 1));
		store(&d->count, n + 1);
		atomic_store_explicit(&d->used_ms, (uint32_t)sys_coarse_ms(), memory_order_relaxed);
	}
	depot_unlock(a, m->class);
	return n < limit;
}

static bool thread_gone(const struct shmb_arena *a, uint32_t thread)
{
	return thread >= threads_ready(a) || !atomic_load_explicit(&a->threads[thread].owner, memory_order_relaxed);
}

/* May the blocks of a cell's magazine, which nobody has verified yet, be in a unit of another process that lives? */
static bool cell_is_foreign(const struct tctx *t, uint32_t cell)
{
	const struct shmb_arena *a = t->arena;
	uint32_t number = cell_number(cell);
	if (!number || number > mags_ready(a))
		return true;
	const struct mag_shm *m = &a->mags[number - 1];
	uint32_t n = mag_count(m);
	if (!n || n > MAG_ROUNDS)
		return true;
	uint64_t unit = m->entries[n - 1] / GRAINS_PER_UNIT;
	holder_t h = unit < units_ready(a) ? span_holder(span_get(a, unit)) : 0;
	return h != t->hold && holder_current(a, h);
}

/*
 * Which of `n` cells the thread takes, `n` for none: near the top, so that the
 * search is short, one that it has put there itself, or a thread of its process
 * that has gone; so has its process, maybe. Blocks that change threads make
 * them write to the same lines of the block map for as long as they live, and
 * those that change processes are not in any cache here. Of others' it takes
 * some only where there are many: their threads free more than they allocate.
 */
static uint32_t cell_choose(const struct tctx *t, const struct depot_shm *d, uint32_t n, unsigned class)
{
	uint32_t top = cell_number(atomic_load(&d->cells[n - 1])), limit = depot_limit(class), home = n;
	if (!top || top > mags_ready(t->arena))
		return n - 1; /* no number of ours: it goes */
	for (uint32_t i = n; i > 0 && n - i < NEAR; i--) {
		uint32_t cell = atomic_load(&d->cells[i - 1]), thread = cell_tag(cell) - 1;
		bool best = thread == t->number || thread_gone(t->arena, thread);
		bool wanted = best || (n > limit / 2 && home == n);
		if (!wanted || cell_is_foreign(t, cell))
			continue;
		if (best)
			return i - 1;
		home = i - 1;
	}
	return home < n || n < limit ? home : n - 1;
}

/* In a stranger's list it may be twice, and be this thread's already. */
static bool has_loaded(const struct tctx *t, unsigned class, uint32_t number)
{
	uint64_t w = atomic_load_explicit(&t->shm->pairs[class], memory_order_relaxed);
	return pair_loaded(w) == number || pair_previous(w) == number;
}

static void transit(struct tctx *t, struct mag_shm *m)
{
	store(&m->holder, mag_holder(t->number, t->hold));
	store(&t->shm->transit, mag_number(t->arena, m));
}

/* Takes the magazine of a cell below the top, whose own goes to its place: that is in `discard` meanwhile. */
static void take_below(struct tctx *t, struct depot_shm *d, uint32_t n, uint32_t i, struct mag_shm *m)
{
	uint32_t top = atomic_load(&d->cells[n - 1]), number = cell_number(top);
	store(&t->arena->mags[number - 1].holder, mag_holder(t->number, t->hold));
	store(&t->shm->discard, number);
	store(&d->count, n - 1);
	transit(t, m);
	store(&d->cells[i], top);
	store(&t->shm->discard, 0);
}

static void take_top(struct tctx *t, struct depot_shm *d, uint32_t n, struct mag_shm *m)
{
	if (m)
		transit(t, m);
	store(&d->count, n - 1);
}

struct mag_shm *depot_pop(struct tctx *t, unsigned class, bool use)
{
	struct shmb_arena *a = t->arena;
	struct depot_shm *d = &a->depots[class];
	struct mag_shm *m = NULL;
	if (!depot_count(d) || !depot_lock(a, class))
		return NULL;
	uint32_t n = depot_count(d), i = n && use ? cell_choose(t, d, n, class) : n - 1;
	if (n && i < n) {
		uint32_t number = cell_number(atomic_load(&d->cells[i]));
		m = has_loaded(t, class, number) ? NULL : mag_checked(a, number, class);
		if (m && i < n - 1)
			take_below(t, d, n, i, m);
		else if (i == n - 1)
			take_top(t, d, n, m);
		if (use)
			atomic_store_explicit(&d->used_ms, (uint32_t)sys_coarse_ms(), memory_order_relaxed);
	}
	depot_unlock(a, class);
	return m;
}
