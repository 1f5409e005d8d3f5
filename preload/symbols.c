/*
 * symbols.c - does an address lie in a function of that name?
 *
 * What an object exports is found in its own hash table in memory, as the
 * loader would find it: no lock, and nothing to remember that an unloading
 * could make false; a Bloom filter makes it one load for most objects. The
 * names that only the files have, a program's own functions as a rule, are
 * read at the start, of the objects that are there then and stay.
 */
#include "shim.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RANGES = 512 };

struct symbol {
	struct word name;
	uint32_t hash;
};
static struct symbol symbols[RULES];
static unsigned symbol_count;

static struct range {
	uintptr_t from;
	size_t len;
	unsigned symbol;
} ranges[RANGES];
static unsigned range_count;

unsigned symbol_new(struct word name)
{
	uint32_t h = 5381;
	for (unsigned i = 0; i < name.len; i++)
		h = h * 33 + (unsigned char)name.s[i];
	symbols[symbol_count] = (struct symbol){name, h};
	return symbol_count++;
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

bool symbol_covers(unsigned symbol, const struct link_map *object, uintptr_t at)
{
	for (unsigned i = 0; i < range_count; i++)
		if (ranges[i].symbol == symbol && at - ranges[i].from < ranges[i].len)
			return true;
	return exported_covers(&symbols[symbol], object, at);
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

static void note(const char *name, uintptr_t from, size_t len)
{
	for (unsigned k = 0; k < symbol_count && range_count < RANGES; k++)
		if (is_part_of(&symbols[k], name))
			ranges[range_count++] = (struct range){from, len, k};
}

static void read_table(const struct file *f, const ElfW(Shdr) *table, const ElfW(Shdr) *strings, uintptr_t base)
{
	if (table->sh_offset % sizeof(uint64_t) || !inside(f, table->sh_offset, table->sh_size) || !strings->sh_size ||
	    !inside(f, strings->sh_offset, strings->sh_size) || f->at[strings->sh_offset + strings->sh_size - 1])
		return;
	const ElfW(Sym) *y = (const void *)(f->at + table->sh_offset);
	for (uint64_t n = table->sh_size / sizeof *y; n > 0; n--, y++)
		if (ELF64_ST_TYPE(y->st_info) == STT_FUNC && y->st_size && y->st_name < strings->sh_size)
			note(f->at + strings->sh_offset + y->st_name, base + y->st_value, y->st_size);
}

static void read_elf(const struct file *f, uintptr_t base)
{
	const ElfW(Ehdr) *e = (const void *)f->at;
	if (f->len < sizeof *e || memcmp(e->e_ident, ELFMAG, SELFMAG) || e->e_shentsize != sizeof(ElfW(Shdr)) ||
	    e->e_shoff % sizeof(uint64_t) || !inside(f, e->e_shoff, e->e_shnum * sizeof(ElfW(Shdr))))
		return;
	const ElfW(Shdr) *sections = (const void *)(f->at + e->e_shoff);
	for (unsigned i = 0; i < e->e_shnum; i++)
		if (sections[i].sh_type == SHT_SYMTAB && sections[i].sh_link < e->e_shnum)
			read_table(f, &sections[i], &sections[sections[i].sh_link], base);
}

static int read_object(struct dl_phdr_info *info, size_t len, void *data)
{
	struct stat st;
	int fd = open(*info->dlpi_name ? info->dlpi_name : "/proc/self/exe", O_RDONLY | O_CLOEXEC);
	(void)len, (void)data;
	if (fd < 0)
		return 0; /* the vDSO, or not for us to read: what it exports is found all the same */
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		struct file f = {.len = (uint64_t)st.st_size};
		void *at = mmap(NULL, f.len, PROT_READ, MAP_PRIVATE, fd, 0);
		f.at = at;
		if (at != MAP_FAILED) {
			read_elf(&f, info->dlpi_addr);
			munmap(at, f.len);
		}
	}
	close(fd);
	return 0;
}

void symbols_read(void)
{
	if (symbol_count)
		(void)dl_iterate_phdr(read_object, NULL);
}
