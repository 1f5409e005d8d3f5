/*
 * test_magazine.c - thread caches and the depot: what each step lists, the
 * bytes of the block map with it, the limits, and that nothing is lost
 * between processes. The walker compares everything with everything.
 */
#include "tests_common.h"

#include "depot.h"
#include "engine.h"
#include "magazine.h"
#include "sys.h"

enum { SIZE = 64, C = SIZE / GRAIN - 1, ROUNDS = MAG_ROUNDS };

static uint8_t byte_of(const struct shmb_arena *a, const void *p)
{
	return block_get(a->blocks, (uint32_t)(((const char *)p - a->data) / GRAIN));
}

static void **take_many(shmb_arena *a, unsigned n, size_t size)
{
	void **p = calloc(n, sizeof *p);
	for (unsigned i = 0; i < n; i++)
		MUST((p[i] = shmb_malloc(a, size)), "no memory");
	return p;
}

static void free_many(shmb_arena *a, void **p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		shmb_free(a, p[i]);
	free(p);
}

static struct mag_shm *loaded_of(const struct tctx *t, unsigned class)
{
	return &t->arena->mags[pair_loaded(atomic_load(&t->shm->pairs[class])) - 1];
}

/* Everybody trims in turn, as long as that helps; then nothing may be left. */
static void all_comes_back(shmb_arena *const *a, unsigned n)
{
	for (unsigned round = 0; round <= MAG_ROUNDS; round++) /* a mixed magazine goes to and fro, one run a trim */
		for (unsigned i = 0; i < n; i++)
			shmb_trim(a[i]);
	struct walk w = walk_arena(a[0], true);
	ck_assert_msg(w.live == 0 && w.cached == 0 && w.stray == 0, "live %lu cached %lu stray %lu", w.live, w.cached, w.stray);
	ck_assert_msg(w.used == 0 && w.dirty == 0, "used %lu dirty %lu", w.used, w.dirty);
	ck_assert_uint_eq(w.mags, 0);
}

/* ---- one process ------------------------------------------------------------------ */

START_TEST(bytes_follow_the_block)
{
	shmb_arena *a = arena_new(16 * MIB);
	char *p = shmb_malloc(a, SIZE);
	ck_assert_uint_eq(byte_of(a, p), block_make(BLOCK_LIVE, C));
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.live, 1);
	ck_assert_uint_eq(w.paired, 1);
	shmb_free(a, p);
	ck_assert_uint_eq(byte_of(a, p), block_make(BLOCK_CACHED, C));
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.live, 0);
	ck_assert_ptr_eq(shmb_malloc(a, SIZE), p); /* last in, first out */
	ck_assert_uint_eq(byte_of(a, p), block_make(BLOCK_LIVE, C));
	shmb_free(a, p);
	shmb_trim(a);
	ck_assert_uint_eq(units_used(a), 0);
	ck_assert_int_eq(span_kind_of(span_get(a, 0)), SPAN_FREE);
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.mags + w.cached + w.used + w.dirty, 0);
	arena_done(a);
}
END_TEST

START_TEST(fills_start_small_and_grow)
{
	shmb_arena *a = arena_new(16 * MIB);
	struct tctx *t = context_of(a);
	uint64_t before = 0;
	for (unsigned i = 0; i < 6; i++) {
		ck_assert(magazine_refill(t, C));
		uint64_t got = atomic_load(&loaded_of(t, C)->count);
		ck_assert_uint_ge(got, before);
		ck_assert_uint_le(got, ROUNDS);
		before = got;
		ck_assert(magazine_refill(t, C)); /* not empty: no change */
		ck_assert_uint_eq(atomic_load(&loaded_of(t, C)->count), got);
		for (uint64_t k = 0; k < got; k++)
			(void)shmb_malloc(a, SIZE);
	}
	ck_assert_uint_eq(before, ROUNDS);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.cached, 0);
	ck_assert_uint_eq(w.mags, 1);
	arena_done(a);
}
END_TEST

