# SPDX-License-Identifier: Apache-2.0
"""Memory stays as it is, however many keys come and go."""

import gc

import qkd004


def resident():
    with open("/proc/self/status", encoding="ascii") as status:
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmRSS"].split()[0]), int(lines["VmLck"].split()[0])


def test_a_hundred_thousand_keys(sites):
    a, b = sites
    at_a = a.open_connect("qkd://a@A", "qkd://b@B")
    at_b = b.open_connect("qkd://a@A", "qkd://b@B", key_stream_id=at_a.key_stream_id)
    buffer = bytearray(64 * 32)

    def use(rounds):
        for _ in range(rounds):
            for key in at_a.take(50):
                other = at_b.get_key()
                assert key == other
                memoryview(key).release()
                key.close()
            for key in at_a.take(40):
                assert key.metadata
            at_b.take(40)
            left = 10
            while left:
                left -= at_a.get_keys_into(memoryview(buffer)[: 32 * left])[1]
            at_b.take(10)
            try:
                at_a.get_key(0)
            except qkd004.IndexNotAvailable:
                pass

    use(50)
    gc.collect()
    rss, locked = resident()
    in_use = a._way.locked, b._way.locked
    use(1_000)
    gc.collect()
    assert at_a.get_key().index == 105_000
    at_b.get_key()
    after_rss, after_locked = resident()
    assert after_locked == locked
    assert (a._way.locked, b._way.locked) == in_use
    assert after_rss - rss < 512, "KiB of memory leaked"


def test_two_thousand_streams(sites):
    a, b = sites

    def use(count):
        for _ in range(count):
            with a.open_connect("qkd://a@A", "qkd://b@B") as at_a:
                with b.open_connect("qkd://a@A", "qkd://b@B", key_stream_id=at_a.key_stream_id) as at_b:
                    assert at_a.get_key() == at_b.get_key()

    use(200)
    gc.collect()
    rss, locked = resident()
    in_use = a._way.locked
    use(2_000)
    gc.collect()
    after_rss, after_locked = resident()
    assert after_locked == locked
    assert a._way.locked == in_use
    # closed ids are remembered: some hundred octets each
    assert after_rss - rss < 2_000, "KiB of memory leaked"
