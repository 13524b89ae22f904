# SPDX-License-Identifier: Apache-2.0
# Writes the files of the live page as C: cmake -DFROM=DIR -DTO=FILE.c -P embed.cmake
set(text "/* Made by embed.cmake from proxy/service/page/. */\n#include \"service/page.h\"\n")
foreach(kind html css js)
    file(READ "${FROM}/page.${kind}" bytes HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(APPEND text "\nstatic const unsigned char ${kind}_bytes[] = {${bytes}};\n"
        "const struct str page_${kind} = {(const char *)${kind}_bytes, sizeof(${kind}_bytes)};\n")
endforeach()
file(WRITE "${TO}" "${text}")
