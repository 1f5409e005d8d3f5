/*
 * region.c - named objects: create, find, own, leak, unlink.
 *
 * A name appears complete or not at all: the object is made without it
 * (name.h), sized, formatted, its owner lease taken, and only then linked.
 * Naming it is the one point where racing creators are told apart.
 *
 * Ownership is the owner lease (lease.h) and nothing else. The sticky bit of
 * the object's mode says "to be removed when its owner is gone": set at
 * creation, cleared by leak, so that objects of other programs and kept ones
 * are never reaped and need no bytes inside. Whoever removes a name holds the
 * owner lease and has compared the inode.
 *
 * The table of open regions is an array of atomic pointers, so that _exit from
 * a signal handler may walk it.
 */
#include "region.h"

#include "error.h"
#include "layout.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FD_FLOOR = 512, ATTEMPTS = 10000, OPEN_MAX_REGIONS = 1024 };

static _Atomic(struct shmb_region *) open_regions[OPEN_MAX_REGIONS];

__attribute__((constructor)) static void region_init(void)
{
	(void)at_quick_exit(region_unlink_owned); /* without memory for it gc removes the name: nobody could be told */
}

/* The last of our destructors: what others print at exit still finds the name. */
__attribute__((destructor(101))) static void region_exit(void)
{
	region_unlink_owned();
}

/* ---- the object ---------------------------------------------------------- */

struct attempt {
	struct shmb_region *r;
	const shmb_options *opt;
	const struct region_format *format;
	char path[REGION_PATH];
	int fd;
};

static bool flag(const struct attempt *t, unsigned f)
{
	return t->opt->flags & f;
}

static int path_is(const char *path, const struct stat *st)
{
	struct stat now;
	int err = sys_stat(path, &now);
	if (err == ENOENT)
		return SHMB_EGONE;
	if (err)
		return err;
	return now.st_dev == st->st_dev && now.st_ino == st->st_ino ? 0 : SHMB_EGONE;
}

int region_unlink_if_same(int fd, const char *canonical)
{
	char path[REGION_PATH];
	struct stat st;
	name_path(canonical, path);
	int err = sys_fstat(fd, &st);
	if (!err)
		err = path_is(path, &st);
	return err ? err : sys_unlink(path);
}

int region_reap(int fd, const char *canonical)
{
	struct stat st;
	int own, err = lease_guard();
	if (err)
		return err;
	err = sys_reopen(fd, NULL, O_RDWR, &own);
	if (err) {
		lease_unguard();
		return err;
	}
	err = sys_lock(own, F_WRLCK, LEASE_REAP, false); /* first: tells openers what holds OWNER */
	if (!err)
		err = sys_lock(own, F_WRLCK, LEASE_OWNER, false);
	if (err == EAGAIN || err == EACCES)
		err = SHMB_EOWNED;
	if (!err)
		err = sys_fstat(own, &st);
	if (!err)
		err = st.st_mode & S_ISVTX ? region_unlink_if_same(own, canonical) : EPERM;
	sys_close(own);
	lease_unguard();
	return err;
}

/* The object of the attempt: sized, formatted, owned. Marked from the first on, for the case that it has a name already. */
static int object_prepare(struct attempt *t)
{
	mode_t mode = (t->opt->mode ? t->opt->mode & 0777 : 0600) | S_ISVTX;
	int err = sys_fchmod(t->fd, 0600 | S_ISVTX); /* until it is ours: neither umask nor mode may keep us from the lease */
	if (!err && t->format->write)
		err = t->format->write(t->fd, t->format->arg);
	else if (!err)
		err = sys_truncate(t->fd, t->format->size);
	if (!err && !t->format->write && !flag(t, SHMB_SPARSE))
		err = sys_fallocate(t->fd, t->format->size);
	if (!err)
		err = lease_take_owner(t->fd, NULL, &t->r->owner);
	return err ? err : sys_fchmod(t->fd, mode);
}

