#include "core/report/xml_tree.h"

#include <utility>

#include "core/report/formats.h"
#include "core/report/source_text.h"
#include "core/report/text_line.h"
#include "core/report/xml_scan.h"

namespace wa {

namespace {

// No parse_doctype, and no parse_wconv_attribute: it would make a message of many lines one. Text goes into its element
// instead of a node of its own, which saves a third of the tree.
constexpr unsigned kParseFlags = pugi::parse_cdata | pugi::parse_escapes | pugi::parse_eol | pugi::parse_embed_pcdata;

Result<void> expect_format(std::string_view text, ReportFormat wanted) {
    WA_TRY(const XmlRoot root, xml_root(text));
    WA_TRY(const ReportFormat found, xml_format(root));
    if (found == wanted) return {};
    return bad_report(ErrorCode::kUnsupported, "this is a " + std::string(to_string(found)) + " report where a " +
                                                   std::string(to_string(wanted)) + " report is expected");
}

}  // namespace

Result<XmlTree> XmlTree::parse(std::string bytes, ReportFormat format, const ReportLimits& limits) {
    WA_TRY(std::string text, source_text(std::move(bytes), limits));
    WA_CHECKED(scan_xml(text, limits));
    WA_CHECKED(expect_format(text, format));
    XmlTree tree;
    tree.text_ = std::make_unique<std::string>(std::move(text));
    tree.document_ = std::make_unique<pugi::xml_document>();
    const pugi::xml_parse_result parsed =
        tree.document_->load_buffer_inplace(tree.text_->data(), tree.text_->size(), kParseFlags, pugi::encoding_utf8);
    if (parsed.status == pugi::status_out_of_memory) {
        return bad_report(ErrorCode::kLimitExceeded, "not enough memory for the report's tree");
    }
    if (!parsed) {
        return bad_report_at(ErrorCode::kMalformed, std::string("not well-formed XML: ") + parsed.description(),
                             *tree.text_, static_cast<std::size_t>(parsed.offset));
    }
    return tree;
}

std::string_view local_name(pugi::xml_node node) {
    return without_prefix(node.name());
}

std::string_view attribute_text(pugi::xml_node node, const char* name) {
    return node.attribute(name).value();
}

std::string_view own_text(pugi::xml_node node) {
    const std::string_view embedded = node.value();
    if (!trimmed(embedded).empty()) return embedded;
    for (const pugi::xml_node child : node.children()) {
        if (child.type() != pugi::node_pcdata && child.type() != pugi::node_cdata) continue;
        if (const std::string_view text = child.value(); !trimmed(text).empty()) return text;
    }
    return {};
}

}  // namespace wa
