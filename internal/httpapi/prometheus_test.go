package httpapi

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
)

// shops answers as a server with two services on two pages and one that is gone meanwhile.
func shops(method string, request proto.Message) (proto.Message, error) {
	switch r := request.(type) {
	case *rollcallv1.ListServicesRequest:
		if r.GetPageToken() == "" {
			return &rollcallv1.ListServicesResponse{Services: []*rollcallv1.ServiceSummary{{Service: "cart"}, {Service: "gone"}}, NextPageToken: "2"}, nil
		}
		return &rollcallv1.ListServicesResponse{Services: []*rollcallv1.ServiceSummary{{Service: "shop"}}}, nil
	case *rollcallv1.GetServiceRequest:
		switch r.GetService() {
		case "cart":
			return &rollcallv1.GetServiceResponse{Service: "cart", Instances: []*rollcallv1.Instance{
				{
					Id: "a", Addr: "10.0.0.1:80", Zone: "z1", Version: "v1", EffectiveState: "draining", State: "serving", Weight: 100, EffectiveWeight: 7,
					Addrs: map[string]string{"http": "10.0.0.1:8080"}, Metadata: map[string]string{"team-name": "jie", "team.name": "other", "größe": "<b>\n"},
				},
				{Id: "b", Addr: "10.0.0.2:80", Zone: "z2", State: "serving", Weight: 100},
			}}, nil
		case "shop":
			return &rollcallv1.GetServiceResponse{
				Service: "shop", Stale: &rollcallv1.Staleness{Since: timestamppb.New(since)},
				Instances: []*rollcallv1.Instance{{Id: "c", Addr: "[::1]:80", Zone: "z1"}},
			}, nil
		}
		return nil, status.Error(codes.NotFound, "gone")
	}
	return nothing(method, request)
}

// targets reads an answer as strictly as it can be read.
func targets(t *testing.T, a answer) []targetGroup {
	t.Helper()
	if a.code != http.StatusOK || a.header.Get("Content-Type") != "application/json" {
		t.Fatalf("%d %v %s", a.code, a.header, a.body)
	}
	decoder := json.NewDecoder(strings.NewReader(a.body))
	decoder.DisallowUnknownFields()
	var groups []targetGroup
	if err := decoder.Decode(&groups); err != nil || groups == nil || decoder.More() {
		t.Fatalf("%q: %v", a.body, err)
	}
	return groups
}

func TestPrometheusIsToldAllTargetsWithTheirLabels(t *testing.T) {
	t.Parallel()
	s := &script{answers: shops}
	_, at := serve(t, s)
	got := ask(t, "GET", at+"/v1/prometheus/http_sd", "", "X-Prometheus-Refresh-Interval-Seconds: 60")
	if since := got.header.Get("Rollcall-Stale-Since"); since != "2026-11-22T08:30:00Z" {
		t.Errorf("Rollcall-Stale-Since %q", since)
	}
	want := []targetGroup{
		{[]string{"10.0.0.1:80"}, map[string]string{
			"__meta_rollcall_service": "cart", "__meta_rollcall_id": "a", "__meta_rollcall_zone": "z1", "__meta_rollcall_version": "v1", "__meta_rollcall_state": "draining",
			"__meta_rollcall_weight": "7", "__meta_rollcall_metadata_team_name": "jie", "__meta_rollcall_metadata_gr__e": "<b>\n",
		}},
		{[]string{"10.0.0.2:80"}, map[string]string{
			"__meta_rollcall_service": "cart", "__meta_rollcall_id": "b", "__meta_rollcall_zone": "z2", "__meta_rollcall_version": "", "__meta_rollcall_state": "serving",
			"__meta_rollcall_weight": "100",
		}},
		{[]string{"[::1]:80"}, map[string]string{
			"__meta_rollcall_service": "shop", "__meta_rollcall_id": "c", "__meta_rollcall_zone": "z1", "__meta_rollcall_version": "", "__meta_rollcall_state": "",
			"__meta_rollcall_weight": "0",
		}},
	}
	if diff := cmp.Diff(want, targets(t, got)); diff != "" {
		t.Errorf("targets (-want +got):\n%s", diff)
	}
}

func TestPrometheusMayAskForSomeTargets(t *testing.T) {
	t.Parallel()
	_, at := serve(t, &script{answers: shops})
	for query, want := range map[string]string{
		"?service=cart":                          "10.0.0.1:80 10.0.0.2:80",
		"?service=shop&service=cart":             "10.0.0.1:80 10.0.0.2:80 [::1]:80",
		"?service=nobody":                        "",
		"?label=zone%3Dz1":                       "10.0.0.1:80 [::1]:80",
		"?label=zone%3Dz1&label=team-name%3Djie": "10.0.0.1:80",
		"?label=version%3D":                      "10.0.0.2:80 [::1]:80",
		"?label=team-name%3D":                    "",
		"?port=http":                             "10.0.0.1:8080",
		"?port=none":                             "",
	} {
		var got []string
		for _, group := range targets(t, ask(t, "GET", at+"/v1/prometheus/http_sd"+query, "")) {
			got = append(got, group.Targets...)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %v, want %s", query, got, want)
		}
	}
	if got := ask(t, "GET", at+"/v1/prometheus/http_sd?service=nobody", "").body; got != "[]\n" {
		t.Errorf("nothing is %q", got)
	}
	for _, query := range []string{"?service=a&prefix=b", "?label=zone", "?label=%3Dx", "?port=a&port=b", "?prefix=a&prefix=b", "?servcie=a", "?service=%ff", "?service=%zz"} {
		if got := ask(t, "GET", at+"/v1/prometheus/http_sd"+query, ""); got.code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", query, got.code, got.body)
		}
	}
}

// Prometheus keeps its last list when it gets an error, and would drop all targets for an empty one.
func TestPrometheusIsNeverToldNothingByMistake(t *testing.T) {
	t.Parallel()
	for _, failing := range []string{"ListServices", "GetService"} {
		_, at := serve(t, &script{answers: func(method string, r proto.Message) (proto.Message, error) {
			if method == failing {
				return nil, status.Error(codes.Unavailable, "not yet")
			}
			return shops(method, r)
		}})
		if got := ask(t, "GET", at+"/v1/prometheus/http_sd", ""); got.code != http.StatusServiceUnavailable || got.problem(t).Message != "not yet" {
			t.Errorf("%s: %d %s", failing, got.code, got.body)
		}
	}
}
