/* QoS: a stream that asks for more than the link can promise gets a counter-proposal, and takes it.
   SPDX-License-Identifier: Apache-2.0 */
#include <qkd004.h>

#include <stdio.h>

int main(void) {
  qkd004_manager_options options = QKD004_MANAGER_OPTIONS_INIT;
  qkd004_qos qos = QKD004_QOS_INIT;
  qkd004_qos agreed = QKD004_QOS_INIT;
  qkd004_key_stream_id id = {{0}};
  qkd004_manager *manager = NULL;
  qkd004_client *a = NULL;
  qkd004_stream *stream = NULL;
  int s;

  /* a link of 100 kbit/s */
  s = qkd004_source_memory(100000, &options.first, &options.second);
  if (!s) s = qkd004_manager_open(&options, &manager);
  if (!s) s = qkd004_manager_connect(manager, 0, NULL, &a);
  if (s) return fprintf(stderr, "%s\n", qkd004_last_error()), 1;

  /* ask: keys of 64 octets, never fewer than 150 kbit/s of them */
  qos.key_chunk_size = 64;
  qos.min_bps = 150000;
  s = qkd004_open_connect(a, "qkd://camera@A", "qkd://recorder@B", &qos, &id, 0, &stream);
  if (s != QKD004_QOS_NOT_MET) return 1;
  printf("asked for 150000 bit/s, offered %u bit/s\n", (unsigned)qos.min_bps);

  /* accept: `qos` has the offer, which is granted when it comes back as it is */
  s = qkd004_open_connect(a, "qkd://camera@A", "qkd://recorder@B", &qos, &id, 0, &stream);
  if (s != QKD004_PEER_NOT_CONNECTED) return 1;
  s = qkd004_stream_describe(stream, NULL, &agreed);
  printf("granted %u bit/s in keys of %u octets\n", (unsigned)agreed.min_bps, (unsigned)agreed.key_chunk_size);

  qkd004_close(stream);
  qkd004_client_close(a);
  qkd004_manager_close(manager);
  qkd004_source_close(options.first);
  qkd004_source_close(options.second);
  return s == 0 && agreed.min_bps == qos.min_bps && agreed.key_chunk_size == 64 ? 0 : 1;
}
