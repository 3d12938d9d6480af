/* CPUID as guests see it, and the instructions that explain.c knows by their bytes. */
#include <check.h>
#undef fail
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/explain.h"

Suite *cpuid_suite(void);

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define BIT(n)	 (UINT32_C(1) << (n))

/* A host that supports everything: whatever is missing afterwards was taken away here. */
static void fill(struct kvm_cpuid_table *t)
{
	static const struct kvm_cpuid_entry2 entries[] = {
		{.function = 0, .eax = 0x1f},
		{.function = 1, .ebx = 0x5ff0a00, .ecx = ~(BIT(31) | BIT(24)), .edx = ~BIT(28)},
		{.function = 4, .index = 0, .flags = 1, .eax = 0xfc004121},
		{.function = 4, .index = 1, .flags = 1, .eax = 0xfc01c163},
		{.function = 7, .index = 0, .flags = 1, .eax = 1, .ebx = ~0u, .ecx = ~0u, .edx = ~0u},
		{.function = 7, .index = 1, .flags = 1, .eax = ~0u, .edx = ~0u},
		{.function = 0xb, .index = 0, .flags = 1, .eax = 7, .ebx = 99},
		{.function = 0xd, .index = 0, .flags = 1, .eax = 7},
		{.function = 0xd, .index = 1, .flags = 1, .eax = 0xf},
		{.function = 0x80000001, .ecx = ~0u, .edx = ~0u},
		{.function = 0x80000008, .eax = 0x3030, .ecx = 0xdead},
		{.function = 0x8000001e, .eax = 9, .ebx = 9, .ecx = 9},
	};

	memset(t, 0, sizeof(*t));
	memcpy(t->entries, entries, sizeof(entries));
	t->head.nent = COUNT(entries);
}

START_TEST(topology_agrees_in_every_leaf)
{
	static const unsigned counts[] = {1, 2, 3, 4, 8, 200};
	unsigned cpus = counts[_i], bits = 0;
	struct kvm_cpuid_table t;

	while ((1u << bits) < cpus)
		bits++;
	fill(&t);
	cpuid_shape(&t, &(struct cpuid_config){.cpus = cpus, .tsc_deadline = true});
	for (unsigned id = 0; id < cpus; id++) {
		cpuid_set_id(&t, id);
		ck_assert_uint_eq(cpuid_find(&t, 1, 0)->ebx >> 24, id);
		ck_assert_uint_eq(cpuid_find(&t, 1, 0)->ebx >> 16 & 0xff, cpus);
		ck_assert_uint_eq(!!(cpuid_find(&t, 1, 0)->edx & BIT(28)), cpus > 1);
		for (unsigned level = 0; level < 3; level++) {
			ck_assert_uint_eq(cpuid_find(&t, 0xb, level)->edx, id);
			ck_assert_uint_eq(cpuid_find(&t, 0x1f, level)->edx, id);
		}
		ck_assert_uint_eq(cpuid_find(&t, 0x8000001e, 0)->eax, id);
	}
	ck_assert_uint_eq(cpuid_find(&t, 0xb, 0)->eax, 0);
	ck_assert_uint_eq(cpuid_find(&t, 0xb, 0)->ebx, 1);
	ck_assert_uint_eq(cpuid_find(&t, 0xb, 1)->eax, bits);
	ck_assert_uint_eq(cpuid_find(&t, 0xb, 1)->ebx, cpus);
	ck_assert_uint_eq(cpuid_find(&t, 0xb, 2)->ebx, 0);
	ck_assert_uint_eq(cpuid_find(&t, 0x80000008, 0)->ecx, bits << 12 | (cpus - 1));
	ck_assert_uint_eq(cpuid_find(&t, 4, 0)->eax >> 26, ((1u << bits) - 1) & 0x3f);
	ck_assert_uint_eq(cpuid_find(&t, 4, 0)->eax >> 14 & 0xfff, 0);		      /* L1: its own */
	ck_assert_uint_eq(cpuid_find(&t, 4, 1)->eax >> 14 & 0xfff, (1u << bits) - 1); /* L3: shared */
}
END_TEST

START_TEST(only_what_kvm_adds_is_added)
{
	struct kvm_cpuid_table t;

	fill(&t);
	cpuid_find(&t, 1, 0)->ecx = 0;
	cpuid_shape(&t, &(struct cpuid_config){.cpus = 2});
	ck_assert_uint_eq(cpuid_find(&t, 1, 0)->ecx, BIT(31) | BIT(21));
	fill(&t);
	cpuid_shape(&t, &(struct cpuid_config){.cpus = 2, .tsc_deadline = true});
	ck_assert(cpuid_find(&t, 1, 0)->ecx & BIT(24));
	ck_assert(cpuid_find(&t, 1, 0)->ecx & BIT(26)); /* XSAVE stays where the host can */
	ck_assert_ptr_nonnull(cpuid_find(&t, 0xd, 1));
	ck_assert(cpuid_find(&t, 6, 0)->eax & BIT(2));
}
END_TEST