START_TEST(a_pair_absorbs_ups_and_downs)
{
	shmb_arena *a = arena_new(16 * MIB);
	void **p = take_many(a, 2 * ROUNDS, SIZE);
	unsigned spare = (unsigned)walk_arena(a, true).cached;
	for (unsigned i = spare; i < 2 * ROUNDS; i++)
		shmb_free(a, p[i]);
	struct walk w = walk_arena(a, true); /* both magazines are full now */
	ck_assert_uint_eq(w.mags, 2);
	ck_assert_uint_eq(w.cached, 2 * ROUNDS);
	struct tctx *t = context_of(a);
	struct mag_shm *loaded = loaded_of(t, C);
	void **q = take_many(a, ROUNDS + 1, SIZE); /* one empty, swapped, the other begun */
	ck_assert_ptr_ne(loaded_of(t, C), loaded);
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.mags, 2);
	ck_assert_uint_eq(w.cached, ROUNDS - 1);
	free_many(a, q, ROUNDS + 1);
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.mags, 2);
	ck_assert_uint_eq(w.cached, 2 * ROUNDS);
	free_many(a, p, spare); /* one more is too many: a full one goes to the depot */
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.depot, spare ? 1 : 0);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

static unsigned depot_limit_of(unsigned class)
{
	unsigned bytes = class_size(class) < 1024 ? 64 * 1024 : 512 * 1024;
	unsigned n = bytes / (class_size(class) * class_rounds(class));
	return n < DEPOT_CELLS ? n : DEPOT_CELLS;
}

/* For each class: frees far more than the limits and looks at what is cached where. */
static void depot_bounded(shmb_arena *a, unsigned class)
{
	unsigned limit = depot_limit_of(class), rounds = class_rounds(class);
	unsigned n = (limit + 6) * rounds;
	a->stock_bytes = 0;
	uint64_t others = walk_arena(a, true).cached;
	free_many(a, take_many(a, n, class_size(class)), n);
	ck_assert_uint_le(atomic_load(&a->depots[class].count), limit);
	ck_assert_uint_ge(atomic_load(&a->depots[class].count) + 1, limit);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.live, 0);
	ck_assert_uint_le(w.cached, others + (limit + 2) * rounds); /* less: idle depots of others were emptied meanwhile */
	ck_assert_uint_eq(w.backlog + w.inbox, 0);
}

