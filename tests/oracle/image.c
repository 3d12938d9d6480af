/* image.c: writes the disk of one run of an oracle.
 *
 *	image ORACLE SEED PROBES SPOIL BOOT GUEST OUT
 *
 * ORACLE names the emulator and the format, and so what is known of it to be
 * otherwise than the manuals say; nothing else is excluded. SPOIL is "none" or
 * the wrong bit that must not go unseen. BOOT is guests/hv/boot.S's sector, GUEST
 * hv's ELF file. The disk is the sector, hv as it lies in memory, and the script.
 * The first line printed begins with the number of probes; the rest says of what
 * kinds they are. */
#include <elf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guests/hv/boot.h"
#include "tests/oracle/plan.h"

#define BATCH_BYTES ((uint64_t)BOOT_BATCH_SECTORS * BOOT_SECTOR_BYTES)
#define CYLINDER    (UINT64_C(16) * 63 * BOOT_SECTOR_BYTES) /* a disk is a multiple of it, for Bochs */
#define IMAGE_AT    UINT64_C(0x100000)

struct bytes {
	uint8_t *at;
	uint64_t count;
};

static const struct oracle {
	const char *name;
	struct model model;
} oracles[] = {
	/* Bochs 2.7: see model.h for each word. MAXPHYADDR is 40. */
	{"bochs-ept",
	 {.format = PAGETABLE_EPT, .phys_bits = 40, .execute_only = true, .ignores_12 = true, .hides_read = true}},
	{"bochs-npt", {.format = PAGETABLE_NPT, .phys_bits = 40}},
	/* QEMU 7.2, TCG: its physical addresses have 40 bits too. */
	{"qemu-npt", {.format = PAGETABLE_NPT, .phys_bits = 40, .hides_present = true}},
};

static const char *const spoils[] = {
	[SPOIL_NONE] = "none",	     [SPOIL_LIBRARY] = "library",   [SPOIL_WRITE] = "write",
	[SPOIL_EXEC] = "exec",	     [SPOIL_PRESENT] = "present",   [SPOIL_LARGE] = "large",
	[SPOIL_ADDRESS] = "address", [SPOIL_RESERVED] = "reserved", [SPOIL_MARK] = "mark",
	[SPOIL_LINK] = "link",
};

static _Noreturn void give_up(const char *what, const char *name)
{
	fprintf(stderr, "image: %s: %s\n", name, what);
	exit(2);
}

static struct bytes file_read(const char *name)
{
	FILE *f = fopen(name, "rb");
	struct bytes b = {0};
	long size;

	if (!f || fseek(f, 0, SEEK_END) || (size = ftell(f)) < 0 || fseek(f, 0, SEEK_SET))
		give_up("cannot be read", name);
	b.count = (uint64_t)size;
	b.at = malloc(b.count);
	if (!b.at || fread(b.at, 1, b.count, f) != b.count)
		give_up("cannot be read", name);
	fclose(f);
	return b;
}

/* hv as it lies in memory from IMAGE_AT on, what is zero at first included. */
static struct bytes guest_flat(const char *name, uint32_t *entry)
{
	struct bytes elf = file_read(name), flat = {0};
	const Elf32_Ehdr *head = (const Elf32_Ehdr *)(const void *)elf.at;
	const Elf32_Phdr *part = (const Elf32_Phdr *)(const void *)(elf.at + head->e_phoff);

	flat.at = calloc(1, HV_ARENA - IMAGE_AT);
	for (unsigned i = 0; flat.at && i < head->e_phnum; i++) {
		uint64_t at = part[i].p_paddr - IMAGE_AT, end = at + part[i].p_memsz;

		if (part[i].p_type != PT_LOAD)
			continue;
		if (part[i].p_paddr < IMAGE_AT || end > HV_ARENA - IMAGE_AT)
			give_up("does not fit below the arena", name);
		memcpy(flat.at + at, elf.at + part[i].p_offset, part[i].p_filesz);
		if (end > flat.count)
			flat.count = end;
	}
	*entry = head->e_entry;
	free(elf.at);
	return flat;
}

static struct bytes script_flat(const struct plan *plan)
{
	struct bytes b = {.count = plan->header.pages_at + plan->pages * FRAME_BYTES};

	b.at = calloc(1, b.count);
	if (!b.at || b.count > HV_SCRIPT_BYTES)
		give_up("is too long", "the script");
	memcpy(b.at, &plan->header, sizeof(plan->header));
	memcpy(b.at + sizeof(plan->header), plan->step, plan->header.steps * sizeof(*plan->step));
	memcpy(b.at + plan->header.pages_at, plan->page, plan->pages * FRAME_BYTES);
	return b;
}

