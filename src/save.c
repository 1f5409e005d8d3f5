/*
 * save.c - a region as a file that can be kept, and back.
 *
 * Saving reads as the views do: nobody is stopped, nothing is mapped. The
 * tables are copied before the data and looked at again after it; if they are
 * the same, nobody allocated or freed in between, and the file is of one
 * moment but for what programs write into blocks they have. Else they are
 * copied until they hold still, which makes them agree with each other, though
 * not with all of the data.
 *
 * A loaded region is a new one in which everybody is dead. Copies lose holes
 * or make new ones, so what the tables say is committed is committed anew:
 * who opens it must not die of SIGBUS where the file system is full.
 */
#include "extent.h"
#include "format.h"
#include "region.h"
#include "sys.h"
#include "view.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { BUFFER = 1 << 20, BUFFERS = 2 * BUFFER, SETTLES = 8, UNIT_GRAINS = UNIT / GRAIN };

struct copying {
	int from, to;
	char *buffer, *other; /* BUFFER bytes each */
	bool changed;
};

/* ---- copying ----------------------------------------------------------------------- */

static int copy_piece(struct copying *c, uint64_t off, size_t len, bool compare)
{
	int err = sys_pread(c->from, c->buffer, len, off);
	if (!err && compare) {
		memset(c->other, 0, len);
		err = sys_pread(c->to, c->other, len, off); /* it has its full size already */
		if (!err && !memcmp(c->buffer, c->other, len))
			return 0;
		c->changed = true;
	}
	return err ? err : sys_put(c->to, c->buffer, len, off);
}

/* What there is of [off, end), pieces that are the same left alone if `compare`. */
static int copy_range(struct copying *c, uint64_t off, uint64_t end, bool compare)
{
	struct extent e = {0};
	for (uint64_t n; off < end; off += n) {
		int err = extent_next(c->from, &off, end, &e, &n);
		if (err || !n)
			return err;
		n = n < BUFFER ? n : BUFFER;
		err = copy_piece(c, off, (size_t)n, compare);
		if (err)
			return err;
	}
	return 0;
}

/* The tables, the data, and the tables until they hold still. */
static int copy_all(struct copying *c, uint64_t data, uint64_t size, int *exact)
{
	int err = copy_range(c, 0, data, false);
	if (!err)
		err = copy_range(c, data, size, false);
	*exact = 1;
	for (unsigned i = 0; i < SETTLES && !err && data; i++) {
		c->changed = false;
		err = copy_range(c, 0, data, true);
		if (!c->changed)
			break;
		*exact = 0;
	}
	return err == EIO ? SHMB_ECORRUPT : err; /* it became shorter meanwhile */
}

static int copy_with_buffer(int from, int to, uint64_t data, uint64_t size, int *exact)
{
	void *buffer;
	int err = sys_map(NULL, BUFFERS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &buffer);
	if (err)
		return err;
	struct copying c = {.from = from, .to = to, .buffer = buffer, .other = (char *)buffer + BUFFER};
	err = copy_all(&c, data, size, exact);
	sys_unmap(buffer, BUFFERS);
	return err;
}

/* Where the data begins; 0: no arena. */
static int where_data_is(int fd, uint64_t size, uint64_t *data)
{
	struct header_shm h = {.magic = ""}; /* of less than a page nothing is read */
	struct layout l;
	int err = format_read(fd, size, &h, &l);
	*data = err ? 0 : l.data;
	return err == SHMB_EFORMAT && memcmp(h.magic, REGION_MAGIC, sizeof h.magic) ? 0 : err;
}

/* ---- saving ------------------------------------------------------------------------- */

/* Without a name where the file system can: then it appears complete or not at all. */
static int new_file(const char *path, int *fd, bool *named)
{
	const char *slash = strrchr(path, '/');
	char dir[4096] = ".";
	size_t len = slash ? (size_t)(slash - path) : 0;
	if (len >= sizeof dir)
		return ENAMETOOLONG;
	if (slash) {
		memcpy(dir, len ? path : "/", len ? len : 1);
		dir[len ? len : 1] = 0;
	}
	int err = sys_open(dir, O_TMPFILE | O_RDWR, 0600, fd);
	*named = err == EOPNOTSUPP || err == EISDIR || err == EINVAL;
	return *named ? sys_open(path, O_CREAT | O_EXCL | O_RDWR, 0600, fd) : err;
}

