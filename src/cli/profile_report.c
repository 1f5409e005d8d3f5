/* profile_report.c - what was recorded: a table for people, JSON for machines. */
#include "profile.h"

#include <inttypes.h>
#include <libsmartcols/libsmartcols.h>
#include <stdlib.h>
#include <string.h>

/* ---- the table ------------------------------------------------------------------------ */

static const char *count(char buf[24], uint64_t n)
{
	snprintf(buf, 24, "%" PRIu64, n);
	return buf;
}

static void set(struct libscols_line *l, unsigned column, const char *text)
{
	scols_line_set_data(l, column, text);
}

static void set_function(struct libscols_line *l, unsigned column, const struct shown *s)
{
	char text[200];
	if (s->site)
		profile_function(s->site, text, sizeof text);
	else
		snprintf(text, sizeof text, "%u site%s", s->module->sites, s->module->sites == 1 ? "" : "s");
	set(l, column, text);
}

static void add_line(struct libscols_table *t, const struct shown *s)
{
	struct libscols_line *l = scols_table_new_line(t, NULL);
	char buf[24], sizes[64], place[PROFILE_NAME + 32];
	if (!l)
		return;
	set(l, 0, human(buf, s->sum->peak));
	set(l, 1, human(buf, s->at_peak));
	set(l, 2, human(buf, s->sum->bytes));
	set(l, 3, count(buf, s->sum->requests));
	int n = snprintf(sizes, sizeof sizes, "%s", human(buf, s->least));
	if (s->most != s->least)
		snprintf(sizes + n, sizeof sizes - (size_t)n, "..%s", human(buf, s->most));
	set(l, 4, sizes);
	set(l, 5, count(buf, s->sum->live));
	set(l, 6, profile_time(buf, profile_percentile(s->lifetimes, s->sum->live, 50)));
	set(l, 7, profile_time(buf, profile_percentile(s->lifetimes, s->sum->live, 90)));
	profile_place(s, place, sizeof place);
	set(l, 8, place);
	set_function(l, 9, s);
}

static void missed(const struct profile *p, FILE *to)
{
	if (p->unrecorded)
		fprintf(to, "processes of which there is no record, or none that can be read: %" PRIu64 "\n", p->unrecorded);
	if (p->untracked)
		fprintf(to, "blocks that there was no memory to follow: %" PRIu64 "\n", p->untracked);
	if (p->interrupted)
		fprintf(to, "calls by signal handlers, not recorded: %" PRIu64 "\n", p->interrupted);
}

void profile_table(const struct profile *p, const struct choice *c, FILE *to)
{
	static const struct {
		const char *name;
		bool right;
	} columns[] = {{"PEAK", true},   {"AT PEAK", true}, {"BYTES", true}, {"REQUESTS", true}, {"SIZES", true},
	               {"AT END", true}, {"HALF", true},    {"90%", true},   {"SITE", false},    {"FUNCTION", false}};
	struct libscols_table *t = table_new("profile", false);
	char a[24], b[24];
	for (unsigned i = 0; i < sizeof columns / sizeof *columns; i++)
		table_column(t, c->by_module && i == 8 ? "MODULE" : c->by_module && i == 9 ? "OF" : columns[i].name,
		             columns[i].right, false);
	for (unsigned i = 0; i < c->n; i++)
		add_line(t, &c->shown[i]);
	scols_table_set_stream(t, to);
	table_print(t);
	fprintf(to, "%s%u process%s: %" PRIu64 " requests, %s in all; %s %s", c->n ? "\n" : "", p->processes_n,
	        p->processes_n == 1 ? "" : "es", p->sum.requests, human(a, p->sum.bytes),
	        p->processes_n == 1 ? "peak" : "the greatest peak", human(b, p->sum.peak));
	if (c->left)
		fprintf(to, "; %u %s%s more", c->left, c->by_module ? "module" : "site", c->left == 1 ? "" : "s");
	fputc('\n', to);
	missed(p, to);
}

/* ---- JSON -------------------------------------------------------------------------------- */

