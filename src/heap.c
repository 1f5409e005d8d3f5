/*
 * heap.c - shmb_malloc ... shmb_free.
 *
 * The hot path is malloc_hot() and free_hot(), and nothing they call: the
 * thread's record, the class's loaded magazine, the top entry, its byte of the
 * block map. No lock, no atomic read-modify-write, no system call. The order
 * of the stores is what a kill in between relies on (layout.h).
 *
 * While a thread is in there its record says so (context.h), so that a signal
 * handler that allocates goes round the magazines: it gets a unit of its own,
 * and what it frees becomes a stray. Neither takes a lock.
 */
#include "heap.h"

#include "box.h"
#include "canary.h"
#include "context.h"
#include "depot.h"
#include "engine.h"
#include "error.h"
#include "evict.h"
#include "harden.h"
#include "large.h"
#include "magazine.h"
#include "misuse.h"
#include "orphan.h"
#include "page.h"
#include "preload_api.h"
#include "probe.h"
#include "recover.h"
#include "shadow.h"
#include "span.h"
#include "sys.h"
#include "tally.h"
#include "window.h"

#include <errno.h>
#include <string.h>

enum { RETRY_NS = 10 * 1000 * 1000 };

enum { LIVE_0 = BLOCK_LIVE << BLOCK_STATE_SHIFT, CACHED_0 = BLOCK_CACHED << BLOCK_STATE_SHIFT };

#define hot_path inline __attribute__((always_inline))

/* The LIVE byte of the class for a size in grains, rounded up. */
#define STEPPED(c) [CLASS_STEPPED((c) - 1) / GRAIN + 1 ... CLASS_STEPPED(c) / GRAIN] = LIVE_0 | (c)
#define DOUBLING(c) STEPPED(c), STEPPED((c) + 1), STEPPED((c) + 2), STEPPED((c) + 3)
static const uint8_t class_table[] = {
	LIVE_0, LIVE_0, LIVE_0 | 1, LIVE_0 | 2, LIVE_0 | 3, LIVE_0 | 4, LIVE_0 | 5, LIVE_0 | 6, LIVE_0 | 7,
	[CLASS_LINEAR / GRAIN + 1 ... CLASS_STEPPED(8) / GRAIN] = LIVE_0 | 8, STEPPED(9), STEPPED(10), STEPPED(11),
	DOUBLING(12), DOUBLING(16), DOUBLING(20), DOUBLING(24), DOUBLING(28), DOUBLING(32), DOUBLING(36),
	STEPPED(40), STEPPED(41), STEPPED(42)};
static_assert(sizeof class_table == CLASS_MAX_SIZE / GRAIN + 1 && CLASSES == 43, "up to the last class");

static void *malloc_slow(struct shmb_arena *a, size_t size) __attribute__((noinline));
static void free_slow(struct shmb_arena *a, void *p) __attribute__((noinline));

/*
 * The loaded magazine of the class whose LIVE byte is given, as the hot path
 * sees it; or what stands for none, with neither blocks nor room.
 */
static inline struct mag_shm *loaded(const struct shmb_arena *a, const struct thread_shm *r, size_t live)
{
	enum { STEP = sizeof r->hot[0], FIRST = (int)offsetof(struct thread_shm, hot) - LIVE_0 * (int)STEP };
	const char *hot = (const char *)r + live * STEP + FIRST;
	return (struct mag_shm *)(a->no_mag + atomic_load_explicit((const _Atomic uint32_t *)hot, memory_order_relaxed));
}

/* Takes the top block; `n` are left. */
static hot_path size_t pop(struct mag_shm *m, uint32_t n, block_t *blocks, size_t live)
{
	size_t grain = m->entries[n];
	block_set(blocks, grain, (uint8_t)live);
	atomic_store_explicit(&m->count, n, memory_order_release);
	return grain;
}

static hot_path void push(struct mag_shm *m, uint32_t n, block_t *blocks, size_t grain, size_t live)
{
	m->entries[n] = (uint32_t)grain;
	atomic_store_explicit(&m->count, n + 1, memory_order_release);
	block_set(blocks, grain, (uint8_t)(live - (LIVE_0 - CACHED_0)));
}

static hot_path void *block_addr(const struct shmb_arena *a, size_t grain)
{
	return a->data + (grain << GRAIN_SHIFT);
}

