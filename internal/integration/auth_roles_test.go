package integration

import (
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/etcdtest"
)

// documented returns the commands of docs/etcd-roles.md, by the heading that they stand under, with their comments.
func documented(t *testing.T) map[string][]string {
	t.Helper()
	page, err := os.ReadFile("../../docs/etcd-roles.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := map[string][]string{}
	heading, shell := "", false
	fence := regexp.MustCompile("^ *```")
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		switch text, is := strings.CutPrefix(line, "## "); {
		case is:
			heading = text
		case fence.MatchString(line):
			shell = line == "```sh"
		case shell && line != "":
			command, is := strings.CutPrefix(line, "etcdctl ")
			if !is {
				t.Fatalf("not a command of etcdctl: %s", line)
			}
			commands[heading] = append(commands[heading], command)
		}
	}
	return commands
}

// pageSections are the headings whose commands give access, in the order in which somebody who reads the page runs them.
var pageSections = []string{"Roles for one service", "Roles for a whole prefix", "Roles without a prefix", "Users", "Turning it on"}

// withDocumentedRoles returns an etcd on which everything that the page tells was done, and further commands for users.
func withDocumentedRoles(t *testing.T, security etcdtest.Security, commands ...string) (*etcdtest.Secured, *clientv3.Client) {
	t.Helper()
	etcd := etcdtest.StartSecured(t, security)
	client := dialAs(t, etcd.Config(t, "root"))
	page := documented(t)
	for _, section := range pageSections {
		if len(page[section]) == 0 {
			t.Fatalf("the page has no commands under %q", section)
		}
		if section == "Turning it on" {
			ctl(t, client, commands...)
		}
		ctl(t, client, page[section]...)
	}
	return etcd, dialAs(t, login(t, etcd, "root"))
}

// party is a server and a caller of one service, each with a registry of its own.
type party struct {
	name           string
	service, id    string
	server, caller *rollcall.Registry
	log            recorder // of the caller
	seen           traffic  // the caller's

	r       *rollcall.Registration
	w       *rollcall.Watcher
	removed int64 // the revision of the operator's deletion
	calls   int   // the caller's, until it watched
}

func TestTheDocumentedRolesAreWhatTheyAreFor(t *testing.T) {
	t.Parallel()
	etcd, root := withDocumentedRoles(t, etcdtest.Security{TokenTTL: tokenTTL, Authority: etcdtest.NewAuthority(t)},
		"user add stock-1", "user grant-role stock-1 stock-server", "user add shop", "user grant-role shop stock-caller",
		"user add gateway", "user grant-role gateway rollcall-all", "user add dashboard", "user grant-role dashboard rollcall-reader",
		"user add admin", "user grant-role admin everything")
	as := func(user string) clientv3.Config { return login(t, etcd, user) }
	flat := rollcall.WithPrefix("")
	parties := []*party{
		meet(t, "one service", "orders", as("orders-1"), as("web-1")),
		meet(t, "one service, by certificate", "orders", etcd.Config(t, "orders.example.com"), as("web-1")),
		meet(t, "a prefix", "billing", as("gateway"), as("dashboard")),
		meet(t, "one service, no prefix", "stock", as("stock-1"), as("shop"), flat),
		meet(t, "everything, no prefix", "supply", as("admin"), as("admin"), flat),
	}
	for _, p := range parties {
		p.work(t, root)
	}
	for _, p := range parties {
		p.healed(t)
	}
	for _, p := range parties {
		p.probed(t)
	}
	var deleted []string
	for _, p := range parties {
		deleted = append(deleted, p.key())
	}
	mustEqual(t, "deletions, ever", deletedKeys(t, root), deleted)
	for _, p := range parties {
		p.part(t, root)
	}
}

func meet(t *testing.T, name, service string, server, caller clientv3.Config, opts ...rollcall.Option) *party {
	t.Helper()
	p := &party{name: name, service: service, id: strings.ReplaceAll(name, " ", "-") + "."}
	p.server = openAs(t, server, opts...)
	p.caller = openAs(t, p.seen.of(caller), append(opts, rollcall.WithLogger(p.log.verbose()))...)
	return p
}

func (p *party) key() string { return p.server.Status().Prefix + p.service + "/" + p.id }

// work does everything that a server and a caller do, and lets an operator delete the instance.
func (p *party) work(t *testing.T, root *clientv3.Client) {
	t.Helper()
	ctx := within(t, 10*time.Second)
	p.r = register(t, p.server, p.service, rollcall.Instance{ID: p.id, Addr: "10.0.0.1:1"}, rollcall.WithTTL(rollcall.MinTTL))
	if err := p.r.Update(ctx, func(i *rollcall.Instance) { i.Weight = 7 }); err != nil {
		t.Errorf("%s: Update: %v", p.name, err)
	}
	if err := p.r.Drain(ctx); err != nil {
		t.Errorf("%s: Drain: %v", p.name, err)
	}
	if v, err := p.caller.Lookup(ctx, p.service); err != nil || len(v.Instances) == 0 {
		t.Errorf("%s: Lookup: %v, %v", p.name, v, err)
	}
	p.w = watch(t, p.caller, p.service)
	next(t, p.w)
	p.calls = p.seen.total()
	p.removed = remove(t, root, p.key())
}

func (p *party) healed(t *testing.T) {
	t.Helper()
	until(t, p.w, 8*time.Second, p.name+": the key, put back", madeAfter(p.id, p.removed))
}

