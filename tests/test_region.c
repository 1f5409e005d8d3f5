/*
 * test_region.c - opening a region: names, sizes, modes, users, how it came
 * about, what is in the way, memory. test_region_own.c: who owns and unlinks;
 * test_region_arena.c: what an arena open makes of a file that may be none.
 */
#include "helpers/region_util.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>

/* ---- names, sizes, options -------------------------------------------------- */

START_TEST(bad_names_are_refused)
{
	static char long_name[300];
	shmb_region *r;
	const char *bad[] = {NULL, "", "/", ".", "..", "/.", "/..", "a/b", "./b", "/a/", "//a", "/a/..", "/a/.", long_name};
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(raw_open(bad[i], 4096, 0, &r), EINVAL);
	for (size_t len = 255; len <= 256; len++) {
		memset(long_name, 'x', len);
		ck_assert_int_eq(raw_open(long_name, 4096, 0, &r), EINVAL);
	}
}
END_TEST

START_TEST(longest_name_works)
{
	char name[256];
	size_t len = strlen(prefix);
	memcpy(name, prefix, len);
	memset(name + len, 'x', 255 - len);
	name[255] = 0; /* the slash and 254 bytes */
	shmb_region *r = raw_get(name, 4096, 0, SHMB_CREATED);
	ck_assert_str_eq(shmb_region_name(r), name);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(slash_is_optional)
{
	const char *name = named("slash");
	shmb_region *a = raw_get(name + 1, 4096, 0, SHMB_CREATED);
	shmb_region *b = raw_get(name, 4096, 0, SHMB_ATTACHED);
	ck_assert_str_eq(shmb_region_name(a), name);
	ck_assert_str_eq(shmb_region_name(b), name);
	memcpy(shmb_region_addr(a), "same", 4);
	ck_assert_mem_eq(shmb_region_addr(b), "same", 4);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
}
END_TEST

START_TEST(sizes)
{
	const char *name = named("size");
	shmb_region *r;
	shmb_arena *a;
	shmb_options opt = {.size = SIZE_MAX};
	ck_assert_int_eq(raw_open(name, 0, 0, &r), EINVAL);
	ck_assert_int_eq(shmb_region_open(name, NULL, &r), ENOENT);
	ck_assert_int_eq(shmb_arena_open(name, NULL, &a), ENOENT);
	ck_assert_int_eq(raw_open(name, SIZE_MAX, 0, &r), EFBIG);
	ck_assert_int_eq(shmb_arena_open(name, &opt, &a), EFBIG);
	int err = raw_open(name, (size_t)1 << 50, 0, &r);
	ck_assert(err == ENOSPC || err == ENOMEM);
	ck_assert_int_eq(raw_open(name, (size_t)1 << 62, SHMB_SPARSE, &r), ENOMEM);
	ck_assert(!exists(name));
	for (size_t size = 1; size < 10000; size += 4095) {
		r = raw_get(name, size, 0, SHMB_CREATED);
		ck_assert_uint_eq(shmb_region_size(r), size);
		ck_assert_uint_eq((uintptr_t)shmb_region_addr(r) % 4096, 0);
		((char *)shmb_region_addr(r))[size - 1] = 1;
		ck_assert_int_eq(shmb_region_close(r), 0);
	}
}
END_TEST

START_TEST(attaching_checks_the_size)
{
	const char *name = named("least");
	shmb_region *r = raw_get(name, 8192, 0, SHMB_CREATED), *b;
	ck_assert_int_eq(raw_open(name, 8193, 0, &b), SHMB_ETOOSMALL);
	ck_assert_int_eq(raw_open(name, 8193, SHMB_READ_ONLY, &b), SHMB_ETOOSMALL);
	b = raw_get(name, 100, 0, SHMB_ATTACHED);
	ck_assert_uint_eq(shmb_region_size(b), 8192);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_open(name, NULL, &b), 0);
	ck_assert_uint_eq(shmb_region_size(b), 8192);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_close(r), 0);
	leave_dead(name); /* 64 KiB; refusing it must not have claimed or removed it */
	ck_assert_int_eq(raw_open(name, MIB, 0, &b), SHMB_ETOOSMALL);
	b = raw_get(name, 0, 0, SHMB_CLAIMED);
	ck_assert_int_eq(shmb_region_close(b), 0);
}
END_TEST

