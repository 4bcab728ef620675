/* Two sites with a link of random octets, and a program at each: two_sites <program> <environment>...
 *
 * The program is run as "server" at site-a and as "client" at site-b, with QKD004_URI of its site; what one writes to its
 * standard output the other one reads. Of the further arguments `NAME=VALUE` is set in both environments, `server:NAME=VALUE`
 * and `client:NAME=VALUE` in that one's alone. Passes if both return 0. With tls:FOLDER, of what `qkd004 certs` made, all
 * connections are over TLS; alice may open streams at site-a, her own and those of V1, and bob at site-b.
 * SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <spawn.h>

#include "check.h"
#include "qkd004.h"

extern char** environ;

enum { most_variables = 30, uri_room = 200 };

static void on_log(void* context, qkd004_log_level level, const char* line) {
  (void)level;
  fprintf(stderr, "%s: %s\n", (const char*)context, line);
}

/* A site, and the address it listens on. `peer_address`: "", or what it dials; `certs`: NULL, or a folder. */
static qkd004_server* start(const char* node, const char* peer_address, const char* certs,
                            qkd004_source* source, char* uri) {
  char config[3000], tls[1500] = "", address[200] = "";
  size_t room = uri_room;
  qkd004_server* server = NULL;
  qkd004_link_source link = {"site-a+site-b", source};
  qkd004_server_options options = QKD004_SERVER_OPTIONS_INIT;
  if (*peer_address != '\0') snprintf(address, sizeof address, "address = \"%s\"\n", peer_address);
  if (certs != NULL) {
    const char* application = strcmp(node, "site-a") == 0 ? "qkd://alice@site-a" : "qkd://bob@site-b";
    snprintf(tls, sizeof tls,
             "[tls]\ncertificate = \"%s/%s.pem\"\nkey = \"%s/%s.key\"\nauthority = \"%s/authority.pem\"\n"
             "[[access]]\nidentity = \"%s\"\nlocal = \"%s\"\n"
             "[[access]]\nidentity = \"%s\"\nlocal = \"qkd004-v1://v1@%s\"\n",
             certs, node, certs, node, certs, application, application, application, node);
  }
  snprintf(config, sizeof config,
           "node = \"%s\"\nlisten = [\"%s://127.0.0.1:0\"]\n[memory]\nallow_unlocked = true\n%s"
           "[[peer]]\nnode = \"%s\"\n%s[peer.source]\nkind = \"seeded\"\nsecret_file = \"not read\"\n",
           node, certs ? "qkd004s" : "qkd004", tls, strcmp(node, "site-a") == 0 ? "site-b" : "site-a",
           address);
  options.config = config;
  options.sources = &link;
  options.source_count = 1;
  options.log = on_log;
  options.log_context = (void*)(uintptr_t)node;
  if (qkd004_server_start(&options, &server) != 0) {
    fprintf(stderr, "%s: %s\n", node, qkd004_last_error());
    exit(1);
  }
  CHECK_SAME(qkd004_server_address(server, 0, uri, &room), 0);
  return server;
}

/* The environment of one end: ours without QKD004_*, and its own. */
static char** environment_of(const char* end, const char* uri, int count, char** arguments) {
  char** of_end;
  size_t n = 0, i;
  int a;
  static char uris[2][300];
  char* own = uris[strcmp(end, "client") == 0];
  while (environ[n] != NULL) ++n;
  of_end = (char**)calloc(n + most_variables, sizeof *of_end);
  CHECK(of_end != NULL);
  n = 0;
  for (i = 0; environ[i] != NULL; ++i) {
    if (strncmp(environ[i], "QKD004_", 7) != 0) of_end[n++] = environ[i];
  }
  snprintf(own, sizeof uris[0], "QKD004_URI=%s", uri);
  of_end[n++] = own;
  CHECK(count < most_variables - 2);
  for (a = 0; a < count; ++a) {
    const size_t length = strlen(end);
    if (strncmp(arguments[a], "QKD004_", 7) == 0) of_end[n++] = arguments[a];
    if (strncmp(arguments[a], end, length) == 0 && arguments[a][length] == ':')
      of_end[n++] = arguments[a] + length + 1;
  }
  return of_end;
}

static pid_t run(char* program, const char* end, char** environment, const int* in, const int* out,
                 const int* unused) {
  pid_t process = 0;
  char role[16];
  char* arguments[] = {program, role, NULL};
  posix_spawn_file_actions_t actions;
  snprintf(role, sizeof role, "%s", end);
  CHECK_SAME(posix_spawn_file_actions_init(&actions), 0);
  CHECK_SAME(posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO), 0);
  CHECK_SAME(posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO), 0);
  for (; *unused >= 0; ++unused) CHECK_SAME(posix_spawn_file_actions_addclose(&actions, *unused), 0);
  CHECK_SAME(posix_spawn(&process, program, &actions, NULL, arguments, environment), 0);
  posix_spawn_file_actions_destroy(&actions);
  return process;
}

int main(int count, char** arguments) {
  qkd004_source *first = NULL, *second = NULL;
  qkd004_server *a, *b;
  char uri_a[uri_room], uri_b[uri_room], **of_server, **of_client;
  const char* certs = NULL;
  int to_server[2], to_client[2], pipes[5], status, i, failed = 0;
  pid_t server, client;

  CHECK(count >= 2);
  alarm(50); /* nothing waits for ever */
  CHECK_SAME(qkd004_source_memory(0, &first, &second), 0);
  for (i = 2; i < count; ++i) {
    if (strncmp(arguments[i], "tls:", 4) == 0) certs = arguments[i] + 4;
  }
  b = start("site-b", "", certs, second, uri_b);
  a = start("site-a", uri_b, certs, first, uri_a);
  CHECK_SAME(qkd004_source_close(first), 0);
  CHECK_SAME(qkd004_source_close(second), 0);

  CHECK_SAME(pipe(to_server), 0);
  CHECK_SAME(pipe(to_client), 0);
  memcpy(pipes, to_server, sizeof to_server);
  memcpy(pipes + 2, to_client, sizeof to_client);
  pipes[4] = -1;
  of_server = environment_of("server", uri_a, count - 2, arguments + 2);
  of_client = environment_of("client", uri_b, count - 2, arguments + 2);
  server = run(arguments[1], "server", of_server, to_server, to_client, pipes);
  client = run(arguments[1], "client", of_client, to_client, to_server, pipes);
  for (i = 0; i < 4; ++i) close(pipes[i]); /* so that the end of one is the end of the other's input */
  CHECK(waitpid(server, &status, 0) == server);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failed = printf("the server has failed: %d\n", status);
  CHECK(waitpid(client, &status, 0) == client);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) failed = printf("the client has failed: %d\n", status);
  free(of_server);
  free(of_client);
  CHECK_SAME(qkd004_server_stop(a), 0);
  CHECK_SAME(qkd004_server_stop(b), 0);
  if (!failed) puts("passed");
  return failed ? 1 : 0;
}
