/*
 * name.c - names of regions, and the files that they stand for.
 *
 * A name without a further slash lies in the shm directory, where shm_open()
 * looks, too; one with a further slash is the whole path of a file, on any file
 * system that is mounted. Relative paths name no region: an owner unlinks its
 * own from wherever it has changed to.
 *
 * The table of kept directories is read from exit in any context; an entry's
 * descriptor is set last. They are a convenience: a descriptor is used only
 * while fstat says that it still is that directory.
 */
#include "name.h"

#include "shmbind.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum { KEPT = 16, FD_FLOOR = 512, EMPTY = -1, CHANGING = -2 };

static struct {
	_Atomic int fd; /* what it is, or EMPTY, CHANGING; less 1, so that 0 is EMPTY */
	_Atomic int uses;
	dev_t dev;
	ino_t ino;
} kept[KEPT];

static int kept_fd(unsigned i)
{
	return atomic_load(&kept[i].fd) - 1;
}

/* ---- names --------------------------------------------------------------------- */

static bool is_plain(const char *base)
{
	return *base && strlen(base) <= NAME_MAX_BYTES && strcmp(base, ".") && strcmp(base, "..");
}

bool name_is_path(const char *name)
{
	return name && *name && strchr(name + 1, '/');
}

static const char *base_of(const char *path)
{
	return strrchr(path, '/') + 1;
}

static int canonical_path(const char *path, char out[REGION_NAME])
{
	const char *base = base_of(path);
	size_t dir = (size_t)(base - 1 - path);
	if (*path != '/' || !is_plain(base) || strspn(path, "/") > dir)
		return EINVAL;
	if (dir == sizeof SHM_DIR - 1 && !memcmp(path, SHM_DIR, dir))
		path = base - 1;
	if (strlen(path) >= REGION_NAME)
		return ENAMETOOLONG;
	sys_copy_text(out, REGION_NAME, path);
	return 0;
}

int name_canonical(const char *name, char out[REGION_NAME])
{
	if (!name)
		return EINVAL;
	if (name_is_path(name))
		return canonical_path(name, out);
	if (*name == '/')
		name++;
	if (!is_plain(name))
		return EINVAL;
	out[0] = '/';
	sys_copy_text(out + 1, REGION_NAME - 1, name);
	return 0;
}

void name_path(const char *canonical, char out[REGION_PATH])
{
	size_t n = name_is_path(canonical) ? 0 : sizeof SHM_DIR - 1;
	memcpy(out, SHM_DIR, n);
	sys_copy_text(out + n, REGION_PATH - n, canonical);
}

void name_label(const char *name, char *out, size_t len)
{
	char canonical[REGION_NAME];
	sys_copy_text(out, len, name_canonical(name, canonical) ? name : canonical);
}

int name_in(const char *dir, const char *name, char out[REGION_PATH])
{
	size_t n = strlen(dir), m = strlen(name);
	while (n && dir[n - 1] == '/')
		n--;
	if (n + 1 + m >= REGION_PATH)
		return ENAMETOOLONG;
	sys_copy_text(out, n + 1, dir);
	out[n] = '/';
	sys_copy_text(out + n + 1, m + 1, name);
	return 0;
}

/* ---- directories ------------------------------------------------------------------ */

static void dir_of(const char *path, char out[REGION_PATH])
{
	sys_copy_text(out, (size_t)(base_of(path) - path), path);
}

static bool is_kept(unsigned i, const struct stat *dir)
{
	struct stat st;
	int fd = kept_fd(i);
	return fd >= 0 && !sys_fstat(fd, &st) && st.st_dev == kept[i].dev && st.st_ino == kept[i].ino &&
	       (!dir || (st.st_dev == dir->st_dev && st.st_ino == dir->st_ino));
}

/* One more that uses it; of those there are. KEPT: it is not among them. */
static unsigned use_kept(const struct stat *dir)
{
	for (unsigned i = 0; i < KEPT; i++) {
		if (!is_kept(i, dir))
			continue;
		atomic_fetch_add(&kept[i].uses, 1);
		if (is_kept(i, dir)) /* who gives up the last use looks for new ones after he has begun */
			return i;
		atomic_fetch_sub(&kept[i].uses, 1);
	}
	return KEPT;
}

