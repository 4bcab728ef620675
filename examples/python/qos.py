# SPDX-License-Identifier: Apache-2.0
"""QoS: a stream that asks for more than the link can promise gets a counter-proposal, and takes it."""
import qkd004

a, b = qkd004.pair(rate_bps=100_000)  # a link of 100 kbit/s
with a, b:
    asked = qkd004.QoS(key_chunk_size=64, min_bps=150_000, ttl_s=60)
    try:
        a.open_connect("qkd://camera@A", "qkd://recorder@B", asked)
        raise SystemExit("a link of 100 kbit/s promised 150")
    except qkd004.QoSNotMet as error:
        offer = error.counter_proposal
        print(f"asked for {asked.min_bps} bit/s, offered {offer.min_bps} bit/s")

    # what was offered is granted when it comes back as it is
    with a.open_connect("qkd://camera@A", "qkd://recorder@B", offer) as stream:
        print(f"granted {stream.qos.min_bps} bit/s in keys of {stream.qos.key_chunk_size} octets")
        assert stream.qos.min_bps == offer.min_bps and stream.qos.key_chunk_size == 64
