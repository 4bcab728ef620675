/* A program of the openssl-qkd shape that is both ends.
 * SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>

#include "check.h"
#include "qkd_api.h"

enum { length = 48, keys = 100 };

static QKD_qos_t of_length(uint32_t octets) {
  QKD_qos_t qos = {.requested_length = octets, .max_bps = 0, .priority = 0, .timeout = 2000};
  return qos;
}

static void names_and_values(void) {
  QKD_key_handle_t handle = QKD_key_handle_null, other;
  char secret[3] = {0x00, 0x7f, (char)0xff};
  char* text;

  CHECK_SAME(QKD_RESULT_SUCCESS, 0);
  CHECK_SAME(QKD_RESULT_SEND_FAILED, 1);
  CHECK_SAME(QKD_RESULT_RECEIVE_FAILED, 2);
  CHECK_SAME(QKD_RESULT_CONNECTION_FAILED, 3);
  CHECK_SAME(QKD_RESULT_OUT_OF_MEMORY, 4);
  CHECK_SAME(QKD_STATUS_OPEN_SSL_ERROR, 5);
  CHECK_SAME(QKD_RESULT_NOT_SUPPORTED, 6);
  CHECK_SAME(sizeof(QKD_key_handle_t), 64);
  CHECK_SAME(sizeof(QKD_qos_t), 16);

  CHECK(strcmp(QKD_result_str(QKD_RESULT_SUCCESS), "success") == 0);
  CHECK(strcmp(QKD_result_str(QKD_RESULT_NOT_SUPPORTED), "not supported") == 0);
  CHECK(strcmp(QKD_result_str((QKD_result_t)99), "unknown result") == 0);

  CHECK(QKD_key_handle_is_null(&handle));
  QKD_key_handle_set_random(&handle);
  CHECK(!QKD_key_handle_is_null(&handle));
  QKD_key_handle_set_random(&other);
  CHECK(QKD_key_handle_compare(&handle, &other) != 0);
  CHECK(QKD_key_handle_compare(&handle, &QKD_key_handle_null) > 0);
  CHECK(QKD_key_handle_compare(&QKD_key_handle_null, &handle) < 0);
  other = handle;
  CHECK_SAME(QKD_key_handle_compare(&handle, &other), 0);
  QKD_key_handle_set_null(&other);
  CHECK(QKD_key_handle_is_null(&other));
  other.bytes[0] = 0x01;
  other.bytes[63] = (char)0xfe;
  text = QKD_key_handle_str(&other);
  CHECK_SAME(strlen(text), 128);
  CHECK(strncmp(text, "0100", 4) == 0 && strcmp(text + 124, "00fe") == 0);

  CHECK(strcmp(QKD_shared_secret_str(secret, sizeof secret), "007fff") == 0);
  CHECK(QKD_shared_secret_str(NULL, 0) == NULL);
  CHECK(QKD_shared_secret_str(secret, SIZE_MAX) == NULL);
}

/* Sequence 1 of the standard: the server's handle goes to the client, and both loop. */
static void ladder(void) {
  QKD_key_handle_t handle = QKD_key_handle_null, told;
  char server[length + 1], client[length + 1], before[length];
  int i;

  CHECK_SAME(QKD_init(true), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK(!QKD_key_handle_is_null(&handle));
  CHECK_SAME(QKD_connect_nonblock(&handle), QKD_RESULT_CONNECTION_FAILED);
  told = handle;
  CHECK_SAME(QKD_init(false), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open((char*)"localhost", of_length(length), &told), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_key_handle_compare(&told, &handle), 0);
  CHECK_SAME(QKD_connect_blocking(&handle, 0), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_connect_blocking(&told, 0), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_connect_nonblock(&told), QKD_RESULT_SUCCESS);
  memset(before, 0, sizeof before);
  for (i = 0; i < 10; ++i) {
    server[length] = client[length] = 0x5a;
    CHECK_SAME(QKD_get_key(&handle, server), QKD_RESULT_SUCCESS);
    CHECK_SAME(QKD_get_key(&told, client), QKD_RESULT_SUCCESS);
    CHECK(memcmp(server, client, length) == 0);
    CHECK(memcmp(server, before, length) != 0);
    CHECK(server[length] == 0x5a && client[length] == 0x5a);
    memcpy(before, server, length);
  }
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&told), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_CONNECTION_FAILED);
}

/* The client of a TLS handshake is done before the server can begin. */
static void client_first(void) {
  QKD_key_handle_t handle = QKD_key_handle_null;
  char server[256], client[256];

  CHECK_SAME(QKD_open(NULL, of_length(256), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open((char*)"localhost", of_length(256), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_connect_blocking(&handle, 0), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, client), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_connect_blocking(&handle, 0), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, server), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK(memcmp(server, client, sizeof server) == 0);
}

/* Before the other end has opened the handle: its key waits for it. */
static void early_key(void) {
  QKD_key_handle_t handle;
  char first[length], second[length];

  QKD_key_handle_set_random(&handle);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, first), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open((char*)"localhost", of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, second), QKD_RESULT_SUCCESS);
  CHECK(memcmp(first, second, length) == 0);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
}

struct end {
  pthread_t thread;
  pthread_barrier_t* turn;
  int first; /* reads before the other end does */
  char* destination;
  QKD_key_handle_t handle;
  char got[keys][length];
};

