// The helper against a peer that lies: it answers, or leaves when its socket ends; it never hangs, crashes or leaks.
#include <poll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <cstring>
#include <random>

#include "process/helper_image.h"
#include "process/process_test_support.h"
#include "protocol.h"

namespace wa::testing {
namespace {

class RawHelper {
public:
    RawHelper() {
        HelperImage image;
        auto started = image.start();
        if (!started) {
            ADD_FAILURE() << started.error().describe();
            return;
        }
        process_ = std::move(*started);
    }
    ~RawHelper() {
        process_.socket.reset();
        if (process_.pid > 0) {
            EXPECT_TRUE(ends_within(12'000)) << "the helper did not leave";
            ::kill(process_.pid, SIGKILL);
            ::waitpid(process_.pid, nullptr, 0);
        }
    }
    RawHelper(const RawHelper&) = delete;
    RawHelper& operator=(const RawHelper&) = delete;

    [[nodiscard]] bool ends_within(int ms) {
        pollfd polled{process_.pidfd.get(), POLLIN, 0};
        return ::poll(&polled, 1, ms) == 1;
    }

    void send(std::string_view bytes, const std::vector<int>& fds = {}) {
        iovec part{const_cast<char*>(bytes.data()), bytes.size()};  // NOLINT: sendmsg only reads
        msghdr header{};
        header.msg_iov = &part;
        header.msg_iovlen = 1;
        std::vector<char> control(CMSG_SPACE(sizeof(int) * 64));
        if (!fds.empty()) {
            header.msg_control = control.data();
            header.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
            cmsghdr* rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
            std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
        }
        while (::sendmsg(process_.socket.get(), &header, MSG_NOSIGNAL) < 0 && errno == EAGAIN)
            drop_answers(1);
    }

    template <class Message>
    void send_message(Message message, helper::Type type, std::uint64_t id, const std::string& body = {},
                      const std::vector<int>& fds = {}) {
        const helper::Header header{helper::kMagic, static_cast<std::uint16_t>(type), 0, id};
        std::uint16_t flags = 0;
        std::memcpy(&flags, reinterpret_cast<const char*>(&message) + offsetof(helper::Header, flags), sizeof flags);
        std::string bytes(sizeof message, '\0');
        std::memcpy(bytes.data(), &message, sizeof message);
        std::memcpy(bytes.data(), &header, sizeof header);
        std::memcpy(bytes.data() + offsetof(helper::Header, flags), &flags, sizeof flags);
        send(bytes + body, fds);
    }

    std::optional<helper::AnyAnswer> receive(int ms = 3000) {
        pollfd polled{process_.socket.get(), POLLIN, 0};
        if (::poll(&polled, 1, ms) != 1) return std::nullopt;
        helper::AnyAnswer answer{};
        if (::recv(process_.socket.get(), &answer, sizeof answer, MSG_DONTWAIT) <= 0) return std::nullopt;
        return answer;
    }

    void drop_answers(int ms = 20) {
        while (receive(ms)) {
        }
    }

    void hello() {
        send_message(helper::Hello{}, helper::Type::kHello, 0);
        const auto answer = receive();
        ASSERT_TRUE(answer);
        EXPECT_EQ(static_cast<helper::Type>(answer->header.type), helper::Type::kReady);
    }

    [[nodiscard]] bool answers_a_tick() {
        drop_answers();
        send_message(helper::Header{}, helper::Type::kTick, 77);
        const auto answer = receive();
        return answer && static_cast<helper::Type>(answer->header.type) == helper::Type::kTock &&
               answer->header.id == 77;
    }

    // 0 when we may not look: the helper hides from processes of its own user.
    [[nodiscard]] std::size_t descriptors() const {
        return count_entries("/proc/" + std::to_string(process_.pid) + "/fd");
    }

private:
    HelperProcess process_;
};

helper::Step failed_step(const std::optional<helper::AnyAnswer>& answer) {
    if (!answer || static_cast<helper::Type>(answer->header.type) != helper::Type::kFailed) return helper::Step::kNone;
    return answer->failed.step;
}

TEST(HelperProtocol, LeavesWhenNobodyIsThere) {
    RawHelper helper;  // its destructor closes the socket and waits
}

TEST(HelperProtocol, RefusesWhatItDoesNotUnderstand) {
    RawHelper helper;
    helper.send("x");
    EXPECT_EQ(static_cast<helper::Type>(helper.receive().value().header.type), helper::Type::kRefused);
    helper.send(std::string(100'000, 'y'));  // longer than any packet of ours
    EXPECT_EQ(static_cast<helper::Type>(helper.receive().value().header.type), helper::Type::kRefused);
    helper.send("");
    helper.send_message(helper::Header{}, static_cast<helper::Type>(9999), 5);
    EXPECT_EQ(static_cast<helper::Type>(helper.receive().value().header.type), helper::Type::kRefused);
    // Nothing is started for someone who has not said hello.
    helper.send_message(helper::Spawn{}, helper::Type::kSpawn, 6);
    EXPECT_EQ(failed_step(helper.receive()), helper::Step::kProtocol);
    helper.hello();
    helper.send_message(helper::Hello{}, helper::Type::kHello, 7);
    EXPECT_EQ(static_cast<helper::Type>(helper.receive().value().header.type), helper::Type::kRefused);
    EXPECT_TRUE(helper.answers_a_tick());
}

TEST(HelperProtocol, RefusesSpawnsThatDoNotAddUp) {
    RawHelper helper;
    helper.hello();
    const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const Fd root = open_directory("/");
    const std::vector<int> fds{null.get(), null.get(), root.get()};
    const std::string good("/bin/true\0true\0A=1\0\0", 20);  // the last one: no path for the working directory
    const auto spawn = [&](std::uint32_t arguments, std::uint32_t variables, std::uint32_t size,
                           std::uint16_t flags = 0) {
        helper::Spawn message{};
        message.header.flags = flags;
        message.argument_count = arguments;
        message.environment_count = variables;
        message.body_size = size;
        message.limits = helper::Limits{helper::kNoLimit,
                                        helper::kNoLimit,
                                        helper::kNoLimit,
                                        helper::kNoLimit,
                                        helper::kNoLimit,
                                        helper::kNoLimit,
                                        0};
        return message;
    };
    std::uint64_t id = 0;
    const auto refused = [&](const helper::Spawn& message, const std::string& body, const std::vector<int>& with) {
        helper.send_message(message, helper::Type::kSpawn, ++id, body, with);
        return failed_step(helper.receive());
    };
    EXPECT_EQ(refused(spawn(1, 1, 20), good, {}), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 1, 20), good, {null.get()}), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 1, 19), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(2, 1, 20), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 0, 20), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(0, 2, 20), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(0xFFFFFFFF, 1, 20), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 0xFFFFFFFF, 20), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 1, 18), good.substr(0, 18), fds), helper::Step::kProtocol);  // no NUL at the end
    EXPECT_EQ(refused(spawn(1, 1, 0), "", fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 1, 15), std::string("bin/x\0true\0A=\0\0", 15), fds), helper::Step::kProtocol);
    EXPECT_EQ(
        refused(spawn(1, 1, 0xFFFFFFFF, helper::kBodyInMemfd), "", {null.get(), null.get(), root.get(), null.get()}),
        helper::Step::kProtocol);
    // A body that would keep it waiting: a pipe instead of a file.
    int pipe[2];
    ASSERT_EQ(::pipe2(pipe, O_CLOEXEC), 0);
    EXPECT_EQ(refused(spawn(1, 1, 20, helper::kBodyInMemfd), "", {null.get(), null.get(), root.get(), pipe[0]}),
              helper::Step::kBody);
    ::close(pipe[0]);
    ::close(pipe[1]);
    EXPECT_EQ(refused(spawn(1, 1, 20), good, {null.get(), null.get(), null.get()}), helper::Step::kDirectory);
    // Layers that were not probed, some of the namespaces only, secrets without a place for them, a path that climbs.
    const auto with = [&](auto change) {
        helper::Spawn message = spawn(1, 1, 20);
        change(message.sandbox);
        return message;
    };
    EXPECT_EQ(refused(with([](auto& wish) { wish.layers = helper::kLayerSeccomp; }), good, fds),
              helper::Step::kProtocol);
    EXPECT_EQ(refused(with([](auto& wish) { wish.layers = helper::kLayerMount; }), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(with([](auto& wish) { wish.secret_count = 1; }), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(with([](auto& wish) { wish.read_only_count = 0xFFFFFFFF; }), good, fds), helper::Step::kProtocol);
    EXPECT_EQ(refused(with([](auto& wish) { wish.hidden_count = helper::kMaxPaths + 1; }), good, fds),
              helper::Step::kProtocol);
    EXPECT_EQ(refused(spawn(1, 1, 27), std::string("/bin/true\0true\0A=1\0/a/../b\0", 27), fds),
              helper::Step::kProtocol);
    // And one that does add up.
    helper.send_message(spawn(1, 1, 20), helper::Type::kSpawn, ++id, good, fds);
    EXPECT_EQ(static_cast<helper::Type>(helper.receive().value().header.type), helper::Type::kStarted);
    const auto exited = helper.receive();
    ASSERT_TRUE(exited);
    EXPECT_EQ(exited->exited.wait_status, 0);
    EXPECT_TRUE(helper.answers_a_tick());
}

TEST(HelperProtocol, NoiseNeitherKillsNorLeaks) {
    RawHelper helper;
    helper.hello();
    const std::size_t before = helper.descriptors();
    std::mt19937_64 random(20240229);
    const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    for (int round = 0; round < 3000; ++round) {
        std::string bytes(random() % 300, '\0');
        for (char& byte : bytes)
            byte = static_cast<char>(random());
        if (bytes.size() >= sizeof(helper::Header) && round % 4 != 0) {
            // Right magic and a real type, except the one that ends it.
            const helper::Type types[] = {helper::Type::kHello, helper::Type::kSpawn, helper::Type::kKill,
                                          helper::Type::kTick};
            const helper::Header header{helper::kMagic, static_cast<std::uint16_t>(types[random() % 4]),
                                        static_cast<std::uint16_t>(random() % 4), random() % 8};
            std::memcpy(bytes.data(), &header, sizeof header);
        }
        const std::vector<int> fds(random() % 9, null.get());
        helper.send(bytes, fds);
        if (round % 50 == 0) helper.drop_answers(0);
    }
    EXPECT_TRUE(helper.answers_a_tick());
    EXPECT_EQ(helper.descriptors(), before);
}

TEST(HelperProtocol, AReaderThatDoesNotReadIsWaitedForWithoutBlocking) {
    RawHelper helper;
    helper.hello();
    const Fd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
    const Fd root = open_directory("/");
    const std::string body(
        "/bin/sleep\0sleep\0"
        "1000\0",
        22);
    helper::Spawn message{};
    message.argument_count = 2;
    message.body_size = static_cast<std::uint32_t>(body.size());
    message.limits = helper::Limits{
        helper::kNoLimit, helper::kNoLimit, helper::kNoLimit, helper::kNoLimit, helper::kNoLimit, helper::kNoLimit, 0};
    helper.send_message(message, helper::Type::kSpawn, 1, body, {null.get(), null.get(), root.get()});
    // Ticks ask for more answers than the socket holds; nobody takes them.
    for (int index = 0; index < 2000; ++index)
        helper.send_message(helper::Header{}, helper::Type::kTick, 9);
    // The socket ends, the task must go (the destructor waits for the helper).
}

}  // namespace
}  // namespace wa::testing
