/*
 * What the program that build.rs makes is written in. It prints where C has the structures' fields, as calls of the macros
 * in src/lib.rs. Each structure and field comes with the name that it has in Rust.
 */

#include "nginx.h"

#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* The bits that are set, each by its byte and its place there. */
static void
print_bits(const unsigned char *image, size_t size)
{
    const char  *separator = "";
    size_t       byte;
    int          bit;

    for (byte = 0; byte < size; byte++) {
        for (bit = 0; bit < 8; bit++) {
            if (image[byte] >> bit & 1) {
                printf("%s(%zu, %d)", separator, byte, bit);
                separator = ", ";
            }
        }
    }
}

#define STRUCTURE(type, name)  printf("    structure!(%s, %zu),\n", name, sizeof(type))

#define FIELD(type, field, name, rust)  printf("    field!(%s, %s, %zu),\n", name, rust, offsetof(type, field))

#define BITS(type, field, name, get, set)                                                                              \
    do {                                                                                                               \
        type  it;                                                                                                      \
                                                                                                                       \
        memset(&it, 0, sizeof(it));                                                                                    \
        it.field = -1;                                                                                                 \
                                                                                                                       \
        printf("    bits!(%s, %s, %s, [", name, get, set);                                                             \
        print_bits((const unsigned char *) &it, sizeof(it));                                                           \
        printf("]),\n");                                                                                               \
    } while (0)
