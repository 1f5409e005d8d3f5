/*
 * test_save.c - a region saved and loaded: blocks, contents, boxes; committed
 * is what was, whatever became of the file's holes; and what is refused.
 */
#include "tests_common.h"

#include "huge.h"

#include "view.h"

#include <fcntl.h>

enum { SMALL = 20000, LARGE = 8, PATH = 128 };

struct thing {
	uint64_t value;
};
static const shmb_type thing = SHMB_TYPE(struct thing, NULL);

static shmb_ref small[SMALL], large[LARGE];
static char path[PATH], loaded[PATH];

static void names(void)
{
	snprintf(path, sizeof path, "/tmp/shmb-test-%d-saved", (int)getpid());
	snprintf(loaded, sizeof loaded, "/shmb-test-%d-loaded", (int)getpid());
	unlink(path);
	shmb_remove_name(loaded);
}

static int init(void *obj, void *arg)
{
	((struct thing *)obj)->value = *(uint64_t *)arg;
	return 0;
}

static size_t size_of(unsigned i) { return 16 + i * 37 % 3000; }

/* Blocks of every small size, every third freed again; large ones; named boxes, kept. */
static shmb_arena *filled(void)
{
	shmb_arena *a = arena_new(256 * MIB);
	uint64_t value;
	for (unsigned i = 0; i < SMALL; i++) {
		char *p = shmb_malloc(a, size_of(i));
		memset(p, (int)(i % 251), size_of(i));
		small[i] = shmb_ref_of(a, p);
	}
	for (unsigned i = 0; i < SMALL; i += 3)
		shmb_free(a, shmb_deref(a, small[i], 1));
	for (unsigned i = 0; i < LARGE; i++) {
		char *p = shmb_malloc(a, (i + 1) * 100000);
		memset(p, 'A' + (int)i, (i + 1) * 100000);
		large[i] = shmb_ref_of(a, p);
	}
	for (value = 0; value < 300; value++) {
		char name[16];
		shmb_box *b;
		snprintf(name, sizeof name, "box %d", (int)value);
		MUST(!shmb_box_find_or_new(a, name, &thing, init, &value, &b, NULL) && !shmb_box_leak(b), "%s", name);
	}
	return a;
}

static void look_through(shmb_arena *a)
{
	for (unsigned i = 0; i < SMALL; i++) {
		const char *p = shmb_deref(a, small[i], 1);
		MUST(i % 3 == 0 || p, "block %u is gone", i);
		for (size_t k = 0; i % 3 && k < size_of(i); k++)
			MUST(p[k] == (char)(i % 251), "block %u, byte %zu", i, k);
	}
	for (unsigned i = 0; i < LARGE; i++) {
		const char *p = shmb_deref(a, large[i], (i + 1) * 100000);
		MUST(p && p[0] == (char)('A' + i) && p[(i + 1) * 100000 - 1] == p[0], "large block %u", i);
	}
	for (unsigned i = 0; i < 300; i++) {
		char name[16];
		shmb_box *b;
		snprintf(name, sizeof name, "box %u", i);
		MUST(!shmb_box_find(a, name, &thing, &b), "%s", name);
		MUST(((struct thing *)shmb_box_get(b))->value == i, "%s", name);
	}
}

static void quiet(void *unused, const char *text)
{
	(void)unused;
	(void)text;
}

/* Frees all that was there, and as much again. */
static void work_in(shmb_arena *a)
{
	for (unsigned i = 0; i < SMALL; i++)
		if (i % 3)
			shmb_free(a, shmb_deref(a, small[i], 1));
	for (unsigned i = 0; i < LARGE; i++)
		shmb_free(a, shmb_deref(a, large[i], 1));
	for (unsigned i = 0; i < SMALL; i++)
		small[i] = shmb_ref_of(a, shmb_malloc(a, size_of(i)));
	for (unsigned i = 0; i < SMALL; i++)
		shmb_free(a, shmb_deref(a, small[i], 1));
}

START_TEST(what_was_there_is_there_again)
{
	shmb_options attach = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *b, *a = filled();
	int exact = -1;
	names();
	ck_assert_int_eq(shmb_save_name(shmb_region_name(shmb_arena_region(a)), path, &exact), 0);
	ck_assert_int_eq(exact, 1);
	ck_assert_int_eq(shmb_check_name(path, quiet, NULL), 0);
	arena_done(a);
	ck_assert_int_eq(shmb_load_name(path, loaded), 0);
	ck_assert_int_eq(shmb_arena_open(loaded, &attach, &b), 0);
	look_through(b);
	work_in(b);
	ck_assert_int_eq(shmb_check_name(loaded, quiet, NULL), 0);
	ck_assert_int_eq(shmb_region_own(shmb_arena_region(b)), 0);
	ck_assert_int_eq(shmb_arena_close(b), 0);
	ck_assert_int_eq(shmb_load_name(path, loaded), 0); /* its owner has taken it away: again */
	ck_assert_int_eq(shmb_load_name(path, loaded), EEXIST);
	shmb_remove_name(loaded);
	unlink(path);
}
END_TEST

