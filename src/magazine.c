/*
 * magazine.c - thread caches before the depots (Bonwick and Adams,
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
 * Only the thread writes its record and its magazines; an inbox cell goes from 0 to
 * a number by compare-and-swap and back by its addressee, a thread at a time.
 * Every move lists the magazine at its new place before it leaves the old one;
 * layout.h says which place then counts.
 *
 * Bounds: a thread caches at most 2 * class_rounds() blocks of each class and
 * STOCK_BYTES of all; depots have their own limit, and are emptied when idle.
 */
#include "magazine.h"

#include "canary.h"
#include "depot.h"
#include "engine.h"
#include "error.h"
#include "orphan.h"
#include "page.h"
#include "shadow.h"
#include "slot.h"
#include "sys.h"
#include "tally.h"

enum { FIRST_BATCH = 4, CACHE_LINE = 64 };
enum { TIDY_MS = 100, IDLE_MS = 500, TIDY_MAGS = 32 };

void magazine_init(struct tctx *t)
{
	for (unsigned c = 0; c < CLASSES; c++)
		t->batch[c] = FIRST_BATCH;
	store(&t->shm->busy, 0);
	thread_close(t->shm); /* the record's last thread may have died */
	for (unsigned c = 0; c < CLASSES; c++) /* whoever gave it back saw to that; unless it was no process of ours */
		atomic_store_explicit(&t->shm->pairs[c], 0, memory_order_relaxed);
	store(&t->shm->backlog, 0);
	store(&t->shm->transit, 0);
	store(&t->shm->discard, 0);
}

/* ---- a thread's pair -------------------------------------------------------------- */

struct pair pair_get(const struct tctx *t, unsigned class)
{
	uint64_t w = atomic_load_explicit(&t->shm->pairs[class], memory_order_relaxed);
	uint32_t loaded = pair_loaded(w), previous = pair_previous(w);
	struct mag_shm *mags = t->arena->mags;
	return (struct pair){.loaded = loaded ? &mags[loaded - 1] : NULL, .previous = previous ? &mags[previous - 1] : NULL};
}

/*
 * Has the hot path use the loaded magazine; again, where an evictor gave up.
 * Not where the rules have changed and the process has not taken note: looked
 * at after the store, which the barrier of who changes them waits for (rules.c).
 */
