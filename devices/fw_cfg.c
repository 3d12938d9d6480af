#include <string.h>

#include "devices/fw_cfg.h"

static struct fw_cfg_item *find(struct fw_cfg *f, uint16_t key)
{
	for (unsigned i = 0; i < f->items; i++)
		if (f->item[i].key == key)
			return &f->item[i];
	return NULL;
}

static void select_key(struct fw_cfg *f, uint16_t key)
{
	const struct fw_cfg_item *item = find(f, key & ~FW_CFG_WRITE_CHANNEL);

	f->selected = item ? (unsigned)(item - f->item) : FW_CFG_ITEMS;
	f->position = 0;
}

static uint8_t next_byte(struct fw_cfg *f)
{
	const struct fw_cfg_item *item;

	if (f->selected >= f->items)
		return 0;
	item = &f->item[f->selected];
	if (f->position >= item->bytes)
		return 0;
	return item->data ? item->data[f->position++] : item->number[f->position++];
}

/* Data answers at either byte of the window, as in QEMU. */
static uint64_t fw_cfg_read(void *self, uint64_t offset, unsigned width)
{
	(void)offset;
	return width == 1 ? next_byte(self) : UINT64_MAX;
}

static void fw_cfg_write(void *self, uint64_t offset, unsigned width, uint64_t value)
{
	if (width == 2 && offset == FW_CFG_SELECTOR)
		select_key(self, (uint16_t)value);
}

static void put_be(uint8_t *to, uint32_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static bool addable(struct fw_cfg *f, uint16_t key)
{
	return f->items < FW_CFG_ITEMS && !(key & FW_CFG_WRITE_CHANNEL) && !find(f, key);
}

bool fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, uint32_t bytes)
{
	if (!addable(fw_cfg, key))
		return false;
	fw_cfg->item[fw_cfg->items++] = (struct fw_cfg_item){.key = key, .bytes = data ? bytes : 0, .data = data};
	return true;
}

bool fw_cfg_add_number(struct fw_cfg *fw_cfg, uint16_t key, uint64_t value, unsigned width)
{
	struct fw_cfg_item item = {.key = key, .bytes = width};

	if (!addable(fw_cfg, key) || width < 1 || width > sizeof(item.number))
		return false;
	for (unsigned i = 0; i < width; i++)
		item.number[i] = (uint8_t)(value >> 8 * i);
	fw_cfg->item[fw_cfg->items++] = item;
	return true;
}

static bool name_taken(const struct fw_cfg *f, const char *name)
{
	for (unsigned i = 0; i < f->files; i++)
		if (strcmp(f->directory.file[i].name, name) == 0)
			return true;
	return false;
}

bool fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t bytes)
{
	uint16_t key = (uint16_t)(FW_CFG_FILE_FIRST + fw_cfg->files);
	struct fw_cfg_file *file;
	size_t length = strlen(name);

	if (fw_cfg->files == FW_CFG_FILES || length == 0 || length >= FW_CFG_NAME_BYTES || name_taken(fw_cfg, name))
		return false;
	if (!fw_cfg_add(fw_cfg, key, data, bytes))
		return false;
	file = &fw_cfg->directory.file[fw_cfg->files++];
	put_be(file->size, data ? bytes : 0, 4);
	put_be(file->select, key, 2);
	memcpy(file->name, name, length);
	put_be(fw_cfg->directory.count, fw_cfg->files, 4);
	return true;
}

_Static_assert(sizeof(struct fw_cfg_file) == 64, "a directory entry as the guest reads it");

void fw_cfg_init(struct fw_cfg *fw_cfg, struct device *device)
{
	static const struct fw_cfg_item built_in[] = {
		{.key = FW_CFG_SIGNATURE, .bytes = 4, .number = "QEMU"},
		{.key = FW_CFG_ID, .bytes = 4, .number = {FW_CFG_ID_PORTS}},
		{.key = FW_CFG_FILE_DIR, .bytes = sizeof(fw_cfg->directory)},
	};

	memset(fw_cfg, 0, sizeof(*fw_cfg));
	memcpy(fw_cfg->item, built_in, sizeof(built_in));
	fw_cfg->items = sizeof(built_in) / sizeof(built_in[0]);
	fw_cfg->item[fw_cfg->items - 1].data = (const uint8_t *)&fw_cfg->directory;
	*device = (struct device){.name = "fw_cfg", .self = fw_cfg, .read = fw_cfg_read, .write = fw_cfg_write};
}
