// Package rollcallv1 is the API of a rollcall server: messages, clients and servers for gRPC, and the handlers that
// translate JSON over HTTP. All but this comment is generated from the .proto files beside it, which document each field.
//
// Go programs rarely need it: package rollcall does more, such as re-registering by itself.
package rollcallv1
