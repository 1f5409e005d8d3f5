/*
 * shadow.h - what checkers of memory are told of an arena's blocks, in builds
 * for AddressSanitizer (SAN=address) and valgrind (SAN=valgrind). In any other
 * build nothing. See shadow.c.
 */
#ifndef SHMB_SHADOW_H
#define SHMB_SHADOW_H

#include "arena.h"

#if defined(__has_feature) && !defined(__SANITIZE_ADDRESS__) /* clang */
#if __has_feature(address_sanitizer)
#define __SANITIZE_ADDRESS__ 1
#endif
#endif

#if defined(__SANITIZE_ADDRESS__) || defined(SHMB_VALGRIND)

/* The arena is mapped; it is going to be unmapped. */
void shadow_open(struct shmb_arena *a);
void shadow_close(struct shmb_arena *a);

/* A look at what others have done: whoever comes into the slow path. */
void shadow_note(struct shmb_arena *a);

/* A block is the program's, `size` bytes of it; it has another size, of `bytes` in place of `had`; all of it may be used. */
void shadow_issue(struct shmb_arena *a, void *p, uint64_t size);
void shadow_resize(struct shmb_arena *a, void *p, uint64_t had, uint64_t bytes, uint64_t size);
void shadow_usable(const struct shmb_arena *a, const void *p, uint64_t bytes);

/* A ref or a box leads to this block: it may be another process's. */
void shadow_reach(const struct shmb_arena *a, const void *p);

/* A block is free; mine: this process issues it next. */
void shadow_free(struct shmb_arena *a, void *p, uint64_t bytes, bool mine);

/* The blocks of a magazine are this process's to issue; or anybody's. */
void shadow_take(struct shmb_arena *a, const struct mag_shm *m);
void shadow_give(struct shmb_arena *a, const struct mag_shm *m);

/* So is that range; all of the arena. */
void shadow_leave(const struct shmb_arena *a, void *p, uint64_t len);
void shadow_leave_all(struct shmb_arena *a);

#else

#define shadow_open(a) ((void)0)
#define shadow_close(a) ((void)0)
#define shadow_note(a) ((void)0)
#define shadow_issue(a, p, size) ((void)0)
#define shadow_usable(a, p, bytes) ((void)0)
#define shadow_reach(a, p) ((void)0)
#define shadow_free(a, p, bytes, mine) ((void)0)
#define shadow_resize(a, p, had, bytes, size) ((void)0)
#define shadow_take(a, m) ((void)0)
#define shadow_give(a, m) ((void)0)
#define shadow_leave(a, p, len) ((void)0)
#define shadow_leave_all(a) ((void)0)

#endif
#endif
