/* vmm/operand.c
 *
 * What it is. Enough of the x86 instruction format to say which address an
 * instruction with a ModRM byte means: prefixes, REX, VEX and EVEX, the four
 * opcode maps, SIB and displacement, and the immediate's length where the
 * address counts from the instruction's end. For the sentence about an access
 * that KVM could not emulate; nothing depends on it.
 *
 * What it is not. A disassembler: implicit operands (stack, string, XLAT) and
 * addresses of 16 bits are not looked at. Whether memory is written is told from
 * the opcode, for those that are common. An EVEX displacement of 8 bits counts in
 * whole vectors, which is right for moves of whole vectors only.
 *
 * Every byte is fetched by take(), which counts: no code can lead out of it.
 * Sources: Intel SDM vol. 2, chapter 2 and the opcode maps of appendix A. */
#include "vmm/operand.h"

#include "mm/types.h"
#include "vmm/x86.h"

enum map { MAP_ONE, MAP_0F, MAP_0F38, MAP_0F3A };

struct instruction {
	const uint8_t *code;
	size_t bytes, at;
	bool cut;
	bool long_mode, wide_address; /* addresses of 64 bits */
	bool operand_16, rex_w, repeat, evex;
	unsigned r, x, b; /* REX.R and the like: 0 or 8 */
	unsigned vector_bytes;
	enum map map;
	uint8_t opcode, modrm;
	const struct kvm_segment *segment; /* by a prefix, or NULL */
};

static uint8_t take(struct instruction *i)
{
	if (i->at >= i->bytes) {
		i->cut = true;
		return 0;
	}
	return i->code[i->at++];
}

static bool take_prefix(struct instruction *i, const struct kvm_sregs *s)
{
	if (i->at >= i->bytes)
		return false;
	switch (i->code[i->at]) {
	case 0x66:
		i->operand_16 = true;
		break;
	case 0x67:
		i->wide_address = false;
		break;
	case 0x64:
		i->segment = &s->fs;
		break;
	case 0x65:
		i->segment = &s->gs;
		break;
	case 0xf2:
	case 0xf3:
		i->repeat = true;
		break;
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0xf0:
		break;
	default:
		return false;
	}
	i->at++;
	return true;
}

static void set_rex(struct instruction *i, unsigned rxb)
{
	i->r = rxb & 4 ? 8 : 0;
	i->x = rxb & 2 ? 8 : 0;
	i->b = rxb & 1 ? 8 : 0;
}

/* C5 has one byte, C4 two, 62 three; R, X and B are there inverted. */
static void take_vex(struct instruction *i, uint8_t first)
{
	uint8_t one = take(i), two = 0;

	if (first == 0xc5) {
		set_rex(i, one & 0x80 ? 0 : 4);
		i->map = MAP_0F;
		two = one;
	} else {
		set_rex(i, (~one >> 5) & 7);
		i->map = (enum map)(one & 3);
		two = take(i);
	}
	i->repeat = (two & 3) >= 2; /* it stands for the prefix f3 or f2 */
	i->vector_bytes = two & 4 ? 32 : 16;
	if (first == 0x62) {
		i->evex = true;
		i->vector_bytes = 16u << (take(i) >> 5 & 3);
	}
	i->opcode = take(i);
}

static void take_opcode(struct instruction *i)
{
	uint8_t byte = take(i);

	if (i->long_mode && (byte & 0xf0) == 0x40) {
		set_rex(i, byte & 7);
		i->rex_w = byte & 8;
		byte = take(i);
	}
	if (i->long_mode && (byte == 0xc4 || byte == 0xc5 || byte == 0x62)) {
		take_vex(i, byte);
		return;
	}
	i->opcode = byte;
	if (byte != 0x0f)
		return;
	i->map = MAP_0F;
	i->opcode = take(i);
	if (i->opcode != 0x38 && i->opcode != 0x3a)
		return;
	i->map = i->opcode == 0x38 ? MAP_0F38 : MAP_0F3A;
	i->opcode = take(i);
}

