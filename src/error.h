/* error.h - result codes for people, and the one way this library dies. */
#ifndef SHMB_ERROR_H
#define SHMB_ERROR_H

#include <stdint.h>

/*
 * Writes "shmbind: WHAT(PTR): WHY [in REGION]" to stderr with write(2) alone
 * and aborts. For mistakes of the program that must not go on: misuse of a
 * pointer, a contradiction in what this process controls.
 */
_Noreturn void fatal_pointer(const char *what, const void *ptr, const char *why, const char *region);

/* "shmbind: WHAT(PTR): a block of SIZE bytes, WHY [in REGION]" */
_Noreturn void fatal_block(const char *what, const void *ptr, uint64_t size, const char *why, const char *region);

/* The same for a broken invariant of this process's own. */
_Noreturn void fatal_assert(const char *file, int line, const char *expr);

#define ASSERT(e) ((e) ? (void)0 : fatal_assert(__FILE__, __LINE__, #e))

#define likely(e) __builtin_expect(!!(e), 1)
#define unlikely(e) __builtin_expect(!!(e), 0)

#endif
