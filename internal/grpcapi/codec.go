package grpcapi

import (
	"fmt"

	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// frame is a message as it goes over the wire. Any number of streams send the same one: its bytes are never changed, and never copied
// before a connection writes them.
type frame struct {
	bytes    mem.Buffer
	revision int64 // up to which it tells
}

func newFrame(m proto.Message) (*frame, error) {
	bytes, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", m, err)
	}
	return &frame{mem.SliceBuffer(bytes), revisionOf(m)}, nil
}

// Encoded returns the bytes.
func (f *frame) Encoded() mem.BufferSlice { return mem.BufferSlice{f.bytes} }

// String keeps the bytes out of gRPC's traces.
func (f *frame) String() string { return fmt.Sprintf("encoded message of %d bytes", f.bytes.Len()) }

// encoded is a message of which there is nothing left to encode; those of other services on the server may be, too.
type encoded interface{ Encoded() mem.BufferSlice }

// codec is gRPC's own for everything but frames.
type codec struct{ encoding.CodecV2 }

func newCodec() codec { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, is := v.(encoded); is {
		return f.Encoded(), nil
	}
	return c.CodecV2.Marshal(v)
}
