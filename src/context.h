/*
 * context.h - a thread's part in an arena: its record in the region, which is
 * what the hot path reads, and what only its process knows of it. See context.c.
 */
#ifndef SHMB_CONTEXT_H
#define SHMB_CONTEXT_H

#include "arena.h"
#include "window.h"

/* The private half of thread record `number`, in lines of its own: each thread writes to its own at every refill. */
struct tctx {
	_Alignas(64) _Atomic(struct shmb_arena *) arena; /* who closes it writes here, too */
	struct thread_shm *shm; /* in the arena's second mapping of the records */
	struct tctx *next; /* the same thread's, in other arenas */
	unsigned number;   /* of the thread record */
	holder_t hold;
	uint8_t batch[CLASSES]; /* blocks that the next fill from the engine asks for */
	uint32_t backlog_bytes; /* that the magazines in the backlog have room for */
	uint32_t pool_at;       /* index of the magazine that it gave back to the pool last */
	uint64_t random; /* state, in a hardened region */
};

/*
 * The calling thread's record in the arena it used last; &context_busy while
 * it is in a slow path, and the record's `handle` 0 while it is on the hot
 * one, so that a signal handler's nested call goes round the magazines;
 * &context_idle before the first call; &context_gone once the thread's
 * destructors have run. These three have handles that no caller can name.
 */
extern __thread struct thread_shm *context_current __attribute__((tls_model("initial-exec")));
extern struct thread_shm context_busy, context_idle, context_gone;

static inline struct thread_shm *context_get(void)
{
	return __atomic_load_n(&context_current, __ATOMIC_RELAXED);
}

/*
 * Is it a record of this arena, and the thread not on the hot path? Only its
 * own thread writes the handle, and who closes the arena: to a thread that is
 * elsewhere then either value says so. One aligned load in any case; of an
 * atomic one gcc makes an instruction more, so only ThreadSanitizer gets that.
 */
static inline bool context_is_of(const struct thread_shm *r, const struct shmb_arena *a)
{
#if defined(__SANITIZE_THREAD__) /* window.h sees to it that clang says so, too */
	return atomic_load_explicit(&r->handle, memory_order_relaxed) == (uintptr_t)a;
#else
	return *(const uint64_t *)&r->handle == (uintptr_t)a;
#endif
}

/* The compiler moves nothing across: what a signal handler sees is what the code says. */
static inline void context_set(struct thread_shm *r)
{
	atomic_signal_fence(memory_order_seq_cst);
	__atomic_store_n(&context_current, r, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
}

/* The hot path's mark: NULL on the way in. It stores what the caller passed, so no call waits for the last one's store. */
static inline void context_mark(struct thread_shm *r, const struct shmb_arena *a)
{
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&r->handle, (uintptr_t)a, memory_order_release);
	atomic_signal_fence(memory_order_seq_cst);
}

/* How a slow call came in: with a context, without one, or from a handler inside another call. */
enum entry { ENTRY_CONTEXT, ENTRY_BARE, ENTRY_NESTED };

struct entered {
	enum entry how;
	struct tctx *context; /* ENTRY_CONTEXT */
	struct thread_shm *before; /* what context_leave() puts back */
	struct shmb_arena *held;   /* hold_leave() is due; else, with a context, hold_leave_own() */
};

struct entered context_enter(struct shmb_arena *a);
void context_leave(const struct entered *e);

/* Empties the calling thread's caches of every arena and gives its records back: as its end does. */
void context_release_thread(void);

/*
 * The memory of contexts and records for an arena that is mapped and not yet
 * open; and at its close, when no context leads to it any more: where other
 * threads still have theirs that memory stays.
 */
int context_map(struct shmb_arena *a, int fd);
int context_unmap(struct shmb_arena *a);

int context_deny(struct shmb_arena *a);   /* keeps the records from children */
int context_absent(struct shmb_arena *a); /* in a child: they are not there, whatever came of that */

/* In a forked child: its one thread has no contexts any more. */
void context_forget(void);

int context_setup(void); /* once, before the first arena is opened */

#endif
