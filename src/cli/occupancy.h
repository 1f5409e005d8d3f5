/*
 * occupancy.h - how full each part of a region is, up to its last block: what
 * `shmbind map` and the page of `shmbind stats --html` draw.
 */
#ifndef SHMBIND_OCCUPANCY_H
#define SHMBIND_OCCUPANCY_H

#include "cli.h"

#include <stdio.h>

enum share { SHARE_LIVE, SHARE_CACHED, SHARE_STRAY, SHARE_FREE, SHARES };
extern const char *const share_words[SHARES], *const share_colours[SHARES];

enum { CELLS_MOST = 4096 };

struct occupancy {
	char name[256];
	uint64_t capacity, data; /* bytes for blocks; where they begin in the region */
	uint64_t cell;           /* bytes that a cell stands for */
	unsigned cells;          /* up to the last block */
	uint64_t bytes[CELLS_MOST][SHARES];
	uint64_t total[SHARES];
	uint64_t beyond; /* free bytes after the last cell */
};

/* At most `most` cells. The result of a library call. */
int occupancy_read(const char *name, unsigned most, struct occupancy *o);

/* The largest share of a cell, and whether anything at all is used in it. */
enum share occupancy_main(const uint64_t cell[SHARES]);

/* An SVG element of `width` cells a line; `alone`: a file of its own. */
void occupancy_svg(const struct occupancy *o, unsigned width, bool alone, FILE *to);

/* Text in XML or HTML, whatever is in it. */
void escape_markup(const char *text, FILE *to);

#endif
