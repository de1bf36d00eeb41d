#include "core/admission/offset_tracker.h"

#include <algorithm>
#include <array>
#include <limits>

namespace wa {
namespace {

// "1r…" run lengths, "1b…" bitmap; the digit is the version that the previous release must still read (rule 12).
constexpr char kVersion = '1';
constexpr std::string_view kAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::int64_t kMaxSpan = std::int64_t{1} << 40;  // a finished set wider than this is damage, not data

using Bytes = std::vector<std::uint8_t>;

void put_varint(Bytes& out, std::uint64_t value) {
    while (value >= 0x80U) {
        out.push_back(static_cast<std::uint8_t>(value | 0x80U));
        value >>= 7U;
    }
    out.push_back(static_cast<std::uint8_t>(value));
}

std::optional<std::uint64_t> get_varint(const Bytes& in, std::size_t& at) {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && at < in.size(); shift += 7) {
        const std::uint8_t byte = in[at++];
        value |= static_cast<std::uint64_t>(byte & 0x7fU) << shift;
        if ((byte & 0x80U) == 0) return value;
    }
    return std::nullopt;
}

std::string to_base64url(const Bytes& bytes) {
    std::string text;
    text.reserve((bytes.size() * 4 + 2) / 3);
    std::uint32_t buffer = 0;
    unsigned bits = 0;
    for (const std::uint8_t byte : bytes) {
        buffer = (buffer << 8U) | byte;
        bits += 8;
        while (bits >= 6) {
            bits -= 6;
            text.push_back(kAlphabet[(buffer >> bits) & 0x3fU]);
        }
    }
    if (bits > 0) text.push_back(kAlphabet[(buffer << (6 - bits)) & 0x3fU]);
    return text;
}

std::optional<Bytes> from_base64url(std::string_view text) {
    Bytes bytes;
    bytes.reserve(text.size() * 3 / 4);
    std::uint32_t buffer = 0;
    unsigned bits = 0;
    for (const char c : text) {
        const std::size_t value = kAlphabet.find(c);
        if (value == std::string_view::npos) return std::nullopt;
        buffer = (buffer << 6U) | static_cast<std::uint32_t>(value);
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            bytes.push_back(static_cast<std::uint8_t>(buffer >> bits));
        }
    }
    return bytes;
}

void put_deliveries(Bytes& out, std::int64_t committed, const std::map<std::int64_t, std::int32_t>& deliveries) {
    put_varint(out, deliveries.size());
    std::int64_t previous = committed;
    for (const auto& [offset, count] : deliveries) {
        put_varint(out, static_cast<std::uint64_t>(offset - previous));
        put_varint(out, static_cast<std::uint64_t>(count));
        previous = offset;
    }
}

bool get_deliveries(const Bytes& in, std::size_t& at, std::int64_t committed,
                    std::map<std::int64_t, std::int32_t>& out) {
    const auto count = get_varint(in, at);
    if (!count || *count > in.size()) return false;
    std::int64_t offset = committed;
    for (std::uint64_t i = 0; i < *count; ++i) {
        const auto delta = get_varint(in, at);
        const auto times = get_varint(in, at);
        if (!delta || !times || *delta > kMaxSpan || *times > 1'000'000) return false;
        offset += static_cast<std::int64_t>(*delta);
        out[offset] = static_cast<std::int32_t>(*times);
    }
    return true;
}

Bytes encode_runs(std::int64_t committed, const std::vector<OffsetRange>& finished) {
    Bytes out;
    put_varint(out, finished.size());
    std::int64_t at = committed;
    for (const OffsetRange& range : finished) {
        put_varint(out, static_cast<std::uint64_t>(range.from - at));
        put_varint(out, static_cast<std::uint64_t>(range.to - range.from));
        at = range.to;
    }
    return out;
}

Bytes encode_bitmap(std::int64_t committed, const std::vector<OffsetRange>& finished) {
    const std::int64_t span = finished.back().to - committed;
    Bytes bits(static_cast<std::size_t>((span + 7) / 8), 0);
    for (const OffsetRange& range : finished) {
        for (std::int64_t offset = range.from; offset < range.to; ++offset) {
            const auto bit = static_cast<std::size_t>(offset - committed);
            bits[bit / 8] = static_cast<std::uint8_t>(bits[bit / 8] | (1U << (bit % 8)));
        }
    }
    Bytes out;
    put_varint(out, bits.size());
    out.insert(out.end(), bits.begin(), bits.end());
    return out;
}

bool decode_runs(const Bytes& in, std::size_t& at, std::int64_t committed, std::vector<OffsetRange>& out) {
    const auto count = get_varint(in, at);
    if (!count || *count > in.size()) return false;
    std::int64_t offset = committed;
    for (std::uint64_t i = 0; i < *count; ++i) {
        const auto gap = get_varint(in, at);
        const auto length = get_varint(in, at);
        if (!gap || !length || *gap > kMaxSpan || *length > kMaxSpan || *length == 0) return false;
        const std::int64_t from = offset + static_cast<std::int64_t>(*gap);
        offset = from + static_cast<std::int64_t>(*length);
        if (offset - committed > kMaxSpan) return false;
        out.push_back({from, offset});
    }
    return true;
}

