/*
 * shmbind.h - named shared-memory regions with one owner, an arena in them
 * that any attached process allocates from, and typed boxes.
 *
 * This header is the manual; README.md is the tour and docs/design.md the why.
 *
 * Conventions
 *
 *   Results    int functions return 0, a positive errno, or a negative
 *              SHMB_E... code; shmb_strerror() names all of them. The
 *              malloc-like functions return NULL and set errno, as malloc
 *              does. Nothing else here sets errno.
 *   Threads    Every function may be called from any thread, unless it says
 *              otherwise. Closing a handle while another thread uses it is
 *              the caller's mistake, as with free().
 *   fork       Handles stay valid in the child, as an attacher: the child is
 *              never the owner, never unlinks, and takes a slot of its own in
 *              an arena at its first call.
 *   Signals    shmb_malloc() and shmb_free() may be called from a handler that
 *              interrupted either of them: no block is handed out twice and
 *              nothing deadlocks. The other functions are not
 *              async-signal-safe. The library installs no signal handler.
 *   Names      "/feed" or "feed": 1 to 254 bytes after the slash, no further
 *              slash, not "." or "..". They live in the shm directory
 *              (/dev/shm), so shm_open() finds them too. "/mnt/fabric/feed", with
 *              a further slash, is the whole path of a region on any mounted file
 *              system that has shared mappings and locks: at most 255 bytes; the
 *              directory exists. ENOENT, ENOTDIR, EACCES, EROFS: of that
 *              directory. EOPNOTSUPP: its file system cannot do it.
 */
#ifndef SHMBIND_H
#define SHMBIND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#ifdef __GNUC__
#pragma GCC visibility push(default)
#endif

#define SHMB_VERSION_MAJOR 0
#define SHMB_VERSION_MINOR 1
#define SHMB_VERSION_PATCH 0

/* The version of the library that runs, as "0.1.0". Static storage. */
const char *shmb_version(void);

/* ---- Errors ------------------------------------------------------------ */

enum shmb_error {
	SHMB_EFORMAT = -1,   /* not an arena region, or of another version or layout */
	SHMB_ECORRUPT = -2,  /* the region contradicts itself */
	SHMB_EOWNED = -3,    /* another live process owns it */
	SHMB_ENOTOWNER = -4, /* only the owner may do that */
	SHMB_EFOREIGN = -5,  /* the region belongs to another user */
	SHMB_EADDRESS = -6,  /* its address is taken here, and SHMB_FIXED was asked */
	SHMB_ESLOTS = -7,    /* as many processes are attached as the region has slots */
	SHMB_ETYPE = -8,     /* the box is of another type, size or alignment */
	SHMB_ETOOSMALL = -9, /* the region is smaller than what was asked of it */
	SHMB_EGONE = -10,    /* the name was removed, or now names another region */
	SHMB_ENORULES = -11  /* no program with rules for its allocations has put any there */
};

/* A message for any result of this library. Static or errno storage; never NULL. */
const char *shmb_strerror(int err);

/* ---- Regions ----------------------------------------------------------- */

/*
 * A region is one named shared-memory object and this process's mapping of
 * it. A raw region's bytes are the user's from offset 0. An arena region
 * starts with a header and belongs to the arena functions further down.
 */
typedef struct shmb_region shmb_region;

/* How an open came by its region. */
enum shmb_how {
	SHMB_CREATED = 1, /* made it, and owns it */
	SHMB_ATTACHED,    /* found it; somebody else owns it, or nobody does */
	SHMB_CLAIMED      /* found it, its owner dead; owns it now */
};

