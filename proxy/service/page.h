/* SPDX-License-Identifier: Apache-2.0 */
/* The live page: the files of proxy/service/page/, as the build has put them into the program: each
 * under its name, with _ for the dot. */
#ifndef TLSFAN_SERVICE_PAGE_H
#define TLSFAN_SERVICE_PAGE_H

#include "base/str.h"

extern const struct str page_html, page_css, page_js;
extern const struct str axis_js, details_js, figures_js, format_js, grid_js, har_js, rows_js,
    scale_js, store_js, tables_js; /* which page_js imports */

#endif
