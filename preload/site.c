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
 * object's address is no more than a hint where to look for it.
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

static struct word patterns[PATTERNS];
static unsigned pattern_count;
static const char *program; /* the executable's path: the loader has no name for it */

enum seen_state { SEEN_NOT, SEEN_WRITING, SEEN_READY };
static struct {
	_Atomic enum seen_state state;
	struct site_names names;
	char name[SEEN_NAME];
} seen[SEEN];

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

unsigned site_pattern(struct word glob)
{
	patterns[pattern_count] = glob;
	return pattern_count++;
}

static struct site_names names_of(const char *name)
{
	struct site_names n = {{0}};
	const char *base = strrchr(name, '/');
	for (unsigned i = 0; i < pattern_count; i++)
		if (word_matches(patterns[i], name) || (base && word_matches(patterns[i], base + 1)))
			n.bits[i / BITS] |= (uint64_t)1 << i % BITS;
	return n;
}

/* The same from memory where it is there; else it goes there if there is room. */
static struct site_names names_seen(const void *hint, const char *name)
{
	size_t len = strlen(name) + 1;
	uintptr_t at = (uintptr_t)hint >> 6;
	if (len > SEEN_NAME)
		return names_of(name);
	for (unsigned i = 0; i < PROBES; i++) {
		unsigned k = ((unsigned)(at ^ at >> 6) + i) % SEEN;
		enum seen_state state = atomic_load_explicit(&seen[k].state, memory_order_acquire);
		if (state == SEEN_READY && !memcmp(seen[k].name, name, len))
			return seen[k].names;
		if (state == SEEN_NOT && atomic_compare_exchange_strong(&seen[k].state, &state, SEEN_WRITING)) {
			struct site_names n = seen[k].names = names_of(name);
			memcpy(seen[k].name, name, len);
			atomic_store_explicit(&seen[k].state, SEEN_READY, memory_order_release);
			return n;
		}
	}
	return names_of(name);
}

/* ---- objects ---------------------------------------------------------------------- */

#ifdef DLFO_EH_SEGMENT_TYPE

static int (*find_object)(void *address, struct dl_find_object *result);

bool site_setup(const char *executable)
{
	program = executable;
	find_object = (int (*)(void *, struct dl_find_object *))dlsym(RTLD_DEFAULT, "_dl_find_object");
	return find_object != NULL;
}

static const struct link_map *object_at(const void *address)
{
	struct dl_find_object found;
	return find_object((void *)(uintptr_t)address, &found) ? NULL : found.dlfo_link_map;
}

#else /* glibc before 2.35 */

bool site_setup(const char *executable)
{
	program = executable;
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

void site_find(struct site *s, const void *caller)
{
	const struct link_map *object = object_at(caller);
	s->found = true;
	s->object = object;
	s->caller = (uintptr_t)caller;
	if (object)
		s->names = names_seen(object, site_object_name(s));
}

bool site_named(const struct site *s, unsigned pattern)
{
	return s->object && (s->names.bits[pattern / BITS] >> pattern % BITS & 1);
}

bool site_at(const struct site *s, uint64_t offset)
{
	return s->object && s->caller - s->object->l_addr == offset;
}

bool site_within(const struct site *s, unsigned symbol)
{
	return s->object && symbol_covers(symbol, s->object, s->caller - 1); /* the call, not what follows it */
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
