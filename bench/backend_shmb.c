/* backend_shmb.c - an arena of our own, through the library's functions. */
#include "alloc.h"
#include "bench.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

shmb_arena *bench_arena;

void backend_open(const char *expect)
{
	(void)expect;
	const char *size = getenv("BENCH_CAPACITY");
	unsigned hardened = getenv("BENCH_HARDENED") ? SHMB_HARDENED : 0;
	shmb_options opt = {.size = size ? strtoull(size, NULL, 0) : (size_t)16 << 30, .flags = SHMB_FIXED | hardened};
	const char *name = getenv("BENCH_REGION"); /* of the caller's choice, who looks at it */
	char own[64];
	snprintf(own, sizeof own, "/shmb-bench-%d", (int)getpid());
	int err = shmb_arena_open(name ? name : own, &opt, &bench_arena);
	if (err)
		bench_die(shmb_strerror(err));
}

void backend_close(void)
{
	int err = shmb_arena_close(bench_arena);
	if (err)
		bench_die(shmb_strerror(err));
}

enum reach backend_reach(void) { return REACH_ALL; }