START_TEST(depots_keep_to_their_limit)
{
	shmb_arena *a = arena_new(256 * MIB);
	for (unsigned c = 0; c < CLASSES; c += 3)
		depot_bounded(a, c);
	depot_bounded(a, CLASSES - 1);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* What the depot has no room for stays with the thread, as much as it may, and is used first. */
START_TEST(a_thread_keeps_a_stock)
{
	shmb_arena *a = arena_new(64 * MIB);
	unsigned limit = depot_limit_of(C), rounds = class_rounds(C), bytes = rounds * class_size(C);
	a->stock_bytes = 3 * bytes;
	free_many(a, take_many(a, (limit + 9) * rounds, SIZE), (limit + 9) * rounds);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.depot, limit);
	ck_assert_uint_eq(w.backlog, 3);
	void **p = take_many(a, 3 * rounds, SIZE); /* the pair had two magazines of them at most */
	w = walk_arena(a, true);
	ck_assert_uint_ge(w.backlog, 1);
	ck_assert_uint_le(w.backlog, 2);
	ck_assert_uint_eq(w.depot, limit);
	void *other = shmb_malloc(a, 2 * SIZE); /* the stock has none of that class */
	ck_assert_uint_eq(walk_arena(a, true).backlog, w.backlog);
	shmb_free(a, other);
	free_many(a, p, 3 * rounds);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* A depot that nobody uses is emptied by the next slow call, whatever class that is for; one in use is not. */
static void *fill_depot(void *arg)
{
	pthread_barrier_t *b = (pthread_barrier_t *)((void **)arg)[1];
	free_many(((void **)arg)[0], take_many(((void **)arg)[0], 4 * ROUNDS, SIZE), 4 * ROUNDS);
	pthread_barrier_wait(b);
	pthread_barrier_wait(b);
	return NULL;
}

/* What one thread has put into the depot another does not take, until it ends or there is much. */
START_TEST(threads_take_their_own)
{
	shmb_arena *a = arena_new(256 * MIB);
	const struct depot_shm *d = &a->depots[C];
	pthread_barrier_t b;
	pthread_t other;
	void *both[] = {a, &b};
	free_many(a, take_many(a, 5 * ROUNDS, SIZE), 5 * ROUNDS);
	unsigned own = atomic_load(&d->count);
	pthread_barrier_init(&b, NULL, 2);
	MUST(!pthread_create(&other, NULL, fill_depot, both), "no thread");
	pthread_barrier_wait(&b);
	unsigned theirs = atomic_load(&d->count) - own;
	uint32_t tag = cell_tag(atomic_load(&d->cells[own]));
	ck_assert(own > 1 && theirs > 1 && tag != cell_tag(atomic_load(&d->cells[0])));
	void **p = take_many(a, (own + 3) * ROUNDS, SIZE);
	ck_assert_uint_eq(atomic_load(&d->count), theirs);
	for (unsigned i = 0; i < theirs; i++)
		ck_assert_uint_eq(cell_tag(atomic_load(&d->cells[i])), tag);
	(void)walk_arena(a, true);
	pthread_barrier_wait(&b);
	pthread_join(other, NULL);
	ck_assert_uint_gt(atomic_load(&d->count), theirs); /* and what it had loaded */
	void **q = take_many(a, (theirs + 2) * ROUNDS, SIZE);
	ck_assert_uint_lt(atomic_load(&d->count), theirs);
	free_many(a, p, (own + 3) * ROUNDS);
	free_many(a, q, (theirs + 2) * ROUNDS);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* An empty magazine that a thread gave back it takes again before others, and then what is free from the first on. */
START_TEST(empty_magazines_come_back_to_their_thread)
{
	enum { N = 5 };
	shmb_arena *a = arena_new(64 * MIB);
	shmb_free(a, shmb_malloc(a, SIZE));
	struct tctx *t = context_of(a);
	struct mag_shm *m[N];
	for (unsigned i = 0; i < N; i++)
		ck_assert_ptr_nonnull(m[i] = pool_take(t, C));
	for (unsigned i = 1; i < N; i++)
		ck_assert(m[i] == m[i - 1] + 1);
	pool_give_back(t, m[1]);
	pool_give_back(t, m[4]);
	pool_give_back(t, m[3]);
	ck_assert_ptr_eq(pool_take(t, C), m[3]);
	ck_assert_ptr_eq(pool_take(t, C), m[4]);
	uint32_t ready = mags_ready(a);
	for (uint32_t i = (uint32_t)(m[4] - a->mags) + 1; i < ready; i++)
		ck_assert_ptr_eq(pool_take(t, C), &a->mags[i]);
	ck_assert_ptr_eq(pool_take(t, C), m[1]);
	ck_assert_ptr_eq(pool_take(t, C), &a->mags[ready]);
	ck_assert_uint_gt(mags_ready(a), ready);
	for (struct mag_shm *all = m[0]; all <= &a->mags[ready]; all++)
		pool_give_back(t, all);
	store(&t->shm->transit, 0);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* ---- a thread that frees before it allocates ------------------------------------------ */

struct first {
	shmb_arena *a;
	size_t size;
	void *given, *got;
};

static void *free_first(void *arg)
{
	struct first *f = arg;
	shmb_free(f->a, f->given);
	f->got = shmb_malloc(f->a, f->size);
	shmb_free(f->a, f->got);
	return NULL;
}

/* It lies beside others' blocks. Where they share no cache line it may as well be used. */
START_TEST(a_first_free_is_not_issued_next)
{
	shmb_arena *a = arena_new(16 * MIB);
	for (size_t size = 16; size <= 64; size += 48) {
		struct first f = {.a = a, .size = size, .given = shmb_malloc(a, size)};
		pthread_t t;
		ck_assert_int_eq(pthread_create(&t, NULL, free_first, &f), 0);
		ck_assert_int_eq(pthread_join(t, NULL), 0);
		ck_assert_msg((f.got == f.given) == (size == 64), "of %zu bytes", size);
	}
	shmb_trim(a);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

START_TEST(an_idle_depot_is_emptied)
{
	enum { OTHER = 4 * SIZE };
	shmb_arena *a = arena_new(64 * MIB);
	struct depot_shm *idle = &a->depots[C], *busy = &a->depots[class_of(OTHER)];
	free_many(a, take_many(a, 6 * ROUNDS, SIZE), 6 * ROUNDS);
	free_many(a, take_many(a, 6 * ROUNDS, OTHER), 6 * ROUNDS);
	unsigned n = atomic_load(&busy->count);
	ck_assert_uint_ge(atomic_load(&idle->count), 3);
	ck_assert_uint_ge(n, 3);
	atomic_store(&idle->used_ms, (uint32_t)sys_coarse_ms() - 60 * 1000);
	atomic_store(&a->tidied_ms, 0);
	void *p = shmb_malloc(a, 3000); /* its first: the slow path */
	ck_assert_uint_eq(atomic_load(&idle->count), 0);
	ck_assert_uint_eq(atomic_load(&busy->count), n);
	shmb_free(a, p);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

START_TEST(a_flush_moves_everything_to_the_depot)
{
	shmb_arena *a = arena_new(16 * MIB);
	free_many(a, take_many(a, 3 * ROUNDS + 5, SIZE), 3 * ROUNDS + 5);
	void *keep = shmb_malloc(a, 3 * SIZE);
	struct walk w = walk_arena(a, true);
	uint64_t cached = w.cached;
	struct entered e = context_enter(a);
	ck_assert(magazine_flush_thread(e.context));
	context_leave(&e);
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.paired, 0);
	ck_assert_uint_gt(w.depot, 0);
	ck_assert_uint_eq(w.cached, cached);
	ck_assert_uint_eq(w.live, 1);
	void *p = shmb_malloc(a, SIZE); /* comes from the depot: no new block */
	ck_assert_uint_eq(walk_arena(a, true).cached, cached - 1);
	shmb_free(a, p);
	shmb_free(a, keep);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

START_TEST(a_locked_depot_is_gone_round)
{
	shmb_arena *a = arena_new(16 * MIB);
	atomic_store(&a->depots[C].lock, atomic_load(&a->holder)); /* by another thread: this one goes on to take locks */
	ck_assert(!depot_lock(a, C));
	free_many(a, take_many(a, 10 * ROUNDS, SIZE), 10 * ROUNDS); /* nothing waits */
	ck_assert_uint_eq(atomic_load(&a->depots[C].count), 0);
	atomic_store(&a->depots[C].lock, 0);
	free_many(a, take_many(a, 10 * ROUNDS, SIZE), 10 * ROUNDS);
	ck_assert_uint_gt(atomic_load(&a->depots[C].count), 0);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* Every free magazine goes into somebody else's hands, or comes back out of them. */
static void pool_hold(shmb_arena *a, bool hold)
{
	uint64_t other = mag_holder(9, 9);
	for (uint32_t i = 0; i < MAGS; i++) {
		uint64_t from = hold ? 0 : other;
		if (atomic_compare_exchange_strong(&a->mags[i].holder, &from, hold ? other : 0) && !hold)
			hint_clear(a->mag_bits, i);
	}
}

START_TEST(no_magazines_left_is_survived)
{
	shmb_arena *a = arena_new(64 * MIB);
	free_many(a, take_many(a, ROUNDS, SIZE), ROUNDS);
	atomic_store(&a->hdr->mags_ready, MAGS); /* writing to them commits them */
	pool_hold(a, true);
	free_many(a, take_many(a, 5 * ROUNDS, SIZE), 5 * ROUNDS);
	free_many(a, take_many(a, 100, 1000), 100); /* a class without a magazine */
	pool_hold(a, false);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.live, 0);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* ---- two handles: two processes to the region ------------------------------------------ */

static void free_through(shmb_arena *to, shmb_arena *from, void **p, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		shmb_free(to, through(to, from, p[i]));
	free(p);
}

START_TEST(blocks_of_another_are_reused_where_freed)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_again(a);
	void **p = take_many(a, ROUNDS, SIZE);
	char *last = through(b, a, p[ROUNDS - 1]);
	free_through(b, a, p, ROUNDS);
	ck_assert_uint_eq(byte_of(b, last), block_make(BLOCK_CACHED, C));
	ck_assert_ptr_eq(shmb_malloc(b, SIZE), last);
	uint64_t used = units_used(a);
	p = take_many(b, ROUNDS - 1, SIZE);
	ck_assert_uint_eq(units_used(a), used);
	free_through(a, b, p, ROUNDS - 1);
	shmb_free(b, last);
	all_comes_back((shmb_arena *[]){a, b}, 2);
	arena_done(b);
	arena_done(a);
}
END_TEST

/* What a process has put into the depot of its own blocks another does not take, unless there is no room for more. */
START_TEST(processes_take_their_own)
{
	shmb_arena *a = arena_new(64 * MIB), *b = arena_again(a);
	const struct depot_shm *d = &a->depots[C];
	unsigned limit = depot_limit_of(C), many = limit / 2 + 4;
	free_many(a, take_many(a, many * ROUNDS, SIZE), many * ROUNDS);
	many = atomic_load(&d->count);
	ck_assert(many > limit / 2 && many < limit);
	void **p = take_many(b, 3 * ROUNDS, SIZE);
	ck_assert_uint_eq(atomic_load(&d->count), many);
	free_many(a, take_many(a, (limit + 2) * ROUNDS, SIZE), (limit + 2) * ROUNDS);
	ck_assert_uint_eq(atomic_load(&d->count), limit);
	void **q = take_many(b, 3 * ROUNDS, SIZE);
	ck_assert_uint_lt(atomic_load(&d->count), limit);
	free_many(b, q, 3 * ROUNDS);
	free_many(b, p, 3 * ROUNDS);
	(void)walk_arena(a, true);
	all_comes_back((shmb_arena *[]){a, b}, 2);
	arena_done(b);
	arena_done(a);
}
END_TEST

START_TEST(the_owner_of_blocks_gets_them_posted)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_again(a);
	unsigned n = (DEPOT_CELLS + 2 + 5) * ROUNDS;
	free_through(b, a, take_many(a, n, SIZE), n);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_ge(w.inbox, 4);
	ck_assert_uint_eq(w.backlog, 0);
	uint64_t cached = w.cached, posted = w.inbox;
	void **p = take_many(a, 3 * ROUNDS, SIZE); /* out of its inbox */
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.cached, cached - 3 * ROUNDS);
	ck_assert_uint_le(w.inbox, posted - 2);
	free_many(a, p, 3 * ROUNDS);
	all_comes_back((shmb_arena *[]){a, b}, 2);
	arena_done(b);
	arena_done(a);
}
END_TEST

START_TEST(a_full_inbox_leads_to_the_backlog_and_back)
{
	shmb_arena *a = arena_new(32 * MIB), *b = arena_again(a);
	unsigned n = (DEPOT_CELLS + INBOX_CELLS + 2 + 9) * ROUNDS;
	void **p = take_many(a, n, SIZE);
	uint64_t spare = walk_arena(a, true).cached;
	free_through(b, a, p, n);
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.cached, n + spare);
	ck_assert_uint_eq(w.depot, DEPOT_CELLS);
	ck_assert_uint_eq(w.inbox, INBOX_CELLS);
	ck_assert_uint_ge(w.backlog, 8);
	shmb_trim(a); /* empties inbox and depot */
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.inbox, 0);
	shmb_trim(b); /* its backlog finds places now */
	w = walk_arena(a, true);
	ck_assert_uint_eq(w.backlog, 0);
	all_comes_back((shmb_arena *[]){a, b}, 2);
	arena_done(b);
	arena_done(a);
}
END_TEST

/* Every other block belongs to the other: a magazine that neither can empty alone. */
START_TEST(mixed_magazines_come_apart)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_again(a);
	enum { N = 20 * ROUNDS };
	void **pa = take_many(a, N, SIZE), **pb = take_many(b, N, SIZE);
	for (unsigned i = 0; i < N; i++) {
		shmb_free(a, pa[i]);
		shmb_free(a, through(a, b, pb[i]));
	}
	free(pa);
	free(pb);
	all_comes_back((shmb_arena *[]){a, b}, 2);
	arena_done(b);
	arena_done(a);
}
END_TEST

