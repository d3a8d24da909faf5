package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

var since = time.Date(2026, 11, 22, 8, 30, 0, 0, time.UTC)

func mustEqualJSON(t *testing.T, got string, want any) {
	t.Helper()
	var decoded any
	if err := json.Unmarshal([]byte(got), &decoded); err != nil {
		t.Fatalf("%q: %v", got, err)
	}
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var wanted any
	if err := json.Unmarshal(text, &wanted); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wanted, decoded); diff != "" {
		t.Errorf("JSON (-want +got):\n%s", diff)
	}
}

func TestAnAnswerSaysHowCurrentItIs(t *testing.T) {
	t.Parallel()
	s := &script{answers: fixed("ListServices", &rollcallv1.ListServicesResponse{
		Services: []*rollcallv1.ServiceSummary{{Service: "shop", Instances: 2, Serving: 2, Zones: map[string]int32{"a": 2}, Revision: 41}},
		Revision: 42, Stale: &rollcallv1.Staleness{Since: timestamppb.New(since), Reason: "connection refused"},
	})}
	_, at := serve(t, s)
	got := ask(t, "GET", at+"/v1/services", "")
	if got.header.Get("Rollcall-Revision") != "42" || got.header.Get("Rollcall-Stale-Since") != "2026-11-22T08:30:00Z" || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("headers: %v", got.header)
	}
	mustEqualJSON(t, got.body, map[string]any{
		"revision": "42", "nextPageToken": "", "stale": map[string]any{"since": "2026-11-22T08:30:00Z", "reason": "connection refused"},
		"services": []any{map[string]any{
			"service": "shop", "instances": 2, "serving": 2, "draining": 0, "suspect": 0, "unhealthy": 0, "zones": map[string]int{"a": 2}, "versions": map[string]int{},
			"revision": "41", "policy": false,
		}},
	})
	s.answers = fixed("GetService", &rollcallv1.GetServiceResponse{Service: "shop", Revision: 7})
	got = ask(t, "GET", at+"/v1/services/shop", "")
	if _, stale := got.header["Rollcall-Stale-Since"]; stale {
		t.Error("a current answer has a header that says since when it is stale")
	}
	mustEqualJSON(t, got.body, map[string]any{"service": "shop", "revision": "7", "instances": []any{}})
}

func TestHEADHasTheHeadersOfGET(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{answers: fixed("GetService", &rollcallv1.GetServiceResponse{Service: "shop", Revision: 7})})
	if got := ask(t, "HEAD", at+"/v1/services/shop", ""); got.code != http.StatusOK || got.header.Get("Rollcall-Revision") != "7" || got.body != "" {
		t.Errorf("%d %v %q", got.code, got.header, got.body)
	}
}

// curl -d says that it sends a form; what counts is what it sends.
func TestABodyIsJSONWhateverItIsCalled(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	for _, kind := range []string{"application/json", "application/x-www-form-urlencoded", "application/json; charset=utf-8"} {
		got := ask(t, "POST", at+"/v1/services/shop/instances", `{"service":"other","instance":{"addr":"10.0.0.1:80","metadata":{"team":"jie"}},"ttl":"15s"}`, "Content-Type: "+kind)
		if got.code != http.StatusOK {
			t.Fatalf("%s: %d %s", kind, got.code, got.body)
		}
		r := s.last(t).request.(*rollcallv1.RegisterRequest)
		if r.GetService() != "shop" || r.GetInstance().GetAddr() != "10.0.0.1:80" || r.GetInstance().GetMetadata()["team"] != "jie" || r.GetTtl().GetSeconds() != 15 {
			t.Errorf("%s: arrived as %v", kind, r)
		}
	}
}

func TestABodyThatIsNotWhatACallTakesIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	s := &script{}
	_, at := serve(t, s)
	for body, reason := range map[string]string{
		`{"instnace":{"addr":"10.0.0.1:80"}}`:                  `unknown field "instnace"`,
		`{"instance":{"address":"10.0.0.1:80"}}`:               `unknown field "address"`,
		`{"ttl":"soon"}`:                                       `soon`,
		`{"ttl":"15s","ttl":"16s"}`:                            `duplicate field "ttl"`,
		`{"instance":{}} {"instance":{}}`:                      `unexpected token`,
		`service=shop`:                                         `the body is not what this call takes`,
		`[]`:                                                   `the body is not what this call takes`,
		"{\"instance\":{\"addr\":\"\xff\"}}":                   `UTF-8`,
		`{"instance":{"metadata":{"team":1}}}`:                 `1`,
		strings.Repeat(`{"instance":`, 5000):                   `the body is not what this call takes`,
		`{"instance":{"raw_metadata":` + nest(12000, "[", "]"): `the body is not what this call takes`,
	} {
		got := ask(t, "POST", at+"/v1/services/shop/instances", body)
		if got.code != http.StatusBadRequest || s.arrived() != 0 {
			t.Errorf("%.60q: %d %s", body, got.code, got.body)
			continue
		}
		if p := got.problem(t); p.Code != int(codes.InvalidArgument) || !strings.Contains(p.Message, reason) || strings.Contains(p.Message, "proto:") {
			t.Errorf("%.60q: %+v does not say %q", body, p, reason)
		}
	}
}

func nest(n int, open, end string) string {
	return strings.Repeat(open, n) + strings.Repeat(end, n)
}

func TestErrorsAreThoseOfGRPCAsJSON(t *testing.T) {
	t.Parallel()
	for code, httpStatus := range map[codes.Code]int{
		codes.InvalidArgument: 400, codes.NotFound: 404, codes.Aborted: 409, codes.PermissionDenied: 403, codes.Unauthenticated: 401,
		codes.ResourceExhausted: 429, codes.Unavailable: 503, codes.DeadlineExceeded: 504, codes.Internal: 500,
	} {
		s := &script{answers: func(string, proto.Message) (proto.Message, error) {
			st, err := status.New(code, `addr "x": an address is host:port`).WithDetails(&errdetails.ErrorInfo{Reason: "WRONG", Domain: "rollcall"})
			if err != nil {
				return nil, err
			}
			return nil, st.Err()
		}}
		_, at := serve(t, s)
		got := ask(t, "POST", at+"/v1/services/shop/instances", anInstance)
		p := got.problem(t)
		if got.code != httpStatus || p.Code != int(code) || p.Message != `addr "x": an address is host:port` || len(p.Details) != 1 || p.Details[0]["reason"] != "WRONG" {
			t.Errorf("%v: %d %s", code, got.code, got.body)
		}
		if (got.header.Get("WWW-Authenticate") != "") != (code == codes.Unauthenticated) {
			t.Errorf("%v: WWW-Authenticate %q", code, got.header.Get("WWW-Authenticate"))
		}
		for name := range got.header {
			if strings.HasPrefix(name, "Grpc-") {
				t.Errorf("%v: header %s", code, name)
			}
		}
	}
}
