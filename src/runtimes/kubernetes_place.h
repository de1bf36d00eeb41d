// The Jobs of a namespace, as their keeper sees them. Whose a Job is, its label `worker` says: who adopts one changes
// it. A Job with the label neural-hive.io/kept was reported, and stays on purpose until its time to live is over.
#pragma once

#include <string>
#include <vector>

#include "runtimes/kubernetes_api.h"
#include "runtimes/work_keeper.h"

namespace wa::kubernetes {

inline constexpr std::string_view kManagedByLabel = "app.kubernetes.io/managed-by";
inline constexpr std::string_view kKeptLabel = "neural-hive.io/kept";

// exec-<10 digits>-<attempt>
[[nodiscard]] std::string job_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt);
// The selector of all that a domain's workers have made.
[[nodiscard]] std::string domain_selector(std::string_view domain);
// The ticket that a Job was made for; empty: it does not say.
[[nodiscard]] std::string ticket_of(const JobState& job);

class Place final : public WorkPlace {
public:
    // `api` must outlive this object.
    Place(Api& api, std::string worker, std::string domain);

    [[nodiscard]] Handle list(Listed done) override;
    [[nodiscard]] Handle remove(const FoundWork& work, Done done) override;
    [[nodiscard]] Handle keep(const FoundWork& work, Done done) override;

    [[nodiscard]] bool is_ours(const JobState& job) const;

private:
    struct Listing;
    void next_page(const std::shared_ptr<Listing>& listing, const std::string& next);

    Api& api_;
    std::string worker_;
    std::string domain_;
};

}  // namespace wa::kubernetes
