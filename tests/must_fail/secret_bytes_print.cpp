// secret_bytes cannot be printed: this must not compile.
#include <iostream>

#include "qkd004/secret.hpp"

int main() {
  const qkd004::secret_bytes a;
#ifndef QKD004_MUST_COMPILE
  std::cout << a;
#endif
  return a.empty() ? 0 : 1;
}
