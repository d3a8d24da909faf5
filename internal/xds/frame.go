package xds

import (
	"fmt"

	discovery "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// frame is a response as it goes over the wire: a few bytes of its stream's own, and resources that all streams share. The order of
// fields does not matter to those who read it. A codec that does not know frames takes it for the message that it is, at that price.
type frame struct {
	delta bool
	bytes mem.BufferSlice
}

// Encoded returns the bytes, which are never changed.
func (f *frame) Encoded() mem.BufferSlice { return f.bytes }

// String keeps the bytes out of gRPC's traces.
func (f *frame) String() string { return fmt.Sprintf("encoded response of %d bytes", f.bytes.Len()) }

// ProtoReflect implements [proto.Message].
func (f *frame) ProtoReflect() protoreflect.Message {
	var m proto.Message = &discovery.DiscoveryResponse{}
	if f.delta {
		m = &discovery.DeltaDiscoveryResponse{}
	}
	_ = proto.Unmarshal(f.bytes.Materialize(), m) // the bytes are of our own making
	return m.ProtoReflect()
}

// response is what a stream is to be sent.
type response struct {
	kind      kind
	version   string
	nonce     string
	resources []*resource
	missing   []string // names that nothing can be called
}

func (r *response) frame(delta bool) *frame {
	own := make([]byte, 0, 128)
	own = appendText(own, fieldVersion, r.version)
	own = appendText(own, fieldTypeURL, typeURLs[r.kind])
	own = appendText(own, fieldNonce, r.nonce)
	for _, name := range r.missing {
		if delta {
			own = appendText(own, fieldRemoved, name)
		}
		own = appendError(own, delta, name)
	}
	f := &frame{delta: delta, bytes: make(mem.BufferSlice, 1, 1+len(r.resources))}
	f.bytes[0] = mem.SliceBuffer(own)
	for _, res := range r.resources {
		if delta {
			f.bytes = append(f.bytes, res.forDelta())
		} else {
			f.bytes = append(f.bytes, res.fragment)
		}
	}
	return f
}

// appendError says, to those who read it, that a name is none.
func appendError(b []byte, delta bool, name string) []byte {
	m := &discovery.ResourceError{
		ResourceName: &discovery.ResourceName{Name: name},
		ErrorDetail:  &status.Status{Code: int32(codes.NotFound), Message: "no service can have this name"},
	}
	text, err := proto.Marshal(m)
	if err != nil {
		return b // a name that is not UTF-8, which gRPC would not have let in
	}
	field := protowire.Number(fieldErrors)
	if delta {
		field = fieldDeltaErrors
	}
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendBytes(b, text)
}

// codec is gRPC's own for everything but what is encoded already.
type codec struct{ encoding.CodecV2 }

// NewCodec returns a codec that sends frames without a copy of them, for a server that has no other codec.
func NewCodec() encoding.CodecV2 { return codec{encoding.GetCodecV2(grpcproto.Name)} }

// Marshal implements [encoding.CodecV2].
func (c codec) Marshal(v any) (mem.BufferSlice, error) {
	if f, encoded := v.(interface{ Encoded() mem.BufferSlice }); encoded {
		return f.Encoded(), nil
	}
	return c.CodecV2.Marshal(v)
}
