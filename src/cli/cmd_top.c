/* cmd_top.c - shmbind top: the regions, live, on a screen or once as text. */
#include "options.h"
#include "top.h"

#include <curses.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DELAY_LEAST_MS = 100, DELAY_MOST_MS = 3600000 };
static const char keys[] = "q quit   up down j k choose   s sort   space pause   + - faster, slower";

/* ---- once ----------------------------------------------------------------------------- */

static void put_text(void *to, enum top_style style, const char *text)
{
	(void)style;
	fprintf(to, "%s\n", text);
}

static void nap(unsigned ms)
{
	struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
	(void)nanosleep(&t, NULL);
}

static int once(struct top *t, unsigned delay_ms)
{
	int err = top_read(t);
	if (!err && delay_ms) {
		nap(delay_ms);
		err = top_read(t);
	}
	if (!err)
		top_frame(t, 0, put_text, stdout);
	return result(&verb_top, path_dir(), err);
}

/* ---- on a screen ------------------------------------------------------------------------ */

static void put_screen(void *to, enum top_style style, const char *text)
{
	static const attr_t attributes[] = {
		[TOP_PLAIN] = A_NORMAL, [TOP_HEAD] = A_BOLD, [TOP_COLUMNS] = A_UNDERLINE, [TOP_CHOSEN] = A_REVERSE};
	int *y = to;
	attrset(attributes[style]);
	mvaddnstr((*y)++, 0, text, COLS);
	attrset(A_NORMAL);
}

static void draw(const struct top *t, bool paused, unsigned delay_ms)
{
	int y = 0;
	erase();
	top_frame(t, LINES > 2 ? (unsigned)LINES - 1 : 1, put_screen, &y);
	attrset(A_DIM);
	mvprintw(LINES - 1, 0, "%.*s", COLS - 1, keys);
	if (paused)
		printw("   paused");
	else
		printw("   every %.1f s", delay_ms / 1000.0);
	attrset(A_NORMAL);
	refresh();
}

static long ms_until(const struct timespec *then, unsigned delay_ms)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	long passed = (now.tv_sec - then->tv_sec) * 1000 + (now.tv_nsec - then->tv_nsec) / 1000000;
	return passed < (long)delay_ms ? (long)delay_ms - passed : 0;
}

/* From one that has gone, to what is in its place. */
static void move_choice(struct top *t, bool down)
{
	bool there = t->n && !strcmp(t->regions[t->chosen].info.name, t->name);
	if (!there)
		top_choose(t, t->chosen);
	else if (down || t->chosen)
		top_choose(t, down ? t->chosen + 1 : t->chosen - 1);
}

static void press(struct top *t, int key, bool *paused, unsigned *delay_ms)
{
	if (key == KEY_DOWN || key == 'j' || key == KEY_UP || key == 'k')
		move_choice(t, key == KEY_DOWN || key == 'j');
	else if (key == 's')
		t->order = (t->order + 1) % TOP_ORDERS;
	else if (key == ' ')
		*paused = !*paused;
	else if (key == '+' && *delay_ms / 2 >= DELAY_LEAST_MS)
		*delay_ms /= 2;
	else if (key == '-' && *delay_ms * 2 <= DELAY_MOST_MS)
		*delay_ms *= 2;
	top_sort(t);
}

static int watch(struct top *t, unsigned delay_ms)
{
	bool paused = false;
	int err = top_read(t);
	while (!err) {
		draw(t, paused, delay_ms);
		timeout(paused ? -1 : (int)ms_until(&t->when, delay_ms));
		int key = getch();
		if (key == 'q')
			break;
		if (key != ERR)
			press(t, key, &paused, &delay_ms);
		if (!paused && !ms_until(&t->when, delay_ms))
			err = top_read(t);
	}
	return err;
}

static int on_screen(struct top *t, unsigned delay_ms)
{
	setlocale(LC_CTYPE, "");
	SCREEN *screen = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? newterm(NULL, stdout, stdin) : NULL;
	if (!screen) {
		complain("top", "no terminal that it knows; --once prints a frame");
		return EXIT_FAILED;
	}
	cbreak();
	noecho();
	keypad(stdscr, TRUE);
	(void)curs_set(0);
	int err = watch(t, delay_ms);
	endwin();
	delscreen(screen);
	return result(&verb_top, path_dir(), err);
}

/* ---- the call ----------------------------------------------------------------------------- */

/* 1, 0.5: in milliseconds. False: it is none (said). */
static bool parse_delay(const char *value, unsigned *ms)
{
	char *end;
	if (!value)
		return true;
	double s = strtod(value, &end);
	if (strspn(value, "0123456789.") == strlen(value) && *value && !*end && s * 1000 >= DELAY_LEAST_MS && s * 1000 <= DELAY_MOST_MS) {
		*ms = (unsigned)(s * 1000 + 0.5);
		return true;
	}
	usage_error(&verb_top, "-d %s: takes seconds from 0.1 to 3600", value);
	return false;
}

/* The region to show at first, as the list has it. */
static int choose_first(struct top *t, const char *name)
{
	shmb_info info;
	int err = shmb_info_name(name, &info);
	if (!err && !path_has(info.name)) {
		complain("top", "%s: not in %s; --path says where, and of a saved file shmbind stats tells", name, path_dir());
		return EXIT_FAILED;
	}
	if (!err)
		memcpy(t->name, info.name, sizeof t->name);
	return result(&verb_top, name, err);
}

static int run(int argc, char **argv)
{
	struct top t = {.order = TOP_BY_NAME};
	bool frame = false;
	const char *delay = NULL;
	unsigned ms = 0;
	const struct option_of options[] = {
		{"--once", &frame, NULL, NULL}, {"-d", NULL, &delay, "seconds"}, {NULL, NULL, NULL, NULL}};
	if (!options_take(&verb_top, options, &argc, argv) || !parse_delay(delay, &ms))
		return EXIT_USAGE;
	if (argc > 2)
		return usage_error(&verb_top, "takes one region at most");
	int code = argc == 2 ? choose_first(&t, path_name(argv[1])) : EXIT_OK;
	if (!code)
		code = frame ? once(&t, ms) : on_screen(&t, ms ? ms : 1000);
	top_free(&t);
	return code;
}

const struct verb verb_top = {
	"top", run, "[--path DIR] [--once] [-d SECONDS] [NAME]", "Shows the regions, and one of them closely, again and again",
	"Of each region what is live and cached and how fast that changes; of the chosen\n"
	"one, NAME or the first, the processes attached and what each rule decides.\n\n"
	"  up, down, j, k   choose another\n"
	"  s                sort by name, by live bytes, by how fast they change\n"
	"  space            pause and go on;  + -  look twice or half as often\n"
	"  q                leave\n\n"
	"  -d SECONDS  between two looks, 0.1 to 3600; default 1\n"
	"  --once      one frame as text; with -d of two looks, so that it has rates\n"};
