/* test_box.c - a typed box over a whole raw region: checks, destructor, leak, own, scope. */
#include "helpers/region_util.h"

struct point {
	int x, y;
};

static int drops; /* in this process */
static struct point dropped;

static void point_drop(void *obj)
{
	dropped = *(struct point *)obj;
	drops++;
}

static const shmb_type point = SHMB_TYPE(struct point, point_drop);
static const shmb_type plain = SHMB_TYPE(struct point, NULL);

static shmb_box *box_get(const char *name, enum shmb_how how)
{
	shmb_box *box;
	shmb_region *r = raw_get(name, sizeof(struct point), 0, how);
	ck_assert_int_eq(shmb_region_box(r, &point, &box), 0);
	ck_assert_int_eq(shmb_box_is_owner(box), how != SHMB_ATTACHED);
	return box;
}

START_TEST(type_macro)
{
	ck_assert_str_eq(point.name, "struct point");
	ck_assert_uint_eq(point.size, sizeof(struct point));
	ck_assert_uint_eq(point.align, _Alignof(struct point));
	ck_assert(point.drop == point_drop && plain.drop == NULL);
}
END_TEST

START_TEST(types_are_checked)
{
	static const shmb_type bad[] = {
		{NULL, 8, 4, NULL}, {"", 8, 4, NULL},     {"t", 0, 4, NULL},
		{"t", 8, 0, NULL},  {"t", 8, 3, NULL},    {"t", 8, 8192, NULL},
		{"t", 8, 6, NULL},  {"t", 8, 4097, NULL},
	};
	shmb_box *box = NULL;
	shmb_region *r = raw_get(named("types"), 4096, 0, SHMB_CREATED);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_int_eq(shmb_region_box(r, &bad[i], &box), EINVAL);
	ck_assert_int_eq(shmb_region_box(r, NULL, &box), EINVAL);
	ck_assert_int_eq(shmb_region_box(r, &(shmb_type){"t", 4097, 1, NULL}, &box), SHMB_ETOOSMALL);
	ck_assert_ptr_null(box);
	memset(shmb_region_addr(r), 1, 4096); /* failure left the region as it was */
	ck_assert_int_eq(shmb_region_is_owner(r), 1);
	static const shmb_type page = {"page", 4096, 4096, NULL};
	ck_assert_int_eq(shmb_region_box(r, &page, &box), 0);
	ck_assert_int_eq(shmb_box_drop(box), 0);
	ck_assert(!exists(named("types")));
}
END_TEST

START_TEST(get_is_the_first_byte_and_zero_at_first)
{
	shmb_box *box = box_get(named("get"), SHMB_CREATED);
	struct point *p = shmb_box_get(box);
	ck_assert_ptr_eq(p, shmb_region_addr(shmb_box_region(box)));
	ck_assert_str_eq(shmb_region_name(shmb_box_region(box)), named("get"));
	ck_assert(p->x == 0 && p->y == 0);
	shmb_box *other = box_get(named("get"), SHMB_ATTACHED);
	*p = (struct point){3, 4};
	ck_assert_int_eq(((struct point *)shmb_box_get(other))->y, 4);
	ck_assert_int_eq(shmb_box_drop(other), 0);
	ck_assert_int_eq(shmb_box_drop(box), 0);
}
END_TEST

START_TEST(drop_destroys_in_the_owner_only)
{
	const char *name = named("drop");
	shmb_box *box = box_get(name, SHMB_CREATED);
	shmb_box *other = box_get(name, SHMB_ATTACHED);
	*(struct point *)shmb_box_get(other) = (struct point){5, 6};
	ck_assert_int_eq(shmb_box_drop(other), 0);
	ck_assert_int_eq(drops, 0);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_box_drop(box), 0);
	ck_assert_int_eq(drops, 1);
	ck_assert(dropped.x == 5 && dropped.y == 6);
	ck_assert(!exists(name));
	ck_assert_int_eq(shmb_box_drop(NULL), 0);
}
END_TEST

static int write_at(const void *addr)
{
	signal(SIGSEGV, SIG_DFL);
	*(volatile int *)addr = 1;
	return 0;
}

