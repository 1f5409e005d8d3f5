/* test_page.c - page runs against a model; page words; units that go back when whole. */
#include "tests_common.h"

#include <pthread.h>

enum { UNITS = 40, PAGES = UNITS * UNIT_PAGES };

struct run {
	char *p;
	unsigned n, id;
};

struct model {
	struct shmb_arena *a;
	bool taken[PAGES];
	struct run runs[PAGES];
	unsigned live, next;
};

static uint64_t page_of(const struct shmb_arena *a, const void *p)
{
	return (uint64_t)((const char *)p - a->data) / PAGE;
}

/* Every unit with a page taken is this process's, every other is free; the counts say the same. */
static void model_check(const struct model *m)
{
	uint64_t held = 0;
	for (unsigned u = 0; u < UNITS; u++) {
		bool any = false;
		for (unsigned i = 0; i < UNIT_PAGES; i++)
			any |= m->taken[u * UNIT_PAGES + i];
		held += page_unit_mine(m->a, u, span_get(m->a, u));
		MUST(!any || page_unit_mine(m->a, u, span_get(m->a, u)), "unit %u: word %lx", u, span_get(m->a, u));
	}
	ck_assert_uint_eq(units_used(m->a), held);
	ck_assert_uint_eq(m->a->page_heap.held, held);
}

static bool model_fits(const struct model *m, unsigned n, unsigned align)
{
	for (unsigned i = 0; i < PAGES; i += align) {
		unsigned k = 0;
		while (k < n && (i + k) / UNIT_PAGES == i / UNIT_PAGES && i + k < PAGES && !m->taken[i + k])
			k++;
		if (k == n)
			return true;
	}
	return false;
}

static void step_take(struct model *m, struct rng *r)
{
	unsigned n = 1 + (unsigned)rnd_below(r, rnd_below(r, 3) ? 3 : UNIT_PAGES);
	unsigned align = 1u << (rnd_below(r, 4) ? 0 : rnd_below(r, 5));
	bool fits = model_fits(m, n, align);
	char *p = page_take(m->a, n, align);
	ck_assert_msg((p != NULL) == fits, "%u pages at multiples of %u", n, align);
	if (!p)
		return;
	ck_assert_uint_eq((uintptr_t)p % (align * PAGE), 0);
	uint64_t page = page_of(m->a, p);
	ck_assert_uint_eq(page / UNIT_PAGES, (page + n - 1) / UNIT_PAGES);
	for (unsigned i = 0; i < n; i++) {
		MUST(!m->taken[page + i], "page %lu: taken twice", page + i);
		m->taken[page + i] = true;
		MUST(!atomic_load(&m->a->pages[page + i]), "page %lu: has a word", page + i);
	}
	m->runs[m->live++] = (struct run){.p = p, .n = n, .id = ++m->next};
	stamp(p, n * PAGE, m->next);
	for (unsigned i = 0; i < n; i++)
		page_note(m->a, (uint32_t)((page + i) * (PAGE / GRAIN)), class_of(PAGE));
}

static void model_remove(struct model *m, unsigned i)
{
	struct run *r = &m->runs[i];
	uint64_t page = page_of(m->a, r->p);
	ck_assert(stamped(r->p, r->n * PAGE, r->id));
	ck_assert_uint_ne(atomic_load(&m->a->pages[page]), 0);
	page_return(m->a, r->p, r->n);
	for (unsigned k = 0; k < r->n; k++) {
		m->taken[page + k] = false;
		MUST(!atomic_load(&m->a->pages[page + k]), "page %lu: has a word", page + k);
	}
	*r = m->runs[--m->live];
}

START_TEST(random_operations_agree_with_the_model)
{
	struct model *m = calloc(1, sizeof *m);
	struct rng r = {.s = 4242};
	m->a = arena_new(UNITS * UNIT);
	for (unsigned i = 0; i < 20000 / SLOW; i++) {
		/* phases of growth and of decline, to the limits and back */
		bool grow = rnd_below(&r, 10) < (i / 2000 % 2 ? 4 : 6);
		if (grow || !m->live)
			step_take(m, &r);
		else
			model_remove(m, (unsigned)rnd_below(&r, m->live));
		if (i % 32 == 0)
			model_check(m);
	}
	while (m->live)
		model_remove(m, (unsigned)rnd_below(&r, m->live));
	model_check(m);
	arena_done(m->a);
	free(m);
}
END_TEST

START_TEST(a_unit_goes_back_with_its_last_page)
{
	shmb_arena *a = arena_new(UNITS * UNIT);
	char *p[UNIT_PAGES];
	for (unsigned i = 0; i < UNIT_PAGES; i++)
		p[i] = page_take(a, 1, 1);
	ck_assert_uint_eq(units_used(a), 1);
	for (unsigned i = 0; i < UNIT_PAGES; i++) {
		ck_assert_uint_eq(units_used(a), 1);
		page_return(a, p[(i * 5) % UNIT_PAGES], 1);
	}
	ck_assert_uint_eq(units_used(a), 0);
	ck_assert_int_eq(span_kind_of(span_get(a, 0)), SPAN_FREE);
	arena_done(a);
}
END_TEST