static bool has_modrm(const struct instruction *i)
{
	const uint8_t o = i->opcode;

	if (i->map == MAP_ONE)
		return (o < 0x40 && (o & 7) < 4) || o == 0x62 || o == 0x63 || o == 0x69 || o == 0x6b ||
		       (o >= 0x80 && o <= 0x8f) || o == 0xc0 || o == 0xc1 || (o >= 0xc4 && o <= 0xc7) ||
		       (o >= 0xd0 && o <= 0xdf && o != 0xd4 && o != 0xd5 && o != 0xd6 && o != 0xd7) || o == 0xf6 ||
		       o == 0xf7 || o == 0xfe || o == 0xff;
	if (i->map == MAP_0F)
		return !((o >= 0x04 && o <= 0x0c) || o == 0x0e || (o >= 0x30 && o <= 0x37) || o == 0x77 ||
			 (o >= 0x80 && o <= 0x8f) || (o >= 0xa0 && o <= 0xa2) || (o >= 0xa8 && o <= 0xaa) ||
			 (o >= 0xc8 && o <= 0xcf) || o == 0xff);
	return true;
}

/* Of the one-byte opcodes without ModRM. */
static unsigned plain_immediate_bytes(const struct instruction *i)
{
	const uint8_t o = i->opcode;
	const unsigned full = i->operand_16 ? 2 : 4;

	if (o < 0x40)
		return (o & 7) == 4 ? 1 : (o & 7) == 5 ? full : 0;
	if (o >= 0xa0 && o <= 0xa3) /* an address of its own */
		return i->wide_address ? 8 : 4;
	if (o >= 0xb8 && o <= 0xbf)
		return i->rex_w ? 8 : full;
	if (o == 0x68 || o == 0xa9 || o == 0xe8 || o == 0xe9)
		return full;
	if (o == 0xc2 || o == 0xca)
		return 2;
	return o == 0x6a || (o >= 0x70 && o <= 0x7f) || o == 0xa8 || (o >= 0xb0 && o <= 0xb7) || o == 0xcd ||
	       (o >= 0xe0 && o <= 0xe7) || o == 0xeb;
}

/* Behind the operand; what is not listed has none. */
static unsigned modrm_immediate_bytes(const struct instruction *i)
{
	const unsigned full = i->operand_16 ? 2 : 4, field = i->modrm >> 3 & 7;

	switch (i->opcode) {
	case 0x6b:
	case 0x80:
	case 0x82:
	case 0x83:
	case 0xc0:
	case 0xc1:
	case 0xc6:
		return 1;
	case 0x69:
	case 0x81:
	case 0xc7:
		return full;
	case 0xf6:
		return field < 2;
	case 0xf7:
		return field < 2 ? full : 0;
	default:
		return 0;
	}
}

static unsigned immediate_bytes(const struct instruction *i, bool modrm)
{
	const uint8_t o = i->opcode;

	switch (i->map) {
	case MAP_0F3A:
		return 1;
	case MAP_0F38:
		return 0;
	case MAP_0F:
		if (o >= 0x80 && o <= 0x8f)
			return 4;
		return (o >= 0x70 && o <= 0x73) || o == 0xa4 || o == 0xac || o == 0xba || o == 0xc2 ||
		       (o >= 0xc4 && o <= 0xc6);
	case MAP_ONE:
		break;
	}
	return modrm ? modrm_immediate_bytes(i) : plain_immediate_bytes(i);
}

static bool writes_one(uint8_t o, unsigned field)
{
	if (o < 0x40)
		return (o & 7) < 2 && o < 0x38;
	switch (o) {
	case 0x80:
	case 0x81:
	case 0x82:
	case 0x83:
		return field != 7;
	case 0x86:
	case 0x87:
	case 0x88:
	case 0x89:
	case 0x8c:
	case 0x8f:
	case 0xc0:
	case 0xc1:
	case 0xc6:
	case 0xc7:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		return true;
	case 0xf6:
	case 0xf7:
		return field == 2 || field == 3;
	case 0xfe:
	case 0xff:
		return field < 2;
	default:
		return false;
	}
}

