#include "vmm/failure.h"

#include <stdarg.h>
#include <stdio.h>

int fail(struct failure *f, enum exit_code code, const char *format, ...)
{
	va_list arguments;

	if (f->code)
		return f->code;
	f->code = (int)code;
	va_start(arguments, format);
	vsnprintf(f->text, sizeof(f->text), format, arguments);
	va_end(arguments);
	return f->code;
}
