/*
 * change.c - other rules while the program runs, as somebody outside has put
 * them into the region (src/rules.c).
 *
 * The first thread that makes a request after that takes them in, inside its
 * malloc: it copies the text, which is data from strangers, parses the copy into
 * the set that is not in force, and puts it into force. Nothing is allocated
 * and nobody waits: the other threads, and a signal handler in here, go on by
 * the rules up to then. Only a rule that names a symbol costs more: the files
 * of the program are read for it (symbols.c).
 *
 * Rules that cannot be followed here, those that ask who asks where that cannot
 * be found out, change nothing; the process's slot says so.
 */
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

static _Atomic pthread_t changer; /* the thread that is at it; a lock, tried and never waited for */

static void use_shown(const struct rules_set *s)
{
	struct rules_shown r = rules_shown(s);
	preload_rules_use(r.rules, r.off ? 0 : r.n);
}

static void change(shmb_arena *a)
{
	static char text[RULES_TEXT];
	struct word bad;
	bool off, site;
	uint32_t gen = preload_rules_read(a, text, &off);
	if (!gen)
		return; /* just being changed: the next request tries again */
	struct rules_set *s = rules_load(text, off, &site, &bad);
	if (!s) {
		preload_rules_follow(a, gen, true);
		return;
	}
	preload_rules_use(NULL, 0);
	if (preload_rules_enter(a, gen, rules_shown(s).n)) {
		rules_take(s);
		use_shown(s);
		preload_rules_follow(a, gen, false);
	} else {
		use_shown(NULL);
	}
}

void rules_change(void)
{
	shmb_arena *a = atomic_load_explicit(&shim_arena, memory_order_acquire);
	pthread_t nobody = 0;
	if (!a || !atomic_compare_exchange_strong(&changer, &nobody, pthread_self()))
		return;
	int saved = errno;
	if (preload_rules_changed())
		change(a);
	atomic_store(&changer, 0);
	errno = saved;
}

/*
 * Another of its parent's threads that was at it is not there: what was in force
 * before is so whole. This one, forking in a signal handler, goes on with it.
 */
void rules_change_forked(void)
{
	pthread_t who = atomic_load(&changer);
	if (!who || who == pthread_self())
		return; /* without a store, that would be a page copied */
	use_shown(NULL);
	atomic_store(&changer, 0);
}
