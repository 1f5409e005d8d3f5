/*
 * context.c - a thread's private view of an arena, and its record in the
 * region, without which it has no caches.
 *
 * A thread has one context for each arena it has used, chained from a
 * thread-specific key; the key's destructor gives them back. Context number i
 * of an arena goes with thread record i of the region, which is taken by
 * compare-and-swap of its owner word. When all records are taken a thread
 * works without caches.
 *
 * The one thread-local variable is initial-exec: 8 bytes fit the surplus that
 * the loader keeps for any dlopen().
 */
#include "context.h"

#include "error.h"
#include "magazine.h"
#include "sys.h"
#include "tenure.h"

#include <errno.h>

struct tctx context_busy = {.arena = (struct shmb_arena *)-1, .ready = (struct shmb_arena *)-1};
struct tctx context_idle = {.arena = (struct shmb_arena *)-2, .ready = (struct shmb_arena *)-2};
struct tctx context_gone = {.arena = (struct shmb_arena *)-3, .ready = (struct shmb_arena *)-3};
static struct shmb_arena *const closed_arena = (struct shmb_arena *)-4;
__thread struct tctx *context_current = &context_idle;

static pthread_key_t key; /* head of the thread's chain */

/* ---- records -------------------------------------------------------------------- */

static bool record_commit(struct shmb_arena *a, unsigned i)
{
	enum { PER_PAGE = PAGE / sizeof(struct thread_shm) };
	uint32_t ready = atomic_load(&a->hdr->threads_ready);
	if (i < ready)
		return true;
	unsigned end = (i / PER_PAGE + 1) * PER_PAGE;
	char *first = a->map + a->lay.threads + (uint64_t)ready / PER_PAGE * PAGE;
	if (sys_populate(first, (uint64_t)(a->map + a->lay.threads + end / PER_PAGE * PAGE - first)))
		return false;
	while (ready < end && !atomic_compare_exchange_weak(&a->hdr->threads_ready, &ready, end))
		;
	return true;
}

static bool record_take(struct shmb_arena *a, unsigned *number)
{
	for (unsigned i = 0; i < THREADS; i++) {
		holder_t nobody = 0;
		if (!record_commit(a, i))
			return false;
		if (atomic_compare_exchange_strong(&a->threads[i].owner, &nobody, atomic_load(&a->holder))) {
			*number = i;
			return true;
		}
	}
	return false;
}

static uint64_t grains_ready(const struct shmb_arena *a)
{
	uint64_t units = units_ready(a);
	return (units < SMALL_UNITS ? units : SMALL_UNITS) << (UNIT_SHIFT - GRAIN_SHIFT);
}

static struct tctx *context_make(struct shmb_arena *a)
{
	unsigned number;
	if (!record_take(a, &number))
		return NULL;
	struct tctx *t = &a->contexts[number];
	*t = (struct tctx){.ready = a,
	                   .arena = a,
	                   .data = a->data,
	                   .spans = a->spans,
	                   .blocks = a->blocks,
	                   .limit = grains_ready(a),
	                   .shm = &a->threads[number],
	                   .number = number,
	                   .holder = atomic_load(&a->holder)};
	magazine_init(t);
	return t;
}

/* A context that an exiting thread parked with its backlog. */
static struct tctx *context_unpark(struct shmb_arena *a)
{
	struct tctx *t = NULL;
	if (!atomic_load_explicit(&a->parked, memory_order_relaxed))
		return NULL;
	setup_lock();
	t = atomic_load(&a->parked);
	if (t)
		atomic_store(&a->parked, t->next);
	setup_unlock();
	return t;
}

/*
 * Gives the record back; with a backlog that nobody takes, to the next thread
 * of this process. Under setup_lock: the arena is not closed meanwhile.
 */
static void context_free_locked(struct tctx *t)
{
	if (magazine_flush_thread(t)) {
		t->arena = NULL;
		atomic_store(&t->shm->owner, 0);
		return;
	}
	t->next = atomic_load(&t->arena->parked);
	atomic_store(&t->arena->parked, t);
}

static struct tctx *context_new(struct shmb_arena *a)
{
	struct tctx *t = context_unpark(a);
	if (!t)
		t = context_make(a);
	if (!t)
		return NULL;
	atomic_store(&t->shm->tid, sys_tid());
	t->next = pthread_getspecific(key);
	if (pthread_setspecific(key, t)) {
		setup_lock();
		context_free_locked(t);
		setup_unlock();
		return NULL;
	}
	return t;
}

static struct tctx *context_find(struct shmb_arena *a)
{
	struct tctx *t = pthread_getspecific(key);
	while (t && t->arena != a)
		t = t->next;
	return t;
}

struct entered context_enter(struct shmb_arena *a)
{
	struct entered e = {.how = ENTRY_NESTED, .before = context_get()};
	if (e.before == &context_busy || !__atomic_load_n(&e.before->ready, __ATOMIC_RELAXED))
		return e;
	context_set(&context_busy);
	e.how = ENTRY_BARE;
	if (!atomic_load_explicit(&a->holder, memory_order_acquire) && tenure_renew(a))
		return e;
	if (e.before == &context_gone)
		return e;
	e.context = e.before->arena == a ? e.before : context_find(a);
	if (!e.context)
		e.context = context_new(a);
	if (e.context) {
		e.how = ENTRY_CONTEXT;
		e.before = e.context;
		e.context->limit = grains_ready(a);
	}
	return e;
}

void context_leave(const struct entered *e)
{
	if (e->how != ENTRY_NESTED)
		context_set(e->before);
}

/* The key's destructor: empties the thread's caches of every arena and gives its records back. */
static void release_thread(void *head)
{
	struct tctx *t = head;
	context_set(&context_busy);
	while (t) {
		setup_lock(); /* a thread that was joined may still be on its way out when the arena closes */
		struct tctx *next = t->next;
		if (t->arena != closed_arena)
			context_free_locked(t);
		setup_unlock();
		t = next;
	}
	context_set(&context_gone);
}

void context_release_thread(void)
{
	void *head = pthread_getspecific(key);
	(void)pthread_setspecific(key, NULL);
	release_thread(head);
}

void context_setup(void)
{
	ASSERT(pthread_key_create(&key, release_thread) == 0);
}

bool context_drop(struct shmb_arena *a)
{
	struct tctx *head = pthread_getspecific(key), **p = &head;
	bool others = false;
	while (*p && (*p)->arena != a)
		p = &(*p)->next;
	if (*p) {
		(*p)->arena = (*p)->ready = closed_arena;
		*p = (*p)->next; /* the record goes with the tenure */
		(void)pthread_setspecific(key, head);
	}
	if (context_get()->arena == closed_arena)
		context_set(&context_idle);
	uint32_t records = atomic_load(&a->hdr->threads_ready);
	for (unsigned i = 0; i < records && i < THREADS; i++) {
		if (a->contexts[i].arena == a) {
			a->contexts[i].arena = a->contexts[i].ready = closed_arena;
			others = true;
		}
	}
	return others;
}

void context_forget(void)
{
	(void)pthread_setspecific(key, NULL);
	context_set(&context_idle);
}
