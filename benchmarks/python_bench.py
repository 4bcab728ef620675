#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What the Python module costs: nanoseconds a key, medians of 15 runs, keys of 32 octets, both sites in this process.

    PYTHONPATH=build/release/python build/venv/bin/python benchmarks/python_bench.py

Two figures for each call. "filled": the ring of the stream has the keys, and one end reads them: the call, its Key, and the
end of the Key. "in all": both ends read, so that the time also has what both key managers do to make the key, bind it to
the stream, confirm and publish it. Beside them a method of Python's own that does nothing.
"""
import contextlib
import statistics
import sys
import time

import qkd004

RUNS = 15
ROUND = 64  # keys that one end takes before the other does
ROUNDS = 300
PER_RUN = ROUND * ROUNDS


def measure(work):
    """ns for each of the PER_RUN that one run does."""
    seen = []
    for _ in range(RUNS + 1):
        seen.append(work() / PER_RUN)
    return statistics.median(seen[1:])


def nothing():
    call = "".isascii
    begin = time.perf_counter_ns()
    for _ in range(PER_RUN):
        call()
    return time.perf_counter_ns() - begin


def bench(take_some, at_a, at_b):
    """`take_some(stream, n)` takes n keys. Returns (filled, in all)."""

    def filled():
        total = 0
        for _ in range(ROUNDS):
            begin = time.perf_counter_ns()
            take_some(at_a, ROUND)
            total += time.perf_counter_ns() - begin
            take_some(at_b, ROUND)
            with contextlib.suppress(qkd004.InsufficientKey):
                at_a.get_key(2**31, wait=False)  # is not there, and has both sites fill their rings
        return total

    def in_all():
        begin = time.perf_counter_ns()
        for _ in range(ROUNDS):
            take_some(at_a, ROUND)
            take_some(at_b, ROUND)
        return (time.perf_counter_ns() - begin) / 2

    take_some(at_a, ROUND)
    take_some(at_b, ROUND)
    return measure(filled), measure(in_all)


def by_get_key(stream, n):
    get_key = stream.get_key
    for _ in range(n):
        get_key()


def by_take(stream, n):
    stream.take(n)


def into_buffer(stream, n):
    while n:
        n -= stream.get_keys_into(memoryview(BUFFER)[: 32 * min(n, 64)])[1]


BUFFER = bytearray(64 * 32)


def main():
    print(f"Python {sys.version.split()[0]}, qkd004 {qkd004.__version__}")
    print(f"{'a C method that does nothing':32}{measure(nothing):8.0f} ns")
    print(f"{'':32}{'filled':>8}   {'in all':>8}   must")
    for name, work, must in (("get_key()", by_get_key, 300), ("take(64)", by_take, 60), ("get_keys_into(64)", into_buffer, 0)):
        a, b = qkd004.pair()
        with a, b, a.open_connect("qkd://a@A", "qkd://b@B") as at_a:
            with b.open_connect("qkd://a@A", "qkd://b@B", key_stream_id=at_a.key_stream_id) as at_b:
                filled, in_all = bench(work, at_a, at_b)
        limit = f"<= {must}" if must else ""
        print(f"{name:32}{filled:8.0f}   {in_all:8.0f} ns a key   {limit}")


main()