static void object_is(struct attempt *t, const struct stat *st)
{
	t->r->dev = st->st_dev;
	t->r->ino = st->st_ino;
	t->r->size = (uint64_t)st->st_size;
	t->r->granule = sys_granule(st);
}

static int object_create(struct attempt *t)
{
	struct name_draft draft;
	struct stat st;
	if (!t->format->size)
		return EINVAL;
	int err = name_draft_open(t->path, &draft);
	if (err)
		return err;
	t->fd = draft.fd;
	err = object_prepare(t);
	if (!err)
		err = sys_fstat(t->fd, &st);
	if (!err)
		err = name_draft_link(&draft, t->path);
	name_draft_end(&draft);
	if (err) {
		lease_drop(&t->r->owner);
		sys_close(t->fd);
		return err == EEXIST ? EAGAIN : err;
	}
	t->r->how = SHMB_CREATED;
	object_is(t, &st);
	return 0;
}

/* Is what we opened a plain object that we may use? */
static int object_accept(const struct attempt *t, const struct stat *st)
{
	if (!S_ISREG(st->st_mode))
		return ENODEV;
	if (st->st_uid != geteuid() && !flag(t, SHMB_ANY_USER))
		return SHMB_EFOREIGN;
	if (st->st_size <= 0 || (uint64_t)st->st_size < t->opt->size)
		return SHMB_ETOOSMALL;
	return 0;
}

/* EAGAIN where somebody is removing the object at this moment. */
static int reap_under_way(int fd)
{
	bool held;
	int err = sys_lock_probe(fd, LEASE_REAP, 1, &held);
	if (err || !held)
		return err;
	sys_yield();
	return EAGAIN;
}

/* EAGAIN where the name leads elsewhere by now. */
static int still_named(const struct attempt *t, const struct stat *st)
{
	int err = path_is(t->path, st);
	return err == SHMB_EGONE ? EAGAIN : err;
}

/* A dead owner's object is claimed, or removed (EAGAIN: look again) where it is to be replaced. */
static int object_inherit(struct attempt *t, const struct stat *st)
{
	bool replace = flag(t, SHMB_CREATE_ONLY | SHMB_REPLACE);
	int err;
	if (replace)
		err = region_reap(t->fd, t->r->name);
	else
		err = lease_take_owner(t->fd, t->path, &t->r->owner);
	if (err == EAGAIN || err == SHMB_EOWNED) {
		err = reap_under_way(t->fd);
		if (!err) /* it may have ended meanwhile, the object with it */
			err = still_named(t, st);
		return !err && flag(t, SHMB_CREATE_ONLY) ? EEXIST : err;
	}
	if (replace)
		return err == 0 || err == SHMB_EGONE ? EAGAIN : err;
	if (err)
		return err;
	err = still_named(t, st); /* it may have been removed before we had the lease */
	if (err)
		lease_drop(&t->r->owner);
	else
		t->r->how = SHMB_CLAIMED;
	return err;
}

/* Opens what the name names now. ENOENT: nothing; EAGAIN: it changed under us. */
static int object_find(struct attempt *t)
{
	struct stat st;
	bool may_own = !flag(t, SHMB_READ_ONLY | SHMB_ATTACH_ONLY);
	int mode = flag(t, SHMB_READ_ONLY) ? O_RDONLY : O_RDWR;
	int err = sys_open(t->path, mode | O_NOFOLLOW | O_NONBLOCK, 0, &t->fd);
	if (err == ENXIO || err == EISDIR)
		err = ENODEV; /* a socket, a directory */
	if ((err == ENODEV || err == ELOOP) && flag(t, SHMB_CREATE_ONLY))
		err = EEXIST;
	if (err)
		return err;
	t->r->how = SHMB_ATTACHED;
	err = sys_fstat(t->fd, &st);
	if (!err && may_own && (st.st_mode & S_ISVTX) && S_ISREG(st.st_mode) && st.st_uid == geteuid())
		err = object_inherit(t, &st);
	else if (!err && flag(t, SHMB_CREATE_ONLY))
		err = EEXIST;
	if (!err)
		err = object_accept(t, &st);
	if (!err && st.st_nlink == 0 && t->r->how == SHMB_ATTACHED)
		err = EAGAIN;
	if (err) {
		lease_drop(&t->r->owner);
		sys_close(t->fd);
		return err;
	}
	object_is(t, &st);
	return 0;
}

