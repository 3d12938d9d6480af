/* vmm/source_line.c: names of addresses, read from the files of this process.
 *
 * For each loaded object that one of the addresses lies in, its file is mapped, the
 * symbols are read through once, then the line tables once (debug_line.h). Both passes
 * look up each of their ranges in the sorted addresses, so that it does not matter how
 * many there are. What is copied out is cut to its field.
 *
 * Objects are found by _dl_find_object(), which takes no lock. Rejected: dl_iterate_phdr(): its lock may be held by
 * who waits for us, or, in a child of fork(), by nobody, for ever. The object of a call that has not returned is not
 * unloaded meanwhile; that of an old one may be, as its name is read. */
#include "vmm/source_line.h"

#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/debug_line.h"

#define PROGRAM "/proc/self/exe"

struct file {
	const uint8_t *at;
	size_t bytes;
};

struct part {
	const uint8_t *at;
	size_t bytes;
};

/* The addresses that lie in one object, and where it was loaded. */
struct within {
	struct source_line *lines;
	size_t n;
	uint64_t base;
};

static uint64_t key_of(const struct within *w, size_t i)
{
	return w->lines[i].pc - 1 - w->base;
}

/* The first whose key is not below. */
static size_t first_from(const struct within *w, uint64_t key)
{
	size_t low = 0, high = w->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (key_of(w, middle) < key)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Shell's sort: qsort() may allocate. */
static void sort(struct source_line *lines, size_t n)
{
	for (size_t gap = n / 2; gap > 0; gap /= 2)
		for (size_t i = gap; i < n; i++) {
			struct source_line moving = lines[i];
			size_t at = i;

			for (; at >= gap && lines[at - gap].pc > moving.pc; at -= gap)
				lines[at] = lines[at - gap];
			lines[at] = moving;
		}
}

static void copy(char *to, size_t room, const char *from, size_t most)
{
	size_t length = strnlen(from, most < room - 1 ? most : room - 1);

	memcpy(to, from, length);
	to[length] = 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* ---- the file ---- */

static bool file_open(const char *path, struct file *out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat s;
	void *map = MAP_FAILED;

	if (fd < 0)
		return false;
	if (fstat(fd, &s) == 0 && s.st_size >= (off_t)sizeof(Elf64_Ehdr))
		map = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return false;
	*out = (struct file){.at = map, .bytes = (size_t)s.st_size};
	return true;
}

static void file_close(const struct file *f)
{
	munmap((void *)(uintptr_t)f->at, f->bytes);
}

static struct part part_of(const struct file *f, uint64_t offset, uint64_t bytes)
{
	if (offset > f->bytes || bytes > f->bytes - offset)
		return (struct part){NULL, 0};
	return (struct part){f->at + offset, bytes};
}

static const char *string_of(struct part strings, uint64_t offset)
{
	if (offset >= strings.bytes || !memchr(strings.at + offset, 0, strings.bytes - offset))
		return "";
	return (const char *)strings.at + offset;
}

/* Number i; all zeros iff there is none. */
static Elf64_Shdr section_at(const struct file *f, unsigned i)
{
	Elf64_Ehdr e;
	Elf64_Shdr section = {0};
	struct part at;

	memcpy(&e, f->at, sizeof(e));
	if (memcmp(e.e_ident, ELFMAG, SELFMAG) != 0 || e.e_ident[EI_CLASS] != ELFCLASS64 || i >= e.e_shnum)
		return section;
	at = part_of(f, e.e_shoff + (uint64_t)i * sizeof(section), sizeof(section));
	if (at.at)
		memcpy(&section, at.at, sizeof(section));
	return section;
}

static struct part content_of(const struct file *f, const Elf64_Shdr *s)
{
	if (s->sh_type == SHT_NOBITS || s->sh_flags & SHF_COMPRESSED)
		return (struct part){NULL, 0};
	return part_of(f, s->sh_offset, s->sh_size);
}

static unsigned sections_of(const struct file *f)
{
	Elf64_Ehdr e;

	memcpy(&e, f->at, sizeof(e));
	return e.e_shnum;
}

static struct part section_named(const struct file *f, const char *name)
{
	Elf64_Ehdr e;
	Elf64_Shdr section;
	struct part names;

	memcpy(&e, f->at, sizeof(e));
	section = section_at(f, e.e_shstrndx);
	names = content_of(f, &section);
	for (unsigned i = 1; i < e.e_shnum; i++) {
		section = section_at(f, i);
		if (strcmp(string_of(names, section.sh_name), name) == 0)
			return content_of(f, &section);
	}
	return (struct part){NULL, 0};
}

/* ---- functions ---- */

static void symbol_use(const struct within *w, const Elf64_Sym *symbol, struct part strings)
{
	unsigned type = ELF64_ST_TYPE(symbol->st_info);

	if ((type != STT_FUNC && type != STT_GNU_IFUNC) || symbol->st_shndx == SHN_UNDEF)
		return;
	for (size_t i = first_from(w, symbol->st_value); i < w->n; i++) {
		struct source_line *l = &w->lines[i];

		if (key_of(w, i) - symbol->st_value >= symbol->st_size)
			return;
		if (l->function[0])
			continue;
		copy(l->function, sizeof(l->function), string_of(strings, symbol->st_name), SIZE_MAX);
		l->offset = l->pc - w->base - symbol->st_value;
	}
}

static void symbols_read(const struct file *f, const struct within *w, uint32_t type)
{
	for (unsigned i = 1; i < sections_of(f); i++) {
		Elf64_Shdr section = section_at(f, i), linked = section_at(f, section.sh_link);
		struct part table = content_of(f, &section), strings = content_of(f, &linked);

		if (section.sh_type != type)
			continue;
		for (size_t at = 0; at + sizeof(Elf64_Sym) <= table.bytes; at += sizeof(Elf64_Sym)) {
			Elf64_Sym symbol;

			memcpy(&symbol, table.at + at, sizeof(symbol));
			symbol_use(w, &symbol, strings);
		}
	}
}

/* ---- lines ---- */

static void lines_read(const struct file *f, const struct within *w)
{
	struct part line = section_named(f, ".debug_line"), line_str = section_named(f, ".debug_line_str"),
		    str = section_named(f, ".debug_str");
	struct debug_line_sections sections = {.line = line.at,
					       .line_bytes = line.bytes,
					       .line_str = line_str.at,
					       .line_str_bytes = line_str.bytes,
					       .str = str.at,
					       .str_bytes = str.bytes};
	size_t bytes = w->n * sizeof(struct debug_line_query);
	struct debug_line_query *queries;

	if (!line.at)
		return;
	queries = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (queries == MAP_FAILED)
		return;
	for (size_t i = 0; i < w->n; i++)
		queries[i].address = key_of(w, i);
	debug_line_find(&sections, queries, w->n);
	for (size_t i = 0; i < w->n; i++) {
		if (!queries[i].file || queries[i].line == 0)
			continue;
		copy(w->lines[i].file, sizeof(w->lines[i].file), base_name(queries[i].file), SIZE_MAX);
		w->lines[i].line = queries[i].line;
	}
	munmap(queries, bytes);
}

/* ---- objects ---- */

static void module_name(const struct within *w, const char *path)
{
	for (size_t i = 0; i < w->n; i++) {
		copy(w->lines[i].module, sizeof(w->lines[i].module), base_name(path), SIZE_MAX);
		w->lines[i].offset = w->lines[i].pc - w->base;
	}
}

/* A frame of its own: what is called later has the stack for itself. */
static __attribute__((noinline)) void program_name(const struct within *w)
{
	char path[512];
	ssize_t length = readlink(PROGRAM, path, sizeof(path) - 1);

	path[length > 0 ? length : 0] = 0;
	module_name(w, path);
}

static void object_look(const struct within *w, const char *path)
{
	struct file f;

	if (*path) {
		module_name(w, path);
	} else { /* by the link: it leads to the file even where that has lost its name */
		program_name(w);
		path = PROGRAM;
	}
	if (!file_open(path, &f))
		return;
	symbols_read(&f, w, SHT_SYMTAB);
	symbols_read(&f, w, SHT_DYNSYM);
	lines_read(&f, w);
	file_close(&f);
}

void source_lines_find(struct source_line *lines, size_t n)
{
	size_t end;

	for (size_t i = 0; i < n; i++)
		lines[i] = (struct source_line){.pc = lines[i].pc};
	sort(lines, n);
	for (size_t i = 0; i < n; i = end) {
		struct dl_find_object object;
		struct within w = {.lines = lines + i};

		end = i + 1;
		if (_dl_find_object((void *)(uintptr_t)(lines[i].pc - 1), &object) != 0)
			continue;
		while (end < n && lines[end].pc <= (uintptr_t)object.dlfo_map_end)
			end++;
		w.n = end - i;
		w.base = object.dlfo_link_map->l_addr;
		object_look(&w, object.dlfo_link_map->l_name);
	}
}

size_t source_line_text(const struct source_line *l, char *out, size_t room)
{
	unsigned long long offset = l->offset;
	int length;

	if (l->function[0] && l->line)
		length = snprintf(out, room, "%s (%s:%u)", l->function, l->file, l->line);
	else if (l->line)
		length = snprintf(out, room, "%s:%u", l->file, l->line);
	else if (l->function[0])
		length = snprintf(out, room, "%s+0x%llx (%s)", l->function, offset, l->module);
	else if (l->module[0])
		length = snprintf(out, room, "%s+0x%llx", l->module, offset);
	else
		length = snprintf(out, room, "0x%llx", (unsigned long long)l->pc);
	if (length < 0)
		return 0;
	return (size_t)length < room ? (size_t)length : room - (room > 0);
}
