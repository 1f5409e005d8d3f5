/*
 * view.c - the tables of an arena region, copied with pread(2) by somebody
 * who is not part of it. Never maps the region: reading a hole through a
 * mapping would allocate it, and a truncated file would be SIGBUS.
 *
 * Holes are not read, they are zeros here already: a header may claim tables
 * of many GiB that nobody ever wrote, and what looking at it takes must follow
 * from what is there.
 *
 * Counts and words are clamped or checked before they index anything. The
 * copy is not atomic; who needs to know whether it is consistent takes two.
 */
#include "view.h"

#include "extent.h"
#include "format.h"
#include "slot.h"
#include "sound.h"
#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

enum { UNIT_GRAINS = UNIT / GRAIN, BATCH_UNITS = 64, BATCH = BATCH_UNITS * UNIT_GRAINS, PARTS = 12 };

static int open_object(const char *name, int *fd)
{
	char canonical[REGION_NAME], path[REGION_PATH];
	int err = name_canonical(name, canonical);
	if (err)
		return err;
	name_path(canonical, path);
	return sys_open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, fd);
}

int view_file(const char *name, int *fd, uint64_t *size)
{
	struct stat st;
	int err = name_is_path(name) ? sys_open(name, O_RDONLY | O_NONBLOCK, 0, fd) : open_object(name, fd);
	if (err)
		return err == ENXIO ? ENODEV : err;
	err = sys_fstat(*fd, &st);
	if (!err && !S_ISREG(st.st_mode))
		err = ENODEV;
	if (err)
		sys_close(*fd);
	else
		*size = (uint64_t)st.st_size;
	return err;
}

int view_file_label(const char *name, int *fd, char label[REGION_NAME])
{
	uint64_t size;
	int err = view_file(name, fd, &size);
	if (!err)
		name_label(name, label, REGION_NAME);
	return err;
}

/* ---- copying ------------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The copied tables, one after the other in one mapping. */
struct part {
	size_t at;      /* where in struct view its pointer is */
	uint64_t off;   /* in the file */
	uint64_t bytes;
};

static unsigned parts_of(struct view *v, struct part parts[PARTS])
{
	const struct layout *l = &v->lay;
	unsigned n = 0;
	v->ready = least(atomic_load(&v->h.units_ready), l->units);
	v->slots_n = (uint32_t)least(atomic_load(&v->h.slots_high), SLOTS);
	v->threads_n = (uint32_t)least(atomic_load(&v->h.threads_ready), THREADS);
	v->mags_n = (uint32_t)least(atomic_load(&v->h.mags_ready), MAGS);
	v->boxes_n = (uint32_t)least(atomic_load(&v->h.boxes_ready), BOXES);
	v->names_n = atomic_load(&v->h.names_ready) ? NAME_BUCKETS * NAMES_PER_BUCKET : 0;
	v->rules_n = (uint32_t)least(atomic_load(&v->h.rules), RULE_ENTRIES);
	uint64_t tagged = v->rules_n ? v->ready : 0;
	parts[n++] = (struct part){offsetof(struct view, spans), l->spans, v->ready * sizeof(span_t)};
	parts[n++] = (struct part){offsetof(struct view, pages), l->pages, v->ready * UNIT_PAGES * sizeof(page_t)};
	parts[n++] = (struct part){offsetof(struct view, depots), l->depots, CLASSES * sizeof(struct depot_shm)};
	parts[n++] = (struct part){offsetof(struct view, slots), l->slots, v->slots_n * sizeof(struct slot_shm)};
	parts[n++] = (struct part){offsetof(struct view, threads), l->threads, v->threads_n * sizeof(struct thread_shm)};
	parts[n++] = (struct part){offsetof(struct view, mags), l->mags, v->mags_n * sizeof(struct mag_shm)};
	parts[n++] = (struct part){offsetof(struct view, boxes), l->boxes, v->boxes_n * sizeof(struct box_shm)};
	parts[n++] = (struct part){offsetof(struct view, names), l->names, v->names_n * sizeof(struct name_shm)};
	parts[n++] = (struct part){offsetof(struct view, buckets), l->buckets,
	                           v->names_n / NAMES_PER_BUCKET * sizeof(struct bucket_shm)};
	parts[n++] = (struct part){offsetof(struct view, unit_tags), l->unit_tags, tagged};
	parts[n++] = (struct part){offsetof(struct view, tag_bits), l->tag_bits, round_up(tagged, 64) / 8};
	parts[n++] = (struct part){offsetof(struct view, rules), l->rules,
	                           v->rules_n ? offsetof(struct rules_shm, rules[v->rules_n]) : 0};
	return n;
}

