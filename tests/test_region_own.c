/*
 * test_region_own.c - who owns a region and who unlinks it: own, leak, close,
 * forked children, processes that close everything; and that a failed open
 * leaves no descriptor, mapping or name.
 */
#include "helpers/region_util.h"
#include "helpers/sanitizer.h"

#include "window.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/statvfs.h>

/* ---- own, leak, close ----------------------------------------------------------- */

START_TEST(close_null)
{
	ck_assert_int_eq(shmb_region_close(NULL), 0);
}
END_TEST

START_TEST(one_owner_at_a_time)
{
	const char *name = named("own");
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	shmb_region *b = raw_get(name, 4096, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_own(a), 0);
	ck_assert_int_eq(shmb_region_own(b), SHMB_EOWNED);
	ck_assert_int_eq(shmb_region_is_owner(b), 0);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_close(a), 0);
}
END_TEST

START_TEST(attacher_owns_after_the_owner)
{
	const char *name = named("heir");
	leave_dead(name);
	shmb_region *b = raw_get(name, 0, SHMB_ATTACH_ONLY, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_own(b), 0);
	ck_assert_int_eq(shmb_region_own(b), 0);
	ck_assert_int_eq(shmb_region_is_owner(b), 1);
	shmb_region *c = raw_get(name, 0, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_own(c), SHMB_EOWNED);
	ck_assert_int_eq(shmb_region_close(c), 0);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(leaked_stays_until_owned)
{
	const char *name = named("leak");
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	shmb_region *b = raw_get(name, 4096, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_leak(b), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_region_leak(a), 0);
	ck_assert_int_eq(shmb_region_is_owner(a), 0);
	ck_assert_int_eq(shmb_region_leak(a), SHMB_ENOTOWNER);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(exists(name));
	b = raw_get(name, 4096, 0, SHMB_ATTACHED); /* kept on purpose: not claimed */
	ck_assert_int_eq(shmb_region_own(b), 0);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(!exists(name));
}
END_TEST

static int die_owning_again(const void *name)
{
	shmb_region *r;
	NEED(raw_open(name, 0, 0, &r) == 0 && shmb_region_how(r) == SHMB_ATTACHED);
	NEED(shmb_region_own(r) == 0);
	raise(SIGKILL);
	return 1;
}

START_TEST(owning_a_leaked_region_makes_it_mortal_again)
{
	const char *name = named("mortal");
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(shmb_region_leak(a), 0);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(WIFSIGNALED(in_child(die_owning_again, name)));
	a = raw_get(name, 4096, 0, SHMB_CLAIMED);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(gone_where_the_name_was_removed)
{
	const char *name = named("gone");
	leave_dead(name);
	shmb_region *b = raw_get(name, 0, SHMB_ATTACH_ONLY, SHMB_ATTACHED);
	ck_assert_int_eq(unlink(path_of(name)), 0);
	ck_assert_int_eq(shmb_region_own(b), SHMB_EGONE);
	shmb_region *c = raw_get(name, 4096, 0, SHMB_CREATED); /* somebody else's of that name */
	ck_assert_int_eq(shmb_region_own(b), SHMB_EGONE);
	ck_assert_int_eq(shmb_region_is_owner(b), 0);
	ck_assert_mem_eq(shmb_region_addr(b), "dead", 4);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_close(c), 0);
}
END_TEST

START_TEST(close_spares_a_successor_of_the_name)
{
	const char *name = named("successor");
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(unlink(path_of(name)), 0);
	shmb_region *b = raw_get(name, 4096, 0, SHMB_CREATED);
	ino_t ino = stat_of(name).st_ino;
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(exists(name) && stat_of(name).st_ino == ino);
	ck_assert_int_eq(shmb_region_close(b), 0);
	ck_assert(!exists(name));
}
END_TEST

static int exit_after_replacement(const void *name)
{
	shmb_region *r;
	NEED(raw_open(name, 4096, 0, &r) == 0 && unlink(path_of(name)) == 0);
	int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
	NEED(fd >= 0);
	exit(0);
}

START_TEST(exit_spares_a_successor_of_the_name)
{
	const char *name = named("exits");
	CHILD_OK(exit_after_replacement, name);
	ck_assert(exists(name));
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

/* ---- who is not the owner ---------------------------------------------------------- */

static int attach_and_exit(const void *name)
{
	shmb_region *r;
	NEED(raw_open(name, 0, 0, &r) == 0 && shmb_region_how(r) == SHMB_ATTACHED);
	exit(0);
}

static int exit_with_handle(const void *r)
{
	NEED(!shmb_region_is_owner(r));
	exit(0);
}

static int close_inherited(const void *r)
{
	shmb_region *mine = (shmb_region *)r;
	NEED(memcmp(shmb_region_addr(mine), "from parent", 11) == 0);
	NEED(shmb_region_leak(mine) == SHMB_ENOTOWNER);
	NEED(shmb_region_own(mine) == SHMB_EOWNED);
	NEED(shmb_region_close(mine) == 0);
	exit(0);
}

START_TEST(attachers_and_children_never_unlink)
{
	const char *name = named("child");
	shmb_region *a = raw_get(name, 4096, 0, SHMB_CREATED);
	memcpy(shmb_region_addr(a), "from parent", 11);
	CHILD_OK(attach_and_exit, name);
	ck_assert(exists(name));
	CHILD_OK(exit_with_handle, a);
	ck_assert(exists(name));
	CHILD_OK(close_inherited, a);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_region_is_owner(a), 1);
	ck_assert_mem_eq(shmb_region_addr(a), "from parent", 11);
	ck_assert_int_eq(shmb_region_close(a), 0);
	ck_assert(!exists(name));
}
END_TEST

/* The first process of a pid namespace forks the first of another: both are pid 1. */
static int first_of_namespace(const void *name)
{
	shmb_region *r;
	NEED(getpid() == 1 && raw_open(name, 4096, 0, &r) == 0);
	NEED(unshare(CLONE_NEWPID) == 0);
	NEED(in_child(exit_with_handle, r) == 0);
	NEED(exists(name) && shmb_region_is_owner(r));
	NEED(shmb_region_close(r) == 0 && !exists(name));
	return 0;
}

static int namespace_enter(const void *name)
{
	NEED(unshare(CLONE_NEWPID) == 0);
	NEED(in_child(first_of_namespace, name) == 0);
	return 0;
}

START_TEST(a_child_with_the_owners_pid_is_not_the_owner)
{
	if (is_root("pid namespaces"))
		CHILD_OK(namespace_enter, named("pidns"));
}
END_TEST

struct family {
	const char *name;
	int pipe[2]; /* the owner's child reads its end: the owner is dead */
	int verdict[2];
};

static int orphan(const struct family *f, shmb_region *r)
{
	char byte;
	close(f->pipe[1]);
	NEED(read(f->pipe[0], &byte, 1) == 0);
	NEED(!shmb_region_is_owner(r) && shmb_region_own(r) == 0 && shmb_region_is_owner(r));
	NEED(shmb_region_close(r) == 0 && !exists(f->name));
	return 0;
}

static int die_with_child(const void *arg)
{
	const struct family *f = arg;
	shmb_region *r;
	NEED(raw_open(f->name, 4096, 0, &r) == 0);
	if (fork() == 0) {
		char verdict = (char)orphan(f, r);
		_exit(write(f->verdict[1], &verdict, 1) != 1);
	}
	raise(SIGKILL);
	return 1;
}

START_TEST(a_child_may_own_once_its_parent_is_dead)
{
	struct family f = {.name = named("orphan")};
	char verdict = 1;
	ck_assert(pipe(f.pipe) == 0 && pipe(f.verdict) == 0);
	ck_assert(WIFSIGNALED(in_child(die_with_child, &f)));
	close(f.pipe[1]);
	close(f.verdict[1]);
	ck_assert_int_eq(read(f.verdict[0], &verdict, 1), 1);
	ck_assert_int_eq(verdict, 0);
	ck_assert(!exists(f.name));
}
END_TEST

/* Closes every descriptor from 3 up and uses their numbers again; then waits for a word on 0. */
static int close_everything(const char *name, int sock)
{
	shmb_region *r;
	char byte = 'r';
	NEED(dup2(sock, 0) == 0 && raw_open(name, 4096, 0, &r) == 0);
	NEED(close_range(3, ~0u, 0) == 0);
	for (int i = 0; i < 600; i++)
		NEED(open("/dev/null", O_RDWR) >= 3);
	NEED(shmb_region_is_owner(r) && write(0, &byte, 1) == 1 && read(0, &byte, 1) == 1);
	memcpy(shmb_region_addr(r), "still here", 10);
	exit(0);
}

START_TEST(closing_every_descriptor_does_not_end_ownership)
{
	const char *name = named("fds");
	shmb_region *r;
	int s[2], status;
	char byte;
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, s), 0);
	pid_t pid = fork();
	if (pid == 0)
		_exit(close_everything(name, s[1]));
	close(s[1]);
	ck_assert_int_eq(read(s[0], &byte, 1), 1);
	r = raw_get(name, 0, 0, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_region_own(r), SHMB_EOWNED);
	ck_assert_int_eq(write(s[0], "x", 1), 1);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert(!exists(name));
	ck_assert_mem_eq(shmb_region_addr(r), "still here", 10);
	ck_assert_int_eq(shmb_region_own(r), SHMB_EGONE);
	ck_assert_int_eq(shmb_region_close(r), 0);
}
END_TEST

