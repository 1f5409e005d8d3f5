/*
 * stats_prometheus.c - a region's statistics in the text format of Prometheus:
 * https://prometheus.io/docs/instrumenting/exposition_formats/
 *
 * Every sample has the label region. Bytes, and counters that end in _total.
 */
#include "stats_json.h"

#include <inttypes.h>
#include <string.h>

struct metric {
	const char *name, *type, *help;
	struct {
		const char *path, *label, *value; /* in the statistics; a label that tells it from the others */
	} samples[5];
};

static const struct metric metrics[] = {
	{"shmbind_capacity_bytes", "gauge", "Bytes for blocks, used or not.", {{"capacity", NULL, NULL}}},
	{"shmbind_live_bytes", "gauge", "Bytes in blocks that are handed out.", {{"live_bytes", NULL, NULL}}},
	{"shmbind_cached_bytes", "gauge", "Bytes in blocks that lie free in magazines.", {{"cached_bytes", NULL, NULL}}},
	{"shmbind_stray_bytes", "gauge", "Bytes in free blocks that are to be collected.", {{"stray_bytes", NULL, NULL}}},
	{"shmbind_large_blocks", "gauge", "Live blocks that are runs of units.", {{"large.blocks", NULL, NULL}}},
	{"shmbind_large_bytes", "gauge", "Bytes in live blocks that are runs of units.", {{"large.bytes", NULL, NULL}}},
	{"shmbind_units", "gauge", "Units of 64 KiB by what they hold.",
	 {{"small_units", "holds", "small"}, {"large_units", "holds", "large"}, {"free_units", "holds", "free"},
	  {"moving_units", "holds", "moving"}}},
	{"shmbind_populated_free_units", "gauge", "Free units that still have memory.", {{"populated_free_units", NULL, NULL}}},
	{"shmbind_orphaned_units", "gauge", "Units of small blocks whose process has ended.", {{"orphaned_units", NULL, NULL}}},
	{"shmbind_boxes", "gauge", "Boxes by state.",
	 {{"boxes.owned", "state", "owned"}, {"boxes.kept", "state", "kept"}, {"boxes.moving", "state", "moving"},
	  {"boxes.abandoned", "state", "abandoned"}}},
	{"shmbind_boxes_dropped_total", "counter", "Boxes that are no more, by how they ended.",
	 {{"boxes.dropped", "how", "owner"}, {"boxes.reclaimed", "how", "reclaimed"}, {"boxes.raw", "how", "raw"}}},
	{"shmbind_recoveries_total", "counter", "Dead processes that were recovered.", {{"recoveries", NULL, NULL}}},
	{"shmbind_refused_total", "counter", "Requests that found no memory.", {{"enomem", NULL, NULL}}},
	{"shmbind_fallbacks_total", "counter", "Requests that went to the ordinary heap.", {{"fallbacks", NULL, NULL}}},
};

static const struct metric of_rule[] = {
	{"shmbind_rule_hits_total", "counter", "Requests that a rule decided about.", {{"hits", NULL, NULL}}},
	{"shmbind_rule_bytes_total", "counter", "Bytes of the requests that a rule decided about.", {{"bytes", NULL, NULL}}},
	{"shmbind_rule_fallbacks_total", "counter", "Requests of a rule that went to the ordinary heap.", {{"fallbacks", NULL, NULL}}},
	{"shmbind_rule_live_bytes", "gauge", "Bytes that a rule placed and that live.", {{"live", NULL, NULL}}},
	{"shmbind_rule_peak_bytes", "gauge", "The most bytes of a rule that lived at once.", {{"peak", NULL, NULL}}},
};

static void put_label(const char *name, const char *value, FILE *to)
{
	fprintf(to, "%s=\"", name);
	for (const char *c = value; *c; c++) {
		if (*c == '\\' || *c == '"')
			fputc('\\', to);
		if (*c == '\n')
			fputs("\\n", to);
		else
			fputc(*c, to);
	}
	fputc('"', to);
}

static void put_head(const struct metric *m, FILE *to)
{
	fprintf(to, "# HELP %s %s\n# TYPE %s %s\n", m->name, m->help, m->name, m->type);
}

static void put_metric(struct json_object *stats, const struct metric *m, FILE *to)
{
	put_head(m, to);
	for (unsigned i = 0; i < sizeof m->samples / sizeof *m->samples && m->samples[i].path; i++) {
		fprintf(to, "%s{", m->name);
		put_label("region", json_text(stats, "region"), to);
		if (m->samples[i].label) {
			fputc(',', to);
			put_label(m->samples[i].label, m->samples[i].value, to);
		}
		fprintf(to, "} %" PRIu64 "\n", json_number(stats, m->samples[i].path));
	}
}

/* Two rules can have one text: the number tells them apart. */
static void put_rules(struct json_object *stats, const struct metric *m, FILE *to)
{
	struct json_object *rules = json_at(stats, "rules");
	size_t n = rules ? json_object_array_length(rules) : 0;
	if (!n || !json_at(json_object_array_get_idx(rules, 0), m->samples[0].path))
		return;
	put_head(m, to);
	for (size_t i = 0; i < n; i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);
		fprintf(to, "%s{", m->name);
		put_label("region", json_text(stats, "region"), to);
		fprintf(to, ",number=\"%zu\",", i);
		put_label("rule", json_text(rule, "rule"), to);
		fprintf(to, "} %" PRIu64 "\n", json_number(rule, m->samples[0].path));
	}
}

static void put_classes(struct json_object *stats, FILE *to)
{
	static const struct metric m = {"shmbind_class_blocks", "gauge", "Blocks of a size class by state.", {{NULL, NULL, NULL}}};
	static const char *const states[] = {"live", "cached", "stray"};
	struct json_object *classes = json_at(stats, "classes");
	put_head(&m, to);
	for (size_t i = 0; i < 3 * json_object_array_length(classes); i++) {
		struct json_object *class = json_object_array_get_idx(classes, i / 3);
		fprintf(to, "%s{", m.name);
		put_label("region", json_text(stats, "region"), to);
		fprintf(to, ",size=\"%" PRIu64 "\",state=\"%s\"} %" PRIu64 "\n", json_number(class, "size"), states[i % 3],
		        json_number(class, states[i % 3]));
	}
}

static void put_processes(struct json_object *stats, FILE *to)
{
	static const struct metric m = {"shmbind_processes", "gauge", "Processes attached for writing.", {{NULL, NULL, NULL}}};
	put_head(&m, to);
	fprintf(to, "%s{", m.name);
	put_label("region", json_text(stats, "region"), to);
	fprintf(to, "} %zu\n", json_object_array_length(json_at(stats, "slots")));
}

void stats_prometheus(struct json_object *stats, FILE *to)
{
	for (unsigned i = 0; i < sizeof metrics / sizeof *metrics; i++)
		put_metric(stats, &metrics[i], to);
	put_processes(stats, to);
	put_classes(stats, to);
	for (unsigned i = 0; i < sizeof of_rule / sizeof *of_rule; i++)
		put_rules(stats, &of_rule[i], to);
}
