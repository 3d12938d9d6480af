#include "vmm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

static int answer(int result)
{
	return result < 0 ? -errno : result;
}

const char *kvm_module_name(enum kvm_module m)
{
	static const char *const names[] = {"unknown", "kvm_intel", "kvm_amd", "kvm_pvm"};

	return names[m];
}

enum kvm_module kvm_module_loaded(void)
{
	if (access("/sys/module/kvm_intel", F_OK) == 0)
		return KVM_MODULE_INTEL;
	if (access("/sys/module/kvm_amd", F_OK) == 0)
		return KVM_MODULE_AMD;
	if (access("/sys/module/kvm_pvm", F_OK) == 0)
		return KVM_MODULE_PVM;
	return KVM_MODULE_UNKNOWN;
}

const char *kvm_path(void)
{
	const char *path = getenv("SLAT_KVM");

	return path && *path ? path : "/dev/kvm";
}

/* Names are a comfort: where the system does not know one, its number stands. */
static int refuse_permission(const char *path, struct failure *f)
{
	char owner[32], group[32];
	const struct passwd *user;
	const struct group *entry;
	struct stat node;

	if (stat(path, &node) != 0)
		return fail(f, EXIT_KVM, "cannot open %s: %s", path, strerror(EACCES));
	user = getpwuid(node.st_uid);
	entry = getgrgid(node.st_gid);
	snprintf(owner, sizeof(owner), "%s", user ? user->pw_name : "");
	if (!user)
		snprintf(owner, sizeof(owner), "uid %u", (unsigned)node.st_uid);
	snprintf(group, sizeof(group), "%s", entry ? entry->gr_name : "");
	if (!entry)
		snprintf(group, sizeof(group), "gid %u", (unsigned)node.st_gid);
	if ((node.st_mode & 0060) == 0060)
		return fail(f, EXIT_KVM,
			    "no permission to open %s: it belongs to %s:%s with mode %04o; join the group %s "
			    "(as root: usermod -aG %s NAME, then log in again) or run as root",
			    path, owner, group, (unsigned)node.st_mode & 07777, group, group);
	return fail(f, EXIT_KVM,
		    "no permission to open %s: it belongs to %s:%s with mode %04o, so only %s may; run as %s, or let "
		    "root open it to a group (chgrp kvm %s; chmod 0660 %s)",
		    path, owner, group, (unsigned)node.st_mode & 07777, owner, owner, path, path);
}

int kvm_open(struct kvm *k, const char *path, struct failure *f)
{
	int version, bytes, error;

	*k = (struct kvm){.fd = open(path, O_RDWR | O_CLOEXEC)};
	error = k->fd < 0 ? errno : 0;
	k->module = kvm_module_loaded();
	if (error == EACCES || error == EPERM)
		return refuse_permission(path, f);
	if (error == ENOENT)
		return fail(f, EXIT_KVM,
			    "there is no %s: load KVM's module (modprobe kvm_intel or kvm_amd), or turn on "
			    "virtualization in the firmware or in the hypervisor above",
			    path);
	if (error)
		return fail(f, EXIT_KVM, "cannot open %s: %s", path, strerror(error));
	version = answer(ioctl(k->fd, KVM_GET_API_VERSION, 0));
	bytes = answer(ioctl(k->fd, KVM_GET_VCPU_MMAP_SIZE, 0));
	if (version == KVM_API_VERSION && bytes >= (int)sizeof(struct kvm_run)) {
		k->run_bytes = (size_t)bytes;
		return 0;
	}
	kvm_close(k);
	if (version < 0)
		return fail(f, EXIT_KVM, "%s is not KVM: it does not answer KVM_GET_API_VERSION", path);
	if (version == KVM_API_VERSION)
		return fail(f, EXIT_KVM, "%s does not tell how large a vCPU's state is", path);
	return fail(f, EXIT_KVM, "%s speaks version %d of KVM's interface; slat needs version %d", path, version,
		    KVM_API_VERSION);
}

void kvm_close(struct kvm *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

int kvm_check(const struct kvm *k, unsigned capability)
{
	int value = ioctl(k->fd, KVM_CHECK_EXTENSION, (unsigned long)capability);

	return value < 0 ? 0 : value;
}

int kvm_require(const struct kvm *k, struct failure *f)
{
	if (kvm_check(k, KVM_CAP_SPLIT_IRQCHIP) && kvm_check(k, KVM_CAP_IMMEDIATE_EXIT) &&
	    kvm_check(k, KVM_CAP_SIGNAL_MSI))
		return 0;
	return fail(
		f, EXIT_KVM,
		"this host's KVM is too old: slat needs a split interrupt controller, message-signalled interrupts and "
		"immediate exit (Linux 4.13 or later)");
}

int kvm_supported_cpuid(const struct kvm *k, struct kvm_cpuid_table *out)
{
	out->head.nent = KVM_CPUID_MAX;
	return answer(ioctl(k->fd, KVM_GET_SUPPORTED_CPUID, &out->head));
}

int kvm_vm_create(const struct kvm *k)
{
	int vm;

	/* The kernel answers EINTR when a signal met the creation: nothing was made. */
	do
		vm = ioctl(k->fd, KVM_CREATE_VM, 0UL);
	while (vm < 0 && errno == EINTR);
	return answer(vm);
}

int kvm_vm_set_tss(int vm, uint64_t gpa)
{
	return answer(ioctl(vm, KVM_SET_TSS_ADDR, (unsigned long)gpa));
}

int kvm_vm_set_identity_map(int vm, uint64_t gpa)
{
	return answer(ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, &gpa));
}

