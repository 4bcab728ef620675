// Everything of qkd004 that needs no library but the standard one.
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "qkd004/async_client.hpp"
#include "qkd004/client.hpp"
#include "qkd004/exchange.hpp"
#include "qkd004/in_process.hpp"
#include "qkd004/key_chunk.hpp"
#include "qkd004/key_manager.hpp"
#include "qkd004/key_ring.hpp"
#include "qkd004/key_source.hpp"
#include "qkd004/key_stream_id.hpp"
#include "qkd004/limits.hpp"
#include "qkd004/memory_source.hpp"
#include "qkd004/message.hpp"
#include "qkd004/metadata.hpp"
#include "qkd004/qos.hpp"
#include "qkd004/random.hpp"
#include "qkd004/result.hpp"
#include "qkd004/secret.hpp"
#include "qkd004/status.hpp"
#include "qkd004/version.hpp"
#include "qkd004/waiting.hpp"
