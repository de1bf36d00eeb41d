// The tree of an XML report. Only files of this folder include this header.
#pragma once

#include <memory>
#include <pugixml.hpp>
#include <string>
#include <string_view>

#include "base/error.h"
#include "core/report/report.h"

namespace wa {

// Owns the text that the tree points into. Nothing in the tree is followed by recursion: walk it with a stack of your
// own, or by parent() and next_sibling().
class XmlTree {
public:
    // Decodes (source_text.h), checks the bounds (xml_scan.h) and that it is a `format` (formats.h), then makes the
    // tree. No DTD, no entities but the five of XML and character references; comments and processing instructions are
    // left out.
    [[nodiscard]] static Result<XmlTree> parse(std::string bytes, ReportFormat format, const ReportLimits& limits);

    [[nodiscard]] pugi::xml_node root() const { return document_->document_element(); }

private:
    std::unique_ptr<std::string> text_;  // at one address, also when this object is moved
    std::unique_ptr<pugi::xml_document> document_;
};

// Name without its namespace's prefix.
[[nodiscard]] std::string_view local_name(pugi::xml_node node);
// A missing attribute is empty.
[[nodiscard]] std::string_view attribute_text(pugi::xml_node node, const char* name);
// The first piece of text directly in `node` that is more than blanks; empty when there is none.
[[nodiscard]] std::string_view own_text(pugi::xml_node node);

}  // namespace wa
