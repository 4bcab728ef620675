/* What can go wrong, and what the program sees: a status that is not 0, a sentence, and no key consumed.
   SPDX-License-Identifier: Apache-2.0 */
#include <qkd004.h>

#include <errno.h>
#include <stdio.h>

/* Says what happened; 1 if it is what we came to see. */
static int shows(const char *what, int result, int expected) {
  printf("%s: %d, %s\n", what, result, qkd004_status_text(result));
  return result == expected;
}

int main(void) {
  qkd004_qos qos = QKD004_QOS_INIT;
  qkd004_key_stream_id id = {{0}};
  qkd004_key_stream_id unused = {{0}};
  qkd004_client *a = NULL;
  qkd004_client *b = NULL;
  qkd004_stream *at_a = NULL;
  qkd004_stream *at_b = NULL;
  uint8_t key[32];
  uint8_t small[16];
  size_t size;
  uint64_t index = 0;
  int good = 1;
  int s;

  if (qkd004_pair(&a, &b)) return fprintf(stderr, "%s\n", qkd004_last_error()), 1;

  /* no link leads to that site */
  good &= shows("no link", qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@C", NULL, &unused, 0, &at_a),
                QKD004_NO_QKD_CONNECTION);

  /* 1 is a success: bob is not there yet */
  qos.timeout_ms = 100;
  s = qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", &qos, &id, 0, &at_a);
  good &= shows("opened", s, QKD004_PEER_NOT_CONNECTED);
  s = qkd004_open_connect(b, "qkd://alice@A", "qkd://bob@B", NULL, &id, 0, &at_b);
  good &= shows("joined", s, QKD004_SUCCESS);

  /* too small a buffer: `size` says what is needed, and the key is still the next one */
  size = sizeof small;
  good &= shows("small buffer", qkd004_next_key(at_a, small, &size, &index, NULL), -ENOBUFS);
  good &= size == sizeof key;
  good &= qkd004_next_key(at_a, key, &size, &index, NULL) == QKD004_SUCCESS && index == 0;

  /* the same index again: in one process, taking it was the acknowledgement; the other end's copy is untouched */
  size = sizeof key;
  good &= shows("again", qkd004_get_key(at_a, 0, key, &size, NULL), QKD004_INDEX_NOT_AVAILABLE);
  size = sizeof key;
  good &= qkd004_get_key(at_b, 0, key, &size, NULL) == QKD004_SUCCESS;

  /* no key in time: B reads nothing more, so A may run ahead by one window of keys and no further */
  do {
    size = sizeof key;
    s = qkd004_next_key(at_a, key, &size, &index, NULL);
  } while (s == QKD004_SUCCESS);
  good &= shows("too far ahead", s, QKD004_TIMEOUT);
  size = sizeof key;
  good &= shows("not waiting", qkd004_try_next_key(at_a, key, &size, &index, NULL), QKD004_INSUFFICIENT_KEY);

  /* closed: the handle is used up, and the Key_stream_ID is never used again */
  good &= qkd004_close(at_a) == 0 && qkd004_close(at_b) == 0;
  size = sizeof key;
  good &= shows("after close", qkd004_next_key(at_a, key, &size, &index, NULL), -EBADF);
  s = qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", NULL, &id, 0, &at_a);
  good &= shows("closed", s, QKD004_KSID_IN_USE);

  qkd004_client_close(a);
  qkd004_client_close(b);
  return good ? 0 : 1;
}
