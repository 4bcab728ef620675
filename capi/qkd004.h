/*
 * qkd004.h: the C interface of qkd004: keys from quantum key distribution after ETSI GS QKD 004, V2.1.1 and V1.1.1.
 * SPDX-License-Identifier: Apache-2.0
 *
 * The law. It holds for every function here; what a function's own comment says comes on top.
 *
 *  1. Results. A function that can fail returns int: a status of the standard or ours (0 and above, enum qkd004_status),
 *     or minus an errno (-ECONNREFUSED). 0 is success; so is QKD004_PEER_NOT_CONNECTED (1) of qkd004_open_connect() and
 *     of nothing else. After any other, outputs are as they were, unless a comment says what they hold; a buffer for key
 *     may have been written to, and holds nothing to be used. qkd004_last_error() has a sentence about the last failure
 *     of the calling thread. No text ever holds key. Any call may be QKD004_RESOURCE_LIMIT when memory is short, and -EIO
 *     where the application's own code has thrown an exception into the library.
 *  2. Nothing is lost by a failure. A call that does not return 0 consumed no key: the same call can be made again.
 *  3. Handles. Objects are opaque. A function that makes one writes the handle only on success; it ends with the
 *     function that its comment names. A handle that is NULL, ended or of another kind gives -EBADF, as often as it is
 *     used: handles are numbers that are looked up, and are never used again. What one object needs of another it keeps
 *     alive: they may end in any order.
 *  4. Buffers come with their length: `*size` is the room on the way in, the octets written on the way out. Too little
 *     room is -ENOBUFS, `*size` then says what is needed, and nothing is consumed. A NULL buffer has room 0. More room
 *     than needed is fine, and stays untouched.
 *  5. Structs begin with struct_size, which the macros QKD004_..._INIT set. It says which version of the struct the
 *     caller was compiled with: a smaller one than the first version's, a larger one with something in it that this
 *     library does not know (anything but zeros), or one above 65,536 is QKD004_INVALID_ARGUMENT. A NULL where a struct
 *     of options is wanted means defaults.
 *  6. Strings are UTF-8 and end with NUL; they are copied before the function returns. Invalid UTF-8 is
 *     QKD004_INVALID_ARGUMENT. NULL where a string is needed too.
 *  7. Threads. Every function may be called from any thread, also on the same handle at the same time. Ending an object
 *     while another thread waits in a call on it is allowed: that call returns -ECANCELED, and the end waits for it.
 *  8. Callbacks must not throw or longjmp out: what a C++ one throws all the same is caught. They may make any call but
 *     these, which would wait for their own return and are -EDEADLK: ending the object that calls them, and
 *     qkd004_prefetch() of that stream; and, from a key source or a log, a call on the manager or server that has it, and
 *     on clients of that manager and their streams. An object that was made calls `destroy`, if there is one, as its last;
 *     one that was not, never.
 *  9. fork. In the child every handle of the parent gives -EPERM: key must not be used at both sides of a fork. The child
 *     may make objects of its own.
 * 10. Nothing here is variadic, global or hidden: no call changes signal handlers, locale or the environment, and no
 *     exception leaves the library.
 *
 * A key, in short:
 *
 *     qkd004_client *km;
 *     qkd004_stream *stream;
 *     qkd004_qos qos = QKD004_QOS_INIT;
 *     qkd004_key_stream_id id = {{0}};               // all zeros: the key manager makes one
 *     uint8_t key[32];
 *     size_t size = sizeof key;
 *     uint64_t index;
 *     qos.key_chunk_size = 32;
 *     int s = qkd004_connect("qkd004://127.0.0.1:25575", NULL, &km);
 *     if (!s) s = qkd004_open_connect(km, "qkd://alice@A", "qkd://bob@B", &qos, &id, 0, &stream);
 *     if (s == QKD004_SUCCESS || s == QKD004_PEER_NOT_CONNECTED) s = qkd004_next_key(stream, key, &size, &index, NULL);
 *     if (s) fputs(qkd004_last_error(), stderr);
 */
#ifndef QKD004_H
#define QKD004_H

#include <stddef.h>
#include <stdint.h>

#if defined(QKD004_CAPI_BUILD)
#define QKD004_API __attribute__((visibility("default")))
#else
#define QKD004_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* --- Version and errors ------------------------------------------------------------------------------------------- */

#define QKD004_VERSION_NUMBER(major, minor, patch) (((uint32_t)(major) << 16) | ((uint32_t)(minor) << 8) | (uint32_t)(patch))

