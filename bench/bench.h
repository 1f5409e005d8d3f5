/*
 * bench.h - what a workload is, and what the driver gives it.
 *
 * A workload has one or two parties, threads or processes. Each party calls
 * `step` again and again; a step does `STEP_OPS` operations or so and says how
 * many. One operation is one block allocated, touched and freed.
 *
 * To add a workload: write its functions, add a row to works[] in works.c and
 * one to WORKS in `rows.py`.
 */
#ifndef BENCH_H
#define BENCH_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STEP_OPS = 512, PARTIES_MAX = 2 };

/* Shared by the parties, in memory that a fork shares. */
struct shared {
	pthread_barrier_t barrier;
	bool apart; /* processes, and no block goes from one to the other */
	_Atomic bool over; /* the party that ends the run says so */
	struct {
		_Alignas(64) uint64_t ops, begin_ns, end_ns;
	} result[PARTIES_MAX];
	char more[128];   /* of the workload: further figures, "name ns" each */
	void *meeting;    /* of the workload: what its parties meet at */
};

struct party {
	_Alignas(128) const struct work *work; /* rng is written all the time: a line to each party */
	struct shared *shared;
	unsigned index;
	uint64_t rng;
	void *state; /* of the workload; not from the allocator under test */
};

/* In processes each uses what it allocated itself, which private heaps can do, too; on one heap blocks are passed. */
enum work_kind { IN_THREADS, IN_PROCESSES, ON_ONE_HEAP };

struct work {
	const char *name;
	unsigned parties;
	enum work_kind kind;
	bool chained; /* party 0 ends the run, and its operations are the run's */
	bool cold;    /* no warm-up: one step, and its memory is new */
	void *(*meeting_new)(void);
	void (*begin)(struct party *p);
	uint64_t (*step)(struct party *p);
	void (*end)(struct party *p);
	const void *param;
};

const struct work *work_named(const char *name);

/* Zeroed memory that fork shares, or exits; how much of it there is. */
void *bench_map(size_t bytes);
extern size_t bench_mapped;
void bench_die(const char *what) __attribute__((noreturn));

/* Runs each party for a fixed number of steps and prints the memory that takes. */
void memory_run(struct party *parties, const struct work *w);

/* The allocator under test: checks that it is the one asked for, and ends. */
void backend_open(const char *expect);
void backend_close(void);

/* What a forked party has: a heap of its own, a copy; nothing that works; the same heap, any block of it. */
enum reach { REACH_COPY, REACH_ONE, REACH_ALL };
enum reach backend_reach(void);

static inline uint64_t bench_random(uint64_t *s)
{
	uint64_t x = *s;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *s = x;
}

/* A number in [least, most], from 32 random bits. */
static inline uint32_t bench_between(uint32_t r, uint32_t least, uint32_t most)
{
	return least + (uint32_t)((uint64_t)r * (most - least + 1) >> 32);
}

#endif
