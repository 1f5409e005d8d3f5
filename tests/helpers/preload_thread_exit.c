/*
 * preload_thread_exit.c - forks while threads end with caches that are to be
 * emptied: what that takes locks for, fork takes, too, and in the same order.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 3, FORKS = 60, BLOCKS = 400 };

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

static void *come_and_go(void *unused)
{
	pthread_t t;
	while (!atomic_load(&over))
		if (!pthread_create(&t, NULL, fill_caches, NULL))
			pthread_join(t, NULL);
	return unused;
}

int main(void)
{
	pthread_t t[THREADS];
	int status, good = 0;
	for (int i = 0; i < THREADS; i++)
		pthread_create(&t[i], NULL, come_and_go, NULL);
	for (int i = 0; i < FORKS; i++) {
		pid_t child = fork();
		if (!child) {
			fill_caches(NULL);
			_exit(7);
		}
		good += waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 7;
	}
	atomic_store(&over, true);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	printf("%d children of %d\n", good, FORKS);
	return good != FORKS;
}
