/* Zones, nodes and placement: what is taken, each sentence that refuses, and the topology that it makes. */
#include <check.h>
#undef fail
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/random.h"
#include "vmm/options.h"

Suite *options_numa_suite(void);

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define WORDS_MAX 64
#define GIB	  (UINT64_C(1) << 30)
#define MIB	  (UINT64_C(1) << 20)

static char copy[8192]; /* what the options borrow from */

/* Splits at blanks; an argument cannot hold one here. */
static int parse(const char *line, struct run_options *o, struct failure *f)
{
	char *argv[WORDS_MAX];
	int argc = 0;

	*f = (struct failure){0};
	*o = (struct run_options){0};
	ck_assert_uint_lt(strlen(line), sizeof(copy));
	strcpy(copy, line);
	for (char *word = strtok(copy, " "); word; word = strtok(NULL, " ")) {
		ck_assert_int_lt(argc, WORDS_MAX);
		argv[argc++] = word;
	}
	return options_parse(argc, argv, o, f);
}

static void take(const char *line, struct run_options *o)
{
	struct failure f;

	ck_assert_msg(parse(line, o, &f) == 0, "%s: %s", line, f.text);
}

static void refuse(const char *line, const char *sentence)
{
	struct run_options o;
	struct failure f;

	ck_assert_int_eq(parse(line, &o, &f), EXIT_USAGE);
	ck_assert_str_eq(f.text, sentence);
}

/* ---- zones ---- */

START_TEST(zones_of_every_backing)
{
	struct run_options o;

	take("k --memory size=0,thp=off,mlock=on --memory-zone id=a,size=1G,host_numa_node=0,prefault=on "
	     "--memory-zone=id=b,size=4K,backing=memfd,reserve=on --memory-zone size=2G,id=c-_.9,backing=hugetlb,"
	     "hugepage_size=1G,host_numa_node=[0-3,8],weighted=on --memory-zone "
	     "id=d,backing=devdax,file=/dev/dax0.0,size=6M",
	     &o);
	ck_assert_uint_eq(o.numa.zones, 4);
	ck_assert_uint_eq(o.memory.bytes, 3 * GIB + 4096 + 6 * MIB);
	ck_assert_uint_eq(o.pool.bytes, o.memory.bytes);
	ck_assert(o.memory.mlock && !o.memory.thp);
	ck_assert_str_eq(o.numa.zone[0].id, "a");
	ck_assert_int_eq(o.numa.zone[0].backing, OPTIONS_ANON);
	ck_assert(o.numa.zone[0].prefault && !o.numa.zone[0].reserve);
	ck_assert(options_has_number(&o.numa.zone[0].host, 0) && !options_has_number(&o.numa.zone[0].host, 1));
	ck_assert_uint_eq(o.numa.zone[1].bytes, 4096);
	ck_assert_int_eq(o.numa.zone[1].backing, OPTIONS_MEMFD);
	ck_assert(!o.numa.zone[1].prefault && o.numa.zone[1].reserve && !options_any_number(&o.numa.zone[1].host));
	ck_assert_str_eq(o.numa.zone[2].id, "c-_.9");
	ck_assert(o.numa.zone[2].weighted && !o.numa.zone[0].weighted);
	ck_assert_int_eq(o.numa.zone[2].backing, OPTIONS_HUGETLB);
	ck_assert_int_eq(o.numa.zone[2].huge, PAGETABLE_1G);
	for (unsigned n = 0; n < OPTIONS_HOST_NODES_MAX + 2; n++)
		ck_assert_int_eq(options_has_number(&o.numa.zone[2].host, n), n <= 3 || n == 8);
	ck_assert_int_eq(o.numa.zone[3].backing, OPTIONS_DEVDAX);
	ck_assert_uint_eq(o.numa.zone[3].file.bytes, 11);
	ck_assert_mem_eq(o.numa.zone[3].file.start, "/dev/dax0.0", 11);
}
END_TEST

/* Those of cloud-hypervisor's manual. */
START_TEST(words_of_another_hypervisor)
{
	struct run_options o;

	take("k --memory size=0 --memory-zone id=mem0,size=1G,shared=on id=mem1,size=1G,hugepages=on,shared=on,"
	     "hugepage_size=2M id=mem2,size=1G,hugepages=off,shared=off --numa "
	     "guest_numa_id=0,memory_zones=[mem0,mem2] guest_numa_id=1,memory_zones=mem1",
	     &o);
	ck_assert_uint_eq(o.numa.zones, 3);
	ck_assert_int_eq(o.numa.zone[0].backing, OPTIONS_MEMFD);
	ck_assert_int_eq(o.numa.zone[1].backing, OPTIONS_HUGETLB);
	ck_assert_int_eq(o.numa.zone[1].huge, PAGETABLE_2M);
	ck_assert_int_eq(o.numa.zone[2].backing, OPTIONS_ANON);
	ck_assert_uint_eq(o.numa.zone_node[0], 0);
	ck_assert_uint_eq(o.numa.zone_node[1], 1);
	ck_assert_uint_eq(o.numa.zone_node[2], 0);
	take("--cpus boot=8 --numa guest_numa_id=0,cpus=[1-3,7],memory_zones=mem0 guest_numa_id=1,cpus=[0,4-6] k", &o);
	for (unsigned cpu = 0; cpu < 8; cpu++)
		ck_assert_uint_eq(o.numa.cpu_node[cpu], cpu == 0 || (cpu >= 4 && cpu <= 6));
	take("k --memory-zone id=a,size=1G,backing=memfd,shared=on id=b,size=2M,backing=hugetlb,shared=on", &o);
	ck_assert_int_eq(o.numa.zone[0].backing, OPTIONS_MEMFD);
	ck_assert_int_eq(o.numa.zone[1].backing, OPTIONS_HUGETLB);
}
END_TEST

