/*
 * preload_fork_beside.c - one thread forks, another does something just then.
 *
 *   preload_fork_beside CASE PREFIX
 *
 *   changed    frees large blocks and allocates small ones, which get the place
 *              that was theirs, and writes nothing to them: the child frees them
 *   cancelled  cancels the one that forks: fork is no cancellation point
 *   flushing   allocates under a lock that libc's fork takes
 *   locked     has files of each kind locked, which libc unlocks in the child: in the child alone
 *   values     has many values of pthread_setspecific, which libc clears in the child: likewise
 *
 * See preload_fork.h. Run by preload_fork_threads.sh.
 */
#include "preload_fork.h"

#include <time.h>

enum { SOME = 32, LARGE = 65000, SMALL = 50000, FORKS = 5, PAIRS = 2000 };

static atomic_bool go, forked;
static atomic_int changes;
static atomic_long pairs;
static void *_Atomic slots[SOME];

static void sleep_ms(long ms)
{
	struct timespec t = {ms / 1000, ms % 1000 * 1000000};
	nanosleep(&t, NULL);
}

/* So much that a copy takes its time. */
static void fill(unsigned mib)
{
	for (unsigned i = 0; i < mib; i++) {
		char *p = malloc(1 << 20);
		if (p)
			memset(p, 1, 1 << 20);
	}
}

static bool child_ended(pid_t pid) { return pid > 0 && ended(pid) == 7; }

static void one_pair(void)
{
	char *volatile p = malloc(100000);
	if (p)
		*p = 1;
	free(p);
}

/* ---- changed --------------------------------------------------------------------------- */

/* At every fork, some milliseconds after it has begun. */
static void *change(void *unused)
{
	for (int i = 0; i < FORKS; i++) {
		while (!atomic_exchange(&go, false))
			;
		sleep_ms(2 + 4 * i);
		for (unsigned k = 0; k < SOME; k++)
			free(atomic_exchange(&slots[k], NULL));
		for (unsigned k = 0; k < SOME; k++)
			atomic_store(&slots[k], malloc(SMALL));
		atomic_store(&changes, i + 1);
	}
	return unused;
}

static void fill_blocks(void)
{
	for (unsigned k = 0; k < SOME; k++) {
		free(atomic_exchange(&slots[k], NULL));
		char *p = malloc(LARGE);
		if (p)
			memset(p, 1, LARGE);
		atomic_store(&slots[k], p);
	}
}

static void changed(void)
{
	pthread_t t;
	int good = 0;
	fill_blocks();
	fill(64);
	pthread_create(&t, NULL, change, NULL);
	for (int i = 0; i < FORKS; i++) {
		fill_blocks();
		atomic_store(&go, true);
		pid_t pid = fork();
		if (!pid) {
			for (unsigned k = 0; k < SOME; k++)
				free(atomic_exchange(&slots[k], NULL));
			_exit(7);
		}
		good += child_ended(pid);
		while (atomic_load(&changes) <= i)
			;
	}
	pthread_join(t, NULL);
	check(good == FORKS, "each child frees what its parent had at the fork");
}

/* ---- cancelled ------------------------------------------------------------------------- */

static void *fork_once(void *unused)
{
	(void)unused;
	atomic_store(&go, true);
	pid_t pid = fork();
	if (!pid)
		_exit(7);
	atomic_store(&forked, true);
	return NULL;
}

static void *allocate(void *unused)
{
	while (!atomic_load(&stop)) {
		one_pair();
		atomic_fetch_add(&pairs, 1);
	}
	return unused;
}

static void *wait_long(void *unused)
{
	sleep_ms(100000);
	return unused;
}

