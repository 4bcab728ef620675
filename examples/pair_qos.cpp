// QoS: a stream that asks for more than the link can promise gets a counter-proposal, and takes it.
// SPDX-License-Identifier: Apache-2.0
#include <qkd004/qkd004.hpp>

#include <cstdio>

int main() {
  qkd004::pair_options options;
  options.source.rate_bps = 100'000;  // a link of 100 kbit/s
  auto [a, b] = qkd004::pair(std::move(options));

  // ask: keys of 64 octets, never fewer than 150 kbit/s of them, each of use for a minute
  qkd004::open_connect_request request{"qkd://camera@A", "qkd://recorder@B"};
  request.quality.key_chunk_size = 64;
  request.quality.min_bps = 150'000;
  request.quality.ttl_s = 60;
  auto refused = a.open_connect(request);
  if (!refused || refused->outcome() != qkd004::status::qos_not_met) return 1;
  std::printf("asked for %u bit/s, offered %u bit/s\n", request.quality.min_bps, refused->quality().min_bps);

  // accept: what was offered is granted when it comes back as it is
  request.quality = refused->quality();
  auto granted = a.open_connect(request);
  if (!granted || granted->outcome() == qkd004::status::qos_not_met) return 1;
  const qkd004::qos& quality = granted->quality();  // what the key managers will do
  std::printf("granted %u bit/s in keys of %u octets\n", quality.min_bps, quality.key_chunk_size);
  if (quality.min_bps != refused->quality().min_bps || quality.key_chunk_size != 64) return 1;

  // join: the other end gets the QoS that was agreed, whatever it asks for itself
  qkd004::open_connect_request joining{"qkd://camera@A", "qkd://recorder@B"};
  joining.stream = granted->id();
  joining.quality.key_chunk_size = 16;
  auto joined = b.open_connect(joining).value();
  if (!(joined.quality() == quality)) return 1;
  std::printf("the recorder joins with keys of %u octets\n", joined.quality().key_chunk_size);
  return 0;
}
