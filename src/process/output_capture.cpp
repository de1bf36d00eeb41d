#include "process/output_capture.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/error.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cerrno>
#include <cstring>
#include <utility>

namespace wa {
namespace {

namespace asio = boost::asio;
using boost::system::error_code;

// How long one attempt may be read slowly because its log lags, all together, and each pause.
constexpr Duration kSlowReadingBudget = std::chrono::seconds(2);
constexpr Duration kSlowReadingPause = std::chrono::milliseconds(5);

}  // namespace

Result<OutputPipes> make_output_pipes() {
    const auto fail_with = [](int error) {
        return Failure(make_error(ErrorCode::kUnavailable, Retry::kAfterBackoff, Fault::kWorker, "local",
                                  std::string("cannot make a pipe: ") + std::strerror(error)));
    };
    OutputPipes pipes;
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_with(errno);
    pipes.out_read = Fd(ends[0]);
    pipes.out_write = Fd(ends[1]);
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return fail_with(errno);
    pipes.err_read = Fd(ends[0]);
    pipes.err_write = Fd(ends[1]);
    for (const int fd : {pipes.out_read.get(), pipes.err_read.get()}) {
        if (::fcntl(fd, F_SETFL, O_NONBLOCK) != 0) return fail_with(errno);
    }
    return pipes;
}

class OutputCapture::Core : public std::enable_shared_from_this<OutputCapture::Core> {
public:
    Core(asio::io_context& loop, Fd out, Fd err, OutputFilter filter, OutputSink sink, std::shared_ptr<char[]> scratch)
        : timer_(loop),
          filter_(std::move(filter)),
          sink_(std::move(sink)),
          scratch_(std::move(scratch)),
          pipes_{Pipe(loop, std::move(out)), Pipe(loop, std::move(err))} {}

    void begin() {
        for (std::size_t index = 0; index < pipes_.size(); ++index)
            wait(index);
    }

    void finish(Duration limit, std::function<void()> done) {
        done_ = std::move(done);
        finishing_ = true;
        for (std::size_t index = 0; index < pipes_.size(); ++index)
            drain_now(index);
        if (all_ended()) return complete();
        timer_.expires_after(limit);
        timer_.async_wait([self = shared_from_this()](error_code error) {
            if (!error) self->complete();
        });
    }

    void close() {
        done_ = nullptr;
        sink_ = nullptr;
        filter_ = nullptr;
        stop();
    }

    KeptOutput& kept(OutputStream stream) { return pipes_[static_cast<std::size_t>(stream)].kept; }

private:
    struct Pipe {
        Pipe(asio::io_context& loop, Fd fd) : descriptor(loop, fd.release()), pause(loop) {}
        asio::posix::stream_descriptor descriptor;
        asio::steady_timer pause;
        KeptOutput kept;
        bool ended = false;
    };

    void wait(std::size_t index) {
        pipes_[index].descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                            [self = shared_from_this(), index](error_code error) {
                                                if (!error) self->readable(index);
                                            });
    }

    void readable(std::size_t index) {
        if (pipes_[index].ended || stopped_) return;
        // One bite per turn: others on the loop come in between, and a flooding task waits in its full pipe.
        bool in_time = true;
        read_some(index, in_time);
        if (pipes_[index].ended) {
            if (finishing_ && all_ended()) complete();
            return;
        }
        if (in_time || slowed_ >= kSlowReadingBudget || finishing_) return wait(index);
        slowed_ += kSlowReadingPause;
        pipes_[index].pause.expires_after(kSlowReadingPause);
        pipes_[index].pause.async_wait([self = shared_from_this(), index](error_code error) {
            if (!error && !self->stopped_) self->wait(index);
        });
    }

    // True when there may be more.
    bool read_some(std::size_t index, bool& in_time) {
        Pipe& pipe = pipes_[index];
        const ssize_t got = ::read(pipe.descriptor.native_handle(), scratch_.get(), kReadBytes);
        if (got > 0) {
            in_time = take(index, std::string_view(scratch_.get(), static_cast<std::size_t>(got)));
            return true;
        }
        if (got < 0 && (errno == EINTR || errno == EAGAIN)) return errno == EINTR;
        pipe.ended = true;  // end of file, or an error that says as much
        error_code ignored;
        pipe.descriptor.close(ignored);
        return false;
    }

    bool take(std::size_t index, std::string_view bytes) {
        const auto stream = static_cast<OutputStream>(index);
        std::string filtered;
        if (filter_) bytes = filtered = filter_(stream, bytes);
        pipes_[index].kept.append(bytes);
        return bytes.empty() || !sink_ || sink_(stream, bytes);
    }

    // What a dead process wrote is in the pipe already. Bounded: a stranger may still be filling it.
    void drain_now(std::size_t index) {
        constexpr int kMostBites = 32;
        bool in_time = true;
        for (int bite = 0; bite < kMostBites && !pipes_[index].ended; ++bite) {
            if (!read_some(index, in_time)) break;
        }
    }

    [[nodiscard]] bool all_ended() const {
        return std::all_of(pipes_.begin(), pipes_.end(), [](const Pipe& pipe) { return pipe.ended; });
    }

    void complete() {
        if (stopped_) return;
        stop();
        if (filter_) {
            for (std::size_t index = 0; index < pipes_.size(); ++index)
                take(index, {});
        }
        if (done_) {
            asio::post(timer_.get_executor(), [self = shared_from_this()] {
                if (auto done = std::exchange(self->done_, nullptr)) done();
            });
        }
    }

    void stop() {
        stopped_ = true;
        timer_.cancel();
        for (Pipe& pipe : pipes_) {
            pipe.pause.cancel();
            error_code ignored;
            pipe.descriptor.close(ignored);
        }
    }

    asio::steady_timer timer_;
    OutputFilter filter_;
    OutputSink sink_;
    std::shared_ptr<char[]> scratch_;
    std::array<Pipe, 2> pipes_;
    std::function<void()> done_;
    Duration slowed_{};
    bool finishing_ = false;
    bool stopped_ = false;
};

OutputCapture::OutputCapture(asio::io_context& loop, Fd out, Fd err, OutputFilter filter, OutputSink sink,
                             std::shared_ptr<char[]> scratch)
    : core_(std::make_shared<Core>(loop, std::move(out), std::move(err), std::move(filter), std::move(sink),
                                   std::move(scratch))) {
    core_->begin();
}

OutputCapture::~OutputCapture() {
    core_->close();
}

void OutputCapture::finish(Duration limit, std::function<void()> done) {
    core_->finish(limit, std::move(done));
}

KeptOutput OutputCapture::take_out() {
    return std::move(core_->kept(OutputStream::kStdout));
}
KeptOutput OutputCapture::take_err() {
    return std::move(core_->kept(OutputStream::kStderr));
}

}  // namespace wa
