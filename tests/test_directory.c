/*
 * test_directory.c - names of boxes: found, removed and used again, against a
 * model; the limits of a name and of a group of buckets.
 *
 * Entries are taken and named here without objects: the directory does not
 * look at those.
 */
#include "tests_common.h"

#include "boxes.h"
#include "directory.h"

enum { NAMES = 20000, GROUP_NAMES = 4 * NAMES_PER_BUCKET, GROUPS = NAME_BUCKETS / 4 };

static uint32_t boxes[NAMES + 1]; /* the model: number of the box that has name i; 0: none */

static const char *name_nr(unsigned i)
{
	static char text[NAME_TEXT];
	snprintf(text, sizeof text, i % 3 ? "name/%u" : "a rather longer name that differs only at its end: %u", i);
	return text;
}

static void put(shmb_arena *a, unsigned i)
{
	struct box_shm *b = boxes_take(a);
	MUST(b, "no entry for name %u", i);
	uint32_t number = boxes_number(a, b);
	ck_assert_int_eq(directory_lock(a, name_nr(i)), 0);
	int err = directory_insert(a, name_nr(i), number);
	directory_unlock(a, name_nr(i));
	MUST(err == 0, "name %u: %d", i, err);
	boxes[i] = number;
}

static void take(shmb_arena *a, unsigned i)
{
	directory_remove(a, boxes[i]);
	boxes_give(a, &a->boxes[boxes[i] - 1]);
	boxes[i] = 0;
}

static void compare(const shmb_arena *a, unsigned i)
{
	uint32_t found = directory_find(a, name_nr(i));
	MUST(found == boxes[i], "name %u: box %u, the model says %u", i, found, boxes[i]);
}

static void shuffle(struct rng *r, unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		order[i] = i;
	for (unsigned i = n; i > 1; i--) {
		unsigned k = (unsigned)rnd_below(r, i), was = order[i - 1];
		order[i - 1] = order[k];
		order[k] = was;
	}
}

START_TEST(against_a_model)
{
	static unsigned order[NAMES];
	shmb_arena *a = arena_new(MIB);
	struct rng r = {20240917};
	ck_assert_uint_eq(directory_find(a, "before anything"), 0);
	for (unsigned i = 0; i < NAMES; i++)
		put(a, i);
	for (unsigned i = 0; i < NAMES; i++)
		compare(a, i);
	shuffle(&r, order, NAMES);
	for (unsigned i = 0; i < NAMES / 2; i++)
		take(a, order[i]);
	for (unsigned i = 0; i < NAMES; i++)
		compare(a, i);
	for (unsigned i = 0; i < 5 * NAMES; i++) {
		unsigned k = (unsigned)rnd_below(&r, NAMES);
		if (boxes[k])
			take(a, k);
		else
			put(a, k);
		compare(a, k);
		compare(a, (unsigned)rnd_below(&r, NAMES));
	}
	for (unsigned i = 0; i < NAMES; i++) {
		compare(a, i);
		if (boxes[i])
			take(a, i);
	}
	for (unsigned i = 0; i < NAMES; i++)
		compare(a, i);
	for (unsigned i = 0; i < NAME_BUCKETS * NAMES_PER_BUCKET; i += NAMES_PER_BUCKET)
		if (atomic_load(&a->buckets[i / NAMES_PER_BUCKET].committed))
			for (unsigned k = 0; k < NAMES_PER_BUCKET; k++)
				MUST(!atomic_load(&a->names[i + k].word), "name entry %u is not free", i + k);
	arena_done(a);
}
END_TEST

START_TEST(names_that_will_not_do)
{
	char text[NAME_TEXT + 1];
	memset(text, 'z', sizeof text);
	text[NAME_TEXT] = 0;
	ck_assert_int_eq(directory_check(text), EINVAL); /* 112 bytes */
	text[NAME_TEXT - 1] = 0;
	ck_assert_int_eq(directory_check(text), 0); /* 111 */
	ck_assert_int_eq(directory_check("z"), 0);
	ck_assert_int_eq(directory_check(""), EINVAL);
	ck_assert_int_eq(directory_check(NULL), EINVAL);
}
END_TEST

