package server_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rollcall-io/rollcall"
	"github.com/rollcall-io/rollcall/internal/server"
)

// problems returns the fields that err finds fault with.
func problems(t *testing.T, err error) []string {
	t.Helper()
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		var fields []string
		for _, inner := range joined.Unwrap() {
			fields = append(fields, problems(t, inner)...)
		}
		return fields
	}
	invalid, ok := errors.AsType[*rollcall.InvalidError](err)
	if !ok {
		t.Fatalf("%v is no InvalidError", err)
	}
	return []string{strings.TrimPrefix(invalid.Field, "Config.")}
}

// all are certificates that nobody looks at here.
var all = server.Files{Cert: "c", Key: "k", CA: "ca"}

// one is a member of a cluster.
func one(name string, members ...string) server.Config {
	cfg := server.Config{Name: name}
	for _, m := range members {
		name, peer, _ := strings.Cut(m, "=")
		cfg.Cluster = append(cfg.Cluster, server.Member{Name: name, PeerURL: peer})
	}
	return cfg
}

func secure(cfg server.Config, files server.Files) server.Config {
	cfg.PeerTLS = files
	return cfg
}

func listening(cfg server.Config, addr string) server.Config {
	cfg.PeerListen = addr
	return cfg
}

func TestAProblemTellsNoPassword(t *testing.T) {
	t.Parallel()
	err := server.Config{Etcd: []string{"a:1", "b"}, EtcdPassword: "hunter2"}.Validate()
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error is %v", err)
	}
}

