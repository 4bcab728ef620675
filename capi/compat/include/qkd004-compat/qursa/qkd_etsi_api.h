/*
 * qkd_etsi_api.h: sizes that programs of the QURSA shape take for granted.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QKD_ETSI_API_H
#define QKD_ETSI_API_H

#include "qkd_config.h"

#define QKD_KEY_SIZE 32 /* octets: what they put into Key_chunk_size */
#define QKD_KSID_SIZE 16
#define QKD_MAX_URI_LEN 256

#endif
