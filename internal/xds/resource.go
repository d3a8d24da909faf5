package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/encoding/protowire"
)

// resource is what clients are told under a name, in bytes that all their streams share. It is immutable.
type resource struct {
	name    string
	kind    kind
	seq     uint64 // counts all resources of a server: greater is newer
	version string // says what is in it: the same content has the same version, on every server

	// as is up to which revision of etcd it holds: that of its making, and when something else takes its place the one before.
	as *atomic.Int64

	fragment mem.Buffer // as it stands in a response, field and all
	value    []byte     // the message; a part of the fragment

	once  sync.Once
	delta mem.Buffer // as it stands in a delta response; made for the first who wants it
}

// Numbers of fields that are the same in both kinds of responses, but for the last two.
const (
	fieldVersion     = 1
	fieldResources   = 2
	fieldTypeURL     = 4
	fieldNonce       = 5
	fieldRemoved     = 6 // delta
	fieldErrors      = 7 // state of the world
	fieldDeltaErrors = 9
)

// newResource takes an encoded message. The bytes are made once and never again.
func newResource(k kind, name string, value []byte) *resource {
	size := len(value)
	inner := protowire.SizeTag(1) + protowire.SizeBytes(len(typeURLs[k])) + protowire.SizeTag(2) + protowire.SizeBytes(size)
	b := make([]byte, 0, protowire.SizeTag(fieldResources)+protowire.SizeBytes(inner))
	b = protowire.AppendTag(b, fieldResources, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(inner))
	b = appendText(b, 1, typeURLs[k])
	b = protowire.AppendTag(b, 2, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	at := len(b)
	b = append(b, value...)
	sum := sha256.Sum256(b[at:])
	return &resource{
		name: name, kind: k, version: hex.EncodeToString(sum[:8]),
		as: new(atomic.Int64), fragment: mem.SliceBuffer(b), value: b[at:],
	}
}

// forDelta returns the resource as it stands in a delta response: with its name and version.
func (r *resource) forDelta() mem.Buffer {
	r.once.Do(func() {
		var inner []byte
		inner = appendText(inner, 1, r.version)
		inner = appendText(inner, 3, r.name)
		var packed []byte
		packed = appendText(packed, 1, typeURLs[r.kind])
		packed = protowire.AppendTag(packed, 2, protowire.BytesType)
		packed = protowire.AppendBytes(packed, r.value)
		inner = protowire.AppendTag(inner, 2, protowire.BytesType)
		inner = protowire.AppendBytes(inner, packed)
		b := protowire.AppendTag(nil, fieldResources, protowire.BytesType)
		r.delta = mem.SliceBuffer(protowire.AppendBytes(b, inner))
	})
	return r.delta
}

func appendText(b []byte, field protowire.Number, text string) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendString(b, text)
}

// versionOf returns the version of several resources together.
func versionOf(list []*resource) string {
	switch len(list) {
	case 0:
		return "none"
	case 1:
		return list[0].version
	}
	text := make([]byte, 0, 64*len(list))
	for _, r := range list {
		text = append(append(text, r.name...), 0)
		text = append(append(text, r.version...), 0)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}