/* A block of the class whose LIVE byte is given. False: the loaded magazine has none. */
static hot_path bool malloc_hot(struct shmb_arena *a, struct thread_shm *r, size_t live, void **p)
{
	context_mark(r, NULL);
	struct mag_shm *m = loaded(a, r, live);
	uint32_t n = mag_count(m) - 1;
	bool some = n < MAG_ROUNDS; /* also: what a stranger's writes left there leads nowhere else */
	if (likely(some))
		*p = block_addr(a, pop(m, n, a->blocks, live));
	context_mark(r, a);
	return some;
}

/*
 * The byte of a small live block, and its number; below LIVE_0: it is none.
 * The span word is looked at only where a large block can start: elsewhere a
 * byte that is not NONE means a small block.
 */
static hot_path size_t byte_of(const struct shmb_arena *a, const void *p, uint64_t *number)
{
	uint64_t off = (uint64_t)((const char *)p - a->data);
	uint64_t grain = *number = off >> GRAIN_SHIFT | off << (64 - GRAIN_SHIFT); /* misaligned: beyond any limit */
	if (unlikely(grain >= atomic_load_explicit(&a->limit, memory_order_relaxed)))
		return 0;
	if (unlikely(grain % (UNIT / GRAIN) == 0) &&
	    span_kind_of(atomic_load_explicit(&a->spans[grain / (UNIT / GRAIN)], memory_order_relaxed)) != SPAN_SMALL)
		return 0;
	return block_get(a->blocks, grain);
}

/* True: p was a live block of the arena and is in the loaded magazine now. */
static hot_path bool free_hot(struct shmb_arena *a, struct thread_shm *r, const void *p)
{
	uint64_t grain;
	size_t live = byte_of(a, p, &grain);
	if (unlikely(live < LIVE_0))
		return false;
	block_t *blocks = a->blocks;
	context_mark(r, NULL);
	struct mag_shm *m = loaded(a, r, live);
	uint32_t n = mag_count(m);
	bool room = n < m->rounds;
	if (likely(room)) {
		shadow_free(a, block_addr(a, grain), class_size((unsigned)live - LIVE_0), true);
		push(m, n, blocks, grain, live);
	}
	context_mark(r, a);
	return room;
}

void *shmb_malloc(shmb_arena *a, size_t size)
{
	struct thread_shm *r = context_get();
	if (likely(context_is_of(r, a)) && likely(size <= CLASS_MAX_SIZE)) {
		void *p;
		if (likely(malloc_hot(a, r, class_table[(size + (GRAIN - 1)) >> GRAIN_SHIFT], &p))) {
			shadow_issue(a, p, size);
			PROBE2(malloc, p, size);
			return p;
		}
	}
	return malloc_slow(a, size);
}

void shmb_free(shmb_arena *a, void *p)
{
	struct thread_shm *r = context_get();
	if (unlikely(!context_is_of(r, a)) || unlikely(!free_hot(a, r, p)))
		free_slow(a, p);
	else
		PROBE1(free, p);
}

/* ---- the shim's way in ------------------------------------------------------------- */

/* No arena: a handle that no record has. */
#define NOWHERE ((struct shmb_arena *)(uintptr_t)-5)

static struct shmb_arena *_Atomic placing = NOWHERE;
uint8_t heap_placed[sizeof class_table];

/* The LIVE byte of the class; less: it is not for the hot path. known: it is no request that the shim would pass on (preload_ask). */
static hot_path size_t placed_as(size_t size, bool known)
{
	size_t live = heap_placed[(size + (GRAIN - 1)) >> GRAIN_SHIFT];
	if (known && live)
		live |= LIVE_0;
	return live;
}

static hot_path bool place_hot(size_t size, bool known, void **p)
{
	if (unlikely(size > CLASS_MAX_SIZE))
		return false;
	size_t live = placed_as(size, known);
	struct shmb_arena *a = atomic_load_explicit(&placing, memory_order_relaxed);
	struct thread_shm *r = context_get();
	if (live < LIVE_0 || unlikely(!context_is_of(r, a)) || unlikely(!malloc_hot(a, r, live, p)))
		return false;
	shadow_issue(a, *p, size);
	r->hits[live - LIVE_0]++;
	PROBE2(malloc, *p, size);
	return true;
}

/*
 * An entry point itself, as free is preload_free(): the linker gives them
 * these names (Makefile). What that saves pays for the count of hits.
 */
