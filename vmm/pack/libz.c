#include "vmm/pack/libz.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>

#define FIND(z, field, name) (((z)->field = (typeof((z)->field))dlsym((z)->library, name)) != NULL)

static bool find_all(struct libz *z)
{
	return FIND(z, inflate_init, "inflateInit2_") && FIND(z, inflate, "inflate") &&
	       FIND(z, inflate_reset, "inflateReset") && FIND(z, inflate_end, "inflateEnd") &&
	       FIND(z, deflate_init, "deflateInit2_") && FIND(z, deflate, "deflate") &&
	       FIND(z, deflate_end, "deflateEnd");
}

int libz_open(struct libz *z, const char *soname, struct failure *f)
{
	*z = (struct libz){.library = dlopen(soname, RTLD_NOW)};
	if (z->library && find_all(z))
		return 0;
	libz_close(z);
	return fail(f, EXIT_HOST, "gzip needs %s, which cannot be used: install zlib1g", soname);
}

void libz_close(struct libz *z)
{
	if (z->library)
		dlclose(z->library);
	z->library = NULL;
}
