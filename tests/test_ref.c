/*
 * test_ref.c - refs between processes and handles, what garbage does, and
 * arenas as a process opens them: several at once, elsewhere, again and again.
 */
#include "tests_common.h"

#include <fcntl.h>

/* ---- bounds ------------------------------------------------------------------------ */

static void bounds_of(shmb_arena *a, size_t size)
{
	char *p = shmb_malloc(a, size);
	size_t usable = shmb_usable_size(a, p);
	shmb_ref ref = shmb_ref_of(a, p);
	size_t steps[] = {0, 1, 15, 16, usable / 2, usable - 1};
	MUST(ref && (char *)shmb_region_addr(shmb_arena_region(a)) + ref == p, "size %zu: not the offset", size);
	for (unsigned i = 0; i < 6; i++) {
		size_t at = steps[i] < usable ? steps[i] : usable - 1;
		MUST(shmb_ref_of(a, p + at) == ref + at, "size %zu: ref of +%zu", size, at);
		MUST(shmb_deref(a, ref + at, 0) == p + at, "size %zu +%zu len 0", size, at);
		MUST(shmb_deref(a, ref + at, usable - at) == p + at, "size %zu +%zu to its end", size, at);
		MUST(!shmb_deref(a, ref + at, usable - at + 1), "size %zu +%zu over its end", size, at);
		MUST(!shmb_deref(a, ref + at, SIZE_MAX), "size %zu +%zu: all there is", size, at);
	}
	shmb_free(a, p);
	MUST(!shmb_deref(a, ref, 0) && !shmb_deref(a, ref + usable - 1, 1), "size %zu: freed", size);
}

START_TEST(bounds_are_the_blocks_own)
{
	shmb_arena *a = arena_new(64 * MIB);
	void *beside[CLASSES];
	for (unsigned c = 0; c < CLASSES; c++)
		beside[c] = shmb_malloc(a, class_size(c)); /* so that their pages stay */
	for (unsigned c = 0; c < CLASSES; c++)
		for (unsigned i = 0; i < 20; i++)
			bounds_of(a, class_size(c));
	size_t large[] = {57345, 65536, 65537, 200000, MIB, 5 * MIB + 1};
	for (unsigned i = 0; i < 6; i++)
		bounds_of(a, large[i]);
	for (unsigned c = 0; c < CLASSES; c++)
		shmb_free(a, beside[c]);
	arena_done(a);
}
END_TEST

START_TEST(no_block_no_ref)
{
	shmb_arena *a = arena_new(16 * MIB), *b = arena_new(16 * MIB);
	int local;
	char *other = shmb_malloc(b, 100);
	ck_assert_uint_eq(shmb_ref_of(a, NULL), 0);
	ck_assert_uint_eq(shmb_ref_of(a, &local), 0);
	ck_assert_uint_eq(shmb_ref_of(a, other), 0);
	ck_assert_uint_eq(shmb_ref_of(a, a->hdr), 0);
	ck_assert_ptr_null(shmb_deref(a, 0, 0));
	ck_assert_ptr_null(shmb_deref(a, 1, 0));
	ck_assert_ptr_null(shmb_deref(a, a->lay.data - 1, 1));
	ck_assert_ptr_null(shmb_deref(a, a->lay.data, 0)); /* nothing was ever there */
	ck_assert_ptr_null(shmb_deref(a, a->lay.size - 1, 1));
	ck_assert_ptr_null(shmb_deref(a, a->lay.size, 0));
	ck_assert_ptr_null(shmb_deref(a, UINT64_MAX, 0));
	ck_assert_ptr_null(shmb_deref(a, UINT64_MAX, UINT64_MAX));
	ck_assert_ptr_null(shmb_deref(a, (uint64_t)1 << 63, 1));
	arena_done(b);
	arena_done(a);
}
END_TEST

enum { BLOCKS = 3000 };
struct range {
	char *p;
	size_t n;
};

static int by_address(const void *x, const void *y)
{
	const struct range *a = x, *b = y;
	return a->p < b->p ? -1 : a->p > b->p;
}

/* The live block that holds `p`, by the test's own book. */
static const struct range *holder_of(const struct range *r, const char *p)
{
	unsigned lo = 0, hi = BLOCKS;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		if (r[mid].p <= p)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && p < r[lo - 1].p + r[lo - 1].n ? &r[lo - 1] : NULL;
}

