#include "checksum.h"

#include <string.h>

#include "cpu.h"

#if defined(__ARM_FEATURE_CRC32)
#include <arm_acle.h>
#endif

static uint32_t crc_table[8][256];

void checksum_init(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
        crc_table[0][i] = c;
    }
    for (int t = 1; t < 8; t++)
        for (int i = 0; i < 256; i++) {
            uint32_t c = crc_table[t - 1][i];
            crc_table[t][i] = c >> 8 ^ crc_table[0][c & 0xff];
        }
}

static uint32_t little32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Eight bytes a step (Kounavis and Berry, 2005). */
static uint32_t crc_tables(uint32_t c, const uint8_t *p, size_t n)
{
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t a = c ^ little32(p), b = little32(p + 4);
        c = crc_table[7][a & 0xff] ^ crc_table[6][a >> 8 & 0xff] ^ crc_table[5][a >> 16 & 0xff]
            ^ crc_table[4][a >> 24] ^ crc_table[3][b & 0xff] ^ crc_table[2][b >> 8 & 0xff]
            ^ crc_table[1][b >> 16 & 0xff] ^ crc_table[0][b >> 24];
    }
    while (n--) c = c >> 8 ^ crc_table[0][(c ^ *p++) & 0xff];
    return c;
}

uint32_t crc32_plain(uint32_t crc, const uint8_t *data, size_t n)
{
    return ~crc_tables(~crc, data, n);
}

#if HAVE_AVX2
AVX2 static __m128i folded(__m128i x, __m128i next, __m128i by)
{
    __m128i low = _mm_clmulepi64_si128(x, by, 0x00), high = _mm_clmulepi64_si128(x, by, 0x11);
    return _mm_xor_si128(_mm_xor_si128(low, high), next);
}

/* Folding by carry-less products (Gopal et al., Intel, 2009); n is at least 64 and a multiple of 16. */
AVX2 static uint32_t crc_fold(uint32_t c, const uint8_t *p, size_t n)
{
    const __m128i by64 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by16 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    const __m128i *v = (const __m128i *)p;
    __m128i x0 = _mm_xor_si128(_mm_loadu_si128(v), _mm_cvtsi32_si128((int)c));
    __m128i x1 = _mm_loadu_si128(v + 1), x2 = _mm_loadu_si128(v + 2), x3 = _mm_loadu_si128(v + 3);
    for (n -= 64, v += 4; n >= 64; n -= 64, v += 4) {
        x0 = folded(x0, _mm_loadu_si128(v), by64);
        x1 = folded(x1, _mm_loadu_si128(v + 1), by64);
        x2 = folded(x2, _mm_loadu_si128(v + 2), by64);
        x3 = folded(x3, _mm_loadu_si128(v + 3), by64);
    }
    x0 = folded(x0, x1, by16);
    x0 = folded(x0, x2, by16);
    x0 = folded(x0, x3, by16);
    for (; n >= 16; n -= 16, v++) x0 = folded(x0, _mm_loadu_si128(v), by16);
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)rest, x0);
    return crc_tables(0, rest, 16);
}
#endif

uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t n)
{
    uint32_t c = ~crc;
#if HAVE_AVX2
    if (cpu_avx2 && n >= 64) {
        size_t whole = n & ~(size_t)15;
        c = crc_fold(c, data, whole);
        data += whole;
        n -= whole;
    }
#elif defined(__ARM_FEATURE_CRC32)
    for (; n >= 8; n -= 8, data += 8) {
        uint64_t word;
        memcpy(&word, data, 8);
        c = __crc32d(c, word);
    }
#endif
    return ~crc_tables(c, data, n);
}

enum { ADLER_MOD = 65521, ADLER_RUN = 5552 }; /* so many bytes before the sums may overflow */

uint32_t adler32_plain(uint32_t adler, const uint8_t *data, size_t n)
{
    uint32_t a = adler & 0xffff, b = adler >> 16;
    while (n) {
        size_t run = n < ADLER_RUN ? n : ADLER_RUN;
        for (size_t i = 0; i < run; i++) b += a += data[i];
        a %= ADLER_MOD;
        b %= ADLER_MOD;
        data += run;
        n -= run;
    }
    return b << 16 | a;
}

#if HAVE_AVX2
AVX2 static uint32_t sum_lanes(__m256i v)
{
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

/* 32 bytes a step: b gains 32 times the a before it, and the bytes weighted 32 .. 1. */
AVX2 static uint32_t adler_avx2(uint32_t adler, const uint8_t *data, size_t n)
{
    const __m256i weights = _mm256_set_epi8(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17,
        18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32);
    const __m256i ones = _mm256_set1_epi16(1), zero = _mm256_setzero_si256();
    uint32_t a = adler & 0xffff, b = adler >> 16;
    while (n >= 32) {
        size_t run = (n < ADLER_RUN ? n : ADLER_RUN) / 32;
        __m256i sums = zero, before = zero, weighted = zero;
        b += a * (uint32_t)(32 * run);
        for (size_t i = 0; i < run; i++, data += 32, n -= 32) {
            __m256i x = _mm256_loadu_si256((const __m256i *)data);
            before = _mm256_add_epi32(before, sums);
            sums = _mm256_add_epi32(sums, _mm256_sad_epu8(x, zero));
            weighted = _mm256_add_epi32(weighted, _mm256_madd_epi16(_mm256_maddubs_epi16(x, weights), ones));
        }
        a = (a + sum_lanes(sums)) % ADLER_MOD;
        b = (b + sum_lanes(_mm256_slli_epi32(before, 5)) + sum_lanes(weighted)) % ADLER_MOD;
    }
    return adler32_plain(b << 16 | a, data, n);
}
#endif

uint32_t adler32_update(uint32_t adler, const uint8_t *data, size_t n)
{
#if HAVE_AVX2
    if (cpu_avx2) return adler_avx2(adler, data, n);
#endif
    return adler32_plain(adler, data, n);
}
