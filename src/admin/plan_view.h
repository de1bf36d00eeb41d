// Inside admin/: the shape of a plan: levels and critical path. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wa::admin {

struct PlanShapeNode {
    std::vector<std::size_t> needs;  // indexes of other nodes
    std::int64_t weight_ms = 1;
};
struct PlanShape {
    std::vector<std::uint32_t> levels;       // longest path to each node, counted in nodes; 0 = needs nothing
    std::vector<std::size_t> critical_path;  // heaviest chain, first to last
};
// Linear in nodes and edges, without recursion. Nodes on a cycle get level 0 and are left out of the path.
[[nodiscard]] PlanShape shape_of(const std::vector<PlanShapeNode>& nodes);

}  // namespace wa::admin
