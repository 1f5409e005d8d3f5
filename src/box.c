/*
 * box.c - typed boxes, over a whole raw region and in an arena.
 *
 * A handle over a region is private memory of the process. A handle in an
 * arena is the address of the box's entry in the region (boxes.c): nothing to
 * allocate, and the address window tells the two apart.
 *
 * Destructors and initialisers are the user's code: they run with no lock
 * held and outside of malloc. So recovery only marks a dead owner's boxes, and
 * they are reclaimed where somebody makes, finds or trims.
 */
#include "box.h"

#include "boxes.h"
#include "directory.h"
#include "error.h"
#include "heap.h"
#include "lock.h"
#include "misuse.h"
#include "recover.h"
#include "ref.h"
#include "region.h"
#include "shadow.h"
#include "slot.h"
#include "tenure.h"
#include "type.h"
#include "window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Over a raw region. */
struct shmb_box {
	struct shmb_region *region;
	const shmb_type *type;
};

static bool in_arena(const shmb_box *box)
{
	return window_has(box);
}

static struct box_shm *entry_of(const shmb_box *box)
{
	return (struct box_shm *)(uintptr_t)box;
}

static struct shmb_arena *arena_of(const shmb_box *box)
{
	struct shmb_arena *a = window_get(box);
	if (!a)
		fatal_pointer("shmb_box", box, "the arena of this box is closed", NULL);
	return a;
}

static void *object_of(const struct shmb_arena *a, const struct box_shm *b)
{
	char *object = a->map + atomic_load_explicit(&b->ref, memory_order_relaxed);
	if (arena_has(a, object))
		shadow_reach(a, object);
	return object;
}

/* Is what the entry leads to a live block with room for `size` bytes? */
static bool object_is_block(const struct shmb_arena *a, const struct box_shm *b, size_t size)
{
	struct block_view in;
	uint64_t off = atomic_load_explicit(&b->ref, memory_order_relaxed) - a->lay.data;
	return off < a->lay.units << UNIT_SHIFT && ref_find(a, off, &in) && in.start == off && in.size >= size;
}

/* ---- dropping -------------------------------------------------------------------- */

/* Ends a box that this process has in DROPPING or HALF-taken: frees memory, name and entry. */
static void box_bury(struct shmb_arena *a, struct box_shm *b)
{
	uint64_t ref = atomic_load(&b->ref);
	directory_remove(a, boxes_number(a, b));
	if (ref && object_is_block(a, b, 1))
		heap_free_at(a, a->map + ref, &b->ref);
	boxes_give(a, b);
}

static void destroy(struct shmb_arena *a, struct box_shm *b, const shmb_type *type)
{
	if (type && type->drop && object_is_block(a, b, type->size))
		type->drop(object_of(a, b));
	box_bury(a, b);
}

/* A dead owner's box becomes this process's to drop. */
static bool reclaim_one(struct shmb_arena *a, struct box_shm *b)
{
	uint64_t w = atomic_load(&b->word);
	bool half = box_state_of(w) == BOX_HALF;
	if (!half && box_state_of(w) != BOX_ABANDONED)
		return false;
	if (!boxes_change(b, w, BOX_DROPPING, atomic_load(&a->holder)))
		return false;
	const shmb_type *type = half ? NULL : type_known(atomic_load(&b->type));
	atomic_fetch_add(type ? &a->hdr->boxes_reclaimed : &a->hdr->boxes_raw, 1);
	destroy(a, b, type);
	return true;
}

bool box_reclaim(struct shmb_arena *a)
{
	uint32_t before = atomic_load_explicit(&a->hdr->boxes_looked, memory_order_relaxed);
	uint32_t now = atomic_load(&a->hdr->boxes_abandoned);
	bool any = false;
	if (now == before)
		return false;
	uint32_t n = boxes_ready(a);
	for (uint32_t i = 0; i < n; i++)
		any |= reclaim_one(a, &a->boxes[i]);
	/* only now: who is killed in here leaves the look to others */
	(void)atomic_compare_exchange_strong(&a->hdr->boxes_looked, &before, now);
	return any;
}

static int drop_owned(struct shmb_arena *a, struct box_shm *b)
{
	uint64_t w = atomic_load(&b->word);
	if (box_state_of(w) != BOX_READY || box_holder(w) != atomic_load(&a->holder) ||
	    !boxes_change(b, w, BOX_DROPPING, box_holder(w)))
		return SHMB_ENOTOWNER;
	atomic_fetch_add(&a->hdr->boxes_dropped, 1);
	destroy(a, b, type_known(atomic_load(&b->type)));
	return 0;
}

void box_drop_all(struct shmb_arena *a)
{
	uint32_t n = a->region->read_only ? 0 : boxes_ready(a);
	for (uint32_t i = 0; i < n && atomic_load(&a->holder); i++)
		if (box_holder(atomic_load(&a->boxes[i].word)) == atomic_load(&a->holder))
			(void)drop_owned(a, &a->boxes[i]);
}

/* ---- making ------------------------------------------------------------------------ */

