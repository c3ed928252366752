/* Narrow floats: every half, bfloat and 8-bit float against its definition; narrowing on every
 * midpoint between neighbours, on the floats beside it, and on infinities and NaNs. */
#include "formats/blocks/parts.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

/* The value of a float with so many exponent and mantissa bits, its top exponent included. */
static double value_of(unsigned bits, unsigned exponent_bits, unsigned mantissa_bits) {
    unsigned mantissa = bits & ((1u << mantissa_bits) - 1),
             exponent = bits >> mantissa_bits & ((1u << exponent_bits) - 1);
    int bias = (1 << (exponent_bits - 1)) - 1;
    double magnitude = exponent
                           ? ldexp(mantissa + (double)(1u << mantissa_bits), (int)exponent - bias - (int)mantissa_bits)
                           : ldexp(mantissa, 1 - bias - (int)mantissa_bits);
    return bits >> (exponent_bits + mantissa_bits) & 1 ? -magnitude : magnitude;
}

static void expect(float got, double value, unsigned bits) {
    float wanted = (float)value;
    if (float_bits(got) != float_bits(wanted)) fail_msg("%#x: %a instead of %a", bits, (double)got, value);
}

static void test_half_widens(void **state) {
    (void)state;
    static uint8_t bytes[0x10000 * 2];
    static float all[0x10000];
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = half_to_float((uint16_t)h);
        store16(bytes + 2 * h, (uint16_t)h);
        uint32_t sign = (h & 0x8000u) << 16;
        if ((h & 0x7fff) < 0x7c00)
            expect(f, value_of(h, 5, 10), h);
        else if ((h & 0x7fff) == 0x7c00)
            assert_true(float_bits(f) == (sign | 0x7f800000));
        else
            assert_true(float_bits(f) == (sign | 0x7fc00000 | (h & 0x3ffu) << 13));
    }
    /* Decoding, a loop or the processor's instruction, does the same; the odd length has a rest. */
    blocks_decode(TENSOR_F16, bytes, all, 0x10000 - 3);
    decoders_scalar[TYPE_SLOT(TENSOR_F16)](bytes + 2 * 0xfffd, all + 0xfffd, 3);
    for (unsigned h = 0; h < 0x10000; h++) assert_true(float_bits(all[h]) == float_bits(half_to_float((uint16_t)h)));
}

static void test_half_narrows(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x7c00; h++) {
        float f = half_to_float((uint16_t)h);
        assert_int_equal(float_to_half(f), h);
        assert_int_equal(float_to_half(-f), h | 0x8000);
        /* The next half up; past the largest, the number that would follow it. */
        float next = h + 1 < 0x7c00 ? half_to_float((uint16_t)(h + 1)) : 65536.0f, middle = (f + next) / 2;
        assert_int_equal(float_to_half(middle), h + (h & 1));
        assert_int_equal(float_to_half(-middle), (h + (h & 1)) | 0x8000);
        assert_int_equal(float_to_half(nextafterf(middle, f)), h);
        assert_int_equal(float_to_half(nextafterf(middle, next)), h + 1);
    }
    assert_int_equal(float_to_half(0x1p-149f), 0);
    assert_int_equal(float_to_half(-0x1p-25f), 0x8000);
    assert_int_equal(float_to_half(nextafterf(0x1p-25f, 1)), 1);
    assert_int_equal(float_to_half(65519.996f), 0x7bff);
    assert_int_equal(float_to_half(65520.0f), 0x7c00);
    assert_int_equal(float_to_half(-0x1.fffffep127f), 0xfc00);
    assert_int_equal(float_to_half(bits_float(0x7f800000)), 0x7c00);
    assert_int_equal(float_to_half(bits_float(0xff800000)), 0xfc00);
    assert_int_equal(float_to_half(bits_float(0x7f800001)), 0x7e00);
    assert_int_equal(float_to_half(bits_float(0xffffffff)), 0xfe00);
}

static void test_bfloat(void **state) {
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        float f = bfloat_to_float((uint16_t)h);
        assert_true(float_bits(f) == (uint32_t)h << 16);
        unsigned magnitude = h & 0x7fff, sign = h & 0x8000;
        assert_int_equal(float_to_bfloat(f), magnitude > 0x7f80 ? h | 0x40 : h);
        if (magnitude >= 0x7f80) continue;
        uint32_t middle = (uint32_t)h << 16 | 0x8000;
        assert_int_equal(float_to_bfloat(bits_float(middle)), sign | (magnitude + (magnitude & 1)));
        assert_int_equal(float_to_bfloat(bits_float(middle - 1)), h);
        assert_int_equal(float_to_bfloat(bits_float(middle + 1)), sign | (magnitude + 1));
    }
    assert_int_equal(float_to_bfloat(bits_float(0x7f800001)), 0x7fc0);
    assert_int_equal(float_to_bfloat(bits_float(0xffffffff)), 0xffff);
}

static void test_bytes(void **state) {
    (void)state;
    for (unsigned b = 0; b < 256; b++) {
        uint8_t byte = (uint8_t)b;
        float e4m3, e5m2;
        blocks_decode(TENSOR_F8_E4M3, &byte, &e4m3, 1);
        blocks_decode(TENSOR_F8_E5M2, &byte, &e5m2, 1);
        if ((b & 0x7f) == 0x7f)
            assert_true(isnan(e4m3));
        else
            expect(e4m3, value_of(b, 4, 3), b);
        if ((b & 0x7f) > 0x7c)
            assert_true(isnan(e5m2));
        else if ((b & 0x7f) == 0x7c)
            assert_true(isinf(e5m2));
        else
            expect(e5m2, value_of(b, 5, 2), b);
        expect(e8m0_widen_halved(byte), ldexp(1, (int)b - 128), b);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_half_widens),
        cmocka_unit_test(test_half_narrows),
        cmocka_unit_test(test_bfloat),
        cmocka_unit_test(test_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
