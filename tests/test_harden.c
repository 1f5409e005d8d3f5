/*
 * test_harden.c - a hardened region: what is written beyond a block's end or
 * after its free is found, where, by whom; when a freed block comes back, and
 * in which order; and that all of it survives other processes and their ends.
 */
#include "misuse_common.h"

#include "canary.h"
#include "depot.h"
#include "harden.h"
#include "magazine.h"

#include <pthread.h>

enum { SIZE = 100, C = 6 };

static shmb_arena *a;

static shmb_arena *hardened_new(size_t size)
{
	shmb_options opt = {.size = size, .flags = SHMB_CREATE_ONLY | SHMB_HARDENED};
	shmb_arena *h = NULL;
	ck_assert_int_eq(shmb_arena_open(test_name(), &opt, &h), 0);
	return h;
}

static void setup(void)
{
	a = hardened_new(64 * MIB);
	if (!want)
		misuse_setup();
}

/* After as many trims as it takes for magazines to come apart. */
static struct walk walk_trimmed(shmb_arena *of)
{
	for (unsigned i = 0; i < 3; i++)
		shmb_trim(of);
	return walk_arena(of, true);
}

/* In a region of its own: what was damaged there would come to the next. */
static void dies_alone(void (*mistake)(void))
{
	setup();
	dies_of(mistake);
	arena_done(a);
}

static bool all_are(const void *p, size_t n, unsigned char byte)
{
	const unsigned char *b = p;
	return !n || (b[0] == byte && !memcmp(b, b + 1, n - 1));
}

static void append(void *to, const char *text)
{
	strncat(to, text, 4096 - strlen(to) - 1);
}

static const char *checked(const shmb_arena *of, int err)
{
	static char text[4096 + 1];
	*text = 0;
	int got = shmb_check_name(shmb_region_name(shmb_arena_region(of)), append, text);
	ck_assert_msg(got == err, "check: %s: %s", shmb_strerror(got), text);
	return text;
}

/* ---- the region's property ------------------------------------------------------------ */

START_TEST(who_creates_it_decides)
{
	setup();
	ck_assert(shmb_arena_is_hardened(a));
	shmb_arena *b = arena_again(a);
	ck_assert(shmb_arena_is_hardened(b));
	shmb_options read = {.flags = SHMB_READ_ONLY};
	shmb_arena *r;
	void *p = shmb_malloc(a, SIZE);
	ck_assert_int_eq(shmb_arena_open(shmb_region_name(shmb_arena_region(a)), &read, &r), 0);
	ck_assert(shmb_arena_is_hardened(r));
	ck_assert_uint_eq(shmb_usable_size(r, through(r, a, p)), SIZE);
	ck_assert_uint_eq(shmb_usable_size(b, through(b, a, p)), SIZE);
	shmb_free(b, through(b, a, p));
	arena_done(r);
	arena_done(b);
	shmb_options plain = {.size = MIB, .flags = SHMB_CREATE_ONLY}, late = {.flags = SHMB_HARDENED};
	ck_assert_int_eq(shmb_arena_open(test_name(), &plain, &b), 0);
	ck_assert(!shmb_arena_is_hardened(b));
	ck_assert_int_eq(shmb_arena_open(shmb_region_name(shmb_arena_region(b)), &late, &r), 0);
	ck_assert(!shmb_arena_is_hardened(r));
	p = shmb_malloc(b, SIZE);
	ck_assert_uint_eq(shmb_usable_size(b, p), 112);
	arena_done(r);
	arena_done(b);
	arena_done(a);
}
END_TEST

