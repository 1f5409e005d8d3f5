/* backend_boost.c - one Boost.Interprocess segment, inherited by every party. */
#include "alloc.h"
#include "bench.h"

#include <stdio.h>
#include <unistd.h>

/* No workload has more than 1.2 GiB live. Sparse, like the arena. */
static const size_t segment_bytes = (size_t)2 << 30;

void backend_open(const char *expect)
{
	(void)expect;
	const char *name = getenv("BENCH_SEGMENT"); /* of the caller's choice: it sees to it that nothing stays */
	char own[64];
	snprintf(own, sizeof own, "shmb-bench-%d-boost", (int)getpid());
	const char *why = boost_heap_open(name ? name : own, segment_bytes);
	if (why)
		bench_die(why);
}

void backend_close(void) { boost_heap_close(); }

enum reach backend_reach(void) { return REACH_ALL; }
