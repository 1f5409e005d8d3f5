/* top_frame.c - the lines of a frame of `shmbind top`. See top.h. */
#include "stats_json.h"
#include "top.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct frame {
	top_put *put;
	void *to;
	unsigned left;
};

static void line(struct frame *f, enum top_style style, const char *format, ...) __attribute__((format(printf, 3, 4)));

static void line(struct frame *f, enum top_style style, const char *format, ...)
{
	char text[512];
	va_list ap;
	if (!f->left)
		return;
	f->left--;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	make_plain(text); /* names and rules are other programs' */
	f->put(f->to, style, text);
}

static const char *rate_word(char buf[32], double rate, bool known)
{
	char bytes[24];
	double size = rate < 0 ? -rate : rate;
	if (!known)
		return "-";
	snprintf(buf, 32, "%s%s/s", rate < -0.5 ? "-" : rate > 0.5 ? "+" : "", human(bytes, (uint64_t)(size + 0.5)));
	return buf;
}

static void put_head(struct frame *f, const struct top *t)
{
	static const char *const orders[TOP_ORDERS] = {"name", "live", "rate"};
	char live[24], cached[24], clock[16];
	uint64_t sums[2] = {0, 0};
	time_t now = time(NULL);
	struct tm tm;
	for (unsigned i = 0; i < t->n; i++) {
		sums[0] += t->regions[i].live;
		sums[1] += t->regions[i].cached;
	}
	strftime(clock, sizeof clock, "%H:%M:%S", localtime_r(&now, &tm));
	line(f, TOP_HEAD, "shmbind top %s  %u region%s, %s live, %s cached, by %s", clock, t->n, t->n == 1 ? "" : "s",
	     human(live, sums[0]), human(cached, sums[1]), orders[t->order]);
}

static void put_region(struct frame *f, const struct top *t, unsigned i)
{
	const struct top_region *r = &t->regions[i];
	bool chosen = i == t->chosen && !strcmp(r->info.name, t->name);
	char owner[24], live[24], cached[24], rate[32];
	bool arena = r->info.kind == SHMB_KIND_ARENA;
	line(f, chosen ? TOP_CHOSEN : TOP_PLAIN, "%c %-28.28s %-5s %-12s %3u %9s %9s %12s  %.15s", chosen ? '>' : ' ', path_base(r->info.name),
	     kind_word(r->info.kind), owner_word(&r->info, owner), r->info.attached, arena ? human(live, r->live) : "-",
	     arena ? human(cached, r->cached) : "-", arena ? rate_word(rate, r->rate, r->before) : "-", r->info.creator);
}

/* The part of the list that the chosen one is in. */
static void put_regions(struct frame *f, const struct top *t, unsigned most)
{
	unsigned first = t->n <= most || t->chosen < most / 2 ? 0 : t->chosen - most / 2;
	if (t->n > most && first > t->n - most)
		first = t->n - most;
	line(f, TOP_COLUMNS, "  %-28s %-5s %-12s %3s %9s %9s %12s  %s", "NAME", "KIND", "OWNER", "ATT", "LIVE", "CACHED", "RATE",
	     "MADE BY");
	for (unsigned i = first; i < t->n && i < first + most; i++)
		put_region(f, t, i);
}

/* ---- the chosen one ------------------------------------------------------------------- */

static void put_slots(struct frame *f, struct json_object *stats)
{
	struct json_object *slots = json_at(stats, "slots");
	size_t n = json_object_array_length(slots);
	uint64_t now = (uint64_t)time(NULL);
	if (n)
		line(f, TOP_COLUMNS, "  %4s %10s  %-15s %10s", "SLOT", "PID", "PROCESS", "ATTACHED");
	for (size_t i = 0; i < n; i++) {
		struct json_object *s = json_object_array_get_idx(slots, i);
		uint64_t then = json_number(s, "attached_ns") / 1000000000;
		line(f, TOP_PLAIN, "  %4" PRIu64 " %10d  %-15.15s %8" PRIu64 " s", json_number(s, "slot"),
		     json_object_get_int(json_at(s, "pid")), json_text(s, "name"), then < now ? now - then : 0);
	}
}

/* Requests a second that the rule decided about; its text must be what it was. */
static const char *hits_rate(char buf[32], const struct top *t, struct json_object *rule, size_t i)
{
	struct json_object *rules = t->stats_before ? json_at(t->stats_before, "rules") : NULL;
	struct json_object *before = rules && i < json_object_array_length(rules) ? json_object_array_get_idx(rules, i) : NULL;
	uint64_t was = before ? json_number(before, "hits") : 0, is = json_number(rule, "hits");
	if (!before || t->since <= 0 || is < was || strcmp(json_text(before, "rule"), json_text(rule, "rule")))
		return "-";
	snprintf(buf, 32, "%.0f/s", (double)(is - was) / t->since);
	return buf;
}

static void put_rules(struct frame *f, const struct top *t)
{
	struct json_object *rules = json_at(t->stats, "rules");
	size_t n = json_object_array_length(rules);
	char rate[32], bytes[24], live[24], peak[24];
	if (n)
		line(f, TOP_COLUMNS, "  %12s %10s %9s %9s %9s %9s  %s", "HITS", "RATE", "BYTES", "LIVE", "PEAK", "FALLBACKS", "RULE");
	for (size_t i = 0; i < n; i++) {
		struct json_object *r = json_object_array_get_idx(rules, i);
		bool follows = json_at(r, "live"); /* of a version that follows what becomes of the blocks */
		line(f, TOP_PLAIN, "  %12" PRIu64 " %10s %9s %9s %9s %9" PRIu64 "  %s", json_number(r, "hits"), hits_rate(rate, t, r, i),
		     human(bytes, json_number(r, "bytes")), follows ? human(live, json_number(r, "live")) : "-",
		     follows ? human(peak, json_number(r, "peak")) : "-", json_number(r, "fallbacks"), json_text(r, "rule"));
	}
}

static void put_chosen(struct frame *f, const struct top *t)
{
	const struct top_region *r = t->n ? &t->regions[t->chosen] : NULL;
	char size[24], memory[24];
	bool there = r && !strcmp(r->info.name, t->name);
	line(f, TOP_PLAIN, "%s", "");
	if (!there && *t->name)
		line(f, TOP_HEAD, "%s: there is no such region now", t->name);
	if (!there)
		return;
	bool arena = r->info.kind == SHMB_KIND_ARENA;
	line(f, TOP_HEAD, "%s: %s %s, %s of memory in use, %u dead to be recovered", r->info.name,
	     human(size, arena ? r->info.capacity : r->info.size), arena ? "for blocks" : "raw", human(memory, r->info.resident),
	     r->info.dead);
	if (!t->stats)
		return;
	put_slots(f, t->stats);
	put_rules(f, t);
}

void top_frame(const struct top *t, unsigned lines, top_put *put, void *to)
{
	struct frame f = {put, to, lines ? lines : ~0u};
	put_head(&f, t);
	put_regions(&f, t, !lines ? t->n : lines > 8 ? (lines - 2) / 2 : 3);
	put_chosen(&f, t);
}
