/* One end of the openssl-qkd shape, as a process: "server" or "client". Standard output and input are its public channel
 * to the other one. In the order of a TLS handshake: the client is done when the server begins.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "qkd_api.h"

enum { length = 256, keys = 5 };

static void server(QKD_qos_t qos) {
  QKD_key_handle_t handle = QKD_key_handle_null;
  char mine[keys][length], other[keys][length];
  int i;
  CHECK_SAME(QKD_init(true), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open(NULL, qos, &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_connect_nonblock(&handle), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_connect_blocking(&handle, 20), QKD_RESULT_CONNECTION_FAILED);
  say(handle.bytes, sizeof handle.bytes);
  hear(other, sizeof other);
  CHECK_SAME(QKD_connect_blocking(&handle, 0), QKD_RESULT_SUCCESS);
  for (i = 0; i < keys; ++i) CHECK_SAME(QKD_get_key(&handle, mine[i]), QKD_RESULT_SUCCESS);
  CHECK(memcmp(mine, other, sizeof mine) == 0);
  CHECK(memcmp(mine[0], mine[1], length) != 0);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_CONNECTION_FAILED);
  say("!", 1);
}

static void client(QKD_qos_t qos) {
  QKD_key_handle_t handle;
  char key[keys][length], end;
  int i;
  CHECK_SAME(QKD_init(false), QKD_RESULT_SUCCESS);
  hear(handle.bytes, sizeof handle.bytes);
  CHECK_SAME(QKD_open((char*)"localhost", qos, &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open((char*)"localhost", qos, &handle), QKD_RESULT_CONNECTION_FAILED); /* it is open here */
  CHECK_SAME(QKD_connect_blocking(&handle, 0), QKD_RESULT_SUCCESS);
  for (i = 0; i < keys; ++i) CHECK_SAME(QKD_get_key(&handle, key[i]), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  say(key, sizeof key);
  hear(&end, 1);
}

int main(int count, char** arguments) {
  QKD_qos_t qos = {.requested_length = length, .max_bps = 0, .priority = 0, .timeout = 0};
  CHECK_SAME(count, 2);
  if (strcmp(arguments[1], "server") == 0) {
    server(qos);
  } else {
    client(qos);
  }
  return 0;
}
