# Bare-metal guests: one ELF32 file each, for slat, QEMU and Bochs; NAME.elf64
# beside it has what a debugger wants. A guest links the very libmm.a that the
# VMM links. "_pvh": the same without a Multiboot header, since Multiboot is
# tried first where both are there.
# MM_SAN names a sanitizer for mm/: guests have no place for its reports, so
# that a build with it makes none.
GUESTS = $(patsubst guests/%.c,%,$(wildcard guests/*.c)) hello_pvh exit_pvh
GUEST_FLAGS = -ffreestanding -mno-red-zone -mgeneral-regs-only -fno-pic -fno-pie -fno-stack-protector \
	-fno-asynchronous-unwind-tables -fno-delete-null-pointer-checks -fcf-protection=none
GUEST_LINK = -nostdlib -static -Wl,-z,max-page-size=4096,-z,noexecstack,--build-id=none,--gc-sections
RUNTIME = $(patsubst %,$(BUILD)/obj/%.o,$(basename $(filter-out %/multiboot.S,$(wildcard guests/runtime/*.[cS]))))
MULTIBOOT = $(BUILD)/obj/guests/runtime/multiboot.o
PVH = $(BUILD)/obj/guests/runtime/pvh.o

.PHONY: guests
.SECONDARY: $(RUNTIME) $(MULTIBOOT) $(patsubst %,$(BUILD)/obj/guests/%.o,$(GUESTS))
guests: $(if $(MM_SAN),,$(patsubst %,$(BUILD)/guests/%.elf,$(GUESTS))) ## the bare-metal guests

$(BUILD)/obj/guests/%.o: guests/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(GUEST_FLAGS) -c -o $@ $<

$(BUILD)/obj/guests/%.o: guests/%.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -g -I. -MMD -MP -c -o $@ $<

# What it prints besides is the table of the bench.
$(BUILD)/guests/alloc.elf: $(BUILD)/obj/guests/bench/table.o

# It takes stacks of its own.
$(BUILD)/obj/guests/leak.o: GUEST_FLAGS += -fno-omit-frame-pointer -fno-optimize-sibling-calls

# The hypervisor of the oracles, and the boot sector of its disk.
HV = $(patsubst %,$(BUILD)/obj/guests/hv/%.o,vmx svm probe world)
$(BUILD)/guests/hv.elf: $(HV)
$(BUILD)/obj/guests/hv/boot.o: guests/hv/boot.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -m32 -I. -MMD -MP -c -o $@ $<
$(BUILD)/guests/hv_boot.bin: $(BUILD)/obj/guests/hv/boot.o
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && ld -m elf_i386 -Ttext=0x7c00 -e boot --oformat binary -o $@ $<

# exit stays in 32-bit mode and takes nothing of the runtime but the headers.
$(BUILD)/obj/guests/exit.o: GUEST_FLAGS += -m32
$(BUILD)/obj/guests/headers32/%.o: guests/runtime/%.S
	$(call say,AS,$<)
	$(Q)mkdir -p $(@D) && $(CC) -m32 -g -I. -MMD -MP -c -o $@ $<

guest_link = $(Q)mkdir -p $(@D) && $(CC) $(GUEST_LINK) -Wl,-T,guests/runtime/guest.ld -o $(@:.elf=.elf64) \
	$(filter %.o %.a,$^) && objcopy --strip-debug -O elf32-i386 $(@:.elf=.elf64) $@

$(BUILD)/guests/%_pvh.elf: $(BUILD)/obj/guests/%.o $(RUNTIME) $(BUILD)/libmm.a guests/runtime/guest.ld
	$(call say,LD,$@)
	$(guest_link)

$(BUILD)/guests/%.elf: $(BUILD)/obj/guests/%.o $(RUNTIME) $(MULTIBOOT) $(BUILD)/libmm.a guests/runtime/guest.ld
	$(call say,LD,$@)
	$(guest_link)

$(BUILD)/guests/exit.elf: $(patsubst %,$(BUILD)/obj/guests/%.o,exit headers32/multiboot headers32/pvh) guests/runtime/guest.ld
$(BUILD)/guests/exit_pvh.elf: $(patsubst %,$(BUILD)/obj/guests/%.o,exit headers32/pvh) guests/runtime/guest.ld
$(BUILD)/guests/exit.elf $(BUILD)/guests/exit_pvh.elf:
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) -m32 $(GUEST_LINK) -Wl,-T,guests/runtime/guest.ld -o $@ $(filter %.o,$^)
