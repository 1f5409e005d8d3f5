/*
 * handle.c - an arena as a process opens, forks and closes it.
 *
 * The handles are static and never given back to a heap, so that a call on a
 * closed one can say so. Opening, closing and forking are serialised by
 * setup_lock, which fork holds; it is registered after the engine's fork
 * handlers, so that it is taken before their locks.
 */
#include "box.h"
#include "canary.h"
#include "context.h"
#include "engine.h"
#include "format.h"
#include "heap.h"
#include "lock.h"
#include "magazine.h"
#include "once.h"
#include "page.h"
#include "preload_api.h"
#include "shadow.h"
#include "slot.h"
#include "sys.h"
#include "tenure.h"
#include "window.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { ARENAS = 64 };

static struct shmb_arena arenas[ARENAS];
static unsigned next_handle, handles_used; /* the latter: arenas from there on were never open */

static void fork_prepare(void)
{
	if (!forks_alone)
		setup_lock();
}

static void fork_done(void)
{
	if (!forks_alone)
		setup_unlock();
}

static void fork_child(void)
{
	for (unsigned i = 0; i < handles_used; i++)
		if (arenas[i].region) {
			shadow_leave_all(&arenas[i]);
			tenure_forget(&arenas[i]);
		}
	context_forget();
	lock_forget();
	fork_done();
}

/*
 * A clean end: what this process owns is dropped. Runs before regions are
 * unlinked. Not in a child that no fork handler heard of: its parent owns that.
 */
__attribute__((destructor(102))) static void leave(void)
{
	for (unsigned i = 0; i < handles_used; i++)
		if (arenas[i].region && lease_held(&arenas[i].slot_lease) && !atomic_load(&arenas[i].closed))
			box_drop_all(&arenas[i]);
}

static int setup(void)
{
	int err = engine_setup();
	if (!err)
		err = context_setup();
	if (!err)
		err = lease_setup();
	return err ? err : pthread_atfork(fork_prepare, fork_done, fork_child);
}

/* ---- opening ----------------------------------------------------------------------- */

static void tables_set(struct shmb_arena *a)
{
	char *m = a->map;
	const struct layout *l = &a->lay;
	a->data = m + l->data;
	a->hdr = (struct header_shm *)m;
	a->depots = (struct depot_shm *)(m + l->depots);
	a->slots = (struct slot_shm *)(m + l->slots);
	a->threads = (struct thread_shm *)(m + l->threads);
	a->mags = (struct mag_shm *)(m + l->mags);
	a->no_mag = (char *)(a->mags - 1);
	a->mag_bits = (hint_t *)(m + l->mag_bits);
	a->spans = (_Atomic span_t *)(m + l->spans);
	a->used_bits = (hint_t *)(m + l->used_bits);
	a->dirty_bits = (hint_t *)(m + l->dirty_bits);
	a->map_bits = (hint_t *)(m + l->map_bits);
	a->pages = (_Atomic page_t *)(m + l->pages);
	a->blocks = (block_t *)(m + l->blockmap);
	a->boxes = (struct box_shm *)(m + l->boxes);
	a->box_bits = (hint_t *)(m + l->box_bits);
	a->buckets = (struct bucket_shm *)(m + l->buckets);
	a->names = (struct name_shm *)(m + l->names);
	a->rules = (struct rules_shm *)(m + l->rules);
	a->tag_bits = (hint_t *)(m + l->tag_bits);
	a->tags = (tag_t *)(m + l->tags);
	a->unit_tags = (tag_t *)(m + l->unit_tags);
}

static int map(struct shmb_arena *a, int fd, const struct header_shm *h, unsigned flags)
{
	void *at;
	int prot = PROT_READ | (a->region->read_only ? 0 : PROT_WRITE);
	int err = window_map(fd, a->lay.size, prot, h->base, flags & SHMB_FIXED, a->region->ino + (uintptr_t)sys_now_ns(),
	                     &at);
	if (err)
		return err == EEXIST ? SHMB_EADDRESS : err;
	a->map = a->region->addr = at;
	a->fixed = (uintptr_t)at == h->base;
	tables_set(a);
	if (a->region->read_only)
		return 0;
	err = sys_populate((char *)at + a->lay.depots, a->lay.mags - a->lay.depots); /* and what stands for no magazine */
	return err ? err : context_map(a, fd);
}

/* Once and for all: what is written there later leads to nothing. */
static void harden(struct shmb_arena *a, const struct header_shm *h)
{
	a->guard = h->flags & HEADER_HARDENED ? CANARY : 0;
	memcpy(a->key, h->key, sizeof a->key);
}