static int options_check(const shmb_options *o)
{
	unsigned f = o->flags;
	if (f & ~(unsigned)(SHMB_CREATE_ONLY | SHMB_ATTACH_ONLY | SHMB_READ_ONLY | SHMB_ANY_USER | SHMB_FIXED |
	                    SHMB_REPLACE | SHMB_REAPER | SHMB_SPARSE | SHMB_HARDENED | SHMB_SMALL_PAGES))
		return EINVAL;
	if ((f & (SHMB_CREATE_ONLY | SHMB_REPLACE)) && (f & (SHMB_ATTACH_ONLY | SHMB_READ_ONLY)))
		return EINVAL;
	if (o->mode & ~0777u || (o->run && strlen(o->run) >= RUN_TAG))
		return EINVAL;
	return 0;
}

static int attempt_run(struct attempt *t)
{
	bool attach_only = flag(t, SHMB_ATTACH_ONLY | SHMB_READ_ONLY);
	for (int i = 0; i < ATTEMPTS; i++) {
		int err = object_find(t);
		if (err == ENOENT && !attach_only)
			err = object_create(t);
		if (err != EAGAIN)
			return err;
	}
	return EAGAIN;
}

int region_acquire(const char *name, const shmb_options *opt, const struct region_format *format,
                   struct shmb_region **out, int *fd)
{
	static const shmb_options none = {.flags = SHMB_ATTACH_ONLY};
	struct attempt t = {.opt = opt ? opt : &none, .format = format};
	int err = options_check(t.opt);
	if (err)
		return err;
	t.r = calloc(1, sizeof *t.r);
	if (!t.r)
		return ENOMEM;
	t.r->fd = -1;
	t.r->read_only = flag(&t, SHMB_READ_ONLY);
	err = name_canonical(name, t.r->name);
	if (!err) {
		name_path(t.r->name, t.path);
		err = attempt_run(&t); /* NOLINT(clang-analyzer-unix.Malloc): changes *t.r, not t.r */
	}
	if (!err) {
		*out = t.r;
		*fd = t.fd;
		return 0;
	}
	free(t.r);
	return err;
}

static bool is_file(const struct shmb_region *r, int fd)
{
	struct stat st;
	return fd >= 0 && !sys_fstat(fd, &st) && st.st_dev == r->dev && st.st_ino == r->ino;
}

int region_descriptor(const struct shmb_region *r, int *fd)
{
	char path[REGION_PATH];
	if (is_file(r, r->fd) && !sys_reopen(r->fd, NULL, r->read_only ? O_RDONLY : O_RDWR, fd)) {
		if (is_file(r, *fd))
			return 0;
		sys_close(*fd);
	}
	name_path(r->name, path);
	int err = sys_open(path, (r->read_only ? O_RDONLY : O_RDWR) | O_NOFOLLOW | O_NONBLOCK, 0, fd);
	if (err)
		return err == ENOENT ? SHMB_EGONE : err;
	if (is_file(r, *fd))
		return 0;
	sys_close(*fd);
	return SHMB_EGONE;
}

int region_publish(struct shmb_region *r)
{
	for (unsigned i = 0; i < OPEN_MAX_REGIONS; i++) {
		struct shmb_region *empty = NULL;
		if (atomic_compare_exchange_strong(&open_regions[i], &empty, r))
			return 0;
	}
	return EMFILE;
}

