/*
 * shadow.c - what a checker of memory knows of an arena's blocks: which bytes
 * the program may touch, and for valgrind which blocks there are.
 *
 * It knows of one process, and blocks are everybody's. So bytes are closed only
 * while they are this process's to issue: in a thread's magazine, or in its
 * engine. What goes to a depot, an inbox, another process's unit, or back to
 * the free units is open again before, since whoever has it next may pass it to
 * this process by a plain pointer. Where nobody else was ever attached depots
 * and large blocks stay closed. An eviction is noticed late, at the next slow
 * call; a ref, and a box, open what they lead to.
 *
 * In a hardened region all is open: it verifies its blocks itself, and reads
 * free ones for that.
 *
 * valgrind's leak check reads all that is open, and reading a hole allocates
 * it. So of a region of more than 1 GiB what no process has had tables for is
 * closed until this one comes to know that somebody has: at its next slow call,
 * or by a ref.
 */
#include "shadow.h"

#if defined(__SANITIZE_ADDRESS__) || defined(SHMB_VALGRIND)

#include "sys.h"

#include <sys/mman.h>

enum { UNIT_GRAINS = UNIT / GRAIN };

#ifdef SHMB_VALGRIND
#include <valgrind/memcheck.h>

static void bytes_open(const void *p, uint64_t n) { (void)VALGRIND_MAKE_MEM_DEFINED(p, n); }
static void bytes_fresh(const void *p, uint64_t n) { (void)VALGRIND_MAKE_MEM_UNDEFINED(p, n); }
static void bytes_close(const void *p, uint64_t n) { (void)VALGRIND_MAKE_MEM_NOACCESS(p, n); }
static bool byte_closed(const void *p) { return (void)p, true; }
#else
#include <sanitizer/asan_interface.h>

static void bytes_open(const void *p, uint64_t n) { ASAN_UNPOISON_MEMORY_REGION(p, n); }
static void bytes_fresh(const void *p, uint64_t n) { ASAN_UNPOISON_MEMORY_REGION(p, n); }
static void bytes_close(const void *p, uint64_t n) { ASAN_POISON_MEMORY_REGION(p, n); }

static bool byte_closed(const void *p) { return __asan_address_is_poisoned(p); }
#endif

static bool off(const struct shmb_arena *a)
{
	return a->guard || atomic_load_explicit(&a->retired, memory_order_relaxed);
}

static bool shared(const struct shmb_arena *a)
{
	return atomic_load_explicit(&a->shadow.shared, memory_order_relaxed);
}

/* ---- which blocks there are ------------------------------------------------------------ */

/*
 * valgrind must not be told of the end of a block of whose start it was not,
 * nor of a start twice, and it cannot be asked. A bit a grain, private.
 */
#ifdef SHMB_VALGRIND
#define SCANNED ((uint64_t)1 << 30)

static bool known_set(struct shmb_arena *a, const void *p, bool to)
{
	uint64_t grain = (uint64_t)((const char *)p - a->data) >> GRAIN_SHIFT, bit = (uint64_t)1 << grain % 64;
	_Atomic uint64_t *known = a->shadow.known;
	if (!known)
		return false;
	return (to ? atomic_fetch_or(&known[grain / 64], bit) : atomic_fetch_and(&known[grain / 64], ~bit)) & bit;
}

static bool known(const struct shmb_arena *a, const void *p)
{
	uint64_t grain = (uint64_t)((const char *)p - a->data) >> GRAIN_SHIFT;
	return a->shadow.known && atomic_load(&a->shadow.known[grain / 64]) >> grain % 64 & 1;
}

static void block_ends(struct shmb_arena *a, void *p)
{
	if (known_set(a, p, false))
		VALGRIND_FREELIKE_BLOCK(p, 0);
}

/* In this process others' frees of it left a block there, if any. */
static void block_begins(struct shmb_arena *a, void *p, uint64_t size)
{
	block_ends(a, p);
	VALGRIND_MALLOCLIKE_BLOCK(p, size, 0, 0);
	known_set(a, p, true);
}

static void known_open(struct shmb_arena *a)
{
	void *at;
	uint64_t len = a->lay.units * UNIT_GRAINS / 8;
	if (!sys_map(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &at))
		a->shadow.known = at;
}

static void known_close(struct shmb_arena *a)
{
	_Atomic uint64_t *known = a->shadow.known;
	uint64_t words = atomic_load(&a->shadow.ready) * UNIT_GRAINS / 64;
	for (uint64_t i = 0; known && i < words; i++)
		for (uint64_t bits; (bits = atomic_load(&known[i]));)
			block_ends(a, a->data + ((i * 64 + (unsigned)__builtin_ctzll(bits)) << GRAIN_SHIFT));
	if (known)
		sys_unmap((void *)known, a->lay.units * UNIT_GRAINS / 8);
	a->shadow.known = NULL;
}

/* Tables and data of units from `ready` on, where nothing was ever written: the leak check keeps out. */
static void beyond(struct shmb_arena *a, uint64_t from, uint64_t to, void (*mark)(const void *, uint64_t))
{
	uint64_t small = a->lay.units < SMALL_UNITS ? a->lay.units : SMALL_UNITS;
	mark(a->data + (from << UNIT_SHIFT), (to - from) << UNIT_SHIFT);
	if (a->shadow.known)
		mark((const char *)a->shadow.known + from * UNIT_GRAINS / 8, (to - from) * UNIT_GRAINS / 8);
	if (from >= small)
		return;
	uint64_t n = ((to < small ? to : small) - from) * UNIT_GRAINS;
	mark(a->blocks + from * UNIT_GRAINS, n);
	mark(a->tags + from * UNIT_GRAINS, n);
}

