#include "confinement.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

namespace wa::helper {
namespace {

#if defined(__x86_64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the system call filter knows x86-64 and aarch64"
#endif

constexpr uint32_t kNumberAt = offsetof(seccomp_data, nr);
constexpr uint32_t kArchitectureAt = offsetof(seccomp_data, arch);

// The lower half of an argument; both architectures are little-endian.
constexpr uint32_t argument_at(unsigned index) {
    return static_cast<uint32_t>(offsetof(seccomp_data, args)) + index * 8;
}

constexpr uint32_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET;

// What no build, test or script needs, and what has been the way out of sandboxes: mounts, namespaces, other processes'
// memory, kernel modules and tracing, keys, clocks, and rings of requests that this filter would not see.
constexpr long kRefused[] = {
    SYS_mount,
    SYS_umount2,
    SYS_pivot_root,
    SYS_chroot,
    SYS_unshare,
    SYS_setns,
    428 /* open_tree */,
    429 /* move_mount */,
    430 /* fsopen */,
    431 /* fsconfig */,
    432 /* fsmount */,
    433 /* fspick */,
    442 /* mount_setattr */,
    467 /* open_tree_attr */,
    SYS_ptrace,
    SYS_process_vm_readv,
    SYS_process_vm_writev,
    SYS_kcmp,
    438 /* pidfd_getfd */,
    SYS_bpf,
    SYS_perf_event_open,
    SYS_userfaultfd,
    425 /* io_uring_setup */,
    426 /* io_uring_enter */,
    427 /* io_uring_register */,
    SYS_add_key,
    SYS_request_key,
    SYS_keyctl,
    SYS_init_module,
    SYS_finit_module,
    SYS_delete_module,
    SYS_kexec_load,
    SYS_kexec_file_load,
    SYS_reboot,
    SYS_swapon,
    SYS_swapoff,
    SYS_acct,
    SYS_quotactl,
    443 /* quotactl_fd */,
    SYS_syslog,
    SYS_vhangup,
    SYS_settimeofday,
    SYS_clock_settime,
    SYS_clock_adjtime,
    SYS_adjtimex,
    SYS_nfsservctl,
    SYS_name_to_handle_at,
    SYS_open_by_handle_at,
    SYS_fanotify_init,
    SYS_lookup_dcookie,
#if defined(__x86_64__)
    SYS_iopl,
    SYS_ioperm,
    SYS_modify_ldt,
    SYS_uselib,
    SYS__sysctl,
#endif
};

constexpr int kTerminalInput = 0x5412;  // TIOCSTI: types into the terminal
constexpr int kConsole = 0x541C;        // TIOCLINUX

}  // namespace

void SystemCallFilter::add(uint16_t code, uint32_t operand, uint8_t jump_true, uint8_t jump_false) {
    if (size_ < kCapacity) program_[size_++] = Instruction{code, jump_true, jump_false, operand};
}

void SystemCallFilter::load(uint32_t offset) {
    add(BPF_LD | BPF_W | BPF_ABS, offset);
}

// Expects the call's number in the accumulator, and leaves it there.
void SystemCallFilter::refuse_call(long number, int error) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
}