void region_keep_descriptor(struct shmb_region *r, int fd)
{
	(void)sys_dup(fd, FD_FLOOR, &r->fd); /* none under a low RLIMIT_NOFILE: the name does too */
	sys_close(fd);
	if (lease_held(&r->owner)) /* who is to unlink it needs its directory, whatever it does to its root */
		r->dir = name_keep_dir(r->name);
}

/* ---- owning -------------------------------------------------------------- */

static int unlink_own(const struct shmb_region *r)
{
	char path[REGION_PATH];
	struct stat mine = {.st_dev = r->dev, .st_ino = r->ino};
	name_path(r->name, path);
	int err = path_is(path, &mine);
	if (err && !name_unlink_kept(r->name, r->dev, r->ino))
		return 0;
	return err == SHMB_EGONE ? 0 : err ? err : sys_unlink(path);
}

void region_unlink_owned(void)
{
	for (unsigned i = 0; i < OPEN_MAX_REGIONS; i++) {
		struct shmb_region *r = atomic_load(&open_regions[i]);
		if (r && lease_held(&r->owner))
			(void)unlink_own(r); /* nobody is left to be told */
	}
}

void region_unmap_all(void)
{
	for (unsigned i = 0; i < OPEN_MAX_REGIONS; i++) {
		const struct shmb_region *r = atomic_load(&open_regions[i]);
		if (r)
			(void)sys_unmap(r->addr, r->size);
	}
}

int region_release(struct shmb_region *r)
{
	for (unsigned i = 0; i < OPEN_MAX_REGIONS; i++) {
		struct shmb_region *me = r;
		if (atomic_compare_exchange_strong(&open_regions[i], &me, NULL))
			break;
	}
	int err = lease_held(&r->owner) ? unlink_own(r) : 0;
	lease_drop(&r->owner);
	lease_drop(&r->attached);
	name_drop_dir(r->dir);
	if (is_file(r, r->fd))
		sys_close(r->fd);
	free(r);
	return err;
}

void region_abandon(struct shmb_region *r)
{
	if (r->how != SHMB_CREATED)
		lease_drop(&r->owner);
	(void)region_release(r);
}

/* Sets or clears the mark that says "remove me when my owner is gone". */
static int set_mortal(int fd, bool on)
{
	struct stat st;
	int err = sys_fstat(fd, &st);
	if (err)
		return err;
	mode_t mode = st.st_mode & 0777;
	return sys_fchmod(fd, on ? mode | S_ISVTX : mode);
}

int shmb_region_is_owner(const shmb_region *r)
{
	return lease_held(&r->owner);
}

int shmb_region_own(shmb_region *r)
{
	char path[REGION_PATH];
	struct stat mine = {.st_dev = r->dev, .st_ino = r->ino};
	int fd;
	if (lease_held(&r->owner))
		return 0;
	if (r->read_only)
		return EACCES;
	int err = region_descriptor(r, &fd);
	if (err)
		return err;
	err = lease_take_owner(fd, NULL, &r->owner);
	if (err == EAGAIN)
		err = SHMB_EOWNED;
	if (!err) {
		name_path(r->name, path);
		err = path_is(path, &mine);
		if (!err)
			err = set_mortal(fd, true);
		if (err)
			lease_drop(&r->owner);
		else if (!r->dir)
			r->dir = name_keep_dir(r->name);
	}
	sys_close(fd);
	return err;
}

int shmb_region_leak(shmb_region *r)
{
	int fd;
	if (!lease_held(&r->owner))
		return SHMB_ENOTOWNER;
	int err = region_descriptor(r, &fd);
	if (err)
		return err;
	err = set_mortal(fd, false);
	sys_close(fd);
	if (!err)
		lease_drop(&r->owner);
	return err;
}

void *shmb_region_addr(const shmb_region *r) { return r->addr; }
size_t shmb_region_size(const shmb_region *r) { return r->size; }
const char *shmb_region_name(const shmb_region *r) { return r->name; }
enum shmb_how shmb_region_how(const shmb_region *r) { return r->how; }
