// Many calls at a time over the worker's own client, beside bare libcurl. One JSON object on stdout.
//
//   http_bench ours|bare polls|streams COUNT SECONDS
//
//   ours     Poller and ServiceCaller on the client (one thread, as in the worker)
//   bare     curl_multi_poll() with as many easy handles, and nothing else
//   polls    COUNT questions, each asked anew INTERVAL after its answer; latency: from the question to the answer read
//   streams  COUNT answers that get a line each INTERVAL; latency: from when the server wrote it until it was read
//
// The server is a process of its own (http_bench serve), so processor time and memory are the client's alone. Peak is
// the highest resident memory above what was there before the first call.
#include <curl/curl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "http_client/poller.h"

extern char** environ;

namespace {

namespace asio = boost::asio;
using tcp = asio::ip::tcp;
using std::chrono::milliseconds;

constexpr milliseconds kInterval{500};

[[noreturn]] void give_up(const std::string& message) {
    std::fprintf(stderr, "http_bench: %s\n", message.c_str());
    std::exit(1);
}

std::int64_t now_ns(clockid_t clock = CLOCK_MONOTONIC) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

std::size_t status_kib(std::string_view key) {
    std::ifstream in("/proc/self/status");
    for (std::string line; std::getline(in, line);)
        if (line.starts_with(key)) return std::strtoull(line.c_str() + key.size() + 1, nullptr, 10);
    give_up("no such line in /proc/self/status");
}

// ------------------------------------------------------------ the server

struct Connection : std::enable_shared_from_this<Connection> {
    explicit Connection(tcp::socket from) : socket(std::move(from)), timer(socket.get_executor()) {}
    void read() {
        asio::async_read_until(socket, asio::dynamic_buffer(input), "\r\n\r\n",
                               [self = shared_from_this()](const auto& error, std::size_t size) {
                                   if (error) return;
                                   const bool stream = self->input.starts_with("GET /stream");
                                   self->input.erase(0, size);
                                   self->write(
                                       stream ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                                              : "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"status\":\"running\"}",
                                       stream);
                               });
    }
    void write(std::string text, bool stream) {
        output = std::move(text);
        asio::async_write(socket, asio::buffer(output),
                          [self = shared_from_this(), stream](const auto& error, std::size_t) {
                              if (error) return;
                              stream ? self->line_later() : self->read();
                          });
    }
    void line_later() {
        timer.expires_after(kInterval);
        timer.async_wait([self = shared_from_this()](const auto& error) {
            if (error) return;
            std::array<char, 64> chunk{};
            std::snprintf(chunk.data(), chunk.size(), "15\r\n%020lld\n\r\n", static_cast<long long>(now_ns()));
            self->write(chunk.data(), true);
        });
    }
    tcp::socket socket;
    asio::steady_timer timer;
    std::string input;
    std::string output;
};

void accept(tcp::acceptor& acceptor) {
    acceptor.async_accept([&acceptor](const auto& error, tcp::socket socket) {
        if (!error) std::make_shared<Connection>(std::move(socket))->read();
        accept(acceptor);
    });
}

// Until its standard input ends.
int serve() {
    asio::io_context loop;
    tcp::acceptor acceptor(loop, {asio::ip::address_v4::loopback(), 0});
    acceptor.listen(4096);
    accept(acceptor);
    std::printf("%u\n", static_cast<unsigned>(acceptor.local_endpoint().port()));
    std::fflush(stdout);
    asio::steady_timer look(loop);
    std::function<void()> watch = [&] {
        look.expires_after(milliseconds(200));
        look.async_wait([&](const auto&) { ::getppid() == 1 ? loop.stop() : watch(); });
    };
    watch();
    loop.run();
    return 0;
}

class Server {
public:
    Server() {
        std::array<int, 2> out{};
        if (::pipe(out.data()) != 0) give_up("no pipe");
        posix_spawn_file_actions_t actions{};
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_adddup2(&actions, out[1], 1);
        posix_spawn_file_actions_addclose(&actions, out[0]);
        std::string program = "/proc/self/exe";
        std::string word = "serve";
        std::array<char*, 3> arguments{program.data(), word.data(), nullptr};
        if (::posix_spawn(&pid_, program.c_str(), &actions, nullptr, arguments.data(), environ) != 0)
            give_up("the server did not start");
        posix_spawn_file_actions_destroy(&actions);
        ::close(out[1]);
        std::array<char, 16> port{};
        if (::read(out[0], port.data(), port.size() - 1) <= 0) give_up("the server has no port");
        ::close(out[0]);
        port_ = std::atoi(port.data());
    }
    ~Server() {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    [[nodiscard]] std::string url(const std::string& path) const {
        return "http://127.0.0.1:" + std::to_string(port_) + path;
    }

private:
    pid_t pid_ = 0;
    int port_ = 0;
};

// ------------------------------------------------------------ what is counted

struct Counted {
    std::vector<double> latencies_ms;
    std::int64_t begun_ns = 0;
    std::int64_t warm_ns = 0;  // from here on it counts: all connections are there
    std::int64_t cpu_ns = 0;
    std::size_t before_kib = 0;

