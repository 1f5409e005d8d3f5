/*
 * deepbind.c - modules that are loaded with RTLD_DEEPBIND.
 *
 * Such a module finds libc's own malloc and free before ours, so that it
 * would give libc a block of a region to free. Therefore libc's dynamic
 * symbols for these functions are made to stand for ours, in this process's
 * copy of libc's symbol table. Whoever has looked them up before keeps libc's;
 * interpose.c does, to pass requests on.
 *
 * Not where another allocator lies between: it may look libc's up later, as
 * "the next", and would find us. Whatever cannot be done is left.
 */
#include "shim.h"

#include <dlfcn.h>
#include <elf.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

enum { PAGE_BYTES = 4096 };

struct table {
	ElfW(Addr) base;
	ElfW(Sym) *symbols;
	const char *strings;
	const uint32_t *hash; /* DT_GNU_HASH */
};

static bool table_of(const struct link_map *m, struct table *t)
{
	*t = (struct table){.base = m->l_addr};
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			t->symbols = (ElfW(Sym) *)d->d_un.d_ptr;
		else if (d->d_tag == DT_STRTAB)
			t->strings = (const char *)d->d_un.d_ptr;
		else if (d->d_tag == DT_GNU_HASH)
			t->hash = (const uint32_t *)d->d_un.d_ptr;
	}
	return t->symbols && t->strings && t->hash;
}

static uint32_t hash_of(const char *name)
{
	uint32_t h = 5381;
	for (; *name; name++)
		h = h * 33 + (unsigned char)*name;
	return h;
}

/* The entries that are to stand for ours, and what they are to say. */
struct redirection {
	ElfW(Sym) *symbol;
	ElfW(Addr) value;
};
enum { REDIRECTIONS = 64 }; /* of some twenty names, a few in two versions */

/* Notes every version of the symbol. */
static void symbol_find(const struct table *t, const struct shim_entry *e, struct redirection *r, unsigned *n)
{
	uint32_t buckets = t->hash[0], first = t->hash[1], bloom = t->hash[2], want = hash_of(e->name);
	const uint32_t *bucket = t->hash + 4 + bloom * (sizeof(ElfW(Addr)) / 4), *chain = bucket + buckets;
	uint32_t i = bucket[want % buckets];
	if (i < first)
		return;
	for (;; i++) {
		uint32_t h = chain[i - first];
		ElfW(Sym) *s = &t->symbols[i];
		if ((h | 1) == (want | 1) && !strcmp(t->strings + s->st_name, e->name) && s->st_shndx != SHN_UNDEF &&
		    ELF64_ST_TYPE(s->st_info) == STT_FUNC && *n < REDIRECTIONS)
			r[(*n)++] = (struct redirection){s, (ElfW(Addr))e->ours - t->base};
		if (h & 1)
			return;
	}
}

/* All at once: each change of protection is two system calls and splits a mapping. */
static void redirect(const struct redirection *r, unsigned n)
{
	uintptr_t low = UINTPTR_MAX, high = 0;
	for (unsigned i = 0; i < n; i++) {
		uintptr_t at = (uintptr_t)r[i].symbol;
		low = at < low ? at : low;
		high = at > high ? at : high;
	}
	if (!n)
		return;
	low &= ~(uintptr_t)(PAGE_BYTES - 1);
	size_t len = high + sizeof(ElfW(Sym)) - low;
	if (mprotect((void *)low, len, PROT_READ | PROT_WRITE))
		return;
	for (unsigned i = 0; i < n; i++)
		r[i].symbol->st_value = r[i].value;
	(void)mprotect((void *)low, len, PROT_READ);
}

/* The object that defines a function which comes after ours. dladdr() looks at each symbol of it, 20 us in libc. */
static const struct link_map *definer(const char *name)
{
	Dl_info info;
	struct link_map *m = NULL;
	struct site s;
	void *f = dlsym(RTLD_NEXT, name);
	if (!site_possible())
		return f && dladdr1(f, &info, (void **)&m, RTLD_DL_LINKMAP) ? m : NULL;
	site_locate(&s, f);
	return f ? s.object : NULL;
}

/* But those that another library passes on: what it looks up as the next would be ours, which leads to it again. */
static void find_all(const struct table *t, const struct link_map *libc, const struct shim_entry *e, struct redirection *r, unsigned *n)
{
	for (; e->name; e++)
		if (definer(e->name) == libc)
			symbol_find(t, e, r, n);
}

void shim_reach_deepbind(void)
{
	const struct shim_entry *e = shim_entries(), *forks = shim_forks(); /* from now on nobody here looks for libc's */
	const struct link_map *libc = definer("gnu_get_libc_version");
	struct redirection found[REDIRECTIONS];
	unsigned n = 0;
	struct table t;
	if (!e || !libc || definer("malloc") != libc || definer("free") != libc || !table_of(libc, &t))
		return;
	find_all(&t, libc, e, found, &n);
	find_all(&t, libc, forks, found, &n);
	redirect(found, n);
}
