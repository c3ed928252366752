/* The Huffman loops in plain C. */
#include "kernels/represent/huffman_core.h"

const huffman_ops huffman_ops_scalar = {rounds, stream};
