// Any bytes as an answer of the ticket service, or as the file of waiting updates.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "adapters/ticket_service/answers.h"
#include "base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    namespace ts = wa::ticket_service;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    if (const auto ticket = ts::parse_ticket(text)) {
        WA_CHECK(!ticket->ticket_id.empty() && !ticket->status.empty(), "a ticket has an id and a status");
        const auto status = ts::dependency_status(*ticket);
        WA_CHECK(status.ticket_id == ticket->ticket_id && !status.last_word, "about that ticket");
        WA_CHECK(status.detail.find('\n') == std::string::npos, "one line");
    }
    if (const auto list = ts::parse_ticket_list(text)) WA_CHECK(list->size() <= 1000, "bounded");
    if (const auto token = ts::parse_token(text))
        WA_CHECK(token->token.find_first_of("\r\n ") == std::string::npos, "fits into a header");
    WA_CHECK(ts::error_detail(text).size() <= 210, "short");
    if (const auto updates = ts::parse_spill(text)) {
        const auto again = ts::parse_spill(ts::spill_text(*updates));
        WA_CHECK(again && again->size() == updates->size(), "what is read can be written");
    }
    return 0;
}