/* Of entries that lead nowhere any more the first is taken anew; who used it before gives up his use of this. */
static unsigned keep(int fd, const struct stat *dir)
{
	int high;
	if (sys_dup(fd, FD_FLOOR, &high))
		return KEPT;
	for (unsigned i = 0; i < KEPT; i++) {
		int was = atomic_load(&kept[i].fd);
		if (was == CHANGING + 1 || is_kept(i, NULL) || !atomic_compare_exchange_strong(&kept[i].fd, &was, CHANGING + 1))
			continue;
		kept[i].dev = dir->st_dev;
		kept[i].ino = dir->st_ino;
		atomic_fetch_add(&kept[i].uses, 1);
		atomic_store(&kept[i].fd, high + 1);
		return i;
	}
	sys_close(high);
	return KEPT;
}

unsigned name_keep_dir(const char *canonical)
{
	char path[REGION_PATH], dir[REGION_PATH];
	struct stat st;
	int fd;
	name_path(canonical, path);
	dir_of(path, dir);
	unsigned i = sys_stat(dir, &st) ? KEPT : use_kept(&st);
	if (i == KEPT && !sys_open(dir, O_PATH | O_DIRECTORY, 0, &fd)) {
		if (!sys_fstat(fd, &st)) {
			i = use_kept(&st); /* by a symbolic link */
			i = i == KEPT ? keep(fd, &st) : i;
		}
		sys_close(fd);
	}
	return i == KEPT || !name_is_path(canonical) ? 0 : i + 1;
}

void name_drop_dir(unsigned use)
{
	if (!use || atomic_fetch_sub(&kept[use - 1].uses, 1) > 1)
		return;
	unsigned i = use - 1;
	int was = atomic_load(&kept[i].fd);
	bool ours = is_kept(i, NULL);
	if (was <= 0 || !atomic_compare_exchange_strong(&kept[i].fd, &was, CHANGING + 1))
		return;
	bool used = atomic_load(&kept[i].uses) > 0;
	if (ours && !used)
		sys_close(was - 1);
	atomic_store(&kept[i].fd, used ? was : EMPTY + 1);
}

int name_unlink_kept(const char *canonical, dev_t dev, ino_t ino)
{
	const char *base = base_of(canonical);
	int err = EBADF;
	for (unsigned i = 0; i < KEPT; i++) {
		struct stat st;
		if (!is_kept(i, NULL))
			continue;
		err = sys_stat_in(kept_fd(i), base, &st);
		if (!err && st.st_dev == dev && st.st_ino == ino)
			return sys_unlink_in(kept_fd(i), base);
		err = err ? err : SHMB_EGONE;
	}
	return err;
}

/* ---- files to be named when they are complete ----------------------------------------- */

static int open_other(const char *dir, struct name_draft *d)
{
	int err = EEXIST;
	for (unsigned i = 0; i < 100 && err == EEXIST; i++) {
		snprintf(d->other, sizeof d->other, "%.200s/.shmbind-%d-%llx", dir, (int)sys_pid(),
		         (unsigned long long)sys_now_ns());
		err = strlen(dir) > 200 ? ENAMETOOLONG : sys_open(d->other, O_CREAT | O_EXCL | O_RDWR, 0600, &d->fd);
	}
	if (!err)
		err = sys_fchmod(d->fd, 0600 | S_ISVTX);
	else
		*d->other = 0;
	if (err && *d->other) {
		(void)sys_unlink(d->other);
		sys_close(d->fd);
	}
	return err;
}

int name_draft_open(const char *path, struct name_draft *d)
{
	char dir[REGION_PATH];
	dir_of(path, dir);
	*d->other = 0;
	int err = sys_open(dir, O_TMPFILE | O_RDWR, 0600, &d->fd);
	return err == EOPNOTSUPP ? open_other(dir, d) : err;
}

/* Renamed, not linked: where file systems give each name an inode of its own, no lock would hold for both. */
int name_draft_link(struct name_draft *d, const char *path)
{
	int err = *d->other ? sys_rename_new(d->other, path) : sys_link(d->fd, path);
	if (*d->other && (err == ENOENT || err == EINVAL))
		return err == ENOENT ? EAGAIN : EOPNOTSUPP; /* it cannot tell whether there is one already */
	if (!err)
		*d->other = 0;
	return err;
}

void name_draft_end(const struct name_draft *d)
{
	if (*d->other)
		(void)sys_unlink(d->other);
}