START_TEST(garbage_refs_name_live_blocks_or_nothing)
{
	static struct range r[BLOCKS];
	shmb_arena *a = arena_new(64 * MIB);
	struct rng g = {.s = 8};
	for (unsigned i = 0; i < 2 * BLOCKS; i++) { /* every other one is freed again: holes */
		char *p = shmb_malloc(a, rnd_below(&g, i % 50 ? 2000 : 100000));
		if (i % 2)
			shmb_free(a, p);
		else
			r[i / 2] = (struct range){.p = p, .n = shmb_usable_size(a, p)};
	}
	qsort(r, BLOCKS, sizeof *r, by_address);
	unsigned hits = 0;
	for (unsigned i = 0; i < 400000 / SLOW; i++) {
		uint64_t ref = i % 4 ? a->lay.data + rnd_below(&g, 24 * MIB) : i % 8 ? rnd_below(&g, a->lay.size + MIB) : rnd(&g);
		size_t len = rnd_below(&g, i % 3 ? 300 : 100000);
		char *p = ref < a->lay.size ? a->map + ref : NULL;
		const struct range *in = p ? holder_of(r, p) : NULL;
		bool want = in && len <= in->n - (size_t)(p - in->p);
		MUST(shmb_deref(a, ref, len) == (want ? p : NULL), "ref %lx len %zu", ref, len);
		hits += want;
	}
	ck_assert_uint_gt(hits, 1000);
	arena_done(a);
}
END_TEST

/* ---- mapped elsewhere ---------------------------------------------------------------- */

/* Another process makes a region, leaves a list in it, keeps it, and goes. */
static shmb_ref make_elsewhere(const char *name)
{
	int fd[2];
	shmb_ref ref = 0;
	ck_assert_int_eq(pipe(fd), 0);
	pid_t pid = fork();
	if (pid == 0) {
		shmb_options opt = {.size = 16 * MIB, .flags = SHMB_CREATE_ONLY};
		shmb_arena *a;
		CHILD_ASSERT(shmb_arena_open(name, &opt, &a) == 0);
		for (unsigned i = 0; i < 100; i++) {
			shmb_ref *node = shmb_malloc(a, 16 + i * 1000);
			node[0] = ref;
			node[1] = i;
			ref = shmb_ref_of(a, node);
		}
		CHILD_ASSERT(shmb_region_leak(shmb_arena_region(a)) == 0);
		CHILD_ASSERT(write(fd[1], &ref, sizeof ref) == sizeof ref);
		_exit(0);
	}
	ck_assert_int_eq(read(fd[0], &ref, sizeof ref), sizeof ref);
	expect_exit(pid, 0);
	close(fd[0]);
	close(fd[1]);
	return ref;
}

static void list_is_whole(shmb_arena *a, shmb_ref ref)
{
	for (unsigned i = 100; i-- > 0;) {
		shmb_ref *node = shmb_deref(a, ref, 16 + i * 1000);
		ck_assert_ptr_nonnull(node);
		ck_assert_uint_eq(node[1], i);
		ref = node[0];
	}
	ck_assert_uint_eq(ref, 0);
}

static uint64_t base_of(const char *name)
{
	struct header_shm h;
	char path[300];
	snprintf(path, sizeof path, "/dev/shm%s", name);
	int fd = open(path, O_RDONLY);
	ck_assert_int_eq(pread(fd, &h, sizeof h, 0), sizeof h);
	close(fd);
	return h.base;
}

