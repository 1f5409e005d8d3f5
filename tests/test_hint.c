/* test_hint.c - bitmaps of hints against an array of bools. */
#include "tests_common.h"

enum { BITS = 64 * 9 };

static hint_t bits[BITS / 64];
static bool model[BITS];

static uint64_t model_find(uint64_t from, uint64_t end, bool set)
{
	while (from < end && model[from] != set)
		from++;
	return from < end ? from : end;
}

static void agree(void)
{
	for (unsigned i = 0; i < BITS; i++)
		MUST(hint_get(bits, i) == model[i], "bit %u", i);
}

static void one_step(struct rng *r)
{
	uint64_t i = rnd_below(r, BITS), n = rnd_below(r, BITS - i + 1);
	bool set = rnd(r) >> 40 & 1;
	switch (rnd_below(r, 4)) {
	case 0:
		hint_set(bits, i);
		model[i] = true;
		break;
	case 1:
		hint_clear(bits, i);
		model[i] = false;
		break;
	case 2:
		n = rnd_below(r, 4) ? n % 70 : n; /* long fills would leave no mixture */
		hint_fill(bits, i, n, set);
		for (uint64_t k = i; k < i + n; k++)
			model[k] = set;
		break;
	default:
		MUST(hint_find(bits, i, i + n, set) == model_find(i, i + n, set), "find %d in %lu+%lu", set, i, n);
	}
}

START_TEST(random_operations_agree_with_the_model)
{
	struct rng r = {.s = 1234567};
	for (unsigned i = 0; i < 200000 / SLOW; i++) {
		one_step(&r);
		if (i % 64 == 0)
			agree();
	}
	agree();
}
END_TEST

START_TEST(every_fill_of_every_length)
{
	for (unsigned first = 0; first < 130; first++) {
		for (unsigned n = 0; n + first <= 200; n++) {
			hint_fill(bits, 0, BITS, n & 1);
			hint_fill(bits, first, n, !(n & 1));
			for (unsigned i = 0; i < 210; i++)
				MUST(hint_get(bits, i) == ((i >= first && i < first + n) != (n & 1)), "bit %u of %u+%u", i, first, n);
		}
	}
}
END_TEST

START_TEST(find_stays_within_its_range)
{
	hint_fill(bits, 0, BITS, false);
	hint_set(bits, 100);
	ck_assert_uint_eq(hint_find(bits, 0, BITS, true), 100);
	ck_assert_uint_eq(hint_find(bits, 100, 101, true), 100);
	ck_assert_uint_eq(hint_find(bits, 0, 100, true), 100); /* the end: none */
	ck_assert_uint_eq(hint_find(bits, 101, BITS, true), BITS);
	ck_assert_uint_eq(hint_find(bits, 50, 50, false), 50);
	ck_assert_uint_eq(hint_find(bits, 63, 64, false), 63);
	ck_assert_uint_eq(hint_find(bits, 64, 64, false), 64);
}
END_TEST

int main(void)
{
	return TESTS_RUN("hint", random_operations_agree_with_the_model, every_fill_of_every_length,
	                 find_stays_within_its_range);
}
