package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// What is not set is written where it is a word, a number or a list, so that readers need not know what is left out; what is not there,
// such as a policy, is not.
var encoding = protojson.MarshalOptions{EmitDefaultValues: true}

// newGateway returns what answers the calls that are generated from the .proto files.
func newGateway(calls conn, kept *answers) (http.Handler, error) {
	known, err := parameters()
	if err != nil {
		return nil, err
	}
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, &marshaler{runtime.JSONPb{MarshalOptions: encoding}}),
		runtime.WithIncomingHeaderMatcher(noHeader),
		runtime.WithOutgoingHeaderMatcher(noHeader),
		runtime.WithOutgoingTrailerMatcher(noHeader),
		runtime.WithDisablePathLengthFallback(),
		runtime.WithDisableHTTPMethodOverride(),
		runtime.WithWriteContentLength(),
		runtime.WithMiddlewares(known.check, kept.before),
		runtime.WithForwardResponseOption(mark),
		runtime.WithRoutingErrorHandler(known.misrouted),
		runtime.WithErrorHandler(func(_ context.Context, _ *runtime.ServeMux, _ runtime.Marshaler, w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Del("Content-Length")
			fail(w, err)
		}),
	)
	ctx := context.Background()
	return mux, errors.Join(
		rollcallv1.RegisterRegistrationServiceHandlerClient(ctx, mux, rollcallv1.NewRegistrationServiceClient(calls)),
		rollcallv1.RegisterDiscoveryServiceHandlerClient(ctx, mux, rollcallv1.NewDiscoveryServiceClient(calls)),
		rollcallv1.RegisterHistoryServiceHandlerClient(ctx, mux, rollcallv1.NewHistoryServiceClient(calls)),
		rollcallv1.RegisterOperationsServiceHandlerClient(ctx, mux, rollcallv1.NewOperationsServiceClient(calls)),
		rollcallv1.RegisterControlServiceHandlerClient(ctx, mux, rollcallv1.NewControlServiceClient(calls)),
	)
}

func noHeader(string) (string, bool) { return "", false }

// forGateway returns a request as the gateway is to see it: without headers, with GET for HEAD, whose body net/http leaves out, and
// with its path in the one spelling from which [parameterTable.check] gets the segments back. None of the gateway's own ways to decode paths is
// that exact: with each of them two ids have the same path, or some have none.
func forGateway(r *http.Request, segments []string) *http.Request {
	u := *r.URL
	u.RawPath = "" // has it take Path as it is
	var path strings.Builder
	for _, segment := range segments {
		path.WriteString("/" + url.PathEscape(segment))
	}
	u.Path = path.String()
	seen := *r
	seen.URL, seen.Header = &u, http.Header{}
	if r.Method == http.MethodHead {
		seen.Method = http.MethodGet
	}
	return &seen
}

// mark tells in headers how current an answer is.
func mark(_ context.Context, w http.ResponseWriter, answer proto.Message) error {
	if a, ok := answer.(interface{ GetRevision() int64 }); ok && a.GetRevision() != 0 {
		w.Header().Set("Rollcall-Revision", strconv.FormatInt(a.GetRevision(), 10))
	}
	if a, ok := answer.(interface {
		GetStale() *rollcallv1.Staleness
	}); ok {
		markStale(w, a.GetStale())
	}
	return nil
}

func markStale(w http.ResponseWriter, stale *rollcallv1.Staleness) {
	if stale != nil {
		w.Header().Set("Rollcall-Stale-Since", stale.GetSince().AsTime().Format(time.RFC3339))
	}
}

// marshaler is the gateway's, but strict: a body is one object whose fields are all known.
type marshaler struct{ runtime.JSONPb }

// NewDecoder implements [runtime.Marshaler].
func (m *marshaler) NewDecoder(r io.Reader) runtime.Decoder {
	return runtime.DecoderFunc(func(v any) error {
		body, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		message, ok := v.(proto.Message)
		if !ok {
			return status.Errorf(codes.Internal, "a body is no %T", v)
		}
		if len(body) == 0 {
			return io.EOF // which the gateway takes for an empty object
		}
		return m.explain(protojson.Unmarshal(body, message))
	})
}

// explain says that an error is about the body, without the beginning that protobuf writes in more than one way.
func (*marshaler) explain(err error) error {
	if err == nil {
		return nil
	}
	text := strings.TrimPrefix(err.Error(), "proto:")
	return errors.New("the body is not what this call takes: " + strings.TrimLeft(text, " \u00a0"))
}
