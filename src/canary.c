/*
 * canary.c - the end of a block in a hardened region.
 *
 * The last 8 bytes of every block are a word that only its place and the
 * region's key make: how many of the bytes before it were not asked for, and a
 * hash of that and of the block's offset. These bytes are JUNK, so writing one
 * byte too many shows. A free block is JUNK all over, up to its canary, which
 * stays. Whoever frees or issues a block verifies that; so can anybody from
 * outside (intact.c).
 *
 * The order of the stores is what others may rely on at any moment, and after
 * a kill: JUNK first, the word then, in one store, and only then is the block
 * live, or listed in a magazine.
 *
 * The key is there against mistakes, not against who can read the region.
 */
#include "canary.h"

#include "error.h"

#include <string.h>

#define ODD_1 UINT64_C(0x9fb21c651e98df25)
#define ODD_2 UINT64_C(0xd6e8feb86659fd93)
enum { SLACK_MASK = (1 << CANARY_SLACK_BITS) - 1 };

static uint64_t mixed(uint64_t v)
{
	v *= ODD_1;
	v ^= v >> 35;
	v *= ODD_2;
	return v ^ v >> 28;
}

uint64_t canary_make(const uint64_t key[2], uint64_t off, uint64_t slack)
{
	uint64_t hash = mixed(mixed(off + key[0]) ^ key[1] ^ slack);
	return (hash & ~(uint64_t)SLACK_MASK) | slack;
}

static bool all_junk(const char *p, uint64_t n)
{
	return !n || (*p == JUNK && !memcmp(p, p + 1, n - 1));
}

/* What is not asked for of a large block may begin before its last unit: that part is not looked at. */
static uint64_t slack_looked_at(uint64_t slack)
{
	return slack < UNIT - CANARY ? slack : UNIT - CANARY;
}

struct canary_seen canary_look(const uint64_t key[2], uint64_t off, uint64_t size, const void *end, uint64_t end_len)
{
	struct canary_seen s;
	uint64_t word;
	memcpy(&word, (const char *)end + end_len - CANARY, sizeof word);
	s.slack = word & SLACK_MASK;
	s.intact = word == canary_make(key, off, s.slack) && s.slack <= size - CANARY;
	uint64_t n = slack_looked_at(s.slack);
	s.kept = !s.intact || all_junk((const char *)end + end_len - CANARY - n, n);
	return s;
}

bool canary_free_intact(const uint64_t key[2], uint64_t off, const void *p, uint64_t size)
{
	return all_junk(p, size - CANARY) && canary_look(key, off, size, p, size).intact;
}

/* ---- in an arena ------------------------------------------------------------------------ */

void canary_set(struct shmb_arena *a, uint64_t off, uint64_t bytes, uint64_t size)
{
	_Atomic uint64_t *word = (_Atomic uint64_t *)(void *)(a->data + off + bytes - CANARY);
	atomic_store_explicit(word, canary_make(a->key, off, bytes - CANARY - size), memory_order_release);
}

void canary_fill(struct shmb_arena *a, uint64_t off, uint64_t bytes, uint64_t size)
{
	uint64_t n = slack_looked_at(bytes - CANARY - size);
	memset(a->data + off + bytes - CANARY - n, JUNK, n);
}

void canary_prepare(struct shmb_arena *a, uint32_t grain, unsigned class)
{
	uint64_t off = (uint64_t)grain << GRAIN_SHIFT;
	memset(a->data + off, JUNK, class_size(class) - CANARY);
	canary_set(a, off, class_size(class), class_size(class) - CANARY);
}

static struct canary_seen look_at(const struct shmb_arena *a, uint64_t off, uint64_t size)
{
	uint64_t end_len = size < UNIT ? size : UNIT;
	return canary_look(a->key, off, size, a->data + off + size - end_len, end_len);
}

static uint64_t usable_of(const struct canary_seen *seen, uint64_t size)
{
	return size - CANARY - (seen->intact ? seen->slack : 0);
}

void canary_check(const char *what, const struct shmb_arena *a, const struct misuse_seen *s)
{
	struct canary_seen seen = look_at(a, s->off, misuse_seen_size(s));
	if (unlikely(!seen.intact || !seen.kept))
		misuse_report_block(what, a, a->data + s->off, usable_of(&seen, misuse_seen_size(s)), "written beyond its end");
}

void canary_check_free(const char *what, const struct shmb_arena *a, uint32_t grain, unsigned class)
{
	uint64_t off = (uint64_t)grain << GRAIN_SHIFT;
	if (unlikely(!canary_free_intact(a->key, off, a->data + off, class_size(class))))
		misuse_report_block(what, a, a->data + off, class_size(class) - CANARY, "written to while it was free");
}

uint64_t canary_size(const char *what, const struct shmb_arena *a, const struct misuse_seen *s)
{
	uint64_t size = misuse_seen_size(s);
	struct canary_seen seen = look_at(a, s->off, size);
	if (unlikely(!seen.intact && !atomic_load(&a->retired)))
		misuse_report_block(what, a, a->data + s->off, size - CANARY, "written beyond its end");
	return usable_of(&seen, size);
}

uint64_t canary_usable(const struct shmb_arena *a, uint64_t off, uint64_t size)
{
	struct canary_seen seen = look_at(a, off, size);
	return usable_of(&seen, size);
}