enum shmb_flag {
	SHMB_CREATE_ONLY = 1 << 0, /* EEXIST where the name exists and is not a dead owner's */
	SHMB_ATTACH_ONLY = 1 << 1, /* ENOENT where it does not exist; never claims */
	SHMB_READ_ONLY = 1 << 2,   /* implies ATTACH_ONLY; mapped PROT_READ, takes no slot */
	SHMB_ANY_USER = 1 << 3,    /* accept a region of another user */
	SHMB_FIXED = 1 << 4,       /* arena: at its own address or not at all */
	SHMB_REPLACE = 1 << 5,     /* a dead owner's region is removed and made anew, not claimed */
	SHMB_REAPER = 1 << 6,      /* a small process waits and unlinks when this one dies */
	SHMB_SPARSE = 1 << 7,      /* raw: do not commit the memory on creation. Touching it may
	                              then be SIGBUS where the file system is full */
	SHMB_HARDENED = 1 << 8,    /* arena, on creation: every process that has it open verifies
	                              its blocks at free and realloc, and before it issues them;
	                              see shmb_arena_is_hardened() */
	SHMB_SMALL_PAGES = 1 << 9  /* arena: this process takes its memory in small pages only. The
	                              kernel waits for a worker of its own on every processor before
	                              it makes a huge one, which may be long where real-time threads
	                              keep processors to themselves */
};

typedef struct shmb_options {
	size_t size;    /* bytes. raw: of the object. arena: capacity for blocks, rounded up
	                   to 64 KiB, on hugetlbfs to huge pages. Required to create; on
	                   attach, if not 0, the least that will do (SHMB_ETOOSMALL).
	                   Address space, not memory: the object is sparse */
	unsigned mode;  /* permission bits, exact whatever the umask; 0 means 0600 */
	unsigned flags; /* enum shmb_flag */
	const char *run; /* arena: a tag kept in the header, at most 31 bytes; `shmbind run` uses
	                    it to find what its command left. NULL: none */
} shmb_options;

/*
 * Opens the raw region `name`: attaches where it exists, claims it where its
 * owner died, creates it otherwise; complete or not at all, so that of any
 * number of racing openers exactly one creates. `opt` may be NULL to attach to
 * whatever size is there. On success `*out` is a handle to be given back with
 * shmb_region_close(). On failure nothing is left behind.
 *
 * EINVAL: bad name, zero size on creation, flags that exclude each other.
 * EFBIG: RLIMIT_FSIZE forbids the size. EEXIST, ENOENT: per the flags.
 * ENOMEM, ENOSPC: no room. EACCES, ELOOP, ENODEV: not a plain file of ours.
 */
int shmb_region_open(const char *name, const shmb_options *opt, shmb_region **out);

void *shmb_region_addr(const shmb_region *r);       /* first byte, page aligned */
size_t shmb_region_size(const shmb_region *r);      /* bytes of the object at open */
const char *shmb_region_name(const shmb_region *r); /* "/feed"; lives as long as r */
enum shmb_how shmb_region_how(const shmb_region *r);
int shmb_region_is_owner(const shmb_region *r); /* 1 in the process that unlinks it */

/*
 * Makes the calling process the owner. 0 also where it already is.
 * SHMB_EOWNED: another live process is. SHMB_EGONE: the name is not this
 * region's any more. EACCES: attached read-only.
 */
int shmb_region_own(shmb_region *r);

/*
 * Keeps the region: ownership ends, the name stays after every process has
 * left, and `shmbind gc` spares it. SHMB_ENOTOWNER otherwise.
 */
int shmb_region_leak(shmb_region *r);

/*
 * Unmaps the region and, in its owner, unlinks the name, if it is still this
 * region's. The handle and every pointer into a raw region are invalid
 * afterwards. NULL is allowed. What the owner has not closed is unlinked when
 * it leaves through exit(), a return from main, or quick_exit(); then nothing
 * is unmapped, since other threads may still run.
 */
int shmb_region_close(shmb_region *r);

/* A heap in a region; see below. */
typedef struct shmb_arena shmb_arena;

/* ---- Boxes --------------------------------------------------------------- */

/*
 * A type as both sides must name it. `name`, `size` and `align` identify it;
 * `drop` is this process's destructor for it, or NULL. A shmb_type must live
 * as long as any box of it; normally it is a static constant.
 */
