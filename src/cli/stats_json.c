/* stats_json.c - a region's statistics as json-c has them. See stats_json.h. */
#include "stats_json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct text {
	char *bytes;
	size_t len, room;
	bool failed;
};

static void append(void *opaque, const char *piece)
{
	struct text *t = opaque;
	size_t n = strlen(piece);
	if (t->failed)
		return;
	if (t->room - t->len <= n) {
		size_t room = 2 * (t->len + n) + 4096;
		char *more = realloc(t->bytes, room);
		if (!more) {
			t->failed = true;
			return;
		}
		t->bytes = more;
		t->room = room;
	}
	memcpy(t->bytes + t->len, piece, n + 1);
	t->len += n;
}

static int parse(const struct text *t, struct json_object **out)
{
	struct json_tokener *tok = json_tokener_new();
	if (!tok)
		return ENOMEM;
	json_tokener_set_flags(tok, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8 | JSON_TOKENER_ALLOW_TRAILING_CHARS);
	*out = json_tokener_parse_ex(tok, t->bytes, (int)t->len);
	json_tokener_free(tok);
	return *out ? 0 : EPROTO; /* no region makes the library write anything else */
}

int stats_json(const char *name, struct json_object **out)
{
	struct text t = {NULL, 0, 0, false};
	int err = shmb_stats_name(name, append, &t, "J");
	if (!err)
		err = t.failed ? ENOMEM : parse(&t, out);
	free(t.bytes);
	return err;
}

struct json_object *json_at(struct json_object *of, const char *path)
{
	char key[32];
	for (;;) {
		size_t n = strcspn(path, ".");
		snprintf(key, sizeof key, "%.*s", (int)n, path);
		if (!json_object_object_get_ex(of, key, &of))
			return NULL;
		if (!path[n])
			return of;
		path += n + 1;
	}
}

uint64_t json_number(struct json_object *of, const char *path)
{
	struct json_object *o = json_at(of, path);
	return o ? json_object_get_uint64(o) : 0;
}

const char *json_text(struct json_object *of, const char *path)
{
	struct json_object *o = json_at(of, path);
	return o ? json_object_get_string(o) : "";
}
