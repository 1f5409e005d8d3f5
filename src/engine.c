/*
 * engine.c - the only file that includes jemalloc: extent hooks over page
 * runs, and blocks for magazines to be filled with.
 *
 * jemalloc's metadata stays in private memory (metadata_use_hooks false), so
 * a stranger's writes to the region cannot lead it astray, and its death with
 * the process loses nothing that the block map and page words do not say.
 *
 * Facts about 5.3.0 that shape this file:
 *   - hooks run under jemalloc's locks: no allocation and no mallctl in them
 *   - false from a hook means success
 *   - retain:false and decay 0: an empty slab comes back to us at once, since
 *     our own caches (magazines, dirty units) are the ones that bound memory
 *   - MALLOCX_ARENA alone may return another arena's cached block, and in a
 *     thread's last destructors a request can be served from arena 0: requests
 *     say that they want no cache, and what comes back is checked for its range
 *   - a block from or to an arena takes a bin's lock: magazines are filled and
 *     emptied by jemalloc/batch.c, which does that for many
 */
#include "engine.h"

#include "error.h"
#include "lease.h"
#include "page.h"
#include "shadow.h"
#include "sys.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include <jemalloc/jemalloc.h>

const char *shmb_je_malloc_conf = "narenas:1,tcache:false,retain:false,dirty_decay_ms:0,muzzy_decay_ms:0,"
                                  "background_thread:false,abort_conf:true";

enum { HOOK_OK = false, HOOK_REFUSED = true };

struct engine {
	extent_hooks_t hooks; /* first: jemalloc hands it back to each hook */
	struct shmb_arena *arena;
	holder_t hold; /* of the process that made it, then: a forked child's hooks refuse */
	_Atomic bool dead;
	pthread_mutex_t lock; /* creation of shards */
	_Atomic unsigned shards[ENGINE_SHARDS]; /* jemalloc's number plus one; 0: not made yet */
	unsigned used;
};

/* As jemalloc defines it for experimental.arenas_create_ext. */
struct arena_config {
	extent_hooks_t *extent_hooks;
	bool metadata_use_hooks;
};

static bool engine_serves(const struct engine *e)
{
	return !atomic_load(&e->dead) && e->hold == atomic_load(&e->arena->hold);
}

/* ---- hooks --------------------------------------------------------------------- */

static void *hook_alloc(extent_hooks_t *hooks, void *new_addr, size_t size, size_t align, bool *zero, bool *commit,
                        unsigned arena)
{
	struct engine *e = (struct engine *)hooks;
	(void)arena;
	if (new_addr || size > UNIT || align > UNIT || !engine_serves(e))
		return NULL;
	unsigned pages = align > PAGE ? (unsigned)(align / PAGE) : 1;
	void *p = page_take(e->arena, (unsigned)(size / PAGE), pages);
	if (p && *zero) {
		shadow_leave(e->arena, p, size);
		memset(p, 0, size);
	}
	*commit = true;
	return p;
}

static bool hook_dalloc(extent_hooks_t *hooks, void *addr, size_t size, bool committed, unsigned arena)
{
	struct engine *e = (struct engine *)hooks;
	(void)committed, (void)arena;
	if (atomic_load(&e->dead))
		return HOOK_OK;
	if (!engine_serves(e))
		return HOOK_REFUSED;
	shadow_leave(e->arena, addr, size);
	page_return(e->arena, addr, (unsigned)(size / PAGE));
	return HOOK_OK;
}

static void hook_destroy(extent_hooks_t *hooks, void *addr, size_t size, bool committed, unsigned arena)
{
	(void)hook_dalloc(hooks, addr, size, committed, arena);
}

/* Committing, decommitting and purging are span.c's business, a unit at a time. */
static bool hook_refuse(extent_hooks_t *hooks, void *addr, size_t size, size_t off, size_t len, unsigned arena)
{
	(void)hooks, (void)addr, (void)size, (void)off, (void)len, (void)arena;
	return HOOK_REFUSED;
}

static bool hook_split(extent_hooks_t *hooks, void *addr, size_t size, size_t a, size_t b, bool committed, unsigned arena)
{
	(void)hooks, (void)addr, (void)size, (void)a, (void)b, (void)committed, (void)arena;
	return HOOK_OK;
}

/* Only within a unit: page_return() gives back runs of one unit. */
static bool hook_merge(extent_hooks_t *hooks, void *a, size_t asize, void *b, size_t bsize, bool committed, unsigned arena)
{
	struct engine *e = (struct engine *)hooks;
	uintptr_t base = (uintptr_t)e->arena->data;
	(void)asize, (void)bsize, (void)committed, (void)arena;
	return ((uintptr_t)a - base) >> UNIT_SHIFT != ((uintptr_t)b - base) >> UNIT_SHIFT ? HOOK_REFUSED : HOOK_OK;
}