START_TEST(where_the_address_is_taken_refs_still_work)
{
	char name[64];
	snprintf(name, sizeof name, "%s", test_name());
	shmb_ref ref = make_elsewhere(name);
	shmb_options fixed = {.flags = SHMB_FIXED | SHMB_ATTACH_ONLY};
	shmb_arena *a = NULL;
	void *base = (void *)base_of(name);
	void *block = mmap(base, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
	ck_assert_ptr_eq(block, base);
	ck_assert_int_eq(shmb_arena_open(name, &fixed, &a), SHMB_EADDRESS);
	ck_assert_int_eq(shmb_arena_open(name, NULL, &a), 0);
	ck_assert_int_eq(shmb_arena_is_fixed(a), 0);
	ck_assert_ptr_ne(shmb_region_addr(shmb_arena_region(a)), base);
	list_is_whole(a, ref);
	void *p = shmb_malloc(a, 1000);
	ck_assert_ptr_eq(shmb_arena_of(p), a);
	shmb_free(a, p);
	arena_done(a);
	munmap(block, PAGE);
	ck_assert_int_eq(shmb_arena_open(name, &fixed, &a), 0);
	ck_assert_int_eq(shmb_arena_is_fixed(a), 1);
	ck_assert_ptr_eq(shmb_region_addr(shmb_arena_region(a)), base);
	list_is_whole(a, ref);
	ck_assert_int_eq(shmb_region_own(shmb_arena_region(a)), 0); /* and its close removes the name */
	arena_done(a);
	ck_assert_int_eq(shmb_arena_open(name, &fixed, &a), ENOENT);
}
END_TEST

/* ---- several arenas -------------------------------------------------------------------- */

START_TEST(arenas_side_by_side)
{
	enum { N = 6, EACH = 200 };
	shmb_arena *a[N];
	char *p[N][EACH];
	for (unsigned i = 0; i < N; i++)
		a[i] = arena_new(16 * MIB);
	for (unsigned k = 0; k < EACH; k++) {
		for (unsigned i = 0; i < N; i++) {
			size_t size = 8 + k * (k % 9 ? 7 : 400);
			p[i][k] = shmb_malloc(a[i], size);
			MUST(shmb_arena_of(p[i][k]) == a[i], "arena %u", i);
			stamp(p[i][k], size, i * EACH + k);
		}
	}
	for (unsigned i = 0; i < N; i++)
		ck_assert_uint_eq(walk_arena(a[i], true).threads, 1);
	for (unsigned k = 0; k < EACH; k++) {
		for (unsigned i = 0; i < N; i++) {
			MUST(stamped(p[i][k], 8 + k * (k % 9 ? 7 : 400), i * EACH + k), "block %u of arena %u", k, i);
			shmb_free(a[i], p[i][k]);
		}
		if (k == EACH / 2) { /* one goes; the others do not mind */
			for (unsigned j = k + 1; j < EACH; j++)
				p[2][j] = NULL;
			arena_done(a[2]);
			a[2] = arena_new(16 * MIB);
			for (unsigned j = k + 1; j < EACH; j++)
				stamp(p[2][j] = shmb_malloc(a[2], 8 + j * (j % 9 ? 7 : 400)), 8 + j * (j % 9 ? 7 : 400), 2 * EACH + j);
		}
	}
	for (unsigned i = 0; i < N; i++) {
		shmb_trim(a[i]);
		ck_assert_uint_eq(walk_arena(a[i], true).used, 0);
		arena_done(a[i]);
	}
}
END_TEST

START_TEST(sixty_four_arenas_and_no_more)
{
	shmb_arena *a[65] = {0};
	shmb_options opt = {.size = MIB, .flags = SHMB_CREATE_ONLY};
	for (unsigned i = 0; i < 64; i++)
		a[i] = arena_new(MIB);
	ck_assert_int_eq(shmb_arena_open(test_name(), &opt, &a[64]), EMFILE);
	ck_assert_ptr_null(a[64]);
	arena_done(a[17]);
	a[17] = arena_new(MIB);
	for (unsigned i = 0; i < 64; i++)
		ck_assert_ptr_nonnull(shmb_malloc(a[i], 100));
	for (unsigned i = 0; i < 64; i++)
		arena_done(a[i]);
}
END_TEST

/* ---- again and again ---------------------------------------------------------------------- */

static unsigned lines_of(const char *path)
{
	FILE *f = fopen(path, "r");
	unsigned n = 0;
	for (int c; (c = getc(f)) != EOF;)
		n += c == '\n';
	fclose(f);
	return n;
}

static unsigned fds_open(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void use_once(shmb_arena *keep)
{
	shmb_arena *a = keep ? arena_again(keep) : arena_new(8 * MIB), *b = arena_again(a);
	void *p = shmb_malloc(a, 100), *q = shmb_malloc(b, 100000);
	shmb_free(b, through(b, a, p));
	shmb_free(a, through(a, b, q));
	p = shmb_malloc(a, 3000); /* what is live goes with the region, or stays in it */
	if (keep)
		shmb_free(keep, through(keep, a, p));
	arena_done(b);
	arena_done(a);
}

/* jemalloc keeps 2 MiB of address space for each GiB it ever saw, in maps that double. */
enum { SPARE_MAPS = 40 };

START_TEST(three_hundred_creations_leave_nothing)
{
	for (unsigned i = 0; i < 10; i++)
		use_once(NULL);
	unsigned maps = lines_of("/proc/self/maps"), fds = fds_open();
	for (unsigned i = 0; i < 300; i++)
		use_once(NULL);
	ck_assert_uint_eq(fds_open(), fds);
	ck_assert(!MAPS_TELL || lines_of("/proc/self/maps") <= maps + SPARE_MAPS);
}
END_TEST

START_TEST(three_hundred_attachments_leave_nothing)
{
	shmb_arena *keep = arena_new(8 * MIB);
	for (unsigned i = 0; i < 10; i++)
		use_once(keep);
	unsigned maps = lines_of("/proc/self/maps"), fds = fds_open();
	for (unsigned i = 0; i < 300; i++)
		use_once(keep);
	ck_assert_uint_eq(fds_open(), fds);
	ck_assert(!MAPS_TELL || lines_of("/proc/self/maps") <= maps + SPARE_MAPS);
	ck_assert_uint_eq(atomic_load(&keep->hdr->slots_high), 3);
	shmb_trim(keep);
	struct walk w = walk_arena(keep, true);
	ck_assert_msg(w.used == 0 && w.mags == 0, "used %lu mags %u", w.used, w.mags);
	arena_done(keep);
}
END_TEST

int main(void)
{
	return TESTS_RUN("ref", bounds_are_the_blocks_own, no_block_no_ref, garbage_refs_name_live_blocks_or_nothing,
	                 where_the_address_is_taken_refs_still_work, arenas_side_by_side, sixty_four_arenas_and_no_more,
	                 three_hundred_creations_leave_nothing, three_hundred_attachments_leave_nothing);
}
