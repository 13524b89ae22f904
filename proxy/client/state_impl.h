/* SPDX-License-Identifier: Apache-2.0 */
/* The states of a client; which may follow which stands in client.c.
 *
 *     HEAD <-> BODY                       a head whose body follows; the body is whole
 *     HEAD, BODY -> TUNNEL                CONNECT or Upgrade is answered
 *     HEAD -> SHAKES -> HEAD              CONNECT is answered, and is intercepted; a tls: listener
 *     HEAD -> FIRST -> HEAD               it was turned here; its first bytes are known
 *     HEAD, BODY -> LAST, STOPPED         nothing more is read; LAST -> STOPPED, more has come
 *     LAST -> TO_CLOSE -> TO_LINGER       its last answer is given; and more has come
 *     HEAD, BODY, STOPPED -> TO_LINGER    the same where the client did not ask to close
 *     HEAD, BODY, LAST, STOPPED -> TO_RESET   it is not whole
 *     from any -> CLOSED */
#ifndef TLSFAN_CLIENT_STATE_IMPL_H
#define TLSFAN_CLIENT_STATE_IMPL_H

struct client;

enum client_state {
    CLIENT_HEAD,   /* reads heads */
    CLIENT_BODY,   /* reads the body of `reading` */
    CLIENT_SHAKES, /* TLS is laid over the stream: intercept.c, secure.c */
    CLIENT_FIRST,  /* its first bytes will say what it is: turned.c */
    CLIENT_TUNNEL, /* the stream is the exchange's; waits for the end of its tunnel */
    /* What still comes is dropped. Answers are due: */
    CLIENT_LAST,    /* the client itself asked to close, and has sent nothing behind that */
    CLIENT_STOPPED, /* reading has ended otherwise */
    /* No answer is due; as soon as all has been written: */
    CLIENT_TO_CLOSE,
    CLIENT_TO_LINGER, /* closing would reset what the client has not read yet */
    CLIENT_TO_RESET,  /* an end could be taken for the proper end of the answer */
    CLIENT_CLOSED     /* waits for the reaper */
};

/* Bytes that TLS costs a client, about. What OpenSSL reads into, and gathers messages in, goes with
 * the handshake. */
enum { CLIENT_SHAKES_TLS = 60 * 1024, CLIENT_HOLDS_TLS = 22 * 1024 };

/* The one place where c->state changes. */
void client_set_state(struct client *c, enum client_state to);
/* C, in CLIENT_SHAKES, has TLS laid over its stream, for which CLIENT_SHAKES_TLS was counted, and
 * open: requests come. */
void client_shaken(struct client *c);

#endif
