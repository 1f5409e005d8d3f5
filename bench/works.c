/* works.c - the list of workloads. */
#include "works.h"

#include <string.h>

static const struct window small = {.slots = 10000, .least = 16, .most = 1024};
static const struct window middle = {.slots = 256, .least = 4096, .most = 65536, .stride = 4096};
static const struct window large = {.slots = 16, .least = 65536, .most = 4 << 20, .stride = 4096};
static const struct window live[] = {
	{.slots = 1000, .least = 16, .most = 112},    {.slots = 10000, .least = 16, .most = 112},
	{.slots = 100000, .least = 16, .most = 112},  {.slots = 1000000, .least = 16, .most = 112},
	{.slots = 10000000, .least = 16, .most = 112}};
static const struct vector doubling = {.percent = 200}, quarter = {.percent = 125};

#define WINDOW(w) .begin = window_begin, .step = window_step, .end = window_end, .param = &(w)
#define VECTOR(v) .cold = true, .begin = nothing_begin, .step = vector_step, .end = nothing_begin, .param = &(v)
#define PASS .chained = true, .meeting_new = ring_new, .begin = nothing_begin, .step = pass_step, .end = pass_end
#define LARSON .begin = larson_begin, .step = larson_step, .end = larson_end
#define THREADTEST .begin = threadtest_begin, .step = threadtest_step, .end = nothing_begin
#define THRASH .begin = nothing_begin, .step = thrash_step, .end = nothing_begin
#define SCRATCH .meeting_new = scratch_new, .begin = scratch_begin, .step = thrash_step, .end = nothing_begin
#define MSTRESS .meeting_new = exchange_new, .begin = mstress_begin, .step = mstress_step, .end = mstress_end
#define XMALLOC .chained = true, .meeting_new = queue_new, .begin = xmalloc_begin, .step = xmalloc_step, .end = xmalloc_end

static const struct work works[] = {
	{"pair64", 1, IN_THREADS, .begin = nothing_begin, .step = pair64_step, .end = nothing_begin},
	{"win", 1, IN_THREADS, WINDOW(small)},
	{"win2t", 2, IN_THREADS, WINDOW(small)},
	{"win2p", 2, IN_PROCESSES, WINDOW(small)},
	{"xm2t", 2, IN_THREADS, PASS},
	{"xm2p", 2, ON_ONE_HEAP, PASS},
	{"larson2t", 2, IN_THREADS, LARSON},
	{"larson2p", 2, IN_PROCESSES, LARSON},
	{"threadtest2t", 2, IN_THREADS, THREADTEST},
	{"threadtest2p", 2, IN_PROCESSES, THREADTEST},
	{"thrash2t", 2, IN_THREADS, THRASH},
	{"thrash2p", 2, IN_PROCESSES, THRASH},
	{"scratch2t", 2, IN_THREADS, SCRATCH},
	{"scratch2p", 2, IN_PROCESSES, SCRATCH},
	{"scratch2x", 2, ON_ONE_HEAP, SCRATCH},
	{"mstress2t", 2, IN_THREADS, MSTRESS},
	{"mstress2p", 2, IN_PROCESSES, MSTRESS},
	{"mstress2x", 2, ON_ONE_HEAP, MSTRESS},
	{"xmalloc2t", 2, IN_THREADS, XMALLOC},
	{"xmalloc2x", 2, ON_ONE_HEAP, XMALLOC},
	{"mid", 1, IN_THREADS, WINDOW(middle)},
	{"big", 1, IN_THREADS, WINDOW(large)},
	{"touch", 1, IN_THREADS, .cold = true, .begin = touch_begin, .step = touch_step, .end = touch_end},
	{"realloc2", 1, IN_THREADS, VECTOR(doubling)},
	{"realloc1.25", 1, IN_THREADS, VECTOR(quarter)},
	{"calloc", 1, IN_THREADS, .begin = calloc_begin, .step = calloc_step, .end = calloc_end},
	{"live1e3", 1, IN_THREADS, WINDOW(live[0])},
	{"live1e4", 1, IN_THREADS, WINDOW(live[1])},
	{"live1e5", 1, IN_THREADS, WINDOW(live[2])},
	{"live1e6", 1, IN_THREADS, WINDOW(live[3])},
	{"live1e7", 1, IN_THREADS, WINDOW(live[4])},
	{"fragment", 1, IN_THREADS, .cold = true, .begin = fragment_begin, .step = fragment_step, .end = fragment_end},
};

const struct work *work_named(const char *name)
{
	for (size_t i = 0; i < sizeof works / sizeof *works; i++)
		if (!strcmp(works[i].name, name))
			return &works[i];
	return NULL;
}
