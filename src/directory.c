/*
 * directory.c - names of boxes: a hash table whose entries never move.
 *
 * Buckets come in groups under one lock. A name lives in its home bucket, or
 * in another of its group where that was full. Looking takes no lock: the
 * entry's word is read, the text compared, the word read again. Inserting
 * holds the group's lock, which makes names unique; removing clears one word
 * and needs none.
 *
 * After a kill: an inserted name's box is MAKING of the dead (boxes.c); a
 * text without its word is nothing; a lock is taken from the dead.
 */
#include "directory.h"

#include "lock.h"
#include "sys.h"

#include <errno.h>
#include <string.h>

enum { GROUP = 4, GROUPS = NAME_BUCKETS / GROUP };

static uint32_t hash(const char *name)
{
	uint64_t h = 14695981039346656037u;
	for (const char *p = name; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return (uint32_t)(h ^ h >> 32);
}

static unsigned bucket_of(uint32_t h, unsigned step)
{
	return h % GROUPS * GROUP + (h / GROUPS + step) % GROUP;
}

static struct bucket_shm *group_of(const struct shmb_arena *a, const char *name)
{
	return &a->buckets[(size_t)hash(name) % GROUPS * GROUP];
}

int directory_check(const char *name)
{
	return name && *name && strlen(name) < NAME_TEXT ? 0 : EINVAL;
}

static struct name_shm *names_of(const struct shmb_arena *a, unsigned bucket)
{
	return &a->names[(size_t)bucket * NAMES_PER_BUCKET];
}

/*
 * Text is read while it may change, so byte by byte, in order: who sees a byte
 * of the new text then sees that the word is not the old one any more.
 */
static bool text_is(const struct name_shm *n, const char *name)
{
	for (unsigned i = 0; i < NAME_TEXT; i++) {
		char c = __atomic_load_n(&n->text[i], __ATOMIC_ACQUIRE);
		if (c != name[i])
			return false;
		if (!c)
			break;
	}
	return true;
}

static void text_set(struct name_shm *n, const char *name)
{
	for (unsigned i = 0, end = (unsigned)strlen(name); i <= end; i++)
		__atomic_store_n(&n->text[i], name[i], __ATOMIC_RELEASE);
}

static uint32_t bucket_find(const struct shmb_arena *a, unsigned bucket, uint32_t h, const char *name)
{
	struct name_shm *n = names_of(a, bucket);
	for (unsigned i = 0; i < NAMES_PER_BUCKET; i++) {
		uint64_t w = atomic_load_explicit(&n[i].word, memory_order_acquire);
		if ((uint32_t)w != h || !(w >> 32) || !text_is(&n[i], name))
			continue;
		if (atomic_load_explicit(&n[i].word, memory_order_relaxed) == w && w >> 32 <= BOXES)
			return (uint32_t)(w >> 32);
	}
	return 0;
}

uint32_t directory_find(const struct shmb_arena *a, const char *name)
{
	uint32_t h = hash(name), box = 0;
	if (!atomic_load_explicit(&a->hdr->names_ready, memory_order_acquire))
		return 0;
	for (unsigned step = 0; step < GROUP && !box; step++) {
		const struct bucket_shm *b = &a->buckets[bucket_of(h, step)];
		if (atomic_load_explicit(&b->committed, memory_order_acquire))
			box = bucket_find(a, bucket_of(h, step), h, name);
		if (!atomic_load_explicit(&b->spilled, memory_order_acquire))
			break;
	}
	return box;
}

static int heads_commit(struct shmb_arena *a)
{
	if (atomic_load(&a->hdr->names_ready))
		return 0;
	int err = sys_populate(a->buckets, NAME_BUCKETS * sizeof(struct bucket_shm));
	if (!err)
		atomic_store(&a->hdr->names_ready, 1);
	return err;
}

static int bucket_commit(struct shmb_arena *a, unsigned bucket)
{
	char *first = (char *)names_of(a, bucket);
	if (atomic_load(&a->buckets[bucket].committed))
		return 0;
	int err = sys_populate((char *)((uintptr_t)first & ~(uintptr_t)(PAGE - 1)), PAGE);
	if (!err)
		atomic_store(&a->buckets[bucket].committed, 1);
	return err;
}

int directory_lock(struct shmb_arena *a, const char *name)
{
	int err = heads_commit(a);
	if (err)
		return err;
	struct bucket_shm *b = group_of(a, name);
	lock_take(a, &b->lock, &b->waiters);
	err = bucket_commit(a, bucket_of(hash(name), 0));
	if (err)
		lock_drop(&b->lock, &b->waiters);
	return err;
}

void directory_unlock(struct shmb_arena *a, const char *name)
{
	struct bucket_shm *b = group_of(a, name);
	lock_drop(&b->lock, &b->waiters);
}

int directory_insert(struct shmb_arena *a, const char *name, uint32_t box)
{
	uint32_t h = hash(name);
	for (unsigned step = 0; step < GROUP; step++) {
		unsigned bucket = bucket_of(h, step);
		struct name_shm *n = names_of(a, bucket);
		if (bucket_commit(a, bucket))
			return ENOMEM;
		for (unsigned i = 0; i < NAMES_PER_BUCKET; i++) {
			if (atomic_load(&n[i].word))
				continue;
			atomic_store(&a->boxes[box - 1].name, (uint32_t)(&n[i] - a->names) + 1);
			text_set(&n[i], name);
			atomic_store(&n[i].word, (uint64_t)box << 32 | h);
			return 0;
		}
		atomic_store(&a->buckets[bucket].spilled, 1);
	}
	return ENOSPC;
}

void directory_remove(struct shmb_arena *a, uint32_t box)
{
	uint32_t number = atomic_load(&a->boxes[box - 1].name);
	if (!number || number > NAME_BUCKETS * NAMES_PER_BUCKET)
		return;
	uint64_t w = atomic_load(&a->names[number - 1].word);
	if (w >> 32 == box)
		(void)atomic_compare_exchange_strong(&a->names[number - 1].word, &w, 0);
	atomic_store(&a->boxes[box - 1].name, 0); /* last: killed before, it can be done again */
}