void *preload_malloc(size_t size)
{
	void *p;
	return likely(place_hot(size, false, &p)) ? p : preload_malloc_otherwise(size, __builtin_return_address(0));
}

void *preload_malloc_for(size_t size, const void *caller)
{
	void *p;
	return likely(place_hot(size, true, &p)) ? p : preload_malloc_otherwise(size, caller);
}

void *preload_malloc_known(size_t size)
{
	void *p;
	return place_hot(size, true, &p) ? p : NULL;
}

void *preload_calloc(size_t bytes)
{
	void *p;
	return likely(place_hot(bytes, true, &p)) ? memset(p, 0, bytes) : NULL;
}

static __attribute__((noinline)) void preload_free_slow(void *p)
{
	struct shmb_arena *a = shmb_arena_of(p);
	if (!a)
		preload_free_otherwise(p);
	else if (!atomic_load_explicit(&a->absent, memory_order_relaxed))
		free_slow(a, p);
}

void preload_free(void *p)
{
	struct shmb_arena *a = atomic_load_explicit(&placing, memory_order_relaxed);
	struct thread_shm *r = context_get();
	if (likely(context_is_of(r, a)) && likely(free_hot(a, r, p)))
		PROBE1(free, p);
	else if (window_has(p))
		preload_free_slow(p);
	else
		preload_free_otherwise(p);
}

/* The byte of a small live block of the arena that is placed in; 0: it is none, or the thread is in the middle of a call. */
static hot_path size_t placed_live(const struct shmb_arena *a, const void *p)
{
	uint64_t grain;
	if (unlikely(!context_is_of(context_get(), a)))
		return 0;
	size_t live = byte_of(a, p, &grain);
	return likely(live >= LIVE_0) && likely(live < LIVE_0 + CLASSES) ? live : 0;
}

/* What may be used of such a block; 0: it may be none. */
size_t preload_usable(const void *p)
{
	struct shmb_arena *a = atomic_load_explicit(&placing, memory_order_relaxed);
	size_t live = placed_live(a, p);
	if (unlikely(!live) || unlikely(a->guard))
		return 0;
	size_t size = class_size((unsigned)live - LIVE_0);
	shadow_usable(a, p, size);
	return size;
}

/* As shmb_realloc(), by the same short ways: for such a block, to a size that is placed whoever asks. */
void *preload_resize(void *p, size_t size)
{
	void *q;
	if (size - 1 >= CLASS_MAX_SIZE)
		return NULL;
	size_t live = placed_as(size, true);
	struct shmb_arena *a = atomic_load_explicit(&placing, memory_order_relaxed);
	size_t had = live ? placed_live(a, p) : 0;
	if (!had)
		return NULL;
	size_t have = class_size((unsigned)had - LIVE_0);
	if (live < had && size > have / 2)
		return NULL; /* it is to stay, and may have the tag of another rule */
	if (live == had) {
		shadow_resize(a, p, have, have, size);
		context_get()->hits[live - LIVE_0]++;
		return p;
	}
	if (!place_hot(size, true, &q))
		return NULL;
	shadow_usable(a, p, have);
	memcpy(q, p, size < have ? size : have);
	shmb_free(a, p);
	return q;
}

void preload_place(shmb_arena *a)
{
	atomic_store(&placing, a ? a : NOWHERE);
}

/* ---- allocating, slowly ------------------------------------------------------------ */

/*
 * What is asked for. size: with what the end of a block takes; class: CLASSES
 * for a run of units; zero: it is to be zeros; where: NULL, or see heap_alloc_at().
 */
struct request {
	size_t size, align;
	unsigned class;
	bool zero;
	_Atomic uint64_t *where;
};

static size_t guarded(const struct shmb_arena *a, size_t size)
{
	return size < SIZE_MAX - a->guard ? size + a->guard : SIZE_MAX;
}

static void tell(const struct shmb_arena *a, const struct request *r, uint32_t grain)
{
	if (r->where)
		atomic_store(r->where, a->lay.data + ((uint64_t)grain << GRAIN_SHIFT));
}