static bool is_small(const struct view *v, uint64_t unit)
{
	return unit < SMALL_UNITS && span_kind_of(v->spans[unit]) == SPAN_SMALL;
}

/* Two copies with the same digest are of the same state: nobody was writing. */
static void digest(struct view *v, const char *bytes, uint64_t len, uint64_t off)
{
	const uint64_t *words = (const uint64_t *)(const void *)bytes;
	for (uint64_t i = 0; i < len / sizeof *words; i++)
		if (words[i])
			v->digest = (v->digest ^ words[i] ^ (off / sizeof *words + i)) * 1099511628211u; /* FNV-1a */
}

/* Copies what there is of [off, off + len). */
static int copy_range(struct view *v, int fd, char *to, uint64_t off, uint64_t len, struct extent *e)
{
	uint64_t n;
	for (uint64_t at = off, end = off + len; at < end; at += n) {
		int err = extent_next(fd, &at, end, e, &n);
		if (!err && n)
			err = sys_pread(fd, to + (at - off), n, at);
		if (err || !n)
			return err;
		digest(v, to + (at - off), n, at);
	}
	return 0;
}

static bool is_tagged(const struct view *v, uint64_t unit)
{
	return is_small(v, unit) && (v->tag_bits[unit / 64] >> unit % 64 & 1);
}

/* Such units in a row from `u` on, `most` at most. */
static uint64_t run_of(const struct view *v, bool (*is)(const struct view *v, uint64_t unit), uint64_t u, uint64_t most)
{
	uint64_t n = 0;
	while (n < most && u + n < v->ready && is(v, u + n))
		n++;
	return n;
}

/* Of a table with a byte a grain, what is there of such units. */
static int copy_grains(struct view *v, int fd, uint8_t *to, uint64_t table, bool (*is)(const struct view *v, uint64_t unit))
{
	struct extent e = {0};
	int err = 0;
	for (uint64_t u = 0, n; u < v->ready && !err; u += n ? n : 1) {
		n = run_of(v, is, u, v->ready);
		if (n)
			err = copy_range(v, fd, (char *)to + u * UNIT_GRAINS, table + u * UNIT_GRAINS, n * UNIT_GRAINS, &e);
	}
	return err;
}

/* Most bytes are 0: one look at eight. Two tables, since neighbours are mostly alike and would wait for each other. */
static void count_bytes(const uint8_t *map, uint64_t len, uint64_t counts[2][256])
{
	for (uint64_t i = 0; i < len; i += 8) {
		uint64_t w;
		memcpy(&w, map + i, sizeof w);
		for (unsigned k = 0; w; w >>= 8, k++) {
			unsigned skip = (unsigned)__builtin_ctzll(w) & ~7u;
			w >>= skip;
			counts[k & 1][w & 0xff]++;
		}
	}
}

/* One pass over the bytes of the block map that are there. */
struct counting {
	const struct view *v;
	int fd;
	uint8_t *buffer;
	struct extent e;
	uint64_t counts[2][256];
	const struct view_tags *tags; /* NULL: are not asked for */
};