// probed waits until the watch has been proven current again and again, which takes longer than a heartbeat is due and
// than a view may go unproven.
func (p *party) probed(t *testing.T) {
	t.Helper()
	eventually(t, 20*time.Second, p.name+": four probes", func() bool { return p.seen.total() >= p.calls+4 })
	for _, s := range p.caller.Status().Services {
		if !s.StaleSince.IsZero() {
			t.Errorf("%s: stale since %v: %v", p.name, s.StaleSince, s.Err)
		}
	}
	for _, trouble := range []string{"probe refused", "probe failed", "cannot follow", "watch ended"} {
		mustEqual(t, p.name+": "+trouble, p.log.count(trouble), 0)
	}
}

// part deregisters the instance.
func (p *party) part(t *testing.T, root *clientv3.Client) {
	t.Helper()
	mustEqual(t, p.name+": keys", len(keys(t, root, p.key())), 1)
	if err := p.r.Deregister(within(t, 10*time.Second)); err != nil {
		t.Errorf("%s: Deregister: %v", p.name, err)
	}
	until(t, p.w, 8*time.Second, p.name+": gone", func(v *rollcall.View) bool {
		_, ok := v.Get(p.id)
		return !ok
	})
	if err := p.server.Close(within(t, 10*time.Second)); err != nil {
		t.Errorf("%s: close: %v", p.name, err)
	}
}

func TestTheDocumentedRolesAllowNothingElse(t *testing.T) {
	t.Parallel()
	etcd, _ := withDocumentedRoles(t, etcdtest.Security{TokenTTL: tokenTTL},
		"user add dashboard", "user grant-role dashboard rollcall-reader", "user add gateway", "user grant-role gateway rollcall-all",
		"user add stock-1", "user grant-role stock-1 stock-server",
		// Less than the page says is enough to register.
		"role add read", "role grant-permission read read rollcall/services/orders/ --prefix",
		"user add reader", "user grant-role reader read",
		"role add write", "role grant-permission write write rollcall/services/orders/ --prefix",
		"user add writer", "user grant-role writer write")
	flat := rollcall.WithPrefix("")
	registers := func(service string) func(*rollcall.Registry) error {
		return func(reg *rollcall.Registry) error {
			_, err := reg.Register(within(t, 10*time.Second), service, rollcall.Instance{Addr: "10.0.0.1:1"})
			return err
		}
	}
	looksUp := func(service string) func(*rollcall.Registry) error {
		return func(reg *rollcall.Registry) error {
			_, err := reg.Lookup(within(t, 10*time.Second), service)
			return err
		}
	}
	lists := func(reg *rollcall.Registry) error {
		_, err := reg.Services(within(t, 10*time.Second))
		return err
	}
	for name, c := range map[string]struct {
		user string
		do   func(*rollcall.Registry) error
		opts []rollcall.Option
	}{
		"a caller registers":                     {"web-1", registers("orders"), nil},
		"a reader registers":                     {"reader", registers("orders"), nil},
		"a writer that may not read registers":   {"writer", registers("orders"), nil},
		"a server registers another service":     {"orders-1", registers("orders-archive"), nil},
		"a server looks up another service":      {"orders-1", looksUp("orders-archive"), nil},
		"a caller looks up another service":      {"web-1", looksUp("billing"), nil},
		"a server lists the services":            {"orders-1", lists, nil},
		"a dashboard registers":                  {"dashboard", registers("orders"), nil},
		"a gateway without its prefix":           {"gateway", registers("orders"), []rollcall.Option{flat}},
		"a server under another prefix":          {"orders-1", registers("orders"), []rollcall.Option{rollcall.WithPrefix("staging")}},
		"a server without a prefix looks beside": {"stock-1", looksUp("stock2"), []rollcall.Option{flat}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := openAs(t, login(t, etcd, c.user), c.opts...)
			if err := c.do(reg); !errors.Is(err, rollcall.ErrPermissionDenied) {
				t.Errorf("got %v", err)
			} else if !strings.Contains(err.Error(), "readwrite") {
				t.Errorf("it does not say what it takes: %v", err)
			}
		})
	}
	for name, list := range map[string]string{"dashboard": "dashboard", "gateway": "gateway"} {
		t.Run("a "+name+" lists the services", func(t *testing.T) {
			t.Parallel()
			if err := lists(openAs(t, login(t, etcd, list))); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTheDocumentedWaysToLookAtAccessTellTheTruth(t *testing.T) {
	t.Parallel()
	etcd, _ := withDocumentedRoles(t, etcdtest.Security{TokenTTL: tokenTTL})
	page := documented(t)
	for _, line := range append(page["Looking at it"], page["What to know"]...) {
		text, comment, _ := strings.Cut(line, "#")
		c := parseCommand(t, text)
		err := c.run(t, dialAs(t, login(t, etcd, c.user)))
		want := codes.OK
		if strings.TrimSpace(comment) == "permission denied" {
			want = codes.PermissionDenied
		}
		if got := codeOf(err); got != want {
			t.Errorf("etcdctl %s: %v", line, err)
		}
	}
	if len(page["Looking at it"]) < 4 || len(page["What to know"]) < 1 {
		t.Error("the page has lost its commands")
	}
}

// codeOf returns the code of an error of etcd's client.
func codeOf(err error) codes.Code {
	if coded, ok := errors.AsType[interface {
		error
		Code() codes.Code
	}](err); ok {
		return coded.Code()
	}
	return status.Code(err)
}