func TestValidateFindsEveryProblem(t *testing.T) {
	t.Parallel()
	const p = rollcall.DefaultPrefix
	for _, tt := range []struct {
		name string
		cfg  server.Config
		want []string
	}{
		{"the default", server.Config{}, nil},
		{"localhost", server.Config{ClientURL: "http://localhost:0"}, nil},
		{"loopback of IPv6", server.Config{ClientURL: "http://[::1]:2379"}, nil},
		{"another loopback address", server.Config{ClientURL: "http://127.9.9.9:2379"}, nil},
		{"no scheme", server.Config{ClientURL: "127.0.0.1:2379"}, []string{"ClientURL"}},
		{"https", server.Config{ClientURL: "https://127.0.0.1:2379"}, []string{"ClientURL"}},
		{"no port", server.Config{ClientURL: "http://127.0.0.1"}, []string{"ClientURL"}},
		{"port out of range", server.Config{ClientURL: "http://127.0.0.1:65536"}, []string{"ClientURL"}},
		{"a path", server.Config{ClientURL: "http://127.0.0.1:2379/v3"}, []string{"ClientURL"}},
		{"a host name", server.Config{ClientURL: "http://etcd.example:2379", Insecure: true}, []string{"ClientURL"}},
		{"every interface", server.Config{ClientURL: "http://0.0.0.0:2379"}, []string{"ClientURL"}},
		{"every interface of IPv6", server.Config{ClientURL: "http://[::]:2379"}, []string{"ClientURL"}},
		{"another machine's reach", server.Config{ClientURL: "http://10.0.0.7:2379"}, []string{"ClientURL"}},
		{"insecure on purpose", server.Config{ClientURL: "http://0.0.0.0:2379", Insecure: true}, nil},
		{"least history", server.Config{History: time.Minute}, nil},
		{"short history", server.Config{History: time.Minute - 1}, []string{"History"}},
		{"negative history", server.Config{History: -time.Hour}, []string{"History"}},
		{"least quota", server.Config{QuotaBytes: 16 << 20}, nil},
		{"small quota", server.Config{QuotaBytes: 16<<20 - 1}, []string{"QuotaBytes"}},
		{"negative quota", server.Config{QuotaBytes: -1}, []string{"QuotaBytes"}},
		{"all at once", server.Config{ClientURL: "http://", History: 1, QuotaBytes: 1, Prefix: "a/"}, []string{"ClientURL", "QuotaBytes", "History", "Prefix"}},
		{"nothing served on the flat layout", server.Config{GRPCListen: "127.0.0.1:0"}, []string{"Prefix"}},
		{"a cluster on one machine", one("a", "a=http://127.0.0.1:1", "b=http://[::1]:2"), nil},
		{"a cluster of one", one("a", "a=http://127.0.0.1:1"), nil},
		{"a cluster without us", one("c", "a=http://127.0.0.1:1", "b=http://127.0.0.1:2"), []string{"Name"}},
		{"two of a name", one("a", "a=http://127.0.0.1:1", "a=http://127.0.0.1:2"), []string{"Cluster[1]"}},
		{"two of a URL", one("a", "a=http://127.0.0.1:1", "b=http://127.0.0.1:1"), []string{"Cluster[1]"}},
		{"members that are none", one("a", "a=http://127.0.0.1:1", "b=", "c=127.0.0.1:3", "d=http://127.0.0.1", "e=http://127.0.0.1:5/x", "=http://127.0.0.1:6", "g=http://127.0.0.1:0"), []string{"Cluster[1]", "Cluster[2]", "Cluster[3]", "Cluster[4]", "Cluster[5]", "Cluster[6]"}},
		{"peers on other machines, in the open", one("a", "a=http://127.0.0.1:1", "b=http://10.0.0.2:1"), []string{"Cluster[1]"}},
		{"peers with TLS but without certificates", one("a", "a=https://127.0.0.1:1"), []string{"Cluster[0]"}},
		{"peers on other machines", secure(one("a", "a=https://10.0.0.1:1", "b=https://10.0.0.2:1"), all), nil},
		{"certificates for the open", secure(one("a", "a=http://127.0.0.1:1"), all), []string{"Cluster[0]"}},
		{"half a certificate", secure(one("a", "a=https://10.0.0.1:1"), server.Files{Cert: "c"}), []string{"PeerTLS.Key", "PeerTLS.CA"}},
		{"a peer's name without an address", secure(one("a", "a=https://a.example:1"), all), []string{"PeerListen"}},
		{"a peer's name and an address", listening(secure(one("a", "a=https://a.example:1"), all), "0.0.0.0:1"), nil},
		{"a peer reached in the open", listening(one("a", "a=http://127.0.0.1:1"), "0.0.0.0:1"), []string{"PeerListen"}},
		{"what is a member's, alone", server.Config{Join: true}, []string{"Join"}},
		{"etcd with certificates", server.Config{ClientURL: "https://10.0.0.1:2379", ClientTLS: all}, nil},
		{"etcd with half a certificate", server.Config{ClientURL: "https://127.0.0.1:2379", ClientTLS: server.Files{Cert: "c", Key: "k"}}, []string{"ClientTLS.CA"}},
		{"listeners on loopback", server.Config{Prefix: p, GRPCListen: "127.0.0.1:0", HTTPListen: "[::1]:7052", PprofListen: "localhost:1"}, nil},
		{"listeners in the open", server.Config{Prefix: p, GRPCListen: "0.0.0.0:1", HTTPListen: ":2", PprofListen: "10.0.0.1:3"}, []string{"GRPCListen", "HTTPListen", "PprofListen"}},
		{"listeners in the open on purpose", server.Config{Prefix: p, GRPCListen: "0.0.0.0:1", HTTPListen: ":2", PprofListen: "10.0.0.1:3", Insecure: true}, nil},
		{"listeners with TLS that ask nobody", server.Config{Prefix: p, GRPCListen: "0.0.0.0:1", HTTPListen: ":2", TLS: server.Files{Cert: "c", Key: "k"}}, []string{"GRPCListen", "HTTPListen"}},
		{"listeners that ask", server.Config{Prefix: p, GRPCListen: "0.0.0.0:1", HTTPListen: ":2", TLS: all}, nil},
		{"profiles never ask", server.Config{PprofListen: "0.0.0.0:1", TLS: all}, []string{"PprofListen"}},
		{"DNS on loopback", server.Config{Prefix: p, DNSListen: "127.0.0.1:0", DNSDomain: "corp.example", DNSTTL: time.Second, DNSMaxStale: time.Minute, DNSRate: -1}, nil},
		{"DNS in the open", server.Config{Prefix: p, DNSListen: "0.0.0.0:53", TLS: all}, []string{"DNSListen"}},
		{"DNS in the open with rules, which are not there", server.Config{Etcd: []string{"a:1"}, Prefix: p, DNSListen: "0.0.0.0:53", Authz: "rules"}, []string{"Authz"}},
		{"DNS that cannot be", server.Config{Prefix: p, DNSListen: "127.0.0.1", DNSDomain: "a..b", DNSTTL: time.Millisecond, DNSMaxStale: -1, DNSRate: -2}, []string{"DNSListen", "DNSDomain", "DNSTTL", "DNSMaxStale", "DNSRate"}},
		{"addresses that are none", server.Config{Prefix: p, GRPCListen: "7051", HTTPListen: "host:7052", PprofListen: "127.0.0.1:x"}, []string{"GRPCListen", "HTTPListen", "PprofListen"}},
		{"an authority without a certificate", server.Config{TLS: server.Files{CA: "ca"}}, []string{"TLS.CA"}},
		{"a certificate without its key", server.Config{TLS: server.Files{Cert: "c"}}, []string{"TLS.Key"}},
		{"a key without its certificate", server.Config{TLS: server.Files{Key: "k"}}, []string{"TLS.Cert"}},
		{"a short age", server.Config{MaxConnectionAge: time.Second}, []string{"MaxConnectionAge"}},
		{"a negative timeout", server.Config{StopTimeout: -1}, []string{"StopTimeout"}},
		{"a user and certificates", server.Config{Etcd: []string{"https://a:1"}, EtcdTLS: server.Files{CA: "ca"}, EtcdUser: "jie", EtcdPassword: "secret"}, nil},
		{"certificates in the open", server.Config{Etcd: []string{"a:1"}, EtcdTLS: all}, []string{"Etcd[0]"}},
		{"a user without a password", server.Config{Etcd: []string{"a:1"}, EtcdUser: "jie"}, []string{"EtcdPassword"}},
		{"a password without a user", server.Config{Etcd: []string{"a:1"}, EtcdPassword: "secret"}, []string{"EtcdUser"}},
		{"a prefix", server.Config{Prefix: p}, nil},
		{"a prefix with a slash at its end", server.Config{Prefix: p + "/"}, []string{"Prefix"}},
		{"endpoints", server.Config{Etcd: []string{"127.0.0.1:2379", "http://etcd.example:2379", "https://[::1]:2379"}}, nil},
		{"endpoints that are none", server.Config{Etcd: []string{"", "etcd", "a:b", "http://a:1/v3", "a:1", ":2379", "a:0"}}, []string{"Etcd[0]", "Etcd[1]", "Etcd[2]", "Etcd[3]", "Etcd[5]", "Etcd[6]"}},
		{"endpoints and what counts for nothing beside them", server.Config{Etcd: []string{"a:1"}, ClientURL: "?", QuotaBytes: 1}, nil},
		{"a short history of an existing etcd", server.Config{Etcd: []string{"a:1"}, History: 1}, []string{"History"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.cfg.Validate()
			if err == nil {
				if tt.want != nil {
					t.Errorf("no problem found, want %v", tt.want)
				}
				return
			}
			if !errors.Is(err, rollcall.ErrInvalid) {
				t.Errorf("%v is not ErrInvalid", err)
			}
			if diff := cmp.Diff(tt.want, problems(t, err)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAProblemNamesTheValueAndTheRule(t *testing.T) {
	t.Parallel()
	err := server.Config{ClientURL: "http://0.0.0.0:2379", History: time.Second}.Validate()
	wantText(t, err, `"http://0.0.0.0:2379"`, "loopback", "--insecure", "1s", "1m0s")
}

func TestAnInvalidConfigTouchesNothing(t *testing.T) {
	t.Parallel()
	cfg := onFreePort(filepath.Join(t.TempDir(), "data"))
	cfg.History = time.Second
	if err := refused(t, cfg); !errors.Is(err, rollcall.ErrInvalid) {
		t.Errorf("error is %v, want ErrInvalid", err)
	}
	if matches, _ := filepath.Glob(cfg.DataDir); len(matches) > 0 {
		t.Errorf("%s was created", cfg.DataDir)
	}
}
