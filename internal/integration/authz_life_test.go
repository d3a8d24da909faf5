package integration

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/rollcall-io/rollcall"
	rollcallv1 "github.com/rollcall-io/rollcall/api/rollcall/v1"
	"github.com/rollcall-io/rollcall/internal/server"
)

const lifeRules = `
trustDomain: td
rules:
- {identities: ["spiffe://td/ns/{ns}/svc/{service}"], verbs: [register], services: ["{service}"], ownAddress: true}
- {identities: ["dns:watcher.example"], verbs: [read], services: [shop]}
- {identities: ["token:all"], verbs: [read, register, steer], services: ["*"]}
- {identities: ["token:some"], verbs: [read], services: ["shop", "b-*"]}
`

func as(name string) string { return "Bearer " + tokenOf(name) }

func registerAs(t *testing.T, api rollcallv1.RegistrationServiceClient, authorization, service, addr, id string) (*rollcallv1.RegisterResponse, error) {
	t.Helper()
	return api.Register(bearing(t, authorization), &rollcallv1.RegisterRequest{
		Service: service, Instance: &rollcallv1.Instance{Addr: addr, Id: id, Metadata: map[string]string{"hidden": "metadata-value"}}, Ttl: durationpb.New(time.Minute),
	})
}

func wantRefusal(t *testing.T, what string, err error, want codes.Code, parts ...string) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%s: the error does not say %q: %v", what, part, err)
		}
	}
}

// security.md's S1 and S2, over real TLS and both doors.
func TestAnInstanceRegistersItsOwnServiceAtItsOwnAddress(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all")
	shop := g.as(g.ca.holder("spiffe://td/ns/prod/svc/shop"))
	api := rollcallv1.NewRegistrationServiceClient(g.dial(shop))
	mine, err := registerAs(t, api, "", "shop", "127.0.0.1:1001", "")
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ service, addr, id string }{
		"another service":        {"cart", "127.0.0.1:1001", ""},
		"a longer name":          {"shop2", "127.0.0.1:1001", ""},
		"another's address":      {"shop", "10.0.0.1:1001", ""},
		"a name for an address":  {"shop", "localhost:1001", ""},
		"another's id":           {"shop", "127.0.0.1:1001", "10.0.0.1:1001"},
		"an id that is anything": {"shop", "127.0.0.1:1001", "x"},
	} {
		_, err := registerAs(t, api, "", c.service, c.addr, c.id)
		wantRefusal(t, what, err, codes.PermissionDenied, "spiffe://td/ns/prod/svc/shop may")
		code, text := g.ask(shop, "POST", "/v1/services/"+c.service+"/instances", fmt.Sprintf(`{"instance":{"addr":%q,"id":%q}}`, c.addr, c.id))
		if code != 403 {
			t.Errorf("%s by HTTP: %d %s", what, code, text)
		}
	}
	code, text := g.ask(shop, "POST", "/v1/services/shop/instances", `{"instance":{"addr":"127.0.0.1:1002"}}`)
	if code != 200 {
		t.Errorf("its own by HTTP: %d %s", code, text)
	}
	_, err = api.Update(bearing(t, ""), &rollcallv1.UpdateRequest{Service: "shop", Id: "127.0.0.1:1001", Token: mine.GetToken(), Instance: &rollcallv1.Instance{Addr: "10.0.0.1:1"}})
	wantRefusal(t, "a move to another's address", err, codes.PermissionDenied)
	// Its registration's token is no use to others, and theirs no use to it.
	cart := rollcallv1.NewRegistrationServiceClient(g.dial(g.as(g.ca.holder("spiffe://td/ns/prod/svc/cart"))))
	_, err = cart.Deregister(bearing(t, ""), &rollcallv1.DeregisterRequest{Service: "shop", Id: "127.0.0.1:1001", Token: mine.GetToken()})
	wantRefusal(t, "another's goodbye, with a stolen token", err, codes.PermissionDenied)
	_, err = api.Heartbeat(bearing(t, ""), &rollcallv1.HeartbeatRequest{Service: "shop", Id: "127.0.0.1:1001", Token: "guess"})
	wantRefusal(t, "a heartbeat with a wrong token", err, codes.NotFound)
	if _, err = api.Heartbeat(bearing(t, ""), &rollcallv1.HeartbeatRequest{Service: "shop", Id: "127.0.0.1:1001", Token: mine.GetToken()}); err != nil {
		t.Errorf("its own heartbeat: %v", err)
	}
}