START_TEST(interpreted_hosts_lose_xsave_and_all_that_needs_it)
{
	struct kvm_cpuid_table t;
	const struct kvm_cpuid_entry2 *e;

	fill(&t);
	cpuid_shape(&t, &(struct cpuid_config){.cpus = 1, .interpreted = true});
	e = cpuid_find(&t, 1, 0);
	ck_assert_uint_eq(e->ecx & (BIT(12) | BIT(13) | BIT(26) | BIT(27) | BIT(28) | BIT(29)), 0);
	ck_assert(e->ecx & BIT(0)); /* SSE3 lives in FXSAVE's state */
	e = cpuid_find(&t, 7, 0);
	ck_assert_uint_eq(e->ebx & (BIT(5) | BIT(16) | BIT(30) | BIT(31)), 0);
	ck_assert(e->ebx & BIT(3)); /* BMI1 */
	ck_assert_ptr_null(cpuid_find(&t, 0xd, 0));
	ck_assert_ptr_null(cpuid_find(&t, 0xd, 1));
	ck_assert_uint_eq(cpuid_find(&t, 0x80000001, 0)->ecx & (BIT(11) | BIT(16)), 0);
}
END_TEST

START_TEST(a_full_table_is_left_without_the_new_leaves)
{
	static struct kvm_cpuid_table t;

	fill(&t);
	for (uint32_t i = t.head.nent; i < KVM_CPUID_MAX; i++)
		t.entries[i] = (struct kvm_cpuid_entry2){.function = 0x40000000 + i};
	t.head.nent = KVM_CPUID_MAX;
	cpuid_shape(&t, &(struct cpuid_config){.cpus = 2});
	ck_assert_uint_le(t.head.nent, KVM_CPUID_MAX);
}
END_TEST

static const struct {
	const char *name;
	uint8_t code[8];
	size_t bytes;
	int long_mode;
} codes[] = {
	{"int3", {0xcc}, 1, 1},
	{"a software interrupt", {0xcd, 0x80}, 2, 1},
	{"cmpxchg16b", {0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 5, 1},
	{NULL, {0xf0, 0x0f, 0xc7, 0x0f}, 4, 1}, /* cmpxchg8b is fine */
	{NULL, {0x48, 0x0f, 0xc7, 0x0f}, 4, 0}, /* dec eax; cmpxchg8b comes later */
	{"xsave", {0x48, 0x0f, 0xae, 0x20}, 4, 1},
	{"xrstor", {0x0f, 0xae, 0x28}, 3, 1},
	{NULL, {0x0f, 0xae, 0xe8}, 3, 1}, /* lfence */
	{"xsaveopt", {0x0f, 0xae, 0x30}, 3, 1},
	{"xsaves", {0x48, 0x0f, 0xc7, 0x28}, 4, 1},
	{"an AVX instruction", {0xc5, 0xf8, 0x77}, 3, 1},
	{NULL, {0xc5, 0x07}, 2, 0}, /* lds */
	{NULL, {0x90}, 1, 1},
	{NULL, {0x66, 0x66}, 2, 1}, /* prefixes and nothing else */
	{NULL, {0x48}, 1, 1},
	{NULL, {0x0f, 0xae}, 2, 1},
	{NULL, {0}, 0, 1},
};

START_TEST(instruction_is_recognised)
{
	const char *name = explain_instruction(codes[_i].code, codes[_i].bytes, codes[_i].long_mode);

	if (codes[_i].name)
		ck_assert_pstr_eq(name, codes[_i].name);
	else
		ck_assert_ptr_null(name);
}
END_TEST

Suite *cpuid_suite(void)
{
	Suite *s = suite_create("cpuid");
	TCase *t = tcase_create("cpuid");

	tcase_add_loop_test(t, topology_agrees_in_every_leaf, 0, 6);
	tcase_add_test(t, only_what_kvm_adds_is_added);
	tcase_add_test(t, interpreted_hosts_lose_xsave_and_all_that_needs_it);
	tcase_add_test(t, a_full_table_is_left_without_the_new_leaves);
	tcase_add_loop_test(t, instruction_is_recognised, 0, COUNT(codes));
	suite_add_tcase(s, t);
	return s;
}
