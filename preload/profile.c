/*
 * profile.c - SHMBIND_PROFILE: nothing is placed; of every request it is
 * recorded which code made it, and how long its block lived.
 *
 * While it is on, the rules' bounds take in every size, so that all requests
 * come by interpose.c's choice, which notes the caller (profile_caller()), and
 * what lies below the entry points is ours: we call the allocator and record
 * what came of it. Off, it costs nothing. Blocks stay as the allocator made
 * them, without a header.
 *
 * One lock protects all of the record. A block is taken out before it is freed
 * and put in after it was made, since its address may be another thread's in
 * between. A signal handler's call in the middle of another is passed on and
 * counted, no more.
 *
 * The state is wiped by the kernel in a forked child, however that was made,
 * and the rest is not there in it: the child begins a record of its own at its
 * first request, and knows nothing of the blocks that it inherited.
 */
#include "profile.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static struct state {
	pthread_mutex_t lock; /* zeros are an open one */
	bool tried;           /* to start, in this process */
	struct record record;
	struct blocks blocks;
} *state;

static struct shim_below below;

#define OF_THREAD static __thread __attribute__((tls_model("initial-exec")))
OF_THREAD const void *asker;
OF_THREAD volatile bool inside;

void profile_caller(const void *caller)
{
	asker = caller;
}

static const void *take_asker(void)
{
	const void *caller = asker;
	asker = NULL;
	return caller;
}

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* ---- memory ------------------------------------------------------------------------- */

void *own_map(size_t len)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	(void)syscall(SYS_madvise, p, len, MADV_DONTFORK);
	return p;
}

void own_unmap(void *p, size_t len)
{
	munmap(p, len);
}

/* ---- the record ------------------------------------------------------------------------ */

/* False: a handler has interrupted this thread in here. Else errno is kept in *saved. */
static bool enter(int *saved)
{
	if (inside) {
		struct profile_file *f = state->record.file;
		if (f)
			atomic_fetch_add_explicit(&f->head.interrupted, 1, memory_order_relaxed);
		return false;
	}
	inside = true;
	*saved = errno;
	pthread_mutex_lock(&state->lock);
	return true;
}

static void leave(int saved)
{
	pthread_mutex_unlock(&state->lock);
	errno = saved;
	inside = false;
}

static bool started(void)
{
	if (!state->record.file && !state->tried) {
		state->tried = true;
		(void)record_start(&state->record, policy.profile, policy_executable());
	}
	return state->record.file != NULL;
}

static void ended(const struct block *b, uint64_t lived)
{
	record_gone(&state->record, b->site, b->size, lived);
}

static void begin(struct block *b, const struct site *where, bool resized)
{
	struct record *r = &state->record;
	struct block missed;
	b->site = record_site(r, where);
	record_request(r, b->site, b->size, resized);
	if (blocks_take(&state->blocks, b->at, &missed)) /* its free was a handler's */
		ended(&missed, LIVED_UNKNOWN);
	if (blocks_put(&state->blocks, b))
		record_live(r, b->site, b->size);
	else
		r->file->head.untracked++;
}

/* `old`: the block that was given another size, or NULL. */
static void note_new(void *p, size_t size, const void *caller, const struct block *old)
{
	struct block b = {.at = (uintptr_t)p, .born = now(), .size = size};
	struct site where = {.found = false};
	int saved;
	if (!enter(&saved))
		return;
	if (caller)
		site_locate(&where, caller);
	if (started()) {
		if (old && old->at)
			ended(old, b.born - old->born);
		begin(&b, &where, old != NULL);
	}
	leave(saved);
}

static void note_gone(void *p)
{
	struct block b;
	uint64_t t = now();
	int saved;
	if (!enter(&saved))
		return;
	if (state->record.file && blocks_take(&state->blocks, (uintptr_t)p, &b))
		ended(&b, t - b.born);
	leave(saved);
}

/* Takes a block out that may come back. at: 0: it is not known. */
static struct block lift(void *p)
{
	struct block b = {.at = 0};
	int saved;
	if (!enter(&saved))
		return b;
	if (!state->record.file || !blocks_take(&state->blocks, (uintptr_t)p, &b))
		b.at = 0;
	leave(saved);
	return b;
}

/* How it ended: it is there still, as before, or gone. */
static void settle(const struct block *b, bool there)
{
	int saved;
	if (!b->at || !enter(&saved))
		return;
	if (!there || !blocks_put(&state->blocks, b))
		ended(b, now() - b->born);
	leave(saved);
}

/* ---- what lies below the entry points, while it is on ------------------------------------- */

static void *below_malloc(size_t size)
{
	const void *caller = take_asker();
	void *p = below.malloc(size);
	if (p)
		note_new(p, size, caller, NULL);
	return p;
}

static void *below_calloc(size_t n, size_t size)
{
	const void *caller = take_asker();
	void *p = below.calloc(n, size);
	if (p)
		note_new(p, n * size, caller, NULL);
	return p;
}

static void *below_memalign(size_t align, size_t size)
{
	const void *caller = take_asker();
	void *p = below.memalign(align, size);
	if (p)
		note_new(p, size, caller, NULL);
	return p;
}

static void *below_realloc(void *p, size_t size)
{
	const void *caller = take_asker();
	struct block old = lift(p);
	void *q = below.realloc(p, size);
	if (q)
		note_new(q, size, caller, &old);
	else
		settle(&old, size != 0);
	return q;
}

static void below_free(void *p)
{
	note_gone(p);
	below.free(p);
}

/* ---- start --------------------------------------------------------------------------------- */

static bool make_state(void)
{
	void *p = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	if (syscall(SYS_madvise, p, sizeof *state, MADV_WIPEONFORK)) {
		munmap(p, sizeof *state);
		return false;
	}
	state = p;
	return true;
}

bool profile_start(void)
{
	static const struct shim_below ours = {below_malloc, below_calloc, below_realloc, below_free, below_memalign, NULL};
	if (!make_state() || !started() || !shim_below_wrap(&ours, &below))
		return false;
	rules_bounds = (struct rules_bounds){.lowest = 0, .count = SIZE_MAX, .exact = true};
	return true;
}
