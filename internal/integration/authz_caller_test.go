package integration

import (
	"slices"
	"testing"

	"google.golang.org/grpc/codes"

	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
	"github.com/rollcall-io/rollcall/internal/grpcapi"
)

func TestACallerIsToldWhoHeIsAndWhatHeMayDo(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some", "nobody")
	operations := rollcallv1.NewOperationsServiceClient(g.dial(g.as()))
	for _, c := range []struct {
		name, service string
		verbs         []string
	}{
		{"all", "shop", []string{"read", "register", "steer"}},
		{"all", "", []string{"read", "register", "steer"}},
		{"some", "shop", []string{"read"}},
		{"some", "", []string{"read"}},
		{"some", "cart", nil},
	} {
		resp, err := operations.GetCaller(bearing(t, as(c.name)), &rollcallv1.GetCallerRequest{Service: c.service})
		if err != nil || resp.GetName() != "token:"+c.name || !slices.Equal(resp.GetVerbs(), c.verbs) {
			t.Errorf("%s is told %v, %v; with %q he may %q", c.name, resp, err, c.service, c.verbs)
		}
	}
	_, err := operations.GetCaller(bearing(t, as("nobody")), &rollcallv1.GetCallerRequest{})
	wantRefusal(t, "one whom no rule knows", err, codes.PermissionDenied, "token:nobody may do nothing here")
	_, err = operations.GetCaller(bearing(t, as("all")), &rollcallv1.GetCallerRequest{Service: "a/b"})
	wantRefusal(t, "a service that cannot be", err, codes.InvalidArgument, "a/b")
}

func TestWhereNobodyIsAskedEverybodyMayDoEverything(t *testing.T) {
	t.Parallel()
	s := serveAPI(t, etcdtest.Start(t), grpcapi.Config{})
	resp, err := rollcallv1.NewOperationsServiceClient(s.conn).GetCaller(within(t, apiPatience), &rollcallv1.GetCallerRequest{Service: "shop"})
	if err != nil || resp.GetName() != "" || !slices.Equal(resp.GetVerbs(), []string{"read", "register", "steer", "admin"}) {
		t.Errorf("he is told %v, %v", resp, err)
	}
}
