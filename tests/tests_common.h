/*
 * tests_common.h - shared by the Check suites of the arena and its parts:
 * names that are cleaned up, random numbers, child processes, and a walker
 * that checks what layout.h promises.
 *
 * The walker reads the region as it is; it is exact when nobody writes.
 */
#ifndef SHMB_TESTS_COMMON_H
#define SHMB_TESTS_COMMON_H

#include "arena.h"
#include "context.h"
#include "helpers/sanitizer.h"
#include "page.h"
#include "slot.h"
#include "span.h"

#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define GIB ((size_t)1 << 30)
#define UNUSED __attribute__((unused))

/* ck_assert writes to the runner each time, which is too slow for the inside of a loop. */
#define MUST(cond, ...)                           \
	do {                                      \
		if (!(cond))                      \
			ck_abort_msg(__VA_ARGS__); \
	} while (0)

/* ---- random numbers ---------------------------------------------------------- */

struct rng {
	uint64_t s;
};

static inline uint64_t rnd(struct rng *r)
{
	r->s ^= r->s << 13; /* xorshift64 */
	r->s ^= r->s >> 7;
	return r->s ^= r->s << 17;
}

UNUSED static uint64_t rnd_below(struct rng *r, uint64_t n)
{
	return (rnd(r) >> 16) % n;
}

/* ---- arenas ------------------------------------------------------------------ */

static pid_t tests_pid; /* of the runner, which removes what its forked tests leave */

UNUSED static const char *test_name(void)
{
	static char name[64];
	static unsigned n;
	snprintf(name, sizeof name, "/shmb-test-%d-%d-%u", (int)tests_pid, (int)getpid(), n++);
	return name;
}

/* TEST_HARDENED=1: they are hardened. Suites that know which block comes next, or what a size comes to, cannot have that. */
UNUSED static shmb_arena *arena_new(size_t size)
{
	shmb_options opt = {.size = size, .flags = SHMB_CREATE_ONLY | (getenv("TEST_HARDENED") ? SHMB_HARDENED : 0)};
	shmb_arena *a = NULL;
	int err = shmb_arena_open(test_name(), &opt, &a);
	ck_assert_msg(err == 0, "open: %s", shmb_strerror(err));
	return a;
}

/* A second handle of the same region: for the region, another process. */
UNUSED static shmb_arena *arena_again(shmb_arena *a)
{
	shmb_arena *b = NULL;
	int err = shmb_arena_open(shmb_region_name(shmb_arena_region(a)), NULL, &b);
	ck_assert_msg(err == 0, "attach: %s", shmb_strerror(err));
	return b;
}

UNUSED static void arena_done(shmb_arena *a)
{
	ck_assert_int_eq(shmb_arena_close(a), 0);
}

/* This thread's context of `a`, as a slow call would have it. */
UNUSED static struct tctx *context_of(shmb_arena *a)
{
	struct entered e = context_enter(a);
	ck_assert_int_eq(e.how, ENTRY_CONTEXT);
	context_leave(&e);
	return e.context;
}

/* The same block through another handle of the region. */
UNUSED static void *through(shmb_arena *to, const shmb_arena *from, const void *p)
{
	return to->data + ((const char *)p - from->data);
}

UNUSED static uint64_t units_used(const shmb_arena *a)
{
	return atomic_load(&a->hdr->units_used);
}

UNUSED static uint64_t file_bytes(const shmb_arena *a)
{
	struct stat st;
	int fd;
	ck_assert_int_eq(region_descriptor(a->region, &fd), 0);
	ck_assert_int_eq(fstat(fd, &st), 0);
	close(fd);
	return (uint64_t)st.st_blocks * 512;
}

/* ---- patterns: each byte of a block says whose it is ---------------------------- */

UNUSED static void stamp(void *p, size_t n, unsigned id)
{
	memset(p, (int)(id * 167 % 251 + 1), n);
}

UNUSED static bool stamped(const void *p, size_t n, unsigned id)
{
	const unsigned char *b = p, want = (unsigned char)(id * 167 % 251 + 1);
	for (size_t i = 0; i < n; i++)
		if (b[i] != want)
			return false;
	return true;
}

UNUSED static bool all_zero(const void *p, size_t n)
{
	const unsigned char *b = p;
	return n == 0 || (b[0] == 0 && memcmp(b, b + 1, n - 1) == 0);
}

/* ---- processes ----------------------------------------------------------------- */

UNUSED static void tell(int fd)
{
	ck_assert_int_eq(write(fd, "x", 1), 1);
}

UNUSED static void hear(int fd)
{
	char c;
	ssize_t n;
	do
		n = read(fd, &c, 1);
	while (n == -1 && errno == EINTR);
	ck_assert_msg(n == 1, "the other side has gone");
}

