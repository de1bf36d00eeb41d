// Amounts of memory and processor time in every spelling that tickets use (contract/executors.md 6.1, 6.8 EX8).
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace wa {

// "536870912", "512Mi", "512MiB", "512m" (as container engines read it: MiB), "512MB" (10^6), "1g", "1.5Gi". At least 1
// byte; nothing for what is none of these or does not fit.
[[nodiscard]] std::optional<std::uint64_t> parse_memory_quantity(std::string_view text);

// What one of a unit of memory is, in any case: "Mi", "MiB" and "m" are 2^20, "MB" is 10^6, "" and "b" are 1.
[[nodiscard]] std::optional<double> memory_unit_bytes(std::string_view unit);

// Thousandths of a processor: "2" and 2.0 are 2000, "500m" is 500, "0.5" is 500. At least 1.
[[nodiscard]] std::optional<std::uint64_t> parse_cpu_quantity(std::string_view text);

}  // namespace wa
