# SPDX-License-Identifier: Apache-2.0
# Writes the files of the live page as C: cmake -DFROM=DIR -DTO=FILE.c -P embed.cmake
set(text "/* Made by embed.cmake from proxy/service/page/. */\n#include \"service/page.h\"\n")
file(GLOB paths "${FROM}/*.html" "${FROM}/*.css" "${FROM}/*.js")
foreach(path ${paths})
    get_filename_component(name ${path} NAME)
    string(REPLACE "." "_" name ${name})
    file(READ "${path}" bytes HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${bytes}")
    string(APPEND text "\nstatic const unsigned char ${name}_bytes[] = {${bytes}};\n"
        "const struct str ${name} = {(const char *)${name}_bytes, sizeof(${name}_bytes)};\n")
endforeach()
file(WRITE "${TO}" "${text}")
