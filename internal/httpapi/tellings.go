package httpapi

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	grpcencoding "google.golang.org/grpc/encoding"
	grpcproto "google.golang.org/grpc/encoding/proto"
	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// What was told lies here no longer than a stream that is slow may take, and never more than this.
const (
	mostTellings     = 1024
	mostTellingBytes = 32 << 20
	tellingIdle      = 10 * time.Second
)

// tellings have what the gRPC server tells event streams. It tells many streams the same bytes: the first that gets them decodes them and puts
// them as JSON, for all. Who may be told what is not decided here; whoever gets the bytes may have the JSON.
type tellings struct {
	shelf     *shelf[fingerprint, telling]
	encodings atomic.Int64 // for tests
}

// fingerprint tells messages apart, by what they are and all their bytes.
type fingerprint struct {
	method string
	bytes  [sha256.Size]byte
}

// telling is one message. It is shared, and never changed once it is made.
type telling struct {
	once sync.Once
	err  error
	text []byte // JSON
	saying
}

// saying is what the head of an event is made of.
type saying struct {
	snapshot bool
	changes  int
	stale    *rollcallv1.Staleness
	id       string
}

// template returns an empty message and, for when it is read, what it says.
type template func() (proto.Message, func() saying)

func newTellings() *tellings {
	return &tellings{shelf: newShelf[fingerprint, telling](mostTellings, mostTellingBytes, tellingIdle)}
}

// forget drops everything. It is for when there are no streams.
func (t *tellings) forget() { t.shelf.clear() }

// listen opens a stream of the gRPC server, and returns what waits for its next message.
func (a *API) listen(ctx context.Context, method string, req proto.Message, read template) (func() (*telling, error), error) {
	desc := &grpc.StreamDesc{StreamName: path.Base(method), ServerStreams: true}
	stream, err := a.calls.NewStream(ctx, desc, method, grpc.StaticMethod(), grpc.ForceCodecV2(bytesCodec{grpcencoding.GetCodecV2(grpcproto.Name)}))
	if err != nil {
		return nil, err
	}
	if err := stream.SendMsg(req); err != nil {
		return nil, err
	}
	if err := stream.CloseSend(); err != nil {
		return nil, err
	}
	return func() (*telling, error) {
		in := arrival{told: a.tellings, method: method, read: read}
		err := stream.RecvMsg(&in)
		return in.is, err
	}, nil
}

// arrival is a message of a stream that arrives.
type arrival struct {
	told   *tellings
	method string
	read   template
	is     *telling
}

// take finds out what has arrived.
func (in *arrival) take(data mem.BufferSlice) error {
	sum := sha256.New()
	for _, part := range data {
		_, _ = sum.Write(part.ReadOnlyData())
	}
	by := fingerprint{method: in.method}
	sum.Sum(by.bytes[:0])
	shelf := in.told.shelf
	in.is = shelf.get(by, func() *telling { return &telling{} })
	in.is.once.Do(func() {
		in.told.encodings.Add(1)
		in.is.err = in.is.make(data, in.read)
		shelf.weigh(by, in.is, len(in.is.text))
	})
	return in.is.err
}

func (t *telling) make(data mem.BufferSlice, read template) error {
	m, said := read()
	if err := proto.Unmarshal(data.Materialize(), m); err != nil {
		return err
	}
	t.saying = said()
	var err error
	if t.text, err = encoding.Marshal(m); err != nil {
		return fmt.Errorf("encode an event: %w", err)
	}
	return nil
}

// bytesCodec is gRPC's own for everything but arrivals, which get the bytes as they are.
type bytesCodec struct{ grpcencoding.CodecV2 }

// Unmarshal implements [grpcencoding.CodecV2].
func (c bytesCodec) Unmarshal(data mem.BufferSlice, v any) error {
	if in, is := v.(*arrival); is {
		return in.take(data)
	}
	return c.CodecV2.Unmarshal(data, v)
}
