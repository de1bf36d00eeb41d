#include "core/report/xml_scan.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/report/source_text.h"
#include "core/report/text_line.h"

namespace wa {

namespace {

constexpr std::size_t kQuotedNameBytes = 64;

bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

bool is_name_start(char c) {
    const auto byte = static_cast<unsigned char>(c);
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || byte == '_' || byte == ':' || byte >= 0x80;
}

bool is_name(char c) {
    return is_name_start(c) || (c >= '0' && c <= '9') || c == '-' || c == '.';
}

// Reads markup piece by piece. Every step moves on or fails, so that the whole is linear.
class Scanner {
public:
    Scanner(std::string_view text, const ReportLimits& limits) : text_(text), limits_(limits) {}

    // Until the end of the text.
    Result<void> all();
    // Up to and with the next start tag; false at the end of the text or of the element it began in.
    Result<bool> next_element();

    [[nodiscard]] const XmlCounts& counts() const { return counts_; }
    [[nodiscard]] std::string_view element() const { return element_; }
    [[nodiscard]] bool is_empty_element() const { return text_.substr(0, at_).ends_with("/>"); }
    [[nodiscard]] const std::vector<std::string_view>& root_attributes() const { return root_attributes_; }
    // Where the DOCTYPE stands; empty when there is none.
    [[nodiscard]] std::pair<std::size_t, std::size_t> doctype() const { return doctype_; }

private:
    enum class Piece : std::uint8_t { kStart, kEnd, kOther };

