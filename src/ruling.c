/*
 * ruling.c - the rules of a preloaded program as somebody sees them who looks:
 * which are in force, what each did, and what of it lives.
 *
 * All of it is from a copy (view.c) and believed only so far as it leads
 * nowhere else: numbers are checked before they index, texts end, and what a
 * terminal would obey is not printed.
 */
#include "ruling.h"

#include "preload_api.h"
#include "sound.h"

#include <string.h>

/* While somebody changes the rules, the copy of the header may be older than that of the banks. */
static const struct rules_bank *bank_of(const struct view *v)
{
	uint32_t gen = atomic_load(&v->h.rules_gen);
	if (!gen || !v->rules_n)
		return NULL;
	for (uint32_t g = gen; g != gen + 2; g++) {
		const struct rules_bank *b = &v->rules->banks[g & 1];
		if (g && atomic_load(&b->gen) == g)
			return b;
	}
	return NULL;
}

static uint64_t natural(int64_t n)
{
	return n > 0 ? (uint64_t)n : 0;
}

/* What the hot path placed, thread by thread, goes to the rule that has the class. */
static void count_hot(struct ruling *r, const struct thread_shm *t)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned e = r->bank->counts[c];
		if (e >= r->v->rules_n)
			continue;
		r->entries[e].hits += t->hits[c];
		r->entries[e].bytes += t->hits[c] * class_size(c);
	}
}

/* Less what was counted before the set came into force. A copy may be of before that. */
static void discount(struct ruling *r)
{
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned e = r->bank->counts[c];
		if (e >= r->v->rules_n)
			continue;
		uint64_t base = r->bank->base[c], bytes = base * class_size(c);
		r->entries[e].hits -= base < r->entries[e].hits ? base : r->entries[e].hits;
		r->entries[e].bytes -= bytes < r->entries[e].bytes ? bytes : r->entries[e].bytes;
	}
}

static void begin(struct ruling *r, const struct view *v)
{
	memset(r, 0, sizeof *r);
	r->v = v;
	r->bank = bank_of(v);
	if (!r->bank)
		return;
	for (unsigned i = 0; i < v->threads_n; i++)
		count_hot(r, &v->threads[i]);
	discount(r);
	for (unsigned e = 0; e < v->rules_n; e++) {
		const struct rule_shm *from = &v->rules->rules[e];
		struct shown_rule *to = &r->entries[e];
		to->hits += atomic_load(&from->hits) + r->bank->carry[e].hits;
		to->bytes += atomic_load(&from->bytes) + r->bank->carry[e].bytes;
		to->fallbacks = atomic_load(&from->fallbacks);
		to->peak = natural(atomic_load(&from->peak));
		to->places = from->places;
		memcpy(to->text, from->text, RULE_TEXT - 1);
	}
}

static void add_live(struct ruling *r, unsigned entry, uint64_t blocks, uint64_t size)
{
	if (entry >= r->v->rules_n)
		return;
	r->entries[entry].live += blocks * size;
	r->entries[entry].live_blocks += blocks;
}

static void add_tagged(void *ctx, unsigned class, uint8_t tag)
{
	struct ruling *r = ctx;
	r->tagged[class]++;
	add_live(r, tag - 1u, 1, class_size(class));
}

/* What has no tag is the rule's that has the class. */
static void add_untagged(struct ruling *r, const uint64_t counts[256])
{
	for (unsigned c = 0; c < CLASSES; c++)
		add_live(r, r->bank->owner[c], counts[block_make(BLOCK_LIVE, c)] - r->tagged[c], class_size(c));
}

static void add_large(struct ruling *r)
{
	for (uint64_t u = 0, n; u < r->v->ready; u += n ? n : 1) {
		n = view_large(r->v, u);
		if (n && r->v->unit_tags[u])
			add_live(r, r->v->unit_tags[u] - 1u, 1, n << UNIT_SHIFT);
	}
}

static void end(struct ruling *r)
{
	bool shown[RULE_ENTRIES] = {false};
	for (unsigned i = 0; i < r->bank->n && i < RULES; i++) {
		unsigned e = r->bank->entry[i];
		if (e >= r->v->rules_n)
			continue;
		r->entries[e].in_force = shown[e] = true;
		r->order[r->n++] = e;
	}
	for (unsigned e = 0; e < r->v->rules_n; e++) {
		struct shown_rule *s = &r->entries[e];
		s->peak = s->peak > s->live ? s->peak : s->live;
		if (!shown[e] && (s->hits || s->live || s->fallbacks))
			r->order[r->n++] = e;
	}
}

int ruling_look(struct ruling *r, const struct view *v, int fd, uint64_t counts[256])
{
	const struct view_tags tags = {add_tagged, r};
	begin(r, v);
	int err = view_count_blocks(v, fd, counts, r->bank ? &tags : NULL);
	if (err || !r->bank)
		return err;
	add_untagged(r, counts);
	add_large(r);
	end(r);
	return 0;
}

/* ---- sums -------------------------------------------------------------------------- */

