/* Push mode in C: two QKD devices post their keys to two key managers, and an application at each of these takes the
 * same key. All of them are in this process here; each could be on a machine of its own.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <arpa/inet.h>
#include <qkd004.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A port for a listener that others have to know before it is there. */
static int free_port(void) {
  struct sockaddr_in at = {0};
  socklen_t size = sizeof at;
  int port = 0, s = socket(AF_INET, SOCK_STREAM, 0);
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (bind(s, (struct sockaddr*)&at, size) == 0 && getsockname(s, (struct sockaddr*)&at, &size) == 0)
    port = ntohs(at.sin_port);
  close(s);
  return port;
}

/* A site that listens on two ports and has one peer; `dials` is where that is, or 0. `rest` is where its key comes from,
 * and goes. */
static int start(const char* names[2], const int ports[3], const char* rest, const qkd004_link_source* link,
                 qkd004_server** out) {
  char config[2048], address[64] = "";
  qkd004_server_options o = QKD004_SERVER_OPTIONS_INIT;
  if (ports[2] != 0) snprintf(address, sizeof address, "address = 'qkd004://127.0.0.1:%d'\n", ports[2]);
  snprintf(config, sizeof config,
           "node = '%s'\nlisten = ['qkd004://127.0.0.1:%d', 'http://127.0.0.1:%d']\n"
           "[memory]\nallow_unlocked = true\n[[peer]]\nnode = '%s'\nlink = 'link'\n%s[peer.source]\n%s",
           names[0], ports[0], ports[1], names[1], address, rest);
  o.config = config;
  o.sources = link;
  o.source_count = link != NULL ? 1 : 0;
  return qkd004_server_start(&o, out);
}

/* The device at this side posts to the key manager at this side. */
static int start_side(int side, const int ports[8], qkd004_source* source, qkd004_server** servers) {
  const int *mine = ports + 4 * side, *other = ports + 4 * (1 - side);
  const char* devices[2][2] = {{"device-a", "device-b"}, {"device-b", "device-a"}};
  const char* managers[2][2] = {{"kms-a", "kms-b"}, {"kms-b", "kms-a"}};
  const int of_device[3] = {mine[0], mine[1], side == 0 ? other[0] : 0};
  const int of_manager[3] = {mine[2], mine[3], side == 0 ? other[2] : 0};
  const qkd004_link_source link = {"link", source};
  char rest[1024];
  int s = 0;
  snprintf(rest, sizeof rest,
           "kind = 'given'\n[push]\n[[push.key_manager]]\nuri = 'qkd://kms-a@device-a'\n"
           "address = 'http://127.0.0.1:%d'\n",
           mine[3]);
  s = start(devices[side], of_device, rest, &link, servers);
  if (s) return s;
  snprintf(rest, sizeof rest,
           "kind = 'push'\ndevice = 'http://127.0.0.1:%d'\nsource = 'qkd://kms-a@device-a'\n"
           "destination = 'qkd://kms-b@device-b'\nbegins = %s\nsecurity_class = 'simulated-insecure'\n",
           mine[1], side == 0 ? "true" : "false");
  return start(managers[side], of_manager, rest, NULL, servers + 1);
}

static int get_key(int port, qkd004_key_stream_id* id, uint8_t key[32]) {
  char uri[64];
  size_t size = 32;
  uint64_t index = 0;
  qkd004_client* client = NULL;
  qkd004_stream* stream = NULL;
  int s = 0;
  snprintf(uri, sizeof uri, "qkd004://127.0.0.1:%d", port);
  s = qkd004_connect(uri, NULL, &client);
  if (!s)
    s = qkd004_open_connect(client, "qkd://alice@kms-a", "qkd://bob@kms-b", NULL, id, QKD004_NO_WAIT,
                            &stream);
  if (s == QKD004_SUCCESS || s == QKD004_PEER_NOT_CONNECTED)
    s = qkd004_next_key(stream, key, &size, &index, NULL);
  if (!s) printf("key %llu at port %d: %zu octets\n", (unsigned long long)index, port, size);
  if (stream != NULL) (void)qkd004_detach(stream);
  if (client != NULL) (void)qkd004_client_close(client);
  return s;
}

int main(void) {
  int ports[8]; /* of each side: device's peers, device's key manager, applications, device's posts */
  qkd004_source* sources[2] = {NULL, NULL};
  qkd004_server* servers[4] = {NULL, NULL, NULL, NULL};
  qkd004_key_stream_id id = {{0}};
  uint8_t key[32] = {0}, same[32] = {0};
  int i, s = qkd004_source_memory(0, &sources[0], &sources[1]);
  for (i = 0; i != 8; ++i) ports[i] = free_port();
  if (!s) s = start_side(1, ports, sources[1], servers + 2);
  if (!s) s = start_side(0, ports, sources[0], servers);
  if (!s) s = get_key(ports[2], &id, key);
  if (!s) s = get_key(ports[6], &id, same);
  if (s) fprintf(stderr, "%s\n", qkd004_last_error());
  if (!s && memcmp(key, same, sizeof key) != 0) s = 1;
  for (i = 0; i != 4; ++i) {
    if (servers[i] != NULL) (void)qkd004_server_stop(servers[i]);
  }
  for (i = 0; i != 2; ++i) {
    if (sources[i] != NULL) (void)qkd004_source_close(sources[i]);
  }
  return s != QKD004_SUCCESS;
}
