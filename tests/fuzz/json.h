/* json.h - is a text JSON, in valid UTF-8? Written from RFC 8259, for tests. */
#ifndef FUZZ_JSON_H
#define FUZZ_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct json {
	const unsigned char *at, *end;
	unsigned depth;
};

static bool json_value(struct json *j);

static inline void json_blank(struct json *j)
{
	while (j->at < j->end && strchr(" \t\r\n", *j->at) && *j->at)
		j->at++;
}

static inline bool json_char(struct json *j, unsigned char c)
{
	json_blank(j);
	if (j->at == j->end || *j->at != c)
		return false;
	j->at++;
	return true;
}

/* A sequence of more than one byte. */
static inline bool json_utf8(struct json *j)
{
	unsigned char c = *j->at++;
	unsigned n = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
	unsigned long code = c & (0x3fu >> n);
	if (c < 0xc2 || c > 0xf4 || (size_t)(j->end - j->at) < n)
		return false;
	for (unsigned i = 0; i < n; i++, j->at++) {
		if ((*j->at & 0xc0) != 0x80)
			return false;
		code = code << 6 | (*j->at & 0x3f);
	}
	return code >= (n == 1 ? 0x80u : n == 2 ? 0x800u : 0x10000u) && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

static inline bool json_escape(struct json *j)
{
	if (j->at == j->end || !strchr("\"\\/bfnrtu", *j->at) || !*j->at)
		return false;
	if (*j->at++ != 'u')
		return true;
	for (unsigned i = 0; i < 4; i++, j->at++)
		if (j->at == j->end || !strchr("0123456789abcdefABCDEF", *j->at) || !*j->at)
			return false;
	return true;
}

static inline bool json_string(struct json *j)
{
	if (!json_char(j, '"'))
		return false;
	while (j->at < j->end && *j->at != '"') {
		if (*j->at < 0x20)
			return false;
		if (*j->at >= 0x80) {
			if (!json_utf8(j))
				return false;
		} else if (*j->at++ == '\\' && !json_escape(j)) {
			return false;
		}
	}
	return j->at < j->end && *j->at++ == '"';
}

static inline bool json_number_or_word(struct json *j)
{
	const unsigned char *from = j->at;
	while (j->at < j->end && *j->at && strchr("+-.0123456789aeflnrstuE", *j->at))
		j->at++;
	size_t n = (size_t)(j->at - from);
	bool digits = n > 0;
	for (size_t i = from[0] == '-'; i < n; i++)
		digits &= strchr(".eE+-0123456789", from[i]) != NULL;
	return digits || (n == 4 && (!memcmp(from, "true", 4) || !memcmp(from, "null", 4))) ||
	       (n == 5 && !memcmp(from, "false", 5));
}

static inline bool json_list(struct json *j, unsigned char open, unsigned char close)
{
	if (!json_char(j, open) || ++j->depth > 64)
		return false;
	if (json_char(j, close))
		return j->depth--;
	do {
		if (open == '{' && (!json_string(j) || !json_char(j, ':')))
			return false;
		if (!json_value(j))
			return false;
	} while (json_char(j, ','));
	j->depth--;
	return json_char(j, close);
}

static bool json_value(struct json *j)
{
	json_blank(j);
	if (j->at == j->end)
		return false;
	switch (*j->at) {
	case '{': return json_list(j, '{', '}');
	case '[': return json_list(j, '[', ']');
	case '"': return json_string(j);
	default: return json_number_or_word(j);
	}
}

static inline bool json_valid(const char *text, size_t len)
{
	struct json j = {(const unsigned char *)text, (const unsigned char *)text + len, 0};
	if (!json_value(&j))
		return false;
	json_blank(&j);
	return j.at == j.end;
}

#endif
