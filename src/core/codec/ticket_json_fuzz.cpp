// Any bytes as a ticket, a result and a dead letter: never a crash, and what is accepted survives writing and reading
// again.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "core/codec/dead_letter_json.h"
#include "core/codec/json_limits.h"
#include "core/codec/result_json.h"
#include "core/codec/ticket_json.h"
#include "core/compensation/compensation.h"

namespace {

// Writing adds the defaults, so what was just small enough may come out larger.
wa::TicketLimits roomy() {
    wa::TicketLimits limits;
    limits.max_bytes = 64 * 1024 * 1024;
    return limits;
}

void check_ticket_text(std::string_view text) {
    const auto errors = wa::check_ticket(text);
    const auto ticket = wa::parse_ticket(text);
    WA_CHECK(ticket.has_value() == errors.empty(), "parse and check agree");
    WA_CHECK(errors.size() <= wa::kMaxTicketErrors, "errors are bounded");
    if (!ticket) {
        WA_CHECK(!ticket.error().message.empty() && ticket.error().message.size() < 600, "errors are short sentences");
        return;
    }
    const std::string written = wa::write_ticket(*ticket);
    const auto again = wa::parse_ticket(written, roomy());
    WA_CHECK(again.has_value(), "what was written is read");
    WA_CHECK(wa::same_ticket(*ticket, *again), "and it is the same");
    WA_CHECK(wa::write_ticket(*again) == written, "and it is written the same way");

    wa::CompensationFacts facts;
    facts.attempts_started = 1;
    if (const auto compensation = wa::compensation_for(*ticket, facts)) {
        WA_CHECK(wa::parse_ticket(wa::write_ticket(compensation->ticket), roomy()).has_value(),
                 "a compensation is a ticket");
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_ticket_text(text);
    if (const auto result = wa::parse_result(text)) {
        const auto again = wa::parse_result(wa::write_result(*result), 64 * 1024 * 1024);
        WA_CHECK(again && wa::write_result(*again) == wa::write_result(*result), "results come back");
    }
    wa::DeadLetterFacts facts;
    facts.payload = text;
    const std::string dead = wa::write_dead_letter(facts);
    WA_CHECK(wa::parse_json(dead, wa::JsonLimits{4 * 1024 * 1024, 66, {}}).has_value(), "a dead letter is JSON");
    const auto replayable = wa::replayable_ticket(text);
    const auto summary = wa::dead_letter_summary(text);
    WA_CHECK(!summary.replayable || replayable.has_value(), "what is said to be replayable is");
    WA_CHECK(summary.ticket_id.size() <= wa::kMaxTicketIdBytes + 3 && summary.error.size() <= 1027,
             "texts are clipped");
    (void)wa::original_base64(text);
    return 0;
}