/* A word that follows is one more value only if it begins with a key; -- ends that, too. */
START_TEST(several_values_of_one_option)
{
	struct run_options o;

	take("--memory-zone id=a,size=1G --cpus boot=2 -- id=b,size=1G", &o);
	ck_assert_uint_eq(o.numa.zones, 1);
	ck_assert_str_eq(o.image, "id=b,size=1G");
	take("--memory-zone=id=a,size=1G id=b,size=1G k=1", &o);
	ck_assert_uint_eq(o.numa.zones, 2);
	ck_assert_str_eq(o.image, "k=1");
	refuse("--memory-zone id=a,size=1G id=a,size=1G k", "--memory-zone id=a: another zone has it already");
}
END_TEST

/* Each sentence names the option, the value and the limit. */
static const struct {
	const char *line, *sentence;
} refusals[] = {
	{"k --memory-zone", "--memory-zone needs a value"},
	{"k --memory-zone size=1G", "--memory-zone size=1G: an id is missing, as in id=mem0,size=1G"},
	{"k --memory-zone id=a", "--memory-zone id=a: a size is missing, as in id=mem0,size=1G"},
	{"k --memory-zone id=,size=1G", "--memory-zone id: a value is missing, as in id=VALUE"},
	{"k --memory-zone id=a/b,size=1G", "--memory-zone id=a/b: an id has letters, digits, and - _ . only"},
	{"k --memory-zone id=12345678901234567890123456789012,size=1G",
	 "--memory-zone id=12345678901234567890123456789012: an id has 31 characters at most"},
	{"k --memory-zone id=a,size=1G --memory-zone size=2G,id=a", "--memory-zone id=a: another zone has it already"},
	{"k --memory-zone id=a,size=0",
	 "--memory-zone size=0: not a size that is a multiple of 4K, at most 4096 TiB, such as 1G"},
	{"k --memory-zone id=a,size=4097",
	 "--memory-zone size=4097: not a size that is a multiple of 4K, at most 4096 TiB, such as 1G"},
	{"k --memory-zone id=a,size=1X",
	 "--memory-zone size=1X: not a size that is a multiple of 4K, at most 4096 TiB, such as 1G"},
	{"k --memory-zone id=a,size=16777216T", /* 2^64 */
	 "--memory-zone size=16777216T: not a size that is a multiple of 4K, at most 4096 TiB, such as 1G"},
	{"k --memory-zone id=a,size=1E",
	 "--memory-zone size=1E: not a size that is a multiple of 4K, at most 4096 TiB, such as 1G"},
	{"k --memory-zone id=a,size=4097T", "--memory-zone size=4097T: a guest addresses 4096 TiB at most"},
	{"k --memory-zone id=a,size=4096T --memory-zone id=b,size=4K",
	 "--memory-zone: all of them have 4398046511108 KiB; a guest addresses 4096 TiB at most"},
	{"k --memory size=4097T", "--memory size=4097 TiB: a guest addresses 4096 TiB at most"},
	{"k --memory size=18446744073709547520 --placement policy=local",
	 "--memory size=18014398509481980 KiB: a guest addresses 4096 TiB at most"},
	{"k --memory-zone id=a,size=1M --memory-zone id=b,size=1020K",
	 "--memory-zone: all of them have 2044 KiB; a guest needs 2 MiB at least"},
	{"k --memory-zone id=a,size=1G,backing=thp",
	 "--memory-zone backing=thp: the value is anon, memfd, hugetlb or devdax"},
	{"k --memory-zone id=a,size=3M,backing=hugetlb",
	 "--memory-zone id=a,size=3 MiB: with huge pages, a multiple of 2M"},
	{"k --memory-zone id=a,size=1026M,hugepages=on,hugepage_size=1G",
	 "--memory-zone id=a,size=1026 MiB: with huge pages, a multiple of 1G"},
	{"k --memory-zone id=a,size=1G,backing=hugetlb,hugepage_size=4M",
	 "--memory-zone hugepage_size=4M: huge pages are of 2M or 1G"},
	{"k --memory-zone id=a,size=1G,hugepage_size=2M",
	 "--memory-zone id=a: hugepage_size= is for backing=hugetlb, not anon"},
	{"k --memory-zone id=a,size=1G,hugepages=1", "--memory-zone hugepages=1: the value is on or off"},
	{"k --memory-zone id=a,size=1G,shared=1", "--memory-zone shared=1: the value is on or off"},
	{"k --memory-zone id=a,size=1G,hugepages=on,backing=memfd",
	 "--memory-zone id=a: hugepages=on is backing=hugetlb, not backing=memfd"},
	{"k --memory-zone id=a,size=1G,shared=on,backing=anon",
	 "--memory-zone id=a: shared=on is backing=memfd, not backing=anon"},
	{"k --memory-zone id=a,size=1G,backing=devdax",
	 "--memory-zone id=a: backing=devdax needs a file, as in file=/dev/dax0.0"},
	{"k --memory-zone id=a,size=1G,backing=memfd,file=/x",
	 "--memory-zone id=a: file=/x is for backing=devdax, not memfd"},
	{"k --memory-zone id=a,size=1G,backing=devdax,file=/x id=b,size=1G,backing=devdax,file=/x",
	 "--memory-zone id=b: file=/x is zone a's already"},
	{"k --memory-zone id=a,size=1G,file=/x", "--memory-zone id=a: file=/x is for backing=devdax, not anon"},
	{"k --memory-zone id=a,size=1G,prefault=1", "--memory-zone prefault=1: the value is on or off"},
	{"k --memory-zone id=a,size=1G,reserve=1", "--memory-zone reserve=1: the value is on or off"},
	{"k --memory-zone id=a,size=1G,mergeable=on",
	 "--memory-zone: unknown key 'mergeable'; the keys are: id, size, backing, hugepages, hugepage_size, shared, "
	 "file, host_numa_node, prefault, reserve, weighted"},
	{"k --memory-zone id=a,size=1G,weighted=on,host_numa_node=1",
	 "--memory-zone id=a: weighted=on is for several nodes, as in host_numa_node=0-1"},
	{"k --memory-zone id=a,size=1G,weighted=on",
	 "--memory-zone id=a: weighted=on is for several nodes, as in host_numa_node=0-1"},
	{"k --memory-zone id=a,size=1G,host_numa_node=1024",
	 "--memory-zone host_numa_node=1024: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,size=1G,host_numa_node=3-1",
	 "--memory-zone host_numa_node=3-1: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,host_numa_node=1-,size=1G",
	 "--memory-zone host_numa_node=1-: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,host_numa_node=-1,size=1G",
	 "--memory-zone host_numa_node=-1: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,host_numa_node=1,,size=1G",
	 "--memory-zone host_numa_node=1,: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,size=1G,host_numa_node=1,",
	 "--memory-zone host_numa_node=1,: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,size=1G,host_numa_node=[]",
	 "--memory-zone host_numa_node=[]: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --memory-zone id=a,size=1G,host_numa_node=0000000000000001",
	 "--memory-zone host_numa_node=0000000000000001: not numbers of nodes of the host from 0 to 1023, such as "
	 "0-3,8"},
	{"k --memory-zone id=a,size=1G,host_numa_node=0,1,0-2", "--memory-zone host_numa_node=0,1,0-2: it has 0 twice"},
	{"k --memory-zone id=a,host_numa_node=[1,size=1G",
	 "--memory-zone host_numa_node=[1: a list that begins with [ ends with ]"},
	{"k --memory-zone id=a,host_numa_node=[,size=1G",
	 "--memory-zone host_numa_node=[: a list that begins with [ ends with ]"},
	{"k --memory-zone id=a,host_numa_node=[1]2,size=1G",
	 "--memory-zone host_numa_node=[1]2: a list that begins with [ ends with ]"},
	{"k --memory-zone id=a,host_numa_node,size=1G",
	 "--memory-zone host_numa_node: a value is missing, as in host_numa_node=VALUE"},
	{"k --memory-zone id=a,size=1G,host_numa_node=",
	 "--memory-zone host_numa_node: a value is missing, as in host_numa_node=VALUE"},
	{"k --memory-zone 1G", "--memory-zone 1G: write --memory-zone id=1G"},

	{"k --memory size=1G --memory-zone id=a,size=1G",
	 "--memory size=1 GiB: with --memory-zone, which have the sizes, size=0 or none"},
	{"k --memory hugepages=on --memory-zone id=a,size=1G",
	 "--memory hugepages=on: with --memory-zone, a key of each zone"},
	{"k --memory shared=on --memory-zone id=a,size=1G",
	 "--memory shared=on: with --memory-zone, a key of each zone"},
	{"k --memory prefault=on --memory-zone id=a,size=1G",
	 "--memory prefault=on: with --memory-zone, a key of each zone"},
	{"k --pool size=2G --memory-zone id=a,size=1G",
	 "--pool: not with --memory-zone, each of which has a pool of its own"},
	{"k --pool taken=0+4K --memory-zone id=a,size=1G",
	 "--pool: not with --memory-zone, each of which has a pool of its own"},

	{"k --numa cpus=0", "--numa cpus=0: an id is missing, as in guest_numa_id=0,cpus=0-3"},
	{"k --numa guest_numa_id=16,cpus=0", "--numa guest_numa_id=16: not a number from 0 to 15"},
	{"k --numa guest_numa_id=x", "--numa guest_numa_id=x: not a number from 0 to 15"},
	{"k --numa guest_numa_id=0,cpus=0 --numa guest_numa_id=0",
	 "--numa guest_numa_id=0: another --numa has it already"},
	{"k --numa guest_numa_id=1,cpus=0",
	 "--numa: no guest_numa_id=0; 1 nodes have the numbers 0 to 0, without a gap"},
	{"k --numa guest_numa_id=0,cpus=0 guest_numa_id=2",
	 "--numa: no guest_numa_id=1; 2 nodes have the numbers 0 to 1, without a gap"},
	{"k --numa guest_numa_id=0,cpus=0 guest_numa_id=1",
	 "--numa guest_numa_id=1: a node has CPUs or memory; give cpus= or memory_zones="},
	{"k --numa guest_numa_id=0,memory_zones=mem0 guest_numa_id=1,cpus=0,device_id=x",
	 "--numa: unknown key 'device_id'; the keys are: guest_numa_id, cpus, memory_zones, distances"},
	{"k --numa guest_numa_id=0,cpus=255", "--numa cpus=255: not numbers of CPUs from 0 to 254, such as 0-3,8"},
	{"k --numa guest_numa_id=0,cpus=0,1,0", "--numa cpus=0,1,0: it has 0 twice"},
	{"k --cpus boot=4 --numa guest_numa_id=0,cpus=0,1 cpus=[2,1],guest_numa_id=1",
	 "--numa cpus=[2,1]: CPU 1 is node 0's already"},
	{"k --numa guest_numa_id=0,cpus=[0,1] --cpus boot=1",
	 "--numa guest_numa_id=0: there is no CPU 1; --cpus boot=1 has 0 to 0"},
	{"k --numa guest_numa_id=0,memory_zones=mem1",
	 "--numa guest_numa_id=0: there is no --memory-zone id=mem1, only mem0, which is all RAM"},
	{"k --numa guest_numa_id=0,memory_zones=a,b --memory-zone id=a,size=1G",
	 "--numa guest_numa_id=0: there is no --memory-zone id=b"},
	{"k --numa guest_numa_id=0,memory_zones=a --memory-zone id=ab,size=1G",
	 "--numa guest_numa_id=0: there is no --memory-zone id=a"},
	{"k --numa guest_numa_id=0,memory_zones=aa --memory-zone id=a,size=1G",
	 "--numa guest_numa_id=0: there is no --memory-zone id=aa"},
	{"k --numa guest_numa_id=0,memory_zones=a,a --memory-zone id=a,size=1G",
	 "--numa guest_numa_id=0: memory zone a is node 0's already"},
	{"k --numa guest_numa_id=0,memory_zones=mem0 guest_numa_id=1,cpus=0,memory_zones=mem0",
	 "--numa guest_numa_id=1: memory zone mem0 is node 0's already"},
	{"k --numa guest_numa_id=0,memory_zones=a,,b", "--numa memory_zones=a,,b: a zone's id is missing"},
	{"k --numa guest_numa_id=0,memory_zones=[a", "--numa memory_zones=[a: a list that begins with [ ends with ]"},
	{"k --numa guest_numa_id=0,cpus=[0", "--numa cpus=[0: a list that begins with [ ends with ]"},
	{"k --numa guest_numa_id=0,distances=[1@20", "--numa distances=[1@20: a list that begins with [ ends with ]"},
	{"k --numa guest_numa_id=0,memory_zones=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17",
	 "--numa memory_zones=1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17: more than 16 of them"},
	{"k --numa guest_numa_id=0,distances=1",
	 "--numa distances=1: write NODE@DISTANCE, nodes 0 to 15, distances 10 to 255, such as 1@20"},
	{"k --numa guest_numa_id=0,distances=16@20",
	 "--numa distances=16@20: write NODE@DISTANCE, nodes 0 to 15, distances 10 to 255, such as 1@20"},
	{"k --numa guest_numa_id=0,distances=1@9",
	 "--numa distances=1@9: write NODE@DISTANCE, nodes 0 to 15, distances 10 to 255, such as 1@20"},
	{"k --numa guest_numa_id=0,distances=1@256",
	 "--numa distances=1@256: write NODE@DISTANCE, nodes 0 to 15, distances 10 to 255, such as 1@20"},
	{"k --numa guest_numa_id=0,distances=[1@20,1@20]", "--numa distances=[1@20,1@20]: it has node 1 twice"},
	{"k --numa guest_numa_id=0,distances=1@20", "--numa guest_numa_id=0,distances=1@20: there is no node 1"},
	{"k --numa guest_numa_id=0,distances=0@11", "--numa guest_numa_id=0,distances=0@11: a node has 10 to itself"},
	{"k --numa guest_numa_id=0,distances=1@10 guest_numa_id=1,cpus=0",
	 "--numa guest_numa_id=0,distances=1@10: to another node it is 11 to 255"},
	{"k --numa 0", "--numa 0: write --numa guest_numa_id=0"},

	{"k --placement policy=best",
	 "--placement policy=best: the value is local, pack, spread, interleave or contract"},
	{"k --placement local", "--placement: unknown key 'local'; the keys are: policy, host_numa_node"},
	{"k --placement host_numa_node=x",
	 "--placement host_numa_node=x: not numbers of nodes of the host from 0 to 1023, such as 0-3,8"},
	{"k --placement policy=contract", "--placement policy=contract: a latency is missing, as in --latency 100ns"},
	{"k --latency 100ns --placement policy=pack",
	 "--latency 100ns: --placement policy=pack does not keep it, policy=contract does"},
	{"k --latency 79.5ns --placement policy=local",
	 "--latency 79.5ns: --placement policy=local does not keep it, policy=contract does"},
	{"k --latency 100", "--latency 100: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency 100us", "--latency 100us: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency 0.9ns", "--latency 0.9ns: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency 1000001ns", "--latency 1000001ns: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency -5ns", "--latency -5ns: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency nanns", "--latency nanns: not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latency=", "--latency : not nanoseconds from 1ns to 1000000ns, such as 100ns"},
	{"k --latencies", "--latencies needs a value"},
	{"k --latencies t", "--latencies t: nothing is placed by them without --latency or --placement"},
	{"k --latencies t --strict", "--latencies t: nothing is placed by them without --latency or --placement"},
	{"k --latencies t --numa guest_numa_id=0",
	 "--latencies t: nothing is placed by them without --latency or --placement"},
	{"k --latencies t --memory-zone id=a,size=1G",
	 "--latencies: not with --memory-zone, which have nodes of their own (host_numa_node=): nothing is left to "
	 "choose"},
	{"k --latencies t --latency 9ns --memory-zone id=a,size=1G",
	 "--latency: not with --memory-zone, which have nodes of their own (host_numa_node=): nothing is left to "
	 "choose"},
	{"k --strict=on", "--strict takes no value"},
	{"k --memory-zone id=a,size=1G --guard 1G+4K", "--guard 0x40000000+0x1000 is not inside the guest's RAM, "
						       "0x0..0x40000000"},
};

