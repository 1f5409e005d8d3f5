/*
 * preload_api.h - what the preload shim needs besides the public header.
 *
 * A snapshot is a private copy of what an arena holds, at another address,
 * made before a fork and put in the region's place in the child: the child
 * sees its parent's blocks as fork promises, and the parent goes on sharing.
 */
#ifndef SHMB_PRELOAD_API_H
#define SHMB_PRELOAD_API_H

#include "rule.h"
#include "shmbind.h"
#include "window.h" /* window_has(): may a pointer be ours? */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct snapshot {
	void *memory; /* NULL: none; nothing lived, and nobody else could have changed that */
	size_t size;
	bool packed;
	bool moment; /* writes of other threads were held: it is of one moment */
};

/*
 * Copies every live page of `a`, data first and tables last, so that each
 * block that a copied pointer leads to is known. Other threads may write
 * meanwhile: each page is as it was at some moment during the call. With
 * `moment` all pages are as they were at one, for all writes of this process,
 * where that can be had, which takes time; some writes of the kernel fail then (freeze.c).
 * Where there are other threads, what they allocate and free waits from now on
 * until the snapshot is discarded or adopted (halt.h).
 */
int preload_snapshot_take(shmb_arena *a, struct snapshot *s, bool moment);

/* Registers the library's fork handlers now: those that are registered later are called before them, and then after. */
int preload_handle_forks(void);

/*
 * Has the process one thread? Then until the fork is over the library's
 * handlers take no locks. Not while another thread forks.
 */
bool preload_fork_alone(void);

/* In the parent, after the fork. */
void preload_snapshot_discard(shmb_arena *a, struct snapshot *s);

/* In the child: the copy is the arena from now on, and nothing more is issued from it. */
int preload_snapshot_adopt(shmb_arena *a, struct snapshot *s);

/*
 * Keeps the arena's memory from the children of this process, those that no
 * handler hears of too. In a child's handler preload_absent() then does so
 * whatever came of it: preload_free() ignores pointers into it, nothing else
 * of ours may touch them.
 */
int preload_deny(shmb_arena *a);
int preload_absent(shmb_arena *a);

/*
 * Lowers what this process can ever use of the arena, and with it the address
 * space that it takes: to `bytes` of data, or what is in use if that is more.
 */
void preload_shrink(shmb_arena *a, uint64_t bytes);
bool preload_is_absent(const shmb_arena *a);

/*
 * malloc and free, by the names that the linker gives them in the shim: the
 * hot path where the size is placed and the block is ours, else the shim's own
 * functions, which decide by themselves. `caller` is an address in the code
 * that asked. The library by itself has no such functions, nor calls these.
 */
#define SHIM_ENTRY __attribute__((visibility("default")))
SHIM_ENTRY void *preload_malloc(size_t size);
SHIM_ENTRY void preload_free(void *p);
void *preload_malloc_for(size_t size, const void *caller);
#define OF_THE_SHIM __attribute__((weak, visibility("hidden")))
OF_THE_SHIM void *preload_malloc_otherwise(size_t size, const void *caller);
OF_THE_SHIM void preload_free_otherwise(void *p);

/* malloc's hot path for a request of a size in preload_ask() that is no such one; NULL: it is not for this way. */
void *preload_malloc_known(size_t size);

/* malloc_usable_size, calloc and realloc, where no rule needs to be asked; 0 and NULL: they are not for this way, nothing has happened. */
size_t preload_usable(const void *p);
void *preload_calloc(size_t bytes);
void *preload_resize(void *p, size_t size);

/* Where preload_malloc() places; NULL: nowhere. */
void preload_place(shmb_arena *a);

/* ---- rules: follow.c ---------------------------------------------------------------- */

/*
 * At the start: these rules, of which `text` is all, are to be seen in `a` and
 * changed from outside from now on. Nothing of a full region.
 */
void preload_rules_begin(shmb_arena *a, const char *text, const struct rule *rules, unsigned n, bool off);

/* Has somebody changed them? One load more than none, on the path of requests that are not placed. */
extern const _Atomic uint32_t *preload_rules_word __attribute__((visibility("hidden")));
extern uint32_t preload_rules_gen __attribute__((visibility("hidden")));
static inline bool preload_rules_changed(void)
{
	return __builtin_expect(atomic_load_explicit(preload_rules_word, memory_order_relaxed) != preload_rules_gen, 0);
}

/* The text as it is now, to a room of RULES_TEXT bytes. Its generation; 0: it is just being changed, try again later. */
uint32_t preload_rules_read(shmb_arena *a, char *text, bool *off);

/*
 * The way to them, by one thread at a time; the others go on meanwhile, each
 * request by the earlier ones or by these. preload_rules_use(NULL, 0); then
 * preload_rules_enter(), which is false where they have changed again; the
 * shim's own are set; preload_rules_use(these); preload_rules_follow().
 * refused: the text cannot be followed here, and what was goes on.
 */
bool preload_rules_enter(shmb_arena *a, uint32_t gen, unsigned n);
void preload_rules_follow(shmb_arena *a, uint32_t gen, bool refused);

/* From now on there is no region whose rules could change. */
void preload_rules_end(void);

/* What goes the hot path by these rules, as far as `n` of them; n = 0: nothing. */
void preload_rules_use(const struct rule *rules, unsigned n);

/* At the start, a few times: some malloc of so many bytes is not to be placed, whatever the rules say; the shim knows which. */
void preload_ask(size_t size);

/* A request that rule number `rule` decided about; where it was placed, at `p`. */
void preload_count(shmb_arena *a, unsigned rule, size_t size);
void preload_count_placed(shmb_arena *a, unsigned rule, void *p);

/* Rules as they are shown, and what they did, for a program that has no region. */
struct preload_rule {
	const char *text;
	unsigned len;
	bool places; /* or keeps out */
	uint64_t hits, bytes;
};

/* What a request counts as: up to 56 KiB the size of its class. */
uint64_t preload_bytes(size_t size);

/* The table of rules by itself, for a program that has no region. */
void preload_rules_print(const struct preload_rule *rules, unsigned n, shmb_write_cb *write, void *opaque, bool json);

/* Counts a request that the rule chose and that went to the ordinary heap. */
void preload_count_fallback(shmb_arena *a, unsigned rule);

/*
 * Does p lie in a region that this process shares with others, not in a
 * snapshot? *n: the bytes from p on, at most len, of which that is true too.
 */
bool preload_shared(const void *p, size_t len, size_t *n);

/*
 * Writes zeros to what lies in units that are in use; the rest stays as it is.
 * For all of the range preload_shared() is true. Whatever its protection.
 * False: no memory for that.
 */
bool preload_zero(void *p, size_t len);

/* Unlinks what this process owns: for _exit, from any context. */
void preload_exit(void);

#endif
