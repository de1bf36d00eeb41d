#include "observability/registry.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/check.h"
#include "core/codec/text.h"

namespace wa::observability {
namespace {

constexpr std::string_view kOther = "other";

std::string escape(std::string_view text, bool quotes) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (c == '\\') {
            out += "\\\\";
        } else if (c == '\n') {
            out += "\\n";
        } else if (c == '"' && quotes) {
            out += "\\\"";
        } else {
            out += c;
        }
    }
    return out;
}

std::string_view kind_word(Kind kind) {
    switch (kind) {
        case Kind::kCounter: return "counter";
        case Kind::kGauge: return "gauge";
        case Kind::kHistogram: return "histogram";
    }
    return "untyped";
}

// The label list with one more label at its end.
std::string with_edge(const std::string& labels, const std::string& edge) {
    if (labels.empty()) return "{le=\"" + edge + "\"}";
    return labels.substr(0, labels.size() - 1) + ",le=\"" + edge + "\"}";
}

void line(std::string& out, const std::string& name, std::string_view suffix, const std::string& labels, double value) {
    out += name;
    out += suffix;
    out += labels;
    out += ' ';
    out += metric_number(value);
    out += '\n';
}

}  // namespace

std::string metric_number(double value) {
    if (std::isnan(value)) return "NaN";
    if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
    std::array<char, 40> text{};
    const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
    (void)error;  // 40 characters hold any double in its shortest form
    std::string out(text.data(), end);
    if (out.find_first_of(".en") == std::string::npos) out += ".0";
    return out;
}

bool wants_open_metrics(std::string_view accept) {
    return accept.find("application/openmetrics-text") != std::string_view::npos;
}

Histogram::Histogram(const std::vector<double>& edges) : edges_(edges), buckets_(edges.size() + 1) {}

void Histogram::observe(double value) {
    if (std::isnan(value)) return;
    const auto place = std::ranges::lower_bound(edges_, value) - edges_.begin();
    buckets_[static_cast<std::size_t>(place)].fetch_add(1, std::memory_order_relaxed);
    sum_.fetch_add(value, std::memory_order_relaxed);
}

Histogram::Snapshot Histogram::snapshot() const {
    Snapshot result;
    std::uint64_t count = 0;
    for (const auto& bucket : buckets_) {
        count += bucket.load(std::memory_order_relaxed);
        result.cumulative.push_back(count);
    }
    result.sum = sum_.load(std::memory_order_relaxed);
    return result;
}

FamilyBase::FamilyBase(std::string name, std::string help, Kind kind, std::vector<Label> labels)
    : name_(std::move(name)), help_(std::move(help)), kind_(kind), labels_(std::move(labels)), seen_(labels_.size()) {}

FamilyBase::Values FamilyBase::guard(std::initializer_list<std::string_view> values) {
    WA_CHECK(values.size() == labels_.size(), "a metric was moved with the wrong number of labels");
    Values result;
    result.reserve(values.size());
    std::size_t i = 0;
    for (const std::string_view given : values) {
        const Label& label = labels_[i];
        std::string value = lossy_utf8(utf8_prefix(given, kMaxLabelBytes), kMaxLabelBytes);
        if (!label.values.empty()) {
            if (std::ranges::find(label.values, value) == label.values.end()) value = kOther;
        } else if (!seen_[i].contains(value)) {
            if (seen_[i].size() >= label.cap) {
                value = kOther;
            } else {
                seen_[i].insert(value);
            }
        }
        result.push_back(std::move(value));
        ++i;
    }
    return result;
}

std::string FamilyBase::label_text(const Values& values) const {
    if (values.empty()) return {};
    std::string out = "{";
    for (std::size_t i = 0; i < values.size(); ++i) {
        if (i != 0) out += ',';
        out += labels_[i].name + "=\"" + escape(values[i], true) + "\"";
    }
    return out + "}";
}

std::vector<FamilyBase::Values> FamilyBase::all_combinations() const {
    std::vector<Values> all{{}};
    for (const Label& label : labels_) {
        std::vector<Values> longer;
        for (const Values& start : all) {
            for (const std::string& value : label.values) {
                longer.push_back(start);
                longer.back().push_back(value);
            }
        }
        all = std::move(longer);
    }
    return all;
}

