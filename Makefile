# slat. `make help` lists the targets; build/ holds everything that is made.
CC ?= gcc
BUILD ?= build
PREFIX ?= /usr/local
KVM ?= /dev/kvm
V ?= 0
Q = $(if $(filter 0,$(V)),@)
say = $(if $(filter 0,$(V)),@printf '  %-5s %s\n' '$1' '$2')

WARN = -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wundef -Wvla -Wcast-qual -Wwrite-strings
BASE = -std=gnu11 -O2 -g $(WARN) -I. -MMD -MP
FREESTANDING = -ffreestanding -mno-red-zone -fPIC -mgeneral-regs-only -fno-stack-protector -fno-asynchronous-unwind-tables
HOSTED = -D_GNU_SOURCE -pthread $(SAN)
LIBS = -Wl,-Bstatic -ljansson -Wl,-Bdynamic -pthread

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$1)
MM = $(call obj,$(wildcard mm/*.c))
DEVICES = $(call obj,$(wildcard devices/*.c))
VMM = $(call obj,$(filter-out vmm/main.c,$(wildcard vmm/*.c vmm/boot/*.c vmm/cmd/*.c)))
UNIT = $(wildcard tests/unit/test_*.c)
FUZZ = $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
PARTS = $(BUILD)/libslat.a $(BUILD)/libdevices.a $(BUILD)/libmm.a

.DEFAULT_GOAL := all
.PHONY: all run check soak deps rig guests arrows lint asan fuzz bench bench-start install clean help
.DELETE_ON_ERROR:

all: $(BUILD)/slat guests

run: deps all ## build all, boot the first guest
	$(Q)$(BUILD)/slat run $(BUILD)/guests/hello.elf

check: deps ## everything that proves; T=unit|guests|rig|oracle|cli|docs for a part
	$(Q)BUILD='$(BUILD)' KVM='$(KVM)' MAKE='$(MAKE)' tests/check.sh $(T)

$(BUILD)/slat: $(call obj,vmm/main.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LIBS)

$(BUILD)/libmm.a: $(MM)
$(BUILD)/libdevices.a: $(DEVICES)
$(BUILD)/libslat.a: $(VMM)
$(BUILD)/%.a:
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $^

$(BUILD)/obj/mm/%.o: mm/%.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(FREESTANDING) $(MM_SAN) -c -o $@ $<

$(BUILD)/obj/%.o: %.c
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D) && $(CC) $(BASE) $(HOSTED) -c -o $@ $<

$(BUILD)/tests/suites.h: $(UNIT)
	$(Q)mkdir -p $(@D) && printf 'SUITE(%s)\n' $(patsubst tests/unit/test_%.c,%,$(UNIT)) > $@

$(call obj,tests/unit/main.c): $(BUILD)/tests/suites.h
$(call obj,tests/unit/main.c): HOSTED += -I$(BUILD)/tests

$(BUILD)/tests/unit: $(call obj,$(UNIT) tests/unit/main.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $^ -lcheck -lsubunit -lm -lrt $(LIBS)

$(BUILD)/tests/replay_%: $(BUILD)/obj/tests/fuzz/fuzz_%.o $(call obj,tests/fuzz/replay.c) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $^ $(LIBS)

include guests/guests.mk

clean:
	rm -rf $(BUILD)

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

-include $(shell find $(BUILD)/obj -name '*.d' 2>/dev/null)
