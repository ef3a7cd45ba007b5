// SPDX-License-Identifier: Apache-2.0

// Package checkpoint lets a byte stream survive the server that serves it.
//
// A server gives the library, now and then, the few bytes of state from which
// any other server of the service could go on: a checkpoint. The library
// seals it (the client can neither read nor change it) and sends it in-band,
// together with the stream offsets that it belongs to. The client keeps the
// newest one in memory. When its server dies the client reconnects to the same
// address, presents the checkpoint, and whichever server answers restores the
// state and continues. The application at the client sees one stream: no byte
// missing, none repeated, in both directions.
//
// The client side is [Dial], which returns a [Stream], a net.Conn. The server
// side is a [Handler] that is run by a [Server], on a listener of its own
// ([Server.Serve]) or on connections that somebody else accepted
// ([Server.ServeConn]), and that is given a [Session].
//
// The package keeps nothing on the server between connections and nothing on
// disk. It does not replicate servers, does not make side effects happen
// exactly once by itself (see [Session.EffectID] and [Once]) and does not
// protect the stream's bytes: run it over TLS where that is needed.
//
// The wire format is in docs/formats/checkpoint.md, the guide in
// docs/checkpointing.md. The idea is that of H. Fujita's thesis, "OS Supported
// Dependable Single IP Address Cluster", chapter on client-side checkpointing.
package checkpoint
