// libzmq and libsodium are not built for the thread sanitizer, which therefore cannot see how
// libzmq's threads agree.
extern "C" const char* __tsan_default_suppressions() {
  return "called_from_lib:libzmq.so\nrace:libzmq.so\ncalled_from_lib:libsodium.so\n";
}