START_TEST(excluding_options_are_refused)
{
	const char *name = named("options");
	static const shmb_options bad[] = {
		{.size = 4096, .flags = SHMB_CREATE_ONLY | SHMB_ATTACH_ONLY},
		{.size = 4096, .flags = SHMB_CREATE_ONLY | SHMB_READ_ONLY},
		{.size = 4096, .flags = SHMB_REPLACE | SHMB_ATTACH_ONLY},
		{.size = 4096, .flags = SHMB_REPLACE | SHMB_READ_ONLY},
		{.size = 4096, .flags = 1u << 20},
		{.size = 4096, .mode = 01600},
		{.size = 4096, .mode = 0100600},
		{.size = 4096, .run = "a tag of thirty-two bytes is 1 >"},
	};
	shmb_region *r;
	shmb_arena *a;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		ck_assert_int_eq(shmb_region_open(name, &bad[i], &r), EINVAL);
		ck_assert_int_eq(shmb_arena_open(name, &bad[i], &a), EINVAL);
		ck_assert(!exists(name));
	}
	shmb_options longest = {.size = 4096, .run = "a tag of thirty-one bytes is it"};
	ck_assert_int_eq(shmb_arena_open(name, &longest, &a), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
}
END_TEST

/* ---- modes and users --------------------------------------------------------- */

static int modes_are_exact(const void *arg)
{
	static const unsigned masks[] = {0, 077, 0777}, modes[] = {0, 0600, 0640, 0666, 0777, 0400, 0444};
	const char *name = named("mode");
	(void)arg;
	for (unsigned i = 0; i < 3 * 7; i++) {
		shmb_options opt = {.size = 4096, .mode = modes[i % 7]};
		shmb_region *r;
		struct stat st;
		umask(masks[i / 7]);
		int err = shmb_region_open(name, &opt, &r);
		if (err) {
			fprintf(stderr, "umask %o, mode %o: %s\n", masks[i / 7], opt.mode, shmb_strerror(err));
			return 1;
		}
		NEED(stat(path_of(name), &st) == 0 && (st.st_mode & 0777) == (opt.mode ? opt.mode : 0600));
		if (st.st_mode & S_IWUSR) { /* owning takes a write lock */
			NEED(shmb_region_leak(r) == 0 && stat(path_of(name), &st) == 0);
			NEED((st.st_mode & 0777) == (opt.mode ? opt.mode : 0600));
			NEED(shmb_region_own(r) == 0);
		}
		NEED(shmb_region_close(r) == 0 && !exists(name));
	}
	return 0;
}

