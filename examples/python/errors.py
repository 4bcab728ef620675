# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, and what the program sees: an exception with a status, and no key consumed."""
import qkd004

ENDS = ("qkd://alice@A", "qkd://bob@B")


def shows(what, call, expected):
    """Says what was raised; anything but what we came to see ends the program."""
    try:
        call()
    except expected as error:
        print(f"{what}: {type(error).__name__}, status {error.status.value}")
    else:
        raise SystemExit(f"{what}: nothing was raised")


a, b = qkd004.pair()
with a, b:
    # no link leads to that site
    shows("no link", lambda: a.open_connect("qkd://alice@A", "qkd://bob@C"), qkd004.NoQKDConnection)

    at_a = a.open_connect(*ENDS, qkd004.QoS(timeout_ms=100))
    assert at_a.status == qkd004.Status.PEER_NOT_CONNECTED  # a success: bob is not there yet
    at_b = b.open_connect(*ENDS, key_stream_id=at_a.key_stream_id)

    # too small a buffer: the key is still the next one
    shows("small buffer", lambda: at_a.get_keys_into(bytearray(16)), qkd004.InvalidArgument)
    assert at_a.get_key().index == 0

    # the same index again: in one process, taking it was the acknowledgement; the other end's copy is untouched
    shows("again", lambda: at_a[0], qkd004.IndexNotAvailable)
    assert at_b[0].index == 0

    # no key in time: B reads nothing more, so A may run ahead by one window of keys and no further
    def run_ahead():
        while True:
            at_a.get_key()

    shows("too far ahead", run_ahead, TimeoutError)  # QKDTimeout is one
    shows("not waiting", lambda: at_a.get_key(wait=False), qkd004.InsufficientKey)

    # closed: a Key_stream_ID is never used again
    at_a.close()
    at_b.close()
    shows("after close", at_a.get_key, qkd004.Closed)
    shows("closed", lambda: a.open_connect(*ENDS, key_stream_id=at_a.key_stream_id), qkd004.KeyStreamInUse)
