/* tests/bench/floor.c: the least that a run of the smallest guest can cost:
 * slat's own backing, slot, interrupt controller, vCPU, thread and ioctls, as
 * its strace shows them, and nothing else: no options, no table, no devices,
 * no report, no sentence. What slat takes longer than this is slat's.
 *
 *   floor MIB IMAGE     IMAGE: an ELF32 whose entry takes 32-bit protected mode
 */
#include <elf.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUGE_BYTES	 (UINT64_C(2) << 20)
#define HOLE_START	 UINT64_C(0xc0000000)
#define HOLE_END	 UINT64_C(0x100000000)
#define EXIT_PORT	 0xf4
#define CPUID_ROOM	 256
#define MULTIBOOT_LOADED 0x2badb002u

static int vcpu, wake;
static struct kvm_run *run;
static uint8_t value;

static int check(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(2);
	}
	return result;
}

static uint8_t *backing(uint64_t bytes)
{
	uint8_t *all = mmap(NULL, bytes + HUGE_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint8_t *start = (uint8_t *)(((uintptr_t)all + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1));

	start = mmap(start, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
		     0);
	check(start == MAP_FAILED ? -1 : 0, "mmap");
	check(madvise(start, bytes, MADV_HUGEPAGE), "madvise");
	return start;
}

static uint32_t load(uint8_t *ram, const char *path)
{
	int fd = check(open(path, O_RDONLY | O_CLOEXEC), path);
	struct stat stat;
	const uint8_t *image;
	const Elf32_Ehdr *header;

	check(fstat(fd, &stat), "fstat");
	image = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	check(image == MAP_FAILED ? -1 : 0, "mmap");
	close(fd);
	header = (const Elf32_Ehdr *)(const void *)image;
	for (int i = 0; i < header->e_phnum; i++) {
		const Elf32_Phdr *p = (const Elf32_Phdr *)(const void *)(image + header->e_phoff) + i;

		if (p->p_type == PT_LOAD)
			memcpy(ram + p->p_paddr, image + p->p_offset, p->p_filesz);
	}
	return header->e_entry;
}

static void slot(int vm, uint32_t id, uint64_t gpa, uint64_t bytes, const uint8_t *host)
{
	struct kvm_userspace_memory_region region = {id, 0, gpa, bytes, (uintptr_t)host};

	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "slot");
}

static struct kvm_segment flat(uint8_t type, uint16_t selector)
{
	return (struct kvm_segment){
		.limit = 0xffffffff, .selector = selector, .type = type, .present = 1, .db = 1, .s = 1, .g = 1};
}

static void set_registers(uint32_t entry)
{
	struct kvm_regs regs = {.rip = entry, .rax = MULTIBOOT_LOADED, .rbx = 0, .rflags = 2};
	struct kvm_sregs s;
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[2];
	} msrs = {{.nmsrs = 2}, {{.index = 0x2ff, .data = 0x806}, {.index = 0x1a0, .data = 1}}};

	check(ioctl(vcpu, KVM_GET_SREGS, &s), "sregs");
	s.cs = flat(0xb, 0x10);
	s.ds = s.es = s.fs = s.gs = s.ss = flat(0x3, 0x18);
	s.cr0 = 0x11;
	check(ioctl(vcpu, KVM_SET_SREGS, &s), "sregs");
	check(ioctl(vcpu, KVM_SET_REGS, &regs), "regs");
	check(ioctl(vcpu, KVM_SET_MSRS, &msrs), "msrs");
}

static void *run_guest(void *unused)
{
	const uint64_t one = 1;

	(void)unused;
	do
		check(ioctl(vcpu, KVM_RUN, 0), "run");
	while (run->exit_reason == KVM_EXIT_IO && run->io.port != EXIT_PORT);
	value = *((uint8_t *)run + run->io.data_offset);
	check((int)write(wake, &one, sizeof(one)), "write");
	return NULL;
}

static void on_kick(int number)
{
	(void)number;
}

static int watch_signals(void)
{
	struct sigaction action = {.sa_handler = on_kick};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	sigaction(SIGUSR1, &action, NULL);
	return check(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

int main(int argc, char **argv)
{
	static struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[CPUID_ROOM];
	} cpuid = {.head = {.nent = CPUID_ROOM}};
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP, .args = {24}};
	uint64_t bytes = argc == 3 ? strtoull(argv[1], NULL, 10) << 20 : 0,
		 low = bytes < HOLE_START ? bytes : HOLE_START;
	pthread_t thread;
	uint8_t *ram;
	int kvm, vm;

	if (!bytes)
		return 2;
	kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	wake = check(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "vm");
	ram = backing(bytes);
	slot(vm, 0, 0, low, ram);
	if (bytes > low)
		slot(vm, 1, HOLE_END, bytes - low, ram + low);
	check(ioctl(vm, KVM_ENABLE_CAP, &split), "split irqchip");
	check(ioctl(kvm, KVM_GET_SUPPORTED_CPUID, &cpuid), "cpuid");
	vcpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "vcpu");
	run = mmap(NULL, (size_t)check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "size"), PROT_READ | PROT_WRITE,
		   MAP_SHARED, vcpu, 0);
	check(run == MAP_FAILED ? -1 : 0, "mmap");
	check(ioctl(vcpu, KVM_SET_CPUID2, &cpuid), "cpuid");
	set_registers(load(ram, argv[2]));
	struct pollfd fds[2] = {{wake, POLLIN, 0}, {watch_signals(), POLLIN, 0}};
	check(-pthread_create(&thread, NULL, run_guest, NULL), "thread");
	check(poll(fds, 2, -1), "poll");
	pthread_join(thread, NULL);
	close(vcpu);
	close(vm);
	return (value << 1 | 1) & 0xff;
}