func TestACertificateThatIsNotExactlyOnesIsNobodys(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all")
	get := func(names ...string) error {
		_, err := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as(g.ca.holder(names...)))).GetService(bearing(t, ""), &rollcallv1.GetServiceRequest{Service: "shop"})
		return err
	}
	if err := get("watcher.example"); err != nil {
		t.Errorf("a DNS name: %v", err)
	}
	for what, names := range map[string][]string{
		"two DNS names":            {"watcher.example", "other.example"},
		"CVE-2022-40716: two URIs": {"spiffe://td/ns/a/svc/b", "spiffe://td/ns/a/svc/c"},
		"another trust domain":     {"spiffe://evil/ns/a/svc/b", "watcher.example"},
		"a common name only":       nil,
	} {
		err := get(names...)
		wantRefusal(t, what, err, codes.Unauthenticated, "the certificate")
		if code, text := g.ask(g.as(g.ca.holder(names...)), "GET", "/v1/services/shop", ""); code != 401 {
			t.Errorf("%s by HTTP: %d %s", what, code, text)
		}
	}
	stranger := newAuthority(t)
	err := func() error {
		_, err := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as(stranger.holder("watcher.example")))).GetService(bearing(t, ""), &rollcallv1.GetServiceRequest{Service: "shop"})
		return err
	}()
	wantRefusal(t, "a certificate of another authority", err, codes.Unavailable)
}