static uint64_t batches(uint64_t bytes)
{
	return (bytes + BATCH_BYTES - 1) / BATCH_BYTES;
}

static void disk_write(const char *name, struct bytes sector, const struct bytes part[BOOT_PARTS], uint32_t entry)
{
	static const uint32_t address[BOOT_PARTS] = {IMAGE_AT, HV_SCRIPT};
	struct boot_part table[BOOT_PARTS];
	uint64_t at = BOOT_SECTOR_BYTES;
	FILE *f = fopen(name, "wb");
	bool good = f && sector.count == BOOT_SECTOR_BYTES;

	for (unsigned i = 0; good && i < BOOT_PARTS; i++) {
		table[i] = (struct boot_part){(uint32_t)(at / BOOT_SECTOR_BYTES), address[i],
					      (uint32_t)batches(part[i].count)};
		good = !fseek(f, (long)at, SEEK_SET) && fwrite(part[i].at, 1, part[i].count, f) == part[i].count;
		at += table[i].batches * BATCH_BYTES;
	}
	at = (at + CYLINDER - 1) / CYLINDER * CYLINDER;
	good = good && !fseek(f, (long)at - 1, SEEK_SET) && fputc(0, f) == 0 && !fseek(f, 0, SEEK_SET);
	if (good) {
		memcpy(sector.at + BOOT_PARTS_AT, table, sizeof(table));
		memcpy(sector.at + BOOT_ENTRY_AT, &entry, sizeof(entry));
		good = fwrite(sector.at, 1, sector.count, f) == sector.count;
	}
	if (!f || fclose(f) || !good)
		give_up("cannot be written", name);
}

static const struct oracle *oracle_named(const char *name)
{
	for (unsigned i = 0; i < sizeof(oracles) / sizeof(oracles[0]); i++)
		if (strcmp(oracles[i].name, name) == 0)
			return &oracles[i];
	give_up("no such oracle", name);
}

static enum plan_spoil spoil_named(const char *name)
{
	for (unsigned i = 0; i < sizeof(spoils) / sizeof(spoils[0]); i++)
		if (strcmp(spoils[i], name) == 0)
			return (enum plan_spoil)i;
	give_up("no such spoil", name);
}

static void tally_print(const struct plan *plan)
{
	static const char *const size[] = {"4K", "2M", "1G"}, *const access[] = {"read", "write", "fetch"};
	static const char *const change[] = {"mapped", "unmapped", "protected", "harvested"};
	const struct plan_tally *t = &plan->tally;

	printf("%llu probes in %u steps, over %llu leaves\n", (unsigned long long)plan->probes, plan->header.steps,
	       (unsigned long long)plan->leaves);
	for (unsigned s = 0; s < PAGETABLE_SIZES; s++)
		for (unsigned a = 0; a < 3; a++)
			printf("  %s %s: %llu done, %llu refused, %llu misconfigured\n", size[s], access[a],
			       (unsigned long long)t->leaf[s][a][HV_DONE],
			       (unsigned long long)t->leaf[s][a][HV_VIOLATION],
			       (unsigned long long)t->leaf[s][a][HV_MISCONFIGURED]);
	for (unsigned l = 0; l < PAGETABLE_LEVELS; l++)
		printf("  level %u: %llu absent; inner walk: %llu absent, %llu refused\n", l,
		       (unsigned long long)t->absent[l], (unsigned long long)t->walk[l][0],
		       (unsigned long long)t->walk[l][1]);
	for (unsigned c = 0; c < 4; c++)
		printf("  %s: %llu\n", change[c], (unsigned long long)t->changes[c]);
}

int main(int argc, char **argv)
{
	struct bytes sector, part[BOOT_PARTS];
	struct plan plan = {0};
	uint32_t entry;

	if (argc != 8)
		give_up("ORACLE SEED PROBES SPOIL BOOT GUEST OUT", "usage");
	plan.model = malloc(sizeof(*plan.model));
	if (!plan.model)
		give_up("no memory", "model");
	*plan.model = oracle_named(argv[1])->model;
	plan.spoil = spoil_named(argv[4]);
	plan.header.format = plan.model->format;
	plan.header.phys_bits = plan.model->phys_bits;
	plan.header.blind = plan.spoil != SPOIL_NONE;
	plan_make(&plan, strtoull(argv[2], NULL, 0), strtoull(argv[3], NULL, 0));
	sector = file_read(argv[5]);
	part[0] = guest_flat(argv[6], &entry);
	part[1] = script_flat(&plan);
	disk_write(argv[7], sector, part, entry);
	tally_print(&plan);
	plan_free(&plan);
	free(plan.model);
	free(sector.at);
	free(part[0].at);
	free(part[1].at);
	return 0;
}
