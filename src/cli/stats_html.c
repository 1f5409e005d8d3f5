/*
 * stats_html.c - a region's statistics as one page that needs nothing else:
 * no script, no file beside it. All text from the region goes through
 * escape_markup(), and the page forbids itself to load or run anything.
 */
#include "occupancy.h"
#include "stats_json.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

enum { MAP_WIDTH = 64, MAP_LINES = 24 };

static const char head[] =
	"<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	"<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>";
static const char style[] =
	"</title>\n<style>\nbody { font: 14px sans-serif; max-width: 66em; margin: 2em auto; padding: 0 1em; color: #222; }\n"
	"table { border-collapse: collapse; }\nth, td { padding: 0.15em 0.8em; text-align: right; }\n"
	"th { border-bottom: 1px solid #999; }\n.text { text-align: left; }\n.bar { width: 22em; }\n"
	"svg { max-width: 100%; height: auto; }\n.none { color: #777; }\n</style>\n</head>\n<body>\n";

static void cell_text(const char *text, FILE *to)
{
	fputs("<td class=\"text\">", to);
	escape_markup(text, to);
	fputs("</td>", to);
}

static void cell_bytes(uint64_t bytes, FILE *to)
{
	char buf[24];
	fprintf(to, "<td>%s</td>", human(buf, bytes));
}

static void cell_number(uint64_t n, FILE *to)
{
	fprintf(to, "<td>%" PRIu64 "</td>", n);
}

/* ---- sections ------------------------------------------------------------------------- */

static void put_summary(struct json_object *stats, FILE *to)
{
	static const struct {
		const char *title, *path;
		unsigned unit; /* bytes; 0: a count */
	} rows[] = {
		{"capacity for blocks", "capacity", 1}, {"live", "live_bytes", 1}, {"cached", "cached_bytes", 1},
		{"stray", "stray_bytes", 1}, {"in units of small blocks", "small_units", 65536},
		{"in large blocks", "large.bytes", 1}, {"free", "free_units", 65536},
		{"free, with memory", "populated_free_units", 65536}, {"in units of the dead", "orphaned_units", 65536},
		{"dead processes recovered", "recoveries", 0}, {"requests refused", "enomem", 0},
		{"requests to the ordinary heap", "fallbacks", 0}, {"boxes owned", "boxes.owned", 0},
		{"boxes kept", "boxes.kept", 0}, {"boxes of the dead", "boxes.abandoned", 0},
	};
	fputs("<h2>Sums</h2>\n<table id=\"sums\">\n", to);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		fprintf(to, "<tr><td class=\"text\">%s</td>", rows[i].title);
		uint64_t n = json_number(stats, rows[i].path);
		if (rows[i].unit)
			cell_bytes(n * rows[i].unit, to);
		else
			cell_number(n, to);
		fputs("</tr>\n", to);
	}
	fputs("</table>\n", to);
}

static void put_map(const struct occupancy *o, FILE *to)
{
	fputs("<h2>Map</h2>\n<div id=\"map\">\n", to);
	occupancy_svg(o, MAP_WIDTH, false, to);
	fputs("</div>\n", to);
}

/* Bytes of a class's blocks in one state; what a corrupt region says may be anything. */
static double class_bytes(struct json_object *class, enum share s)
{
	return (double)json_number(class, "size") * (double)json_number(class, share_words[s]);
}

static double class_sum(struct json_object *class)
{
	return class_bytes(class, SHARE_LIVE) + class_bytes(class, SHARE_CACHED) + class_bytes(class, SHARE_STRAY);
}

static void put_bar(struct json_object *class, double most, FILE *to)
{
	double x = 0;
	fputs("<td class=\"text\"><svg class=\"bar\" width=\"300\" height=\"12\" viewBox=\"0 0 300 12\">", to);
	for (unsigned s = 0; s < SHARE_FREE; s++) {
		double width = class_bytes(class, s) / most * 300;
		if (width > 0)
			fprintf(to, "<rect x=\"%.2f\" y=\"0\" width=\"%.2f\" height=\"12\" fill=\"%s\"/>", x, width, share_colours[s]);
		x += width;
	}
	fputs("</svg></td>", to);
}

