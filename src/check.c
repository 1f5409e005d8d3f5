/*
 * check.c - walks every invariant of a region, live or post-mortem, from a
 * copy of its tables, and trusts none of it.
 *
 *   header     what it counts can be there
 *   words      each unit is one of the five kinds, a HEAD's run is what it says,
 *              and who holds it is attached or was once
 *   bytes      each byte of the block map is explained by its page's class and phase
 *   magazines  each is listed once, each block in one magazine, and every block
 *              that is said to be cached is listed: nothing is lost
 *   ends       hardened: no block was written to beyond its end, or while it was free
 *   boxes      each ready one's object is a live block, each name is its box's
 *   tags       each is a rule's, and a block's that lives or is free in a thread's magazine
 *   sums       live + cached + stray + unissued + orphaned + free = capacity;
 *              unissued: in units of the living, orphaned: in those of the dead
 *
 * While processes write, a copy can contradict itself. So what is wrong is
 * kept by its text, and only what all of many copies agree on counts: the
 * block that a busy thread frees and takes again is often in the middle of it.
 */
#include "intact.h"
#include "out.h"
#include "ruling.h"
#include "sound.h"
#include "sys.h"
#include "view.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { UNIT_GRAINS = UNIT / GRAIN, MAX_FAULTS = 64, FAULT_TEXT = 120, LOOKS = 30 };

struct faults {
	unsigned n;
	uint64_t more; /* beyond MAX_FAULTS */
	char text[MAX_FAULTS][FAULT_TEXT];
};

struct check {
	const struct view *v;
	struct faults *faults;
	uint64_t *listed; /* a bit a grain: some magazine lists it */
	uint64_t *mags;   /* a bit a magazine: some place lists it */
	uint64_t listed_len;
	uint64_t live, cached, stray, unissued, orphaned, free, cached_blocks, listed_blocks;
	uint64_t rules_off; /* by how much the rules' sums are not what their blocks come to */
};

