/*
 * shim.h - the preload shim.
 *
 *   interpose.c  libc's allocation entry points, and nothing else; cxx.c: C++'s
 *   policy.c     the environment, once, into a decision for each request
 *   fork.c       which region a process uses: at start, after fork, at its end
 *   memory.c     what the kernel does to heap memory: madvise, mlockall
 *   limit.c      a program that limits its own address space
 *   deepbind.c   modules that look for libc's malloc first
 *   stderr.c     is descriptor 2 still what the program was started with?
 *   leave.c      the ways out that run no destructor: _exit and exec
 */
#ifndef SHMBIND_SHIM_H
#define SHMBIND_SHIM_H

#include "shmbind.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define likely(e) __builtin_expect(!!(e), 1)
#define unlikely(e) __builtin_expect(!!(e), 0)

/* ---- policy.c ------------------------------------------------------------- */

enum shim_fork { FORK_COPY, FORK_SHARE, FORK_DENY };
enum shim_full { FULL_FALLBACK, FULL_ENOMEM, FULL_ABORT };

struct policy {
	bool active;
	bool named_by_pid; /* the region's name has %p */
	bool keep;
	enum shim_fork fork;
	enum shim_full full;
	unsigned log;
	uint64_t size; /* 0: not said */
	const char *region, *place;
	const char *stats, *run; /* NULL: not said */
};

extern struct policy policy;

/* Sizes from `lowest` on, `count` of them, cover every rule that places: others need no look. */
struct policy_bounds {
	size_t lowest, count; /* count - 1, so that all sizes fit */
	bool exact;           /* and each of these sizes is placed */
};
extern struct policy_bounds policy_bounds;

bool policy_rules_want(size_t size);
bool policy_rules_want_all(size_t least, size_t most); /* every size from `least` to `most`? */

/* Does a request of `size` bytes belong into the region? A compare where no rule can match. */
static inline bool policy_wants(size_t size)
{
	if (size - policy_bounds.lowest > policy_bounds.count)
		return false;
	return policy_bounds.exact || policy_rules_want(size);
}

/* Reads the environment. False: this process takes no part (said on stderr where that is a mistake). */
bool policy_read(void);

/* Expands %p and %e. False: too long. */
bool policy_expand(const char *pattern, char *out, size_t len);

/* One line on stderr, with write(2), from `level` on. */
void shim_say(unsigned level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- fork.c ---------------------------------------------------------------- */

/* The arena that chosen requests go to; NULL: none at this moment. Also known to preload_place(). */
extern shmb_arena *_Atomic shim_arena;

/* Where there is none: the one that this process may open now, or NULL. */
shmb_arena *shim_arena_late(void);

/* A chosen request found no room. True: the ordinary heap may serve it. */
bool shim_full(shmb_arena *a);

/* ---- interpose.c, deepbind.c ----------------------------------------------- */

/* Our entry points, ended by a NULL name. NULL: what lies below them is not known yet. */
struct shim_entry {
	const char *name;
	const void *ours;
};
const struct shim_entry *shim_entries(void);

/* Modules that are loaded with RTLD_DEEPBIND find our entry points, not libc's. */
void shim_reach_deepbind(void);

/* ---- stderr.c --------------------------------------------------------------- */

/* False: it is closed, or the number has come to stand for something else. */
bool shim_stderr_is_as_was(void);

/* ---- leave.c --------------------------------------------------------------- */

/* Unlinks or keeps what this process owns. From any context. */
void shim_leave(void);

#endif