START_TEST(drop_unmaps)
{
	shmb_box *box = box_get(named("unmap"), SHMB_CREATED);
	void *p = shmb_box_get(box);
	CHILD_OK(write_at, p);
	ck_assert_int_eq(shmb_box_drop(box), 0);
	int status = in_child(write_at, p);
	ck_assert(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
}
END_TEST

START_TEST(type_without_destructor)
{
	shmb_box *box;
	shmb_region *r = raw_get(named("plain"), 4096, 0, SHMB_CREATED);
	ck_assert_int_eq(shmb_region_box(r, &plain, &box), 0);
	ck_assert_int_eq(shmb_box_drop(box), 0);
	ck_assert(!exists(named("plain")));
}
END_TEST

START_TEST(leak_keeps_without_destructor)
{
	const char *name = named("leak");
	shmb_box *box = box_get(name, SHMB_CREATED);
	shmb_box *other = box_get(name, SHMB_ATTACHED);
	*(struct point *)shmb_box_get(box) = (struct point){7, 8};
	ck_assert_int_eq(shmb_box_leak(other), SHMB_ENOTOWNER);
	ck_assert_int_eq(((struct point *)shmb_box_get(other))->x, 7); /* a refused leak ends nothing */
	ck_assert_int_eq(shmb_box_drop(other), 0);
	ck_assert_int_eq(shmb_box_leak(box), 0);
	ck_assert_int_eq(drops, 0);
	ck_assert(exists(name));
	box = box_get(name, SHMB_ATTACHED);
	ck_assert_int_eq(((struct point *)shmb_box_get(box))->y, 8);
	ck_assert_int_eq(shmb_box_own(box), 0);
	ck_assert_int_eq(shmb_box_is_owner(box), 1);
	ck_assert_int_eq(shmb_box_drop(box), 0);
	ck_assert_int_eq(drops, 1);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(own_needs_a_dead_owner)
{
	const char *name = named("own");
	shmb_box *box = box_get(name, SHMB_CREATED);
	shmb_box *other = box_get(name, SHMB_ATTACHED);
	ck_assert_int_eq(shmb_box_own(box), 0);
	ck_assert_int_eq(shmb_box_own(other), SHMB_EOWNED);
	ck_assert_int_eq(shmb_box_drop(box), 0); /* takes the name along */
	ck_assert_int_eq(shmb_box_own(other), SHMB_EGONE);
	ck_assert_int_eq(shmb_box_drop(other), 0);
	ck_assert_int_eq(drops, 1);
	leave_dead(name);
	other = box_get(name, SHMB_CLAIMED);
	ck_assert_int_eq(shmb_box_drop(other), 0);
	ck_assert_int_eq(drops, 2);
	ck_assert_mem_eq(&dropped, "dead", 4);
}
END_TEST

static int drop_inherited(const void *box)
{
	NEED(!shmb_box_is_owner(box) && shmb_box_drop((shmb_box *)box) == 0);
	return drops;
}

static int exit_undropped(const void *name)
{
	shmb_region *r;
	shmb_box *box;
	static const shmb_type loud = {"struct point", 8, 4, (void (*)(void *))abort};
	NEED(raw_open(name, 4096, 0, &r) == 0 && shmb_region_box(r, &loud, &box) == 0);
	exit(0);
}

START_TEST(a_forked_child_is_no_owner)
{
	const char *name = named("fork");
	shmb_box *box = box_get(name, SHMB_CREATED);
	CHILD_OK(drop_inherited, box);
	ck_assert(exists(name));
	ck_assert_int_eq(shmb_box_drop(box), 0);
	ck_assert_int_eq(drops, 1);
}
END_TEST

START_TEST(exit_unlinks_without_destructor)
{
	const char *name = named("exit");
	CHILD_OK(exit_undropped, name);
	ck_assert(!exists(name));
}
END_TEST

START_TEST(scope_exit_drops)
{
	const char *name = named("scope");
	{
		SHMB_SCOPED shmb_box *never = NULL;
		SHMB_SCOPED shmb_box *box = box_get(name, SHMB_CREATED);
		(void)never;
		ck_assert(exists(name) && box);
	}
	ck_assert_int_eq(drops, 1);
	ck_assert(!exists(name));
	shmb_box *box = box_get(name, SHMB_CREATED);
	shmb_box_scoped(&box);
	ck_assert_ptr_null(box);
	ck_assert_int_eq(drops, 2);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("box");
	TCase *tc = tcase_create("box");
	tcase_add_test(tc, type_macro);
	tcase_add_test(tc, types_are_checked);
	tcase_add_test(tc, get_is_the_first_byte_and_zero_at_first);
	tcase_add_test(tc, drop_destroys_in_the_owner_only);
	tcase_add_test(tc, drop_unmaps);
	tcase_add_test(tc, type_without_destructor);
	tcase_add_test(tc, leak_keeps_without_destructor);
	tcase_add_test(tc, own_needs_a_dead_owner);
	tcase_add_test(tc, a_forked_child_is_no_owner);
	tcase_add_test(tc, exit_unlinks_without_destructor);
	tcase_add_test(tc, scope_exit_drops);
	suite_add_tcase(s, tc);
	return s;
}

int main(void)
{
	return run_suite(suite);
}