START_TEST(close_hands_on_what_was_cached)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_again(a);
	free_many(b, take_many(b, 5 * ROUNDS, SIZE), 5 * ROUNDS);
	void *kept = through(a, b, shmb_malloc(b, SIZE));
	stamp(kept, SIZE, 7);
	arena_done(b);
	struct walk w = walk_arena(a, false);
	ck_assert_uint_eq(w.live, 1);
	ck_assert_uint_eq(w.paired + w.inbox + w.backlog, 0);
	ck_assert(stamped(kept, SIZE, 7));
	shmb_free(a, kept);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

START_TEST(a_dead_ones_free_blocks_are_used_again)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_again(a);
	void **p = take_many(b, 1000, SIZE);
	for (unsigned i = 0; i < 1000; i++)
		p[i] = through(a, b, p[i]);
	arena_done(b);
	uint64_t used = units_used(a);
	free_many(a, p, 1000);
	p = take_many(a, 1000, SIZE);
	ck_assert_uint_eq(units_used(a), used);
	free_many(a, p, 1000);
	all_comes_back(&a, 1);
	arena_done(a);
}
END_TEST

/* ---- two processes ---------------------------------------------------------------------- */

enum { BATCH = 3000, TURNS = 12 };

static void child_frees(shmb_arena *a, shmb_ref *refs, int in, int out)
{
	void *mine[BATCH];
	for (unsigned turn = 0; turn < TURNS; turn++) {
		hear(in);
		for (unsigned i = 0; i < BATCH; i++)
			shmb_free(a, shmb_deref(a, refs[i], 1));
		for (unsigned i = 0; i < BATCH; i++) {
			mine[i] = shmb_malloc(a, 16 + i % 300);
			CHILD_ASSERT(mine[i]);
			refs[i] = shmb_ref_of(a, mine[i]);
		}
		tell(out);
	}
	hear(in);
	shmb_trim(a);
	tell(out);
	hear(in);
	shmb_trim(a);
	_exit(0); /* its slot is recovered by the parent's next trim */
}

