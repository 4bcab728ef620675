// What comes with a key.
// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <regex>

#include "conformance/bench.hpp"

namespace qkd004::conformance {

namespace {

/// A stream whose metadata is JSON, and a line that has it open.
struct with_json {
  explicit with_json(bench& it) : a{it.connect(side::a)} {
    auto r = it.request();
    r.quality.metadata_mimetype = "application/json";
    id = a.must_open(r).stream;
  }
  line& a;
  key_stream_id id;
};

std::string shown(const key_answer& key) {
  std::string text;
  for (const char c : key.metadata.substr(0, 80)) text += c >= 0x20 && c < 0x7f ? c : '.';
  return fmt::format("{} octets: '{}'", key.metadata_length, text);
}

void expect_metadata(const key_answer& key, std::size_t most) {
  static const std::regex form{R"(\s*\{.*\}\s*)"};
  static const std::regex age{R"("age"\s*:\s*\d+)"};
  static const std::regex hops{R"("hops"\s*:\s*\d+)"};
  expect(!key.metadata.empty() && key.metadata.size() <= most,
         fmt::format("metadata of at most {} octets", most), shown(key));
  expect(std::regex_match(key.metadata, form), "a JSON object", shown(key));
  expect(std::regex_search(key.metadata, age) && std::regex_search(key.metadata, hops),
         "the members \"age\" and \"hops\"", shown(key));
}

void none_wanted(bench& it) {
  const with_json s{it};
  const auto key = s.a.must_get(s.id, 0, 0);
  expect(key.metadata.empty(), "no metadata", shown(key));
}

void json(bench& it) {
  const with_json s{it};
  expect_metadata(s.a.must_get(s.id, 0, 1'024), 1'024);
}

void exact(bench& it) {
  const with_json s{it};
  expect_metadata(s.a.must_get(s.id, 0, 36), 36);
}

void needed(bench& it) {
  const with_json s{it};
  const auto small = s.a.must_not_get(s.id, 0, status::metadata_size_insufficient, 1);
  expect(small.metadata_length > 1 && small.metadata_length <= 4'096, "the size that is needed",
         fmt::format("{}", small.metadata_length));
  expect_metadata(s.a.must_get(s.id, 0, small.metadata_length), small.metadata_length);
}

void too_small(bench& it) {
  const with_json s{it};
  const auto small = s.a.must_not_get(s.id, 0, status::metadata_size_insufficient, 35);
  expect(small.metadata_length == 36, "36 octets are needed", fmt::format("{} are", small.metadata_length));
  expect(small.metadata.find_first_not_of('\0') == std::string::npos, "zeros in place of metadata",
         "other octets");
}

void not_consumed(bench& it) {
  const with_json s{it};
  for (int i = 0; i < 3; ++i) s.a.must_not_get(s.id, 0, status::metadata_size_insufficient, 1);
  s.a.must_get(s.id, 0, 1'024);
}

void large(bench& it) {
  const with_json s{it};
  expect_metadata(s.a.must_get(s.id, 0, 32'768), 256);
}

void no_mimetype(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  for (const std::uint32_t size : {0U, 1U, 36U, 1'024U}) {
    const auto key = a.must_get(opened.stream, 0, size);
    expect(key.metadata.empty(), "no metadata, as no mimetype was agreed upon", shown(key));
  }
}

void age(bench& it) {
  const stopwatch watch;
  const with_json s{it};
  const auto key = s.a.must_get(s.id, 0, 1'024);
  static const std::regex age{R"re("age"\s*:\s*(\d{1,10})[^\d])re"};
  std::smatch found;
  expect(std::regex_search(key.metadata, found, age), "the member \"age\"", shown(key));
  const auto most = static_cast<unsigned long long>(watch.elapsed().count() + 1);
  expect(std::stoull(found[1].str()) <= most, fmt::format("an age of at most {} ms", most), shown(key));
}

void key_type(bench& it) {
  line& a = it.connect(side::a);
  const auto opened = a.must_open(it.request());
  const auto get = [&](std::uint32_t type) {
    a.send(service::get_key, writer{}.id(opened.stream).u32(0).u32(2).u8(type).u8(1).take());
    return a.read_get().status;
  };
  a.expect_status(get(1), status::invalid_argument, operation::get_key);
  a.expect_status(get(0), status::success, operation::get_key);
}

void octets_ignored(bench& it) {
  const with_json s{it};
  writer payload;
  payload.id(s.id).u32(0).u32(64);
  for (std::uint32_t i = 0; i < 64; ++i) payload.u8(i ^ 0xa5);
  s.a.send(service::get_key, payload.take());
  expect_metadata(s.a.must_read_key(0), 64);
}

// clang-format off
constexpr test_case cases[] = {
    {"metadata.none", "D14", level::decision, in_both, 0,
     "Metadata_size 0: no metadata, and the key", none_wanted},
    {"metadata.json", "table 2, D14", level::decision, in_both, 0,
     "room enough: a JSON object with age and hops", json},
    {"metadata.exact", "D14", level::decision, in_both, 0,
     "36 octets are always enough for age and hops", exact},
    {"metadata.needed", "table 2", level::standard, in_both, 0,
     "too little room: 8, and the size that it names is enough", needed},
    {"metadata.too-small", "D14", level::decision, in_both, 0,
     "35 octets: 8, and 36 are needed", too_small},
    {"metadata.not-consumed", "table 2", level::standard, in_both, 0,
     "status 8 consumes no key", not_consumed},
    {"metadata.large", "D14", level::decision, in_both, 0,
     "32 KiB of room are not filled", large},
    {"metadata.no-mimetype", "table 2, D14", level::standard, in_both, 0,
     "a stream without a mimetype has no metadata, whatever the room", no_mimetype},
    {"metadata.age", "D14", level::decision, in_both, 0,
     "age is in ms since the key became deliverable", age},
    {"metadata.key-type", "wire", level::decision, in_forge, need::frames,
     "two octets of metadata are {key_type, role}: key_type 0 is served, another is refused", key_type},
    {"metadata.ignored", "wire", level::decision, in_forge, 0,
     "other octets in the request's metadata are ignored", octets_ignored},
};
// clang-format on

}  // namespace

std::span<const test_case> metadata_cases() { return cases; }

}  // namespace qkd004::conformance
