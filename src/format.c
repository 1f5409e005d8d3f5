/*
 * format.c - the header of an arena region: written once, before the region
 * has a name, and read warily ever after.
 *
 * Where the tables are follows from the capacity alone. What a reader checks:
 * magic, version, byte order, a checksum over the sizes and offsets of the
 * structures as the writer was compiled, and that file, capacity and layout
 * agree with each other and with the file's real size.
 */
#include "format.h"

#include "sound.h"
#include "sys.h"
#include "window.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static uint32_t mix(uint32_t h, uint64_t v)
{
	for (; v; v >>= 8)
		h = (h ^ (v & 0xff)) * 16777619u; /* FNV-1a */
	return h * 31u + 7;
}

static uint32_t layout_checksum(void)
{
	static const uint64_t facts[] = {
		sizeof(struct header_shm), offsetof(struct header_shm, rules), offsetof(struct header_shm, key),
		sizeof(struct depot_shm),  offsetof(struct depot_shm, cells),
		sizeof(struct slot_shm),   offsetof(struct slot_shm, inbox),
		sizeof(struct thread_shm), offsetof(struct thread_shm, hot), offsetof(struct thread_shm, pairs),
		offsetof(struct thread_shm, hits),
		sizeof(struct mag_shm),    offsetof(struct mag_shm, entries),
		sizeof(struct box_shm),    offsetof(struct box_shm, name),
		sizeof(struct name_shm),   offsetof(struct name_shm, text),
		sizeof(struct rules_shm),  offsetof(struct rules_shm, rules), offsetof(struct rules_bank, carry),
		offsetof(struct rule_shm, text), RULES_TEXT,
		sizeof(struct bucket_shm), BOXES, NAME_BUCKETS, NAMES_PER_BUCKET,
		SLOTS, THREADS, MAGS, CLASSES, UNIT, PAGE, GRAIN, CLASS_MAX_SIZE,
		MAG_ROUNDS, MAG_BYTES, CHUNK_UNITS, GEN_BITS,
	};
	uint32_t h = 2166136261u;
	for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
		h = mix(h, facts[i]);
	return h;
}

/* The file becomes as large as that takes; larger, where its file system gives only multiples of its own page. */
static int resize(int fd, uint64_t units, struct layout *l)
{
	struct stat st;
	*l = layout_of(units);
	int err = sys_truncate(fd, l->size);
	if (err != EINVAL || sys_fstat(fd, &st))
		return err;
	uint64_t granule = sys_granule(&st);
	while (l->size & (granule - 1) && units < UNITS_MAX) { /* more units, and so larger tables */
		units += (granule - (l->size & (granule - 1)) + UNIT - 1) >> UNIT_SHIFT;
		*l = layout_of(units);
	}
	return units > UNITS_MAX ? EFBIG : sys_truncate(fd, l->size);
}

int format_write(int fd, void *arg)
{
	const struct format_wish *wish = arg;
	union {
		struct header_shm h;
		char page[PAGE];
	} u;
	struct layout l;
	memset(&u, 0, sizeof u);
	int err = resize(fd, round_up(wish->capacity, UNIT) >> UNIT_SHIFT, &l);
	if (err)
		return err;
	memcpy(u.h.magic, REGION_MAGIC, sizeof u.h.magic);
	u.h.version = REGION_VERSION;
	u.h.probe = REGION_PROBE;
	u.h.file_size = l.size;
	u.h.capacity = l.units << UNIT_SHIFT;
	u.h.data_off = l.data;
	u.h.created_ns = sys_now_ns();
	u.h.creator_pid = sys_pid();
	u.h.layout_crc = layout_checksum();
	u.h.base = window_pick(l.size, u.h.created_ns ^ (uint64_t)sys_pid() << 32);
	sys_process_name(u.h.creator_name, sizeof u.h.creator_name);
	sys_copy_text(u.h.run, sizeof u.h.run, wish->run ? wish->run : "");
	if (!u.h.base)
		return ENOMEM;
	u.h.flags = wish->hardened ? HEADER_HARDENED : 0;
	err = wish->hardened ? sys_random(u.h.key, sizeof u.h.key) : 0;
	if (err)
		return err;
	return sys_put(fd, &u, sizeof u, 0);
}

int format_read(int fd, uint64_t size, struct header_shm *h, struct layout *l)
{
	if (size < PAGE)
		return SHMB_EFORMAT;
	int err = sys_pread(fd, h, sizeof *h, 0);
	if (err)
		return err == EIO ? SHMB_ECORRUPT : err;
	if (memcmp(h->magic, REGION_MAGIC, sizeof h->magic) || h->version != REGION_VERSION ||
	    h->probe != REGION_PROBE || h->layout_crc != layout_checksum() || h->flags & ~(uint32_t)HEADER_HARDENED)
		return SHMB_EFORMAT;
	uint64_t units = h->capacity >> UNIT_SHIFT;
	if (!units || units > UNITS_MAX || h->capacity % UNIT)
		return SHMB_ECORRUPT;
	*l = layout_of(units);
	if (h->file_size != l->size || h->data_off != l->data || size != l->size || h->base % WINDOW_GRANULE)
		return SHMB_ECORRUPT;
	sound_text(h->creator_name, sizeof h->creator_name);
	sound_text(h->run, sizeof h->run);
	return 0;
}
