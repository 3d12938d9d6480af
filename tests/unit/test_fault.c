/* What a guest did that its table forbids: the sentence, the rate of lines, the
 * walk of the guest's own tables, the operand of an instruction, and the access
 * that is found from registers alone, through a guest's tables in fake RAM. */
#include <check.h>
#undef fail
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tests/unit/fake_ram.h"
#include "vmm/fault_find.h"
#include "vmm/guest_walk.h"
#include "vmm/operand.h"
#include "vmm/x86.h"

Suite *fault_suite(void);

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define MIB	  UINT64_C(0x100000)
#define RAM_BYTES (4 * MIB)
#define GUARD	  UINT64_C(0x200000) /* a page of the fake RAM */
#define FIXED	  UINT64_C(0x201000) /* read-only */
#define CR0_ON	  (CR0_PG | CR0_PE)
#define LMA	  EFER_LMA

/* --- the sentence */
START_TEST(sentences)
{
	struct fault f = {.access = FAULT_READ, .gpa = 0x1000000, .bytes = 8, .cpu = 2, .ring = 3, .rip = 0x1234};
	char text[FAULT_TEXT];

	fault_describe(&f, text);
	ck_assert_str_eq(
		text, "EPT violation on cpu 2: data read of 8 bytes at guest address 0x1000000, which is not mapped: "
		      "a guard; rip 0x1234, ring 3");
	f.format = PAGETABLE_NPT;
	f.access = FAULT_WRITE;
	f.mapped = f.rip_past = true;
	f.rights = PAGETABLE_READ | PAGETABLE_EXEC | PAGETABLE_USER;
	f.ring = 0;
	fault_describe(&f, text);
	ck_assert_str_eq(
		text,
		"nested page fault on cpu 2: data write of 8 bytes at guest address 0x1000000, which is readable and "
		"executable, not writable; rip 0x1234, ring 0 (or the instruction before: KVM tells a write when it "
		"is done)");
	f = (struct fault){
		.access = FAULT_READ, .walk = true, .gpa = 0x2008, .has_linear = true, .linear = UINT64_MAX, .rip = 1};
	fault_describe(&f, text);
	ck_assert_str_eq(
		text, "EPT violation on cpu 0: data read at guest address 0x2008 in a walk of the guest's page tables "
		      "for linear address 0xffffffffffffffff, which is not mapped: a guard; rip 0x1, ring 0");
}
END_TEST

START_TEST(lines_are_some_a_second)
{
	struct fault_log log = {0};
	unsigned told = 0;

	for (unsigned i = 0; i < 1000; i++)
		told += fault_log_add(&log, i % 2 ? FAULT_READ : FAULT_WRITE,
				      UINT64_C(5000000000) + i * UINT64_C(3000000));
	ck_assert_uint_eq(told, 3 * FAULT_LINES_A_SECOND); /* within seconds 5, 6 and 7 */
	ck_assert_uint_eq(log.count[FAULT_READ], 500);
	ck_assert_uint_eq(log.count[FAULT_WRITE], 500);
	ck_assert_uint_eq(log.count[FAULT_FETCH], 0);
}
END_TEST

/* --- the guest's tables */
static struct fake_ram fake;

static void open_ram(void)
{
	fake_ram_init(&fake, RAM_BYTES);
	fake_ram_map(&fake, 0, 0, GUARD, FAKE_RAM_RIGHTS);
	fake_ram_map(&fake, FIXED, FIXED, FRAME_BYTES, FAKE_RAM_RIGHTS & ~(unsigned)PAGETABLE_WRITE);
	fake_ram_map(&fake, FIXED + FRAME_BYTES, FIXED + FRAME_BYTES, RAM_BYTES - FIXED - FRAME_BYTES, FAKE_RAM_RIGHTS);
}

static void put64(uint64_t gpa, uint64_t value)
{
	ck_assert(ram_write(&fake.ram, gpa, &value, sizeof(value)));
}

static void put32(uint64_t gpa, uint32_t value)
{
	ck_assert(ram_write(&fake.ram, gpa, &value, sizeof(value)));
}

static enum guest_walk_end walk(struct guest_paging p, uint64_t linear, uint64_t *gpa)
{
	*gpa = 77;
	return guest_walk(&fake.ram, &p, linear, gpa, NULL);
}