/* A block straight from the engine, for whom no magazine will do. */
static void *issue_from_engine(struct shmb_arena *a, unsigned thread, const struct request *r)
{
	uint32_t grain;
	if (!engine_alloc(a, thread, r->class, r->align > PAGE ? r->align : 0, &grain))
		return NULL;
	if (a->guard) {
		canary_prepare(a, grain, r->class);
		canary_set(a, (uint64_t)grain << GRAIN_SHIFT, class_size(r->class), r->size - a->guard);
	}
	tell(a, r, grain);
	block_set(a->blocks, grain, block_make(BLOCK_LIVE, r->class));
	tally_enter(a, r->class, 1);
	return block_addr(a, grain);
}

static void *small_hardened(struct shmb_arena *a, struct tctx *t, const struct request *r)
{
	struct mag_shm *m = harden_refill(t, r->class);
	if (!m)
		return NULL;
	uint32_t i = harden_pick(t, m, !r->where); /* below the top there is a moment when it is neither listed nor live */
	uint32_t grain = m->entries[i];
	tell(a, r, grain);
	harden_issue(a, m, i, r->size - a->guard);
	return block_addr(a, grain);
}

static void *small_try(struct shmb_arena *a, const struct entered *e, const struct request *r)
{
	if (e->how != ENTRY_CONTEXT || r->align > PAGE)
		return issue_from_engine(a, e->how == ENTRY_CONTEXT ? e->context->number : NO_THREAD, r);
	if (a->guard)
		return small_hardened(a, e->context, r);
	struct mag_shm *m = magazine_refill(e->context, r->class);
	if (!m)
		return NULL;
	uint32_t n = mag_count(m) - 1;
	tell(a, r, m->entries[n]);
	return block_addr(a, pop(m, n, a->blocks, block_make(BLOCK_LIVE, r->class)));
}

static void *alloc_try(struct shmb_arena *a, const struct request *r, bool *zeroed)
{
	struct entered e = context_enter(a);
	void *p = NULL;
	*zeroed = r->zero;
	if (!atomic_load_explicit(&a->holder, memory_order_relaxed))
		; /* a forked child that gets no slot */
	else if (r->class == CLASSES || e.how == ENTRY_NESTED)
		p = large_take(a, r->size, r->align, zeroed, r->where);
	else
		p = small_try(a, &e, r), *zeroed = false;
	if (!p && e.how != ENTRY_NESTED && r->class < CLASSES && atomic_load(&a->holder)) /* jemalloc may have left the thread */
		p = large_take(a, r->size, r->align, zeroed, r->where);
	context_leave(&e);
	return p;
}

/* Makes room out of what nobody has any more; `idle`: and of what idle processes have and do not use. */
static void reclaim(struct shmb_arena *a, bool idle)
{
	struct entered e = context_enter(a);
	if (e.how == ENTRY_NESTED)
		return;
	if (atomic_load(&a->holder)) {
		recover_now(a);
		if (idle)
			evict_idle(a);
		if (e.how == ENTRY_CONTEXT)
			magazine_reclaim(e.context);
		engine_purge(a);
		page_trim(a);
		orphan_collect_all(a);
		span_resync(a);
		span_trim(a, 0);
	}
	context_leave(&e);
}

/* The cheap part of it: what the calling thread has freed since. False: nothing. */
static bool reclaim_own(struct shmb_arena *a)
{
	struct entered e = context_enter(a);
	bool some = e.how == ENTRY_CONTEXT && magazine_holds(e.context);
	if (some) {
		magazine_reclaim(e.context);
		page_trim(a);
	}
	context_leave(&e);
	return some;
}

/* After a shortage that reclaiming did not end, trying again is worth it only once something changed. */
static bool reclaim_worthwhile(struct shmb_arena *a)
{
	return atomic_load(&a->returns) != atomic_load(&a->shortage_returns) ||
	       sys_now_ns() - atomic_load(&a->shortage_ns) > RETRY_NS;
}

static void *alloc_refused(struct shmb_arena *a)
{
	atomic_store(&a->shortage_returns, atomic_load(&a->returns));
	atomic_store(&a->shortage_ns, sys_now_ns());
	atomic_fetch_add(&a->hdr->enomem, 1);
	errno = ENOMEM;
	return NULL;
}

