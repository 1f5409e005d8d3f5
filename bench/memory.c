/*
 * memory.c - what memory a workload takes. Each party does a fixed number of
 * steps while another thread takes samples; then all is freed, the parties'
 * threads end, and a second passes.
 *
 * Prints three figures in bytes, each over what the process had before its
 * first block: the most that was resident, what is resident a second after all
 * was freed, and the same after MORE further blocks were allocated and freed,
 * since an allocator without a thread of its own can tidy up only when called.
 *
 * Resident: private pages, and each shared page once. Of the region those of
 * the file, mapped or not, where BENCH_FILE names it.
 */
#include "alloc.h"
#include "bench.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAMPLE_US = 4000, SETTLE_US = 1000 * 1000, FILE_BLOCK = 512, MORE = 10000 };

static unsigned steps_of(const struct work *w)
{
	return w->cold ? 32 : 2000;
}

static long field(const char *text, const char *key)
{
	const char *at = strstr(text, key);
	return at ? atol(at + strlen(key)) * 1024 : 0;
}

static long resident(void)
{
	static char text[4096];
	struct stat st;
	const char *file = getenv("BENCH_FILE");
	int fd = open("/proc/self/smaps_rollup", O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
	if (n < 0)
		bench_die("no smaps_rollup here");
	close(fd);
	text[n] = 0;
	bool of_file = file && *file;
	if (of_file && stat(file, &st))
		bench_die("the region has no name");
	return field(text, "Pss_Anon:") +
	       (of_file ? st.st_blocks * FILE_BLOCK : field(text, "Pss_Shmem:") - (long)bench_mapped);
}

static _Atomic unsigned working;

static void *party_steps(void *arg)
{
	struct party *p = arg;
	for (unsigned i = 0; i < steps_of(p->work); i++)
		p->work->step(p);
	pthread_barrier_wait(&p->shared->barrier); /* what is exchanged is freed when nobody exchanges any more */
	p->work->end(p);
	atomic_fetch_sub(&working, 1);
	return NULL;
}

static void call_more(void)
{
	void **blocks = bench_map(MORE * sizeof *blocks);
	for (unsigned i = 0; i < MORE; i++)
		blocks[i] = bench_malloc(64);
	for (unsigned i = 0; i < MORE; i++)
		bench_free(blocks[i]);
}

void memory_run(struct party *parties, const struct work *w)
{
	pthread_t threads[PARTIES_MAX];
	if (w->kind != IN_THREADS || w->chained)
		bench_die("not a load whose memory is taken");
	long peak = 0, empty = resident();
	for (unsigned i = 0; i < w->parties; i++)
		w->begin(&parties[i]);
	atomic_store(&working, w->parties);
	for (unsigned i = 0; i < w->parties; i++)
		if (pthread_create(&threads[i], NULL, party_steps, &parties[i]))
			bench_die("no thread");
	do {
		long now = resident();
		peak = now > peak ? now : peak;
		usleep(SAMPLE_US);
	} while (atomic_load(&working));
	for (unsigned i = 0; i < w->parties; i++)
		pthread_join(threads[i], NULL);
	usleep(SETTLE_US);
	long after = resident();
	call_more();
	printf("%ld %ld %ld\n", peak - empty, after - empty, resident() - empty);
}
