/*
 * stats.c - what is in an arena, for people and in JSON.
 *
 * Everything is counted from a copy of the tables (view.c), so the program is
 * not stopped and nothing it says of itself is taken on trust.
 */
#include "engine.h"
#include "format.h"
#include "out.h"
#include "preload_api.h"
#include "sys.h"
#include "view.h"

#include <string.h>

struct shown_rule {
	char text[RULE_TEXT];
	uint64_t hits, bytes, fallbacks;
	bool places;
};

struct tally {
	struct {
		uint64_t live, cached, stray;
	} classes[CLASSES + 1]; /* the last: runs of units */
	uint64_t live_bytes, cached_bytes, stray_bytes, large_bytes;
	uint64_t units[SPAN_KINDS], dirty, orphaned;
	uint64_t boxes[BOX_STATES], named;
	struct shown_rule rules[RULES];
};

static void count_small(const uint64_t counts[256], struct tally *t)
{
	for (unsigned byte = 0; byte < 256; byte++) {
		enum block_state state = block_state_of((uint8_t)byte);
		unsigned class = block_class((uint8_t)byte);
		uint64_t n = counts[byte];
		if (!n || state == BLOCK_NONE || class >= CLASSES)
			continue;
		if (state == BLOCK_LIVE) {
			t->classes[class].live = n;
			t->live_bytes += n * class_size(class);
		} else if (state == BLOCK_CACHED) {
			t->classes[class].cached = n;
			t->cached_bytes += n * class_size(class);
		} else {
			t->classes[class].stray = n;
			t->stray_bytes += n * class_size(class);
		}
	}
}

static void count_large(const struct view *v, struct tally *t)
{
	for (uint64_t u = 0; u < v->ready; u++) {
		span_t w = v->spans[u];
		if (span_kind_of(w) != SPAN_HEAD || !span_aux(w) || span_aux(w) > v->ready - u)
			continue;
		t->classes[CLASSES].live++;
		t->large_bytes += span_aux(w) << UNIT_SHIFT;
		u += span_aux(w) - 1;
	}
	t->live_bytes += t->large_bytes;
}

/* What the hot path placed, thread by thread, goes to the rule of its class. */
static void count_hot(const struct view *v, const struct thread_shm *r, struct tally *t)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned rule = v->rules->of_class[c];
		if (rule >= v->rules_n)
			continue;
		t->rules[rule].hits += r->hits[c];
		t->rules[rule].bytes += r->hits[c] * class_size(c);
	}
}

static void count_rules(const struct view *v, struct tally *t)
{
	for (unsigned i = 0; i < v->rules_n; i++) {
		const struct rule_shm *from = &v->rules->rules[i];
		t->rules[i] = (struct shown_rule){.hits = atomic_load(&from->hits),
		                                  .bytes = atomic_load(&from->bytes),
		                                  .fallbacks = atomic_load(&from->fallbacks),
		                                  .places = from->places};
		memcpy(t->rules[i].text, from->text, RULE_TEXT - 1);
	}
	for (unsigned i = 0; i < v->threads_n && v->rules_n; i++)
		count_hot(v, &v->threads[i], t);
}

static int count(const struct view *v, int fd, struct tally *t)
{
	uint64_t counts[256];
	int err = view_count_blocks(v, fd, counts);
	if (err)
		return err;
	memset(t, 0, sizeof *t);
	for (uint64_t u = 0; u < v->ready; u++) {
		enum span_kind k = span_kind_of(v->spans[u]);
		t->units[k < SPAN_KINDS ? k : SPAN_TAKING]++;
		t->dirty += k == SPAN_FREE && span_aux(v->spans[u]);
		t->orphaned += k == SPAN_SMALL && !view_holder_live(v, span_holder(v->spans[u]));
	}
	t->units[SPAN_FREE] += v->lay.units - v->ready;
	for (uint32_t i = 0; i < v->boxes_n; i++) {
		enum box_state s = box_state_of(atomic_load(&v->boxes[i].word));
		t->boxes[s < BOX_STATES ? s : BOX_HALF]++;
		t->named += s != BOX_FREE && atomic_load(&v->boxes[i].name);
	}
	count_rules(v, t);
	count_small(counts, t);
	count_large(v, t);
	return 0;
}

