/* CRC-32 (ISO 3309, as in PNG) and Adler-32 (RFC 1950), as fast as the processor allows. */
#ifndef IMAGING_DB_CHECKSUM_H
#define IMAGING_DB_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Fill the tables; call once before the others. */
void checksum_init(void);

/* Continue a CRC; start from 0. */
uint32_t crc32_update(uint32_t crc, const uint8_t *data, size_t n);

/* Continue an Adler; start from 1. */
uint32_t adler32_update(uint32_t adler, const uint8_t *data, size_t n);

/* The same without the processor's special instructions: what the others are tested against. */
uint32_t crc32_plain(uint32_t crc, const uint8_t *data, size_t n);
uint32_t adler32_plain(uint32_t adler, const uint8_t *data, size_t n);

#endif
