/*
 * fuzz_attach.c - a process that attaches to a region which anybody may have
 * written, to use it. It is refused, or calls fail: the process does not end,
 * does not hang, and is handed no memory outside the region.
 *
 * The bytes behind the patches are what it does then, two a call. What a
 * stranger's magazine lists twice is issued twice, and so is what lies in a unit
 * that is said to be free, which nobody can see: such a block is neither used
 * nor freed here. Nor is one that a box was given, too,
 * once that box is dropped: its unit was said to be free when it was not.
 */
#include "image.h"

#include "class.h"
#include "tally.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SECONDS = 3, HELD = 64, OPS = 64, RULES_OP = 0xfc };

static const size_t sizes[] = {1,    16,   17,    48,    64,    128,   200,   320,    700,    1024,   3000,
                               5000, 8192, 14000, 20000, 30000, 57344, 57345, 100000, 200000, 500000, 3000000};
enum { SIZES = sizeof sizes / sizeof *sizes };

static struct held {
	char *p;
	size_t size;
} held[HELD];
static unsigned held_count;

static shmb_arena *arena;
static char *first, *end; /* of its data */

/* ---- blocks ------------------------------------------------------------------------- */

static void inside(const char *what, const void *p, size_t size)
{
	const char *s = p;
	if (s < first || s >= end || size > (size_t)(end - s))
		find("%s: %zu bytes at %p, outside of %p to %p", what, size, p, (void *)first, (void *)end);
}

/* A block of two owners': the first has it no more. True: there was one. */
static bool take_over(const char *p, size_t size)
{
	unsigned before = held_count;
	for (unsigned i = held_count; i-- > 0;)
		if (p < held[i].p + held[i].size && held[i].p < p + size)
			held[i] = held[--held_count];
	return held_count < before;
}

static void hold(void *p, size_t size)
{
	if (!p)
		return;
	inside("a block", p, size);
	if (take_over(p, size) || held_count == HELD)
		return;
	memset(p, (int)held_count + 1, size);
	held[held_count++] = (struct held){p, size};
}

/* Takes it off the list; false: a stranger's box had it, too, and it went with that. */
static bool unhold(unsigned i, struct held *h)
{
	*h = held[i];
	held[i] = held[--held_count];
	return shmb_deref(arena, shmb_ref_of(arena, h->p), h->size) == h->p;
}

static void let_go(unsigned i)
{
	struct held h;
	if (unhold(i, &h))
		shmb_free(arena, h.p);
}

static void resize(unsigned i, size_t size)
{
	struct held h;
	if (!unhold(i, &h))
		return;
	char *q = shmb_realloc(arena, h.p, size);
	if (q)
		hold(q, size);
	else
		held[held_count++] = h;
}

/* ---- boxes ---------------------------------------------------------------------------- */

static void dropped(void *object)
{
	inside("a box that is dropped", object, 40);
}

static const shmb_type type = {.name = "thing", .size = 40, .align = 8, .drop = dropped};

static void use_box(shmb_box *box, unsigned arg)
{
	char *object = shmb_box_get(box);
	shmb_box *again;
	if (object) {
		inside("a box", object, 40);
		object[arg % 40] = 1;
	}
	(void)shmb_box_at(arena, shmb_box_ref(box), &type, &again);
	if (arg & 0x40)
		(void)shmb_box_own(box);
	if (arg & 0x80)
		(void)(arg & 0x20 ? shmb_box_leak(box) : shmb_box_drop(box));
}

static void try_box(unsigned arg)
{
	static const char *const names[] = {"first", "second", "third", "fourth"};
	shmb_box *box;
	int err;
	switch (arg >> 2 & 3) {
	case 0: err = shmb_box_new(arena, &type, NULL, NULL, &box); break;
	case 1: err = shmb_box_find(arena, names[arg & 3], &type, &box); break;
	case 2: err = shmb_box_find_or_new(arena, names[arg & 3], &type, NULL, NULL, &box, NULL); break;
	default: err = shmb_box_at(arena, image_layout.boxes + (arg & 3) * sizeof(struct box_shm) + ((uint64_t)arg << 36), &type, &box);
	}
	if (!err)
		use_box(box, arg);
}

/* ---- rules ---------------------------------------------------------------------------- */

static void tag_held(const struct held *h, unsigned entry)
{
	uint64_t off = (uint64_t)(h->p - arena->data);
	if (h->size > CLASS_MAX_SIZE)
		tally_tag_large(arena, off >> UNIT_SHIFT, (h->size + UNIT - 1) >> UNIT_SHIFT, entry);
	else
		tally_tag(arena, (uint32_t)(off >> GRAIN_SHIFT), class_of(h->size ? h->size : 1), entry);
}

static void try_rules(unsigned arg)
{
	static const char *const texts[] = {"all", "size=64K..; !small: size=..64; sample=1/3 size=..2K",
	                                    "a: site=x size=..5K; b: size=..5K", "one: size=600; two: size=..700"};
	if (arg & 4)
		(void)shmb_rules_switch(IMAGE_NAME, arg & 1);
	else
		(void)shmb_rules_set(IMAGE_NAME, texts[arg & 3], NULL, 0);
	for (unsigned i = 0; arg & 8 && i < held_count; i++)
		tag_held(&held[i], arg >> 4);
}

/* ---- what it does ---------------------------------------------------------------------- */

static void call(unsigned op, unsigned arg)
{
	size_t size = sizes[arg % SIZES];
	if (op >= RULES_OP) {
		try_rules(arg);
		return;
	}
	switch (op % 12) {
	case 0:
	case 1: hold(shmb_malloc(arena, size), size); break;
	case 2: hold(shmb_calloc(arena, 1, size), size); break;
	case 3: hold(shmb_aligned_alloc(arena, (size_t)16 << (arg >> 4), size), size); break;
	case 4:
	case 5:
		if (held_count)
			let_go(arg % held_count);
		break;
	case 6:
		if (held_count)
			resize(arg % held_count, sizes[op / 12]);
		break;
	case 7: shmb_trim(arena); break;
	case 8: (void)shmb_recover(arena); break;
	case 9: (void)shmb_deref(arena, image_layout.data + (uint64_t)arg * 4112, size); break;
	case 10: /* a class emptied: what others left there is issued */
		for (unsigned i = 0; i < 70; i++)
			hold(shmb_malloc(arena, size % 4096), size % 4096);
		break;
	default: try_box(arg);
	}
}

static void use(const uint8_t *ops, size_t n)
{
	static const uint8_t usual[] = {0, 2, 8, 0, 10, 3, 7, 0, 11, 8, 11, 0, 4, 1, 11, 4, 11, 0xc5, 11, 0xca, 7, 0, 10, 9, 0xfc, 0x0b, 10, 9, 0xfc, 0};
	if (n < 2)
		ops = usual, n = sizeof usual;
	for (size_t i = 0; i + 1 < n && i < 2 * OPS; i += 2)
		call(ops[i], ops[i + 1]);
	while (held_count)
		let_go(held_count - 1);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc, (void)argv;
	image_setup();
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	size_t used = image_restore(data, size);
	image_limit_time(SECONDS);
	held_count = 0;
	if (!shmb_arena_open(IMAGE_NAME, &opt, &arena)) {
		first = (char *)shmb_region_addr(shmb_arena_region(arena)) + image_layout.data;
		end = first + shmb_arena_capacity(arena);
		if (!shmb_arena_is_hardened(arena)) /* the first block that is not as it should be ends it, as it is to */
			use(data + used, size - used);
		(void)shmb_arena_close(arena);
	}
	image_limit_time(0);
	return 0;
}
