// YAML text to a document (yaml-cpp behind it).
//
// Meaning of plain scalars, chosen so that nothing is lost: null (null, ~, nothing), true/false, and numbers only when
// they are written the way JSON writes them (5, -3, 1.5); everything else is text, so 1.10, 0755, 1e3, yes and
// 2024-01-01 keep their spelling. Quoted scalars are always text.
//
// Refused: bytes that are not UTF-8, a second document, repeated keys, keys that are not scalars, custom tags, nesting
// and size beyond the limits. Aliases are replaced by copies; each copy counts against max_values, so an alias bomb
// ends there.
#pragma once

#include <string_view>

#include "base/error.h"
#include "core/plan/document.h"

namespace wa {

// Errors: kMalformed (with `where`), kLimitExceeded. Never throws. An empty text is a document that holds null.
[[nodiscard]] Result<Document> read_yaml_document(std::string_view text, const DocumentLimits& limits = {},
                                                  TextMark* where = nullptr);

}  // namespace wa