static bool writes_0f(const struct instruction *i, unsigned field)
{
	static const uint8_t stores[] = {0x11, 0x13, 0x17, 0x29, 0x2b, 0x7f, 0xa4, 0xa5, 0xab, 0xac, 0xad,
					 0xb0, 0xb1, 0xb3, 0xbb, 0xc0, 0xc1, 0xc3, 0xc7, 0xd6, 0xe7};
	const uint8_t o = i->opcode;

	for (size_t k = 0; k < sizeof(stores); k++)
		if (stores[k] == o)
			return true;
	if (o == 0x7e)
		return !i->repeat; /* with it, a load of 8 bytes */
	if (o == 0xae)
		return field == 0 || field == 3 || field == 4 || field == 6;
	if (o == 0xba)
		return field > 4;
	return o >= 0x90 && o <= 0x9f;
}

static bool writes(const struct instruction *i)
{
	const unsigned field = i->modrm >> 3 & 7;
	const uint8_t o = i->opcode;

	switch (i->map) {
	case MAP_ONE:
		return writes_one(o, field);
	case MAP_0F:
		return writes_0f(i, field);
	case MAP_0F38:
		return o == 0x2e || o == 0x2f || o == 0x8e || (o >= 0xa0 && o <= 0xa3) || (o == 0xf1 && !i->repeat);
	case MAP_0F3A:
		return (o >= 0x14 && o <= 0x17) || o == 0x19 || o == 0x39;
	}
	return false;
}

static uint64_t reg(const struct kvm_regs *r, unsigned n)
{
	const uint64_t all[16] = {r->rax, r->rcx, r->rdx, r->rbx, r->rsp, r->rbp, r->rsi, r->rdi,
				  r->r8,  r->r9,  r->r10, r->r11, r->r12, r->r13, r->r14, r->r15};

	return all[n & 15];
}

static uint64_t take_displacement(struct instruction *i, unsigned bytes)
{
	uint64_t d = 0;

	for (unsigned k = 0; k < bytes; k++)
		d |= (uint64_t)take(i) << (8 * k);
	if (bytes == 4)
		return (uint64_t)(int64_t)(int32_t)d;
	return bytes == 1 ? (uint64_t)(int64_t)(int8_t)d * (i->evex ? i->vector_bytes : 1) : 0;
}

/* ModRM, SIB and displacement (SDM vol. 2, tables 2-2 and 2-3), but for the instruction's own address. */
static uint64_t take_address(struct instruction *i, const struct kvm_regs *r, bool *from_rip)
{
	const unsigned mod = i->modrm >> 6, low = i->modrm & 7;
	unsigned base = low;
	uint64_t sum = 0;

	if (low == 4) {
		const uint8_t sib = take(i);
		const unsigned index = (sib >> 3 & 7) | i->x;

		base = sib & 7;
		if (index != 4)
			sum = reg(r, index) << (sib >> 6);
	}
	if (mod == 0 && base == 5) {
		*from_rip = i->long_mode && low == 5;
		return sum + take_displacement(i, 4);
	}
	sum += reg(r, base | i->b);
	return sum + take_displacement(i, mod == 1 ? 1 : mod == 2 ? 4 : 0);
}

enum operand_end operand_find(const uint8_t *code, size_t bytes, const struct kvm_regs *regs,
			      const struct kvm_sregs *sregs, struct operand *out)
{
	const bool long_mode = sregs->efer & EFER_LMA && sregs->cs.l;
	struct instruction i = {
		.code = code, .bytes = bytes, .long_mode = long_mode, .wide_address = long_mode, .vector_bytes = 16};
	bool from_rip = false, modrm, memory;
	uint64_t address = 0;

	while (take_prefix(&i, sregs))
		;
	take_opcode(&i);
	modrm = has_modrm(&i);
	i.modrm = modrm ? take(&i) : 0xc0;
	memory = i.modrm >> 6 != 3;
	if (memory && !i.cut && !long_mode && !sregs->cs.db)
		return OPERAND_NONE;
	if (memory)
		address = take_address(&i, regs, &from_rip);
	for (unsigned k = immediate_bytes(&i, modrm); k > 0; k--)
		(void)take(&i);
	if (i.cut)
		return OPERAND_CUT;
	if (!memory)
		return OPERAND_NONE;
	if (from_rip)
		address += regs->rip + i.at;
	if (!i.wide_address)
		address &= UINT32_MAX;
	if (i.segment)
		address += i.segment->base;
	else if (!long_mode)
		address += sregs->ds.base;
	*out = (struct operand){long_mode ? address : (uint32_t)address, i.vector_bytes, writes(&i)};
	return OPERAND_FOUND;
}
