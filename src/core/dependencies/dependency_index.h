// Who waits for whom. One node for each ticket id that is in hand, awaited, or whose ending is remembered. Pure.
//
// A waiting ticket costs a few bytes here, not a coroutine: its flow starts again when the last of its dependencies is
// done. Remembered endings are bounded; what is dropped is asked from the ticket service again.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
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
        Slot in_hand = kNoSlot;     // the record that is being worked on
        Slot first_held = kNoSlot;  // further records of the same id wait, oldest first; each names the next
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
        std::unique_ptr<const std::string> why;  // of a failure; most nodes have none

        [[nodiscard]] bool has_held() const { return first_held != kNoSlot; }
        [[nodiscard]] std::string detail() const { return why ? *why : std::string(); }  // "FAILED: exit code 1"
        void set_detail(std::string text) {
            why = text.empty() ? nullptr : std::make_unique<const std::string>(std::move(text));
        }
    };

    explicit DependencyIndex(std::size_t max_endings)
        : max_endings_(max_endings), by_id_(0, IdHash{&nodes_}, SameId{&nodes_}) {}
    DependencyIndex(const DependencyIndex&) = delete;
    DependencyIndex& operator=(const DependencyIndex&) = delete;

    NodeId intern(std::string_view id);
    // kNoSlot-like UINT32_MAX when unknown.
    [[nodiscard]] NodeId find(std::string_view id) const;
    [[nodiscard]] Node& at(NodeId node) { return nodes_[node]; }
    [[nodiscard]] const Node& at(NodeId node) const { return nodes_[node]; }

    void remember_ending(NodeId node, Ending ending, EpochMillis at, bool public_ending, std::string detail);
    // The ticket runs once more: what is known of it counts no longer.
    void forget_ending(NodeId node);
    // Frees the node if nothing needs it any more.
    void release(NodeId node);

    [[nodiscard]] std::size_t size() const { return by_id_.size(); }

private:
    // Both look an id up where it stands; a text is its own id.
    struct IdHash {
        using is_transparent = void;
        const std::deque<Node>* nodes;
        std::size_t operator()(std::string_view id) const { return std::hash<std::string_view>{}(id); }
        std::size_t operator()(NodeId node) const { return (*this)(std::string_view((*nodes)[node].id)); }
    };
    struct SameId {
        using is_transparent = void;
        const std::deque<Node>* nodes;
        bool operator()(NodeId a, NodeId b) const { return a == b; }
        bool operator()(std::string_view id, NodeId node) const { return id == (*nodes)[node].id; }
        bool operator()(NodeId node, std::string_view id) const { return id == (*nodes)[node].id; }
    };
    [[nodiscard]] static bool needed(const Node& node) {
        return node.in_hand != kNoSlot || node.has_held() || node.waiters.size() > node.stale_waiters ||
               node.ending != Ending::kNone;
    }
    void drop(NodeId node);

    std::size_t max_endings_;
    std::deque<Node> nodes_;  // a deque: who holds a reference keeps it while others are added
    std::vector<NodeId> free_;
    std::unordered_set<NodeId, IdHash, SameId> by_id_;  // found by id: the id stands in the node only
    std::deque<NodeId> endings_;                        // oldest first; some may have been forgotten since
};

}  // namespace wa
