/* top_model.c - the regions as they are now, beside what they were the last time. See top.h. */
#include "stats_json.h"
#include "top.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int add(void *opaque, const shmb_info *info)
{
	struct top *t = opaque;
	if (info->kind == SHMB_KIND_OTHER)
		return 0;
	if (t->n == t->room) {
		unsigned room = 2 * t->room + 16;
		struct top_region *more = realloc(t->regions, room * sizeof *more);
		if (!more)
			return ENOMEM;
		t->regions = more;
		t->room = room;
	}
	t->regions[t->n++] = (struct top_region){.info = *info};
	return 0;
}

static bool same(const shmb_info *a, const shmb_info *b)
{
	/* NOLINTNEXTLINE(clang-analyzer-core.NonNullParamChecker): where n is not 0 there are regions */
	return !strcmp(a->name, b->name) && a->created_ns == b->created_ns && a->kind == b->kind;
}

static void compare(struct top_region *r, const struct top *before, double since)
{
	for (unsigned i = 0; i < before->n && since > 0; i++) {
		if (!same(&before->regions[i].info, &r->info))
			continue;
		r->before = true;
		r->rate = ((double)r->live - (double)before->regions[i].live) / since;
	}
}

/* Of the chosen one they are kept. A region that goes meanwhile shows nothing in use. */
static void read_stats(struct top *t, struct top_region *r)
{
	struct json_object *stats;
	if (r->info.kind != SHMB_KIND_ARENA || stats_json(r->info.name, &stats))
		return;
	r->live = json_number(stats, "live_bytes");
	r->cached = json_number(stats, "cached_bytes");
	if (!t->stats && !strcmp(r->info.name, t->name))
		t->stats = stats;
	else
		json_object_put(stats);
}

/* Finds the chosen one again; where its name has gone, whichever is in its place. */
static void find_chosen(struct top *t)
{
	unsigned i = 0;
	while (i < t->n && strcmp(t->regions[i].info.name, t->name))
		i++;
	if (i < t->n || t->chosen >= t->n)
		t->chosen = i < t->n ? i : t->n ? t->n - 1 : 0;
}

int top_read(struct top *t)
{
	struct top before = *t;
	t->regions = NULL;
	t->n = t->room = 0;
	t->stats = NULL;
	clock_gettime(CLOCK_MONOTONIC, &t->when);
	t->since = before.regions ? (double)(t->when.tv_sec - before.when.tv_sec) +
	                                (double)(t->when.tv_nsec - before.when.tv_nsec) / 1e9 : 0;
	int err = shmb_list_in(path_dir(), add, t);
	if (!*t->name && t->n)
		memcpy(t->name, t->regions[0].info.name, sizeof t->name);
	for (unsigned i = 0; i < t->n; i++) {
		read_stats(t, &t->regions[i]);
		compare(&t->regions[i], &before, t->since);
	}
	json_object_put(before.stats_before);
	t->stats_before = before.stats;
	free(before.regions);
	top_sort(t);
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct top_region *)a)->info.name, ((const struct top_region *)b)->info.name);
}

static int by_live(const void *a, const void *b)
{
	uint64_t x = ((const struct top_region *)a)->live, y = ((const struct top_region *)b)->live;
	return x == y ? by_name(a, b) : x < y ? 1 : -1;
}

static int by_rate(const void *a, const void *b)
{
	double x = ((const struct top_region *)a)->rate, y = ((const struct top_region *)b)->rate;
	x = x < 0 ? -x : x;
	y = y < 0 ? -y : y;
	return x < y ? 1 : x > y ? -1 : by_name(a, b);
}

void top_sort(struct top *t)
{
	static int (*const orders[TOP_ORDERS])(const void *, const void *) = {by_name, by_live, by_rate};
	if (t->n)
		qsort(t->regions, t->n, sizeof *t->regions, orders[t->order]);
	find_chosen(t);
}

void top_choose(struct top *t, unsigned i)
{
	if (i >= t->n || !strcmp(t->name, t->regions[i].info.name))
		return;
	t->chosen = i;
	memcpy(t->name, t->regions[i].info.name, sizeof t->name);
	json_object_put(t->stats);
	json_object_put(t->stats_before);
	t->stats = t->stats_before = NULL;
	read_stats(t, &t->regions[i]);
}

void top_free(struct top *t)
{
	json_object_put(t->stats);
	json_object_put(t->stats_before);
	free(t->regions);
}