START_TEST(what_is_asked_for_may_be_used)
{
	setup();
	for (size_t size = 0; size < 4 * UNIT; size += 1 + size / 7) {
		char *p = shmb_malloc(a, size), *q = shmb_calloc(a, 1, size), *r = shmb_aligned_alloc(a, 4096, size);
		MUST(p && q && r, "no memory for %zu", size);
		MUST(shmb_usable_size(a, p) == size && shmb_usable_size(a, q) == size, "%zu: %zu, %zu", size,
		     shmb_usable_size(a, p), shmb_usable_size(a, q));
		MUST(shmb_deref(a, shmb_ref_of(a, p), size) == p && !shmb_deref(a, shmb_ref_of(a, p), size + 1), "%zu", size);
		MUST(all_are(p, size, JUNK) && all_are(r, size, JUNK) && all_zero(q, size), "%zu: what is in it", size);
		stamp(p, size, 1), stamp(q, size, 2), stamp(r, size, 3);
		p = shmb_realloc(a, p, size + size / 3 + 1);
		r = shmb_realloc(a, r, size / 3);
		MUST(shmb_usable_size(a, p) == size + size / 3 + 1 && shmb_usable_size(a, r) == size / 3, "%zu: resized", size);
		MUST(stamped(p, size, 1) && stamped(r, size / 3, 3) && all_are(p + size, size / 3 + 1, JUNK), "%zu: moved", size);
		stamp(p, size + size / 3 + 1, 4);
		shmb_free(a, p), shmb_free(a, q), shmb_free(a, r);
	}
	(void)checked(a, 0);
	arena_done(a);
}
END_TEST

/* ---- beyond the end ---------------------------------------------------------------------- */

/* In the child, before it frees: it is to say that of a block of `size` bytes. */
static void expect_block(const char *what, const void *p, size_t size, const char *why)
{
	char text[100];
	snprintf(text, sizeof text, "a block of %zu bytes, %s", size, why);
	expect(a, what, p, text);
}
#define BEYOND "written beyond its end"
#define WHILE_FREE "written to while it was free"

static struct {
	char *(*get)(size_t);
	size_t size, write;
} over;

static char *get_small(size_t n) { return shmb_malloc(a, n); }
static char *get_zeros(size_t n) { return shmb_calloc(a, 1, n); }
static char *get_line(size_t n) { return shmb_aligned_alloc(a, 64, n); }
static char *get_page(size_t n) { return shmb_aligned_alloc(a, 4096, n); }
static char *get_pages(size_t n) { return shmb_aligned_alloc(a, 16384, n); }
static char *get_unit(size_t n) { return shmb_aligned_alloc(a, 1 << 20, n); }
static char *get_shrunk(size_t n) { return shmb_realloc(a, shmb_malloc(a, n + n / 4), n); }
static char *get_grown(size_t n) { return shmb_realloc(a, shmb_malloc(a, n - 1), n); }
static char *get_moved(size_t n) { return shmb_realloc(a, shmb_malloc(a, n / 3), n); }

/* Interrupted in a slow path, as a signal handler's is: a unit of its own. */
static char *get_nested(size_t n)
{
	shmb_free(a, shmb_malloc(a, 1)); /* a forked child has no slot before */
	struct thread_shm *was = context_get();
	context_set(&context_busy);
	char *p = shmb_malloc(a, n);
	context_set(was);
	return p;
}

static void write_beyond(void)
{
	char *p = over.get(over.size);
	p[over.size + over.write] ^= 1;
	expect_block("shmb_free", p, over.size, BEYOND);
	shmb_free(a, p);
}

static void realloc_beyond(void)
{
	char *p = over.get(over.size);
	p[over.size] ^= 1;
	expect_block("shmb_realloc", p, over.size, BEYOND);
	(void)shmb_realloc(a, p, over.size + 1);
}

START_TEST(one_byte_too_many_is_found)
{
	static char *(*const gets[])(size_t) = {get_small, get_zeros,  get_line,  get_page,  get_pages,
	                                        get_unit,  get_shrunk, get_grown, get_moved, get_nested};
	static const size_t sizes[] = {9, 25, SIZE, 121, 500, 4000, 10000, 57000, 57340, UNIT - 9, UNIT + 1, 3 * UNIT - 100};
	for (unsigned i = 0; i < sizeof gets / sizeof *gets; i++)
		for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
			over.get = gets[i], over.size = sizes[s], over.write = 0;
			dies_alone(write_beyond);
			dies_alone(realloc_beyond);
		}
}
END_TEST

/* The rest of a class, or of a unit, was not asked for either. */
START_TEST(any_byte_before_the_canary_is_looked_at)
{
	over.get = get_small;
	for (over.size = SIZE, over.write = 0; over.size + over.write < 112 - CANARY; over.write++)
		dies_alone(write_beyond);
	for (over.size = UNIT + 1, over.write = 0; over.write < UNIT - 1 - CANARY; over.write += 9999)
		dies_alone(write_beyond);
}
END_TEST

