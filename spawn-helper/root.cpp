#include "root.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <initializer_list>

#include "sandbox.h"

namespace wa::helper {
namespace {

// Newer than libc's headers; the numbers are the same on every architecture.
constexpr long kOpenTree = 428;
constexpr long kMoveMount = 429;
constexpr long kMountSetattr = 442;
constexpr unsigned kTreeClone = 1;
constexpr unsigned kTreeCloseOnExec = O_CLOEXEC;
constexpr unsigned kRecursive = 0x8000;  // AT_RECURSIVE
constexpr unsigned kMoveEmptyPath = 4;   // MOVE_MOUNT_F_EMPTY_PATH
constexpr uint64_t kReadOnly = 1;
constexpr uint64_t kNoSetuid = 2;
constexpr uint64_t kNoDevices = 4;
constexpr uint64_t kNoExecute = 8;
constexpr uint64_t kMapIds = 0x00100000;

struct MountAttributes {
    uint64_t set;
    uint64_t clear;
    uint64_t propagation;
    uint64_t user_namespace;
};

constexpr char kRootOptions[] = "mode=0755,size=8m,nr_inodes=8192";
// Any folder that every machine has: only the mount lies there, and only in this namespace.
constexpr const char* kStages[] = {"/tmp", "/mnt", "/srv", "/var", "/home"};
constexpr const char* kDevices[kDeviceCount] = {"null", "zero", "full", "random", "urandom", "tty"};

int open_tree(int at, const char* path, unsigned flags) {
    return static_cast<int>(syscall(kOpenTree, at, path, flags | kTreeClone | kTreeCloseOnExec));
}

bool set_attributes(int tree, uint64_t flags, bool recursive, int mapping = -1) {
    MountAttributes attributes{};
    attributes.set = flags;
    if (mapping >= 0) {
        attributes.set |= kMapIds;
        attributes.user_namespace = static_cast<uint64_t>(mapping);
    }
    return syscall(kMountSetattr, tree, "", AT_EMPTY_PATH | (recursive ? kRecursive : 0U), &attributes,
                   sizeof attributes) == 0;
}

bool attach(int tree, const char* path) {
    return syscall(kMoveMount, tree, "", AT_FDCWD, path, kMoveEmptyPath) == 0;
}

// Makes the folders that lead to the last part of a relative path. Existing ones are fine, also read-only ones.
bool make_parents(const char* path) {
    char part[PATH_MAX];
    const size_t length = strlen(path);
    if (length >= sizeof part) {
        errno = ENAMETOOLONG;
        return false;
    }
    memcpy(part, path, length + 1);
    for (char* at = strchr(part, '/'); at != nullptr; at = strchr(at + 1, '/')) {
        *at = '\0';
        struct stat facts{};
        if (mkdir(part, 0755) != 0 && (stat(part, &facts) != 0 || !S_ISDIR(facts.st_mode))) return false;
        *at = '/';
    }
    return true;
}

bool make_file(const char* path, const char* text, mode_t mode) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
    if (fd < 0) return errno == EEXIST;
    const size_t length = strlen(text);
    const bool written = length == 0 || write(fd, text, length) == static_cast<ssize_t>(length);
    close(fd);
    return written;
}

// Something to mount on, of the same kind as what is mounted there. Paths here are relative to the new root.
bool make_place(const char* path, bool folder) {
    if (!make_parents(path)) return false;
    if (folder) {
        struct stat facts{};
        return mkdir(path, 0755) == 0 || (stat(path, &facts) == 0 && S_ISDIR(facts.st_mode));
    }
    return make_file(path, "", 0444);
}

const char* below(const char* absolute) {
    while (*absolute == '/')
        ++absolute;
    return absolute;
}

// False only for what is there and cannot be taken.
bool take_part(const char* path, Part& part) {
    part.path = below(path);
    part.tree = -1;
    part.target[0] = '\0';
    struct stat facts{};
    if (part.path[0] == '\0' || lstat(path, &facts) != 0) return true;
    if (S_ISLNK(facts.st_mode)) {
        const ssize_t length = readlink(path, part.target, sizeof part.target - 1);
        if (length > 0) part.target[length] = '\0';
        return length > 0;
    }
    part.folder = S_ISDIR(facts.st_mode);
    part.tree = open_tree(AT_FDCWD, path, kRecursive | AT_SYMLINK_NOFOLLOW);
    if (part.tree < 0) return errno == EACCES || errno == ENOENT;
    return set_attributes(part.tree, kReadOnly | kNoSetuid | kNoDevices, true);
}

bool show_part(const Part& part) {
    if (part.target[0] != '\0') {
        if (!make_parents(part.path)) return false;
        return symlink(part.target, part.path) == 0 || errno == EEXIST;
    }
    if (part.tree < 0) return true;
    const bool shown = make_place(part.path, part.folder) && attach(part.tree, part.path);
    const int error = errno;
    close(part.tree);
    errno = error;
    return shown;
}

// The working directory, by its path in this namespace (a descriptor of the helper's leads into another one), which
// must lead to the very folder that was checked.
int take_directory(int checked) {
    char link[32];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", checked);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return -1;
    path[length] = '\0';
    const int here = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (here < 0) return -1;
    struct stat wanted{};
    struct stat found{};
    int tree = -1;
    if (fstat(checked, &wanted) == 0 && fstat(here, &found) == 0) {
        if (wanted.st_dev == found.st_dev && wanted.st_ino == found.st_ino) {
            tree = clone_tree(here, -1);
        } else {
            errno = ESTALE;
        }
    }
    const int error = errno;
    close(here);
    errno = error;
    return tree;
}

bool make_workspace(const Sandbox& wish, bool with_files) {
    char options[128];
    snprintf(options, sizeof options, "mode=0755,size=%llu,nr_inodes=%llu",
             static_cast<unsigned long long>(wish.workspace_bytes),
             static_cast<unsigned long long>(wish.workspace_entries));
    if (mkdir("task", 0755) != 0 || mount("task", "task", "tmpfs", MS_NOSUID | MS_NODEV, options) != 0) return false;
    for (const char* path : {"task/home", "task/work", "task/tmp", "task/shm"}) {
        if (mkdir(path, 0700) != 0) return false;
    }
    if (mkdir("tmp", 0755) != 0 || mount("task/tmp", "tmp", nullptr, MS_BIND, nullptr) != 0) return false;
    return !with_files || mkdir("run/secrets", 0700) == 0;
}

bool make_devices(const int* trees) {
    if (mkdir("dev", 0755) != 0) return false;
    char path[32];
    for (size_t index = 0; index < kDeviceCount; ++index) {
        if (trees[index] < 0) continue;
        snprintf(path, sizeof path, "dev/%s", kDevices[index]);
        if (!make_file(path, "", 0666) || !attach(trees[index], path)) return false;
        close(trees[index]);
    }
    constexpr const char* kLinks[][2] = {{"/proc/self/fd", "dev/fd"},
                                         {"/proc/self/fd/0", "dev/stdin"},
                                         {"/proc/self/fd/1", "dev/stdout"},
                                         {"/proc/self/fd/2", "dev/stderr"},
                                         {"/task/shm", "dev/shm"}};
    for (const auto& [target, link] : kLinks) {
        if (symlink(target, link) != 0) return false;
    }
    return true;
}

// The bytes go from the descriptor to the file inside the kernel: nothing of them passes through this process.
bool write_secret(const char* name, int bytes) {
    char path[300];
    snprintf(path, sizeof path, "run/secrets/%s", name);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0400);
    if (fd < 0) return false;
    struct stat facts{};
    off_t at = 0;
    bool good = fstat(bytes, &facts) == 0 && S_ISREG(facts.st_mode);
    while (good && at < facts.st_size) {
        const ssize_t moved = sendfile(fd, bytes, &at, static_cast<size_t>(facts.st_size - at));
        good = moved > 0 || (moved < 0 && errno == EINTR);
    }
    const int error = errno;
    close(fd);
    errno = error;
    return good;
}

