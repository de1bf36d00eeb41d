// Cycles in a graph of needs. Linear, without recursion.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace wa {

// needs[i] = what node i waits for. Each cycle found is given as the nodes on it, in the order of waiting, beginning
// with the smallest index; every node appears in at most one of them. Empty exactly when the graph is acyclic.
[[nodiscard]] std::vector<std::vector<std::uint32_t>> find_cycles(const std::vector<std::vector<std::uint32_t>>& needs,
                                                                  std::size_t max_cycles);

}  // namespace wa