typedef struct shmb_type {
	const char *name;
	size_t size;  /* bytes */
	size_t align; /* a power of two; at most 4096 for a box over a raw region */
	void (*drop)(void *obj);
} shmb_type;

/* The usual way to name a type: static const shmb_type point = SHMB_TYPE(struct point, NULL); */
#ifdef __cplusplus
#define SHMB_TYPE(T, drop) {#T, sizeof(T), alignof(T), drop}
#else
#define SHMB_TYPE(T, drop) {#T, sizeof(T), _Alignof(T), drop}
#endif

/*
 * A box is one object of a type, with an owner: over a whole raw region, or in
 * an arena. All of get, drop, leak, own work on either.
 */
typedef struct shmb_box shmb_box;

/*
 * Turns a raw region into a box of `type`: the object is at the region's
 * first byte, and is not initialised (a new region reads as zeros). On success
 * the box takes the region over: do not close it yourself. On failure the
 * region is untouched. A raw region stores no type, so only the size can be
 * checked: SHMB_ETOOSMALL. EINVAL: a type without name, size or alignment.
 */
int shmb_region_box(shmb_region *r, const shmb_type *type, shmb_box **out);

void *shmb_box_get(const shmb_box *box);           /* the object */
shmb_region *shmb_box_region(const shmb_box *box); /* borrowed */
int shmb_box_is_owner(const shmb_box *box);        /* 1 in the process whose drop ends the object */

/*
 * Over a region: in the owner the destructor runs, then the region is
 * unmapped and unlinked; elsewhere it is unmapped. Boxes that their owner did
 * not drop are unlinked when it exits, without destructor.
 *
 * In an arena: the owner's destructor runs, the memory is freed, the name is
 * free again; the box is no more for any process. SHMB_ENOTOWNER elsewhere,
 * changing nothing. What its owner still has when it closes the arena or exits
 * is dropped then. When the owner dies, its boxes are dropped by the next
 * process that makes, finds or trims here: with the destructor if it has
 * registered the type, else the memory is freed as it is.
 *
 * NULL is allowed.
 */
int shmb_box_drop(shmb_box *box);

/*
 * Ends ownership without destructor: the region is kept, as shmb_region_leak()
 * keeps it; the box in an arena lives on, nobody's. SHMB_ENOTOWNER. A handle
 * over a region is invalid afterwards; one in an arena stays.
 */
int shmb_box_leak(shmb_box *box);

/* Makes the calling process the owner. SHMB_EOWNED: another one that lives is. */
int shmb_box_own(shmb_box *box);

/*
 * Makes this process able to run the type's destructor for a dead owner. The
 * functions below that take a type register it themselves. ENOSPC: 1,024 are.
 */
int shmb_type_register(const shmb_type *type);

/* Fills in a new object; the memory is zeros. Not 0: a positive errno, there will be no box. */
typedef int shmb_init(void *obj, void *arg);

/*
 * Makes an anonymous box in an arena; the calling process owns it. `init` may
 * be NULL. ENOMEM: no memory, or 1,048,576 boxes exist.
 */
int shmb_box_new(shmb_arena *a, const shmb_type *type, shmb_init *init, void *arg, shmb_box **out);

/*
 * Finds the box of that name: 1 to 111 bytes. ENOENT: there is none, or its
 * owner died. SHMB_ETYPE: it is of another type, size or alignment. Waits
 * while another process is making or dropping it, as long as that one lives.
 */
int shmb_box_find(shmb_arena *a, const char *name, const shmb_type *type, shmb_box **out);

/*
 * The same; where there is none it is made, and of all that ask at once one
 * process makes and owns it: `init` runs once, and again only where the
 * process died in it. *how (NULL allowed): SHMB_CREATED or SHMB_ATTACHED.
 * ENOSPC: too many names like it.
 */
int shmb_box_find_or_new(shmb_arena *a, const char *name, const shmb_type *type, shmb_init *init, void *arg,
                         shmb_box **out, enum shmb_how *how);