// The names behind the ids inside: programs ask for them.
bool make_names(const SandboxPlan& plan) {
    char text[256];
    struct stat facts{};
    snprintf(text, sizeof text,
             "root:x:0:0:root:/nonexistent:/usr/sbin/nologin\ntask:x:%u:%u:task:%s:/bin/sh\n"
             "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n",
             plan.inside_uid, plan.inside_gid, kTaskHome);
    if (!make_file("run/passwd", text, 0444)) return false;
    snprintf(text, sizeof text, "root:x:0:\ntask:x:%u:\nnogroup:x:65534:\n", plan.inside_gid);
    if (!make_file("run/group", text, 0444)) return false;
    constexpr const char* kFiles[][2] = {{"run/passwd", "etc/passwd"}, {"run/group", "etc/group"}};
    for (const auto& [from, to] : kFiles) {
        if (stat(to, &facts) == 0) {
            constexpr unsigned long kSealed = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
            if (mount(from, to, nullptr, MS_BIND, nullptr) != 0 || mount(nullptr, to, nullptr, kSealed, nullptr) != 0)
                return false;
        } else if (errno == ENOENT && make_parents(to)) {
            symlink(to[4] == 'p' ? "/run/passwd" : "/run/group", to);  // /etc may be missing, or read-only without it
        }
    }
    return true;
}