START_TEST(longest_names)
{
	shmb_arena *a = arena_new(MIB);
	char text[2][NAME_TEXT];
	struct box_shm *b[2];
	for (unsigned i = 0; i < 2; i++) { /* alike but for the last byte */
		memset(text[i], 'z', NAME_TEXT - 1);
		text[i][NAME_TEXT - 2] = (char)('0' + i);
		text[i][NAME_TEXT - 1] = 0;
		b[i] = boxes_take(a);
		ck_assert_int_eq(directory_lock(a, text[i]), 0);
		ck_assert_int_eq(directory_insert(a, text[i], boxes_number(a, b[i])), 0);
		directory_unlock(a, text[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		ck_assert_uint_eq(directory_find(a, text[i]), boxes_number(a, b[i]));
	text[0][NAME_TEXT - 2] = 0; /* a prefix is another name */
	ck_assert_uint_eq(directory_find(a, text[0]), 0);
	arena_done(a);
}
END_TEST

/* The group of a name, as directory.c places it. */
static unsigned group_of(const char *name)
{
	uint64_t h = 14695981039346656037u;
	for (const char *p = name; *p; p++)
		h = (h ^ (unsigned char)*p) * 1099511628211u;
	return (uint32_t)(h ^ h >> 32) % GROUPS;
}

static const shmb_type one = {"one", 16, 16, NULL};

/* Through the public calls: the name too many is refused, and leaves nothing. */
START_TEST(a_full_group)
{
	shmb_arena *a = arena_new(MIB);
	static char names[GROUP_NAMES + 1][24];
	shmb_box *b[GROUP_NAMES], *c = NULL;
	for (unsigned n = 0, i = 0; n <= GROUP_NAMES; i++) {
		snprintf(names[n], sizeof names[n], "full %u", i);
		n += group_of(names[n]) == 7;
	}
	for (unsigned n = 0; n < GROUP_NAMES; n++)
		MUST(shmb_box_find_or_new(a, names[n], &one, NULL, NULL, &b[n], NULL) == 0, "name %u of the group", n);
	struct walk before = walk_arena(a, false);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_int_eq(shmb_box_find_or_new(a, names[GROUP_NAMES], &one, NULL, NULL, &c, NULL), ENOSPC);
	ck_assert_ptr_null(c);
	ck_assert_int_eq(shmb_box_find(a, names[GROUP_NAMES], &one, &c), ENOENT);
	ck_assert_uint_eq(walk_arena(a, false).live, before.live);
	ck_assert_int_eq(shmb_box_find_or_new(a, "another group", &one, NULL, NULL, &c, NULL), 0);
	for (unsigned n = 0; n < GROUP_NAMES; n++)
		MUST(shmb_box_find(a, names[n], &one, &c) == 0 && c == b[n], "name %u is not found", n);
	ck_assert_int_eq(shmb_box_drop(b[GROUP_NAMES / 2]), 0);
	ck_assert_int_eq(shmb_box_find_or_new(a, names[GROUP_NAMES], &one, NULL, NULL, &c, NULL), 0);
	ck_assert_int_eq(shmb_box_find(a, names[GROUP_NAMES / 2], &one, &c), ENOENT);
	arena_done(a);
}
END_TEST

/* A lookup while names of its buckets come and go finds the box of its name or none, never another. */
START_TEST(look_while_it_changes)
{
	shmb_arena *a = arena_new(MIB);
	enum { ROUNDS = 20000 / SLOW };
	int go[2];
	put(a, 0);
	ck_assert_int_eq(pipe(go), 0);
	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0) {
		for (unsigned i = 0; i < ROUNDS; i++) { /* tables only: no tenure is asked for */
			uint32_t found = directory_find(a, name_nr(1));
			if (found) {
				const struct box_shm *b = &a->boxes[found - 1];
				uint32_t name = atomic_load(&b->name);
				CHILD_ASSERT(found <= atomic_load(&a->hdr->boxes_ready));
				CHILD_ASSERT(!name || name <= NAME_BUCKETS * NAMES_PER_BUCKET);
			}
			CHILD_ASSERT(directory_find(a, name_nr(0)) == boxes[0]);
		}
		_exit(0);
	}
	int status;
	while (waitpid(pid, &status, WNOHANG) == 0) {
		put(a, 1);
		take(a, 1);
	}
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %#x", status);
	take(a, 0);
	arena_done(a);
}
END_TEST

int main(void)
{
	return TESTS_RUN("directory", against_a_model, names_that_will_not_do, longest_names, a_full_group,
	                 look_while_it_changes);
}
