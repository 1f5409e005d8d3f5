/*
 * layout.h - the bytes of an arena region: structures, offsets, invariants.
 * No code but arithmetic. docs/design.md describes the format in prose.
 *
 * Everything here is read by other processes, of which any may die between
 * any two stores. So each moving thing has one word that is the truth about
 * it, changed by one store or one compare-and-swap; all else is a hint that
 * can be wrong, and is found wrong when used.
 *
 *   what                 the truth                        hints
 *   a unit               its span word                    used and dirty bitmaps
 *   a small block        "listed in a magazine that       -
 *                        names a holder" beats its byte
 *                        in the block map
 *   a magazine           its holder word; a depot or      used bitmap
 *                        inbox cell beats it
 *   a thread record      its owner word                   -
 *   a box                its word                         used bitmap
 *   a box's name         the name's word                  -
 *   what a live block    -                                its tag, the owner of its class
 *   counts for
 *   the rules in force   header.rules_gen                 -
 *   a slot               its lease (a kernel lock);       pid, since, name
 *                        then its words
 *   a region's owner     its lease                        owner_pid
 *
 * Invariants (check.c walks them)
 *   - units at or past units_ready have a zero span word and were never committed
 *   - a SMALL unit's pages and block map are committed; a FREE|DIRTY one's pages;
 *     the block map of a unit whose map bit is set
 *   - a large run is one HEAD with n units and n-1 CONT words that count their distance
 *   - a block map byte is not `none` only in a SMALL unit, at a multiple of the
 *     page's class size from its phase
 *   - a magazine lists blocks of its own class only, each listed nowhere else
 *   - in a hardened region the last 8 bytes of a block that is live or cached are its
 *     canary, the bytes of a cached one before that JUNK
 */
#ifndef SHMB_LAYOUT_H
#define SHMB_LAYOUT_H

#include "class.h"
#include "rule.h"
#include "shmbind.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

#define REGION_MAGIC "SHMBIND"
enum { REGION_VERSION = 7, REGION_PROBE = 0x01020304 };

enum {
	SLOTS = SHMB_SLOTS,
	THREADS = 4096,        /* threads with caches at a time, of all processes */
	MAGS = 1 << 16,
	MAG_SHIFT = 8,
	HOT = 64,
	DEPOT_CELLS = 61,
	INBOX_CELLS = 16,
	CHUNK_UNITS = 512,     /* units whose tables are committed together: one page of span words */
	RUN_TAG = 32,
	PROC_NAME = 16,
	BOXES = 1 << 20,
	NAME_BUCKETS = 4096,
	NAMES_PER_BUCKET = 16,
	NAME_TEXT = 112,
	RULE_ENTRIES = 128,    /* as many as two sets of rules have */
	RULE_TEXT = 96
};
#define UNITS_MAX ((uint64_t)1 << 26) /* 4 TiB of data */
#define SMALL_UNITS ((uint64_t)1 << 20) /* small blocks live in the first 64 GiB: 32-bit grains */

/*
 * A holder names a process's tenure of a slot: (slot + 1) and the slot's
 * generation. 0 is nobody. Recovery raises the generation, which makes every
 * word that carries the old one stale at once.
 *
 * Units of small blocks, thread records and magazines name a second
 * generation, that of the process's hold on them, marked by HOLD: an idle
 * process can lose these to others without losing its slot (evict.c).
 */
typedef uint32_t holder_t;
enum { GEN_BITS = 20, GEN_MASK = (1 << GEN_BITS) - 1 };
#define HOLD ((holder_t)1 << 31)
#define EMPTIED ((holder_t)1 << 30) /* in the owner of a thread record */

static inline holder_t holder_make(unsigned slot, uint32_t gen)
{
	return (holder_t)(slot + 1) << GEN_BITS | (gen & GEN_MASK);
}
static inline holder_t hold_make(unsigned slot, uint32_t gen) { return HOLD | holder_make(slot, gen); }
#define HOLDER_EVICTOR holder_make(SLOTS, 0) /* of magazines between two places; never current */
static inline unsigned holder_slot(holder_t h) { return ((h & ~(HOLD | EMPTIED)) >> GEN_BITS) - 1; }

/* ---- header page -------------------------------------------------------- */

enum { HEADER_HARDENED = 1 }; /* blocks end with a canary, free ones are filled with JUNK: canary.c */