static void pair_show(struct tctx *t, unsigned class, struct mag_shm *loaded)
{
	const struct shmb_arena *a = t->arena;
	uint32_t hot = loaded && !a->guard ? mag_number(a, loaded) << MAG_SHIFT : 0;
	atomic_store_explicit(&t->shm->hot[class], hot, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
	uint32_t follows = atomic_load_explicit(&a->rules_followed, memory_order_relaxed);
	if (unlikely(follows) && unlikely(atomic_load_explicit(&a->hdr->rules_gen, memory_order_relaxed) != follows))
		atomic_store_explicit(&t->shm->hot[class], 0, memory_order_relaxed);
}

/* Both at once. */
void pair_store(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous)
{
	uint64_t w = pair_make(loaded ? mag_number(t->arena, loaded) : 0, previous ? mag_number(t->arena, previous) : 0);
	atomic_store_explicit(&t->shm->pairs[class], w, memory_order_release);
	pair_show(t, class, loaded);
}

/* The same where that lists what was in transit. */
void pair_set(struct tctx *t, unsigned class, struct mag_shm *loaded, struct mag_shm *previous)
{
	pair_store(t, class, loaded, previous);
	atomic_store_explicit(&t->shm->transit, 0, memory_order_release);
}

/* ---- inbox and backlog --------------------------------------------------------------- */

/* Sends it to whose hold `to` is; false: it is nobody's any more, or there is no room. */
static bool inbox_post(struct shmb_arena *a, holder_t to, struct mag_shm *m)
{
	if (!(to & HOLD) || !holder_current(a, to))
		return false;
	shadow_give(a, m);
	struct slot_shm *s = &a->slots[holder_slot(to)];
	for (unsigned i = 0; i < INBOX_CELLS; i++) {
		uint32_t empty = 0;
		if (atomic_compare_exchange_strong(&s->inbox[i], &empty, cell_make(mag_number(a, m), to)))
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
	struct mag_shm *m = mag_checked(a, number, class >= 0 ? (unsigned)class : a->mags[number - 1].class);
	if (!m || (holder_t)atomic_load(&m->holder) == t->hold) /* the latter: in a stranger's list twice */
		return NULL;
	store(&t->shm->transit, number);
	store(&m->holder, mag_holder(t->number, t->hold));
	store(at, 0);
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
	store(&a->receiving, false);
	return m;
}

uint32_t magazine_bytes(const struct mag_shm *m)
{
	return class_size(m->class) * m->rounds;
}

void magazine_stock(struct tctx *t, struct mag_shm *m)
{
	m->next = atomic_load(&t->shm->backlog);
	store(&t->shm->backlog, mag_number(t->arena, m));
	t->backlog_bytes += magazine_bytes(m);
}

/* Into transit; NULL: there is none. One that a stranger's list had twice may be in a ring: it ends once it was given on. */
static struct mag_shm *backlog_pop(struct tctx *t)
{
	uint32_t n = atomic_load(&t->shm->backlog);
	if (!n)
		return NULL;
	struct mag_shm *m = &t->arena->mags[n - 1];
	if (unlikely(atomic_load_explicit(&m->holder, memory_order_relaxed) != mag_holder(t->number, t->hold))) {
		store(&t->shm->backlog, 0);
		t->backlog_bytes = 0;
		return NULL;
	}
	store(&t->shm->transit, n);
	store(&t->shm->backlog, m->next);
	t->backlog_bytes -= magazine_bytes(m);
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
	uint64_t unit = m->entries[mag_count(m) - 1] / GRAINS_PER_UNIT;
	if (t->backlog_bytes + magazine_bytes(m) > a->stock_bytes || !page_unit_mine(a, unit, span_get(a, unit)))
		return false;
	magazine_stock(t, m);
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
static bool flush_down(struct tctx *t, struct mag_shm *m, uint32_t keep)
{
	struct shmb_arena *a = t->arena;
	uint32_t own[MAG_ROUNDS], owned = 0, n = mag_count(m);
	for (; n > keep; n--) {
		uint32_t grain = m->entries[n - 1];
		uint64_t unit = grain / GRAINS_PER_UNIT;
		span_t w = span_get(a, unit);
		if (block_get(a->blocks, grain) != block_make(BLOCK_CACHED, m->class)) {
			mag_count_set(m, n - 1); /* a stranger listed it twice: it is no longer this one's to free */
			continue;
		}
		bool mine = page_unit_mine(a, unit, w);
		if (!mine)
			shadow_leave(a, a->data + ((uint64_t)grain << GRAIN_SHIFT), class_size(m->class));
		if (!mine && !orphan_adopt(a, unit, w))
			break;
		block_set(a->blocks, grain, block_make(BLOCK_NONE, 0));
		mag_count_set(m, n - 1);
		if (mine)
			own[owned++] = grain;
		else
			orphan_leave(a, unit, w);
	}
	engine_free_many(a, own, owned);
	return n <= keep;
}

/* To the other process whose unit its topmost block is in; false: it is this one's, or takes none now. */
static bool post_home(struct tctx *t, struct mag_shm *m)
{
	holder_t to = span_holder(span_get(t->arena, m->entries[mag_count(m) - 1] / GRAINS_PER_UNIT));
	return to != t->hold && inbox_post(t->arena, to, m);
}

/*
 * Finds another place for a magazine that is in the thread's transit: the depot
 * of its class, within the limit; else magazine_send(). False: it is empty now.
 */
static bool magazine_send(struct tctx *t, struct mag_shm *m)
{
	struct shmb_arena *a = t->arena;
	if (flush_down(t, m, 0))
		return false;
	if (post_home(t, m))
		return true;
	if (!depot_push(a, m, DEPOT_CELLS))
		magazine_stock(t, m);
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
	if (!m && !t->arena->guard)
		m = stock_pop(t, class);
	if (!m)
		m = depot_pop(t, class, true);
	if (m)
		shadow_take(t->arena, m);
	return m;
}

/* Adds blocks to the thread's loaded magazine: orphaned ones first, then new ones. */
static bool fill(struct tctx *t, struct mag_shm *m, unsigned class)
{
	struct shmb_arena *a = t->arena;
	uint32_t had = mag_count(m), n = had, want = t->batch[class];
	if (want > m->rounds)
		want = m->rounds;
	if (orphan_pending(a) && orphan_collect(a, m, class)) {
		shadow_take(a, m);
		tally_enter(a, class, mag_count(m) - had);
		return true;
	}
	uint32_t grains[MAG_ROUNDS];
	unsigned got = n < want ? engine_alloc_many(a, t->number, class, want - n, grains) : 0;
	while (got--) { /* the lowest address is the first to be issued */
		if (a->guard)
			canary_prepare(a, grains[got], class);
		m->entries[n] = grains[got];
		mag_count_set(m, ++n);
		block_set(a->blocks, grains[got], block_make(BLOCK_CACHED, class));
	}
	tally_enter(a, class, n - had);
	shadow_take(a, m);
	t->batch[class] = (uint8_t)(want * 2 < MAG_ROUNDS ? want * 2 : MAG_ROUNDS);
	return n > 0;
}

/*
 * Takes what can be freed here out of a magazine in transit; the rest goes to
 * whose block is topmost then, or waits in the backlog.
 */
static void purge(struct tctx *t, struct mag_shm *m)
{
	if (flush_down(t, m, 0)) {
		pool_give_back(t, m);
	} else if (!post_home(t, m)) {
		magazine_stock(t, m);
	}
	store(&t->shm->transit, 0);
}

/*
 * Empties depots that nobody has put anything in or taken anything from for a
 * while: their blocks, few as they may be, keep whole units from being given
 * back. A few magazines at a time, by whoever comes by.
 */
void magazine_tidy(struct tctx *t)
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

/* A magazine with blocks becomes the loaded one beside `stays`; `goes`, which is empty, is given back. */
static struct mag_shm *load_full(struct tctx *t, unsigned class, struct mag_shm *full, struct mag_shm *stays,
                                 struct mag_shm *goes)
{
	store(&t->shm->discard, goes ? mag_number(t->arena, goes) : 0);
	pair_set(t, class, full, stays);
	if (goes)
		pool_give_back(t, goes);
	store(&t->shm->discard, 0);
	return full;
}

struct mag_shm *magazine_load(struct tctx *t, unsigned class, struct mag_shm *stays, struct mag_shm *goes)
{
	struct pair p = pair_get(t, class);
	magazine_tidy(t);
	struct mag_shm *m = find_full(t, class);
	if (m) {
		tally_enter(t->arena, class, mag_count(m));
		return load_full(t, class, m, stays, goes);
	}
	if (!p.loaded) {
		p.loaded = pool_take(t, class);
		if (!p.loaded)
			return NULL;
		pair_set(t, class, p.loaded, p.previous);
	}
	return fill(t, p.loaded, class) ? p.loaded : NULL;
}

struct mag_shm *magazine_refill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.loaded && mag_count(p.loaded)) {
		pair_show(t, class, p.loaded);
		return p.loaded;
	}
	if (p.previous && mag_count(p.previous)) {
		pair_set(t, class, p.previous, p.loaded);
		return p.previous;
	}
	return magazine_load(t, class, p.loaded, p.previous);
}

/* Of the loaded magazine, where no other is to be had. */
static bool flush_half(struct tctx *t, struct mag_shm *m)
{
	struct shmb_arena *a = t->arena;
	uint32_t n = mag_count(m);
	tally_untag(a, m);
	bool done = flush_down(t, m, m->rounds / 2u);
	tally_leave(a, m->class, n - mag_count(m));
	return done;
}

struct mag_shm *magazine_spill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.loaded && mag_count(p.loaded) < p.loaded->rounds) {
		pair_show(t, class, p.loaded);
		return p.loaded;
	}
	if (p.previous && mag_count(p.previous) < p.previous->rounds) {
		pair_set(t, class, p.previous, p.loaded);
		return p.previous;
	}
	magazine_tidy(t);
	if (p.previous) {
		struct mag_shm *full = p.previous;
		uint32_t n = mag_count(full);
		store(&t->shm->transit, mag_number(t->arena, full));
		pair_store(t, class, p.loaded, NULL);
		tally_untag(t->arena, full);
		bool given = depot_push(t->arena, full, depot_limit(class)) || stock_push(t, full) || magazine_send(t, full);
		tally_leave(t->arena, class, n);
		if (!given) {
			pair_set(t, class, full, p.loaded); /* it was emptied: use it again */
			return full;
		}
		store(&t->shm->transit, 0);
	}
	struct mag_shm *empty = pool_take(t, class);
	if (!empty)
		return p.loaded && flush_half(t, p.loaded) ? p.loaded : NULL;
	pair_set(t, class, empty, p.loaded);
	return empty;
}