/*
 * A typed ref names a box in an arena to another process; shmb_box_at() checks
 * that it is still that box, and of that type. SHMB_EGONE, SHMB_ETYPE.
 */
uint64_t shmb_box_ref(const shmb_box *box); /* 0 for a box over a raw region */
int shmb_box_at(shmb_arena *a, uint64_t ref, const shmb_type *type, shmb_box **out);

/* Drops the box when the variable leaves its scope: SHMB_SCOPED shmb_box *b = NULL; */
void shmb_box_scoped(shmb_box **box);
#if defined(__GNUC__)
#define SHMB_SCOPED __attribute__((cleanup(shmb_box_scoped)))
#endif

/* ---- Arenas ------------------------------------------------------------- */

/*
 * An arena is a heap in a region. Every process that has it open, with write
 * access, allocates from it and frees any block of it.
 *
 * Memory is committed before it is handed out: a full shm file system is
 * ENOMEM here, never SIGBUS. Blocks are at least 16-byte aligned.
 */
/* Greatest alignment that shmb_aligned_alloc() grants. */
#define SHMB_ALIGN_MAX ((size_t)1 << 30)
/* Processes that may have one arena open for writing at a time. */
#define SHMB_SLOTS 256

/*
 * Opens the arena region `name`; as shmb_region_open(), and:
 * SHMB_EFORMAT, SHMB_ECORRUPT: what is there is no arena of this version.
 * SHMB_ESLOTS: SHMB_SLOTS processes are attached. SHMB_EADDRESS: SHMB_FIXED.
 * A claimed arena keeps its blocks. At most 64 arenas are open in a process
 * (EMFILE).
 */
int shmb_arena_open(const char *name, const shmb_options *opt, shmb_arena **out);

/*
 * Closes the arena; its owner unlinks it. Blocks and pointers into it are
 * invalid in this process afterwards; other attached processes keep theirs.
 * No other thread may be inside it. ENOMEM: other threads have used it and
 * the process may have no more mappings: it stays open, but for its boxes.
 */
int shmb_arena_close(shmb_arena *a);

shmb_region *shmb_arena_region(const shmb_arena *a); /* borrowed: for name, own, leak */
size_t shmb_arena_capacity(const shmb_arena *a);     /* bytes for blocks */
int shmb_arena_is_fixed(const shmb_arena *a); /* 1: mapped at its own address, so raw
                                                 pointers in it are valid here too */

/*
 * 1: the region was created with SHMB_HARDENED. Then for all who have it open
 *   - a write beyond what was asked for, by one byte or more, is found at the
 *     block's free or realloc, or by shmb_check_name()
 *   - a freed block is filled with bytes 0x5a, and issued again only after others;
 *     a write to it until then is found when it is issued, or leaves the thread
 *   - what is not asked to be zeros is 0x5a; shmb_usable_size() is what was asked for
 *   - which of the blocks a thread has is issued next is random
 * What is found is one line and abort(), in the process that finds it. It
 * costs 8 bytes a block, and time: docs/security.md.
 */
int shmb_arena_is_hardened(const shmb_arena *a);

/*
 * As malloc, calloc, aligned_alloc, realloc, free. A request of 0 bytes gives
 * a unique block. ENOMEM: the capacity or the file system is exhausted. Any
 * process may free any live block. Freeing what is not a live block of `a`
 * (twice, an interior pointer, another heap's) prints one line and aborts
 * before anything is damaged. shmb_free() preserves errno and ignores NULL.
 * `align` must be a power of two up to SHMB_ALIGN_MAX (EINVAL); `size` need
 * not be a multiple of it. A failed realloc leaves the block as it was.
 */
void *shmb_malloc(shmb_arena *a, size_t size);
void *shmb_calloc(shmb_arena *a, size_t n, size_t size);
void *shmb_aligned_alloc(shmb_arena *a, size_t align, size_t size);
void *shmb_realloc(shmb_arena *a, void *p, size_t size);
void shmb_free(shmb_arena *a, void *p);