void shadow_ready(const struct shmb_arena *of, uint64_t units)
{
	struct shmb_arena *a = (struct shmb_arena *)(uintptr_t)of;
	uint64_t was = atomic_load(&a->shadow.ready);
	while (was < units)
		if (atomic_compare_exchange_weak(&a->shadow.ready, &was, units)) {
			beyond(a, was, units, bytes_open);
			return;
		}
}

static void ready_note(struct shmb_arena *a)
{
	(void)units_ready(a);
}

static void ready_open(struct shmb_arena *a)
{
	if (a->lay.size <= SCANNED)
		atomic_store(&a->shadow.ready, a->lay.units);
	else if (units_ready(a) < a->lay.units)
		beyond(a, units_ready(a), a->lay.units, bytes_close);
}
#else
static bool known(const struct shmb_arena *a, const void *p) { return (void)a, (void)p, false; }
static void block_ends(struct shmb_arena *a, void *p) { (void)a, (void)p; }
static void block_begins(struct shmb_arena *a, void *p, uint64_t size) { (void)a, (void)p, (void)size; }
static void known_open(struct shmb_arena *a) { (void)a; }
static void known_close(struct shmb_arena *a) { (void)a; }
static void ready_note(struct shmb_arena *a) { (void)a; }
static void ready_open(struct shmb_arena *a) { (void)a; }
#endif

/* ---- the arena ---------------------------------------------------------------------------- */

void shadow_open(struct shmb_arena *a)
{
	atomic_store(&a->shadow.shared, slots_high(a) > 1 || a->region->read_only);
	known_open(a);
	ready_open(a);
}

void shadow_close(struct shmb_arena *a)
{
	known_close(a);
	shadow_leave_all(a);
	atomic_store(&a->shadow.ready, 0);
}

/* A free unit is closed as a whole, or open, and AddressSanitizer's memory of it is better not touched then. */
void shadow_leave_all(struct shmb_arena *a)
{
	uint64_t ready = a->map && !a->guard ? units_ready(a) : 0;
	for (uint64_t u = 0; u < ready; u++) {
		const char *unit = a->data + (u << UNIT_SHIFT);
		if (span_kind_of(span_get(a, u)) != SPAN_FREE || byte_closed(unit))
			bytes_open(unit, UNIT);
	}
}

void shadow_note(struct shmb_arena *a)
{
	ready_note(a);
	if (shared(a) || slots_high(a) <= 1)
		return;
	atomic_store(&a->shadow.shared, true);
	shadow_leave_all(a);
}

void shadow_leave(const struct shmb_arena *a, void *p, uint64_t len)
{
	(void)a;
	bytes_open(p, len);
}

/* ---- blocks --------------------------------------------------------------------------------- */

static void issue(struct shmb_arena *a, void *p, uint64_t bytes, uint64_t size)
{
	bytes_fresh(p, size);
	bytes_close((char *)p + size, bytes - size);
	block_begins(a, p, size);
}

/* The bytes of the block that starts there, if it is live. */
static uint64_t bytes_of(const struct shmb_arena *a, const void *p)
{
	uint64_t at = (uint64_t)((const char *)p - a->data);
	span_t w = span_get(a, at >> UNIT_SHIFT);
	if (span_kind_of(w) == SPAN_HEAD)
		return span_aux(w) << UNIT_SHIFT;
	uint8_t b = span_kind_of(w) == SPAN_SMALL ? block_get(a->blocks, at >> GRAIN_SHIFT) : 0;
	return block_state_of(b) == BLOCK_LIVE && block_class(b) < CLASSES ? class_size(block_class(b)) : 0;
}

void shadow_issue(struct shmb_arena *a, void *p, uint64_t size)
{
	if (!off(a))
		issue(a, p, bytes_of(a, p), size);
}

void shadow_resize(struct shmb_arena *a, void *p, uint64_t had, uint64_t bytes, uint64_t size)
{
	if (off(a))
		return;
	issue(a, p, bytes, size);
	bytes_open(p, had < size ? had : size);
	if (had > bytes && shared(a))
		bytes_open((char *)p + bytes, had - bytes);
	else if (had > bytes)
		bytes_close((char *)p + bytes, had - bytes);
}

void shadow_usable(const struct shmb_arena *a, const void *p, uint64_t bytes)
{
	if (!off(a))
		bytes_open(p, bytes);
}

void shadow_reach(const struct shmb_arena *a, const void *p)
{
	if (!off(a) && !known(a, p))
		bytes_open(p, bytes_of(a, p));
}

void shadow_free(struct shmb_arena *a, void *p, uint64_t bytes, bool mine)
{
	if (off(a))
		return;
	block_ends(a, p);
	if (mine || !shared(a))
		bytes_close(p, bytes);
	else
		bytes_open(p, bytes);
}

static void each_block(const struct shmb_arena *a, const struct mag_shm *m, void (*mark)(const void *, uint64_t))
{
	uint32_t n = atomic_load(&m->count);
	for (uint32_t i = 0; i < n && i < MAG_ROUNDS && m->class < CLASSES; i++)
		mark(a->data + ((uint64_t)m->entries[i] << GRAIN_SHIFT), class_size(m->class));
}

void shadow_take(struct shmb_arena *a, const struct mag_shm *m)
{
	if (!off(a))
		each_block(a, m, bytes_close);
}

void shadow_give(struct shmb_arena *a, const struct mag_shm *m)
{
	if (!off(a) && shared(a))
		each_block(a, m, bytes_open);
}
#endif
