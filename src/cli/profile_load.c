/*
 * profile_load.c - what the processes recorded, added up.
 *
 * The files are data from strangers, and may still be written: what is read is
 * copied and checked, and only then believed.
 */
#include "profile.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void *must(void *p)
{
	if (!p) {
		complain("profile", "no memory");
		exit(EXIT_FAILED);
	}
	return p;
}

/* One more of an array of n, which has room for a power of two; zeros. */
static void *append(void *array, unsigned *n, size_t size)
{
	if ((*n & (*n - 1)) == 0)
		*(void **)array = must(realloc(*(void **)array, (*n ? 2 * (size_t)*n : 1) * size));
	return memset(*(char **)array + (*n)++ * size, 0, size);
}

/* ---- adding up ------------------------------------------------------------------------ */

static void add_tally(struct profile_tally *to, const struct profile_tally *t)
{
	to->requests += t->requests;
	to->bytes += t->bytes;
	to->resized += t->resized;
	to->live += t->live;
	to->live_bytes += t->live_bytes;
	to->peak = t->peak > to->peak ? t->peak : to->peak;
}

static void add_sizes(uint64_t *least, uint64_t *most, uint64_t from, uint64_t to)
{
	*least = from < *least ? from : *least;
	*most = to > *most ? to : *most;
}

static void add_lifetimes(uint64_t *to, const uint64_t *from)
{
	for (unsigned i = 0; i < PROFILE_LIFETIMES; i++)
		to[i] += from[i];
}

static int module_of(struct profile *p, const char *path)
{
	for (unsigned i = 0; i < p->modules_n; i++)
		if (!strcmp(p->modules[i].path, path))
			return (int)i;
	struct module *m = append(&p->modules, &p->modules_n, sizeof *m);
	m->path = must(strdup(path));
	m->least = UINT64_MAX;
	return (int)p->modules_n - 1;
}

/* ---- one file ---------------------------------------------------------------------------- */

struct file {
	int fd;
	struct profile_head head;
	uint32_t objects, sites;
	struct profile_object *object;
	struct profile_site *site;
	int *module; /* of each object */
};

static bool read_at(int fd, void *to, size_t len, size_t at)
{
	return pread(fd, to, len, (off_t)at) == (ssize_t)len;
}

static bool file_read(struct file *f)
{
	struct profile_head *h = &f->head;
	if (!read_at(f->fd, h, sizeof *h, 0) || h->magic != PROFILE_MAGIC)
		return false;
	f->objects = h->objects;
	f->sites = h->sites;
	if (f->objects > PROFILE_OBJECTS || f->sites > PROFILE_SITES || f->sites < PROFILE_SITES_FIXED)
		return false;
	f->object = must(calloc(f->objects + 1, sizeof *f->object));
	f->module = must(calloc(f->objects + 1, sizeof *f->module));
	f->site = must(calloc(f->sites, sizeof *f->site));
	h->executable[PROFILE_NAME - 1] = 0;
	return read_at(f->fd, f->object, f->objects * sizeof *f->object, offsetof(struct profile_file, objects)) &&
	       read_at(f->fd, f->site, f->sites * sizeof *f->site, offsetof(struct profile_file, sites));
}

static void add_site(struct profile *p, const struct file *f, uint32_t number)
{
	const struct profile_site *from = &f->site[number];
	if (!from->sum.requests || (from->object >= f->objects && number >= PROFILE_SITES_FIXED))
		return;
	struct site *s = append(&p->sites, &p->sites_n, sizeof *s);
	s->module = number >= PROFILE_SITES_FIXED ? f->module[from->object] : NO_MODULE;
	s->rest = number == PROFILE_SITE_REST;
	s->offset = from->offset;
	s->sum = from->sum;
	s->at_peak = profile_at_peak(&f->head, from);
	s->least = from->least;
	s->most = from->most;
	memcpy(s->lifetimes, from->lifetimes, sizeof s->lifetimes);
}

/* What was live of each module at the peak, of this process. */
static void add_at_peak(struct profile *p, const struct file *f)
{
	uint64_t *sums = must(calloc(f->objects + 1, sizeof *sums));
	for (uint32_t i = PROFILE_SITES_FIXED; i < f->sites; i++)
		if (f->site[i].object < f->objects)
			sums[f->site[i].object] += profile_at_peak(&f->head, &f->site[i]);
	for (uint32_t i = 0; i < f->objects; i++) {
		struct module *m = &p->modules[f->module[i]];
		m->at_peak = sums[i] > m->at_peak ? sums[i] : m->at_peak;
	}
	free(sums);
}

static void add_file(struct profile *p, struct file *f)
{
	struct process *process = append(&p->processes, &p->processes_n, sizeof *process);
	*process = (struct process){.pid = f->head.pid,
	                            .parent = f->head.parent,
	                            .executable = must(strdup(f->head.executable)),
	                            .sum = f->head.sum};
	add_tally(&p->sum, &f->head.sum);
	p->untracked += f->head.untracked;
	p->interrupted += f->head.interrupted;
	p->unrecorded += f->head.unrecorded;
	for (uint32_t i = 0; i < f->objects; i++) {
		f->object[i].name[PROFILE_NAME - 1] = 0;
		f->module[i] = module_of(p, f->object[i].name);
		add_tally(&p->modules[f->module[i]].sum, &f->object[i].sum);
	}
	for (uint32_t i = 0; i < f->sites; i++)
		add_site(p, f, i);
	add_at_peak(p, f);
}