static unsigned utf8_length(const unsigned char *s)
{
	unsigned n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* Bytes that are no UTF-8 become U+FFFD. */
static void put_string(FILE *to, const char *s)
{
	if (!s) {
		fputs("null", to);
		return;
	}
	fputc('"', to);
	for (const unsigned char *c = (const unsigned char *)s; *c;) {
		unsigned n = utf8_length(c);
		if (!n)
			fputs("\\ufffd", to);
		else if (*c < ' ' || *c == '"' || *c == '\\')
			fprintf(to, "\\u%04x", *c);
		else
			fwrite(c, 1, n, to);
		c += n ? n : 1;
	}
	fputc('"', to);
}

static void put_tally(FILE *to, const struct profile_tally *t)
{
	fprintf(to,
	        "\"requests\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"resized\":%" PRIu64 ",\"peak\":%" PRIu64
	        ",\"live\":%" PRIu64 ",\"live_bytes\":%" PRIu64,
	        t->requests, t->bytes, t->resized, t->peak, t->live, t->live_bytes);
}

static void put_percentile(FILE *to, const struct shown *s, unsigned percent)
{
	uint64_t ns = profile_percentile(s->lifetimes, s->sum->live, percent);
	if (ns == LIVES_ON)
		fprintf(to, ",\"p%u_ns\":null", percent);
	else
		fprintf(to, ",\"p%u_ns\":%" PRIu64, percent, ns);
}

static void put_figures(FILE *to, const struct shown *s)
{
	put_tally(to, s->sum);
	fprintf(to, ",\"at_peak\":%" PRIu64 ",\"least\":%" PRIu64 ",\"most\":%" PRIu64, s->at_peak, s->least, s->most);
	put_percentile(to, s, 50);
	put_percentile(to, s, 90);
	put_percentile(to, s, 99);
}

static void put_rule(FILE *to, const struct choice *c, const struct shown *s)
{
	const char *rule = NULL;
	for (unsigned i = 0; i < c->n; i++)
		if (c->shown[i].site == s->site && c->shown[i].module == s->module && *c->shown[i].name)
			rule = c->shown[i].name;
	fputs(",\"rule\":", to);
	put_string(to, rule);
}

static void put_processes(FILE *to, const struct profile *p)
{
	fputs("\"processes\":[", to);
	for (unsigned i = 0; i < p->processes_n; i++) {
		const struct process *of = &p->processes[i];
		fprintf(to, "%s\n{\"pid\":%d,\"parent\":%d,\"executable\":", i ? "," : "", of->pid, of->parent);
		put_string(to, of->executable);
		fputc(',', to);
		put_tally(to, &of->sum);
		fputc('}', to);
	}
	fputs("],\n", to);
}

static void put_list(FILE *to, const struct profile *p, const struct choice *c, bool modules)
{
	fprintf(to, "\"%s\":[", modules ? "modules" : "sites");
	for (unsigned i = 0, n = 0; i < (modules ? p->modules_n : p->sites_n); i++) {
		struct shown s;
		if (!profile_shown(p, modules, i, &s))
			continue;
		fprintf(to, "%s\n{\"module\":", n++ ? "," : "");
		put_string(to, s.module ? s.module->path : NULL);
		if (s.site && s.module)
			fprintf(to, ",\"offset\":\"0x%" PRIx64 "\"", s.site->offset);
		else if (s.site)
			fprintf(to, ",\"offset\":null");
		if (s.site) {
			fputs(",\"function\":", to);
			put_string(to, s.site->function);
			fputs(",\"source\":", to);
			put_string(to, s.site->source);
		}
		put_rule(to, c, &s);
		fputc(',', to);
		put_figures(to, &s);
		fputc('}', to);
	}
	fputs("],\n", to);
}

void profile_json(const struct profile *p, const struct choice *c, FILE *to)
{
	fputs("{\"schema\":1,\"command\":[", to);
	for (char **arg = c->command; *arg; arg++) {
		fputs(arg == c->command ? "" : ",", to);
		put_string(to, *arg);
	}
	fputs("],\n", to);
	put_tally(to, &p->sum);
	fputs(",\n", to);
	put_processes(to, p);
	put_list(to, p, c, true);
	put_list(to, p, c, false);
	fprintf(to, "\"untracked\":%" PRIu64 ",\"interrupted\":%" PRIu64 ",\"unrecorded\":%" PRIu64 "}\n", p->untracked,
	        p->interrupted, p->unrecorded);
}