static void *alloc(struct shmb_arena *a, const struct request *r, bool *zeroed)
{
	misuse_check_open("shmb_malloc", a);
	if (r->size > a->lay.units << UNIT_SHIFT || atomic_load(&a->retired)) {
		errno = ENOMEM;
		return NULL;
	}
	int saved = errno;
	void *p = alloc_try(a, r, zeroed);
	if (!p && reclaim_own(a))
		p = alloc_try(a, r, zeroed);
	for (unsigned idle = 0; !p && idle < 2 && reclaim_worthwhile(a); idle++) {
		reclaim(a, idle);
		p = alloc_try(a, r, zeroed);
	}
	errno = saved;
	if (!p)
		return alloc_refused(a);
	shadow_issue(a, p, r->size);
	PROBE2(malloc, p, r->size);
	return p;
}

static void *malloc_slow(struct shmb_arena *a, size_t size)
{
	bool zeroed;
	size_t need = guarded(a, size);
	struct request r = {.size = need, .align = GRAIN};
	r.class = need <= CLASS_MAX_SIZE ? class_of(need ? need : 1) : CLASSES;
	return alloc(a, &r, &zeroed);
}

void *shmb_calloc(shmb_arena *a, size_t n, size_t size)
{
	size_t bytes;
	bool zeroed = false;
	void *p;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	struct request large = {.size = guarded(a, bytes), .align = GRAIN, .class = CLASSES, .zero = true};
	if (bytes <= CLASS_MAX_SIZE)
		p = shmb_malloc(a, bytes);
	else
		p = alloc(a, &large, &zeroed);
	if (zeroed)
		shadow_usable(a, p, bytes);
	return p && !zeroed ? memset(p, 0, bytes) : p;
}

static struct request request_aligned(size_t align, size_t size)
{
	enum { ENGINE_PAGES_MIN = 4 * PAGE }; /* jemalloc aligns beyond a page from here up */
	size_t least = align <= PAGE ? (size ? size : 1) : size > ENGINE_PAGES_MIN ? size : ENGINE_PAGES_MIN;
	unsigned class = CLASSES;
	if (least <= CLASS_MAX_SIZE && align <= CLASS_MAX_SIZE)
		class = class_aligned(least, align <= PAGE ? align : PAGE);
	if (class < CLASSES && align > PAGE && class_size(class) < align)
		class = class_of(align);
	return (struct request){.size = size ? size : 1, .align = align, .class = class};
}

void *shmb_aligned_alloc(shmb_arena *a, size_t align, size_t size)
{
	bool zeroed;
	if (align == 0 || (align & (align - 1)) || align > SHMB_ALIGN_MAX) {
		errno = EINVAL;
		return NULL;
	}
	if (align <= GRAIN)
		return shmb_malloc(a, size);
	struct request r = request_aligned(align, guarded(a, size));
	return alloc(a, &r, &zeroed);
}

void *heap_alloc_at(struct shmb_arena *a, size_t size, size_t align, _Atomic uint64_t *where)
{
	bool zeroed;
	struct request r = request_aligned(align < GRAIN ? GRAIN : align, guarded(a, size));
	r.where = where;
	return alloc(a, &r, &zeroed);
}

/* ---- freeing, slowly ----------------------------------------------------------------- */

static void small_free(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	uint64_t unit = grain / (UNIT / GRAIN);
	struct entered e = context_enter(a);
	struct mag_shm *m = NULL;
	if (e.how == ENTRY_CONTEXT)
		m = a->guard ? harden_spill(e.context, class) : magazine_spill(e.context, class);
	if (m) {
		shadow_free(a, block_addr(a, grain), class_size(class), true);
		push(m, mag_count(m), a->blocks, grain, block_make(BLOCK_LIVE, class));
		if (mag_count(m) == 1 && !a->guard)
			magazine_aside(e.context, class);
	} else if (e.how != ENTRY_NESTED && page_unit_mine(a, unit, span_get(a, unit))) {
		tally_leave_one(a, grain, class);
		shadow_free(a, block_addr(a, grain), class_size(class), true);
		block_set(a->blocks, grain, block_make(BLOCK_NONE, 0));
		engine_free_many(a, &grain, 1);
	} else {
		tally_leave_one(a, grain, class);
		shadow_free(a, block_addr(a, grain), class_size(class), false);
		block_stray(a, grain);
	}
	context_leave(&e);
}