static void fault(struct check *c, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void fault(struct check *c, const char *format, ...)
{
	va_list ap;
	if (c->faults->n == MAX_FAULTS) {
		c->faults->more++;
		return;
	}
	va_start(ap, format);
	vsnprintf(c->faults->text[c->faults->n++], FAULT_TEXT, format, ap);
	va_end(ap);
}

static bool bit_test_set(uint64_t *bits, uint64_t i)
{
	bool was = bits[i / 64] >> (i % 64) & 1;
	bits[i / 64] |= (uint64_t)1 << (i % 64);
	return was;
}

/* ---- words ------------------------------------------------------------------------ */

static void check_head(struct check *c, uint64_t u, uint64_t n)
{
	for (uint64_t i = 1; i < n; i++) {
		span_t w = c->v->spans[u + i];
		if (span_kind_of(w) != SPAN_CONT || span_aux(w) != i) {
			fault(c, "unit %lu: the run of %lu units has a hole at %lu", (unsigned long)u, (unsigned long)n, (unsigned long)i);
			return;
		}
	}
}

/* Is a thread of that living process in a slow path, stopped in it perhaps? Then it may be between two words. */
static bool at_work(const struct check *c, holder_t h)
{
	unsigned slot = holder_slot(h);
	if (slot >= c->v->slots_n)
		return false;
	bool busy = atomic_load(&c->v->slots[slot].busy) != 0;
	for (unsigned i = 0; i < c->v->threads_n && !busy; i++) {
		holder_t owner = atomic_load(&c->v->threads[i].owner);
		busy = owner && holder_slot(owner) == slot && atomic_load(&c->v->threads[i].busy);
	}
	return busy;
}

static void check_cont(struct check *c, uint64_t u, span_t w)
{
	uint64_t d = span_aux(w);
	span_t head = d && d <= u ? c->v->spans[u - d] : 0;
	bool covered = span_kind_of(head) == SPAN_HEAD && span_aux(head) > d;
	if (!covered && view_holder_live(c->v, span_holder(w)) && !at_work(c, span_holder(w)))
		fault(c, "unit %lu: belongs to a run that does not reach it", (unsigned long)u);
	if (!covered)
		c->free += UNIT; /* of a change that a dead process did not finish */
	else
		c->live += UNIT;
}

/* Who is about to free a run may not have come to its tag; whoever mends that takes it off. */
static void check_unit_tag(struct check *c, uint64_t u, enum span_kind kind)
{
	unsigned tag = c->v->rules_n ? c->v->unit_tags[u] : 0;
	if (tag > c->v->rules_n)
		fault(c, "unit %lu: its tag is of rule %u of %u", (unsigned long)u, tag, c->v->rules_n);
	else if (tag && kind != SPAN_HEAD && kind != SPAN_TAKING)
		fault(c, "unit %lu: has the tag of rule %u, and no large block starts there", (unsigned long)u, tag);
}

static void check_word(struct check *c, uint64_t u)
{
	span_t w = c->v->spans[u];
	const char *why = sound_span(w, u, c->v->ready);
	if (why)
		fault(c, "unit %lu: %s: %#lx", (unsigned long)u, why, (unsigned long)w);
	if (span_kind_of(w) != SPAN_FREE && !sound_holder(span_holder(w), c->v->slots, c->v->slots_n))
		fault(c, "unit %lu: held by %#x, which never was", (unsigned long)u, span_holder(w));
	check_unit_tag(c, u, span_kind_of(w));
	switch (span_kind_of(w)) {
	case SPAN_FREE:
	case SPAN_TAKING:
		c->free += UNIT; /* TAKING: a living process is at it, or a dead one's is to be given back */
		return;
	case SPAN_HEAD:
		if (!why)
			check_head(c, u, span_aux(w));
		c->live += UNIT;
		return;
	case SPAN_CONT:
		check_cont(c, u, w);
		return;
	default:
		return; /* SMALL: its blocks come later */
	}
}

/* ---- bytes ------------------------------------------------------------------------ */

static void count_block(struct check *c, uint64_t grain, uint8_t b)
{
	uint32_t size = class_size(block_class(b));
	switch (block_state_of(b)) {
	case BLOCK_LIVE: c->live += size; break;
	case BLOCK_STRAY: c->stray += size; break;
	default:
		c->cached += size;
		c->cached_blocks++;
		if (!(c->listed[grain / 64] >> (grain % 64) & 1))
			fault(c, "block at %#lx: said to be cached, but no magazine lists it",
			      (unsigned long)(c->v->lay.data + (grain << GRAIN_SHIFT)));
	}
}

/* Does a block of the page's class start at grain `i` of the page? */
static bool starts_at(page_t w, unsigned i)
{
	uint32_t step = class_size(page_class(w)) / GRAIN;
	return i >= page_phase(w) ? (i - page_phase(w)) % step == 0 : false;
}

static void check_page(struct check *c, uint64_t page)
{
	page_t w = c->v->pages[page];
	const uint8_t *map = c->v->blocks + page * (PAGE / GRAIN);
	if (w && page_class(w) >= CLASSES) {
		fault(c, "page %lu: no such class: %#x", (unsigned long)page, w);
		return;
	}
	for (unsigned i = 0; i < PAGE / GRAIN; i++) {
		uint64_t grain = page * (PAGE / GRAIN) + i;
		unsigned long at = (unsigned long)(c->v->lay.data + (grain << GRAIN_SHIFT));
		if (i % sizeof(uint64_t) == 0 && *(const uint64_t *)(map + i) == 0)
			i += sizeof(uint64_t) - 1; /* most are */
		if (!map[i])
			continue;
		if (block_state_of(map[i]) == BLOCK_NONE)
			fault(c, "block at %#lx: its byte is %#x", at, map[i]);
		else if (!w || block_class(map[i]) != page_class(w))
			fault(c, "block at %#lx: class %u in a page of class %d", at, block_class(map[i]), w ? (int)page_class(w) : -1);
		else if (!starts_at(w, i))
			fault(c, "block at %#lx: no block of its page starts there", at);
		else if (grain % UNIT_GRAINS * GRAIN + class_size(page_class(w)) > UNIT)
			fault(c, "block at %#lx: it reaches beyond its unit", at);
		else
			count_block(c, grain, map[i]);
	}
}

static void check_tags(struct check *c, uint64_t u)
{
	for (uint64_t grain = u * UNIT_GRAINS, end = grain + UNIT_GRAINS; c->v->tags && grain < end; grain++) {
		unsigned tag = c->v->tags[grain];
		enum block_state s = block_state_of(c->v->blocks[grain]);
		unsigned long at = (unsigned long)(c->v->lay.data + (grain << GRAIN_SHIFT));
		if (tag > c->v->rules_n)
			fault(c, "block at %#lx: its tag is of rule %u of %u", at, tag, c->v->rules_n);
		else if (tag && s != BLOCK_LIVE && s != BLOCK_CACHED)
			fault(c, "block at %#lx: has the tag of rule %u, and is none", at, tag);
	}
}

static void check_small(struct check *c, uint64_t u)
{
	uint64_t before = c->live + c->cached + c->stray;
	for (unsigned i = 0; i < UNIT_PAGES; i++)
		check_page(c, u * UNIT_PAGES + i);
	check_tags(c, u);
	uint64_t used = c->live + c->cached + c->stray - before;
	if (used > UNIT)
		fault(c, "unit %lu: %lu bytes of blocks in it", (unsigned long)u, (unsigned long)used);
	else if (view_holder_live(c->v, span_holder(c->v->spans[u])))
		c->unissued += UNIT - used;
	else
		c->orphaned += UNIT - used;
}

/* ---- magazines ----------------------------------------------------------------------- */

/* torn: it may be the one that a process was about to add or remove when it died or was stopped; being listed then counts. */
static void check_entry(struct check *c, uint32_t number, unsigned class, uint32_t grain, bool torn)
{
	uint64_t unit = grain / UNIT_GRAINS;
	if (unit >= c->v->ready || span_kind_of(c->v->spans[unit]) != SPAN_SMALL) {
		fault(c, "magazine %u: lists grain %u, where no small block can be", number, grain);
		return;
	}
	if (bit_test_set(c->listed, grain))
		fault(c, "block at %#lx: listed twice, again in magazine %u",
		      (unsigned long)(c->v->lay.data + ((uint64_t)grain << GRAIN_SHIFT)), number);
	uint8_t b = c->v->blocks[grain];
	c->listed_blocks++;
	if (b != block_make(BLOCK_CACHED, class) && !torn)
		fault(c, "magazine %u: lists grain %u, whose byte is %#x", number, grain, b);
}

/* A magazine that `place` lists; number plus one. held: by a thread, which may be in the middle of a malloc or free. */
static void check_magazine(struct check *c, uint32_t number, const char *place, bool held)
{
	if (!number)
		return;
	if (number > c->v->mags_n) {
		fault(c, "%s: lists magazine %u of %u", place, number, c->v->mags_n);
		return;
	}
	const struct mag_shm *m = &c->v->mags[number - 1];
	uint32_t n = atomic_load(&m->count);
	if (bit_test_set(c->mags, number))
		fault(c, "magazine %u: listed twice, again by %s", number, place);
	bool dead = !view_holder_live(c->v, (holder_t)atomic_load(&m->holder)), any = view_hardened(c->v);
	if (n == 0 && (dead || held))
		return; /* taken from the pool a moment ago: its class is not written yet */
	if (m->class >= CLASSES || m->rounds != class_rounds(m->class) || n > m->rounds) {
		fault(c, "magazine %u: %u of %u rounds of class %u", number, n, m->rounds, m->class);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		check_entry(c, number, m->class, m->entries[i], (dead || held) && (any || i == n - 1));
}

/* The same of a place that is no thread's: what comes there has had its tag taken off before. */
static void check_shared(struct check *c, uint32_t number, const char *place)
{
	check_magazine(c, number, place, false);
	if (!c->v->tags || !number || number > c->v->mags_n)
		return;
	const struct mag_shm *m = &c->v->mags[number - 1];
	for (uint32_t i = 0, n = atomic_load(&m->count); i < n && i < MAG_ROUNDS; i++) {
		uint32_t grain = m->entries[i];
		if (grain / UNIT_GRAINS < c->v->ready && c->v->tags[grain])
			fault(c, "block at %#lx: has the tag of rule %u, and is free in %s",
			      (unsigned long)(c->v->lay.data + ((uint64_t)grain << GRAIN_SHIFT)), c->v->tags[grain], place);
	}
}

/* What a record lists counts only while the magazine names it as its holder and no shared place has it. True: it does. */
static bool check_held(struct check *c, unsigned thread, uint32_t number)
{
	holder_t h = atomic_load(&c->v->threads[thread].owner);
	if (number && number <= c->v->mags_n) {
		if (atomic_load(&c->v->mags[number - 1].holder) != mag_holder(thread, h))
			return false;
		if (c->mags[number / 64] >> (number % 64) & 1)
			return false;
	}
	check_magazine(c, number, "a thread record", true);
	return number && number <= c->v->mags_n;
}

static void check_thread(struct check *c, unsigned i)
{
	const struct thread_shm *t = &c->v->threads[i];
	if (!atomic_load(&t->owner))
		return;
	for (unsigned k = 0; k < CLASSES; k++) {
		(void)check_held(c, i, pair_loaded(atomic_load(&t->pairs[k])));
		(void)check_held(c, i, pair_previous(atomic_load(&t->pairs[k])));
	}
	(void)check_held(c, i, atomic_load(&t->transit));
	(void)check_held(c, i, atomic_load(&t->discard));
	uint32_t n = atomic_load(&t->backlog);
	if (n && n == atomic_load(&t->transit) && n <= c->v->mags_n) /* on its way out of the backlog: counted already */
		n = c->v->mags[n - 1].next;
	/* a ring ends where it comes to what was counted, so all records together take a look at each magazine */
	for (; check_held(c, i, n);)
		n = c->v->mags[n - 1].next;
}

/* A magazine that a recoverer had between an inbox and another place. */
static void check_moving(struct check *c, uint32_t number, holder_t as)
{
	if (number && number <= c->v->mags_n && !(c->mags[number / 64] >> (number % 64) & 1) &&
	    atomic_load(&c->v->mags[number - 1].holder) == mag_holder(NO_THREAD, as))
		check_shared(c, number, "a slot");
}

static void check_slot(struct check *c, unsigned slot)
{
	const struct slot_shm *s = &c->v->slots[slot];
	const char *why = sound_slot(s);
	if (why)
		fault(c, "slot %u: %s: %#x, %#x", slot, why, atomic_load(&s->word), atomic_load(&s->hold));
	check_moving(c, atomic_load(&s->moving), holder_make(slot, atomic_load(&s->word) >> 8));
	check_moving(c, atomic_load(&s->sweeping), HOLDER_EVICTOR);
}

/* Shared places first: they beat thread records. */
static void check_magazines(struct check *c)
{
	for (unsigned k = 0; k < CLASSES; k++) {
		const struct depot_shm *d = &c->v->depots[k];
		uint32_t n = atomic_load(&d->count);
		if (n > DEPOT_CELLS)
			fault(c, "depot %u: %u magazines", k, n);
		for (uint32_t i = 0; i < n && i < DEPOT_CELLS; i++)
			check_shared(c, cell_number(atomic_load(&d->cells[i])), "a depot");
	}
	for (unsigned s = 0; s < c->v->slots_n; s++)
		for (unsigned i = 0; i < INBOX_CELLS; i++)
			check_shared(c, cell_number(atomic_load(&c->v->slots[s].inbox[i])), "an inbox");
	for (unsigned s = 0; s < c->v->slots_n; s++)
		check_slot(c, s);
	for (unsigned i = 0; i < c->v->threads_n; i++)
		check_thread(c, i);
}

/* ---- boxes ------------------------------------------------------------------------------ */

static bool is_live_block(const struct check *c, uint64_t ref)
{
	uint64_t off = ref - c->v->lay.data, unit = off >> UNIT_SHIFT;
	if (ref < c->v->lay.data || unit >= c->v->ready || off % GRAIN)
		return false;
	span_t w = c->v->spans[unit];
	if (span_kind_of(w) == SPAN_SMALL && unit < SMALL_UNITS)
		return block_state_of(c->v->blocks[off >> GRAIN_SHIFT]) == BLOCK_LIVE;
	return span_kind_of(w) == SPAN_HEAD && off % UNIT == 0;
}

static void check_box(struct check *c, uint32_t i)
{
	const struct box_shm *b = &c->v->boxes[i];
	uint64_t w = atomic_load(&b->word);
	enum box_state s = box_state_of(w);
	uint32_t name = atomic_load(&b->name);
	if (s >= BOX_STATES) {
		fault(c, "box %u: no such state: %#lx", i, (unsigned long)w);
		return;
	}
	if ((s == BOX_MAKING || s == BOX_READY || s == BOX_DROPPING) &&
	    !sound_holder(box_holder(w), c->v->slots, c->v->slots_n))
		fault(c, "box %u: held by %#x, which never was", i, box_holder(w));
	if ((s == BOX_READY || s == BOX_KEPT || s == BOX_ABANDONED) && !is_live_block(c, atomic_load(&b->ref)))
		fault(c, "box %u: its object at %#lx is no live block", i, (unsigned long)atomic_load(&b->ref));
	if ((s == BOX_READY || s == BOX_KEPT) && name &&
	    (name > c->v->names_n || atomic_load(&c->v->names[name - 1].word) >> 32 != i + 1))
		fault(c, "box %u: its name is another's", i);
}

static void check_name(struct check *c, uint32_t i)
{
	uint64_t box = atomic_load(&c->v->names[i].word) >> 32;
	if (!box)
		return;
	if (box > c->v->boxes_n)
		fault(c, "name %u: of box %lu of %u", i, (unsigned long)box, c->v->boxes_n);
	else if (box_state_of(atomic_load(&c->v->boxes[box - 1].word)) == BOX_FREE)
		fault(c, "name %u: box %lu is free", i, (unsigned long)box);
	else if (!memchr(c->v->names[i].text, 0, NAME_TEXT))
		fault(c, "name %u: its text does not end", i);
	else if (atomic_load(&c->v->boxes[box - 1].name) != i + 1)
		fault(c, "name %u: box %lu has another", i, (unsigned long)box);
}

static void check_boxes(struct check *c)
{
	for (uint32_t i = 0; i < c->v->boxes_n; i++)
		check_box(c, i);
	for (uint32_t i = 0; i < c->v->names_n; i++)
		if (atomic_load_explicit(&c->v->buckets[i / NAMES_PER_BUCKET].committed, memory_order_relaxed))
			check_name(c, i); /* nobody looks into the others */
}

/* ---- one look --------------------------------------------------------------------------- */

static void check_header(struct check *c)
{
	uint64_t is, most;
	const char *what = sound_header(&c->v->h, &c->v->lay, &is, &most);
	if (what)
		fault(c, "header: %s: %lu, of %lu at most", what, (unsigned long)is, (unsigned long)most);
}

static void check_end(void *ctx, const struct view_block *b, const char *what)
{
	struct check *c = ctx;
	fault(c, "block at %#lx: %lu bytes, %s", (unsigned long)(c->v->lay.data + b->off), (unsigned long)b->size, what);
}

static int look(struct check *c, const struct view *v, int fd, struct faults *faults)
{
	void *bits;
	uint64_t grains = (v->ready < SMALL_UNITS ? v->ready : SMALL_UNITS) * UNIT_GRAINS;
	memset(c, 0, sizeof *c);
	c->v = v;
	c->faults = faults;
	c->listed_len = grains / 8 + MAGS / 8 + PAGE;
	faults->n = 0;
	faults->more = 0;
	int err = sys_map(NULL, c->listed_len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0, &bits);
	if (err)
		return err;
	c->mags = bits;
	c->listed = c->mags + MAGS / 64 + 1;
	check_header(c);
	for (uint64_t u = 0; u < v->ready; u++) /* words first: a bad one is the cause of many that follow */
		check_word(c, u);
	check_magazines(c);
	check_boxes(c);
	for (uint64_t u = 0; u < v->ready; u++) {
		if (u < SMALL_UNITS && span_kind_of(v->spans[u]) == SPAN_SMALL)
			check_small(c, u);
	}
	c->free += (v->lay.units - v->ready) << UNIT_SHIFT;
	if (c->live + c->cached + c->stray + c->unissued + c->orphaned + c->free != v->h.capacity)
		fault(c, "the sums do not add up to the capacity");
	c->rules_off = ruling_sums_off(v);
	sys_unmap(bits, c->listed_len);
	return intact_look(v, fd, check_end, c);
}

/* Keeps of `kept` what `again` says too. */
static void agree(struct faults *kept, const struct faults *again)
{
	unsigned n = 0;
	for (unsigned i = 0; i < kept->n; i++)
		for (unsigned k = 0; k < again->n; k++)
			if (!strcmp(kept->text[i], again->text[k])) {
				memmove(kept->text[n++], kept->text[i], FAULT_TEXT);
				break;
			}
	kept->n = n;
	kept->more = !n ? 0 : again->more < kept->more ? again->more : kept->more;
}

/* An open that claims recovers too; gc would remove a dead owner's region. */
static void report_dead(const struct out *o, const char *name)
{
	shmb_info info;
	if (shmb_info_name(name, &info) || !info.dead)
		return;
	const char *by = info.owner == SHMB_OWNER_LIVE || info.owner == SHMB_OWNER_NONE ? "`shmbind gc`" : "the next open";
	out_print(o, "; the caches of %u dead process%s wait for recovery, by %s", info.dead, info.dead == 1 ? "" : "es",
	          name_is_path(name) ? "whoever opens it once it is loaded" : by);
}

static void report(const struct out *o, const struct check *c, const struct faults *f, const char *name, bool quiet)
{
	char a[6][24];
	for (unsigned i = 0; i < f->n; i++)
		out_print(o, "%s\n", f->text[i]);
	if (f->more)
		out_print(o, "and %lu more\n", (unsigned long)f->more);
	out_print(o, "%s: live %s + cached %s + stray %s + unissued %s + orphaned %s + free %s = capacity; %s",
	          f->n ? "CORRUPT" : "clean", out_bytes(a[0], c->live), out_bytes(a[1], c->cached), out_bytes(a[2], c->stray),
	          out_bytes(a[3], c->unissued), out_bytes(a[4], c->orphaned), out_bytes(a[5], c->free),
	          quiet ? "nobody was writing, the sums are exact" : "processes were writing, the sums are of a moving heap");
	report_dead(o, name);
	if (quiet && c->rules_off)
		out_print(o, "; the rules' sums are off by %s, as by a process killed or stopped while it moved blocks",
		          out_bytes(a[0], c->rules_off));
	out_print(o, "\n");
}

static int look_fresh(struct check *c, const char *name, struct faults *faults, uint64_t *digest)
{
	struct view v;
	uint64_t size;
	int fd, err = view_file(name, &fd, &size);
	if (err)
		return err;
	err = view_open_fd(&v, fd, true);
	if (!err) {
		*digest = v.digest;
		err = look(c, &v, fd, faults);
		c->v = NULL;
		view_close(&v);
	}
	sys_close(fd);
	return err;
}

int shmb_check_name(const char *name, shmb_write_cb *write, void *opaque)
{
	struct out o = {write, opaque};
	struct faults faults[2];
	struct check c;
	uint64_t seen[2] = {0, 1};
	int err = 0;
	for (unsigned i = 0; i < LOOKS && !err; i++) {
		err = look_fresh(&c, name, &faults[i > 0], &seen[i % 2]);
		if (err)
			break;
		if (i > 0)
			agree(&faults[0], &faults[1]);
		if (i > 0 && (!faults[0].n || seen[0] == seen[1]))
			break;
	}
	if (err)
		return err;
	report(&o, &c, &faults[0], name, seen[0] == seen[1]);
	return faults[0].n ? SHMB_ECORRUPT : 0;
}
