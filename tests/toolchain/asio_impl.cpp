// Asio is compiled separately (BOOST_ASIO_SEPARATE_COMPILATION): once per program, here.
#include <boost/asio/impl/src.hpp>
