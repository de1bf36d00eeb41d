#include "core/codec/json_limits.h"

#include <array>
#include <boost/json/basic_parser_impl.hpp>
#include <boost/json/error.hpp>
#include <boost/json/parse_options.hpp>
#include <boost/json/value_stack.hpp>
#include <charconv>
#include <cmath>
#include <new>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace wa {
namespace json = boost::json;

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
// Enough for the nesting and the strings of an ordinary ticket without a heap allocation.
constexpr std::size_t kStackBytes = 8192;

// Builds the value, refuses infinite numbers and counts keys (see has_duplicates).
struct ValueBuilder {
    static constexpr std::size_t max_object_size = json::object::max_size();
    static constexpr std::size_t max_array_size = json::array::max_size();
    static constexpr std::size_t max_key_size = json::string::max_size();
    static constexpr std::size_t max_string_size = json::string::max_size();

    json::value_stack stack;
    std::size_t keys_of_last_object = 0;
    std::size_t keys = 0;
    std::size_t values_left = 0;
    std::string number_text;  // of a number that came in parts

    ValueBuilder(unsigned char* buffer, std::size_t size, std::size_t max_values)
        : stack(json::storage_ptr(), buffer, size), values_left(max_values) {}

    bool count_value(json::error_code& error) {
        if (values_left == 0) {
            error = json::make_error_code(json::error::array_too_large);
            return false;
        }
        --values_left;
        return true;
    }

    bool on_document_begin(json::error_code&) { return true; }
    bool on_document_end(json::error_code&) { return true; }
    bool on_object_begin(json::error_code& error) { return count_value(error); }
    bool on_object_end(std::size_t count, json::error_code&) {
        keys_of_last_object = count;
        keys += count;
        stack.push_object(count);
        return true;
    }
    bool on_array_begin(json::error_code& error) { return count_value(error); }
    bool on_array_end(std::size_t count, json::error_code&) {
        stack.push_array(count);
        return true;
    }
    bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
        stack.push_chars(part);
        return true;
    }
    bool on_key(json::string_view part, std::size_t, json::error_code&) {
        stack.push_key(part);
        return true;
    }
    bool on_string_part(json::string_view part, std::size_t, json::error_code&) {
        stack.push_chars(part);
        return true;
    }
    bool on_string(json::string_view part, std::size_t, json::error_code& error) {
        stack.push_string(part);
        return count_value(error);
    }
    bool on_number_part(json::string_view part, json::error_code&) {
        number_text.append(part.data(), part.size());
        return true;
    }
    bool on_int64(std::int64_t number, json::string_view, json::error_code& error) {
        number_text.clear();
        stack.push_int64(number);
        return count_value(error);
    }
    bool on_uint64(std::uint64_t number, json::string_view, json::error_code& error) {
        number_text.clear();
        stack.push_uint64(number);
        return count_value(error);
    }
    // The library's own conversion can be off by one in the last place, so that writing and reading again would change
    // a number; this one is exact.
    bool on_double(double rough, json::string_view part, json::error_code& error) {
        std::string_view text(part.data(), part.size());
        if (!number_text.empty()) {
            number_text.append(part.data(), part.size());
            text = number_text;
        }
        double number = 0;
        const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
        const bool whole = failure == std::errc() && end == text.data() + text.size();
        if (!whole) number = std::copysign(0.0, rough);  // too small to be told from zero, unless it is too large
        number_text.clear();
        if (!std::isfinite(rough) || !std::isfinite(number) || (!whole && std::abs(rough) > 1)) {
            error = json::make_error_code(json::error::exponent_overflow);
            return false;
        }
        stack.push_double(number);
        return count_value(error);
    }
    bool on_bool(bool truth, json::error_code& error) {
        stack.push_bool(truth);
        return count_value(error);
    }
    bool on_null(json::error_code& error) {
        stack.push_null();
        return count_value(error);
    }
    bool on_comment_part(json::string_view, json::error_code&) { return true; }
    bool on_comment(json::string_view, json::error_code&) { return true; }
};

// Finds the first repeated key. Runs only after the counts have shown that there is one.
struct DuplicateFinder {
    static constexpr std::size_t max_object_size = json::object::max_size();
    static constexpr std::size_t max_array_size = json::array::max_size();
    static constexpr std::size_t max_key_size = json::string::max_size();
    static constexpr std::size_t max_string_size = json::string::max_size();

    bool top_only = false;
    std::size_t depth = 0;
    std::vector<std::set<std::string, std::less<>>> open;
    std::string key;
    std::string repeated;

    explicit DuplicateFinder(bool only_top) : top_only(only_top) {}

    bool on_document_begin(json::error_code&) { return true; }
    bool on_document_end(json::error_code&) { return true; }
    bool on_object_begin(json::error_code&) {
        open.emplace_back();
        ++depth;
        return true;
    }
    bool on_object_end(std::size_t, json::error_code&) {
        open.pop_back();
        --depth;
        return true;
    }
    bool on_array_begin(json::error_code&) {
        ++depth;
        return true;
    }
    bool on_array_end(std::size_t, json::error_code&) {
        --depth;
        return true;
    }
    bool on_key_part(json::string_view part, std::size_t, json::error_code&) {
        key.append(part.data(), part.size());
        return true;
    }
    bool on_key(json::string_view part, std::size_t, json::error_code& error) {
        key.append(part.data(), part.size());
        std::string whole;
        whole.swap(key);
        if (top_only && depth != 1) return true;
        if (open.back().insert(whole).second) return true;
        repeated = std::move(whole);
        error = json::make_error_code(json::error::extra_data);
        return false;
    }
    bool on_string_part(json::string_view, std::size_t, json::error_code&) { return true; }
    bool on_string(json::string_view, std::size_t, json::error_code&) { return true; }
    bool on_number_part(json::string_view, json::error_code&) { return true; }
    bool on_int64(std::int64_t, json::string_view, json::error_code&) { return true; }
    bool on_uint64(std::uint64_t, json::string_view, json::error_code&) { return true; }
    bool on_double(double, json::string_view, json::error_code&) { return true; }
    bool on_bool(bool, json::error_code&) { return true; }
    bool on_null(json::error_code&) { return true; }
    bool on_comment_part(json::string_view, json::error_code&) { return true; }
    bool on_comment(json::string_view, json::error_code&) { return true; }
};