START_TEST(refusal)
{
	refuse(refusals[_i].line, refusals[_i].sentence);
}
END_TEST

START_TEST(so_many_of_each)
{
	char zones[4096] = "k", nodes[4096] = "k --cpus boot=17";
	struct run_options o;

	for (unsigned i = 0; i < OPTIONS_ZONES_MAX; i++)
		sprintf(zones + strlen(zones), " --memory-zone id=%u,size=2M", i);
	take(zones, &o);
	ck_assert_uint_eq(o.numa.zones, OPTIONS_ZONES_MAX);
	refuse(strcat(zones, " id=z,size=2M"), "--memory-zone id=z,size=2M: more than 16 of them");
	for (unsigned i = 0; i < TOPOLOGY_NODES_MAX; i++)
		sprintf(nodes + strlen(nodes), " --numa guest_numa_id=%u,cpus=%u", i, i);
	take(nodes, &o);
	ck_assert_uint_eq(o.numa.nodes, TOPOLOGY_NODES_MAX);
	refuse(strcat(nodes, " --numa guest_numa_id=16,cpus=16"),
	       "--numa guest_numa_id=16,cpus=16: more than 16 of them");
}
END_TEST

/* ---- nodes and placement ---- */

START_TEST(a_key_given_twice_counts_as_the_last_time)
{
	struct run_options o;

	take("k --placement host_numa_node=0,1 --placement host_numa_node=1,2", &o);
	for (unsigned n = 0; n < 4; n++)
		ck_assert_int_eq(options_has_number(&o.numa.host, n), n == 1 || n == 2);
	take("k --cpus boot=4 --memory-zone id=a,size=1G,host_numa_node=3,host_numa_node=4 id=b,size=1G --numa "
	     "guest_numa_id=0 guest_numa_id=1,cpus=1-2,cpus=2-3,memory_zones=a,b,memory_zones=b,distances=0@30,"
	     "distances=0@40",
	     &o);
	ck_assert(!options_has_number(&o.numa.zone[0].host, 3) && options_has_number(&o.numa.zone[0].host, 4));
	ck_assert(o.numa.cpu_node[1] == 0 && o.numa.cpu_node[2] == 1 && o.numa.cpu_node[3] == 1);
	ck_assert(o.numa.zone_node[0] == 0 && o.numa.zone_node[1] == 1);
	ck_assert_uint_eq(o.numa.distance[1][0], 40);
}
END_TEST