void heap_free_at(struct shmb_arena *a, void *p, _Atomic uint64_t *where)
{
	struct misuse_seen seen = misuse_check_live("shmb_free", a, p);
	int saved = errno;
	if (a->region->read_only)
		misuse_report("shmb_free", a, p, "attached read-only");
	bool retired = atomic_load(&a->retired);
	if (a->guard && !retired)
		canary_check("shmb_free", a, &seen);
	if (retired) {
		misuse_retire(a, &seen);
	} else if (seen.class == CLASSES) {
		struct entered e = context_enter(a); /* a forked child has no tenure before its first call */
		large_free(a, p, seen.word, where);
		context_leave(&e);
	} else {
		if (a->guard) /* while it is live still: what a magazine lists is JUNK */
			memset(p, JUNK, class_size(seen.class) - CANARY);
		small_free(a, (uint32_t)(seen.off >> GRAIN_SHIFT), seen.class);
	}
	if (where)
		atomic_store(where, 0);
	atomic_fetch_add_explicit(&a->returns, 1, memory_order_relaxed);
	errno = saved;
}

static void free_slow(struct shmb_arena *a, void *p)
{
	if (!p)
		return;
	PROBE1(free, p);
	heap_free_at(a, p, NULL);
}

/* ---- the rest -------------------------------------------------------------------------- */

/* What may be used of the block. */
static size_t usable(const char *what, const struct shmb_arena *a, const struct misuse_seen *s)
{
	return a->guard ? canary_size(what, a, s) : misuse_seen_size(s);
}

size_t shmb_usable_size(shmb_arena *a, const void *p)
{
	if (!p)
		return 0;
	struct misuse_seen seen = misuse_check_live("shmb_usable_size", a, p);
	shadow_usable(a, p, misuse_seen_size(&seen));
	return usable("shmb_usable_size", a, &seen);
}

/* A small one; shrinking by less than half is not worth a copy. */
static bool resize_small(struct shmb_arena *a, const struct misuse_seen *s, size_t size)
{
	size_t have = class_size(s->class);
	bool stays = size <= have && (size > have / 2 || class_of(size ? size : 1) == s->class);
	if (stays && a->guard) {
		canary_fill(a, s->off, have, size - a->guard);
		canary_set(a, s->off, have, size - a->guard);
	}
	if (stays)
		shadow_resize(a, a->data + s->off, have, have, size);
	return stays;
}

/* Can the block stay where it is at `size` bytes, with what its end takes? Changes its run of units if need be. */
static bool resize_in_place(struct shmb_arena *a, void *p, const struct misuse_seen *s, size_t size)
{
	if (s->class != CLASSES)
		return resize_small(a, s, size);
	if (size <= CLASS_MAX_SIZE || size > a->lay.units << UNIT_SHIFT)
		return false;
	struct entered e = context_enter(a);
	bool done = e.how != ENTRY_NESTED && atomic_load(&a->holder) && large_resize(a, p, s->word, size);
	context_leave(&e);
	return done;
}

void *shmb_realloc(shmb_arena *a, void *p, size_t size)
{
	if (!p)
		return shmb_malloc(a, size);
	struct misuse_seen seen = misuse_check_live("shmb_realloc", a, p);
	bool retired = atomic_load(&a->retired);
	if (a->guard && !retired)
		canary_check("shmb_realloc", a, &seen);
	if (!retired && resize_in_place(a, p, &seen, guarded(a, size)))
		return p;
	void *q = shmb_malloc(a, size);
	if (!q)
		return NULL;
	size_t have = usable("shmb_realloc", a, &seen);
	shadow_usable(a, p, misuse_seen_size(&seen));
	memcpy(q, p, have < size ? have : size);
	shmb_free(a, p);
	return q;
}

void shmb_trim(shmb_arena *a)
{
	int saved = errno;
	misuse_check_open("shmb_trim", a);
	if (!atomic_load(&a->retired)) {
		reclaim(a, true); /* finds the dead, whose boxes go next */
		if (box_reclaim(a))
			reclaim(a, false);
	}
	errno = saved;
}

int shmb_recover(shmb_arena *a)
{
	int saved = errno;
	unsigned n = 0;
	misuse_check_open("shmb_recover", a);
	if (atomic_load(&a->retired))
		return 0;
	struct entered e = context_enter(a);
	if (e.how == ENTRY_NESTED)
		return 0;
	if (atomic_load(&a->holder)) /* a forked child may get no slot */
		n = recover_now(a);
	context_leave(&e);
	errno = saved;
	return (int)n;
}

shmb_arena *shmb_arena_of(const void *p)
{
	return window_has(p) ? window_get(p) : NULL;
}
