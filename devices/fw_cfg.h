/* devices/fw_cfg.h: QEMU's firmware configuration device, port interface without DMA.
 * An item is a key and bytes that the guest reads one by one. Past an item's
 * end, and at a key that is not there, it reads 0. The guest cannot write.
 * Signature, id and file directory are made here; the owner adds the rest
 * before the guest runs. */
#ifndef SLAT_DEVICES_FW_CFG_H
#define SLAT_DEVICES_FW_CFG_H

#include "devices/device.h"
#include "devices/fw_cfg_regs.h"

#define FW_CFG_ITEMS 40
#define FW_CFG_FILES 16

struct fw_cfg_item {
	uint16_t key;
	uint32_t bytes;
	const uint8_t *data; /* the owner's; NULL: it is `number` */
	uint8_t number[8];   /* little endian */
};

struct fw_cfg_file {	   /* as the guest reads it */
	uint8_t size[4];   /* big endian */
	uint8_t select[2]; /* big endian */
	uint8_t reserved[2];
	char name[FW_CFG_NAME_BYTES];
};

struct fw_cfg {
	unsigned items; /* at most FW_CFG_ITEMS */
	struct fw_cfg_item item[FW_CFG_ITEMS];
	struct {
		uint8_t count[4]; /* big endian */
		struct fw_cfg_file file[FW_CFG_FILES];
	} directory;
	unsigned files;	   /* at most FW_CFG_FILES */
	unsigned selected; /* index into item; FW_CFG_ITEMS: nothing there */
	uint32_t position; /* the next byte of it; at most its bytes */
};

/* Fills *device, a window of FW_CFG_WINDOW bytes. */
void fw_cfg_init(struct fw_cfg *fw_cfg, struct device *device);

/* Adds an item. data is borrowed for as long as *fw_cfg is in use; NULL is no bytes.
 * Fails iff the key is there already, has the bit FW_CFG_WRITE_CHANNEL, or there is no room for it. */
bool fw_cfg_add(struct fw_cfg *fw_cfg, uint16_t key, const void *data, uint32_t bytes);

/* Adds a number of `width` (1 to 8) bytes, little endian, which is kept here. Fails as fw_cfg_add() does. */
bool fw_cfg_add_number(struct fw_cfg *fw_cfg, uint16_t key, uint64_t value, unsigned width);

/* Adds a file to the directory, under the next key from FW_CFG_FILE_FIRST. data is borrowed, name copied.
 * Fails iff there is no room, or the name is empty, longer than FW_CFG_NAME_BYTES - 1 or there already. */
bool fw_cfg_add_file(struct fw_cfg *fw_cfg, const char *name, const void *data, uint32_t bytes);

#endif