START_TEST(lists_with_and_without_brackets)
{
	struct run_options o;

	take("k --cpus boot=255 --memory-zone id=a,size=1G id=b,size=1G id=c,size=1G --numa "
	     "distances=0@30,2@254,guest_numa_id=1,cpus=0-2,8,254,memory_zones=c,a guest_numa_id=2,"
	     "cpus=[9,10],distances=[0@40,2@10] guest_numa_id=0,memory_zones=[b],distances=2@41",
	     &o);
	ck_assert_uint_eq(o.numa.nodes, 3);
	for (unsigned cpu = 0; cpu < 255; cpu++) {
		const unsigned want = cpu <= 2 || cpu == 8 || cpu == 254 ? 1 : cpu == 9 || cpu == 10 ? 2 : 0;

		ck_assert_uint_eq(o.numa.cpu_node[cpu], want);
	}
	ck_assert_uint_eq(o.numa.zone_node[0], 1);
	ck_assert_uint_eq(o.numa.zone_node[1], 0);
	ck_assert_uint_eq(o.numa.zone_node[2], 1);
	ck_assert_uint_eq(o.numa.distance[0][0], 10);
	ck_assert_uint_eq(o.numa.distance[2][2], 10);
	ck_assert_uint_eq(o.numa.distance[1][0], 30);
	ck_assert_uint_eq(o.numa.distance[0][1], 30); /* given one way */
	ck_assert_uint_eq(o.numa.distance[1][2], 254);
	ck_assert_uint_eq(o.numa.distance[2][1], 254);
	ck_assert_uint_eq(o.numa.distance[0][2], 41); /* both ways, and not the same */
	ck_assert_uint_eq(o.numa.distance[2][0], 40);
	for (unsigned i = 0; i < 3; i++)
		ck_assert_uint_eq(o.numa.node[i].id, i);
}
END_TEST

