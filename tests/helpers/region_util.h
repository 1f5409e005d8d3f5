/*
 * region_util.h - what the tests of regions share: names that are ours alone,
 * processes that end in a chosen way, and what is left behind.
 *
 * A process that a test forks reports by its exit code and leaves by _exit:
 * Check's assertions belong to the process that Check started.
 */
#ifndef REGION_UTIL_H
#define REGION_UTIL_H

#include "shmbind.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { KIB = 1024, MIB = 1024 * KIB, NOBODY = 65534, HANG_SECONDS = 30 };

static char prefix[40]; /* "/shmb-test-<pid of the suite>-" */

/* "/shmb-test-<pid>-suffix", in one of a few static buffers. */
static inline const char *named(const char *suffix)
{
	static char names[8][300];
	static unsigned turn;
	char *out = names[turn++ % 8];
	snprintf(out, sizeof names[0], "%s%s", prefix, suffix);
	return out;
}

static inline const char *path_of(const char *name)
{
	static char path[300];
	snprintf(path, sizeof path, "/dev/shm%s", name);
	return path;
}

static inline bool exists(const char *name)
{
	struct stat st;
	return lstat(path_of(name), &st) == 0;
}

static inline struct stat stat_of(const char *name)
{
	struct stat st;
	ck_assert_msg(lstat(path_of(name), &st) == 0, "%s: %s", name, strerror(errno));
	return st;
}

/* Opens a raw region and reports how that went: an error, or the handle. */
static inline int raw_open(const char *name, size_t size, unsigned flags, shmb_region **out)
{
	shmb_options opt = {.size = size, .flags = flags};
	return shmb_region_open(name, &opt, out);
}

static inline shmb_region *raw_get(const char *name, size_t size, unsigned flags, enum shmb_how how)
{
	shmb_region *r = NULL;
	int err = raw_open(name, size, flags, &r);
	ck_assert_msg(err == 0, "%s: %s", name, shmb_strerror(err));
	ck_assert_int_eq(shmb_region_how(r), how);
	ck_assert_int_eq(shmb_region_is_owner(r), how != SHMB_ATTACHED);
	return r;
}

/* Runs `body` in a child, which ends with what it returns; gives the wait status. */
static inline int in_child(int (*body)(const void *), const void *arg)
{
	int status;
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		alarm(HANG_SECONDS);
		_exit(body(arg));
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

#define CHILD_OK(body, arg) ck_assert_int_eq(in_child(body, arg), 0)

/* In a child: says what is not so and fails. */
#define NEED(cond)                                                                        \
	do                                                                                \
		if (!(cond)) {                                                            \
			fprintf(stderr, "%s:%d: child: %s\n", __FILE__, __LINE__, #cond); \
			return 1;                                                         \
		}                                                                         \
	while (0)

static inline int die_owning(const void *name)
{
	shmb_region *r;
	NEED(raw_open(name, 64 * KIB, 0, &r) == 0 && shmb_region_is_owner(r));
	memcpy(shmb_region_addr(r), "dead", 4);
	raise(SIGKILL);
	return 1;
}

/* Leaves a 64 KiB raw region that begins with "dead" and whose owner was killed. */
static inline void leave_dead(const char *name)
{
	int status = in_child(die_owning, name);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	ck_assert(exists(name));
}

static inline bool is_root(const char *what)
{
	if (geteuid() == 0)
		return true;
	printf("skip: %s: needs root\n", what);
	return false;
}

/* This process alone sees a /dev/shm of that size, from now on; errno. */
static inline int shm_of_its_own(const char *options)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    mount("tmpfs", "/dev/shm", "tmpfs", 0, options))
		return errno;
	return 0;
}

static inline int try_shm(const void *options)
{
	return shm_of_its_own(options);
}

/* Not without root, in some containers, and where the root is no mount point, as in a plain chroot. */
static inline bool shm_can_be_its_own(const char *what)
{
	int status = in_child(try_shm, "size=1m");
	if (status == 0)
		return true;
	printf("skip: %s: no /dev/shm of its own can be mounted here: %s\n", what, strerror(WEXITSTATUS(status)));
	return false;
}

/* Removes what carries our prefix; how many there were. */
static inline unsigned sweep(void)
{
	unsigned found = 0;
	DIR *d = opendir("/dev/shm");
	for (struct dirent *e; d && (e = readdir(d));)
		if (!strncmp(e->d_name, prefix + 1, strlen(prefix + 1))) {
			char path[300];
			snprintf(path, sizeof path, "/dev/shm/%s", e->d_name);
			if (unlink(path) && errno == EISDIR)
				rmdir(path);
			printf("left: %s\n", path);
			found++;
		}
	if (d)
		closedir(d);
	return found;
}

static inline int run_suite(Suite *(*make)(void))
{
	snprintf(prefix, sizeof prefix, "/shmb-test-%d-", (int)getpid());
	SRunner *sr = srunner_create(make());
	srunner_run_all(sr, CK_NORMAL);
	int failures = srunner_ntests_failed(sr);
	srunner_free(sr);
	return sweep() != 0 || failures != 0;
}

#endif