    void begin(double seconds) {
        latencies_ms.reserve(200'000);
        std::ofstream("/proc/self/clear_refs") << "5";
        before_kib = status_kib("VmRSS:");
        begun_ns = now_ns();
        warm_ns = begun_ns + 2'000'000'000;
        end_ns = warm_ns + static_cast<std::int64_t>(seconds * 1e9);
    }
    // One event, that began at `from`.
    void add(std::int64_t from) {
        const std::int64_t now = now_ns();
        if (now < warm_ns) return;
        if (cpu_ns == 0) cpu_ns = now_ns(CLOCK_PROCESS_CPUTIME_ID);
        latencies_ms.push_back(static_cast<double>(now - from) * 1e-6);
    }
    void add_lines(std::string_view lines) {
        for (std::size_t end = lines.find('\n'); end != std::string_view::npos; end = lines.find('\n')) {
            add(std::strtoll(std::string(lines.substr(0, end)).c_str(), nullptr, 10));
            lines.remove_prefix(end + 1);
        }
    }
    [[nodiscard]] bool over() const { return now_ns() >= end_ns; }
    void say() {
        const double cpu = static_cast<double>(now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu_ns) * 1e-6;
        const std::size_t peak = status_kib("VmHWM:");
        if (latencies_ms.empty()) give_up("nothing happened");
        std::sort(latencies_ms.begin(), latencies_ms.end());
        const auto at = [&](double share) {
            return latencies_ms[static_cast<std::size_t>(static_cast<double>(latencies_ms.size() - 1) * share)];
        };
        std::printf("{\"events\":%zu,\"cpu_us_each\":%.2f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"peak_kib\":%zu}\n",
                    latencies_ms.size(), cpu * 1000 / static_cast<double>(latencies_ms.size()), at(0.5), at(0.99),
                    peak > before_kib ? peak - before_kib : 0);
    }
    std::int64_t end_ns = 0;
};

// ------------------------------------------------------------ ours

void ours(const Server& server, bool polls, std::size_t count, Counted& counted, double seconds) {
    using namespace wa::http;
    const wa::SystemClock clock;
    wa::SeededRandom random(1);
    asio::io_context loop;
    ClientOptions options;
    options.idle_connections = options.connections = 4096;
    Client client(loop, clock, options);
    ServicePolicy policy;
    policy.calls = policy.streams = policy.queue = 4096;
    ServiceCaller caller(loop, clock, random, client, policy);
    Poller poller(loop, clock, random, caller);
    std::vector<std::int64_t> asked(count);
    std::vector<PollHandle> handles;
    std::vector<ServiceHandle> streams;
    counted.begin(seconds);
    for (std::size_t i = 0; i < count; ++i) {
        if (polls) {
            PollSpec spec;
            spec.policy.interval = spec.policy.longest = kInterval;
            spec.policy.first_after = kInterval * static_cast<int>(i) / static_cast<int>(count);
            spec.policy.jitter = 0;
            spec.ask = [&server, &asked, i] {
                asked[i] = now_ns();
                return ServiceCall{.request = {.url = server.url("/poll")}};
            };
            handles.push_back(poller.poll<int>(
                std::move(spec),
                [&counted, &asked, i](const Response&) {
                    counted.add(asked[i]);
                    return PollReading<int>::running();
                },
                [](const PollOutcome<int>& outcome) {
                    give_up("a poll ended: " + outcome.result.error().describe());
                }));
        } else {
            ServiceCall call{.request = {.url = server.url("/stream"), .timeout = wa::Duration::zero()}};
            call.reader.emplace();
            call.reader->chunk = [&counted](std::string_view bytes) {
                counted.add_lines(bytes);
                return true;
            };
            streams.push_back(caller.call(std::move(call), [](const ServiceAnswer&) { give_up("a stream ended"); }));
        }
    }
    while (!counted.over())
        loop.run_for(milliseconds(50));
    counted.say();
}

// ------------------------------------------------------------ bare libcurl

struct Easy {
    CURL* handle = nullptr;
    std::int64_t asked = 0;
    std::int64_t due = 0;
    Counted* counted = nullptr;
    bool stream = false;
};

std::size_t take(char* bytes, std::size_t size, std::size_t number, void* self) {
    const auto& easy = *static_cast<Easy*>(self);
    if (easy.stream) easy.counted->add_lines({bytes, size * number});
    return size * number;
}

void bare(const Server& server, bool polls, std::size_t count, Counted& counted, double seconds) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
    CURLM* const multi = curl_multi_init();
    curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, 4096L);
    std::vector<Easy> all(count);
    std::deque<Easy*> waiting;  // in the order in which they are due
    counted.begin(seconds);
    for (std::size_t i = 0; i < count; ++i) {
        Easy& easy = all[i];
        easy.counted = &counted;
        easy.stream = !polls;
        easy.handle = curl_easy_init();
        curl_easy_setopt(easy.handle, CURLOPT_URL, server.url(polls ? "/poll" : "/stream").c_str());
        curl_easy_setopt(easy.handle, CURLOPT_PRIVATE, &easy);
        curl_easy_setopt(easy.handle, CURLOPT_WRITEFUNCTION, &take);
        curl_easy_setopt(easy.handle, CURLOPT_WRITEDATA, &easy);
        curl_easy_setopt(easy.handle, CURLOPT_NOSIGNAL, 1L);
        easy.due =
            now_ns() + (polls ? kInterval.count() * 1'000'000 * static_cast<long>(i) / static_cast<long>(count) : 0);
        waiting.push_back(&easy);
    }
    while (!counted.over()) {
        const std::int64_t now = now_ns();
        for (; !waiting.empty() && waiting.front()->due <= now; waiting.pop_front()) {
            waiting.front()->asked = now_ns();
            curl_multi_add_handle(multi, waiting.front()->handle);
        }
        int running = 0;
        curl_multi_perform(multi, &running);
        int left = 0;
        while (const CURLMsg* message = curl_multi_info_read(multi, &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            if (message->data.result != CURLE_OK || !polls) give_up(curl_easy_strerror(message->data.result));
            Easy* easy = nullptr;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &easy);
            curl_multi_remove_handle(multi, easy->handle);
            counted.add(easy->asked);
            easy->due = now_ns() + kInterval.count() * 1'000'000;
            waiting.push_back(easy);
        }
        const std::int64_t until = waiting.empty() ? counted.end_ns : std::min(counted.end_ns, waiting.front()->due);
        const auto pause = static_cast<int>(std::max<std::int64_t>(0, until - now_ns()) / 1'000'000);
        curl_multi_poll(multi, nullptr, 0, pause, nullptr);
    }
    counted.say();
    for (const Easy& easy : all) {
        curl_multi_remove_handle(multi, easy.handle);
        curl_easy_cleanup(easy.handle);
    }
    curl_multi_cleanup(multi);
    curl_global_cleanup();
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string_view> words(argv + 1, argv + argc);
    if (words.size() == 1 && words[0] == "serve") return serve();
    const bool fine = words.size() == 4 && (words[0] == "ours" || words[0] == "bare") &&
                      (words[1] == "polls" || words[1] == "streams");
    if (!fine) give_up("usage: http_bench ours|bare polls|streams COUNT SECONDS");
    const std::size_t count = std::strtoull(argv[3], nullptr, 10);
    const double seconds = std::strtod(argv[4], nullptr);
    if (count == 0 || count > 4000 || seconds <= 0) give_up("COUNT: 1 to 4000; SECONDS: more than 0");
    ::signal(SIGPIPE, SIG_IGN);
    const Server server;
    Counted counted;
    (words[0] == "ours" ? ours : bare)(server, words[1] == "polls", count, counted, seconds);
    return 0;
}