/** Version of the library that runs, as QKD004_VERSION_NUMBER. */
QKD004_API uint32_t qkd004_version(void);
/** The same as text, "0.1.0". Static. */
QKD004_API const char *qkd004_version_text(void);

/** What a call came to. 0 to 8 are the standard's (V2.1.1, table 2), from 1024 on are ours. */
typedef enum qkd004_status {
  QKD004_SUCCESS = 0,
  QKD004_PEER_NOT_CONNECTED = 1,         /**< OPEN_CONNECT succeeded, the peer application is not there yet */
  QKD004_INSUFFICIENT_KEY = 2,           /**< no key now, and the caller did not want to wait */
  QKD004_GET_KEY_PEER_NOT_CONNECTED = 3, /**< the peer application is gone, or is insisted upon and missing */
  QKD004_NO_QKD_CONNECTION = 4,          /**< no link towards the destination */
  QKD004_KSID_IN_USE = 5,                /**< the Key_stream_ID belongs to somebody else, or was closed */
  QKD004_TIMEOUT = 6,                    /**< not done within QoS Timeout */
  QKD004_QOS_NOT_MET = 7,                /**< the QoS returned is a counter-proposal; no stream exists */
  QKD004_METADATA_SIZE_INSUFFICIENT = 8, /**< the needed size is returned; no key was consumed */
  QKD004_UNKNOWN_KEY_STREAM = 1024,
  QKD004_INVALID_ARGUMENT = 1025,
  QKD004_NOT_AUTHORIZED = 1026, /**< the access table says no, or a newer OPEN_CONNECT took the stream over */
  QKD004_RESOURCE_LIMIT = 1027,
  QKD004_PROTOCOL_ERROR = 1028,
  QKD004_INDEX_NOT_AVAILABLE = 1029, /**< acknowledged, expired, skipped or already consumed */
  QKD004_STREAM_EXHAUSTED = 1030,
  QKD004_SHUTTING_DOWN = 1031
} qkd004_status;

/** A result in words, without a full stop; also of minus an errno. Static, or valid until the thread's next call. */
QKD004_API const char *qkd004_status_text(int result);

/** The last failure of this thread in a sentence; "" if there was none. Valid until the thread's next call. */
QKD004_API const char *qkd004_last_error(void);

/* --- The standard's nouns ----------------------------------------------------------------------------------------- */

/** Names a key stream; no secret: tell it to the other end. A UUID in network octet order; all zeros is NULL. */
typedef struct qkd004_key_stream_id {
  uint8_t octets[16];
} qkd004_key_stream_id;

/** Octets of an id as text: 36 characters of 8-4-4-4-12 hexadecimal digits, and NUL. */
#define QKD004_KEY_STREAM_ID_TEXT 37
/** Writes an id as text, in lower case. */
QKD004_API int qkd004_key_stream_id_format(const qkd004_key_stream_id *id, char text[QKD004_KEY_STREAM_ID_TEXT]);
/** Reads an id, digits in either case. Returns QKD004_INVALID_ARGUMENT for any other text. */
QKD004_API int qkd004_key_stream_id_parse(const char *text, qkd004_key_stream_id *id);

/** QoS of OPEN_CONNECT (V2.1.1, table 2; D3). In a request 0 and "" mean: the key manager chooses. */
typedef struct qkd004_qos {
  size_t struct_size;
  uint32_t key_chunk_size; /**< octets of every key */
  uint32_t max_bps;        /**< bit/s, the most the application will take */
  uint32_t min_bps;        /**< bit/s, the least it needs */
  uint32_t jitter;         /**< bit/s, the largest deviation of the delivery rate; 0: not asked */
  uint32_t priority;       /**< larger is more urgent */
  uint32_t timeout_ms;     /**< ms, any call not done by then returns QKD004_TIMEOUT */
  uint32_t ttl_s;          /**< s, life of a key from when it became deliverable */
  char metadata_mimetype[256]; /**< "application/json", or "" for no metadata */
} qkd004_qos;
#define QKD004_QOS_INIT \
  { sizeof(qkd004_qos), 0, 0, 0, 0, 0, 0, 0, "" }

/** Metadata of a key (V2.1.1, table 2; D14). */
typedef struct qkd004_metadata {
  size_t struct_size;
  uint32_t age_ms; /**< out: since the key became deliverable at this side; 0 where the key manager does not say */
  uint32_t hops;   /**< out: 0 is a direct link */
  char *buffer;    /**< in: where the JSON text goes; not terminated; NULL: not wanted */
  size_t size;     /**< in: octets there; out: octets written, or needed after QKD004_METADATA_SIZE_INSUFFICIENT */
} qkd004_metadata;
#define QKD004_METADATA_INIT \
  { sizeof(qkd004_metadata), 0, 0, NULL, 0 }