START_TEST(one_memory_is_mem0)
{
	struct run_options o;

	take("k --numa guest_numa_id=0,cpus=0 guest_numa_id=1,memory_zones=mem0", &o);
	ck_assert_uint_eq(o.numa.zones, 0);
	ck_assert_uint_eq(o.numa.zone_node[0], 1);
	ck_assert_uint_eq(o.memory.bytes, OPTIONS_MEMORY_DEFAULT);
	ck_assert_uint_eq(o.numa.distance[0][1], 20);
	take("k --numa guest_numa_id=0 guest_numa_id=1,cpus=0", &o);
	ck_assert_uint_eq(o.numa.zone_node[0], 0);
	take("k --memory size=0 --memory-zone id=x,size=2M", &o);
	ck_assert_uint_eq(o.memory.bytes, 2 * MIB);
	take("k --memory size=0 --memory size=3G", &o);
	ck_assert_uint_eq(o.memory.bytes, 3 * GIB);
}
END_TEST

START_TEST(policies)
{
	static const char *const names[] = {"local", "pack", "spread", "interleave", "contract"};
	struct run_options o;
	char line[96];

	take("k", &o);
	ck_assert(!o.numa.policy_given && o.numa.policy == PLACEMENT_LOCAL && !o.numa.latency_ps);
	for (unsigned i = PLACEMENT_LOCAL; i <= PLACEMENT_CONTRACT; i++) {
		sprintf(line, "k --placement policy=%s,host_numa_node=0-3,8%s", names[i],
			i == PLACEMENT_CONTRACT ? " --latency 100ns" : "");
		take(line, &o);
		ck_assert(o.numa.policy_given && !o.numa.strict && o.numa.policy == i);
		ck_assert_str_eq(options_policy_name(o.numa.policy), names[i]);
		ck_assert(options_has_number(&o.numa.host, 8) && !options_has_number(&o.numa.host, 4));
	}
	take("k --latency 100ns --strict", &o);
	ck_assert(!o.numa.policy_given && o.numa.strict && o.numa.policy == PLACEMENT_CONTRACT);
	ck_assert_uint_eq(o.numa.latency_ps, 100000);
	take("k --placement policy=contract --latency=79.5ns", &o);
	ck_assert_uint_eq(o.numa.latency_ps, 79500);
	take("k --latency 128.2ns", &o); /* in binary, 128199.99... ps */
	ck_assert_uint_eq(o.numa.latency_ps, 128200);
	take("k --latency=1000000ns", &o);
	ck_assert_uint_eq(o.numa.latency_ps, 1000000000);
	ck_assert_ptr_null(o.numa.latencies);
	take("k --latencies a --latency 100ns --latencies=b", &o);
	ck_assert_str_eq(o.numa.latencies, "b");
	take("k --latencies a --placement policy=spread", &o);
	ck_assert_str_eq(o.numa.latencies, "a");
	take("k --placement host_numa_node=0 --latencies a", &o);
	ck_assert_str_eq(o.numa.latencies, "a");
	ck_assert_str_eq(options_backing_name(OPTIONS_ANON), "anon");
	ck_assert_str_eq(options_backing_name(OPTIONS_MEMFD), "memfd");
	ck_assert_str_eq(options_backing_name(OPTIONS_HUGETLB), "hugetlb");
	ck_assert_str_eq(options_backing_name(OPTIONS_DEVDAX), "devdax");
}
END_TEST

