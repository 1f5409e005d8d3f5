/* absent.c - an arena that forked children do not get. See preload_api.h. */
#include "context.h"
#include "error.h"
#include "preload_api.h"
#include "sys.h"

#include <sys/mman.h>

int preload_deny(shmb_arena *a)
{
	int err = sys_dontfork(a->map, a->lay.size);
	return err ? err : context_deny(a);
}

/* Whatever DONTFORK did: the addresses must not be given to another region, or old pointers would be into that. */
int preload_absent(shmb_arena *a)
{
	void *at;
	atomic_store(&a->retired, true);
	atomic_store(&a->absent, true);
	return sys_map(a->map, a->lay.size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0, &at);
}

bool preload_is_absent(const shmb_arena *a)
{
	return atomic_load_explicit(&a->absent, memory_order_relaxed);
}
