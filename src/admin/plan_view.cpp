#include "admin/plan_view.h"

#include <algorithm>
#include <limits>

namespace wa::admin {

PlanShape shape_of(const std::vector<PlanShapeNode>& nodes) {
    constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
    const std::size_t count = nodes.size();
    std::vector<std::vector<std::size_t>> needed_by(count);
    std::vector<std::size_t> open(count);
    for (std::size_t i = 0; i < count; ++i) {
        open[i] = nodes[i].needs.size();
        for (const std::size_t need : nodes[i].needs)
            needed_by[need].push_back(i);
    }
    PlanShape shape;
    shape.levels.resize(count);
    std::vector<std::int64_t> reach(count);  // weight of the heaviest chain that ends here
    std::vector<std::size_t> before(count, kNone);
    std::vector<std::size_t> ready;
    for (std::size_t i = 0; i < count; ++i) {
        if (open[i] == 0) ready.push_back(i);
    }
    std::size_t heaviest = kNone;
    for (std::size_t at = 0; at < ready.size(); ++at) {
        const std::size_t node = ready[at];
        for (const std::size_t need : nodes[node].needs) {
            shape.levels[node] = std::max(shape.levels[node], shape.levels[need] + 1);
            if (before[node] == kNone || reach[need] > reach[before[node]]) before[node] = need;
        }
        reach[node] =
            std::max<std::int64_t>(1, nodes[node].weight_ms) + (before[node] == kNone ? 0 : reach[before[node]]);
        if (heaviest == kNone || reach[node] > reach[heaviest]) heaviest = node;
        for (const std::size_t next : needed_by[node]) {
            if (--open[next] == 0) ready.push_back(next);
        }
    }
    for (std::size_t node = heaviest; node != kNone; node = before[node])
        shape.critical_path.push_back(node);
    std::ranges::reverse(shape.critical_path);
    return shape;
}

}  // namespace wa::admin
