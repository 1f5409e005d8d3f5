/*
 * explicit_heap.c - two heaps in one program: the ordinary one, and one in a
 * region for what another process is to read in place.
 *
 * The first process makes a list with shmb_malloc() and starts this program
 * again, which attaches read-only and walks the list where it lies. Its nodes
 * lead to each other by plain pointers, which mean the same in both: the
 * region is at one address (SHMB_FIXED).
 *
 *   cc explicit_heap.c $(pkg-config --cflags --libs shmbind) -o explicit_heap
 */
#include <shmbind.h>

#include <inttypes.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct node {
	struct node *next;
	char text[];
};

static shmb_arena *heap_open(const char *name, shmb_options opt)
{
	shmb_arena *heap;
	int err = shmb_arena_open(name, &opt, &heap);
	if (err) {
		fprintf(stderr, "%s: %s\n", name, shmb_strerror(err));
		exit(1);
	}
	return heap;
}

static struct node *push(shmb_arena *heap, struct node *next, const char *text)
{
	struct node *n = shmb_malloc(heap, sizeof *n + strlen(text) + 1);
	if (!n) {
		perror("shmb_malloc");
		exit(1);
	}
	n->next = next;
	strcpy(n->text, text);
	return n;
}

static int run_reader(const char *self, const char *name, shmb_ref list)
{
	extern char **environ;
	char ref[32];
	char *const argv[] = {(char *)self, (char *)name, ref, NULL};
	pid_t pid;
	int status;
	snprintf(ref, sizeof ref, "%" PRIu64, list);
	fflush(stdout);
	if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv, environ) || waitpid(pid, &status, 0) != pid)
		return 1;
	return status;
}

static int writer(const char *self, const char *name)
{
	shmb_arena *heap = heap_open(name, (shmb_options){.size = 64 << 20, .flags = SHMB_CREATE_ONLY});
	char *note = strdup("written"); /* the ordinary heap: nobody else sees it */
	struct node *list = NULL;
	for (int i = 3; i > 0; i--) {
		char text[32];
		snprintf(text, sizeof text, "node %d", i);
		list = push(heap, list, text);
	}
	printf("%s: the list is in the region, this word is %s\n", note ? note : "-",
	       shmb_arena_of(note) ? "too" : "not");
	int status = run_reader(self, name, shmb_ref_of(heap, list));
	while (list) {
		struct node *next = list->next;
		shmb_free(heap, list);
		list = next;
	}
	free(note);
	return shmb_arena_close(heap) || status;
}

static int reader(const char *name, shmb_ref ref)
{
	shmb_arena *heap = heap_open(name, (shmb_options){.flags = SHMB_READ_ONLY | SHMB_FIXED});
	for (const struct node *n = shmb_deref(heap, ref, sizeof *n); n; n = n->next)
		printf("read in place: %s\n", n->text);
	return shmb_arena_close(heap);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "/explicit_heap";
	return argc > 2 ? reader(name, strtoull(argv[2], NULL, 10)) : writer(argv[0], name);
}
