/* vmm/cpuid.c
 *
 * C1  every feature bit set here is one that KVM reported, or that KVM's own
 *     documentation says userspace must add (TSC deadline, x2APIC, hypervisor).
 * C2  the APIC ids and shifts agree in all the leaves that repeat them (1, 4,
 *     0xb, 0x1f, 0x80000008, 0x8000001d, 0x8000001e): a guest that reads any
 *     one of them finds the same package of `cpus` cores.
 * C3  where XSAVE is taken away, all that needs its state goes too: a guest
 *     that finds AVX without XSAVE may fault or misread its save area. */
#include "vmm/cpuid.h"

#include <cpuid.h>
#include <string.h>

#define BIT(n) (UINT32_C(1) << (n))

struct kvm_cpuid_entry2 *cpuid_find(struct kvm_cpuid_table *t, uint32_t function, uint32_t index)
{
	for (uint32_t i = 0; i < t->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];
		bool indexed = e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX;

		if (e->function == function && (!indexed || e->index == index))
			return e;
	}
	return NULL;
}

static void drop_leaf(struct kvm_cpuid_table *t, uint32_t function)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < t->head.nent; i++)
		if (t->entries[i].function != function)
			t->entries[kept++] = t->entries[i];
	t->head.nent = kept;
}

static struct kvm_cpuid_entry2 *add_leaf(struct kvm_cpuid_table *t, uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *e;

	if (t->head.nent == KVM_CPUID_MAX)
		return NULL;
	e = &t->entries[t->head.nent++];
	*e = (struct kvm_cpuid_entry2){.function = function, .index = index, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX};
	return e;
}

static uint32_t id_bits(unsigned cpus)
{
	uint32_t bits = 0;

	while ((UINT32_C(1) << bits) < cpus)
		bits++;
	return bits;
}

static void mask_leaf(struct kvm_cpuid_table *t, uint32_t function, uint32_t index, uint32_t ebx, uint32_t ecx,
		      uint32_t edx)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, function, index);

	if (!e)
		return;
	e->ebx &= ~ebx;
	e->ecx &= ~ecx;
	e->edx &= ~edx;
}

/* Leaf 1: CMPXCHG16B 13, XSAVE 26 and what lives in its state: FMA 12, AVX 28,
 * F16C 29. Leaf 7: AVX2 5, MPX 14, the AVX-512 family, PKU, VAES, AMX. AMD:
 * XOP 11, FMA4 16. XGETBV's users look at leaf 0xd. */
static void take_xsave_away(struct kvm_cpuid_table *t)
{
	const uint32_t avx512_ebx = BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31);
	const uint32_t leaf7_ecx = BIT(1) | BIT(3) | BIT(4) | BIT(6) | BIT(9) | BIT(10) | BIT(11) | BIT(12) | BIT(14);
	const uint32_t leaf7_edx = BIT(2) | BIT(3) | BIT(8) | BIT(22) | BIT(23) | BIT(24) | BIT(25);
	struct kvm_cpuid_entry2 *more = cpuid_find(t, 7, 1);

	mask_leaf(t, 1, 0, 0, BIT(12) | BIT(13) | BIT(26) | BIT(27) | BIT(28) | BIT(29), 0);
	mask_leaf(t, 7, 0, BIT(5) | BIT(14) | avx512_ebx, leaf7_ecx, leaf7_edx);
	if (more) {
		more->eax &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI, AVX512-BF16, AMX-FP16, AVX-IFMA */
		more->edx = 0;					     /* newer AVX and AMX */
	}
	mask_leaf(t, 0x80000001, 0, 0, BIT(11) | BIT(16), 0);
	drop_leaf(t, 0xd);
	drop_leaf(t, 0x1d);
	drop_leaf(t, 0x1e);
	drop_leaf(t, 0x24);
}

