package check

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/protobuf/proto"

	"github.com/rollcall-io/rollcall"
)

// frameHeader is what precedes a message of gRPC: whether it is compressed, and its length.
const frameHeader = 5

// probeGRPC makes one call of grpc.health.v1.Health/Check. A call of gRPC is a request of HTTP/2, and so goes through what dials and limits
// for HTTP. A channel of grpc-go is made to be kept: for one call it costs more, see docs/checks.md, and has dialling and retrying of its own.
func (p *prober) probeGRPC(ctx context.Context, addr string, c rollcall.Check) string {
	client, scheme := p.grpc, "http"
	if c.TLS {
		client, scheme = p.grpcTLS, "https"
	}
	req, err := newHealthRequest(ctx, scheme+"://"+addr, c.Service)
	if err != nil {
		return outcomeNotGRPC
	}
	resp, err := client.Do(req)
	if err != nil {
		return outcomeOf(cause(err), outcomeNotGRPC)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "application/grpc") {
		return outcomeNotGRPC
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return outcomeOf(err, outcomeNotGRPC)
	}
	return outcomeOfAnswer(resp, body)
}

func newHealthRequest(ctx context.Context, base, service string) (*http.Request, error) {
	message, err := proto.Marshal(&healthpb.HealthCheckRequest{Service: service})
	if err != nil {
		return nil, err
	}
	frame := make([]byte, frameHeader, frameHeader+len(message))
	binary.BigEndian.PutUint32(frame[1:], uint32(len(message)))
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+healthpb.Health_Check_FullMethodName, bytes.NewReader(append(frame, message...)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/grpc")
	req.Header.Set("Te", "trailers")
	req.Header.Set("User-Agent", userAgent)
	if deadline, ok := ctx.Deadline(); ok {
		left := time.Until(deadline) + time.Millisecond // rounded up: who waits longest is this side
		req.Header.Set("Grpc-Timeout", strconv.FormatInt(max(left.Milliseconds(), 1), 10)+"m")
	}
	return req, nil
}

// outcomeOfAnswer reads an answer: a status, in the header when nothing else comes, and a message.
func outcomeOfAnswer(resp *http.Response, body []byte) string {
	status := resp.Trailer.Get("Grpc-Status")
	if status == "" {
		status = resp.Header.Get("Grpc-Status")
	}
	code, err := strconv.ParseUint(status, 10, 8)
	if err != nil || code > uint64(codes.Unauthenticated) {
		return outcomeNotGRPC
	}
	switch codes.Code(code) {
	case codes.OK:
		return outcomeOfMessage(body)
	case codes.Unimplemented:
		return outcomeNoHealth
	case codes.NotFound:
		return outcomeNoService
	case codes.DeadlineExceeded:
		return outcomeTimeout
	}
	return fmt.Sprintf("gRPC status %v", codes.Code(code))
}

func outcomeOfMessage(body []byte) string {
	if len(body) < frameHeader || body[0] != 0 || uint32(len(body)-frameHeader) != binary.BigEndian.Uint32(body[1:]) {
		return outcomeNotGRPC
	}
	var answer healthpb.HealthCheckResponse
	if err := proto.Unmarshal(body[frameHeader:], &answer); err != nil {
		return outcomeNotGRPC
	}
	switch answer.GetStatus() {
	case healthpb.HealthCheckResponse_SERVING:
		return outcomeWell
	case healthpb.HealthCheckResponse_SERVICE_UNKNOWN:
		return outcomeNoService
	case healthpb.HealthCheckResponse_NOT_SERVING:
		return "NOT_SERVING"
	}
	return "UNKNOWN"
}