/** Octets that hold the JSON text of any key: what a buffer must have, so that it is known to be enough before a key is
 *  taken. There is text on streams whose QoS has a metadata_mimetype. */
#define QKD004_METADATA_SIZE 36
/** The same on streams that were opened with QKD004_VENDOR_METADATA. */
#define QKD004_METADATA_VENDOR_SIZE 4096

/** How far the key of a source may be trusted. */
typedef enum qkd004_security {
  QKD004_SIMULATED_INSECURE = 0,
  QKD004_SIMULATED_OVER_TLS = 1,
  QKD004_HARDWARE = 2
} qkd004_security;

/* --- Handles ------------------------------------------------------------------------------------------------------ */

typedef struct qkd004_client qkd004_client;         /**< an application's way to one key manager */
typedef struct qkd004_stream qkd004_stream;         /**< an open key stream */
typedef struct qkd004_source qkd004_source;         /**< one end of a key source */
typedef struct qkd004_manager qkd004_manager;       /**< two linked key managers in this process */
typedef struct qkd004_server qkd004_server;         /**< a site: a key manager with listeners and peers */
typedef struct qkd004_v1_session qkd004_v1_session; /**< the key streams of one application of the first edition */

/* --- Clients ------------------------------------------------------------------------------------------------------ */

/** How a client connects, and whom it believes. */
typedef struct qkd004_connect_options {
  size_t struct_size;
  uint32_t connect_timeout_ms; /**< 0: 5,000 */
  int allow_insecure;          /**< not 0: plain TCP off loopback */
  int plain;                   /**< not 0: speak 004 only, no HELLO */
  int per_call;                /**< not 0: a connection for every call, as some servers want it; not HTTP */
  const char *certificate;     /**< PEM file of this end, for TLS; NULL: none */
  const char *key;             /**< its private key, PEM; nobody but its owner may read the file */
  const char *authority;       /**< PEM file of the authorities the server's certificate may come from */
  const char *server;          /**< SAN URI that the server's certificate must have; NULL: it must name the URI's host */
  size_t memory_bytes;         /**< most locked memory for key on its way; 0: 8 MiB */
  int allow_unlocked;          /**< not 0: go on when the system refuses to lock memory: key may reach swap space */
} qkd004_connect_options;
#define QKD004_CONNECT_OPTIONS_INIT \
  { sizeof(qkd004_connect_options), 0, 0, 0, 0, NULL, NULL, NULL, NULL, 0, 0 }

/**
 * Connects to the key manager at a URI: `qkd004://host:port` (TCP), `qkd004s://host:port` (TLS), `unix:/path`, and what
 * else this build has a transport for. Ends with qkd004_client_close().
 * Returns QKD004_INVALID_ARGUMENT (the URI, the options, a file of TLS), -EACCES (a file that others may read, a refused
 * certificate), what the server said, or the system's error.
 */
QKD004_API int qkd004_connect(const char *uri, const qkd004_connect_options *options, qkd004_client **client);

/** How the client's streams at its site stand, or one of them (`id` not NULL), as a JSON object; not terminated. */
QKD004_API int qkd004_client_report(qkd004_client *client, const qkd004_key_stream_id *id, char *json, size_t *size);

/** Calls of this client that wait at this moment, those of its streams included, return -ECANCELED. They consumed no
 *  key. */
QKD004_API int qkd004_client_cancel(qkd004_client *client);

/** Ends the handle. Streams that were opened with it go on, and calls that wait in them. */
QKD004_API int qkd004_client_close(qkd004_client *client);

/* --- Key streams: the calls of V2.1.1 ----------------------------------------------------------------------------- */

#define QKD004_NO_WAIT 1u         /**< a first opener of a given id gets 1 at once (D8) */
#define QKD004_STRICT_ONCE 2u     /**< a key is erased when it is handed out (R8) */
#define QKD004_VENDOR_METADATA 4u /**< metadata have the members x_* too, which say how the key came to be (D14) */

