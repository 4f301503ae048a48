/* SPDX-License-Identifier: MIT
 *
 * The socket of a server that listens, and whom it lets in.
 */
#ifndef GATEWAY_LISTENER_H
#define GATEWAY_LISTENER_H

#include "server.h"

/* 0, and server->port; or UV_E*. */
int listener_open(server_t *server);

/* Lets in whoever is there, and closes it; server_part_ended follows. */
void listener_close(server_t *server);

/* A connection has gone: is one waiting for its place? */
void listener_has_place(server_t *server);

#endif
