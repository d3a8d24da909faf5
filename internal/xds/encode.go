package xds

import (
	"google.golang.org/protobuf/encoding/protowire"
)

// An assignment is by far the largest resource, and the one that changes: it is written without the messages that it stands for, of which
// there would be six for each endpoint. The numbers are those of the fields of envoy.config.endpoint.v3.

// appendAssignment writes a ClusterLoadAssignment.
func appendAssignment(b []byte, cluster string, layers [][]share) []byte {
	b = appendText(b, 1, cluster)
	scratch := make([]byte, 0, cap(b)) // mostly one locality is almost all of it
	for priority, layer := range layers {
		for _, s := range layer {
			scratch = s.appendTo(scratch[:0], uint64(priority))
			b = protowire.AppendTag(b, 2, protowire.BytesType)
			b = protowire.AppendBytes(b, scratch)
		}
	}
	return b
}

// appendTo writes a LocalityLbEndpoints.
func (s share) appendTo(b []byte, priority uint64) []byte {
	zone, subZone := s.names()
	size := textSize(2, zone) + textSize(3, subZone)
	b = protowire.AppendTag(b, 1, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(size))
	b = appendFilled(b, 2, zone)
	b = appendFilled(b, 3, subZone)
	for _, m := range s.members {
		b = m.appendTo(b)
	}
	b = appendWrapped(b, 3, s.part)
	if priority > 0 {
		b = protowire.AppendTag(b, 5, protowire.VarintType)
		b = protowire.AppendVarint(b, priority)
	}
	return b
}

// appendTo writes the LbEndpoint, field and all.
func (m *member) appendTo(b []byte) []byte {
	socket := textSize(2, m.host) + fieldSize(3, uint64(m.port))
	address := messageSize(1, socket)
	endpoint := messageSize(1, address)
	size := messageSize(1, endpoint) + fieldSize(2, uint64(m.health)) + messageSize(4, fieldSize(1, m.weight))
	b = appendHead(b, 2, size)
	b = appendHead(b, 1, endpoint)
	b = appendHead(b, 1, address)
	b = appendHead(b, 1, socket)
	b = appendText(b, 2, m.host)
	b = appendNumber(b, 3, uint64(m.port))
	b = appendNumber(b, 2, uint64(m.health))
	return appendWrapped(b, 4, m.weight)
}

// appendHead begins a message of a size.
func appendHead(b []byte, field protowire.Number, size int) []byte {
	b = protowire.AppendTag(b, field, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(size))
}

func appendNumber(b []byte, field protowire.Number, n uint64) []byte {
	b = protowire.AppendTag(b, field, protowire.VarintType)
	return protowire.AppendVarint(b, n)
}

// appendWrapped writes a UInt32Value.
func appendWrapped(b []byte, field protowire.Number, n uint64) []byte {
	b = appendHead(b, field, fieldSize(1, n))
	return appendNumber(b, 1, n)
}

// appendFilled writes a text that is not empty.
func appendFilled(b []byte, field protowire.Number, text string) []byte {
	if text == "" {
		return b
	}
	return appendText(b, field, text)
}

func textSize(field protowire.Number, text string) int {
	if text == "" {
		return 0
	}
	return messageSize(field, len(text))
}

func messageSize(field protowire.Number, size int) int {
	return protowire.SizeTag(field) + protowire.SizeBytes(size)
}

func fieldSize(field protowire.Number, n uint64) int {
	return protowire.SizeTag(field) + protowire.SizeVarint(n)
}
