/* A key source in C: what the driver of a QKD device looks like to qkd004. Here the device is the system's generator, and
 * both its ends are in this process; the two applications must get the same keys.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <errno.h>
#include <qkd004.h>
#include <stdio.h>
#include <string.h>

enum { block_bytes = 1024, most_ahead = 8, keys = 1000 };

/* What both ends share: the blocks that one end has taken and the other has not. */
struct device {
  FILE *random;
  uint8_t blocks[most_ahead][block_bytes];
  uint64_t taken[2]; /* by each end, of this session */
};

struct end {
  struct device *device;
  int number;
};

/* Both ends are told the same, and answer with the same if and only if they are in step. */
static int start(void *context, const qkd004_source_session *session, uint8_t check[32]) {
  struct end *me = context;
  me->device->taken[me->number] = 0;
  memcpy(check, session->lower, 16);
  memcpy(check + 16, session->higher, 16);
  return QKD004_SUCCESS;
}

/* The next block, if there is one. It must not wait. */
static int poll(void *context, uint8_t *block, size_t *size) {
  struct end *me = context;
  struct device *d = me->device;
  uint64_t *mine = &d->taken[me->number];
  uint64_t other = d->taken[1 - me->number];
  uint8_t *kept = d->blocks[*mine % most_ahead];
  *size = 0;
  if (*mine >= other) {
    if (*mine - other == most_ahead) return QKD004_SUCCESS; /* the other end has to follow first */
    if (fread(kept, block_bytes, 1, d->random) != 1) return -EIO;
    memcpy(block, kept, block_bytes);
  } else {
    memcpy(block, kept, block_bytes);
    memset(kept, 0, block_bytes);
  }
  *size = block_bytes;
  *mine += 1;
  return QKD004_SUCCESS;
}

static int open_end(struct end *e, qkd004_source **source) {
  qkd004_source_ops ops = QKD004_SOURCE_OPS_INIT;
  ops.kind = "example";
  ops.security = QKD004_SIMULATED_INSECURE;
  ops.block_bytes = block_bytes;
  ops.start = start;
  ops.poll = poll;
  return qkd004_source_from_ops(&ops, e, source);
}

/* Takes keys at both ends and compares them. */
static int compare(qkd004_stream *a, qkd004_stream *b) {
  int i;
  for (i = 0; i != keys; ++i) {
    uint8_t at_a[32], at_b[32];
    uint64_t index_a = 0, index_b = 0;
    size_t size = sizeof at_a;
    int s = qkd004_next_key(a, at_a, &size, &index_a, NULL);
    if (!s) s = qkd004_next_key(b, at_b, &size, &index_b, NULL);
    if (s) return s;
    if (index_a != index_b || memcmp(at_a, at_b, sizeof at_a) != 0) return QKD004_PROTOCOL_ERROR;
  }
  return QKD004_SUCCESS;
}

int main(void) {
  static struct device device;
  struct end ends[2] = {{&device, 0}, {&device, 1}};
  qkd004_manager_options options = QKD004_MANAGER_OPTIONS_INIT;
  qkd004_manager *manager = NULL;
  qkd004_client *alice = NULL, *bob = NULL;
  qkd004_stream *a = NULL, *b = NULL;
  qkd004_key_stream_id id = {{0}};
  int s;
  device.random = fopen("/dev/urandom", "rb");
  if (device.random == NULL) return 1;
  s = open_end(&ends[0], &options.first);
  if (!s) s = open_end(&ends[1], &options.second);
  if (!s) s = qkd004_manager_open(&options, &manager);
  if (!s) s = qkd004_manager_connect(manager, 0, "alice", &alice);
  if (!s) s = qkd004_manager_connect(manager, 1, "bob", &bob);
  if (!s) s = qkd004_open_connect(alice, "qkd://alice@A", "qkd://bob@B", NULL, &id, QKD004_NO_WAIT, &a);
  if (s == QKD004_PEER_NOT_CONNECTED) s = qkd004_open_connect(bob, "qkd://alice@A", "qkd://bob@B", NULL, &id, 0, &b);
  if (!s) s = compare(a, b);
  if (s) fprintf(stderr, "%s\n", qkd004_last_error());
  if (!s) printf("%d keys from a key source in C, the same at both ends\n", keys);
  /* in any order: what one object needs of another it keeps */
  (void)qkd004_source_close(options.first);
  (void)qkd004_source_close(options.second);
  (void)qkd004_manager_close(manager);
  (void)qkd004_client_close(alice);
  (void)qkd004_client_close(bob);
  (void)qkd004_close(a);
  (void)qkd004_close(b); /* the last that needed the device */
  fclose(device.random);
  return s != QKD004_SUCCESS;
}