/* Bytes that may be used of a live block; aborts as shmb_free() on any other pointer. */
size_t shmb_usable_size(shmb_arena *a, const void *p);

/* The open arena that `p` points into, or NULL. A compare where it is none of ours. */
shmb_arena *shmb_arena_of(const void *p);

/*
 * A ref names a block, or a byte in one, to another process: its offset in
 * the region. 0 is no block. shmb_deref() checks that it lies in memory that
 * is in use and that `len` bytes from it do too; NULL otherwise.
 */
typedef uint64_t shmb_ref;
shmb_ref shmb_ref_of(const shmb_arena *a, const void *p);
void *shmb_deref(const shmb_arena *a, shmb_ref ref, size_t len);

/* Gives back all memory that this process can: caches, empty spans, populated free units. */
void shmb_trim(shmb_arena *a);

/*
 * Looks for processes that died with the arena open, or ended without closing
 * it, and hands on what they held: what lay in their caches is everybody's
 * again, their boxes are for the next to drop, their blocks stay live. Returns
 * how many this call recovered; it does not fail. Any process that has the
 * arena open for writing may call it, at any time: nobody waits for it, and
 * what it takes is bounded by the caches, not by the heap. Attaching,
 * shmb_trim() and a shortage recover unasked. That does not count, nor what a
 * forked child recovers as it attaches in its first call.
 *
 * 0, and nothing done, where the arena is open read-only or is a private
 * snapshot, where a forked child gets no slot, and in a handler that
 * interrupted a call on an arena.
 */
int shmb_recover(shmb_arena *a);

/* ---- Looking ------------------------------------------------------------ */

typedef void shmb_write_cb(void *opaque, const char *text);

/*
 * Writes the arena's statistics through `write` in pieces; NULL writes to
 * stderr. `opts`: NULL or "" for text; "J" for JSON; "j" leaves out what jemalloc
 * itself says of this process, which names its arenas that serve this one. Allocates nothing from the arena; takes no
 * lock: with writers at work the sums are those of a moving heap.
 */
int shmb_stats_print(shmb_arena *a, shmb_write_cb *write, void *opaque, const char *opts);

/*
 * What follows looks at any region by name, from outside: it attaches to
 * nothing, takes no slot, maps nothing writable, reads no hole (which would
 * allocate it), and believes nothing the region says. Errors: as the opening
 * of a file, SHMB_EFORMAT, SHMB_ECORRUPT.
 *
 * A `name` with a slash beyond its first byte, as "./feed" or "/tmp/feed", is the
 * path of a file: a region's, or one of shmb_save_name(). Those that change
 * something take no relative path (EINVAL).
 */
int shmb_stats_name(const char *name, shmb_write_cb *write, void *opaque, const char *opts);

/*
 * Walks every invariant of the region. Writes one line for each contradiction,
 * then one that sums up; 0, or SHMB_ECORRUPT where there was any. With writers
 * at work only what is still wrong at each of thirty looks counts.
 */
int shmb_check_name(const char *name, shmb_write_cb *write, void *opaque);

enum shmb_block_state { SHMB_BLOCK_LIVE = 1, SHMB_BLOCK_CACHED, SHMB_BLOCK_STRAY };

typedef struct shmb_block_info {
	shmb_ref ref;
	uint64_t size; /* usable bytes */
	enum shmb_block_state state;
	int32_t pid; /* of the process whose span it lies in; 0: that process is gone */
} shmb_block_info;

/* Calls `each` for the blocks in order of address until it returns other than 0; returns that. */
int shmb_walk_name(const char *name, int (*each)(void *opaque, const shmb_block_info *b), void *opaque);

/*
 * Copies bytes of the region, from `ref` on (raw: the offset), into `buf`;
 * *got is how many there were before its end. Holes read as zeros.
 */
int shmb_read_name(const char *name, shmb_ref ref, void *buf, size_t len, size_t *got);

