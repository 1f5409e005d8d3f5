/*
 * rules.c - the rules of a preloaded program, in its region: put there by the
 * program at its start, changed from outside while it runs.
 *
 * Who changes them has the lock `ruler`, which is tried, and taken from the
 * dead. It writes the bank that is not in force, text, numbers and all, and
 * then the generation, which is the one store that counts (layout.h). Killed
 * before that it has changed nothing; killed after it, it may not have said so:
 *
 *   changer   bank, generation, barrier (membarrier(2)), every thread's `hot` words = 0
 *   thread    `hot` word, then: is the generation the one that I follow? else = 0
 *
 * So a thread either sees the new generation, or its `hot` word is emptied
 * after it was set, and its next malloc takes the slow path, where the shim
 * looks at the generation first. Requests that are not placed look at it, too.
 *
 * A rule that was in force before, by its text, has its entry again and goes on
 * counting. Others get new entries; when there are none left, those of rules
 * that are in neither set.
 */
#include "rules.h"

#include "error.h"
#include "lock.h"
#include "sys.h"
#include "tally.h"

#include <errno.h>
#include <string.h>

enum { ENTRIES_OFF = offsetof(struct rules_shm, rules) };

/* ---- entries ----------------------------------------------------------------------- */

static uint64_t hash_of(struct word w)
{
	uint64_t h = 0xcbf29ce484222325u;
	for (unsigned i = 0; i < w.len; i++)
		h = (h ^ (unsigned char)w.s[i]) * 0x100000001b3u; /* FNV-1a */
	return h;
}

static uint32_t entries_used(const struct shmb_arena *a)
{
	uint32_t n = atomic_load(&a->hdr->rules);
	return n < RULE_ENTRIES ? n : RULE_ENTRIES;
}

/* What a new set is made of. `taken`: entries of the new set and the one in force; `gone`: used again for another rule. */
struct change {
	struct shmb_arena *a;
	const struct rules_bank *old; /* NULL: there is none */
	struct rules_bank *new;
	bool taken[RULE_ENTRIES], gone[RULE_ENTRIES];
	bool some_gone;
};

static unsigned entry_known(const struct change *c, const struct rule *r, uint64_t hash, const bool *mine)
{
	for (unsigned e = 0; e < entries_used(c->a); e++) {
		const struct rule_shm *s = &c->a->rules->rules[e];
		if (s->hash == hash && !mine[e] && !strncmp(s->text, r->text.s, r->text.len < RULE_TEXT ? r->text.len : RULE_TEXT - 1))
			return e;
	}
	return RULE_NONE;
}

/* One that was never used, else one of a rule that is in force no more, the one of which least lives. */
static unsigned entry_new(struct change *c)
{
	uint32_t used = entries_used(c->a);
	unsigned best = RULE_NONE;
	int64_t least = INT64_MAX;
	char *end = (char *)&c->a->rules->rules[used + 1];
	if (used < RULE_ENTRIES && !sys_populate(c->a->rules, round_up((uint64_t)(end - (char *)c->a->rules), PAGE))) {
		atomic_store(&c->a->hdr->rules, used + 1);
		return used;
	}
	for (unsigned e = 0; e < used; e++) {
		const struct rule_shm *s = &c->a->rules->rules[e];
		int64_t lives = atomic_load(&s->sum);
		if (!c->taken[e] && lives < least) {
			least = lives;
			best = e;
		}
	}
	if (best != RULE_NONE)
		c->gone[best] = c->some_gone = true;
	return best;
}

static void entry_describe(struct rule_shm *s, const struct rule *r, uint64_t hash)
{
	memset(s, 0, sizeof *s);
	memcpy(s->text, r->text.s, r->text.len < RULE_TEXT ? r->text.len : RULE_TEXT - 1);
	s->places = r->place;
	s->hash = hash;
}

