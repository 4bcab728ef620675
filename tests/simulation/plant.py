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

MANAGER = "key_manager.ipp"

# Name: the promise that the simulation finds broken, and the changes (file, text, text instead).
BUGS = {
    "serves_before_confirm": ("no key at one end alone", [
        # the allocator publishes when it binds, not when the peer confirms
        (MANAGER, "    send(l, b);\n  }\n}\n", "    send(l, b);\n    publish(s, l, b, now);\n  }\n}\n"),
        (MANAGER, "    if (b.first != s->ring->published()) {\n"
                  "      return break_off(l, \"the peer stored what comes after what it did not\");\n"
                  "    }\n    publish(*s, l, b, now);\n", ""),
    ]),
    "serves_anybody": ("one principal a side", [
        (MANAGER, "if (s == nullptr || !s->open || connections_[who.connection].principal != s->owner) {",
                  "if (s == nullptr || !s->open) {"),
    ]),
    "fences_nobody": ("an older connection is fenced off", [
        (MANAGER, "return u.epoch == s->epoch ? status::success : status::not_authorized;",
                  "return status::success;"),
    ]),
    "pool_stands_still": ("no key twice", [
        # a binding over several blocks takes the first one's octets again
        ("key_pool.hpp", "        position += whole;\n", ""),
    ]),
    "meets_out_of_step": ("both ends have the same key", [
        # the allocator starts its source for another pair of instances, and nobody compares the check values
        (MANAGER, "    session.higher = l.allocates ? m.instance : instance_;", "    session.higher = instance_;"),
        (MANAGER, "if (!equal_in_constant_time(m.check, l.check)) {", "if (m.check == key_source_check{}) {"),
    ]),
    "goes_on_with_another_instance": ("no site accuses its peer", [
        (MANAGER, "l.has_session && l.peer_instance == m.instance && m.remembers == instance_;",
                  "l.has_session;"),
    ]),
    "acknowledges_one_more": ("what is not acknowledged is there", [
        (MANAGER, "    s.ring->acknowledge_below(request.index - window + 1);  // R5: also for",
                  "    s.ring->acknowledge_below(request.index - window + 2);  // R5: also for"),
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
    "strict_once_is_not_announced": ("strict once", [
        (MANAGER, "  m.strict_once = s.strict_once;\n", ""),
    ]),
    "loses_what_was_lost": ("lost is counted", [
        (MANAGER, "    if (how == ending::lost) totals_.lost_chunks += discarded;\n", "    (void)discarded;\n"),
    ]),
    "throttles_for_good": ("whoever reads gets key", [
        (MANAGER, "      s->throttled = false;\n", ""),
    ]),
    "answers_no_timeout": ("calls are answered in time", [
        (MANAGER, "  while (!waiting_.empty() && waiting_.begin()->first <= now) {",
                  "  while (!waiting_.empty() && waiting_.begin()->first + std::chrono::seconds{1} <= now) {"),
    ]),
    "answers_twice": ("each call is answered once", [
        (MANAGER, "    if (c.get_key && try_get_key(s, c.who, *c.get_key, now)) forget(it);",
                  "    if (c.get_key) try_get_key(s, c.who, *c.get_key, now);"),
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
