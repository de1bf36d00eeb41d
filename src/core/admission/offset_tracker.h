// Which offsets of one partition are done (design.md "Acknowledging out of order"; cluster-rules 4 and 12). Pure.
//
// Tickets of a partition end in any order. A commit carries the lowest unfinished offset and, as text, the set of
// finished ones above it, so that the next owner of the partition skips them. Offsets that no record stands at
// (compaction, transaction markers, aborted records) count as finished.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/admission/open_offsets.h"

namespace wa {

// A half-open range of offsets.
struct OffsetRange {
    std::int64_t from = 0;
    std::int64_t to = 0;

    friend bool operator==(const OffsetRange&, const OffsetRange&) = default;
};

// What the metadata of a commit says.
struct OffsetMetadata {
    bool clean = false;                               // the owner let go in good order: nothing was left running
    std::vector<OffsetRange> finished;                // above the committed offset, ascending, disjoint
    std::map<std::int64_t, std::int32_t> deliveries;  // unfinished offsets that a worker died over, with how often

    friend bool operator==(const OffsetMetadata&, const OffsetMetadata&) = default;
};

// Text-safe (base64url), version in front; run lengths or bitmap, whichever is shorter.
std::string encode_offset_metadata(std::int64_t committed, const OffsetMetadata& metadata);
// nullopt for missing, foreign, newer or damaged text: never fatal (rule 12). Bounded by the text's length.
std::optional<OffsetMetadata> decode_offset_metadata(std::int64_t committed, std::string_view text);

class OffsetTracker {
public:
    explicit OffsetTracker(std::int64_t committed) : position_(committed) {}
    // Takes over what an earlier owner finished.
    void restore(const OffsetMetadata& metadata);

    // A record was read. Offsets rise; false when it is finished already (skip it) or was read before.
    bool read(std::int64_t offset);
    // Its outcome is committed. Unknown or repeated offsets are ignored.
    void finish(std::int64_t offset);

    [[nodiscard]] bool is_open(std::int64_t offset) const { return open_.contains(offset); }
    [[nodiscard]] bool is_finished(std::int64_t offset) const;
    // Lowest unfinished offset: what a commit may carry. Never moves back.
    [[nodiscard]] std::int64_t committable() const;
    [[nodiscard]] std::int64_t position() const { return position_; }
    [[nodiscard]] std::size_t open_count() const { return open_.size(); }

    [[nodiscard]] std::int32_t deliveries(std::int64_t offset) const;
    void set_deliveries(std::int64_t offset, std::int32_t count) { deliveries_[offset] = count; }

    // The offset and metadata that a commit would carry if the offsets in `also_finished` (ascending) were finished
    // too; without the delivery counts where there is no room for them.
    [[nodiscard]] std::pair<std::int64_t, std::string> commit_with(const std::vector<std::int64_t>& also_finished,
                                                                   bool clean, bool with_deliveries = true) const;

private:
    std::int64_t position_;                    // next offset expected
    OpenOffsets open_;                         // read, not finished
    std::vector<OffsetRange> finished_ahead_;  // finished by an earlier owner, at or above position_
    std::map<std::int64_t, std::int32_t> deliveries_;
};

}  // namespace wa
