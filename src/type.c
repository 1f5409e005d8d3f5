/*
 * type.c - which types this process knows, by id: what lets it run the
 * destructor of a box that a dead process left.
 *
 * A fixed table of pointers, filled by compare-and-swap and never emptied;
 * looked up without a lock.
 */
#include "type.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { TYPES = 1024 };

struct known {
	_Atomic(const shmb_type *) type;
	_Atomic uint64_t id;
};

static struct known known[TYPES];

int type_check(const shmb_type *t, size_t most)
{
	if (!t || !t->name || !*t->name || !t->size || !t->align || (t->align & (t->align - 1)))
		return EINVAL;
	return t->align > most ? EINVAL : 0;
}

uint64_t type_id(const shmb_type *t)
{
	uint64_t h = 14695981039346656037u; /* FNV-1a, 64 bits */
	for (const char *p = t->name; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	h = (h ^ t->size) * 1099511628211u;
	h = (h ^ t->align) * 1099511628211u;
	h ^= h >> 32;
	return h ? h : 1;
}

const shmb_type *type_known(uint64_t id)
{
	for (unsigned i = 0; i < TYPES; i++) {
		const struct known *k = &known[(id + i) % TYPES];
		const shmb_type *t = atomic_load_explicit(&k->type, memory_order_acquire);
		if (!t)
			return NULL;
		if (atomic_load(&k->id) == id)
			return t;
	}
	return NULL;
}

int shmb_type_register(const shmb_type *t)
{
	int err = type_check(t, SHMB_ALIGN_MAX);
	uint64_t id = err ? 0 : type_id(t);
	if (err || type_known(id))
		return err;
	for (unsigned i = 0; i < TYPES; i++) {
		struct known *k = &known[(id + i) % TYPES];
		uint64_t nobody = 0;
		if (atomic_compare_exchange_strong(&k->id, &nobody, id) || nobody == id) {
			atomic_store(&k->type, t);
			return 0;
		}
	}
	return ENOSPC;
}
