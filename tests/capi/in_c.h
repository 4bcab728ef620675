/* What tests/capi/in_c.c, which is C11, has for its test, which is C++. */
#ifndef QKD004_TESTS_IN_C_H
#define QKD004_TESTS_IN_C_H

#ifdef __cplusplus
extern "C" {
#endif

/* A key at both ends of a pair. 0, or the line at which something was not as it should be. */
int in_c_pair(void);

/* All initializers of the header, in C. 0, or the line. */
int in_c_initializers(void);

#ifdef __cplusplus
}
#endif

#endif
