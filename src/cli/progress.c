/*
 * progress.c - a line on the terminal while work takes long. See progress.h.
 *
 * A thread writes it, so that it moves while the work is inside one call of
 * the library. `lock` protects what it says.
 */
#include "progress.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { PATIENCE_MS = 500, STEP_MS = 100, NAME = 64 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t ended;
static pthread_t ticker;
static bool running, visible;
static struct {
	const char *what;
	char name[NAME];
	unsigned done, total;
	struct timespec since;
} work;

static double seconds(const struct timespec *from, const struct timespec *to)
{
	return (double)(to->tv_sec - from->tv_sec) + (double)(to->tv_nsec - from->tv_nsec) / 1e9;
}

/* A name is another program's: nothing in it may move the cursor. */
static void set_name(const char *name)
{
	snprintf(work.name, sizeof work.name, "%s", name);
	make_plain(work.name);
}

static void show(const struct timespec *now)
{
	static const char turn[] = "|/-\\";
	char line[160], count[48] = "";
	double t = seconds(&work.since, now);
	if (work.total)
		snprintf(count, sizeof count, " %u of %u,", work.done, work.total);
	else if (work.done)
		snprintf(count, sizeof count, " %u,", work.done);
	int n = snprintf(line, sizeof line, "\r\033[K%c %s%s %s, %.0f s", turn[(unsigned)(t * 10) % 4], work.what, count, work.name, t);
	visible = write(STDERR_FILENO, line, (size_t)n) == n;
}

static void *tick(void *unused)
{
	struct timespec now, next;
	(void)unused;
	pthread_mutex_lock(&lock);
	next = work.since;
	for (unsigned ms = PATIENCE_MS; running; ms = STEP_MS) {
		next.tv_nsec += (long)ms * 1000000;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		while (running && pthread_cond_timedwait(&ended, &lock, &next) != ETIMEDOUT)
			;
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (running)
			show(&now);
	}
	pthread_mutex_unlock(&lock);
	return NULL;
}

void progress_begin(const char *what, const char *name)
{
	pthread_condattr_t by_clock;
	if (!isatty(STDERR_FILENO))
		return;
	memset(&work, 0, sizeof work);
	work.what = what;
	set_name(name);
	clock_gettime(CLOCK_MONOTONIC, &work.since);
	pthread_condattr_init(&by_clock);
	pthread_condattr_setclock(&by_clock, CLOCK_MONOTONIC);
	pthread_cond_init(&ended, &by_clock);
	running = true;
	if (pthread_create(&ticker, NULL, tick, NULL))
		running = false; /* the work goes on without */
}

void progress_at(unsigned done, unsigned total, const char *name)
{
	if (!running)
		return;
	pthread_mutex_lock(&lock);
	work.done = done;
	work.total = total;
	set_name(name);
	pthread_mutex_unlock(&lock);
}

static void clear_line(void)
{
	if (visible && write(STDERR_FILENO, "\r\033[K", 4) < 0)
		return; /* nobody looks any more */
	visible = false;
}

void progress_clear(void)
{
	if (!running)
		return;
	pthread_mutex_lock(&lock);
	clear_line();
	pthread_mutex_unlock(&lock);
}

void progress_end(void)
{
	if (!running)
		return;
	pthread_mutex_lock(&lock);
	running = false;
	pthread_cond_signal(&ended);
	pthread_mutex_unlock(&lock);
	pthread_join(ticker, NULL);
	clear_line();
}
