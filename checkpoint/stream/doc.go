// SPDX-License-Identifier: Apache-2.0

// Package stream is a media server whose streams survive the server, the
// client to it, and a relay for players that know nothing of it.
//
// [Server] serves the files of a directory, and live sources, on one port in
// two ways: as plain HTTP to ordinary players, and as the same HTTP inside a
// checkpointed stream to clients that ask for it with an Upgrade header. The
// second is an HTTP/1.1 conversation over a [checkpoint.Stream]: [Transport]
// gives it to any http.Client, and [Relay] to any player.
//
// The state of a stream is a few dozen bytes: what was asked for, and the
// position in it. All servers of one service must hold the same files, with the
// same sizes and modification times, and the same keys.
package stream
