/*
 * stats.c - what is in an arena, for people and in JSON.
 *
 * Everything is counted from a copy of the tables (view.c), so the program is
 * not stopped and nothing it says of itself is taken on trust.
 */
#include "engine.h"
#include "format.h"
#include "out.h"
#include "ruling.h"
#include "sound.h"
#include "sys.h"
#include "view.h"

#include <string.h>

struct sums {
	struct {
		uint64_t live, cached, stray;
	} classes[CLASSES + 1]; /* the last: runs of units */
	uint64_t live_bytes, cached_bytes, stray_bytes, large_bytes;
	uint64_t units[SPAN_KINDS], dirty, orphaned;
	uint64_t boxes[BOX_STATES], named;
	struct ruling ruling;
};

static void count_small(const uint64_t counts[256], struct sums *t)
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

static void count_large(const struct view *v, struct sums *t)
{
	for (uint64_t u = 0, n; u < v->ready; u += n ? n : 1) {
		n = view_large(v, u);
		t->classes[CLASSES].live += n != 0;
		t->large_bytes += n << UNIT_SHIFT;
	}
	t->live_bytes += t->large_bytes;
}

static int count(const struct view *v, int fd, struct sums *t)
{
	uint64_t counts[256];
	memset(t, 0, sizeof *t);
	int err = ruling_look(&t->ruling, v, fd, counts);
	if (err)
		return err;
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

static void text_classes(const struct out *o, const struct sums *t)
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

static void text_boxes(const struct out *o, const struct view *v, const struct sums *t)
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

static void text_print(const struct out *o, const char *name, const struct view *v, struct sums *t)
{
	char a[24], b[24], c[24], d[24];
	uint64_t blocks = 0;
	for (unsigned i = 0; i <= CLASSES; i++)
		blocks += t->classes[i].live;
	out_print(o, "region %s: %s for blocks, made by %s (pid %d)%s\n", name, out_bytes(a, v->h.capacity), v->h.creator_name,
	          (int)v->h.creator_pid, view_hardened(v) ? ", hardened" : "");
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
	if (t->ruling.n)
		ruling_text(o, &t->ruling);
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
		const struct slot_shm *s = &v->slots[i];
		if (!view_holder_live(v, holder_make(i, atomic_load(&s->word) >> 8)))
			continue;
		out_print(o, "%s{\"slot\":%u,\"pid\":%d,\"attached_ns\":%lu,\"name\":", comma, i, (int)atomic_load(&s->pid),
		          (unsigned long)atomic_load(&s->since));
		out_json_string(o, s->name);
		out_print(o, "}");
		comma = ",";
	}
	out_print(o, "],");
}

static void json_classes(const struct out *o, const struct sums *t)
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

static void json_boxes(const struct out *o, const struct view *v, const struct sums *t)
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

static void json_print(const struct out *o, const char *name, const struct view *v, const struct sums *t)
{
	out_print(o, "{\"schema\":1,\"region\":");
	out_json_string(o, name);
	out_print(o, ",\"creator\":{\"pid\":%d,\"name\":", (int)v->h.creator_pid);
	out_json_string(o, v->h.creator_name);
	out_print(o, "},");
	json_number(o, "created_ns", v->h.created_ns, ",");
	json_number(o, "capacity", v->h.capacity, ",");
	json_number(o, "base", v->h.base, ",");
	out_print(o, "\"hardened\":%s,", view_hardened(v) ? "true" : "false");
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
	ruling_json(o, &t->ruling);
	out_print(o, ",");
	json_boxes(o, v, t);
	json_slots(o, v);
	json_classes(o, t);
}

/* ---- entry points ------------------------------------------------------------------- */

/* jemalloc prints all of its arenas in this process; those that serve this region have the numbers before that. */
static void print_engine(const struct out *o, struct shmb_arena *mine, bool json)
{
	unsigned numbers[ENGINE_SHARDS], n = engine_numbers(mine, numbers);
	out_print(o, json ? ",\"engine_arenas\":[" : "\njemalloc's arenas in this process; of this region:");
	for (unsigned i = 0; i < n; i++)
		out_print(o, json ? "%s%u" : "%s %u", i ? "," : "", numbers[i]);
	out_print(o, json ? "],\"engine\":" : n ? "\n" : " none\n");
	engine_stats(o->write, o->opaque, json ? "Jmdlxh" : "gmdblxeh");
}

static void print(const struct out *o, const char *name, struct view *v, struct sums *t, const char *opts,
                  struct shmb_arena *mine)
{
	bool json = opts && strchr(opts, 'J');
	bool engine = mine && atomic_load(&mine->holder) && !(opts && strchr(opts, 'j'));
	if (json)
		json_print(o, name, v, t);
	else
		text_print(o, name, v, t);
	if (engine)
		print_engine(o, mine, json);
	if (json)
		out_print(o, "}\n");
}

/* Of the region behind `fd`, which it closes; mine: the arena, where it is open here. */
static int print_fd(const struct out *o, const char *name, int fd, const char *opts, struct shmb_arena *mine)
{
	struct view v;
	struct sums t;
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
	char label[REGION_NAME];
	int fd;
	int err = view_file_label(name, &fd, label);
	return err ? err : print_fd(&o, label, fd, opts, NULL);
}
