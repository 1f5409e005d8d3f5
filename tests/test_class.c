/* test_class.c - size classes: every size against the definition and against jemalloc. */
#include "tests_common.h"

size_t shmb_je_nallocx(size_t size, int flags); /* engine.c alone includes its header */

START_TEST(every_size_fits_the_smallest_class)
{
	for (size_t size = 1; size <= CLASS_MAX_SIZE; size++) {
		unsigned c = class_of(size);
		MUST(c < CLASSES && class_size(c) >= size, "size %zu: class %u", size, c);
		MUST(c == 0 || class_size(c - 1) < size, "size %zu: class %u is not the smallest", size, c);
	}
	ck_assert_uint_eq(class_of(CLASS_MAX_SIZE), CLASSES - 1);
}
END_TEST

START_TEST(sizes_rise_and_are_grains)
{
	ck_assert_uint_eq(class_size(0), GRAIN);
	ck_assert_uint_eq(class_size(CLASSES - 1), CLASS_MAX_SIZE);
	for (unsigned c = 0; c < CLASSES; c++) {
		ck_assert_uint_eq(class_size(c) % GRAIN, 0);
		ck_assert_uint_eq(class_of(class_size(c)), c);
		if (c)
			ck_assert_uint_gt(class_size(c), class_size(c - 1));
	}
}
END_TEST

START_TEST(waste_is_under_a_quarter)
{
	for (size_t size = CLASS_LINEAR + 1; size <= CLASS_MAX_SIZE; size++)
		MUST((class_size(class_of(size)) - size) * 4 < size, "size %zu", size);
	for (size_t size = 1; size <= CLASS_LINEAR; size++)
		ck_assert_uint_lt(class_size(class_of(size)) - size, GRAIN);
}
END_TEST

START_TEST(classes_are_jemallocs)
{
	for (size_t size = GRAIN; size <= CLASS_MAX_SIZE; size++)
		MUST(class_size(class_of(size)) == shmb_je_nallocx(size, 0), "size %zu", size);
	ck_assert_uint_gt(shmb_je_nallocx(CLASS_MAX_SIZE + 1, 0), CLASS_MAX_SIZE);
}
END_TEST

START_TEST(aligned_is_the_least_that_divides)
{
	for (size_t align = 1; align <= PAGE; align *= 2) {
		for (size_t size = 1; size <= CLASS_MAX_SIZE; size += size < 2048 ? 1 : 13) {
			unsigned c = class_aligned(size, align);
			MUST(c < CLASSES && class_size(c) >= size, "size %zu align %zu: class %u", size, align, c);
			MUST(class_size(c) % align == 0, "size %zu align %zu: class %u", size, align, c);
			for (unsigned below = class_of(size); below < c; below++)
				MUST(class_size(below) % align != 0, "size %zu align %zu: %u would do", size, align, below);
		}
	}
	ck_assert_uint_eq(class_aligned(CLASS_MAX_SIZE, PAGE), CLASSES - 1);
}
END_TEST

START_TEST(rounds_are_bounded_in_number_and_bytes)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned n = class_rounds(c);
		ck_assert_uint_ge(n, 2);
		ck_assert_uint_le(n, MAG_ROUNDS);
		ck_assert(n == 2 || n * class_size(c) <= MAG_BYTES);
	}
	ck_assert_uint_eq(class_rounds(0), MAG_ROUNDS);
}
END_TEST

int main(void)
{
	return TESTS_RUN("class", every_size_fits_the_smallest_class, sizes_rise_and_are_grains, waste_is_under_a_quarter,
	                 classes_are_jemallocs, aligned_is_the_least_that_divides, rounds_are_bounded_in_number_and_bytes);
}
