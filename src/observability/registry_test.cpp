#include "observability/registry.h"

#include <gtest/gtest.h>

#include <cmath>
#include <thread>

#include "observability/process_metrics.h"

namespace wa::observability {
namespace {

TEST(MetricNumber, AlwaysLooksLikeAFloat) {
    EXPECT_EQ(metric_number(1), "1.0");
    EXPECT_EQ(metric_number(0.05), "0.05");
    EXPECT_EQ(metric_number(14400), "14400.0");
    EXPECT_EQ(metric_number(1e30), "1e+30");
    EXPECT_EQ(metric_number(INFINITY), "+Inf");
    EXPECT_EQ(metric_number(NAN), "NaN");
}

TEST(Registry, TextFormatExactly) {
    Registry registry;
    registry.counter("a_total", "Things \\ with\nlines.", {{"type", {"X", "Y"}}}).create_all().with({"X"}).add(2);
    registry.histogram("h_seconds", "Times.", {{"task"}}, {0.1, 1, 5}).with({"q\"uote\n"}).observe(1);
    registry.gauge("z", "Plain.").with({}).set(-3.5);
    EXPECT_EQ(registry.expose(false),
              "# HELP a_total Things \\\\ with\\nlines.\n"
              "# TYPE a_total counter\n"
              "a_total{type=\"X\"} 2.0\n"
              "a_total{type=\"Y\"} 0.0\n"
              "# HELP h_seconds Times.\n"
              "# TYPE h_seconds histogram\n"
              "h_seconds_bucket{task=\"q\\\"uote\\n\",le=\"0.1\"} 0.0\n"
              "h_seconds_bucket{task=\"q\\\"uote\\n\",le=\"1.0\"} 1.0\n"
              "h_seconds_bucket{task=\"q\\\"uote\\n\",le=\"5.0\"} 1.0\n"
              "h_seconds_bucket{task=\"q\\\"uote\\n\",le=\"+Inf\"} 1.0\n"
              "h_seconds_sum{task=\"q\\\"uote\\n\"} 1.0\n"
              "h_seconds_count{task=\"q\\\"uote\\n\"} 1.0\n"
              "# HELP z Plain.\n"
              "# TYPE z gauge\n"
              "z -3.5\n");
}

TEST(Registry, OpenMetricsNamesTheFamilyWithoutTotal) {
    Registry registry;
    registry.counter("a_total", "Things.").with({}).add();
    EXPECT_EQ(registry.expose(true), "# HELP a Things.\n# TYPE a counter\na_total 1.0\n# EOF\n");
    EXPECT_TRUE(wants_open_metrics("application/openmetrics-text; version=1.0.0,text/plain;q=0.5"));
    EXPECT_FALSE(wants_open_metrics("text/plain, */*"));
    EXPECT_FALSE(wants_open_metrics(""));
}

TEST(Registry, LabelValuesCannotGrowWithoutEnd) {
    Registry registry;
    Family<Counter>& open = registry.counter("o_total", "", {{"suite", {}, 3}});
    for (int i = 0; i < 1000; ++i)
        open.with({"s" + std::to_string(i)}).add();
    EXPECT_EQ(open.with({"other"}).value(), 997);
    Family<Counter>& closed = registry.counter("c_total", "", {{"status", {"ok"}}});
    closed.with({"made up"}).add();
    EXPECT_EQ(closed.with({"other"}).value(), 1);
    Family<Counter>& clipped = registry.counter("l_total", "", {{"x"}});
    clipped.with({std::string(1000, 'a')}).add();
    EXPECT_EQ(clipped.with({std::string(64, 'a')}).value(), 1);
    clipped.with({"\xff\xfe"}).add();
    EXPECT_NE(registry.expose(false).find("l_total{x=\"\xEF\xBF\xBD\xEF\xBF\xBD\"} 1.0"), std::string::npos);
}

TEST(Registry, HistogramEdgesAreInclusive) {
    Registry registry;
    Histogram& histogram = registry.histogram("h", "", {}, {1, 5}).with({});
    for (const double value : {0.5, 1.0, 1.1, 5.0, 5.1, -1.0, static_cast<double>(NAN)})
        histogram.observe(value);
    const auto snapshot = histogram.snapshot();
    EXPECT_EQ(snapshot.cumulative, (std::vector<std::uint64_t>{3, 5, 6}));
    EXPECT_DOUBLE_EQ(snapshot.sum, 0.5 + 1 + 1.1 + 5 + 5.1 - 1);
}

TEST(Registry, MovedAndReadFromManyThreads) {
    Registry registry;
    Family<Counter>& family = registry.counter("t_total", "", {{"n"}});
    Histogram& histogram = registry.histogram("h", "", {}, {1, 5}).with({});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            for (int i = 0; i < 2000; ++i) {
                family.with({std::to_string((t + i) % 10)}).add();
                histogram.observe(i % 7);
            }
        });
    }
    for (int i = 0; i < 50; ++i)
        (void)registry.expose(i % 2 == 0);
    for (std::thread& thread : threads)
        thread.join();
    double total = 0;
    for (int n = 0; n < 10; ++n)
        total += family.with({std::to_string(n)}).value();
    EXPECT_EQ(total, 8000);
    EXPECT_EQ(histogram.snapshot().cumulative.back(), 8000U);
}

TEST(ProcessMetrics, AreThoseOfThisProcess) {
    Registry registry;
    register_process_metrics(registry);
    (void)registry.expose(false);
    EXPECT_GT(registry.gauge("process_resident_memory_bytes", "").with({}).value(), 1e6);
    EXPECT_GT(registry.gauge("process_virtual_memory_bytes", "").with({}).value(), 1e6);
    EXPECT_GE(registry.gauge("process_open_fds", "").with({}).value(), 3);
    EXPECT_GT(registry.gauge("process_max_fds", "").with({}).value(), 3);
    EXPECT_GT(registry.gauge("process_start_time_seconds", "").with({}).value(), 1.6e9);
    Registry broken;
    register_process_metrics(broken, "/nonexistent");
    EXPECT_NE(broken.expose(false).find("process_open_fds 0.0"), std::string::npos);
}

}  // namespace
}  // namespace wa::observability