void SystemCallFilter::refuse_new_namespaces() {
    // The flags of clone3 lie in memory, where a filter cannot look: libc falls back to clone.
    refuse_call(SYS_clone3, ENOSYS);
    add(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4);
    load(argument_at(0));
    add(BPF_JMP | BPF_JSET | BPF_K, kNewNamespaces, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    load(kNumberAt);
}

void SystemCallFilter::refuse_terminal_input() {
    add(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 5);
    load(argument_at(1));
    add(BPF_JMP | BPF_JEQ | BPF_K, kTerminalInput, 1, 0);
    add(BPF_JMP | BPF_JEQ | BPF_K, kConsole, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    load(kNumberAt);
}

// A file with the setuid or setgid bit that a task makes in a shared folder is such a file for the whole machine.
void SystemCallFilter::refuse_mode(long number, unsigned argument) {
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 4);
    load(argument_at(argument));
    add(BPF_JMP | BPF_JSET | BPF_K, refused_modes_, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    load(kNumberAt);
}

// The mode counts only when a file is made; else the argument is whatever was in the register.
void SystemCallFilter::refuse_created_mode(long number, unsigned flags_argument, unsigned mode_argument) {
    constexpr uint32_t kMakes = O_CREAT | (O_TMPFILE & ~O_DIRECTORY);
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, 6);
    load(argument_at(flags_argument));
    add(BPF_JMP | BPF_JSET | BPF_K, kMakes, 0, 3);
    load(argument_at(mode_argument));
    add(BPF_JMP | BPF_JSET | BPF_K, refused_modes_, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    load(kNumberAt);
}

// Directories are made without these bits, whatever is asked for (vfs_mkdir masks them).
void SystemCallFilter::refuse_modes() {
    refuse_mode(SYS_fchmod, 1);
    refuse_mode(SYS_fchmodat, 2);
    refuse_mode(452 /* fchmodat2 */, 2);
    refuse_mode(SYS_mknodat, 2);
    refuse_created_mode(SYS_openat, 2, 3);
#if defined(__x86_64__)
    refuse_mode(SYS_chmod, 1);
    refuse_mode(SYS_mknod, 1);
    refuse_mode(SYS_creat, 1);
    refuse_created_mode(SYS_open, 1, 2);
#endif
    // Its mode lies in memory, where a filter cannot look: callers fall back to openat.
    refuse_call(437 /* openat2 */, ENOSYS);
}

// Families that are named are allowed; the others (raw packets, virtual machines, crypto, …) are the kernel's dark
// corners.
void SystemCallFilter::limit_sockets(long number, const uint32_t* families, unsigned count, int error) {
    // Jump over: one load, `count` comparisons, one refusal, one load.
    add(BPF_JMP | BPF_JEQ | BPF_K, static_cast<uint32_t>(number), 0, static_cast<uint8_t>(count + 3));
    load(argument_at(0));
    for (unsigned index = 0; index < count; ++index) {
        add(BPF_JMP | BPF_JEQ | BPF_K, families[index], static_cast<uint8_t>(count - index), 0);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(error));
    load(kNumberAt);
}

// A pair of datagram sockets is a way to every named one: each end may be connected anew.
void SystemCallFilter::refuse_datagram_pairs() {
    constexpr uint32_t kTypeBits = 0xF;
    add(BPF_JMP | BPF_JEQ | BPF_K, SYS_socketpair, 0, 5);
    load(argument_at(1));
    add(BPF_ALU | BPF_AND | BPF_K, kTypeBits);
    add(BPF_JMP | BPF_JEQ | BPF_K, SOCK_DGRAM, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EACCES);
    load(kNumberAt);
}

SystemCallFilter::SystemCallFilter(bool own_root, bool network, uint32_t refused_modes)
    : refused_modes_(refused_modes) {
    load(kArchitectureAt);
    add(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0);
    add(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
    load(kNumberAt);
#if defined(__x86_64__)
    // The x32 numbers of the same calls.
    add(BPF_JMP | BPF_JGE | BPF_K, 0x40000000U, 0, 1);
    add(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS);
#endif
    for (const long number : kRefused)
        refuse_call(number, EPERM);
    if (!own_root) {
        for (const long number : {SYS_shmget, SYS_semget, SYS_msgget, SYS_mq_open})
            refuse_call(number, EPERM);
    }
    refuse_new_namespaces();
    refuse_terminal_input();
    if (refused_modes_ != 0) refuse_modes();
    if (!own_root) refuse_datagram_pairs();
    uint32_t families[4];
    unsigned count = 0;
    if (own_root) families[count++] = AF_UNIX;
    if (network) {
        for (const int family : {AF_INET, AF_INET6, AF_NETLINK})
            families[count++] = static_cast<uint32_t>(family);
    }
    limit_sockets(SYS_socket, families, count, network ? EAFNOSUPPORT : EACCES);
    constexpr uint32_t kPairs[] = {AF_UNIX};
    limit_sockets(SYS_socketpair, kPairs, 1, EAFNOSUPPORT);
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
}

bool SystemCallFilter::apply() const {
    static_assert(sizeof(Instruction) == sizeof(sock_filter));
    if (size_ >= kCapacity) {
        errno = E2BIG;
        return false;
    }
    sock_fprog program{};
    program.len = static_cast<unsigned short>(size_);
    // The kernel reads the same four fields under another name.
    program.filter = reinterpret_cast<sock_filter*>(const_cast<Instruction*>(program_));
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &program) == 0;
}

int probe_seccomp() {
    const uint32_t action = SECCOMP_RET_ERRNO;
    return syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0U, &action) == 0 ? 0 : errno;
}

// --- Landlock. Newer than the headers: the numbers are from the kernel's documentation.

namespace {

constexpr long kCreateRuleset = 444;
constexpr long kAddRule = 445;
constexpr long kRestrictSelf = 446;

struct RulesetAttributes {
    uint64_t files;
    uint64_t network;
    uint64_t scoped;
};
struct PathRule {
    uint64_t access;
    int32_t folder;
} __attribute__((packed));

constexpr uint64_t kExecute = 1U << 0U;
constexpr uint64_t kWriteFile = 1U << 1U;
constexpr uint64_t kReadFile = 1U << 2U;
constexpr uint64_t kReadFolder = 1U << 3U;
constexpr uint64_t kTruncate = 1U << 14U;
constexpr uint64_t kDeviceControl = 1U << 15U;
constexpr uint64_t kReading = kExecute | kReadFile | kReadFolder;
constexpr uint64_t kOnFiles = kExecute | kWriteFile | kReadFile | kTruncate | kDeviceControl;

uint64_t known_rights(int abi) {
    uint64_t rights = (1U << 13U) - 1;
    if (abi >= 2) rights |= 1U << 13U;  // moving between folders
    if (abi >= 3) rights |= kTruncate;
    if (abi >= 5) rights |= kDeviceControl;
    return rights;
}

}  // namespace

int landlock_abi() {
    const long abi = syscall(kCreateRuleset, nullptr, size_t{0}, 1U);
    return abi < 0 ? 0 : static_cast<int>(abi);
}

LandlockRules::~LandlockRules() {
    if (fd_ >= 0) close(fd_);
}

bool LandlockRules::begin(int abi, bool no_network) {
    RulesetAttributes attributes{};
    attributes.files = handled_ = known_rights(abi);
    if (no_network && abi >= 4) attributes.network = 3;  // bind and connect of TCP
    if (abi >= 6) attributes.scoped = 3;                 // abstract sockets and signals stay within
    const size_t size = abi >= 6 ? sizeof attributes : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
    fd_ = static_cast<int>(syscall(kCreateRuleset, &attributes, size, 0U));
    return fd_ >= 0;
}

bool LandlockRules::allow(const char* path, uint64_t access) {
    const int fd = open(path, O_PATH | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT || errno == EACCES || errno == ENOTDIR;  // not there: nothing to allow
    struct stat facts{};
    if (fstat(fd, &facts) == 0 && !S_ISDIR(facts.st_mode)) access &= kOnFiles;
    const PathRule rule{access & handled_, fd};
    const bool added = syscall(kAddRule, fd_, 1, &rule, 0U) == 0;
    const int error = errno;
    close(fd);
    errno = error;
    return added;
}

bool LandlockRules::allow_reading(const char* path) {
    return allow(path, kReading);
}

bool LandlockRules::allow_writing(const char* path) {
    return allow(path, handled_);
}

int LandlockRules::take() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
}

bool landlock_apply(int ruleset) {
    return syscall(kRestrictSelf, ruleset, 0U) == 0;
}

bool drop_capabilities() {
    constexpr int kMostCapabilities = 64;
    for (int capability = 0; capability < kMostCapabilities; ++capability) {
        if (prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) == 0) continue;
        if (errno == EINVAL) break;  // the last one this kernel knows
        if (errno == EPERM) break;   // there were none to begin with: what is not held cannot come back either
        return false;
    }
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2]{};
    return syscall(SYS_capset, &header, none) == 0;
}

}  // namespace wa::helper
