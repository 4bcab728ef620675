/* A site with TLS in this process, and an application that shows its certificate. Argument: the folder that
   `qkd004 certs` made.
   SPDX-License-Identifier: Apache-2.0 */
#include <qkd004.h>

#include <stdio.h>

int main(int argc, char **argv) {
  static const char site[] =
      "node = 'site-a'\n"
      "listen = ['qkd004s://127.0.0.1:0']\n"
      "self_link = true\n"
      "[tls]\n"
      "certificate = '%s/site-a.pem'\n"
      "key = '%s/site-a.key'\n"
      "authority = '%s/authority.pem'\n";
  char config[2048], certificate[512], key[512], authority[512], uri[256];
  size_t size = sizeof uri;
  qkd004_server_options options = QKD004_SERVER_OPTIONS_INIT;
  qkd004_connect_options as_alice = QKD004_CONNECT_OPTIONS_INIT;
  qkd004_key_stream_id id = {{0}}, another = {{0}};
  qkd004_server *server = NULL;
  qkd004_client *alice = NULL;
  qkd004_stream *stream = NULL;
  int s, good;

  if (argc != 2) return fprintf(stderr, "usage: %s FOLDER-OF-CERTIFICATES\n", argv[0]), 2;
  snprintf(config, sizeof config, site, argv[1], argv[1], argv[1]);
  snprintf(certificate, sizeof certificate, "%s/alice.pem", argv[1]);
  snprintf(key, sizeof key, "%s/alice.key", argv[1]);
  snprintf(authority, sizeof authority, "%s/authority.pem", argv[1]);

  options.config = config;
  s = qkd004_server_start(&options, &server);
  if (!s) s = qkd004_server_address(server, 0, uri, &size);
  if (s) return fprintf(stderr, "%s\n", qkd004_last_error()), 1;

  as_alice.certificate = certificate;
  as_alice.key = key;
  as_alice.authority = authority;
  as_alice.server = "qkd://site-a"; /* whose certificate the site has to show */
  s = qkd004_connect(uri, &as_alice, &alice);
  if (s) return fprintf(stderr, "%s\n", qkd004_last_error()), 1;

  s = qkd004_open_connect(alice, "qkd://alice@site-a", "qkd://bob@site-a", NULL, &id, 0, &stream);
  printf("alice as alice: %s\n", qkd004_status_text(s));
  good = s == QKD004_PEER_NOT_CONNECTED;
  qkd004_close(stream);

  s = qkd004_open_connect(alice, "qkd://carol@site-a", "qkd://bob@site-a", NULL, &another, 0, &stream);
  printf("alice as carol: %s\n", qkd004_status_text(s));
  good = good && s == QKD004_NOT_AUTHORIZED;

  qkd004_client_close(alice);
  qkd004_server_stop(server);
  return good ? 0 : 1;
}