template <class Metric>
Family<Metric>::Family(std::string name, std::string help, Kind kind, std::vector<Label> labels,
                       std::vector<double> edges)
    : FamilyBase(std::move(name), std::move(help), kind, std::move(labels)), edges_(std::move(edges)) {
    if (labels_.empty()) series({});
}

template <class Metric>
Metric& Family<Metric>::series(const Values& values) {
    std::unique_ptr<Metric>& entry = series_[values];
    if (!entry) {
        if constexpr (std::is_same_v<Metric, Histogram>) {
            entry = std::make_unique<Metric>(edges_);
        } else {
            entry = std::make_unique<Metric>();
        }
    }
    return *entry;
}

template <class Metric>
Metric& Family<Metric>::with(std::initializer_list<std::string_view> values) {
    const std::scoped_lock lock(mutex_);
    return series(guard(values));
}

template <class Metric>
Family<Metric>& Family<Metric>::create_all() {
    const std::scoped_lock lock(mutex_);
    for (const Values& values : all_combinations())
        series(values);
    return *this;
}

template <class Metric>
void Family<Metric>::write(std::string& out, bool open_metrics) const {
    const std::scoped_lock lock(mutex_);
    std::string family_name = name_;
    // OpenMetrics names the family without the suffix that its samples carry.
    if (open_metrics && kind_ == Kind::kCounter && family_name.ends_with("_total"))
        family_name.resize(family_name.size() - 6);
    out += "# HELP " + family_name + " " + escape(help_, open_metrics) + "\n# TYPE " + family_name + " ";
    out += kind_word(kind_);
    out += '\n';
    for (const auto& [values, metric] : series_) {
        const std::string labels = label_text(values);
        if constexpr (std::is_same_v<Metric, Histogram>) {
            const Histogram::Snapshot snapshot = metric->snapshot();
            for (std::size_t i = 0; i < edges_.size(); ++i) {
                line(out, name_, "_bucket", with_edge(labels, metric_number(edges_[i])),
                     static_cast<double>(snapshot.cumulative[i]));
            }
            const auto count = static_cast<double>(snapshot.cumulative.back());
            line(out, name_, "_bucket", with_edge(labels, "+Inf"), count);
            line(out, name_, "_sum", labels, snapshot.sum);
            line(out, name_, "_count", labels, count);
        } else {
            line(out, name_, "", labels, metric->value());
        }
    }
}

template <class Metric>
Family<Metric>& Registry::family(Kind kind, std::string name, std::string help, std::vector<Label> labels,
                                 std::vector<double> edges) {
    const std::scoped_lock lock(mutex_);
    std::unique_ptr<FamilyBase>& entry = families_[name];
    if (!entry) {
        entry.reset(new Family<Metric>(std::move(name), std::move(help), kind, std::move(labels), std::move(edges)));
    }
    WA_CHECK(entry->kind_ == kind, "a metric was registered twice as different kinds");
    return static_cast<Family<Metric>&>(*entry);
}

Family<Counter>& Registry::counter(std::string name, std::string help, std::vector<Label> labels) {
    WA_CHECK(name.ends_with("_total"), "a counter's name ends in _total");
    return family<Counter>(Kind::kCounter, std::move(name), std::move(help), std::move(labels), {});
}
Family<Gauge>& Registry::gauge(std::string name, std::string help, std::vector<Label> labels) {
    return family<Gauge>(Kind::kGauge, std::move(name), std::move(help), std::move(labels), {});
}
Family<Histogram>& Registry::histogram(std::string name, std::string help, std::vector<Label> labels,
                                       std::vector<double> edges) {
    return family<Histogram>(Kind::kHistogram, std::move(name), std::move(help), std::move(labels), std::move(edges));
}

void Registry::before_scrape(std::function<void()> work) {
    const std::scoped_lock lock(mutex_);
    before_.push_back(std::move(work));
}

std::string Registry::expose(bool open_metrics) const {
    std::vector<std::function<void()>> before;
    {
        const std::scoped_lock lock(mutex_);
        before = before_;
    }
    for (const auto& work : before)
        work();
    std::string out;
    out.reserve(64 * 1024);
    const std::scoped_lock lock(mutex_);
    for (const auto& [name, family] : families_)
        family->write(out, open_metrics);
    if (open_metrics) out += "# EOF\n";
    return out;
}

template class Family<Counter>;
template class Family<Gauge>;
template class Family<Histogram>;

}  // namespace wa::observability
