/* One end of the QURSA shape, as a process: "server" or "client". Standard output and input are its public channel.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "etsi004/api.h"
#include "qkd_etsi_api.h"

enum { keys = 5 };

static struct qkd_qos_s usual_qos(void) {
  struct qkd_qos_s qos = {
      .Key_chunk_size = QKD_KEY_SIZE, .Timeout = 5000, .Metadata_mimetype = "application/json"};
  return qos;
}

static void read_keys(const unsigned char* id, unsigned char (*key)[QKD_KEY_SIZE]) {
  unsigned char text[QKD_METADATA_MAX_SIZE];
  struct qkd_metadata_s metadata = {1, text};
  uint32_t status = 99, index, i;
  for (i = 0; i < keys; ++i) {
    index = i;
    if (i == 2) {
      CHECK_SAME(GET_KEY(id, &index, key[i], &metadata, &status), QKD_STATUS_METADATA_SIZE_INSUFFICIENT);
      metadata.Metadata_size = sizeof text;
      CHECK_SAME(GET_KEY(id, &index, key[i], &metadata, &status), QKD_STATUS_SUCCESS);
      CHECK(text[0] == '{' && text[metadata.Metadata_size] == '\0');
    } else {
      CHECK_SAME(GET_KEY(id, &index, key[i], NULL, &status), QKD_STATUS_SUCCESS);
    }
    CHECK_SAME(index, i);
  }
}

static void server(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0};
  unsigned char mine[keys][QKD_KEY_SIZE], other[keys][QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;
  char ready;
  CHECK_SAME(OPEN_CONNECT("qkd://here/alice", "qkd://there/bob", &qos, id, &status),
             QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(GET_KEY(id, &index, mine[0], NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  CHECK_SAME(OPEN_CONNECT("qkd://here/alice", "qkd://there/bob", &qos, id, &status), QKD_STATUS_KSID_IN_USE);
  say(id, sizeof id);
  hear(&ready, 1);
  read_keys(id, mine);
  say(mine, sizeof mine);
  hear(other, sizeof other);
  CHECK(memcmp(mine, other, sizeof mine) == 0);
  CHECK(memcmp(mine[0], mine[1], QKD_KEY_SIZE) != 0);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(GET_KEY(id, &index, mine[0], NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
}

static void client(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE];
  unsigned char mine[keys][QKD_KEY_SIZE], other[keys][QKD_KEY_SIZE];
  uint32_t status = 99;
  hear(id, sizeof id);
  qos.Key_chunk_size = 64;
  CHECK_SAME(OPEN_CONNECT("qkd://there/bob", "qkd://here/alice", &qos, id, &status), QKD_STATUS_QOS_NOT_MET);
  CHECK_SAME(qos.Key_chunk_size, QKD_KEY_SIZE);
  CHECK_SAME(OPEN_CONNECT("qkd://there/bob", "qkd://here/alice", &qos, id, &status), QKD_STATUS_SUCCESS);
  say("!", 1);
  read_keys(id, mine);
  hear(other, sizeof other);
  say(mine, sizeof mine);
  CHECK(memcmp(mine, other, sizeof mine) == 0);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
}

int main(int count, char** arguments) {
  CHECK_SAME(count, 2);
  if (strcmp(arguments[1], "server") == 0) {
    server();
  } else {
    client();
  }
  return 0;
}