bool hide(const char* absolute) {
    const char* path = below(absolute);
    struct stat facts{};
    if (path[0] == '\0' || lstat(path, &facts) != 0 || S_ISLNK(facts.st_mode)) return true;
    if (S_ISDIR(facts.st_mode)) {
        // Writable, for the shared folder may have to be shown below it; too small to be of use for anything else.
        return mount("hidden", path, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755,size=4k,nr_inodes=32") == 0;
    }
    return make_file("run/hidden", "", 0) && mount("run/hidden", path, nullptr, MS_BIND, nullptr) == 0;
}

// Whether one absolute path is the other one, or lies below it.
bool lies_in(const char* path, const char* folder) {
    const size_t length = strlen(folder);
    return strncmp(path, folder, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

bool lies_in_hidden(const char* path, const SandboxPlan& plan) {
    for (uint32_t index = 0; index < plan.wish->hidden_count; ++index) {
        if (lies_in(path, plan.hidden[index])) return true;
    }
    return false;
}

bool change_root() {
    if (syscall(SYS_pivot_root, ".", ".") != 0) return false;
    // The old root lies over the new one now.
    return umount2(".", MNT_DETACH) == 0 && chdir("/") == 0;
}

}  // namespace

int clone_tree(int folder, int mapping) {
    const int tree = open_tree(folder, "", AT_EMPTY_PATH | kRecursive);
    if (tree < 0) return -1;
    if (set_attributes(tree, kNoSetuid | kNoDevices, true) && (mapping < 0 || set_attributes(tree, 0, false, mapping)))
        return tree;
    const int error = errno;
    close(tree);
    errno = error;
    return -1;
}

int setgroups_none() {
    return static_cast<int>(syscall(SYS_setgroups, 0, nullptr));
}

Step take_parts(const SandboxPlan& plan, Parts& parts) {
    parts.count = plan.wish->read_only_count < kMaxPaths ? plan.wish->read_only_count : kMaxPaths;
    for (uint32_t index = 0; index < parts.count; ++index) {
        if (!take_part(plan.read_only[index], parts.parts[index])) return Step::kRoot;
    }
    for (size_t index = 0; index < kDeviceCount; ++index) {
        char path[32];
        snprintf(path, sizeof path, "/dev/%s", kDevices[index]);
        const int device = open_tree(AT_FDCWD, path, 0);
        parts.devices[index] = device;
        if (device >= 0 && !set_attributes(device, kNoSetuid | kNoExecute, false)) return Step::kRoot;
    }
    parts.directory = plan.directory_tree;
    if (plan.directory >= 0 && parts.directory < 0) parts.directory = take_directory(plan.directory);
    return plan.directory >= 0 && parts.directory < 0 ? Step::kBind : Step::kNone;
}

Step build_root(const SandboxPlan& plan, const Parts& parts, int& folder) {
    const Sandbox& wish = *plan.wish;
    folder = -1;
    bool staged = false;
    for (const char* stage : kStages) {
        if (staged) break;
        staged = mount("task-root", stage, "tmpfs", MS_NOSUID | MS_NODEV, kRootOptions) == 0;
        if (staged && chdir(stage) != 0) return Step::kRoot;
        if (!staged && errno != ENOENT && errno != ENOTDIR) return Step::kRoot;
    }
    if (!staged) return Step::kRoot;
    if (mkdir("run", 0755) != 0) return Step::kRoot;
    if (!make_workspace(wish, wish.secret_count > 0)) return Step::kWorkspace;
    for (uint32_t index = 0; index < parts.count; ++index) {
        if (!lies_in_hidden(plan.read_only[index], plan) && !show_part(parts.parts[index])) return Step::kRoot;
    }
    if (!make_devices(parts.devices)) return Step::kRoot;
    if (mkdir("proc", 0555) != 0 || mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0)
        return Step::kProc;
    if (!make_names(plan)) return Step::kRoot;
    for (uint32_t index = 0; index < wish.hidden_count; ++index) {
        if (!hide(plan.hidden[index])) return Step::kRoot;
    }
    // What is shown in spite of that lies on top.
    for (uint32_t index = 0; index < parts.count; ++index) {
        if (lies_in_hidden(plan.read_only[index], plan) && !show_part(parts.parts[index])) return Step::kRoot;
    }
    for (uint32_t index = 0; index < wish.secret_count; ++index) {
        if (!write_secret(plan.secret_names[index], plan.secrets[index])) return Step::kSecret;
    }
    // Last of the mounts: what an operator shows here lies over everything else.
    const char* shared = below(plan.directory_path);
    if (parts.directory >= 0 && (!make_place(shared, true) || !attach(parts.directory, shared))) return Step::kBind;
    if (plan.directory < 0) {
        folder = open("task/work", O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (folder < 0) return Step::kWorkspace;
    }
    if (!change_root()) return Step::kRoot;
    const int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    const bool sealed = root >= 0 && set_attributes(root, kReadOnly, false);
    const int error = errno;
    if (root >= 0) close(root);
    errno = error;
    return sealed ? Step::kNone : Step::kRoot;
}

ProcessNumbers::ProcessNumbers() : dir_(opendir("/proc")) {}

ProcessNumbers::~ProcessNumbers() {
    if (dir_ != nullptr) closedir(dir_);
}

void ProcessNumbers::Iterator::next() {
    pid_ = 0;
    if (dir_ == nullptr) return;
    while (const dirent* entry = readdir(dir_)) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        pid_ = static_cast<pid_t>(atol(entry->d_name));
        return;
    }
}

}  // namespace wa::helper
