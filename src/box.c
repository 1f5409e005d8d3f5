/*
 * box.c - typed boxes. A box over a raw region is the region's first bytes
 * seen as one object, with the region's owner as its own.
 */
#include "region.h"

#include <errno.h>
#include <stdlib.h>

struct shmb_box {
	struct shmb_region *region;
	const shmb_type *type;
};

static int type_check(const shmb_type *t)
{
	if (!t || !t->name || !*t->name || !t->size || !t->align || (t->align & (t->align - 1)))
		return EINVAL;
	return t->align > 4096 ? EINVAL : 0;
}

int shmb_region_box(shmb_region *r, const shmb_type *type, shmb_box **out)
{
	int err = type_check(type);
	if (!err && type->size > r->size)
		err = SHMB_ETOOSMALL;
	if (err)
		return err;
	struct shmb_box *box = malloc(sizeof *box);
	if (!box)
		return ENOMEM;
	*box = (struct shmb_box){.region = r, .type = type};
	*out = box;
	return 0;
}

void *shmb_box_get(const shmb_box *box) { return box->region->addr; }
shmb_region *shmb_box_region(const shmb_box *box) { return box->region; }
int shmb_box_is_owner(const shmb_box *box) { return shmb_region_is_owner(box->region); }
int shmb_box_own(shmb_box *box) { return shmb_region_own(box->region); }

static int box_end(shmb_box *box)
{
	int err = shmb_region_close(box->region);
	free(box);
	return err;
}

int shmb_box_drop(shmb_box *box)
{
	if (!box)
		return 0;
	if (box->type->drop && shmb_box_is_owner(box))
		box->type->drop(box->region->addr);
	return box_end(box);
}

int shmb_box_leak(shmb_box *box)
{
	int err = shmb_region_leak(box->region);
	return err ? err : box_end(box);
}

void shmb_box_scoped(shmb_box **box)
{
	(void)shmb_box_drop(*box);
	*box = NULL;
}
