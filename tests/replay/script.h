/* SPDX-License-Identifier: Apache-2.0 */
/* A script: see README.md. */
#ifndef TLSFAN_TESTS_SCRIPT_H
#define TLSFAN_TESTS_SCRIPT_H

/* Plays the file. Gives when all came as it says; else says what did not on stderr, and ends the
 * process. */
void script_play(const char *path);

#endif
