/*
 * fork.c - which region this process uses: opened at start, left to the
 * parent at fork, counted out at the end.
 *
 * copy (default), pages: the child gets a private snapshot of the parent's blocks
 * in the region's place and issues nothing more from it. Its own chosen requests
 * go to a region of its own: where the name has %p at once, else once the
 * name is free. It is opened at the first such request, so that a child that
 * only execs pays nothing for it.
 * share: the child goes on in its parent's region, with a slot of its own.
 * deny: the child has none of it. What it allocates goes where it does for copy.
 *
 * `opening` is a try-lock: while one thread opens, the others' requests go to
 * the ordinary heap.
 */
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEFAULT_SIZE ((uint64_t)64 << 30)
#define LEAST_SIZE ((uint64_t)64 << 20)
enum { RETRY_REQUESTS = 256, STATS_FD_FLOOR = 520 };

shmb_arena *_Atomic shim_arena;

static atomic_flag opening = ATOMIC_FLAG_INIT;
static atomic_bool may_open_late;
static atomic_uint late_requests;
static atomic_bool said_full;
static bool started; /* before that a library's constructor may fork */
static int stderr_fd = -1;      /* for the end: many programs close theirs before */
static struct stat stderr_file; /* what it was: the program may close it and the number come back */
static pthread_mutex_t forks = PTHREAD_MUTEX_INITIALIZER; /* for what follows, of several threads that fork */
static bool alone;
static struct snapshot fork_snapshot;
static int fork_error;
static sigset_t fork_signals; /* as they were */
static int fork_cancel;

/* ---- opening ----------------------------------------------------------------- */

static void arena_set(shmb_arena *a)
{
	struct rules_shown r = rules_shown(NULL);
	if (a)
		preload_rules_begin(a, r.text, r.rules, r.n, r.off);
	else
		preload_rules_end();
	preload_place(a);
	atomic_store(&shim_arena, a);
}

static int open_sized(const char *name, uint64_t size)
{
	unsigned flags = SHMB_CREATE_ONLY | (policy.harden ? SHMB_HARDENED : 0) | (policy.small_pages ? SHMB_SMALL_PAGES : 0);
	shmb_options opt = {.size = size, .flags = flags, .run = policy.run};
	shmb_arena *a;
	int err = shmb_arena_open(name, &opt, &a);
	if (err)
		return err;
	if (policy.fork == FORK_DENY)
		(void)preload_deny(a); /* refused: the fork handler does what matters */
	arena_set(a);
	return 0;
}

/* Under a limit on addresses a quarter of it: a fork needs as much again for its copy. */
static uint64_t default_size(void)
{
	struct rlimit lim;
	if (getrlimit(RLIMIT_AS, &lim) || lim.rlim_cur == RLIM_INFINITY || lim.rlim_cur / 4 > DEFAULT_SIZE)
		return DEFAULT_SIZE;
	return lim.rlim_cur / 4;
}

/* As large as asked, or as large as the process's limits allow. */
static int open_fitting(const char *name)
{
	if (policy.size)
		return open_sized(name, policy.size);
	int err = ENOMEM;
	for (uint64_t size = default_size(); (err == ENOMEM || err == EFBIG) && size >= LEAST_SIZE; size /= 2)
		err = open_sized(name, size);
	return err;
}

/* A name with %p that a living process has, another container's perhaps, gets a suffix. */
static int open_named(char name[256])
{
	size_t n = strlen(name);
	int err = open_fitting(name);
	for (unsigned i = 2; err == EEXIST && policy.named_by_pid && i < 100; i++) {
		snprintf(name + n, 256 - n, ".%u", i);
		err = open_fitting(name);
	}
	return err;
}

/* With its path, where it has one. False: too long. */
static bool expand_name(char *name, size_t room)
{
	size_t n = policy.path ? strlen(policy.path) : 0;
	if (n + 1 >= room)
		return false;
	if (n)
		memcpy(name, policy.path, n);
	if (n && *policy.region != '/')
		name[n++] = '/';
	return policy_expand(policy.region, name + n, room - n);
}

