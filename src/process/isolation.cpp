#include "process/isolation.h"

#include <array>
#include <utility>

#include "protocol.h"

namespace wa {
namespace {

using LevelName = std::pair<IsolationLevel, std::string_view>;
constexpr std::array<LevelName, 5> kLevelNames{
    LevelName{IsolationLevel::kNone, "none"}, LevelName{IsolationLevel::kProcessGroup, "process-group"},
    LevelName{IsolationLevel::kFiltered, "filtered"}, LevelName{IsolationLevel::kNamespaces, "namespaces"},
    LevelName{IsolationLevel::kFull, "full"}};

using LayerName = std::pair<Layers, std::string_view>;
constexpr std::array<LayerName, 15> kLayerNames{LayerName{layer::kUser, "user-namespace"},
                                                LayerName{layer::kPid, "pid-namespace"},
                                                LayerName{layer::kMount, "own-root"},
                                                LayerName{layer::kIpc, "ipc-namespace"},
                                                LayerName{layer::kUts, "uts-namespace"},
                                                LayerName{layer::kCgroupNs, "cgroup-namespace"},
                                                LayerName{layer::kNetwork, "network-namespace"},
                                                LayerName{layer::kOwnUid, "own-uid"},
                                                LayerName{layer::kCapabilities, "no-capabilities"},
                                                LayerName{layer::kSeccomp, "seccomp"},
                                                LayerName{layer::kNoSockets, "no-network-sockets"},
                                                LayerName{layer::kLandlock, "landlock"},
                                                LayerName{layer::kMemory, "memory-limit"},
                                                LayerName{layer::kProcesses, "process-limit"},
                                                LayerName{layer::kCpu, "cpu-limit"}};

static_assert(layer::kNoSockets == helper::kLayerNoSockets && layer::kMount == helper::kLayerMount &&
              layer::kNamespaces == helper::kNamespaceLayers && layer::kCgroup == helper::kCgroupLayers &&
              layer::kLandlock == helper::kLayerLandlock && layer::kOwnUid == helper::kLayerOwnUid &&
              layer::kNetwork == helper::kLayerNetwork && layer::kSeccomp == helper::kLayerSeccomp &&
              layer::kCapabilities == helper::kLayerCapabilities);

constexpr Layers kFilteredLayers = layer::kCapabilities | layer::kSeccomp;

}  // namespace

std::string_view to_string(IsolationLevel level) {
    for (const auto& [value, name] : kLevelNames) {
        if (value == level) return name;
    }
    return "none";
}

std::optional<IsolationLevel> parse_isolation_level(std::string_view word) {
    for (const auto& [value, name] : kLevelNames) {
        if (name == word) return value;
    }
    return std::nullopt;
}

Layers layers_of(IsolationLevel level) {
    switch (level) {
        case IsolationLevel::kNone:
        case IsolationLevel::kProcessGroup: return 0;
        case IsolationLevel::kFiltered: return kFilteredLayers;
        case IsolationLevel::kNamespaces: return kFilteredLayers | layer::kNamespaces;
        case IsolationLevel::kFull: break;
    }
    return kFilteredLayers | layer::kNamespaces | layer::kLandlock | layer::kMemory | layer::kProcesses;
}

IsolationLevel level_of(Layers layers) {
    for (const IsolationLevel level : {IsolationLevel::kFull, IsolationLevel::kNamespaces, IsolationLevel::kFiltered}) {
        if ((layers & layers_of(level)) == layers_of(level)) return level;
    }
    return IsolationLevel::kProcessGroup;
}

Layers all_layers() {
    return layers_of(IsolationLevel::kFull) | layer::kNetwork | layer::kOwnUid | layer::kCpu;
}

std::vector<std::string> layer_names(Layers layers) {
    std::vector<std::string> names;
    for (const auto& [layer, name] : kLayerNames) {
        if ((layers & layer) != 0) names.emplace_back(name);
    }
    return names;
}

}  // namespace wa
