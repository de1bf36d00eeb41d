#include "net/router.h"

#include <algorithm>

#include "base/check.h"

namespace wa::net {
namespace {

std::vector<std::string> split(std::string_view pattern) {
    std::vector<std::string> pieces;
    while (!pattern.empty()) {
        pattern.remove_prefix(1);  // the slash
        const std::size_t end = std::min(pattern.find('/'), pattern.size());
        if (end != 0) pieces.emplace_back(pattern.substr(0, end));
        pattern.remove_prefix(end);
    }
    return pieces;
}

bool is_name(std::string_view piece) {
    return piece.size() > 2 && piece.front() == '{' && piece.back() == '}';
}

}  // namespace

Responder& Responder::operator=(Responder&& other) noexcept {
    if (this != &other) {
        if (exchange_) send(problem(500, "the request was dropped without an answer"));
        exchange_ = std::move(other.exchange_);
    }
    return *this;
}

Responder::~Responder() {
    if (exchange_) send(problem(500, "the request was dropped without an answer; this is a defect"));
}

void Responder::send(Response response) {
    if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->send(std::move(response));
}

std::shared_ptr<Stream> Responder::stream(Response head) {
    const auto exchange = std::exchange(exchange_, nullptr);
    WA_CHECK(exchange != nullptr, "a request was answered twice");
    return exchange->stream(std::move(head));
}

void Router::add(Route route) {
    WA_CHECK(route.pattern.starts_with('/'), "a route's pattern starts with a slash");
    std::erase_if(entries_, [&](const Entry& entry) {
        return entry.route->method == route.method && entry.route->pattern == route.pattern;
    });
    Entry entry;
    entry.pieces = split(route.pattern);
    entry.literals =
        static_cast<std::size_t>(std::ranges::count_if(entry.pieces, [](const auto& p) { return !is_name(p); }));
    entry.route = std::make_unique<Route>(std::move(route));
    const auto place = std::ranges::find_if(entries_, [&](const Entry& e) { return e.literals < entry.literals; });
    entries_.insert(place, std::move(entry));
}

bool Router::fits(const Entry& entry, const std::vector<std::string>& segments, NameValues* params) {
    if (entry.pieces.size() != segments.size()) return false;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        if (!is_name(entry.pieces[i]) && entry.pieces[i] != segments[i]) return false;
    }
    if (params == nullptr) return true;
    for (std::size_t i = 0; i < segments.size(); ++i) {
        const std::string& piece = entry.pieces[i];
        if (is_name(piece)) params->emplace_back(piece.substr(1, piece.size() - 2), segments[i]);
    }
    return true;
}

Router::Match Router::match(std::string_view method, const std::vector<std::string>& segments) const {
    Match result;
    const std::string_view wanted = method == "HEAD" ? std::string_view("GET") : method;
    // The most literal pattern decides alone: POST /tickets/compensation is not POST /tickets/{id} by another name.
    const Entry* first = nullptr;
    for (const Entry& entry : entries_) {
        if (first != nullptr && entry.literals < first->literals) break;
        if (!fits(entry, segments, nullptr)) continue;
        if (first == nullptr) first = &entry;
        if (entry.route->method == wanted) {
            result.route = entry.route.get();
            (void)fits(entry, segments, &result.params);
            return result;
        }
        if (!result.allow.empty()) result.allow += ", ";
        result.allow += entry.route->method;
        if (entry.route->method == "GET") result.allow += ", HEAD";
    }
    return result;
}

std::vector<const Route*> Router::routes() const {
    std::vector<const Route*> all;
    all.reserve(entries_.size());
    for (const Entry& entry : entries_)
        all.push_back(entry.route.get());
    return all;
}

}  // namespace wa::net
