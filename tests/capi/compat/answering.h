/* answering: a key manager of a few lines, whose answers the test chooses. It stands behind the compatibility library by
 * way of functions of qkd004.h that the program has in place of libqkd004's. Key n is octets of n + 1.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ANSWERING_H
#define ANSWERING_H

#include <errno.h>

#include "check.h"
#include "qkd004.h"

static struct {
  int opened;           /* status of OPEN_CONNECT */
  int close_status;     /* of CLOSE */
  int close_fails_with; /* minus an errno: CLOSE is not answered */
  int peer;             /* what qkd004_wait_for_peer() comes to */
  uint32_t chunk;       /* octets of a key; 0: as they were asked for */
  unsigned keys;        /* that were handed out */
} answering;

static int answering_exchange(void* context, const qkd004_request* q, qkd004_response* r) {
  (void)context;
  if (q->operation == QKD004_CLOSE) {
    r->status = answering.close_status;
    return answering.close_fails_with;
  }
  if (q->operation == QKD004_OPEN_CONNECT) {
    r->status = answering.opened;
    r->qos.key_chunk_size = answering.chunk;
    return 0;
  }
  memset(r->key, (int)(q->index + 1), r->key_size);
  ++answering.keys;
  return 0;
}

int qkd004_connect(const char* uri, const qkd004_connect_options* options, qkd004_client** client) {
  qkd004_exchange_ops ops = QKD004_EXCHANGE_OPS_INIT;
  CHECK(strcmp(uri, "test:") == 0 && options != NULL);
  ops.exchange = answering_exchange;
  return qkd004_client_from_ops(&ops, NULL, client);
}

int qkd004_wait_for_peer(qkd004_stream* stream, uint32_t timeout_ms) {
  CHECK(stream != NULL && timeout_ms == 1);
  return answering.peer;
}

#endif
