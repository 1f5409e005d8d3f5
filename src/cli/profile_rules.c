/*
 * profile_rules.c - the rules file: what is worth a rule, and how a rule says
 * it so that the shim understands.
 *
 * A comment ends at a newline or ';', a condition at a blank. In the pattern
 * for a module's name '?' stands for whatever would not do.
 */
#include "profile.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- names ------------------------------------------------------------------------- */

static const char *file_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash ? slash + 1 : path;
}

/* The last name in it: "grow" of "void list<int>::grow(unsigned long)". */
static void bare_function(const char *function, char *out, size_t len)
{
	size_t n = 0;
	int depth = 0;
	for (const char *c = function; *c && !(depth == 0 && *c == '(' && n); c++) {
		depth += (*c == '<') - (*c == '>' && depth);
		if (depth || *c == '>')
			continue;
		bool good = isalnum((unsigned char)*c) || *c == '_' || *c == '.' || *c == '~';
		if (!good)
			n = 0;
		else if (n + 1 < len)
			out[n++] = *c;
	}
	out[n] = 0;
}

static bool is_taken(const struct choice *c, const char *name)
{
	for (unsigned i = 0; i < c->n; i++)
		if (!strcmp(c->shown[i].name, name))
			return true;
	return false;
}

/* Of a module, or of a site in a function without a name: "libfoo.so.1", "libfoo.so.1-1a2b". */
static void file_word(const struct shown *s, char *out, size_t len)
{
	char offset[24] = "";
	size_t n = 0;
	if (s->site)
		snprintf(offset, sizeof offset, "-%" PRIx64, s->site->offset);
	for (const char *f = file_name(s->module->path); *f && n + strlen(offset) + 1 < len; f++)
		out[n++] = isalnum((unsigned char)*f) || strchr("._-", *f) ? *f : '_';
	snprintf(out + n, len - n, "%s", offset);
}

/* "grow", "grow-2" */
static void give_name(struct choice *c, struct shown *s)
{
	enum { SUFFIX = 4 };
	char name[RULE_NAME_ROOM - SUFFIX] = "", unique[RULE_NAME_ROOM];
	if (!s->module)
		return;
	if (s->site && s->site->function)
		bare_function(s->site->function, name, sizeof name);
	if (!*name)
		file_word(s, name, sizeof name);
	snprintf(unique, sizeof unique, "%s", name);
	for (unsigned i = 2; is_taken(c, unique); i++)
		snprintf(unique, sizeof unique, "%s-%u", name, i % 1000);
	memcpy(s->name, unique, sizeof unique);
}

/* A name as a pattern that matches it. */
static size_t put_pattern(char *out, size_t len, const char *name)
{
	size_t n = 0;
	for (; *name && n + 1 < len; name++)
		out[n++] = (char)((unsigned char)*name <= ' ' || strchr("*?[;\177", *name) ? '?' : *name);
	out[n] = 0;
	return n;
}

void profile_place(const struct shown *s, char *out, size_t len)
{
	if (!s->module) {
		snprintf(out, len, "%s", s->site->rest ? "(others)" : "(no object)");
		return;
	}
	size_t n = put_pattern(out, len, s->module->alone ? file_name(s->module->path) : s->module->path);
	if (s->site)
		snprintf(out + n, len - n, "+0x%" PRIx64, s->site->offset);
}

/* ---- what is chosen ------------------------------------------------------------------- */

static bool shown_site(const struct profile *p, unsigned i, struct shown *s)
{
	const struct site *of = &p->sites[i];
	*s = (struct shown){.module = of->module == NO_MODULE ? NULL : &p->modules[of->module],
	                    .site = of,
	                    .sum = &of->sum,
	                    .at_peak = of->at_peak,
	                    .least = of->least,
	                    .most = of->most,
	                    .lifetimes = of->lifetimes};
	return true;
}

static bool shown_module(const struct profile *p, unsigned i, struct shown *s)
{
	const struct module *m = &p->modules[i];
	*s = (struct shown){.module = m,
	                    .sum = &m->sum,
	                    .at_peak = m->at_peak,
	                    .least = m->least,
	                    .most = m->most,
	                    .lifetimes = m->lifetimes};
	return m->sum.requests != 0;
}

bool profile_shown(const struct profile *p, bool module, unsigned i, struct shown *s)
{
	return module ? shown_module(p, i, s) : shown_site(p, i, s);
}

void profile_choose(const struct profile *p, unsigned top, struct choice *c)
{
	unsigned all = c->by_module ? p->modules_n : p->sites_n, rules = 0;
	c->shown = calloc(top + PROFILE_SITES_FIXED, sizeof *c->shown);
	for (unsigned i = 0; i < all; i++) {
		struct shown s;
		if (!profile_shown(p, c->by_module, i, &s))
			continue;
		if (s.sum->peak < c->min_bytes || rules == top || !c->shown) {
			c->left++;
			continue;
		}
		give_name(c, &s);
		rules += *s.name != 0;
		c->shown[c->n++] = s;
	}
}

/* ---- text ------------------------------------------------------------------------------- */

