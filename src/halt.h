/*
 * halt.h - the other threads of this process stay out of an arena while one of
 * them forks.
 *
 * The child's copy of the arena is made before the fork, the rest of its
 * memory is copied by the fork. What is allocated or freed in between the
 * child would know of, and its copy not: libc alone has lists of which a child
 * frees or resizes what other threads put there (of threads' stacks, of files).
 * So from before the copy until the fork is over, malloc and free wait.
 *
 * Who waits may hold a lock that libc's fork wants. So once the copy is made
 * they wait for HALT_MS at most, all of a fork's together.
 */
#ifndef SHMB_HALT_H
#define SHMB_HALT_H

#include "arena.h"
#include "error.h"

/*
 * Of the forking thread. When it returns nobody else is in a call, or some take
 * long and are not waited for. `meanwhile`, unless NULL, is called again and
 * again until then: what it does for those that it keeps waiting itself.
 */
void halt_begin(struct shmb_arena *a, void (*meanwhile)(void *), void *opaque);
void halt_limit(struct shmb_arena *a); /* the copy is made */
void halt_end(struct shmb_arena *a);   /* in the parent, and in the child */

/* Of a thread that has said it is in a call, after that. */
enum { HALT_NOT, HALT_COPYING, HALT_FORKING, HALT_STATES = 4 }; /* and times that the number of the halt */
static inline bool halted(const struct shmb_arena *a)
{
	return unlikely(atomic_load_explicit(&a->halt, memory_order_relaxed) % HALT_STATES != HALT_NOT);
}

/* Of one that has left again. False: it may go on although the halt is not over. */
bool halt_wait(struct shmb_arena *a);

#endif
