/* One end of the hackathon shape, as a process: "server" or "client", which are alike but for what they say on their public
 * channel, standard output and input. The address of the peer is text here and octets there, as nothing says which.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "qkd_api.h"

enum { length = 32, keys = 5 };

int main(int count, char** arguments) {
  const int server = count == 2 && strcmp(arguments[1], "server") == 0;
  ip_address_t destination = {4, {(char)192, 0, 2, 1}};
  const ip_address_t elsewhere = {4, {(char)192, 0, 2, 99}};
  key_handle_t key_handle = "specified_key", early = "nobody comes";
  qos_t qos = {length, 0, 0, 0};
  char mine[keys][length], other[keys][length], ready;
  int i;

  if (!server) {
    destination.length = 10;
    memcpy(destination.address, "192.0.2.2", 10);
  }
  CHECK_SAME(QKD_OPEN(elsewhere, qos, early), NO_QKD_CONNECTION); /* no default in this environment */
  if (server) {
    CHECK_SAME(QKD_OPEN(destination, qos, early), SUCCESS);
    CHECK_SAME(QKD_CONNECT_NONBLOCK(early, 0), NO_QKD_CONNECTION);
    CHECK_SAME(QKD_CONNECT_BLOCKING(early, 20), TIMEOUT_ERROR);
    CHECK_SAME(QKD_CLOSE(early), SUCCESS);
    CHECK_SAME(QKD_CLOSE(early), NO_QKD_CONNECTION);
  }
  CHECK_SAME(QKD_OPEN(destination, qos, key_handle), SUCCESS);
  say("?", 1);
  hear(&ready, 1);
  CHECK_SAME(QKD_CONNECT_BLOCKING(key_handle, 0), SUCCESS);
  for (i = 0; i < keys; ++i) CHECK_SAME(QKD_GET_KEY(key_handle, mine[i]), SUCCESS);
  CHECK_SAME(QKD_CLOSE(key_handle), SUCCESS);
  say(mine, sizeof mine);
  hear(other, sizeof other);
  CHECK(memcmp(mine, other, sizeof mine) == 0);
  CHECK(memcmp(mine[0], mine[1], length) != 0);
  return 0;
}