START_TEST(the_tightest_hole_is_used_first)
{
	shmb_arena *a = arena_new(UNITS * UNIT);
	char *six = page_take(a, 6, 1), *ten = page_take(a, 10, 1); /* unit 0 is full */
	char *two = page_take(a, 2, 1), *rest = page_take(a, 14, 1); /* and unit 1 */
	ck_assert_uint_eq(units_used(a), 2);
	page_return(a, six, 6);
	page_return(a, two, 2);
	ck_assert_ptr_eq(page_take(a, 2, 1), two);
	ck_assert_ptr_eq(page_take(a, 5, 1), six);
	page_return(a, ten, 10);
	page_return(a, rest, 14);
	arena_done(a);
}
END_TEST

/* What a block of each class that touches a page says of it, computed page by page. */
static void note_slab(struct shmb_arena *a, unsigned class, unsigned pages)
{
	uint64_t size = class_size(class), blocks = pages * PAGE / size;
	char *p = page_take(a, pages, 1);
	uint64_t first = page_of(a, p);
	for (uint64_t i = blocks; i-- > 0;)
		page_note(a, (uint32_t)((first * PAGE + i * size) / GRAIN), class);
	for (uint64_t k = 0; k < pages && k * PAGE < blocks * size; k++) {
		uint64_t at = 0; /* of the first block at or after the page's start */
		while (at < k * PAGE)
			at += size;
		page_t w = atomic_load(&a->pages[first + k]);
		MUST(page_class(w) == class, "class %u page %lu: word %x", class, k, w);
		uint64_t phase = (uint64_t)page_phase(w) * GRAIN, want = at - k * PAGE;
		MUST(phase % size == want % size, "class %u page %lu: phase %lu, not %lu", class, k, phase, want);
	}
	page_return(a, p, pages);
	for (uint64_t k = 0; k < pages; k++)
		MUST(!atomic_load(&a->pages[first + k]), "page %lu: has a word", first + k);
}

START_TEST(notes_say_class_and_phase_of_every_page)
{
	shmb_arena *a = arena_new(UNITS * UNIT);
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned pages = (class_size(c) + PAGE - 1) / PAGE; pages <= UNIT_PAGES; pages++)
			note_slab(a, c, pages);
	ck_assert_uint_eq(units_used(a), 0);
	arena_done(a);
}
END_TEST

/* What the engine really hands out: the walker compares every byte with its page's word. */
START_TEST(blocks_of_every_class_agree_with_their_pages)
{
	shmb_arena *a = arena_new(64 * MIB);
	char *keep[CLASSES][64];
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned i = 0; i < 64; i++)
			ck_assert_ptr_nonnull(keep[c][i] = shmb_malloc(a, class_size(c)));
	struct walk w = walk_arena(a, true);
	ck_assert_uint_eq(w.live, CLASSES * 64);
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned i = 0; i < 64; i++)
			shmb_free(a, keep[c][i]);
	shmb_trim(a);
	w = walk_arena(a, true);
	ck_assert_msg(w.used + w.dirty == 0, "used %lu dirty %lu live %lu cached %lu", w.used, w.dirty, w.live, w.cached);
	for (uint64_t p = 0; p < units_ready(a) * UNIT_PAGES; p++)
		MUST(!atomic_load(&a->pages[p]), "page %lu: has a word", p);
	arena_done(a);
}
END_TEST

static void *churn(void *arg)
{
	struct shmb_arena *a = arg;
	struct rng r = {.s = (uint64_t)(uintptr_t)&r};
	char *mine[32] = {0};
	unsigned n[32];
	uintptr_t bad = 0;
	for (unsigned i = 0; i < 30000 / SLOW; i++) {
		unsigned k = (unsigned)rnd_below(&r, 32);
		if (mine[k]) {
			bad += !stamped(mine[k], n[k] * PAGE, k + (unsigned)((uintptr_t)&r >> 12));
			page_return(a, mine[k], n[k]);
			mine[k] = NULL;
		} else if ((mine[k] = page_take(a, n[k] = 1 + (unsigned)rnd_below(&r, 4), 1))) {
			stamp(mine[k], n[k] * PAGE, k + (unsigned)((uintptr_t)&r >> 12));
		}
	}
	for (unsigned k = 0; k < 32; k++)
		if (mine[k])
			page_return(a, mine[k], n[k]);
	return (void *)bad;
}

START_TEST(racing_threads_never_share_a_page)
{
	enum { N = 4 };
	shmb_arena *a = arena_new(UNITS * UNIT);
	pthread_t t[N];
	for (unsigned i = 0; i < N; i++)
		ck_assert_int_eq(pthread_create(&t[i], NULL, churn, a), 0);
	for (unsigned i = 0; i < N; i++) {
		void *bad;
		pthread_join(t[i], &bad);
		ck_assert_ptr_null(bad);
	}
	span_resync(a);
	ck_assert_uint_eq(units_used(a), 0);
	ck_assert_uint_eq(a->page_heap.held, 0);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("page", random_operations_agree_with_the_model, a_unit_goes_back_with_its_last_page,
	                 the_tightest_hole_is_used_first, notes_say_class_and_phase_of_every_page,
	                 blocks_of_every_class_agree_with_their_pages, racing_threads_never_share_a_page);
}