/* ---- topology ---- */

START_TEST(topology_of_nothing)
{
	static const struct options_zone_range one = {0, GIB, 0};
	struct run_options o;
	struct topology t;

	memset(&t, 0xff, sizeof(t));
	take("k --memory-zone id=a,size=1G", &o);
	options_topology(&o, &one, 1, &t);
	ck_assert_uint_eq(t.nodes, 0);
	ck_assert_uint_eq(t.ranges, 0);
}
END_TEST

START_TEST(topology_of_two_nodes)
{
	static const struct options_zone_range ranges[] = {
		{0, GIB, 0}, {GIB, 2 * GIB, 1}, {4 * GIB, GIB, 1}, {5 * GIB, GIB, 2}};
	struct run_options o;
	struct topology t;

	take("k --cpus boot=3 --memory-zone id=a,size=1G id=b,size=3G id=c,size=1G --numa "
	     "guest_numa_id=0,memory_zones=a,cpus=2,distances=1@31 guest_numa_id=1,memory_zones=[b,c],cpus=0-1",
	     &o);
	memset(&t, 0xff, sizeof(t));
	options_topology(&o, ranges, COUNT(ranges), &t);
	ck_assert_uint_eq(t.nodes, 2);
	ck_assert_uint_eq(t.cpus, 3);
	ck_assert(t.cpu_node[0] == 1 && t.cpu_node[1] == 1 && t.cpu_node[2] == 0);
	ck_assert(t.distance[0][0] == 10 && t.distance[0][1] == 31 && t.distance[1][0] == 31 && t.distance[1][1] == 10);
	ck_assert(!t.has_hmat && t.latency_ns[0][0] == 0 && t.bandwidth_mib[1][0] == 0);
	ck_assert_uint_eq(t.ranges, 3);
	ck_assert(t.range[0].gpa == 0 && t.range[0].bytes == GIB && t.range[0].node == 0);
	ck_assert(t.range[1].gpa == GIB && t.range[1].bytes == 2 * GIB && t.range[1].node == 1);
	ck_assert(t.range[2].gpa == 4 * GIB && t.range[2].bytes == 2 * GIB && t.range[2].node == 1);
}
END_TEST

