/*
 * occupancy.c - how full each part of a region is. See occupancy.h.
 *
 * Where the last block is shows only at the end, so the cells begin as a page
 * each and double where a block lies beyond the last of them. A block
 * that is larger than a cell counts in each for its part.
 */
#include "occupancy.h"

#include <inttypes.h>
#include <string.h>

const char *const share_words[SHARES] = {"live", "cached", "stray", "free"};

enum { PAGE = 4096 };

struct filling {
	struct occupancy *o;
	unsigned most;
	uint64_t end; /* of the last block, in the data */
};

static void double_cells(struct occupancy *o, unsigned most)
{
	for (unsigned i = 0; i < most; i += 2)
		for (unsigned s = 0; s < SHARES; s++)
			o->bytes[i / 2][s] = o->bytes[i][s] + (i + 1 < most ? o->bytes[i + 1][s] : 0);
	unsigned half = (most + 1) / 2;
	memset(o->bytes + half, 0, (most - half) * sizeof *o->bytes);
	o->cell *= 2;
}

/* The walk gives blocks inside the data, by address; what contradicts that is left out. */
static int add(void *opaque, const shmb_block_info *b)
{
	static const enum share of_state[] = {
		[SHMB_BLOCK_LIVE] = SHARE_LIVE, [SHMB_BLOCK_CACHED] = SHARE_CACHED, [SHMB_BLOCK_STRAY] = SHARE_STRAY};
	struct filling *f = opaque;
	struct occupancy *o = f->o;
	uint64_t at = b->ref - o->data, end = at + b->size;
	if (b->ref < o->data || at < f->end || end > o->capacity)
		return 0;
	f->end = end;
	while (end > o->cell * f->most)
		double_cells(o, f->most);
	while (at < end) {
		uint64_t i = at / o->cell, stop = (i + 1) * o->cell < end ? (i + 1) * o->cell : end;
		o->bytes[i][of_state[b->state]] += stop - at;
		at = stop;
	}
	o->total[of_state[b->state]] += b->size;
	return 0;
}

/* What is left of each cell is free; the last one ends with the capacity. */
static void finish(struct occupancy *o, uint64_t end)
{
	o->cells = (unsigned)((end + o->cell - 1) / o->cell);
	for (unsigned i = 0; i < o->cells; i++) {
		uint64_t from = i * o->cell, room = o->capacity - from < o->cell ? o->capacity - from : o->cell;
		uint64_t used = o->bytes[i][SHARE_LIVE] + o->bytes[i][SHARE_CACHED] + o->bytes[i][SHARE_STRAY];
		o->bytes[i][SHARE_FREE] = room - used;
		o->total[SHARE_FREE] += room - used;
	}
	uint64_t shown = o->cells * o->cell;
	o->beyond = shown < o->capacity ? o->capacity - shown : 0;
}

int occupancy_read(const char *name, unsigned most, struct occupancy *o)
{
	shmb_info info;
	int err = shmb_info_name(name, &info);
	if (err)
		return err;
	if (info.kind != SHMB_KIND_ARENA)
		return SHMB_EFORMAT;
	memset(o, 0, sizeof *o);
	snprintf(o->name, sizeof o->name, "%s", info.name);
	o->capacity = info.capacity;
	o->data = info.size - info.capacity; /* they are the last of the region */
	o->cell = PAGE;
	struct filling f = {.o = o, .most = most};
	err = shmb_walk_name(name, add, &f);
	if (!err)
		finish(o, f.end);
	return err;
}

enum share occupancy_main(const uint64_t cell[SHARES])
{
	enum share best = SHARE_LIVE;
	for (unsigned s = 1; s < SHARES; s++)
		if (cell[s] > cell[best])
			best = s;
	return best;
}

/* ---- a picture ----------------------------------------------------------------- */

void escape_markup(const char *text, FILE *to)
{
	for (const unsigned char *c = (const unsigned char *)text; *c; c++) {
		if (*c == '<' || *c == '>' || *c == '&' || *c == '"' || *c == '\'')
			fprintf(to, "&#%u;", *c);
		else
			fputc(*c < ' ' || *c >= 0x7f ? '?' : *c, to); /* no markup can say a control character */
	}
}

enum { BOX = 12, STEP = 13, LEGEND = 22 };
const char *const share_colours[SHARES] = {"#2a9d4e", "#e9b31c", "#b455b8", "#e6e6e6"};

/* One square: its shares from the bottom up, and what they are for who points at it. */
static void svg_cell(const struct occupancy *o, unsigned i, unsigned width, FILE *to)
{
	unsigned x = i % width * STEP, y = i / width * STEP + LEGEND;
	uint64_t below = 0, all = 0;
	char buf[24];
	for (unsigned s = 0; s < SHARES; s++)
		all += o->bytes[i][s];
	fprintf(to, "<g><title>0x%" PRIx64 ":", o->data + i * o->cell);
	for (unsigned s = 0; s < SHARES; s++)
		if (o->bytes[i][s])
			fprintf(to, " %s %s", human(buf, o->bytes[i][s]), share_words[s]);
	fprintf(to, "</title><rect x=\"%u\" y=\"%u\" width=\"%d\" height=\"%d\" fill=\"%s\"/>", x, y, BOX, BOX, share_colours[SHARE_FREE]);
	for (unsigned s = 0; s < SHARE_FREE; s++) {
		double height = all ? (double)o->bytes[i][s] * BOX / (double)all : 0, at = all ? (double)below * BOX / (double)all : 0;
		below += o->bytes[i][s];
		if (o->bytes[i][s])
			fprintf(to, "<rect x=\"%u\" y=\"%.2f\" width=\"%d\" height=\"%.2f\" fill=\"%s\"/>", x, y + BOX - at - height, BOX,
			        height, share_colours[s]);
	}
	fprintf(to, "</g>\n");
}

static void svg_legend(const struct occupancy *o, FILE *to)
{
	char buf[24];
	for (unsigned s = 0; s < SHARES; s++)
		fprintf(to, "<rect x=\"%u\" y=\"2\" width=\"%d\" height=\"%d\" fill=\"%s\"/><text x=\"%u\" y=\"12\">%s %s</text>\n", s * 150,
		        BOX, BOX, share_colours[s], s * 150 + 18, share_words[s], human(buf, o->total[s]));
}

void occupancy_svg(const struct occupancy *o, unsigned width, bool alone, FILE *to)
{
	char cell[24], beyond[24];
	unsigned lines = (o->cells + width - 1) / width, wide = width * STEP > 620 ? width * STEP : 620;
	unsigned high = LEGEND + lines * STEP + 20;
	if (alone)
		fprintf(to, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	fprintf(to, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%u\" height=\"%u\" viewBox=\"0 0 %u %u\" "
	            "font-family=\"sans-serif\" font-size=\"11\">\n<title>", wide, high, wide, high);
	escape_markup(o->name, to);
	fprintf(to, "</title>\n");
	svg_legend(o, to);
	for (unsigned i = 0; i < o->cells; i++)
		svg_cell(o, i, width, to);
	fprintf(to, "<text x=\"0\" y=\"%u\">", high - 6);
	escape_markup(o->name, to);
	fprintf(to, ": a square is %s; %s free beyond</text>\n</svg>\n", human(cell, o->cell), human(beyond, o->beyond));
}