bool decode_bitmap(const Bytes& in, std::size_t& at, std::int64_t committed, std::vector<OffsetRange>& out) {
    const auto size = get_varint(in, at);
    if (!size || *size > in.size() - at) return false;
    for (std::uint64_t bit = 0; bit < *size * 8; ++bit) {
        if ((in[at + bit / 8] & (1U << (bit % 8))) == 0) continue;
        const std::int64_t offset = committed + static_cast<std::int64_t>(bit);
        if (!out.empty() && out.back().to == offset) {
            ++out.back().to;
        } else {
            out.push_back({offset, offset + 1});
        }
    }
    at += static_cast<std::size_t>(*size);
    return true;
}

}  // namespace

std::string encode_offset_metadata(std::int64_t committed, const OffsetMetadata& metadata) {
    Bytes body = encode_runs(committed, metadata.finished);
    char form = 'r';
    // A bitmap can only win over runs when they are short; measuring the span first keeps this bounded.
    if (!metadata.finished.empty() &&
        (metadata.finished.back().to - committed) / 8 < static_cast<std::int64_t>(body.size())) {
        Bytes bitmap = encode_bitmap(committed, metadata.finished);
        if (bitmap.size() < body.size()) {
            body = std::move(bitmap);
            form = 'b';
        }
    }
    Bytes out{static_cast<std::uint8_t>(metadata.clean ? 1 : 0)};
    out.insert(out.end(), body.begin(), body.end());
    put_deliveries(out, committed, metadata.deliveries);
    return std::string{kVersion, form} + to_base64url(out);
}

std::optional<OffsetMetadata> decode_offset_metadata(std::int64_t committed, std::string_view text) {
    constexpr std::size_t kMaxText = 64 * 1024;
    if (text.size() < 3 || text.size() > kMaxText || text[0] != kVersion || committed < 0 ||
        committed > std::numeric_limits<std::int64_t>::max() - 4 * kMaxSpan) {
        return std::nullopt;
    }
    const auto bytes = from_base64url(text.substr(2));
    if (!bytes || bytes->empty() || (*bytes)[0] > 1) return std::nullopt;
    OffsetMetadata metadata;
    metadata.clean = (*bytes)[0] == 1;
    std::size_t at = 1;
    bool good = false;
    if (text[1] == 'r') good = decode_runs(*bytes, at, committed, metadata.finished);
    if (text[1] == 'b') good = decode_bitmap(*bytes, at, committed, metadata.finished);
    if (!good || !get_deliveries(*bytes, at, committed, metadata.deliveries) || at != bytes->size())
        return std::nullopt;
    return metadata;
}

void OffsetTracker::restore(const OffsetMetadata& metadata) {
    finished_ahead_.clear();
    for (const OffsetRange& range : metadata.finished) {
        if (range.to > position_) finished_ahead_.push_back({std::max(range.from, position_), range.to});
    }
    deliveries_ = metadata.deliveries;
}

bool OffsetTracker::is_finished(std::int64_t offset) const {
    if (offset < position_) return !open_.contains(offset);
    return std::any_of(finished_ahead_.begin(), finished_ahead_.end(),
                       [&](const OffsetRange& range) { return range.from <= offset && offset < range.to; });
}

bool OffsetTracker::read(std::int64_t offset) {
    if (offset < position_) return false;
    const bool finished = is_finished(offset);
    position_ = offset + 1;
    while (!finished_ahead_.empty() && finished_ahead_.front().to <= position_)
        finished_ahead_.erase(finished_ahead_.begin());
    if (!finished_ahead_.empty()) finished_ahead_.front().from = std::max(finished_ahead_.front().from, position_);
    if (!finished) open_.add(offset);
    return !finished;
}

void OffsetTracker::finish(std::int64_t offset) {
    open_.remove(offset);
    deliveries_.erase(offset);
}

std::int64_t OffsetTracker::committable() const {
    return open_.empty() ? position_ : open_.lowest();
}

std::int32_t OffsetTracker::deliveries(std::int64_t offset) const {
    const auto found = deliveries_.find(offset);
    return found == deliveries_.end() ? 0 : found->second;
}

std::pair<std::int64_t, std::string> OffsetTracker::commit_with(const std::vector<std::int64_t>& also_finished,
                                                                bool clean, bool with_deliveries) const {
    OffsetMetadata metadata;
    metadata.clean = clean;
    std::int64_t committed = position_;
    std::int64_t cursor = -1;  // end of the last open offset seen
    auto skip = also_finished.begin();
    open_.visit([&](std::int64_t offset) {
        while (skip != also_finished.end() && *skip < offset)
            ++skip;
        if (skip != also_finished.end() && *skip == offset) return;
        if (cursor < 0) {
            committed = offset;
        } else if (offset > cursor) {
            metadata.finished.push_back({cursor, offset});
        }
        cursor = offset + 1;
        if (const auto found = deliveries_.find(offset); found != deliveries_.end()) metadata.deliveries.insert(*found);
    });
    if (cursor >= 0 && cursor < position_) metadata.finished.push_back({cursor, position_});
    for (const OffsetRange& range : finished_ahead_) {
        if (!metadata.finished.empty() && metadata.finished.back().to == range.from) {
            metadata.finished.back().to = range.to;
        } else if (cursor >= 0 || range.from > committed) {
            metadata.finished.push_back(range);
        } else {
            committed = range.to;  // nothing is open below it
        }
    }
    // Not read again yet, but known from the last owner: must not be forgotten by this commit.
    for (const auto& [offset, count] : deliveries_) {
        if (offset >= position_) metadata.deliveries.emplace(offset, count);
    }
    if (!with_deliveries) metadata.deliveries.clear();
    std::string text = encode_offset_metadata(committed, metadata);
    return {committed, std::move(text)};
}

}  // namespace wa