int kvm_vm_split_irqchip(int vm, unsigned lines)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {lines}};

	return answer(ioctl(vm, KVM_ENABLE_CAP, &cap));
}

int kvm_vm_exit_on_emulation_failure(int vm)
{
	struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args = {1}};

	return answer(ioctl(vm, KVM_ENABLE_CAP, &cap));
}

int kvm_vm_set_slot(int vm, const struct kvm_userspace_memory_region *slot)
{
	return answer(ioctl(vm, KVM_SET_USER_MEMORY_REGION, slot));
}

int kvm_vm_dirty_log(int vm, const struct kvm_dirty_log *log)
{
	return answer(ioctl(vm, KVM_GET_DIRTY_LOG, log));
}

int kvm_vm_signal_msi(int vm, uint64_t address, uint32_t data)
{
	struct kvm_msi msi = {
		.address_lo = (uint32_t)address,
		.address_hi = (uint32_t)(address >> 32),
		.data = data,
	};

	return answer(ioctl(vm, KVM_SIGNAL_MSI, &msi));
}

int kvm_vm_set_routing(int vm, const struct kvm_irq_routing *table)
{
	return answer(ioctl(vm, KVM_SET_GSI_ROUTING, table));
}

int kvm_vm_ioeventfd(int vm, uint64_t gpa, unsigned width, uint64_t value, int eventfd)
{
	struct kvm_ioeventfd io = {
		.datamatch = value,
		.addr = gpa,
		.len = width,
		.fd = eventfd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH,
	};

	return answer(ioctl(vm, KVM_IOEVENTFD, &io));
}

int kvm_vm_irqfd(int vm, unsigned line, int eventfd)
{
	struct kvm_irqfd irqfd = {.fd = (uint32_t)eventfd, .gsi = line};

	return answer(ioctl(vm, KVM_IRQFD, &irqfd));
}

int kvm_vm_create_vcpu(int vm, unsigned id)
{
	return answer(ioctl(vm, KVM_CREATE_VCPU, (unsigned long)id));
}

int kvm_vcpu_run(int vcpu)
{
	return answer(ioctl(vcpu, KVM_RUN, 0UL));
}

int kvm_vcpu_set_cpuid(int vcpu, const struct kvm_cpuid_table *t)
{
	return answer(ioctl(vcpu, KVM_SET_CPUID2, &t->head));
}

int kvm_vcpu_get_regs(int vcpu, struct kvm_regs *r)
{
	return answer(ioctl(vcpu, KVM_GET_REGS, r));
}

int kvm_vcpu_set_regs(int vcpu, const struct kvm_regs *r)
{
	return answer(ioctl(vcpu, KVM_SET_REGS, r));
}

int kvm_vcpu_get_sregs(int vcpu, struct kvm_sregs *s)
{
	return answer(ioctl(vcpu, KVM_GET_SREGS, s));
}

int kvm_vcpu_set_sregs(int vcpu, const struct kvm_sregs *s)
{
	return answer(ioctl(vcpu, KVM_SET_SREGS, s));
}

int kvm_vcpu_set_msrs(int vcpu, const struct kvm_msrs *m)
{
	return answer(ioctl(vcpu, KVM_SET_MSRS, m));
}

int kvm_vcpu_translate(int vcpu, struct kvm_translation *t)
{
	return answer(ioctl(vcpu, KVM_TRANSLATE, t));
}

int kvm_vcpu_get_xsave(int vcpu, struct kvm_xsave *x)
{
	return answer(ioctl(vcpu, KVM_GET_XSAVE, x));
}

int kvm_vcpu_set_xsave(int vcpu, const struct kvm_xsave *x)
{
	return answer(ioctl(vcpu, KVM_SET_XSAVE, x));
}

int kvm_vcpu_get_mp_state(int vcpu, struct kvm_mp_state *s)
{
	return answer(ioctl(vcpu, KVM_GET_MP_STATE, s));
}

int kvm_vcpu_set_debug(int vcpu, const struct kvm_guest_debug *d)
{
	return answer(ioctl(vcpu, KVM_SET_GUEST_DEBUG, d));
}

int kvm_vcpu_get_debugregs(int vcpu, struct kvm_debugregs *d)
{
	return answer(ioctl(vcpu, KVM_GET_DEBUGREGS, d));
}

int kvm_vcpu_set_debugregs(int vcpu, const struct kvm_debugregs *d)
{
	return answer(ioctl(vcpu, KVM_SET_DEBUGREGS, d));
}
