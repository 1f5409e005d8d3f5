/*
 * backend_memkind.c - a memkind "pmem" kind over a file in /dev/shm. The file
 * has no name and the kind's bookkeeping is private, so a forked party would
 * hand out what another has: for one process only.
 */
#include "alloc.h"
#include "bench.h"

memkind_t bench_kind;

static void die(int err)
{
	static char text[MEMKIND_ERROR_MESSAGE_SIZE];
	memkind_error_message(err, text, sizeof text);
	bench_die(text);
}

void backend_open(const char *expect)
{
	(void)expect;
	int err = memkind_create_pmem("/dev/shm", 0, &bench_kind); /* 0: as much as there is */
	if (err)
		die(err);
}

void backend_close(void)
{
	int err = memkind_destroy_kind(bench_kind);
	if (err)
		die(err);
}

enum reach backend_reach(void) { return REACH_ONE; }