/**
 * OPEN_CONNECT. `qos`: in what is asked, out what the stream has, or with QKD004_QOS_NOT_MET a counter-proposal; NULL
 * for defaults. `id`: in NULL (all zeros) for a new stream or the id that the other end has told; out the stream's; a
 * NULL pointer is a new stream, too. `flags`: QKD004_... or 0. The stream ends with qkd004_close() or qkd004_detach().
 * Returns 0; 1 (there is a stream, the peer application has yet to come); QKD004_QOS_NOT_MET, KSID_IN_USE,
 * NO_QKD_CONNECTION, TIMEOUT, INVALID_ARGUMENT, NOT_AUTHORIZED, RESOURCE_LIMIT, SHUTTING_DOWN; minus an errno.
 * Clause: GS QKD 004 V2.1.1, 6.1; D5, D8, D9.
 */
QKD004_API int qkd004_open_connect(qkd004_client *client, const char *source, const char *destination, qkd004_qos *qos,
                                   qkd004_key_stream_id *id, uint32_t flags, qkd004_stream **stream);

/**
 * GET_KEY of an index, waited for up to QoS Timeout. `key` has room for key_chunk_size octets. `metadata` may be NULL.
 * Returns QKD004_INDEX_NOT_AVAILABLE, TIMEOUT, METADATA_SIZE_INSUFFICIENT, GET_KEY_PEER_NOT_CONNECTED, NOT_AUTHORIZED,
 * UNKNOWN_KEY_STREAM, SHUTTING_DOWN; -ENOBUFS; minus an errno.
 */
QKD004_API int qkd004_get_key(qkd004_stream *stream, uint64_t index, uint8_t *key, size_t *size,
                              qkd004_metadata *metadata);

/** GET_KEY of the next key of this side; `index` (may be NULL) receives its index. As qkd004_get_key() otherwise. */
QKD004_API int qkd004_next_key(qkd004_stream *stream, uint8_t *key, size_t *size, uint64_t *index,
                               qkd004_metadata *metadata);

/** The same without waiting: QKD004_INSUFFICIENT_KEY when there is none now. */
QKD004_API int qkd004_try_next_key(qkd004_stream *stream, uint8_t *key, size_t *size, uint64_t *index,
                                   qkd004_metadata *metadata);

/**
 * The next keys, one after another, as many as follow without a gap and fit into `*size` octets; waits for the first
 * only. `first` receives the index of the first, `count` how many there are; both may be NULL. Behind `*size` octets the
 * buffer may have been written to. As qkd004_get_key() otherwise.
 */
QKD004_API int qkd004_get_keys(qkd004_stream *stream, uint8_t *keys, size_t *size, uint64_t *first, size_t *count);

/** Over a wire: up to `keys` keys are sent ahead of qkd004_next_key(). 0 stops it. See key_stream::prefetch(). Waits for
 *  the calls of other threads that are in the stream at this moment; those that come later wait for it. */
QKD004_API int qkd004_prefetch(qkd004_stream *stream, uint32_t keys);

/** Tells the key manager that every key returned so far is with the application: it destroys its copies (R5). Happens
 *  by itself with later calls. */
QKD004_API int qkd004_acknowledge(qkd004_stream *stream);

/** Waits until the peer application has opened the stream; `timeout_ms` 0: up to QoS Timeout. */
QKD004_API int qkd004_wait_for_peer(qkd004_stream *stream, uint32_t timeout_ms);

/** What the stream has, as OPEN_CONNECT settled it. Each may be NULL. */
QKD004_API int qkd004_stream_describe(qkd004_stream *stream, qkd004_key_stream_id *id, qkd004_qos *qos);

/** Calls of this stream that wait at this moment return -ECANCELED. They consumed no key. */
QKD004_API int qkd004_stream_cancel(qkd004_stream *stream);

/** CLOSE. What this side has not read is destroyed, the other side reads on what it has (D16). Ends the handle when the
 *  key manager has answered, whatever it says. Where it has not, it may be called again: after minus an errno always;
 *  QKD004_TIMEOUT, PROTOCOL_ERROR and RESOURCE_LIMIT may be either, and -EBADF of the next call says that it had ended. */
QKD004_API int qkd004_close(qkd004_stream *stream);

/** Ends the handle and lets the stream live on, for a program that comes back with its id. */
QKD004_API int qkd004_detach(qkd004_stream *stream);

/* --- Key sources -------------------------------------------------------------------------------------------------- */

/** Random octets handed to both ends inside this process; `rate_bps` 0: as fast as asked. Simulated, insecure. Ends with
 *  qkd004_source_close(), as every source. */
QKD004_API int qkd004_source_memory(uint64_t rate_bps, qkd004_source **first, qkd004_source **second);

