#include "vmm/pack/libsqlite.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

static bool find_all(struct libsqlite *s)
{
	bool all = true;

#define X(f) all &= (s->f = (typeof(s->f))dlsym(s->library, "sqlite3_" #f)) != NULL;
	LIBSQLITE_FUNCTIONS(X)
#undef X
	return all;
}

int libsqlite_open(struct libsqlite *s, const char *soname, struct failure *f)
{
	*s = (struct libsqlite){.library = dlopen(soname, RTLD_NOW)};
	if (s->library && find_all(s))
		return 0;
	libsqlite_close(s);
	return fail(f, EXIT_HOST, "this format needs %s, which cannot be used: install libsqlite3-0", soname);
}

void libsqlite_close(struct libsqlite *s)
{
	if (s->library)
		dlclose(s->library);
	s->library = NULL;
}
