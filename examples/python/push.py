# SPDX-License-Identifier: Apache-2.0
"""Push mode: two QKD devices, linked by a QKD link in software, post their keys to two key managers, and an application at
each of these takes the same keys. All of them are in this process here; each could be on a machine of its own.
NOT QUANTUM-SECURE: the photons are simulated, and what follows them is real."""
import contextlib
import socket

import qkd004

LINK = {"source": "qkd://kms-a@device-a", "destination": "qkd://kms-b@device-b"}  # the same at all four


def free_port():
    """A port for a listener that others have to know before it is there."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def site(node, http, peer):
    return {"node": node, "listen": ["qkd004://127.0.0.1:0", f"http://127.0.0.1:{http}"], "peer": [peer]}


def device(node, peer, ports, **more):
    """Posts keys to the key manager at this side."""
    config = site(node, ports["device"], {"node": peer, "link": "fibre", "source": {"kind": "given"}, **more})
    manager = {"uri": LINK["source"], "address": f"http://127.0.0.1:{ports['manager']}"}
    return {**config, "push": {"key_manager": [manager]}}


def manager(node, peer, ports, begins, **more):
    """Its link's key is what the device at this side posts."""
    source = {"kind": "push", "device": f"http://127.0.0.1:{ports['device']}", **LINK, "begins": begins,
              "security_class": "simulated-insecure"}
    return site(node, ports["manager"], {"node": peer, "source": source, **more})


link = qkd004.SoftwareLink(km=5, block_bits=262_144)
side_a, side_b = ({"device": free_port(), "manager": free_port()} for _ in range(2))

with contextlib.ExitStack() as running:
    def start(config, **sources):
        return running.enter_context(qkd004.serve(config, sources=sources))

    device_b = start(device("device-b", "device-a", side_b), fibre=link.bob)
    start(device("device-a", "device-b", side_a, address=device_b.addresses[0]), fibre=link.alice)
    manager_b = start(manager("kms-b", "kms-a", side_b, False))
    manager_a = start(manager("kms-a", "kms-b", side_a, True, address=manager_b.addresses[0]))

    # the applications know nothing of all that
    with qkd004.connect(manager_a.addresses[0]) as alice, qkd004.connect(manager_b.addresses[0]) as bob:
        patient = qkd004.QoS(timeout_ms=20_000)  # the first block takes its time
        with alice.open_connect("qkd://alice@kms-a", "qkd://bob@kms-b", patient) as at_a:
            ksid = at_a.key_stream_id
            with bob.open_connect("qkd://alice@kms-a", "qkd://bob@kms-b", patient, key_stream_id=ksid) as at_b:
                keys = at_a.take(10)
                equal = all(key == at_b.get_key(key.index) for key in keys)
                print(f"{len(keys)} keys of two key managers: {'equal' if equal else 'DIFFERENT'}")

raise SystemExit(not equal)
