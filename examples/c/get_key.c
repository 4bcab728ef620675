/* A key at both ends of a stream, in C.
 * SPDX-License-Identifier: Apache-2.0
 *
 *     get_key                                         both ends in this process
 *     get_key qkd004://127.0.0.1:25575 SOURCE DESTINATION [KSID]
 *         the end of one application; tell the other the KSID
 */
#include <qkd004.h>
#include <stdio.h>
#include <string.h>

static int get_key(qkd004_client *km, char **names, qkd004_key_stream_id *id, uint8_t key[32]) {
  qkd004_stream *stream = NULL;
  char text[QKD004_KEY_STREAM_ID_TEXT];
  size_t size = 32;
  uint64_t index = 0;
  int s = qkd004_open_connect(km, names[0], names[1], NULL, id, QKD004_NO_WAIT, &stream);
  if (s != QKD004_SUCCESS && s != QKD004_PEER_NOT_CONNECTED) return s; /* 1: the peer has yet to come */
  s = qkd004_next_key(stream, key, &size, &index, NULL);
  if (s == QKD004_SUCCESS && qkd004_key_stream_id_format(id, text) == QKD004_SUCCESS)
    printf("key %llu of stream %s: %zu octets\n", (unsigned long long)index, text, size);
  (void)qkd004_detach(stream); /* the stream lives on; qkd004_close() would end it */
  return s;
}

int main(int argc, char **argv) {
  char *names[] = {"qkd://alice@A", "qkd://bob@B"};
  qkd004_client *here = NULL, *there = NULL;
  qkd004_key_stream_id id = {{0}}; /* all zeros: the key manager makes one */
  uint8_t key[32] = {0}, same[32] = {0};
  int s = argc < 4 ? qkd004_pair(&here, &there) : qkd004_connect(argv[1], NULL, &here);
  if (!s && argc > 4) s = qkd004_key_stream_id_parse(argv[4], &id);
  if (!s) s = get_key(here, argc < 4 ? names : argv + 2, &id, key);
  if (!s && there != NULL) s = get_key(there, names, &id, same);
  if (s) fprintf(stderr, "%s\n", qkd004_last_error());
  if (!s && there != NULL && memcmp(key, same, sizeof key) != 0) s = 1;
  if (here != NULL) (void)qkd004_client_close(here);
  if (there != NULL) (void)qkd004_client_close(there);
  return s != QKD004_SUCCESS;
}