/* With the canary gone it is not known how much was asked for. */
static void write_over_canary(void)
{
	char *p = over.get(over.size);
	memset(p, 1, over.write);
	expect_block("shmb_free", p, over.write - CANARY, BEYOND);
	shmb_free(a, p);
}

static void usable_over_canary(void)
{
	char *p = over.get(over.size);
	memset(p, 1, over.write);
	expect_block("shmb_usable_size", p, over.write - CANARY, BEYOND);
	(void)shmb_usable_size(a, p);
}

START_TEST(the_canary_itself_is_found)
{
	over.get = get_small;
	over.size = SIZE, over.write = 112;
	dies_alone(write_over_canary);
	dies_alone(usable_over_canary);
	over.size = 104; /* none to spare */
	dies_alone(write_over_canary);
	over.size = UNIT, over.write = 2 * UNIT;
	dies_alone(write_over_canary);
	dies_alone(usable_over_canary);
}
END_TEST

struct thing {
	char text[50];
};

static void box_beyond(void)
{
	static const shmb_type type = SHMB_TYPE(struct thing, NULL);
	shmb_box *box;
	CHILD_ASSERT(!shmb_box_new(a, &type, NULL, NULL, &box));
	struct thing *t = shmb_box_get(box);
	expect_block("shmb_free", t, sizeof *t, BEYOND);
	memset(t, 1, sizeof *t + 1);
	(void)shmb_box_drop(box);
}

static void another_process_beyond(void)
{
	char *p = shmb_malloc(a, SIZE);
	int status;
	pid_t pid = fork();
	if (pid == 0) {
		p[SIZE] = 1;
		_exit(0);
	}
	CHILD_ASSERT(waitpid(pid, &status, 0) == pid && !status);
	expect_block("shmb_free", p, SIZE, BEYOND);
	shmb_free(a, p);
}

static void *free_it(void *p)
{
	shmb_free(a, p);
	return NULL;
}

static void freed_by_another_thread(void)
{
	pthread_t thread;
	char *p = shmb_malloc(a, SIZE);
	p[SIZE] = 1;
	expect_block("shmb_free", p, SIZE, BEYOND);
	CHILD_ASSERT(!pthread_create(&thread, NULL, free_it, p));
	pthread_join(thread, NULL);
}

START_TEST(whoever_writes_and_whoever_frees)
{
	dies_alone(box_beyond);
	dies_alone(another_process_beyond);
	dies_alone(freed_by_another_thread);
}
END_TEST

/* ---- after the free ------------------------------------------------------------------------- */

/* Pairs of malloc and free push what was freed before them out of the quarantine. */
static void pairs(unsigned n, size_t size)
{
	while (n--)
		shmb_free(a, shmb_malloc(a, size));
}
enum { PAST = (QUARANTINE_MAGS + 4) * MAG_ROUNDS };

static void written_in_quarantine(void)
{
	char *p = shmb_malloc(a, SIZE);
	shmb_free(a, p);
	p[7] = 0;
	expect_block("shmb_free", p, 112 - CANARY, WHILE_FREE);
	pairs(PAST, SIZE);
}

static void written_at_its_end(void)
{
	char *p = shmb_malloc(a, SIZE);
	shmb_free(a, p);
	p[111] ^= 1;
	expect_block("shmb_free", p, 112 - CANARY, WHILE_FREE);
	pairs(PAST, SIZE);
}

static void written_before_a_trim(void)
{
	char *p = shmb_malloc(a, SIZE);
	shmb_free(a, p);
	p[0] = 0;
	expect_block("shmb_free", p, 112 - CANARY, WHILE_FREE);
	shmb_trim(a);
}

/* Out of the quarantine, and in the depot: found when it is issued. */
static void written_in_the_depot(void)
{
	static char *others[PAST];
	char *p = shmb_malloc(a, SIZE);
	for (unsigned i = 0; i < PAST; i++)
		CHILD_ASSERT((others[i] = shmb_malloc(a, SIZE)));
	shmb_free(a, p);
	for (unsigned i = 0; i < PAST; i++)
		shmb_free(a, others[i]);
	p[50] = 0;
	expect_block("shmb_malloc", p, 112 - CANARY, WHILE_FREE);
	for (unsigned i = 0; i < 100000; i++)
		(void)shmb_malloc(a, SIZE);
}