// Absent and forbidden look alike: security.md's S10.
func TestWhatMayNotBeReadIsNowhere(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some")
	conn := g.dial(g.as())
	api, discovery := rollcallv1.NewRegistrationServiceClient(conn), rollcallv1.NewDiscoveryServiceClient(conn)
	watch, err := discovery.WatchServices(bearing(t, as("some")), &rollcallv1.WatchServicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := watch.Recv(); err != nil || len(first.GetServices()) != 0 {
		t.Fatalf("the first response: %v, %v", first, err)
	}
	for n, service := range []string{"a-1", "a-2", "b-1", "b-2", "c-1", "shop", "shop-2"} {
		if _, err := registerAs(t, api, as("all"), service, fmt.Sprintf("127.0.0.1:%d", 2000+n), ""); err != nil {
			t.Fatal(err)
		}
	}
	list := func(name string, size int32) (names []string, pages int, tokens string) {
		for token := ""; ; {
			page, err := discovery.ListServices(bearing(t, as(name)), &rollcallv1.ListServicesRequest{PageSize: size, PageToken: token})
			if err != nil {
				t.Fatal(err)
			}
			pages++
			for _, s := range page.GetServices() {
				names = append(names, s.GetService())
			}
			if token = page.GetNextPageToken(); token == "" {
				return names, pages, tokens
			}
			tokens += token
		}
	}
	eventually(t, apiPatience, "all services are listed", func() bool { names, _, _ := list("all", 0); return len(names) == 7 })
	want := []string{"b-1", "b-2", "shop"}
	if names, pages, _ := list("some", 1); !slices.Equal(names, want) || pages != 3 {
		t.Errorf("listed are %v in %d pages, want %v in 3", names, pages, want)
	}
	if _, text := g.ask(g.as(), "GET", "/v1/prometheus/http_sd", "", "Authorization: "+as("some")); strings.Contains(text, "a-1") || strings.Contains(text, "shop-2") || !strings.Contains(text, "b-2") {
		t.Errorf("http_sd tells %s", text)
	}
	var told []string
	for len(told) < len(want) {
		resp, err := watch.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range resp.GetServices() {
			told = append(told, s.GetService())
		}
	}
	if !slices.Equal(slices.Compact(slices.Sorted(slices.Values(told))), want) {
		t.Errorf("the watch tells of %v, want %v", told, want)
	}
	// There, or not there: the same words.
	refusal := func(service string) string {
		_, err := discovery.GetService(bearing(t, as("some")), &rollcallv1.GetServiceRequest{Service: service})
		return strings.ReplaceAll(err.Error(), service, "X")
	}
	if there, not := refusal("a-1"), refusal("a-9"); there != not {
		t.Errorf("a service that is there is refused with %q, one that is not with %q", there, not)
	}
	_, there := g.ask(g.as(), "GET", "/v1/services/a-1", "", "Authorization: "+as("some"))
	_, not := g.ask(g.as(), "GET", "/v1/services/a-9", "", "Authorization: "+as("some"))
	if strings.ReplaceAll(there, "a-1", "X") != strings.ReplaceAll(not, "a-9", "X") {
		t.Errorf("by HTTP: %s and %s", there, not)
	}
}

func TestARefusedRequestOfASessionEndsNothingElse(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some")
	api := rollcallv1.NewRegistrationServiceClient(g.dial(g.as(g.ca.holder("spiffe://td/ns/prod/svc/shop"))))
	session, err := api.Session(bearing(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(service, addr string) *rollcallv1.SessionResponse {
		t.Helper()
		err := session.Send(&rollcallv1.SessionRequest{Call: 5, Ask: &rollcallv1.SessionRequest_Register{Register: &rollcallv1.RegisterRequest{Service: service, Instance: &rollcallv1.Instance{Addr: addr}}}})
		if err != nil {
			t.Fatal(err)
		}
		resp, err := session.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if resp.GetCall() != 5 {
			t.Errorf("the answer is to %d", resp.GetCall())
		}
		return resp
	}
	if resp := ask("shop", "127.0.0.1:3001"); resp.GetRegistered() == nil {
		t.Fatalf("its own: %v", resp)
	}
	if resp := ask("cart", "127.0.0.1:3001"); resp.GetFailed().GetCode() != int32(codes.PermissionDenied) {
		t.Errorf("another's: %v", resp)
	}
	if resp := ask("shop", "10.0.0.1:3001"); resp.GetFailed().GetCode() != int32(codes.PermissionDenied) {
		t.Errorf("elsewhere: %v", resp)
	}
	if resp := ask("shop", "127.0.0.1:3002"); resp.GetRegistered() == nil {
		t.Errorf("another one of its own: %v", resp)
	}
	if err := session.Send(&rollcallv1.SessionRequest{Call: 5}); err != nil {
		t.Fatal(err)
	}
	if resp, err := session.Recv(); err != nil || resp.GetFailed().GetCode() != int32(codes.InvalidArgument) || resp.GetCall() != 5 {
		t.Errorf("nothing asked: %v, %v", resp, err)
	}
}

func TestRulesAndTokensAreReadAgainAndABadFileChangesNothing(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some")
	discovery := rollcallv1.NewDiscoveryServiceClient(g.dial(g.as()))
	may := func(name, service string) bool {
		_, err := discovery.GetService(bearing(t, as(name)), &rollcallv1.GetServiceRequest{Service: service})
		return err == nil
	}
	if may("some", "cart") || !may("some", "shop") || may("later", "shop") {
		t.Fatal("it does not begin as the rules say")
	}
	watch, err := discovery.Watch(bearing(t, as("some")), &rollcallv1.WatchRequest{Service: "shop"})
	if err != nil {
		t.Fatal(err)
	}
	list, err := discovery.WatchServices(bearing(t, as("some")), &rollcallv1.WatchServicesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, recv := range []func() error{func() error { _, err := watch.Recv(); return err }, func() error { _, err := list.Recv(); return err }} {
		if err := recv(); err != nil {
			t.Fatal(err)
		}
	}

	replace(t, g.rules, "rules:\n- {identities: ['token:some'], verbs: [everything], services: ['*']}\n")
	eventually(t, apiPatience, "the bad file is in the log", func() bool { return strings.Contains(g.journal.String(), `verb \"everything\"`) })
	if may("some", "cart") || !may("some", "shop") {
		t.Error("a bad file has changed what is let")
	}
	if err := os.Remove(g.rules); err != nil {
		t.Fatal(err)
	}
	eventually(t, apiPatience, "the missing file is in the log", func() bool { return strings.Contains(g.journal.String(), "no such file") })
	if may("some", "cart") || !may("some", "shop") {
		t.Error("a missing file has changed what is let")
	}

	replace(t, g.rules, "rules:\n- {identities: ['token:*'], verbs: [read], services: [cart]}\n")
	eventually(t, apiPatience, "the new rules count", func() bool { return may("some", "cart") })
	if may("some", "shop") {
		t.Error("the rules before still count")
	}
	// Streams that were let before are no longer.
	_, err = watch.Recv()
	wantRefusal(t, "a watch that is no longer let", err, codes.PermissionDenied, "token:some may not read")
	_, err = list.Recv()
	wantRefusal(t, "a list that has changed", err, codes.Unavailable, "come back")

	watch, err = discovery.Watch(bearing(t, as("some")), &rollcallv1.WatchRequest{Service: "cart"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := watch.Recv(); err != nil {
		t.Fatal(err)
	}
	replace(t, g.tokens, "some: "+tokenOf("some"))
	eventually(t, apiPatience, "the bad tokens are in the log", func() bool { return strings.Contains(g.journal.String(), "it is not a SHA-256") })
	if !may("some", "cart") {
		t.Error("a bad file of tokens has changed who is known")
	}
	replace(t, g.tokens, tokenFile("later"))
	eventually(t, apiPatience, "the new tokens count", func() bool { return may("later", "cart") })
	if may("some", "cart") {
		t.Error("a token that was taken back is still good")
	}
	_, err = watch.Recv()
	wantRefusal(t, "a watch whose token was taken back", err, codes.Unauthenticated)
	if strings.Contains(g.journal.String(), tokenOf("some")) {
		t.Error("a token is in the log")
	}
}

// security.md's S17 and S18.
func TestEveryChangeAndEveryRefusalIsWrittenDown(t *testing.T) {
	t.Parallel()
	g := serveGuarded(t, lifeRules, "all", "some")
	conn := g.dial(g.as())
	api, control := rollcallv1.NewRegistrationServiceClient(conn), rollcallv1.NewControlServiceClient(conn)
	mine, err := registerAs(t, api, as("all"), "shop", "127.0.0.1:4001", "one")
	if err != nil {
		t.Fatal(err)
	}
	updated, err := api.Update(bearing(t, as("all")), &rollcallv1.UpdateRequest{Service: "shop", Id: "one", Token: mine.GetToken(), Instance: &rollcallv1.Instance{Addr: "127.0.0.1:4001"}})
	if err != nil {
		t.Fatal(err)
	}
	set, err := control.SetOverride(bearing(t, as("all")), &rollcallv1.SetOverrideRequest{Service: "shop", Id: "one", Override: &rollcallv1.Override{Drain: true, Reason: "test", Author: "liar"}})
	if err != nil {
		t.Fatal(err)
	}
	if set.GetOverride().GetAuthor() != "token:all" {
		t.Errorf("the author is %q: it is who is known, not who is claimed", set.GetOverride().GetAuthor())
	}
	document, err := structpb.NewStruct(map[string]any{"author": "liar", "reason": "test", "balancing": map[string]any{"policy": "round_robin"}})
	if err != nil {
		t.Fatal(err)
	}
	_, policyErr := control.SetPolicy(bearing(t, as("all")), &rollcallv1.SetPolicyRequest{Service: "shop", Policy: &rollcallv1.Policy{Document: document}})
	if _, err := api.Deregister(bearing(t, as("all")), &rollcallv1.DeregisterRequest{Service: "shop", Id: "one", Token: mine.GetToken()}); err != nil {
		t.Fatal(err)
	}
	_, err = registerAs(t, api, as("some"), "shop", "127.0.0.1:4001", "two\nevil=1")
	wantRefusal(t, "a refusal", err, codes.PermissionDenied)
	g.ask(g.as(), "DELETE", "/v1/services/shop/policy?revision=-1", "", "Authorization: "+as("some"))

	type row struct {
		who, verb, method, service, id, decision string
		revision                                 int64
	}
	var got []row
	for _, one := range g.journal.audits(t) {
		text := func(name string) string { s, _ := one[name].(string); return s }
		revision, _ := one["revision"].(float64)
		got = append(got, row{text("who"), text("verb"), text("method"), text("service"), text("id"), text("decision"), int64(revision)})
		if !strings.HasPrefix(text("from"), "127.0.0.1:") || text("reason") == "" {
			t.Errorf("a record says not from where, or why: %v", one)
		}
	}
	const registration, steering = "/rollcall.v1.RegistrationService/", "/rollcall.v1.ControlService/"
	want := []row{
		{"token:all", "register", registration + "Register", "shop", "one", "allowed", mine.GetRevision()},
		{"token:all", "register", registration + "Update", "shop", "one", "allowed", updated.GetRevision()},
		{"token:all", "steer", steering + "SetOverride", "shop", "one", "allowed", set.GetOverride().GetRevision()},
		{"token:all", "steer", steering + "SetPolicy", "shop", "", "allowed", 0},
		{"token:all", "register", registration + "Deregister", "shop", "one", "allowed", 0},
		{"token:some", "register", registration + "Register", "shop", "two\nevil=1", "denied", 0},
		{"token:some", "steer", steering + "DeletePolicy", "shop", "", "denied", 0},
	}
	if policyErr == nil {
		t.Log("the policy was taken")
		for n := range got {
			if got[n].method == steering+"SetPolicy" {
				want[3].revision = got[n].revision
			}
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("written down is\n%+v\nwant\n%+v", got, want)
	}
	for _, secret := range []string{tokenOf("all"), tokenOf("some"), mine.GetToken(), "metadata-value"} {
		if strings.Contains(g.journal.String(), secret) {
			t.Errorf("the log shows %q", secret)
		}
	}
	// Refusals in a row are not all written down, but counted.
	before := len(g.journal.audits(t))
	for range 300 {
		_, _ = registerAs(t, api, as("some"), "shop", "127.0.0.1:4001", "")
	}
	if more := len(g.journal.audits(t)) - before; more < 5 || more > 60 {
		t.Errorf("of 300 refusals in a row %d are written down", more)
	}
}

func TestAServerWithRulesRefusesToStartWithAWayAroundThem(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rules, tokens := dir+"/rules.yaml", dir+"/tokens.yaml"
	replace(t, rules, lifeRules)
	replace(t, tokens, tokenFile("all"))
	base := server.Config{Etcd: []string{"127.0.0.1:1"}, Prefix: rollcall.DefaultPrefix, GRPCListen: "127.0.0.1:0", Authz: rules, AuthzTokens: tokens}
	if err := base.Validate(); err != nil {
		t.Errorf("on loopback: %v", err)
	}
	for what, c := range map[string]struct {
		change func(*server.Config)
		field  string
	}{
		"an etcd of its own that asks nobody (S4)": {func(c *server.Config) { c.Etcd = nil }, "Config.ClientURL"},
		"tokens without rules":                     {func(c *server.Config) { c.Authz = "" }, "Config.AuthzTokens"},
		"no file":                                  {func(c *server.Config) { c.Authz = dir + "/none" }, "Config.Authz"},
		"bad rules":                                {func(c *server.Config) { c.Authz = tokens }, "Config.Authz"},
		"bad tokens":                               {func(c *server.Config) { c.AuthzTokens = rules }, "Config.Authz"},
		"tokens in the open, off loopback":         {func(c *server.Config) { c.GRPCListen = "0.0.0.0:0" }, "Config.GRPCListen"},
	} {
		cfg := base
		c.change(&cfg)
		bad, ok := errors.AsType[*rollcall.InvalidError](cfg.Validate())
		if !ok || bad.Field != c.field {
			t.Errorf("%s: %v, want one about %s", what, cfg.Validate(), c.field)
		}
	}
	cfg := base
	cfg.GRPCListen, cfg.TLS = "0.0.0.0:0", server.Files{Cert: "x", Key: "y"}
	if err := cfg.Validate(); err != nil {
		t.Errorf("off loopback, with TLS: %v", err)
	}
}