static void shape_features(struct kvm_cpuid_table *t, const struct cpuid_config *config)
{
	struct kvm_cpuid_entry2 *e = cpuid_find(t, 1, 0);

	if (e) {
		unsigned logical = config->cpus > 255 ? 255 : config->cpus;

		e->ebx = (e->ebx & 0xff00) | 0x800 | logical << 16;
		e->ecx |= BIT(31) | BIT(21); /* a hypervisor is present; KVM's local APIC has x2APIC */
		if (config->tsc_deadline)
			e->ecx |= BIT(24);
		e->edx = config->cpus > 1 ? e->edx | BIT(28) : e->edx & ~BIT(28);
	}
	e = cpuid_find(t, 6, 0);
	if (!e)
		e = add_leaf(t, 6, 0);
	if (e)
		e->eax = BIT(2); /* ARAT: the virtual APIC timer never stops */
}

static void shape_caches(struct kvm_cpuid_table *t, const struct cpuid_config *config)
{
	for (uint32_t i = 0; i < t->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];
		unsigned level = e->eax >> 5 & 7;

		if (e->function != 4 && e->function != 0x8000001d)
			continue;
		if ((e->eax & 0x1f) == 0)
			continue;
		/* Cores a package in 31:26 (Intel), sharers of this cache in 25:14. */
		e->eax &= 0x3fff;
		if (level >= 3)
			e->eax |= ((UINT32_C(1) << id_bits(config->cpus)) - 1) << 14;
		if (e->function == 4)
			e->eax |= (((UINT32_C(1) << id_bits(config->cpus)) - 1) & 0x3f) << 26;
	}
}

static void shape_topology_leaf(struct kvm_cpuid_table *t, uint32_t function, unsigned cpus)
{
	struct kvm_cpuid_entry2 *e;

	drop_leaf(t, function);
	e = add_leaf(t, function, 0);
	if (!e)
		return;
	e->ebx = 1;
	e->ecx = 1 << 8; /* level 0: threads of a core */
	e = add_leaf(t, function, 1);
	if (!e)
		return;
	e->eax = id_bits(cpus);
	e->ebx = cpus;
	e->ecx = 2 << 8 | 1; /* level 1: cores of the package */
	e = add_leaf(t, function, 2);
	if (e)
		e->ecx = 2;
}

void cpuid_shape(struct kvm_cpuid_table *t, const struct cpuid_config *config)
{
	struct kvm_cpuid_entry2 *e;

	if (config->interpreted)
		take_xsave_away(t);
	shape_features(t, config);
	shape_caches(t, config);
	e = cpuid_find(t, 0, 0);
	if (e && e->eax >= 0xb) /* a guest that is told of fewer leaves never looks */
		shape_topology_leaf(t, 0xb, config->cpus);
	if (e && e->eax >= 0x1f)
		shape_topology_leaf(t, 0x1f, config->cpus);
	e = cpuid_find(t, 0x80000001, 0);
	if (e)
		e->ecx = config->cpus > 1 ? e->ecx | BIT(1) : e->ecx & ~BIT(1); /* CmpLegacy: cores, not threads */
	e = cpuid_find(t, 0x80000008, 0);
	if (e)
		e->ecx = id_bits(config->cpus) << 12 | ((config->cpus - 1) & 0xff);
}

void cpuid_set_id(struct kvm_cpuid_table *t, uint32_t apic_id)
{
	for (uint32_t i = 0; i < t->head.nent; i++) {
		struct kvm_cpuid_entry2 *e = &t->entries[i];

		if (e->function == 1)
			e->ebx = (e->ebx & 0x00ffffff) | (apic_id & 0xff) << 24;
		else if (e->function == 0xb || e->function == 0x1f)
			e->edx = apic_id;
		else if (e->function == 0x8000001e) {
			e->eax = apic_id;
			e->ebx = apic_id & 0xff; /* core id; one thread a core */
			e->ecx = 0;		 /* one node */
		}
	}
}

bool cpuid_host_is_intel(void)
{
	unsigned eax, ebx = 0, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_INTEL_ebx;
}
