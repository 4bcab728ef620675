/* A program of the QURSA shape that is both ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include <qkd-etsi-api-c-wrapper/etsi004/api.h>
#include <qkd-etsi-api-c-wrapper/qkd_config.h>
#include <qkd-etsi-api-c-wrapper/qkd_etsi_api.h>
#include <qkd-etsi-api/etsi004/api.h>
#include <qkd-etsi-api/qkd_etsi_api.h>

#include "check.h"
#include "etsi004/api.h"
#include "qkd_etsi_api.h"

static struct qkd_qos_s usual_qos(void) {
  struct qkd_qos_s qos = {.Key_chunk_size = QKD_KEY_SIZE,
                          .Max_bps = 1000000,
                          .Min_bps = 100,
                          .Jitter = 0,
                          .Priority = 1,
                          .Timeout = 2000,
                          .TTL = 60,
                          .Metadata_mimetype = "application/json"};
  return qos;
}

static void names_and_values(void) {
  CHECK_SAME(QKD_STATUS_SUCCESS, 0);
  CHECK_SAME(QKD_STATUS_PEER_NOT_CONNECTED, 1);
  CHECK_SAME(QKD_STATUS_PEER_DISCONNECTED, 1);
  CHECK_SAME(QKD_STATUS_INSUFFICIENT_KEY, 2);
  CHECK_SAME(QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY, 3);
  CHECK_SAME(QKD_STATUS_NO_CONNECTION, 4);
  CHECK_SAME(QKD_STATUS_KSID_IN_USE, 5);
  CHECK_SAME(QKD_STATUS_TIMEOUT, 6);
  CHECK_SAME(QKD_STATUS_QOS_NOT_MET, 7);
  CHECK_SAME(QKD_STATUS_METADATA_SIZE_INSUFFICIENT, 8);
  CHECK_SAME(QKD_STATUS_METADATA_SIZE_ERROR, 8);
  CHECK_SAME(QKD_KSID_SIZE, 16);
  CHECK_SAME(QKD_KEY_SIZE, 32);
  CHECK_SAME(QKD_METADATA_MAX_SIZE, 1024);
  CHECK_SAME(QKD_MAX_URI_LEN, 256);
  CHECK_SAME(sizeof(struct qkd_qos_s), 7 * 4 + 256);
}

static uint32_t counting_calls;

static uint32_t counting_open(const char* source, const char* destination, struct qkd_qos_s* qos,
                              unsigned char* key_stream_id, uint32_t* status) {
  (void)source, (void)destination, (void)qos, (void)key_stream_id;
  ++counting_calls;
  return *status = 1234;
}

static void backends(void) {
  const struct qkd_004_backend* ours = get_active_004_backend();
  const struct qkd_004_backend counting = {"counting", counting_open, NULL, NULL};
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0};
  unsigned char key[QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;

  CHECK(ours != NULL && strcmp(ours->name, "qkd004") == 0);
  CHECK(ours->open_connect != NULL && ours->get_key != NULL && ours->close != NULL);
  register_qkd_004_backend(&counting);
  CHECK(get_active_004_backend() == &counting);
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, id, &status), 1234);
  CHECK_SAME(counting_calls, 1);
  CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_NO_CONNECTION);
  register_qkd_004_backend(NULL);
  CHECK(get_active_004_backend() == NULL);
  status = 99;
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, id, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(status, QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(OPEN_CONNECT(NULL, NULL, NULL, NULL, NULL), QKD_STATUS_NO_CONNECTION);
  register_qkd_004_backend(ours);
  CHECK(get_active_004_backend() == ours);
}

static void refused(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0};
  unsigned char key[QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;

  CHECK_SAME(OPEN_CONNECT(NULL, "b", &qos, id, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(status, QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(OPEN_CONNECT("a", NULL, &qos, id, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(OPEN_CONNECT("a", "b", NULL, id, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, id, NULL), QKD_STATUS_NO_CONNECTION);
  CHECK(all_are(id, sizeof id, 0));
  CHECK_SAME(GET_KEY(NULL, &index, key, NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(GET_KEY(id, NULL, key, NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(GET_KEY(id, &index, NULL, NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(GET_KEY(id, &index, key, NULL, NULL), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(CLOSE(NULL, &status), QKD_STATUS_NO_CONNECTION);
  CHECK_SAME(CLOSE(id, NULL), QKD_STATUS_NO_CONNECTION);
  id[0] = 77;
  CHECK_SAME(GET_KEY(id, &index, key, NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  CHECK_SAME(status, QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);

  memset(qos.Metadata_mimetype, 'x', sizeof qos.Metadata_mimetype);
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, id, &status), QKD_STATUS_QOS_NOT_MET);
  CHECK(strcmp(qos.Metadata_mimetype, "application/json") == 0);
  strcpy(qos.Metadata_mimetype, "text/plain");
  CHECK_SAME(OPEN_CONNECT("a", "b", &qos, id, &status), QKD_STATUS_QOS_NOT_MET);
  CHECK(strcmp(qos.Metadata_mimetype, "application/json") == 0);
}

static void lifecycle(const char* source, const char* destination) {
  struct qkd_qos_s qos = usual_qos(), theirs = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0}, second[QKD_KSID_SIZE] = {0};
  unsigned char mine[QKD_KEY_SIZE + 1], other[QKD_KEY_SIZE + 1];
  uint32_t status = 99, index = 0, i;

  memset(mine, 0x5a, sizeof mine);
  memset(other, 0x5a, sizeof other);
  CHECK_SAME(OPEN_CONNECT(source, destination, &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(status, QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(id[6] & 0xf0, 0x40);
  CHECK_SAME(id[8] & 0xc0, 0x80);
  CHECK_SAME(qos.Key_chunk_size, QKD_KEY_SIZE);
  CHECK_SAME(OPEN_CONNECT(source, destination, &qos, second, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK(memcmp(id, second, sizeof id) != 0);
  CHECK_SAME(CLOSE(second, &status), QKD_STATUS_SUCCESS);

  /* too early */
  CHECK_SAME(GET_KEY(id, &index, mine, NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  CHECK(all_are(mine, sizeof mine, 0x5a));
  CHECK_SAME(OPEN_CONNECT(destination, source, &theirs, id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(status, QKD_STATUS_SUCCESS);
  CHECK_SAME(OPEN_CONNECT(destination, source, &theirs, id, &status), QKD_STATUS_KSID_IN_USE);

  for (i = 0; i < 3; ++i) {
    index = i;
    CHECK_SAME(GET_KEY(id, &index, mine, NULL, &status), QKD_STATUS_SUCCESS);
    CHECK_SAME(index, i);
    CHECK_SAME(GET_KEY(id, &index, other, NULL, &status), QKD_STATUS_SUCCESS);
    CHECK(memcmp(mine, other, QKD_KEY_SIZE) == 0);
    CHECK(mine[QKD_KEY_SIZE] == 0x5a && other[QKD_KEY_SIZE] == 0x5a);
    /* both ends have read it */
    CHECK_SAME(GET_KEY(id, &index, other, NULL, &status), QKD_STATUS_INSUFFICIENT_KEY);
  }
  for (i = 3; i < 6; ++i) {
    index = UINT32_MAX;
    CHECK_SAME(GET_KEY(id, &index, mine, NULL, &status), QKD_STATUS_SUCCESS);
    CHECK_SAME(index, i);
    index = UINT32_MAX;
    CHECK_SAME(GET_KEY(id, &index, other, NULL, &status), QKD_STATUS_SUCCESS);
    CHECK_SAME(index, i);
    CHECK(memcmp(mine, other, QKD_KEY_SIZE) == 0);
  }

  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(GET_KEY(id, &index, mine, NULL, &status), QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY);
  CHECK_SAME(OPEN_CONNECT(source, destination, &qos, id, &status), QKD_STATUS_KSID_IN_USE);
}

static void predefined(void) {
  struct qkd_qos_s qos = usual_qos(), theirs = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  unsigned char before[QKD_KSID_SIZE];
  uint32_t status = 99;

  memcpy(before, id, sizeof id);
  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK(memcmp(before, id, sizeof id) == 0);

  /* a buffer of another size than the stream's key: no stream for this end, and what it would have to be */
  theirs.Key_chunk_size = 16;
  CHECK_SAME(OPEN_CONNECT("bob", "alice", &theirs, id, &status), QKD_STATUS_QOS_NOT_MET);
  CHECK_SAME(theirs.Key_chunk_size, QKD_KEY_SIZE);
  CHECK_SAME(OPEN_CONNECT("bob", "carol", &theirs, id, &status), QKD_STATUS_KSID_IN_USE);
  CHECK_SAME(OPEN_CONNECT("bob", "alice", &theirs, id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);

  /* the second opener may give source and destination as the first */
  id[0] = 1;
  qos = usual_qos();
  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
}

static void metadata(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0};
  unsigned char key[QKD_KEY_SIZE], other[QKD_KEY_SIZE];
  unsigned char text[QKD_METADATA_MAX_SIZE];
  struct qkd_metadata_s m = {0, NULL};
  uint32_t status = 99, index = 0, needed;

  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  qos = usual_qos();
  CHECK_SAME(OPEN_CONNECT("bob", "alice", &qos, id, &status), QKD_STATUS_SUCCESS);

  /* too little room consumes nothing, says what is needed, and writes nothing */
  memset(key, 0x5a, sizeof key);
  memset(text, 0x5a, sizeof text);
  m.Metadata_size = 1;
  m.Metadata_buffer = text;
  CHECK_SAME(GET_KEY(id, &index, key, &m, &status), QKD_STATUS_METADATA_SIZE_INSUFFICIENT);
  needed = m.Metadata_size;
  CHECK(needed > 10 && needed <= 37);
  CHECK(all_are(key, sizeof key, 0x5a));
  CHECK(all_are(text, sizeof text, 0x5a));
  m.Metadata_buffer = NULL;
  m.Metadata_size = sizeof text;
  CHECK_SAME(GET_KEY(id, &index, key, &m, &status), QKD_STATUS_METADATA_SIZE_INSUFFICIENT);
  CHECK_SAME(m.Metadata_size, needed);

  m.Metadata_buffer = text;
  m.Metadata_size = needed;
  CHECK_SAME(GET_KEY(id, &index, key, &m, &status), QKD_STATUS_SUCCESS);
  CHECK(m.Metadata_size > 0 && m.Metadata_size < needed);
  CHECK(text[0] == '{' && text[m.Metadata_size - 1] == '}' && text[m.Metadata_size] == '\0');
  CHECK(strstr((const char*)text, "\"hops\":0") != NULL);
  CHECK(text[m.Metadata_size + 1] == 0x5a);
  m.Metadata_size = 0; /* none wanted */
  memset(text, 0x5a, sizeof text);
  CHECK_SAME(GET_KEY(id, &index, other, &m, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(m.Metadata_size, 0);
  CHECK(all_are(text, sizeof text, 0x5a));
  CHECK(memcmp(key, other, sizeof key) == 0);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);

  /* a stream without metadata */
  memset(id, 0, sizeof id);
  qos.Metadata_mimetype[0] = '\0';
  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, id, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(OPEN_CONNECT("bob", "alice", &qos, id, &status), QKD_STATUS_SUCCESS);
  m.Metadata_size = sizeof text;
  CHECK_SAME(GET_KEY(id, &index, key, &m, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(m.Metadata_size, 0);
  CHECK(all_are(text, sizeof text, 0x5a));
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(CLOSE(id, &status), QKD_STATUS_SUCCESS);
}

static unsigned char of_parent[QKD_KSID_SIZE];

static int child(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char id[QKD_KSID_SIZE] = {0};
  unsigned char key[QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;
  memset(key, 0x5a, sizeof key);
  if (GET_KEY(of_parent, &index, key, NULL, &status) != QKD_STATUS_NO_CONNECTION) return 1;
  if (OPEN_CONNECT("a", "b", &qos, id, &status) != QKD_STATUS_NO_CONNECTION) return 2;
  if (!all_are(key, sizeof key, 0x5a)) return 3;
  return 0;
}

static void across_fork(void) {
  struct qkd_qos_s qos = usual_qos();
  unsigned char mine[QKD_KEY_SIZE], other[QKD_KEY_SIZE];
  uint32_t status = 99, index = 0;
  CHECK_SAME(OPEN_CONNECT("alice", "bob", &qos, of_parent, &status), QKD_STATUS_PEER_NOT_CONNECTED);
  CHECK_SAME(OPEN_CONNECT("bob", "alice", &qos, of_parent, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(in_child(child), 0);
  CHECK_SAME(GET_KEY(of_parent, &index, mine, NULL, &status), QKD_STATUS_SUCCESS);
  CHECK_SAME(GET_KEY(of_parent, &index, other, NULL, &status), QKD_STATUS_SUCCESS);
  CHECK(memcmp(mine, other, sizeof mine) == 0);
}

int main(void) {
  char said[1000];
  catch_errors();
  names_and_values();
  backends();
  refused();
  lifecycle("alice", "bob");
  lifecycle("qkd://localhost:1234/alice", "qkd://localhost:5678/b ob");
  predefined();
  metadata();
  across_fork();
  caught_errors(said, sizeof said);
  CHECK(strcmp(said,
               "libqkd004-qursa: QKD004_URI is not set: keys are simulated, in process, not secret\n") == 0);
  puts("passed");
  return 0;
}
