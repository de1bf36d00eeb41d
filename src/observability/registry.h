// A small metrics registry with its own exposition.
//
// Why not prometheus-cpp: its serializer prints bucket edges as le="1", and recorded series and rules of existing
// deployments match le="1.0" (contract/metrics.md 1); it has no OpenMetrics form and no guard against too many series.
// What remains to be written is this file.
//
// Threading: everything may be called from any thread. A handle (Counter&, …) stays valid as long as the registry; keep
// it, looking one up takes a lock.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace wa::observability {

inline constexpr std::size_t kMaxLabelBytes = 64;

class Counter {
public:
    void add(double by = 1.0) { value_.fetch_add(by, std::memory_order_relaxed); }  // by >= 0
    [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }
    // For counts that somebody else keeps (the kernel's CPU time). Must not go back.
    void set_to(double value) { value_.store(value, std::memory_order_relaxed); }

private:
    std::atomic<double> value_{0.0};
};

class Gauge {
public:
    void set(double value) { value_.store(value, std::memory_order_relaxed); }
    void add(double by) { value_.fetch_add(by, std::memory_order_relaxed); }
    [[nodiscard]] double value() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<double> value_{0.0};
};

class Histogram {
public:
    explicit Histogram(const std::vector<double>& edges);  // rising, without infinity; must outlive this
    void observe(double value);

    struct Snapshot {
        std::vector<std::uint64_t> cumulative;  // one for each edge, then infinity
        double sum = 0;
    };
    [[nodiscard]] Snapshot snapshot() const;

private:
    const std::vector<double>& edges_;
    std::vector<std::atomic<std::uint64_t>> buckets_;
    std::atomic<double> sum_{0.0};
};

// One label of a family. With `values`, the list is closed: anything else is counted as "other". Without, at most `cap`
// values are told apart, clipped to 64 bytes.
struct Label {
    std::string name;
    std::vector<std::string> values = {};
    std::size_t cap = 100;
};

enum class Kind : std::uint8_t { kCounter, kGauge, kHistogram };

class FamilyBase {
public:
    virtual ~FamilyBase() = default;
    FamilyBase(const FamilyBase&) = delete;
    FamilyBase& operator=(const FamilyBase&) = delete;

protected:
    friend class Registry;
    FamilyBase(std::string name, std::string help, Kind kind, std::vector<Label> labels);
    virtual void write(std::string& out, bool open_metrics) const = 0;
    using Values = std::vector<std::string>;
    [[nodiscard]] Values guard(std::initializer_list<std::string_view> values);
    [[nodiscard]] std::string label_text(const Values& values) const;  // {a="b",c="d"} or nothing
    [[nodiscard]] std::vector<Values> all_combinations() const;

    std::string name_;
    std::string help_;
    Kind kind_;
    std::vector<Label> labels_;
    std::vector<std::set<std::string, std::less<>>> seen_;
    mutable std::mutex mutex_;
};

template <class Metric>
class Family final : public FamilyBase {
public:
    // The series with these label values, in the order of the labels. WA_CHECK: as many values as labels.
    Metric& with(std::initializer_list<std::string_view> values);
    // Makes every combination of closed label lists visible with 0, so that rate() works from the first event.
    Family& create_all();

private:
    friend class Registry;
    Family(std::string name, std::string help, Kind kind, std::vector<Label> labels, std::vector<double> edges);
    void write(std::string& out, bool open_metrics) const override;
    Metric& series(const Values& values);

    std::vector<double> edges_;
    std::map<Values, std::unique_ptr<Metric>> series_;
};

class Registry {
public:
    Registry() = default;
    Registry(const Registry&) = delete;
    Registry& operator=(const Registry&) = delete;

    // The same name again gives the same family (WA_CHECK: of the same kind). A family without labels shows its series
    // at once. Names of counters end in _total.
    Family<Counter>& counter(std::string name, std::string help, std::vector<Label> labels = {});
    Family<Gauge>& gauge(std::string name, std::string help, std::vector<Label> labels = {});
    Family<Histogram>& histogram(std::string name, std::string help, std::vector<Label> labels,
                                 std::vector<double> edges);

    // Runs before each exposition, on the asking thread.
    void before_scrape(std::function<void()> work);

    // Text format 0.0.4, or OpenMetrics 1.0.
    [[nodiscard]] std::string expose(bool open_metrics) const;

private:
    template <class Metric>
    Family<Metric>& family(Kind kind, std::string name, std::string help, std::vector<Label> labels,
                           std::vector<double> edges);

    mutable std::mutex mutex_;
    std::map<std::string, std::unique_ptr<FamilyBase>, std::less<>> families_;
    std::vector<std::function<void()>> before_;
};

// "1.0", "0.05", "+Inf": numbers as this exposition writes them everywhere.
[[nodiscard]] std::string metric_number(double value);
// True when an Accept header asks for OpenMetrics.
[[nodiscard]] bool wants_open_metrics(std::string_view accept);
inline constexpr std::string_view kTextContentType = "text/plain; version=0.0.4; charset=utf-8";
inline constexpr std::string_view kOpenMetricsContentType =
    "application/openmetrics-text; version=1.0.0; charset=utf-8";

}  // namespace wa::observability
