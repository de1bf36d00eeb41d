#include "http_client/proxy.h"

#include <algorithm>
#include <utility>

#include "core/codec/text.h"

namespace wa::http {
namespace {

constexpr std::size_t kMaxText = 16'384;
constexpr std::size_t kMaxEntries = 500;

std::string lower_name(std::string_view text) {
    if (text.size() > 1 && text.ends_with('.')) text.remove_suffix(1);
    std::string out(text);
    std::ranges::transform(out, out.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
    return out;
}

bool is_separator(char c) {
    return c == ',' || c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

Failure bad_entry(std::string_view entry) {
    return invalid("exceptions", "'" + clip(entry) + "' is no host, address or network for which a proxy is left out");
}

// Takes ":8443" off the end of a name or an IPv4 address, or off "[::1]:8443".
Result<std::uint16_t> take_port(std::string_view& entry) {
    const std::string_view whole = entry;
    const std::size_t colon = entry.rfind(':');
    const bool bracketed = entry.starts_with('[');
    const std::size_t end = bracketed ? entry.find(']') : std::string_view::npos;
    if (bracketed && end == std::string_view::npos) return bad_entry(whole);
    const bool one_colon = colon != std::string_view::npos && entry.find(':') == colon;
    std::string_view digits;
    if (bracketed && end + 1 < entry.size()) {
        if (entry[end + 1] != ':') return bad_entry(whole);
        digits = entry.substr(end + 2);
        if (digits.empty()) return bad_entry(whole);
    } else if (!bracketed && one_colon) {
        digits = entry.substr(colon + 1);
        if (digits.empty()) return bad_entry(whole);
        entry = entry.substr(0, colon);
    }
    if (bracketed) entry = entry.substr(1, end - 1);
    if (digits.empty()) return std::uint16_t{0};
    const auto number = parse_whole_number(digits);
    if (!number || *number < 1 || *number > 65'535) return bad_entry(whole);
    return static_cast<std::uint16_t>(*number);
}

}  // namespace

Result<ProxyExceptions> ProxyExceptions::parse(std::string_view text) {
    ProxyExceptions exceptions;
    if (text.size() > kMaxText) return invalid("exceptions", "the list of hosts without a proxy is longer than 16 KiB");
    while (!text.empty()) {
        const auto end = std::ranges::find_if(text, is_separator) - text.begin();
        std::string_view word = text.substr(0, static_cast<std::size_t>(end));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        if (word.empty()) continue;
        if (exceptions.entries_.size() >= kMaxEntries)
            return invalid("exceptions", "more than 500 hosts are called without a proxy");
        if (word == "*") {
            exceptions.all_ = true;
            continue;
        }
        const std::string_view whole = word;
        Entry entry;
        WA_TRY(entry.port, take_port(word));
        if (parse_ip(word) || word.find('/') != std::string_view::npos) {
            const auto network = parse_network(word);
            if (!network) return bad_entry(whole);
            entry.network = *network;
        } else {
            if (word.starts_with('*')) word.remove_prefix(1);
            entry.itself = !word.starts_with('.');
            if (!entry.itself) word.remove_prefix(1);
            if (whole.starts_with('*') && entry.itself) return bad_entry(whole);
            entry.name = lower_name(word);
            const bool fine = !entry.name.empty() && std::ranges::all_of(entry.name, [](char c) {
                return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
            });
            if (!fine) return bad_entry(whole);
        }
        exceptions.entries_.push_back(std::move(entry));
    }
    return exceptions;
}

bool ProxyExceptions::has(const std::string& host, std::uint16_t port) const {
    if (all_) return true;
    const std::string name = lower_name(host);
    const auto address = parse_ip(name);
    if (address && kind_of(*address) == AddressKind::kLoopback) return true;
    if (name == "localhost" || name.ends_with(".localhost")) return true;
    return std::ranges::any_of(entries_, [&](const Entry& entry) {
        if (entry.port != 0 && entry.port != port) return false;
        if (entry.name.empty()) return address && entry.network.contains(*address);
        if (address) return false;
        return (entry.itself && name == entry.name) || name.ends_with("." + entry.name);
    });
}

Result<Proxy> make_proxy(const std::string& url, std::string_view exceptions) {
    Proxy proxy;
    WA_TRY(proxy.url, parse_url(url));
    if (!proxy.url.port_given)
        return invalid("proxy", "the URL of the proxy names no port; write it as 'http://proxy.example:3128'");
    if (proxy.url.path != "/" || proxy.url.text.find('?') != std::string::npos)
        return invalid("proxy", "the URL of a proxy has no path and no query");
    WA_TRY(proxy.exceptions, ProxyExceptions::parse(exceptions));
    return proxy;
}

}  // namespace wa::http