/* ---- starting ---------------------------------------------------------------------- */

/*
 * jemalloc sets itself up with a process's first small block, not when the
 * library is loaded, and has no fork handlers of its own (scripts/jemalloc.sh):
 * its locks are inside of everything else, so that they are taken last before a
 * fork, whenever it was started. Where there is no other thread they are free
 * anyway, and taking them copies some thirty pages.
 */
extern void je_jemalloc_prefork(void);
extern void je_jemalloc_postfork_parent(void);
extern void je_jemalloc_postfork_child(void);

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER; /* a fork keeps out of it */
static _Atomic bool started;

bool engine_started(void)
{
	return atomic_load_explicit(&started, memory_order_acquire);
}

/* Where jemalloc finds no memory while it is set up, it ends the process: is there what it will ask for? */
static bool start_possible(void)
{
	enum { BYTES = 16 << 20, MAPPINGS = 8 };
	void *trial;
	if (sys_map(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &trial))
		return false;
	int err = 0;
	for (unsigned i = 1; i < MAPPINGS && !err; i += 2)
		err = sys_protect((char *)trial + (size_t)i * PAGE, PAGE, PROT_NONE);
	(void)sys_unmap(trial, BYTES); /* refused: it is but addresses */
	return !err;
}

static bool engine_start(void)
{
	if (likely(engine_started()))
		return true;
	pthread_mutex_lock(&starting);
	if (!engine_started() && start_possible()) {
		volatile size_t asked = shmb_je_nallocx(1, 0); /* declared to be pure: left out if nobody wants to know */
		atomic_store(&started, asked != 0);
	}
	pthread_mutex_unlock(&starting);
	return engine_started();
}

static void fork_prepare(void)
{
	if (forks_alone)
		return;
	pthread_mutex_lock(&starting);
	if (engine_started())
		je_jemalloc_prefork();
}

static void fork_done(void (*give_back)(void))
{
	if (forks_alone)
		return;
	if (engine_started())
		give_back();
	pthread_mutex_unlock(&starting);
}

static void fork_parent(void) { fork_done(je_jemalloc_postfork_parent); }
static void fork_child(void) { fork_done(je_jemalloc_postfork_child); }

static unsigned processors; /* at the first open: later the thread that asks may keep to one of them */