/* ---- text ------------------------------------------------------------------------- */

static void text_slots(const struct out *o, const struct view *v)
{
	for (unsigned i = 0; i < v->slots_n; i++) {
		const struct slot_shm *s = &v->slots[i];
		uint32_t word = atomic_load(&s->word);
		unsigned threads = 0;
		if (!view_holder_live(v, holder_make(i, word >> 8)))
			continue;
		for (unsigned k = 0; k < v->threads_n; k++)
			threads += atomic_load(&v->threads[k].owner) == hold_make(i, atomic_load(&v->slots[i].hold) >> 1);
		out_print(o, "  slot %-3u  pid %-8d %-16.15s %u thread%s with caches\n", i, (int)atomic_load(&s->pid), s->name,
		          threads, threads == 1 ? "" : "s");
	}
}

static void text_classes(const struct out *o, const struct tally *t)
{
	char a[24];
	out_print(o, "\n  %10s %12s %12s %10s %12s\n", "size", "live", "cached", "stray", "live bytes");
	for (unsigned c = 0; c < CLASSES; c++)
		if (t->classes[c].live || t->classes[c].cached || t->classes[c].stray)
			out_print(o, "  %10u %12lu %12lu %10lu %12s\n", class_size(c), (unsigned long)t->classes[c].live,
			          (unsigned long)t->classes[c].cached, (unsigned long)t->classes[c].stray,
			          out_bytes(a, t->classes[c].live * class_size(c)));
	if (t->classes[CLASSES].live)
		out_print(o, "  %10s %12lu %12s %10s %12s\n", "> 56 KiB", (unsigned long)t->classes[CLASSES].live, "-", "-",
		          out_bytes(a, t->large_bytes));
}

static void text_boxes(const struct out *o, const struct view *v, const struct tally *t)
{
	out_print(o, "  boxes      %12lu owned, %lu kept, %lu on the way, %lu left by the dead; %lu have names\n",
	          (unsigned long)t->boxes[BOX_READY], (unsigned long)t->boxes[BOX_KEPT],
	          (unsigned long)(t->boxes[BOX_MAKING] + t->boxes[BOX_DROPPING]),
	          (unsigned long)(t->boxes[BOX_HALF] + t->boxes[BOX_ABANDONED]), (unsigned long)t->named);
	out_print(o, "  dropped    %12lu by their owner, %lu for a dead one, %lu of those without destructor\n",
	          (unsigned long)atomic_load(&v->h.boxes_dropped),
	          (unsigned long)(atomic_load(&v->h.boxes_reclaimed) + atomic_load(&v->h.boxes_raw)),
	          (unsigned long)atomic_load(&v->h.boxes_raw));
}

/* A rule's text may be a file's: what a terminal would obey is not printed. */
static const char *printable(char *text)
{
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = *c == '\t' ? ' ' : '?';
	return text;
}

static void text_rules(const struct out *o, struct shown_rule *rules, unsigned n)
{
	char a[24];
	out_print(o, "\n  %12s %12s %10s  %s\n", "hits", "bytes", "fallbacks", "rule");
	for (unsigned i = 0; i < n; i++)
		out_print(o, "  %12lu %12s %10lu  %s\n", (unsigned long)rules[i].hits, out_bytes(a, rules[i].bytes),
		          (unsigned long)rules[i].fallbacks, printable(rules[i].text));
}