static void exchange(shmb_arena *a, shmb_ref *refs, int in, int out)
{
	for (unsigned turn = 0; turn < TURNS; turn++) {
		for (unsigned i = 0; i < BATCH; i++)
			refs[i] = shmb_ref_of(a, shmb_malloc(a, 16 + (i * 7) % 300));
		tell(out);
		hear(in);
		struct walk w = walk_arena(a, false);
		ck_assert_uint_eq(w.live, BATCH + 1);
		for (unsigned i = 0; i < BATCH; i++)
			shmb_free(a, shmb_deref(a, refs[i], 1));
		ck_assert_uint_eq(walk_arena(a, true).live, 1);
	}
}

START_TEST(two_processes_free_each_others_blocks)
{
	shmb_arena *a = arena_new(64 * MIB);
	shmb_ref *refs = shmb_malloc(a, CLASS_MAX_SIZE); /* the one that stays */
	int to[2], from[2];
	ck_assert_int_eq(pipe(to) | pipe(from), 0);
	pid_t pid = fork();
	if (pid == 0)
		child_frees(a, refs, to[0], from[1]);
	exchange(a, refs, from[0], to[1]);
	tell(to[1]);
	hear(from[0]);
	shmb_trim(a);
	tell(to[1]);
	expect_exit(pid, 0);
	shmb_free(a, refs);
	all_comes_back(&a, 1);
	ck_assert_uint_eq(atomic_load(&a->hdr->recoveries), 1);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("magazine", bytes_follow_the_block, fills_start_small_and_grow, a_pair_absorbs_ups_and_downs,
	                 depots_keep_to_their_limit, a_thread_keeps_a_stock, threads_take_their_own, processes_take_their_own,
	                 empty_magazines_come_back_to_their_thread,
	                 a_first_free_is_not_issued_next, an_idle_depot_is_emptied, a_flush_moves_everything_to_the_depot,
	                 a_locked_depot_is_gone_round,
	                 no_magazines_left_is_survived, blocks_of_another_are_reused_where_freed,
	                 the_owner_of_blocks_gets_them_posted, a_full_inbox_leads_to_the_backlog_and_back,
	                 mixed_magazines_come_apart, close_hands_on_what_was_cached,
	                 a_dead_ones_free_blocks_are_used_again, two_processes_free_each_others_blocks);
}
