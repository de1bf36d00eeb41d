// Who waits for whom. One node for each ticket id that is in hand, awaited, or whose ending is remembered. Pure.
//
// A waiting ticket costs a few bytes here, not a coroutine: its flow starts again when the last of its dependencies is
// done. Remembered endings are bounded; what is dropped is asked from the ticket service again.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"

namespace wa {

enum class Ending : std::uint8_t { kNone, kCompleted, kFailed };

class DependencyIndex {
public:
    using NodeId = std::uint32_t;
    using Slot = std::uint32_t;
    static constexpr Slot kNoSlot = UINT32_MAX;

    struct Waiter {
        Slot slot = kNoSlot;
        std::uint32_t generation = 0;  // a waiter that ended early leaves its entry behind; the generation tells
    };
    struct Node {
        std::string id;
        Slot in_hand = kNoSlot;  // the record that is being worked on
        std::vector<Slot> held;  // further records of the same id, oldest first
        std::vector<Waiter> waiters;
        Ending ending = Ending::kNone;
        bool public_ending = false;  // seen as a result (ours or on the results topic), not only as a status (rule 9)
        bool known_open = false;     // somebody knows the ticket and it has not ended
        bool lookup_due = false;
        MonoTime unknown_since{};  // since when nobody has known this id; MonoTime{} = somebody does
        MonoTime asked_at{};       // when the ticket service was last asked; MonoTime{} = no answer is awaited
        bool alive = false;
        std::uint32_t stale_waiters = 0;
        EpochMillis ending_at = 0;
        std::string detail;  // "FAILED: exit code 1"
    };

    explicit DependencyIndex(std::size_t max_endings) : max_endings_(max_endings) {}

    NodeId intern(std::string_view id);
    // kNoSlot-like UINT32_MAX when unknown.
    [[nodiscard]] NodeId find(std::string_view id) const;
    [[nodiscard]] Node& at(NodeId node) { return nodes_[node]; }
    [[nodiscard]] const Node& at(NodeId node) const { return nodes_[node]; }

    void remember_ending(NodeId node, Ending ending, EpochMillis at, bool public_ending, std::string detail);
    // Frees the node if nothing needs it any more.
    void release(NodeId node);

    [[nodiscard]] std::size_t size() const { return by_id_.size(); }

private:
    [[nodiscard]] static bool needed(const Node& node) {
        return node.in_hand != kNoSlot || !node.held.empty() || node.waiters.size() > node.stale_waiters ||
               node.ending != Ending::kNone;
    }
    void drop(NodeId node);

    std::size_t max_endings_;
    std::deque<Node> nodes_;  // a deque keeps addresses, and with them the keys of by_id_
    std::vector<NodeId> free_;
    std::unordered_map<std::string_view, NodeId> by_id_;
    std::deque<NodeId> endings_;  // oldest first
};

}  // namespace wa