static void text_print(const struct out *o, const char *name, const struct view *v, struct tally *t)
{
	char a[24], b[24], c[24], d[24];
	uint64_t blocks = 0;
	for (unsigned i = 0; i <= CLASSES; i++)
		blocks += t->classes[i].live;
	out_print(o, "region %s: %s for blocks, made by %s (pid %d)\n", name, out_bytes(a, v->h.capacity), v->h.creator_name,
	          (int)v->h.creator_pid);
	out_print(o, "  live       %12s in %lu block%s\n", out_bytes(a, t->live_bytes), (unsigned long)blocks,
	          blocks == 1 ? "" : "s");
	out_print(o, "  cached     %12s free in magazines, %s stray\n", out_bytes(a, t->cached_bytes),
	          out_bytes(b, t->stray_bytes));
	out_print(o, "  units      %12s small, %s large, %s free of which %s still populated\n",
	          out_bytes(a, t->units[SPAN_SMALL] << UNIT_SHIFT), out_bytes(b, t->large_bytes),
	          out_bytes(c, t->units[SPAN_FREE] << UNIT_SHIFT), out_bytes(d, t->dirty << UNIT_SHIFT));
	out_print(o, "  orphaned   %12s of small units, %u recoveries\n", out_bytes(a, t->orphaned << UNIT_SHIFT),
	          atomic_load(&v->h.recoveries));
	out_print(o, "  refused    %12lu requests, %lu went to the ordinary heap\n", (unsigned long)atomic_load(&v->h.enomem),
	          (unsigned long)atomic_load(&v->h.fallbacks));
	text_boxes(o, v, t);
	text_slots(o, v);
	if (v->rules_n)
		text_rules(o, t->rules, v->rules_n);
	text_classes(o, t);
}

/* ---- JSON ------------------------------------------------------------------------- */

static void json_number(const struct out *o, const char *key, uint64_t value, const char *after)
{
	out_print(o, "\"%s\":%lu%s", key, (unsigned long)value, after);
}

static void json_slots(const struct out *o, const struct view *v)
{
	const char *comma = "";
	out_print(o, "\"slots\":[");
	for (unsigned i = 0; i < v->slots_n; i++) {
		struct slot_shm *s = &v->slots[i];
		if (!view_holder_live(v, holder_make(i, atomic_load(&s->word) >> 8)))
			continue;
		s->name[PROC_NAME - 1] = 0;
		out_print(o, "%s{\"slot\":%u,\"pid\":%d,\"attached_ns\":%lu,\"name\":", comma, i, (int)atomic_load(&s->pid),
		          (unsigned long)atomic_load(&s->since));
		out_json_string(o, s->name);
		out_print(o, "}");
		comma = ",";
	}
	out_print(o, "],");
}

static void json_classes(const struct out *o, const struct tally *t)
{
	out_print(o, "\"classes\":[");
	for (unsigned c = 0; c < CLASSES; c++)
		out_print(o, "%s{\"size\":%u,\"live\":%lu,\"cached\":%lu,\"stray\":%lu}", c ? "," : "", class_size(c),
		          (unsigned long)t->classes[c].live, (unsigned long)t->classes[c].cached,
		          (unsigned long)t->classes[c].stray);
	out_print(o, "],\"large\":{");
	json_number(o, "blocks", t->classes[CLASSES].live, ",");
	json_number(o, "bytes", t->large_bytes, "}");
}

static void json_boxes(const struct out *o, const struct view *v, const struct tally *t)
{
	out_print(o, "\"boxes\":{");
	json_number(o, "owned", t->boxes[BOX_READY], ",");
	json_number(o, "kept", t->boxes[BOX_KEPT], ",");
	json_number(o, "moving", t->boxes[BOX_MAKING] + t->boxes[BOX_DROPPING], ",");
	json_number(o, "abandoned", t->boxes[BOX_HALF] + t->boxes[BOX_ABANDONED], ",");
	json_number(o, "named", t->named, ",");
	json_number(o, "dropped", atomic_load(&v->h.boxes_dropped), ",");
	json_number(o, "reclaimed", atomic_load(&v->h.boxes_reclaimed), ",");
	json_number(o, "raw", atomic_load(&v->h.boxes_raw), "},");
}

static void json_rules(const struct out *o, const struct shown_rule *rules, unsigned n)
{
	out_print(o, "\"rules\":[");
	for (unsigned i = 0; i < n; i++) {
		out_print(o, "%s{\"rule\":", i ? "," : "");
		out_json_string(o, rules[i].text);
		out_print(o, ",\"places\":%s,", rules[i].places ? "true" : "false");
		json_number(o, "hits", rules[i].hits, ",");
		json_number(o, "bytes", rules[i].bytes, ",");
		json_number(o, "fallbacks", rules[i].fallbacks, "}");
	}
	out_print(o, "]");
}

