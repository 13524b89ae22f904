/* SPDX-License-Identifier: Apache-2.0 */
/* The live page: the files of proxy/service/page/, as the build has put them into the program. */
#ifndef TLSFAN_SERVICE_PAGE_H
#define TLSFAN_SERVICE_PAGE_H

#include "base/str.h"

extern const struct str page_html, page_css, page_js;

#endif
