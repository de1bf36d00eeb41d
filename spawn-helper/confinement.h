// What a process puts around itself just before exec: no capabilities, Landlock, a system call filter. Plain system
// calls only, so that it may run between clone and exec.
#pragma once

#include <stddef.h>
#include <stdint.h>

namespace wa::helper {

// The filter is built once; it is plain data from then on.
class SystemCallFilter {
public:
    // `own_root`: the task has a root and IPC of its own. Without it the machine's named sockets are within reach (and
    // no other layer keeps it from them), and what it leaves in shared memory stays: those are refused too. `network`:
    // sockets of the network may be made; the task has it, or a network namespace of its own.
    // `refused_modes`: bits (setuid, setgid) that no file may be given; 0 where none of its files outlives the task.
    SystemCallFilter(bool own_root, bool network, uint32_t refused_modes);
    // For this thread and all that it starts; needs no-new-privileges. False with errno.
    [[nodiscard]] bool apply() const;

private:
    static constexpr size_t kCapacity = 400;
    struct Instruction {
        uint16_t code;
        uint8_t jump_true;
        uint8_t jump_false;
        uint32_t operand;
    };
    void add(uint16_t code, uint32_t operand, uint8_t jump_true = 0, uint8_t jump_false = 0);
    void load(uint32_t offset);
    void refuse_call(long number, int error);
    void refuse_new_namespaces();
    void refuse_terminal_input();
    void refuse_modes();
    void refuse_datagram_pairs();
    void refuse_mode(long number, unsigned argument);
    void refuse_created_mode(long number, unsigned flags_argument, unsigned mode_argument);
    void limit_sockets(long number, const uint32_t* families, unsigned count, int error);

    uint32_t refused_modes_;
    size_t size_ = 0;
    Instruction program_[kCapacity];
};

// Errors of the kernel's answer; 0 = it has seccomp filters.
int probe_seccomp();

// 0 = none. errno says why.
int landlock_abi();

class LandlockRules {
public:
    // Nothing is allowed that is not allowed below. `no_network`: no TCP either, where the kernel can tell.
    bool begin(int abi, bool no_network);
    bool allow_reading(const char* path);
    bool allow_writing(const char* path);
    // Gives the descriptor away; landlock_apply() takes it.
    int take();
    ~LandlockRules();
    LandlockRules() = default;
    LandlockRules(const LandlockRules&) = delete;
    LandlockRules& operator=(const LandlockRules&) = delete;

private:
    bool allow(const char* path, uint64_t access);
    int fd_ = -1;
    uint64_t handled_ = 0;
};

bool landlock_apply(int ruleset);

// Empties every set, the bounding set included. False with errno.
bool drop_capabilities();

}  // namespace wa::helper