/** AES-256-CTR under a secret of 32 octets that both sites have. `secret_file`: mode 0600, 32 octets or 64 hexadecimal
 *  digits. For tests and load. Returns -EACCES (others may read the file), QKD004_INVALID_ARGUMENT (what is in it), or
 *  minus the errno of the file. */
QKD004_API int qkd004_source_seeded(const char *secret_file, uint64_t rate_bps, qkd004_source **source);

/** A key source that reads key from a file. */
typedef struct qkd004_file_source_options {
  size_t struct_size;
  const char *path;          /**< the key file; both sites hold the same */
  const char *offset_path;   /**< where the offset is kept; NULL: path + ".offset" */
  int32_t security;          /**< qkd004_security: how far the key may be trusted, as who made the file knows */
  size_t block_bytes;        /**< octets of one block; 0: 4,096 */
  uint64_t rate_bps;         /**< bit/s; 0: as fast as asked */
  int allow_readable;        /**< not 0: go on when group or others have access to the file */
  int erase;                 /**< not 0: overwrite used key */
} qkd004_file_source_options;
#define QKD004_FILE_SOURCE_OPTIONS_INIT \
  { sizeof(qkd004_file_source_options), NULL, NULL, QKD004_SIMULATED_INSECURE, 0, 0, 0, 0 }
/** Key from a file. Returns -EACCES (others may read it), -EBUSY (another source has it), QKD004_INVALID_ARGUMENT (the
 *  options, what is in the files), or minus the errno of a file. */
QKD004_API int qkd004_source_file(const qkd004_file_source_options *options, qkd004_source **source);

/** Which proof turns counts into a length of key: two decoys or one. See decoy_bb84.hpp. */
typedef enum qkd004_proof { QKD004_LIM14 = 0, QKD004_W24 = 1 } qkd004_proof;
/** How the simulated detections are drawn: one by one, or only how many of each kind there are, for loads. */
typedef enum qkd004_sampling { QKD004_SAMPLE_EVENTS = 0, QKD004_SAMPLE_BLOCKS = 1 } qkd004_sampling;
/** What the disclosure of reconciliation is counted as. See software_link.hpp. */
typedef enum qkd004_leak_account { QKD004_ALICE_ONLY = 0, QKD004_BOTH_DIRECTIONS = 1 } qkd004_leak_account;

/** A kind of pulse: how bright, how often. */
typedef struct qkd004_intensity {
  double mean_photons;
  double probability;
} qkd004_intensity;

/** A QKD link in software: simulated photons, a real post-processing stack. See decoy_bb84.hpp and software_link.hpp,
 *  whose defaults qkd004_software_link_defaults() fills in. Its key is simulated. */
typedef struct qkd004_software_link_options {
  size_t struct_size;
  int32_t proof; /**< qkd004_proof */
  double km;
  double loss_db_per_km;
  double efficiency;
  double dark_count;
  double afterpulse;
  double misalignment;
  uint32_t dead_pulses;
  double x_basis;
  qkd004_intensity intensities[3]; /**< signal, then the decoys; with QKD004_W24 the third is not used */
  double eps_sec;
  double eps_cor;
  int32_t sampling;    /**< qkd004_sampling */
  uint32_t block_bits; /**< sifted bits of a block */
  double qber_limit;
  int32_t leak; /**< qkd004_leak_account */
  double intercept_resend; /**< fraction of the pulses that an eavesdropper measures and sends again */
  uint64_t pulse_rate;     /**< pulses per second; 0: as many as the processors can do */
  uint32_t blocks_in_flight;
} qkd004_software_link_options;
/** Fills in the defaults. Requires: options->struct_size is set. */
QKD004_API int qkd004_software_link_defaults(qkd004_software_link_options *options);

/** Both ends of a software link in this process; `options` NULL: the defaults. A thread distils until the last user of an
 *  end is gone. Returns QKD004_INVALID_ARGUMENT, and qkd004_last_error() says of what. */
QKD004_API int qkd004_source_software_link(const qkd004_software_link_options *options, qkd004_source **alice,
                                           qkd004_source **bob);

/** What a software link has counted since it was made. */
typedef struct qkd004_software_report {
  size_t struct_size;
  uint64_t pulses;      /**< simulated */
  uint64_t detections;
  uint64_t sifted;      /**< bits */
  uint64_t secret;      /**< bits of accepted blocks, without those for authentication */
  uint64_t accepted;    /**< blocks */
  uint64_t over_limit;  /**< blocks discarded: QBER above the limit */
  uint64_t no_key;      /**< blocks discarded: nothing secret is left */
  uint64_t unequal;     /**< blocks discarded: verification failed */
  double qber;          /**< of the last block */
  double efficiency;    /**< of reconciliation, of the last block accepted */
} qkd004_software_report;
#define QKD004_SOFTWARE_REPORT_INIT \
  { sizeof(qkd004_software_report), 0, 0, 0, 0, 0, 0, 0, 0, 0.0, 0.0 }
