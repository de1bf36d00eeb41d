#include "adapters/embedded_store/dead_letters.h"

#include <charconv>
#include <utility>

#include "core/codec/text.h"

namespace wa {
namespace {

Result<std::int64_t> number_of(const std::string& key) {
    std::int64_t number = 0;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), number);
    if (error != std::errc{} || end != key.data() + key.size())
        return fail(ErrorCode::kNotFound, "store", "there is no dead letter \"" + clip(key) + "\"");
    return number;
}

DeadLetterEntry entry_of(DeadLetterRecord record) {
    DeadLetterEntry entry;
    entry.key = std::to_string(record.key);
    entry.ticket_id = std::move(record.ticket_id);
    entry.plan_id = std::move(record.plan_id);
    entry.task_id = std::move(record.task_id);
    entry.task_type = std::move(record.task_type);
    entry.reason = std::move(record.reason);
    entry.error_type = std::move(record.error_type);
    entry.error = std::move(record.error);
    entry.at = record.at;
    entry.first_at = record.first_at;
    entry.attempts = record.attempts;
    entry.replays = record.replays;
    entry.payload = std::move(record.payload);
    return entry;
}

}  // namespace

void EmbeddedDeadLetters::list(std::size_t offset, std::size_t limit, Answer<DeadLetterList> answer) {
    auto page = store_.dead_letters(offset, limit);
    if (!page) return answer(Failure(std::move(page).error()));
    DeadLetterList list;
    list.total = page->total;
    list.letters.reserve(page->letters.size());
    for (DeadLetterRecord& record : page->letters)
        list.letters.push_back(entry_of(std::move(record)));
    answer(std::move(list));
}

void EmbeddedDeadLetters::show(std::string key, Answer<DeadLetterEntry> answer) {
    const auto number = number_of(key);
    if (!number) return answer(Failure(number.error()));
    auto record = store_.dead_letter(*number);
    if (!record) return answer(Failure(std::move(record).error()));
    answer(entry_of(std::move(*record)));
}

void EmbeddedDeadLetters::replay(std::string key, std::string actor, Answer<std::string> answer) {
    const auto number = number_of(key);
    if (!number) return answer(Failure(number.error()));
    store_.replay_dead_letter(*number, std::move(actor), [answer = std::move(answer)](Result<SubmittedTicket> result) {
        if (!result) return answer(Failure(std::move(result).error()));
        answer(std::move(result->ticket_id));
    });
}

void EmbeddedDeadLetters::discard(std::string key, std::string reason, std::string actor, Answer<void> answer) {
    const auto number = number_of(key);
    if (!number) return answer(Failure(number.error()));
    store_.discard_dead_letter(*number, std::move(reason), std::move(actor), std::move(answer));
}

}  // namespace wa