/* What is no part of the guest's RAM is our own mistake. */
static const struct {
	uint32_t count;
	struct options_zone_range range[2];
} mistakes[] = {
	{2, {{0, GIB, 0}, {0, GIB, 0}}},
	{2, {{GIB, GIB, 0}, {0, GIB, 0}}},
	{1, {{0, GIB, 1}}},
	{1, {{0, 0, 0}}},
	{TOPOLOGY_RANGES_MAX + 1, {{0, GIB, 0}}},
};

START_TEST(topology_of_a_mistake)
{
	struct run_options o;
	struct topology t;

	take("k --numa guest_numa_id=0", &o);
	options_topology(&o, mistakes[_i].range, mistakes[_i].count, &t);
}
END_TEST

/* ---- anything ---- */

#define CPUS 40u

struct model {
	unsigned cpus, zones, nodes;
	uint8_t cpu_node[CPUS], zone_node[OPTIONS_ZONES_MAX], zone_mib[OPTIONS_ZONES_MAX];
	uint8_t given[TOPOLOGY_NODES_MAX][TOPOLOGY_NODES_MAX];
};

static void draw(struct model *m)
{
	memset(m, 0, sizeof(*m));
	m->cpus = 1 + (unsigned)below(CPUS);
	m->zones = 1 + (unsigned)below(OPTIONS_ZONES_MAX);
	m->nodes = 1 + (unsigned)below(m->zones < 5 ? m->zones : 5); /* so that each has one */
	for (unsigned i = 0; i < m->cpus; i++)
		m->cpu_node[i] = (uint8_t)below(m->nodes);
	for (unsigned i = 0; i < m->zones; i++) {
		m->zone_node[i] = (uint8_t)(i < m->nodes ? i : below(m->nodes));
		m->zone_mib[i] = (uint8_t)(2 + below(200));
	}
	for (unsigned i = 0; i < m->nodes; i++)
		for (unsigned k = 0; k < m->nodes; k++)
			if (below(3) == 0)
				m->given[i][k] = (uint8_t)(i == k ? 10 : 11 + below(245));
}

/* " KEY=[a,b]" or without brackets; what a key lists, by a callback. Nothing, if it lists nothing. */
static void say_list(char *line, const char *key, const struct model *m, unsigned node,
		     bool (*item)(char *out, const struct model *m, unsigned node, unsigned i))
{
	const bool brackets = below(2);
	char one[32];
	bool any = false;

	for (unsigned i = 0; i < CPUS; i++) {
		if (!item(one, m, node, i))
			continue;
		sprintf(line + strlen(line), "%s%s%s", any ? "," : key, any ? "" : brackets ? "=[" : "=", one);
		any = true;
	}
	strcat(line, !any ? "" : brackets ? "]," : ",");
}

static bool say_cpu(char *out, const struct model *m, unsigned node, unsigned i)
{
	unsigned last = i;

	if (i >= m->cpus || m->cpu_node[i] != node || (i && m->cpu_node[i - 1] == node))
		return false;
	while (last + 1 < m->cpus && m->cpu_node[last + 1] == node)
		last++;
	sprintf(out, last > i ? "%u-%u" : "%u", i, last);
	return true;
}

static bool say_zone(char *out, const struct model *m, unsigned node, unsigned i)
{
	sprintf(out, "z%u", i);
	return i < m->zones && m->zone_node[i] == node;
}

static bool say_distance(char *out, const struct model *m, unsigned node, unsigned i)
{
	if (i >= m->nodes || !m->given[node][i])
		return false;
	sprintf(out, "%u@%u", i, m->given[node][i]);
	return true;
}

/* The options, the nodes in any order and so are their keys; node 0 may leave out what is its anyway. */
static void say(char *line, const struct model *m)
{
	const unsigned first = (unsigned)below(m->nodes);

	sprintf(line, "k --cpus boot=%u", m->cpus);
	for (unsigned i = 0; i < m->zones; i++)
		sprintf(line + strlen(line), " --memory-zone id=z%u,size=%uM", i, m->zone_mib[i]);
	for (unsigned n = 0; n < m->nodes; n++) {
		const unsigned node = (first + n) % m->nodes;
		const bool late = below(2);

		strcat(line, " --numa ");
		if (!late)
			sprintf(line + strlen(line), "guest_numa_id=%u,", node);
		if (node || below(2))
			say_list(line, "cpus", m, node, say_cpu);
		say_list(line, "distances", m, node, say_distance);
		if (node || below(2))
			say_list(line, "memory_zones", m, node, say_zone);
		if (late)
			sprintf(line + strlen(line), "guest_numa_id=%u,", node);
		line[strlen(line) - 1] = '\0'; /* the last comma */
	}
}

