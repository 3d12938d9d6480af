#include "vmm/huge_pages.h"

#include <inttypes.h>
#include <stdio.h>

#include "vmm/sys.h"

struct directory {
	char path[256];
};

static struct directory directory_of(const char *root, enum pagetable_size size, unsigned node)
{
	const unsigned kib = (unsigned)(pagetable_size_bytes(size) >> 10);
	struct directory d;

	if (node == HUGE_PAGES_ANY)
		snprintf(d.path, sizeof(d.path), "%s/sys/kernel/mm/hugepages/hugepages-%ukB", root, kib);
	else
		snprintf(d.path, sizeof(d.path), "%s/sys/devices/system/node/node%u/hugepages/hugepages-%ukB", root,
			 node, kib);
	return d;
}

static bool count(const struct directory *d, const char *key, uint64_t *out)
{
	char path[sizeof(d->path) + 32];

	snprintf(path, sizeof(path), "%s/%s", d->path, key);
	return sys_number(path, out);
}

struct huge_pages huge_pages_read(const char *root, enum pagetable_size size, unsigned node)
{
	const struct directory own = directory_of(root, size, node), all = directory_of(root, size, HUGE_PAGES_ANY);
	struct huge_pages h = {0};
	uint64_t free_all = 0, promised = 0;

	h.known = count(&own, "nr_hugepages", &h.total) && count(&own, "free_hugepages", &h.free);
	if (!h.known)
		return (struct huge_pages){0};
	(void)count(&all, "free_hugepages", &free_all);
	(void)count(&all, "resv_hugepages", &promised);
	h.available = free_all > promised ? free_all - promised : 0;
	if (h.available > h.free)
		h.available = h.free;
	return h;
}

int huge_pages_check(const char *root, enum pagetable_size size, unsigned node, uint64_t asked, const char *option,
		     struct failure *f)
{
	const char *name = size == PAGETABLE_1G ? "1 GiB" : "2 MiB";
	const struct huge_pages here = huge_pages_read(root, size, node),
				all = huge_pages_read(root, size, HUGE_PAGES_ANY);

	if (!here.known)
		return fail(f, EXIT_HOST, "%s: node %u of this host has no %s huge pages", option, node, name);
	if (here.available >= asked)
		return 0;
	return fail(f, EXIT_HOST,
		    "%s asks for %" PRIu64 " huge pages of %s on node %u: %" PRIu64 " are available there, %" PRIu64
		    " elsewhere; get more as root: echo %" PRIu64 " >%s/nr_hugepages",
		    option, asked, name, node, here.available, all.available - here.available,
		    here.total + asked - here.available, directory_of(root, size, node).path);
}