static int save_fd(int from, uint64_t size, int to, int *exact)
{
	uint64_t data;
	struct stat st;
	int err = where_data_is(from, size, &data);
	if (!err)
		err = sys_fstat(from, &st);
	if (!err)
		err = sys_truncate(to, size);
	if (!err)
		err = copy_with_buffer(from, to, data, size, exact);
	if (!data && lease_probe(from, LEASE_OWNER, LEASE_RAW - LEASE_OWNER + 1) != LIVE_NO)
		*exact = 0; /* of a raw region it shows nowhere whether anybody writes */
	return err ? err : sys_fchmod(to, st.st_mode & 0777);
}

int shmb_save_name(const char *name, const char *path, int *exact)
{
	uint64_t size;
	int from, to, quiet = 0;
	bool named;
	struct stat st;
	int err = view_file(name, &from, &size);
	if (err)
		return err;
	err = sys_stat(path, &st) ? 0 : EEXIST; /* soon, not after gigabytes; the link decides */
	if (!err)
		err = new_file(path, &to, &named);
	if (!err) {
		err = save_fd(from, size, to, &quiet);
		if (!err && !named)
			err = sys_link(to, path);
		else if (err && named)
			(void)sys_unlink(path);
		sys_close(to);
	}
	sys_close(from);
	if (exact)
		*exact = quiet;
	return err;
}

/* ---- loading -------------------------------------------------------------------------- */

static int commit(int fd, uint64_t off, uint64_t len)
{
	return len ? sys_fallocate_at(fd, off, len) : 0;
}

static int commit_tables(int fd, const struct view *v)
{
	const struct layout *l = &v->lay;
	uint64_t tables = round_up(v->ready, CHUNK_UNITS);
	bool ruled = v->rules_n || atomic_load(&v->h.rules_gen);
	const uint64_t ranges[][2] = {
		{0, l->mags},
		{l->mags, v->mags_n * sizeof(struct mag_shm)},
		{l->mag_bits, v->mags_n ? MAGS / 8 : 0},
		{l->threads, v->threads_n * sizeof(struct thread_shm)},
		{l->boxes, v->boxes_n * sizeof(struct box_shm)},
		{l->box_bits, v->boxes_n ? BOXES / 8 : 0},
		{l->buckets, v->names_n ? NAME_BUCKETS * sizeof(struct bucket_shm) : 0},
		{l->rules, ruled ? sizeof(struct rules_shm) : 0},
		{l->rule_text, ruled ? 2 * RULES_TEXT : 0},
		{l->spans, tables * sizeof(span_t)},
		{l->used_bits, round_up(tables, 64) / 8},
		{l->dirty_bits, round_up(tables, 64) / 8},
		{l->map_bits, round_up(tables, 64) / 8},
		{l->tag_bits, round_up(tables, 64) / 8},
		{l->unit_tags, tables},
		{l->pages, tables * UNIT_PAGES * sizeof(page_t)},
	};
	int err = 0;
	for (unsigned i = 0; i < sizeof ranges / sizeof *ranges && !err; i++)
		err = commit(fd, ranges[i][0], ranges[i][1]);
	return err;
}

/* The names of the buckets that say so: a bucket has half a page of them. */
static int commit_names(int fd, const struct view *v)
{
	enum { BYTES = NAMES_PER_BUCKET * sizeof(struct name_shm) };
	int err = 0;
	for (unsigned i = 0; v->names_n && i < NAME_BUCKETS && !err; i++) {
		struct bucket_shm b;
		err = sys_pread(fd, &b, sizeof b, v->lay.buckets + i * sizeof b);
		if (!err && atomic_load(&b.committed))
			err = commit(fd, v->lay.names + (uint64_t)i * BYTES, BYTES);
	}
	return err;
}