static void compare(const struct model *m, const struct run_options *o)
{
	ck_assert_uint_eq(o->numa.nodes, m->nodes);
	ck_assert_mem_eq(o->numa.zone_node, m->zone_node, m->zones);
	ck_assert_mem_eq(o->numa.cpu_node, m->cpu_node, m->cpus);
	for (unsigned i = 0; i < m->nodes; i++)
		for (unsigned k = 0; k < m->nodes; k++) {
			const unsigned there = m->given[i][k], back = m->given[k][i];

			ck_assert_uint_eq(o->numa.distance[i][k], i == k ? 10 : there ? there : back ? back : 20);
		}
}

/* Zones one after another from 0, now and then with a hole; each MiB has the node of its zone. */
static void compare_topology(const struct model *m, const struct run_options *o)
{
	struct options_zone_range range[OPTIONS_ZONES_MAX];
	struct topology t;
	uint64_t at = 0;
	uint32_t k = 0;

	for (unsigned i = 0; i < m->zones; i++) {
		at += below(4) ? 0 : GIB;
		range[i] = (struct options_zone_range){at, m->zone_mib[i] * MIB, i};
		at += range[i].bytes;
	}
	options_topology(o, range, m->zones, &t);
	ck_assert(t.nodes == m->nodes && t.cpus == m->cpus && t.ranges > 0 && t.ranges <= m->zones);
	ck_assert_mem_eq(t.distance, o->numa.distance, sizeof(t.distance));
	for (unsigned i = 0; i < m->zones; i++)
		for (at = range[i].gpa; at < range[i].gpa + range[i].bytes; at += MIB) {
			while (k < t.ranges && at >= t.range[k].gpa + t.range[k].bytes)
				k++;
			ck_assert(k < t.ranges && at >= t.range[k].gpa);
			ck_assert_uint_eq(t.range[k].node, m->zone_node[i]);
		}
	for (k = 1; k < t.ranges; k++) /* as few as can be */
		ck_assert(t.range[k].gpa > t.range[k - 1].gpa + t.range[k - 1].bytes ||
			  (t.range[k].gpa == t.range[k - 1].gpa + t.range[k - 1].bytes &&
			   t.range[k].node != t.range[k - 1].node));
}

START_TEST(any_topology_as_a_model_has_it)
{
	char line[8192];
	struct run_options o;
	struct model m;

	seed(7);
	for (unsigned round = 0; round < 2000; round++) {
		draw(&m);
		say(line, &m);
		take(line, &o);
		compare(&m, &o);
		compare_topology(&m, &o);
	}
}
END_TEST

/* A line with some bytes damaged is refused with a sentence, or makes sense still. */
START_TEST(any_damage_is_refused_or_makes_sense)
{
	static const char bytes[] = "0123456789,=[]@-zm kKGx.\x7f";
	unsigned refused = 0;
	char line[8192];
	struct run_options o;
	struct failure f;
	struct model m;

	seed(70);
	for (unsigned round = 0; round < 20000; round++) {
		draw(&m);
		say(line, &m);
		for (unsigned i = 0; i < 1 + round % 3; i++)
			line[2 + below(strlen(line) - 2)] = bytes[below(sizeof(bytes) - 1)];
		if (strstr(line, "-h") || strstr(line, " -- "))
			continue;
		if (parse(line, &o, &f)) {
			ck_assert_int_eq(f.code, EXIT_USAGE);
			ck_assert_uint_gt(strlen(f.text), 10);
			refused++;
			continue;
		}
		ck_assert_uint_le(o.numa.nodes, TOPOLOGY_NODES_MAX);
		for (unsigned i = 0; i < o.cpus; i++)
			ck_assert(o.numa.cpu_node[i] == 0 || o.numa.cpu_node[i] < o.numa.nodes);
		for (unsigned i = 0; i < o.numa.zones; i++)
			ck_assert(o.numa.zone_node[i] == 0 || o.numa.zone_node[i] < o.numa.nodes);
	}
	ck_assert_uint_gt(refused, 5000);
	ck_assert_uint_lt(refused, 19900);
}
END_TEST

Suite *options_numa_suite(void)
{
	Suite *s = suite_create("options_numa");
	TCase *t = tcase_create("options_numa");

	tcase_add_test(t, zones_of_every_backing);
	tcase_add_test(t, words_of_another_hypervisor);
	tcase_add_test(t, several_values_of_one_option);
	tcase_add_loop_test(t, refusal, 0, COUNT(refusals));
	tcase_add_test(t, so_many_of_each);
	tcase_add_test(t, a_key_given_twice_counts_as_the_last_time);
	tcase_add_test(t, lists_with_and_without_brackets);
	tcase_add_test(t, one_memory_is_mem0);
	tcase_add_test(t, policies);
	tcase_add_test(t, topology_of_nothing);
	tcase_add_test(t, topology_of_two_nodes);
	tcase_add_loop_test_raise_signal(t, topology_of_a_mistake, SIGABRT, 0, COUNT(mistakes));
	tcase_add_test(t, any_topology_as_a_model_has_it);
	tcase_add_test(t, any_damage_is_refused_or_makes_sense);
	tcase_set_timeout(t, 60);
	suite_add_tcase(s, t);
	return s;
}