static void put_classes(struct json_object *stats, FILE *to)
{
	struct json_object *classes = json_at(stats, "classes");
	size_t n = json_object_array_length(classes);
	double most = 1;
	for (size_t i = 0; i < n; i++) {
		double sum = class_sum(json_object_array_get_idx(classes, i));
		most = sum > most ? sum : most;
	}
	fputs("<h2>Size classes</h2>\n<table id=\"classes\">\n<tr><th>size</th><th>live</th><th>cached</th><th>stray</th>"
	      "<th class=\"text\">bytes</th></tr>\n", to);
	for (size_t i = 0; i < n; i++) {
		struct json_object *class = json_object_array_get_idx(classes, i);
		if (class_sum(class) <= 0)
			continue;
		fputs("<tr>", to);
		cell_number(json_number(class, "size"), to);
		for (unsigned s = 0; s < SHARE_FREE; s++)
			cell_number(json_number(class, share_words[s]), to);
		put_bar(class, most, to);
		fputs("</tr>\n", to);
	}
	fprintf(to, "</table>\n<p>Large blocks, of whole units: %" PRIu64 "</p>\n", json_number(stats, "large.blocks"));
}

static void put_slots(struct json_object *stats, FILE *to)
{
	struct json_object *slots = json_at(stats, "slots");
	size_t n = json_object_array_length(slots);
	fputs("<h2>Processes</h2>\n", to);
	if (!n) {
		fputs("<p class=\"none\" id=\"slots\">Nobody is attached.</p>\n", to);
		return;
	}
	fputs("<table id=\"slots\">\n<tr><th>slot</th><th>pid</th><th class=\"text\">process</th></tr>\n", to);
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = json_object_array_get_idx(slots, i);
		fprintf(to, "<tr><td>%" PRIu64 "</td><td>%d</td>", json_number(s, "slot"), json_object_get_int(json_at(s, "pid")));
		cell_text(json_text(s, "name"), to);
		fputs("</tr>\n", to);
	}
	fputs("</table>\n", to);
}

static void put_rules(struct json_object *stats, FILE *to)
{
	struct json_object *rules = json_at(stats, "rules");
	size_t n = json_object_array_length(rules);
	bool follows = n && json_at(json_object_array_get_idx(rules, 0), "live");
	fputs("<h2>Rules</h2>\n", to);
	if (!n) {
		fputs("<p class=\"none\" id=\"rules\">No program with the shim places anything here.</p>\n", to);
		return;
	}
	fprintf(to, "<table id=\"rules\">\n<tr><th>hits</th><th>bytes</th>%s<th>fallbacks</th><th class=\"text\">rule</th></tr>\n",
	        follows ? "<th>live</th><th>peak</th>" : "");
	for (size_t i = 0; i < n; i++) {
		struct json_object *r = json_object_array_get_idx(rules, i);
		fputs("<tr>", to);
		cell_number(json_number(r, "hits"), to);
		cell_bytes(json_number(r, "bytes"), to);
		if (follows) {
			cell_bytes(json_number(r, "live"), to);
			cell_bytes(json_number(r, "peak"), to);
		}
		cell_number(json_number(r, "fallbacks"), to);
		cell_text(json_text(r, "rule"), to);
		fputs("</tr>\n", to);
	}
	fputs("</table>\n", to);
}

int stats_html(const char *name, FILE *to)
{
	static struct occupancy o;
	struct json_object *stats;
	char when[32];
	struct tm tm;
	time_t now = time(NULL);
	int err = occupancy_read(name, MAP_WIDTH * MAP_LINES, &o);
	if (!err)
		err = stats_json(name, &stats);
	if (err)
		return err;
	strftime(when, sizeof when, "%Y-%m-%d %H:%M:%S UTC", gmtime_r(&now, &tm));
	fputs(head, to);
	escape_markup(json_text(stats, "region"), to);
	fputs(style, to);
	fputs("<h1>", to);
	escape_markup(json_text(stats, "region"), to);
	fputs("</h1>\n<p>Made by ", to);
	escape_markup(json_text(stats, "creator.name"), to);
	fprintf(to, ", process %d; looked at %s.</p>\n", json_object_get_int(json_at(stats, "creator.pid")), when);
	put_summary(stats, to);
	put_map(&o, to);
	put_classes(stats, to);
	put_slots(stats, to);
	put_rules(stats, to);
	fputs("</body>\n</html>\n", to);
	json_object_put(stats);
	return 0;
}
