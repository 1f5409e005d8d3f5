/*
 * symbols.c - does an address lie in a function of that name?
 *
 * What an object exports is found in its own hash table in memory, as the
 * loader would find it: no lock, and nothing to remember that an unloading
 * could make false; a Bloom filter makes it one load for most objects. The
 * names that only the files have, a program's own functions as a rule, are
 * read when the rules are taken in: of the objects that were there at the
 * start and stay, which are noted then. So a change of the rules while the
 * program runs asks the loader for nothing: it happens inside malloc, where
 * another thread may have the loader's lock and wait for this one. The files
 * are opened by system calls that are no cancellation points, and not in a
 * process under seccomp, which might end for it.
 */
#include "shim.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RANGES = 512, OBJECTS = 512 };

struct symbol {
	struct word name;
	uint32_t hash;
};
static struct symbol symbols[RULES_SETS][RULES];
static unsigned symbol_count[RULES_SETS];

static struct range {
	uintptr_t from;
	size_t len;
	unsigned symbol;
} ranges[RULES_SETS][RANGES];
static _Atomic unsigned range_count[RULES_SETS];

/* The objects of the start. Their names stay where they are, as they do. */
static struct object {
	const char *name;
	uintptr_t base;
} objects[OBJECTS];
static unsigned object_count;

void symbols_begin(unsigned set)
{
	for (unsigned i = 0; i < RULES; i++)
		symbols[set][i].name.s = rules_nothing;
}

void symbols_clear(unsigned set)
{
	symbol_count[set] = 0;
	atomic_store(&range_count[set], 0);
}

unsigned symbol_new(unsigned set, struct word name)
{
	uint32_t h = 5381;
	for (unsigned i = 0; i < name.len; i++)
		h = h * 33 + (unsigned char)name.s[i];
	symbols[set][symbol_count[set]] = (struct symbol){name, h};
	return symbol_count[set]++;
}

static bool is_named(const struct symbol *s, const char *name)
{
	return !strncmp(name, s->name.s, s->name.len) && !name[s->name.len];
}

/* Also f.part.0, f.constprop.0, f.cold: what the compiler made of f or split off it. */
static bool is_part_of(const struct symbol *s, const char *name)
{
	return !strncmp(name, s->name.s, s->name.len) && (!name[s->name.len] || name[s->name.len] == '.');
}

/* ---- in memory --------------------------------------------------------------------- */

struct tables {
	uintptr_t base;
	const ElfW(Sym) *symbols;
	const char *strings;
	const uint32_t *hash; /* of the GNU kind */
};

/* glibc relocates these entries in place, but not on every machine, nor the vDSO's. */
static const void *relocated(const struct link_map *m, ElfW(Addr) at)
{
	return (const void *)(at < m->l_addr ? at + m->l_addr : at);
}

static bool tables_of(const struct link_map *m, struct tables *t)
{
	*t = (struct tables){.base = m->l_addr};
	for (const ElfW(Dyn) *d = m->l_ld; d->d_tag != DT_NULL; d++) {
		if (d->d_tag == DT_SYMTAB)
			t->symbols = relocated(m, d->d_un.d_ptr);
		else if (d->d_tag == DT_STRTAB)
			t->strings = relocated(m, d->d_un.d_ptr);
		else if (d->d_tag == DT_GNU_HASH)
			t->hash = relocated(m, d->d_un.d_ptr);
	}
	return t->symbols && t->strings && t->hash;
}

static bool covers(const struct tables *t, const ElfW(Sym) *y, const struct symbol *s, uintptr_t at)
{
	return ELF64_ST_TYPE(y->st_info) == STT_FUNC && at - (t->base + y->st_value) < y->st_size &&
	       is_named(s, t->strings + y->st_name);
}

