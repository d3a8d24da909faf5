package xds

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func TestAnAssignmentIsWrittenInAsManyBytesAsProtobufNeeds(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		o := newOutlook("svc", drawView(t))
		n, s := name{"svc", rapid.SampledFrom([]string{"", "v1"}).Draw(t, "cluster")}, stance{zone: "a", names: true}
		own := appendAssignment(nil, n.String(), o.arrange(n, s))
		a := o.assignment(n, s)
		// Protobuf writes the fields in another order; what it takes to say the same is the same.
		if size := proto.Size(a); size != len(own) {
			t.Fatalf("%d bytes, and by protobuf %d: %v", len(own), size, a)
		}
		for _, l := range a.GetEndpoints() {
			for _, e := range l.GetLbEndpoints() {
				if m := e.ProtoReflect(); len(m.GetUnknown()) > 0 || e.GetEndpoint().GetAddress().GetSocketAddress() == nil {
					t.Fatalf("not what it should be: %v", e)
				}
			}
		}
	})
}