static int modes_as_nobody(const void *arg)
{
	NEED(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	return modes_are_exact(arg);
}

START_TEST(mode_is_exact_whatever_the_umask)
{
	CHILD_OK(modes_are_exact, NULL);
}
END_TEST

START_TEST(mode_is_exact_without_privilege)
{
	if (is_root("modes of another user"))
		CHILD_OK(modes_as_nobody, NULL);
}
END_TEST

static int stranger(const void *arg)
{
	const char *name = arg;
	shmb_region *r;
	shmb_arena *a;
	shmb_options any = {.flags = SHMB_ANY_USER};
	NEED(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	NEED(raw_open(name, 0, 0, &r) == SHMB_EFOREIGN);
	NEED(raw_open(name, 0, SHMB_ATTACH_ONLY, &r) == SHMB_EFOREIGN);
	NEED(raw_open(name, 0, SHMB_READ_ONLY, &r) == SHMB_EFOREIGN);
	NEED(shmb_arena_open(name, NULL, &a) == SHMB_EFOREIGN);
	NEED(raw_open(name, 4096, SHMB_CREATE_ONLY, &r) == EEXIST);
	NEED(shmb_region_open(name, &any, &r) == 0 && shmb_region_how(r) == SHMB_ATTACHED);
	memcpy(shmb_region_addr(r), "seen", 4);
	NEED(shmb_region_own(r) != 0 && !shmb_region_is_owner(r));
	NEED(shmb_region_close(r) == 0 && exists(name));
	return 0;
}

static int close_mode_stranger(const void *arg)
{
	shmb_region *r;
	NEED(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	NEED(raw_open(arg, 0, SHMB_ANY_USER, &r) == EACCES);
	NEED(raw_open(arg, 4096, SHMB_ANY_USER | SHMB_READ_ONLY, &r) == EACCES);
	return 0;
}

START_TEST(foreign_region_needs_any_user)
{
	const char *name = named("foreign");
	shmb_options opt = {.size = 4096, .mode = 0666};
	shmb_region *r;
	if (!is_root("regions of another user"))
		return;
	ck_assert_int_eq(shmb_region_open(name, &opt, &r), 0);
	CHILD_OK(stranger, name);
	ck_assert_mem_eq(shmb_region_addr(r), "seen", 4);
	ck_assert_int_eq(shmb_region_close(r), 0);
	r = raw_get(name, 4096, 0, SHMB_CREATED);
	CHILD_OK(close_mode_stranger, name);
	ck_assert_int_eq(shmb_region_close(r), 0);
}
END_TEST

static int die_as_nobody(const void *name)
{
	NEED(setgid(NOBODY) == 0 && setuid(NOBODY) == 0);
	return die_owning(name);
}

START_TEST(root_does_not_claim_what_is_not_its)
{
	const char *name = named("notmine");
	shmb_region *r;
	if (!is_root("regions of another user"))
		return;
	ck_assert(WIFSIGNALED(in_child(die_as_nobody, name)) && exists(name));
	ck_assert_int_eq(raw_open(name, 0, 0, &r), SHMB_EFOREIGN);
	ck_assert_int_eq(raw_open(name, 4096, SHMB_REPLACE, &r), SHMB_EFOREIGN);
	r = raw_get(name, 0, SHMB_ANY_USER, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert(exists(name));
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

/* ---- how an open came by its region ------------------------------------------- */

START_TEST(created_attached_claimed)
{
	const char *name = named("how");
	shmb_region *a = raw_get(name, 64 * KIB, 0, SHMB_CREATED);
	shmb_region *b = raw_get(name, 64 * KIB, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(!exists(name));
	leave_dead(name);
	a = raw_get(name, 4096, 0, SHMB_CLAIMED);
	ck_assert_mem_eq(shmb_region_addr(a), "dead", 4);
	b = raw_get(name, 4096, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(create_only)
{
	const char *name = named("create");
	shmb_region *a = raw_get(name, 4096, SHMB_CREATE_ONLY, SHMB_CREATED), *b;
	ck_assert_int_eq(raw_open(name, 4096, SHMB_CREATE_ONLY, &b), EEXIST);
	ck_assert_int_eq(shmb_region_leak(a), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert_int_eq(raw_open(name, 4096, SHMB_CREATE_ONLY, &b), EEXIST);
	ck_assert_int_eq(unlink(path_of(name)), 0);
	leave_dead(name);
	a = raw_get(name, 4096, SHMB_CREATE_ONLY, SHMB_CREATED);
	ck_assert_int_eq(*(int *)shmb_region_addr(a), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
}
END_TEST

START_TEST(attach_only)
{
	const char *name = named("attach");
	shmb_region *a, *b;
	ck_assert_int_eq(raw_open(name, 4096, SHMB_ATTACH_ONLY, &b), ENOENT);
	leave_dead(name);
	b = raw_get(name, 0, SHMB_ATTACH_ONLY, SHMB_ATTACHED);
	a = raw_get(name, 0, 0, SHMB_CLAIMED);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_close(a), 0);
}
END_TEST

START_TEST(replace)
{
	const char *name = named("replace");
	leave_dead(name);
	ino_t old = stat_of(name).st_ino;
	shmb_region *a = raw_get(name, 4096, SHMB_REPLACE, SHMB_CREATED);
	ck_assert(stat_of(name).st_ino != old);
	ck_assert_int_eq(*(int *)shmb_region_addr(a), 0);
	ck_assert_uint_eq(shmb_region_size(a), 4096);
	shmb_region *b = raw_get(name, 4096, SHMB_REPLACE, SHMB_ATTACHED); /* the owner lives */
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_leak(a), 0);
	b = raw_get(name, 4096, SHMB_REPLACE, SHMB_ATTACHED); /* kept on purpose */
	ck_assert_int_eq(shmb_region_own(b), 0);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(!exists(name));
}
END_TEST

static int write_to(const void *addr)
{
	signal(SIGSEGV, SIG_DFL); /* a sanitizer's handler would turn it into an exit */
	*(volatile char *)addr = 1;
	return 0;
}

START_TEST(read_only_is_enforced)
{
	const char *name = named("read");
	shmb_region *r;
	ck_assert_int_eq(raw_open(name, 4096, SHMB_READ_ONLY, &r), ENOENT);
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	r = raw_get(name, 0, SHMB_READ_ONLY, SHMB_ATTACHED);
	memcpy(shmb_region_addr(a), "seen", 4);
	ck_assert_mem_eq(shmb_region_addr(r), "seen", 4);
	CHILD_OK(write_to, shmb_region_addr(a));
	int status = in_child(write_to, shmb_region_addr(r));
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
	ck_assert_int_eq(shmb_region_own(r), EACCES);
	ck_assert_int_eq(shmb_region_leak(r), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
	leave_dead(name);
	r = raw_get(name, 0, SHMB_READ_ONLY, SHMB_ATTACHED); /* never claims */
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

/* ---- what may be in the way ----------------------------------------------------- */

static void refused(const char *name, int want)
{
	static const unsigned flags[] = {0, SHMB_ATTACH_ONLY, SHMB_READ_ONLY, SHMB_REPLACE};
	shmb_region *r;
	shmb_arena *a;
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
		shmb_options opt = {.size = 4096, .flags = flags[i]};
		int err = shmb_region_open(name, &opt, &r);
		ck_assert_msg(err == want, "%s, flags %x: %s", name, flags[i], shmb_strerror(err));
		ck_assert_int_eq(shmb_arena_open(name, &opt, &a), want);
	}
	ck_assert_int_eq(raw_open(name, 4096, SHMB_CREATE_ONLY, &r), EEXIST);
	ck_assert(exists(name));
}

START_TEST(fifo_in_the_way)
{
	const char *name = named("fifo");
	ck_assert_int_eq(mkfifo(path_of(name), 0600), 0);
	refused(name, ENODEV);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

START_TEST(socket_in_the_way)
{
	const char *name = named("socket");
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int s = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_uint_lt(strlen(path_of(name)), sizeof at.sun_path);
	strcpy(at.sun_path, path_of(name));
	ck_assert_int_eq(bind(s, (struct sockaddr *)&at, sizeof at), 0);
	refused(name, ENODEV);
	close(s);
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

START_TEST(symlink_in_the_way)
{
	const char *name = named("link"), *target = named("target");
	shmb_region *a = raw_get(target, 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(symlink(target + 1, path_of(name)), 0);
	refused(name, ELOOP);
	ck_assert_int_eq(shmb_region_close(a), 0);
	refused(name, ELOOP); /* dangling: must not create its target */
	ck_assert(!exists(target));
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

START_TEST(directory_in_the_way)
{
	const char *name = named("dir");
	ck_assert_int_eq(mkdir(path_of(name), 0700), 0);
	refused(name, ENODEV);
	ck_assert_int_eq(rmdir(path_of(name)), 0);
}
END_TEST

START_TEST(other_peoples_objects_are_attached_and_spared)
{
	const char *name = named("other");
	shmb_region *r;
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(raw_open(name, 0, 0, &r), SHMB_ETOOSMALL); /* still of no size */
	ck_assert_int_eq(ftruncate(fd, 5000), 0);
	ck_assert_int_eq(raw_open(name, 5001, 0, &r), SHMB_ETOOSMALL);
	ck_assert_int_eq(raw_open(name, 5000, SHMB_CREATE_ONLY, &r), EEXIST);
	ck_assert_int_eq(pwrite(fd, "theirs", 6, 0), 6);
	r = raw_get(name, 5000, SHMB_REPLACE, SHMB_ATTACHED);
	ck_assert_mem_eq(shmb_region_addr(r), "theirs", 6);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert(exists(name));
	close(fd);
	ck_assert_int_eq(shm_unlink(name), 0);
}
END_TEST

/* ---- memory ------------------------------------------------------------------------ */

START_TEST(raw_memory_is_committed_at_creation)
{
	const char *name = named("commit");
	shmb_region *r = raw_get(name, 3 * MIB + 5, 0, SHMB_CREATED);
	ck_assert_int_ge((int64_t)stat_of(name).st_blocks * 512, 3 * MIB + 5);
	ck_assert_int_eq(shmb_region_close(r), 0);
	r = raw_get(name, 3 * MIB, SHMB_SPARSE, SHMB_CREATED);
	ck_assert_int_eq((int)stat_of(name).st_blocks, 0);
	ck_assert_int_eq(stat_of(name).st_size, 3 * MIB);
	ck_assert_int_eq(shmb_region_close(r), 0);
}
END_TEST

static int fsize_limited(const void *name)
{
	struct rlimit lim = {.rlim_cur = 128 * KIB, .rlim_max = RLIM_INFINITY};
	shmb_options opt = {.size = 256 * KIB};
	shmb_region *r;
	shmb_arena *a;
	getrlimit(RLIMIT_FSIZE, &lim);
	lim.rlim_cur = 128 * KIB;
	NEED(setrlimit(RLIMIT_FSIZE, &lim) == 0);
	NEED(shmb_region_open(name, &opt, &r) == EFBIG && !exists(name));
	NEED(shmb_arena_open(name, &opt, &a) == EFBIG && !exists(name));
	NEED(raw_open(name, 128 * KIB, 0, &r) == 0 && shmb_region_close(r) == 0);
	return 0;
}

START_TEST(file_size_limit_is_an_error_not_a_signal)
{
	CHILD_OK(fsize_limited, named("fsize"));
}
END_TEST

static int full_raw(const void *name)
{
	shmb_region *r, *s;
	NEED(!shm_of_its_own("size=1m,mode=1777"));
	int err = raw_open(name, 2 * MIB, 0, &r);
	NEED((err == ENOSPC || err == ENOMEM) && !exists(name));
	NEED(raw_open(name, 2 * MIB, SHMB_SPARSE, &r) == 0 && shmb_region_how(r) == SHMB_CREATED);
	memset(shmb_region_addr(r), 1, 64 * KIB);
	NEED(shmb_region_close(r) == 0);
	NEED(raw_open(name, 768 * KIB, 0, &r) == 0); /* what failed has given everything back */
	memset(shmb_region_addr(r), 1, 768 * KIB);
	err = raw_open(named("second"), 512 * KIB, 0, &s);
	NEED((err == ENOSPC || err == ENOMEM) && shmb_region_close(r) == 0);
	NEED(raw_open(named("second"), 512 * KIB, 0, &s) == 0 && shmb_region_close(s) == 0);
	return 0;
}

static int full_arena(const void *name)
{
	shmb_options opt = {.size = 64 * MIB};
	shmb_region *r;
	shmb_arena *a;
	unsigned n = 0;
	NEED(!shm_of_its_own("size=1m,mode=1777"));
	NEED(raw_open(named("fill"), 1020 * KIB, 0, &r) == 0);
	int err = shmb_arena_open(name, &opt, &a);
	NEED((err == ENOSPC || err == ENOMEM) && !exists(name) && shmb_region_close(r) == 0);
	NEED(shmb_arena_open(name, &opt, &a) == 0);
	for (void *p; n < 1024 && (p = shmb_malloc(a, 4096)); n++)
		memset(p, 1, 4096);
	NEED(errno == ENOMEM && n > 0 && n < 256);
	NEED(shmb_arena_close(a) == 0 && !exists(name));
	return 0;
}

START_TEST(full_file_system_is_an_error_not_a_signal)
{
	if (!shm_can_be_its_own("a small /dev/shm"))
		return;
	CHILD_OK(full_raw, named("full"));
	CHILD_OK(full_arena, named("full"));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("region");
	TCase *tc = tcase_create("opening");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, bad_names_are_refused);
	tcase_add_test(tc, longest_name_works);
	tcase_add_test(tc, slash_is_optional);
	tcase_add_test(tc, sizes);
	tcase_add_test(tc, attaching_checks_the_size);
	tcase_add_test(tc, excluding_options_are_refused);
	tcase_add_test(tc, mode_is_exact_whatever_the_umask);
	tcase_add_test(tc, mode_is_exact_without_privilege);
	tcase_add_test(tc, foreign_region_needs_any_user);
	tcase_add_test(tc, root_does_not_claim_what_is_not_its);
	tcase_add_test(tc, created_attached_claimed);
	tcase_add_test(tc, create_only);
	tcase_add_test(tc, attach_only);
	tcase_add_test(tc, replace);
	tcase_add_test(tc, read_only_is_enforced);
	tcase_add_test(tc, fifo_in_the_way);
	tcase_add_test(tc, socket_in_the_way);
	tcase_add_test(tc, symlink_in_the_way);
	tcase_add_test(tc, directory_in_the_way);
	tcase_add_test(tc, other_peoples_objects_are_attached_and_spared);
	tcase_add_test(tc, raw_memory_is_committed_at_creation);
	tcase_add_test(tc, file_size_limit_is_an_error_not_a_signal);
	tcase_add_test(tc, full_file_system_is_an_error_not_a_signal);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite);
}
