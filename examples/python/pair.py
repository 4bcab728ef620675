# SPDX-License-Identifier: Apache-2.0
"""Two sites in one process: a stream opened at A, its id passed to B, the same key at both ends."""
import qkd004

a, b = qkd004.pair()
with a, b:
    with a.open_connect("qkd://alice@A", "qkd://bob@B", qkd004.QoS(key_chunk_size=32)) as at_a:
        ksid = at_a.key_stream_id  # not secret: tell the other end over any channel
        with b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=ksid) as at_b:
            key_a = at_a.get_key()
            key_b = at_b[key_a.index]
            equal = key_a == key_b  # in constant time
            print(f"key {key_a.index} of {ksid}: {len(key_a)} octets, {'equal at both ends' if equal else 'DIFFERENT'}")

            for one, other in zip(at_a.take(10), at_b.take(10)):
                equal = equal and one.index == other.index and one == other
            print("ten more:", "equal at both ends" if equal else "DIFFERENT")

raise SystemExit(not equal)