struct header_shm {
	char magic[8];
	uint32_t version;
	uint32_t probe; /* REGION_PROBE in the creator's byte order */
	uint64_t file_size;
	uint64_t capacity; /* bytes of data: units * UNIT */
	uint64_t base;     /* the address it is mapped at wherever that is free */
	uint64_t data_off;
	uint64_t created_ns;
	int32_t creator_pid;
	uint32_t layout_crc; /* over sizeof and offsetof of what is below: catches skew */
	char creator_name[PROC_NAME];
	char run[RUN_TAG];
	/* from here on it changes */
	_Atomic uint64_t units_ready;   /* tables of units below this are committed */
	_Atomic uint32_t mags_ready;    /* magazines below this are committed */
	_Atomic uint32_t threads_ready; /* thread records below this are committed */
	_Atomic uint32_t slots_high;    /* slots below this were taken at some time */
	_Atomic uint32_t owner_pid;     /* for people */
	_Atomic uint64_t units_used;    /* about: recounted by recovery */
	_Atomic uint64_t units_dirty;   /* about: free but populated */
	_Atomic uint64_t trimmed_ms;    /* when some of these last went, by CLOCK_MONOTONIC */
	_Atomic uint32_t recoveries;    /* dead slots recovered */
	_Atomic uint32_t orphans;       /* stale span words may exist: units still to be looked at */
	_Atomic uint64_t enomem;        /* requests refused */
	_Atomic uint64_t fallbacks;     /* preload: requests that went to the ordinary heap */
	_Atomic uint64_t orphan_cursor; /* unit where the pass over stale spans goes on */
	_Atomic uint32_t boxes_ready;   /* box entries below this are committed */
	_Atomic uint32_t names_ready;   /* 1: the buckets' heads are committed */
	_Atomic uint32_t boxes_abandoned; /* recoveries that may have left boxes to be reclaimed; wraps */
	_Atomic uint32_t boxes_looked;    /* boxes_abandoned when somebody last looked through to the end */
	_Atomic uint64_t boxes_dropped;   /* by their owner */
	_Atomic uint64_t boxes_reclaimed; /* a dead owner's, with their destructor */
	_Atomic uint64_t boxes_raw;       /* a dead owner's, without */
	_Atomic holder_t evictor;         /* lock: who takes holds from the idle; tried, and taken from the dead */
	_Atomic uint32_t evictions;       /* holds taken from the idle */
	/* preload. A line of its own: every request looks whether the first has changed */
	_Alignas(64) _Atomic uint32_t rules_gen; /* which bank has the rules in force; 0: there are none */
	_Atomic uint32_t rules;           /* entries of rules that were ever used: these are committed */
	_Atomic uint32_t tags;            /* 1: there may be tags of small blocks */
	_Atomic holder_t ruler;           /* lock: who changes the rules; tried, and taken from the dead */
	/* and this does not change */
	uint64_t key[2]; /* of the canaries: see canary.c */
	uint32_t flags;  /* HEADER_HARDENED */
	uint32_t reserved;
};
static_assert(offsetof(struct header_shm, units_ready) == 112, "the fixed part is 112 bytes");
static_assert(sizeof(struct header_shm) <= PAGE, "one page");

/* ---- depot: one a class ------------------------------------------------- */

/*
 * cells[0..count) are full or partly full magazines: their number and, as a
 * tag, that of the thread that put it there plus one. Under `lock`, which is
 * tried and never waited for. A cell beats a thread record.
 *   push: cell, count, then the pusher's record lets go of it
 *   pop:  the magazine's holder word = me, my transit, count, my pair
 *   pop below the top:  the top's holder word = me, my discard, count; the
 *         magazine's holder word = me, my transit, cell = the top's; discard = 0
 * A kill in between leaves it in the depot and in the dead one's record; the
 * recoverer, holding the lock, leaves to the depot what the depot lists, and
 * to others what their holder word says. used_ms: when a magazine was last put in
 * or taken out, the low bits of CLOCK_MONOTONIC; a hint.
 */
struct depot_shm {
	_Atomic holder_t lock;
	_Atomic uint32_t count;
	_Atomic uint32_t used_ms;
	_Atomic uint32_t cells[DEPOT_CELLS];
};
static_assert(sizeof(struct depot_shm) == 256, "four lines");

