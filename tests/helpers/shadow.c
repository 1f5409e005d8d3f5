/*
 * shadow.c - a program with a mistake, for a checker of memory to find.
 *
 *   shadow MISTAKE REGION
 */
#include <shmbind.h>

#include <stdio.h>
#include <string.h>

static char *volatile kept;
static char *volatile p;

static void nothing(shmb_arena *a)
{
	p = shmb_calloc(a, 1, 100000);
	if (p[77777])
		puts("no zeros");
	p = shmb_realloc(a, p, 200000);
	p[199999] = 1;
	shmb_free(a, p);
	p = shmb_realloc(a, shmb_realloc(a, shmb_malloc(a, 50), 60), 5000);
	memset(p, 1, shmb_usable_size(a, p));
	shmb_free(a, p);
	for (unsigned i = 0; i < 20000; i++)
		shmb_free(a, shmb_malloc(a, i % 3000));
	kept = shmb_malloc(a, 200);
	shmb_trim(a);
}

static void leak(shmb_arena *a)
{
	kept = shmb_malloc(a, 123); /* at the start of a slab, of which jemalloc has a pointer */
	p = shmb_malloc(a, 123);
	p = NULL;
}

static void after(shmb_arena *a)
{
	p = shmb_malloc(a, 100);
	memset(p, 0, 100);
	shmb_free(a, p);
	printf("%d\n", p[40]);
}

static void after_large(shmb_arena *a)
{
	p = shmb_malloc(a, 100000);
	shmb_free(a, p);
	p[70000] = 1;
}

static void beyond(shmb_arena *a)
{
	p = shmb_malloc(a, 100);
	p[100] = 1;
	shmb_free(a, p);
}

static void beyond_large(shmb_arena *a)
{
	p = shmb_malloc(a, 100000);
	p[100000] = 1;
	shmb_free(a, p);
}

static void unset(shmb_arena *a)
{
	p = shmb_malloc(a, 100);
	if (p[40])
		kept = p;
	shmb_free(a, p);
}

static const struct {
	const char *name;
	void (*make)(shmb_arena *a);
} mistakes[] = {{"nothing", nothing}, {"leak", leak},       {"after", after}, {"after-large", after_large},
                {"beyond", beyond},   {"beyond-large", beyond_large}, {"unset", unset}};

int main(int argc, char **argv)
{
	shmb_options opt = {.size = (size_t)64 << 20};
	shmb_arena *a;
	if (argc != 3 || shmb_arena_open(argv[2], &opt, &a))
		return 2;
	for (unsigned i = 0; i < sizeof mistakes / sizeof *mistakes; i++)
		if (!strcmp(argv[1], mistakes[i].name)) {
			mistakes[i].make(a);
			return 0;
		}
	return 2;
}
