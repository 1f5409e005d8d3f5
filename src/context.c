/*
 * context.c - a thread's record in the region, without which it has no
 * caches, and what its process knows of it.
 *
 * A thread has one context for each arena it has used, chained from a
 * thread-specific key; the key's destructor gives them back. Context number i
 * of an arena goes with thread record i of the region, which is taken by
 * compare-and-swap of its owner word. When all records are taken a thread
 * works without caches.
 *
 * The one thread-local variable leads to a record. It is initial-exec: 8 bytes
 * fit the surplus that the loader keeps for any dlopen(). Threads may outlive
 * the arena of their record, so records are mapped a second time outside the
 * region's own mapping; at the close private memory takes that one's place.
 */
#include "context.h"

#include "error.h"
#include "halt.h"
#include "magazine.h"
#include "once.h"
#include "shadow.h"
#include "sys.h"
#include "tenure.h"

#include <errno.h>
#include <sys/mman.h>

struct thread_shm context_busy = {.handle = (uint64_t)-1};
struct thread_shm context_idle = {.handle = (uint64_t)-2};
struct thread_shm context_gone = {.handle = (uint64_t)-3};
static struct shmb_arena *const closed_arena = (struct shmb_arena *)-4;
__thread struct thread_shm *context_current = &context_idle;

enum { CONTEXTS_LEN = THREADS * sizeof(struct tctx), RECORDS_LEN = THREADS * sizeof(struct thread_shm) };

static pthread_key_t key; /* head of the thread's chain */

/* ---- records -------------------------------------------------------------------- */

static bool record_commit(struct shmb_arena *a, unsigned i)
{
	enum { PER_PAGE = PAGE / sizeof(struct thread_shm) };
	uint32_t ready = threads_ready(a);
	if (i < ready)
		return true;
	unsigned end = (i / PER_PAGE + 1) * PER_PAGE;
	char *first = a->map + a->lay.threads + (uint64_t)ready / PER_PAGE * PAGE;
	if (sys_populate(first, (uint64_t)(a->map + a->lay.threads + (uint64_t)end / PER_PAGE * PAGE - first)))
		return false;
	hint_raise(&a->hdr->threads_ready, end);
	return true;
}

static bool record_take(struct shmb_arena *a, unsigned *number)
{
	for (unsigned i = 0; i < THREADS; i++) {
		holder_t nobody = 0;
		if (!record_commit(a, i))
			return false;
		/* in the mapping where it was given back, so that tools that go by addresses see the one before the other */
		if (atomic_compare_exchange_strong(&a->records[i].owner, &nobody, atomic_load(&a->hold))) {
			*number = i;
			return true;
		}
	}
	return false;
}

static struct tctx *context_make(struct shmb_arena *a)
{
	unsigned number;
	if (!record_take(a, &number))
		return NULL;
	struct tctx *t = &a->contexts[number];
	hint_raise(&a->contexts_high, number + 1);
	*t = (struct tctx){
		.arena = a, .shm = &a->records[number], .number = number, .hold = atomic_load(&a->hold)};
	magazine_init(t);
	atomic_store(&t->shm->tenure, atomic_load(&a->holder));
	atomic_store(&t->shm->left, 0);
	context_mark(t->shm, a);
	return t;
}

/* A context that an exiting thread parked with its backlog. */
static struct tctx *context_unpark(struct shmb_arena *a)
{
	struct tctx *t = NULL;
	if (!atomic_load_explicit(&a->parked, memory_order_relaxed))
		return NULL;
	setup_lock();
	t = atomic_load(&a->parked); /* none of a hold that was taken: renewing forgets them */
	if (t) {
		atomic_store(&a->parked, t->next);
		atomic_store(&t->shm->left, 0);
	}
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
		atomic_store(&t->arena, NULL);
		atomic_store(&t->shm->handle, 0);
		atomic_store(&t->shm->owner, 0);
		return;
	}
	atomic_store(&t->shm->left, 1);
	t->next = atomic_load(&t->arena->parked);
	atomic_store(&t->arena->parked, t);
}

/* The thread has its record no more in use: the later of it and the evictor gives that back. */
static void record_leave(struct tctx *t)
{
	holder_t emptied = t->hold | EMPTIED;
	atomic_store(&t->arena, NULL);
	atomic_store(&t->shm->left, 1);
	(void)atomic_compare_exchange_strong(&t->shm->owner, &emptied, 0);
}

/* At the thread's end. */
static void context_end_locked(struct tctx *t)
{
	struct shmb_arena *a = t->arena;
	bool held = hold_try(a);
	if (held && t->hold == atomic_load(&a->hold))
		context_free_locked(t);
	else
		record_leave(t);
	if (held)
		hold_leave(a);
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
	while (t && atomic_load_explicit(&t->arena, memory_order_relaxed) != a)
		t = t->next;
	return t;
}

/* Lets the hot path know of tables that were committed since. */
static void limit_note(struct shmb_arena *a)
{
	uint64_t units = units_ready(a);
	uint64_t grains = (units < SMALL_UNITS ? units : SMALL_UNITS) << (UNIT_SHIFT - GRAIN_SHIFT);
	if (atomic_load_explicit(&a->limit, memory_order_relaxed) < grains)
		atomic_store_explicit(&a->limit, grains, memory_order_relaxed);
}

/* The process lost its hold: the context goes out of the thread's chain. */
static void context_evicted(struct tctx *t)
{
	struct tctx *head = pthread_getspecific(key), **p = &head;
	while (*p != t)
		p = &(*p)->next;
	*p = t->next;
	(void)pthread_setspecific(key, head);
	record_leave(t);
}

