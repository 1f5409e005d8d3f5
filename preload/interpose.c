/*
 * interpose.c - libc's allocation entry points, and nothing else.
 *
 * Each asks the policy about the size, serves a chosen request from the
 * region, and passes any other to the next definition of the same name, so
 * the shim stacks on any other allocator. A pointer is ours if it lies in the
 * address window of regions; others pass through untouched. malloc and free
 * try the heap's hot path first, which knows the sizes that are always placed.
 *
 * The next definitions are found by dlsym, which may allocate itself: until
 * they are known a few such requests are served from a static buffer.
 */
#include "shim.h"
#include "../src/preload_api.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

enum { PAGE_BYTES = 4096 };

/* ---- what lies below -------------------------------------------------------------- */

static struct {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	void *(*memalign)(size_t, size_t);
	size_t (*usable_size)(void *);
} next;

static char boot[65536] __attribute__((aligned(16)));
static atomic_size_t boot_used;

static bool from_boot(const void *p)
{
	return (uintptr_t)p - (uintptr_t)boot < sizeof boot;
}

/* Never given back; each block is preceded by its size. */
static void *boot_take(size_t size)
{
	size_t need = (size + 16 + 15) & ~(size_t)15;
	size_t at = atomic_fetch_add(&boot_used, need);
	if (need < size || at + need > sizeof boot) {
		errno = ENOMEM;
		return NULL;
	}
	memcpy(boot + at, &size, sizeof size);
	return boot + at + 16;
}

static size_t boot_size(const void *p)
{
	size_t size;
	memcpy(&size, (const char *)p - 16, sizeof size);
	return size;
}

/* False: this very call comes from dlsym. */
static bool next_ready(void)
{
	static __thread bool inside __attribute__((tls_model("initial-exec")));
	if (likely(next.usable_size != NULL))
		return true;
	if (inside)
		return false;
	inside = true;
	next.malloc = (void *(*)(size_t))dlsym(RTLD_NEXT, "malloc");
	next.calloc = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "calloc");
	next.realloc = (void *(*)(void *, size_t))dlsym(RTLD_NEXT, "realloc");
	next.free = (void (*)(void *))dlsym(RTLD_NEXT, "free");
	next.memalign = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
	next.usable_size = (size_t (*)(void *))dlsym(RTLD_NEXT, "malloc_usable_size");
	inside = false;
	return true;
}

static void *next_malloc(size_t size)
{
	return next_ready() ? next.malloc(size) : boot_take(size);
}

static void *next_memalign(size_t align, size_t size)
{
	return next_ready() ? next.memalign(align, size) : boot_take(size);
}

static size_t next_usable(void *p)
{
	return from_boot(p) ? boot_size(p) : next_ready() ? next.usable_size(p) : 0;
}

static void next_free(void *p)
{
	if (p && !from_boot(p) && next_ready())
		next.free(p);
}

/* ---- what lies here ----------------------------------------------------------------- */

/* The arena that a request of this size goes to; NULL: the ordinary heap. */
static inline shmb_arena *arena_for(size_t size)
{
	if (!policy_wants(size))
		return NULL;
	shmb_arena *a = atomic_load_explicit(&shim_arena, memory_order_acquire);
	return likely(a != NULL) ? a : shim_arena_late();
}

/* p is NULL and was asked of `a`: may the ordinary heap serve it? */
static bool may_fall_back(shmb_arena *a)
{
	int saved = errno;
	bool may = shim_full(a);
	errno = saved;
	return may;
}

static void *malloc_slow(size_t size)
{
	shmb_arena *a = arena_for(size);
	if (likely(a != NULL)) {
		void *p = shmb_malloc(a, size);
		if (likely(p != NULL) || !may_fall_back(a))
			return p;
	}
	return next_malloc(size);
}

EXPORT void *malloc(size_t size)
{
	return preload_malloc(size, malloc_slow);
}

EXPORT void free(void *p)
{
	preload_free(p, next_free);
}

EXPORT void *calloc(size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	shmb_arena *a = arena_for(bytes);
	if (likely(a != NULL)) {
		void *p = shmb_calloc(a, n, size);
		if (likely(p != NULL) || !may_fall_back(a))
			return p;
	}
	return next_ready() ? next.calloc(n, size) : boot_take(bytes); /* static memory: zeros */
}