static bool open_region(unsigned log)
{
	char name[256] = "";
	int err = ENAMETOOLONG;
	if (expand_name(name, sizeof name - 4))
		err = open_named(name);
	if (err) {
		shim_say(log, "%s: %s; running without a region", name, err == EEXIST ? "another process has it" : shmb_strerror(err));
		return false;
	}
	shim_say(1, "%s: placing %.100s here, capacity %llu MiB", name, policy.place,
	         (unsigned long long)(shmb_arena_capacity(shim_arena) >> 20));
	return true;
}

shmb_arena *shim_arena_late(void)
{
	if (!atomic_load_explicit(&may_open_late, memory_order_relaxed))
		return NULL;
	if (!policy.named_by_pid && atomic_fetch_add(&late_requests, 1) % RETRY_REQUESTS)
		return NULL;
	if (atomic_flag_test_and_set(&opening))
		return NULL;
	int saved = errno;
	bool opened = open_region(2);
	if (opened || policy.named_by_pid)
		atomic_store(&may_open_late, false);
	atomic_flag_clear(&opening);
	errno = saved;
	return atomic_load(&shim_arena);
}

bool shim_full(shmb_arena *a, unsigned rule)
{
	if (policy.full == FULL_ABORT) {
		shim_say(0, "%s is full", shmb_region_name(shmb_arena_region(a)));
		abort();
	}
	if (policy.full == FULL_ENOMEM)
		return false;
	preload_count_fallback(a, rule);
	if (!atomic_exchange(&said_full, true))
		shim_say(1, "%s is full: the ordinary heap serves the rest", shmb_region_name(shmb_arena_region(a)));
	return true;
}

/* ---- fork ---------------------------------------------------------------------- */

static bool copies(void)
{
	return policy.fork == FORK_COPY || policy.fork == FORK_PAGES;
}

/*
 * The copy reads and opens files, at which a thread can be cancelled; fork is
 * no such place. And what a signal handler allocates between the copy and the
 * fork the child would know of, and its copy not.
 */
static void undisturbed(void)
{
	sigset_t all, signals;
	int cancel;
	sigfillset(&all);
	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel);
	pthread_sigmask(SIG_SETMASK, &all, &signals);
	if (!alone)
		pthread_mutex_lock(&forks);
	fork_signals = signals;
	fork_cancel = cancel;
}

static void as_before(void)
{
	sigset_t signals = fork_signals;
	int cancel = fork_cancel;
	if (!alone)
		pthread_mutex_unlock(&forks);
	pthread_sigmask(SIG_SETMASK, &signals, NULL);
	pthread_setcancelstate(cancel, NULL);
}

static void fork_prepare(void)
{
	bool now = preload_fork_alone();
	if (alone != now) /* each store may copy a page of the parent's and the child's */
		alone = now;
	if (!copies())
		return;
	undisturbed();
	shmb_arena *a = atomic_load(&shim_arena);
	fork_error = a ? preload_snapshot_take(a, &fork_snapshot, policy.fork == FORK_COPY && !alone && shim_may_hold_writes()) : 0;
}

static void fork_parent(void)
{
	if (!copies())
		return;
	shmb_arena *a = atomic_load(&shim_arena);
	if (a)
		preload_snapshot_discard(a, &fork_snapshot);
	as_before();
}

/* Leaves the parent's region to it. */
static void child_leave(shmb_arena *a)
{
	arena_set(NULL);
	atomic_store(&may_open_late, true);
	if (!a)
		return;
	if (policy.fork == FORK_DENY)
		fork_error = preload_absent(a);
	else if (!fork_error)
		fork_error = preload_snapshot_adopt(a, &fork_snapshot);
	if (fork_error) { /* sharing would let the child change its parent's data */
		shim_say(0, "fork: no memory for the child's copy of the region");
		_exit(127);
	}
}

static void fork_child(void)
{
	shmb_arena *a = atomic_load(&shim_arena);
	atomic_flag_clear(&opening);
	rules_change_forked();
	if (policy.fork != FORK_SHARE && started)
		child_leave(a);
	if (copies())
		as_before();
}

