/* test_name.c - names of regions, the files that they stand for, the directories that are kept. */
#include "tests_common.h"

#include "name.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char dir[] = "/tmp/shmb-test-name-XXXXXX";

static const char *in_dir(const char *base)
{
	static char path[REGION_PATH];
	ck_assert_int_eq(name_in(dir, base, path), 0);
	return path;
}

START_TEST(names_have_one_form)
{
	static const struct {
		const char *name, *canonical, *path;
	} rows[] = {
		{"feed", "/feed", "/dev/shm/feed"},
		{"/feed", "/feed", "/dev/shm/feed"},
		{"/dev/shm/feed", "/feed", "/dev/shm/feed"},
		{"/mnt/fabric/feed", "/mnt/fabric/feed", "/mnt/fabric/feed"},
		{"/dev/shm/a/feed", "/dev/shm/a/feed", "/dev/shm/a/feed"},
		{"/a/...", "/a/...", "/a/..."},
	};
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		char canonical[REGION_NAME], path[REGION_PATH];
		ck_assert_int_eq(name_canonical(rows[i].name, canonical), 0);
		ck_assert_str_eq(canonical, rows[i].canonical);
		name_path(canonical, path);
		ck_assert_str_eq(path, rows[i].path);
	}
}
END_TEST

START_TEST(what_names_nothing_is_refused)
{
	static const char *const bad[] = {NULL, "", "/", ".", "..", "/..", "a/b", "./a", "//a", "///a", "/a/", "/a/.", "/a/.."};
	char out[REGION_NAME];
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(name_canonical(bad[i], out), EINVAL);
}
END_TEST

START_TEST(the_longest_path_fits)
{
	char path[300], out[REGION_NAME];
	memset(path, 'x', sizeof path);
	memcpy(path, "/mnt/", 5);
	path[255] = 0;
	ck_assert_int_eq(name_canonical(path, out), 0);
	ck_assert_str_eq(out, path);
	path[255] = 'x';
	path[256] = 0;
	ck_assert_int_eq(name_canonical(path, out), ENAMETOOLONG);
	memcpy(path, "/dev/shm/", 9); /* where the name alone counts */
	ck_assert_int_eq(name_canonical(path, out), 0);
	ck_assert_uint_eq(strlen(out), 256 - 8);
}
END_TEST

START_TEST(a_draft_appears_once)
{
	struct name_draft a, b;
	ck_assert_int_eq(name_draft_open(in_dir("drafted"), &a), 0);
	ck_assert_int_eq(name_draft_open(in_dir("drafted"), &b), 0);
	ck_assert(access(in_dir("drafted"), F_OK) != 0);
	ck_assert_int_eq(name_draft_link(&a, in_dir("drafted")), 0);
	ck_assert_int_eq(name_draft_link(&b, in_dir("drafted")), EEXIST);
	name_draft_end(&a);
	name_draft_end(&b);
	sys_close(a.fd);
	sys_close(b.fd);
	ck_assert_int_eq(unlink(in_dir("drafted")), 0);
	ck_assert_int_eq(rmdir(dir), 0); /* nothing else was left */
	ck_assert_int_eq(mkdir(dir, 0700), 0);
}
END_TEST

static struct stat made(const char *base)
{
	struct stat st;
	int fd;
	ck_assert_int_eq(sys_open(in_dir(base), O_CREAT | O_EXCL | O_RDWR, 0600, &fd), 0);
	ck_assert_int_eq(sys_fstat(fd, &st), 0);
	sys_close(fd);
	return st;
}

START_TEST(what_is_kept_is_reached_by_another_path)
{
	char moved[64];
	struct stat st = made("kept");
	ck_assert_int_eq(name_unlink_kept(in_dir("kept"), st.st_dev, st.st_ino), EBADF);
	unsigned uses[] = {name_keep_dir(in_dir("kept")), name_keep_dir(in_dir("kept"))};
	ck_assert_uint_ne(uses[0], 0);
	ck_assert_uint_eq(uses[0], uses[1]);
	name_drop_dir(uses[1]);
	snprintf(moved, sizeof moved, "%s-moved", dir);
	ck_assert_int_eq(rename(dir, moved), 0);
	ck_assert_int_eq(name_unlink_kept(in_dir("kept"), st.st_dev, st.st_ino + 1), SHMB_EGONE);
	ck_assert_int_eq(name_unlink_kept(in_dir("kept"), st.st_dev, st.st_ino), 0);
	ck_assert_int_eq(rename(moved, dir), 0);
	ck_assert(access(in_dir("kept"), F_OK) != 0);
	st = made("kept");
	name_drop_dir(uses[0]);
	ck_assert_int_eq(name_unlink_kept(in_dir("kept"), st.st_dev, st.st_ino), EBADF);
	ck_assert_int_eq(unlink(in_dir("kept")), 0);
	ck_assert_uint_eq(name_keep_dir("/feed"), 0); /* the shm directory's stays */
}
END_TEST

/* More directories than are kept: the ones before stay within reach. */
START_TEST(there_is_room_for_sixteen)
{
	struct stat st = made("first");
	(void)name_keep_dir(in_dir("first"));
	for (unsigned i = 0; i < 20; i++) {
		char other[REGION_PATH];
		snprintf(other, sizeof other, "%s/%u", dir, i);
		ck_assert_int_eq(mkdir(other, 0700), 0);
		strcat(other, "/x");
		ck_assert_int_eq(name_keep_dir(other) != 0, i < 15);
		*strrchr(other, '/') = 0;
		ck_assert_int_eq(rmdir(other), 0);
	}
	ck_assert_int_eq(name_unlink_kept(in_dir("first"), st.st_dev, st.st_ino), 0);
}
END_TEST

int main(void)
{
	if (!mkdtemp(dir))
		return 1;
	int failed = TESTS_RUN("name", names_have_one_form, what_names_nothing_is_refused, the_longest_path_fits, a_draft_appears_once,
	                       what_is_kept_is_reached_by_another_path, there_is_room_for_sixteen);
	(void)rmdir(dir);
	return failed;
}
