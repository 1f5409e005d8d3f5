/*
 * shim.h - the preload shim.
 *
 *   interpose.c  libc's allocation entry points, and nothing else; cxx.c: C++'s
 *   policy.c     the environment, once
 *   rules.c      which requests belong into the region
 *   site.c       whose code asked; symbols.c: in which function
 *   fork.c       which region a process uses: at start, after fork, at its end
 *   profile.c    what a program allocates, where nothing is placed; record.c, blocks.c
 *   atfork.c     its handlers before all others'
 *   unheld.c     what must not be write-protected
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

enum shim_fork { FORK_COPY, FORK_PAGES, FORK_SHARE, FORK_DENY };
enum shim_full { FULL_FALLBACK, FULL_ENOMEM, FULL_ABORT };

struct policy {
	bool active;
	bool named_by_pid; /* the region's name has %p */
	bool keep;
	bool dry_run; /* nothing is placed */
	enum shim_fork fork;
	enum shim_full full;
	unsigned log;
	uint64_t size; /* 0: not said */
	const char *region, *place;
	const char *stats, *run; /* NULL: not said */
	const char *profile;     /* the directory for records; NULL: none, else dry_run is set */
};

extern struct policy policy;

/* Reads the environment. False: this process takes no part (said on stderr where that is a mistake). */
bool policy_read(void);

/* Expands %p and %e. False: too long. */
bool policy_expand(const char *pattern, char *out, size_t len);

const char *policy_executable(void); /* its path */

/* One line on stderr, or where that was taken to, with write(2), from `level` on. */
extern int shim_say_fd;
void shim_say(unsigned level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* ---- rules.c -------------------------------------------------------------- */

enum { RULES = 64, RULE_NAME = 32 };

struct word {
	const char *s;
	unsigned len;
};

/* Sizes from `lowest` on, `count` of them, cover every rule that places: others need no look. */
struct rules_bounds {
	size_t lowest, count; /* count - 1, so that all sizes fit */
	bool exact;           /* and each of these sizes is placed, by the only rule */
};
extern struct rules_bounds rules_bounds;

static inline bool rules_may_place(size_t size)
{
	return size - rules_bounds.lowest <= rules_bounds.count;
}

/* Where the block that is to be resized lies. */
enum held { HELD_NOT, HELD_HEAP, HELD_REGION };

/* The number of the rule that decides about a request by the code at `caller`; -1: none. */
int rules_decide(size_t size, const void *caller, enum held held);
bool rules_places(int rule);

/* The rule that places every size from `least` to `most`, whoever asks; -1: none. */
int rules_place_all(size_t least, size_t most);

/* The first rule that may decide about it; -1: none. */
int rules_first(size_t size);

/* In a dry run, and in its forked child. */
void rules_count(int rule, size_t size);
void rules_uncount(void);

/* How they are shown, with what was counted here. Returns how many. */
struct preload_rule;
unsigned rules_describe(struct preload_rule *out);

/* Takes the rules in; they point into `text` from then on. False: *bad does not parse; empty: there is no rule. */
bool rules_parse(const char *text, struct word *bad);
bool rules_ask_site(void);

/* "64K": digits and at most one of K M G T. False: something else, or too large. */
bool parse_size(const char *s, const char *end, uint64_t *out);

/* ---- site.c --------------------------------------------------------------- */

struct site_names {
	uint64_t bits[2]; /* which patterns match the object's name */
};

struct site {
	bool found; /* the rest is set */
	const struct link_map *object; /* NULL: it is no object's code */
	uintptr_t caller;
	struct site_names names;
};

/* Once, before any site_find(). `executable`: its path. False: there is no way to find objects here. */
bool site_setup(const char *executable);

/* A shell pattern for names of objects, with path or without: its number. At most 2 * RULES. */
unsigned site_pattern(struct word glob);

void site_find(struct site *s, const void *caller);
const char *site_object_name(const struct site *s); /* of one that has an object: as the loader has it */
bool site_named(const struct site *s, unsigned pattern);
bool site_at(const struct site *s, uint64_t offset);
bool site_within(const struct site *s, unsigned symbol);

/* The calling thread's name, as the kernel has it. */
bool thread_named(struct word glob);

/* *, ?, [a-z], [!a-z]; by bytes. */
bool word_matches(struct word glob, const char *text);

/* ---- symbols.c ------------------------------------------------------------ */

unsigned symbol_new(struct word name); /* its number; at most RULES */

/* Once, when they are all known: what the files say of the objects that are loaded now. */
void symbols_read(void);

/* Is there a function of that name at `at`, an address in `object`? */
bool symbol_covers(unsigned symbol, const struct link_map *object, uintptr_t at);

/* ---- interpose.c, for cxx.c and profile.c ----------------------------------- */

void *shim_memalign(size_t align, size_t size, const void *caller);

struct shim_below {
	void *(*malloc)(size_t);
	void *(*calloc)(size_t, size_t);
	void *(*realloc)(void *, size_t);
	void (*free)(void *);
	void *(*memalign)(size_t, size_t);
	size_t (*usable_size)(void *);
};

/* What is not placed goes to `ours` from now on, but usable_size; *theirs: where it went. False: that is not known yet. */
bool shim_below_wrap(const struct shim_below *ours, struct shim_below *theirs);

/* ---- profile.c -------------------------------------------------------------- */

/* False: it cannot be done. */
bool profile_start(void);

/* Who makes the calling thread's next request of what lies below. */
void profile_caller(const void *caller);

/* ---- fork.c ---------------------------------------------------------------- */

/* The arena that chosen requests go to; NULL: none at this moment. Also known to preload_place(). */
extern shmb_arena *_Atomic shim_arena;

/* Where there is none: the one that this process may open now, or NULL. */
shmb_arena *shim_arena_late(void);

/* Once, at the first of all calls that register handlers, or at the start. Only where the shim is active. */
void shim_handle_forks(void);

/* Between the handlers before a fork and those after it: may locks be other threads', so that they are to be taken? */
bool shim_fork_locks(void);

/* A chosen request found no room. True: the ordinary heap may serve it. */
bool shim_full(shmb_arena *a, unsigned rule);

/* ---- interpose.c, deepbind.c ----------------------------------------------- */

/* Our entry points, ended by a NULL name. NULL: what lies below them is not known yet. */
struct shim_entry {
	const char *name;
	const void *ours;
};
const struct shim_entry *shim_entries(void);

/* Modules that are loaded with RTLD_DEEPBIND find our entry points, not libc's. */
void shim_reach_deepbind(void);

/* ---- unheld.c --------------------------------------------------------------- */

/* False: the kernel writes to the program's memory in ways that fail where other writes wait. */
bool shim_may_hold_writes(void);

/* ---- stderr.c --------------------------------------------------------------- */

/* False: it is closed, or the number has come to stand for something else. */
bool shim_stderr_is_as_was(void);

/* ---- leave.c --------------------------------------------------------------- */

/* Unlinks or keeps what this process owns. From any context. */
void shim_leave(void);

#endif