/* What comes out of the thread's quarantine, and that may be the last look at it. */
static void verify_free(struct shmb_arena *a, const struct mag_shm *m)
{
	for (uint32_t i = 0; a->guard && i < mag_count(m); i++)
		canary_check_free("shmb_free", a, m->entries[i], m->class);
}

/*
 * What a thread frees before it has allocated any is most likely another's, and
 * lies beside blocks that others write to. Where blocks share a cache line it
 * would be slow from then on to have it issued again and again, so it waits in
 * the previous magazine behind some of the thread's own.
 */
void magazine_aside(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (class_size(class) >= CACHE_LINE || p.previous || !p.loaded || mag_count(p.loaded) != 1)
		return;
	struct mag_shm *own = pool_take(t, class);
	if (!own)
		return;
	pair_set(t, class, own, p.loaded);
	(void)fill(t, own, class);
}

/* Hands on one magazine that the thread's record lists no more but in transit. */
void magazine_hand_on(struct tctx *t, struct mag_shm *m)
{
	verify_free(t->arena, m);
	if (!mag_count(m) || !magazine_give(t, m))
		pool_give_back(t, m);
	store(&t->shm->transit, 0);
}

/* One of the pair; the other is `stays`. */
static void flush_one(struct tctx *t, unsigned class, struct mag_shm *m, struct mag_shm *stays)
{
	uint32_t n = mag_count(m);
	store(&t->shm->transit, mag_number(t->arena, m));
	pair_store(t, class, stays, NULL);
	tally_untag(t->arena, m);
	magazine_hand_on(t, m);
	tally_leave(t->arena, class, n);
}

