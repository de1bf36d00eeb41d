// What stands under the keys of a ticket in Redis. Pure.
// Rules: contract/engine.md section 3: names and lives of the keys, R1 (value), R5 (what an ending suppresses).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ports/ticket_leases.h"

namespace wa::redis {

inline constexpr std::size_t kMaxValueBytes = 4096;  // of a value that is read

[[nodiscard]] std::string processed_key(std::string_view ticket_id);
[[nodiscard]] std::string processing_key(std::string_view ticket_id);

// {"worker", "status", "topic", "partition", "offset", "at"}
[[nodiscard]] std::string write_note(const LeaseNote& note);
// Never fails: what is not ours ("1", or anything else) is a note without facts.
[[nodiscard]] LeaseNote read_note(std::string_view text);

// Whether an ending keeps this record from running (R5): COMPLETED, or an ending without facts, always; any other
// ending only the very record that it was about.
[[nodiscard]] bool suppresses(const LeaseNote& ending, const LeasePosition& position);

}  // namespace wa::redis
