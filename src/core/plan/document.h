// A parsed plan file: the value, and where in the text each part of it stands. JSON and YAML give the same thing.
#pragma once

#include <boost/json/value.hpp>
#include <cstddef>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/codec/json_limits.h"

namespace wa {

struct DocumentLimits {
    std::size_t max_bytes = 64 * 1024 * 1024;
    std::size_t max_depth = 64;
    std::size_t max_values = 10'000'000;  // after aliases are replaced by what they stand for
};

// Valid while the text that it was read from lives.
struct Document {
    boost::json::value root;
    // Of every value and every object key, in the order of the text (an object's key comes before its value). Empty for
    // JSON: computed from `json` when somebody asks.
    std::vector<TextMark> marks;
    std::string_view json;

    [[nodiscard]] std::vector<TextMark> all_marks() const;
};

// Part of a document: a value, or the key in front of it.
struct DocumentPlace {
    const boost::json::value* value = nullptr;
    bool key = false;
};
// Where the places stand; {0, 0} for what is not in the document. One walk for all of them.
[[nodiscard]] std::vector<TextMark> locate(const Document& document, const std::vector<DocumentPlace>& places);

// Errors: kMalformed (with `where`), kLimitExceeded. Repeated keys are refused everywhere.
[[nodiscard]] Result<Document> read_json_document(std::string_view text, const DocumentLimits& limits = {},
                                                  TextMark* where = nullptr);

}  // namespace wa