int engine_setup(void)
{
	processors = sys_processors(ENGINE_SHARDS);
	return pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* ---- shards ---------------------------------------------------------------------- */

static struct engine *engine_make(struct shmb_arena *a)
{
	struct engine *none = NULL;
	void *at; /* not from malloc: that may be this very arena */
	if (!engine_start() || sys_map(NULL, sizeof(struct engine), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &at))
		return NULL;
	struct engine *e = at;
	e->hooks = (extent_hooks_t){.alloc = hook_alloc,
	                            .dalloc = hook_dalloc,
	                            .destroy = hook_destroy,
	                            .commit = hook_refuse,
	                            .decommit = hook_refuse,
	                            .purge_lazy = hook_refuse,
	                            .purge_forced = hook_refuse,
	                            .split = hook_split,
	                            .merge = hook_merge};
	e->arena = a;
	e->hold = atomic_load(&a->hold);
	e->used = processors > ENGINE_SHARDS ? ENGINE_SHARDS : processors;
	pthread_mutex_init(&e->lock, NULL);
	if (atomic_compare_exchange_strong(&a->engine, &none, e))
		return e;
	sys_unmap(e, sizeof *e);
	return none;
}

/* Destroys or purges each jemalloc arena; `what` is the last word of the mallctl name. */
static void each_shard(struct engine *e, const char *what)
{
	for (unsigned i = 0; i < ENGINE_SHARDS; i++) {
		unsigned number = atomic_load(&e->shards[i]);
		char name[48];
		if (!number)
			continue;
		snprintf(name, sizeof name, "arena.%u.%s", number - 1, what);
		(void)shmb_je_mallctl(name, NULL, NULL, NULL, 0);
	}
}

void engine_close(struct shmb_arena *a)
{
	struct engine *e = atomic_exchange(&a->engine, NULL);
	if (!e || e->hold != atomic_load(&a->hold))
		return; /* a parent's: its jemalloc arenas are left alone, its hooks refuse from now on */
	atomic_store(&e->dead, true);
	each_shard(e, "destroy");
	sys_unmap(e, sizeof *e);
}

void engine_renew(struct shmb_arena *a, holder_t hold)
{
	struct engine *e = atomic_load(&a->engine);
	if (!e)
		return;
	atomic_store(&e->dead, true);
	each_shard(e, "destroy");
	for (unsigned i = 0; i < ENGINE_SHARDS; i++)
		atomic_store(&e->shards[i], 0);
	e->hold = hold;
	atomic_store(&e->dead, false);
}

static unsigned shard_make(struct engine *e, unsigned i)
{
	struct arena_config config = {.extent_hooks = &e->hooks, .metadata_use_hooks = false};
	unsigned number;
	size_t len = sizeof number;
	pthread_mutex_lock(&e->lock);
	unsigned got = atomic_load(&e->shards[i]);
	if (!got &&
	    shmb_je_mallctl("experimental.arenas_create_ext", &number, &len, &config, sizeof config) == 0) {
		got = number + 1;
		atomic_store(&e->shards[i], got);
	}
	pthread_mutex_unlock(&e->lock);
	return got;
}

/* jemalloc's number, plus one, of the arena that serves the thread; 0: there is none to be had. */
static unsigned shard_of(struct shmb_arena *a, unsigned thread)
{
	struct engine *e = atomic_load_explicit(&a->engine, memory_order_acquire);
	if (unlikely(!e) && !(e = engine_make(a)))
		return 0;
	unsigned i = thread % e->used;
	unsigned number = atomic_load_explicit(&e->shards[i], memory_order_acquire);
	return likely(number) ? number : shard_make(e, i);
}

/* A block of jemalloc's as the region knows it; false: it is not from there. */
static bool block_here(struct shmb_arena *a, char *p, uint32_t *grain)
{
	if (!arena_has(a, p)) {
		shmb_je_dallocx(p, MALLOCX_TCACHE_NONE);
		return false;
	}
	*grain = (uint32_t)((uint64_t)(p - a->data) >> GRAIN_SHIFT);
	return true;
}

bool engine_alloc(struct shmb_arena *a, unsigned thread, unsigned class, size_t align, uint32_t *grain)
{
	unsigned number = shard_of(a, thread);
	int flags = MALLOCX_ARENA(number - 1) | MALLOCX_TCACHE_NONE | (align ? MALLOCX_ALIGN(align) : 0);
	char *p = number ? shmb_je_mallocx(class_size(class), flags) : NULL;
	if (!p || !block_here(a, p, grain))
		return false;
	page_note(a, *grain, class);
	return true;
}

/* batch.c, by the names that its tree gives them. */
extern size_t je_batch_fill(unsigned number, size_t size, void **to, size_t n);
extern void je_batch_flush(void **blocks, size_t n);

unsigned engine_alloc_many(struct shmb_arena *a, unsigned thread, unsigned class, unsigned want, uint32_t *grains)
{
	enum { PAGE_GRAINS = PAGE / GRAIN };
	unsigned number = shard_of(a, thread), got = 0;
	void *blocks[ENGINE_BATCH];
	want = want < ENGINE_BATCH ? want : ENGINE_BATCH;
	unsigned n = number ? (unsigned)je_batch_fill(number - 1, class_size(class), blocks, want) : 0;
	for (unsigned i = 0, noted = UINT32_MAX; i < n; i++) {
		if (!block_here(a, blocks[i], &grains[got]))
			continue;
		unsigned page = grains[got] / PAGE_GRAINS, last = (grains[got] + class_size(class) / GRAIN - 1) / PAGE_GRAINS;
		if (page != noted || last != noted) /* two of one class in one page: it says the same */
			page_note(a, grains[got], class);
		noted = last;
		got++;
	}
	while (got < want && engine_alloc(a, thread, class, 0, &grains[got])) /* larger than what comes in batches */
		got++;
	return got;
}

void engine_free_many(struct shmb_arena *a, const uint32_t *grains, unsigned n)
{
	void *blocks[ENGINE_BATCH];
	ASSERT(n <= ENGINE_BATCH);
	if (!n) /* and maybe none ever came from it: jemalloc need not have been started */
		return;
	for (unsigned i = 0; i < n; i++)
		blocks[i] = a->data + ((size_t)grains[i] << GRAIN_SHIFT);
	je_batch_flush(blocks, n); /* not by its class: that is what the region says, and jemalloc would believe it */
}

void engine_purge(struct shmb_arena *a)
{
	struct engine *e = atomic_load(&a->engine);
	if (e)
		each_shard(e, "purge");
}

unsigned engine_numbers(struct shmb_arena *a, unsigned out[ENGINE_SHARDS])
{
	struct engine *e = atomic_load(&a->engine);
	unsigned n = 0;
	for (unsigned i = 0; e && engine_serves(e) && i < ENGINE_SHARDS; i++) {
		unsigned number = atomic_load(&e->shards[i]);
		if (number)
			out[n++] = number - 1;
	}
	return n;
}

void engine_stats(void (*write)(void *, const char *), void *opaque, const char *opts)
{
	if (engine_start())
		shmb_je_malloc_stats_print(write, opaque, opts);
}
