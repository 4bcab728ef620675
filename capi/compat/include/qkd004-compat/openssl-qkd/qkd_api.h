/*
 * qkd_api.h: the calls of GS QKD 004 V1.1.1 in the shape of openssl-qkd (2019), on libqkd004.
 * SPDX-License-Identifier: Apache-2.0
 *
 * For programs that are written against that shape: they compile and link unchanged with -lqkd004-openssl-qkd. A new
 * program is better off with qkd004.h: here nothing says how long a buffer is, errors are few, and the key manager is
 * hidden state of the process, taken from the environment (QKD004_URI and what else README.md of capi/compat lists;
 * without it both ends are in this process, simulated and not secret).
 *
 * Order of calls: QKD_init? QKD_open (QKD_connect_nonblock | QKD_connect_blocking | QKD_get_key)* QKD_close.
 * Any thread may make any call. After fork() the child gets QKD_RESULT_CONNECTION_FAILED from every call that needs a
 * key manager, if the parent had already made one.
 */
#ifndef QKD_API_H
#define QKD_API_H

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  QKD_RESULT_SUCCESS = 0,
  QKD_RESULT_SEND_FAILED = 1,       /* not used */
  QKD_RESULT_RECEIVE_FAILED = 2,    /* QKD_get_key: no key within the QoS timeout, or the stream has ended */
  QKD_RESULT_CONNECTION_FAILED = 3, /* no key manager or peer; a handle unknown or in use */
  QKD_RESULT_OUT_OF_MEMORY = 4,     /* also: a limit of the key manager */
  QKD_STATUS_OPEN_SSL_ERROR = 5,    /* not used; the name is as the programs have it */
  QKD_RESULT_NOT_SUPPORTED = 6      /* NULL; a length that the key manager or the other end does not grant */
} QKD_result_t;

/* In words. Static. */
const char* QKD_result_str(QKD_result_t result);

#define QKD_KEY_HANDLE_SIZE 64

/* Names a stream; no secret. All zeros is "null". */
typedef struct QKD_key_handle_st {
  char bytes[QKD_KEY_HANDLE_SIZE];
} QKD_key_handle_t;

extern const QKD_key_handle_t QKD_key_handle_null;

/*
 * DANGER: writes a secret out as hexadecimal digits. It is here because programs of this shape call it to log their
 * key: one who logs a key has none any more. This library itself never calls it.
 * Returns a text that the thread's next call overwrites and frees (QKD_shared_secret_str(NULL, 0) does just that), as
 * the end of the thread does; NULL without memory.
 */
char* QKD_shared_secret_str(char* shared_secret, size_t shared_secret_size);

void QKD_key_handle_set_null(QKD_key_handle_t* key_handle);
/* A null pointer is null, too. */
bool QKD_key_handle_is_null(const QKD_key_handle_t* key_handle);
/* From the system's random numbers; aborts where it has none. */
void QKD_key_handle_set_random(QKD_key_handle_t* key_handle);
/* 128 hexadecimal digits, which the thread's next call overwrites. */
char* QKD_key_handle_str(const QKD_key_handle_t* key_handle);
/* Less than, equal to or greater than 0, by octets. */
int QKD_key_handle_compare(const QKD_key_handle_t* key_handle_1, const QKD_key_handle_t* key_handle_2);

typedef struct QKD_qos_st {
  uint32_t requested_length; /* octets of every key, and thus of key_buffer; 0: 32 */
  uint32_t max_bps;          /* bit/s; 0: as the key manager has it */
  uint32_t priority;
  uint32_t timeout; /* ms that QKD_get_key waits; 0: 5,000 */
} QKD_qos_t;

/*
 * Does not wait. `destination`: as the environment maps it; NULL: the default one. `key_handle` null on input: one is
 * made; else a predefined one, or the one the other end has told. In process the first end opens, then the second.
 */
QKD_result_t QKD_open(char* destination, QKD_qos_t qos, QKD_key_handle_t* key_handle);
/* Whether the peer has opened the handle. */
QKD_result_t QKD_connect_nonblock(const QKD_key_handle_t* key_handle);
/* The same, waiting for it. `timeout`: ms; 0: the timeout of the QoS. */
QKD_result_t QKD_connect_blocking(const QKD_key_handle_t* key_handle, uint32_t timeout);
/* The next key: exactly requested_length octets of key_buffer, or, on failure, no key. Does not wait for the peer. */
QKD_result_t QKD_get_key(const QKD_key_handle_t* key_handle, char* key_buffer);
/* A handle is closed once, and is not used again. */
QKD_result_t QKD_close(const QKD_key_handle_t* key_handle);

/* Which end the next QKD_open of this process is, where both ends are in process. May be left out. */
QKD_result_t QKD_init(bool am_server);

#ifdef __cplusplus
}
#endif

#endif
