/* A program of the hackathon shape that is both ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "qkd_api.h"

enum { length = 3 };

static const ip_address_t nobody; /* as good as left uninitialised, which is what programs do */

static qos_t of_length(uint32_t octets) {
  qos_t qos = {0, 0, 0, 2000};
  qos.requested_length = octets;
  return qos;
}

static void names_and_values(void) {
  CHECK_SAME(SUCCESS, 0);
  CHECK_SAME(QKD_GET_KEY_FAILED, 1);
  CHECK_SAME(NO_QKD_CONNECTION, 2);
  CHECK_SAME(QKD_OPEN_FAILED, 3);
  CHECK_SAME(TIMEOUT_ERROR, 4);
  CHECK_SAME(QKD_RC_SUCCESS, 0);
  CHECK_SAME(QKD_RC_GET_KEY_FAILED, 1);
  CHECK_SAME(QKD_RC_NO_CONNECTION, 2);
  CHECK_SAME(QKD_RC_OPEN_FAILED, 3);
  CHECK_SAME(QKD_RC_TIMEOUT_ERROR, 4);
  CHECK_SAME(sizeof(key_handle_t), 64);
  CHECK_SAME(sizeof(ip_address_t), 17);
  CHECK_SAME(sizeof(qos_t), 16);
}

/* As in the mocks' examples: both have agreed on a handle, and then one asks with another. */
static void predefined(void) {
  key_handle_t key_handle = "specified_key";
  char first[length + 1], second[length + 1];
  int i;
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), key_handle), SUCCESS);
  CHECK(strcmp(key_handle, "specified_key") == 0);
  CHECK_SAME(QKD_CONNECT_NONBLOCK(key_handle, 0), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_CONNECT_NONBLOCKING(key_handle, 0), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_CONNECT_BLOCKING(key_handle, 20), TIMEOUT_ERROR);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), key_handle), SUCCESS);
  CHECK_SAME(QKD_CONNECT_BLOCKING(key_handle, 0), SUCCESS);
  CHECK_SAME(QKD_CONNECT_BLOCKING(key_handle, 0), SUCCESS);
  CHECK_SAME(QKD_CONNECT_NONBLOCK(key_handle, 0), SUCCESS);
  for (i = 0; i < 10; ++i) {
    first[length] = second[length] = 0x5a;
    CHECK_SAME(QKD_GET_KEY(key_handle, first), SUCCESS);
    CHECK_SAME(QKD_GET_KEY(key_handle, second), SUCCESS);
    CHECK(memcmp(first, second, sizeof first) == 0 && first[length] == 0x5a);
  }
  memcpy(key_handle, "000111", 6);
  CHECK_SAME(QKD_GET_KEY(key_handle, first), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_CLOSE(key_handle), NO_QKD_CONNECTION);
  memcpy(key_handle, "specified_key", 6);
  CHECK_SAME(QKD_CLOSE(key_handle), SUCCESS);
  CHECK_SAME(QKD_CLOSE(key_handle), SUCCESS);
  CHECK_SAME(QKD_CLOSE(key_handle), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), key_handle), QKD_OPEN_FAILED);
}

/* The handle is an array that is written to; an unasked length is 32. */
static void made(void) {
  key_handle_t handle = {0}, told;
  char first[33], second[33];
  memset(first, 0x5a, sizeof first);
  memset(second, 0x5a, sizeof second);
  CHECK_SAME(QKD_OPEN(nobody, of_length(0), handle), SUCCESS);
  CHECK(!all_are(handle, sizeof handle, 0));
  memcpy(told, handle, sizeof told);
  CHECK_SAME(QKD_OPEN(nobody, of_length(0), told), SUCCESS);
  CHECK(memcmp(told, handle, sizeof told) == 0);
  CHECK_SAME(QKD_GET_KEY(handle, first), SUCCESS);
  CHECK_SAME(QKD_CLOSE(handle), SUCCESS);
  CHECK_SAME(QKD_GET_KEY(told, second), SUCCESS);
  CHECK_SAME(QKD_CLOSE(told), SUCCESS);
  CHECK(memcmp(first, second, sizeof first) == 0);
  CHECK(first[32] == 0x5a);
  CHECK(!all_are(first, 32, 0x5a));
}

static void refused(void) {
  key_handle_t handle = "refused", unknown = "unknown";
  char key[length] = {0x5a, 0x5a, 0x5a};
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), NULL), 1025);
  CHECK_SAME(QKD_CONNECT_NONBLOCK(NULL, 0), 1025);
  CHECK_SAME(QKD_CONNECT_BLOCKING(NULL, 1), 1025);
  CHECK_SAME(QKD_GET_KEY(NULL, key), 1025);
  CHECK_SAME(QKD_CLOSE(NULL), 1025);
  CHECK_SAME(QKD_CONNECT_NONBLOCK(unknown, 0), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_CONNECT_BLOCKING(unknown, 1), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_GET_KEY(unknown, key), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_CLOSE(unknown), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_OPEN(nobody, of_length(UINT32_MAX), handle), 1025);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), handle), SUCCESS);
  CHECK_SAME(QKD_GET_KEY(handle, NULL), 1025);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), handle), SUCCESS);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), handle), QKD_OPEN_FAILED);
  CHECK(all_are(key, sizeof key, 0x5a));
}

static key_handle_t of_parent = "of the parent";

static int child(void) {
  key_handle_t handle = {0};
  char key[length] = {0x5a, 0x5a, 0x5a};
  if (QKD_GET_KEY(of_parent, key) != 1026) return 1;
  if (QKD_OPEN(nobody, of_length(length), handle) != 1026) return 2;
  if (!all_are(key, sizeof key, 0x5a)) return 3;
  return 0;
}

static void across_fork(void) {
  char mine[length], other[length];
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), of_parent), SUCCESS);
  CHECK_SAME(QKD_OPEN(nobody, of_length(length), of_parent), SUCCESS);
  CHECK_SAME(in_child(child), 0);
  CHECK_SAME(QKD_GET_KEY(of_parent, mine), SUCCESS);
  CHECK_SAME(QKD_GET_KEY(of_parent, other), SUCCESS);
  CHECK(memcmp(mine, other, length) == 0);
}

int main(void) {
  char said[1000];
  catch_errors();
  names_and_values();
  predefined();
  made();
  refused();
  across_fork();
  caught_errors(said, sizeof said);
  CHECK(strcmp(said,
               "libqkd004-hackathon: QKD004_URI is not set: keys are simulated, in process, not secret\n") ==
        0);
  puts("passed");
  return 0;
}