static int attach(struct shmb_arena *a, int fd, const shmb_options *opt)
{
	struct header_shm h;
	int err = format_read(fd, a->region->size, &h, &a->lay);
	if (!err && opt && h.capacity < opt->size)
		err = SHMB_ETOOSMALL;
	if (!err)
		harden(a, &h);
	if (!err)
		err = map(a, fd, &h, opt ? opt->flags : 0);
	a->stock_bytes = STOCK_BYTES;
	if (!err && !a->region->read_only)
		err = tenure_begin(a, fd, a->region->how != SHMB_CREATED);
	if (!err)
		shadow_open(a);
	if (!err && lease_held(&a->region->owner))
		atomic_store(&a->hdr->owner_pid, (uint32_t)sys_pid());
	if (!err && opt && (opt->flags & SHMB_REAPER) && lease_held(&a->region->owner))
		err = region_reaper(a->region, fd);
	return err ? err : region_publish(a->region);
}

static void unmap(struct shmb_arena *a)
{
	if (!a->map)
		return;
	shadow_close(a);
	window_set(a->map, a->lay.size, NULL);
	(void)sys_unmap(a->map, a->lay.size);
	a->map = NULL;
}

static int open_locked(struct shmb_arena *a, const char *name, const shmb_options *opt)
{
	shmb_options acquire = opt ? *opt : (shmb_options){.flags = SHMB_ATTACH_ONLY};
	struct format_wish wish = {.capacity = acquire.size, .run = acquire.run, .hardened = acquire.flags & SHMB_HARDENED};
	struct region_format format = {.write = format_write, .arg = &wish};
	int fd;
	if (acquire.size > UNITS_MAX << UNIT_SHIFT)
		return EFBIG;
	format.size = acquire.size;
	acquire.size = 0; /* what is found is measured by its header */
	int err = region_acquire(name, &acquire, &format, &a->region, &fd);
	if (err)
		return err;
	err = attach(a, fd, opt);
	if (!err) {
		region_keep_descriptor(a->region, fd);
		a->small_pages = opt && opt->flags & SHMB_SMALL_PAGES;
		atomic_store(&a->retired, a->region->read_only);
		atomic_store(&a->absent, false);
		atomic_store(&a->rules_followed, 0);
		atomic_store(&a->closed, false);
		window_set(a->map, a->lay.size, a);
		return 0;
	}
	sys_close(fd);
	(void)context_unmap(a); /* no thread has used it: nothing that could fail */
	tenure_end(a);
	unmap(a);
	region_abandon(a->region);
	a->region = NULL;
	return err;
}

static struct shmb_arena *handle_new(void)
{
	for (unsigned n = 0; n < ARENAS; n++) {
		unsigned i = next_handle++ % ARENAS;
		if (handles_used <= i)
			handles_used = i + 1;
		if (!arenas[i].region)
			return &arenas[i];
	}
	return NULL;
}

bool preload_fork_alone(void)
{
	bool now = sys_threads() == 1;
	if (forks_alone != now) /* a store may copy a page */
		forks_alone = now;
	return now;
}

int preload_handle_forks(void)
{
	static once_t once;
	return once_try(&once, setup);
}

int shmb_arena_open(const char *name, const shmb_options *opt, shmb_arena **out)
{
	int err = preload_handle_forks();
	if (err)
		return err;
	setup_lock();
	struct shmb_arena *a = handle_new();
	err = a ? open_locked(a, name, opt) : EMFILE;
	setup_unlock();
	if (!err)
		*out = a;
	return err;
}

static int end_locked(struct shmb_arena *a)
{
	tenure_end(a);
	atomic_store(&a->parked, NULL);
	unmap(a);
	int err = region_release(a->region);
	a->region = NULL;
	return err;
}

int shmb_arena_close(shmb_arena *a)
{
	if (!a || atomic_exchange(&a->closed, true))
		return a ? EINVAL : 0;
	if (atomic_load(&a->holder)) {
		atomic_store(&a->closed, false); /* destructors may use it */
		box_drop_all(a);
		atomic_store(&a->closed, true);
	}
	setup_lock();
	int err = context_unmap(a);
	if (err)
		atomic_store(&a->closed, false); /* as it was, but for its boxes */
	else
		err = end_locked(a);
	setup_unlock();
	return err;
}

shmb_region *shmb_arena_region(const shmb_arena *a) { return a->region; }
size_t shmb_arena_capacity(const shmb_arena *a) { return a->lay.units << UNIT_SHIFT; }
int shmb_arena_is_fixed(const shmb_arena *a) { return a->fixed; }
int shmb_arena_is_hardened(const shmb_arena *a) { return a->guard != 0; }
