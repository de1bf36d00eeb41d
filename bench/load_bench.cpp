// Puts load on a running worker over HTTP and prints one JSON object of measured figures. scripts/run-bench starts the
// worker and calls it.
//
//   load_bench --port N --token FILE singles COUNT CONNECTIONS   tickets one by one
//   load_bench --port N --token FILE plans   COUNT PLAN_SIZE     the same in plans, one connection
//   load_bench --port N --token FILE start   COUNT [PROGRAM]     submit -> start, one ticket at a time
//   load_bench --port N --token FILE chain   COUNT [PROGRAM]     dependency done -> dependant started, one chain
//   load_bench --port N --token FILE wave    COUNT PROGRAM       COUNT tickets at once, waits for their end
//
// Without PROGRAM the tickets are no-ops (runtime "simulation", which runs nothing and, told to, takes no time). With
// it they are local processes of a program that prints the wall clock in nanoseconds when its main() begins.
#include <poll.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/random.h"
#include "http_load.h"

namespace {

namespace json = boost::json;
using wa::bench::give_up;
using wa::bench::HttpLoad;
using wa::bench::now_ms;
using wa::bench::Reply;

struct Options {
    std::uint16_t port = 0;
    std::string token;
    std::string what;
    std::size_t count = 0;
    std::string extra;
};

void pause_ms(double wanted) {
    timespec time{};
    time.tv_sec = static_cast<time_t>(wanted / 1000);
    time.tv_nsec = static_cast<long>((wanted - static_cast<double>(time.tv_sec) * 1000) * 1e6);
    ::ppoll(nullptr, 0, &time, nullptr);
}

json::value parsed(const Reply& reply) {
    boost::system::error_code error;
    json::value out = json::parse(reply.body, error);
    if (error) give_up("the worker answered what is no JSON");
    return out;
}

std::int64_t whole(const json::value& value) {
    return value.is_int64() ? value.get_int64() : static_cast<std::int64_t>(value.as_uint64());
}

std::string ticket_body(const std::string& id, const std::string& plan, std::size_t number,
                        const std::string& dependency, const std::string& program) {
    json::object parameters;
    if (program.empty()) {
        parameters = {{"command", "true"}, {"runtime", "simulation"}, {"simulated_duration_ms", 0}};
    } else {
        parameters = {{"command", program}, {"runtime", "local"}};
    }
    json::array dependencies;
    if (!dependency.empty()) dependencies.emplace_back(dependency);
    const json::object ticket{{"ticket_id", id},
                              {"plan_id", plan},
                              {"intent_id", "bench"},
                              {"decision_id", "bench"},
                              {"task_id", "task-" + std::to_string(number)},
                              {"task_type", "EXECUTE"},
                              {"description", "a no-op"},
                              {"dependencies", std::move(dependencies)},
                              {"status", "PENDING"},
                              {"sla", {{"deadline", nullptr}, {"timeout_ms", 60000}, {"max_retries", 0}}},
                              {"parameters", std::move(parameters)}};
    return json::serialize(ticket);
}

class Bench {
public:
    explicit Bench(Options options)
        : options_(std::move(options)), random_(static_cast<std::uint64_t>(wa::bench::wall_ns())) {}

    json::object run() {
        if (options_.what == "singles") return singles();
        if (options_.what == "plans") return plans();
        if (options_.what == "start") return start();
        if (options_.what == "chain") return chain();
        if (options_.what == "wave") return wave();
        give_up("unknown: " + options_.what);
    }

private:
    [[nodiscard]] std::size_t extra_number() const {
        const std::size_t number = std::strtoul(options_.extra.c_str(), nullptr, 10);
        if (number == 0) give_up(options_.what + " needs a second number");
        return number;
    }

    HttpLoad connect(std::size_t connections) { return HttpLoad(options_.port, options_.token, connections); }

    // {completed, failed} since the worker's start: counted when an ending is durable.
    static std::pair<std::int64_t, std::int64_t> endings(HttpLoad& http) {
        const json::value status = parsed(http.one(http.request("GET", "/api/v1/status")));
        const json::object& totals = status.at("totals").as_object();
        return {whole(totals.at("completed")), whole(totals.at("failed"))};
    }

    static double wait_for(HttpLoad& http, std::int64_t completed, double every_ms) {
        const double until = now_ms() + 60'000;
        while (true) {
            const auto [done, failed] = endings(http);
            if (failed > 0) give_up("a ticket failed");
            if (done >= completed) return now_ms();
            if (now_ms() > until) give_up("tickets did not end: " + std::to_string(completed - done) + " are left");
            pause_ms(every_ms);
        }
    }

    static void must_be(const Reply& reply, int status) {
        if (reply.status == status) return;
        give_up("answer " + std::to_string(reply.status) + ": " + reply.body.substr(0, 500));
    }

    json::object throughput(const std::vector<std::string>& bodies, const char* path, std::size_t connections) {
        HttpLoad http = connect(connections);
        HttpLoad asking = connect(1);
        std::vector<std::string> requests;
        requests.reserve(bodies.size());
        for (const std::string& body : bodies)
            requests.push_back(http.request("POST", path, body));
        const std::int64_t before = endings(asking).first;
        const double began = now_ms();
        http.run(requests, [](std::size_t, Reply& reply) { must_be(reply, 201); });
        const double accepted = now_ms();
        const double ended = wait_for(asking, before + static_cast<std::int64_t>(options_.count), 4);
        const auto count = static_cast<double>(options_.count);
        return {{"accepted_per_s", count / (accepted - began) * 1000},
                {"durable_per_s", count / (ended - began) * 1000}};
    }