/* What every call that makes or finds starts with. */
static int enter(struct shmb_arena *a, const shmb_type *type)
{
	misuse_check_open("shmb_box", a);
	if (a->region->read_only)
		return EACCES;
	int err = shmb_type_register(type);
	if (!err && !atomic_load(&a->holder))
		err = tenure_renew(a);
	if (!err)
		box_reclaim(a);
	return err;
}

/* Fills an entry in MAKING; on failure it is gone. */
static int box_fill(struct shmb_arena *a, struct box_shm *b, const shmb_type *type, shmb_init *init, void *arg)
{
	int saved = errno, err = 0;
	atomic_store(&b->type, type_id(type));
	void *obj = heap_alloc_at(a, type->size, type->align, &b->ref);
	errno = saved;
	if (!obj)
		err = ENOMEM;
	else
		memset(obj, 0, type->size);
	if (!err && init)
		err = init(obj, arg);
	if (err) {
		box_bury(a, b);
		return err;
	}
	uint64_t w = atomic_load(&b->word);
	ASSERT(boxes_change(b, w, BOX_READY, box_holder(w)));
	return 0;
}

int shmb_box_new(shmb_arena *a, const shmb_type *type, shmb_init *init, void *arg, shmb_box **out)
{
	int err = enter(a, type);
	if (err)
		return err;
	struct box_shm *b = boxes_take(a);
	if (!b)
		return ENOMEM;
	err = box_fill(a, b, type, init, arg);
	if (!err)
		*out = (shmb_box *)b;
	return err;
}

/* ---- finding ------------------------------------------------------------------------ */

/* Recovers the dead process that has the box. What is stale and was not recovered with its process never will be. */
static int recover_holder(struct shmb_arena *a, const struct box_shm *b, uint64_t w)
{
	bool stale = box_holder(w) == atomic_load(&a->holder) || !holder_current(a, box_holder(w));
	recover_now(a);
	return stale && atomic_load(&b->word) == w ? SHMB_ECORRUPT : EAGAIN;
}

static int accept(const struct shmb_arena *a, struct box_shm *b, const shmb_type *type, shmb_box **out)
{
	if (atomic_load_explicit(&b->type, memory_order_relaxed) != type_id(type))
		return SHMB_ETYPE;
	*out = (shmb_box *)b;
	return object_is_block(a, b, type->size) ? 0 : SHMB_ECORRUPT;
}

/* A box as its state allows: 0 found; ENOENT none; EAGAIN look again. */
static int settle(struct shmb_arena *a, struct box_shm *b, const shmb_type *type, shmb_box **out)
{
	uint64_t w = atomic_load_explicit(&b->word, memory_order_acquire);
	switch (box_state_of(w)) {
	case BOX_READY:
		if (box_holder(w) != atomic_load(&a->holder) && holder_dead(a, box_holder(w)))
			return recover_holder(a, b, w);
		return accept(a, b, type, out);
	case BOX_KEPT:
		return accept(a, b, type, out);
	case BOX_MAKING:
	case BOX_DROPPING: /* where its process died in it: what of it is a block, recovery knows */
		return boxes_wait(a, b, w) ? recover_holder(a, b, w) : EAGAIN;
	case BOX_HALF:
	case BOX_ABANDONED:
		(void)reclaim_one(a, b);
		return EAGAIN;
	default:
		return ENOENT; /* freed between the look at its name and this one */
	}
}

static int find(struct shmb_arena *a, const char *name, const shmb_type *type, shmb_box **out)
{
	for (;;) {
		uint32_t number = directory_find(a, name);
		if (!number)
			return ENOENT;
		if (number > boxes_ready(a))
			return SHMB_ECORRUPT;
		struct box_shm *b = &a->boxes[number - 1];
		uint32_t gen = box_gen(atomic_load(&b->word));
		int err = settle(a, b, type, out);
		if (err == ENOENT) /* its name goes before it is free: one that is there still was not ours to write */
			err = directory_find(a, name) == number && box_gen(atomic_load(&b->word)) == gen ? SHMB_ECORRUPT : EAGAIN;
		/* dropped and made anew under another name meanwhile? */
		if (err != EAGAIN && directory_find(a, name) == number && box_gen(atomic_load(&b->word)) == gen)
			return err;
	}
}

int shmb_box_find(shmb_arena *a, const char *name, const shmb_type *type, shmb_box **out)
{
	int err = directory_check(name);
	if (!err)
		err = enter(a, type);
	return err ? err : find(a, name, type, out);
}

/* An entry in MAKING under that name; EEXIST: somebody was quicker. */
static int reserve(struct shmb_arena *a, const char *name, struct box_shm **out)
{
	int err = directory_lock(a, name);
	if (err)
		return err;
	if (directory_find(a, name))
		err = EEXIST;
	struct box_shm *b = err ? NULL : boxes_take(a);
	if (!err && !b)
		err = ENOMEM;
	if (!err)
		err = directory_insert(a, name, boxes_number(a, b));
	if (err && b)
		boxes_give(a, b);
	directory_unlock(a, name);
	*out = b;
	return err;
}

