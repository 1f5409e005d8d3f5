/*
 * info.c - what lies in the shm directory: whose it is, whether anybody
 * living owns it, and its removal.
 */
#include "format.h"
#include "region.h"
#include "sys.h"
#include "view.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum shmb_owner owner_of(int fd, const struct stat *st)
{
	switch (lease_probe(fd, LEASE_OWNER, 1)) {
	case LIVE_YES: return SHMB_OWNER_LIVE;
	case LIVE_NO: return st->st_mode & S_ISVTX ? SHMB_OWNER_DEAD : SHMB_OWNER_NONE;
	default: return SHMB_OWNER_UNKNOWN;
	}
}

static uint32_t slot_word(int fd, const struct layout *l, unsigned slot)
{
	uint32_t word;
	uint64_t off = l->slots + slot * sizeof(struct slot_shm) + offsetof(struct slot_shm, word);
	return sys_pread(fd, &word, sizeof word, off) ? SLOT_FREE : word;
}

/* Dead is who left the same word before and after the look at its lease: others were just coming or going. */
static void info_slots(int fd, const struct header_shm *h, const struct layout *l, shmb_info *out)
{
	uint32_t high = atomic_load(&h->slots_high);
	for (unsigned i = 0; i < high && i < SLOTS; i++) {
		uint32_t word = slot_word(fd, l, i);
		if (lease_probe(fd, LEASE_SLOT + i, 1) != LIVE_NO)
			out->attached++;
		else if ((word & 0xff) == SLOT_LIVE && slot_word(fd, l, i) == word)
			out->dead++;
	}
}

static void info_arena(int fd, const struct header_shm *h, const struct layout *l, shmb_info *out)
{
	out->kind = SHMB_KIND_ARENA;
	out->owner_pid = out->owner == SHMB_OWNER_LIVE ? (int32_t)atomic_load(&h->owner_pid) : 0;
	info_slots(fd, h, l, out);
	out->capacity = h->capacity;
	out->created_ns = h->created_ns;
	memcpy(out->creator, h->creator_name, sizeof out->creator);
	memcpy(out->run, h->run, sizeof out->run);
}

static int info_fd(int fd, const char *name, shmb_info *out)
{
	struct header_shm h;
	struct layout l;
	struct stat st;
	int err = sys_fstat(fd, &st);
	if (err)
		return err;
	memset(out, 0, sizeof *out);
	name_label(name, out->name, sizeof out->name);
	out->owner = owner_of(fd, &st);
	out->mode = st.st_mode & 0777;
	out->uid = st.st_uid;
	out->size = (uint64_t)st.st_size;
	out->resident = (uint64_t)st.st_blocks * 512;
	if (!format_read(fd, out->size, &h, &l)) {
		info_arena(fd, &h, &l, out);
		return 0;
	}
	bool ours = out->owner == SHMB_OWNER_LIVE || (st.st_mode & S_ISVTX);
	out->kind = ours ? SHMB_KIND_RAW : SHMB_KIND_OTHER;
	out->attached = lease_probe(fd, LEASE_RAW, 1) == LIVE_YES;
	return 0;
}

int shmb_info_name(const char *name, shmb_info *out)
{
	uint64_t size;
	int fd;
	int err = view_file(name, &fd, &size);
	if (err)
		return err;
	err = info_fd(fd, name, out);
	sys_close(fd);
	return err;
}

static int plain_file(const struct dirent *e)
{
	return e->d_type == DT_REG || e->d_type == DT_UNKNOWN;
}

/* What has a longer path than a region can have is none, nor is what has gone, or is not for us to read. */
static bool info_in(const char *dir, const char *name, shmb_info *info)
{
	char path[REGION_PATH], canonical[REGION_NAME];
	return !name_in(dir, name, path) && !name_canonical(path, canonical) && !shmb_info_name(canonical, info);
}

int shmb_list_in(const char *dir, int (*each)(void *opaque, const shmb_info *info), void *opaque)
{
	struct dirent **entries;
	int saved = errno;
	if (*dir != '/')
		return EINVAL;
	int n = scandir(dir, &entries, plain_file, alphasort);
	int err = n < 0 ? errno : 0, stop = 0;
	errno = saved;
	for (int i = 0; i < n; i++) {
		shmb_info info;
		if (!stop && info_in(dir, entries[i]->d_name, &info))
			stop = each(opaque, &info);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	return err ? err : stop;
}

int shmb_list(int (*each)(void *opaque, const shmb_info *info), void *opaque)
{
	return shmb_list_in(SHM_DIR, each, opaque);
}

static bool in_use(const shmb_info *info)
{
	return info->attached != 0;
}

int shmb_reap_name(const char *name, int force)
{
	shmb_info info;
	uint64_t size;
	int fd;
	char canonical[REGION_NAME];
	int err = name_canonical(name, canonical);
	if (!err)
		err = shmb_info_name(canonical, &info);
	if (err)
		return err;
	if (info.owner == SHMB_OWNER_LIVE)
		return SHMB_EOWNED;
	if (info.owner != SHMB_OWNER_DEAD)
		return EPERM;
	if (in_use(&info) && !force)
		return EBUSY;
	err = view_file(canonical, &fd, &size);
	if (err)
		return err;
	err = region_reap(fd, canonical);
	sys_close(fd);
	return err;
}

int shmb_remove_name(const char *name)
{
	char canonical[REGION_NAME], path[REGION_PATH];
	int err = name_canonical(name, canonical);
	if (err)
		return err;
	if (name_is_path(canonical)) { /* there are other people's files */
		shmb_info info;
		err = shmb_info_name(canonical, &info);
		if (err || info.kind == SHMB_KIND_OTHER)
			return err ? err : EPERM;
	}
	name_path(canonical, path);
	return sys_unlink(path);
}

/* ---- contents ------------------------------------------------------------------- */

struct walker {
	const struct view *v;
	int (*each)(void *opaque, const shmb_block_info *b);
	void *opaque;
};

static int walk_block(void *ctx, const struct view_block *b)
{
	static const enum shmb_block_state states[] = {
		[BLOCK_LIVE] = SHMB_BLOCK_LIVE, [BLOCK_CACHED] = SHMB_BLOCK_CACHED, [BLOCK_STRAY] = SHMB_BLOCK_STRAY};
	const struct walker *w = ctx;
	shmb_block_info info = {.ref = w->v->lay.data + b->off,
	                        .size = b->size,
	                        .state = states[b->state],
	                        .pid = view_holder_pid(w->v, b->holder)};
	return w->each(w->opaque, &info);
}

int shmb_walk_name(const char *name, int (*each)(void *opaque, const shmb_block_info *b), void *opaque)
{
	struct view v;
	int err = view_open_name(&v, name);
	if (err)
		return err;
	struct walker w = {&v, each, opaque};
	err = view_each_block(&v, walk_block, &w);
	view_close(&v);
	return err;
}

int shmb_read_name(const char *name, shmb_ref ref, void *buf, size_t len, size_t *got)
{
	uint64_t size;
	int fd;
	int err = view_file(name, &fd, &size);
	if (err)
		return err;
	*got = ref >= size ? 0 : len < size - ref ? len : (size_t)(size - ref);
	err = sys_pread(fd, buf, *got, ref);
	sys_close(fd);
	return err;
}
