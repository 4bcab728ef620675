/* qkd-etsi-api/qkd_config.h: where programs look for it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "../qkd_config.h"
