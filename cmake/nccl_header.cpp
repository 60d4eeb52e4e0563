// Compiled when the build is configured, to learn which nccl.h the compiler takes.
#include <nccl.h>

static_assert(NCCL_MAJOR == 2, "the program is written for NCCL 2");

int main() { return 0; }
