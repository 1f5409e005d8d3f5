/*
 * arena_full.c - helper of tests/arena_full.sh: what happens when memory runs out.
 *
 *   arena_full fs THREADS ROUNDS   the file system is the limit: allocate 16 bytes to
 *                                  1 MiB until ENOMEM, write every byte, free, again
 *   arena_full capacity            the region is: small blocks until ENOMEM, freed in
 *                                  random order, then half of the capacity in one piece
 *
 * One line for each thing verified; any SIGBUS ends it.
 */
#include "shmbind.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHECK(e)                                                                    \
	do {                                                                        \
		if (!(e)) {                                                         \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #e); \
			exit(1);                                                    \
		}                                                                   \
	} while (0)

enum { MAX = 600000 };

struct block {
	unsigned char *p;
	size_t size;
};

struct worker {
	unsigned id;
	uint64_t random;
	struct block *b;
	size_t n, bytes;
};

static shmb_arena *a;
static pthread_barrier_t gate;

static uint64_t rnd(struct worker *w)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 7;
	return w->random ^= w->random << 17;
}

static shmb_arena *open_new(size_t size)
{
	char name[64];
	shmb_options opt = {.size = size, .flags = SHMB_CREATE_ONLY};
	snprintf(name, sizeof name, "/shmb-test-%d-full", (int)getpid());
	int err = shmb_arena_open(name, &opt, &a);
	if (err)
		fprintf(stderr, "open: %s\n", shmb_strerror(err));
	CHECK(err == 0);
	return a;
}

static unsigned char mark(const struct worker *w, size_t i)
{
	return (unsigned char)(w->id * 61 + i * 7 + 1);
}

/* Allocates until nothing is to be had; every byte is written. */
static void fill(struct worker *w, unsigned bits)
{
	w->n = w->bytes = 0;
	for (; w->n < MAX; w->n++) {
		struct block *b = &w->b[w->n];
		b->size = 16 + rnd(w) % ((size_t)1 << (4 + rnd(w) % (bits - 3)));
		errno = 0;
		b->p = shmb_malloc(a, b->size);
		if (!b->p)
			break;
		size_t usable = shmb_usable_size(a, b->p);
		CHECK(usable >= b->size);
		memset(b->p, mark(w, w->n), usable);
		w->bytes += usable;
	}
	CHECK(w->n < MAX && errno == ENOMEM);
}

static void verify(const struct worker *w)
{
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < w->b[i].size; k++)
			CHECK(w->b[i].p[k] == mark(w, i));
}

static void empty(struct worker *w)
{
	for (size_t left = w->n; left > 0; left--) {
		size_t i = rnd(w) % left;
		shmb_free(a, w->b[i].p);
		w->b[i] = w->b[left - 1];
	}
	w->n = 0;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	fill(w, 20);
	pthread_barrier_wait(&gate);
	verify(w);
	pthread_barrier_wait(&gate);
	empty(w);
	return NULL;
}

/* All threads fill at once; together they hold most of what there is; all of it is whole and goes back. */
static void fs_round(struct worker *w, unsigned threads, size_t limit)
{
	pthread_t t[16];
	size_t bytes = 0;
	pthread_barrier_init(&gate, NULL, threads);
	for (unsigned i = 0; i < threads; i++)
		CHECK(pthread_create(&t[i], NULL, work, &w[i]) == 0);
	for (unsigned i = 0; i < threads; i++)
		pthread_join(t[i], NULL);
	for (unsigned i = 0; i < threads; i++)
		bytes += w[i].bytes;
	CHECK(bytes <= limit);
	CHECK(bytes >= limit / 8); /* a little, at least; tables and slabs begun take the rest */
	shmb_trim(a);
	void *p = shmb_malloc(a, limit / 2);
	CHECK(p);
	memset(p, 1, limit / 2);
	shmb_free(a, p);
	printf("%u threads: filled %zu KiB, verified, freed, half of the file system in one piece\n", threads, bytes >> 10);
}

static void fs(unsigned threads, unsigned rounds)
{
	struct worker *w = calloc(threads, sizeof *w);
	CHECK(w != NULL);
	for (unsigned i = 0; i < threads; i++)
		w[i] = (struct worker){.id = i, .random = 88172645463325252u + i, .b = calloc(MAX, sizeof(struct block))};
	open_new((size_t)1 << 30); /* far more than the file system has */
	for (unsigned i = 0; i < rounds; i++)
		fs_round(w, threads, (size_t)4 << 20);
	CHECK(shmb_arena_close(a) == 0);
	for (unsigned i = 0; i < threads; i++)
		free(w[i].b);
	free(w);
}

static void capacity(void)
{
	struct worker w = {.id = 3, .random = 4242, .b = calloc(MAX, sizeof(struct block))};
	open_new((size_t)64 << 20);
	size_t cap = shmb_arena_capacity(a);
	for (unsigned round = 0; round < 3; round++) {
		fill(&w, 10);
		CHECK(w.bytes > cap / 2);
		printf("small blocks: %zu of them hold %zu KiB of %zu\n", w.n, w.bytes >> 10, cap >> 10);
		verify(&w);
		empty(&w);
		void *p = shmb_malloc(a, cap / 2);
		CHECK(p);
		memset(p, 1, cap / 2);
		shmb_free(a, p);
		printf("freed in random order: half of the capacity in one piece\n");
	}
	CHECK(shmb_arena_close(a) == 0);
	free(w.b);
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "fs"))
		fs((unsigned)atoi(argv[2]), (unsigned)atoi(argv[3]));
	else if (argc == 2 && !strcmp(argv[1], "capacity"))
		capacity();
	else
		return 2;
	return 0;
}