/* What blocks with tags count for their rules. */
static void sum_tagged(const struct view *v, int64_t sums[RULE_ENTRIES])
{
	for (uint64_t u = 0; u < v->ready; u++) {
		unsigned tag = v->unit_tags[u];
		if (tag && tag <= v->rules_n)
			sums[tag - 1] += (int64_t)(view_large(v, u) << UNIT_SHIFT);
		if (u >= SMALL_UNITS || span_kind_of(v->spans[u]) != SPAN_SMALL)
			continue;
		for (uint64_t g = u * UNIT / GRAIN, end = g + UNIT / GRAIN; g < end; g++) {
			tag = v->tags[g];
			if (tag && tag <= v->rules_n && block_class(v->blocks[g]) < CLASSES)
				sums[tag - 1] += class_size(block_class(v->blocks[g]));
		}
	}
}

uint64_t ruling_sums_off(const struct view *v)
{
	int64_t sums[RULE_ENTRIES] = {0}, off;
	uint64_t all = 0;
	if (!v->tags)
		return 0;
	sum_tagged(v, sums);
	for (unsigned c = 0; c < CLASSES; c++) {
		unsigned tag = atomic_load(&v->rules->attributed[c]);
		if (tag && tag <= v->rules_n)
			sums[tag - 1] = (int64_t)((uint64_t)sums[tag - 1] + (uint64_t)atomic_load(&v->rules->out[c]));
	}
	for (unsigned e = 0; e < v->rules_n; e++) {
		off = (int64_t)((uint64_t)atomic_load(&v->rules->rules[e].sum) - (uint64_t)sums[e]);
		all += off < 0 ? -(uint64_t)off : (uint64_t)off;
	}
	return all;
}

/* ---- text ------------------------------------------------------------------------- */

/* A rule's text may be a file's: what a terminal would obey is not printed. */
static const char *printable(char out[RULE_TEXT], const char text[RULE_TEXT])
{
	memcpy(out, text, RULE_TEXT);
	out[RULE_TEXT - 1] = 0;
	for (char *c = out; (c = strchr(c, '\t'));)
		*c = ' ';
	sound_text(out, RULE_TEXT);
	return out;
}

static void text_rule(const struct out *o, const struct shown_rule *s)
{
	char a[24], b[24], c[24], text[RULE_TEXT];
	out_print(o, "  %12lu %12s %12s %12s %10lu  %s%s\n", (unsigned long)s->hits, out_bytes(a, s->bytes),
	          out_bytes(b, s->live), out_bytes(c, s->peak), (unsigned long)s->fallbacks, printable(text, s->text),
	          s->in_force ? "" : "  (no more in force)");
}

void ruling_text(const struct out *o, const struct ruling *r)
{
	if (r->bank && r->bank->off)
		out_print(o, "\n  the rules are off: nothing is placed at present");
	out_print(o, "\n  %12s %12s %12s %12s %10s  %s\n", "hits", "bytes", "live", "peak", "fallbacks", "rule");
	for (unsigned i = 0; i < r->n; i++)
		text_rule(o, &r->entries[r->order[i]]);
}

/* ---- JSON ------------------------------------------------------------------------- */

static void json_begin(const struct out *o, const char *comma, const char *text, bool places)
{
	out_print(o, "%s{\"rule\":", comma);
	out_json_string(o, text);
	out_print(o, ",\"places\":%s,", places ? "true" : "false");
}

static void json_rule(const struct out *o, const char *comma, const struct shown_rule *s)
{
	json_begin(o, comma, s->text, s->places);
	out_print(o, "\"in_force\":%s,\"hits\":%lu,\"bytes\":%lu,\"live\":%lu,\"live_blocks\":%lu,\"peak\":%lu,\"fallbacks\":%lu}",
	          s->in_force ? "true" : "false", (unsigned long)s->hits, (unsigned long)s->bytes, (unsigned long)s->live,
	          (unsigned long)s->live_blocks, (unsigned long)s->peak, (unsigned long)s->fallbacks);
}

void ruling_json(const struct out *o, const struct ruling *r)
{
	out_print(o, "\"rules_off\":%s,\"rules\":[", r->bank && r->bank->off ? "true" : "false");
	for (unsigned i = 0; i < r->n; i++)
		json_rule(o, i ? "," : "", &r->entries[r->order[i]]);
	out_print(o, "]");
}

/* ---- a dry run: no region, nothing lives --------------------------------------------- */

static void dry_rule(const struct out *o, const char *comma, const struct preload_rule *r, bool json)
{
	char a[24], text[RULE_TEXT] = "", clean[RULE_TEXT];
	memcpy(text, r->text, r->len < RULE_TEXT ? r->len : RULE_TEXT - 1);
	if (!json) {
		out_print(o, "  %12lu %12s %10u  %s\n", (unsigned long)r->hits, out_bytes(a, r->bytes), 0, printable(clean, text));
		return;
	}
	json_begin(o, comma, text, r->places);
	out_print(o, "\"hits\":%lu,\"bytes\":%lu,\"fallbacks\":0}", (unsigned long)r->hits, (unsigned long)r->bytes);
}

void preload_rules_print(const struct preload_rule *rules, unsigned n, shmb_write_cb *write, void *opaque, bool json)
{
	struct out o = {write, opaque};
	out_print(&o, json ? "{\"schema\":1,\"dry_run\":true,\"rules\":[" : "dry run: nothing was placed\n");
	if (!json)
		out_print(&o, "\n  %12s %12s %10s  %s\n", "hits", "bytes", "fallbacks", "rule");
	for (unsigned i = 0; i < n; i++)
		dry_rule(&o, i ? "," : "", &rules[i], json);
	out_print(&o, json ? "]}\n" : "");
}
