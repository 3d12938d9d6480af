/* devices/fw_cfg_regs.h: QEMU's firmware configuration device, port interface (QEMU's docs/specs/fw_cfg). */
#ifndef SLAT_DEVICES_FW_CFG_REGS_H
#define SLAT_DEVICES_FW_CFG_REGS_H

#define FW_CFG_WINDOW	     2
#define FW_CFG_SELECTOR	     0 /* 16 bits, write only */
#define FW_CFG_DATA	     1 /* 8 bits, read only */

#define FW_CFG_SIGNATURE     0x00 /* "QEMU" */
#define FW_CFG_ID	     0x01 /* 32 bits of features */
#define FW_CFG_RAM_SIZE	     0x03 /* 64 bits */
#define FW_CFG_CPUS	     0x05 /* 16 bits */
#define FW_CFG_KERNEL_ADDR   0x07
#define FW_CFG_KERNEL_SIZE   0x08
#define FW_CFG_INITRD_ADDR   0x0a /* 32 bits */
#define FW_CFG_INITRD_SIZE   0x0b /* 32 bits */
#define FW_CFG_BOOT_DEVICE   0x0c
#define FW_CFG_NUMA	     0x0d
#define FW_CFG_MAX_CPUS	     0x0f /* 16 bits */
#define FW_CFG_KERNEL_ENTRY  0x10
#define FW_CFG_KERNEL_DATA   0x11
#define FW_CFG_INITRD_DATA   0x12
#define FW_CFG_CMDLINE_ADDR  0x13
#define FW_CFG_CMDLINE_SIZE  0x14 /* 32 bits, with the final 0 */
#define FW_CFG_CMDLINE_DATA  0x15
#define FW_CFG_FILE_DIR	     0x19
#define FW_CFG_FILE_FIRST    0x20

#define FW_CFG_WRITE_CHANNEL 0x4000 /* in a key: ignored */

#define FW_CFG_ID_PORTS	     0x01 /* the port interface; no DMA */

#define FW_CFG_NAME_BYTES    56 /* of a file, with the final 0 */

#endif
