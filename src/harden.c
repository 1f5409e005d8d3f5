/*
 * harden.c - thread caches of a hardened region, where a freed block is not
 * issued again at once, nor in an order that could be foretold.
 *
 * Of a thread's two magazines of a class the loaded one is issued from and the
 * previous one freed into. That goes to the thread's quarantine when it is
 * full, which is the backlog of its record: a queue here, the newest first.
 * What leaves it, since it grew beyond QUARANTINE_MAGS or the bytes that a
 * backlog may have, goes the way of all full magazines. So recovery and
 * `check` find the same lists as in any region, and a killed process loses
 * nothing.
 *
 * The hot path never sees a magazine (pair_show()), so every call comes here.
 */
#include "harden.h"

#include "canary.h"
#include "depot.h"
#include "error.h"
#include "magazine.h"
#include "sys.h"
#include "tally.h"

enum { RELEASES = 4 }; /* at a time: of magazines that nobody takes the quarantine may be longer */

/* ---- quarantine ----------------------------------------------------------------------- */

struct queue {
	struct mag_shm *oldest, *before; /* NULL: none */
	unsigned length;
};

/* A ring, which only a stranger's lists could make, ends where it is too long to be ours. */
static struct queue queue_of(const struct tctx *t)
{
	struct queue q = {.length = 0};
	struct mag_shm *mags = t->arena->mags;
	for (uint32_t n = atomic_load_explicit(&t->shm->backlog, memory_order_relaxed); n && n <= MAGS && q.length < MAGS;
	     n = mags[n - 1].next) {
		q.before = q.oldest;
		q.oldest = &mags[n - 1];
		q.length++;
	}
	return q;
}

/* Out of the queue, into transit: there first, so that it is listed at every moment. */
static void queue_end(struct tctx *t, const struct queue *q)
{
	store(&t->shm->transit, mag_number(t->arena, q->oldest));
	if (q->before)
		__atomic_store_n(&q->before->next, 0, __ATOMIC_RELEASE);
	else
		store(&t->shm->backlog, 0);
	t->backlog_bytes -= magazine_bytes(q->oldest);
}

static void quarantine_shorten(struct tctx *t)
{
	for (unsigned i = 0; i < RELEASES; i++) {
		struct queue q = queue_of(t);
		if (q.length <= QUARANTINE_MAGS && t->backlog_bytes <= t->arena->stock_bytes)
			return;
		queue_end(t, &q);
		magazine_hand_on(t, q.oldest);
	}
}

/* ---- refill and spill ------------------------------------------------------------------- */

struct mag_shm *harden_refill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.loaded && mag_count(p.loaded))
		return p.loaded;
	return magazine_load(t, class, p.previous, p.loaded);
}

static void quarantine(struct tctx *t, unsigned class, struct pair p)
{
	uint32_t n = mag_count(p.previous);
	store(&t->shm->transit, mag_number(t->arena, p.previous));
	pair_store(t, class, p.loaded, NULL);
	tally_untag(t->arena, p.previous);
	magazine_stock(t, p.previous);
	store(&t->shm->transit, 0);
	tally_leave(t->arena, class, n);
	quarantine_shorten(t);
}

struct mag_shm *harden_spill(struct tctx *t, unsigned class)
{
	struct pair p = pair_get(t, class);
	if (p.previous && mag_count(p.previous) < p.previous->rounds)
		return p.previous;
	magazine_tidy(t);
	if (p.previous)
		quarantine(t, class, p);
	struct mag_shm *empty = pool_take(t, class);
	if (empty)
		pair_set(t, class, p.loaded, empty);
	return empty;
}

/* ---- issuing ----------------------------------------------------------------------------- */

static uint64_t random_next(struct tctx *t)
{
	if (!t->random)
		t->random = (sys_now_ns() ^ t->arena->key[1] ^ (uint64_t)t->number << 48) | 1;
	t->random ^= t->random << 13; /* xorshift64 */
	t->random ^= t->random >> 7;
	t->random ^= t->random << 17;
	return t->random >> 16;
}

uint32_t harden_pick(struct tctx *t, const struct mag_shm *m, bool any)
{
	uint32_t n = mag_count(m);
	return any ? (uint32_t)(random_next(t) % n) : n - 1;
}

/*
 * Below the top: the top's block is taken, as it always is, and put into the
 * place of the one that is wanted. Whatever comes in between, each is listed
 * once, or live, and of one that is listed the byte may say that it is live.
 */
void harden_issue(struct shmb_arena *a, struct mag_shm *m, uint32_t i, uint64_t size)
{
	uint32_t top = mag_count(m) - 1, grain = m->entries[i], last = m->entries[top];
	unsigned class = m->class;
	uint8_t live = block_make(BLOCK_LIVE, class);
	canary_check_free("shmb_malloc", a, grain, class);
	canary_set(a, (uint64_t)grain << GRAIN_SHIFT, class_size(class), size);
	block_set(a->blocks, last, live);
	mag_count_set(m, top);
	if (i == top)
		return;
	block_set(a->blocks, grain, live);
	__atomic_store_n(&m->entries[i], last, __ATOMIC_RELEASE);
	block_set(a->blocks, last, block_make(BLOCK_CACHED, class));
}