static void *write_and_end(void *p)
{
	shmb_free(a, p);
	*(char *)p = 0;
	return NULL;
}

static void written_before_its_thread_ends(void)
{
	pthread_t thread;
	char *p = shmb_malloc(a, SIZE);
	expect_block("shmb_free", p, 112 - CANARY, WHILE_FREE);
	CHILD_ASSERT(!pthread_create(&thread, NULL, write_and_end, p));
	pthread_join(thread, NULL);
}

START_TEST(a_write_after_the_free_is_found)
{
	dies_alone(written_in_quarantine);
	dies_alone(written_at_its_end);
	dies_alone(written_before_a_trim);
	dies_alone(written_in_the_depot);
	dies_alone(written_before_its_thread_ends);
}
END_TEST

START_TEST(what_is_freed_reads_as_junk)
{
	setup();
	char *p = shmb_malloc(a, SIZE), *q = shmb_malloc(a, 5 * UNIT);
	stamp(p, SIZE, 1), stamp(q, 5 * UNIT, 2);
	shmb_free(a, p);
	ck_assert(all_are(p, 112 - CANARY, JUNK));
	shmb_free(a, q);
	char *again = shmb_malloc(a, 5 * UNIT); /* the same units: populated ones come first */
	ck_assert_ptr_eq(again, q);
	ck_assert(all_are(again, 5 * UNIT, JUNK));
	shmb_free(a, again);
	ck_assert(all_are(q, 5 * UNIT, JUNK));
	again = shmb_calloc(a, 5, UNIT);
	ck_assert(all_zero(again, 5 * UNIT));
	arena_done(a);
}
END_TEST

static void free_twice(void)
{
	char *p = shmb_malloc(a, over.size);
	shmb_free(a, p);
	for (unsigned i = 0; i < over.write; i++)
		shmb_free(a, shmb_malloc(a, over.size));
	expect(a, "shmb_free", p, "double free");
	shmb_free(a, p);
}

START_TEST(a_second_free_is_found_for_long)
{
	over.size = SIZE;
	for (over.write = 0; over.write < QUARANTINE_MAGS * MAG_ROUNDS; over.write += 400)
		dies_alone(free_twice);
}
END_TEST

/* ---- quarantine and order ---------------------------------------------------------------- */

/* Pairs until the freed block is issued again; `most` if it is not. */
static unsigned comes_back_after(size_t size, unsigned most)
{
	char *p = shmb_malloc(a, size), *q;
	unsigned n = 0;
	shmb_free(a, p);
	do {
		q = shmb_malloc(a, size);
		shmb_free(a, q);
	} while (q != p && ++n < most);
	return n;
}

START_TEST(a_freed_block_waits)
{
	setup();
	unsigned small = comes_back_after(SIZE, 100000);
	ck_assert_uint_gt(small, QUARANTINE_MAGS * MAG_ROUNDS - 2 * MAG_ROUNDS);
	ck_assert_uint_lt(small, 100000);
	unsigned large = comes_back_after(30000, 100000); /* two a magazine; the bytes bound it */
	ck_assert_uint_gt(large, STOCK_BYTES / 32768 - 4);
	arena_done(a);
}
END_TEST

static uint64_t backlog_bytes(void)
{
	const struct tctx *t = context_of(a);
	uint64_t bytes = 0;
	for (uint32_t n = atomic_load(&t->shm->backlog); n; n = a->mags[n - 1].next)
		bytes += magazine_bytes(&a->mags[n - 1]);
	ck_assert_uint_eq(bytes, t->backlog_bytes);
	return bytes;
}

