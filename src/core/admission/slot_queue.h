// Who gets the next free place: the highest priority first, aging so that nothing starves, the nearest deadline inside
// a class. Pure; every operation is O(log n).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <set>

#include "base/clock.h"
#include "core/ticket/ticket.h"

namespace wa {

class SlotQueue {
public:
    using Item = std::uint32_t;

    struct Entry {
        Item item = 0;
        Priority priority = Priority::kNormal;
        MonoTime queued_at{};
        MonoTime deadline = MonoTime::max();  // max() = none

        friend bool operator==(const Entry&, const Entry&) = default;
    };

    // Every `aging_step` of waiting lifts an entry by one class. aging_step > 0.
    explicit SlotQueue(Duration aging_step) : aging_step_(aging_step) {}

    void push(const Entry& entry);
    // The same entry that was pushed; false when it is not there.
    bool remove(const Entry& entry);
    [[nodiscard]] std::optional<Entry> peek(MonoTime now) const;
    std::optional<Entry> pop(MonoTime now);

    [[nodiscard]] std::size_t size() const;
    [[nodiscard]] bool empty() const { return size() == 0; }

private:
    struct ByDeadline {
        bool operator()(const Entry& a, const Entry& b) const;
    };
    struct ByAge {
        bool operator()(const Entry& a, const Entry& b) const;
    };
    struct Class {
        std::set<Entry, ByDeadline> by_deadline;
        std::set<Entry, ByAge> by_age;
    };

    [[nodiscard]] std::int64_t effective_class(const Entry& entry, MonoTime now) const;

    Duration aging_step_;
    std::array<Class, 4> classes_;
};

}  // namespace wa