    json::object singles() {
        std::vector<std::string> bodies;
        for (std::size_t n = 0; n < options_.count; ++n)
            bodies.push_back(ticket_body(uuid(), uuid(), n, {}, {}));
        return throughput(bodies, "/api/v1/tickets", extra_number());
    }

    json::object plans() {
        const std::size_t size = extra_number();
        std::vector<std::string> bodies;
        for (std::size_t done = 0; done < options_.count; done += size) {
            const std::string plan = uuid();
            std::string body = R"({"tickets":[)";
            for (std::size_t n = 0; n < size; ++n)
                body += (n == 0 ? "" : ",") + ticket_body(uuid(), plan, n, {}, {});
            bodies.push_back(body + "]}");
        }
        return throughput(bodies, "/api/v1/plans", 1);
    }

    // When the ticket was first `to`, in milliseconds. The history knows whole milliseconds: the middle is taken.
    static double moved_at(HttpLoad& http, const std::string& id, std::string_view to) {
        const json::value history = parsed(http.one(http.request("GET", "/api/v1/tickets/" + id + "/history")));
        for (const json::value& line : history.at("history").as_array()) {
            if (line.at("to").is_string() && line.at("to").as_string() == to)
                return static_cast<double>(whole(line.at("at"))) + 0.5;
        }
        give_up("the history of " + id + " does not say when it was " + std::string(to));
    }

    // When the process of this ticket was in main(), by its own clock.
    static double stamp_of(HttpLoad& http, const std::string& id) {
        const json::value ticket = parsed(http.one(http.request("GET", "/api/v1/tickets/" + id)));
        const json::value& text = ticket.at("result").at("result").at("output").at("stdout");
        return static_cast<double>(std::strtoll(text.as_string().c_str(), nullptr, 10)) / 1e6;
    }

    double started_at(HttpLoad& http, const std::string& id) const {
        return options_.extra.empty() ? moved_at(http, id, "running") : stamp_of(http, id);
    }

    json::object start() {
        HttpLoad http = connect(1);
        std::vector<std::pair<std::string, double>> sent;
        json::array answers;
        const std::int64_t before = endings(http).first;
        for (std::size_t n = 0; n < options_.count; ++n) {
            const std::string id = uuid();
            const Reply reply =
                http.one(http.request("POST", "/api/v1/tickets", ticket_body(id, uuid(), n, {}, options_.extra)));
            must_be(reply, 201);
            sent.emplace_back(id, static_cast<double>(reply.sent_ns) / 1e6);
            answers.emplace_back(reply.took_ms);
            // Not in step with anything of the worker's.
            pause_ms(1.0 + random_.unit() * 3.0);
            wait_for(http, before + static_cast<std::int64_t>(n) + 1, 1);
        }
        json::array waits;
        for (const auto& [id, at] : sent)
            waits.emplace_back(started_at(http, id) - at);
        return {{"ms", std::move(waits)}, {"answer_ms", std::move(answers)}};
    }

    json::object chain() {
        HttpLoad http = connect(1);
        const std::string plan = uuid();
        std::vector<std::string> ids;
        std::string body = R"({"tickets":[)";
        for (std::size_t n = 0; n <= options_.count; ++n) {
            const std::string id = uuid();
            body += (n == 0 ? "" : ",") + ticket_body(id, plan, n, n == 0 ? std::string() : ids.back(), options_.extra);
            ids.push_back(id);
        }
        const std::int64_t before = endings(http).first;
        must_be(http.one(http.request("POST", "/api/v1/plans", body + "]}")), 201);
        wait_for(http, before + static_cast<std::int64_t>(ids.size()), 20);
        json::array waits;
        double done = 0;
        for (std::size_t n = 0; n < ids.size(); ++n) {
            // The engine's own decision that the attempt is over, to the dependant's start.
            if (n > 0) waits.emplace_back(started_at(http, ids[n]) - done);
            done = moved_at(http, ids[n], "reporting");
        }
        return {{"ms", std::move(waits)}};
    }

    json::object wave() {
        HttpLoad http = connect(8);
        std::vector<std::string> requests;
        for (std::size_t n = 0; n < options_.count; ++n)
            requests.push_back(
                http.request("POST", "/api/v1/tickets", ticket_body(uuid(), uuid(), n, {}, options_.extra)));
        const std::int64_t before = endings(http).first;
        const double began = now_ms();
        http.run(requests, [](std::size_t, Reply& reply) { must_be(reply, 201); });
        const double ended = wait_for(http, before + static_cast<std::int64_t>(options_.count), 50);
        return {{"took_ms", ended - began}};
    }

    std::string uuid() { return wa::uuid4(random_); }

    Options options_;
    wa::SeededRandom random_;
};

Options read_options(int argc, char** argv) {
    Options options;
    std::vector<std::string> words;
    for (int n = 1; n < argc; ++n) {
        const std::string word = argv[n];
        if (word == "--port" && n + 1 < argc) {
            options.port = static_cast<std::uint16_t>(std::atoi(argv[++n]));
        } else if (word == "--token" && n + 1 < argc) {
            std::ifstream file(argv[++n]);
            file >> options.token;
        } else {
            words.push_back(word);
        }
    }
    if (words.size() < 2 || options.port == 0 || options.token.empty()) {
        give_up(
            "usage: load_bench --port N --token FILE singles|plans|start|chain|wave COUNT [CONNECTIONS|SIZE|PROGRAM]");
    }
    options.what = words[0];
    options.count = std::max(1UL, std::strtoul(words[1].c_str(), nullptr, 10));
    if (words.size() > 2) options.extra = words[2];
    return options;
}

}  // namespace

int main(int argc, char** argv) {
    Bench bench(read_options(argc, argv));
    std::printf("%s\n", json::serialize(bench.run()).c_str());
    return 0;
}