static bool is_committed(span_t w)
{
	return span_kind_of(w) != SPAN_FREE || span_aux(w);
}

static int commit_units(int fd, const struct view *v)
{
	int err = 0;
	for (uint64_t u = 0, n; u < v->ready && !err; u += n) {
		bool there = is_committed(v->spans[u]);
		for (n = 1; u + n < v->ready && is_committed(v->spans[u + n]) == there;)
			n++;
		if (there)
			err = commit(fd, v->lay.data + (u << UNIT_SHIFT), n << UNIT_SHIFT);
	}
	return err;
}

/* Of a table of a page a unit, the block map or the tags, what its bits say is there; a word of bits at a time. */
static int commit_pages(int fd, const struct view *v, uint64_t bits_off, uint64_t table)
{
	int err = 0;
	for (uint64_t u = 0; u < v->ready && u < SMALL_UNITS && !err; u += 64) {
		uint64_t bits;
		err = sys_pread(fd, &bits, sizeof bits, bits_off + u / 8);
		for (unsigned i = 0, n; i < 64 && bits >> i && !err; i += n) {
			i += (unsigned)__builtin_ctzll(bits >> i);
			uint64_t clear = ~(bits >> i);
			n = clear ? (unsigned)__builtin_ctzll(clear) : 64;
			err = commit(fd, table + (u + i) * UNIT_GRAINS, (uint64_t)n * UNIT_GRAINS);
		}
	}
	return err;
}

static int commit_arena(int fd)
{
	struct view v;
	int err = view_open_tables(&v, fd);
	if (err)
		return err;
	err = commit_tables(fd, &v);
	if (!err)
		err = commit_names(fd, &v);
	if (!err)
		err = commit_units(fd, &v);
	if (!err)
		err = commit_pages(fd, &v, v.lay.map_bits, v.lay.blockmap);
	if (!err)
		err = commit_pages(fd, &v, v.lay.tag_bits, v.lay.tags);
	view_close(&v);
	return err;
}

static int load_fd(int from, const struct stat *st, int to)
{
	uint64_t data, size = (uint64_t)st->st_size;
	int exact;
	int err = where_data_is(from, size, &data);
	if (!err)
		err = sys_truncate(to, size);
	if (!err)
		err = copy_with_buffer(from, to, 0, size, &exact);
	if (!err)
		err = data ? commit_arena(to) : sys_fallocate(to, size);
	return err ? err : sys_fchmod(to, st->st_mode & 0777); /* no sticky bit: kept, nobody's */
}

/* A lease, so that who finds the draft's other name does not take it for one that was left. */
static int load_draft(int from, const struct stat *st, struct name_draft *d, const char *object)
{
	struct lease making = {.page = NULL};
	int err = *d->other ? lease_take_owner(d->fd, NULL, &making) : 0;
	if (!err)
		err = load_fd(from, st, d->fd);
	if (!err)
		err = name_draft_link(d, object);
	name_draft_end(d);
	lease_drop(&making);
	return err;
}

int shmb_load_name(const char *path, const char *name)
{
	char canonical[REGION_NAME], object[REGION_PATH];
	struct name_draft draft;
	struct stat st;
	int from;
	int err = name_canonical(name, canonical);
	if (err)
		return err;
	name_path(canonical, object);
	err = sys_stat(object, &st); /* soon, not after gigabytes; the link decides */
	if (err != ENOENT)
		return err ? err : EEXIST;
	err = sys_open(path, O_RDONLY | O_NONBLOCK, 0, &from);
	if (err)
		return err;
	err = sys_fstat(from, &st);
	if (!err && (!S_ISREG(st.st_mode) || !st.st_size))
		err = S_ISREG(st.st_mode) ? SHMB_ETOOSMALL : ENODEV;
	if (!err)
		err = name_draft_open(object, &draft);
	if (!err) {
		err = load_draft(from, &st, &draft, object);
		sys_close(draft.fd);
	}
	sys_close(from);
	return err;
}
