# SPDX-License-Identifier: Apache-2.0
"""``python -m qkd004 demo``: two sites over a QKD link in software, in this process."""

from __future__ import annotations

import argparse
import sys
import time
from typing import Optional, Sequence

import qkd004


def demo(km: float, block_bits: int, eve: float, keys: int) -> int:
    """Prints what happens; returns 0 if both ends got equal keys, or none came and somebody listened."""
    print("Two sites, A and B, in this process, and an application at each.")
    print(f"Their link is a simulation: decoy-state BB84 over {km:g} km of fibre. The photons are simulated; sifting,")
    print("Cascade, verification, privacy amplification and authentication are real. NOT QUANTUM-SECURE: the key is")
    print("as secret as this process. No key is printed.\n")
    begin = time.monotonic()
    link = qkd004.SoftwareLink(km=km, block_bits=block_bits, intercept_resend=eve)
    a, b = qkd004.pair(link)
    wait = qkd004.QoS(key_chunk_size=32, timeout_ms=3_000 if eve else 60_000)
    equal = taken = 0
    with a, b, a.open_connect("qkd://alice@A", "qkd://bob@B", wait) as at_a:
        print(f"alice  OPEN_CONNECT  key stream {at_a.key_stream_id}")
        with b.open_connect("qkd://alice@A", "qkd://bob@B", wait, at_a.key_stream_id) as at_b:
            print("bob    OPEN_CONNECT  the same")
            try:
                while taken < keys:
                    for key in at_a.take(min(64, keys - taken)):
                        with key, at_b.get_key(key.index) as same:
                            equal += key == same
                        taken += 1
            except qkd004.QKDError as error:
                print(f"alice  GET_KEY       {error} (status {int(error.status)})")
        seconds = time.monotonic() - begin
        report = link.bob.report()
    print(f"\nkeys      {taken:,} of 32 octets at each end, {equal:,} equal, in {seconds:.1f} s")
    print(f"photons   {report['pulses']:,} pulses, {report['detections']:,} detections")
    print(f"blocks    {report['accepted']:,} accepted, {report['over_limit']:,} with too many errors, "
          f"{report['no_key']:,} with nothing secret left")
    print(f"QBER      {100 * report['qber']:.2f} % of the last block, {report['secret']:,} secret bits in all")
    if eve:
        print("\nSomebody measured photons on their way: there must be no key." if not taken else "")
        return 0 if equal == taken else 1
    return 0 if equal == taken == keys else 1


def main(arguments: Optional[Sequence[str]] = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m qkd004", description=__doc__)
    parser.add_argument("--version", action="version", version=f"qkd004 {qkd004.__version__}")
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("demo", help="two sites over a simulated QKD link; ends with a table")
    show.add_argument("--km", type=float, default=25, help="of fibre (25)")
    show.add_argument("--block-bits", type=int, default=1_048_576, help="sifted bits of a block (1048576)")
    show.add_argument("--eve", type=float, default=0, metavar="SHARE", help="of the photons that somebody measures (0)")
    show.add_argument("--keys", type=int, default=1_000, help="to get (1000)")
    given = parser.parse_args(arguments)
    try:
        return demo(given.km, given.block_bits, given.eve, given.keys)
    except qkd004.InvalidArgument as error:
        parser.error(str(error))


if __name__ == "__main__":
    sys.exit(main())
