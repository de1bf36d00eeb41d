// Stored blobs of any content: decoded or refused, never more. The checksum is repaired first in half of the runs, so
// that what lies behind it is reached.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "adapters/embedded_store/queries.h"
#include "adapters/embedded_store/rows.h"

namespace {

void check(bool ok) {
    if (!ok) std::abort();
}

// The bytes with the checksum that their place asks for; see rows.cpp.
std::string sealed(std::string_view bytes, std::initializer_list<std::int64_t> place) {
    const auto seed =
        wa::store::crc32({reinterpret_cast<const char*>(place.begin()), place.size() * sizeof(std::int64_t)});
    std::string out(bytes);
    wa::store::ByteWriter(out).u32(wa::store::crc32(bytes, seed));
    return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wa::store;
    const std::string_view bytes(reinterpret_cast<const char*>(data), size);
    for (const bool seal : {false, true}) {
        if (const auto row = decode_row(1, 2, 3, 4, seal ? sealed(bytes, {1, 2, 3, 4}) : std::string(bytes))) {
            std::string again;
            encode_row(*row, again);
            check(decode_row(1, 2, 3, 4, again).has_value());
        }
        if (const auto head = decode_head(1, seal ? sealed(bytes, {1}) : std::string(bytes))) {
            check(decode_head(1, encode_head(1, *head, "payload")).has_value());
        }
        if (const auto record = decode_record(1, 2, 9, seal ? sealed(bytes, {1, 2, 9}) : std::string(bytes))) {
            std::string again;
            encode_record(*record, encode_trail(record->attempts, record->history, 1U << 20U), "", again);
            check(decode_record(1, 2, 9, again).has_value());
        }
    }
    (void)decode_counts(bytes);
    const HashKey key{1, 2};
    const IdKey at = id_key(key, bytes);
    const auto range = id_range(bytes);
    if (range && !at.odd) check(range->first <= at.key && at.key <= range->second);
    return 0;
}
