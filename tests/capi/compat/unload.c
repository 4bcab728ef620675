/* A library that is loaded as a plug-in (an OpenSSL engine), used, unloaded and loaded again; at the end of the process it is
 * not there any more (unload <library> gone), or a thread makes calls that wait (unload <library> waiting).
 * SPDX-License-Identifier: Apache-2.0 */
#include <dlfcn.h>
#include <pthread.h>

#include "check.h"
#include "qkd_api.h"

typedef QKD_result_t (*open_function)(char*, QKD_qos_t, QKD_key_handle_t*);
typedef QKD_result_t (*get_key_function)(const QKD_key_handle_t*, char*);
typedef QKD_result_t (*connect_function)(const QKD_key_handle_t*, uint32_t);

static connect_function wait_for_peer;
static QKD_key_handle_t handle;
static pthread_barrier_t begun;

/* Writes the function `name` to *function: ISO C has no cast for it. */
static void find(void* library, const char* name, void* function) {
  void* const symbol = dlsym(library, name);
  CHECK(symbol != NULL);
  memcpy(function, &symbol, sizeof symbol);
}

static void* waits(void* unused) {
  pthread_barrier_wait(&begun);
  for (;;) wait_for_peer(&handle, 40000); /* in it, or on the way to it, or told that it is over */
  return unused;
}

int main(int count, char** arguments) {
  const QKD_qos_t qos = {32, 0, 0, 0};
  open_function open = NULL;
  get_key_function get_key = NULL;
  pthread_t thread;
  char key[32];
  int i;
  int waiting;
  CHECK_SAME(count, 3);
  waiting = strcmp(arguments[2], "waiting") == 0;
  for (i = 0; i < 3; ++i) {
    void* const library = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    CHECK(library != NULL);
    find(library, "QKD_open", &open);
    find(library, "QKD_get_key", &get_key);
    memset(&handle, 0, sizeof handle);
    CHECK_SAME(open(NULL, qos, &handle), QKD_RESULT_SUCCESS);
    CHECK_SAME(get_key(&handle, key), QKD_RESULT_SUCCESS);
    if (i < 2 || !waiting) {
      CHECK_SAME(dlclose(library), 0);
    } else {
      find(library, "QKD_connect_blocking", &wait_for_peer);
    }
  }
  if (!waiting) return 0;
  alarm(30);
  pthread_barrier_init(&begun, NULL, 2);
  CHECK_SAME(pthread_create(&thread, NULL, waits, NULL), 0);
  pthread_barrier_wait(&begun);
  return 0;
}
