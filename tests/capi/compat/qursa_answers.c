/* What a key manager may answer to a program of the QURSA shape.
 * SPDX-License-Identifier: Apache-2.0 */
#include "answering.h"
#include "etsi004/api.h"
#include "qkd_etsi_api.h"

static uint32_t open_stream(unsigned char* id) {
  struct qkd_qos_s qos = {.Key_chunk_size = QKD_KEY_SIZE};
  uint32_t status = 99;
  const uint32_t result = OPEN_CONNECT("qkd://a@A", "qkd://b@B", &qos, id, &status);
  CHECK_SAME(status, result);
  return result;
}

/* The stream is gone for the key manager, and so for the program. */
static void close_that_is_refused(void) {
  const int answers[] = {QKD004_UNKNOWN_KEY_STREAM, QKD004_NOT_AUTHORIZED, QKD004_SHUTTING_DOWN,
                         QKD004_TIMEOUT};
  const uint32_t results[] = {QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY, QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY,
                              QKD_STATUS_NO_CONNECTION, QKD_STATUS_TIMEOUT};
  unsigned char id[QKD_KSID_SIZE] = {1};
  uint32_t status = 99;
  size_t i;
  for (i = 0; i < sizeof answers / sizeof answers[0]; ++i) {
    CHECK_SAME(open_stream(id), QKD_STATUS_SUCCESS);
    answering.close_status = answers[i];
    CHECK_SAME(CLOSE(id, &status), results[i]);
    CHECK_SAME(CLOSE(id, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  }
  CHECK_SAME(open_stream(id), QKD_STATUS_SUCCESS);
  answering.close_status = QKD004_SUCCESS;
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
}

static void close_without_an_answer(void) {
  unsigned char id[QKD_KSID_SIZE] = {2};
  uint32_t status = 99;
  CHECK_SAME(open_stream(id), QKD_STATUS_SUCCESS);
  answering.close_fails_with = -ECONNREFUSED;
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(open_stream(id), QKD_STATUS_KSID_IN_USE); /* it is open here */
  answering.close_fails_with = 0;
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
}

/* Only a key manager that knows, or cannot be asked, is not asked again. */
static void peer_that_nobody_knows_of(void) {
  const int failures[] = {-ECONNRESET, QKD004_SHUTTING_DOWN};
  const int answers[] = {QKD004_SUCCESS, -EOPNOTSUPP, QKD004_GET_KEY_PEER_NOT_CONNECTED};
  unsigned char id[QKD_KSID_SIZE] = {3}, key[QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;
  size_t i;
  answering.peer = QKD004_TIMEOUT;
  for (i = 0; i < sizeof answers / sizeof answers[0]; ++i) {
    size_t j;
    struct qkd_qos_s qos = {.Key_chunk_size = QKD_KEY_SIZE};
    ++id[1];
    answering.opened = QKD004_PEER_NOT_CONNECTED;
    CHECK_SAME(OPEN_CONNECT("qkd://a@A", "qkd://b@B", &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
    CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
    for (j = 0; j < sizeof failures / sizeof failures[0]; ++j) {
      answering.peer = failures[j];
      CHECK_SAME(GET_KEY(id, &index, key, NULL, &status),
                 QKD_STATUS_SUCCESS); /* as the key manager thinks right */
      answering.peer = QKD004_TIMEOUT;
      CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
    }
    answering.peer = answers[i];
    CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_SUCCESS);
    answering.peer = QKD004_TIMEOUT;
    CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_SUCCESS);
    CHECK(all_are(key, sizeof key, 1));
    CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  }
}

int main(void) {
  CHECK_SAME(setenv("QKD004_URI", "test:", 1), 0);
  close_that_is_refused();
  close_without_an_answer();
  peer_that_nobody_knows_of();
  puts("passed");
  return 0;
}