static int leak_without_descriptors(const void *name)
{
	shmb_region *r;
	NEED(raw_open(name, 4096, 0, &r) == 0 && close_range(3, ~0u, 0) == 0);
	NEED(shmb_region_leak(r) == 0 && !shmb_region_is_owner(r));
	NEED(shmb_region_own(r) == 0 && shmb_region_leak(r) == 0);
	exit(0);
}

START_TEST(own_and_leak_need_no_descriptor)
{
	const char *name = named("nofd");
	CHILD_OK(leak_without_descriptors, name);
	ck_assert(exists(name));
	ck_assert_int_eq(unlink(path_of(name)), 0);
}
END_TEST

START_TEST(close_leaves_a_reused_descriptor_alone)
{
	shmb_region *r = raw_get(named("reuse"), 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(close_range(512, 1023, 0), 0); /* the region's convenience descriptor is there */
	int mine = fcntl(STDIN_FILENO, F_DUPFD, 512);
	ck_assert_int_eq(mine, 512);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert_int_ge(fcntl(mine, F_GETFD), 0);
}
END_TEST

/* ---- nothing left behind ------------------------------------------------------------ */

struct held {
	unsigned fds, files, lines;
};

/* Descriptors, mappings of shm files or in the window, and all mappings. */
static struct held held_now(void)
{
	struct held h = {0};
	char line[600];
	DIR *d = opendir("/proc/self/fd");
	while (readdir(d))
		h.fds++;
	closedir(d);
	FILE *f = fopen("/proc/self/maps", "r");
	while (fgets(line, sizeof line, f)) {
		unsigned long at = strtoul(line, NULL, 16);
		h.lines++;
		h.files += strstr(line, "/dev/shm/") || (at >= WINDOW_BASE && at < WINDOW_END);
	}
	fclose(f);
	return h;
}

static void fail_raw(const char *name, size_t size, unsigned flags, int want)
{
	shmb_region *r;
	ck_assert_int_eq(raw_open(name, size, flags, &r), want);
}

static void fail_arena(const char *name, size_t size, unsigned flags, int want)
{
	shmb_options opt = {.size = size, .flags = flags};
	shmb_arena *a;
	ck_assert_int_eq(shmb_arena_open(name, &opt, &a), want);
}

/* One of each way to fail. "raw", "arena" and "fifo" exist. */
static void fail_in_every_way(void)
{
	fail_raw("a/b", 4096, 0, EINVAL);
	fail_raw(named("new"), 0, 0, EINVAL);
	fail_raw(named("new"), 4096, SHMB_CREATE_ONLY | SHMB_ATTACH_ONLY, EINVAL);
	fail_raw(named("new"), SIZE_MAX, 0, EFBIG);
	fail_raw(named("new"), (size_t)1 << 62, SHMB_SPARSE, ENOMEM);
	fail_raw(named("new"), 4096, SHMB_ATTACH_ONLY, ENOENT);
	fail_raw(named("raw"), 4096, SHMB_CREATE_ONLY, EEXIST);
	fail_raw(named("raw"), 8 * MIB, 0, SHMB_ETOOSMALL);
	fail_raw(named("fifo"), 4096, 0, ENODEV);
	fail_arena(named("new"), 0, 0, EINVAL);
	fail_arena(named("raw"), 0, 0, SHMB_EFORMAT);
	fail_arena(named("raw"), 0, SHMB_READ_ONLY, SHMB_EFORMAT);
	fail_arena(named("arena"), 0, SHMB_FIXED, SHMB_EADDRESS); /* open here already */
	fail_arena(named("arena"), 64 * MIB, 0, SHMB_ETOOSMALL);
	fail_arena(named("arena"), 4096, SHMB_CREATE_ONLY, EEXIST);
}

START_TEST(failure_leaves_nothing)
{
	enum { ROUNDS = 40 };
	shmb_options opt = {.size = MIB};
	shmb_arena *a;
	shmb_region *raw = raw_get(named("raw"), 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(shmb_arena_open(named("arena"), &opt, &a), 0);
	ck_assert_int_eq(mkfifo(path_of(named("fifo")), 0600), 0);
	fail_in_every_way();
	struct held before = held_now();
	for (int i = 0; i < ROUNDS; i++)
		fail_in_every_way();
	struct held after = held_now();
	ck_assert_uint_eq(after.fds, before.fds);
	ck_assert_uint_eq(after.files, before.files);
	ck_assert(!MAPS_TELL || after.lines < before.lines + ROUNDS / 2); /* the heap's own may come and go */
	ck_assert(!exists(named("new")));
	ck_assert_int_eq(unlink(path_of(named("fifo"))), 0);
	ck_assert_int_eq(shmb_arena_close(a), 0);
	ck_assert_int_eq(shmb_region_close(raw), 0);
}
END_TEST

START_TEST(closing_leaves_nothing)
{
	enum { ROUNDS = 40 };
	shmb_options opt = {.size = MIB};
	struct held before = {0};
	for (int i = 0; i <= ROUNDS; i++) {
		shmb_region *a = raw_get(named("raw"), 4096, 0, SHMB_CREATED);
		shmb_region *b = raw_get(named("raw"), 4096, 0, SHMB_ATTACHED);
		shmb_arena *x, *y;
		ck_assert_int_eq(shmb_arena_open(named("arena"), &opt, &x), 0);
		ck_assert_int_eq(shmb_arena_open(named("arena"), NULL, &y), 0);
		shmb_free(x, shmb_malloc(x, 100));
		ck_assert_int_eq(shmb_arena_close(y), 0);
		ck_assert_int_eq(shmb_arena_close(x), 0);
		ck_assert_int_eq(shmb_region_close(b), 0);
		ck_assert_int_eq(shmb_region_close(a), 0);
		if (i == 0)
			before = held_now();
	}
	struct held after = held_now();
	ck_assert_uint_eq(after.fds, before.fds);
	ck_assert_uint_eq(after.files, before.files);
	ck_assert(!MAPS_TELL || after.lines < before.lines + ROUNDS / 2);
}
END_TEST

static unsigned long free_kib(void)
{
	struct statvfs v;
	return statvfs("/dev/shm", &v) ? 0 : v.f_bfree * (v.f_bsize / KIB);
}

/* In a /dev/shm that only this process uses: memory that was given back is free again. */
static int close_beside_a_reaper(const void *arg)
{
	shmb_region *a, *b;
	(void)arg;
	NEED(!shm_of_its_own("size=16m,mode=1777"));
	unsigned long all = free_kib();
	NEED(raw_open(named("b"), 8 * MIB, 0, &b) == 0);
	NEED(raw_open(named("a"), MIB, SHMB_REAPER, &a) == 0);
	NEED(free_kib() <= all - 9 * KIB);
	NEED(shmb_region_close(b) == 0);
	for (int i = 0; i < 500 && free_kib() < all - 1 * KIB; i++)
		usleep(10000); /* the reaper may still be on its way */
	NEED(free_kib() >= all - 1 * KIB);
	NEED(shmb_region_close(a) == 0);
	return 0;
}

START_TEST(a_reaper_does_not_hold_other_regions)
{
	if (shm_can_be_its_own("a reaper beside"))
		CHILD_OK(close_beside_a_reaper, NULL);
}
END_TEST

static _Atomic int attaching;

static void *attaches_and_leaves(void *name)
{
	while (atomic_load(&attaching)) {
		shmb_region *r = raw_get(name, 4096, 0, SHMB_ATTACHED);
		ck_assert_int_eq(shmb_region_close(r), 0);
	}
	return NULL;
}

/* A child of a fork in the middle of it must not go on holding what its parent held for a moment. */
START_TEST(forks_beside_an_attach_hold_nothing)
{
	enum { CHILDREN = 400 };
	const char *name = named("beside");
	pthread_t t;
	pid_t pids[CHILDREN];
	int hold[2];
	char c;
	shmb_info info;
	shmb_region *r = raw_get(name, 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(shmb_region_leak(r), 0);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert_int_eq(pipe(hold), 0);
	atomic_store(&attaching, 1);
	ck_assert_int_eq(pthread_create(&t, NULL, attaches_and_leaves, (void *)(uintptr_t)name), 0);
	for (unsigned i = 0; i < CHILDREN; i++) {
		pids[i] = fork();
		if (pids[i] == 0) {
			close(hold[1]);
			_exit((int)read(hold[0], &c, 1)); /* never uses the library */
		}
	}
	atomic_store(&attaching, 0);
	pthread_join(t, NULL);
	ck_assert_int_eq(shmb_info_name(name, &info), 0);
	ck_assert_uint_eq(info.attached, 0);
	close(hold[1]);
	for (unsigned i = 0; i < CHILDREN; i++)
		ck_assert_int_eq(waitpid(pids[i], NULL, 0), pids[i]);
	ck_assert_int_eq(shmb_remove_name(name), 0);
}
END_TEST

START_TEST(errno_is_left_alone)
{
	shmb_region *r;
	errno = ERANGE;
	ck_assert_int_eq(raw_open(named("errno"), 0, 0, &r), EINVAL);
	ck_assert_int_eq(errno, ERANGE);
	ck_assert_int_eq(raw_open(named("errno"), 4096, 0, &r), 0);
	ck_assert_int_eq(errno, ERANGE);
	ck_assert_int_eq(shmb_region_leak(r), 0);
	ck_assert_int_eq(shmb_region_own(r), 0);
	ck_assert_int_eq(shmb_region_close(r), 0);
	ck_assert_int_eq(errno, ERANGE);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("region_own");
	TCase *tc = tcase_create("owning");
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, close_null);
	tcase_add_test(tc, one_owner_at_a_time);
	tcase_add_test(tc, attacher_owns_after_the_owner);
	tcase_add_test(tc, leaked_stays_until_owned);
	tcase_add_test(tc, owning_a_leaked_region_makes_it_mortal_again);
	tcase_add_test(tc, gone_where_the_name_was_removed);
	tcase_add_test(tc, close_spares_a_successor_of_the_name);
	tcase_add_test(tc, exit_spares_a_successor_of_the_name);
	tcase_add_test(tc, attachers_and_children_never_unlink);
	tcase_add_test(tc, a_child_with_the_owners_pid_is_not_the_owner);
	tcase_add_test(tc, a_child_may_own_once_its_parent_is_dead);
	tcase_add_test(tc, closing_every_descriptor_does_not_end_ownership);
	tcase_add_test(tc, own_and_leak_need_no_descriptor);
	tcase_add_test(tc, close_leaves_a_reused_descriptor_alone);
	tcase_add_test(tc, failure_leaves_nothing);
	tcase_add_test(tc, closing_leaves_nothing);
	tcase_add_test(tc, a_reaper_does_not_hold_other_regions);
	tcase_add_test(tc, errno_is_left_alone);
	tcase_add_test(tc, forks_beside_an_attach_hold_nothing);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite);
}