static void flush_class(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.previous)
		flush_one(t, class, p.previous, p.loaded);
	if (p.loaded)
		flush_one(t, class, p.loaded, NULL);
}

bool magazine_holds(const struct tctx *t)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		struct pair p = pair_get(t, c);
		if ((p.loaded && mag_count(p.loaded)) || (p.previous && mag_count(p.previous)))
			return true;
	}
	return t->arena->guard && atomic_load(&t->shm->backlog);
}

static void backlog_retry(struct tctx *t)
{
	for (struct mag_shm *m; (m = backlog_pop(t));) {
		magazine_hand_on(t, m);
		if (atomic_load(&t->shm->backlog) == mag_number(t->arena, m))
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

/* Its blocks become strays: safe here, since only the recoverer can reach the magazine. */
static void strays_make(struct shmb_arena *a, struct mag_shm *m)
{
	for (uint32_t n = mag_count(m); n > 0; n--) {
		/* cached but unlisted it would be lost for good; without a byte it is whoever's who adopts the unit */
		block_set(a->blocks, m->entries[n - 1], block_make(BLOCK_NONE, 0));
		mag_count_set(m, n - 1);
		block_stray_as(a, m->entries[n - 1], m->class);
	}
	pool_return(a, m);
}

bool magazine_bequeath(struct shmb_arena *a, uint32_t number)
{
	struct mag_shm *m = &a->mags[number - 1];
	uint32_t n = mag_count(m);
	bool possible = m->class < CLASSES && n <= class_rounds(m->class);
	unsigned lag = 0; /* the last byte's may: its holder was killed; in a hardened region one other's */
	for (uint32_t i = 0; i < n && possible; i++) {
		bool cached = block_get(a->blocks, m->entries[i]) == block_make(BLOCK_CACHED, m->class);
		possible = page_explains(a, m->entries[i], m->class) && (cached || i == n - 1 || (a->guard && !lag));
		lag += !cached;
	}
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
