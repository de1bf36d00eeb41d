// Boost.Asio's non-template code, compiled once for programs that use no other library of ours that has it.
#include <boost/asio/impl/src.hpp>
