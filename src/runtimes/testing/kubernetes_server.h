// For tests only: an API server of a Kubernetes cluster, with the controllers behind it, on the test's own loop. It
// keeps Jobs and pods as a real one does (1.35, one node), as far as the worker asks; each call can be made to
// misbehave instead, and the world goes on while the server is away.
#pragma once

#include <unistd.h>

#include <boost/asio/steady_timer.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "core/codec/text.h"
#include "http_client/testing/raw_server.h"

namespace wa::kubernetes::testing {

namespace json = boost::json;
using http::testing::Push;
using http::testing::Reaction;
using http::testing::Seen;

inline std::string chunk(std::string_view bytes) {
    if (bytes.empty()) return {};
    static constexpr std::string_view kHex = "0123456789abcdef";
    std::string size;
    for (std::size_t left = bytes.size(); left > 0; left /= 16)
        size.insert(size.begin(), kHex[left % 16]);
    return size + "\r\n" + std::string(bytes) + "\r\n";
}

inline const std::string kChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
inline const std::string kLastChunk = "0\r\n\r\n";

inline json::object status_of(int code, std::string_view reason, std::string_view message) {
    return {{"kind", "Status"},    {"apiVersion", "v1"}, {"metadata", json::object{}},
            {"status", "Failure"}, {"message", message}, {"reason", reason},
            {"code", code}};
}

inline Reaction refuse(int code, std::string_view reason, std::string_view message) {
    return http::testing::reply(code, json::serialize(status_of(code, reason, message)));
}

class FakeCluster {
public:
    struct Pod {
        std::string name;
        std::string uid;
        std::string job;
        std::string job_uid;
        json::object labels;
        std::string created;
        std::string node = "node-1";
        json::object state{{"waiting", json::object{{"reason", "ContainerCreating"}}}};  // of its container; may be {}
        std::string phase = "Pending";
        std::string reason;
        std::string message;
        json::array conditions;
        bool deleting = false;
        std::string log;
        std::vector<std::shared_ptr<Push>> readers;

        [[nodiscard]] bool terminated() const { return state.contains("terminated"); }
    };
    struct Job {
        std::string name;
        std::string uid;
        std::string created;
        json::object labels;
        json::object annotations;
        json::object body;
        json::array conditions;
        bool deleting = false;
        bool foreground = false;
    };
    struct Strange {
        int left = 1;  // how often still; 0 = for ever
        Reaction reaction{};
        bool acts = false;  // it does what it was asked for, and says something else
    };

    explicit FakeCluster(boost::asio::io_context& loop) : loop_(loop) { listen(); }
    FakeCluster(const FakeCluster&) = delete;
    FakeCluster& operator=(const FakeCluster&) = delete;

