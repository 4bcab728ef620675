/* qkd-etsi-api/qkd_etsi_api.h: where programs look for it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "../qkd_etsi_api.h"
