/* cmd_map.c - shmbind map: where in a region its blocks lie. */
#include "occupancy.h"
#include "options.h"

#include <inttypes.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { WIDTH_MOST = 512, LINES = 16, MARGIN = 14, SVG_WIDTH = 64 };

enum look { LOOK_PLAIN, LOOK_LETTERS, LOOK_BLOCKS }; /* no colour; coloured: for any character set, for UTF-8 */

static const char *const backgrounds[SHARES] = {"42", "43", "45", "100"};

static unsigned eighths(uint64_t part, uint64_t whole)
{
	unsigned n = whole ? (unsigned)((double)part * 8 / (double)whole + 0.5) : 0;
	return part && !n ? 1 : n;
}

static char letter(const uint64_t cell[SHARES])
{
	uint64_t used = cell[SHARE_LIVE] + cell[SHARE_CACHED] + cell[SHARE_STRAY];
	switch (occupancy_main(cell)) {
	case SHARE_LIVE: return eighths(cell[SHARE_LIVE], used + cell[SHARE_FREE]) >= 6 ? '#' : '+';
	case SHARE_CACHED: return 'c';
	case SHARE_STRAY: return 's';
	default: return used ? ':' : '.';
	}
}

/* What is live stands from below in front of the largest of the rest. */
static void put_block(const uint64_t cell[SHARES])
{
	static const char *const glyphs[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
	uint64_t rest[SHARES], all = 0;
	for (unsigned s = 0; s < SHARES; s++)
		all += rest[s] = cell[s];
	rest[SHARE_LIVE] = 0;
	enum share behind = occupancy_main(rest);
	printf("\033[32;%sm%s", behind == SHARE_LIVE ? "49" : backgrounds[behind], glyphs[eighths(cell[SHARE_LIVE], all)]);
}

static void put_cell(const uint64_t cell[SHARES], enum look look)
{
	if (look == LOOK_BLOCKS)
		put_block(cell);
	else if (look == LOOK_LETTERS)
		printf("\033[30;%sm%c", backgrounds[occupancy_main(cell)], letter(cell));
	else
		putchar(letter(cell));
}

static void put_legend(const struct occupancy *o, enum look look)
{
	static const char *const letters[SHARES] = {"#+", "c", "s", ".:"};
	char buf[24];
	for (unsigned s = 0; s < SHARES; s++) {
		if (look == LOOK_PLAIN)
			printf("%s%s", s ? "  " : "", letters[s]);
		else
			printf("%s\033[30;%sm%s\033[0m", s ? "  " : "", backgrounds[s], look == LOOK_LETTERS ? letters[s] : "  ");
		printf(" %s %s", share_words[s], human(buf, o->total[s]));
	}
	printf("\n");
}

static void print(const struct occupancy *o, unsigned width, enum look look)
{
	char buf[24], cell[24];
	printf("%s: %s for blocks; a cell is %s\n", o->name, human(buf, o->capacity), human(cell, o->cell));
	for (unsigned i = 0; i < o->cells; i++) {
		if (i % width == 0)
			printf("%#12" PRIx64 "  ", o->data + i * o->cell);
		put_cell(o->bytes[i], look);
		if (i % width == width - 1 || i == o->cells - 1)
			printf("%s\n", look == LOOK_PLAIN ? "" : "\033[0m");
	}
	put_legend(o, look);
	printf("%s free beyond\n", human(buf, o->beyond));
}

/* ---- the call --------------------------------------------------------------------- */

static bool choose_look(const char *when, enum look *out)
{
	bool always = when && !strcmp(when, "always");
	if (when && !always && strcmp(when, "auto") && strcmp(when, "never")) {
		usage_error(&verb_map, "--color %s: takes auto, always or never", when);
		return false;
	}
	setlocale(LC_CTYPE, "");
	enum look coloured = strcmp(nl_langinfo(CODESET), "UTF-8") ? LOOK_LETTERS : LOOK_BLOCKS;
	bool wanted = always || ((!when || !strcmp(when, "auto")) && isatty(STDOUT_FILENO));
	*out = wanted ? coloured : LOOK_PLAIN;
	return true;
}

static unsigned fitting(void)
{
	struct winsize w;
	unsigned columns = ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || !w.ws_col ? 80 : w.ws_col;
	columns = columns > MARGIN + 16 ? columns - MARGIN : 16;
	return columns < WIDTH_MOST ? columns : WIDTH_MOST;
}

static unsigned cells_of(uint64_t width, unsigned lines)
{
	return width * lines < CELLS_MOST ? (unsigned)width * lines : CELLS_MOST;
}

static int run(int argc, char **argv)
{
	static struct occupancy o;
	bool svg = false;
	const char *when = NULL, *columns = NULL;
	uint64_t width = 0;
	enum look look;
	const struct option_of options[] = {{"--svg", &svg, NULL, NULL},
	                                    {"--width", NULL, &columns, "a number of cells"},
	                                    {"--color", NULL, &when, "auto, always or never"},
	                                    {NULL, NULL, NULL, NULL}};
	if (!options_take(&verb_map, options, &argc, argv) || !choose_look(when, &look) ||
	    !option_count(&verb_map, "--width", columns, 1, WIDTH_MOST, &width))
		return EXIT_USAGE;
	if (argc != 2)
		return usage_error(&verb_map, "takes one region");
	if (!width)
		width = svg ? SVG_WIDTH : fitting();
	argv[1] = path_name(argv[1]);
	int err = occupancy_read(argv[1], cells_of(width, svg ? SVG_WIDTH : LINES), &o);
	if (err)
		return result(&verb_map, argv[1], err);
	if (svg)
		occupancy_svg(&o, (unsigned)width, true, stdout);
	else
		print(&o, (unsigned)width, look);
	return EXIT_OK;
}

const struct verb verb_map = {
	"map", run, "NAME [--svg] [--width N] [--color WHEN]", "Draws where the blocks of an arena region lie",
	"From the first block to the last, a cell for as many bytes as the first line says.\n"
	"On a terminal the green part of a cell is live, the colour behind it the largest of\n"
	"the rest. Without colour: # almost all live, + mostly, c mostly free in magazines\n"
	"(cached), s stray, : mostly free, . free. Works on what a dead owner left, too.\n"
	"--color auto, which is the default, means on a terminal.\n\n"
	"  --svg         a picture to standard output; each square tells its bytes\n"
	"  --width N     cells in a line, 1 to 512; default: as the terminal, or 64\n"
	"  --color WHEN  auto, always or never\n"};
