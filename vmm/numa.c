#include "vmm/numa.h"

#include <dlfcn.h>
#include <numa.h>
#include <stddef.h>

#include "vmm/sys.h"

#define NODES_WITH_MEMORY "/sys/devices/system/node/has_memory"

static void add_node(void *self, unsigned node)
{
	struct numa *n = self;

	if (n->nodes < NUMA_NODES_MAX)
		n->node[n->nodes++] = node;
}

int numa_open(struct numa *n, struct failure *f)
{
	int (*available)(void);
	char list[256];

	*n = (struct numa){0};
	if (!sys_line(NODES_WITH_MEMORY, list, sizeof(list)) || !sys_list(list, add_node, n) || n->nodes == 0) {
		n->nodes = 1; /* a kernel without NUMA shows no nodes */
		n->node[0] = 0;
	}
	if (n->nodes == 1)
		return 0;
	n->library = dlopen("libnuma.so.1", RTLD_NOW);
	available = n->library ? (int (*)(void))dlsym(n->library, "numa_available") : NULL;
	if (!available || available() < 0) {
		numa_close_library(n);
		return fail(f, EXIT_HOST, "this host has %u memory nodes and libnuma cannot be used: install libnuma1",
			    n->nodes);
	}
	return 0;
}

void numa_close_library(struct numa *n)
{
	if (n->library)
		dlclose(n->library);
	n->library = NULL;
}

unsigned numa_roomiest(const struct numa *n)
{
	typeof(numa_node_size64) *size = n->library ? dlsym(n->library, "numa_node_size64") : NULL;
	unsigned best = n->node[0];
	long long most = -1;

	for (unsigned i = 0; size && i < n->nodes; i++) {
		long long unused = 0;

		size((int)n->node[i], &unused);
		if (unused > most) {
			most = unused;
			best = n->node[i];
		}
	}
	return best;
}

void numa_place(const struct numa *n, void *host, uint64_t bytes, unsigned node)
{
	typeof(numa_set_bind_policy) *strict = n->library ? dlsym(n->library, "numa_set_bind_policy") : NULL;
	typeof(numa_tonode_memory) *place = n->library ? dlsym(n->library, "numa_tonode_memory") : NULL;

	if (!strict || !place)
		return;
	strict(0); /* bound strictly, a guest larger than its node would be killed beside free memory */
	place(host, bytes, (int)node);
}
