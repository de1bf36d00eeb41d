#include "adapters/kafka/headers.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <limits>

namespace wa::kafka {
namespace {

bool same_name(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
}

constexpr std::array<const char*, 6> kGivenAnew{kTraceparent,  kTracestate,   kOriginPartition,
                                                kOriginOffset, kRequeueRound, kDeliveries};

// A length (-1 = null), then so many bytes.
void append_part(std::string& out, std::optional<std::string_view> part) {
    const std::int32_t size = part ? static_cast<std::int32_t>(part->size()) : -1;
    out.append(reinterpret_cast<const char*>(&size), sizeof size);
    if (part) out.append(*part);
}

bool take_part(std::string_view& in, std::optional<std::string_view>& part) {
    std::int32_t size = 0;
    if (in.size() < sizeof size) return false;
    std::memcpy(&size, in.data(), sizeof size);
    in.remove_prefix(sizeof size);
    part.reset();
    if (size == -1) return true;
    if (size < 0 || static_cast<std::size_t>(size) > in.size()) return false;
    part = in.substr(0, static_cast<std::size_t>(size));
    in.remove_prefix(static_cast<std::size_t>(size));
    return true;
}

}  // namespace

HeaderView::HeaderView(const rd_kafka_message_t& message) {
    rd_kafka_headers_t* headers = nullptr;
    if (rd_kafka_message_headers(&message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR) headers_ = headers;
}

std::optional<std::string_view> HeaderView::text(std::string_view name) const {
    if (headers_ == nullptr) return std::nullopt;
    std::optional<std::string_view> found;
    const char* each = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0; rd_kafka_header_get_all(headers_, i, &each, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        if (value != nullptr && same_name(each, name)) found = std::string_view(static_cast<const char*>(value), size);
    }
    return found;
}

std::optional<std::int64_t> HeaderView::number(std::string_view name) const {
    const auto value = text(name);
    if (!value || value->empty()) return std::nullopt;
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(value->data(), value->data() + value->size(), number);
    if (error != std::errc() || end != value->data() + value->size() || number < 0) return std::nullopt;
    return number;
}

void HeaderList::add(const char* name, std::string_view value) {
    rd_kafka_header_add(headers_.get(), name, -1, value.data(), static_cast<ssize_t>(value.size()));
}

void HeaderList::add(const char* name, std::int64_t value) {
    add(name, std::to_string(value));
}

void HeaderList::add(const std::string& name, std::optional<std::string_view> value) {
    rd_kafka_header_add(headers_.get(), name.c_str(), -1, value ? value->data() : nullptr,
                        value ? static_cast<ssize_t>(value->size()) : 0);
}

PackedHeaders pack_headers(const rd_kafka_headers_t* headers) {
    PackedHeaders carried;
    if (headers == nullptr) return carried;
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    for (std::size_t i = 0; rd_kafka_header_get_all(headers, i, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR;
         ++i) {
        const std::string_view text(name);
        if (std::any_of(kGivenAnew.begin(), kGivenAnew.end(), [&](const char* each) { return same_name(text, each); }))
            continue;
        if (carried.packed.size() + text.size() + size + 2 * sizeof(std::int32_t) > kMostCarried) {
            carried.cut = true;
            continue;
        }
        append_part(carried.packed, text);
        append_part(carried.packed, value == nullptr
                                        ? std::nullopt
                                        : std::optional(std::string_view(static_cast<const char*>(value), size)));
    }
    return carried;
}

void add_packed(HeaderList& headers, std::string_view packed) {
    while (!packed.empty()) {
        std::optional<std::string_view> name;
        std::optional<std::string_view> value;
        if (!take_part(packed, name) || !name || !take_part(packed, value)) return;
        headers.add(std::string(*name), value);
    }
}

bool has_packed(std::string_view packed, std::string_view name) {
    while (!packed.empty()) {
        std::optional<std::string_view> each;
        std::optional<std::string_view> value;
        if (!take_part(packed, each) || !each || !take_part(packed, value)) return false;
        if (same_name(*each, name)) return true;
    }
    return false;
}

std::optional<ResultOrigin> result_origin(const HeaderView& headers) {
    const auto topic = headers.text(kSourceTopic);
    const auto partition = headers.number(kSourcePartition);
    const auto offset = headers.number(kSourceOffset);
    if (!topic || !partition || !offset || *partition > std::numeric_limits<PartitionId>::max()) return std::nullopt;
    return ResultOrigin{std::string(*topic),
                        std::string(headers.text(kSourceTopicId).value_or(std::string_view())),
                        {static_cast<PartitionId>(*partition), *offset}};
}

}  // namespace wa::kafka
