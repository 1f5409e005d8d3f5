/*
 * context.h - a thread's private view of an arena: what the hot path reads.
 * See context.c.
 */
#ifndef SHMB_CONTEXT_H
#define SHMB_CONTEXT_H

#include "arena.h"

/* The loaded magazine of a class, its count and capacity beside it: the shared count is only written here. */
struct loaded {
	struct mag_shm *m; /* never NULL: an empty magazine of no rounds stands for none */
	uint32_t count, rounds;
};

struct tctx {
	struct shmb_arena *ready; /* arena; NULL while the thread is on the hot path */
	struct shmb_arena *arena; /* compared first; the sentinels have one that no caller can name */
	char *data;
	uint64_t limit; /* grains of data that have a block map and committed tables, as last seen */
	_Atomic span_t *spans;
	block_t *blocks;
	struct thread_shm *shm;
	struct tctx *next; /* the same thread's, in other arenas */
	unsigned number;   /* of the thread record */
	holder_t holder;
	struct loaded loaded[BLOCK_CLASS_MASK + 1]; /* any byte of the block map leads to one */
	uint8_t batch[CLASSES]; /* blocks that the next fill from the engine asks for */
};

/*
 * The calling thread's context of the arena it used last; &context_busy while
 * it is in a slow path, and `ready` NULL while it is on the hot one, so that a
 * signal handler's nested call goes round the magazines; &context_idle before the first call; &context_gone
 * once the thread's destructors have run.
 */
extern __thread struct tctx *context_current __attribute__((tls_model("initial-exec")));
extern struct tctx context_busy, context_idle, context_gone;

static inline struct tctx *context_get(void)
{
	return __atomic_load_n(&context_current, __ATOMIC_RELAXED);
}

/* The compiler moves nothing across: what a signal handler sees is what the code says. */
static inline void context_set(struct tctx *t)
{
	atomic_signal_fence(memory_order_seq_cst);
	__atomic_store_n(&context_current, t, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
}

/* The hot path's mark. It stores what the caller passed, so no call waits for the last one's store. */
static inline void context_mark(struct tctx *t, struct shmb_arena *ready)
{
	atomic_signal_fence(memory_order_seq_cst);
	__atomic_store_n(&t->ready, ready, __ATOMIC_RELAXED);
	atomic_signal_fence(memory_order_seq_cst);
}

/* How a slow call came in: with a context, without one, or from a handler inside another call. */
enum entry { ENTRY_CONTEXT, ENTRY_BARE, ENTRY_NESTED };

struct entered {
	enum entry how;
	struct tctx *context; /* ENTRY_CONTEXT */
	struct tctx *before;  /* what context_leave() puts back */
};

struct entered context_enter(struct shmb_arena *a);
void context_leave(const struct entered *e);

/* Empties the calling thread's caches of every arena and gives its records back: as its end does. */
void context_release_thread(void);

/*
 * At the close of `a`: no context leads to it any more. True: other threads
 * still have theirs, so the memory of the contexts has to stay.
 */
bool context_drop(struct shmb_arena *a);

/* In a forked child: its one thread has no contexts any more. */
void context_forget(void);

void context_setup(void); /* once, before the first arena is opened */

#endif
