/*
 * site.c - whose code asked: the object that a return address lies in, and
 * its name.
 *
 * Called inside malloc, maybe while the loader holds its lock: the object is
 * found by _dl_find_object(3), which takes none. Nothing is allocated. The
 * caller's object cannot be unloaded meanwhile: its code is waiting for the
 * result.
 *
 * Remembered is only which patterns a name matches, which stays true whatever
 * is loaded and unloaded: an entry is written once and found by its text. The
 * object's address is no more than a hint where to look for it. Patterns, and
 * what is remembered of them, belong to one of the sets of rules, which is
 * written anew while threads may still read it (rules.c): an entry says for
 * which contents of the set it holds.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { PATTERNS = 2 * RULES, BITS = 64, SEEN = 64, PROBES = 4, SEEN_NAME = 232, COMM = 16 };

static struct word patterns[RULES_SETS][PATTERNS];
static _Atomic unsigned pattern_count[RULES_SETS];
static _Atomic unsigned patterns_are[RULES_SETS]; /* counts what they were */
static const char *program; /* the executable's path: the loader has no name for it */

enum seen_state { SEEN_NOT, SEEN_WRITING, SEEN_READY };
static struct seen {
	_Atomic enum seen_state state;
	unsigned patterns; /* what they were */
	struct site_names names;
	char name[SEEN_NAME];
} seen[RULES_SETS][SEEN];

/* ---- patterns -------------------------------------------------------------------- */

/* Does c match the set behind a '['? *end: behind its ']'; NULL: there is none. */
static bool set_has(const char *p, const char *stop, char c, const char **end)
{
	bool inverse = p < stop && *p == '!', found = false;
	p += inverse;
	for (const char *first = p; p < stop; p++) {
		if (*p == ']' && p != first) {
			*end = p + 1;
			return found != inverse;
		}
		unsigned char low = (unsigned char)*p, high = low;
		if (p + 2 < stop && p[1] == '-' && p[2] != ']') {
			high = (unsigned char)p[2];
			p += 2;
		}
		found |= (unsigned char)c >= low && (unsigned char)c <= high;
	}
	*end = NULL;
	return false;
}

/* One character of text against what is at p. NULL: no match; else behind it. */
static const char *match_one(const char *p, const char *stop, char c)
{
	const char *end;
	if (*p == '[') {
		bool has = set_has(p + 1, stop, c, &end);
		if (end)
			return has ? end : NULL;
	}
	return *p == '?' || *p == c ? p + 1 : NULL;
}

bool word_matches(struct word glob, const char *text)
{
	const char *p = glob.s, *stop = p + glob.len, *star = NULL, *from = text;
	while (*text) {
		const char *next = NULL;
		if (p < stop && *p == '*') {
			star = ++p;
			from = text;
			continue;
		}
		if (p < stop)
			next = match_one(p, stop, *text);
		if (next) {
			p = next;
			text++;
		} else if (star) {
			p = star;
			text = ++from;
		} else {
			return false;
		}
	}
	while (p < stop && *p == '*')
		p++;
	return p == stop;
}

void site_begin(unsigned set)
{
	for (unsigned i = 0; i < PATTERNS; i++)
		patterns[set][i].s = rules_nothing;
}

/* An entry that a thread is still writing is that thread's; it will be one of other patterns. */
void site_clear(unsigned set)
{
	atomic_store(&pattern_count[set], 0);
	if (!atomic_fetch_add(&patterns_are[set], 1))
		return; /* the first patterns: nothing has been seen yet */
	for (unsigned i = 0; i < SEEN; i++) {
		enum seen_state ready = SEEN_READY;
		(void)atomic_compare_exchange_strong(&seen[set][i].state, &ready, SEEN_NOT);
	}
}

unsigned site_pattern(unsigned set, struct word glob)
{
	unsigned n = atomic_load(&pattern_count[set]);
	patterns[set][n] = glob;
	atomic_store(&pattern_count[set], n + 1);
	return n;
}