/*
 * Saves the region as a sparse file that the functions above can look at, with
 * the region's mode. EEXIST: there is such a file. What made and uses the region
 * is not stopped. *exact (NULL allowed) is 1 where nobody allocated or freed
 * meanwhile; else the tables are those of a moving heap, as all that looks from
 * outside sees it, and blocks may have newer or older contents. What programs
 * write into their blocks meanwhile never shows. A raw region is exact where
 * nobody has it open.
 */
int shmb_save_name(const char *name, const char *path, int *exact);

/*
 * Makes a region of a saved file: nobody's, kept, with the file's mode, as if
 * all processes that had it open had died. Its memory is committed. EEXIST;
 * ENOSPC: no room; SHMB_EFORMAT: of another version. A file that is no arena
 * becomes a raw region's bytes.
 */
int shmb_load_name(const char *path, const char *name);

enum shmb_kind { SHMB_KIND_ARENA = 1, SHMB_KIND_RAW, SHMB_KIND_OTHER };
enum shmb_owner {
	SHMB_OWNER_LIVE = 1, /* a process owns it */
	SHMB_OWNER_DEAD,     /* its owner is gone: the next open claims it, `gc` removes it */
	SHMB_OWNER_NONE,     /* kept on purpose, or no region of this library */
	SHMB_OWNER_UNKNOWN   /* cannot be told: never removed */
};

typedef struct shmb_info {
	char name[256]; /* with its slash; a file's path, cut to what fits */
	enum shmb_kind kind; /* RAW: made by this library, no header; OTHER: a foreign object */
	enum shmb_owner owner;
	int32_t owner_pid;  /* arena: as its own namespace sees it; 0 unknown */
	uint32_t attached;  /* arena: processes; raw: 1 for any number of them */
	uint32_t dead;      /* arena: processes that ended attached, not recovered yet */
	uint32_t mode, uid; /* permission bits; user */
	uint64_t size;      /* bytes of the object */
	uint64_t capacity;  /* arena: bytes for blocks */
	uint64_t resident;  /* bytes of memory in use */
	uint64_t created_ns; /* arena: since the epoch */
	char creator[16];
	char run[32];
} shmb_info;

int shmb_info_name(const char *name, shmb_info *out);

/* Calls `each` for every object in the shm directory, in order of name, as shmb_walk_name(). */
int shmb_list(int (*each)(void *opaque, const shmb_info *info), void *opaque);

/* The same in the directory `dir`, a whole path; names are whole paths then. EINVAL: it is not one. */
int shmb_list_in(const char *dir, int (*each)(void *opaque, const shmb_info *info), void *opaque);

/*
 * The rules of a program that runs with the preload shim: those in force, and
 * what each did; as shmb_stats_print(), with only that. SHMB_ENORULES.
 */
int shmb_rules_name(const char *name, shmb_write_cb *write, void *opaque, const char *opts);

/*
 * Other rules for it, from outside, while it runs: it follows them from its next
 * request on. Attaches to the region for a moment. All of `rules` is looked at
 * before anything changes: EINVAL, and the first rule that is none is in `bad`,
 * of `room` bytes (NULL, 0: it is not wanted), or "" where there is no rule. E2BIG: 16 KiB
 * and more. EBUSY: somebody else is changing them. SHMB_ENORULES. As shmb_arena_open().
 */
int shmb_rules_set(const char *name, const char *rules, char *bad, size_t room);

/* The same rules, but off, when they place nothing, or on again. */
int shmb_rules_switch(const char *name, int on);

/*
 * Removes a region whose owner is dead and that no process has attached.
 * SHMB_EOWNED: it has a living owner; EBUSY: processes are attached (`force`
 * removes it all the same); EPERM: kept on purpose, or none of ours.
 */
int shmb_reap_name(const char *name, int force);

/*
 * Removes a name, whatever it is, in the shm directory; in another one what is
 * a region, or the file of a saved arena (EPERM: neither). Processes that have
 * it mapped keep their memory.
 */
int shmb_remove_name(const char *name);

#ifdef __GNUC__
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
