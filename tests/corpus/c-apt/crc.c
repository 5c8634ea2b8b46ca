#include <stdio.h>
#include <string.h>
#include <zlib.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        uLong sum = crc32(0, (const Bytef *)argv[i], (uInt)strlen(argv[i]));
        printf("%08lx %s\n", sum, argv[i]);
    }
    return argc > 1 ? 0 : 1;
}
