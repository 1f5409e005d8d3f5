/*
 * work_xmalloc.c - xmalloc, after Lever and Boreham, "malloc() Performance in
 * a Multithreaded Linux Environment" (2000): some allocate batches of blocks
 * of random size and append them to a list under a mutex, others take batches
 * off it and free them. One of each here; the list is bounded.
 */
#include "alloc.h"
#include "works.h"

enum { BATCHES = 16, BATCH = 128, LEAST = 8, MOST = 512 };

struct queue {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t sent, taken; /* batches */
	bool closed;
	void *cells[BATCHES][BATCH];
};

void *queue_new(void)
{
	struct queue *q = bench_map(sizeof *q);
	pthread_mutexattr_t lock;
	pthread_condattr_t changed;
	pthread_mutexattr_init(&lock);
	pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED);
	pthread_mutex_init(&q->lock, &lock);
	pthread_condattr_init(&changed);
	pthread_condattr_setpshared(&changed, PTHREAD_PROCESS_SHARED);
	pthread_cond_init(&q->changed, &changed);
	return q;
}

void xmalloc_begin(struct party *p) { (void)p; }

static void send(struct party *p, struct queue *q)
{
	void **cells = q->cells[q->sent % BATCHES]; /* only this party changes `sent` */
	pthread_mutex_lock(&q->lock);
	while (q->sent - q->taken == BATCHES)
		pthread_cond_wait(&q->changed, &q->lock);
	pthread_mutex_unlock(&q->lock);
	for (unsigned i = 0; i < BATCH; i++) {
		cells[i] = bench_malloc(bench_between((uint32_t)bench_random(&p->rng), LEAST, MOST));
		if (!cells[i])
			bench_die("out of memory");
		*(volatile char *)cells[i] = 1;
	}
	pthread_mutex_lock(&q->lock);
	q->sent++;
	pthread_cond_signal(&q->changed);
	pthread_mutex_unlock(&q->lock);
}

/* False: there is nothing, and nothing will come. */
static bool take(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	while (q->sent == q->taken && !q->closed)
		pthread_cond_wait(&q->changed, &q->lock);
	bool some = q->sent > q->taken;
	pthread_mutex_unlock(&q->lock);
	if (!some)
		return false;
	void **cells = q->cells[q->taken % BATCHES];
	for (unsigned i = 0; i < BATCH; i++) {
		if (*(volatile char *)cells[i] != 1)
			bench_die("a block lost its contents on the way");
		bench_free(cells[i]);
	}
	pthread_mutex_lock(&q->lock);
	q->taken++;
	pthread_cond_signal(&q->changed);
	pthread_mutex_unlock(&q->lock);
	return true;
}

uint64_t xmalloc_step(struct party *p)
{
	struct queue *q = p->shared->meeting;
	for (unsigned i = 0; i < STEP_OPS / BATCH; i++)
		if (p->index == 0)
			send(p, q);
		else if (!take(q))
			break;
	return STEP_OPS;
}

/* Party 1 works until party 0 has closed the list and it is empty. */
void xmalloc_end(struct party *p)
{
	struct queue *q = p->shared->meeting;
	if (p->index > 0) {
		while (take(q))
			;
		return;
	}
	pthread_mutex_lock(&q->lock);
	q->closed = true;
	pthread_cond_signal(&q->changed);
	pthread_mutex_unlock(&q->lock);
}
