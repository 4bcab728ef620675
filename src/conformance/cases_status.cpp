// Each status of table 2, provoked.
// SPDX-License-Identifier: Apache-2.0
#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

constexpr std::uint32_t past_last_index = 0xffff'ffff;

void success(bench& it) {
  const auto s = it.open_both();
  s.b.must_get(s.id, 0);
  s.b.must_close(s.id);
}

void peer_not_connected(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.timeout_ms = 20'000;  // it must not be waited for
  const stopwatch watch;
  a.must_open(r, status::peer_not_connected);
  watch.expect_within(stopwatch::slack, "an OPEN_CONNECT with a NULL KSID that is answered at once");
}

void insufficient_key(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  a.must_not_get(opened.stream, past_last_index, status::stream_exhausted);
}

void get_key_peer_not_connected(bench& it) {
  it.connect(side::a).must_not_get(it.fresh_id(), 0, status::unknown_key_stream);
}

void no_qkd_connection(bench& it) {
  auto r = it.request();
  r.destination = "qkd://nobody@no-such-node.invalid";
  it.connect(side::a).must_not_open(r, status::no_qkd_connection);
}

void ksid_in_use(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.stream = a.must_open(r).stream;
  a.must_close(r.stream);
  a.must_not_open(r, status::ksid_in_use);
}

void timeout(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.brief());
  must_time_out(a, opened.stream);
}

void qos_not_met(bench& it) {
  auto r = it.request();
  r.quality.key_chunk_size = 0xffff'ffff;
  it.connect(side::a).must_not_open(r, status::qos_not_met);
}

void metadata_size_insufficient(bench& it) {
  line& a = it.connect(side::a);
  auto r = it.request();
  r.quality.metadata_mimetype = "application/json";
  const auto opened = a.must_open(r);
  a.must_not_get(opened.stream, 0, status::metadata_size_insufficient, 1);
}

void close_unknown(bench& it) { it.connect(side::a).must_close(it.fresh_id(), status::unknown_key_stream); }

// clang-format off
constexpr test_case cases[] = {
    {"status.0", "table 2", level::standard, in_both, need::both_ends,
     "0: OPEN_CONNECT of the second end, GET_KEY and CLOSE succeed", success},
    {"status.1", "D8", level::decision, in_forge, 0,
     "1: OPEN_CONNECT with a NULL KSID returns at once, before the peer is there", peer_not_connected},
    {"status.2", "D7, D12", level::decision, in_both, 0,
     "2: GET_KEY of an index after the last that a stream can have", insufficient_key},
    {"status.3", "D7", level::decision, in_both, 0,
     "3: GET_KEY of a KSID that is not open", get_key_peer_not_connected},
    {"status.4", "table 2", level::standard, in_both, 0,
     "4: OPEN_CONNECT towards a destination that no link leads to", no_qkd_connection},
    {"status.5", "table 2, D8", level::standard, in_both, 0,
     "5: OPEN_CONNECT of a KSID that was closed", ksid_in_use},
    {"status.6", "table 2, D11", level::standard, in_both, 0,
     "6: GET_KEY of a key that does not come within Timeout", timeout},
    {"status.7", "table 2, D5", level::standard, in_both, 0,
     "7: OPEN_CONNECT with a Key_chunk_size of 4 GiB", qos_not_met},
    {"status.8", "table 2, D14", level::standard, in_both, 0,
     "8: GET_KEY with room for one octet of metadata", metadata_size_insufficient},
    {"status.close", "D7", level::decision, in_both, 0,
     "3: CLOSE of a KSID that is not open", close_unknown},
};
// clang-format on

}  // namespace

std::span<const test_case> status_cases() { return cases; }

}  // namespace qkd004::conformance
