/* out.c - text in pieces to whoever asked for it. See out.h. */
#include "out.h"

#include "sys.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

void out_print(const struct out *o, const char *format, ...)
{
	char text[1024];
	va_list ap;
	va_start(ap, format);
	vsnprintf(text, sizeof text, format, ap);
	va_end(ap);
	if (o->write)
		o->write(o->opaque, text);
	else
		(void)sys_write(STDERR_FILENO, text, strlen(text)); /* nobody else to tell */
}

/* Bytes of the UTF-8 sequence at `s`; 0: none. */
static unsigned utf8_length(const unsigned char *s)
{
	unsigned n = *s < 0x80 ? 1 : *s >= 0xc2 && *s < 0xe0 ? 2 : *s >= 0xe0 && *s < 0xf0 ? 3 : *s >= 0xf0 && *s < 0xf5 ? 4 : 0;
	for (unsigned i = 1; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	if (n == 3 && ((*s == 0xe0 && s[1] < 0xa0) || (*s == 0xed && s[1] >= 0xa0)))
		return 0; /* overlong, or a surrogate */
	if (n == 4 && ((*s == 0xf0 && s[1] < 0x90) || (*s == 0xf4 && s[1] >= 0x90)))
		return 0;
	return n;
}

void out_json_string(const struct out *o, const char *s)
{
	char text[6 * 256 + 3];
	size_t n = 0;
	text[n++] = '"';
	for (const unsigned char *p = (const unsigned char *)s; *p && n < sizeof text - 8;) {
		unsigned len = utf8_length(p);
		if (len == 1 && (*p < 0x20 || *p == '"' || *p == '\\' || *p == 0x7f))
			n += (size_t)snprintf(text + n, sizeof text - n, "\\u%04x", *p);
		else if (len)
			n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", (int)len, (const char *)p);
		else
			n += (size_t)snprintf(text + n, sizeof text - n, "\\ufffd");
		p += len ? len : 1;
	}
	text[n++] = '"';
	text[n] = 0;
	for (size_t at = 0; at < n; at += 512)
		out_print(o, "%.512s", text + at);
}

const char *out_bytes(char buf[24], uint64_t bytes)
{
	static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
	double v = (double)bytes;
	unsigned u = 0;
	for (; v >= 1024 && u < 5; u++)
		v /= 1024;
	snprintf(buf, 24, u && v < 100 ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}
