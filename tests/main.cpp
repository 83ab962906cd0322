#define BOOST_TEST_MODULE coel
#include <boost/test/unit_test.hpp>
