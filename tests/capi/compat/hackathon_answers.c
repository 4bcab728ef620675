/* What a key manager may answer to a program of the hackathon shape.
 * SPDX-License-Identifier: Apache-2.0 */
#include "answering.h"
#include "qkd_api.h"

enum { length = 32 };

static const ip_address_t nobody;
static const qos_t usual = {length, 0, 0, 0};

/* The stream is gone for the key manager, and so for the program. */
static void close_that_is_refused(void) {
  key_handle_t handle = "refused";
  CHECK_SAME(QKD_OPEN(nobody, usual, handle), SUCCESS);
  answering.close_status = QKD004_NOT_AUTHORIZED;
  CHECK_SAME(QKD_CLOSE(handle), QKD004_V1_NOT_AUTHORIZED);
  CHECK_SAME(QKD_CLOSE(handle), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_OPEN(nobody, usual, handle), SUCCESS);
  answering.close_status = QKD004_UNKNOWN_KEY_STREAM; /* as one that was started anew */
  CHECK_SAME(QKD_CLOSE(handle), SUCCESS);
  CHECK_SAME(QKD_OPEN(nobody, usual, handle), SUCCESS);
  answering.close_status = QKD004_SUCCESS;
  CHECK_SAME(QKD_CLOSE(handle), SUCCESS);
}

static void close_without_an_answer(void) {
  key_handle_t handle = "no answer";
  char key[length];
  CHECK_SAME(QKD_OPEN(nobody, usual, handle), SUCCESS);
  answering.close_fails_with = -ECONNREFUSED;
  CHECK_SAME(QKD_CLOSE(handle), NO_QKD_CONNECTION);
  CHECK_SAME(QKD_OPEN(nobody, usual, handle), QKD_OPEN_FAILED); /* it is open here */
  CHECK_SAME(QKD_GET_KEY(handle, key), SUCCESS);
  CHECK(all_are(key, sizeof key, 1));
  answering.close_fails_with = 0;
  CHECK_SAME(QKD_CLOSE(handle), SUCCESS);
}

/* The other end came first, with another length: no key is asked for, and nothing written. */
static void another_length(void) {
  key_handle_t shorter = "shorter", longer = "longer";
  char key[length];
  const unsigned before = answering.keys;
  memset(key, 0x5a, sizeof key);
  answering.chunk = length / 2;
  CHECK_SAME(QKD_OPEN(nobody, usual, shorter), SUCCESS);
  CHECK_SAME(QKD_GET_KEY(shorter, key), QKD004_V1_INVALID_ARGUMENT);
  answering.chunk = 2 * length;
  CHECK_SAME(QKD_OPEN(nobody, usual, longer), SUCCESS);
  CHECK_SAME(QKD_GET_KEY(longer, key), QKD004_V1_INVALID_ARGUMENT);
  CHECK_SAME(answering.keys, before);
  CHECK(all_are(key, sizeof key, 0x5a));
  answering.chunk = 0;
}

int main(void) {
  CHECK_SAME(setenv("QKD004_URI", "test:", 1), 0);
  CHECK_SAME(setenv("QKD004_APPLICATION", "qkd://a@A", 1), 0);
  CHECK_SAME(setenv("QKD004_DESTINATION", "qkd://b@B", 1), 0);
  close_that_is_refused();
  close_without_an_answer();
  another_length();
  puts("passed");
  return 0;
}