START_TEST(the_quarantine_is_bounded)
{
	static void *p[6000];
	setup();
	for (size_t size = 8; size <= 50000; size += 3 * size + 8) {
		unsigned n = (unsigned)(4 * MIB / size < 6000 ? 4 * MIB / size : 6000);
		for (unsigned i = 0; i < n; i++)
			MUST((p[i] = shmb_malloc(a, size)), "no memory");
		for (unsigned i = 0; i < n; i++)
			shmb_free(a, p[i]);
		ck_assert_uint_le(backlog_bytes(), STOCK_BYTES);
		ck_assert_uint_le(walk_arena(a, false).backlog, QUARANTINE_MAGS);
	}
	ck_assert_uint_gt(walk_arena(a, false).backlog, 0);
	struct walk w = walk_trimmed(a);
	ck_assert_uint_eq(w.cached + w.live + w.stray + w.mags + w.used, 0);
	arena_done(a);
}
END_TEST

/* A shortage takes what waits in the quarantine. */
START_TEST(a_shortage_ends_the_quarantine)
{
	setup();
	arena_done(a);
	a = hardened_new(2 * MIB);
	for (unsigned i = 0; i < 200; i++) {
		void *p = shmb_malloc(a, 40000);
		ck_assert_ptr_nonnull(p);
		shmb_free(a, p);
	}
	ck_assert_ptr_nonnull(shmb_malloc(a, 2 * MIB - CANARY));
	arena_done(a);
}
END_TEST

START_TEST(the_order_is_random)
{
	enum { N = 40 };
	static char *first[N], *second[N];
	unsigned up = 0, same = 0;
	setup();
	pairs(2 * PAST, SIZE); /* whole magazines are there */
	for (unsigned i = 0; i < N; i++)
		first[i] = shmb_malloc(a, SIZE);
	for (unsigned i = 0; i + 1 < N; i++)
		up += first[i + 1] - first[i] == 112;
	ck_assert_uint_lt(up, N / 2);
	shmb_arena *b = hardened_new(64 * MIB); /* the same calls again: another order */
	shmb_arena *was = a;
	a = b;
	pairs(2 * PAST, SIZE);
	for (unsigned i = 0; i < N; i++)
		second[i] = shmb_malloc(a, SIZE);
	for (unsigned i = 0; i < N; i++)
		same += first[i] - was->data == second[i] - a->data;
	ck_assert_uint_lt(same, N / 2);
	(void)checked(was, 0);
	(void)checked(b, 0);
	arena_done(was);
	arena_done(b);
}
END_TEST

/* ---- check ---------------------------------------------------------------------------------- */

START_TEST(check_names_the_block)
{
	char where[100], path[] = "/tmp/shmb-test-harden-XXXXXX";
	setup();
	char *small = shmb_malloc(a, SIZE), *large = shmb_malloc(a, 3 * UNIT), *gone = shmb_malloc(a, 50);
	shmb_free(a, gone);
	(void)checked(a, 0);
	small[SIZE] ^= 1;
	snprintf(where, sizeof where, "block at %#lx: 112 bytes, written beyond its end", shmb_ref_of(a, small));
	ck_assert_ptr_nonnull(strstr(checked(a, SHMB_ECORRUPT), where));
	char name[300];
	int exact;
	snprintf(name, sizeof name, "%s/saved", mkdtemp(path));
	ck_assert_int_eq(shmb_save_name(shmb_region_name(shmb_arena_region(a)), name, &exact), 0);
	small[SIZE] ^= 1;
	(void)checked(a, 0);
	char text[4097] = "";
	ck_assert_int_eq(shmb_check_name(name, append, text), SHMB_ECORRUPT); /* the file is as it was */
	ck_assert_ptr_nonnull(strstr(text, where));
	unlink(name);
	rmdir(path);
	large[3 * UNIT] ^= 1;
	snprintf(where, sizeof where, "block at %#lx: 262144 bytes, written beyond its end", shmb_ref_of(a, large));
	ck_assert_ptr_nonnull(strstr(checked(a, SHMB_ECORRUPT), where));
	large[3 * UNIT] ^= 1;
	gone[20] ^= 1;
	snprintf(where, sizeof where, "block at %#lx: 64 bytes, written to while it was free", (unsigned long)(gone - a->map));
	ck_assert_ptr_nonnull(strstr(checked(a, SHMB_ECORRUPT), where));
	gone[20] ^= 1;
	(void)checked(a, 0);
	arena_done(a);
}
END_TEST

static _Atomic bool stop;

