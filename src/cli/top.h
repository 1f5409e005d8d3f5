/*
 * top.h - what `shmbind top` shows: a model that is read again and again, and
 * the lines of a frame of it, for the screen or for a file.
 */
#ifndef SHMBIND_TOP_H
#define SHMBIND_TOP_H

#include "cli.h"

#include <json-c/json.h>
#include <time.h>

enum top_order { TOP_BY_NAME, TOP_BY_LIVE, TOP_BY_RATE, TOP_ORDERS };

struct top_region {
	shmb_info info;
	uint64_t live, cached; /* of an arena */
	double rate;           /* of live bytes a second */
	bool before;           /* it was there the last time: rate is known */
};

struct top {
	struct top_region *regions;
	unsigned n, room, chosen; /* chosen < n, where there are any */
	char name[256];           /* of the chosen one, whether it is there or not; "": the first */
	struct json_object *stats, *stats_before; /* of the chosen one, where it is an arena: now and the last time */
	struct timespec when;
	double since; /* seconds between the two; 0: there is one look only */
	enum top_order order;
};

/* Looks again. The result of a library call. */
int top_read(struct top *t);
void top_sort(struct top *t);
void top_choose(struct top *t, unsigned i);
void top_free(struct top *t);

/* How a line is meant. */
enum top_style { TOP_PLAIN, TOP_HEAD, TOP_COLUMNS, TOP_CHOSEN };

/* Calls `put` for each of at most `lines` lines; 0: all that there are. */
typedef void top_put(void *to, enum top_style style, const char *line);
void top_frame(const struct top *t, unsigned lines, top_put *put, void *to);

#endif
