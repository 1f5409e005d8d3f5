/*
 * backend_malloc.c - malloc and free of whatever is preloaded; refuses to
 * measure anything but what was asked for.
 */
#include "bench.h"
#include "alloc.h"

#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

/* Where the shim's regions lie: src/window.h, which a program cannot include. */
#define WINDOW_BASE ((uintptr_t)0x500000000000)
#define WINDOW_END ((uintptr_t)0x555000000000)

void backend_open(const char *expect)
{
	Dl_info info;
	void *entry = dlsym(RTLD_DEFAULT, "malloc");
	if (!entry || !dladdr(entry, &info) || !strstr(info.dli_fname, expect))
		bench_die("malloc is not the one that was to be measured");
	void *p = malloc(64);
	bool placed = (uintptr_t)p >= WINDOW_BASE && (uintptr_t)p < WINDOW_END;
	free(p);
	if (placed != !strcmp(expect, "shmbind-preload"))
		bench_die(placed ? "blocks lie in a region" : "blocks do not lie in the region");
}

void backend_close(void) {}

enum reach backend_reach(void) { return REACH_COPY; }