/* An entry for each rule. Those that are known first: the others must not get theirs. */
static int entries_choose(struct change *c, const struct rule *rules, unsigned n)
{
	bool mine[RULE_ENTRIES] = {false};
	uint8_t *entry = c->new->entry;
	for (unsigned i = 0; i < n; i++) {
		entry[i] = (uint8_t)entry_known(c, &rules[i], hash_of(rules[i].text), mine);
		if (entry[i] != RULE_NONE)
			mine[entry[i]] = c->taken[entry[i]] = true;
	}
	for (unsigned i = 0; i < n; i++) {
		if (entry[i] != RULE_NONE)
			continue;
		unsigned e = entry_new(c);
		if (e == RULE_NONE)
			return ENOMEM;
		c->taken[e] = true;
		entry[i] = (uint8_t)e;
	}
	return 0;
}

/* ---- the new bank -------------------------------------------------------------------- */

static uint64_t hits_of(const struct shmb_arena *a, unsigned class)
{
	uint64_t sum = 0;
	for (unsigned i = 0; i < threads_ready(a); i++)
		sum += a->threads[i].hits[class];
	return sum;
}

/* What the threads counted for the rules up to now goes to their entries. */
static void carry_hits(struct change *c)
{
	struct rules_bank *new = c->new;
	if (c->old)
		memcpy(new->carry, c->old->carry, sizeof new->carry);
	for (unsigned k = 0; k < CLASSES; k++) {
		new->base[k] = hits_of(c->a, k);
		unsigned e = c->old ? c->old->counts[k] : RULE_NONE;
		if (e >= RULE_ENTRIES)
			continue;
		new->carry[e].hits += new->base[k] - c->old->base[k];
		new->carry[e].bytes += (new->base[k] - c->old->base[k]) * class_size(k);
	}
	for (unsigned e = 0; e < RULE_ENTRIES; e++)
		if (c->gone[e])
			new->carry[e].hits = new->carry[e].bytes = 0;
}

/* In a class where no rule places any more what lives is still the earlier owner's. */
static void owners_set(struct change *c, const struct rule_plan *plan)
{
	struct rules_bank *new = c->new;
	for (unsigned k = 0; k < CLASSES; k++) {
		unsigned before = c->old ? c->old->owner[k] : RULE_NONE;
		bool kept = before < RULE_ENTRIES && !c->gone[before];
		new->tagged[k] = plan->tagged[k];
		new->counts[k] = plan->counts[k] == RULE_NONE ? RULE_NONE : new->entry[plan->counts[k]];
		if (plan->owner[k] != RULE_NONE)
			new->owner[k] = new->entry[plan->owner[k]];
		else
			new->owner[k] = kept ? (uint8_t)before : RULE_NONE;
		if (plan->owner[k] == RULE_NONE && !plan->tagged[k] && c->old && c->old->tagged[k])
			new->tagged[k] = 1;
	}
}

static int bank_write(struct change *c, const char *text, const struct rule *rules, unsigned n, bool off, uint32_t which)
{
	struct rule_plan plan;
	struct rules_bank *new = c->new;
	char *room = c->a->map + c->a->lay.rule_text + (uint64_t)which * RULES_TEXT;
	size_t len = strlen(text);
	if (len >= RULES_TEXT)
		return E2BIG;
	int err = sys_populate(room, round_up(len + 1, PAGE));
	if (err)
		return err;
	memset(new, 0, sizeof *new); /* NOLINT(clang-analyzer-core.NonNullParamChecker): a bank of a region, which is mapped */
	err = entries_choose(c, rules, n);
	if (err)
		return err;
	memcpy(room, text, len + 1);
	rule_plan(rules, off ? 0 : n, c->a->guard, &plan);
	carry_hits(c);
	owners_set(c, &plan);
	new->n = n;
	new->off = off;
	new->text_len = (uint32_t)len;
	return 0;
}

/* Entries that are not what they stood for: before the new set counts there. */
static int entries_write(struct change *c, const struct rule *rules, unsigned n)
{
	int fd, err = 0;
	if (c->some_gone) {
		err = region_descriptor(c->a->region, &fd);
		if (err)
			return err;
		tally_sweep(c->a, fd, c->gone, NULL);
		sys_close(fd);
	}
	for (unsigned k = 0; k < CLASSES; k++) {
		uint8_t in = atomic_load(&c->a->rules->attributed[k]);
		if (in && in <= RULE_ENTRIES && c->gone[in - 1])
			tally_attribute(c->a, k, RULE_NONE);
	}
	for (unsigned i = 0; i < n; i++) {
		struct rule_shm *s = &c->a->rules->rules[c->new->entry[i]];
		uint64_t hash = hash_of(rules[i].text);
		if (c->gone[c->new->entry[i]] || s->hash != hash || !s->text[0])
			entry_describe(s, &rules[i], hash);
	}
	return 0;
}

