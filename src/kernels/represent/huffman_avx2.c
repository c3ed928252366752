/* The Huffman loops with BMI2. */
#include "kernels/represent/huffman_core.h"

const huffman_ops huffman_ops_avx2 = {rounds, stream};