/** What one end of a software link has counted. QKD004_INVALID_ARGUMENT for a source of another kind. */
QKD004_API int qkd004_source_software_report(qkd004_source *source, qkd004_software_report *report);

/** What both sites know once they met. Valid during the callback. */
typedef struct qkd004_source_session {
  size_t struct_size;
  const char *link;     /**< the link's name, equal at both sites */
  uint8_t lower[16];    /**< instance of the site with the lower node id */
  uint8_t higher[16];   /**< instance of the other */
  uint64_t first_block; /**< number of the first block wanted */
} qkd004_source_session;

/** A key source written by the application (a QKD device's driver). See key_source.hpp, the contract of which it is the
 *  C form. One thread at a time; none of them may block. */
typedef struct qkd004_source_ops {
  size_t struct_size;
  const char *kind; /**< what it is; both sites of a link must have the same */
  int32_t security; /**< qkd004_security */
  uint64_t rate_bps; /**< bit/s it expects to deliver; 0: as fast as asked */
  uint32_t jitter_bps;
  uint32_t hops;
  size_t block_bytes; /**< most octets of one block */
  /** Number of the first block this site could still hand out; NULL: 0, sessions start afresh. */
  uint64_t (*position)(void *context);
  /** Begins a session. `check` receives a value that is equal at both sites if and only if they are in step. 0, or a
   *  qkd004_status or minus an errno that ends the link. */
  int (*start)(void *context, const qkd004_source_session *session, uint8_t check[32]);
  /** The next block. `*size`: in block_bytes, out its octets; 0: none yet. 0; QKD004_PROTOCOL_ERROR: the ends are out of
   *  step, begin another session; any other: no block will come in this session. */
  int (*poll)(void *context, uint8_t *block, size_t *size);
  /** ms after which poll() may have more; NULL: 10. */
  uint32_t (*ready_in_ms)(void *context);
  void (*stop)(void *context);    /**< NULL: nothing to do */
  void (*destroy)(void *context); /**< NULL: nothing to do */
} qkd004_source_ops;
#define QKD004_SOURCE_OPS_INIT \
  { sizeof(qkd004_source_ops), NULL, QKD004_SIMULATED_INSECURE, 0, 0, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL }
/** A key source of the application's own; `context` is the library's to destroy if this returns 0. Returns
 *  QKD004_INVALID_ARGUMENT (no kind, start or poll; block_bytes is not 1 to 1,048,576). */
QKD004_API int qkd004_source_from_ops(const qkd004_source_ops *ops, void *context, qkd004_source **source);

/** Ends the handle; who uses the source keeps it. A source is used once. */
QKD004_API int qkd004_source_close(qkd004_source *source);

/* --- Two key managers in this process ----------------------------------------------------------------------------- */

/** The two sites of qkd004_manager: ids, and where their key comes from. */
typedef struct qkd004_manager_options {
  size_t struct_size;
  const char *first_node;  /**< NULL: "A"; `qkd://app@A` is an application of the first site */
  const char *second_node; /**< NULL: "B" */
  qkd004_source *first;    /**< NULL (both): random octets */
  qkd004_source *second;
  size_t memory_bytes; /**< most locked memory of each site; 0: 8 MiB */
  int allow_unlocked;
  uint32_t ring_chunks; /**< window of a stream, a power of two; 0: 128 */
  size_t max_streams;   /**< 0: 10,000 */
} qkd004_manager_options;
#define QKD004_MANAGER_OPTIONS_INIT \
  { sizeof(qkd004_manager_options), NULL, NULL, NULL, NULL, 0, 0, 0, 0 }

/** Two key managers, linked; `options` NULL: the defaults. They have no thread: whoever waits for a key does their work.
 *  Ends with qkd004_manager_close(). Returns QKD004_INVALID_ARGUMENT (the options; a source that is in use or was). */
QKD004_API int qkd004_manager_open(const qkd004_manager_options *options, qkd004_manager **manager);

/** A client of site 0 or 1. `principal`: who the application is; NULL: "anonymous". */
QKD004_API int qkd004_manager_connect(qkd004_manager *manager, int site, const char *principal, qkd004_client **client);

