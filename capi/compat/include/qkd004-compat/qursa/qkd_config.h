/*
 * qkd_config.h: what the QURSA wrapper's build writes down about itself; here it is libqkd004, and none of those.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef QKD_CONFIG_H
#define QKD_CONFIG_H

#define QKD_USE_QUKAYDEE 0
#define QKD_USE_CERBERIS_XGR 0
#define QKD_USE_SIMULATED 0
#define QKD_BACKEND_TYPE "qkd004"

#endif