/* A thread that used this arena last, with nobody after its process's hold: the usual case. */
static bool enter_by_record(struct shmb_arena *a, struct entered *e)
{
	if (!context_is_of(e->before, a))
		return false;
	struct tctx *t = &a->contexts[e->before - a->records];
	if (!hold_try_own(a, t->shm, t->hold))
		return false;
	e->how = ENTRY_CONTEXT;
	e->context = t;
	limit_note(a);
	return true;
}

static struct entered enter(struct shmb_arena *a)
{
	struct entered e = {.how = ENTRY_NESTED, .before = context_get()};
	if (e.before == &context_busy || context_is_of(e.before, NULL))
		return e;
	context_set(&context_busy);
	shadow_note(a);
	if (enter_by_record(a, &e))
		return e;
	e.how = ENTRY_BARE;
	if (!atomic_load_explicit(&a->holder, memory_order_acquire) && tenure_renew(a))
		return e;
	hold_enter(a);
	e.held = a;
	if (e.before == &context_gone)
		return e;
	e.context = context_is_of(e.before, a) ? &a->contexts[e.before - a->records] : context_find(a);
	if (e.context && unlikely(e.context->hold != atomic_load_explicit(&a->hold, memory_order_relaxed))) {
		context_evicted(e.context);
		e.before = &context_idle;
		e.context = NULL;
	}
	if (!e.context)
		e.context = context_new(a);
	if (e.context) {
		e.how = ENTRY_CONTEXT;
		e.before = e.context->shm;
		limit_note(a);
	}
	return e;
}

struct entered context_enter(struct shmb_arena *a)
{
	struct entered e = enter(a);
	for (bool waits = true; waits && halted(a) && e.how != ENTRY_NESTED; e = enter(a)) {
		context_leave(&e);
		waits = halt_wait(a);
	}
	return e;
}

void context_leave(const struct entered *e)
{
	if (e->held)
		hold_leave(e->held);
	else if (e->context)
		hold_leave_own(e->context->shm);
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
			context_end_locked(t);
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

static int key_make(void)
{
	return pthread_key_create(&key, release_thread);
}

int context_setup(void)
{
	static once_t once;
	return once_try(&once, key_make);
}

/* ---- the memory of contexts and records ------------------------------------------ */

/* The records' second mapping begins so far before them, and is so long: it is of whole granules of the file. */
struct records_map {
	uint64_t skip, len;
};

static struct records_map records_map(const struct shmb_arena *a)
{
	uint64_t granule = a->region->granule, skip = a->lay.threads & (granule - 1);
	return (struct records_map){skip, round_up(skip + RECORDS_LEN, granule)};
}

static char *records_mapped(const struct shmb_arena *a)
{
	return (char *)a->records - records_map(a).skip;
}

int context_map(struct shmb_arena *a, int fd)
{
	void *contexts, *records;
	int err = sys_map(NULL, CONTEXTS_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0,
	                  &contexts);
	if (err)
		return err;
	struct records_map m = records_map(a);
	err = sys_map(NULL, m.len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, a->lay.threads - m.skip, &records);
	if (err) {
		sys_unmap(contexts, CONTEXTS_LEN);
		return err;
	}
	a->contexts = contexts;
	atomic_store(&a->contexts_high, 0);
	a->records = (struct thread_shm *)(void *)((char *)records + m.skip);
	return 0;
}

int context_deny(struct shmb_arena *a)
{
	return sys_dontfork(records_mapped(a), records_map(a).len);
}

int context_absent(struct shmb_arena *a)
{
	return sys_unmap(records_mapped(a), records_map(a).len);
}

/* The calling thread's context of `a`, out of its chain; the record goes with the tenure. */
static void drop_own(struct shmb_arena *a)
{
	struct tctx *head = pthread_getspecific(key), **p = &head;
	while (*p && (*p)->arena != a)
		p = &(*p)->next;
	if (!*p)
		return;
	atomic_store(&(*p)->arena, closed_arena);
	if (context_get() == (*p)->shm)
		context_set(&context_idle);
	*p = (*p)->next;
	(void)pthread_setspecific(key, head);
}

/* Threads besides the calling one that may look at their records still. */
static bool others_have(struct shmb_arena *a)
{
	const struct tctx *own = context_find(a);
	for (unsigned i = 0; i < atomic_load(&a->contexts_high); i++)
		if (a->contexts[i].arena == a && &a->contexts[i] != own)
			return true;
	return false;
}

/* Private records in place of the region's. A call in between takes its thread for interrupted: it goes round. */
static void records_close(struct shmb_arena *a)
{
	for (unsigned i = 0; i < atomic_load(&a->contexts_high); i++)
		if (a->contexts[i].arena == a) {
			atomic_store(&a->contexts[i].arena, closed_arena);
			context_mark(&a->records[i], closed_arena);
		}
}

int context_unmap(struct shmb_arena *a)
{
	void *at;
	if (!a->contexts)
		return 0;
	bool others = others_have(a);
	int err = others ? sys_map(records_mapped(a), records_map(a).len, PROT_READ | PROT_WRITE,
	                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0, &at)
	                 : 0;
	if (err)
		return err;
	drop_own(a);
	if (others) {
		records_close(a);
	} else {
		sys_unmap(records_mapped(a), records_map(a).len);
		sys_unmap(a->contexts, CONTEXTS_LEN);
	}
	a->contexts = NULL;
	a->records = NULL;
	return 0;
}

void context_forget(void)
{
	(void)pthread_setspecific(key, NULL);
	context_set(&context_idle);
}
