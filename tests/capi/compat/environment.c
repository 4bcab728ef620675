/* What the environment of a compatibility library may not be: nothing works then, nothing is simulated instead, and the
 * reason is told once.
 * SPDX-License-Identifier: Apache-2.0 */
#include "check.h"
#include "qkd_api.h"

static const char* const all[] = {"QKD004_URI",         "QKD004_CERTIFICATE",    "QKD004_KEY",
                                  "QKD004_AUTHORITY",   "QKD004_SERVER",         "QKD004_APPLICATION",
                                  "QKD004_DESTINATION", "QKD004_ALLOW_INSECURE", "QKD004_ALLOW_UNLOCKED"};

static QKD_result_t try_to_open(void) {
  QKD_key_handle_t handle = QKD_key_handle_null;
  const QKD_qos_t qos = {32, 0, 0, 100};
  const QKD_result_t result = QKD_open(NULL, qos, &handle);
  if (result != QKD_RESULT_SUCCESS) CHECK(QKD_key_handle_is_null(&handle));
  return result;
}

/* `variables`: up to three of NAME, VALUE; NULL ends them. Standard error says `reason`, in one line, once. */
static void refuses(const char* const variables[7], const char* reason) {
  char said[2000], *line_end;
  size_t i;
  for (i = 0; i < sizeof all / sizeof all[0]; ++i) unsetenv(all[i]);
  for (i = 0; variables[i] != NULL; i += 2) CHECK_SAME(setenv(variables[i], variables[i + 1], 1), 0);
  catch_errors();
  CHECK_SAME(try_to_open(), QKD_RESULT_CONNECTION_FAILED);
  CHECK_SAME(try_to_open(), QKD_RESULT_CONNECTION_FAILED);
  caught_errors(said, sizeof said);
  CHECK(strncmp(said, "libqkd004-openssl-qkd: ", 23) == 0);
  CHECK(strstr(said, reason) != NULL);
  line_end = strchr(said, '\n');
  CHECK(line_end != NULL && line_end[1] == '\0');
}

/* A failure is not remembered: what was wrong can be mended. The parent is not one that has a key manager. */
static int child(void) {
  size_t i;
  for (i = 0; i < sizeof all / sizeof all[0]; ++i) unsetenv(all[i]);
  return try_to_open() == QKD_RESULT_SUCCESS ? 0 : 1;
}

#define WITH(...) ((const char* const[7]){__VA_ARGS__, NULL})

int main(void) {
  refuses(WITH("QKD004_URI", ""), "QKD004_URI is set, but empty");
  refuses(WITH("QKD004_APPLICATION", "qkd://a@A"), "is set, but QKD004_URI is not");
  refuses(WITH("QKD004_DESTINATION", "qkd://a@A"), "is set, but QKD004_URI is not");
  refuses(WITH("QKD004_AUTHORITY", "a.pem"), "is set, but QKD004_URI is not");
  refuses(WITH("QKD004_ALLOW_UNLOCKED", "yes"), "QKD004_ALLOW_UNLOCKED is neither 0 nor 1");
  refuses(WITH("QKD004_URI", "unix:/nowhere"), "QKD004_APPLICATION is not");
  refuses(WITH("QKD004_URI", "unix:/nowhere", "QKD004_APPLICATION", "qkd://a@A"),
          "QKD004_DESTINATION is not");
  refuses(WITH("QKD004_URI", "gopher://here", "QKD004_APPLICATION", "qkd://a@A", "QKD004_DESTINATION", "b@B"),
          "QKD004_URI gopher://here: ");
  refuses(WITH("QKD004_URI", "unix:/nowhere/at/all", "QKD004_APPLICATION", "qkd://a@A", "QKD004_DESTINATION",
               "b@B"),
          "QKD004_URI unix:/nowhere/at/all: ");
  refuses(WITH("QKD004_DESTINATION", "qkd://a@A qkd://b@B"),
          "\"qkd://b@B\" is not NAME=URI or URI, or comes twice");
  refuses(WITH("QKD004_DESTINATION", "a=qkd://a@A a=qkd://b@B"), "\"a=qkd://b@B\" is not NAME=URI");
  refuses(WITH("QKD004_DESTINATION", "=qkd://a@A"), "\"=qkd://a@A\" is not NAME=URI");
  refuses(WITH("QKD004_DESTINATION", "a="), "\"a=\" is not NAME=URI");
  CHECK_SAME(in_child(child), 0);
  puts("passed");
  return 0;
}
