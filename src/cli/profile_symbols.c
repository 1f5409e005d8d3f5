/*
 * profile_symbols.c - which function a site lies in, and at which line, from
 * the files of its module: the symbols of the object, or of separate debug
 * information where it is installed (elfutils finds it).
 */
#include "profile.h"

#include <dlfcn.h>
#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef char *demangle_fn(const char *mangled, char *buf, size_t *len, int *status);

/* Of the C++ library, where there is one. */
static demangle_fn *demangler(void)
{
	static demangle_fn *f;
	static bool tried;
	void *library = tried ? NULL : dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
	tried = true;
	if (library)
		f = (demangle_fn *)dlsym(library, "__cxa_demangle");
	return f;
}

static char *readable(const char *name)
{
	int status;
	char *plain = !strncmp(name, "_Z", 2) && demangler() ? demangler()(name, NULL, NULL, &status) : NULL;
	return plain ? plain : strdup(name);
}

/* The unit that has the code there. clang writes no table of addresses, by which dwfl_module_getsrc() looks for it. */
static Dwarf_Die *unit_at(Dwfl_Module *m, GElf_Addr at, Dwarf_Addr *bias)
{
	Dwarf_Die *unit = NULL;
	while ((unit = dwfl_module_nextcu(m, unit, bias)) && dwarf_haspc(unit, at - *bias) <= 0)
		;
	return unit;
}

/* NULL: not known. */
static const char *source_of(Dwfl_Module *m, GElf_Addr at, int *number)
{
	Dwarf_Addr bias;
	Dwfl_Line *line = dwfl_module_getsrc(m, at);
	if (line)
		return dwfl_lineinfo(line, NULL, number, NULL, NULL, NULL);
	Dwarf_Die *unit = unit_at(m, at, &bias);
	Dwarf_Line *found = unit ? dwarf_getsrc_die(unit, at - bias) : NULL;
	return found && !dwarf_lineno(found, number) ? dwarf_linesrc(found, NULL, NULL) : NULL;
}

/* The call, not what it returns to: that may be another line or function. */
static void name_site(Dwfl_Module *m, GElf_Addr bias, struct site *s)
{
	GElf_Off into;
	GElf_Sym symbol;
	int line;
	char text[512];
	GElf_Addr at = s->offset - 1 + bias;
	const char *name = dwfl_module_addrinfo(m, at, &into, &symbol, NULL, NULL, NULL);
	if (name && (!symbol.st_size || into < symbol.st_size))
		s->function = readable(name);
	const char *file = source_of(m, at, &line);
	if (!file)
		return;
	const char *slash = strrchr(file, '/');
	snprintf(text, sizeof text, "%s:%d", slash ? slash + 1 : file, line);
	s->source = strdup(text);
}

static void name_sites(struct profile *p, int module, Dwfl_Module *m)
{
	GElf_Addr bias;
	if (!dwfl_module_getelf(m, &bias))
		return;
	for (unsigned i = 0; i < p->sites_n; i++)
		if (p->sites[i].module == module)
			name_site(m, bias, &p->sites[i]);
}

/* Else opening it may wait for ever: the names come from strangers. */
static bool is_file(const char *path)
{
	struct stat st;
	return !stat(path, &st) && S_ISREG(st.st_mode);
}

void profile_symbols(struct profile *p)
{
	static const Dwfl_Callbacks callbacks = {.find_elf = dwfl_build_id_find_elf,
	                                         .find_debuginfo = dwfl_standard_find_debuginfo,
	                                         .section_address = dwfl_offline_section_address};
	for (unsigned i = 0; i < p->modules_n; i++) {
		Dwfl *d = is_file(p->modules[i].path) ? dwfl_begin(&callbacks) : NULL;
		if (!d)
			continue;
		dwfl_report_begin(d);
		Dwfl_Module *m = dwfl_report_offline(d, "", p->modules[i].path, -1);
		dwfl_report_end(d, NULL, NULL);
		if (m)
			name_sites(p, (int)i, m);
		dwfl_end(d);
	}
}