/* ---- saying so ------------------------------------------------------------------------- */

static bool all_quick(const struct shmb_arena *a)
{
	uint32_t high = slots_high(a);
	for (unsigned i = 0; i < high; i++)
		if ((atomic_load(&a->slots[i].word) & 0xff) == SLOT_LIVE && !atomic_load(&a->slots[i].quick))
			return false;
	return true;
}

/* Every thread's next malloc takes the slow path. Where there is no barrier, some may miss it until then. */
static void knock(struct shmb_arena *a)
{
	(void)sys_barrier(all_quick(a));
	for (unsigned i = 0; i < threads_ready(a); i++)
		thread_close(&a->threads[i]);
}

static void sweep_untagged(const struct change *c)
{
	int fd;
	if (region_descriptor(c->a->region, &fd))
		return; /* what lives in those classes may count for a rule that is no more, until it is freed */
	tally_sweep(c->a, fd, NULL, c->new->tagged);
	sys_close(fd);
}

static int publish(struct shmb_arena *a, const char *text, const struct rule *rules, unsigned n, bool off)
{
	uint32_t before = atomic_load(&a->hdr->rules_gen), gen = before + 1 ? before + 1 : 2;
	struct change c = {.a = a};
	int err = sys_populate(a->rules, round_up(ENTRIES_OFF, PAGE));
	if (err)
		return err;
	c.old = before ? &a->rules->banks[before & 1] : NULL;
	c.new = &a->rules->banks[gen & 1];
	for (unsigned i = 0; c.old && i < c.old->n && i < RULES; i++)
		if (c.old->entry[i] < RULE_ENTRIES)
			c.taken[c.old->entry[i]] = true;
	atomic_store(&c.new->gen, 0);
	err = bank_write(&c, text, rules, n, off, gen & 1);
	if (!err)
		err = entries_write(&c, rules, n);
	if (err)
		return err;
	atomic_store(&c.new->gen, gen);
	atomic_store(&a->hdr->rules_gen, gen);
	for (unsigned k = 0; k < CLASSES; k++)
		tally_attribute(a, k, c.new->owner[k]);
	if (before) {
		knock(a);
		sweep_untagged(&c);
	}
	return 0;
}

int rules_publish(struct shmb_arena *a, const char *text, const struct rule *rules, unsigned n, bool off)
{
	if (!lock_try_over(a, &a->hdr->ruler))
		return EBUSY;
	int err = publish(a, text, rules, n, off);
	atomic_store(&a->hdr->ruler, 0);
	return err;
}

/* ---- reading ------------------------------------------------------------------------------ */

static const struct rules_bank *bank_of(const struct shmb_arena *a, uint32_t gen)
{
	const struct rules_bank *b = &a->rules->banks[gen & 1];
	return gen && atomic_load(&b->gen) == gen ? b : NULL;
}

uint32_t rules_read(const struct shmb_arena *a, char *text, bool *off)
{
	uint32_t gen = atomic_load(&a->hdr->rules_gen);
	const struct rules_bank *b = bank_of(a, gen);
	if (!b || b->text_len >= RULES_TEXT)
		return 0;
	uint32_t len = b->text_len;
	memcpy(text, a->map + a->lay.rule_text + (uint64_t)(gen & 1) * RULES_TEXT, len < RULES_TEXT ? len : 0);
	text[len < RULES_TEXT ? len : 0] = 0;
	*off = b->off;
	atomic_thread_fence(memory_order_acquire);
	return bank_of(a, gen) ? gen : 0;
}

bool rules_entries(const struct shmb_arena *a, uint32_t gen, unsigned n, uint8_t entries[RULES])
{
	const struct rules_bank *b = bank_of(a, gen);
	if (!b || b->n != n || n > RULES)
		return false;
	memcpy(entries, b->entry, n);
	for (unsigned i = 0; i < n; i++)
		if (entries[i] >= entries_used(a))
			return false;
	atomic_thread_fence(memory_order_acquire);
	return bank_of(a, gen) != NULL;
}