/* ---- slots -------------------------------------------------------------- */

enum { SLOT_FREE, SLOT_LIVE };

/*
 * word = generation << 8 | state. Changed only by the holder of the slot's
 * lease: on attach to LIVE, on leave or recovery to FREE with the generation
 * raised. inbox: magazines of blocks that others want this process to take
 * back, with a part of the hold's generation that they are meant for: those of
 * a stale one are the evictor's. post: cell 0 -> m. receive: m's holder = me,
 * then cell -> 0.
 *
 * hold = generation << 1 | being evicted. busy: threads of the process in a
 * slow path whose records do not say so; not 0: nobody else may raise the
 * generation.
 */
struct slot_shm {
	_Atomic uint32_t word;
	_Atomic int32_t pid;        /* for people: as its own namespace sees it */
	_Atomic uint64_t since;     /* for people: when it attached, ns since the epoch */
	char name[PROC_NAME];
	_Atomic uint32_t inbox[INBOX_CELLS];
	_Atomic uint32_t strays;    /* 1: blocks of its spans were marked STRAY: to collect */
	_Atomic uint32_t moving;    /* in recovery: magazine between the inbox and another place */
	_Atomic uint32_t hold, busy;
	_Atomic uint32_t sweeping;  /* as moving, of the evictor */
	_Atomic uint32_t quick;     /* 1: registered for the quick barrier */
	_Atomic uint32_t rules;     /* for people: generation of the rules that the process follows; 0: none */
	_Atomic uint32_t refused;   /* the same, of rules that it could not take */
	uint32_t reserved[32];
};
static_assert(sizeof(struct slot_shm) == 256, "four lines");

/* ---- threads ------------------------------------------------------------ */

/*
 * A thread with caches. `owner` is 0 or the process's hold; only that process,
 * or whoever recovers it, writes here. Magazine numbers are stored plus one.
 *
 *   handle    the arena's handle in its process: of use to that thread only.
 *             0 while the thread is on the hot path of malloc or free
 *   tenure    of the process, which outlives its hold. An evictor that has
 *             emptied the record adds EMPTIED to the owner; it is free to take
 *             once `left` says that its thread knows and looks at it no more
 *   busy      1: the thread is in a slow path. Means nothing once the owner is another
 *   pairs[c]  the loaded and the previous magazine of a class: pair_make().
 *             One store swaps the two
 *   hot[c]    what the hot path looks at: the loaded magazine's number times
 *             the size of a magazine, its distance from `no magazine`, or 0.
 *             The thread sets it with the pair; an evictor sets it to 0.
 *             Indexed by the class bits of any block map byte, so there are
 *             more than classes
 *   transit, discard   magazines between two places. After a kill: if its
 *             holder word names this record and no pair, backlog, depot or
 *             inbox lists it, it is the record's to give on
 *   backlog   full magazines that found no other place, linked by `next`; in a hardened
 *             region the thread's quarantine, too (harden.c)
 *   hits      preload: requests that the rule of the class decided about. Only
 *             the record's thread writes it, and nobody sets it back: the sum
 *             over all records is for all threads that there ever were
 */
struct thread_shm {
	_Atomic uint64_t handle;
	_Atomic holder_t owner;
	_Atomic int32_t tid; /* for people */
	_Atomic uint32_t transit, discard;
	_Atomic uint32_t backlog;
	_Atomic uint32_t left;
	_Atomic holder_t tenure;
	_Atomic uint32_t busy;
	uint32_t reserved[6];
	_Atomic uint32_t hot[HOT];
	_Atomic uint64_t pairs[CLASSES];
	uint64_t hits[CLASSES];
	uint64_t reserved2[2];
};
static_assert(sizeof(struct thread_shm) == 1024, "sixteen lines");

/* Has the hot path find no magazine: its thread's next call of each class takes the slow one, which mends that. */
static inline void thread_close(struct thread_shm *t)
{
	for (unsigned c = 0; c < HOT; c++)
		if (atomic_load_explicit(&t->hot[c], memory_order_relaxed))
			atomic_store_explicit(&t->hot[c], 0, memory_order_relaxed);
}

/* Is its thread in a call? */
static inline bool thread_underway(const struct thread_shm *t)
{
	return !atomic_load(&t->handle) || atomic_load(&t->busy);
}

