package grpcapi

import (
	"testing"

	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

func TestWhatIsEncodedIsSentAsItIs(t *testing.T) {
	t.Parallel()
	want := &rollcallv1.WatchResponse{Revision: 7, Snapshot: true}
	f, err := newFrame(want)
	if err != nil {
		t.Fatal(err)
	}
	c := newCodec()
	sent, err := c.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Marshal(f)
	if err != nil || &sent[0].ReadOnlyData()[0] != &again[0].ReadOnlyData()[0] {
		t.Errorf("two streams do not share the bytes: %v", err)
	}
	plain, err := c.Marshal(want)
	if err != nil || string(plain.Materialize()) != string(sent.Materialize()) {
		t.Errorf("encoded by whoever asked first it is %x, by gRPC %x, %v", sent.Materialize(), plain.Materialize(), err)
	}
	got := &rollcallv1.WatchResponse{}
	if err := c.Unmarshal(sent, got); err != nil || !proto.Equal(got, want) {
		t.Errorf("read as %v, %v", got, err)
	}
	if c.Name() != "proto" {
		t.Errorf("the codec is called %q", c.Name())
	}
}