START_TEST(walks_of_every_shape)
{
	const struct guest_paging none = {0}, four = {CR0_ON, 0x10000, 0x20, LMA},
				  five = {CR0_ON, 0x15000, 0x1020, LMA};
	const struct guest_paging pae = {CR0_ON, 0x20020, 0x20, 0}, two = {CR0_ON, 0x30000, 0x10, 0},
				  small = {CR0_ON, 0x30000, 0, 0};
	uint64_t gpa;

	open_ram();
	ck_assert_int_eq(walk(none, UINT64_C(0x123456789a), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x3456789a);

	put64(0x10000 + 8 * 511, 0x11001); /* the high half */
	put64(0x11000 + 8 * 1, 0x12001);
	put64(0x12000 + 8 * 2, 0x13001);
	put64(0x13000 + 8 * 3, UINT64_C(0x8000000000077001)); /* NX is no address */
	put64(0x12000 + 8 * 4, 0x400081);
	put64(0x11000 + 8 * 5, 0x40000081);
	ck_assert_int_eq(walk(four, UINT64_C(0xffffff8040403123), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x77123);
	ck_assert_int_eq(walk(four, UINT64_C(0xffffff8040954321), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x554321);
	ck_assert_int_eq(walk(four, UINT64_C(0xffffff8142345678), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x42345678);
	ck_assert_int_eq(walk(four, 0, &gpa), GUEST_WALK_ABSENT);
	ck_assert_uint_eq(gpa, 77);
	put64(0x15000 + 8 * 511, 0x10001);
	ck_assert_int_eq(walk(five, UINT64_C(0xffffff8040403123), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x77123);

	put64(0x20020 + 8 * 3, 0x21001); /* not aligned to a page */
	put64(0x21000 + 8 * 1, 0x22001);
	put64(0x22000 + 8 * 2, 0x88001);
	put64(0x21000 + 8 * 2, 0x600081);
	ck_assert_int_eq(walk(pae, UINT64_C(0xffffffffc0202abc), &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x88abc);
	ck_assert_int_eq(walk(pae, 0xc0523456, &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x723456);

	put32(0x30000 + 4 * 1, 0x31001);
	put32(0x31000 + 4 * 2, 0x99001);
	put32(0x30000 + 4 * 3, 0x00c02081); /* 4M, bit 32 of the address in bit 13 */
	ck_assert_int_eq(walk(two, 0x402def, &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, 0x99def);
	ck_assert_int_eq(walk(two, 0xfedcba, &gpa), GUEST_WALK_DONE);
	ck_assert_uint_eq(gpa, UINT64_C(0x100fedcba));
	ck_assert_int_eq(walk(small, 0xfedcba, &gpa), GUEST_WALK_LOST); /* without PSE bit 7 means nothing */
	ck_assert_uint_eq(gpa, 0xc02000 + 4 * 0x3ed);

	put64(0x10000, GUARD | 1);
	ck_assert_int_eq(walk(four, 0x7fffffffff, &gpa), GUEST_WALK_LOST);
	ck_assert_uint_eq(gpa, GUARD + 8 * 511);
	put64(0x10000, UINT64_C(0x000fffffffffff01)); /* as far out as an entry can point */
	ck_assert_int_eq(walk(four, 0, &gpa), GUEST_WALK_LOST);
	fake_ram_fini(&fake);
}
END_TEST

/* Names and places, from the root down; entries are as they lie there now. */
static void check_path(const struct guest_paging *p, uint64_t linear, enum guest_walk_end end, const char *wanted)
{
	struct guest_walk_path path;
	char met[128] = "";
	size_t length = 0;
	uint64_t gpa;

	memset(&path, 0xff, sizeof(path));
	ck_assert_int_eq(guest_walk(&fake.ram, p, linear, &gpa, &path), end);
	ck_assert_uint_le(path.steps, GUEST_WALK_STEPS);
	for (unsigned i = 0; i < path.steps; i++) {
		const struct guest_walk_step *s = &path.step[i];
		uint64_t entry = 0;

		length += (size_t)snprintf(met + length, sizeof(met) - length, " %s@%" PRIx64, s->name, s->gpa);
		ck_assert(ram_read(&fake.ram, s->gpa, &entry, path.entry_bytes) ==
			  (end != GUEST_WALK_LOST || i + 1 < path.steps));
		ck_assert_uint_eq(s->entry, entry);
	}
	ck_assert_str_eq(met, wanted);
	ck_assert_uint_eq(path.entry_bytes, p->cr4 & CR4_PAE || p->efer & LMA ? 8 : 4);
}

START_TEST(paths_of_every_shape)
{
	const struct guest_paging none = {0}, four = {CR0_ON, 0x10000, 0x20, LMA},
				  five = {CR0_ON, 0x15000, 0x1020, LMA};
	const struct guest_paging pae = {CR0_ON, 0x20020, 0x20, 0}, two = {CR0_ON, 0x30000, 0x10, 0};
	const uint64_t high = UINT64_C(0xffffff8040403123);

	open_ram();
	put64(0x15000 + 8 * 511, 0x10001);
	put64(0x10000 + 8 * 511, 0x11001);
	put64(0x11000 + 8 * 1, 0x12001);
	put64(0x12000 + 8 * 2, 0x13001);
	put64(0x13000 + 8 * 3, UINT64_C(0x8000000000077001));
	put64(0x20020 + 8 * 3, 0x21001);
	put64(0x21000 + 8 * 1, 0x22001);
	put64(0x22000 + 8 * 2, 0x88001);
	put32(0x30000 + 4 * 1, 0x31001);
	put32(0x30000 + 4 * 2, GUARD | 1);
	put32(0x31000 + 4 * 2, 0x99001);
	put32(0x31000 + 4 * 3, 0xffffffff); /* a read of 8 bytes would see it */
	check_path(&none, 0x1234, GUEST_WALK_DONE, "");
	check_path(&five, high, GUEST_WALK_DONE, " PML5E@15ff8 PML4E@10ff8 PDPTE@11008 PDE@12010 PTE@13018");
	check_path(&four, high, GUEST_WALK_DONE, " PML4E@10ff8 PDPTE@11008 PDE@12010 PTE@13018");
	check_path(&pae, 0xc0202abc, GUEST_WALK_DONE, " PDPTE@20038 PDE@21008 PTE@22010");
	check_path(&two, 0x402def, GUEST_WALK_DONE, " PDE@30004 PTE@31008");
	check_path(&two, 0x803def, GUEST_WALK_LOST, " PDE@30008 PTE@20000c");
	put64(0x12000 + 8 * 2, 0x600080); /* large, and absent */
	check_path(&four, high, GUEST_WALK_ABSENT, " PML4E@10ff8 PDPTE@11008 PDE@12010");
	put64(0x12000 + 8 * 2, 0x600081);
	check_path(&four, high, GUEST_WALK_DONE, " PML4E@10ff8 PDPTE@11008 PDE@12010");
	fake_ram_fini(&fake);
}
END_TEST

/* --- operands: rax 0x1000, rcx 0x2000 and so on to r15 0x10000; rip 0x5000; fs 0x70000 */
static struct kvm_regs regs;
static struct kvm_sregs sregs;

static void set_registers(bool long_mode)
{
	regs = (struct kvm_regs){0x1000, 0x4000, 0x2000, 0x3000, 0x7000, 0x8000, 0x5000,  0x6000, 0x9000,
				 0xa000, 0xb000, 0xc000, 0xd000, 0xe000, 0xf000, 0x10000, 0x5000, 2};
	sregs = (struct kvm_sregs){.fs.base = 0x70000, .gs.base = 0x80000, .cs.l = long_mode, .cs.db = !long_mode};
	sregs.efer = long_mode ? LMA : 0;
}

static const struct {
	const char *code; /* and its length, since it may hold zeros */
	size_t bytes;
	bool wide;
	enum operand_end end;
	uint64_t linear;
	bool write;
} operands[] = {
	{"\x48\x8b\x00", 3, true, OPERAND_FOUND, 0x1000, false},    /* mov (rax), rax */
	{"\x48\x89\x41\xf8", 4, true, OPERAND_FOUND, 0x1ff8, true}, /* mov rax, -8(rcx) */
	{"\x4c\x8b\x84\xcb\x00\x01\x00\x00", 8, true, OPERAND_FOUND, 0x4000 + 0x2000 * 8 + 0x100, false},
	{"\x43\x88\x04\x2e", 4, true, OPERAND_FOUND, 0xf000 + 0xe000, true}, /* mov al, (r14,r13) */
	{"\x42\x0f\xb6\x04\x25\x00\x10\x00\x00", 9, true, OPERAND_FOUND, 0xd000 + 0x1000, false}, /* (,r12,1) */
	{"\x8b\x04\x25\x00\x20\x00\x00", 7, true, OPERAND_FOUND, 0x2000, false},	/* no base, no index */
	{"\x8b\x05\x10\x00\x00\x00", 6, true, OPERAND_FOUND, 0x5000 + 6 + 0x10, false}, /* 0x10(rip) */
	{"\x81\x05\x10\x00\x00\x00\x01\x02\x03\x04", 10, true, OPERAND_FOUND, 0x5000 + 10 + 0x10, true}, /* and imm32 */
	{"\x66\x81\x3d\x10\x00\x00\x00\x01\x02", 9, true, OPERAND_FOUND, 0x5000 + 9 + 0x10, false}, /* cmp, imm16 */
	{"\xf6\x05\x00\x00\x00\x00\x01", 7, true, OPERAND_FOUND, 0x5000 + 7, false},		    /* test imm8 */
	{"\xf7\x15\x00\x00\x00\x00", 6, true, OPERAND_FOUND, 0x5000 + 6, true}, /* not: no immediate */
	{"\x64\x48\x8b\x00", 4, true, OPERAND_FOUND, 0x71000, false},
	{"\x65\xc6\x00\x01", 4, true, OPERAND_FOUND, 0x81000, true},
	{"\x67\x8b\x40\xff", 4, true, OPERAND_FOUND, 0xfff, false},
	{"\x66\x0f\xfe\x00", 4, true, OPERAND_FOUND, 0x1000, false},				  /* paddd */
	{"\x0f\x17\x44\x90\x08", 5, true, OPERAND_FOUND, 0x1000 + 0x3000 * 4 + 8, true},	  /* movhps */
	{"\xf3\x0f\x7e\x00", 4, true, OPERAND_FOUND, 0x1000, false},				  /* movq, a load */
	{"\x66\x0f\x7e\x00", 4, true, OPERAND_FOUND, 0x1000, true},				  /* movd, a store */
	{"\x0f\xae\x20", 3, true, OPERAND_FOUND, 0x1000, true},					  /* xsave */
	{"\x0f\xae\x28", 3, true, OPERAND_FOUND, 0x1000, false},				  /* xrstor */
	{"\xf0\x0f\xc1\x10", 4, true, OPERAND_FOUND, 0x1000, true},				  /* lock xadd */
	{"\x0f\xba\x28\x01", 4, true, OPERAND_FOUND, 0x1000, true},				  /* bts imm8 */
	{"\x66\x0f\x3a\x16\x05\x00\x00\x00\x00\x01", 10, true, OPERAND_FOUND, 0x5000 + 10, true}, /* pextrd */
	{"\x0f\x38\xf1\x00", 4, true, OPERAND_FOUND, 0x1000, true},				  /* movbe, a store */
	{"\xf2\x0f\x38\xf1\x00", 5, true, OPERAND_FOUND, 0x1000, false},			  /* crc32 */
	{"\xc5\xfc\x10\x00", 4, true, OPERAND_FOUND, 0x1000, false},				  /* vmovups (rax) */
	{"\xc5\xfc\x11\x00", 4, true, OPERAND_FOUND, 0x1000, true},
	{"\xc5\xfa\x7e\x00", 4, true, OPERAND_FOUND, 0x1000, false},		 /* vmovq (rax): a load */
	{"\xc5\xf9\x7e\x00", 4, true, OPERAND_FOUND, 0x1000, true},		 /* vmovd to (rax) */
	{"\xc4\xc1\x7c\x10\x40\x20", 6, true, OPERAND_FOUND, 0x9020, false},	 /* 0x20(r8) */
	{"\xc4\xe3\x7d\x19\x00\x01", 6, true, OPERAND_FOUND, 0x1000, true},	 /* vextractf128 */
	{"\x62\xf1\x7c\x48\x10\x40\x01", 7, true, OPERAND_FOUND, 0x1040, false}, /* 64(rax), by vectors */
	{"\x62\xf1\x7c\x48\x11\x00", 6, true, OPERAND_FOUND, 0x1000, true},
	{"\xc3", 1, true, OPERAND_NONE, 0, false},
	{"\x0f\x0b", 2, true, OPERAND_NONE, 0, false},
	{"\x48\x89\xc8", 3, true, OPERAND_NONE, 0, false}, /* registers alone */
	{"\x90", 1, true, OPERAND_NONE, 0, false},
	{"\xb8\x01\x02\x03\x04", 5, true, OPERAND_NONE, 0, false},
	{"\xb8\x01\x02\x03", 4, true, OPERAND_CUT, 0, false},
	{"\x48\xb8\x01\x02\x03\x04", 6, true, OPERAND_CUT, 0, false},
	{"\xe8\x00\x00", 3, true, OPERAND_CUT, 0, false},
	{"\x0f\x85\x00", 3, true, OPERAND_CUT, 0, false},
	{"\x48\xa1\x01\x02\x03\x04\x05\x06\x07", 9, true, OPERAND_CUT, 0, false},
	{"\xc2\x01", 2, true, OPERAND_CUT, 0, false},
	{"\x6a", 1, true, OPERAND_CUT, 0, false},
	{"", 0, true, OPERAND_CUT, 0, false},
	{"\x66\x66\x66", 3, true, OPERAND_CUT, 0, false},
	{"\x48", 1, true, OPERAND_CUT, 0, false},
	{"\x0f", 1, true, OPERAND_CUT, 0, false},
	{"\x8b", 1, true, OPERAND_CUT, 0, false},
	{"\x8b\x80\x00", 3, true, OPERAND_CUT, 0, false},
	{"\x62\xf1", 2, true, OPERAND_CUT, 0, false},
	{"\x8b\x00", 2, false, OPERAND_FOUND, 0x1000, false},
	{"\x8b\x05\x00\x30\x00\x00", 6, false, OPERAND_FOUND, 0x3000, false}, /* in 32 bits: not from rip */
	{"\x40\x8b\x00", 3, false, OPERAND_NONE, 0, false},		      /* inc eax */
	{"\xc5\x00", 2, false, OPERAND_FOUND, 0x1000, false},		      /* lds */
};

START_TEST(operands_are_found)
{
	struct operand o = {0};

	set_registers(operands[_i].wide);
	ck_assert_int_eq(operand_find((const uint8_t *)operands[_i].code, operands[_i].bytes, &regs, &sregs, &o),
			 operands[_i].end);
	if (operands[_i].end == OPERAND_FOUND) {
		ck_assert_uint_eq(o.linear, operands[_i].linear);
		ck_assert_int_eq(o.write, operands[_i].write);
	}
}
END_TEST

START_TEST(sixteen_bits_are_not_looked_at)
{
	struct operand o;

	set_registers(false);
	sregs.cs.db = 0;
	ck_assert_int_eq(operand_find((const uint8_t *)"\x8b\x00", 2, &regs, &sregs, &o), OPERAND_NONE);
}
END_TEST

/* --- the access, from registers and memory */
static bool is_ram(const void *self, uint64_t gpa)
{
	(void)self;
	return gpa < RAM_BYTES;
}

static bool find(struct fault *f)
{
	const struct fault_scene scene = {&fake.ram, &regs, &sregs, NULL, is_ram};

	*f = (struct fault){0};
	return fault_find(&scene, f);
}

/* Identity by 2M leaves from root 0x10000; code at 0x5000; a stack in RAM. */
static void set_scene(const char *code, size_t bytes)
{
	open_ram();
	set_registers(true);
	sregs.cr0 = CR0_ON;
	sregs.cr3 = 0x10000;
	sregs.cr4 = 0x20;
	sregs.ss.dpl = 3;
	put64(0x10000, 0x11001);
	put64(0x11000, 0x12001);
	for (uint64_t i = 0; i < 3; i++)
		put64(0x12000 + 8 * i, i << 21 | 0x81);
	if (bytes)
		ck_assert(ram_write(&fake.ram, regs.rip, code, bytes));
}

START_TEST(finds_a_fetch)
{
	struct fault f;

	set_scene("\x90", 1);
	ck_assert(!find(&f));
	regs.rip = GUARD + 5;
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_FETCH);
	ck_assert_uint_eq(f.gpa, GUARD + 5);
	ck_assert_uint_eq(f.rip, GUARD + 5);
	ck_assert_uint_eq(f.ring, 3);
	ck_assert(!f.walk && f.has_linear);
	regs.rip = GUARD - 3; /* mov imm32, cut by the guard */
	put32(GUARD - 4, 0x0102b890);
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_FETCH);
	ck_assert_uint_eq(f.gpa, GUARD);
	regs.rip = RAM_BYTES + 16; /* nothing is there either, but it is no guard */
	ck_assert(!find(&f));
	fake_ram_fini(&fake);
}
END_TEST

START_TEST(finds_an_operand)
{
	struct fault f;

	set_scene("\xc5\xfc\x10\x00", 4); /* 32 bytes at rax */
	regs.rax = GUARD + 64;
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_READ);
	ck_assert_uint_eq(f.gpa, GUARD + 64);
	regs.rax = GUARD - 31; /* the last byte */
	ck_assert(find(&f));
	ck_assert_uint_eq(f.gpa, GUARD);
	regs.rax = GUARD - 32;
	ck_assert(!find(&f));
	regs.rax = FIXED + 8; /* may be read */
	ck_assert(!find(&f));
	ck_assert(ram_write(&fake.ram, regs.rip + 2, "\x11", 1));
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_WRITE);
	ck_assert_uint_eq(f.gpa, FIXED + 8);
	regs.rax = RAM_BYTES;
	ck_assert(!find(&f));
	fake_ram_fini(&fake);
}
END_TEST

START_TEST(finds_a_walk)
{
	struct fault f;

	set_scene("\x48\x8b\x00", 3);
	put64(0x10000 + 8 * 100, GUARD | 7);
	regs.rax = (UINT64_C(100) << 39) + (UINT64_C(3) << 30);
	ck_assert(find(&f));
	ck_assert(f.walk);
	ck_assert_int_eq(f.access, FAULT_READ);
	ck_assert_uint_eq(f.gpa, GUARD + 24);
	ck_assert_uint_eq(f.linear, regs.rax);
	put64(0x10000 + 8 * 100, 0); /* not there: the guest's own fault */
	ck_assert(!find(&f));
	sregs.cr3 = GUARD; /* the root itself */
	ck_assert(find(&f));
	ck_assert(f.walk);
	ck_assert_uint_eq(f.gpa, GUARD);
	ck_assert_uint_eq(f.linear, regs.rip);
	fake_ram_fini(&fake);
}
END_TEST

START_TEST(finds_a_stack)
{
	struct fault f;

	set_scene("\x0f\x0b", 2);
	regs.rsp = GUARD + FRAME_BYTES; /* what is pushed goes below */
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_WRITE);
	ck_assert_uint_eq(f.gpa, GUARD + FRAME_BYTES - 8);
	regs.rsp = GUARD;
	ck_assert(find(&f));
	ck_assert_int_eq(f.access, FAULT_READ);
	ck_assert_uint_eq(f.gpa, GUARD);
	regs.rsp = 0;
	ck_assert(!find(&f));
	fake_ram_fini(&fake);
}
END_TEST

Suite *fault_suite(void)
{
	Suite *s = suite_create("fault");
	TCase *t = tcase_create("fault");

	tcase_add_test(t, sentences);
	tcase_add_test(t, lines_are_some_a_second);
	tcase_add_test(t, walks_of_every_shape);
	tcase_add_test(t, paths_of_every_shape);
	tcase_add_loop_test(t, operands_are_found, 0, COUNT(operands));
	tcase_add_test(t, sixteen_bits_are_not_looked_at);
	tcase_add_test(t, finds_a_fetch);
	tcase_add_test(t, finds_an_operand);
	tcase_add_test(t, finds_a_walk);
	tcase_add_test(t, finds_a_stack);
	suite_add_tcase(s, t);
	return s;
}