/** Ends the handle; clients go on. */
QKD004_API int qkd004_manager_close(qkd004_manager *manager);

/** A manager of defaults and a client at each of its sites "A" and "B". */
QKD004_API int qkd004_pair(qkd004_client **a, qkd004_client **b);

/* --- Servers ------------------------------------------------------------------------------------------------------ */

/** What a line of the log is for. */
typedef enum qkd004_log_level {
  QKD004_LOG_DEBUG = 0,
  QKD004_LOG_INFO = 1,
  QKD004_LOG_WARNING = 2,
  QKD004_LOG_ERROR = 3
} qkd004_log_level;

/** Gives the link of this name its key source, in place of what the configuration says. */
typedef struct qkd004_link_source {
  const char *link;
  qkd004_source *source;
} qkd004_link_source;

/** What a site is told: a configuration, or its parts. */
typedef struct qkd004_server_options {
  size_t struct_size;
  const char *file;   /**< configuration, TOML, as of `qkd004 serve`; or NULL: */
  const char *config; /**< the same as text; relative paths in it are taken from the working directory */
  const qkd004_link_source *sources; /**< NULL: none */
  size_t source_count;
  /** A line for those who operate it, never with key; from the server's thread and from who starts and stops it. NULL:
   *  silent. */
  void (*log)(void *context, qkd004_log_level level, const char *line);
  void *log_context;
} qkd004_server_options;
#define QKD004_SERVER_OPTIONS_INIT \
  { sizeof(qkd004_server_options), NULL, NULL, NULL, 0, NULL, NULL }

/** A site on a thread of its own. It listens when this returns. Ends with qkd004_server_stop(), which a program calls
 *  before it exits. Returns QKD004_INVALID_ARGUMENT (the configuration, a source), -EACCES (a file that others may read),
 *  or minus the errno of a file or a listener; qkd004_last_error() has the lines of the configuration. */
QKD004_API int qkd004_server_start(const qkd004_server_options *options, qkd004_server **server);

/** URI of a listener, from 0 on, with the port it really has, NUL included; QKD004_INVALID_ARGUMENT past the last. */
QKD004_API int qkd004_server_address(qkd004_server *server, size_t number, char *uri, size_t *size);

/** Answers what waits, closes every connection, wipes all key, ends the thread and the handle. */
QKD004_API int qkd004_server_stop(qkd004_server *server);

/* --- Transports of the application's own -------------------------------------------------------------------------- */

/** Which call a request is. */
typedef enum qkd004_operation { QKD004_OPEN_CONNECT = 0, QKD004_GET_KEY = 1, QKD004_CLOSE = 2 } qkd004_operation;

/** A call on its way to a key manager. Valid during the callback. */
typedef struct qkd004_request {
  size_t struct_size;
  int32_t operation;       /**< qkd004_operation */
  const char *source;      /**< OPEN_CONNECT */
  const char *destination; /**< OPEN_CONNECT */
  qkd004_qos qos;          /**< OPEN_CONNECT */
  qkd004_key_stream_id id;
  uint64_t index;         /**< GET_KEY */
  uint32_t metadata_size; /**< GET_KEY: octets wanted at most; 0: none */
  uint32_t flags;         /**< QKD004_NO_WAIT, QKD004_STRICT_ONCE */
  uint32_t timeout_ms;    /**< to return by */
} qkd004_request;

/** Its answer. On the way in all is 0 but struct_size, `key` and `key_size`. */
typedef struct qkd004_response {
  size_t struct_size;
  int32_t status;          /**< out: qkd004_status */
  uint32_t metadata_size;  /**< out: octets needed, with QKD004_METADATA_SIZE_INSUFFICIENT */
  qkd004_qos qos;          /**< out: OPEN_CONNECT; a 0 is as it was asked, metadata_mimetype is what it says */
  qkd004_key_stream_id id; /**< out: OPEN_CONNECT; all zeros is as it was asked */
  uint64_t index;          /**< out: GET_KEY that failed, OPEN_CONNECT: the lowest that can be had */
  uint8_t *key;            /**< in: where GET_KEY's key goes */
  size_t key_size;         /**< in: key_chunk_size; out: octets written, which is the same or a protocol error */
  uint32_t age_ms;         /**< out: GET_KEY */
  uint32_t hops;           /**< out: GET_KEY */
} qkd004_response;

