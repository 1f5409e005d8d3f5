/*
 * hint.h - bitmaps that say where to look first. A set bit means "not free,
 * as far as known". The truth is in the word that the bit stands for, taken
 * by compare-and-swap; a wrong bit costs a look or hides something until the
 * next resync, never more.
 */
#ifndef SHMB_HINT_H
#define SHMB_HINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef _Atomic uint64_t hint_t;

static inline bool hint_get(const hint_t *bits, uint64_t i)
{
	return atomic_load_explicit(&bits[i / 64], memory_order_relaxed) >> (i % 64) & 1;
}
static inline void hint_set(hint_t *bits, uint64_t i)
{
	atomic_fetch_or(&bits[i / 64], (uint64_t)1 << (i % 64));
}
static inline void hint_clear(hint_t *bits, uint64_t i)
{
	atomic_fetch_and(&bits[i / 64], ~((uint64_t)1 << (i % 64)));
}

/* Of a count that only rises: it is `to` or more from now on. */
static inline void hint_raise(_Atomic uint32_t *count, uint32_t to)
{
	uint32_t now = atomic_load(count);
	while (now < to && !atomic_compare_exchange_weak(count, &now, to))
		;
}

/* Sets or clears [first, first + n), a word at a time. */
static inline void hint_fill(hint_t *bits, uint64_t first, uint64_t n, bool set)
{
	for (uint64_t i = first, end = first + n; i < end;) {
		uint64_t take = 64 - i % 64 < end - i ? 64 - i % 64 : end - i;
		uint64_t mask = (take == 64 ? ~(uint64_t)0 : ((uint64_t)1 << take) - 1) << (i % 64);
		if (set)
			atomic_fetch_or(&bits[i / 64], mask);
		else
			atomic_fetch_and(&bits[i / 64], ~mask);
		i += take;
	}
}

/* The first index in [from, end) whose bit is `set`; `end` if there is none. */
static inline uint64_t hint_find(const hint_t *bits, uint64_t from, uint64_t end, bool set)
{
	while (from < end) {
		uint64_t w = atomic_load_explicit(&bits[from / 64], memory_order_relaxed);
		w = (set ? w : ~w) >> (from % 64);
		if (w) {
			from += (uint64_t)__builtin_ctzll(w);
			return from < end ? from : end;
		}
		from += 64 - from % 64;
	}
	return end;
}

#endif