const char *profile_time(char buf[24], uint64_t ns)
{
	static const char *const units[] = {"ns", "us", "ms", "s"};
	double v = (double)ns;
	unsigned u = 0;
	if (ns == LIVES_ON)
		return "end";
	for (; v >= 1000 && u < 3; u++)
		v /= 1000;
	snprintf(buf, 24, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

/* One line of a comment: nothing in it ends it. */
static size_t put_words(char *out, size_t len, const char *text)
{
	size_t n = 0;
	for (; *text && n + 1 < len; text++)
		out[n++] = (char)((unsigned char)*text < ' ' || *text == ';' ? '?' : *text);
	out[n] = 0;
	return n;
}

void profile_function(const struct site *s, char *out, size_t len)
{
	enum { SHOWN = 100 };
	const char *f = s->function ? s->function : "?", *source = s->source ? s->source : "";
	snprintf(out, len, "%.*s%s%s%.80s", SHOWN, f, strlen(f) > SHOWN ? "..." : "", *source ? ", " : "", source);
}

static void put_function(const struct site *s, char *out, size_t len)
{
	char function[200], words[200];
	if (!s || !s->function)
		return;
	profile_function(s, function, sizeof function);
	put_words(words, sizeof words, function);
	snprintf(out, len, "# %s\n", words);
}

static void put_sizes(const struct shown *s, char *out, size_t len)
{
	char a[24], b[24];
	bool one = s->least == s->most;
	snprintf(out, len, "# %" PRIu64 " request%s of %s%s%s, %" PRIu64 " by realloc, %s in all\n", s->sum->requests,
	         s->sum->requests == 1 ? "" : "s", human(a, s->least), one ? "" : " to ", one ? "" : human(b, s->most),
	         s->sum->resized, human((char[24]){0}, s->sum->bytes));
}

static void put_lifetimes(const struct shown *s, char *out, size_t len)
{
	char a[24], b[24];
	uint64_t half = profile_percentile(s->lifetimes, s->sum->live, 50);
	uint64_t most = profile_percentile(s->lifetimes, s->sum->live, 90);
	snprintf(out, len, "# half live up to %s%s, 90%% up to %s%s, ", half == LIVES_ON ? "the " : "", profile_time(a, half),
	         most == LIVES_ON ? "the " : "", profile_time(b, most));
	len -= strlen(out), out += strlen(out);
	snprintf(out, len, "%" PRIu64 " to the end (%s)\n", s->sum->live, human(a, s->sum->live_bytes));
}

static void describe(const struct shown *s, char *out, size_t len)
{
	char a[24], b[24], path[400];
	*out = 0;
	put_function(s->site, out, len);
	put_words(path, sizeof path, s->module->path);
	len -= strlen(out), out += strlen(out);
	snprintf(out, len, "# in %.255s\n# peak %s, %s of them at the program's peak\n", path, human(a, s->sum->peak),
	         human(b, s->at_peak));
	len -= strlen(out), out += strlen(out);
	put_sizes(s, out, len);
	len -= strlen(out), out += strlen(out);
	put_lifetimes(s, out, len);
}

static void rule_text(const struct shown *s, char *out, size_t len)
{
	int n = snprintf(out, len, "%s: %s=", s->name, s->site ? "site" : "module");
	profile_place(s, out + n, len - (size_t)n);
}

/* ---- the file ------------------------------------------------------------------------------ */

static size_t put_head(const struct profile *p, const struct choice *c, FILE *to)
{
	char a[24], b[24], line[400], words[300];
	size_t at = 0;
	line[0] = 0;
	for (char **arg = c->command; *arg && at < sizeof line - 1; arg++)
		at += (size_t)snprintf(line + at, sizeof line - at, " %s", *arg);
	put_words(words, sizeof words, line);
	int n = fprintf(to, RULES_MARK " --%s\n# %u process%s, %" PRIu64 " requests, %s in all, peak %s\n", words,
	                p->processes_n, p->processes_n == 1 ? "" : "es", p->sum.requests, human(a, p->sum.bytes), human(b, p->sum.peak));
	return n > 0 ? (size_t)n : 0;
}

/* The shim reads so many bytes: comments go before rules do. */
bool profile_rules_write(const struct profile *p, const struct choice *c, FILE *to)
{
	char rule[PROFILE_NAME + 64], text[1536];
	size_t rules = 0, used = put_head(p, c, to);
	for (unsigned i = 0; i < c->n; i++) {
		rule_text(&c->shown[i], rule, sizeof rule);
		rules += *c->shown[i].name ? strlen(rule) + 2 : 0;
	}
	for (unsigned i = 0; i < c->n; i++) {
		if (!*c->shown[i].name)
			continue;
		rule_text(&c->shown[i], rule, sizeof rule);
		describe(&c->shown[i], text, sizeof text);
		if (used + rules + strlen(text) > RULES_BYTES)
			*text = 0;
		if (used + strlen(rule) + 2 > RULES_BYTES)
			break;
		used += strlen(text) + strlen(rule) + 2;
		rules -= strlen(rule) + 2;
		fprintf(to, "\n%s%s\n", text, rule);
	}
	return !ferror(to);
}
