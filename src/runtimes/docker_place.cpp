#include "runtimes/docker_place.h"

#include <utility>

#include "core/codec/text.h"
#include "runtimes/work_labels.h"

namespace wa::docker {
namespace {

constexpr std::string_view kPrefix = "nh-exec-";
constexpr std::string_view kAdopted = "-of-";
constexpr std::string_view kKept = "-kept-";
constexpr std::size_t kShortId = 12;
constexpr std::size_t kWorkerMark = 12;

std::string worker_mark(std::string_view worker) {
    return hash_of(worker).substr(0, kWorkerMark);
}

std::string label_of(const StringMap& labels, std::string_view name) {
    const auto found = labels.find(std::string(name));
    return found == labels.end() ? std::string() : found->second;
}

WorkPlace::Handle held(http::Call call) {
    return std::make_shared<http::Call>(std::move(call));
}

// Gone is gone. 409: somebody else removes it right now; asked again it is gone.
std::function<void(Reply<std::monostate>)> told(WorkPlace::Done done) {
    return [done = std::move(done)](Reply<std::monostate> reply) {
        if (reply || reply.error().is(404)) return done({});
        done(Failure(std::move(reply).error().error));
    };
}

}  // namespace

std::string container_name(std::string_view domain, std::string_view ticket_id, std::int32_t attempt) {
    return work_name(kPrefix, domain, ticket_id, attempt);
}

std::string adopted_name(std::string_view name, std::string_view worker) {
    return std::string(name.substr(0, name.find(kAdopted))) + std::string(kAdopted) + worker_mark(worker);
}

bool is_kept_name(std::string_view name) {
    return name.find(kKept) != std::string_view::npos;
}

Place::Place(Api& api, std::string worker, std::string domain)
    : api_(api), worker_(std::move(worker)), domain_(std::move(domain)) {}

bool Place::is_ours(const StringMap& labels, std::string_view name) const {
    const std::size_t adopted = name.find(kAdopted);
    if (adopted != std::string_view::npos)
        return name.substr(adopted + kAdopted.size(), kWorkerMark) == worker_mark(worker_);
    return label_of(labels, work_labels::kWorker) == worker_ && labels.contains(std::string(work_labels::kWorker));
}

WorkPlace::Handle Place::list(Listed done) {
    return held(api_.list(
        {{std::string(kManagedByLabel), std::string(work_labels::kManagedBy)},
         {std::string(work_labels::kDomain), domain_}},
        [this, done = std::move(done)](Reply<std::vector<ContainerSummary>> reply) {
            if (!reply) return done(Failure(std::move(reply).error().error));
            std::vector<FoundWork> found;
            for (const ContainerSummary& container : *reply) {
                if (is_kept_name(container.name)) continue;
                found.push_back({container.id, container.name, label_of(container.labels, work_labels::kTicket),
                                 is_ours(container.labels, container.name), container.state == ContainerState::kEnded,
                                 parse_whole_number(label_of(container.labels, work_labels::kDeadline))});
            }
            done(std::move(found));
        }));
}

WorkPlace::Handle Place::remove(const FoundWork& work, Done done) {
    return held(api_.remove(work.id, told(std::move(done))));
}

WorkPlace::Handle Place::keep(const FoundWork& work, Done done) {
    return held(
        api_.rename(work.id, work.name + std::string(kKept) + work.id.substr(0, kShortId), told(std::move(done))));
}

}  // namespace wa::docker