static void *busy(void *seed)
{
	enum { N = 200 };
	struct rng r = {(uintptr_t)seed * 0x9e3779b97f4a7c15u | 1};
	static __thread char *p[N];
	static __thread size_t size[N];
	while (!atomic_load(&stop)) {
		unsigned i = (unsigned)rnd_below(&r, N);
		if (p[i] && rnd_below(&r, 4) == 0) {
			size_t more = rnd_below(&r, 2 * size[i] + 20);
			p[i] = shmb_realloc(a, p[i], more);
			size[i] = more;
		} else if (p[i]) {
			MUST(stamped(p[i], size[i], i), "changed");
			shmb_free(a, p[i]);
			p[i] = NULL;
			continue;
		} else {
			size[i] = (size_t)8 << rnd_below(&r, 15);
			p[i] = shmb_malloc(a, size[i]);
		}
		MUST(p[i], "no memory");
		stamp(p[i], size[i], i);
	}
	for (unsigned i = 0; i < N; i++)
		shmb_free(a, p[i]);
	return NULL;
}

/* What is torn while others write is no fault. */
START_TEST(check_beside_writers_is_clean)
{
	pthread_t threads[3];
	setup();
	arena_done(a);
	a = hardened_new(GIB);
	atomic_store(&stop, false);
	for (uintptr_t i = 0; i < 3; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, busy, (void *)(i + 1)), 0);
	for (unsigned i = 0; i < 20 / SLOW; i++)
		(void)checked(a, 0);
	atomic_store(&stop, true);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	(void)checked(a, 0);
	struct walk w = walk_trimmed(a);
	ck_assert_uint_eq(w.cached + w.live + w.stray + w.mags, 0);
	arena_done(a);
}
END_TEST

/* ---- deaths ------------------------------------------------------------------------------------ */

/* Each thread's quarantine, and what it has in hand, of a process that is killed. */
START_TEST(a_dead_ones_quarantine_comes_back)
{
	enum { KEPT = 50 };
	setup();
	shmb_ref *kept = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t pid = fork();
	if (pid == 0) {
		pairs(2000, SIZE);
		pairs(100, 5000);
		for (unsigned i = 0; i < KEPT; i++) {
			void *p = shmb_malloc(a, SIZE);
			CHILD_ASSERT(p);
			stamp(p, SIZE, i);
			kept[i] = shmb_ref_of(a, p);
		}
		CHILD_ASSERT(walk_arena(a, false).backlog > 20);
		kill(getpid(), SIGKILL);
	}
	int status;
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	(void)checked(a, 0);
	ck_assert_int_eq(shmb_recover(a), 1);
	(void)checked(a, 0);
	pairs(3000, SIZE);
	for (unsigned i = 0; i < KEPT; i++) {
		char *p = shmb_deref(a, kept[i], SIZE);
		ck_assert(p && stamped(p, SIZE, i));
		shmb_free(a, p);
	}
	struct walk w = walk_trimmed(a);
	ck_assert_uint_eq(w.cached + w.live + w.stray + w.mags + w.used, 0);
	arena_done(a);
}
END_TEST

/* A forked child that shares goes on with caches of its own, over which both verify each other. */
START_TEST(a_child_shares_it)
{
	setup();
	char *p = shmb_malloc(a, SIZE), *q = shmb_malloc(a, 2 * UNIT);
	pairs(500, SIZE);
	pid_t pid = fork();
	if (pid == 0) {
		CHILD_ASSERT(shmb_usable_size(a, p) == SIZE);
		shmb_free(a, p);
		CHILD_ASSERT(shmb_realloc(a, q, 4 * UNIT));
		pairs(500, SIZE);
		_exit(0);
	}
	expect_exit(pid, 0);
	pairs(5000, SIZE);
	(void)checked(a, 0);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("harden", who_creates_it_decides, what_is_asked_for_may_be_used, one_byte_too_many_is_found,
	                 any_byte_before_the_canary_is_looked_at, the_canary_itself_is_found,
	                 whoever_writes_and_whoever_frees, a_write_after_the_free_is_found, what_is_freed_reads_as_junk,
	                 a_second_free_is_found_for_long, a_freed_block_waits, the_quarantine_is_bounded,
	                 a_shortage_ends_the_quarantine, the_order_is_random, check_names_the_block,
	                 check_beside_writers_is_clean, a_dead_ones_quarantine_comes_back, a_child_shares_it);
}