/* It is cancelled after the fork if at all, and others go on. */
static void cancelled(void)
{
	pthread_t worker, forker, first;
	pthread_create(&first, NULL, wait_long, NULL);
	pthread_cancel(first); /* libc loads what it needs for that */
	pthread_join(first, NULL);
	fill(128);
	pthread_create(&worker, NULL, allocate, NULL);
	pthread_create(&forker, NULL, fork_once, NULL);
	while (!atomic_load(&go))
		;
	sleep_ms(5);
	pthread_cancel(forker);
	pthread_join(forker, NULL);
	long before = atomic_load(&pairs);
	for (int i = 0; i < 100 && atomic_load(&pairs) == before; i++)
		sleep_ms(100);
	bool went_on = atomic_load(&pairs) != before;
	atomic_store(&stop, true);
	if (went_on)
		pthread_join(worker, NULL);
	while (waitpid(-1, NULL, 0) > 0)
		;
	check(atomic_load(&forked), "the fork returned");
	check(went_on, "another thread allocates after it");
}

/* ---- flushing --------------------------------------------------------------------------- */

static ssize_t write_slowly(void *cookie, const char *text, size_t n)
{
	(void)cookie, (void)text;
	atomic_store(&go, true);
	sleep_ms(50); /* by now the fork has begun */
	for (int i = 0; i < PAIRS; i++)
		one_pair();
	return (ssize_t)n;
}

static void *flush(void *unused)
{
	FILE *f = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_slowly});
	if (f && fputs("x", f) != EOF)
		fflush(NULL);
	if (f)
		fclose(f);
	return unused;
}

/* The caller has a limit of time: each of the thousands of calls must not wait by itself. */
static void flushing(void)
{
	pthread_t t;
	pthread_create(&t, NULL, flush, NULL);
	while (!atomic_load(&go))
		;
	pid_t pid = fork();
	if (!pid)
		_exit(7);
	check(child_ended(pid), "the fork is over, and the child ends");
	pthread_join(t, NULL);
}

/* ---- what libc does in the child --------------------------------------------------------- */

enum { FILES = 4, KEYS = 64 };

static FILE *files[FILES];
static pthread_key_t keys[KEYS];

static void *hold_files(void *unused)
{
	(void)unused;
	for (int i = 0; i < FILES; i++)
		flockfile(files[i]);
	atomic_store(&go, true);
	while (!atomic_load(&stop))
		sleep_ms(1);
	for (int i = 0; i < FILES; i++)
		funlockfile(files[i]);
	return NULL;
}

static void fork_beside(void *(*thread)(void *))
{
	pthread_t t;
	pthread_create(&t, NULL, thread, NULL);
	while (!atomic_load(&go))
		sleep_ms(1);
	pid_t pid = fork();
	if (!pid)
		_exit(7);
	check(child_ended(pid), "the child ends");
	for (int i = 0; i < FILES && files[i]; i++)
		check(ftrylockfile(files[i]) != 0, "the file is locked still");
	atomic_store(&stop, true);
	pthread_join(t, NULL);
}

static void locked(void)
{
	files[0] = fopen("/dev/null", "w");
	files[1] = fdopen(dup(STDERR_FILENO), "w");
	files[2] = popen("cat", "w");
	files[3] = fopencookie(NULL, "w", (cookie_io_functions_t){.write = write_slowly});
	for (int i = 0; i < FILES; i++)
		if (!files[i]) {
			check(false, "no file");
			return;
		}
	fork_beside(hold_files);
	for (int i = 0; i < FILES; i++)
		i == 2 ? pclose(files[i]) : fclose(files[i]);
}

static void *hold_values(void *unused)
{
	int good = 0;
	for (int i = 0; i < KEYS; i++)
		pthread_setspecific(keys[i], &keys[i]);
	atomic_store(&go, true);
	while (!atomic_load(&stop))
		sleep_ms(1);
	for (int i = 0; i < KEYS; i++)
		good += pthread_getspecific(keys[i]) == &keys[i];
	check(good == KEYS, "all values are there still");
	return unused;
}

static void values(void)
{
	for (int i = 0; i < KEYS; i++)
		pthread_key_create(&keys[i], NULL);
	fork_beside(hold_values);
}

int main(int argc, char **argv)
{
	static const struct fork_case cases[] = {
		{"changed", changed}, {"cancelled", cancelled}, {"flushing", flushing},
		{"locked", locked},   {"values", values}};
	return run_case(cases, sizeof cases / sizeof *cases, argc, argv);
}
