// secret_bytes cannot be compared with ==: this must not compile.
#include <iostream>

#include "qkd004/secret.hpp"

int main() {
  const qkd004::secret_bytes a;
#ifndef QKD004_MUST_COMPILE
  (void)(a == a);
#endif
  return a.empty() ? 0 : 1;
}
