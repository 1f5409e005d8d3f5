/*
 * record.c - what is known of each site, in a file that others read.
 *
 * The file is mapped shared, so what is written stays when the process is
 * killed. Its pages are made before they are touched: a full file system means
 * sites that are not told apart, not SIGBUS. A forked child has only the
 * header of its parent's, to say there that it could make no file.
 *
 * A site is named by its object's name and an offset, which stays true
 * whatever is loaded and unloaded; the object's address is a hint.
 */
#include "profile.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { COMMIT = 8192, TRIES = 16 };

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- the file ---------------------------------------------------------------------- */

/* Not by madvise(), which is ours. */
static bool advise(void *p, size_t len, int advice)
{
	return syscall(SYS_madvise, p, len, advice) == 0;
}

/* Not by open(), where a thread may be cancelled. */
static int create_in(const char *dir)
{
	char path[PATH_MAX + 64];
	struct timespec now;
	int fd = -1;
	errno = EEXIST;
	for (unsigned i = 0; fd < 0 && errno == EEXIST && i < TRIES; i++) {
		clock_gettime(CLOCK_MONOTONIC, &now);
		snprintf(path, sizeof path, "%s/%d.%lld", dir, (int)getpid(), now.tv_sec * 1000000000LL + now.tv_nsec);
		fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	return fd;
}

/* Beyond the limit ftruncate would be SIGXFSZ. */
static bool may_be_large(void)
{
	struct rlimit lim;
	return !getrlimit(RLIMIT_FSIZE, &lim) && lim.rlim_cur >= sizeof(struct profile_file);
}

static struct profile_file *map_new(const char *dir)
{
	struct profile_file *f;
	void *p = MAP_FAILED;
	int fd = may_be_large() ? create_in(dir) : -1;
	if (fd < 0)
		return NULL;
	if (!ftruncate(fd, sizeof *f))
		p = mmap(NULL, sizeof *f, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	syscall(SYS_close, fd);
	if (p == MAP_FAILED)
		return NULL;
	f = p;
	(void)advise(f->objects, sizeof *f - offsetof(struct profile_file, objects), MADV_DONTFORK);
	if (advise(&f->head, sizeof f->head, MADV_POPULATE_WRITE) && advise(f->sites, COMMIT, MADV_POPULATE_WRITE))
		return f;
	munmap(f, sizeof *f);
	return NULL;
}

/* Commits what entry `i` of a table begins or crosses into. */
static bool commit_entry(void *table, size_t entry, uint32_t i)
{
	size_t from = i * entry, to = from + entry;
	size_t first = (from + COMMIT - 1) / COMMIT * COMMIT;
	return to <= first || advise((char *)table + first, COMMIT, MADV_POPULATE_WRITE);
}
_Static_assert(sizeof(struct profile_site) <= COMMIT && sizeof(struct profile_object) <= COMMIT, "");
_Static_assert(sizeof(((struct profile_file *)0)->sites) % COMMIT == 0, "");
_Static_assert(PROFILE_SITES_FIXED * sizeof(struct profile_site) <= COMMIT, "");

bool record_start(struct record *r, const char *dir, const char *executable)
{
	static struct profile_file *before; /* this process's, or its parent's: then only the header is there */
	struct profile_file *f = map_new(dir);
	if (!f) {
		if (before)
			atomic_fetch_add(&before->head.unrecorded, 1);
		return false;
	}
	f->head.magic = PROFILE_MAGIC;
	f->head.pid = getpid();
	f->head.parent = getppid();
	snprintf(f->head.executable, sizeof f->head.executable, "%s", executable);
	for (unsigned i = 0; i < PROFILE_SITES_FIXED; i++)
		f->sites[i].object = PROFILE_NO_OBJECT;
	atomic_store(&f->head.sites, PROFILE_SITES_FIXED);
	if (before)
		munmap(&before->head, sizeof before->head);
	before = r->file = f;
	return true;
}

/* ---- sites -------------------------------------------------------------------------- */

static bool is_named(const struct profile_object *o, const char *name)
{
	return !strncmp(o->name, name, PROFILE_NAME - 1);
}

/* PROFILE_NO_OBJECT: there is no room. */
static uint32_t object_find(struct profile_file *f, const char *name)
{
	uint32_t n = atomic_load_explicit(&f->head.objects, memory_order_relaxed);
	for (uint32_t i = 0; i < n; i++)
		if (is_named(&f->objects[i], name))
			return i;
	if (n == PROFILE_OBJECTS || !commit_entry(f->objects, sizeof *f->objects, n))
		return PROFILE_NO_OBJECT;
	snprintf(f->objects[n].name, PROFILE_NAME, "%s", name);
	atomic_store_explicit(&f->head.objects, n + 1, memory_order_release);
	return n;
}

static uint32_t object_of(struct record *r, const struct site *s)
{
	const char *name = site_object_name(s);
	uintptr_t at = (uintptr_t)s->object >> 6;
	unsigned k = (unsigned)(at ^ at >> 6) % OBJECTS_SEEN;
	if (r->seen[k].object == s->object && is_named(&r->file->objects[r->seen[k].number], name))
		return r->seen[k].number;
	uint32_t n = object_find(r->file, name);
	if (n != PROFILE_NO_OBJECT) {
		r->seen[k].object = s->object;
		r->seen[k].number = n;
	}
	return n;
}

static uint32_t site_new(struct record *r, uint32_t object, uint64_t offset)
{
	struct profile_head *h = &r->file->head;
	uint32_t n = atomic_load_explicit(&h->sites, memory_order_relaxed);
	if (n == PROFILE_SITES || !commit_entry(r->file->sites, sizeof(struct profile_site), n))
		return PROFILE_SITE_REST;
	struct profile_site *s = &r->file->sites[n];
	s->object = object;
	s->offset = offset;
	s->peaks = h->peaks;
	atomic_store_explicit(&h->sites, n + 1, memory_order_release);
	return n;
}

uint32_t record_site(struct record *r, const struct site *s)
{
	if (!s->object)
		return PROFILE_SITE_NONE;
	uint32_t object = object_of(r, s);
	uint64_t offset = s->caller - s->object->l_addr;
	if (object == PROFILE_NO_OBJECT)
		return PROFILE_SITE_REST;
	uint64_t mixed = (offset + ((uint64_t)object << 44)) * UINT64_C(0x9e3779b97f4a7c15);
	for (uint32_t i = (uint32_t)(mixed >> 40);; i++) {
		uint32_t *n = &r->index[i % INDEX];
		const struct profile_site *known = &r->file->sites[*n];
		if (!*n) {
			uint32_t new = site_new(r, object, offset);
			return new == PROFILE_SITE_REST ? new : (*n = new);
		}
		if (known->object == object && known->offset == offset)
			return *n;
	}
}

/* ---- tallies ------------------------------------------------------------------------- */

static void tally_request(struct profile_tally *t, uint64_t size, bool resized)
{
	t->requests++;
	t->bytes += size;
	t->resized += resized;
}

/* True: there were never so many. */
static bool tally_live(struct profile_tally *t, uint64_t size)
{
	t->live++;
	t->live_bytes += size;
	bool most = t->live_bytes > t->peak;
	if (most)
		t->peak = t->live_bytes;
	return most;
}

static void tally_gone(struct profile_tally *t, uint64_t size)
{
	t->live--;
	t->live_bytes -= size;
}

static struct profile_tally *object_sum(struct record *r, const struct profile_site *s)
{
	return s->object == PROFILE_NO_OBJECT ? NULL : &r->file->objects[s->object].sum;
}

void record_request(struct record *r, uint32_t site, uint64_t size, bool resized)
{
	struct profile_site *s = &r->file->sites[site];
	struct profile_tally *of_object = object_sum(r, s);
	s->least = s->sum.requests && s->least < size ? s->least : size;
	s->most = s->most > size ? s->most : size;
	tally_request(&s->sum, size, resized);
	tally_request(&r->file->head.sum, size, resized);
	if (of_object)
		tally_request(of_object, size, resized);
}

/* Before a change: what was live at the last peak is what has been since. */
static void keep_peak(const struct profile_head *h, struct profile_site *s)
{
	s->at_peak = profile_at_peak(h, s);
	s->peaks = h->peaks;
}

void record_live(struct record *r, uint32_t site, uint64_t size)
{
	struct profile_head *h = &r->file->head;
	struct profile_site *s = &r->file->sites[site];
	struct profile_tally *of_object = object_sum(r, s);
	keep_peak(h, s);
	(void)tally_live(&s->sum, size);
	if (of_object)
		(void)tally_live(of_object, size);
	if (tally_live(&h->sum, size))
		h->peaks++;
}

void record_gone(struct record *r, uint32_t site, uint64_t size, uint64_t lived)
{
	struct profile_head *h = &r->file->head;
	struct profile_site *s = &r->file->sites[site];
	struct profile_tally *of_object = object_sum(r, s);
	keep_peak(h, s);
	tally_gone(&s->sum, size);
	tally_gone(&h->sum, size);
	if (of_object)
		tally_gone(of_object, size);
	if (lived != LIVED_UNKNOWN)
		s->lifetimes[profile_lifetime(lived)]++;
}
