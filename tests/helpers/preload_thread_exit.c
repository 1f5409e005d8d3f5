/*
 * preload_thread_exit.c - forks while threads come and end, with caches that are
 * to be emptied: what that takes locks for, fork takes, too, and in the same order.
 *
 *   preload_thread_exit [threads]    threads: a child has some, too, for which libc
 *                                    takes stacks, and what it keeps of them, from the parent's
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, AT_ONCE = 4, FORKS = 60, BLOCKS = 400 }; /* more at once than libc keeps stacks for */

static atomic_bool over;

static void *fill_caches(void *unused)
{
	char *p[BLOCKS];
	(void)unused;
	for (int i = 0; i < BLOCKS; i++) {
		size_t size = 16 + (size_t)i % 40 * 100;
		p[i] = malloc(size);
		if (p[i])
			memset(p[i], i, size);
	}
	for (int i = 0; i < BLOCKS; i++)
		free(p[i]);
	return NULL;
}

static bool some_threads(void)
{
	pthread_t t[AT_ONCE];
	int n = 0;
	while (n < AT_ONCE && !pthread_create(&t[n], NULL, fill_caches, NULL))
		n++;
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	return n == AT_ONCE;
}

static void *come_and_go(void *unused)
{
	while (!atomic_load(&over))
		some_threads();
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t t[THREADS];
	int status, good = 0;
	bool threads = argc > 1 && !strcmp(argv[1], "threads");
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, come_and_go, NULL);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();
		if (!child) {
			fill_caches(NULL);
			_exit(!threads || some_threads() ? 7 : 1);
		}
		good += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
	}
	atomic_store(&over, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%d children of %d\n", good, FORKS);
	return good != FORKS;
}