static void json_print(const struct out *o, const char *name, const struct view *v, const struct tally *t)
{
	out_print(o, "{\"schema\":1,\"region\":");
	out_json_string(o, name);
	out_print(o, ",\"creator\":{\"pid\":%d,\"name\":", (int)v->h.creator_pid);
	out_json_string(o, v->h.creator_name);
	out_print(o, "},");
	json_number(o, "created_ns", v->h.created_ns, ",");
	json_number(o, "capacity", v->h.capacity, ",");
	json_number(o, "base", v->h.base, ",");
	json_number(o, "live_bytes", t->live_bytes, ",");
	json_number(o, "cached_bytes", t->cached_bytes, ",");
	json_number(o, "stray_bytes", t->stray_bytes, ",");
	json_number(o, "small_units", t->units[SPAN_SMALL], ",");
	json_number(o, "large_units", t->units[SPAN_HEAD] + t->units[SPAN_CONT], ",");
	json_number(o, "free_units", t->units[SPAN_FREE], ",");
	json_number(o, "moving_units", t->units[SPAN_TAKING], ",");
	json_number(o, "populated_free_units", t->dirty, ",");
	json_number(o, "orphaned_units", t->orphaned, ",");
	json_number(o, "recoveries", atomic_load(&v->h.recoveries), ",");
	json_number(o, "enomem", atomic_load(&v->h.enomem), ",");
	json_number(o, "fallbacks", atomic_load(&v->h.fallbacks), ",");
	json_rules(o, t->rules, v->rules_n);
	out_print(o, ",");
	json_boxes(o, v, t);
	json_slots(o, v);
	json_classes(o, t);
}

/* ---- entry points ------------------------------------------------------------------- */

static void print(const struct out *o, const char *name, struct view *v, struct tally *t, const char *opts,
                  struct shmb_arena *mine)
{
	bool json = opts && strchr(opts, 'J');
	bool engine = mine && atomic_load(&mine->holder) && !(opts && strchr(opts, 'j'));
	if (json) {
		json_print(o, name, v, t);
		if (engine) {
			out_print(o, ",\"engine\":");
			engine_stats(mine, o->write, o->opaque, "Jmdblx");
		}
		out_print(o, "}\n");
		return;
	}
	text_print(o, name, v, t);
	if (engine)
		engine_stats(mine, o->write, o->opaque, "gmdblxe");
}

/* Of the region behind `fd`, which it closes; mine: the arena, where it is open here. */
static int print_fd(const struct out *o, const char *name, int fd, const char *opts, struct shmb_arena *mine)
{
	struct view v;
	struct tally t;
	int err = view_open_tables(&v, fd);
	if (!err) {
		err = count(&v, fd, &t);
		if (!err)
			print(o, name, &v, &t, opts, mine);
		view_close(&v);
	}
	sys_close(fd);
	return err;
}

void preload_rules_print(const struct preload_rule *rules, unsigned n, shmb_write_cb *write, void *opaque, bool json)
{
	struct out o = {write, opaque};
	struct shown_rule shown[RULES];
	memset(shown, 0, sizeof shown);
	for (unsigned i = 0; i < n && i < RULES; i++) {
		memcpy(shown[i].text, rules[i].text, rules[i].len < RULE_TEXT ? rules[i].len : RULE_TEXT - 1);
		shown[i].hits = rules[i].hits;
		shown[i].bytes = rules[i].bytes;
		shown[i].places = rules[i].places;
	}
	out_print(&o, json ? "{\"schema\":1,\"dry_run\":true," : "dry run: nothing was placed\n");
	if (json)
		json_rules(&o, shown, n);
	else
		text_rules(&o, shown, n);
	out_print(&o, json ? "}\n" : "");
}

int shmb_stats_print(shmb_arena *a, shmb_write_cb *write, void *opaque, const char *opts)
{
	struct out o = {write, opaque};
	int fd;
	int err = region_descriptor(a->region, &fd);
	return err ? err : print_fd(&o, shmb_region_name(a->region), fd, opts, a);
}

int shmb_stats_name(const char *name, shmb_write_cb *write, void *opaque, const char *opts)
{
	struct out o = {write, opaque};
	char canonical[NAME_MAX_BYTES + 2];
	uint64_t size;
	int fd;
	int err = view_file(name, &fd, &size);
	if (err)
		return err;
	view_label(name, canonical, sizeof canonical);
	return print_fd(&o, canonical, fd, opts, NULL);
}
