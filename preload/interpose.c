/*
 * interpose.c - libc's allocation entry points, and nothing else. malloc and
 * free themselves are the heap's preload_malloc() and preload_free(), under
 * these names by the linker: what they do off the hot path is here.
 *
 * Each asks the rules about the request and who makes it, serves a chosen one
 * from the region, and passes any other to the next definition of the same
 * name, so the shim stacks on any other allocator. A pointer is ours if it
 * lies in the address window of regions; others pass through untouched.
 *
 * The next definitions are found by dlsym, which may allocate itself: until
 * they are known a few such requests are served from a static buffer.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define CALLER __builtin_return_address(0) /* of an entry point: in the code that asked */

enum { PAGE_BYTES = 4096 };

/* ---- what lies below -------------------------------------------------------------- */

/* The two that are called most need no look at whether they are known. */
static void *first_malloc(size_t size);
static void first_free(void *p);
static struct shim_below next = {.malloc = first_malloc, .free = first_free};

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
static __attribute__((noinline)) bool next_find(void)
{
	static __thread bool inside __attribute__((tls_model("initial-exec")));
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

static inline bool next_ready(void)
{
	return likely(next.usable_size != NULL) || next_find();
}

static void *first_malloc(size_t size)
{
	return next_find() ? next.malloc(size) : boot_take(size);
}

static void first_free(void *p)
{
	if (next_find())
		next.free(p);
}

static void *next_malloc(size_t size)
{
	return next.malloc(size);
}

static void *next_memalign(size_t align, size_t size)
{
	return next_ready() ? next.memalign(align, size) : boot_take(size);
}

static size_t next_usable(void *p)
{
	return from_boot(p) ? boot_size(p) : next_ready() ? next.usable_size(p) : 0;
}

bool shim_below_wrap(const struct shim_below *ours, struct shim_below *theirs)
{
	if (!next_ready())
		return false;
	*theirs = next;
#define OURS_OR_NEXT(f) .f = ours->f ? ours->f : next.f
	next = (struct shim_below){OURS_OR_NEXT(malloc), OURS_OR_NEXT(calloc), OURS_OR_NEXT(realloc),
	                           OURS_OR_NEXT(free), OURS_OR_NEXT(memalign), OURS_OR_NEXT(usable_size)};
#undef OURS_OR_NEXT
	return true;
}

/* What preload_free() does with a pointer that is not ours. */
void preload_free_otherwise(void *p)
{
	if (p && !from_boot(p))
		next.free(p);
}

/* ---- what lies here ----------------------------------------------------------------- */

/* Where a request goes: an arena, or NULL, the ordinary heap; by which rule. */
struct choice {
	shmb_arena *arena;
	int rule;
};

static __attribute__((noinline)) struct choice choose_by_rules(size_t size, const void *caller, enum held held)
{
	if (unlikely(libc_keeps(size, caller)))
		return (struct choice){NULL, -1};
	struct decision d = rules_bounds.exact ? (struct decision){0, true} : rules_decide(size, caller, held);
	struct choice c = {NULL, d.rule};
	if (d.rule < 0)
		return c;
	if (unlikely(policy.dry_run)) {
		policy.profile ? profile_caller(caller) : rules_count(d.rule, size);
		return c;
	}
	shmb_arena *a = atomic_load_explicit(&shim_arena, memory_order_acquire);
	if (unlikely(!a) && d.places)
		a = shim_arena_late();
	if (a)
		preload_count(a, (unsigned)d.rule, size);
	c.arena = d.places ? a : NULL;
	return c;
}

/* No rule can place a block of that size, nor have the rules changed: it is for the next definition. */
static inline bool none_is_asked(size_t size)
{
	return likely(!preload_rules_changed()) && !rules_may_place(size);
}

static inline struct choice choose(size_t size, const void *caller, enum held held)
{
	if (unlikely(preload_rules_changed()))
		rules_change();
	return rules_may_place(size) ? choose_by_rules(size, caller, held) : (struct choice){NULL, -1};
}

/* A block that was served from the region, or NULL. */
static inline void *placed(struct choice c, void *p)
{
	if (likely(p != NULL))
		preload_count_placed(c.arena, (unsigned)c.rule, p);
	return p;
}

/* p is NULL and was asked of an arena: may the ordinary heap serve it? */
static bool may_fall_back(struct choice c)
{
	int saved = errno;
	bool may = shim_full(c.arena, (unsigned)c.rule);
	errno = saved;
	return may;
}

static void *malloc_in(struct choice c, size_t size)
{
	if (likely(c.arena != NULL)) {
		void *p = placed(c, shmb_malloc(c.arena, size));
		if (likely(p != NULL) || !may_fall_back(c))
			return p;
	}
	return next_malloc(size);
}

static __attribute__((noinline)) void *malloc_by_rules(size_t size, const void *caller)
{
	if (unlikely(libc_keeps(size, caller)))
		return next_malloc(size);
	void *p = preload_malloc_known(size);
	return likely(p != NULL) ? p : malloc_in(choose(size, caller, HELD_NOT), size);
}

/* What preload_malloc() does with a request that its table does not place. Nothing is kept over a call on the way out. */
void *preload_malloc_otherwise(size_t size, const void *caller)
{
	return none_is_asked(size) ? next_malloc(size) : malloc_by_rules(size, caller);
}

static __attribute__((noinline)) void *calloc_otherwise(size_t n, size_t size, const void *caller)
{
	struct choice c = choose(n * size, caller, HELD_NOT);
	if (likely(c.arena != NULL)) {
		void *p = placed(c, shmb_calloc(c.arena, n, size));
		if (likely(p != NULL) || !may_fall_back(c))
			return p;
	}
	return next_ready() ? next.calloc(n, size) : boot_take(n * size); /* static memory: zeros */
}

EXPORT void *calloc(size_t n, size_t size)
{
	size_t bytes;
	if (unlikely(__builtin_mul_overflow(n, size, &bytes))) {
		errno = ENOMEM;
		return NULL;
	}
	if (none_is_asked(bytes) && likely(next.calloc != NULL))
		return next.calloc(n, size);
	void *p = unlikely(size == LIBC_VALUE && n == LIBC_VALUES) ? NULL : preload_calloc(bytes);
	return likely(p != NULL) ? p : calloc_otherwise(n, size, CALLER);
}

/* Copies `have` or `size` bytes, whichever is less, to a new block in `to`. */
static void *move(void *p, size_t have, size_t size, struct choice to)
{
	void *q = malloc_in(to, size);
	if (!q)
		return NULL;
	memcpy(q, p, have < size ? have : size);
	preload_free(p);
	return q;
}

static __attribute__((noinline)) void *resize_otherwise(void *p, size_t size, const void *caller)
{
	if (!p)
		return preload_malloc_for(size, caller);
	shmb_arena *from = shmb_arena_of(p);
	if (size == 0 && from) {
		preload_free(p);
		return NULL;
	}
	if (from && unlikely(preload_is_absent(from))) { /* there is nothing to copy */
		errno = ENOMEM;
		return NULL;
	}
	struct choice to = choose(size, caller, from ? HELD_REGION : HELD_HEAP);
	if (from && from == to.arena) {
		void *q = placed(to, shmb_realloc(from, p, size));
		if (q || !may_fall_back(to))
			return q;
		to.arena = NULL;
	}
	if (from)
		return move(p, shmb_usable_size(from, p), size, to);
	if (to.arena || from_boot(p))
		return move(p, next_usable(p), size, to);
	return next_ready() ? next.realloc(p, size) : NULL;
}

static __attribute__((noinline)) void *resize_ours(void *p, size_t size, const void *caller)
{
	void *q = likely(!preload_rules_changed()) ? preload_resize(p, size) : NULL;
	return likely(q != NULL) ? q : resize_otherwise(p, size, caller);
}

static inline void *resize(void *p, size_t size, const void *caller)
{
	if (window_has(p))
		return resize_ours(p, size, caller);
	if (none_is_asked(size) && likely(next.realloc != NULL) && likely(!from_boot(p)))
		return next.realloc(p, size);
	return resize_otherwise(p, size, caller);
}

EXPORT void *realloc(void *p, size_t size)
{
	return resize(p, size, CALLER);
}

EXPORT void *reallocarray(void *p, size_t n, size_t size)
{
	size_t bytes;
	if (__builtin_mul_overflow(n, size, &bytes)) {
		errno = ENOMEM;
		return NULL;
	}
	return resize(p, bytes, CALLER);
}

/* ---- aligned -------------------------------------------------------------------------- */

static void *memalign_any(size_t align, size_t size, const void *caller)
{
	if (align > SHMB_ALIGN_MAX)
		return next_memalign(align, size);
	struct choice c = choose(size, caller, HELD_NOT);
	if (c.arena) {
		void *p = placed(c, shmb_aligned_alloc(c.arena, align, size));
		if (p || !may_fall_back(c))
			return p;
	}
	return next_memalign(align, size);
}

static bool power_of_two(size_t v)
{
	return v && (v & (v - 1)) == 0;
}

EXPORT int posix_memalign(void **out, size_t align, size_t size)
{
	if (!power_of_two(align) || align % sizeof(void *))
		return EINVAL;
	int saved = errno;
	void *p = memalign_any(align, size, CALLER);
	errno = saved;
	if (!p)
		return ENOMEM;
	*out = p;
	return 0;
}

/* glibc rounds an alignment that is no power of two up to one. */
void *shim_memalign(size_t align, size_t size, const void *caller)
{
	size_t a = 16;
	if (align > SIZE_MAX / 2 + 1) {
		errno = EINVAL;
		return NULL;
	}
	while (a < align)
		a *= 2;
	return memalign_any(a, size, caller);
}

EXPORT void *memalign(size_t align, size_t size)
{
	return shim_memalign(align, size, CALLER);
}

EXPORT void *aligned_alloc(size_t align, size_t size)
{
	return shim_memalign(align, size, CALLER);
}

EXPORT void *valloc(size_t size)
{
	return memalign_any(PAGE_BYTES, size, CALLER);
}

EXPORT void *pvalloc(size_t size)
{
	size_t whole = (size + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	if (whole < size) {
		errno = ENOMEM;
		return NULL;
	}
	return memalign_any(PAGE_BYTES, whole ? whole : PAGE_BYTES, CALLER);
}

static __attribute__((noinline)) size_t usable_otherwise(void *p)
{
	shmb_arena *a = shmb_arena_of(p);
	if (!a)
		return next_usable(p);
	return preload_is_absent(a) ? 0 : shmb_usable_size(a, p);
}

EXPORT size_t malloc_usable_size(void *p)
{
	if (!window_has(p))
		return p ? next_usable(p) : 0;
	size_t size = preload_usable(p);
	return likely(size) ? size : usable_otherwise(p);
}

/* ---- for deepbind.c ------------------------------------------------------------------- */

OURS(calloc);
OURS(realloc);
OURS(reallocarray);
OURS(posix_memalign);
OURS(aligned_alloc);
OURS(memalign);
OURS(valloc);
OURS(pvalloc);
OURS(malloc_usable_size);

const struct shim_entry *shim_entries(void)
{
	static const struct shim_entry all[] = {
		{"malloc", (const void *)preload_malloc},
		{"calloc", (const void *)ours_calloc},
		{"realloc", (const void *)ours_realloc},
		{"reallocarray", (const void *)ours_reallocarray},
		{"free", (const void *)preload_free},
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
