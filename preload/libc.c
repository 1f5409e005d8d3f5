/*
 * libc.c - requests of libc's own that are left to it, whatever the rules say.
 *
 * In a forked child libc puts its own things in order before any handler runs,
 * while the region is still its parent's: it unlocks the files of stdio, clears
 * other threads' values of pthread_setspecific, and sets the name service's
 * state as it was. Where these were placed blocks, that would be done to the
 * parent's. They are known by their sizes, and by who asks; the sizes are taken
 * from the calls themselves, which fail right after their request.
 *
 * All but the last are asked for by malloc, whose hot path passes on what is of
 * such a size.
 */
#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>

enum { KEPT = 8, NSS_STATE = 216, VALUES = LIBC_VALUES * LIBC_VALUE };

static size_t kept[KEPT] = {VALUES, NSS_STATE}; /* 0: none */
static uintptr_t libc_base, libc_size;

bool libc_keeps(size_t size, const void *caller)
{
	if ((uintptr_t)caller - libc_base >= libc_size)
		return false;
	for (unsigned i = 0; i < KEPT; i++)
		if (size == kept[i])
			return size != 0;
	return false;
}

/* ---- its sizes ------------------------------------------------------------------------ */

static struct shim_below below;
static __thread size_t *learned __attribute__((tls_model("initial-exec")));

static void *learning_malloc(size_t size)
{
	if (learned && !*learned)
		*learned = size;
	return below.malloc(size);
}

/* The first two refuse the mode after they have asked for memory, and before they open anything. */
static void try_file(void)
{
	__typeof__(&fopen) open = (__typeof__(&fopen))dlsym(RTLD_NEXT, "fopen");
	FILE *f = open ? open("/", "") : NULL;
	if (f)
		fclose(f);
}

static void try_pipe(void)
{
	__typeof__(&popen) open = (__typeof__(&popen))dlsym(RTLD_NEXT, "popen");
	FILE *f = open ? open("", "") : NULL;
	if (f)
		pclose(f);
}

static void try_cookie(void)
{
	__typeof__(&fopencookie) open = (__typeof__(&fopencookie))dlsym(RTLD_NEXT, "fopencookie");
	FILE *f = open ? open(kept, "r", (cookie_io_functions_t){NULL, NULL, NULL, NULL}) : NULL;
	if (f)
		fclose(f);
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

void libc_setup(void)
{
	static void (*const calls[])(void) = {try_file, try_pipe, try_cookie};
	struct shim_below learning = {.malloc = learning_malloc};
	int saved = errno;
	if (!shim_below_wrap(&learning, &below))
		return;
	for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
		learned = &kept[2 + i];
		calls[i]();
	}
	learned = NULL;
	for (unsigned i = 1; i < KEPT; i++)
		preload_ask(kept[i]);
	(void)shim_below_wrap(&below, &learning);
	(void)dl_iterate_phdr(note_object, dlsym(RTLD_NEXT, "popen"));
	errno = saved;
}
