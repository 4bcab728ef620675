/* qkd-etsi-api/etsi004/api.h: where programs look for it.
 * SPDX-License-Identifier: Apache-2.0 */
#include "../../etsi004/api.h"
