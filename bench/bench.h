/*
 * bench.h - what a workload is, and what the driver gives it.
 *
 * A workload has one or two parties, threads or processes. Each party calls
 * `step` again and again; a step does `STEP_OPS` operations or so and says how
 * many. One operation is one block allocated, touched and freed.
 *
 * To add a workload: write its functions, add a row to works[] in driver.c and
 * one to WORKS in `run`.
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
	_Atomic bool over; /* the party that ends the run says so */
	struct {
		_Alignas(64) uint64_t ops, begin_ns, end_ns;
	} result[PARTIES_MAX];
	struct ring *ring;
};

struct party {
	_Alignas(128) const struct work *work; /* rng is written all the time: a line to each party */
	struct shared *shared;
	unsigned index;
	uint64_t rng;
	void *state; /* of the workload; not from the allocator under test */
};

enum work_kind { IN_THREADS, IN_PROCESSES };

struct work {
	const char *name;
	unsigned parties;
	enum work_kind kind;
	bool chained; /* party 0 ends the run, and its operations are the run's */
	void (*begin)(struct party *p);
	uint64_t (*step)(struct party *p);
	void (*end)(struct party *p);
	const void *param;
};

struct window {
	uint32_t slots;
	uint32_t least, most; /* bytes */
	uint32_t stride;      /* one byte is written in each; 0: only the first */
};

void nothing_begin(struct party *p);
uint64_t pair64_step(struct party *p);

void window_begin(struct party *p);
uint64_t window_step(struct party *p);
void window_end(struct party *p);

void *ring_new(void);
uint64_t pass_step(struct party *p);
void pass_end(struct party *p);

/* The allocator under test: checks that it is the one asked for, and ends. */
void backend_open(const char *expect);
void backend_close(void);

/* What a forked party has: a heap of its own, a copy; nothing that works; the same heap, any block of it. */
enum reach { REACH_COPY, REACH_ONE, REACH_ALL };
enum reach backend_reach(void);

/* Zeroed memory that fork shares, or exits. */
void *bench_map(size_t bytes);
void bench_die(const char *what) __attribute__((noreturn));

static inline uint64_t bench_random(uint64_t *s)
{
	uint64_t x = *s;
	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return *s = x;
}

#endif
