/* A file to include a header into.
 * SPDX-License-Identifier: Apache-2.0 */
extern int nothing;
