// The containers of a Docker engine, as their keeper sees them.
//
// Whose a container is: its label `worker` says who made it; a name that ends with "-of-<worker>" who adopted it since.
// A name with "-kept-" was reported, and stays on purpose. Labels of a container cannot change, its name can.
#pragma once

#include <string>
#include <string_view>

#include "runtimes/docker_api.h"
#include "runtimes/work_keeper.h"

namespace wa::docker {

inline constexpr std::string_view kManagedByLabel = "neural-hive.io/managed-by";

[[nodiscard]] std::string container_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt);
[[nodiscard]] std::string adopted_name(std::string_view name, std::string_view worker);
[[nodiscard]] bool is_kept_name(std::string_view name);

class Place final : public WorkPlace {
public:
    // `api` must outlive this object.
    Place(Api& api, std::string worker, std::string domain);

    [[nodiscard]] Handle list(Listed done) override;
    [[nodiscard]] Handle remove(const FoundWork& work, Done done) override;
    [[nodiscard]] Handle keep(const FoundWork& work, Done done) override;

    [[nodiscard]] bool is_ours(const StringMap& labels, std::string_view name) const;

private:
    Api& api_;
    std::string worker_;
    std::string domain_;
};

}  // namespace wa::docker