static void load_one(struct profile *p, int dir, const char *name)
{
	struct stat st;
	struct file f = {.fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
	if (f.fd < 0 || fstat(f.fd, &st) || !S_ISREG(st.st_mode) || !file_read(&f))
		p->unrecorded++;
	else
		add_file(p, &f);
	free(f.object);
	free(f.module);
	free(f.site);
	if (f.fd >= 0)
		close(f.fd);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static int compare(uint64_t a, uint64_t b)
{
	return a < b ? -1 : a > b;
}

static int by_place(const void *x, const void *y)
{
	const struct site *a = x, *b = y;
	return a->module != b->module ? a->module - b->module
	       : a->module == NO_MODULE ? b->rest - a->rest
	                                : compare(a->offset, b->offset);
}

static int by_worth(const struct profile_tally *a, const struct profile_tally *b)
{
	return a->peak != b->peak ? compare(b->peak, a->peak) : compare(b->bytes, a->bytes);
}

static int sites_by_worth(const void *x, const void *y)
{
	const struct site *a = x, *b = y;
	int order = by_worth(&a->sum, &b->sum);
	return order ? order : by_place(a, b);
}

static int modules_by_worth(const void *x, const void *y)
{
	const struct module *a = x, *b = y;
	int order = by_worth(&a->sum, &b->sum);
	return order ? order : strcmp(a->path, b->path);
}

static int by_pid(const void *x, const void *y)
{
	const struct process *a = x, *b = y;
	return compare((uint64_t)a->pid, (uint64_t)b->pid);
}

/* The same site of several processes becomes one. */
static void unite(struct profile *p)
{
	unsigned n = 0;
	qsort(p->sites, p->sites_n, sizeof *p->sites, by_place);
	for (unsigned i = 0; i < p->sites_n; i++) {
		struct site *s = &p->sites[i], *to = n ? &p->sites[n - 1] : NULL;
		if (!to || by_place(to, s)) {
			p->sites[n++] = *s;
			continue;
		}
		add_tally(&to->sum, &s->sum);
		add_sizes(&to->least, &to->most, s->least, s->most);
		add_lifetimes(to->lifetimes, s->lifetimes);
		to->at_peak = s->at_peak > to->at_peak ? s->at_peak : to->at_peak;
	}
	p->sites_n = n;
}

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* Sizes and lifetimes of a module follow from its sites'. */
static void sum_modules(struct profile *p)
{
	for (unsigned i = 0; i < p->sites_n; i++) {
		const struct site *s = &p->sites[i];
		if (s->module == NO_MODULE)
			continue;
		struct module *m = &p->modules[s->module];
		add_sizes(&m->least, &m->most, s->least, s->most);
		add_lifetimes(m->lifetimes, s->lifetimes);
		m->sites++;
	}
	for (unsigned i = 0; i < p->modules_n; i++) {
		p->modules[i].alone = true;
		for (unsigned k = 0; k < p->modules_n; k++)
			if (k != i && !strcmp(file_name(p->modules[i].path), file_name(p->modules[k].path)))
				p->modules[i].alone = false;
	}
}

/* Sites name their module by number. */
static void sort_modules(struct profile *p)
{
	int *number = must(calloc(p->modules_n + 1, sizeof *number));
	char **paths = must(calloc(p->modules_n + 1, sizeof *paths));
	for (unsigned i = 0; i < p->modules_n; i++)
		paths[i] = p->modules[i].path;
	qsort(p->modules, p->modules_n, sizeof *p->modules, modules_by_worth);
	for (unsigned i = 0; i < p->modules_n; i++)
		for (unsigned k = 0; k < p->modules_n; k++)
			if (p->modules[k].path == paths[i])
				number[i] = (int)k;
	for (unsigned i = 0; i < p->sites_n; i++)
		if (p->sites[i].module != NO_MODULE)
			p->sites[i].module = number[p->sites[i].module];
	free(paths);
	free(number);
}

bool profile_load(const char *dir, struct profile *p)
{
	DIR *d = opendir(dir);
	if (!d) {
		complain("profile", "%s: %s", dir, strerror(errno));
		return false;
	}
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.')
			load_one(p, dirfd(d), e->d_name);
	closedir(d);
	if (p->sites_n)
		unite(p);
	sum_modules(p);
	if (p->modules_n)
		sort_modules(p);
	if (p->sites_n)
		qsort(p->sites, p->sites_n, sizeof *p->sites, sites_by_worth);
	if (p->processes_n)
		qsort(p->processes, p->processes_n, sizeof *p->processes, by_pid);
	return true;
}

uint64_t profile_percentile(const uint64_t lifetimes[PROFILE_LIFETIMES], uint64_t live, unsigned percent)
{
	uint64_t all = live, seen = 0;
	for (unsigned i = 0; i < PROFILE_LIFETIMES; i++)
		all += lifetimes[i];
	uint64_t rank = all / 100 * percent + (all % 100 * percent + 99) / 100; /* the rank-th is it */
	for (unsigned i = 0; i < PROFILE_LIFETIMES; i++) {
		seen += lifetimes[i];
		if (seen && seen >= rank)
			return (profile_lifetime_least(i) + profile_lifetime_least(i + 1)) / 2;
	}
	return LIVES_ON;
}
