// Typed, tolerant reading of a ticket's parameters: the one layer that every executor uses (contract/executors.md 1.3).
//
// JSON tickets carry real JSON, Avro tickets carry text only; both read the same here: "5", 5 and 5.0 are an integer,
// "true" is a bool, '["a","b"]' is a list. JSON null, and the texts "", "null" and "None", count as absent.
//
// A parameter may have several names; the first one that is present wins.
//   const Parameters parameters(ticket.parameters);
//   WA_TRY(const auto argv, parameters.command({"command", "test_command"}));         // optional<vector<string>>
//   WA_TRY(const auto limit, parameters.duration("timeout_seconds", {1s, 24h}));      // optional<milliseconds>
//   WA_TRY(const auto shell, parameters.boolean_or("shell", false));
//
// Errors are permanent (kInvalidArgument, Retry::kNever, Fault::kInput): the message begins with "invalid_parameter: ",
// names the key, what was expected and what was found (clipped; never the value of a key that looks secret), and
// `field` holds "parameters.<key>". Over a hard limit the code is kLimitExceeded. Unknown keys are ignored.
//
// Pure; a Parameters refers to the object it was made from and must not outlive it.
#pragma once

#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/ticket/result.h"

namespace wa {

inline constexpr std::size_t kMaxParameterBytes = 64 * 1024;  // one text, one list item, one map value
inline constexpr std::size_t kMaxParameterListItems = 256;
inline constexpr std::size_t kMaxParameterMapEntries = 128;         // environment variables, labels, …
inline constexpr std::size_t kMaxParameterObjectBytes = 1'048'576;  // an object or list given as JSON text
inline constexpr std::size_t kMaxParameterNames = 6;

// The names of one parameter, the preferred one first. Refers to the caller's literals.
class ParameterNames {
public:
    ParameterNames(const char* name) : names_{name}, count_(1) {}       // NOLINT: implicit by design
    ParameterNames(std::string_view name) : names_{name}, count_(1) {}  // NOLINT: implicit by design
    ParameterNames(std::initializer_list<std::string_view> names);      // NOLINT: implicit by design
    [[nodiscard]] const std::string_view* begin() const { return names_.data(); }
    [[nodiscard]] const std::string_view* end() const { return names_.data() + count_; }
    [[nodiscard]] std::string_view preferred() const { return names_.front(); }

private:
    std::array<std::string_view, kMaxParameterNames> names_{};
    std::size_t count_ = 0;
};

// Both ends included.
struct IntegerRange {
    std::int64_t min = std::numeric_limits<std::int64_t>::min();
    std::int64_t max = std::numeric_limits<std::int64_t>::max();
};
struct NumberRange {
    double min = std::numeric_limits<double>::lowest();
    double max = std::numeric_limits<double>::max();
};
struct DurationRange {
    std::chrono::milliseconds min{0};
    std::chrono::milliseconds max = std::chrono::hours(24 * 365);
};

class Parameters {
public:
    // `path` is what errors put before the key.
    explicit Parameters(const boost::json::object& object, std::string path = "parameters");
    explicit Parameters(boost::json::object&& object, std::string path = "parameters") = delete;  // would dangle

    // The raw value, null when absent (or one of the texts that mean absent). For whoever needs the JSON itself.
    [[nodiscard]] const boost::json::value* raw(const ParameterNames& names) const;
    [[nodiscard]] bool has(const ParameterNames& names) const { return raw(names) != nullptr; }

    // Text; numbers and booleans as their JSON text. No NUL character, at most `max_bytes`.
    [[nodiscard]] Result<std::optional<std::string>> text(const ParameterNames& names,
                                                          std::size_t max_bytes = kMaxParameterBytes) const;
    [[nodiscard]] Result<std::string> text_or(const ParameterNames& names, std::string_view fallback) const;
    [[nodiscard]] Result<std::string> required_text(const ParameterNames& names) const;
    // One of `words` (compared exactly after lower-casing the parameter); the error lists them.
    [[nodiscard]] Result<std::optional<std::string>> word(const ParameterNames& names,
                                                          std::initializer_list<std::string_view> words) const;

    [[nodiscard]] Result<std::optional<std::int64_t>> integer(const ParameterNames& names,
                                                              IntegerRange range = {}) const;
    [[nodiscard]] Result<std::int64_t> integer_or(const ParameterNames& names, std::int64_t fallback,
                                                  IntegerRange range = {}) const;
    [[nodiscard]] Result<std::optional<double>> number(const ParameterNames& names, NumberRange range = {}) const;
    [[nodiscard]] Result<double> number_or(const ParameterNames& names, double fallback, NumberRange range = {}) const;
    // true/false/1/0/yes/no/on/off in any case.
    [[nodiscard]] Result<std::optional<bool>> boolean(const ParameterNames& names) const;
    [[nodiscard]] Result<bool> boolean_or(const ParameterNames& names, bool fallback) const;
    // A number (or text of one) is seconds, fractions allowed; else "500ms", "30s", "5m", "1h30m", "2d".
    [[nodiscard]] Result<std::optional<std::chrono::milliseconds>> duration(const ParameterNames& names,
                                                                            DurationRange range = {}) const;
    [[nodiscard]] Result<std::chrono::milliseconds> duration_or(const ParameterNames& names,
                                                                std::chrono::milliseconds fallback,
                                                                DurationRange range = {}) const;

    // An object, or text that holds a JSON object.
    [[nodiscard]] Result<std::optional<boost::json::object>> object(const ParameterNames& names) const;
    // A list (of anything), or text that holds a JSON list.
    [[nodiscard]] Result<std::optional<boost::json::array>> array(const ParameterNames& names) const;

    // Command words: a list (items turned into text), text that holds a JSON list, else text split by shell rules.
    [[nodiscard]] Result<std::optional<std::vector<std::string>>> command(const ParameterNames& names) const;
    // A plain list: a list, text that holds a JSON list, else text split at commas (blanks trimmed, empty items
    // dropped).
    [[nodiscard]] Result<std::optional<std::vector<std::string>>> list(const ParameterNames& names) const;
    // Text to text: an object (values turned into text, nulls dropped), text that holds a JSON object, a list of "K=V",
    // or text "K=V,K=V" (commas or line ends between). At most kMaxParameterMapEntries.
    [[nodiscard]] Result<std::optional<StringMap>> map(const ParameterNames& names) const;

    // An error about a parameter, in the shape described above; for checks that only the executor can make.
    [[nodiscard]] Failure refuse(std::string_view key, std::string_view why) const;
    // Keys that are not in `known`, at most 20; for a debug log line.
    [[nodiscard]] std::vector<std::string> unknown_keys(std::initializer_list<std::string_view> known) const;

private:
    struct Found {
        std::string_view key;
        const boost::json::value* value = nullptr;
    };
    [[nodiscard]] Found find(const ParameterNames& names) const;
    [[nodiscard]] Failure expected(const Found& found, std::string_view what) const;
    [[nodiscard]] Failure too_large(std::string_view key, std::string_view what) const;
    [[nodiscard]] Result<std::string> item_text(const Found& found, const boost::json::value& item,
                                                std::string_view place) const;
    [[nodiscard]] Result<std::vector<std::string>> items(const Found& found, const boost::json::array& array) const;
    [[nodiscard]] Result<StringMap> entries(const Found& found, const boost::json::object& object) const;
    [[nodiscard]] Result<StringMap> pairs(const Found& found, const std::vector<std::string>& texts) const;
    [[nodiscard]] Result<void> check_words(const Found& found, const std::vector<std::string>& words) const;

    const boost::json::object& object_;
    std::string path_;
};

}  // namespace wa