static void* run_end(void* argument) {
  struct end* e = (struct end*)argument;
  int i;
  if (e->destination != NULL) pthread_barrier_wait(e->turn); /* the server opens first */
  CHECK_SAME(QKD_open(e->destination, of_length(length), &e->handle), QKD_RESULT_SUCCESS);
  if (e->destination == NULL) pthread_barrier_wait(e->turn);
  pthread_barrier_wait(e->turn);
  CHECK_SAME(QKD_connect_blocking(&e->handle, 2000), QKD_RESULT_SUCCESS);
  if (!e->first) pthread_barrier_wait(e->turn);
  for (i = 0; i < keys; ++i) CHECK_SAME(QKD_get_key(&e->handle, e->got[i]), QKD_RESULT_SUCCESS);
  if (e->first) pthread_barrier_wait(e->turn);
  pthread_barrier_wait(e->turn);
  CHECK_SAME(QKD_close(&e->handle), QKD_RESULT_SUCCESS);
  return NULL;
}

/* Each thread reads its own end, one all it wants before the other begins. */
static void two_threads(int server_first) {
  static struct end server, client;
  pthread_barrier_t turn;
  QKD_key_handle_set_random(&server.handle);
  client.handle = server.handle;
  client.destination = (char*)"localhost";
  server.first = server_first;
  client.first = !server_first;
  pthread_barrier_init(&turn, NULL, 2);
  server.turn = client.turn = &turn;
  CHECK_SAME(pthread_create(&server.thread, NULL, run_end, &server), 0);
  CHECK_SAME(pthread_create(&client.thread, NULL, run_end, &client), 0);
  CHECK_SAME(pthread_join(server.thread, NULL), 0);
  CHECK_SAME(pthread_join(client.thread, NULL), 0);
  pthread_barrier_destroy(&turn);
  CHECK(memcmp(server.got, client.got, sizeof server.got) == 0);
  CHECK(memcmp(server.got[0], server.got[1], length) != 0);
}

static void refused(void) {
  QKD_key_handle_t handle, unknown;
  char key[length];

  memset(key, 0x5a, sizeof key);
  QKD_key_handle_set_random(&handle);
  QKD_key_handle_set_random(&unknown);
  CHECK_SAME(QKD_open(NULL, of_length(length), NULL), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_connect_nonblock(NULL), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_connect_blocking(NULL, 1), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_get_key(NULL, key), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_close(NULL), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_connect_nonblock(&unknown), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_connect_blocking(&unknown, 1), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_get_key(&unknown, key), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_close(&unknown), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_open(NULL, of_length(UINT32_MAX), &handle), QKD_RESULT_NOT_SUPPORTED);

  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, NULL), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_connect_blocking(&handle, 20), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, key), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_CONNECTION_FAILED);
  CHECK(all_are(key, sizeof key, 0x5a));
}

/* The first end's length holds: no key goes into a buffer of another one, and none is lost by that. */
static void other_length(uint32_t theirs) {
  QKD_key_handle_t handle;
  char key[64], mine[length];

  memset(key, 0x5a, sizeof key);
  QKD_key_handle_set_random(&handle);
  CHECK_SAME(QKD_open(NULL, of_length(length), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open((char*)"localhost", of_length(theirs), &handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, mine), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&handle, key), QKD_RESULT_NOT_SUPPORTED);
  CHECK_SAME(QKD_get_key(&handle, key), QKD_RESULT_NOT_SUPPORTED);
  CHECK(all_are(key, sizeof key, 0x5a));
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_close(&handle), QKD_RESULT_SUCCESS);
}

static QKD_key_handle_t of_parent;

static int child(void) {
  QKD_key_handle_t handle = QKD_key_handle_null;
  char key[length];
  memset(key, 0x5a, sizeof key);
  if (QKD_get_key(&of_parent, key) != QKD_RESULT_CONNECTION_FAILED) return 1;
  if (QKD_open(NULL, of_length(length), &handle) != QKD_RESULT_CONNECTION_FAILED) return 2;
  if (!all_are(key, sizeof key, 0x5a)) return 3;
  return 0;
}

static void across_fork(void) {
  char mine[length], other[length];
  QKD_key_handle_set_random(&of_parent);
  CHECK_SAME(QKD_open(NULL, of_length(length), &of_parent), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_open(NULL, of_length(length), &of_parent), QKD_RESULT_SUCCESS);
  CHECK_SAME(in_child(child), 0);
  CHECK_SAME(QKD_get_key(&of_parent, mine), QKD_RESULT_SUCCESS);
  CHECK_SAME(QKD_get_key(&of_parent, other), QKD_RESULT_SUCCESS);
  CHECK(memcmp(mine, other, length) == 0);
  /* left open: the end of the process closes it */
}

int main(void) {
  char said[1000];
  catch_errors();
  names_and_values();
  ladder();
  client_first();
  early_key();
  two_threads(1);
  two_threads(0);
  refused();
  other_length(length / 2);
  other_length(64);
  across_fork();
  caught_errors(said, sizeof said);
  CHECK(
      strcmp(said,
             "libqkd004-openssl-qkd: QKD004_URI is not set: keys are simulated, in process, not secret\n") ==
      0);
  puts("passed");
  return 0;
}
