/* SPDX-License-Identifier: Apache-2.0 */
/* How far a dial has come, for who watches: see dial.h. */
#include "upstream/dial_impl.h"

void dial_progress(const struct dial *d, struct up_progress *p)
{
    static const struct {
        enum up_step step;
        const char *doing;
    } steps_shown[DIAL_OVER + 1] = {
        [DIAL_RESOLVE] = {UP_STEP_DNS, "looks the name up"},
        [DIAL_RACE] = {UP_STEP_CONNECT, "connects"},
        [DIAL_ASK] = {UP_STEP_CONNECT, "waits for the parent proxy"},
        [DIAL_TICKET] = {UP_STEP_TLS, "waits for a TLS session to resume"},
        [DIAL_TLS] = {UP_STEP_TLS, "is in the TLS handshake"},
        [DIAL_OVER] = {UP_STEP_TLS, "is connected"},
    };
    p->step = steps_shown[d->state].step;
    p->doing = steps_shown[d->state].doing;
    p->dns_us = dial_between(d->started, d->resolved);
    p->connect_us = dial_between(d->resolved, d->connected);
    p->peer = d->race.peer;
}
