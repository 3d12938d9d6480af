# The oracles: what writes their disks, and the mutants of the library that they must see.
ORACLE_IMAGE = $(call obj,$(addprefix tests/oracle/,image.c plan.c model.c))
MUTANTS := $(shell tests/oracle/mutant.sh names)
ORACLE = $(BUILD)/oracle/image $(if $(MM_SAN),,$(BUILD)/guests/hv.elf $(BUILD)/guests/hv_boot.bin \
	$(foreach m,$(MUTANTS),$(BUILD)/oracle/$m/image $(BUILD)/oracle/$m/hv.elf))

.PHONY: oracle_parts
oracle_parts: $(ORACLE)
.SECONDARY: $(MUTANTS:%=$(BUILD)/oracle/%/pagetable.c) $(MUTANTS:%=$(BUILD)/oracle/%/pagetable.o) $(MUTANTS:%=$(BUILD)/oracle/%/hv.o)

$(BUILD)/oracle/image: $(ORACLE_IMAGE) $(PARTS)
	$(call say,LD,$@)
	$(Q)mkdir -p $(@D) && $(CC) $(SAN) -o $@ $(call group,$^) $(LIBS)

$(BUILD)/oracle/%/pagetable.c: mm/pagetable.c tests/oracle/mutant.sh
	$(Q)mkdir -p $(@D) && tests/oracle/mutant.sh $* $@

$(BUILD)/oracle/%/pagetable.o: $(BUILD)/oracle/%/pagetable.c mm/pagetable.h $(BUILD)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(BASE) $(FREESTANDING) -c -o $@ $<

# The mutant comes before the library, which then gives the rest.
$(BUILD)/oracle/%/image: $(BUILD)/oracle/%/pagetable.o $(ORACLE_IMAGE) $(PARTS)
	$(call say,LD,$@)
	$(Q)$(CC) $(SAN) -o $@ $(call group,$^) $(LIBS)

# In hv, for its second-level tables alone: its runtime builds its own tables by the library as it is.
$(BUILD)/oracle/%/hv.o: $(BUILD)/obj/guests/hv.o $(BUILD)/oracle/%/pagetable.o
	$(Q)ld -r -o $@ $^ && objcopy --wildcard --localize-symbol='pagetable_*' $@

$(BUILD)/oracle/%/hv.elf: $(BUILD)/oracle/%/hv.o $(HV) $(RUNTIME) $(MULTIBOOT) $(BUILD)/libmm.a guests/runtime/guest.ld
	$(call say,LD,$@)
	$(guest_link)