    [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
    [[nodiscard]] char here() const { return at_end() ? '\0' : text_[at_]; }
    [[nodiscard]] std::string_view rest() const { return text_.substr(at_); }
    [[nodiscard]] Failure bad(std::string message) const {
        return bad_report_at(ErrorCode::kMalformed, "not well-formed XML: " + std::move(message), text_, at_);
    }
    [[nodiscard]] Failure cut_off(std::string_view inside) const;
    void skip_blanks() {
        while (is_blank(here()))
            ++at_;
    }
    std::string_view take_name();
    Result<void> skip_past(std::string_view end, std::string_view what);
    Result<void> skip_quoted(char quote, std::string_view what);
    Result<void> characters();
    Result<Piece> markup();
    Result<void> doctype_declaration();
    Result<void> cdata();
    Result<void> start_tag();
    Result<void> attribute();
    Result<void> end_tag();
    Result<void> count_node(std::size_t& kind);

    std::string_view text_;
    const ReportLimits& limits_;
    std::size_t at_ = 0;
    XmlCounts counts_;
    std::vector<std::string_view> open_;  // names of the open elements, at most ReportLimits::depth
    std::string_view element_;
    std::vector<std::string_view> root_attributes_;
    std::pair<std::size_t, std::size_t> doctype_;
};

Failure Scanner::cut_off(std::string_view inside) const {
    return bad_report_at(ErrorCode::kMalformed,
                         "not well-formed XML: the file ends inside " + std::string(inside) + "; it is cut off", text_,
                         text_.size());
}

std::string_view Scanner::take_name() {
    const std::size_t begin = at_;
    if (is_name_start(here())) {
        while (!at_end() && is_name(text_[at_]))
            ++at_;
    }
    return text_.substr(begin, at_ - begin);
}

Result<void> Scanner::skip_quoted(char quote, std::string_view what) {
    const std::size_t found = text_.find(quote, at_);
    if (found == std::string_view::npos) return cut_off(what);
    at_ = found + 1;
    return {};
}

Result<void> Scanner::skip_past(std::string_view end, std::string_view what) {
    const std::size_t found = text_.find(end, at_);
    if (found == std::string_view::npos) return cut_off(what);
    at_ = found + end.size();
    return {};
}

Result<void> Scanner::count_node(std::size_t& kind) {
    ++kind;
    if (counts_.elements + counts_.texts <= limits_.elements) return {};
    return over_limit("too many elements", limits_.elements, "elements and texts");
}

// Everything up to the next "<".
Result<void> Scanner::characters() {
    const std::size_t end = std::min(text_.find('<', at_), text_.size());
    skip_blanks();
    if (at_ < end) {
        if (open_.empty()) return bad("text outside of the root element");
        WA_CHECKED(count_node(counts_.texts));
    }
    at_ = end;
    return {};
}

Result<void> Scanner::doctype_declaration() {
    if (counts_.elements > 0 || doctype_.second > 0)
        return bad("a DOCTYPE that is not the one before the root element");
    const std::size_t begin = at_;
    std::size_t brackets = 0;
    std::size_t angles = 0;  // the DOCTYPE's own "<" is one of them
    do {
        if (rest().starts_with("<!--")) {
            at_ += 4;
            WA_CHECKED(skip_past("-->", "a comment"));
            continue;
        }
        if (rest().starts_with("<?")) {
            WA_CHECKED(skip_past("?>", "a processing instruction"));
            continue;
        }
        const char c = here();
        if (at_end()) return cut_off("the DOCTYPE");
        ++at_;
        if (c == '"' || c == '\'') WA_CHECKED(skip_quoted(c, "the DOCTYPE"));
        if (c == '[') ++brackets;
        if (c == ']' && brackets > 0) --brackets;
        if (c == '<') ++angles;
        if (c == '>') --angles;
    } while (angles > 0 || brackets > 0);
    doctype_ = {begin, at_ - begin};
    return {};
}

Result<void> Scanner::cdata() {
    if (open_.empty()) return bad("CDATA outside of the root element");
    at_ += 9;
    WA_CHECKED(skip_past("]]>", "a CDATA section"));
    return count_node(counts_.texts);
}

Result<void> Scanner::attribute() {
    const std::string_view name = take_name();
    if (name.empty()) {
        if (at_end()) return cut_off("the start tag of <" + clean_line(element_, kQuotedNameBytes) + ">");
        return bad("a character that no attribute begins with, in the start tag of <" +
                   clean_line(element_, kQuotedNameBytes) + ">");
    }
    skip_blanks();
    if (here() != '=') return bad("the attribute " + clean_line(name, kQuotedNameBytes) + " has no value");
    ++at_;
    skip_blanks();
    const char quote = here();
    if (quote != '"' && quote != '\'') return bad("the value of an attribute is not in quotes");
    const std::size_t begin = ++at_;
    WA_CHECKED(skip_quoted(quote, "the value of an attribute"));
    if (at_ - begin - 1 > limits_.attribute_bytes) {
        return over_limit("the value of the attribute " + clean_line(name, kQuotedNameBytes) + " is too long",
                          limits_.attribute_bytes, "bytes");
    }
    if (++counts_.attributes > limits_.attributes)
        return over_limit("too many attributes", limits_.attributes, "of them");
    if (is_name(here())) return bad("no blank between two attributes");
    if (counts_.elements == 1 && root_attributes_.size() < kMaxRootAttributes) root_attributes_.push_back(name);
    return {};
}

Result<void> Scanner::start_tag() {
    ++at_;
    element_ = take_name();
    if (element_.empty()) return at_end() ? cut_off("a tag") : bad("\"<\" is not followed by a name");
    if (open_.empty() && counts_.elements > 0) return bad("a second root element");
    WA_CHECKED(count_node(counts_.elements));
    if (open_.size() == limits_.depth) return over_limit("elements are nested too deep", limits_.depth, "levels");
    const bool blank_follows = is_blank(here());
    for (skip_blanks(); here() != '>' && here() != '/'; skip_blanks()) {
        if (!blank_follows && !at_end()) return bad("a character that no name holds");
        WA_CHECKED(attribute());
    }
    const bool is_empty = here() == '/';
    if (is_empty) ++at_;
    if (here() != '>') return at_end() ? cut_off("a tag") : bad("\"/\" inside a tag");
    ++at_;
    counts_.depth = std::max(counts_.depth, open_.size() + 1);
    if (!is_empty) open_.push_back(element_);
    return {};
}

Result<void> Scanner::end_tag() {
    at_ += 2;
    const std::string_view name = take_name();
    skip_blanks();
    if (at_end()) return cut_off("a tag");
    if (open_.empty() || open_.back() != name) {
        const std::string wanted = open_.empty() ? "nothing" : "<" + clean_line(open_.back(), kQuotedNameBytes) + ">";
        return bad("</" + clean_line(name, kQuotedNameBytes) + "> where " + wanted + " is open");
    }
    if (here() != '>') return bad("an end tag that does not end");
    ++at_;
    open_.pop_back();
    return {};
}

Result<Scanner::Piece> Scanner::markup() {
    if (at_ + 1 < text_.size() && is_name_start(text_[at_ + 1])) {  // most are
        WA_CHECKED(start_tag());
        return Piece::kStart;
    }
    if (rest().starts_with("<?")) {
        at_ += 2;
        WA_CHECKED(skip_past("?>", "a processing instruction"));
        return Piece::kOther;
    }
    if (rest().starts_with("<!--")) {
        at_ += 4;
        WA_CHECKED(skip_past("-->", "a comment"));
        return Piece::kOther;
    }
    if (rest().starts_with("<![CDATA[")) {
        WA_CHECKED(cdata());
        return Piece::kOther;
    }
    if (rest().starts_with("<!DOCTYPE")) {
        WA_CHECKED(doctype_declaration());
        return Piece::kOther;
    }
    if (rest().starts_with("<!")) return bad("a declaration that is neither a comment nor CDATA");
    if (rest().starts_with("</")) {
        WA_CHECKED(end_tag());
        return Piece::kEnd;
    }
    WA_CHECKED(start_tag());
    return Piece::kStart;
}

Result<void> Scanner::all() {
    while (!at_end()) {
        WA_CHECKED(characters());
        if (!at_end()) WA_CHECKED(markup());
    }
    if (!open_.empty()) return cut_off("<" + clean_line(open_.back(), kQuotedNameBytes) + ">");
    if (counts_.elements == 0) return bad("no element");
    return {};
}

Result<bool> Scanner::next_element() {
    while (!at_end()) {
        WA_CHECKED(characters());
        if (at_end()) break;
        WA_TRY(const Piece piece, markup());
        if (piece != Piece::kOther) return piece == Piece::kStart;
    }
    return false;
}

}  // namespace

std::string_view without_prefix(std::string_view name) {
    return name.substr(name.rfind(':') + 1);  // npos + 1 is 0: all of it
}

Result<XmlCounts> scan_xml(std::string& text, const ReportLimits& limits) {
    Scanner scanner(text, limits);
    WA_CHECKED(scanner.all());
    const auto [begin, length] = scanner.doctype();
    text.replace(begin, length, length, ' ');
    return scanner.counts();
}

Result<XmlRoot> xml_root(std::string_view text) {
    const ReportLimits limits;
    Scanner scanner(text, limits);
    WA_TRY(const bool has_root, scanner.next_element());
    if (!has_root) return bad_report(ErrorCode::kMalformed, "not well-formed XML: no element; the file is cut off");
    XmlRoot root;
    root.name = without_prefix(scanner.element());
    root.attributes = scanner.root_attributes();
    if (scanner.is_empty_element()) return root;
    // What follows may be anything: the root is known.
    const auto has_child = scanner.next_element();
    if (has_child && *has_child) root.first_child = without_prefix(scanner.element());
    return root;
}

}  // namespace wa
