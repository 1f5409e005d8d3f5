/*
 * intact.c - the blocks of a hardened region, as a reader sees them.
 *
 * The tables are a copy, and blocks go on being allocated and freed. So what
 * looks wrong is looked at again, between two looks at the words that say
 * what the block is: it counts where these stay as the copy has them and it is wrong
 * each time. A live or cached block of a region at work is whole at every moment (canary.c).
 */
#include "intact.h"

#include "canary.h"
#include "sys.h"

#include <errno.h>
#include <sys/mman.h>

enum { UNIT_GRAINS = UNIT / GRAIN, LOOKS_AGAIN = 3 };

struct looking {
	const struct view *v;
	int fd;
	intact_bad *bad;
	void *ctx;
	char *buffer;     /* of one unit */
	uint64_t unit;    /* that is in it; v->ready: none */
};

static int read_unit(struct looking *l, uint64_t unit)
{
	if (l->unit == unit)
		return 0;
	l->unit = unit;
	return sys_pread(l->fd, l->buffer, UNIT, l->v->lay.data + (unit << UNIT_SHIFT));
}

/* What is wrong with a block whose last bytes, or all, are in the buffer; NULL: nothing. */
static const char *wrong(const struct looking *l, const struct view_block *b)
{
	bool large = b->class == CLASSES;
	const char *p = large ? l->buffer : l->buffer + b->off % UNIT;
	struct canary_seen s = canary_look(l->v->h.key, b->off, b->size, p, large ? UNIT : b->size);
	if (b->state == BLOCK_CACHED)
		return canary_free_intact(l->v->h.key, b->off, p, b->size) ? NULL : "written to while it was free";
	return s.intact && s.kept ? NULL : "written beyond its end";
}

/* Does the region say of the block what the copy says? */
static int same_still(const struct looking *l, const struct view_block *b, bool *same)
{
	const struct view *v = l->v;
	uint64_t unit = b->off >> UNIT_SHIFT, grain = b->off >> GRAIN_SHIFT;
	span_t w;
	uint8_t byte = 0;
	int err = sys_pread(l->fd, &w, sizeof w, v->lay.spans + unit * sizeof w);
	if (!err && b->class < CLASSES)
		err = sys_pread(l->fd, &byte, 1, v->lay.blockmap + grain);
	*same = !err && w == v->spans[unit] && (b->class == CLASSES || byte == v->blocks[grain]);
	return err;
}

static int look_again(struct looking *l, const struct view_block *b, const char **what)
{
	uint64_t unit = (b->off + b->size - 1) >> UNIT_SHIFT;
	for (unsigned i = 0; i < LOOKS_AGAIN && *what; i++) {
		bool before, after;
		int err = same_still(l, b, &before);
		l->unit = l->v->ready;
		if (!err)
			err = read_unit(l, unit);
		*what = err ? NULL : wrong(l, b);
		if (!err)
			err = same_still(l, b, &after);
		if (err)
			return err;
		if (!before || !after)
			*what = NULL;
	}
	return 0;
}

static int look_at(void *ctx, const struct view_block *b)
{
	struct looking *l = ctx;
	if (b->state == BLOCK_STRAY)
		return 0;
	int err = read_unit(l, (b->off + b->size - 1) >> UNIT_SHIFT);
	const char *what = err ? NULL : wrong(l, b);
	if (!err && what)
		err = look_again(l, b, &what);
	if (what)
		l->bad(l->ctx, b, what);
	return err;
}

int intact_look(const struct view *v, int fd, intact_bad *bad, void *ctx)
{
	struct looking l = {.v = v, .fd = fd, .bad = bad, .ctx = ctx, .unit = v->ready};
	void *buffer;
	if (!view_hardened(v))
		return 0;
	int err = sys_map(NULL, UNIT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &buffer);
	if (err)
		return err;
	l.buffer = buffer;
	err = view_each_block(v, look_at, &l);
	sys_unmap(buffer, UNIT);
	return err == EIO ? SHMB_ECORRUPT : err;
}
