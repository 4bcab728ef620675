// Two sites in one process: a stream opened at A, its id passed to B, the same key at both ends.
#include <qkd004/qkd004.hpp>

#include <cstdio>

int main() {
  auto [a, b] = qkd004::pair();
  qkd004::open_connect_request request{"qkd://alice@A", "qkd://bob@B"};
  request.quality.key_chunk_size = 32;
  auto at_a = a.open_connect(request).value();

  request.stream = at_a.id();  // not secret: tell the other end over any channel
  auto at_b = b.open_connect(request).value();

  auto key_a = at_a.next_key().value();
  auto key_b = at_b.get_key(key_a.index).value();

  const bool equal = qkd004::equal_in_constant_time(key_a.bytes(), key_b.bytes());
  std::printf("key %llu of %s: %zu octets, %s\n", static_cast<unsigned long long>(key_a.index),
              at_a.id().to_string().c_str(), key_a.bytes().size(),
              equal ? "equal at both ends" : "DIFFERENT");
  return equal ? 0 : 1;
}