/** A way to a key manager written by the application: the three calls of V2.1.1, no more. */
typedef struct qkd004_exchange_ops {
  size_t struct_size;
  /** Asks and waits for the answer. 0: `response` holds it; else minus an errno: nothing is known of it. With minus
   *  ECONNRESET, EPIPE or ECONNABORTED GET_KEY is asked once more. Several threads may call at a time. */
  int (*exchange)(void *context, const qkd004_request *request, qkd004_response *response);
  /** From another thread: exchange() of this request shall return; the pointer tells which it is, and may be of one that
   *  has just returned: it is to be compared and not to be read. Must not call the library. NULL: it cannot. */
  void (*cancel)(void *context, const qkd004_request *request);
  void (*destroy)(void *context); /**< NULL: nothing to do */
} qkd004_exchange_ops;
#define QKD004_EXCHANGE_OPS_INIT \
  { sizeof(qkd004_exchange_ops), NULL, NULL, NULL }
/** A client over a transport of the application's own; `context` is the library's to destroy if this returns 0. Ends with
 *  qkd004_client_close(). Returns QKD004_INVALID_ARGUMENT (there is no `exchange`). */
QKD004_API int qkd004_client_from_ops(const qkd004_exchange_ops *ops, void *context, qkd004_client **client);

/* --- The first edition: GS QKD 004 V1.1.1 ------------------------------------------------------------------------- */

/** What a call of the first edition came to; other numbers than those of V2.1.1. */
typedef enum qkd004_v1_status {
  QKD004_V1_SUCCESS = 0,
  QKD004_V1_INSUFFICIENT_KEY = 1,   /**< QKD_GET_KEY: the stream has ended, nothing more will come */
  QKD004_V1_NO_QKD_CONNECTION = 2,
  QKD004_V1_KEY_HANDLE_IN_USE = 3,
  QKD004_V1_TIMEOUT = 4,
  QKD004_V1_INVALID_ARGUMENT = 1025,
  QKD004_V1_NOT_AUTHORIZED = 1026,
  QKD004_V1_RESOURCE_LIMIT = 1027
} qkd004_v1_status;

/** Names a stream; no secret. All zeros is NULL. */
typedef struct qkd004_v1_key_handle {
  uint8_t octets[64];
} qkd004_v1_key_handle;

/** QoS of OPEN of the first edition (V1.1.1). */
typedef struct qkd004_v1_qos {
  size_t struct_size;
  uint32_t requested_length; /**< octets of every key; 0: 32, or what the other end asked for */
  uint32_t max_bps;
  uint32_t priority;
  uint32_t timeout_ms; /**< how long QKD_GET_KEY waits; 0: 5,000 */
} qkd004_v1_qos;
#define QKD004_V1_QOS_INIT \
  { sizeof(qkd004_v1_qos), 0, 0, 0, 0 }

/**
 * The streams of one application over `client`. `application`: its URI, with the node of its key manager.
 * `default_destination`: URI for a destination that is NULL; NULL: there is none. Ends with qkd004_v1_session_close().
 * These calls return qkd004_v1_status, or minus an errno.
 */
QKD004_API int qkd004_v1_session_open(qkd004_client *client, const char *application, const char *default_destination,
                                      qkd004_v1_session **session);
/** A destination as it will be given to qkd004_v1_open() and the URI it stands for. Before the first open. */
QKD004_API int qkd004_v1_session_destination(qkd004_v1_session *session, const char *destination, const char *uri);
/** QKD_OPEN. `destination` NULL: the default one. `handle`: all zeros on input makes one. */
QKD004_API int qkd004_v1_open(qkd004_v1_session *session, const char *destination, const qkd004_v1_qos *qos,
                              qkd004_v1_key_handle *handle);
/** QKD_CONNECT_NONBLOCK. */
QKD004_API int qkd004_v1_connect_nonblock(qkd004_v1_session *session, const qkd004_v1_key_handle *handle);
/** QKD_CONNECT_BLOCKING; `timeout_ms` 0: the QoS Timeout. */
QKD004_API int qkd004_v1_connect_blocking(qkd004_v1_session *session, const qkd004_v1_key_handle *handle,
                                          uint32_t timeout_ms);
/** QKD_GET_KEY. `*size`: in room, out the key's octets. */
QKD004_API int qkd004_v1_get_key(qkd004_v1_session *session, const qkd004_v1_key_handle *handle, uint8_t *key,
                                 size_t *size);
/** QKD_CLOSE. */
QKD004_API int qkd004_v1_close(qkd004_v1_session *session, const qkd004_v1_key_handle *handle);
/** Closes what is still open, and ends the handle. */
QKD004_API int qkd004_v1_session_close(qkd004_v1_session *session);

#ifdef __cplusplus
}
#endif

#endif