static void *memalign_any(size_t align, size_t size)
{
	shmb_arena *a = arena_for(size);
	if (a && align <= SHMB_ALIGN_MAX) {
		void *p = shmb_aligned_alloc(a, align, size);
		if (p || !may_fall_back(a))
			return p;
	}
	return next_memalign(align, size);
}

/* Copies `have` or `size` bytes, whichever is less, to a block from where the policy says. */
static void *move(void *p, size_t have, size_t size)
{
	void *q = malloc(size);
	if (!q)
		return NULL;
	memcpy(q, p, have < size ? have : size);
	free(p);
	return q;
}

EXPORT void *realloc(void *p, size_t size)
{
	if (!p)
		return malloc(size);
	shmb_arena *from = shmb_arena_of(p);
	if (size == 0 && from) {
		free(p);
		return NULL;
	}
	if (from && unlikely(preload_is_absent(from))) { /* there is nothing to copy */
		errno = ENOMEM;
		return NULL;
	}
	shmb_arena *to = arena_for(size);
	if (from && from == to) {
		void *q = shmb_realloc(from, p, size);
		if (q || !may_fall_back(from))
			return q;
		q = next_malloc(size);
		if (!q)
			return NULL;
		size_t have = shmb_usable_size(from, p);
		memcpy(q, p, have < size ? have : size);
		free(p);
		return q;
	}
	if (from)
		return move(p, shmb_usable_size(from, p), size);
	if (to || from_boot(p))
		return move(p, next_usable(p), size);
	return next_ready() ? next.realloc(p, size) : NULL;
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(p, bytes);
}

/* ---- aligned -------------------------------------------------------------------------- */

static bool power_of_two(size_t v)
{
	return v && (v & (v - 1)) == 0;
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	if (!power_of_two(align) || align % sizeof(void *))
		return EINVAL;
	int saved = errno;
	void *p = memalign_any(align, size);
	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

/* glibc rounds an alignment that is no power of two up to one. */
EXPORT void *memalign(size_t align, size_t size)
{
	size_t a = 16;
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	while (a < align)
		a *= 2;
	return memalign_any(a, size);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return memalign(align, size);
}

EXPORT void *valloc(size_t size)
{
	return memalign_any(PAGE_BYTES, size);
}

EXPORT void *pvalloc(size_t size)
{
	size_t whole = (size + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	if (whole < size) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign_any(PAGE_BYTES, whole ? whole : PAGE_BYTES);
}

EXPORT size_t malloc_usable_size(void *p)
{
	if (!p)
		return 0;
	shmb_arena *a = shmb_arena_of(p);
	if (!a)
		return next_usable(p);
	return preload_is_absent(a) ? 0 : shmb_usable_size(a, p);
}

/* ---- for deepbind.c ------------------------------------------------------------------- */

/* Ours, whatever the program itself may define by these names. */
#define OURS(f) extern __typeof__(f) ours_##f __attribute__((alias(#f), copy(f), visibility("hidden")))
OURS(malloc);
OURS(calloc);
OURS(realloc);
OURS(reallocarray);
OURS(free);
OURS(posix_memalign);
OURS(aligned_alloc);
OURS(memalign);
OURS(valloc);
OURS(pvalloc);
OURS(malloc_usable_size);

const struct shim_entry *shim_entries(void)
{
	static const struct shim_entry all[] = {
		{"malloc", (const void *)ours_malloc},
		{"calloc", (const void *)ours_calloc},
		{"realloc", (const void *)ours_realloc},
		{"reallocarray", (const void *)ours_reallocarray},
		{"free", (const void *)ours_free},
		{"posix_memalign", (const void *)ours_posix_memalign},
		{"aligned_alloc", (const void *)ours_aligned_alloc},
		{"memalign", (const void *)ours_memalign},
		{"valloc", (const void *)ours_valloc},
		{"pvalloc", (const void *)ours_pvalloc},
		{"malloc_usable_size", (const void *)ours_malloc_usable_size},
		{NULL, NULL},
	};
	return next_ready() ? all : NULL;
}
