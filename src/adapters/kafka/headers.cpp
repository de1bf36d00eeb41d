#include "adapters/kafka/headers.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>

namespace wa::kafka {
namespace {

bool same_name(std::string_view a, std::string_view b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) {
        return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
    });
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