int shmb_box_find_or_new(shmb_arena *a, const char *name, const shmb_type *type, shmb_init *init, void *arg,
                         shmb_box **out, enum shmb_how *how)
{
	int err = directory_check(name);
	if (!err)
		err = enter(a, type);
	while (!err) {
		struct box_shm *b;
		err = find(a, name, type, out);
		if (!err && how)
			*how = SHMB_ATTACHED;
		if (err != ENOENT)
			return err;
		err = reserve(a, name, &b);
		if (err == EEXIST) {
			err = 0;
			continue;
		}
		if (!err)
			err = box_fill(a, b, type, init, arg);
		if (!err) {
			*out = (shmb_box *)b;
			if (how)
				*how = SHMB_CREATED;
			return 0;
		}
	}
	return err;
}

/* ---- refs ---------------------------------------------------------------------------- */

enum { REF_BITS = 36 }; /* of the entry's offset; the generation above it */

uint64_t shmb_box_ref(const shmb_box *box)
{
	if (!in_arena(box))
		return 0;
	const struct box_shm *b = entry_of(box);
	return (uint64_t)box_gen(atomic_load(&b->word)) << REF_BITS | (uint64_t)((char *)b - arena_of(box)->map);
}

int shmb_box_at(shmb_arena *a, uint64_t ref, const shmb_type *type, shmb_box **out)
{
	int err = enter(a, type);
	uint64_t off = (ref & (((uint64_t)1 << REF_BITS) - 1)) - a->lay.boxes;
	uint64_t i = off / sizeof(struct box_shm);
	if (err)
		return err;
	if (off % sizeof(struct box_shm) || i >= boxes_ready(a))
		return SHMB_EGONE;
	struct box_shm *b = &a->boxes[i];
	uint64_t w = atomic_load_explicit(&b->word, memory_order_acquire);
	if (box_gen(w) != ref >> REF_BITS || (box_state_of(w) != BOX_READY && box_state_of(w) != BOX_KEPT))
		return SHMB_EGONE;
	err = accept(a, b, type, out);
	return err == SHMB_ECORRUPT && atomic_load(&b->word) != w ? SHMB_EGONE : err;
}

/* ---- over a raw region ------------------------------------------------------------------ */

int shmb_region_box(shmb_region *r, const shmb_type *type, shmb_box **out)
{
	int err = type_check(type, PAGE);
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

static int region_box_end(shmb_box *box)
{
	int err = shmb_region_close(box->region);
	free(box);
	return err;
}

static int region_box_drop(shmb_box *box)
{
	if (box->type->drop && shmb_region_is_owner(box->region))
		box->type->drop(box->region->addr);
	return region_box_end(box);
}

/* ---- either -------------------------------------------------------------------------------- */

void *shmb_box_get(const shmb_box *box)
{
	return in_arena(box) ? object_of(arena_of(box), entry_of(box)) : box->region->addr;
}

shmb_region *shmb_box_region(const shmb_box *box)
{
	return in_arena(box) ? arena_of(box)->region : box->region;
}

int shmb_box_is_owner(const shmb_box *box)
{
	if (!in_arena(box))
		return shmb_region_is_owner(box->region);
	uint64_t w = atomic_load(&entry_of(box)->word);
	holder_t me = atomic_load(&arena_of(box)->holder);
	return me && box_state_of(w) == BOX_READY && box_holder(w) == me;
}

int shmb_box_drop(shmb_box *box)
{
	if (!box)
		return 0;
	return in_arena(box) ? drop_owned(arena_of(box), entry_of(box)) : region_box_drop(box);
}

int shmb_box_leak(shmb_box *box)
{
	if (in_arena(box)) {
		uint64_t w = atomic_load(&entry_of(box)->word);
		bool mine = shmb_box_is_owner(box);
		return mine && boxes_change(entry_of(box), w, BOX_KEPT, 0) ? 0 : SHMB_ENOTOWNER;
	}
	int err = shmb_region_leak(box->region);
	return err ? err : region_box_end(box);
}

static int own_in_arena(struct shmb_arena *a, struct box_shm *b)
{
	holder_t me = atomic_load(&a->holder);
	if (!me) {
		int err = tenure_renew(a);
		if (err)
			return err;
		me = atomic_load(&a->holder);
	}
	for (;;) {
		uint64_t w = atomic_load(&b->word);
		enum box_state s = box_state_of(w);
		if (s == BOX_READY && box_holder(w) == me)
			return 0;
		if (s == BOX_READY && !holder_dead(a, box_holder(w)))
			return SHMB_EOWNED;
		if (s != BOX_READY && s != BOX_KEPT && s != BOX_ABANDONED)
			return SHMB_EGONE;
		if (boxes_change(b, w, BOX_READY, me))
			return 0;
	}
}

int shmb_box_own(shmb_box *box)
{
	return in_arena(box) ? own_in_arena(arena_of(box), entry_of(box)) : shmb_region_own(box->region);
}

void shmb_box_scoped(shmb_box **box)
{
	(void)shmb_box_drop(*box);
	*box = NULL;
}
