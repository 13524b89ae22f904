/* SPDX-License-Identifier: Apache-2.0 */
/* Which library has a fault is asked of the one that runs, not of the one that was there when
 * tlsfan was built. libevhtp does not tell. */
#include "version.h"

#include <ares.h>
#include <confuse.h>
#include <event2/event.h>
#include <evhtp/evhtp.h>
#include <jansson.h>
#include <nghttp2/nghttp2.h>
#include <openssl/crypto.h>

void version_print(FILE *out)
{
    fputs("tlsfan " TLSFAN_VERSION "\n", out);
    fprintf(out, "OpenSSL %s\n", OpenSSL_version(OPENSSL_VERSION_STRING));
    fprintf(out, "libevent %s\n", event_get_version());
    fprintf(out, "nghttp2 %s\n", nghttp2_version(0)->version_str);
    fprintf(out, "c-ares %s\n", ares_version(NULL));
    fprintf(out, "libConfuse %s\n",
            strchr(confuse_version, ' ') == NULL ? confuse_version
                                                 : strrchr(confuse_version, ' ') + 1);
    fprintf(out, "Jansson %s\n", jansson_version_str());
    fputs("libevhtp " EVHTP_VERSION " (as built)\n", out);
}