    void listen() {
        server.emplace(loop_, [this](const Seen& seen) { return answer(seen); }, port);
        port = server->port();
    }
    void go_away() {
        watchers_.clear();
        for (auto& [name, pod] : pods)
            pod.readers.clear();
        server.reset();
    }
    [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

    // ---- the world

    Job& add_job(std::string name, json::object labels, json::object annotations, json::object body = {}) {
        Job& job = jobs[name];
        job.name = std::move(name);
        job.uid = new_uid();
        job.created = now();
        job.labels = std::move(labels);
        job.annotations = std::move(annotations);
        job.body = std::move(body);
        ++made;
        tell("ADDED", job);
        return job;
    }
    Pod& add_pod(const Job& job) {
        const std::string name = job.name + "-" + std::to_string(++pods_made);
        Pod& pod = pods[name];
        pod.name = name;
        pod.uid = new_uid();
        pod.job = job.name;
        pod.job_uid = job.uid;
        pod.labels = job.labels;
        pod.labels["job-name"] = job.name;
        pod.labels["batch.kubernetes.io/job-name"] = job.name;
        pod.labels["controller-uid"] = job.uid;
        pod.labels["batch.kubernetes.io/controller-uid"] = job.uid;
        pod.created = now();
        if (!schedules) {
            pod.node.clear();
            pod.state = {};
            pod.conditions.push_back(condition("PodScheduled", "Unschedulable", "0/1 nodes are available", "False"));
        }
        tell("ADDED", pod);
        return pod;
    }
    void waits(Pod& pod, std::string_view reason, std::string_view message) {
        pod.state = {{"waiting", json::object{{"reason", reason}, {"message", message}}}};
        tell("MODIFIED", pod);
    }
    void run(Pod& pod) {
        pod.state = {{"running", json::object{{"startedAt", started_at.empty() ? now() : started_at}}}};
        pod.phase = "Running";
        print(pod, output);
        tell("MODIFIED", pod);
    }
    void print(Pod& pod, std::string_view bytes) {
        pod.log += bytes;
        for (const auto& reader : pod.readers)
            reader->send(chunk(bytes));
    }
    // Its container ends; then its phase and its Job follow, unless `stale`.
    void end(Pod& pod, int code, std::string_view reason = {}) {
        if (pod.terminated()) return;
        json::object ending{{"exitCode", code}, {"reason", code == 0 ? "Completed" : "Error"}};
        if (!reason.empty()) ending["reason"] = reason;
        if (reason == "StartError") ending["message"] = "exec: \"no-such-program\": executable file not found in $PATH";
        if (reason == "ContainerStatusUnknown")
            ending["message"] = "The container could not be located when the pod was terminated";
        pod.state = {{"terminated", std::move(ending)}};
        end_logs(pod);
        if (!stale) tell("MODIFIED", pod);
        later(2, [this, name = pod.name] { follow_up(name); });
    }
    void end_job(Job& job, std::string_view type, std::string_view reason) {
        for (const json::value& one : job.conditions) {
            if (one.at("type") == json::value("Complete") || one.at("type") == json::value("Failed")) return;
        }
        job.conditions.push_back(condition(type == "Complete" ? "SuccessCriteriaMet" : "FailureTarget", reason, "why"));
        job.conditions.push_back(condition(type, reason, "why"));
        tell("MODIFIED", job);
    }
    void say(Job& job, std::string_view type, std::string_view reason) {
        job.conditions.push_back(condition(type, reason, "why"));
        tell("MODIFIED", job);
    }
    // As a DELETE does.
    void remove_pod(Pod& pod) {
        if (!std::exchange(pod.deleting, true)) tell("MODIFIED", pod);
        if (!stops) return;
        later(2, [this, name = pod.name] {
            const auto found = pods.find(name);
            if (found == pods.end()) return;
            if (found->second.state.contains("running")) end(found->second, 143);
            later(4, [this, name] { drop_pod(name); });
        });
    }
    // Without a last word.
    void drop_pod(const std::string& name) {
        const auto found = pods.find(name);
        if (found == pods.end()) return;
        Pod pod = std::move(found->second);
        pods.erase(found);
        end_logs(pod);
        tell("DELETED", pod);
        const auto job = jobs.find(pod.job);
        if (job == jobs.end() || job->second.uid != pod.job_uid) return;
        if (job->second.deleting) return finish_removal(job->second);
        if (!pod.terminated() || pod.deleting) pod_failed(job->second);
    }
    void remove_job(Job& job, bool foreground) {
        std::vector<std::string> mine;
        for (auto& [name, pod] : pods) {
            if (pod.job_uid == job.uid) mine.push_back(name);
        }
        if (foreground && !mine.empty()) {
            job.foreground = true;
            if (!std::exchange(job.deleting, true)) tell("MODIFIED", job);
        } else {
            const Job gone = std::move(jobs.extract(job.name).mapped());
            tell("DELETED", gone);
        }
        for (const std::string& name : mine) {
            if (const auto pod = pods.find(name); pod != pods.end()) remove_pod(pod->second);
        }
    }
    Pod* pod_of(std::string_view job_name) {
        Pod* newest = nullptr;
        for (auto& [name, pod] : pods) {
            if (pod.job == job_name && (newest == nullptr || pod.created > newest->created)) newest = &pod;
        }
        return newest;
    }
    Job& job() { return jobs.begin()->second; }
    Pod& pod() { return *pod_of(jobs.begin()->first); }
    void later(int milliseconds, std::function<void()> what) {
        auto timer = std::make_shared<boost::asio::steady_timer>(loop_, std::chrono::milliseconds(milliseconds));
        timer->async_wait([timer, what = std::move(what), alive = std::weak_ptr<int>(alive_)](const auto& error) {
            if (!error && !alive.expired()) what();
        });
    }

    // ---- what the server can be made to do

    // Watches that are open now get this; "jobs" or "pods".
    void push(std::string_view resource, std::string_view bytes) {
        for (const Watcher& watcher : watchers_) {
            if (watcher.resource == resource) watcher.push->send(chunk(bytes));
        }
    }
    void end_watches(std::string_view resource, bool with_reset = false) {
        std::erase_if(watchers_, [&](const Watcher& watcher) {
            if (watcher.resource != resource) return false;
            if (!with_reset) watcher.push->send(kLastChunk);
            watcher.push->end(with_reset);
            return true;
        });
    }
    void break_logs() {
        for (auto& [name, pod] : pods) {
            for (const auto& reader : std::exchange(pod.readers, {}))
                reader->end(true);
        }
    }
    [[nodiscard]] std::size_t watching(std::string_view resource) const {
        std::size_t count = 0;
        for (const Watcher& watcher : watchers_)
            count += watcher.resource == resource && !watcher.push->closed() ? 1 : 0;
        return count;
    }
    void tell(std::string_view type, const Job& job) { tell("jobs", type, job_object(job), job.labels); }
    void tell(std::string_view type, const Pod& pod) { tell("pods", type, pod_object(pod), pod.labels); }

    // The call as the metrics name it.
    static std::string call_of(const Seen& seen) {
        const std::string path = seen.target.substr(0, seen.target.find('?'));
        const bool watches = seen.target.find("watch=1") != std::string::npos;
        const auto ends = [&](std::string_view end) { return path.ends_with(end); };
        if (path == "/version") return "version";
        if (ends("/selfsubjectaccessreviews")) return "review";
        if (ends("/log")) return "logs";
        if (ends("/events")) return "list_events";
        if (ends("/jobs")) return seen.method == "POST" ? "create_job" : watches ? "watch_jobs" : "list_jobs";
        if (ends("/pods")) return watches ? "watch_pods" : "list_pods";
        if (path.find("/jobs/") != std::string::npos)
            return seen.method == "GET" ? "get_job" : seen.method == "DELETE" ? "delete_job" : "patch_job";
        if (path.find("/pods/") != std::string::npos && seen.method == "DELETE") return "delete_pod";
        return "unknown";
    }

    Reaction answer(const Seen& seen) {
        const std::string call = call_of(seen);
        ++calls[call];
        last[call] = seen;
        if (silent) return {.then = Reaction::Then::kHold};
        if (!token.empty()) {
            const auto given = seen.headers.find("authorization");
            if (given == seen.headers.end() || given->second != "Bearer " + token)
                return refuse(401, "Unauthorized", "Unauthorized");
        }
        if (const auto found = misbehave.find(call); found != misbehave.end()) {
            Strange& strange = found->second;
            if (strange.acts) static_cast<void>(behave(call, seen));
            const Reaction now = strange.reaction;
            if (strange.left == 1) {
                misbehave.erase(found);
            } else if (strange.left > 1) {
                --strange.left;
            }
            return now;
        }
        return behave(call, seen);
    }

    static json::object condition(std::string_view type, std::string_view reason, std::string_view message,
                                  std::string_view value = "True") {
        return {{"type", type}, {"status", value}, {"reason", reason}, {"message", message}};
    }
    json::object job_object(const Job& job) {
        json::object meta{{"name", job.name},
                          {"namespace", "tasks"},
                          {"uid", job.uid},
                          {"resourceVersion", std::to_string(version)},
                          {"creationTimestamp", job.created},
                          {"labels", job.labels},
                          {"annotations", job.annotations}};
        if (job.deleting) meta["deletionTimestamp"] = now();
        return {
            {"kind", "Job"}, {"metadata", std::move(meta)}, {"status", json::object{{"conditions", job.conditions}}}};
    }
    json::object pod_object(const Pod& pod) {
        json::object meta{{"name", pod.name},
                          {"uid", pod.uid},
                          {"resourceVersion", std::to_string(version)},
                          {"creationTimestamp", pod.created},
                          {"labels", pod.labels}};
        if (pod.deleting) meta["deletionTimestamp"] = now();
        json::object status{{"phase", pod.phase}, {"conditions", pod.conditions}};
        if (!pod.reason.empty()) status["reason"] = pod.reason;
        if (!pod.message.empty()) status["message"] = pod.message;
        if (!pod.state.empty()) {
            status["containerStatuses"] =
                json::array{json::object{{"name", "executor"}, {"state", pod.state}, {"imageID", "sha256:6c84"}}};
        }
        json::object spec;
        if (!pod.node.empty()) spec["nodeName"] = pod.node;
        return {{"metadata", std::move(meta)}, {"spec", std::move(spec)}, {"status", std::move(status)}};
    }

    std::uint16_t port = 0;
    std::optional<http::testing::RawServer> server;
    std::map<std::string, Job> jobs;
    std::map<std::string, Pod> pods;
    std::map<std::string, int> calls;
    std::map<std::string, Seen> last;
    std::map<std::string, Strange> misbehave;
    std::set<std::string> denied;  // rights, as "create jobs", "get pods/log"
    std::string token;             // empty = everybody is known
    std::vector<std::string> events;
    std::size_t page_items = 0;  // of a list; 0 = all
    long version = 100;
    long forgotten_before = 0;  // watches from older versions: 410
    bool silent = false;        // connections, but not a byte
    bool makes_pods = true;
    bool schedules = true;
    std::string started_at;  // what nodes say of when a process started; empty = now
    bool starts = true;
    bool runs_on = false;  // until it is stopped
    bool stops = true;     // pods that are told to go do so
    bool stale = false;    // the ends of containers are not told
    bool settles = true;   // Jobs follow their pods
    std::string output = "out\nerr\n";
    int exit_code = 0;
    std::string end_reason;
    int backoff_limit = 0;
    int made = 0;
    int pods_made = 0;

private:
    struct Watcher {
        std::string resource;
        std::string selector;
        std::shared_ptr<Push> push;
    };
    struct Change {
        long version;
        std::string resource;
        json::object labels;
        std::string line;
    };

    std::string now() { return iso_timestamp(began_ + static_cast<EpochMillis>(++ticks_) * 1000); }
    std::string new_uid() {
        const std::string number = std::to_string(++uids_);
        return "00000000-0000-4000-8000-" + std::string(12 - number.size(), '0') + number;
    }
    void tell(std::string_view resource, std::string_view type, json::object object, const json::object& labels) {
        object["metadata"].as_object()["resourceVersion"] = std::to_string(++version);
        const std::string line = json::serialize(json::object{{"type", type}, {"object", std::move(object)}}) + "\n";
        changes_.push_back({version, std::string(resource), labels, line});
        if (silent) return;
        for (const Watcher& watcher : watchers_) {
            if (watcher.resource == resource && fits(labels, watcher.selector)) watcher.push->send(chunk(line));
        }
    }
    static void end_logs(Pod& pod) {
        for (const auto& reader : std::exchange(pod.readers, {})) {
            reader->send(kLastChunk);
            reader->end();
        }
    }
    // The life of a pod, as its node and the controllers have it.
    void live(const std::string& name) {
        const auto found = pods.find(name);
        if (found == pods.end() || !starts || !schedules || found->second.deleting) return;
        Pod& pod = found->second;
        if (end_reason == "StartError") return end(pod, 128, end_reason);
        run(pod);
        if (runs_on) return;
        later(4, [this, name] {
            if (const auto still = pods.find(name); still != pods.end()) end(still->second, exit_code, end_reason);
        });
    }
    void follow_up(const std::string& name) {
        const auto found = pods.find(name);
        if (found == pods.end() || !settles) return;
        Pod& pod = found->second;
        const std::int64_t code = pod.state.at("terminated").at("exitCode").as_int64();
        pod.phase = code == 0 ? "Succeeded" : "Failed";
        if (!stale) tell("MODIFIED", pod);
        const auto job = jobs.find(pod.job);
        if (job == jobs.end() || job->second.uid != pod.job_uid || job->second.deleting) return;
        if (code == 0) return end_job(job->second, "Complete", "CompletionsReached");
        pod_failed(job->second);
    }
    void pod_failed(Job& job) {
        if (!settles) return;
        if (job.body.empty() || failures_[job.uid]++ >= backoff_limit) {
            return end_job(job, "Failed", "BackoffLimitExceeded");
        }
        const std::string name = add_pod(job).name;
        later(2, [this, name] { live(name); });
    }
    void finish_removal(Job& job) {
        for (const auto& [name, pod] : pods) {
            if (pod.job_uid == job.uid) return;
        }
        const Job gone = std::move(jobs.extract(job.name).mapped());
        tell("DELETED", gone);
    }

    static std::string decoded(std::string_view text) {
        std::string out;
        for (std::size_t at = 0; at < text.size(); ++at) {
            if (text[at] == '%') {
                out += static_cast<char>(std::stoi(std::string(text.substr(at + 1, 2)), nullptr, 16));
                at += 2;
            } else {
                out += text[at];
            }
        }
        return out;
    }
    static std::string parameter(const Seen& seen, const std::string& name) {
        const std::size_t mark = seen.target.find('?');
        if (mark == std::string::npos) return {};
        std::string_view rest = std::string_view(seen.target).substr(mark + 1);
        while (!rest.empty()) {
            const std::string_view one = rest.substr(0, rest.find('&'));
            if (one.starts_with(name + "=")) return decoded(one.substr(name.size() + 1));
            rest.remove_prefix(std::min(rest.size(), one.size() + 1));
        }
        return {};
    }
    static bool fits(const json::object& labels, std::string_view selector) {
        while (!selector.empty()) {
            const std::string_view one = selector.substr(0, selector.find(','));
            selector.remove_prefix(std::min(selector.size(), one.size() + 1));
            if (one.starts_with('!')) {
                if (labels.contains(one.substr(1))) return false;
                continue;
            }
            const std::size_t equals = one.find('=');
            const auto* label = labels.if_contains(one.substr(0, equals));
            if (label == nullptr || label->as_string() != one.substr(equals + 1)) return false;
        }
        return true;
    }
    static std::string name_in(const Seen& seen, std::string_view folder) {
        const std::size_t from = seen.target.find(folder) + folder.size();
        return seen.target.substr(from, seen.target.find_first_of("/?", from) - from);
    }
    Reaction list(const Seen& seen, bool lists_jobs) {
        const std::string selector = parameter(seen, "labelSelector");
        const std::string from = parameter(seen, "continue");
        json::array items;
        std::string next;
        const auto add = [&](const std::string& name, const json::object& labels, auto make) {
            if (!fits(labels, selector) || (!from.empty() && name < from)) return;
            if (page_items > 0 && items.size() == page_items) {
                if (next.empty()) next = name;
                return;
            }
            items.push_back(make());
        };
        if (lists_jobs) {
            for (const auto& [name, job] : jobs)
                add(name, job.labels, [&] { return job_object(job); });
        } else {
            for (const auto& [name, pod] : pods)
                add(name, pod.labels, [&] { return pod_object(pod); });
        }
        json::object meta{{"resourceVersion", std::to_string(version)}};
        if (!next.empty()) meta["continue"] = next;
        return http::testing::reply(
            200, json::serialize(json::object{{"metadata", std::move(meta)}, {"items", std::move(items)}}));
    }
    Reaction watch(const Seen& seen, const std::string& resource) {
        const std::string selector = parameter(seen, "labelSelector");
        const std::string from = parameter(seen, "resourceVersion");
        const long since = from.empty() ? 0 : std::stol(from);
        std::string bytes = kChunked;
        if (since < forgotten_before) {
            const std::string line = json::serialize(json::object{
                {"type", "ERROR"}, {"object", status_of(410, "Expired", "too old resource version: " + from)}});
            return {.bytes = bytes + chunk(line + "\n") + kLastChunk};
        }
        for (const Change& change : changes_) {
            if (change.version > since && change.resource == resource && fits(change.labels, selector))
                bytes += chunk(change.line);
        }
        auto push = std::make_shared<Push>();
        watchers_.push_back({resource, selector, push});
        return {.bytes = bytes, .then = Reaction::Then::kPush, .push = push};
    }
    Reaction create(const Seen& seen) {
        const json::object body = json::parse(seen.body).as_object();
        const json::object& meta = body.at("metadata").as_object();
        const std::string name(meta.at("name").as_string());
        if (jobs.contains(name)) return refuse(409, "AlreadyExists", "jobs.batch \"" + name + "\" already exists");
        const Job& job = add_job(name, meta.at("labels").as_object(), meta.at("annotations").as_object(), body);
        const Reaction answer = http::testing::reply(201, json::serialize(job_object(job)));
        if (!makes_pods) return answer;
        later(1, [this, name, uid = job.uid] {
            const auto found = jobs.find(name);
            if (found == jobs.end() || found->second.uid != uid || found->second.deleting) return;
            const std::string pod = add_pod(found->second).name;
            later(2, [this, pod] { live(pod); });
        });
        return answer;
    }
    Reaction review(const Seen& seen) {
        const json::value body = json::parse(seen.body);
        const json::object& wanted = body.at("spec").at("resourceAttributes").as_object();
        std::string right(wanted.at("verb").as_string());
        right += " " + std::string(wanted.at("resource").as_string());
        if (wanted.contains("subresource")) right += "/" + std::string(wanted.at("subresource").as_string());
        return http::testing::reply(
            201, json::serialize(json::object{{"status", json::object{{"allowed", !denied.contains(right)}}}}));
    }
    Reaction logs(const Seen& seen) {
        const std::string name = name_in(seen, "/pods/");
        const auto found = pods.find(name);
        if (found == pods.end()) return refuse(404, "NotFound", "pods \"" + name + "\" not found");
        Pod& pod = found->second;
        if (pod.state.contains("waiting") || pod.state.empty()) {
            return refuse(400, "BadRequest",
                          "container \"executor\" in pod \"" + name + "\" is waiting to start: ContainerCreating");
        }
        const bool follows = parameter(seen, "follow") == "true";
        if (!follows || pod.terminated()) return {.bytes = kChunked + chunk(pod.log) + kLastChunk};
        auto push = std::make_shared<Push>();
        pod.readers.push_back(push);
        return {.bytes = kChunked + chunk(pod.log), .then = Reaction::Then::kPush, .push = push};
    }
    Reaction remove(const Seen& seen, bool is_job) {
        const json::value body = json::parse(seen.body);
        const std::string uid(body.at("preconditions").at("uid").as_string());
        const std::string name = name_in(seen, is_job ? "/jobs/" : "/pods/");
        if (is_job) {
            const auto found = jobs.find(name);
            if (found == jobs.end()) return refuse(404, "NotFound", "jobs.batch \"" + name + "\" not found");
            if (found->second.uid != uid) return refuse(409, "Conflict", "the UID in the precondition does not match");
            // Without a policy real ones leave the pods behind.
            remove_job(found->second, body.at("propagationPolicy").as_string() == "Foreground");
        } else {
            const auto found = pods.find(name);
            if (found == pods.end()) return refuse(404, "NotFound", "pods \"" + name + "\" not found");
            if (found->second.uid != uid) return refuse(409, "Conflict", "the UID in the precondition does not match");
            remove_pod(found->second);
        }
        return http::testing::reply(200, R"({"kind":"Status","status":"Success"})");
    }
    Reaction behave(const std::string& call, const Seen& seen) {
        if (call == "version") return http::testing::reply(200, R"({"gitVersion":"v1.35.4"})");
        if (call == "review") return review(seen);
        if (call == "list_jobs" || call == "list_pods") return list(seen, call == "list_jobs");
        if (call == "watch_jobs" || call == "watch_pods") return watch(seen, call.substr(6));
        if (call == "create_job") return create(seen);
        if (call == "logs") return logs(seen);
        if (call == "delete_job" || call == "delete_pod") return remove(seen, call == "delete_job");
        if (call == "list_events") {
            json::array items;
            for (const std::string& event : events)
                items.push_back(json::object{{"reason", "FailedCreate"}, {"message", event}, {"lastTimestamp", now()}});
            return http::testing::reply(200, json::serialize(json::object{{"items", std::move(items)}}));
        }
        const std::string name = name_in(seen, "/jobs/");
        const auto found = jobs.find(name);
        if (found == jobs.end()) return refuse(404, "NotFound", "jobs.batch \"" + name + "\" not found");
        Job& job = found->second;
        if (call == "patch_job") {
            const json::value body = json::parse(seen.body);
            for (const auto& [key, value] : body.at("metadata").at("labels").as_object())
                job.labels[key] = value;
            tell("MODIFIED", job);
        }
        return http::testing::reply(200, json::serialize(job_object(job)));
    }

    boost::asio::io_context& loop_;
    std::vector<Watcher> watchers_;
    std::vector<Change> changes_;
    std::map<std::string, int> failures_;  // of a Job's pods
    int ticks_ = 0;
    EpochMillis began_ = SystemClock().wall_now() - 100'000;
    int uids_ = 0;
    std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace wa::kubernetes::testing