/* Two magazines' numbers plus one; 0: none. */
static inline uint64_t pair_make(uint32_t loaded, uint32_t previous) { return (uint64_t)previous << 32 | loaded; }
static inline uint32_t pair_loaded(uint64_t pair) { return (uint32_t)pair; }
static inline uint32_t pair_previous(uint64_t pair) { return (uint32_t)(pair >> 32); }

/* ---- magazines ---------------------------------------------------------- */

/*
 * holder = thread number << 32 | hold of the process that took it last; 0: free to take.
 * entries[0..count) are data offsets in grains.
 *   malloc: byte of the block map = LIVE, then count drops; of an entry below the
 *           top, in a hardened region: as if of the top; its own byte = LIVE, the
 *           entry = the top's block, that one's byte = CACHED
 *   free:   entry, count rises, then the byte = CACHED
 *   flush:  byte = NONE, count drops, then jemalloc has it; in an orphaned unit
 *           the flusher adopts the unit around the first two
 */
struct mag_shm {
	_Atomic uint64_t holder;
	_Atomic uint32_t count;
	uint32_t rounds; /* capacity, of its class */
	uint32_t class;
	uint32_t next; /* in a backlog: number plus one */
	uint32_t entries[MAG_ROUNDS];
};
static_assert(sizeof(struct mag_shm) == 1 << MAG_SHIFT, "four lines");

enum { CELL_BITS = 17 }; /* of the number in a cell of an inbox or a depot; above: a tag, of an inbox the hold */
static_assert(MAGS < 1 << CELL_BITS, "numbers plus one");
static_assert(THREADS + 2 < 1 << (32 - CELL_BITS), "and NO_THREAD");
static inline uint32_t cell_make(uint32_t number, holder_t hold) { return hold << CELL_BITS | number; }
static inline uint32_t cell_tag(uint32_t cell) { return cell >> CELL_BITS; }
static inline uint32_t cell_number(uint32_t cell) { return cell & ((1u << CELL_BITS) - 1); }
static inline bool cell_meant_for(uint32_t cell, holder_t hold) { return cell >> CELL_BITS == hold << CELL_BITS >> CELL_BITS; }

enum { NO_THREAD = THREADS }; /* its recoverer has it, from the inbox */
static inline uint64_t mag_holder(unsigned thread, holder_t h) { return (uint64_t)thread << 32 | h; }

/* ---- span words --------------------------------------------------------- */

/*
 * One word a unit: kind << 60 | aux << 32 | holder.
 *   FREE   aux = SPAN_DIRTY: it is populated; SPAN_FRESH: and never written to, zeros
 *   TAKING on the way from FREE to something, or being emptied, by `holder`
 *   SMALL  pages of small blocks of `holder`'s jemalloc, a hold; a stale one:
 *          orphaned; aux = SPAN_ADOPTED: orphaned, `holder` is collecting from it
 *   HEAD   a large block of aux units starts here; `holder` allocated it
 *   CONT   aux units after its HEAD; one that no HEAD covers and whose holder is
 *          stale belongs to a change that never happened
 *
 * large malloc: TAKING all, commit, CONT from the last to the second, HEAD
 * large free:   HEAD -> TAKING (whoever does that has freed it), the CONT words
 *               -> TAKING, give back or keep the pages, FREE
 * grow:         TAKING the units after it, commit, CONT, then the HEAD's aux
 * shrink:       the HEAD's aux, then as free
 */
typedef uint64_t span_t;
enum span_kind { SPAN_FREE, SPAN_TAKING, SPAN_SMALL, SPAN_HEAD, SPAN_CONT, SPAN_KINDS };
enum { SPAN_DIRTY = 1, SPAN_FRESH = 2 }; /* aux of FREE and TAKING */
enum { SPAN_ADOPTED = 1 }; /* aux of SMALL */

static inline span_t span_make(enum span_kind kind, uint64_t aux, holder_t h)
{
	return (uint64_t)kind << 60 | aux << 32 | h;
}
static inline enum span_kind span_kind_of(span_t w) { return (enum span_kind)(w >> 60); }
static inline uint64_t span_aux(span_t w) { return w >> 32 & 0xfffffff; }
static inline holder_t span_holder(span_t w) { return (holder_t)w; }

/* ---- page words --------------------------------------------------------- */

