/*
 * region_race.c - two processes open the same name at the same moment.
 *
 *   region_race NAME|PATH raw|arena ROUNDS
 *
 * In each round exactly one must have created it and owns it, and the other
 * be attached to the same object; when both have closed it the name is gone.
 */
#include "shmbind.h"

#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 256 << 10, HANG_SECONDS = 300 };

struct seen {
	int err;
	enum shmb_how how;
	int owner;
	size_t size;
};

/* Shared by the two. */
struct stage {
	_Atomic unsigned arrived;
	struct seen seen[2];
	uint64_t mark; /* read from the region by the one that attached */
};

static struct stage *stage;
static const char *name;
static bool is_arena;
static shmb_region *region;
static shmb_arena *arena;

/* Spins: both must leave it together. */
static void meet(unsigned *turn)
{
	unsigned want = 2 * ++*turn;
	atomic_fetch_add(&stage->arrived, 1);
	for (unsigned spins = 0; atomic_load(&stage->arrived) < want; spins++)
		if (spins > 2000)
			sched_yield();
}

static struct seen open_it(void)
{
	shmb_options opt = {.size = SIZE};
	struct seen s = {0};
	s.err = is_arena ? shmb_arena_open(name, &opt, &arena) : shmb_region_open(name, &opt, &region);
	if (s.err)
		return s;
	if (is_arena)
		region = shmb_arena_region(arena);
	s.how = shmb_region_how(region);
	s.owner = shmb_region_is_owner(region);
	s.size = is_arena ? shmb_arena_capacity(arena) : shmb_region_size(region);
	return s;
}

static int close_it(void)
{
	return is_arena ? shmb_arena_close(arena) : shmb_region_close(region);
}

/* The creator writes, the other reads: through a raw region's first word, or not at all. */
static void exchange(const struct seen *mine, unsigned *turn, uint64_t round)
{
	if (!is_arena && mine->owner)
		*(uint64_t *)shmb_region_addr(region) = round;
	meet(turn);
	if (!mine->owner)
		stage->mark = is_arena ? round : *(uint64_t *)shmb_region_addr(region);
	meet(turn);
}

static const char *verdict(uint64_t round)
{
	const struct seen *a = &stage->seen[0], *b = &stage->seen[1];
	if (a->how == b->how)
		return "both came by it the same way";
	if (a->how == SHMB_CLAIMED || b->how == SHMB_CLAIMED)
		return "claimed from a living owner";
	if (a->owner != (a->how == SHMB_CREATED) || b->owner != (b->how == SHMB_CREATED))
		return "the creator is not the owner";
	if (a->size < SIZE || b->size != a->size) /* an arena may have more */
		return "a wrong size";
	return stage->mark == round ? NULL : "not the same object";
}

static bool name_exists(void)
{
	char path[300];
	snprintf(path, sizeof path, "%s%s", strchr(name + 1, '/') ? "" : "/dev/shm/", name);
	return access(path, F_OK) == 0;
}

static bool play_round(unsigned me, unsigned *turn, uint64_t round)
{
	struct seen *mine = &stage->seen[me];
	meet(turn);
	for (volatile unsigned lag = (unsigned)rand() % 100000 * (round % 2 == me); lag; lag--)
		;
	*mine = open_it();
	meet(turn);
	if (stage->seen[0].err || stage->seen[1].err) {
		if (mine->err)
			printf("round %lu: %s\n", (unsigned long)round, shmb_strerror(mine->err));
		return false;
	}
	exchange(mine, turn, round);
	const char *wrong = verdict(round);
	if (wrong && me == 0)
		printf("round %lu: %s\n", (unsigned long)round, wrong);
	bool owner = mine->owner;
	bool closed = owner || close_it() == 0; /* the attached one first */
	meet(turn);
	if (owner)
		closed = name_exists() && close_it() == 0;
	meet(turn);
	return closed && !wrong && !name_exists();
}

static int play(unsigned me, unsigned rounds)
{
	unsigned turn = 0, first = 0;
	srand(me + 1);
	for (unsigned i = 1; i <= rounds; i++) {
		if (!play_round(me, &turn, i)) {
			printf("process %u gave up in round %u\n", me, i);
			fflush(stdout);
			return 1;
		}
		first += stage->seen[0].how == SHMB_CREATED;
	}
	if (me == 0)
		printf("%u rounds of %s: one created, one attached; the first process won %u, the second %u\n",
		       rounds, is_arena ? "arenas" : "raw regions", first, rounds - first);
	fflush(stdout);
	return 0;
}

int main(int argc, char **argv)
{
	int status = 0;
	if (argc != 4)
		return 2;
	name = argv[1];
	is_arena = !strcmp(argv[2], "arena");
	unsigned rounds = (unsigned)atoi(argv[3]);
	stage = mmap(NULL, sizeof *stage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED)
		return 1;
	pid_t pid = fork();
	alarm(HANG_SECONDS); /* each its own: one that is left alone in meet() ends */
	if (pid == 0)
		_exit(play(1, rounds));
	int bad = play(0, rounds);
	return waitpid(pid, &status, 0) != pid || status || bad;
}
