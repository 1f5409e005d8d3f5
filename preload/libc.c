/*
 * libc.c - requests of libc's own that are left to it, whatever the rules say.
 *
 * In a forked child libc puts its own things in order before any handler runs,
 * while the region is still its parent's: it unlocks the files of stdio, clears
 * other threads' values of pthread_setspecific, and sets the name service's
 * state as it was. Where these were placed blocks, that would be done to the
 * parent's. They are known by their sizes, and by who asks. The sizes of files
 * are taken from libc's own calls, which fail right after their request; the
 * others are glibc's up to 2.36.
 *
 * All but the values are asked for by malloc, whose hot path passes on what is
 * of such a size. Where somebody's malloc comes before ours, it is he who asks
 * for libc, too: then nobody gets such sizes placed.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>

enum { KEPT = 8, NSS_STATE = 216, VALUES = LIBC_VALUES * LIBC_VALUE };

static size_t kept[KEPT] = {VALUES, NSS_STATE}; /* 0: none */
static uintptr_t libc_base, libc_size;
static __thread size_t *learned __attribute__((tls_model("initial-exec")));

bool libc_keeps(size_t size, const void *caller)
{
	if ((uintptr_t)caller - libc_base >= libc_size)
		return false;
	if (unlikely(learned != NULL))
		return true;
	for (unsigned i = 0; i < KEPT; i++)
		if (size == kept[i])
			return size != 0;
	return false;
}

/* ---- its sizes ------------------------------------------------------------------------ */

static struct shim_below below;

static void *learning_malloc(size_t size)
{
	if (learned && !*learned)
		*learned = size;
	return below.malloc(size);
}

/* The first two refuse the mode after they have asked for memory, and before they open anything. */
static void try_file(void *libc)
{
	__typeof__(&fopen) open = (__typeof__(&fopen))dlsym(libc, "fopen");
	FILE *f = open ? open("/", "") : NULL;
	if (f)
		fclose(f);
}

static void try_pipe(void *libc)
{
	__typeof__(&popen) open = (__typeof__(&popen))dlsym(libc, "popen");
	FILE *f = open ? open("", "") : NULL;
	if (f)
		pclose(f);
}

static void try_cookie(void *libc)
{
	__typeof__(&fopencookie) open = (__typeof__(&fopencookie))dlsym(libc, "fopencookie");
	FILE *f = open ? open(kept, "r", (cookie_io_functions_t){NULL, NULL, NULL, NULL}) : NULL;
	if (f)
		fclose(f);
}

static void learn(void *libc)
{
	static void (*const calls[])(void *) = {try_file, try_pipe, try_cookie};
	struct shim_below learning = {.malloc = learning_malloc};
	if (!shim_below_wrap(&learning, &below))
		return;
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		learned = &kept[2 + i];
		calls[i](libc);
	}
	learned = NULL;
	(void)shim_below_wrap(&below, &learning);
}

/* ---- its code ------------------------------------------------------------------------- */

static int note_object(struct dl_phdr_info *o, size_t size, void *address)
{
	(void)size;
	for (unsigned i = 0; i < o->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &o->dlpi_phdr[i];
		uintptr_t start = o->dlpi_addr + p->p_vaddr;
		if (p->p_type == PT_LOAD && (p->p_flags & PF_X) && (uintptr_t)address - start < p->p_memsz) {
			libc_base = start;
			libc_size = p->p_memsz;
			return 1;
		}
	}
	return 0;
}

/* Does what libc asks for come to us as from libc? */
static bool asks_us(const char *name, const void *ours)
{
	return dlsym(RTLD_DEFAULT, name) == ours;
}

void libc_setup(void)
{
	int saved = errno;
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD); /* its own functions, not those of who comes before it */
	if (!libc)
		return;
	(void)dl_iterate_phdr(note_object, dlsym(libc, "fopen"));
	learn(libc);
	for (unsigned i = 1; i < KEPT; i++)
		preload_ask(kept[i]);
	for (const struct shim_entry *e = shim_entries(); e && e->name; e++)
		if ((!strcmp(e->name, "malloc") || !strcmp(e->name, "calloc")) && !asks_us(e->name, e->ours)) {
			libc_base = 0;
			libc_size = UINTPTR_MAX;
		}
	dlclose(libc);
	errno = saved;
}