/*
 * One word a page: (class + 1) | phase << 8; 0: no block was ever issued from
 * it since it was last free. phase: grains from the page's start to the first
 * block that starts at or after it. Written before a block that touches the
 * page is issued, cleared when jemalloc has given the page back.
 */
typedef uint32_t page_t;
static inline page_t page_make(unsigned class, uint32_t phase) { return (class + 1) | phase << 8; }
static inline unsigned page_class(page_t w) { return (w & 0xff) - 1; }
static inline uint32_t page_phase(page_t w) { return w >> 8; }

/* ---- boxes -------------------------------------------------------------- */

/*
 * word = state << 60 | generation << 32 | owner; `ref` is the object's.
 *   FREE      -> MAKING     who does that makes it; ref is set before the block is LIVE
 *   MAKING    -> READY      the initialiser has run; waiters are woken
 *   READY     -> DROPPING   by the owner: the destructor runs, the block is freed, -> FREE
 *   READY     -> KEPT       leaked: nobody's; own: -> READY
 *   MAKING, DROPPING of the dead -> HALF: to be freed without destructor
 *   READY of the dead -> ABANDONED: to be dropped by whoever comes by
 */
enum box_state { BOX_FREE, BOX_MAKING, BOX_READY, BOX_KEPT, BOX_DROPPING, BOX_HALF, BOX_ABANDONED, BOX_STATES };

struct box_shm {
	_Atomic uint64_t word;
	_Atomic uint64_t ref;  /* of the object: offset in the region; 0: none yet */
	_Atomic uint64_t type; /* its id */
	_Atomic uint32_t wake; /* futex of those who wait for the state to change */
	_Atomic uint32_t name; /* number of its name plus one; 0: anonymous */
};
static_assert(sizeof(struct box_shm) == 32, "half a line");

static inline uint64_t box_make(enum box_state s, uint32_t gen, holder_t h)
{
	return (uint64_t)s << 60 | (uint64_t)(gen & 0xfffffff) << 32 | h;
}
static inline enum box_state box_state_of(uint64_t w) { return (enum box_state)(w >> 60); }
static inline uint32_t box_gen(uint64_t w) { return w >> 32 & 0xfffffff; }
static inline holder_t box_holder(uint64_t w) { return (holder_t)w; }

/* ---- names -------------------------------------------------------------- */

/*
 * A hash table whose entries do not move. word = box number plus one << 32 |
 * hash; 0: free. The text is written before the word. Inserting and removing
 * are under the lock of the name's group of buckets; looking is not.
 */
struct name_shm {
	_Atomic uint64_t word;
	char text[NAME_TEXT];
	uint64_t reserved;
};
static_assert(sizeof(struct name_shm) == 128, "two lines");

/* `spilled`: names of this home bucket were put into others of its group, too. */
struct bucket_shm {
	_Atomic holder_t lock;
	_Atomic uint32_t waiters;
	_Atomic uint32_t committed; /* 1: its names' page is there */
	_Atomic uint32_t spilled;
};
static_assert(sizeof(struct bucket_shm) == 16, "a quarter line");

/* ---- rules -------------------------------------------------------------- */

/*
 * What a rule of a preloaded program did. hits, bytes, fallbacks only rise. To
 * these come the hits in the thread records, of the classes that are its own.
 * What lives is found by walking the blocks; the sum is for the peak (tally.c).
 *
 *   sum      bytes that count for it now: what is out of its classes, and its tags'
 *   peak     the most that was
 */
struct rule_shm {
	_Alignas(64) _Atomic uint64_t hits; /* requests that it decided about */
	_Atomic uint64_t bytes;       /* what they count as */
	_Atomic uint64_t fallbacks;   /* chosen, and served by the ordinary heap */
	uint64_t hash;   /* of the whole text: a rule that comes again goes on counting */
	uint64_t places; /* 0: it keeps requests out */
	_Alignas(64) _Atomic int64_t sum;
	_Atomic int64_t peak;
	uint64_t reserved[2];
	char text[RULE_TEXT];
};
static_assert(sizeof(struct rule_shm) == 192, "three lines");

/*
 * A set of rules. Two banks take turns: header.rules_gen says by its lowest
 * bit which one is in force, the other is whoever's who has the lock `ruler`
 * and is written anew. One store changes the set: after a kill it is the one
 * or the other. A reader copies, and looks whether `gen` is what it was.
 *
 *   entry    of each rule, its number in the table
 *   counts   the entry that the threads' hits of a class count for; RULE_NONE
 *   owner    the entry that blocks of a class without a tag count for; RULE_NONE
 *   tagged   several rules place in the class: what the shim issues there has a tag
 *   base     the threads' hits of a class when the set came into force: no part of its
 *   carry    and the part of them that was an entry's before
 */
