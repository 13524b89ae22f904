/* SPDX-License-Identifier: Apache-2.0 */
/* The moves of a stream: its life, its input and its output. */
#include "base/state.h"
#include "net/stream_impl.h"

static uint64_t stream_id(const struct stream *s)
{
    return (uint64_t)s->line.fd;
}

void stream_set_state(struct stream *s, enum stream_state to)
{
#define TO(state) STATE_BIT(STREAM_##state)
    static const struct state_row states[] = {
        [STREAM_HANDSHAKE] = {"HANDSHAKE", TO(OPEN) | TO(CLOSED)},
        /* A wire was laid over the one that was open. */
        [STREAM_OPEN] = {"OPEN", TO(HANDSHAKE) | TO(LINGER) | TO(CLOSED)},
        [STREAM_LINGER] = {"LINGER", TO(CLOSED)},
        [STREAM_CLOSED] = {"CLOSED", 0},
    };
#undef TO
    state_check("stream", stream_id(s), states, s->state, to);
    s->state = to;
}

void stream_set_input(struct stream *s, enum stream_input to)
{
#define TO(state) STATE_BIT(INPUT_##state)
    static const struct state_row states[] = {
        [INPUT_NEW] = {"NEW", TO(READS) | TO(DEAD)},
        [INPUT_READS] = {"READS", TO(NEW) | TO(GIVES) | TO(LOOKS) | TO(ENDS) | TO(DEAD)},
        [INPUT_GIVES] = {"GIVES",
                         TO(NEW) | TO(READS) | TO(LOOKS) | TO(ENDS_GIVES) | TO(ENDS) | TO(DEAD)},
        [INPUT_LOOKS] = {"LOOKS", TO(NEW) | TO(GIVES) | TO(ENDS_GIVES) | TO(ENDS) | TO(DEAD)},
        [INPUT_ENDS_GIVES] = {"ENDS_GIVES", TO(NEW) | TO(ENDS) | TO(DEAD)},
        [INPUT_ENDS] = {"ENDS", TO(NEW) | TO(ENDS_GIVES) | TO(ENDED) | TO(DEAD)},
        /* A write has failed; or there is a new user, or a new wire. */
        [INPUT_ENDED] = {"ENDED", TO(NEW) | TO(ENDS_GIVES) | TO(DEAD)},
        [INPUT_DEAD] = {"DEAD", TO(TOLD)},
        [INPUT_TOLD] = {"TOLD", TO(DEAD)},
    };
#undef TO
    state_check("stream input", stream_id(s), states, s->input, to);
    s->input = to;
}

void stream_set_output(struct stream *s, enum stream_output to)
{
#define TO(state) STATE_BIT(OUTPUT_##state)
    static const struct state_row states[] = {
        [OUTPUT_OPEN] = {"OPEN", TO(ENDS) | TO(LOST)},
        [OUTPUT_ENDS] = {"ENDS", TO(ENDED) | TO(LOST)},
        [OUTPUT_ENDED] = {"ENDED", TO(LOST)},
        [OUTPUT_LOST] = {"LOST", 0},
    };
#undef TO
    state_check("stream output", stream_id(s), states, s->output, to);
    s->output = to;
}

void stream_tell_again(struct stream *s, bool is_new_user)
{
    /* What has been told to the present user goes with it; what it left does not. */
    static const enum stream_input again[] = {
        [INPUT_NEW] = INPUT_NEW,
        [INPUT_READS] = INPUT_GIVES,
        [INPUT_GIVES] = INPUT_GIVES,
        [INPUT_LOOKS] = INPUT_LOOKS,
        [INPUT_ENDS_GIVES] = INPUT_ENDS_GIVES,
        [INPUT_ENDS] = INPUT_ENDS_GIVES,
        [INPUT_ENDED] = INPUT_ENDS_GIVES,
        [INPUT_DEAD] = INPUT_DEAD,
        [INPUT_TOLD] = INPUT_DEAD,
    };
    bool was_told = s->input == INPUT_ENDED || s->input == INPUT_TOLD;
    enum stream_input to = again[s->input];
    if (to != s->input && (is_new_user || !was_told))
        stream_set_input(s, to);
}
