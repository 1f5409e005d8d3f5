/* lease.c - locks that end with the process. See lease.h. */
#include "lease.h"

#include "class.h"
#include "once.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>

/*
 * A number that no ancestor had: it lives in a page that fork wipes. A
 * process that shares our memory (vfork) has the page too, but another pid.
 */
static uint64_t process_birth(void)
{
	static _Atomic(_Atomic uint64_t *) word;
	static _Atomic uint64_t last; /* copied by fork: what the ancestors used */
	_Atomic uint64_t *w = atomic_load(&word);
	if (!w) {
		void *page, *none = NULL;
		if (sys_map(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &page))
			return 1; /* the pid alone will have to do */
		sys_wipeonfork(page, PAGE);
		if (!atomic_compare_exchange_strong((_Atomic(void *) *)&word, &none, page))
			sys_unmap(page, PAGE);
		w = atomic_load(&word);
	}
	uint64_t unborn = 0;
	if (!atomic_load(w))
		atomic_compare_exchange_strong(w, &unborn, atomic_fetch_add(&last, 1) + 1);
	return atomic_load(w);
}

/* ---- forks ------------------------------------------------------------------------- */

static pthread_mutex_t forks = PTHREAD_MUTEX_INITIALIZER;

bool forks_alone;

static void lock_forks(void) { pthread_mutex_lock(&forks); }
static void unlock_forks(void) { pthread_mutex_unlock(&forks); }

static void fork_prepare(void)
{
	if (!forks_alone)
		lock_forks();
}

static void fork_done(void)
{
	if (!forks_alone)
		unlock_forks();
}

static int handle_forks(void) { return pthread_atfork(fork_prepare, fork_done, fork_done); }

int lease_setup(void)
{
	static once_t once;
	return once_try(&once, handle_forks);
}

int lease_guard(void)
{
	int err = lease_setup();
	if (!err)
		lock_forks();
	return err;
}

void lease_unguard(void)
{
	unlock_forks();
}

/* ---- taking ------------------------------------------------------------------------ */

/*
 * Some file systems map another's file in place of theirs (overlayfs), so that
 * the lock went with the descriptor. fd: another description of the file.
 */
static int outlives_descriptor(int fd, uint64_t byte, struct lease *l)
{
	if (lease_probe(fd, byte, 1) != LIVE_NO)
		return 0;
	lease_drop(l);
	return EOPNOTSUPP;
}

/* Pins the description behind `fd` with a page and closes the descriptor. */
static int lease_pin(int fd, struct lease *out)
{
	struct stat st;
	out->pid = sys_pid();
	out->birth = process_birth();
	int err = sys_fstat(fd, &st);
	if (!err) {
		out->len = sys_granule(&st);
		err = sys_map(NULL, out->len, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd, 0, &out->page);
	}
	if (!err) {
		err = sys_dontfork(out->page, out->len);
		if (err)
			lease_drop(out);
	}
	sys_close(fd);
	return err == EAGAIN ? ENOMEM : err; /* too much memory is locked: not that somebody has the lease */
}

static int pin_or_close(int err, int own, struct lease *out)
{
	if (!err)
		return lease_pin(own, out);
	sys_close(own);
	return err;
}

/* Takes the first free byte through a description that is this lease's own. */
static int take_first(int own, uint64_t first, uint64_t n, uint64_t *which)
{
	int err = EAGAIN;
	for (uint64_t i = 0; i < n && (err == EAGAIN || err == EACCES); i++) {
		err = sys_lock(own, F_WRLCK, first + i, false);
		if (!err)
			*which = i;
	}
	return err == EACCES ? EAGAIN : err;
}

static int take_owner(int own)
{
	int err = sys_lock(own, F_WRLCK, LEASE_OWNER, false);
	if (!err)
		err = sys_lock(own, F_WRLCK, LEASE_WATCH, true); /* held by none but a reaper about to end */
	return err == EACCES ? EAGAIN : err;
}

int lease_take(int fd, const char *path, uint64_t first, uint64_t n, struct lease *out, uint64_t *which)
{
	uint64_t taken = 0;
	int own, err = lease_guard();
	if (err)
		return err;
	err = sys_reopen(fd, path, O_RDWR, &own);
	if (!err) {
		err = take_first(own, first, n, &taken);
		err = pin_or_close(err, own, out);
	}
	if (!err)
		err = outlives_descriptor(fd, first + taken, out);
	if (!err && which)
		*which = taken;
	lease_unguard();
	return err;
}

int lease_take_owner(int fd, const char *path, struct lease *out)
{
	int own, err = lease_guard();
	if (err)
		return err;
	err = sys_reopen(fd, path, O_RDWR, &own);
	if (!err) {
		err = take_owner(own);
		err = pin_or_close(err, own, out);
	}
	if (!err)
		err = outlives_descriptor(fd, LEASE_OWNER, out);
	lease_unguard();
	return err;
}

int lease_share(int fd, uint64_t byte, struct lease *out)
{
	int own, err = lease_guard();
	if (err)
		return err;
	err = sys_reopen(fd, NULL, O_RDONLY, &own);
	if (!err) {
		err = sys_lock(own, F_RDLCK, byte, false);
		err = pin_or_close(err, own, out);
	}
	if (!err)
		err = outlives_descriptor(fd, byte, out);
	lease_unguard();
	return err;
}

bool lease_held(const struct lease *l)
{
	return l->page && l->pid == sys_pid() && l->birth == process_birth();
}

void lease_drop(struct lease *l)
{
	if (lease_held(l))
		(void)sys_unmap(l->page, l->len); /* a mapping of its own, whole: not refused */
	l->page = NULL;
}

enum liveness lease_probe(int fd, uint64_t first, uint64_t n)
{
	bool held;
	if (sys_lock_probe(fd, first, n, &held))
		return LIVE_UNKNOWN;
	return held ? LIVE_YES : LIVE_NO;
}
