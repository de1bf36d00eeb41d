// For tests only: a real redis-server on a free loopback port, ended with the test.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace wa::redis::testing {

inline constexpr const char* kProgram = "/usr/bin/redis-server";

class RedisServer {
public:
    explicit RedisServer(std::vector<std::string> arguments = {}) : arguments_(std::move(arguments)) {
        port_ = free_port();
        start();
    }
    ~RedisServer() { stop(); }
    RedisServer(const RedisServer&) = delete;
    RedisServer& operator=(const RedisServer&) = delete;

    [[nodiscard]] static bool installed() { return ::access(kProgram, X_OK) == 0; }
    [[nodiscard]] std::uint16_t port() const { return port_; }

    // Empty again: nothing is saved.
    bool start() {
        std::vector<std::string> words{
            kProgram, "--port", std::to_string(port_), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no",
            "--dir",  "/tmp",   "--loglevel",          "warning"};
        words.insert(words.end(), arguments_.begin(), arguments_.end());
        std::vector<char*> argv;
        for (std::string& word : words)
            argv.push_back(word.data());
        argv.push_back(nullptr);
        const pid_t parent = ::getpid();
        pid_ = ::fork();
        if (pid_ == 0) {
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (::getppid() != parent) ::_exit(1);
            const int nothing = ::open("/dev/null", O_RDWR);
            ::dup2(nothing, 1);
            ::execv(kProgram, argv.data());
            ::_exit(127);
        }
        for (int i = 0; i < 500; ++i) {
            if (is_listening()) return true;
            std::this_thread::sleep_for(std::chrono::milliseconds(10));
        }
        return false;
    }
    void stop() {
        if (pid_ <= 0) return;
        ::kill(pid_, SIGKILL);
        ::waitpid(std::exchange(pid_, -1), nullptr, 0);
    }
    void freeze() const { ::kill(pid_, SIGSTOP); }
    void thaw() const { ::kill(pid_, SIGCONT); }

    // One command of the test's own; the reply as text ("(nil)", a number, or the text itself).
    std::string ask(const std::vector<std::string>& words, const std::string& password = {}) const {
        redisContext* const context = ::redisConnect("127.0.0.1", port_);
        std::string answer = "(no connection)";
        if (context != nullptr && context->err == 0) {
            if (!password.empty()) static_cast<void>(run(context, {"AUTH", password}));
            answer = run(context, words);
        }
        if (context != nullptr) ::redisFree(context);
        return answer;
    }

private:
    static std::string run(redisContext* context, const std::vector<std::string>& words) {
        std::vector<const char*> texts;
        std::vector<std::size_t> sizes;
        for (const std::string& word : words) {
            texts.push_back(word.data());
            sizes.push_back(word.size());
        }
        auto* const reply = static_cast<redisReply*>(
            ::redisCommandArgv(context, static_cast<int>(texts.size()), texts.data(), sizes.data()));
        if (reply == nullptr) return "(no reply)";
        std::string answer = "(nil)";
        if (reply->type == REDIS_REPLY_INTEGER) answer = std::to_string(reply->integer);
        if (reply->str != nullptr) answer.assign(reply->str, reply->len);
        ::freeReplyObject(reply);
        return answer;
    }
    static std::uint16_t free_port() {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof address;
        if (::bind(fd, reinterpret_cast<sockaddr*>(&address), size) != 0) std::abort();
        ::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
        ::close(fd);
        return ntohs(address.sin_port);
    }
    [[nodiscard]] bool is_listening() const {
        const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in address{};
        address.sin_family = AF_INET;
        address.sin_port = htons(port_);
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        const bool yes = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
        ::close(fd);
        return yes;
    }

    std::vector<std::string> arguments_;
    std::uint16_t port_ = 0;
    pid_t pid_ = -1;
};

}  // namespace wa::redis::testing
