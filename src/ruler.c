/*
 * ruler.c - the rules of a preloaded program, seen and changed by somebody
 * outside who knows the region's name.
 *
 * To see them nothing is attached to (view.c). To change them takes a tenure,
 * for the lock and for what recovery does when the changer dies (rules.c).
 */
#include "rules.h"
#include "ruling.h"
#include "slot.h"
#include "sys.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

enum { TRIES = 100, TRY_MS = 10 };

/* ---- changing ------------------------------------------------------------------------ */

struct wish {
	const char *rules; /* NULL: those that are there */
	bool off;
	char *bad;
	size_t room;
};

/* Too much for a stack. */
struct desk {
	char text[RULES_TEXT];
	struct rule rules[RULES];
	unsigned n;
};

static void tell_bad(const struct wish *w, struct word bad)
{
	size_t n = bad.len < w->room ? bad.len : w->room - 1;
	if (!w->room)
		return;
	memcpy(w->bad, bad.s, n);
	w->bad[n] = 0;
}

static int parse(struct desk *d, const struct wish *w)
{
	struct word bad = {d->text, 0};
	if (rule_parse(d->text, d->rules, &d->n, &bad))
		return 0;
	tell_bad(w, bad);
	return EINVAL;
}

/* EAGAIN: try again. */
static int change_try(struct shmb_arena *a, struct desk *d, const struct wish *w)
{
	bool off;
	if (!atomic_load(&a->hdr->rules_gen))
		return SHMB_ENORULES;
	if (!w->rules) {
		if (!rules_read(a, d->text, &off))
			return EAGAIN;
		if (parse(d, w))
			return SHMB_ECORRUPT;
	}
	int err = rules_publish(a, d->text, d->rules, d->n, w->off);
	return err == EBUSY ? EAGAIN : err;
}

static int change(const char *name, struct desk *d, const struct wish *w)
{
	shmb_options opt = {.flags = SHMB_ATTACH_ONLY};
	shmb_arena *a;
	size_t len = w->rules ? strlen(w->rules) : 0;
	if (len >= RULES_TEXT)
		return E2BIG;
	if (w->rules)
		memcpy(d->text, w->rules, len + 1);
	int err = w->rules ? parse(d, w) : 0;
	if (!err)
		err = shmb_arena_open(name, &opt, &a);
	if (err)
		return err;
	err = EAGAIN;
	for (unsigned i = 0; i < TRIES && err == EAGAIN; i++) {
		err = change_try(a, d, w);
		if (err == EAGAIN)
			(void)sys_futex_wait(&a->hdr->ruler, atomic_load(&a->hdr->ruler), TRY_MS);
	}
	int closed = shmb_arena_close(a);
	return err == EAGAIN ? EBUSY : err ? err : closed;
}

static int change_at_desk(const char *name, const struct wish *w)
{
	void *desk;
	int err = sys_map(NULL, sizeof(struct desk), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0, &desk);
	if (err)
		return err;
	err = change(name, desk, w);
	sys_unmap(desk, sizeof(struct desk));
	return err;
}

int shmb_rules_set(const char *name, const char *rules, char *bad, size_t room)
{
	struct wish w = {.rules = rules, .bad = bad, .room = room};
	if (room)
		*bad = 0;
	return change_at_desk(name, &w);
}

int shmb_rules_switch(const char *name, int on)
{
	struct wish w = {.off = !on};
	return change_at_desk(name, &w);
}

/* ---- looking --------------------------------------------------------------------------- */

/* A process that has not allocated since goes by the rules that it knows. */
static void text_processes(const struct out *o, const struct view *v, uint32_t gen)
{
	for (unsigned i = 0; i < v->slots_n; i++) {
		const struct slot_shm *s = &v->slots[i];
		uint32_t follows = atomic_load(&s->rules);
		if (!follows || !view_holder_live(v, holder_make(i, atomic_load(&s->word) >> 8)))
			continue;
		if (follows != gen)
			out_print(o, "  pid %d has not allocated since the last change\n", (int)atomic_load(&s->pid));
		else if (atomic_load(&s->refused) == gen)
			out_print(o, "  pid %d cannot follow them and goes by earlier ones\n", (int)atomic_load(&s->pid));
	}
}

static void json_processes(const struct out *o, const struct view *v)
{
	const char *comma = "";
	out_print(o, ",\"processes\":[");
	for (unsigned i = 0; i < v->slots_n; i++) {
		const struct slot_shm *s = &v->slots[i];
		uint32_t follows = atomic_load(&s->rules);
		if (!follows || !view_holder_live(v, holder_make(i, atomic_load(&s->word) >> 8)))
			continue;
		out_print(o, "%s{\"pid\":%d,\"generation\":%u,\"refused\":%s}", comma, (int)atomic_load(&s->pid), follows,
		          atomic_load(&s->refused) == follows ? "true" : "false");
		comma = ",";
	}
	out_print(o, "]");
}

static void print(const struct out *o, const char *name, const struct view *v, const struct ruling *r, bool json)
{
	uint32_t gen = r->bank ? atomic_load(&r->bank->gen) : 0;
	if (!json) {
		out_print(o, "region %s: rules, generation %u\n", name, gen);
		text_processes(o, v, gen);
		ruling_text(o, r);
		return;
	}
	out_print(o, "{\"schema\":1,\"region\":");
	out_json_string(o, name);
	out_print(o, ",\"generation\":%u,", gen);
	ruling_json(o, r);
	json_processes(o, v);
	out_print(o, "}\n");
}

static int show(const struct out *o, const char *name, int fd, bool json)
{
	struct view v;
	struct ruling r;
	uint64_t counts[256];
	int err = view_open_tables(&v, fd);
	if (err)
		return err;
	err = atomic_load(&v.h.rules_gen) ? ruling_look(&r, &v, fd, counts) : SHMB_ENORULES;
	if (!err)
		print(o, name, &v, &r, json);
	view_close(&v);
	return err;
}

int shmb_rules_name(const char *name, shmb_write_cb *write, void *opaque, const char *opts)
{
	struct out o = {write, opaque};
	char label[REGION_NAME];
	int fd;
	int err = view_file_label(name, &fd, label);
	if (err)
		return err;
	err = show(&o, label, fd, opts && strchr(opts, 'J'));
	sys_close(fd);
	return err;
}
