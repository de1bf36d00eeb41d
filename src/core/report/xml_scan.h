// One look over an XML text before a tree is made of it: is it well-formed, and within its bounds?
//
// The tree costs memory for every element and attribute, so both are counted first, in one pass and in memory for the
// open elements alone. The pass is stricter than the library that makes the tree: what it accepts has exactly the
// elements and attributes that it counted.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

struct XmlCounts {
    std::size_t elements = 0;
    std::size_t texts = 0;  // runs of characters that are not all blank, and CDATA sections
    std::size_t attributes = 0;
    std::size_t depth = 0;
};

// `text` is UTF-8 or close to it (source_text.h). A DOCTYPE with all its declarations is overwritten with blanks:
// nobody after this sees an entity's definition.
// Errors: kMalformed (with line and byte), kLimitExceeded (ReportLimits::depth, elements, attributes,
// attribute_bytes).
[[nodiscard]] Result<XmlCounts> scan_xml(std::string& text, const ReportLimits& limits);

inline constexpr std::size_t kMaxRootAttributes = 64;

// The first element of an XML text, told without reading further than the first element in it.
struct XmlRoot {
    std::string_view name;                     // without its namespace's prefix
    std::vector<std::string_view> attributes;  // names of the first kMaxRootAttributes
    std::string_view first_child;              // name of the first element in it, without prefix; empty = none
};
// Errors: kMalformed (no element).
[[nodiscard]] Result<XmlRoot> xml_root(std::string_view text);

// "a:b" is "b".
[[nodiscard]] std::string_view without_prefix(std::string_view name);

}  // namespace wa
