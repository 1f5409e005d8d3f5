/* absent.c - memory of an arena that is not to be there: in children, under a limit. See preload_api.h. */
#include "context.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

/* But for the header, where any request looks whether the rules have changed: also in a child that no handler hears of. */
int preload_deny(shmb_arena *a)
{
	int err = sys_dontfork(a->map + PAGE, a->lay.size - PAGE);
	if (err)
		return err;
	err = context_deny(a);
	if (err)
		sys_dofork(a->map + PAGE, a->lay.size - PAGE);
	return err;
}

/* Whatever DONTFORK did. The window's table keeps other regions from these addresses. */
int preload_absent(shmb_arena *a)
{
	atomic_store(&a->retired, true);
	atomic_store(&a->absent, true);
	int err = sys_unmap(a->map, a->lay.size);
	return err ? err : context_absent(a);
}

bool preload_is_absent(const shmb_arena *a)
{
	return atomic_load_explicit(&a->absent, memory_order_relaxed);
}

static void cut(struct shmb_arena *a, uint64_t from, uint64_t to)
{
	from = round_up(from, PAGE);
	to &= ~(uint64_t)(PAGE - 1);
	if (from < to)
		(void)sys_unmap(a->map + from, to - from);
}

/*
 * Another thread that goes on to take units beyond the new end cannot populate
 * them, and finds the region full; so the tables that it writes to before, the
 * span words and the bitmaps, stay. Not safe against one that has just
 * populated a run there: who limits his memory does so while he is alone.
 */
void preload_shrink(shmb_arena *a, uint64_t bytes)
{
	struct layout *l = &a->lay;
	uint64_t most = l->units, units = 0, want = bytes >> UNIT_SHIFT;
	if (want >= most || atomic_load(&a->retired))
		return;
	for (uint64_t ready = want; units < ready; ready = atomic_load(&a->hdr->units_ready)) {
		units = round_up(ready, CHUNK_UNITS);
		l->units = units < most ? units : most;
		atomic_thread_fence(memory_order_seq_cst);
	}
	units = l->units;
	uint64_t small = most < SMALL_UNITS ? most : SMALL_UNITS, kept = units < small ? units : small;
	cut(a, l->pages + units * UNIT_PAGES * sizeof(page_t), l->blockmap);
	cut(a, l->blockmap + kept * (UNIT / GRAIN), l->blockmap + small * (UNIT / GRAIN));
	cut(a, l->tags + kept * (UNIT / GRAIN), l->tags + small * (UNIT / GRAIN));
	cut(a, l->data + (units << UNIT_SHIFT), l->size);
}
