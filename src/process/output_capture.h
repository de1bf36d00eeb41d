// Reads the two output pipes of one process without ever blocking or taking more than a bounded bite at a time.
#pragma once

#include <boost/asio/io_context.hpp>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/error.h"
#include "process/fd.h"
#include "process/spawner.h"

namespace wa {

struct OutputPipes {
    Fd out_read;
    Fd err_read;
    Fd out_write;
    Fd err_write;
};
// Read ends non-blocking, all close-on-exec. kUnavailable when descriptors have run out.
[[nodiscard]] Result<OutputPipes> make_output_pipes();

class OutputCapture {
public:
    // `scratch` is shared by all captures of one loop: at least kReadBytes long.
    OutputCapture(boost::asio::io_context& loop, Fd out, Fd err, OutputFilter filter, OutputSink sink,
                  std::shared_ptr<char[]> scratch);
    ~OutputCapture();
    OutputCapture(const OutputCapture&) = delete;
    OutputCapture& operator=(const OutputCapture&) = delete;

    static constexpr std::size_t kReadBytes = 64 * 1024;

    // The processes are gone: read what is left, until both pipes end or `limit` is over (somebody else may hold them
    // open), then call `done` once, from the loop.
    void finish(Duration limit, std::function<void()> done);
    // What was kept; after finish() only.
    [[nodiscard]] KeptOutput take_out();
    [[nodiscard]] KeptOutput take_err();

private:
    class Core;
    std::shared_ptr<Core> core_;
};

}  // namespace wa
