// secret_bytes cannot be assigned: this must not compile.
#include <iostream>

#include "qkd004/secret.hpp"

int main() {
  const qkd004::secret_bytes a;
#ifndef QKD004_MUST_COMPILE
  qkd004::secret_bytes b; b = a;
#endif
  return a.empty() ? 0 : 1;
}
