/* Exact sizes: rates are sums of whole bits over sums of whole bytes, never averages of
 * ratios, and never an estimate. */
#include "kernels/measure/measure.h"

pith_status measure_rate_add(pith_ctx *ctx, measure_rate *rate, uint64_t raw_bytes, uint64_t coded_bits) {
    if (raw_bytes > UINT64_MAX - rate->raw_bytes || coded_bits > UINT64_MAX - rate->coded_bits)
        return pith_fail(ctx, PITH_E_LIMIT, "sizes add up to more than 64 bits hold");
    rate->raw_bytes += raw_bytes;
    rate->coded_bits += coded_bits;
    return PITH_OK;
}

double measure_bits_per_byte(const measure_rate *rate) {
    return rate->raw_bytes ? (double)rate->coded_bits / (double)rate->raw_bytes : 0;
}

double measure_ratio(const measure_rate *rate) {
    return rate->coded_bits ? (double)rate->raw_bytes * 8 / (double)rate->coded_bits : 0;
}
