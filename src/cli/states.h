// The words for where a ticket stands, each with a sign and a colour (experience.md 2.5). The word is always shown.
#pragma once

#include <string>
#include <string_view>

namespace wa::cli {

enum class Kind { kWaiting, kQueued, kRunning, kDone, kSimulated, kFailed, kCancelled, kStuck, kUnknown };

// By phase ("running", "backing-off", "dependency-failed", …) or wire status ("COMPLETED"); any case.
[[nodiscard]] Kind kind_of(std::string_view state);
[[nodiscard]] bool is_over(Kind kind);
[[nodiscard]] std::string_view sign(Kind kind);
[[nodiscard]] std::string_view colour(Kind kind);  // ANSI sequence
inline constexpr std::string_view kPlain = "\x1b[0m";

// "✔ completed", coloured when asked.
[[nodiscard]] std::string with_sign(std::string_view state, bool colours);

}  // namespace wa::cli