static blkcnt_t blocks_of(int fd)
{
	struct stat st;
	ck_assert_int_eq(fstat(fd, &st), 0);
	return st.st_blocks;
}

/* Writes to the pages of `of` that there are in `from`: it takes no memory where they are committed, even as holes. */
static void has_all_of(int of, int from)
{
	off_t data = 0, hole = 0;
	unsigned pages = 0;
	blkcnt_t before = blocks_of(of);
	while ((data = lseek(from, hole, SEEK_DATA)) >= 0) {
		hole = lseek(from, data, SEEK_HOLE);
		for (off_t at = data; at < hole; at += PAGE, pages++)
			ck_assert_int_eq(pwrite(of, "", 1, at), 1);
	}
	ck_assert_uint_gt(pages, 1000);
	ck_assert_int_eq(blocks_of(of), before);
}

/* Zeros of the file become holes, as with cp --sparse=always. */
static void punch_zeros(void)
{
	static const char zeros[PAGE];
	char page[PAGE];
	int fd = open(path, O_RDWR);
	for (off_t at = 0; pread(fd, page, PAGE, at) == PAGE; at += PAGE)
		if (!memcmp(page, zeros, PAGE))
			ck_assert_int_eq(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, PAGE), 0);
	close(fd);
}

/* Is there a free unit that is populated and was never written to? */
static bool has_fresh(const shmb_arena *a)
{
	for (uint64_t u = 0; u < units_ready(a); u++)
		if (span_get(a, u) == span_make(SPAN_FREE, SPAN_FRESH, 0))
			return true;
	return false;
}

START_TEST(what_was_committed_is_committed)
{
	char object[2 * PATH], copy[2 * PATH];
	huge_anyway = true;
	shmb_arena *a = filled();
	ck_assert(shmb_malloc(a, 70 * UNIT) && shmb_malloc(a, 3 * UNIT));
	ck_assert(has_fresh(a)); /* of a huge page, and nobody's yet */
	memset(shmb_deref(a, large[3], 1), 0, 400000); /* committed, and zeros */
	names();
	snprintf(object, sizeof object, "/dev/shm%s", shmb_region_name(shmb_arena_region(a)));
	snprintf(copy, sizeof copy, "/dev/shm%s", loaded);
	ck_assert_int_eq(shmb_save_name(shmb_region_name(shmb_arena_region(a)), path, NULL), 0);
	punch_zeros();
	ck_assert_int_eq(shmb_load_name(path, loaded), 0);
	int fd = open(object, O_RDONLY), fd_copy = open(copy, O_RDWR), fd_file = open(path, O_RDONLY);
	ck_assert_int_ne(lseek(fd_file, (off_t)large[3] + 2 * PAGE, SEEK_DATA), (off_t)large[3] + 2 * PAGE); /* that hole is there */
	has_all_of(fd_copy, fd);
	close(fd);
	close(fd_copy);
	close(fd_file);
	arena_done(a);
	shmb_remove_name(loaded);
	unlink(path);
}
END_TEST

START_TEST(other_files_are_for_looking_only)
{
	shmb_info info;
	char word[] = "no region";
	names();
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	ck_assert_int_eq(write(fd, word, sizeof word), sizeof word);
	close(fd);
	ck_assert_int_eq(shmb_info_name(path, &info), 0);
	ck_assert_str_eq(info.name, path);
	ck_assert_int_eq(info.kind, SHMB_KIND_OTHER);
	ck_assert_int_eq(shmb_stats_name(path, quiet, NULL, ""), SHMB_EFORMAT);
	ck_assert_int_eq(shmb_reap_name(path, 1), EPERM);
	ck_assert_int_eq(shmb_remove_name(path), EPERM);
	ck_assert_int_eq(shmb_reap_name("./a", 1), EINVAL);
	ck_assert_int_eq(shmb_remove_name("./a"), EINVAL);
	ck_assert_int_eq(shmb_load_name(path, "a/b"), EINVAL);
	ck_assert_int_eq(shmb_load_name(path, "/no/such/b"), ENOENT);
	ck_assert_int_eq(shmb_save_name(path, path, NULL), EEXIST);
	ck_assert_int_eq(shmb_load_name(path, loaded), 0); /* a raw region's bytes */
	shmb_remove_name(loaded);
	ck_assert_int_eq(truncate(path, 0), 0);
	ck_assert_int_eq(shmb_load_name(path, loaded), SHMB_ETOOSMALL);
	ck_assert_int_eq(access(path, F_OK), 0);
	unlink(path);
}
END_TEST

int main(void)
{
	return TESTS_RUN("save", what_was_there_is_there_again, what_was_committed_is_committed, other_files_are_for_looking_only);
}