/* The tags of `n` grains from `grain` on, whose block map bytes are in the buffer, where their unit has any. */
static int tell_tags(const struct counting *c, uint64_t grain, uint64_t n)
{
	uint8_t tags[UNIT_GRAINS];
	for (uint64_t from = 0, some; from < n; from += some) {
		uint64_t at = grain + from, u = at / UNIT_GRAINS;
		some = least(n - from, UNIT_GRAINS - at % UNIT_GRAINS);
		if (!c->v->rules_n || !is_tagged(c->v, u))
			continue;
		int err = sys_pread(c->fd, tags, some, c->v->lay.tags + at);
		if (err)
			return err;
		for (uint64_t i = 0; i < some; i++) {
			uint8_t block = c->buffer[from + i];
			if (tags[i] && block_state_of(block) == BLOCK_LIVE && block_class(block) < CLASSES)
				c->tags->each(c->tags->ctx, block_class(block), tags[i]);
		}
	}
	return 0;
}

/* What there is of `n` grains from `grain` on, a buffer full at most. */
static int count_range(struct counting *c, uint64_t grain, uint64_t grains)
{
	uint64_t first = c->v->lay.blockmap, n;
	for (uint64_t at = first + grain, end = at + grains; at < end; at += n) {
		int err = extent_next(c->fd, &at, end, &c->e, &n);
		if (!err && n)
			err = sys_pread(c->fd, c->buffer, n, at);
		if (err || !n)
			return err;
		count_bytes(c->buffer, n, c->counts);
		if (c->tags)
			err = tell_tags(c, at - first, n);
		if (err)
			return err;
	}
	return 0;
}

int view_count_blocks(const struct view *v, int fd, uint64_t counts[256], const struct view_tags *tags)
{
	struct counting c = {.v = v, .fd = fd, .tags = tags};
	void *buffer;
	int err = sys_map(NULL, BATCH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &buffer);
	if (err)
		return err;
	c.buffer = buffer;
	for (uint64_t u = 0, n; u < v->ready && !err; u += n ? n : 1) {
		n = run_of(v, is_small, u, BATCH_UNITS);
		if (n)
			err = count_range(&c, u * UNIT_GRAINS, n * UNIT_GRAINS);
	}
	sys_unmap(buffer, BATCH);
	for (unsigned i = 0; i < 256; i++)
		counts[i] = c.counts[0][i] + c.counts[1][i];
	return err == EIO ? SHMB_ECORRUPT : err;
}

/* How much a view takes: its tables; and a byte for each grain of the block map; and one of the tags. */
enum scope { TABLES, BLOCKS, TAGS };

static uint64_t grains_of(const struct view *v)
{
	return least(v->ready, SMALL_UNITS) * UNIT_GRAINS;
}

static int copy_parts(struct view *v, int fd, const struct part *parts, unsigned n, enum scope scope)
{
	char *to = v->memory;
	int err = 0;
	for (unsigned i = 0; i < n && !err; i++) {
		struct extent e = {0}; /* for each anew: what is copied later has to be read later */
		*(void **)((char *)v + parts[i].at) = to;
		err = copy_range(v, fd, to, parts[i].off, parts[i].bytes, &e);
		to += round_up(parts[i].bytes, PAGE);
	}
	v->blocks = scope >= BLOCKS ? (uint8_t *)to : NULL;
	v->tags = scope >= TAGS && v->rules_n ? (uint8_t *)to + grains_of(v) : NULL;
	for (unsigned i = 0; i < v->slots_n && !err; i++) {
		v->slot_alive[i] = lease_probe(fd, LEASE_SLOT + i, 1) != LIVE_NO;
		sound_text(v->slots[i].name, PROC_NAME);
	}
	if (!err && v->blocks)
		err = copy_grains(v, fd, v->blocks, v->lay.blockmap, is_small);
	if (!err && v->tags)
		err = copy_grains(v, fd, v->tags, v->lay.tags, is_tagged);
	return err;
}

/* EIO, as pread says it: the file is shorter than it was. */
static int still_whole(const struct view *v, int fd)
{
	struct stat st;
	int err = sys_fstat(fd, &st);
	return err ? err : (uint64_t)st.st_size < v->lay.size ? EIO : 0;
}