/* In a forked child Check's own failure path would longjmp or exit: say it and leave. */
#define CHILD_ASSERT(e)                                                               \
	do {                                                                          \
		if (!(e)) {                                                           \
			fprintf(stderr, "%s:%d: in the child: %s\n", __FILE__, __LINE__, #e); \
			_exit(99);                                                    \
		}                                                                     \
	} while (0)

UNUSED static void expect_exit(pid_t pid, int code)
{
	int status;
	pid_t got;
	do
		got = waitpid(pid, &status, 0);
	while (got == -1 && errno == EINTR);
	ck_assert_int_eq(got, pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == code, "child status %#x, not exit %d", status, code);
}

/* ---- the walker ------------------------------------------------------------------ */

struct walk {
	uint64_t by_kind[SPAN_KINDS]; /* units */
	uint64_t used, dirty;
	uint64_t live, cached, stray; /* small blocks */
	uint64_t large;               /* blocks */
	unsigned mags, depot, inbox, backlog, paired; /* magazines with a holder, and where they are */
	unsigned threads;             /* records with an owner */
};

struct walker {
	const shmb_arena *a;
	struct walk w;
	uint8_t *seen;   /* per grain: listed in a magazine */
	uint8_t *places; /* per magazine: places that list it */
};


/* The byte at `grain` is not `none`: does the page word allow a block there, and does it fit? */
static void walk_block(struct walker *k, uint64_t grain, uint8_t b)
{
	const shmb_arena *a = k->a;
	uint64_t page = grain * GRAIN / PAGE, size = class_size(block_class(b));
	page_t w = atomic_load(&a->pages[page]);
	MUST(block_class(b) < CLASSES, "grain %lu: class %u", grain, block_class(b));
	MUST(w && page_class(w) == block_class(b), "grain %lu: page word %x, byte %x", grain, w, b);
	uint64_t in = grain * GRAIN % PAGE, phase = (uint64_t)page_phase(w) * GRAIN;
	MUST(in >= phase && (in - phase) % size == 0, "grain %lu: off phase %lu of class size %lu", grain, phase, size);
	MUST(grain * GRAIN / UNIT == (grain * GRAIN + size - 1) / UNIT, "grain %lu: leaves its unit", grain);
	for (uint64_t i = 1; i < size / GRAIN; i++)
		MUST(!block_get(a->blocks, (uint32_t)(grain + i)), "grain %lu: overlapped at %lu", grain, grain + i);
	k->w.live += block_state_of(b) == BLOCK_LIVE;
	k->w.cached += block_state_of(b) == BLOCK_CACHED;
	k->w.stray += block_state_of(b) == BLOCK_STRAY;
}

static void walk_small(struct walker *k, uint64_t unit)
{
	for (uint64_t g = unit * (UNIT / GRAIN); g < (unit + 1) * (UNIT / GRAIN); g++) {
		uint8_t b = block_get(k->a->blocks, (uint32_t)g);
		if (block_state_of(b) == BLOCK_NONE)
			continue;
		walk_block(k, g, b);
		MUST(block_state_of(b) != BLOCK_CACHED || k->seen[g] == 1, "grain %lu: cached, listed %u times", g, k->seen[g]);
	}
}

static void walk_units(struct walker *k, bool hints)
{
	const shmb_arena *a = k->a;
	uint64_t cont = 0, head = 0;
	for (uint64_t u = 0; u < units_ready(a); u++) {
		span_t w = span_get(a, u);
		enum span_kind kind = span_kind_of(w);
		MUST(kind < SPAN_KINDS && kind != SPAN_TAKING, "unit %lu: word %lx", u, w);
		MUST((kind == SPAN_CONT) == (cont > 0), "unit %lu: word %lx, %lu units of a run to come", u, w, cont);
		MUST(kind != SPAN_CONT || span_aux(w) == u - head, "unit %lu: distance %lu", u, span_aux(w));
		cont -= kind == SPAN_CONT;
		if (kind == SPAN_HEAD)
			head = u, cont = span_aux(w) - 1, k->w.large++;
		if (kind == SPAN_SMALL)
			walk_small(k, u);
		k->w.by_kind[kind]++;
		k->w.used += kind != SPAN_FREE;
		k->w.dirty += kind == SPAN_FREE && span_aux(w);
		MUST(!hints || hint_get(a->used_bits, u) == (kind != SPAN_FREE), "unit %lu: used bit, word %lx", u, w);
		MUST(!hints || hint_get(a->dirty_bits, u) == (kind == SPAN_FREE && span_aux(w)), "unit %lu: dirty bit, word %lx", u, w);
	}
	MUST(cont == 0, "a run goes past the end");
	MUST(!hints || k->w.used == atomic_load(&a->hdr->units_used), "used %lu, header %lu", k->w.used, units_used(a));
	MUST(!hints || k->w.dirty == atomic_load(&a->hdr->units_dirty), "dirty %lu", k->w.dirty);
}

static void walk_listed(struct walker *k, uint64_t number, unsigned *count, int class)
{
	if (!number)
		return;
	MUST(number <= MAGS && number <= atomic_load(&k->a->hdr->mags_ready), "magazine %lu", number);
	struct mag_shm *m = &k->a->mags[number - 1];
	MUST(atomic_load(&m->holder) != 0, "magazine %lu: listed, but free to take", number);
	MUST(class < 0 || m->class == (uint32_t)class, "magazine %lu: class %u where %d belongs", number, m->class, class);
	k->places[number - 1]++;
	++*count;
}

static void walk_lists(struct walker *k)
{
	const shmb_arena *a = k->a;
	for (unsigned c = 0; c < CLASSES; c++) {
		MUST(!atomic_load(&a->depots[c].lock), "depot %u is locked", c);
		for (unsigned i = 0; i < atomic_load(&a->depots[c].count); i++)
			walk_listed(k, cell_number(atomic_load(&a->depots[c].cells[i])), &k->w.depot, (int)c);
	}
	for (unsigned s = 0; s < atomic_load(&a->hdr->slots_high); s++)
		for (unsigned i = 0; i < INBOX_CELLS; i++)
			walk_listed(k, cell_number(atomic_load(&a->slots[s].inbox[i])), &k->w.inbox, -1);
	for (unsigned i = 0; i < atomic_load(&a->hdr->threads_ready); i++) {
		struct thread_shm *t = &a->threads[i];
		k->w.threads += atomic_load(&t->owner) != 0;
		for (unsigned c = 0; c < CLASSES; c++) {
			walk_listed(k, pair_loaded(atomic_load(&t->pairs[c])), &k->w.paired, (int)c);
			walk_listed(k, pair_previous(atomic_load(&t->pairs[c])), &k->w.paired, (int)c);
		}
		for (uint32_t n = atomic_load(&t->backlog); n; n = a->mags[n - 1].next)
			walk_listed(k, n, &k->w.backlog, -1);
	}
}

static void walk_mags(struct walker *k)
{
	const shmb_arena *a = k->a;
	uint32_t ready = atomic_load(&a->hdr->mags_ready);
	for (uint32_t i = 0; i < ready; i++) {
		struct mag_shm *m = &a->mags[i];
		uint32_t n = atomic_load(&m->count);
		if (!atomic_load(&m->holder)) {
			MUST(n == 0, "magazine %u: free to take with %u blocks", i + 1, n);
			continue;
		}
		k->w.mags++;
		MUST(k->places[i] == 1, "magazine %u: listed in %u places", i + 1, k->places[i]);
		MUST(m->rounds == class_rounds(m->class) && n <= m->rounds, "magazine %u: %u of %u", i + 1, n, m->rounds);
		for (uint32_t e = 0; e < n; e++) {
			uint32_t g = m->entries[e];
			MUST(g / (UNIT / GRAIN) < units_ready(a), "magazine %u: entry %u", i + 1, g);
			MUST(span_kind_of(span_get(a, g / (UNIT / GRAIN))) == SPAN_SMALL, "magazine %u: entry %u in no small unit", i + 1, g);
			MUST(!k->seen[g]++, "grain %u: listed twice", g);
			MUST(block_get(a->blocks, g) == block_make(BLOCK_CACHED, m->class), "magazine %u: entry %u: byte %x", i + 1, g,
			     block_get(a->blocks, g));
		}
	}
}

/* Checks everything. hints: bitmaps and counts must be exact too, as they are while nobody raced. */
UNUSED static struct walk walk_arena(const shmb_arena *a, bool hints)
{
	struct walker k = {.a = a};
	k.seen = calloc(units_ready(a) + 1, UNIT / GRAIN);
	k.places = calloc(1, MAGS);
	walk_lists(&k);
	walk_mags(&k);
	walk_units(&k, hints);
	free(k.seen);
	free(k.places);
	return k.w;
}

/* ---- running ------------------------------------------------------------------- */

static void names_remove(void)
{
	char prefix[40], path[320];
	DIR *d = opendir("/dev/shm");
	snprintf(prefix, sizeof prefix, "shmb-test-%d-", (int)tests_pid);
	for (struct dirent *e; d && (e = readdir(d));) {
		if (strncmp(e->d_name, prefix, strlen(prefix)))
			continue;
		snprintf(path, sizeof path, "/dev/shm/%s", e->d_name);
		unlink(path);
	}
	if (d)
		closedir(d);
}

/* One suite of one case, with room in time for sanitizers. Returns what main returns. */
UNUSED static int tests_run(const char *name, const TTest *const *tests, size_t n)
{
	Suite *s = suite_create(name);
	TCase *tc = tcase_create(name);
	tests_pid = getpid();
	tcase_set_timeout(tc, 300);
	for (size_t i = 0; i < n; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	names_remove();
	return failed != 0;
}
#define TESTS_RUN(name, ...)                                      \
	tests_run(name, (const TTest *const[]){__VA_ARGS__},      \
	          sizeof((const TTest *const[]){__VA_ARGS__}) / sizeof(const TTest *))

/* ---- what shmb_check_name() says ------------------------------------------------------- */

static UNUSED char said[8192];

static UNUSED void said_more(void *unused, const char *text)
{
	(void)unused;
	strncat(said, text, sizeof said - strlen(said) - 1);
}

static UNUSED int check_arena(shmb_arena *a)
{
	said[0] = 0;
	return shmb_check_name(shmb_region_name(shmb_arena_region(a)), said_more, NULL);
}

#endif
