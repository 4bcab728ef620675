/* SPDX-License-Identifier: Apache-2.0 */
#include "in_c.h"

#include <string.h>

#include "qkd004.h"

#define CHECK(condition)             \
  do {                               \
    if (!(condition)) return __LINE__; \
  } while (0)

int in_c_pair(void) {
  qkd004_client *a = NULL;
  qkd004_client *b = NULL;
  qkd004_stream *at_a = NULL;
  qkd004_stream *at_b = NULL;
  qkd004_key_stream_id id = {{0}};
  qkd004_qos qos = QKD004_QOS_INIT;
  uint8_t key_a[16];
  uint8_t key_b[16];
  uint64_t index_a = 0;
  uint64_t index_b = 1;
  size_t size = sizeof key_a;
  CHECK(qkd004_pair(&a, &b) == QKD004_SUCCESS);
  qos.key_chunk_size = sizeof key_a;
  CHECK(qkd004_open_connect(a, "qkd://alice@A", "qkd://bob@B", &qos, &id, 0, &at_a) == QKD004_PEER_NOT_CONNECTED);
  CHECK(qkd004_open_connect(b, "qkd://alice@A", "qkd://bob@B", &qos, &id, 0, &at_b) == QKD004_SUCCESS);
  CHECK(qkd004_next_key(at_a, key_a, &size, &index_a, NULL) == QKD004_SUCCESS);
  CHECK(qkd004_next_key(at_b, key_b, &size, &index_b, NULL) == QKD004_SUCCESS);
  CHECK(index_a == index_b);
  CHECK(memcmp(key_a, key_b, sizeof key_a) == 0);
  CHECK(qkd004_close(at_a) == QKD004_SUCCESS);
  CHECK(qkd004_close(at_b) == QKD004_SUCCESS);
  CHECK(qkd004_client_close(a) == QKD004_SUCCESS);
  CHECK(qkd004_client_close(b) == QKD004_SUCCESS);
  return 0;
}

int in_c_initializers(void) {
  const qkd004_qos qos = QKD004_QOS_INIT;
  const qkd004_metadata metadata = QKD004_METADATA_INIT;
  const qkd004_connect_options connect = QKD004_CONNECT_OPTIONS_INIT;
  const qkd004_file_source_options file = QKD004_FILE_SOURCE_OPTIONS_INIT;
  const qkd004_software_report report = QKD004_SOFTWARE_REPORT_INIT;
  const qkd004_source_ops source = QKD004_SOURCE_OPS_INIT;
  const qkd004_manager_options manager = QKD004_MANAGER_OPTIONS_INIT;
  const qkd004_server_options server = QKD004_SERVER_OPTIONS_INIT;
  const qkd004_exchange_ops exchange = QKD004_EXCHANGE_OPS_INIT;
  const qkd004_v1_qos v1 = QKD004_V1_QOS_INIT;
  CHECK(qos.struct_size == sizeof qos && qos.metadata_mimetype[0] == '\0');
  CHECK(metadata.struct_size == sizeof metadata && metadata.buffer == NULL);
  CHECK(connect.struct_size == sizeof connect && connect.memory_bytes == 0);
  CHECK(file.struct_size == sizeof file && file.path == NULL);
  CHECK(report.struct_size == sizeof report && report.pulses == 0);
  CHECK(source.struct_size == sizeof source && source.destroy == NULL);
  CHECK(manager.struct_size == sizeof manager && manager.first == NULL);
  CHECK(server.struct_size == sizeof server && server.log == NULL);
  CHECK(exchange.struct_size == sizeof exchange && exchange.exchange == NULL);
  CHECK(v1.struct_size == sizeof v1 && v1.requested_length == 0);
  CHECK(qkd004_version() >= QKD004_VERSION_NUMBER(0, 1, 0));
  return 0;
}