/* The library's own come before these: its locks are taken after the snapshot, and are free again in the child. */
bool shim_handle_forks(void)
{
	static bool begun, handled;
	if (begun || !policy_read())
		return handled;
	begun = true;
	if (policy.dry_run)
		return handled = !pthread_atfork(NULL, NULL, rules_uncount);
	return handled = !preload_handle_forks() && !pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* ---- start and end ----------------------------------------------------------------- */

static bool stats_to_stderr(void)
{
	return policy.stats && !strcmp(policy.stats, "stderr");
}

static void keep_stderr(void)
{
	if (stats_to_stderr() || policy.dry_run)
		stderr_fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STATS_FD_FLOOR);
	if (stderr_fd >= 0 && fstat(stderr_fd, &stderr_file)) {
		close(stderr_fd);
		stderr_fd = -1;
	}
}

/* Is it there, and still what it was? */
static bool stderr_kept(void)
{
	struct stat now;
	return stderr_fd >= 0 && !fstat(stderr_fd, &now) && now.st_dev == stderr_file.st_dev &&
	       now.st_ino == stderr_file.st_ino;
}

static void start_profile(void)
{
	if (profile_start()) {
		shim_say(2, "profile: nothing is placed; recording in %s", policy.profile);
		shim_reach_deepbind();
	} else {
		shim_say(1, "profile: no file can be made in %s; nothing is recorded", policy.profile);
	}
}

__attribute__((constructor)) static void shim_start(void)
{
	if (!policy_read())
		return;
	if (policy.profile) {
		start_profile();
		return;
	}
	keep_stderr();
	libc_setup();
	rules_uncount(); /* requests of before could not have been placed */
	bool handled = shim_handle_forks();
	if (policy.dry_run) { /* no size goes the hot path, so that all are counted */
		shim_say(1, "dry run: nothing is placed; counting what %.100s would place", policy.place);
		return;
	}
	if (!handled) { /* a child would have its parent's region */
		shim_say(1, "no memory for a fork handler; running without a region");
		return;
	}
	struct rules_shown r = rules_shown(NULL);
	preload_rules_use(r.rules, r.n);
	(void)open_region(1);
	started = true;
	shim_reach_deepbind();
	(void)at_quick_exit(shim_leave); /* runs before the library's own, which unlinks */
}

static void write_all(void *opaque, const char *text)
{
	size_t n = strlen(text);
	while (n) {
		ssize_t k = write(*(int *)opaque, text, n);
		if (k <= 0)
			return;
		text += k;
		n -= (size_t)k;
	}
}

/* Where the statistics go; -1: nowhere. */
static int stats_open(bool *json)
{
	char path[4096];
	size_t n = strlen(policy.stats);
	int fd = -1;
	*json = n > 5 && !strcmp(policy.stats + n - 5, ".json");
	if (stats_to_stderr() && stderr_fd >= 0)
		return stderr_kept() ? dup(stderr_fd) : -1; /* else the program has closed it */
	if (!stats_to_stderr() && policy_expand(policy.stats, path, sizeof path))
		fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		shim_say(0, "SHMBIND_STATS=%s: cannot be written", policy.stats);
	return fd;
}

static void print_stats(shmb_arena *a)
{
	bool json;
	int fd = stats_open(&json);
	if (fd < 0)
		return;
	(void)shmb_stats_print(a, write_all, &fd, json ? "J" : "j");
	close(fd);
}

static void end_dry_run(void)
{
	struct preload_rule rules[RULES];
	unsigned n = rules_describe(rules);
	unsigned long long hits = 0, bytes = 0;
	bool json;
	for (unsigned i = 0; i < n; i++) {
		hits += rules[i].places ? rules[i].hits : 0;
		bytes += rules[i].places ? rules[i].bytes : 0;
	}
	if (stderr_kept())
		shim_say_fd = stderr_fd;
	shim_say(1, "dry run: %llu requests of %llu bytes would have been placed", hits, bytes);
	int fd = policy.stats ? stats_open(&json) : -1;
	if (fd < 0)
		return;
	preload_rules_print(rules, n, write_all, &fd, json);
	close(fd);
}

__attribute__((destructor)) static void shim_end(void)
{
	shmb_arena *a = atomic_load(&shim_arena);
	if (policy.active && policy.dry_run && !policy.profile)
		end_dry_run();
	if (!a || !shmb_region_is_owner(shmb_arena_region(a)))
		return;
	if (policy.stats)
		print_stats(a);
	shim_leave();
}
