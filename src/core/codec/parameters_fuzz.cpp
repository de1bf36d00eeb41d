// Any JSON object as parameters, read in every way; and any text as words and durations.
#include <boost/json/object.hpp>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "core/codec/json_limits.h"
#include "core/codec/json_write.h"
#include "core/codec/parameters.h"
#include "core/codec/quantity.h"
#include "core/codec/shell_words.h"
#include "core/codec/text.h"

namespace {

void check_words(std::string_view text) {
    const auto words = wa::split_shell_words(text);
    if (!words) return;
    std::string line;
    for (const auto& word : *words)
        line += wa::quote_shell_word(word) + " ";
    const auto again = wa::split_shell_words(line);
    WA_CHECK(again && *again == *words, "quoting and splitting are inverse");
}

template <class T>
void check_error(const wa::Result<T>& result, std::string_view key) {
    if (result) return;
    WA_CHECK(result.error().message.starts_with("invalid_parameter: parameters."), "errors say what they are");
    WA_CHECK(result.error().message.size() < 1000, "errors are short");
    WA_CHECK(!key.empty() || !result.error().field.empty(), "errors name a field");
}

void check_every_reading(const wa::Parameters& p, const boost::json::object& object, std::string_view key) {
    check_error(p.text(key), key);
    check_error(p.integer(key, {-5, 5}), key);
    check_error(p.number(key), key);
    check_error(p.boolean(key), key);
    check_error(p.duration(key), key);
    check_error(p.object(key), key);
    check_error(p.array(key), key);
    check_error(p.map(key), key);
    check_error(p.word(key, {"a", "b"}), key);
    const auto command = p.command(key);
    const auto list = p.list(key);
    check_error(command, key);
    check_error(list, key);
    const auto* value = object.if_contains(key);
    if (value == nullptr || !value->is_array() || !command) return;
    // The same list as Avro carries it.
    const std::string text = wa::json_text(*value);
    if (text.size() > wa::kMaxParameterObjectBytes) return;
    const boost::json::object avro{{"x", text}};
    const auto from_text = wa::Parameters(avro).command("x");
    WA_CHECK(from_text && *from_text == *command, "a list and its text read alike");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    check_words(text);
    const auto memory = wa::parse_memory_quantity(text);
    WA_CHECK(!memory || (*memory > 0 && *memory < (1ULL << 63U)), "memory fits");
    WA_CHECK(wa::parse_cpu_quantity(text).value_or(1) > 0, "processors are some");
    if (const auto duration = wa::parse_duration(text, true)) {
        WA_CHECK(wa::parse_duration(wa::duration_text(*duration), false) == duration, "durations come back");
    }
    const auto parsed = wa::parse_json(text);
    if (!parsed) return 0;
    const auto again = wa::parse_json(wa::json_text(*parsed), wa::JsonLimits{64 * 1024 * 1024, 64, {}});
    WA_CHECK(again && *again == *parsed, "JSON comes back");
    const auto* object = parsed->if_object();
    if (object == nullptr) return 0;
    const wa::Parameters parameters(*object);
    std::size_t count = 0;
    for (const auto& member : *object) {
        if (++count > 16) break;
        check_every_reading(parameters, *object, {member.key().data(), member.key().size()});
    }
    return 0;
}