struct rules_bank {
	_Atomic uint32_t gen; /* 0: it is being written */
	uint32_t n, off;      /* off: they place nothing at present */
	uint32_t text_len;    /* of the table `rule_text`; without a NUL */
	uint8_t entry[RULES];
	uint8_t counts[64], owner[64], tagged[64];
	uint64_t base[CLASSES];
	struct {
		uint64_t hits, bytes;
	} carry[RULE_ENTRIES];
};

struct rules_shm {
	_Alignas(64) _Atomic int64_t out[CLASSES]; /* bytes of blocks without tags, live or free in a thread's magazine */
	_Atomic uint8_t attributed[64]; /* in whose sum these are: its number plus one; 0: nobody's */
	struct rules_bank banks[2];
	struct rule_shm rules[RULE_ENTRIES];
};

/*
 * A tag is an entry's number plus one; 0: none. Of a small block it is in the
 * table `tags`, one a grain, of a large one in `unit_tags`, one a unit, at its
 * start. Written by who has the block: the issuer, and whoever's magazine it
 * is in, before that goes elsewhere. The page of `tags` for a unit is there
 * where its tag bit is set.
 */
typedef _Atomic uint8_t tag_t;

/* ---- offsets ------------------------------------------------------------ */

/*
 * Where the tables are: a function of the capacity alone, so a header cannot
 * lie about it. What stands for `no magazine`, with neither blocks nor room,
 * is the zeros between the depots and the first magazine.
 */
static_assert(CLASSES * sizeof(struct depot_shm) % PAGE <= PAGE - sizeof(struct mag_shm), "no magazine");
struct layout {
	uint64_t units;
	uint64_t slots, depots, mags, threads, mag_bits;
	uint64_t boxes, box_bits, buckets, names, rules, rule_text;
	uint64_t spans, used_bits, dirty_bits, map_bits, tag_bits, unit_tags, pages, blockmap, tags;
	uint64_t data, size;
};

static inline uint64_t round_up(uint64_t v, uint64_t to) { return (v + to - 1) & ~(to - 1); }

static inline struct layout layout_of(uint64_t units)
{
	struct layout l = {.units = units};
	uint64_t at = PAGE;
	uint64_t small = units < SMALL_UNITS ? units : SMALL_UNITS;
#define TABLE(name, bytes) (l.name = at, at = round_up(at + (bytes), PAGE))
	TABLE(slots, SLOTS * sizeof(struct slot_shm));
	TABLE(depots, CLASSES * sizeof(struct depot_shm));
	TABLE(mags, (uint64_t)MAGS * sizeof(struct mag_shm));
	TABLE(threads, THREADS * sizeof(struct thread_shm));
	TABLE(mag_bits, MAGS / 8);
	TABLE(boxes, (uint64_t)BOXES * sizeof(struct box_shm));
	TABLE(box_bits, BOXES / 8);
	TABLE(buckets, NAME_BUCKETS * sizeof(struct bucket_shm));
	TABLE(names, (uint64_t)NAME_BUCKETS * NAMES_PER_BUCKET * sizeof(struct name_shm));
	TABLE(rules, sizeof(struct rules_shm));
	TABLE(rule_text, 2 * RULES_TEXT);
	uint64_t tables = round_up(units, CHUNK_UNITS);
	TABLE(spans, tables * sizeof(span_t));
	TABLE(used_bits, round_up(tables, 64) / 8);
	TABLE(dirty_bits, round_up(tables, 64) / 8);
	TABLE(map_bits, round_up(tables, 64) / 8);
	TABLE(tag_bits, round_up(tables, 64) / 8);
	TABLE(unit_tags, tables);
	TABLE(pages, tables * UNIT_PAGES * sizeof(page_t));
	TABLE(blockmap, small * (UNIT / GRAIN));
	TABLE(tags, small * (UNIT / GRAIN));
#undef TABLE
	l.data = round_up(at, 2u << 20); /* huge pages line up */
	l.size = l.data + units * UNIT;
	return l;
}

#endif
