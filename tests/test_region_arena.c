/*
 * test_region_arena.c - what shmb_arena_open() makes of what it finds: files
 * that are no arenas, damaged headers, and the arena of a dead owner.
 */
#include "helpers/region_util.h"

#include "layout.h"

#include <fcntl.h>
#include <stddef.h>

/* Leaves an arena of 1 MiB that belongs to nobody, with one live block in it. */
static void leave_arena(const char *name)
{
	shmb_options opt = {.size = MIB};
	shmb_arena *a;
	ck_assert_int_eq(shmb_arena_open(name, &opt, &a), 0);
	ck_assert_ptr_nonnull(shmb_malloc(a, 100));
	ck_assert_int_eq(shmb_region_leak(shmb_arena_region(a)), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
}

static int file_of(const char *name)
{
	int fd = open(path_of(name), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_ge(fd, 0);
	return fd;
}

static void write_at(const char *name, const void *bytes, size_t len, off_t at)
{
	int fd = file_of(name);
	ck_assert_int_eq(pwrite(fd, bytes, len, at), (ssize_t)len);
	close(fd);
}

static void resize(const char *name, off_t size)
{
	ck_assert_int_eq(truncate(path_of(name), size), 0);
}

/* Opens for reading and for writing, which must agree on the error. */
static void open_fails(const char *name, int want)
{
	shmb_options read_only = {.flags = SHMB_READ_ONLY}, create = {.size = MIB};
	shmb_arena *a;
	ck_assert_int_eq(shmb_arena_open(name, &read_only, &a), want);
	ck_assert_int_eq(shmb_arena_open(name, NULL, &a), want);
	ck_assert_int_eq(shmb_arena_open(name, &create, &a), want);
	ck_assert(exists(name));
}

START_TEST(garbage_is_no_arena)
{
	const char *name = named("garbage");
	char bytes[8192];
	srand(1);
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = (char)rand();
	write_at(name, bytes, 100, 0);
	open_fails(name, SHMB_EFORMAT);
	write_at(name, bytes, sizeof bytes, 0);
	open_fails(name, SHMB_EFORMAT);
	memset(bytes, 0, sizeof bytes);
	write_at(name, bytes, sizeof bytes, 0);
	open_fails(name, SHMB_EFORMAT);
	write_at(name, REGION_MAGIC, sizeof REGION_MAGIC, 0);
	open_fails(name, SHMB_EFORMAT);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

START_TEST(wrong_length_is_corrupt)
{
	const char *name = named("length");
	leave_arena(name);
	off_t size = stat_of(name).st_size;
	static const int bad[] = {PAGE, 2 * PAGE, -PAGE, -1, 1, PAGE};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		resize(name, i < 2 ? bad[i] : size + bad[i]);
		open_fails(name, SHMB_ECORRUPT);
	}
	resize(name, 100);
	open_fails(name, SHMB_EFORMAT);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

#define FIELD(f) offsetof(struct header_shm, f), sizeof(((struct header_shm *)0)->f)

static const struct field {
	const char *name;
	size_t at, size;
	int want; /* 0: any byte of it may change */
} fields[] = {
	{"magic", FIELD(magic), SHMB_EFORMAT},
	{"version", FIELD(version), SHMB_EFORMAT},
	{"probe", FIELD(probe), SHMB_EFORMAT},
	{"file_size", FIELD(file_size), SHMB_ECORRUPT},
	{"capacity", FIELD(capacity), SHMB_ECORRUPT},
	{"base", FIELD(base), 0},
	{"data_off", FIELD(data_off), SHMB_ECORRUPT},
	{"created_ns", FIELD(created_ns), 0},
	{"creator_pid", FIELD(creator_pid), 0},
	{"layout_crc", FIELD(layout_crc), SHMB_EFORMAT},
	{"creator_name", FIELD(creator_name), 0},
	{"run", FIELD(run), 0},
};

static void flip(const char *name, size_t at, unsigned char bits)
{
	unsigned char byte;
	int fd = file_of(name);
	ck_assert_int_eq(pread(fd, &byte, 1, (off_t)at), 1);
	byte ^= bits;
	ck_assert_int_eq(pwrite(fd, &byte, 1, (off_t)at), 1);
	close(fd);
}

START_TEST(flipped_bytes_of_the_fixed_header)
{
	const char *name = named("header");
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	leave_arena(name);
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		for (size_t at = 0; at < fields[i].size; at++)
			for (unsigned bits = 1; bits < 0x100; bits = bits << 1 | (bits & 1)) {
				flip(name, fields[i].at + at, (unsigned char)bits);
				int err = shmb_arena_open(name, &opt, &a);
				if (!err)
					ck_assert_int_eq(shmb_arena_close(a), 0);
				bool good = err == fields[i].want || (!fields[i].want && err == SHMB_ECORRUPT);
				ck_assert_msg(good, "%s[%zu] ^ %#x: %s", fields[i].name, at, bits,
				              shmb_strerror(err));
				flip(name, fields[i].at + at, (unsigned char)bits);
			}
	ck_assert_int_eq(shmb_arena_open(name, &opt, &a), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

static int read_damaged(const void *name)
{
	shmb_options opt = {.flags = SHMB_READ_ONLY};
	shmb_arena *a;
	if (shmb_arena_open(name, &opt, &a) == 0)
		NEED(shmb_arena_close(a) == 0);
	return 0;
}

static int use_damaged(const void *name)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	void *blocks[20];
	if (shmb_arena_open(name, &opt, &a))
		return 0;
	for (size_t i = 0; i < 20; i++) {
		blocks[i] = shmb_malloc(a, (size_t)40 << i / 2);
		if (blocks[i])
			memset(blocks[i], 1, (size_t)40 << i / 2);
	}
	for (size_t i = 0; i < 20; i++)
		shmb_free(a, blocks[i]);
	return shmb_arena_close(a);
}

/* Any answer will do but a crash, a hang, or a wrong success at closing. */
START_TEST(damaged_counters_of_the_header_crash_nobody)
{
	const char *name = named("counters");
	static char good[PAGE], fresh[PAGE];
	leave_arena(name);
	int fd = file_of(name);
	ck_assert_int_eq(pread(fd, good, sizeof good, 0), PAGE);
	for (size_t at = offsetof(struct header_shm, units_ready); at < sizeof(struct header_shm); at += 4) {
		memcpy(fresh, good, sizeof fresh);
		memset(fresh + at, 0xff, 4);
		ck_assert_int_eq(pwrite(fd, fresh, sizeof fresh, 0), PAGE);
		int status = in_child(read_damaged, name);
		ck_assert_msg(status == 0, "byte %zu, reading: status %#x", at, status);
		status = in_child(use_damaged, name);
		ck_assert_msg(status == 0, "byte %zu, writing: status %#x", at, status);
	}
	close(fd);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

/* ---- a dead owner's arena -------------------------------------------------------------- */

enum { BLOCKS = 300 };

static size_t block_size(unsigned i)
{
	return i % 50 == 49 ? 100 * KIB : 16 + i * 7;
}

struct legacy {
	const char *name;
	int pipe[2];
};

static int die_with_blocks(const void *arg)
{
	const struct legacy *l = arg;
	shmb_options opt = {.size = 16 * MIB};
	shmb_arena *a;
	NEED(shmb_arena_open(l->name, &opt, &a) == 0);
	for (unsigned i = 0; i < BLOCKS; i++) {
		void *p = shmb_malloc(a, block_size(i));
		NEED(p);
		memset(p, (int)i, block_size(i));
		shmb_ref ref = shmb_ref_of(a, p);
		NEED(write(l->pipe[1], &ref, sizeof ref) == sizeof ref);
	}
	raise(SIGKILL);
	return 1;
}

static bool block_is(const unsigned char *p, unsigned i)
{
	for (size_t at = 0; at < block_size(i); at++)
		if (p[at] != (unsigned char)i)
			return false;
	return true;
}

static shmb_arena *inherit(struct legacy *l, const char *name)
{
	shmb_options opt = {.size = 16 * MIB};
	shmb_arena *a;
	l->name = name;
	ck_assert_int_eq(pipe(l->pipe), 0);
	ck_assert(WIFSIGNALED(in_child(die_with_blocks, l)));
	ck_assert_int_eq(shmb_arena_open(name, &opt, &a), 0);
	ck_assert_int_eq(shmb_region_how(shmb_arena_region(a)), SHMB_CLAIMED);
	return a;
}

START_TEST(a_claimed_arena_keeps_its_blocks)
{
	struct legacy l;
	shmb_arena *a = inherit(&l, named("claim"));
	unsigned char *more[BLOCKS], *old[BLOCKS];
	for (unsigned i = 0; i < BLOCKS; i++) {
		shmb_ref ref;
		more[i] = shmb_malloc(a, block_size(i)); /* must not land in what lives */
		ck_assert_ptr_nonnull(more[i]);
		memset(more[i], 0xee, block_size(i));
		ck_assert_int_eq(read(l.pipe[0], &ref, sizeof ref), sizeof ref);
		old[i] = shmb_deref(a, ref, block_size(i));
		ck_assert_ptr_nonnull(old[i]);
	}
	for (unsigned i = 0; i < BLOCKS; i++) {
		ck_assert_msg(block_is(old[i], i), "block %u", i);
		ck_assert_uint_ge(shmb_usable_size(a, old[i]), block_size(i));
		shmb_free(a, old[i]);
		shmb_free(a, more[i]);
	}
	shmb_trim(a);
	void *half = shmb_malloc(a, 8 * MIB);
	ck_assert_ptr_nonnull(half);
	shmb_free(a, half);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert(!exists(l.name));
}
END_TEST

START_TEST(a_claimed_arena_may_be_kept)
{
	struct legacy l;
	shmb_arena *a = inherit(&l, named("keep"));
	shmb_region *r = shmb_arena_region(a);
	ck_assert_int_eq(shmb_region_is_owner(r), 1);
	ck_assert_int_eq(shmb_region_leak(r), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert(exists(l.name));
	ck_assert_int_eq(shmb_arena_open(l.name, NULL, &a), 0);
	ck_assert_int_eq(shmb_region_how(shmb_arena_region(a)), SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_own(shmb_arena_region(a)), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert(!exists(l.name));
}
END_TEST

START_TEST(a_dead_owners_arena_may_be_replaced)
{
	struct legacy l;
	shmb_options opt = {.size = MIB, .flags = SHMB_REPLACE};
	shmb_arena *a = inherit(&l, named("anew"));
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert_int_eq(pipe(l.pipe), 0);
	ck_assert(WIFSIGNALED(in_child(die_with_blocks, &l)));
	ck_assert_int_eq(shmb_arena_open(l.name, &opt, &a), 0);
	ck_assert_int_eq(shmb_region_how(shmb_arena_region(a)), SHMB_CREATED);
	ck_assert_uint_eq(shmb_arena_capacity(a), MIB);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert(!exists(l.name));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("region_arena");
	TCase *tc = tcase_create("opening");
	tcase_set_timeout(tc, 120);
	tcase_add_test(tc, garbage_is_no_arena);
	tcase_add_test(tc, wrong_length_is_corrupt);
	tcase_add_test(tc, flipped_bytes_of_the_fixed_header);
	tcase_add_test(tc, damaged_counters_of_the_header_crash_nobody);
	tcase_add_test(tc, a_claimed_arena_keeps_its_blocks);
	tcase_add_test(tc, a_claimed_arena_may_be_kept);
	tcase_add_test(tc, a_dead_owners_arena_may_be_replaced);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite);
}