static int copy(struct view *v, int fd, enum scope scope)
{
	struct part parts[PARTS];
	unsigned n = parts_of(v, parts);
	uint64_t at = 0;
	for (unsigned i = 0; i < n; i++)
		at += round_up(parts[i].bytes, PAGE);
	v->digest = 0;
	v->memory_len = at + scope * grains_of(v) + PAGE;
	int err = sys_map(NULL, v->memory_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
	                  &v->memory);
	if (err)
		return err;
	err = copy_parts(v, fd, parts, n, scope);
	if (!err)
		err = still_whole(v, fd);
	if (err)
		view_close(v);
	return err == EIO ? SHMB_ECORRUPT : err;
}

static int open_fd(struct view *v, int fd, enum scope scope)
{
	struct stat st;
	int err = sys_fstat(fd, &st);
	if (!err)
		err = format_read(fd, (uint64_t)st.st_size, &v->h, &v->lay);
	return err ? err : copy(v, fd, scope);
}

int view_open_fd(struct view *v, int fd, bool tags) { return open_fd(v, fd, tags ? TAGS : BLOCKS); }
int view_open_tables(struct view *v, int fd) { return open_fd(v, fd, TABLES); }

int view_open_name(struct view *v, const char *name)
{
	uint64_t size;
	int fd;
	int err = view_file(name, &fd, &size);
	if (err)
		return err;
	err = view_open_fd(v, fd, false);
	sys_close(fd);
	return err;
}

void view_close(struct view *v)
{
	if (v->memory)
		sys_unmap(v->memory, v->memory_len);
	v->memory = NULL;
}

/* ---- reading --------------------------------------------------------------------- */

bool view_holder_live(const struct view *v, holder_t h)
{
	unsigned s = holder_slot(h);
	return h && s < v->slots_n && v->slot_alive[s] && slot_names(&v->slots[s], h);
}

int32_t view_holder_pid(const struct view *v, holder_t h)
{
	return view_holder_live(v, h) ? atomic_load(&v->slots[holder_slot(h)].pid) : 0;
}

uint64_t view_large(const struct view *v, uint64_t unit)
{
	span_t w = v->spans[unit];
	return span_kind_of(w) == SPAN_HEAD && span_aux(w) <= v->ready - unit ? span_aux(w) : 0;
}

struct walk {
	const struct view *v;
	int (*each)(void *ctx, const struct view_block *b);
	void *ctx;
};

static int walk_small(const struct walk *w, uint64_t unit)
{
	const uint8_t *map = w->v->blocks + unit * UNIT_GRAINS;
	holder_t holder = span_holder(w->v->spans[unit]);
	int stop = 0;
	for (unsigned i = 0; i < UNIT_GRAINS && !stop; i++) {
		if (i % 8 == 0 && *(const uint64_t *)(map + i) == 0) {
			i += 7;
			continue;
		}
		enum block_state state = block_state_of(map[i]);
		unsigned class = block_class(map[i]);
		if (state == BLOCK_NONE || class >= CLASSES || (i << GRAIN_SHIFT) + class_size(class) > UNIT)
			continue;
		struct view_block b = {.off = (unit << UNIT_SHIFT) + ((uint64_t)i << GRAIN_SHIFT),
		                       .size = class_size(class),
		                       .state = state,
		                       .class = class,
		                       .holder = holder};
		stop = w->each(w->ctx, &b);
	}
	return stop;
}

int view_each_block(const struct view *v, int (*each)(void *ctx, const struct view_block *b), void *ctx)
{
	struct walk w = {v, each, ctx};
	uint64_t n;
	int stop = 0;
	for (uint64_t u = 0; u < v->ready && !stop; u++) {
		if (is_small(v, u)) {
			stop = walk_small(&w, u);
		} else if ((n = view_large(v, u))) {
			struct view_block b = {.off = u << UNIT_SHIFT,
			                       .size = n << UNIT_SHIFT,
			                       .state = BLOCK_LIVE,
			                       .class = CLASSES,
			                       .holder = span_holder(v->spans[u])};
			stop = each(ctx, &b);
			u += n - 1;
		}
	}
	return stop;
}
