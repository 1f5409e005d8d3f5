/*
 * shim.h - the preload shim.
 *
 *   interpose.c  libc's allocation entry points, and nothing else; cxx.c: C++'s
 *   policy.c     the environment, once
 *   rules.c      which requests belong into the region
 *   change.c     other rules, while the program runs
 *   site.c       whose code asked; symbols.c: in which function
 *   fork.c       which region a process uses: at start, after fork, at its end
 *   libc.c       requests of libc's own that are left to it
 *   profile.c    what a program allocates, where nothing is placed; record.c, blocks.c
 *   atfork.c     its handlers before all others'
 *   stack.c      a fork on a stack that is a placed block
 *   unheld.c     what must not be write-protected
 *   memory.c     what the kernel does to heap memory: madvise, mlockall
 *   limit.c      a program that limits its own address space
 *   deepbind.c   modules that look for libc's malloc first
 *   stderr.c     is descriptor 2 still what the program was started with?
 *   leave.c      the ways out that run no destructor: _exit and exec
 */
#ifndef SHMBIND_SHIM_H
#define SHMBIND_SHIM_H

#include "../src/preload_api.h"
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
	bool harden;
	bool small_pages;
	bool dry_run; /* nothing is placed */
	enum shim_fork fork;
	enum shim_full full;
	unsigned log;
	uint64_t size; /* 0: not said */
	const char *region, *place;
	const char *path;        /* NULL: the shm directory */
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

enum { RULES_SETS = 2 };
struct rules_set;

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
struct decision {
	int rule;
	bool places;
};
struct decision rules_decide(size_t size, const void *caller, enum held held);

/*
 * A set of these rules, not in force yet; by one thread at a time. NULL: *bad
 * does not parse; it is empty and there is no rule; or *site and there is no
 * way to find out who asks.
 */
struct rules_set *rules_load(const char *text, bool off, bool *site, struct word *bad);
void rules_take(struct rules_set *s);

/* Their text, and what it says; of NULL: of those in force. */
struct rules_shown {
	const char *text;
	const struct rule *rules;
	unsigned n;
	bool off;
};
struct rules_shown rules_shown(const struct rules_set *s);

/* In a dry run, and in its forked child. */
void rules_count(int rule, size_t size);
void rules_uncount(void);

/* How they are shown, with what was counted here. Returns how many. */
unsigned rules_describe(struct preload_rule *out);

/* What words that say nothing point to: as long as any word. */
extern const char rules_nothing[RULES_TEXT];

/* ---- change.c -------------------------------------------------------------- */

/* Takes in what the rules are now, where preload_rules_changed() says so. */
void rules_change(void);

/* In a forked child. */
void rules_change_forked(void);

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

/* Once, at the start. `executable`: its path. */
void site_setup(const char *executable);

/* Is there a way to find objects here? */
bool site_possible(void);

/* Of a set of rules: nobody has read it; its patterns are none. */
void site_begin(unsigned set);
void site_clear(unsigned set);

/* A shell pattern for names of objects, with path or without: its number. At most 2 * RULES. */
unsigned site_pattern(unsigned set, struct word glob);

/* Whose code it is; and which of a set's patterns match its name. */
void site_locate(struct site *s, const void *caller);
void site_find(unsigned set, struct site *s, const void *caller);
const char *site_object_name(const struct site *s); /* of one that has an object: as the loader has it */
bool site_named(const struct site *s, unsigned pattern);
bool site_at(const struct site *s, uint64_t offset);
bool site_within(unsigned set, const struct site *s, unsigned symbol);

/* The calling thread's name, as the kernel has it. */
bool thread_named(struct word glob);

/* *, ?, [a-z], [!a-z]; by bytes. */
bool word_matches(struct word glob, const char *text);

/* ---- symbols.c ------------------------------------------------------------ */

/* Once, at the start: which objects there are. */
void symbols_setup(void);

/* As site_begin() and site_clear(). */
void symbols_begin(unsigned set);
void symbols_clear(unsigned set);

unsigned symbol_new(unsigned set, struct word name); /* its number; at most RULES */

/* Once all of a set are known: what the files say. */
void symbols_read(unsigned set);

/* Is there a function of that name at `at`, an address in `object`? */
bool symbol_covers(unsigned set, unsigned symbol, const struct link_map *object, uintptr_t at);

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

/* What is not placed goes to `ours` from now on, as far as they are not NULL; *theirs: where it went. False: that is not known yet. */
bool shim_below_wrap(const struct shim_below *ours, struct shim_below *theirs);

/* ---- libc.c ----------------------------------------------------------------- */

/* Other threads' values of pthread_setspecific: libc's calloc for them. */
enum { LIBC_VALUES = 32, LIBC_VALUE = 16 };

/* Once, before anything is placed. */
void libc_setup(void);

/* Is it a request of libc's own which is not to be placed? */
bool libc_keeps(size_t size, const void *caller);

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
bool shim_handle_forks(void); /* false: none can be had */

/* A chosen request found no room. True: the ordinary heap may serve it. */
bool shim_full(shmb_arena *a, unsigned rule);

/* ---- interpose.c, stack.c, deepbind.c --------------------------------------- */

/* Entry points of ours, ended by a NULL name: malloc and the like, fork and the like. NULL: what lies below is not known yet. */
struct shim_entry {
	const char *name;
	const void *ours;
};
const struct shim_entry *shim_entries(void);
const struct shim_entry *shim_forks(void);

/* ours_f(): ours, whatever the program itself may define by that name. */
#if __has_attribute(copy) /* gcc warns of an alias with fewer attributes */
#define AS(f) alias(#f), copy(f)
#else
#define AS(f) alias(#f)
#endif
#define OURS(f) extern __typeof__(f) ours_##f __attribute__((AS(f), visibility("hidden")))

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
