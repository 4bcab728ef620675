/*
 * api.h: the calls of GS QKD 004 V2.1.1 in the shape of the QURSA wrapper, on libqkd004.
 * SPDX-License-Identifier: Apache-2.0
 *
 * For programs that are written against that shape: they compile and link unchanged with -lqkd004-qursa. A new program
 * is better off with qkd004.h: here nothing says how long a buffer is, and the key manager is hidden state of the
 * process, taken from the environment (QKD004_URI and what else README.md of capi/compat lists; without it both ends
 * are in this process, simulated and not secret).
 *
 * Order of calls: OPEN_CONNECT GET_KEY* CLOSE. Each returns its status and writes it to *status, too; a NULL where none
 * may be, status included, is QKD_STATUS_NO_CONNECTION.
 * Any thread may make any call. After fork() the child gets QKD_STATUS_NO_CONNECTION from every call that needs a key
 * manager, if the parent had already made one.
 */
#ifndef QKD_ETSI004_API_H_
#define QKD_ETSI004_API_H_

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QKD_KSID_SIZE 16
#define QKD_METADATA_MAX_SIZE 1024

/* Calls return these and no others. */
#define QKD_STATUS_SUCCESS 0
#define QKD_STATUS_PEER_NOT_CONNECTED 1 /* OPEN_CONNECT succeeded, the peer application has yet to come */
#define QKD_STATUS_INSUFFICIENT_KEY 2   /* GET_KEY: read already, expired, or the stream has ended */
#define QKD_STATUS_PEER_NOT_CONNECTED_GET_KEY 3 /* GET_KEY: the peer has yet to come; unknown stream */
#define QKD_STATUS_NO_CONNECTION 4              /* no key manager, no link, or arguments that cannot be */
#define QKD_STATUS_KSID_IN_USE 5 /* OPEN_CONNECT: somebody else's, closed before, not allowed */
#define QKD_STATUS_TIMEOUT 6
#define QKD_STATUS_QOS_NOT_MET 7                /* OPEN_CONNECT: no stream; *qos now says what can be had */
#define QKD_STATUS_METADATA_SIZE_INSUFFICIENT 8 /* GET_KEY: Metadata_size says what is needed */

/* Names that the first version had. Its QKD_STATUS_PEER_NOT_CONNECTED was 3, which a later one took for 1. */
#define QKD_STATUS_PEER_DISCONNECTED 1
#define QKD_STATUS_METADATA_SIZE_ERROR 8

/* 0, or "", leaves a field to the key manager. */
struct qkd_qos_s {
  uint32_t Key_chunk_size; /* octets of every key, and thus of key_buffer */
  uint32_t Max_bps;        /* bit/s */
  uint32_t Min_bps;        /* bit/s */
  uint32_t Jitter;         /* bit/s */
  uint32_t Priority;
  uint32_t Timeout; /* ms */
  uint32_t TTL;     /* s */
  char Metadata_mimetype[256];
};

struct qkd_metadata_s {
  uint32_t Metadata_size;         /* in: room, 0: none wanted; out: octets of text, or what is needed */
  unsigned char* Metadata_buffer; /* JSON text and a NUL, for which there must be room, too */
};

/* A way to keys. The calls below go to the one that is registered; ours is, from the start. */
struct qkd_004_backend {
  const char* name;
  uint32_t (*open_connect)(const char* source, const char* destination, struct qkd_qos_s* qos,
                           unsigned char* key_stream_id, uint32_t* status);
  uint32_t (*get_key)(const unsigned char* key_stream_id, uint32_t* index, unsigned char* key_buffer,
                      struct qkd_metadata_s* metadata, uint32_t* status);
  uint32_t (*close)(const unsigned char* key_stream_id, uint32_t* status);
};

/* Not copied: it has to live as long as it is registered. NULL: none, then every call is QKD_STATUS_NO_CONNECTION. */
void register_qkd_004_backend(const struct qkd_004_backend* backend);
const struct qkd_004_backend* get_active_004_backend(void);

/*
 * `source`, `destination`: URIs, which the environment may replace (QKD004_APPLICATION, QKD004_DESTINATION); in process
 * any text. `qos`: in what is asked, out what the stream has. If Key_chunk_size is asked for and the stream has
 * another, there is no stream for this end and QKD_STATUS_QOS_NOT_MET: nothing would keep the key within key_buffer.
 * `key_stream_id`: QKD_KSID_SIZE octets; all zeros: one is made. A predefined one waits for the peer, up to Timeout,
 * and is then QKD_STATUS_PEER_NOT_CONNECTED; in process it does not wait.
 */
uint32_t OPEN_CONNECT(const char* source, const char* destination, struct qkd_qos_s* qos,
                      unsigned char* key_stream_id, uint32_t* status);

/*
 * `index`: which key; UINT32_MAX: the next one, whose index is written to it. Every key is read once: the same index
 * again is QKD_STATUS_INSUFFICIENT_KEY (over a wire, the same key until it counts as received).
 * `key_buffer`: Key_chunk_size octets, written on success alone. `metadata`: NULL: none.
 */
uint32_t GET_KEY(const unsigned char* key_stream_id, uint32_t* index, unsigned char* key_buffer,
                 struct qkd_metadata_s* metadata, uint32_t* status);

/* May be repeated. */
uint32_t CLOSE(const unsigned char* key_stream_id, uint32_t* status);

#ifdef __cplusplus
}
#endif

#endif
