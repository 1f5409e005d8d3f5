/*
 * preload_change.c - a program that allocates what it is told, line by line,
 * while somebody else looks at the rules of its region and changes them.
 *
 *   take SIZE COUNT      malloc in take(), a function of the program
 *   other SIZE COUNT     malloc in other()
 *   align ALIGN SIZE COUNT
 *   resize SIZE          the block taken last
 *   drop COUNT           frees those taken last
 *   once SIZE            free, malloc: a pair of a thread that does only that
 *   named NAME SIZE COUNT  malloc in a thread of that name
 *   load THREADS         these take and free all the time, and look at their bytes; unload: they end
 *   fork                 a child that does what follows, up to `exit`
 *   exit
 *
 * Each line is answered by one: how many of the blocks lie in a region, and
 * how many bytes of theirs can be used.
 */
#include "preload_util.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>

enum { BLOCKS = 100000, THREADS_MOST = 16, LOADED = 64 };

static struct block {
	char *p;
	size_t size;
} blocks[BLOCKS];
static unsigned n;
static size_t placed, usable;

static bool in_region(const void *p)
{
	return (uintptr_t)p - 0x500000000000u < 0x055000000000u; /* the window of regions */
}

static void keep(void *p, size_t size)
{
	blocks[n++] = (struct block){kept(p), size};
	placed += in_region(p);
	usable += in_region(p) ? malloc_usable_size(p) : 0;
}

void take(size_t size);
__attribute__((noinline)) void take(size_t size)
{
	void *p = malloc(any(size));
	keep(p, size);
}

void other(size_t size);
__attribute__((noinline)) void other(size_t size)
{
	void *p = malloc(any(size + 1) - 1);
	keep(p, size);
}

static void drop(unsigned count)
{
	while (count-- && n) {
		n--;
		placed += in_region(blocks[n].p);
		free(blocks[n].p);
	}
}

/* Only ever a pair of one size. */
static void once(size_t size)
{
	static void *p;
	free(p);
	p = kept(malloc(any(size)));
	placed += in_region(p);
}

struct naming {
	const char *name;
	size_t size;
	unsigned count;
};

static void *named(void *arg)
{
	struct naming *w = arg;
	prctl(PR_SET_NAME, w->name);
	for (unsigned i = 0; i < w->count; i++)
		take(w->size);
	return NULL;
}

/* ---- load --------------------------------------------------------------------------- */

static pthread_t threads[THREADS_MOST];
static unsigned threads_n;
static atomic_bool stop;
static atomic_uint wrong;

static void *load(void *arg)
{
	struct block mine[LOADED] = {{0}};
	unsigned x = (unsigned)(uintptr_t)arg;
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		x = x * 1664525 + 1013904223;
		struct block *b = &mine[x >> 8 & (LOADED - 1)];
		size_t size = 16 + (x >> 14) % (x % 97 ? 9000 : 150000);
		if (b->p && (b->p[0] != (char)b->size || b->p[b->size - 1] != (char)b->size))
			atomic_fetch_add(&wrong, 1);
		b->p = x & 64 ? realloc(b->p, size) : (free(b->p), malloc(size));
		b->size = size;
		b->p[0] = b->p[size - 1] = (char)size;
	}
	for (unsigned i = 0; i < LOADED; i++)
		free(mine[i].p);
	return NULL;
}

static void unload(void)
{
	atomic_store(&stop, true);
	while (threads_n)
		pthread_join(threads[--threads_n], NULL);
	placed = atomic_load(&wrong);
}

/* ---- lines ---------------------------------------------------------------------------- */

static void obey(char *line)
{
	static char name[64];
	size_t a = 0, b = 0, c = 0;
	if (sscanf(line, "take %zu %zu", &a, &b) == 2)
		while (b--)
			take(a);
	else if (sscanf(line, "other %zu %zu", &a, &b) == 2)
		while (b--)
			other(a);
	else if (sscanf(line, "align %zu %zu %zu", &a, &b, &c) == 3)
		while (c--)
			keep(aligned_alloc(a, b), b);
	else if (sscanf(line, "resize %zu", &a) == 1)
		n--, keep(realloc(blocks[n].p, a), a);
	else if (sscanf(line, "drop %zu", &a) == 1)
		drop((unsigned)a);
	else if (sscanf(line, "once %zu", &a) == 1)
		once(a);
	else if (sscanf(line, "named %63s %zu %zu", name, &a, &b) == 3) {
		struct naming w = {name, a, (unsigned)b};
		pthread_t t;
		if (pthread_create(&t, NULL, named, &w) || pthread_join(t, NULL))
			exit(1);
	} else if (sscanf(line, "load %zu", &a) == 1)
		while (threads_n < a && threads_n < THREADS_MOST)
			pthread_create(&threads[threads_n], NULL, load, (void *)(uintptr_t)(threads_n + 1)), threads_n++;
	else if (!strncmp(line, "unload", 6))
		unload();
	else if (!strncmp(line, "exit", 4))
		exit(0);
	else if (strncmp(line, "fork", 4))
		exit(2);
}

static bool read_line(char *line, size_t len)
{
	size_t k = 0;
	while (k < len - 1 && read(STDIN_FILENO, line + k, 1) == 1)
		if (line[k++] == '\n')
			break;
	line[k] = 0;
	return k > 0;
}

/* Not dprintf(), which frees its buffer after that: who is answered looks at what lives. */
static void answer(size_t first, size_t second)
{
	char text[64];
	int len = snprintf(text, sizeof text, "%zu %zu\n", first, second);
	if (write(STDOUT_FILENO, text, (size_t)len) != len)
		exit(1);
}

int main(void)
{
	char line[200];
	while (read_line(line, sizeof line)) {
		placed = usable = 0;
		if (!strncmp(line, "fork", 4) && fork() > 0) {
			wait(NULL);
			answer(0, 0);
			continue;
		}
		obey(line);
		answer(placed, usable);
	}
	return 0;
}
