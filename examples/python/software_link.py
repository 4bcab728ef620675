# SPDX-License-Identifier: Apache-2.0
"""Two sites in one process that distil their key: decoy BB84 over simulated photons.
NOT QUANTUM-SECURE: the photons are simulated, and what follows them is real."""
import qkd004

link = qkd004.SoftwareLink(km=25)
a, b = qkd004.pair(link)
with a, b:
    patient = qkd004.QoS(timeout_ms=20_000)  # the first block takes its time
    with a.open_connect("qkd://alice@A", "qkd://bob@B", patient) as at_a:
        with b.open_connect("qkd://alice@A", "qkd://bob@B", key_stream_id=at_a.key_stream_id) as at_b:
            for one, other in zip(at_a.take(100), at_b.take(100)):
                assert one == other
    report = link.alice.report()
    print(f"100 keys are equal at both ends; QBER {100 * report['qber']:.2f} %, {report['accepted']} blocks")