static bool exported_covers(const struct symbol *s, const struct link_map *object, uintptr_t at)
{
	enum { WORD_BITS = 8 * sizeof(ElfW(Addr)) };
	struct tables t;
	if (!tables_of(object, &t) || !t.hash[0])
		return false;
	uint32_t buckets = t.hash[0], first = t.hash[1], words = t.hash[2], shift = t.hash[3];
	const ElfW(Addr) *bloom = (const void *)(t.hash + 4);
	const uint32_t *bucket = (const void *)(bloom + words), *chain = bucket + buckets;
	ElfW(Addr) word = bloom[s->hash / WORD_BITS % words];
	if (!(word >> s->hash % WORD_BITS & word >> (s->hash >> shift) % WORD_BITS & 1))
		return false;
	for (uint32_t i = bucket[s->hash % buckets]; i >= first && i; i++) {
		if ((chain[i - first] | 1) == (s->hash | 1) && covers(&t, &t.symbols[i], s, at))
			return true;
		if (chain[i - first] & 1)
			break;
	}
	return false;
}

bool symbol_covers(unsigned set, unsigned symbol, const struct link_map *object, uintptr_t at)
{
	unsigned n = atomic_load_explicit(&range_count[set], memory_order_acquire);
	for (const struct range *r = ranges[set]; r < ranges[set] + n; r++)
		if (r->symbol == symbol && at - r->from < r->len)
			return true;
	return exported_covers(&symbols[set][symbol], object, at);
}

/* ---- in files ----------------------------------------------------------------------- */

struct file {
	const char *at;
	uint64_t len;
};

static bool inside(const struct file *f, uint64_t off, uint64_t len)
{
	return off <= f->len && len <= f->len - off;
}

static void note(unsigned set, const char *name, uintptr_t from, size_t len)
{
	for (unsigned k = 0, n; k < symbol_count[set] && (n = atomic_load(&range_count[set])) < RANGES; k++) {
		if (!is_part_of(&symbols[set][k], name))
			continue;
		ranges[set][n] = (struct range){from, len, k};
		atomic_store(&range_count[set], n + 1);
	}
}

static void read_table(unsigned set, const struct file *f, const ElfW(Shdr) *table, const ElfW(Shdr) *strings, uintptr_t base)
{
	if (table->sh_offset % sizeof(uint64_t) || !inside(f, table->sh_offset, table->sh_size) || !strings->sh_size ||
	    !inside(f, strings->sh_offset, strings->sh_size) || f->at[strings->sh_offset + strings->sh_size - 1])
		return;
	const ElfW(Sym) *y = (const void *)(f->at + table->sh_offset);
	for (uint64_t n = table->sh_size / sizeof *y; n > 0; n--, y++)
		if (ELF64_ST_TYPE(y->st_info) == STT_FUNC && y->st_size && y->st_name < strings->sh_size)
			note(set, f->at + strings->sh_offset + y->st_name, base + y->st_value, y->st_size);
}

static void read_elf(unsigned set, const struct file *f, uintptr_t base)
{
	const ElfW(Ehdr) *e = (const void *)f->at;
	if (f->len < sizeof *e || memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_shentsize != sizeof(ElfW(Shdr)) ||
	    e->e_shoff % sizeof(uint64_t) || !inside(f, e->e_shoff, e->e_shnum * sizeof(ElfW(Shdr))))
		return;
	const ElfW(Shdr) *sections = (const void *)(f->at + e->e_shoff);
	for (unsigned i = 0; i < e->e_shnum; i++)
		if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < e->e_shnum)
			read_table(set, f, &sections[i], &sections[sections[i].sh_link], base);
}

static void read_object(unsigned set, const struct object *o)
{
	struct stat st;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, *o->name ? o->name : "/proc/self/exe", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* the vDSO, or not for us to read: what it exports is found all the same */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		struct file f = {.len = (uint64_t)st.st_size};
		void *at = mmap(NULL, f.len, PROT_READ, MAP_PRIVATE, fd, 0);
		f.at = at;
		if (at != MAP_FAILED) {
			read_elf(set, &f, o->base);
			munmap(at, f.len);
		}
	}
	(void)syscall(SYS_close, fd);
}

static int note_object(struct dl_phdr_info *info, size_t len, void *data)
{
	(void)len, (void)data;
	if (object_count < OBJECTS)
		objects[object_count++] = (struct object){info->dlpi_name, info->dlpi_addr};
	return 0;
}

void symbols_setup(void)
{
	(void)dl_iterate_phdr(note_object, NULL);
}

void symbols_read(unsigned set)
{
	if (!symbol_count[set] || syscall(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0))
		return;
	for (unsigned i = 0; i < object_count; i++)
		read_object(set, &objects[i]);
}
