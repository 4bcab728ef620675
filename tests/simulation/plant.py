#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants a bug: copies the headers of the core and changes the copy, so that the simulation can show that it finds it.

    plant.py <bug> <include/qkd004> <folder for the copy>    fails if a text to change is not there exactly once
    plant.py --list        prints `bug<tab>promise it breaks`, one a line
    plant.py --check <include/qkd004>    tries all of them, writes nothing
"""
import os
import shutil
import sys

OPEN = "key_manager_open.ipp"
READ = "key_manager_read.ipp"
PEER = "key_manager_peer.ipp"
BIND = "key_manager_bind.ipp"

# Name: the promise that the simulation finds broken, and the changes (file, text, text instead).
BUGS = {
    "serves_before_confirm": ("no key at one end alone", [
        # the allocator publishes when it binds, not when the peer confirms
        (BIND, "    send(l, b);\n  }\n}\n", "    send(l, b);\n    publish(s, l, b, now);\n  }\n}\n"),
        (BIND, "    if (b.first != s->ring->published()) {\n"
                  "      return break_off(l, \"the peer stored what comes after what it did not\");\n"
                  "    }\n    publish(*s, l, b, now);\n", ""),
    ]),
    "serves_anybody": ("one principal a side", [
        (READ, "if (s == nullptr || !s->open || connections_[who.connection].principal != s->owner) {",
                  "if (s == nullptr || !s->open) {"),
    ]),
    "fences_nobody": ("an older connection is fenced off", [
        (READ, "return u.epoch == s->epoch ? status::success : status::not_authorized;",
                  "return status::success;"),
    ]),
    "pool_stands_still": ("no key twice", [
        # a binding over several blocks takes the first one's octets again
        ("key_pool.hpp", "        position += whole;\n", ""),
    ]),
    "meets_out_of_step": ("both ends have the same key", [
        # the allocator starts its source for another pair of instances, and nobody compares the check values
        (PEER, "    session.higher = l.allocates ? m.instance : l.instance;", "    session.higher = l.instance;"),
        (PEER, "if (!equal_in_constant_time(m.check, l.check)) {", "if (m.check == key_source_check{}) {"),
    ]),
    "goes_on_with_another_instance": ("no site accuses its peer", [
        (PEER, "l.has_session && l.peer_instance == m.instance && m.remembers == l.instance;",
                  "l.has_session;"),
    ]),
    "acknowledges_one_more": ("what is not acknowledged is there", [
        (READ, "s->ring->acknowledge_below(request.index - behind + 1) > 0",
               "s->ring->acknowledge_below(request.index - behind + 2) > 0"),
    ]),
    "acknowledges_the_unread": ("what is not acknowledged is there", [
        ("key_ring.hpp", "      if (!is_served(at(p).turn.load(std::memory_order_relaxed), p)) continue;\n"
                         "      let_go(at(p), p);\n",
                         "      if (!seize(p)) continue;\n"),
    ]),
    "acknowledges_nothing": ("acknowledged is gone", [
        ("key_ring.hpp", "      let_go(at(p), p);\n      ++count;\n", "      ++count;\n"),
    ]),
    "expiry_is_not_counted": ("the balance is right", [
        ("key_ring.hpp", "    if (count != 0) count_expired(count);\n", ""),
    ]),
    "nothing_expires": ("nothing lives longer than TTL", [
        ("key_ring.hpp", "return now - s.since >= options_.ttl;", "return now - s.since >= 2 * options_.ttl;"),
    ]),
    "loses_what_was_lost": ("lost is counted", [
        (OPEN, "    if (how == ending::lost) totals_.lost_chunks += discarded;\n", "    (void)discarded;\n"),
    ]),
    "throttles_for_good": ("whoever reads gets key", [
        (BIND, "      s->throttled = false;\n", ""),
    ]),
    "answers_no_timeout": ("calls are answered in time", [
        (BIND, "  while (!waiting_.empty() && waiting_.begin()->first <= now) {",
                  "  while (!waiting_.empty() && waiting_.begin()->first + std::chrono::seconds{1} <= now) {"),
    ]),
    "window_acknowledges_runs": ("what is not acknowledged is there", [
        (READ, "  get_keys_response r = response_of(s, request.first);\n  std::string vendor;\n",
               "  if (const std::uint64_t half = s.window / 2; !s.strict_once && request.first >= half) {\n"
               "    s.ring->acknowledge_below(request.first - half + 1);\n  }\n"
               "  get_keys_response r = response_of(s, request.first);\n  std::string vendor;\n"),
    ]),
    "runs_ignore_the_epoch": ("an older epoch gets nothing", [
        (READ, "  if (request.epoch != s->epoch) return fail_get(who, nullptr, request, status::not_authorized);\n",
               ""),
    ]),
    "delivers_beyond_credit": ("credit is not exceeded", [
        (READ, "serve_run(s, sub.next, sub.credit, now)", "serve_run(s, sub.next, sub.credit + 1, now)"),
        (READ, "    sub.credit -= static_cast<std::uint32_t>(run_.size());\n",
               "    sub.credit -= std::min(sub.credit, static_cast<std::uint32_t>(run_.size()));\n"),
    ]),
    "subscription_skips_what_was_served": ("what is not acknowledged is there", [
        (READ, "    sub = {who.connection, request.first, request.credit};\n",
               "    sub = {who.connection, std::max(request.first, s->ring->lowest_live()), request.credit};\n"),
    ]),
    "lends_what_is_promised": ("no more is promised than there is", [
        (PEER, "  const std::uint64_t free = share > l.promised_bps ? share - l.promised_bps : 0;\n",
               "  const std::uint64_t free = share;\n"),
    ]),
    "answers_twice": ("each call is answered once", [
        (READ, "    if ((one != nullptr && try_get(s, c.who, *one, now)) ||",
               "    if ((one != nullptr && try_get(s, c.who, *one, now) && false) ||"),
    ]),
}


def planted(bug, folder):
    """The changed files of the folder: {name: text}."""
    texts = {}
    for name, old, new in BUGS[bug][1]:
        if name not in texts:
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                texts[name] = file.read()
        found = texts[name].count(old)
        if found != 1:
            sys.exit(f"{bug}: this is {found} times in {name}, not once:\n{old}\n"
                     "The code has changed: change tests/simulation/plant.py with it.")
        texts[name] = texts[name].replace(old, new)
    return texts


def main():
    arguments = sys.argv[1:]
    if arguments == ["--list"]:
        for bug, (promise, _) in BUGS.items():
            print(f"{bug}\t{promise}")
    elif len(arguments) == 2 and arguments[0] == "--check":
        for bug in BUGS:
            planted(bug, arguments[1])
        print(f"{len(BUGS)} bugs can be planted")
    elif len(arguments) == 3 and arguments[0] in BUGS:
        bug, source, target = arguments
        texts = planted(bug, source)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(source, target)
        for name, text in texts.items():
            with open(os.path.join(target, name), "w", encoding="utf-8") as file:
                file.write(text)
    else:
        print(__doc__)
        return 2
    return 0


sys.exit(main())