static struct site_names names_of(unsigned set, const char *name)
{
	struct site_names n = {{0}};
	const char *base = strrchr(name, '/');
	for (unsigned i = 0; i < atomic_load_explicit(&pattern_count[set], memory_order_acquire); i++)
		if (word_matches(patterns[set][i], name) || (base && word_matches(patterns[set][i], base + 1)))
			n.bits[i / BITS] |= (uint64_t)1 << i % BITS;
	return n;
}

/* The same from memory where it is there; else it goes there if there is room. */
static struct site_names names_seen(unsigned set, const void *hint, const char *name)
{
	unsigned are = atomic_load_explicit(&patterns_are[set], memory_order_acquire);
	size_t len = strlen(name) + 1;
	uintptr_t at = (uintptr_t)hint >> 6;
	if (len > SEEN_NAME)
		return names_of(set, name);
	for (unsigned i = 0; i < PROBES; i++) {
		struct seen *e = &seen[set][((unsigned)(at ^ at >> 6) + i) % SEEN];
		enum seen_state state = atomic_load_explicit(&e->state, memory_order_acquire);
		if (state == SEEN_READY && e->patterns == are && !memcmp(e->name, name, len))
			return e->names;
		if (state == SEEN_NOT && atomic_compare_exchange_strong(&e->state, &state, SEEN_WRITING)) {
			struct site_names n = names_of(set, name);
			e->names = n;
			e->patterns = are;
			memcpy(e->name, name, len);
			atomic_store_explicit(&e->state, SEEN_READY, memory_order_release);
			return n;
		}
	}
	return names_of(set, name);
}

/* ---- objects ---------------------------------------------------------------------- */

#ifdef DLFO_EH_SEGMENT_TYPE

static int (*find_object)(void *address, struct dl_find_object *result);

void site_setup(const char *executable)
{
	program = executable;
	find_object = (int (*)(void *, struct dl_find_object *))dlsym(RTLD_DEFAULT, "_dl_find_object");
}

bool site_possible(void)
{
	return find_object != NULL;
}

static const struct link_map *object_at(const void *address)
{
	struct dl_find_object found;
	return find_object((void *)(uintptr_t)address, &found) ? NULL : found.dlfo_link_map;
}

#else /* glibc before 2.35 */

void site_setup(const char *executable)
{
	program = executable;
}

bool site_possible(void)
{
	return false;
}

static const struct link_map *object_at(const void *address)
{
	(void)address;
	return NULL;
}

#endif

const char *site_object_name(const struct site *s)
{
	return *s->object->l_name ? s->object->l_name : program;
}

void site_locate(struct site *s, const void *caller)
{
	s->found = true;
	s->object = object_at(caller);
	s->caller = (uintptr_t)caller;
}

void site_find(unsigned set, struct site *s, const void *caller)
{
	site_locate(s, caller);
	if (s->object)
		s->names = names_seen(set, s->object, site_object_name(s));
}

bool site_named(const struct site *s, unsigned pattern)
{
	return s->object && (s->names.bits[pattern / BITS] >> pattern % BITS & 1);
}

bool site_at(const struct site *s, uint64_t offset)
{
	return s->object && s->caller - s->object->l_addr == offset;
}

bool site_within(unsigned set, const struct site *s, unsigned symbol)
{
	return s->object && symbol_covers(set, symbol, s->object, s->caller - 1); /* the call, not what follows it */
}

/* ---- threads ---------------------------------------------------------------------- */

/* Asked for each time: a thread is named after its start, when it has allocated already. */
bool thread_named(struct word glob)
{
	char name[COMM + 1] = "";
	int saved = errno;
	bool known = syscall(SYS_prctl, PR_GET_NAME, name, 0, 0, 0) == 0;
	errno = saved;
	return known && word_matches(glob, name);
}