Error json_error(ErrorCode code, std::string message) {
    return make_error(code, Retry::kNever, Fault::kInput, "json", std::move(message));
}

Failure malformed(std::string_view text, std::size_t offset, std::string_view what, TextMark* where) {
    const TextMark mark = mark_at(text, offset);
    if (where != nullptr) *where = mark;
    return Failure(json_error(ErrorCode::kMalformed, "not valid JSON at line " + std::to_string(mark.line) +
                                                         ", column " + std::to_string(mark.column) + ": " +
                                                         std::string(what)));
}

std::string explain(const json::error_code& error, const JsonLimits& limits) {
    if (error == json::error::too_deep) return "nested deeper than " + std::to_string(limits.max_depth) + " levels";
    if (error == json::error::exponent_overflow) return "the number is out of range";
    if (error == json::error::incomplete) return "the text ends in the middle of a value";
    if (error == json::error::extra_data) return "something follows the end of the value";
    if (error == json::error::illegal_leading_surrogate || error == json::error::illegal_trailing_surrogate ||
        error == json::error::expected_utf16_escape) {
        return "half of a surrogate pair";
    }
    return error.message();
}

std::size_t count_keys(const json::value& root) {
    std::size_t count = 0;
    std::vector<const json::value*> open{&root};
    while (!open.empty()) {
        const json::value& value = *open.back();
        open.pop_back();
        if (const auto* object = value.if_object()) {
            count += object->size();
            for (const auto& member : *object)
                open.push_back(&member.value());
        } else if (const auto* array = value.if_array()) {
            for (const auto& item : *array)
                open.push_back(&item);
        }
    }
    return count;
}

bool has_duplicates(const json::value& root, const ValueBuilder& built, DuplicateKeys rule) {
    switch (rule) {
        case DuplicateKeys::kKeepLast: return false;
        // The root is the last object that closes.
        case DuplicateKeys::kRejectTop:
            return root.is_object() && root.get_object().size() != built.keys_of_last_object;
        case DuplicateKeys::kRejectAll: return count_keys(root) != built.keys;
    }
    return false;
}

json::parse_options options_for(const JsonLimits& limits) {
    json::parse_options options;
    options.max_depth = limits.max_depth;
    return options;
}

Failure duplicate_key(std::string_view text, const JsonLimits& limits, TextMark* where) {
    json::basic_parser<DuplicateFinder> parser(options_for(limits), limits.duplicates == DuplicateKeys::kRejectTop);
    json::error_code error;
    const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
    const std::string& key = parser.handler().repeated;
    return malformed(text, used, "the key \"" + key.substr(0, 64) + "\" appears twice in one object", where);
}

Result<json::value> parse_checked(std::string_view text, const JsonLimits& limits, json::storage_ptr storage,
                                  TextMark* where) {
    std::array<unsigned char, kStackBytes> buffer;  // NOLINT: raw scratch memory, written before it is read
    json::basic_parser<ValueBuilder> parser(options_for(limits), buffer.data(), buffer.size(), limits.max_values);
    parser.handler().stack.reset(std::move(storage));
    json::error_code error;
    const std::size_t used = parser.write_some(false, text.data(), text.size(), error);
    if (!error && used < text.size()) error = json::make_error_code(json::error::extra_data);
    if (error == json::error::array_too_large) {
        return Failure(json_error(ErrorCode::kLimitExceeded,
                                  "the text holds more than " + std::to_string(limits.max_values) + " values"));
    }
    if (error) return malformed(text, used, explain(error, limits), where);
    json::value value = parser.handler().stack.release();
    if (has_duplicates(value, parser.handler(), limits.duplicates)) return duplicate_key(text, limits, where);
    return value;
}

}  // namespace

TextMark mark_at(std::string_view text, std::size_t offset) {
    const std::string_view before = text.substr(0, offset);
    TextMark mark{1, 1};
    for (const char byte : before) {
        if (byte == '\n') {
            ++mark.line;
            mark.column = 1;
        } else if ((static_cast<unsigned char>(byte) & 0xC0U) != 0x80U) {
            ++mark.column;
        }
    }
    return mark;
}

Result<json::value> parse_json(std::string_view text, const JsonLimits& limits, json::storage_ptr storage,
                               TextMark* where) {
    if (text.size() > limits.max_bytes) {
        return Failure(json_error(ErrorCode::kLimitExceeded, "the text is " + std::to_string(text.size()) +
                                                                 " bytes long; at most " +
                                                                 std::to_string(limits.max_bytes) + " are allowed"));
    }
    if (text.starts_with(kByteOrderMark)) text.remove_prefix(kByteOrderMark.size());
    try {
        return parse_checked(text, limits, std::move(storage), where);
    } catch (const std::bad_alloc&) {
        return Failure(json_error(ErrorCode::kLimitExceeded, "the text needs more memory than there is"));
    } catch (const std::exception& thrown) {
        return Failure(json_error(ErrorCode::kMalformed, std::string("not valid JSON: ") + thrown.what()));
    }
}

}  // namespace wa
