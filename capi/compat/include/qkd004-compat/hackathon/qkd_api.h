/*
 * qkd_api.h: the calls of GS QKD 004 V1.1.1 in the shape of the quantum internet hackathons' mock (2019 to 2022), on
 * libqkd004.
 * SPDX-License-Identifier: Apache-2.0
 *
 * For programs that are written against that shape: they compile and link unchanged with -lqkd004-hackathon. A new
 * program is better off with qkd004.h: here nothing says how long a buffer is, and the key manager is hidden state of
 * the process, taken from the environment (QKD004_URI and what else README.md of capi/compat lists; without it both
 * ends are in this process, simulated and not secret).
 *
 * Order of calls: QKD_OPEN (QKD_CONNECT_NONBLOCK | QKD_CONNECT_BLOCKING | QKD_GET_KEY)* QKD_CLOSE.
 * Any thread may make any call. After fork() the child gets 1026 from every call that needs a key manager, if the
 * parent had already made one.
 */
#ifndef QKD_API_H
#define QKD_API_H

#include <stdint.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KEY_HANDLE_SIZE 64
#define KEYHANDLE_SIZE 64
#define IP_ADDR_MAX_LEN 16

/* What the calls return; the enumeration has had two sets of names. Beyond it, as the standard leaves numbers above
 * 1023 to vendors: 1025 invalid argument (NULL, a length that is not granted), 1026 not allowed, 1027 a limit. */
enum RETURN_CODES {
  SUCCESS = 0,
  QKD_GET_KEY_FAILED = 1, /* the stream has ended, nothing more will come */
  NO_QKD_CONNECTION = 2,  /* no key manager, no peer, or an unknown handle */
  QKD_OPEN_FAILED = 3,    /* the handle is in use, or was */
  TIMEOUT_ERROR = 4,

  QKD_RC_SUCCESS = 0,
  QKD_RC_GET_KEY_FAILED = 1,
  QKD_RC_NO_CONNECTION = 2,
  QKD_RC_OPEN_FAILED = 3,
  QKD_RC_TIMEOUT_ERROR = 4
};

/* Names a stream; no secret. All zeros is NULL. As a parameter it is a pointer: QKD_OPEN writes to it. */
typedef char key_handle_t[KEY_HANDLE_SIZE];

/* The mocks read requested_length alone, and their examples leave the rest as they found it. Here it counts. */
typedef struct {
  uint32_t requested_length; /* octets of every key, and thus of key_buffer; 0: 32 */
  uint32_t max_bps;          /* bit/s; 0: as the key manager has it */
  uint32_t priority;
  uint32_t timeout; /* ms that QKD_GET_KEY waits; 0: 5,000 */
} qos_t;

/* Text ("192.0.2.7"), or 4 or 16 octets in network order. */
typedef struct {
  uint8_t length;
  char address[IP_ADDR_MAX_LEN];
} ip_address_t;

/* Does not wait. `destination`: as the environment maps it, else the default one. `key_handle` NULL (all zeros) on
 * input: one is made and written to it; else a predefined one, or the one the other end has told. In process the first
 * end opens, then the second. */
uint32_t QKD_OPEN(ip_address_t destination, qos_t QoS, key_handle_t key_handle);
/* Whether the peer has opened the handle. `timeout` is not looked at. */
uint32_t QKD_CONNECT_NONBLOCK(key_handle_t key_handle, uint32_t timeout);
/* The same under the name of the first version. */
uint32_t QKD_CONNECT_NONBLOCKING(key_handle_t key_handle, uint32_t timeout);
/* The same, waiting for it. `timeout`: ms; 0: the timeout of the QoS. */
uint32_t QKD_CONNECT_BLOCKING(key_handle_t key_handle, uint32_t timeout);
/* The next key: exactly requested_length octets of key_buffer, or, on failure, no key. Does not wait for the peer. */
uint32_t QKD_GET_KEY(key_handle_t key_handle, char* key_buffer);
/* A handle is closed once, and is not used again. */
uint32_t QKD_CLOSE(key_handle_t key_handle);

#ifdef __cplusplus
}
#endif

#endif
