#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Sends key of a seeded run of the software link through a program that tests random numbers.

    key_looks_random.py ent|rngtest <evidence>      the program `evidence`; key goes from pipe to pipe, never to a disk
    key_looks_random.py ent|rngtest --self-check    what is not random must not pass

Returns 77 where the program is not installed. This says nothing about secrecy: digits of pi would pass.
"""
import random
import re
import shutil
import subprocess
import sys

OCTETS = 8 << 20


def ent(found):
    """8 MiB of perfect randomness lack 255 / (2 ln 2 x 2^23) = 2.2e-5 bit per octet in the mean."""
    row = re.search(r"^1,(.*)$", found, re.M).group(1).split(",")
    octets, entropy, chi_square, mean, _, correlation = (float(x) for x in row)
    print(f"ent: {octets:.0f} octets, {entropy} bit per octet, chi square {chi_square}, mean {mean}, "
          f"serial correlation {correlation}")
    # chi square of 255 degrees: 1e-4 on either side
    return octets == OCTETS and entropy >= 7.9999 and 178 < chi_square < 347 and abs(correlation) < 0.0014


def rngtest(found):
    """FIPS 140-2 on blocks of 20,000 bits: 8e-4 of random ones fail one of its tests."""
    good, bad = (int(re.search(rf"FIPS 140-2 {what}: (\d+)", found).group(1)) for what in ("successes", "failures"))
    print(f"rngtest: {bad} of {good + bad} blocks failed")
    return good + bad >= 8 * OCTETS // 20_000 - 2 and bad <= 2e-3 * (good + bad)


def judge(program, octets):
    """`octets`: an open pipe, or the octets themselves."""
    command = {"ent": ["ent", "-t"], "rngtest": ["rngtest"]}[program]
    feed = {"input": octets} if isinstance(octets, bytes) else {"stdin": octets}
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **feed)
    return {"ent": ent, "rngtest": rngtest}[program](run.stdout.decode())


def self_check(program):
    made = random.Random(1)
    good = made.randbytes(OCTETS)
    biased = bytes(octet if made.random() > 0.01 else 0 for octet in good)
    cases = [("random", good, True), ("every hundredth octet 0", biased, False),
             ("text", b"qkd://alice@A " * (OCTETS // 14 + 1), False)]
    wrong = [name for name, octets, passes in cases if judge(program, octets[:OCTETS]) != passes]
    for name in wrong:
        print(f"WRONG about: {name}")
    return 1 if wrong else 0


def main():
    program, evidence = sys.argv[1:]
    if shutil.which(program) is None:
        print(f"{program} is not installed")
        return 77
    if evidence == "--self-check":
        return self_check(program)
    writer = subprocess.Popen([evidence, "key", "--octets", str(OCTETS)], stdout=subprocess.PIPE)
    passed = judge(program, writer.stdout)
    writer.stdout.close()
    return 0 if writer.wait() == 0 and passed else 1


sys.exit(main())
