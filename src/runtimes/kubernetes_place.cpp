#include "runtimes/kubernetes_place.h"

#include <utility>

#include "core/codec/text.h"
#include "runtimes/kubernetes_task.h"
#include "runtimes/work_labels.h"

namespace wa::kubernetes {
namespace {

constexpr std::string_view kPrefix = "exec-";
constexpr std::size_t kMaxListed = 100'000;

std::string value_of(const StringMap& map, std::string_view name) {
    const auto found = map.find(std::string(name));
    return found == map.end() ? std::string() : found->second;
}

std::function<void(Reply<Nothing>)> told(WorkPlace::Done done) {
    return [done = std::move(done)](Reply<Nothing> reply) {
        if (reply || reply.error().is(404)) return done({});
        done(Failure(std::move(reply).error().error));
    };
}

}  // namespace

std::string job_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt) {
    return work_name(kPrefix, domain, ticket_id, attempt);
}

std::string domain_selector(std::string_view domain) {
    return selector_text({{std::string(kManagedByLabel), std::string(work_labels::kManagedBy)},
                          {std::string(work_labels::kDomain), label_value(domain)}});
}

std::string ticket_of(const JobState& job) {
    return value_of(job.annotations, work_labels::kTicket);
}

Place::Place(Api& api, std::string worker, std::string domain)
    : api_(api), worker_(std::move(worker)), domain_(std::move(domain)) {}

bool Place::is_ours(const JobState& job) const {
    return value_of(job.labels, work_labels::kWorker) == label_value(worker_);
}

struct Place::Listing {
    std::vector<FoundWork> found;
    Listed done;
    http::ServiceHandle call;
};

WorkPlace::Handle Place::list(Listed done) {
    auto listing = std::make_shared<Listing>();
    listing->done = std::move(done);
    next_page(listing, {});
    return listing;
}

// The listing lives as long as its handle: a call that it holds must not hold it.
void Place::next_page(const std::shared_ptr<Listing>& listing, const std::string& next) {
    const std::weak_ptr<Listing> weak = listing;
    listing->call = api_.list(
        Kind::kJobs, domain_selector(domain_) + ",!" + std::string(kKeptLabel), next, [this, weak](Reply<Page> reply) {
            const auto now = weak.lock();
            if (!now) return;
            if (!reply) return std::exchange(now->done, nullptr)(Failure(std::move(reply).error().error));
            for (const boost::json::object& item : reply->items) {
                const auto job = read_job(item);
                if (!job || job->deleting) continue;
                now->found.push_back({job->uid, job->name, ticket_of(*job), is_ours(*job), job->finished(),
                                      parse_whole_number(value_of(job->annotations, work_labels::kDeadline))});
            }
            if (reply->next.empty() || now->found.size() >= kMaxListed)
                return std::exchange(now->done, nullptr)(std::move(now->found));
            next_page(now, reply->next);
        });
}

WorkPlace::Handle Place::remove(const FoundWork& work, Done done) {
    // One that runs stays until its pods are gone: as long as it is there, nothing else runs its ticket.
    return std::make_shared<http::ServiceHandle>(
        api_.delete_job(work.name, work.id, !work.ended, work.ticket_id, told(std::move(done))));
}

WorkPlace::Handle Place::keep(const FoundWork& work, Done done) {
    return std::make_shared<http::ServiceHandle>(
        api_.label_job(work.name, {{std::string(kKeptLabel), "true"}}, work.ticket_id, told(std::move(done))));
}

}  // namespace wa::kubernetes
