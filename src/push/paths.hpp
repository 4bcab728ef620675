// The paths of push mode.
// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace qkd004::push {

inline constexpr char open_connect_path[] = "/api/v1/kms/etsi004/open-connect";
inline constexpr char get_key_path[] = "/api/v1/kms/etsi004/get-key";
inline constexpr char close_path[] = "/api/v1/kms/etsi004/close";
inline constexpr char key_material_path[] = "/api/v1/qkd/etsi004/key-material";
inline constexpr char json_type[] = "application/json";

}  // namespace qkd004::push
